"""Closed paths against the equations that define them, at hundreds of digits; and what is refused."""

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from entropy_core import reference

EPS = 2.0**-52
DIGITS = 330  # x + sinh x needs them where x is 1e-12 and the level 1e300 in one run


def cases():
    """Yield (gap, drift): every size and both signs; in each fifth case the wait nearly cancels the start."""
    rng = np.random.default_rng(0)
    for k in range(300):
        gap = rng.choice([-1, 1]) * 10 ** rng.uniform(-12, np.log10(690))
        drift = rng.choice([-1, 1]) * 10 ** rng.uniform(-12, rng.choice([3, 20, 299]))
        if k % 5 == 0:
            drift = float((np.sinh(-gap) - gap) * (1 + 1e-3 * rng.normal()))
        yield float(gap), float(drift)


def exact_gap(gap, drift):
    """The root of x + sinh x = level, by bisection to 60 digits below its size: no Newton step."""
    with mpmath.workdps(DIGITS):
        level = mpmath.mpf(gap) + mpmath.sinh(mpmath.mpf(gap)) + mpmath.mpf(drift)
        low, high = mpmath.mpf(0), mpmath.mpf(1500)
        while high - low > abs(high) * mpmath.mpf(10) ** -30 and high > 0:
            middle = (low + high) / 2
            low, high = (middle, high) if middle + mpmath.sinh(middle) < abs(level) else (low, middle)
        return +high if level > 0 else -high


@pytest.mark.claim("two-action-law")
def test_the_gap_is_the_root_at_every_size(record_property):
    worst = 0.0
    for gap, drift in cases():
        exact = exact_gap(gap, drift)
        x = abs(float(exact))
        conditioned = (abs(gap + np.sinh(gap)) + abs(drift)) / (1 + np.cosh(x))
        found = mpmath.mpf(float(reference.policy_gradient_gap(gap, 0.5, 2 * drift)))
        worst = max(worst, float(abs(found - exact)) / (EPS * (x + conditioned)))
    record_property("largest share of the promised error", f"{worst / 4:.2f}")
    assert worst <= 4


def test_the_time_is_the_difference_of_levels():
    rng = np.random.default_rng(1)
    for scale in (1e-9, 1.0, 30.0, 690.0):
        start, near = rng.uniform(-scale, scale, 20), 1e-6 * scale * rng.normal(size=20)
        for end in (rng.uniform(-scale, scale, 20), np.clip(start + near, -scale, scale)):
            found = reference.policy_gradient_escape_time(start, end, -0.3)
            with mpmath.workdps(DIGITS):
                ends = [[mpmath.mpf(x) + mpmath.sinh(mpmath.mpf(x)) for x in xs] for xs in (start, end)]
                exact = [(b - a) / mpmath.mpf(-0.3) for a, b in zip(*ends, strict=True)]
                errors = [abs(float((f - e) / e)) for f, e in zip(found.tolist(), exact, strict=True)]
            assert max(errors) <= 1e-12


def test_time_and_gap_are_inverse_to_each_other():
    rng = np.random.default_rng(2)
    start, end, reward_gap = rng.uniform(-12, 12, (3, 500))
    time = reference.policy_gradient_escape_time(start, end, reward_gap)
    np.testing.assert_allclose(reference.policy_gradient_gap(start, reward_gap, time), end, atol=1e-9)


@pytest.mark.claim("two-action-law")
def test_the_law_is_the_flow_of_two_logits():
    rewards, logits = np.array([0.3, 1.1]), np.array([1.0, -1.5])

    def step(t, z):
        return reference.policy_gradient_delta_logits(z, rewards, 1.0)

    flow = solve_ivp(step, (0, 40), logits, "DOP853", np.linspace(0, 40, 9), rtol=1e-12, atol=1e-12)
    predicted = reference.policy_gradient_gap(-2.5, 0.8, flow.t)
    np.testing.assert_allclose(flow.y[1] - flow.y[0], predicted, atol=1e-9)
    assert abs(flow.y[1] - flow.y[0] - reference.policy_gradient_gap(-2.5, 1.6, flow.t)).max() > 0.1


