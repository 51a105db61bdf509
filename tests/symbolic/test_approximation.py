"""Shared parameters: proved for every number of states, actions and parameters; wrong versions refused."""

from functools import cache

import pytest
from sympy import Dummy, KroneckerDelta, Rational, Sum, Symbol

from entropy_core.symbolic import (
    Certificate,
    Cov,
    E,
    Hypothesis,
    Statement,
    Total,
    Var,
    WrongCertificate,
    WrongLine,
    action_index,
    advantages,
    approximation,
    check,
    is_zero,
    step_size,
    tabular,
)
from entropy_core.symbolic.tables import OverActions, OverParameters, OverStates, state_index, unfold

EVERY_CHECK = "every size, exact, sizes 2..4, 50 digits"
s, v, k = state_index("s"), state_index("s'"), action_index("k")
a, b = action_index("a"), action_index("b")
d, pi, A = tabular.state_occupancy, approximation.probs, approximation.advantages


@cache
def proved_once(name):
    """A derivation or certificate of the module; none of the tests changes it."""
    return getattr(approximation, name)()


CERTIFICATES = [
    "kernel_form",
    "kernel_of_the_advantage",
    "compatible_weights_are_best",
    "compatible_direction",
    "average_covariance",
    "average_covariance_of_homogeneous_logits",
]


def refused(certificate, right=None, terms=None):
    """Every check must refuse the certificate with another right-hand side or other terms."""
    left, proved = certificate.statement.left, certificate.statement.right
    goal = Statement(left, proved if right is None else right)
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(goal, certificate.terms if terms is None else terms)


@pytest.mark.parametrize("name", CERTIFICATES)
def test_no_hypothesis_can_be_left_out(name):
    proved = proved_once(name)
    for left_out in range(len(proved.terms)):
        kept = tuple(term for place, term in enumerate(proved.terms) if place != left_out)
        refused(proved, terms=kept)


@pytest.mark.claim("tangent-kernel-step")
def test_gradient_step_goes_through_the_kernel():
    proved = proved_once("kernel_form")
    K = approximation.tangent_kernel
    kernel_of_step = OverActions(K(s, a, v, b) * pi(v, b) * A(v, b), b)
    assert is_zero(unfold(proved.statement.right - step_size * OverStates(d(v) * kernel_of_step, v)))
    for wrong in (
        step_size * OverStates(OverActions(K(s, a, v, b) * pi(v, b) * A(v, b), b), v),
        step_size * OverStates(d(v) * OverActions(K(s, a, v, b) * A(v, b), b), v),
        step_size * d(s) * OverActions(K(s, a, s, b) * pi(s, b) * A(s, b), b),
        -proved.statement.right,
    ):
        refused(proved, wrong)


@pytest.mark.claim("kernel-of-the-advantage")
def test_the_kernel_that_turns_the_gradient_into_the_advantage():
    A_one, w, scale = advantages, approximation.kernel_field, approximation.scale
    i = action_index("i")
    derivation = proved_once("kernel_that_gives_the_advantage")
    assert check(derivation.last, scale * (A_one.at(i) + E(w * A_one))).holds
    with pytest.raises(WrongLine):
        derivation.to(scale * A_one.at(i), "no constant")
    needed = proved_once("kernel_of_the_advantage")
    refused(needed, needed.statement.right - scale * approximation.kernel_weight(b))
    refused(
        needed, needed.statement.right - 2 * scale * KroneckerDelta(a, b) / approximation.positive_probs(a)
    )


@pytest.mark.claim("kernel-of-the-advantage")
def test_quadratic_form_of_that_kernel():
    w, f, scale = approximation.kernel_field, approximation.any_field, approximation.scale
    derivation = proved_once("kernel_quadratic_form")
    assert check(derivation.last, scale * (E(f**2) + 2 * E(f) * E(w * f))).holds
    with pytest.raises(WrongLine):
        derivation.to(scale * (Var(f) + E(f) ** 2 * (1 + 2 * E(w))), "no cross term")


