"""Run by test_covariance_ranks in four processes: each holds some responses of a batch, in micro-batches.

Two worlds of two and one of four share the processes. What a process finds is a dictionary: a case's name to
the rows that it held and what was selected of them, or to the text of the error that was raised.
"""

import datetime

import torch
import torch.distributed as dist

from entropy_core import batched
from entropy_core.batched.interventions import covariance_ranks as ranks
from tests.batched.calls import said

WORLD = 4
SECONDS = 60
FRACTION, LOW, HIGH, SEED = 0.05, 0.2, 2.0, 11


def batch_of(name):
    """Return ℓ, A and mask of a whole batch."""
    generator = torch.Generator().manual_seed(len(name))
    shape = (23, 17)
    log_probs = -torch.empty(shape).exponential_(generator=generator)
    advantages = torch.randn(shape[0], 1, generator=generator).expand(shape)
    mask = torch.arange(17) < torch.randint(0, 18, (shape[0], 1), generator=generator)
    if name == "ties":
        log_probs, advantages = log_probs.round(), advantages.sign()
    if name == "all equal":
        log_probs, advantages = torch.full(shape, -1.0), torch.ones(shape)
    if name == "nothing counts":
        mask = torch.zeros_like(mask)
    if name == "one eligible":
        log_probs, advantages = torch.full(shape, -1.0), torch.zeros(shape)
        log_probs[4, 3], advantages[4, 3], mask[4, 3] = -2.0, -1.0, True
    if name == "float64":
        log_probs, advantages = log_probs.double() / 3, advantages.double() / 7
    if name == "bfloat16":
        log_probs = log_probs.bfloat16()
    return log_probs, advantages, mask


CASES = ("float32", "float64", "bfloat16", "ties", "all equal", "nothing counts", "one eligible")


def rows_of(name, rank, world):
    """Return the rows that a rank holds, in any order; one rank may have none, or only masked ones."""
    generator = torch.Generator().manual_seed(world + len(name))
    owners = torch.randint(0, world, (23,), generator=generator)
    if name == "ties":
        owners[owners == 1] = 0  # rank 1 holds nothing
    if name == "float64":
        counting = batch_of(name)[2].any(-1)
        owners = torch.where(counting, owners.where(owners != 1, torch.zeros_like(owners)), 1)
    rows = (owners == rank).nonzero().flatten()
    return rows[torch.randperm(len(rows), generator=generator)]


def micro_batches(rows, rank):
    """Return rows in uneven parts, an empty one among them."""
    return [*rows.split(1 + rank), rows[:0]]


def selected(name, rank, world, group):
    """Return the rows of this rank and what both methods select of them, through both exchanges."""
    values, parts = batch_of(name), micro_batches(rows_of(name, rank, world), rank)
    cut = [[x[rows] for x in values] for rows in parts]
    own = batched.merge_token_statistics([batched.token_statistics(*part) for part in cut])
    statistics = ranks.gathered_token_statistics(own, group)
    terms = [batched.token_covariance_terms(*part, statistics) for part in cut]
    count, found = int(statistics.count), []
    for candidates_of, asked in (
        (batched.clip_cov_candidates, (FRACTION, LOW, HIGH, SEED)),
        (batched.kl_cov_candidates, (FRACTION,)),
    ):
        states = [
            candidates_of(t, part[2], count, *asked, response_indices=rows)
            for t, part, rows in zip(terms, cut, parts, strict=True)
        ]
        merged = ranks.gathered_candidates(batched.merge_candidates(states), group)
        masks = [
            batched.selection_from(merged, t, part[2], rows).selected
            for t, part, rows in zip(terms, cut, parts, strict=True)
        ]
        found += [torch.cat(masks), tuple(merged)]
    return torch.cat(parts), torch.cat(terms), tuple(statistics), *found


def errors(rank):
    """Return what each rank is told when the ranks bring what does not fit."""
    log_probs, advantages, mask = batch_of("float32")
    terms = batched.token_covariance_terms(log_probs, advantages, mask)
    kl = lambda *asked: ranks.gathered_candidates(batched.kl_cov_candidates(terms, mask, *asked))  # noqa: E731
    clip = lambda: ranks.gathered_candidates(  # noqa: E731
        batched.clip_cov_candidates(terms, mask, 100, 0.1, 0.0, 1.0, 0)
    )
    broken = batched.token_statistics(log_probs / (rank != 1), advantages, mask)
    alone = dist.new_group([0])
    return {
        "different counts": said(lambda: kl(100 + 100 * rank, 0.1)),
        "one token twice": said(lambda: kl(100, 0.1)),
        "two methods": said(clip if rank == 1 else lambda: kl(100, 0.1)),
        "infinite on one rank": said(lambda: ranks.gathered_token_statistics(broken).mean_log_prob),
        "not in the group": said(lambda: ranks.gathered_token_statistics(broken, alone)),
    }


def run(rank, folder):
    """Join the others, compute, save."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=WORLD,
        timeout=datetime.timedelta(seconds=SECONDS),
    )
    pairs = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    found = {(name, 4): selected(name, rank, 4, None) for name in CASES}
    found |= {(name, 2): selected(name, rank % 2, 2, pairs[rank // 2]) for name in CASES}
    torch.save(found | errors(rank), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
