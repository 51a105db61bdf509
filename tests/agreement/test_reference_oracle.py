"""The reference layer against the symbolic result at 40 digits, as accurate as each docstring promises."""

import numpy as np
import pytest

from entropy_core import reference, symbolic
from tests.agreement.cases import SIZES, hard_policies, large_steps, policies, quantities, steps
from tests.agreement.oracle import DIGITS, SCORE, STEP, X, Y, error_ratio, scale, truth

POLICIES = {f"{n} {name}": z for n in SIZES for name, z in policies(n)} | dict(hard_policies())
SLOPE = 1 + SCORE  # 1 + log π + H

FEW = ("1000 offset -1e4", "1000 every third forbidden")  # of 1000 actions, where a test needs many numbers
FEWER = {name: z for name, z in POLICIES.items() if z.size <= 17 or name in FEW}

every_policy = pytest.mark.parametrize("z", POLICIES.values(), ids=POLICIES.keys())
most_policies = pytest.mark.parametrize("z", FEWER.values(), ids=FEWER.keys())


def first_order_terms(**values):
    return scale(SCORE, STEP, **values)


def second_order_terms(**values):
    return first_order_terms(**values) + scale(SLOPE, STEP, STEP, **values) / 2


def third_order_terms(**values):
    product = scale(SCORE, STEP, **values) * scale(STEP, STEP, **values)
    third = scale(1 + SLOPE, STEP, STEP, STEP, **values) + 3 * product
    return second_order_terms(**values) + third / 6


@every_policy
@pytest.mark.parametrize("name", ["log_probs", "probs", "entropy", "varentropy"])
def test_relative_error_is_below_1e_12(name, z):
    exact = truth(getattr(symbolic, name), logits=z)
    assert error_ratio(getattr(reference, name)(z), exact, 1e-12 * abs(exact)) <= 1


@every_policy
def test_entropy_gradient_errs_by_1e_12_of_its_largest_entry(z):
    exact = truth(symbolic.entropy_gradient, logits=z)
    assert error_ratio(reference.entropy_gradient(z), exact, 1e-12 * max(abs(exact))) <= 1


@most_policies
def test_fisher_entries_have_relative_error_below_1e_12(z):
    z = z[np.isfinite(z)][:17]
    z = z / 2 if np.ptp(z) > 350 else z
    exact = np.array([truth(symbolic.fisher(i + 1, j + 1), logits=z) for i, j in np.ndindex(z.size, z.size)])
    assert error_ratio(reference.fisher(z).ravel(), exact, 1e-12 * abs(exact)) <= 1


@pytest.mark.claim("fisher-pseudo-inverse")
@most_policies
def test_pseudo_inverse_errs_by_1e_12_of_the_terms_that_cancel(record_property, z):
    z = z[np.isfinite(z)][:6]
    worst = 0.0
    for i, j in np.ndindex(z.size, z.size):
        exact = truth(symbolic.fisher_pseudo_inverse(i + 1, j + 1), logits=z)
        allowed = 1e-12 * (abs(exact) if i == j else truth(_reciprocals(i + 1, j + 1), logits=z))
        worst = max(worst, error_ratio(reference.fisher_pseudo_inverse(z)[i, j], exact, allowed))
    record_property("largest relative error", f"{1e-12 * worst:.1e}")
    assert worst <= 1


def _reciprocals(i, j):
    """Return the terms of an entry off the diagonal, all with the sign plus."""
    n, pi = symbolic.number_of_actions, symbolic.probs
    return (1 / pi.at(i) + 1 / pi.at(j)) / n + symbolic.Total(1 / pi) / n**2


@most_policies
def test_covariance_errs_by_2e_12_of_its_absolute_terms(z):
    for name, x, y in quantities(z):
        values = {"logits": z, "x": x, "y": y}
        allowed = 2e-12 * scale(X - symbolic.E(X), Y - symbolic.E(Y), **values)
        got = reference.covariance_over_actions(x, y, z)
        assert error_ratio(got, truth(symbolic.Cov(X, Y), **values), allowed) <= 1, name


@most_policies
def test_predicted_changes_err_by_2e_12_of_their_absolute_terms(z):
    for name, u in [*steps(z), next(large_steps(z))]:
        values = {"logits": z, "delta_logits": u}
        first = truth(symbolic.first_order_entropy_change, **values)
        second = truth(symbolic.second_order_entropy_change, **values)
        got = reference.first_order_entropy_change(z, u), reference.second_order_entropy_change(z, u)
        assert error_ratio(got[0], first, 2e-12 * first_order_terms(**values)) <= 1, name
        assert error_ratio(got[1], second, 2e-12 * second_order_terms(**values)) <= 1, name


