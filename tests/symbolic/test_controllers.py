"""The linear loop of policy and controller: its polynomial, its margins and its noise."""

import numpy as np
import pytest
from sympy import expand, simplify, solve

from entropy_core.symbolic import Cov, Var, check, delta_logits, log_probs
from entropy_core.symbolic.interventions import controllers
from entropy_core.symbolic.interventions.controllers import coefficient_shift, eigenvalue, gain, pull
from entropy_core.symbolic.interventions.regularisers import entropy_coefficient


@pytest.mark.claim("integral-controller")
def test_only_one_covariance_meets_the_coefficient():
    statement = controllers.shift_of_the_velocity().statement
    right = -entropy_coefficient * (Cov(log_probs, delta_logits) + coefficient_shift * Var(log_probs))
    assert check(statement.left, right).holds
    assert not check(statement.left, -entropy_coefficient * Cov(log_probs, delta_logits)).holds


@pytest.mark.claim("controller-delay")
@pytest.mark.parametrize("delay", [0, 1, 2, 3])
def test_polynomial_of_the_loop_is_the_product_and_the_gain(delay):
    product = eigenvalue**delay * (eigenvalue - 1) * (eigenvalue - 1 + pull) + pull * gain
    assert expand(controllers.loop_polynomial(delay) - product) == 0


@pytest.mark.claim("integral-controller")
def test_margins_change_sign_at_gain_one_and_roots_turn_complex_at_a_quarter_of_the_pull():
    first, second, third = controllers.stability_margins()
    assert solve(first, gain) == [1]
    assert expand(second - pull * gain) == 0
    assert expand(third - (4 - 2 * pull + pull * gain)) == 0
    assert solve(controllers.overshoot_discriminant(), gain) == [pull / 4]


@pytest.mark.claim("integral-controller")
@pytest.mark.parametrize("share", [0.02, 0.3, 1.2])
@pytest.mark.parametrize("answer", [0.001, 0.2, 0.99, 1.01, 2.0])
def test_spectral_radius_agrees_with_the_margins(share, answer):
    matrix = np.array(controllers.discrete_loop().subs({pull: share, gain: answer}), float)
    roots = np.linalg.eigvals(matrix)
    assert (abs(roots).max() < 1) == (answer < 1)
    assert (abs(roots.imag).max() > 1e-9) == (answer > share / 4)


@pytest.mark.claim("controller-delay")
def test_one_step_of_delay_halves_the_limit_for_small_steps():
    lead = controllers.loop_polynomial(1).subs(pull, 1e-3)
    for answer, stable in ((0.49, True), (0.51, False)):
        coefficients = [float(c) for c in lead.subs(gain, answer).as_poly(eigenvalue).all_coeffs()]
        assert (abs(np.roots(coefficients)).max() < 1) == stable


@pytest.mark.claim("controller-noise")
def test_stationary_variances_solve_the_equation_by_summation():
    share, answer = 0.3, 0.4
    of_policy, of_coefficient = (
        float(v.subs({pull: share, gain: answer})) for v in controllers.noise_in_the_loop()
    )
    matrix = np.array(controllers.discrete_loop().subs({pull: share, gain: answer}), float)
    total, power = np.zeros((2, 2)), np.eye(2)
    for _ in range(400):
        total += power @ np.diag([0.0, 1.0]) @ power.T
        power = matrix @ power
    assert of_policy == pytest.approx(total[0, 0], rel=1e-9)
    assert of_coefficient == pytest.approx(total[1, 1], rel=1e-9)
    small = controllers.noise_in_the_loop()[0].subs(pull, 0)
    assert simplify(small - 1 / (2 * gain * (1 - gain))) == 0
