"""The two steps as symbols: what centring does, where they differ, and what must be refused."""

import pytest
from sympy import KroneckerDelta, Rational, log, simplify

from entropy_core.symbolic import (
    Cov,
    E,
    Partial,
    Scalar,
    Total,
    WrongLine,
    action_index,
    advantages,
    check,
    entropy,
    fisher,
    fisher_pseudo_inverse,
    log_probs,
    logits,
    named_matrix,
    natural_gradient_delta_logits,
    number_of_actions,
    policy_gradient_delta_logits,
    probs,
    rewards,
    softmax,
    step_size,
    updates,
)

n, A, pi, ell, eta = number_of_actions, advantages, probs, log_probs, step_size
i, j, k = map(action_index, "ijk")
c = Scalar("shift", "c")


def test_policy_gradient_step_is_the_gradient_of_the_expected_reward():
    step = policy_gradient_delta_logits.xreplace({probs: probs.at(i), advantages: rewards.at(i) - E(rewards)})
    assert check(step_size * Partial(E(rewards), logits.at(i)), step).holds


def test_natural_step_is_the_policy_gradient_step_without_the_weight():
    assert check(policy_gradient_delta_logits, probs * natural_gradient_delta_logits).holds
    assert not check(policy_gradient_delta_logits, natural_gradient_delta_logits).holds


@pytest.mark.parametrize("shift", [1, -3])
def test_constant_rewards_drop_out_of_both_steps(shift):
    moved = {rewards: rewards + shift}
    for step in (policy_gradient_delta_logits, natural_gradient_delta_logits):
        written_out = step.xreplace({advantages: advantages.definition})
        assert check(step, written_out.xreplace(moved)).holds


def test_without_centring_the_weighted_form_keeps_the_constant():
    assert not check(Cov(log_probs, probs * (rewards + 1)), Cov(log_probs, probs * rewards)).holds
    assert check(Cov(log_probs, rewards + 1), Cov(log_probs, rewards)).holds


@pytest.mark.claim("fisher-pseudo-inverse")
def test_penrose_conditions_are_those_of_the_pseudo_inverse():
    right, left, inner, outer = (d.statement for d in softmax.penrose_conditions())
    centring = KroneckerDelta(i, j) - 1 / n
    assert check(right.left, Total(fisher(i, k) * fisher_pseudo_inverse(k, j), k)).holds
    assert all(check(side.right, centring).holds for side in (right, left))
    assert check(inner.right, fisher(i, j)).holds
    assert check(outer.right, fisher_pseudo_inverse(i, j)).holds


def test_the_reciprocal_probabilities_alone_are_not_the_pseudo_inverse():
    product = Total(fisher(i, k) * KroneckerDelta(k, j) / pi.at(k), k)
    transposed = Total(KroneckerDelta(i, k) / pi.at(k) * fisher(k, j), k)
    assert not check(product, Total(fisher(j, k) * KroneckerDelta(k, i) / pi.at(k), k)).holds
    assert not check(product, transposed).holds


@pytest.mark.parametrize(
    ("derivation", "end"),
    [
        (softmax.pseudo_inverse_entries, fisher_pseudo_inverse(i, j)),
        (updates.policy_gradient_of_reward, pi.at(j) * A.at(j)),
        (updates.natural_gradient_of_reward, A.at(i) - Total(A) / n),
        (updates.natural_gradient_gauge, pi.at(i) * A.at(i)),
        (updates.log_probs_under_policy_gradient, eta * pi * A - eta * E(pi * A)),
        (updates.log_probs_under_natural_gradient, eta * A),
        (updates.natural_gradient_entropy_rate, -eta * E((ell + entropy) * A)),
        (updates.policy_gradient_entropy_rate, -eta * Total(pi**2 * (ell + entropy) * A)),
        (updates.baseline_in_natural_gradient, E(ell * A)),
        (updates.baseline_in_policy_gradient, Cov(ell, pi * A) + c * Cov(ell, pi)),
    ],
)
def test_named_derivations_end_where_they_say(derivation, end):
    last = derivation().last
    assert last == end or check(last, end).holds


def test_wrong_versions_are_refused():
    with pytest.raises(WrongLine):
        updates.policy_gradient_entropy_rate().to(-eta * Cov(ell, A), "the other update")
    with pytest.raises(WrongLine):
        updates.natural_gradient_of_reward().to(A.at(i), "another gauge")
    assert not check(Cov(ell, pi * (A + c)), Cov(ell, pi * A)).holds


def test_entries_of_a_named_matrix_stand_for_their_definition():
    matrix = named_matrix("M", "M", lambda a, b: pi.at(a) * A.at(b))
    assert check(Total(matrix(i, i), i), E(A)).holds
    assert not check(matrix(i, j), matrix(j, i)).holds


def mean(weights, field):
    """Return the expectation under weights over their sum, as a rational or a multiple of log 2."""
    return sum((Rational(w, 7) * f for w, f in zip(weights, field, strict=True)), Rational(0))


def covariance_with_log_weights(weights, field):
    """Return Cov(log π, f) for weights that are powers of 2 with sum 7, exactly."""
    logs = [log(w).expand() for w in weights]
    products = [ell * f for ell, f in zip(logs, field, strict=True)]
    return simplify(mean(weights, products) - mean(weights, logs) * mean(weights, field))


@pytest.mark.claim("opposite-signs")
def test_two_covariances_of_opposite_sign_in_powers_of_two():
    weights, values = (4, 2, 1), (-1, 5, -6)
    weighted = [Rational(w, 7) * value for w, value in zip(weights, values, strict=True)]
    assert mean(weights, values) == 0
    assert covariance_with_log_weights(weights, values) == Rational(2, 7) * log(2)
    assert covariance_with_log_weights(weights, weighted) == -Rational(64, 343) * log(2)
