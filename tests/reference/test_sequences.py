"""Responses walked one by one, tokens one by one, and what must be refused."""

import numpy as np
import pytest

from entropy_core import reference
from tests.tokens import means_by_loop

TREE = np.array([[1, 2, -1], [3, -1, 3], [-1, 3, 4], [-1, -1, -1], [4, -1, 0]])
HORIZON = 5


def table(seed=0):
    """Logits of five states with loops, early ends and a forbidden token."""
    logits = 1.5 * np.random.default_rng(seed).normal(size=TREE.shape)
    logits[1, 2] = -np.inf
    return logits


def walked(logits, payment=None, state=0, written=0, likelihood=1.0, log_prob=0.0, known=0.0, paid=0.0):
    """Yield every response: p(y), log p(y), Σ H_t, length and reward, by textbook formulas and recursion."""
    weights = np.exp(logits[state])
    policy = weights / weights.sum()
    here = -sum(p * np.log(p) for p in policy if p > 0)
    for token, p in enumerate(policy):
        if p == 0:
            continue
        reward = paid + (0 if payment is None else payment[state, token])
        so_far = (likelihood * p, log_prob + np.log(p), known + here)
        if TREE[state, token] < 0 or written + 1 == HORIZON:
            yield (*so_far, written + 1, reward)
        else:
            yield from walked(logits, payment, TREE[state, token], written + 1, *so_far, reward)


def columns(logits, payment=None):
    """All responses as arrays."""
    return np.array(list(walked(logits, payment))).T


def entropy_of(logits):
    """−Σ p log p over all responses."""
    p, log_p, *_ = columns(logits)
    return -(p * log_p).sum()


@pytest.mark.claim("sequence-chain-rule")
def test_entropy_is_that_of_the_distribution_over_responses():
    logits = table()
    p, _, known, length, _ = columns(logits)
    assert p.sum() == pytest.approx(1)
    assert reference.sequence_entropy(logits, TREE, HORIZON) == pytest.approx(entropy_of(logits), rel=1e-13)
    assert (p * known).sum() == pytest.approx(entropy_of(logits), rel=1e-13)
    assert reference.expected_visits(logits, TREE, HORIZON).sum() == pytest.approx((p * length).sum())


@pytest.mark.claim("sequence-entropy-slope")
def test_gradient_is_the_difference_quotient_of_that_entropy():
    logits, step = table(1), 1e-6
    gradient = reference.sequence_entropy_gradient(logits, TREE, HORIZON)
    for place in np.argwhere(np.isfinite(logits)):
        up, down = logits.copy(), logits.copy()
        up[tuple(place)] += step
        down[tuple(place)] -= step
        quotient = (entropy_of(up) - entropy_of(down)) / (2 * step)
        assert gradient[tuple(place)] == pytest.approx(quotient, abs=1e-8)
    assert gradient[1, 2] == 0
    assert abs(gradient.sum(axis=-1)).max() < 1e-14
    direction = np.random.default_rng(2).normal(size=logits.shape)
    parts = reference.first_order_sequence_entropy_change(logits, direction, TREE, HORIZON)
    assert sum(parts) == pytest.approx((gradient * direction).sum(), rel=1e-12)
    visits = reference.expected_visits(logits, TREE, HORIZON)
    lemma = (visits[:, None] * reference.entropy_gradient(logits) * direction).sum()
    assert parts.token_part == pytest.approx(lemma, rel=1e-12)


@pytest.mark.claim("natural-step-on-responses")
def test_natural_step_is_the_covariance_over_responses():
    tree = np.array([[1, 2, -1], [3, -1, -1], [-1, -1, -1], [-1, -1, -1]])
    logits, payment = np.random.default_rng(4).normal(size=(2, *tree.shape))
    step = reference.sequence_advantages(logits, payment, tree, 3)
    parts = reference.first_order_sequence_entropy_change(logits, step, tree, 3)
    assert sum(parts) == pytest.approx(-covariance(*leaves(logits, payment, tree)), rel=1e-12)
    assert parts.token_part != pytest.approx(sum(parts), rel=1e-2), "the lemma alone is not enough"


def test_natural_step_differs_where_prefixes_share_a_row():
    loop, logits = np.array([[0, 0, -1]]), np.array([[0.0, 1.0, 0.5]])
    payment = np.array([[1.0, -1.0, 2.0]])
    step = reference.sequence_advantages(logits, payment, loop, 3)
    shared = sum(reference.first_order_sequence_entropy_change(logits, step, loop, 3))
    unrolled = np.array([[1, 2, -1], [3, 4, -1], [5, 6, -1], *[[-1, -1, -1]] * 4])
    found = leaves(np.repeat(logits, 7, axis=0), np.repeat(payment, 7, axis=0), unrolled)
    assert shared != pytest.approx(-covariance(*found), rel=1e-2)


