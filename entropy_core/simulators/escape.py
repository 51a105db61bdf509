r"""How long the exact policy gradient with a 0/1 reward takes to reach a success probability.

The flow slows down so much near certainty that time is a poor variable to integrate in. The success
probability only grows along it, so the logits and the time are integrated in u, where logit P goes in a
straight line from its start at u = 0 to its goal at u = 1, all instances together (SciPy's DOP853).
"""

import numpy as np

from entropy_core._shapes import Bool, Float, Real
from entropy_core.reference import covariance_over_actions, policy_gradient_delta_logits

__all__ = ["escape_times"]


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
    from scipy.integrate import solve_ivp

    logits, correct = _read(logits, correct, success, tolerance)
    start = _log_odds(logits, correct)
    width = np.log(success / (1 - success)) - start
    count, actions = logits.shape

    def velocity(u, state):
        z = state.reshape(count, actions + 1)[:, :-1]
        step = policy_gradient_delta_logits(z, 1.0 * correct, 1.0)
        growth = covariance_over_actions(1.0 * correct, step, z)
        odds = start + u * width
        pace = width / (np.exp(odds) + 2 + np.exp(-odds)) / growth  # P(1 − P) = 1/(e^x + 2 + e^−x)
        return np.hstack([pace[:, None] * step, pace[:, None]]).ravel()

    first = np.hstack([logits, np.zeros((count, 1))]).ravel()
    path = solve_ivp(velocity, (0, 1), first, "DOP853", t_eval=[1.0], rtol=tolerance, atol=tolerance)
    return path.y[:, -1].reshape(count, actions + 1)[:, -1]


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
