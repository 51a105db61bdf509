"""Paths of a policy in closed form: two actions under the policy gradient, any number under regularisation.

The gap x = z_1 − z_2 of two actions moves at Δ/(1 + cosh x), so that x + sinh x grows at the constant rate
Δ = r_1 − r_2. The natural gradient needs no function here: its path is z + t r, and
`natural_gradient_delta_logits` with step size t is that step.
"""

import numpy as np

from entropy_core._shapes import Float, Real
from entropy_core.reference._validation import allowed_actions, number, over_actions, over_batch

__all__ = ["policy_gradient_escape_time", "policy_gradient_gap", "regularised_gradient_logits"]

NEWTON_STEPS = 6
WIDEST_GAP = 700.0


def policy_gradient_gap(
    gap: float | int | Real[np.ndarray, "*#batch"],
    reward_gap: float | int | Real[np.ndarray, "*#batch"],
    time: float | int | Real[np.ndarray, "*#batch"],
) -> Float[np.ndarray, "*batch"] | float:
    """Gap of the two logits after following the exact policy gradient of two actions.

    x + sinh x = x_0 + sinh x_0 + Δ t

    Args:
        gap: x_0 = z_1 − z_2 at time 0, in nats, within ±700.
        reward_gap: Δ = r_1 − r_2, in units of reward, of either sign.
        time: t, step size × steps, in nats per unit of reward; negative looks back.

    Returns:
        x = z_1 − z_2 at time t, in nats, the broadcast shape; the probability of action 1 is 1/(1 + e^−x).

    Raises:
        TypeError: an argument is not real numbers.
        ValueError: a number is not finite, |gap| is above 700, |Δ t| is above 1e300, or shapes do not fit.

    Numerics:
        Error ≤ 4 eps (|x| + (|x_0 + sinh x_0| + |Δ t|)/(1 + cosh x)): a few units in the last place, except
        where a long wait nearly cancels a deep start. Six Newton steps, each from above, since x + sinh x is
        convex for x > 0. Held by tests/reference/test_trajectories.py.

    Source: claim `two-action-law`, chapter closed-form-trajectories; [mei2020global].

    Example:
        >>> policy_gradient_gap(-4.0, 1.0, np.array([0.0, 31.29, 1e6])).round(3)
        array([-4.   ,  0.   , 14.509])
    """
    gap, reward_gap, time = over_batch(gap=gap, reward_gap=reward_gap, time=time)
    _check_gap("gap", gap)
    drift = reward_gap * time
    if (np.abs(drift) > 1e300).any():
        raise ValueError(
            f"reward_gap * time must stay within 1e300; {np.abs(drift).max():.3g} came. "
            "Give a shorter time: the gap grows like log(2 Δ t) and is known from there."
        )
    return _inverse(gap + np.sinh(gap) + drift)[()]


def policy_gradient_escape_time(
    gap: float | int | Real[np.ndarray, "*#batch"],
    new_gap: float | int | Real[np.ndarray, "*#batch"],
    reward_gap: float | int | Real[np.ndarray, "*#batch"],
) -> Float[np.ndarray, "*batch"] | float:
    """Time that the exact policy gradient of two actions takes from one gap of the logits to another.

    t = (x_1 + sinh x_1 − x_0 − sinh x_0) / Δ

    From a bad start x_0 = −L to even odds it is (L + sinh L)/Δ, exponential in the depth L; the natural
    gradient takes L/Δ.

    Args:
        gap: x_0 = z_1 − z_2 at the start, in nats, within ±700; log(p/(1 − p)) for probability p of action 1.
        new_gap: x_1 = z_1 − z_2 to be reached, in nats, within ±700.
        reward_gap: Δ = r_1 − r_2, in units of reward, not 0.

    Returns:
        t, step size × steps, in nats per unit of reward, the broadcast shape; negative if the flow moves the
        other way and was there before.

    Raises:
        TypeError: an argument is not real numbers.
        ValueError: a number is not finite, a gap is above 700 in size, reward_gap is 0, or shapes do not fit.

    Numerics:
        Relative error ≤ 1e-12: sinh x_1 − sinh x_0 is taken as 2 cosh((x_0 + x_1)/2) sinh((x_1 − x_0)/2), and
        nothing cancels. Held by tests/reference/test_trajectories.py.

    Source: claim `two-action-law`, chapter closed-form-trajectories; [mei2020global].

    Example:
        >>> policy_gradient_escape_time(np.array([-2.0, -4.0, -8.0]), 0.0, 1.0).round(1)
        array([   5.6,   31.3, 1498.5])
    """
    gap, new_gap, reward_gap = over_batch(gap=gap, new_gap=new_gap, reward_gap=reward_gap)
    _check_gap("gap", gap)
    _check_gap("new_gap", new_gap)
    if (reward_gap == 0).any():
        raise ValueError("reward_gap must not be 0; with equal rewards no time suffices. Drop those entries.")
    opened, middle = new_gap - gap, (gap + new_gap) / 2
    return ((opened + 2 * np.cosh(middle) * np.sinh(opened / 2)) / reward_gap)[()]


