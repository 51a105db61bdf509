"""A selection is the same tokens however the batch is cut, in any order and any tree of merges; rounded means
are not enough for that.
"""

from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from entropy_core import batched, reference
from tests.laws import splits

torch.set_num_threads(1)

CONVERT = {"reference": np.asarray, "batched": torch.as_tensor}
LAYERS = {"reference": reference, "batched": batched}


class Cut(NamedTuple):
    """A batch and the parts that it is cut into: rows in any order, none in some."""

    batch: splits.Batch
    parts: list[list[int]]
    seed: int


NUMBERS = {
    "ties": st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0]),
    "thirds": st.sampled_from([-1 / 3, -0.1, 0.1, 1 / 3, 2 / 3, 0.7]),
    "any": st.floats(-100, 100, allow_nan=False, width=64),
    "float32": st.floats(-1000, 1000, allow_nan=False, width=32),
    "wild": st.sampled_from([1e150, -1e150, 1.0, 1e-9, 5e-324, -5e-324, 1e-300, 3.3]),
}


@st.composite
def cuts(draw):
    """Draw a batch of some rows and a partition of its rows, empty and fully masked parts included."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    numbers = NUMBERS[draw(st.sampled_from(sorted(NUMBERS)))]
    table = lambda values: np.array(draw(st.lists(values, min_size=rows * columns, max_size=rows * columns)))  # noqa: E731
    log_probs, advantages = (table(numbers).reshape(rows, columns).astype(float) for _ in range(2))
    mask = table(st.sampled_from([True, True, True, False])).reshape(rows, columns)
    mask[draw(st.integers(0, rows)) :] &= draw(st.booleans())  # some rows may count nothing
    owners = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    order = draw(st.permutations(range(rows)))
    parts = [[row for row in order if owners[row] == part] for part in range(4)]
    low = draw(st.sampled_from([-1e300, -0.5, -0.1, 0.0, 0.05, 0.25]))
    high = draw(st.sampled_from([0.3, 0.5, 2.0, 1e300]))
    batch = splits.Batch(
        log_probs, advantages, mask, draw(st.sampled_from([0.0, 0.1, 0.29, 0.5, 1.0])), low, high
    )
    return Cut(batch, parts, draw(st.integers(-(2**63), 2**64)))


def same(a, b):
    """Whether two states or selections are the same, bit for bit."""
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True))


@pytest.mark.claim("selection-ignores-the-split")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.usefixtures("without_shape_checks")
@hypothesis.given(cut=cuts(), random=st.randoms(use_true_random=False))
@hypothesis.settings(max_examples=100, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_every_cut_selects_the_same_tokens(name, cut, random):
    layer, convert = LAYERS[name], CONVERT[name]
    batch, parts, seed = cut
    tree = lambda merge, states: splits.merged_in_a_random_tree(merge, states, random)  # noqa: E731
    whole = splits.selected_in_parts(layer, convert, batch, [list(range(len(batch.mask)))], seed, tree)
    found = splits.selected_in_parts(layer, convert, batch, parts, seed, tree)
    assert same(found.statistics, whole.statistics)
    assert np.array_equal(found.terms, whole.terms)
    for method in ("clip_cov", "kl_cov"):
        assert same(found.candidates[method], whole.candidates[method])
        assert np.array_equal(found.selected[method], whole.selected[method])
    arrays = [convert(x) for x in batch[:3]]
    clip = layer.clip_cov_selection(*arrays, *batch[3:], seed)
    assert np.array_equal(np.asarray(clip.selected), found.selected["clip_cov"])
    kl = layer.kl_cov_selection(*arrays, batch.fraction)
    assert np.array_equal(np.asarray(kl.selected), found.selected["kl_cov"])


@pytest.mark.claim("selection-ignores-the-split")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_every_cut_of_a_large_batch_selects_the_same_tokens(dtype, record_property):
    """1024 responses of up to 64 tokens in 1 to 257 uneven parts, rewards of 0 and 1: many ties."""
    generator = torch.Generator().manual_seed(0)
    shape = (1024, 64)
    log_probs = -torch.empty(shape).exponential_(generator=generator)
    advantages = (torch.rand(shape[0], 1, generator=generator) < 0.3).float().expand(shape)
    mask = torch.arange(64) < torch.randint(0, 65, (shape[0], 1), generator=generator)
    batch = splits.Batch(log_probs.to(dtype), advantages.to(dtype), mask, 0.01, 0.1, 1.0)
    whole = splits.selected_in_parts(batched, torch.as_tensor, batch, [list(range(shape[0]))], 5)
    assert 0 < whole.selected["clip_cov"].sum() == whole.selected["kl_cov"].sum()
    for parts in (2, 17, 257):
        owners = torch.randint(0, parts, (shape[0],), generator=generator)
        rows = [owners.eq(part).nonzero().flatten().tolist() for part in range(parts)]
        found = splits.selected_in_parts(batched, torch.as_tensor, batch, rows, 5)
        assert same(found.statistics, whole.statistics)
        assert all(np.array_equal(found.selected[m], whole.selected[m]) for m in whole.selected)
    record_property("tokens", str(int(mask.sum())))


def test_trimming_the_padding_changes_nothing():
    """A micro-batch that is cut to its longest response has fewer columns, and the same tokens."""
    generator = torch.Generator().manual_seed(1)
    log_probs, advantages = torch.randn(2, 6, 9, generator=generator, dtype=torch.float64)
    mask = torch.arange(9) < torch.tensor([9, 3, 4, 2, 0, 1])[:, None]
    statistics = batched.token_statistics(log_probs, advantages, mask)
    whole = batched.kl_cov_selection(log_probs, advantages, mask, 0.3)
    candidates, kept = [], []
    for rows, width in (([0], 9), ([1, 2, 3], 4), ([4, 5], 1)):
        cut = [x[rows, :width] for x in (log_probs, advantages, mask)]
        terms = batched.token_covariance_terms(*cut, statistics)
        candidates.append(batched.kl_cov_candidates(terms, cut[2], 19, 0.3, torch.tensor(rows)))
        kept.append((terms, cut[2], torch.tensor(rows)))
    merged = batched.merge_candidates(candidates)
    for terms, cut_mask, rows in kept:
        selected = batched.selection_from(merged, terms, cut_mask, rows).selected
        assert torch.equal(selected, whole.selected[rows, : selected.shape[1]])


@pytest.mark.claim("rounded-statistics-depend-on-the-split")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_means_merged_pairwise_in_floating_point_select_other_tokens(dtype, record_property):
    """Chan's merge of rounded means in 400 batches, cut in two ways; exact sums differ in none of them."""
    differing = exact = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        log_probs = (np.round(rng.exponential(size=(16, 8)) * 4) / 4).astype(dtype)
        advantages = np.repeat(rng.integers(0, 2, (16, 1)), 8, 1).astype(dtype)
        mask = np.ones(log_probs.shape, bool)
        chosen = []
        for parts in (1, 5):
            means = splits.chan_merged_means(log_probs, advantages, np.array_split(np.arange(16), parts))
            terms = (log_probs - means[0]) * (advantages - means[1])
            indices = np.lexsort((np.arange(terms.size), -terms.ravel()))[:12]
            chosen.append(set(indices.tolist()))
        differing += chosen[0] != chosen[1]
        if chosen[0] != chosen[1]:
            batch = splits.Batch(log_probs, advantages, mask, 0.1, 0.0, 1.0)
            found = [
                splits.selected_in_parts(batched, torch.as_tensor, batch, rows, 0).selected["kl_cov"]
                for rows in ([list(range(16))], [r.tolist() for r in np.array_split(np.arange(16), 5)])
            ]
            exact += not np.array_equal(*found)
    assert differing > 0
    assert exact == 0
    record_property(f"of 400 batches differing, {np.dtype(dtype).name}", str(differing))


