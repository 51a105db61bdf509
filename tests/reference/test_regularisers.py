"""Closed forms against sums over actions and the symbolic oracle; tokens against one token at a time."""

import mpmath
import numpy as np
import pytest

from entropy_core import reference as ref
from entropy_core import symbolic
from entropy_core.symbolic.interventions import regularisers
from tests.tokens import repo_batches, repo_by_loop

SIZES = [(1, 2), (1, 10), (3, 100), (7, 1000), (5, 32_000)]
NAN = float("nan")


def by_summing(coefficient, gap, right, actions):
    """P at the optimum, by the definition of the softmax of r/α in 50 digits."""
    with mpmath.workdps(50):
        up = right * mpmath.exp(mpmath.mpf(gap) / mpmath.mpf(coefficient))
        return up / (up + actions - right)


@pytest.mark.claim("bonus-transition")
@pytest.mark.parametrize(("right", "actions"), SIZES)
@pytest.mark.parametrize("coefficient", [0.01, 0.08, 0.5, 20.0])
def test_success_of_the_bonus_is_the_softmax_of_the_rewards(right, actions, coefficient, record_property):
    found = ref.entropy_bonus_success(coefficient, 0.7, right, actions)
    truth = by_summing(coefficient, 0.7, right, actions)
    error = float(abs(found - truth) / truth)
    record_property("largest relative error", f"{error:.1e}")
    assert error < 1e-13 * (1 + 0.7 / coefficient)
    rewards = 0.7 * (np.arange(actions) < right)
    optimum = ref.regularised_optimum_logits(np.zeros(actions), rewards, coefficient, 0.0)
    assert ref.probs(optimum)[:right].sum() == pytest.approx(float(truth), rel=1e-12)


@pytest.mark.claim("bonus-transition")
def test_half_the_time_at_the_critical_coefficient_and_never_where_most_actions_are_right():
    critical = ref.critical_entropy_coefficient(0.7, np.array([1, 3, 1]), np.array([3, 100, 150_000]))
    at = ref.entropy_bonus_success(critical, 0.7, np.array([1, 3, 1]), np.array([3, 100, 150_000]))
    assert abs(at - 0.5).max() < 1e-12
    assert np.isinf(ref.critical_entropy_coefficient(1.0, 5, 10))
    assert np.isinf(ref.critical_kl_coefficient(1.0, 0.7))
    assert ref.entropy_bonus_success(1e300, 1.0, 5, 10) == 0.5


@pytest.mark.claim("reference-transition")
def test_reference_keeps_its_odds_times_a_factor_whatever_the_prior():
    rng = np.random.default_rng(0)
    for n in (2, 10, 1000):
        prior, right = 3 * rng.normal(size=n), np.arange(n) < max(1, n // 7)
        optimum = ref.probs(ref.regularised_optimum_logits(prior, 0.8 * right, 0.0, 0.3))
        share = ref.probs(prior)[right].sum()
        assert ref.reference_kl_success(0.3, 0.8, share) == pytest.approx(optimum[right].sum(), rel=1e-12)
    half = ref.reference_kl_success(ref.critical_kl_coefficient(0.8, 0.02), 0.8, 0.02)
    assert half == pytest.approx(0.5, abs=1e-14)
    assert ref.critical_kl_coefficient(0.8, 0.1) == pytest.approx(
        ref.critical_entropy_coefficient(0.8, 1, 10)
    )


@pytest.mark.claim("regularised-optimum")
@pytest.mark.parametrize("coefficients", [(0.5, 0.0), (0.0, 0.5), (0.3, 0.4)])
def test_nothing_beats_the_optimum(coefficients):
    alpha, beta = coefficients
    rng = np.random.default_rng(1)
    prior, rewards = rng.normal(size=(2, 30))

    def worth(logits):
        p, ell = ref.probs(logits), ref.log_probs(logits)
        return (p * (rewards - (alpha + beta) * ell + beta * ref.log_probs(prior))).sum(axis=-1)

    best = ref.regularised_optimum_logits(prior, rewards, alpha, beta)
    others = best + rng.normal(size=(2000, 30)) * 10 ** rng.uniform(-3, 1, (2000, 1))
    assert (worth(others) < worth(best)).all()


@pytest.mark.claim("neutral-advantages")
@pytest.mark.claim("neutral-plain")
@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0])
def test_coefficients_are_those_of_the_oracle(scale):
    rng = np.random.default_rng(2)
    logits, rewards = scale * rng.normal(size=6), rng.normal(size=6)
    logits[2], rewards[2] = -np.inf, NAN
    values = {symbolic.logits: logits.tolist(), symbolic.rewards: rewards.tolist()}
    for name in ("natural_neutral_coefficient", "plain_neutral_coefficient"):
        truth = symbolic.evaluate(getattr(regularisers, name), values)
        found = getattr(ref, name)(logits, rewards)
        assert abs(found - truth) < 1e-11 * (abs(truth) + 1 / scale)


