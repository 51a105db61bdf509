"""Clip-Cov and KL-Cov in torch: exact sums, the draw, gradients, masks, types, compilation, errors."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from entropy_core import batched
from entropy_core.batched.interventions import _exact_sums, covariance_selection
from tests.agreement import published_covariance as published

torch.set_num_threads(1)


def batch(dtype=torch.float64, seed=0, shape=(6, 9)):
    """Return ℓ, ℓ_old, A, mask, with NaN and infinities where no token counts."""
    generator = torch.Generator().manual_seed(seed)
    old = -torch.empty(shape, dtype=torch.float64).exponential_(generator=generator)
    new = old + 0.3 * torch.randn(shape, generator=generator)
    advantages = torch.randn(shape, generator=generator)
    mask = torch.rand(shape, generator=generator) < 0.7
    spoil = torch.tensor([torch.nan, torch.inf, -torch.inf])[torch.randint(0, 3, shape, generator=generator)]
    return [torch.where(mask, x, spoil).to(dtype) for x in (new, old, advantages)] + [mask]


def both_losses(new, old, advantages, mask, **more):
    """Return the results of both methods, a fifth of the tokens selected."""
    clip = batched.clip_cov_selection(new, advantages, mask, 0.2, -0.5, 0.5, 3)
    kl = batched.kl_cov_selection(new, advantages, mask, 0.2)
    paid = batched.absolute_log_ratio(new, old, mask)
    return (
        batched.clip_cov_loss(new, old, advantages, mask, clip, 0.2, 0.28, **more),
        batched.kl_cov_loss(new, old, advantages, mask, kl, paid, 0.5, **more),
    )


EXTREMES = [1.7e308, -1.7e308, 5e-324, -5e-324, 2.2e-308, 1.0, -1.0, 1 / 3, 0.0, -0.0, 1e16, -1e-300]


@pytest.mark.parametrize("seed", range(20))
def test_sums_and_products_are_exact(seed):
    rng = np.random.default_rng(seed)
    some = rng.normal(size=300) * 2.0 ** rng.integers(-1060, 1000, 300)
    x, y = (np.concatenate([rng.permutation(some), EXTREMES]) for _ in range(2))
    unit = Fraction(1, 2**-_exact_sums.LOWEST)
    total = _exact_sums.numerator(_exact_sums.exact_sum(torch.tensor(x)))
    assert total * unit == sum(map(Fraction, x))
    product = _exact_sums.numerator(_exact_sums.exact_dot(torch.tensor(x), torch.tensor(y)))
    assert product * unit == sum(Fraction(a) * Fraction(b) for a, b in zip(x, y, strict=True))


def test_all_pairs_of_extremes_multiply_exactly():
    for a, b in itertools.product(EXTREMES, repeat=2):
        x, y = (torch.tensor([v], dtype=torch.float64) for v in (a, b))
        found = _exact_sums.numerator(_exact_sums.exact_dot(x, y))
        assert Fraction(found, 2**-_exact_sums.LOWEST) == Fraction(a) * Fraction(b)


@pytest.mark.claim("draw-is-uniform")
def test_the_draw_is_splitmix64_of_the_index():
    indices = torch.tensor([0, 1, 2, 2**32, 5 * 2**32 + 7, (2**31 - 1) * 2**32 + 2**32 - 1])
    for seed in (0, 1, -1, 2**63, 2**64 - 1, 1234567):
        start = published.mix64(seed % 2**64)
        outputs = [next(published.splitmix64(start + int(i) * 0x9E3779B97F4A7C15)) for i in indices]
        found = [key % 2**64 for key in covariance_selection._draw(seed, indices).tolist()]
        assert found == outputs


@pytest.mark.claim("draw-is-uniform")
def test_every_token_and_every_pair_is_drawn_equally_often(record_property):
    """10 000 seeds, 4 of 12 eligible tokens in 3 responses: chi-square of 12 tokens and of 66 pairs."""
    indices = torch.arange(3).repeat_interleave(4) * 2**32 + torch.arange(4).repeat(3)
    draws, size, eligible = 10_000, 4, 12
    keys = torch.stack([covariance_selection._draw(seed, indices) for seed in range(draws)])
    drawn = torch.zeros_like(keys, dtype=torch.float64).scatter_(1, keys.argsort(1)[:, :size], 1.0)
    together = drawn.T @ drawn
    singles = together.diagonal() / draws
    assert together.diagonal().sum() == size * draws
    share = size / eligible
    chi_square = ((singles - share) ** 2 * draws / (share * (1 - share))).sum() * (eligible - 1) / eligible
    pairs = together[torch.triu(torch.ones(12, 12), 1).bool()] / draws
    share = size * (size - 1) / (eligible * (eligible - 1))
    error = (share * (1 - share) / draws) ** 0.5
    assert chi_square < 31.3, "the .1 % point of 11 degrees of freedom"
    assert (pairs - share).abs().max() < 4.5 * error
    record_property("chi-square of 12 tokens, 11 degrees of freedom", f"{chi_square:.1f}")
    record_property(
        "largest deviation of 66 pairs, standard errors", f"{(pairs - share).abs().max() / error:.1f}"
    )


def test_neighbouring_seeds_draw_independently():
    """Drawing 100 of 1000 by two seeds, 10 tokens are common on average."""
    indices = torch.arange(1000)
    order = [set(covariance_selection._draw(s, indices).argsort()[:100].tolist()) for s in range(200)]
    common = [len(a & b) for a, b in itertools.pairwise(order)]
    assert 9.0 < np.mean(common) < 11.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_types_and_masked_values(dtype):
    *spoilt, mask = batch(dtype)
    clean = [torch.where(mask, x, 0.0) for x in spoilt]
    found = []
    for new, old, advantages in (spoilt, clean):
        leaf = new.clone().requires_grad_()
        results = both_losses(leaf, old, advantages, mask, old_entropy=-old)
        gradients = [torch.autograd.grad(result.loss, leaf)[0] for result in results]
        assert all(torch.as_tensor(f).isfinite().all() for result in results for f in result.figures)
        assert all(g.dtype == dtype and not g[~mask].any() for g in gradients)
        found.append((torch.stack([result.loss for result in results]), torch.stack(gradients)))
    (losses, gradients), (clean_losses, clean_gradients) = found
    assert torch.equal(losses, clean_losses)
    assert torch.equal(gradients, clean_gradients)
    assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = [result.loss.item() for result in both_losses(*(x.double() for x in clean), mask)]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert losses.tolist() == pytest.approx(exact, rel=tolerance, abs=tolerance)


def test_gradients_are_those_of_finite_differences():
    *values, mask = batch()
    new, old, advantages = (torch.where(mask, x, 0.0) for x in values)
    clip = batched.clip_cov_selection(new, advantages, mask, 0.2, -0.5, 0.5, 3)
    kl = batched.kl_cov_selection(new, advantages, mask, 0.2)
    leaf = new.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: batched.clip_cov_loss(x, old, advantages, mask, clip, 0.2, 0.28).loss, leaf
    )
    for penalty in (batched.absolute_log_ratio, batched.sampled_kl_divergence):
        assert torch.autograd.gradcheck(
            lambda x, p=penalty: batched.kl_cov_loss(x, old, advantages, mask, kl, p(x, old, mask), 0.5).loss,
            leaf,
        )


def test_only_the_trained_log_probs_receive_a_gradient():
    new, old, advantages, mask = batch()
    leaves = [x.requires_grad_() for x in (new, old, advantages)]
    for result in both_losses(*leaves, mask):
        gradients = torch.autograd.grad(result.loss, leaves, allow_unused=True)
        assert gradients[0].any()
        assert not any(g is not None and g.any() for g in gradients[1:])
        assert not result.figures.batch_covariance.requires_grad


def test_the_programs_penalty_does_nothing_at_the_old_policy():
    _, old, advantages, mask = batch()
    kl = batched.kl_cov_selection(old, advantages, mask, 0.2)
    pulls = []
    for penalty in (batched.absolute_log_ratio, batched.sampled_kl_divergence):
        leaf = old.clone().requires_grad_()
        without, held = (
            torch.autograd.grad(
                batched.kl_cov_loss(leaf, old, advantages, mask, kl, penalty(leaf, old, mask), w).loss, leaf
            )[0]
            for w in (0.0, 1.0)
        )
        pulls.append(held - without)
    assert not pulls[0].any()
    torch.testing.assert_close(pulls[1], -kl.selected.double() / mask.sum(), rtol=1e-12, atol=1e-15)


def test_the_exact_divergence_is_a_penalty_too():
    """Of whole states, Equation 14: through the logits to the loss."""
    generator = torch.Generator().manual_seed(0)
    old_logits, moved = torch.randn(2, 4, 5, 7, generator=generator, dtype=torch.float64)
    logits = (old_logits + 0.3 * moved).requires_grad_()
    tokens, mask = torch.randint(0, 7, (4, 5), generator=generator), torch.ones(4, 5, dtype=torch.bool)
    taken = lambda z: batched.policy_moments(z, tokens).token_log_probs  # noqa: E731
    advantages = torch.randn(4, 5, generator=generator)
    kl = batched.kl_cov_selection(taken(logits), advantages, mask, 0.2)
    paid = batched.kl_divergence(old_logits, logits - old_logits)
    loss = lambda w: batched.kl_cov_loss(taken(logits), taken(old_logits), advantages, mask, kl, paid, w).loss  # noqa: E731
    pull = torch.autograd.grad(loss(1.0) - loss(0.0), logits, retain_graph=True)[0]
    probs, old_probs = (batched.probs(z.detach()) for z in (logits, old_logits))
    expected = torch.where(kl.selected.unsqueeze(-1), probs - old_probs, 0.0) / 20
    torch.testing.assert_close(pull, expected, rtol=1e-9, atol=1e-12)


def test_figures():
    new, old, advantages, mask = batch(seed=4, shape=(40, 50))
    clip, kl = both_losses(new, old, advantages, mask, old_entropy=-old)
    terms = batched.token_covariance_terms(new, advantages, mask)[mask]
    count = len(terms)
    ordered = sorted(terms.tolist(), reverse=True)
    tails = [ordered[: max(1, int(count * share / 10_000))] for share in (2, 20, 200, 2000, 5000)]
    for result in (clip, kl):
        figures = result.figures
        statistics = batched.token_statistics(new, advantages, mask)
        assert figures.batch_covariance.item() == pytest.approx(statistics.batch_covariance, rel=1e-12)
        assert figures.tail_means.tolist() == pytest.approx([sum(t) / len(t) for t in tails], rel=1e-12)
        assert figures.selected_share.item() == pytest.approx(count // 5 / count)
        step, centred = (new - old)[mask], torch.zeros(count, dtype=torch.float64)  # ℓ_old + H is 0 here
        assert figures.first_order_entropy_change.item() == 0
        second = -((1 + centred) * step**2 / 2).mean().item()
        assert figures.second_order_entropy_change.item() == pytest.approx(second, rel=1e-12)
    inside = ((terms > -0.5) & (terms < 0.5)).sum()
    assert clip.figures.eligible_count == inside < kl.figures.eligible_count == count
    unknown = both_losses(new, old, advantages, mask)[0].figures
    assert unknown.first_order_entropy_change.isnan()
    assert unknown.second_order_entropy_change.isnan()


@pytest.mark.usefixtures("without_shape_checks")
def test_losses_compile():
    new, old, advantages, mask = batch(torch.float32)
    clip = batched.clip_cov_selection(new, advantages, mask, 0.2, -0.5, 0.5, 3)
    kl = batched.kl_cov_selection(new, advantages, mask, 0.2)

    def losses(x):
        paid = batched.absolute_log_ratio(x, old, mask)
        return (
            batched.clip_cov_loss(x, old, advantages, mask, clip, 0.2, 0.28, old_entropy=-old).loss
            + batched.kl_cov_loss(x, old, advantages, mask, kl, paid, 0.5).loss
        )

    leaves = [new.clone().requires_grad_() for _ in range(2)]
    values = [losses(leaves[0]), torch.compile(losses, fullgraph=True, backend="eager")(leaves[1])]
    gradients = [torch.autograd.grad(v, leaf)[0] for v, leaf in zip(values, leaves, strict=True)]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


def test_a_mask_of_nothing_selects_nothing_and_loses_nothing():
    for shape in ((2, 3), (0, 3), (2, 0)):
        values = [torch.full(shape, torch.nan) for _ in range(3)]
        mask = torch.zeros(shape, dtype=torch.bool)
        for result in both_losses(*values, mask):
            assert result.loss == 0
            assert result.figures.eligible_count == 0
            assert not result.figures.tail_means.any()


T = torch.zeros(2, 3)
M = torch.ones(2, 3, dtype=torch.bool)
TERMS = T.double()
SELECTION = batched.TokenSelection(M, TERMS, 6)
ERRORS = {
    "broken token": (
        lambda: batched.kl_cov_selection(torch.full((2, 3), torch.nan), T, M, 0.5),
        ValueError,
        "6 are not. Find",
    ),
    "share": (
        lambda: batched.kl_cov_selection(T, T, M, 2.0),
        ValueError,
        "a share of the tokens, not a perc",
    ),
    "type of share": (lambda: batched.kl_cov_selection(T, T, M, "2"), TypeError, "fraction must be a number"),
    "count": (lambda: batched.selection_size(0.1, -1), ValueError, "must not be negative"),
    "bounds": (lambda: batched.clip_cov_selection(T, T, M, 0.1, 5.0, 1.0, 0), ValueError, "Exchange them"),
    "bound": (lambda: batched.clip_cov_selection(T, T, M, 0.1, 0, torch.inf, 0), ValueError, "finite number"),
    "seed": (lambda: batched.clip_cov_selection(T, T, M, 0.1, 0, 1, 0.5), TypeError, "Use the step's number"),
    "indices": (
        lambda: batched.kl_cov_candidates(TERMS, M, 6, 0.5, torch.tensor([1, 1])),
        ValueError,
        "no two alike",
    ),
    "shape of indices": (
        lambda: batched.kl_cov_candidates(TERMS, M, 6, 0.5, torch.tensor([1])),
        ValueError,
        "one whole number a response",
    ),
    "large index": (
        lambda: batched.kl_cov_candidates(TERMS, M, 6, 0.5, torch.tensor([1, 2**31])),
        ValueError,
        "from 0 to 2³¹ − 1",
    ),
    "parts": (
        lambda: batched.merge_candidates(
            [batched.kl_cov_candidates(TERMS, M, 6, f, None) for f in (0.5, 1.0)]
        ),
        ValueError,
        r"got \[3, 6\]",
    ),
    "same part": (
        lambda: batched.merge_candidates([batched.kl_cov_candidates(TERMS, M, 6, 0.5)] * 2),
        ValueError,
        "in one part only",
    ),
    "selection": (
        lambda: batched.clip_cov_loss(T[:1], T[:1], T[:1], M[:1], SELECTION, 0.2, 0.2),
        ValueError,
        "Give the rows of this part",
    ),
    "clips": (lambda: batched.clip_cov_loss(T, T, T, M, SELECTION, -0.2, 0.2), ValueError, "clip_low"),
    "mask": (lambda: batched.token_statistics(T, T, T), TypeError, r"Use response_mask.bool\(\)"),
}


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("name", ERRORS)
def test_errors_teach(name):
    call, error, says = ERRORS[name]
    with pytest.raises(error, match=says):
        call()