@pytest.mark.claim("losses-of-parts-add-up")
def test_losses_and_gradients_of_parts_add_up_to_those_of_the_batch():
    generator = torch.Generator().manual_seed(2)
    old, moved, advantages = torch.randn(3, 12, 7, generator=generator, dtype=torch.float64)
    mask = torch.rand(12, 7, generator=generator) < 0.8
    count = int(mask.sum())
    clip = batched.clip_cov_selection(old, advantages, mask, 0.1, -1.0, 1.0, 3)
    kl = batched.kl_cov_selection(old, advantages, mask, 0.1)
    assert clip.selected.sum() == kl.selected.sum() == count // 10

    def losses(rows, token_count):
        new, mine = (old + 0.3 * moved)[rows].requires_grad_(), (old[rows], advantages[rows], mask[rows])
        paid = batched.absolute_log_ratio(new, old[rows], mask[rows])
        both = (
            batched.clip_cov_loss(new, *mine, splits.part_of(clip, rows), 0.2, 0.2, token_count).loss,
            batched.kl_cov_loss(new, *mine, splits.part_of(kl, rows), paid, 1.0, token_count).loss,
        )
        return both, [torch.autograd.grad(loss, new, retain_graph=True)[0] for loss in both]

    whole, whole_gradients = losses(torch.arange(12), None)
    parts = [losses(rows, count) for rows in torch.arange(12).split([1, 5, 0, 6])]
    for method in (0, 1):
        assert sum(p[0][method] for p in parts).item() == pytest.approx(whole[method].item(), rel=1e-12)
        gradient = torch.cat([p[1][method] for p in parts])
        torch.testing.assert_close(gradient, whole_gradients[method], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_constants_cancel(name):
    """A constant added to every advantage, or to every log-probability, moves no term beyond rounding."""
    layer, convert = LAYERS[name], CONVERT[name]
    rng = np.random.default_rng(3)
    log_probs, advantages = -rng.exponential(size=(5, 9)), rng.normal(size=(5, 9))
    mask = rng.random((5, 9)) < 0.8
    at = lambda x, y: np.asarray(layer.token_covariance_terms(convert(x), convert(y), convert(mask)))  # noqa: E731
    terms = at(log_probs, advantages)
    for shifted in (at(log_probs - 30.0, advantages), at(log_probs, advantages + 30.0)):
        np.testing.assert_allclose(shifted, terms, rtol=0, atol=1e-13)
    exact = at(log_probs.astype(np.float32), (advantages * 64).round())
    moved = at(log_probs.astype(np.float32), (advantages * 64).round() + 2.0**20)
    np.testing.assert_allclose(moved, exact, rtol=1e-9)
