"""The step of one sampled token as symbols: proved again, and false if changed."""

import pytest
from sympy import KroneckerDelta, LambertW, Symbol, exp, series, simplify

from entropy_core.symbolic import (
    Cov,
    E,
    Indicator,
    Total,
    action_index,
    advantages,
    check,
    delta_logits,
    entropy,
    first_order_entropy_change,
    fisher,
    log_probs,
    outcomes,
    probs,
    sampled_token,
    second_order_entropy_change,
    step_size,
)
from entropy_core.symbolic.sampled_token import sampled_advantage, scaling, token_entropy_scores

a, i, j = (action_index(name) for name in "aij")
rate, score = step_size * sampled_advantage, token_entropy_scores.at(a)
base = Cov(probs, log_probs)
step = Indicator(a) - probs
slope = 1 + log_probs + entropy
pairs = Total(
    Total(probs.at(i) * probs.at(j) * (probs.at(i) - probs.at(j)) * (log_probs.at(i) - log_probs.at(j)), j),
    i,
)
drawn = probs.at(a) * step_size * advantages.at(a) * (KroneckerDelta(a, i) - probs.at(i))

# name of the derivation: left side, right side, a false right side
STATEMENTS = {
    "sampled_entropy_rate": (-Cov(log_probs, rate * step), -rate * (score - base), -rate * score),
    "finite_covariance": (
        Cov(exp(delta_logits), log_probs),
        Total(token_entropy_scores * exp(delta_logits)),
        E(token_entropy_scores * exp(delta_logits)),
    ),
    "mean_score": (E(token_entropy_scores), base, Cov(probs, log_probs) / 2),
    "average_score": (Total(token_entropy_scores), 0, base),
    "ordered_pairs": (base, pairs / 2, pairs),
    "average_step": (
        Total(drawn, a),
        step_size * probs.at(i) * advantages.at(i),
        step_size * advantages.at(i),
    ),
    "average_entropy_rate": (
        Total(probs * (-step_size * advantages * (token_entropy_scores - base))),
        -step_size * Cov(log_probs, probs * advantages),
        -step_size * Cov(log_probs, advantages),
    ),
    "diagonal_entropy_rate": (
        -Cov(log_probs, rate * scaling * step),
        -rate * (scaling.at(a) * score - Cov(log_probs, scaling * probs)),
        -rate * scaling.at(a) * (score - base),
    ),
    "sign_entropy_rate": (
        -Cov(log_probs, step_size * (2 * Indicator(a) - 1)),
        -2 * step_size * score,
        -2 * step_size * (score - base),
    ),
    "natural_direction": (
        Total(fisher(i, j) * KroneckerDelta(a, j) / probs.at(j), j),
        KroneckerDelta(a, i) - probs.at(i),
        KroneckerDelta(a, i),
    ),
    "natural_entropy_rate": (
        -Cov(log_probs, rate * Indicator(a) / probs),
        -rate * (log_probs.at(a) + entropy),
        -rate * (score - base),
    ),
}


@pytest.mark.claim("sampled-token-rate")
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statement_is_proved_and_its_variant_refused(name):
    left, right, wrong = STATEMENTS[name]
    statement = getattr(sampled_token, name)().statement
    assert check(statement.left, left).holds
    assert check(statement.right, right).holds
    assert not check(left, wrong).holds


@pytest.mark.claim("sampled-token-second-order")
def test_second_order_is_the_curvature_along_the_step():
    statement, second = sampled_token.sampled_second_order().statement, -(rate**2) / 2
    beyond = second_order_entropy_change - first_order_entropy_change
    taken = beyond.xreplace({delta_logits: sampled_token.sampled_token_delta_logits})
    assert check(taken, second * statement.right).holds
    assert not check(taken, second * E(slope * step**2)).holds
    assert check(sampled_token.policy_curvature, E(slope * (probs - E(probs)) ** 2)).holds


@pytest.mark.claim("sampled-token-second-order")
def test_second_order_averages_to_the_drift_by_noise():
    per_token = sampled_token.sampled_second_order().last
    assert check(Total(probs.at(a) * per_token, a), outcomes.noise_in_sampled_gradient().last).holds


@pytest.mark.claim("neutral-probability-bounds")
def test_neutral_probability_solves_its_equation_and_starts_with_three_terms():
    t, nats, k = (Symbol(name, positive=True) for name in ("t", "H", "k"))
    baseline, neutral = t * exp(t - nats), exp(t - nats)  # t e^t = e^H Cov
    assert simplify(neutral * (t - nats + nats) - baseline) == 0
    expansion = series(exp(LambertW(k)), k, 0, 4).removeO()
    assert expansion.equals(1 + k - k**2 / 2 + 2 * k**3 / 3)
