"""The 50-digit oracle against plain mpmath loops, at a precision far above what either needs."""

from math import inf, nan

import mpmath
import pytest

from entropy_core.symbolic import (
    Cov,
    Dt,
    E,
    Field,
    Kappa,
    Partial,
    Scalar,
    Total,
    action_index,
    delta_logits,
    entropy,
    entropy_change,
    entropy_gradient,
    evaluate,
    first_order_entropy_change,
    log_probs,
    logits,
    natural_gradient_delta_logits,
    new_log_probs,
    new_probs,
    policy_gradient_delta_logits,
    probs,
    rewards,
    second_order_entropy_change,
    step_size,
    varentropy,
)

x, y = Field("x"), Field("y")
LOGITS = {
    "plain": [0.3, -1.1, 2.0, 0.0],
    "offset": [1e4 + 0.3, 1e4 - 1.1, 1e4 + 2.0, 1e4],
    "collapsed": [0.0, -700.0, -350.0, -12.5],
    "one action": [3.25],
    "two": [-2.0, 2.0],
}
STEPS = [0.7, -0.2, 0.1, 0.4]


@pytest.fixture(params=LOGITS, name="case")
def _case(request):
    z = LOGITS[request.param]
    return z, STEPS[: len(z)]


def by_loops(z, u):
    """Every quantity by loops over actions, at 1500 digits."""
    actions = range(len(z))
    with mpmath.workdps(1500):
        weights = [mpmath.exp(mpmath.mpf(value)) for value in z]
        p = [w / sum(weights) for w in weights]
        log_p = [mpmath.mpf(value) - mpmath.log(sum(weights)) for value in z]
        h = -sum(p[a] * log_p[a] for a in actions)
        mean_u = sum(p[a] * mpmath.mpf(u[a]) for a in actions)
        new_weights = [weights[a] * mpmath.exp(mpmath.mpf(u[a])) for a in actions]
        q = [w / sum(new_weights) for w in new_weights]
        first = -(
            sum(p[a] * log_p[a] * u[a] for a in actions) - sum(p[a] * log_p[a] for a in actions) * mean_u
        )
        curvature = sum(p[a] * (1 + log_p[a] + h) * (u[a] - mean_u) ** 2 for a in actions)
        return {
            entropy: h,
            varentropy: sum(p[a] * log_p[a] ** 2 for a in actions) - h**2,
            entropy_gradient: [-p[a] * (log_p[a] + h) for a in actions],
            first_order_entropy_change: first,
            second_order_entropy_change: first - curvature / 2,
            entropy_change: -sum(b * mpmath.log(b) for b in q) - h,
            probs: p,
            log_probs: log_p,
        }


def agree(value, truth, digits=45):
    """Whether two numbers, or two lists of them, share that many digits; zeros must be exact to 1e-1000."""
    pairs = zip(value, truth, strict=True) if isinstance(truth, list) else [(value, truth)]
    with mpmath.workdps(1500):
        return all(
            abs(a - b) <= abs(b) * mpmath.mpf(10) ** -digits + mpmath.mpf(10) ** -1000 for a, b in pairs
        )


def test_every_quantity_agrees_with_loops(case):
    z, u = case
    truth = by_loops(z, u)
    values = evaluate(tuple(truth), {logits: z, delta_logits: u})
    wrong = [str(e) for e, value in zip(truth, values, strict=True) if not agree(value, truth[e])]
    assert wrong == []


def test_sixty_digits_alone_are_not_enough_at_a_gap_of_700(record_property):
    with mpmath.workdps(60):
        weights = [mpmath.mpf(1), mpmath.exp(-700)]
        naive = -sum(w / sum(weights) * mpmath.log(w / sum(weights)) for w in weights)
    value = evaluate(entropy, {logits: [0.0, -700.0]})
    with mpmath.workdps(60):
        error = float(abs(naive / value - 1))
    record_property("relative error of 60 digits at a gap of 700", f"{error:.1e}")
    assert agree(value, by_loops([0.0, -700.0], [0, 0])[entropy])
    assert error == pytest.approx(1 / 701, rel=1e-3)


def test_logarithm_of_probs_is_never_taken_of_a_rounded_ratio():
    value = evaluate(log_probs, {logits: [0.0, -700.0]})
    assert agree(value, by_loops([0.0, -700.0], [0, 0])[log_probs])
    assert value[0] < 0