def test_uniform_policies_have_no_coefficient():
    assert ref.natural_neutral_coefficient(np.zeros((2, 5)), np.arange(5.0)).tolist() == [0.0, 0.0]
    assert ref.plain_neutral_coefficient(np.array([3.0]), np.array([1.0])) == 0.0


@pytest.mark.claim("neutral-sampled")
def test_tokens_agree_with_one_at_a_time_and_masked_values_do_not_leak():
    rng = np.random.default_rng(3)
    for (taken, entropies, gains), mask in repo_batches(rng, 1000):
        coefficient, scale = rng.normal(), rng.normal()
        sums, shaped, rescaled = repo_by_loop(taken, entropies, gains, mask, coefficient, scale)
        found = ref.repo_sums(taken, entropies, gains, mask)
        np.testing.assert_allclose(found, sums, rtol=1e-12, atol=1e-12)
        got = ref.repo_advantages(taken, entropies, gains, mask, coefficient)
        np.testing.assert_allclose(got, shaped, rtol=1e-12, atol=1e-12)
        got = ref.rescaled_repo_advantages(taken, gains, mask, scale)
        np.testing.assert_allclose(got, rescaled, rtol=1e-12, atol=1e-12)


def test_sums_of_parts_are_the_sums_of_the_whole():
    rng = np.random.default_rng(4)
    taken, entropies, gains = (
        -rng.exponential(2.0, (6, 9)),
        rng.exponential(1.0, (6, 9)),
        rng.normal(size=(6, 9)),
    )
    mask = rng.random((6, 9)) < 0.6
    whole = ref.repo_sums(taken, entropies, gains, mask)
    parts = [ref.repo_sums(taken[k], entropies[k], gains[k], mask[k]) for k in (slice(0, 2), slice(2, 6))]
    np.testing.assert_allclose(ref.merge_repo_sums(*parts), whole, rtol=1e-12)
    assert ref.natural_repo_coefficient(whole) == pytest.approx(whole[1] / whole[2])
    assert ref.plain_repo_coefficient(whole) == pytest.approx(whole[3] / whole[4])
    empty = ref.repo_sums(taken, entropies, gains, np.zeros((6, 9), bool))
    assert ref.natural_repo_coefficient(empty) == ref.plain_repo_coefficient(empty) == 0.0


@pytest.mark.claim("neutral-sampled")
def test_a_batch_with_every_action_in_its_proportion_gives_the_coefficients_of_the_policy():
    counts, rewards = np.array([5, 4, 2, 1]), np.array([1.0, 0.0, 3.0, -1.0])
    logits = np.log(counts)
    actions = np.repeat(np.arange(4), counts)[None]
    ell, gain = ref.log_probs(logits), rewards - (ref.probs(logits) * rewards).sum()
    level = np.full(actions.shape, ref.entropy(logits))
    sums = ref.repo_sums(ell[actions], level, gain[actions], np.ones(actions.shape, bool))
    assert ref.natural_repo_coefficient(sums) == pytest.approx(
        ref.natural_neutral_coefficient(logits, rewards)
    )
    assert ref.plain_repo_coefficient(sums) == pytest.approx(ref.plain_neutral_coefficient(logits, rewards))


def test_chunks_of_the_bonus_add_up():
    rng = np.random.default_rng(5)
    logits, mask = rng.normal(size=(4, 5, 7)), rng.random((4, 5)) < 0.5
    logits[~mask] = NAN
    whole = ref.entropy_bonus_loss(logits, mask, 0.2)
    parts = [ref.entropy_bonus_loss(logits[k : k + 1], mask[k : k + 1], 0.2, mask.sum()) for k in range(4)]
    assert sum(p.loss for p in parts) == pytest.approx(whole.loss, rel=1e-12)
    level = [-(p * np.log(p)).sum() for p in (ref.probs(row) for row in logits[mask])]
    assert whole.loss == pytest.approx(-0.2 * np.mean(level), rel=1e-12)
    assert (whole.mean_entropy, whole.tokens) == (pytest.approx(np.mean(level)), mask.sum())
    assert ref.entropy_bonus_loss(logits, np.zeros((4, 5), bool), 0.2).loss == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ref.entropy_bonus_success(0.0, 1.0, 1, 10), "coefficient must be positive"),
        (lambda: ref.entropy_bonus_success(0.1, 1.0, 10, 10), "below actions"),
        (lambda: ref.reference_kl_success(0.1, 1.0, 1.0), "between 0 and 1"),
        (lambda: ref.critical_entropy_coefficient(-1.0, 1, 10), "reward_gap must be positive"),
        (lambda: ref.regularised_optimum_logits(np.zeros(2), np.zeros(2), 0.0, 0.0), "one must be positive"),
        (
            lambda: ref.entropy_bonus_loss(np.zeros((1, 2, 3)), np.ones((1, 3), bool), 0.1),
            "one value a token",
        ),
    ],
)
def test_errors_teach(call, words, without_shape_checks):
    with pytest.raises(ValueError, match=words):
        call()
