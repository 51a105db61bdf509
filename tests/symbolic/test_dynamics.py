"""Every named derivation about entropy is proved again, says what it should say, and is false if changed."""

import pytest
from sympy import Rational, exp

from entropy_core.symbolic import (
    Cov,
    Dt,
    E,
    Grad,
    Indicator,
    Kappa,
    Partial,
    Total,
    Var,
    action_index,
    any_path,
    check,
    delta_logits,
    dynamics,
    entropy,
    entropy_change,
    entropy_gradient,
    first_order_entropy_change,
    log_probs,
    logits,
    new_log_probs,
    new_probs,
    probs,
    probs_ratio,
    reverse_kl_divergence,
    second_order_entropy_change,
    straight_path,
    third_order_entropy_change,
)

j = action_index("j")
u, score = delta_logits, delta_logits - E(delta_logits)
slope = Partial(entropy, logits.at(j))
in_logits = -probs.at(j) * (log_probs.at(j) + entropy)
curvature = -E(score**2 * (1 + log_probs + entropy))
taylor = Dt(entropy) + Rational(1, 2) * Dt(Dt(entropy))

# name of the derivation: left side, right side, a false right side, path
STATEMENTS = {
    "entropy_gradient_covariance": (
        Grad(entropy),
        -Cov(log_probs, Grad(logits)),
        Cov(log_probs, Grad(logits)),
        any_path,
    ),
    "entropy_gradient_logits": (slope, in_logits, -(log_probs.at(j) + entropy), any_path),
    "entropy_gradient_as_covariance": (
        slope,
        -Cov(log_probs, Indicator(j)),
        -Cov(log_probs, probs),
        any_path,
    ),
    "entropy_lemma": (Dt(entropy), -Cov(log_probs, u), -Cov(log_probs, probs * u), any_path),
    "lemma_second_order": (Dt(Dt(entropy)), curvature, -E(score**2 * (log_probs + entropy)), straight_path),
    "second_order_expansion": (
        taylor,
        second_order_entropy_change,
        first_order_entropy_change + curvature,
        straight_path,
    ),
    "exact_entropy_change": (
        entropy_change,
        -Cov(probs_ratio, log_probs) - reverse_kl_divergence,
        -Cov(probs_ratio, log_probs) + reverse_kl_divergence,
        any_path,
    ),
}
CLAIMS = {
    "entropy_gradient_covariance": "entropy-gradient-covariance",
    "entropy_gradient_logits": "entropy-gradient-logits",
    "entropy_gradient_as_covariance": "entropy-gradient-logits",
    "entropy_lemma": "entropy-lemma",
    "lemma_second_order": "lemma-second-order",
    "second_order_expansion": "lemma-second-order",
    "exact_entropy_change": "exact-entropy-change",
}
NAMES = [pytest.param(name, marks=pytest.mark.claim(CLAIMS[name])) for name in STATEMENTS]


@pytest.mark.parametrize("name", NAMES)
def test_named_derivation_proves_its_statement(name):
    left, right, _, path = STATEMENTS[name]
    derivation = getattr(dynamics, name)()
    assert (derivation.start, derivation.last, derivation.along) == (left, right, path)


@pytest.mark.parametrize("name", STATEMENTS)
def test_changed_statement_is_refused_by_all_three_checks(name):
    left, _, changed, path = STATEMENTS[name]
    verdict = check(left, changed, path)
    assert not verdict.general
    assert verdict.exact != ()
    assert verdict.numeric != ()


def test_curvature_is_variance_and_third_cumulant():
    lines = [line.expression for line in dynamics.lemma_second_order().lines]
    assert -Var(u) - Kappa(log_probs, u, u) in lines


def test_expressions_with_the_names_of_the_numeric_layers_are_what_they_say():
    assert check(Dt(entropy), first_order_entropy_change).holds
    assert check(slope, entropy_gradient.xreplace({probs: probs.at(j), log_probs: log_probs.at(j)})).holds
    assert check(entropy_change, -Total(new_probs * new_log_probs) + Total(probs * log_probs)).holds
    assert not check(entropy_change, first_order_entropy_change).holds


def test_ratio_has_mean_one_and_is_the_normalised_exponential():
    assert check(E(probs_ratio), 1).holds
    assert check(probs_ratio, exp(u) / E(exp(u))).holds


@pytest.mark.claim("all-orders")
@pytest.mark.parametrize("order", [2, 3])
def test_each_derivative_follows_from_the_one_before(order):
    steps = [u] * order
    assert dynamics.entropy_derivative(order).last == -Kappa(log_probs, *steps) - (order - 1) * Kappa(*steps)


def test_third_order_without_its_own_cumulant_is_refused():
    wrong = -Kappa(log_probs, u, u, u) - Kappa(u, u, u)
    assert not check(Dt(-Kappa(log_probs, u, u) - Kappa(u, u)), wrong, straight_path).general


def test_third_order_is_the_taylor_term_in_centred_moments():
    s, c = log_probs + entropy, score
    twist = E((2 + s) * c**3) - 3 * E(s * c) * E(c**2)
    assert check(third_order_entropy_change - second_order_entropy_change, -twist / 6).holds


def test_every_named_derivation_is_in_this_table():
    others = {
        "entropy_change",
        "entropy_gradient",
        "first_order_entropy_change",
        "reverse_kl_divergence",
        "new_entropy",
        "probs_ratio",
        "second_order_entropy_change",
        "third_order_entropy_change",
        "entropy_derivative",
    }
    assert set(dynamics.__all__) - others == set(STATEMENTS)