@pytest.mark.claim("regularised-path")
def test_the_regularised_path_is_the_flow_of_reward_plus_entropy():
    rng = np.random.default_rng(3)
    logits, rewards = rng.normal(size=(2, 6))
    for temperature in (0.0, 1e-9, 0.4, 3.0):

        def direction(t, z, temperature=temperature):
            ell = reference.log_probs(z)
            return rewards - temperature * (ell + reference.entropy(z))

        flow = solve_ivp(direction, (0, 3), logits, "DOP853", rtol=1e-12, atol=1e-12)
        path = reference.regularised_gradient_logits(logits, rewards, temperature, 3.0)
        np.testing.assert_allclose(reference.probs(path), reference.probs(flow.y[:, -1]), rtol=1e-9)


def test_the_regularised_path_ends_at_the_softmax_of_the_rewards():
    logits, rewards = np.array([30.0, 0.0, -np.inf]), np.array([0.0, 1.0, np.nan])
    end = reference.regularised_gradient_logits(logits, rewards, 0.5, 1e4)
    np.testing.assert_array_equal(end, [0.0, 2.0, -np.inf])
    start = reference.regularised_gradient_logits(logits, rewards, 0.5, 0.0)
    np.testing.assert_array_equal(start, logits)


def test_small_temperatures_lose_no_digit():
    logits, rewards = np.array([0.3, -0.7]), np.array([1.0, 0.25])
    for temperature in (0.0, 5e-324, 1e-300, 1e-17, 1e-8):
        path = reference.regularised_gradient_logits(logits, rewards, temperature, 2.0)
        with mpmath.workdps(50):
            tau = mpmath.mpf(temperature)
            worn = (1 - mpmath.exp(-2 * tau)) / tau if tau > mpmath.mpf(10) ** -40 else mpmath.mpf(2)
            exact = [float(mpmath.exp(-2 * tau) * z + worn * r) for z, r in zip(logits, rewards, strict=True)]
        np.testing.assert_allclose(path, exact, rtol=1e-15)


def test_leading_axes_broadcast():
    found = reference.policy_gradient_gap(np.zeros((3, 1)), np.ones(2), 1.0)
    assert found.shape == (3, 2)
    assert reference.policy_gradient_escape_time(-1.0, np.zeros(4), 1).shape == (4,)
    paths = reference.regularised_gradient_logits(np.zeros((2, 1, 3)), np.ones((4, 3)), 1, 1)
    assert paths.shape == (2, 4, 3)


GAP, TIME = reference.policy_gradient_gap, reference.policy_gradient_escape_time
PATH = reference.regularised_gradient_logits


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (
            lambda: GAP(800.0, 1.0, 1.0),
            ValueError,
            "gap must be within 700 nats; 800 came. Beyond, the policy",
        ),
        (lambda: TIME(0.0, -701.0, 1.0), ValueError, "new_gap must be within 700 nats; 701 came"),
        (
            lambda: GAP(0.0, 1e200, 1e101),
            ValueError,
            r"reward_gap \* time must stay within 1e300; 1e\+301 came",
        ),
        (lambda: TIME(0.0, 1.0, np.array([1.0, 0.0])), ValueError, "reward_gap must not be 0; with equal"),
        (lambda: GAP(np.nan, 1.0, 1.0), ValueError, "gap must be finite; NaN or an infinity came"),
        (lambda: GAP(0.0, "fast", 1.0), TypeError, "reward_gap must be real numbers; dtype <U4 came"),
        (lambda: GAP(np.zeros(2), np.zeros(3), 1.0), ValueError, r"must broadcast together; gap \(2,\), rew"),
        (lambda: PATH(np.zeros(2), np.zeros(2), -1.0, 1.0), ValueError, "must not be negative; -1.0 and 1.0"),
        (lambda: PATH(np.zeros(2), np.zeros(2), 1.0, -1.0), ValueError, "must not be negative; 1.0 and -1.0"),
        (lambda: PATH(np.zeros(2), np.zeros(2), np.inf, 1.0), ValueError, "temperature must be finite; inf"),
        (lambda: PATH(np.zeros(2), np.zeros(3), 1.0, 1.0), ValueError, "rewards must have one value per act"),
        (lambda: PATH(np.zeros(2), np.array([np.nan, 0.0]), 1.0, 1.0), ValueError, "rewards must be finite"),
        (lambda: PATH(np.full(2, -np.inf), np.zeros(2), 1.0, 1.0), ValueError, "at least one action"),
    ],
)
def test_what_has_no_answer_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()
