r"""Where the policy gradient flow of one state ends, and at what powers of time it gets there.

With x = e^(−z), the flow dz/dt = πA gives dx_a/dt = −(r_a − E r)/Z with Z = Σ e^z. Hence
x_a(t) = x_a(0) + y − r_a s with ds = dt/Z and one number y(t) for all actions, and the product of all x is
conserved. What remains is one equation for y, and t as an integral over s. Here are the leading terms of its
solution for late times.
"""

from dataclasses import dataclass

import numpy as np

from entropy_core._shapes import Float, Real
from entropy_core.simulators._bandits import read_bandits

__all__ = ["LateLaw", "late_law"]


@dataclass(frozen=True)
class LateLaw:
    """Late probabilities: log π_a(t) = log_factors_a − exponents_a · log t + what vanishes.

    Args:
        exponents: power of 1/t, shape [instances, actions]: 0 for the winners, 1 for every action of less
            than the best reward, and between them for a best action that loses.
        log_factors: logarithm of the factor, same shape.
        remaining_reward: limit of t (best reward − E r), which is m w/(w + m), shape [instances].
    """

    exponents: np.ndarray
    log_factors: np.ndarray
    remaining_reward: np.ndarray

    def log_probs_at(self, time: float) -> Float[np.ndarray, "instances actions"]:
        """Leading term of log π at one late time, in units of step size × steps."""
        return self.log_factors - self.exponents * np.log(time)


def late_law(
    logits: Real[np.ndarray, "instances actions"], rewards: Real[np.ndarray, "instances actions"]
) -> LateLaw:
    """Leading term of each probability under the policy gradient flow dz/dt = πA, for late times.

    π_winner → 1/m, π_loser ~ t^(−w/(w + m)), π_worse ~ m / ((w + m) Δ t)

    m is the number of best actions that share the largest logit (exactly equal floats), w the number of
    actions with less than the best reward and Δ what such an action lacks.

    Args:
        logits: z at time 0, finite.
        rewards: r, finite; in every instance at least two values.

    Returns:
        Exponents, factors and the reward still missing.

    Raises:
        ValueError: if shapes do not fit, a number is not finite or an instance has equal rewards throughout.

    Source: claim `late-exponents`, chapter winner-takes-all.

    Example:
        >>> law = late_law(np.log([[0.3, 0.2, 0.5]]), np.array([[1.0, 1.0, 0.0]]))
        >>> law.exponents.tolist(), law.remaining_reward.tolist()
        ([[0.0, 0.5, 1.0]], [0.5])
    """
    logits, rewards = read_bandits(logits, rewards)
    missing = _missing_rewards(rewards)
    reciprocals = np.exp(-logits + logits.sum(axis=-1, keepdims=True) / logits.shape[-1])
    best = missing == 0
    leading = np.where(best, reciprocals, np.inf).min(axis=-1, keepdims=True)
    winners = best & (reciprocals == leading)
    losers = best & ~winners
    gaps = np.where(winners, 1.0, np.where(losers, reciprocals - leading, missing))
    m = winners.sum(axis=-1, keepdims=True)
    power = (~best).sum(axis=-1, keepdims=True) / m
    log_scale = -np.log(gaps).sum(axis=-1, keepdims=True) / m  # x of a winner ~ scale · s^(−power)
    losing = log_scale / (power + 1) - power / (power + 1) * np.log((power + 1) / m) - np.log(m * gaps)
    worse = -np.log(gaps * (power + 1))
    return LateLaw(
        exponents=np.where(winners, 0.0, np.where(losers, power / (power + 1), 1.0)),
        log_factors=np.where(winners, -np.log(m), np.where(losers, losing, worse)),
        remaining_reward=(m * power / (power + 1))[:, 0],
    )


def _missing_rewards(rewards):
    """What each action lacks to the best one, once the input is known to have an answer."""
    missing = rewards.max(axis=-1, keepdims=True) - rewards
    if not (missing > 0).any(axis=-1).all():
        raise ValueError(
            "every instance needs an action with less than the best reward, got one without; "
            "with equal rewards the flow stands still and has no late law"
        )
    return missing
