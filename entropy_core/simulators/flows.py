r"""Flows integrated by DOP853, and how long the policy gradient takes to a given success probability.

`integrate_flow` knows nothing of the subject and judges its closed forms. `escape_times` follows the exact
policy gradient with a 0/1 reward. That flow slows down so much near certainty that time is a poor variable to
integrate in. The success probability only grows along it, so the logits and the time are integrated in u,
where logit P goes in a straight line from its start at u = 0 to its goal at u = 1, all instances together.
"""

from collections.abc import Callable

import numpy as np

from entropy_core._shapes import Bool, Float, Real
from entropy_core.reference import covariance_over_actions, policy_gradient_delta_logits

__all__ = ["escape_times", "integrate_flow"]


def integrate_flow(
    velocity: Callable[[np.ndarray], np.ndarray],
    start: Real[np.ndarray, "..."],
    times: Real[np.ndarray, " records"],
    tolerance: float = 1e-10,
) -> Float[np.ndarray, "records ..."]:
    """Integrate dz/dt = velocity(z) from time 0 with an adaptive method of order eight.

    Args:
        velocity: function of the whole state that returns its derivative, of the same shape.
        start: state at time 0, finite; instances and actions in any arrangement.
        times: moments to record, not negative, increasing.
        tolerance: relative and absolute error of one step, positive.

    Returns:
        The state at each moment; the error is that of DOP853, some multiples of the tolerance.

    Raises:
        ValueError: if times are negative or do not increase, or the integration fails, as where the velocity
            is not finite.

    Example:
        >>> integrate_flow(lambda z: -z, np.array([1.0, 2.0]), np.array([0.0, 1.0])).round(4)
        array([[1.    , 2.    ],
               [0.3679, 0.7358]])
    """
    from scipy.integrate import solve_ivp

    start, times = np.asarray(start, np.float64), np.asarray(times, np.float64)
    if not (times.size and (times >= 0).all() and (np.diff(times) > 0).all()):
        raise ValueError(f"times must increase from 0 or later, got {times}; for example np.arange(1, 5)")
    path = solve_ivp(
        lambda _, state: np.ravel(velocity(state.reshape(start.shape))),
        (0.0, times[-1]),
        start.ravel(),
        "DOP853",
        times,
        rtol=tolerance,
        atol=tolerance,
    )
    if not (path.success and np.isfinite(path.y).all()):
        raise ValueError(f"the integration failed: {path.message}; look at velocity(start) for NaN")
    return path.y.T.reshape(times.size, *start.shape)


def escape_times(
    logits: Real[np.ndarray, "instances actions"],
    correct: Bool[np.ndarray, "instances actions"],
    success: float = 0.5,
    tolerance: float = 1e-9,
) -> Float[np.ndarray, " instances"]:
    """Follow the exact policy gradient of each instance until its success probability is reached.

    dt/du = (logit P_1 − logit P_0) P (1 − P) / Cov(c, πA), dz/du = πA · dt/du

    Args:
        logits: z at time 0, finite.
        correct: c, True at actions that earn 1; at least one and not all in each row.
        success: P_1, the success probability to be reached, between 0 and 1.
        tolerance: relative and absolute error of one integration step, positive.

    Returns:
        Time, step size × steps, of each instance; negative where the start is beyond P_1.

    Raises:
        ValueError: if shapes do not fit, a row has no correct or no wrong action, success is not inside
            (0, 1) or tolerance is not positive.

    Example:
        >>> escape_times(np.array([[-4.0, 0.0]]), np.array([[True, False]])).round(3)
        array([31.29])
    """
    logits, correct = _read(logits, correct, success, tolerance)
    width = np.log(success / (1 - success)) - _log_odds(logits, correct)

    def velocity(state):
        z = state[:, :-1]
        step = policy_gradient_delta_logits(z, 1.0 * correct, 1.0)
        growth = covariance_over_actions(1.0 * correct, step, z)
        odds = _log_odds(z, correct)
        pace = width / (np.exp(odds) + 2 + np.exp(-odds)) / growth  # P(1 − P) = 1/(e^x + 2 + e^−x)
        return np.hstack([pace[:, None] * step, pace[:, None]])

    start = np.hstack([logits, np.zeros((len(logits), 1))])
    return integrate_flow(velocity, start, np.array([1.0]), tolerance)[0, :, -1]


def _log_odds(logits, correct):
    """Return logit P of each row."""
    side = [np.where(chosen, logits, -np.inf) for chosen in (correct, ~correct)]
    top = [x.max(axis=-1) for x in side]
    mass = [np.log(np.exp(x - m[:, None]).sum(axis=-1)) + m for x, m in zip(side, top, strict=True)]
    return mass[0] - mass[1]


def _read(logits, correct, success, tolerance):
    logits, correct = np.asarray(logits, np.float64), np.asarray(correct, bool)
    if logits.ndim != 2 or logits.shape != correct.shape or not np.isfinite(logits).all():
        raise ValueError(
            "logits and correct must both have shape [instances, actions] and logits be finite, got "
            f"logits {logits.shape} and correct {correct.shape}; for one instance insert an axis"
        )
    if not (correct.any(axis=-1) & ~correct.all(axis=-1)).all():
        raise ValueError(
            "each row needs a correct and a wrong action, got a row with only one kind; its success "
            "probability cannot move, so leave it out"
        )
    if not (0 < success < 1 and tolerance > 0):
        raise ValueError(
            f"success must be inside (0, 1) and tolerance positive, got {success} and {tolerance}; certainty "
            "is not reached in any finite time"
        )
    return logits, correct