@pytest.mark.parametrize("z", [z for z in FEWER.values() if z.size <= 17])
def test_third_order_errs_by_2e_12_of_its_absolute_terms(z):
    for name, u in [*steps(z), next(large_steps(z))]:
        values = {"logits": z, "delta_logits": u}
        exact = truth(symbolic.third_order_entropy_change, **values)
        got = reference.third_order_entropy_change(z, u)
        assert error_ratio(got, exact, 2e-12 * third_order_terms(**values)) <= 1, name


@most_policies
def test_exact_change_of_a_small_step_errs_by_1e_12_of_first_and_second_order(z):
    for name, u in steps(z):
        values = {"logits": z, "delta_logits": u}
        exact = truth(symbolic.entropy_change, **values)
        allowed = 1e-12 * second_order_terms(**values)
        assert error_ratio(reference.entropy_change(z, u), exact, allowed) <= 1, name


@most_policies
def test_exact_change_of_a_large_step_errs_by_1e_12_of_both_entropies(z):
    for name, u in large_steps(z):
        values = {"logits": z, "delta_logits": u}
        exact = truth(symbolic.entropy_change, **values)
        both = truth(symbolic.entropy_change + 2 * symbolic.entropy, **values)
        assert error_ratio(reference.entropy_change(z, u), exact, 1e-12 * both) <= 1, name


DIVERGENCE = symbolic.E(symbolic.log_probs - symbolic.new_log_probs)  # KL(π‖π')


@pytest.mark.parametrize("z", [z for z in FEWER.values() if z.size <= 17], ids=str)
def test_divergence_errs_by_1e_12_of_itself_or_of_its_terms(z):
    for name, u in [*steps(z), *large_steps(z)]:
        exact = truth(DIVERGENCE, logits=z, delta_logits=u)
        is_small = np.ptp(u[np.isfinite(z)]) <= 1
        ratio = symbolic.new_log_probs - symbolic.log_probs
        allowed = 1e-12 * (exact if is_small else scale(ratio, logits=z, delta_logits=u))
        assert error_ratio(reference.kl_divergence(z, u), exact, allowed) <= 1, name


@pytest.mark.parametrize("n", [2, 17, 1000])
def test_exact_change_from_uniform_has_relative_error_below_1e_12(n):
    z = np.zeros(n)
    for name, u in steps(z):
        exact = truth(symbolic.entropy_change, logits=z, delta_logits=u)
        assert error_ratio(reference.entropy_change(z, u), exact, 1e-12 * abs(exact)) <= 1, name


@most_policies
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_updates_err_by_1e_12_of_their_centred_rewards(offset, z):
    rewards = offset + np.random.default_rng(5).standard_normal(z.size)
    values = {"logits": z, "rewards": rewards, "step_size": 0.37}
    reach = 0.37 * (abs(truth(symbolic.advantages, **values)) + scale(symbolic.advantages, **values))
    natural = truth(symbolic.natural_gradient_delta_logits, **values)
    vanilla = truth(symbolic.policy_gradient_delta_logits, **values)
    pi = truth(symbolic.probs, logits=z)
    assert error_ratio(reference.natural_gradient_delta_logits(z, rewards, 0.37), natural, 1e-12 * reach) <= 1
    assert (
        error_ratio(reference.policy_gradient_delta_logits(z, rewards, 0.37), vanilla, 1e-12 * pi * reach)
        <= 1
    )


def test_values_of_one_hundred_thousand_actions_and_more_that_are_forbidden():
    rng = np.random.default_rng(1)
    z, u = 1e4 + 3 * rng.standard_normal(120_000), 0.1 * rng.standard_normal(120_000)
    z[::6] = -np.inf
    names = ["first_order_entropy_change", "second_order_entropy_change", "entropy_change"]
    wanted = ["entropy", "varentropy", *names, "entropy_gradient"]  # at once: some seconds a number
    at = {symbolic.logits: z.tolist(), symbolic.delta_logits: u.tolist()}
    *exact, gradient = symbolic.evaluate(tuple(getattr(symbolic, n) for n in wanted), at, digits=DIGITS)
    allowed = np.isfinite(z)
    x, y = z[allowed], u[allowed]
    probs = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
    score, step = x - probs @ x, y - probs @ y
    first = probs @ abs(score * step)  # the bars need few digits, so float64 may set them
    second = first + probs @ (abs(1 + score) * step**2) / 2
    got = [reference.entropy(z), reference.varentropy(z)]
    got += [getattr(reference, name)(z, u) for name in names]
    sizes = [float(exact[0]), float(exact[1]), 2 * first, 2 * second, second]
    assert error_ratio(np.array(got), exact, 1e-12 * np.array(sizes)) <= 1
    largest = max(map(abs, gradient))
    assert error_ratio(reference.entropy_gradient(z), gradient, 1e-12 * largest) <= 1
