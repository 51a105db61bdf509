"""Conservation laws of the two gradients: proved again, and false if changed."""

import mpmath
import pytest

from entropy_core.symbolic import (
    Certificate,
    Dt,
    E,
    Total,
    WrongCertificate,
    action_index,
    advantages,
    check,
    delta_logits,
    evaluate,
    log_probs,
    logits,
    probs,
    rewards,
    ties,
)
from entropy_core.symbolic.ties import normaliser, reciprocal

i, j = action_index("i"), action_index("j")
gap = rewards.at(i) - rewards.at(j)
crossed = probs.at(j) * probs.at(i) * advantages.at(i) - probs.at(i) * probs.at(j) * advantages.at(j)

# name of the derivation: left side, right side, a false right side
STATEMENTS = {
    "log_odds_velocity": (
        Dt(log_probs.at(i) - log_probs.at(j)),
        delta_logits.at(i) - delta_logits.at(j),
        delta_logits.at(i) + delta_logits.at(j),
    ),
    "log_odds_under_natural_gradient": (advantages.at(i) - advantages.at(j), gap, gap * probs.at(i)),
    "reciprocal_under_policy_gradient": (
        -reciprocal.at(i) * probs.at(i) * advantages.at(i),
        -(rewards.at(i) - E(rewards)) / normaliser,
        -rewards.at(i) / normaliser,
    ),
    "conserved_sum": (Total(probs * advantages), 0, Total(advantages)),
    "gradients_of_two_actions": (crossed, probs.at(i) * probs.at(j) * gap, probs.at(i) * gap),
}


@pytest.mark.claim("odds-of-equals")
@pytest.mark.claim("policy-gradient-integrals")
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statement_is_proved_and_its_variant_refused(name):
    left, right, wrong = STATEMENTS[name]
    statement = getattr(ties, name)().statement
    assert statement.left == left
    assert check(statement.right, right).holds
    assert not check(left, wrong).holds


def test_reciprocal_is_what_its_velocity_says():
    statement = ties.reciprocal_velocity().statement
    assert check(statement.left, -reciprocal.at(i) * delta_logits.at(i)).holds
    assert not check(statement.left, -probs.at(i) * delta_logits.at(i)).holds
    values = {logits: [0, -mpmath.log(2), mpmath.log(4)]}
    with mpmath.workdps(30):
        assert abs(evaluate(normaliser, values) - mpmath.mpf(11) / 2) < 1e-14
        assert abs(evaluate(E(reciprocal), values) - mpmath.mpf(3) / (mpmath.mpf(11) / 2)) < 1e-14


@pytest.mark.claim("policy-gradient-integrals")
@pytest.mark.parametrize("name", ["conserved_difference", "conserved_triple"])
def test_each_hypothesis_is_needed(name):
    certificate = getattr(ties, name)()
    assert len(certificate.terms) == 3
    for k in range(3):
        with pytest.raises(WrongCertificate):
            Certificate(certificate.goal, certificate.terms[:k] + certificate.terms[k + 1 :])
