"""Whole paths as symbols: proved again, false if changed, and the clock is x + sinh x."""

import mpmath
import pytest
from sympy import Rational, exp, log

from entropy_core.symbolic import (
    Certificate,
    Cov,
    Dt,
    E,
    Partial,
    Total,
    WrongCertificate,
    action_index,
    advantages,
    check,
    correct,
    delta_logits,
    entropy,
    evaluate,
    fisher,
    log_probs,
    logits,
    new_entropy,
    new_probs,
    probs,
    rewards,
    success_probability,
    trajectories,
)
from entropy_core.symbolic.trajectories import (
    collision_of_correct,
    collision_of_wrong,
    escape_clock,
    temperature,
)

p, i, j = success_probability, action_index("i"), action_index("j")
normaliser = log(E(exp(delta_logits)))
moved = Total(new_probs * delta_logits)
direction = advantages.at(j) - temperature * (log_probs.at(j) + entropy)
pull = advantages - temperature * (log_probs + entropy)

# name of the derivation: left side, right side, a false right side
STATEMENTS = {
    "escape_clock_along_any_path": (
        Dt(escape_clock),
        Cov(correct, delta_logits) / (2 * p**2 * (1 - p) ** 2),
        Cov(correct, delta_logits) / (p**2 * (1 - p) ** 2),
    ),
    "success_under_policy_gradient": (
        Cov(correct, probs * (correct - p)),
        E(probs * (correct - p) ** 2),
        E((correct - p) ** 2),
    ),
    "natural_gradient_entropy": (
        new_entropy,
        normaliser - moved - Total(new_probs * log_probs),
        normaliser + moved - Total(new_probs * log_probs),
    ),
    "regularised_natural_gradient": (
        Total(fisher(i, j) * direction, j),
        Partial(E(rewards) + temperature * entropy, logits.at(i)),
        Partial(E(rewards) - temperature * entropy, logits.at(i)),
    ),
    "regularised_gap_velocity": (
        pull.xreplace({advantages: advantages.at(i), log_probs: log_probs.at(i)})
        - pull.xreplace({advantages: advantages.at(j), log_probs: log_probs.at(j)}),
        rewards.at(i) - rewards.at(j) - temperature * (logits.at(i) - logits.at(j)),
        rewards.at(i) - rewards.at(j) + temperature * (logits.at(i) - logits.at(j)),
    ),
}


@pytest.mark.claim("escape-clock")
@pytest.mark.claim("regularised-path")
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statement_is_proved_and_its_variant_refused(name):
    left, right, wrong = STATEMENTS[name]
    statement = getattr(trajectories, name)().statement
    assert check(statement.left, left).holds
    assert check(statement.right, right).holds
    assert not check(left, wrong).holds


@pytest.mark.claim("escape-clock")
def test_zero_or_one_splits_the_rate_by_outcome():
    certificate = trajectories.split_by_outcome()
    assert "c^2 - c" in certificate.latex
    ((multiplier, hypothesis),) = certificate.terms
    with pytest.raises(WrongCertificate):
        Certificate(certificate.goal, ((2 * multiplier, hypothesis),))


@pytest.mark.claim("escape-clock")
def test_the_clock_runs_at_half_the_two_collisions():
    statement = trajectories.escape_clock_under_policy_gradient()
    assert statement.left == Dt(escape_clock)
    assert check(statement.right, (collision_of_correct + collision_of_wrong) / 2).holds
    assert not check(statement.right, collision_of_correct + collision_of_wrong).holds


def test_the_clock_is_the_logit_plus_its_hyperbolic_sine():
    # Probabilities 1/2, 1/4, 1/8, 1/8 with the second and third correct: P = 3/8, logit P = log(3/5).
    values = {logits: [0, -mpmath.log(2), -mpmath.log(4), -mpmath.log(4)], correct: [0, 1, 1, 0]}
    with mpmath.workdps(30):
        x = mpmath.log(mpmath.mpf(3) / 5)
        assert abs(evaluate(escape_clock, values) - x - mpmath.sinh(x)) < 1e-14
        assert abs(evaluate(collision_of_correct, values) - mpmath.mpf(5) / 9) < 1e-14
        assert abs(evaluate(collision_of_wrong, values) - mpmath.mpf(17) / 25) < 1e-14


@pytest.mark.claim("two-action-law")
def test_with_two_actions_the_clock_runs_at_one():
    for gap in (-3, Rational(1, 2), 7):
        rate = evaluate((collision_of_correct + collision_of_wrong) / 2, {logits: [gap, 0], correct: [1, 0]})
        assert abs(rate - 1) < 1e-30
