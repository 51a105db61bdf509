"""Every named derivation of the softmax is proved again, says what it should say, and is false if changed."""

import pytest
from sympy import Integer, KroneckerDelta, exp

from entropy_core.symbolic import (
    DBeta,
    Dt,
    E,
    Field,
    Partial,
    Scalar,
    Total,
    Var,
    action_index,
    any_path,
    check,
    delta_logits,
    entropy,
    fisher,
    inverse_temperature,
    log_probs,
    logits,
    probs,
    softmax,
    temperature_path,
)

i, j = action_index("i"), action_index("j")
v, c = Field("vector", "v", order=40), Scalar("shift", "c")
pi_i, pi_j, delta = probs.at(i), probs.at(j), KroneckerDelta(i, j)
shifted = exp(logits + c) / Total(exp(logits + c))
scores = Partial(log_probs, logits.at(i)) * Partial(log_probs, logits.at(j))
form = Total(Total(v.at(i) * fisher(i, j) * v.at(j), j), i)
natural = -Total(fisher(i, j) * logits.at(j), j)

# name of the derivation: left side, right side, a false right side, path
STATEMENTS = {
    "softmax_gauge": (shifted, probs, probs * exp(c), any_path),
    "softmax_jacobian": (Partial(pi_i, logits.at(j)), pi_i * (delta - pi_j), pi_i * (delta + pi_j), any_path),
    "score": (Dt(log_probs), delta_logits - E(delta_logits), delta_logits, any_path),
    "score_mean_zero": (E(Dt(log_probs)), Integer(0), E(delta_logits), any_path),
    "fisher_is_jacobian": (E(scores), Partial(pi_i, logits.at(j)), delta * pi_i, any_path),
    "fisher_quadratic_form": (form, Var(v), E(v**2), any_path),
    "fisher_kernel": (Total(fisher(i, j), j), Integer(0), pi_i, any_path),
    "entropy_natural_gradient": (
        natural,
        Partial(entropy, logits.at(i)),
        -Partial(entropy, logits.at(i)),
        any_path,
    ),
    "temperature_flow": (
        DBeta(entropy),
        -inverse_temperature * Var(logits),
        -Var(logits),
        temperature_path,
    ),
}
CLAIMS = {
    "softmax_gauge": "softmax-gauge",
    "softmax_jacobian": "softmax-jacobian",
    "score": "score",
    "score_mean_zero": "score-mean-zero",
    "fisher_is_jacobian": "fisher-is-jacobian",
    "fisher_quadratic_form": "fisher-rank",
    "fisher_kernel": "fisher-rank",
    "entropy_natural_gradient": "entropy-natural-gradient",
    "temperature_flow": "temperature-flow",
}
NAMES = [pytest.param(name, marks=pytest.mark.claim(CLAIMS[name])) for name in STATEMENTS]


@pytest.mark.parametrize("name", NAMES)
def test_named_derivation_proves_its_statement(name):
    left, right, _, path = STATEMENTS[name]
    derivation = getattr(softmax, name)()
    assert (derivation.start, derivation.last, derivation.along) == (left, right, path)
    assert check(left, right, path).holds


@pytest.mark.parametrize("name", STATEMENTS)
def test_changed_statement_is_refused_by_all_three_checks(name):
    left, _, changed, path = STATEMENTS[name]
    verdict = check(left, changed, path)
    assert not verdict.general
    assert verdict.exact != ()
    assert verdict.numeric != ()


def test_every_named_derivation_is_in_this_table():
    derivations = {name for name in softmax.__all__ if name not in vars_without_derivations()}
    assert derivations == set(STATEMENTS)


def vars_without_derivations():
    expressions = {"covariance_over_actions", "entropy", "fisher", "log_probs", "probs", "varentropy"}
    proved_in_test_updates = {"penrose_conditions", "pseudo_inverse_entries"}
    return expressions | proved_in_test_updates | {"fisher_pseudo_inverse", "number_of_actions"}