def regularised_gradient_logits(
    logits: Real[np.ndarray, "*#batch actions"],
    rewards: Real[np.ndarray, "*#batch actions"],
    temperature: float | int,
    time: float | int,
) -> Float[np.ndarray, "*batch actions"]:
    """Logits after following the natural gradient of the reward plus temperature × entropy.

    z(t) = e^(−τt) z + (1 − e^(−τt)) r / τ, and z + t r at τ = 0

    Args:
        logits: z at time 0, in nats; −inf forbids an action; a common constant cancels from the policy.
        rewards: r, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant cancels.
        temperature: τ ≥ 0, in units of reward per nat.
        time: t, step size × steps, in nats per unit of reward, not negative.

    Returns:
        z(t) in nats, one row per broadcast row, −inf at forbidden actions. The policy tends to softmax(r/τ).

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: logits are not a policy, rewards are not finite at an allowed action, temperature or time
            is negative or not one finite number, or shapes do not fit.

    Numerics:
        Error ≤ 4 eps (|z| + t' |r|) with t' = (1 − e^(−τt))/τ, for every τ down to 0. Held by
        tests/reference/test_trajectories.py.

    Source: claim `regularised-path`, chapter closed-form-trajectories; [cen2022fast].

    Example:
        >>> regularised_gradient_logits(np.array([0.0, 4.0]), np.array([1.0, 0.0]), 0.5, 2.0).round(3)
        array([1.264, 1.472])
    """
    temperature, time = number("temperature", temperature), number("time", time)
    if temperature < 0 or time < 0:
        raise ValueError(
            f"temperature and time must not be negative; {temperature} and {time} came. "
            "To look back, exchange start and end by hand: z = e^(τt) z(t) − (e^(τt) − 1) r/τ."
        )
    logits, rewards = over_actions(logits, rewards=rewards)
    worn = -np.expm1(-temperature * time) / temperature if temperature * time > 0 else time
    moved = np.exp(-temperature * time) * np.where(allowed_actions(logits), logits, 0.0) + worn * rewards
    return np.where(allowed_actions(logits), moved, -np.inf)


def _inverse(level):
    """Return the x with x + sinh x = level, by Newton's method from above, where it cannot overshoot."""
    size = np.abs(level)
    # Both are upper bounds: sinh x ≥ x gives x ≤ s/2, and sinh(log(2 + 2s)) ≥ s.
    x = np.minimum(size / 2, np.log(2) + np.log1p(size))
    for _ in range(NEWTON_STEPS):
        x = x - (x + np.sinh(x) - size) / (1 + np.cosh(x))
    return np.copysign(x, level)


def _check_gap(name, gap):
    if (np.abs(gap) > WIDEST_GAP).any():
        raise ValueError(
            f"{name} must be within {WIDEST_GAP:.0f} nats; {np.abs(gap).max():.4g} came. "
            "Beyond, the policy gradient does not move in any time that float64 holds."
        )
