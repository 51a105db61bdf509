"""The clipped loss against its literal transcription, and the extremes of the ratio band against solvers."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from entropy_core.reference import (
    clipped_policy_loss,
    covariance_over_actions,
    entropy,
    log_probs,
    probs,
    ratio_band_extremes,
    varentropy,
)
from tests.tokens import ClippedBatch, clipped_batches


def transcribed(batch: ClippedBatch):
    """PPO, Equation 7, with the two clips of DAPO, Equation 10: one token after the other, as printed."""
    totals, count = np.zeros(8), 0
    for new, old, advantage, counts in zip(
        *(x.ravel().tolist() for x in (batch.new, batch.old, batch.advantages, batch.mask)), strict=True
    ):
        if not counts:
            continue
        count += 1
        ratio = math.exp(new - old)
        clipped = max(1 - batch.clip_low, min(1 + batch.clip_high, ratio))
        term = min(ratio * advantage, clipped * advantage)
        inside = 1 - batch.clip_low <= ratio <= 1 + batch.clip_high
        low, high = (not inside and advantage * (ratio - 1) > 0 and side * advantage > 0 for side in (-1, 1))
        push = abs(ratio * advantage)
        k3 = ratio - 1 - (new - old)
        totals += [-term, low, high, old - new, k3, ratio, push, push * (low or high)]
    return totals / max(1, count)


def test_agrees_with_the_printed_equations(record_property):
    worst, edges = 0.0, 0
    for batch in clipped_batches(np.random.default_rng(0), 1500):
        found = clipped_policy_loss(*batch)
        expected = transcribed(batch)
        worst = max(worst, abs(np.array(found) - expected).max() / (1 + abs(expected).max()))
        ratios = np.exp(batch.new - batch.old)[batch.mask]
        edges += np.isin(ratios, [1 - batch.clip_low, 1 + batch.clip_high]).sum()
    record_property("largest relative error", f"{worst:.0e}")
    assert worst < 1e-13
    assert edges > 500, "ties at the edge must occur"


def test_micro_batches_add_up():
    for batch in clipped_batches(np.random.default_rng(1), 50):
        whole, count = clipped_policy_loss(*batch), batch.mask.sum()
        if count:
            parts = [clipped_policy_loss(*batch.rows(i, i + 1), count) for i in range(len(batch.mask))]
            assert np.sum(parts, axis=0) == pytest.approx(np.array(whole), rel=1e-12, abs=1e-15)


def test_what_does_not_count_is_not_read():
    mask = np.array([[True, False]])
    poisoned = [np.array([[x, np.nan]]) for x in (-1.0, -1.5, 2.0)]
    clean = [np.array([[x, -7.0]]) for x in (-1.0, -1.5, 2.0)]
    assert clipped_policy_loss(*poisoned, mask, 0.2, 0.2) == clipped_policy_loss(*clean, mask, 0.2, 0.2)
    nothing = clipped_policy_loss(*poisoned, np.zeros((1, 2), bool), 0.2, 0.2)
    assert np.array(nothing) == pytest.approx(np.zeros(8))


def test_overflowing_ratios_do_what_is_said():
    far, old, mask = np.array([[0.0]]), np.array([[-800.0]]), np.ones((1, 1), bool)
    assert clipped_policy_loss(far, old, np.array([[2.0]]), mask, 0.2, 0.3).loss == pytest.approx(-2.6)
    assert clipped_policy_loss(far, old, np.array([[-2.0]]), mask, 0.2, 0.3).loss == np.inf
    idle = clipped_policy_loss(far, old, np.array([[0.0]]), mask, 0.2, 0.3)
    assert (idle.loss, idle.weight, idle.mean_ratio) == (0.0, 0.0, np.inf)


@pytest.mark.usefixtures("without_shape_checks")
def test_bad_input_is_told_what_to_do():
    tokens, mask = (np.zeros((1, 2)),) * 3, np.ones((1, 2), bool)
    with pytest.raises(ValueError, match="distances from 1, such as 0.2 and 0.28"):
        clipped_policy_loss(*tokens, mask, 0.8, -0.2)
    with pytest.raises(ValueError, match="distances from 1"):
        clipped_policy_loss(*tokens, mask, 1.2, 0.2)
    with pytest.raises(ValueError, match="token_count must be positive; got 0"):
        clipped_policy_loss(*tokens, mask, 0.2, 0.2, 0)
    with pytest.raises(ValueError, match="clip_high must be finite for a band"):
        ratio_band_extremes(np.zeros(2), 0.2, np.inf)
    with pytest.raises(ValueError, match="old_log_probs must be finite where a token counts"):
        clipped_policy_loss(tokens[0], tokens[0] - np.inf, tokens[0], mask, 0.2, 0.2)


BANDS = [(0.2, 0.2), (0.2, 0.28), (0.1, 0.5), (0.5, 0.1), (0.999, 3.0)]


def spread(policy):
    """Entropy in nats."""
    return -(policy * np.log(np.where(policy > 0, policy, 1.0))).sum(-1)


@pytest.mark.claim("ratio-band-extremes")
@pytest.mark.parametrize("band", BANDS)
def test_least_entropy_is_that_of_the_best_vertex(band):
    rng, (low, high) = np.random.default_rng(2), band
    for logits in [*rng.normal(size=(15, 4)), *(3 * rng.normal(size=(15, 6))), np.zeros(5)]:
        policy, best = probs(logits), np.inf
        for free in range(len(policy)):
            for sides in itertools.product((1 - low, 1 + high), repeat=len(policy) - 1):
                vertex = np.insert(np.array(sides), free, 0.0) * policy
                vertex[free] = 1 - vertex.sum()
                if 1 - low - 1e-12 <= vertex[free] / policy[free] <= 1 + high + 1e-12:
                    best = min(best, spread(vertex))
        assert ratio_band_extremes(logits, *band).lowest == pytest.approx(best, abs=1e-12)


@pytest.mark.claim("ratio-band-extremes")
@pytest.mark.parametrize("band", BANDS)
def test_greatest_entropy_is_that_of_a_convex_program(band):
    rng, (low, high) = np.random.default_rng(3), band
    for logits in [*rng.normal(size=(6, 4)), *(2 * rng.normal(size=(6, 12)))]:
        policy = probs(logits)
        solved = minimize(
            lambda p: -spread(p),
            policy,
            jac=lambda p: np.log(p) + 1,
            bounds=list(zip((1 - low) * policy, (1 + high) * policy, strict=True)),
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1, "jac": np.ones_like},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        found = ratio_band_extremes(logits, *band)
        assert found.highest == pytest.approx(-solved.fun, abs=1e-7)
        assert found.highest >= -solved.fun - 1e-12, "no policy in the band may have more"


@pytest.mark.claim("ratio-band-extremes")
@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("actions", [1, 2, 10, 100, 1000])
def test_extremes_are_policies_of_the_band(band, actions):
    rng, (low, high) = np.random.default_rng(actions), band
    logits = rng.normal(size=(40, actions)) * rng.uniform(0, 8, (40, 1))
    logits[:, 1::3] = np.where(rng.random((40, 1)) < 0.3, -np.inf, logits[:, 1::3])
    policy, found = probs(logits), ratio_band_extremes(logits, *band)
    for moved, value in ((found.lowest_probs, found.lowest), (found.highest_probs, found.highest)):
        assert moved.sum(-1) == pytest.approx(np.ones(40), abs=1e-12)
        assert (moved >= (1 - low) * policy - 1e-15).all()
        assert (moved <= (1 + high) * policy + 1e-15).all()
        assert value == pytest.approx(spread(moved), abs=1e-12)
    sums = np.minimum(1 + high, rng.uniform(1, 1 + high)) * policy  # any other policy of the band
    between = 0.5 * found.lowest_probs + 0.5 * found.highest_probs
    mixed = between + 0.3 * (np.clip(sums, (1 - low) * policy, (1 + high) * policy) - policy)
    mixed = mixed / mixed.sum(-1, keepdims=True)
    inside = ((mixed >= (1 - low) * policy) & (mixed <= (1 + high) * policy)).all(-1)
    top = lambda p: np.sort(p, axis=-1)[..., ::-1].cumsum(-1)  # noqa: E731
    for other in (policy, between, np.where(inside[:, None], mixed, policy)):
        assert (top(found.lowest_probs) >= top(other) - 1e-12).all(), "the lowest must majorise the band"
        assert (top(other) >= top(found.highest_probs) - 1e-12).all(), "the highest must be majorised"


@pytest.mark.claim("ratio-band-bounds")
@pytest.mark.parametrize("band", BANDS)
def test_the_band_bounds_entropy_by_factors_and_by_the_varentropy(band, record_property):
    rng, (low, high) = np.random.default_rng(5), band
    width = np.log((1 + high) / (1 - low))
    tightest = 0.0
    for actions in (2, 10, 100, 1000):
        x = np.linspace(1e-6, 1 - 1e-6, 20001)
        largest = (x * (1 - x) * np.log(x * (actions - 1) / (1 - x)) ** 2).max()
        two_levels = np.zeros((50, actions))
        two_levels[:, 0] = np.log(actions) + np.linspace(-4, 4, 50)
        gaussian = rng.normal(size=(200, actions)) * rng.uniform(0, 6, (200, 1))
        logits = np.concatenate([two_levels, gaussian])
        start, found = entropy(logits), ratio_band_extremes(logits, *band)
        assert (found.lowest >= (1 - low) * start - 1e-12).all()
        assert (found.highest <= (1 + high) * start + 1e-12).all()
        assert (start >= found.lowest - 1e-12).all()
        assert (start <= found.highest + 1e-12).all()
        moved = np.maximum(start - found.lowest, found.highest - start)
        assert (moved <= width / 2 * np.sqrt(largest) + 1e-9).all()
        assert (varentropy(logits) <= largest + 1e-6).all()
        tightest = max(tightest, (moved / (width / 2 * np.sqrt(largest))).max())
    record_property(f"largest share of the bound, band {band}", f"{tightest:.2f}")
    assert tightest > 0.35, "some policy must come near the bound"


@pytest.mark.claim("clip-sign")
def test_cutting_the_rarest_pushes_has_one_sign(record_property):
    # E[1{π ≤ x} w (S − E S)] ≤ 0 for every x and every w ≥ 0 that does not rise with π.
    rng, worst = np.random.default_rng(6), -np.inf
    for actions in (2, 3, 10, 100, 1000):
        logits = np.sort(rng.normal(size=(400, actions)) * rng.uniform(0, 6, (400, 1)), axis=-1)
        policy, log_policy = probs(logits), log_probs(logits)
        weight = policy * (log_policy + entropy(logits)[:, None])
        mean = covariance_over_actions(policy, log_policy, logits)[:, None]
        falling = np.sort(rng.random((400, actions)), axis=-1)[:, ::-1]
        for w in (np.ones_like(falling), falling):
            worst = max(worst, (policy * w * (weight - mean)).cumsum(-1).max())
    record_property("largest partial sum", f"{worst:.0e}")
    assert worst < 1e-13
    rising = falling[:, ::-1]
    assert (policy * rising * (weight - mean)).cumsum(-1).max() > 1e-3, "a rising weight must break it"