def test_forbidden_actions_leave_the_rest_unchanged():
    free = {logits: [0.5, -1.0], delta_logits: [0.1, 0.3], rewards: [1.0, 0.0], step_size: 0.25}
    barred = {
        logits: [0.5, -inf, -1.0],
        delta_logits: [0.1, nan, 0.3],
        rewards: [1.0, inf, 0.0],
        step_size: 0.25,
    }
    for number in (
        entropy,
        varentropy,
        entropy_change,
        first_order_entropy_change,
        second_order_entropy_change,
    ):
        assert evaluate(number, free) == evaluate(number, barred)
    for field in (
        entropy_gradient,
        probs,
        new_probs,
        policy_gradient_delta_logits,
        natural_gradient_delta_logits,
    ):
        first, second = evaluate(field, free)
        assert evaluate(field, barred) == [first, 0, second]
    for field in (log_probs, new_log_probs):
        assert evaluate(field, barred)[1] == -mpmath.inf


def test_steps_centre_their_rewards_under_the_policy():
    values = {logits: [0.0, 0.0], rewards: [3.0, 1.0], step_size: 0.5}
    assert evaluate(natural_gradient_delta_logits, values) == [0.5, -0.5]
    assert evaluate(policy_gradient_delta_logits, values) == [0.25, -0.25]


def test_values_that_are_zero_come_out_as_zero():
    uniform = {logits: [0.1] * 7, delta_logits: [0.3, 0.1, 0.5, 0.0, 0.0, -0.2, 0.9]}
    assert evaluate(first_order_entropy_change, uniform) == 0
    assert evaluate((entropy, varentropy, entropy_gradient), {logits: [2.5]}) == (0, 0, [0])


def test_tiny_steps_are_not_mistaken_for_zero():
    value = evaluate(entropy_change, {logits: [0.0, 1.0], delta_logits: [1e-40, 0.0]})
    slope = evaluate(entropy_gradient, {logits: [0.0, 1.0]})[0]
    with mpmath.workdps(60):
        expected = slope * mpmath.mpf(1e-40)
    assert agree(value, expected, digits=30)


def test_own_fields_cumulants_and_totals():
    values = {logits: [0.0, 0.0], x: [1.0, 3.0], y: [0.0, 8.0]}
    assert evaluate(E(x), values) == 2
    assert evaluate(Cov(x, y), values) == 4
    assert evaluate(Total(x * y), values) == 24
    assert evaluate(Kappa(x, x, y), values) == 0


def test_third_cumulant_is_the_third_central_moment():
    values = {logits: [0.4, -0.3, 1.0], x: [1.0, 3.0, -2.0]}
    assert agree(evaluate(Kappa(x, x, x), values), evaluate(E((x - E(x)) ** 3), values))


def test_derivative_follows_the_straight_line():
    values = {logits: [0.3, -1.0, 0.2], delta_logits: [0.5, 0.1, -0.4]}
    assert agree(evaluate(Dt(entropy), values), evaluate(first_order_entropy_change, values))


def test_derivative_in_one_logit_is_an_entry_of_the_gradient():
    values = {logits: [0.3, -1.0, 0.2]}
    gradient = evaluate(entropy_gradient, values)
    assert [agree(evaluate(Partial(entropy, logits.at(a)), values), gradient[a - 1]) for a in (1, 2, 3)] == [
        True
    ] * 3


def test_an_mpmath_input_keeps_all_its_digits():
    with mpmath.workdps(80):
        third = mpmath.mpf(1) / 3
    value = evaluate(E(x), {logits: [0.0, 0.0], x: [third, third]})
    assert agree(value, third, digits=70)


@pytest.mark.parametrize(
    ("expression", "values", "error", "complaint"),
    [
        (entropy, {}, ValueError, "needs values for logits"),
        (entropy, {logits: []}, ValueError, "at least one action"),
        (entropy, {logits: [-inf, -inf]}, ValueError, "at least one action"),
        (entropy, {logits: [0.0, nan]}, ValueError, "action 1 has nan"),
        (entropy, {logits: [inf, 0.0]}, ValueError, "finite or −inf"),
        (E(x), {logits: [0.0, 1.0]}, KeyError, "values were given for x"),
        (E(x), {logits: [0.0, 1.0], x: [1.0]}, ValueError, "one number per action"),
        (E(x), {logits: [0.0, 1.0], x: [1.0, inf]}, ValueError, "finite at allowed"),
        (step_size * entropy, {logits: [0.0]}, KeyError, "step_size"),
        (Scalar("c") * entropy, {logits: [0.0]}, KeyError, "for c"),
        (Dt(entropy), {logits: [0.0, 1.0]}, KeyError, "delta_logits"),
        (probs.at(action_index("i")), {logits: [0.0, 1.0]}, KeyError, "index i"),
    ],
)
def test_misuse_is_explained(expression, values, error, complaint):
    with pytest.raises(error, match=complaint):
        evaluate(expression, values)


def test_large_vocabulary_is_affordable_and_consistent():
    z = [-(a % 997) / 40 for a in range(20_000)]
    h, one, difference = evaluate((entropy, Total(probs), entropy + E(log_probs)), {logits: z})
    assert agree(one, mpmath.mpf(1))
    assert difference == 0
    assert 0 < h < mpmath.log(20_000)