def covariance(p, log_p, reward):
    """Cov(log p, R) over responses."""
    return (p * log_p * reward).sum() - (p * log_p).sum() * (p * reward).sum()


def leaves(logits, payment, tree):
    """Probability, log-probability and reward of every response of a tree."""
    found, ell = [], reference.log_probs(logits)

    def down(state, log_p, reward):
        for token, nxt in enumerate(tree[state]):
            if np.isfinite(ell[state, token]):
                here = log_p + ell[state, token], reward + payment[state, token]
                found.append((np.exp(here[0]), *here)) if nxt < 0 else down(nxt, *here)

    down(0, 0.0, 0.0)
    return np.array(found).T


def test_advantages_are_the_gradient_of_the_expected_reward():
    logits, payment, step = table(5), np.random.default_rng(6).normal(size=TREE.shape), 1e-6

    def expected(z):
        p, *_, reward = columns(z, payment)
        return (p * reward).sum()

    visits = reference.expected_visits(logits, TREE, HORIZON)[:, None]
    gain = visits * reference.probs(logits) * reference.sequence_advantages(logits, payment, TREE, HORIZON)
    for place in np.argwhere(np.isfinite(logits)):
        up, down = logits.copy(), logits.copy()
        up[tuple(place)] += step
        down[tuple(place)] -= step
        assert gain[tuple(place)] == pytest.approx((expected(up) - expected(down)) / (2 * step), abs=1e-8)


@pytest.mark.claim("logged-entropies")
def test_averages_are_expectations_over_responses():
    logits = table(7)
    p, log_p, known, length, _ = columns(logits)
    found = reference.entropy_averages(logits, TREE, HORIZON)
    mean = lambda x: (p * x).sum()  # noqa: E731
    expected = (
        mean(known),
        mean(known) / mean(length),
        mean(known / length),
        mean(-log_p / length),
        mean(length),
    )
    assert found == pytest.approx(expected, rel=1e-13)
    assert abs(found.per_response - found.surprisal_per_response) > 1e-3


@pytest.mark.claim("response-estimator-variances")
def test_variances_are_those_over_responses():
    logits = table(8)
    p, log_p, known, *_ = columns(logits)
    found = reference.estimator_variances(logits, TREE, HORIZON)
    for value, x in zip(found, (-log_p, known), strict=True):
        assert value == pytest.approx((p * x**2).sum() - (p * x).sum() ** 2, rel=1e-11)


def batch(seed=9, responses=7, longest=6):
    """Values of tokens with NaN behind the end of each response; one row is empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, size=responses)
    lengths[2] = 0
    mask = np.arange(longest) < lengths[:, None]
    return np.where(mask, rng.normal(size=mask.shape), np.nan), mask


@pytest.mark.claim("logged-entropies")
def test_means_over_tokens_and_responses_are_loops():
    values, mask = batch()
    looped = means_by_loop(values, mask)
    error = looped.pop("its error")
    for name, mean in looped.items():
        assert getattr(reference, name)(values, mask) == pytest.approx(mean, rel=1e-14)
    for call, given in (
        (reference.sequence_entropy_from_entropies, values),
        (reference.sequence_entropy_from_log_probs, -values),
    ):
        found = call(given, mask)
        assert found.estimate == pytest.approx(looped["mean_of_response_sums"], rel=1e-14)
        assert found.standard_error == pytest.approx(error, rel=1e-13)


def test_no_token_and_one_response():
    nothing = np.zeros((2, 3), bool)
    assert reference.token_mean(np.full((2, 3), np.nan), nothing) == 0
    assert reference.mean_of_response_means(np.full((2, 3), np.nan), nothing) == 0
    single = reference.sequence_entropy_from_entropies(np.ones((1, 3)), np.ones((1, 3), bool))
    assert single.estimate == 3
    assert np.isnan(single.standard_error)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"horizon": 0}, ValueError, "horizon must be at least 1; 0 came"),
        ({"horizon": 2.0}, TypeError, "horizon must be an integer; float came"),
        ({"horizon": True}, TypeError, "horizon must be an integer; bool came"),
        ({"next_states": TREE.astype(float)}, TypeError, "next_states must be integers"),
        ({"next_states": TREE[:, :2]}, ValueError, r"next_states \[states, actions\]"),
        ({"next_states": TREE + 1}, ValueError, r"must lie in −1 … 4; 0 … 5 came"),
        ({"next_states": TREE - 1}, ValueError, r"must lie in −1 … 4; -2 … 3 came"),
        ({"logits": np.zeros(3)}, ValueError, r"logits must be \[..., states, actions\]"),
        ({"logits": np.full((5, 3), np.nan)}, ValueError, "must not be NaN"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_what_is_no_world_is_refused(change, error, message):
    given = {"logits": table(), "next_states": TREE, "horizon": HORIZON} | change
    with pytest.raises(error, match=message):
        reference.sequence_entropy(**given)
