"""What entropy owes to each outcome: proved again, and false if changed."""

import mpmath
import pytest
from sympy import IndexedBase, Symbol, log

from entropy_core.symbolic import (
    Certificate,
    Cov,
    Dt,
    E,
    Hypothesis,
    WrongCertificate,
    action_index,
    advantages,
    check,
    correct,
    delta_logits,
    entropy,
    entropy_of_correct,
    entropy_of_wrong,
    evaluate,
    log_probs,
    logits,
    outcomes,
    probs,
    rewards,
    success_probability,
)
from entropy_core.symbolic.outcomes import entropy_weight, level

p, i, j = success_probability, action_index("i"), action_index("j")
gap = entropy_of_correct - entropy_of_wrong
split = -p * log(p) - (1 - p) * log(1 - p) + p * entropy_of_correct + (1 - p) * entropy_of_wrong
opening = probs.at(i) * advantages.at(i) - probs.at(j) * advantages.at(j)
product, means = E(correct * log_probs * delta_logits), E(correct * log_probs) * E(correct * delta_logits)

# name of the derivation: left side, right side, a false right side
STATEMENTS = {
    "natural_crossing": (
        Cov(log_probs, advantages),
        E((log_probs + entropy) * (advantages - level)),
        E((log_probs - entropy) * (advantages - level)),
    ),
    "policy_crossing": (
        Cov(log_probs, probs * advantages),
        E((entropy_weight - E(entropy_weight)) * (advantages - level)),
        E(entropy_weight * (advantages - level)),
    ),
    "advantage_gap_velocity": (
        opening,
        (probs.at(i) - probs.at(j)) * advantages.at(i) + probs.at(j) * (rewards.at(i) - rewards.at(j)),
        (probs.at(i) - probs.at(j)) * advantages.at(i) + probs.at(i) * (rewards.at(i) - rewards.at(j)),
    ),
    "binary_covariance": (
        Cov(log_probs, correct),
        p * (1 - p) * (log(p) - log(1 - p) - gap),
        p * (1 - p) * (log(p) - log(1 - p) + gap),
    ),
    "entropy_by_outcome": (entropy, split, split + entropy_of_correct - entropy_of_wrong),
    "success_rate": (Dt(p), Cov(correct, delta_logits), Cov(correct, probs * delta_logits)),
    "entropy_within_correct": (
        Dt(entropy_of_correct),
        -(product / p - means / p**2),
        -(product / p - means / p),
    ),
}


@pytest.mark.claim("one-crossing")
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statement_is_proved_and_its_variant_refused(name):
    left, right, wrong = STATEMENTS[name]
    statement = getattr(outcomes, name)().statement
    assert statement.left == left
    assert check(statement.right, right).holds
    assert not check(left, wrong).holds


@pytest.mark.claim("noise-drift")
@pytest.mark.parametrize("name", ["noise_in_logits", "noise_in_sampled_gradient"])
def test_mean_curvature_is_proved_and_its_double_refused(name):
    statement = getattr(outcomes, name)().statement
    assert check(statement.left, statement.right).holds
    assert not check(statement.left, 2 * statement.right).holds


def test_conditional_entropies_are_those_of_the_two_parts():
    # Probabilities 1/2, 1/4, 1/8, 1/8; the correct ones 1/4 and 1/8 are 2/3 and 1/3 among themselves.
    values = {logits: [0, -mpmath.log(2), -mpmath.log(4), -mpmath.log(4)], correct: [0, 1, 1, 0]}
    with mpmath.workdps(30):
        among_correct = mpmath.log(3) - mpmath.mpf(2) / 3 * mpmath.log(2)
        among_wrong = mpmath.log(5) - mpmath.mpf(4) / 5 * mpmath.log(4)
        assert abs(evaluate(entropy_of_correct, values) - among_correct) < 1e-14
        assert abs(evaluate(entropy_of_wrong, values) - among_wrong) < 1e-14
        assert abs(evaluate(success_probability, values) - mpmath.mpf(3) / 8) < 1e-14


@pytest.mark.claim("binary-reward-flow")
@pytest.mark.parametrize("name", ["natural_flow_of_success", "natural_flow_freezes_correct"])
def test_zero_or_one_is_all_that_the_flow_needs(name):
    certificate = getattr(outcomes, name)()
    assert "c^2 - c" in certificate.latex
    (multiplier, hypothesis), *rest = certificate.terms
    assert not rest
    with pytest.raises(WrongCertificate):
        Certificate(certificate.goal, ((2 * multiplier, hypothesis),))


def test_without_zero_or_one_nothing_is_left_to_prove_it():
    a, n, member = action_index("a"), Symbol("n", integer=True, positive=True), IndexedBase("c", real=True)
    idle = Hypothesis("0", member[a] - member[a], a, n)
    with pytest.raises(WrongCertificate):
        Certificate(outcomes.natural_flow_of_success().goal, ((member[a], idle),))
