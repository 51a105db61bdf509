"""The states of a selection, merged over the processes of torch.distributed.

Each process makes the state of its own tokens, of any number of micro-batches; one exchange gives every rank
the state of all. Two are needed: of statistics before the terms, of candidates before the selection.

    statistics = gathered_token_statistics(token_statistics(token_log_probs, advantages, response_mask))
    terms = token_covariance_terms(token_log_probs, advantages, response_mask, statistics)
    count = int(statistics.count)
    candidates = gathered_candidates(kl_cov_candidates(terms, response_mask, count, fraction, own_responses))
    selection = selection_from(candidates, terms, response_mask, own_responses)

Every rank of the group calls both, one without a token too. States carry no gradient, and nothing here does.

Import it by name: `from entropy_core.batched.interventions import covariance_ranks`.
"""

import torch
import torch.distributed as dist

from entropy_core.batched.interventions.covariance_selection import TokenCandidates, merge_candidates
from entropy_core.batched.interventions.covariance_terms import TokenStatistics, merge_token_statistics

__all__ = ["gathered_candidates", "gathered_token_statistics"]


def gathered_token_statistics(
    statistics: TokenStatistics, group: dist.ProcessGroup | None = None
) -> TokenStatistics:
    """Statistics of the tokens of all ranks.

    the sum of each field over the ranks, in one exchange of some 100 kB

    Args:
        statistics: those of this rank's tokens, on the device of the group's backend.
        group: the processes that share the batch; None is the default group.

    Returns:
        The same state on every rank, bit for bit that of all tokens together.

    Raises:
        RuntimeError: torch.distributed is not running, or this process is not in the group.
    """
    _check_running(group)
    own = torch.cat([field.reshape(-1) for field in statistics])
    sizes = [field.numel() for field in statistics]
    states = [
        TokenStatistics(*(x.view_as(f) for x, f in zip(part.split(sizes), statistics, strict=True)))
        for part in _gathered(own, group)
    ]
    return merge_token_statistics(states)


def gathered_candidates(
    candidates: TokenCandidates, group: dist.ProcessGroup | None = None
) -> TokenCandidates:
    """Candidates among the tokens of all ranks.

    the first K of the joined order, in one exchange of four numbers a rank and one of K keys and indices

    Args:
        candidates: those of this rank's tokens, made with the fraction, count and seed of the whole batch and
            with its responses' indices there.
        group: the processes that share the batch; None is the default group.

    Returns:
        The same state on every rank, bit for bit that of all tokens together.

    Raises:
        RuntimeError: torch.distributed is not running, or this process is not in the group.
        ValueError: ranks want different numbers, mix two methods, or have a token in common; every rank says
            so.
    """
    _check_running(group)
    keys, indices, eligible_count, wanted = candidates
    is_draw = keys.dtype == torch.int64
    facts = _gathered(torch.tensor([len(keys), eligible_count, wanted, is_draw], device=keys.device), group)
    lengths, counts, wants, draws = zip(*(fact.tolist() for fact in facts), strict=True)
    if len(set(draws)) > 1:
        raise ValueError(
            "All ranks must bring candidates of one method; got a draw and largest terms. "
            "Call clip_cov_candidates on every rank, or kl_cov_candidates on every rank."
        )
    own = torch.zeros(2, max(lengths), dtype=torch.int64, device=keys.device)
    own[:, : len(keys)] = torch.stack([keys.view(torch.int64), indices])  # the bits of a float64 key
    parts = [
        TokenCandidates(found[0, :length].view(keys.dtype), found[1, :length], count, want)
        for found, length, count, want in zip(_gathered(own, group), lengths, counts, wants, strict=True)
    ]
    return merge_candidates(parts)


def _check_running(group):
    """Raise unless this process can talk to the others."""
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "torch.distributed is not running. Call torch.distributed.init_process_group first, or leave the "
            "exchange out where one process holds the batch."
        )
    if dist.get_rank(group) < 0:
        raise RuntimeError("This process is not in the group. Let only the ranks of the group call.")


def _gathered(own, group):
    """Return what every rank gives, in rank order."""
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, own, group=group)
    return parts
