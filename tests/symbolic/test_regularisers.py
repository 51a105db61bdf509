"""Bonus, reference divergence and neutral advantages: proved again, and false if changed."""

import pytest
from sympy import Rational, log

from entropy_core.symbolic import (
    Cov,
    DBeta,
    E,
    Kappa,
    Partial,
    Total,
    Var,
    WrongCertificate,
    action_index,
    advantages,
    check,
    entropy,
    evaluate,
    inverse_temperature,
    log_probs,
    logits,
    probs,
    rewards,
    step_size,
    temperature_path,
)
from entropy_core.symbolic.certificate import Certificate
from entropy_core.symbolic.interventions import regularisers
from entropy_core.symbolic.interventions.regularisers import (
    entropy_coefficient,
    kl_coefficient,
    natural_neutral_coefficient,
    neutral_advantages,
    optimal_log_probs,
    plain_neutral_coefficient,
    reference_kl,
    reference_log_probs,
    sharpness,
)

i, j = action_index("i"), action_index("j")
excess, alpha, beta = log_probs + entropy, entropy_coefficient, kl_coefficient
divergence = reference_kl
value = E(rewards) + (1 / sharpness - beta) * entropy - beta * divergence
pull = sharpness * (rewards + beta * reference_log_probs)
gap = E(log_probs - optimal_log_probs)
top = log(Total(regularisers.exp(pull)))
shaped = advantages - alpha * excess
of_two = Cov(log_probs, advantages) ** 2 / Var(log_probs)
of_plain = Cov(log_probs, probs * advantages) ** 2 / E(probs * excess**2)
at_j = probs.at(j) * (advantages.at(j) - alpha * (log_probs.at(j) + entropy))

# name of the derivation: left side, right side, a false right side
STATEMENTS = {
    "regularised_value": (sharpness * value, top - gap, top + gap),
    "bonus_of_shaped_advantages": (
        Partial(E(rewards) + alpha * entropy, logits.at(j)),
        at_j,
        at_j + 2 * alpha * probs.at(j) * (log_probs.at(j) + entropy),
    ),
    "natural_neutral_entropy_rate": (
        -Cov(log_probs, shaped),
        -Cov(log_probs, advantages) + alpha * Var(log_probs),
        -Cov(log_probs, advantages) - alpha * Var(log_probs),
    ),
    "natural_neutral_reward_rate": (
        Cov(advantages, neutral_advantages),
        Var(advantages) - of_two,
        Var(advantages) - of_plain,
    ),
    "plain_neutral_entropy_rate": (
        -Cov(log_probs, probs * shaped),
        -Cov(log_probs, probs * advantages) + alpha * Total(probs**2 * excess**2),
        -Cov(log_probs, probs * advantages) + alpha * Var(log_probs),
    ),
    "plain_neutral_reward_rate": (
        Cov(rewards, probs * (advantages - plain_neutral_coefficient * excess)),
        E(probs * advantages**2) - of_plain,
        Var(advantages) - of_plain,
    ),
    "plain_rate_of_the_natural_coefficient": (
        -Cov(log_probs, probs * neutral_advantages),
        (natural_neutral_coefficient - plain_neutral_coefficient) * E(probs * excess**2),
        0 * alpha,
    ),
}


@pytest.mark.claim("neutral-advantages")
@pytest.mark.claim("neutral-plain")
@pytest.mark.claim("regularised-optimum")
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statement_is_proved_and_its_variant_refused(name):
    left, right, wrong = STATEMENTS[name]
    statement = getattr(regularisers, name)().statement
    assert statement.left == left
    assert check(statement.right, right).holds
    assert not check(statement.right, wrong).holds


@pytest.mark.claim("neutral-advantages")
def test_second_order_of_a_neutral_step_is_the_curvature_alone():
    curvature = E((1 + excess) * neutral_advantages**2)
    tail = Kappa(log_probs, neutral_advantages, neutral_advantages)
    proved = regularisers.natural_neutral_second_order().last
    expected, wrong = (-Rational(1, 2) * step_size**2 * x for x in (curvature, tail))
    values = {logits: [0.3, -1.0, 0.9, 0.0], rewards: [1.0, 0.5, -0.2, 0.0], step_size: 0.1}
    found, right, without_variance = evaluate((proved, expected, wrong), values, digits=30)
    assert abs(found - right) < 1e-28
    assert abs(found - without_variance) > 1e-4


@pytest.mark.claim("regularised-optimum")
def test_direction_of_the_divergence_is_the_log_ratio():
    statement = regularisers.regularised_direction().statement
    gradient = Partial(E(rewards) + alpha * entropy - beta * divergence, logits.at(i))
    assert check(statement.right, gradient).holds
    assert not check(statement.left, Partial(E(rewards) + alpha * entropy, logits.at(i))).holds


@pytest.mark.claim("bonus-transition")
def test_entropy_grows_with_log_alpha_by_the_varentropy():
    statement = regularisers.entropy_against_coefficient().statement
    assert check(statement.left, Var(log_probs), temperature_path).holds
    assert not check(
        -inverse_temperature * DBeta(entropy), inverse_temperature * Var(log_probs), temperature_path
    ).holds


@pytest.mark.claim("reference-transition")
def test_odds_need_every_c_to_be_zero_or_one():
    certificate = regularisers.odds_at_the_optimum()
    multiplier, hypothesis = certificate.terms[0]
    assert certificate.how_checked.startswith("proved for every size")
    with pytest.raises(WrongCertificate):
        Certificate(certificate.goal, ((2 * multiplier, hypothesis),))