@pytest.mark.claim("compatible-approximation")
def test_compatible_weights_solve_least_squares_and_the_natural_gradient():
    best, direction = proved_once("compatible_weights_are_best"), proved_once("compatible_direction")
    w, u = approximation.weights, approximation.any_weights
    plain = OverStates(d(s) * OverActions(pi(s, a) * A(s, a) * approximation.logit_gradient(s, a, k), a), s)
    assert is_zero(unfold(direction.statement.right - plain))
    refused(
        direction, OverStates(OverActions(pi(s, a) * A(s, a) * approximation.logit_gradient(s, a, k), a), s)
    )
    difference = OverParameters((u(k) - w(k)) * approximation.score(s, a, k), k)
    squared = OverStates(d(s) * OverActions(pi(s, a) * difference**2, a), s)
    assert is_zero(unfold(best.statement.right - approximation.least_misfit - squared))
    refused(best, approximation.least_misfit - squared)


@pytest.mark.claim("average-covariance")
def test_what_is_missed_is_the_product_of_two_misfits():
    proved = proved_once("average_covariance")
    lost = OverStates(d(s) * approximation.product_of_misfits(s), s)
    assert proved.statement.right == step_size * lost
    refused(proved, -step_size * lost)
    refused(proved, step_size * OverStates(approximation.product_of_misfits(s), s))


def test_what_is_missed_is_the_step_that_the_advantage_asked_for_less_the_one_taken():
    asked, taken = approximation.covariance_with_advantage(s), approximation.covariance_with_step(s)
    assert is_zero(unfold(approximation.covariance_with_lost_step(s) - step_size * asked + taken))


@pytest.mark.claim("homogeneous-logits")
def test_homogeneous_logits_miss_nothing_on_average_but_not_state_by_state():
    proved = proved_once("average_covariance_of_homogeneous_logits")
    covariance = approximation.covariance_with_advantage
    assert proved.statement.right == approximation.degree * step_size * OverStates(d(s) * covariance(s), s)
    refused(proved, approximation.degree * step_size * OverStates(covariance(s), s))
    step = approximation.covariance_with_step
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(
            Statement(approximation.degree * step(s), approximation.degree * step_size * covariance(s)),
            proved.terms,
        )


def test_covariances_are_those_of_one_state():
    """Against E[XY] − E[X]E[Y], which the module does not use."""
    ell = approximation.log_probs
    mean = OverActions(pi(s, a) * ell(s, a), a) * OverActions(pi(s, a) * A(s, a), a)
    product = OverActions(pi(s, a) * ell(s, a) * A(s, a), a)
    assert is_zero(unfold(approximation.covariance_with_advantage(s) - product + mean))


def test_sums_over_parameters_are_sums_of_their_own():
    theta = approximation.parameter_values
    assert is_zero(unfold(OverParameters(theta(k), k) - OverParameters(theta(a), a)))
    assert not is_zero(unfold(OverParameters(theta(k), k) - OverActions(theta(k), k)))


def test_a_hypothesis_may_carry_two_indices():
    m, n = (Symbol(name, integer=True, positive=True) for name in "mn")
    x, y = (Dummy(name, integer=True, positive=True) for name in "xy")
    residual = approximation.advantages(s, a)
    goal = Sum(unfold(3 * approximation.advantages(x, y)), (x, 1, m), (y, 1, n))
    pair = Hypothesis("", residual, (s, a), (m, n))
    assert Certificate(goal, ((3, pair),)).latex == r"3 \, \sum_{s, a} A(s, a)"
    with pytest.raises(WrongCertificate):
        Certificate(goal, ((Rational(1, 3), pair),))


def test_the_sum_in_a_step_is_over_actions():
    assert proved_once("kernel_that_gives_the_advantage").start.has(Total)
    assert not check(Cov(approximation.kernel_field, advantages), 0).holds
