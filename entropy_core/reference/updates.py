"""Steps of the logits of one state: vanilla and natural policy gradient, exact gradients, one state.

The expected reward is J = E r; its gradient in the logits is π (r − E r), its natural gradient r − E r up to
a constant, which no softmax sees.
"""

import numpy as np

from entropy_core._shapes import Float, Real
from entropy_core.reference._moments import centred, softmax_weights
from entropy_core.reference._validation import allowed_actions, number, over_actions

__all__ = ["natural_gradient_delta_logits", "policy_gradient_delta_logits"]


def policy_gradient_delta_logits(
    logits: Real[np.ndarray, "*#batch actions"],
    rewards: Real[np.ndarray, "*#batch actions"],
    step_size: float | int,
) -> Float[np.ndarray, "*batch actions"]:
    """Step of the logits along the policy gradient of the expected reward.

    Δz_a = η π_a (r_a − E r)

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.
        rewards: r, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant cancels,
            because rewards are centred here.
        step_size: η, a finite number, in nats per unit of reward.

    Returns:
        Δz in nats, one row per broadcast row, summing to 0 over the last axis; 0 at forbidden actions.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: logits are not a policy, rewards are not finite at an allowed action, shapes do not fit,
            or step_size is not one finite number.

    Numerics:
        Error ≤ 1e-12 × |η| π_a (|r_a − E r| + E|r − E r|), whatever the offset of the rewards. Held by
        tests/agreement/test_reference_oracle.py.

    Source: claim `fisher-is-jacobian`, chapter softmax-geometry; [williams1992simple], [sutton2000policy].

    Example:
        >>> policy_gradient_delta_logits(np.log([0.5, 0.4, 0.1]), np.array([0.0, 1.0, 0.0]), 1.0).round(4)
        array([-0.2 ,  0.24, -0.04])
    """
    step_size = number("step_size", step_size)
    logits, rewards = over_actions(logits, rewards=rewards)
    weights = softmax_weights(logits)
    probs = weights / weights.sum(axis=-1, keepdims=True)
    return 0.0 + step_size * (probs * centred(rewards, weights))


def natural_gradient_delta_logits(
    logits: Real[np.ndarray, "*#batch actions"],
    rewards: Real[np.ndarray, "*#batch actions"],
    step_size: float | int,
) -> Float[np.ndarray, "*batch actions"]:
    """Step of the logits along the natural policy gradient of the expected reward.

    Δz_a = η (r_a − E r)

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.
        rewards: r, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant cancels.
        step_size: η, a finite number, in nats per unit of reward.

    Returns:
        Δz in nats, one row per broadcast row, with E Δz = 0 (the natural gradient is fixed up to a constant;
        this one is η times the advantage); 0 at forbidden actions.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: logits are not a policy, rewards are not finite at an allowed action, shapes do not fit,
            or step_size is not one finite number.

    Numerics:
        Error ≤ 1e-12 × |η| (|r_a − E r| + E|r − E r|), whatever the offset of the rewards. Held by
        tests/agreement/test_reference_oracle.py.

    Source: claim `fisher-is-jacobian`, chapter softmax-geometry; [kakade2001natural], [agarwal2021theory].

    Example:
        >>> natural_gradient_delta_logits(np.log([0.5, 0.4, 0.1]), np.array([0.0, 1.0, 0.0]), 1.0).round(4)
        array([-0.4,  0.6, -0.4])
    """
    step_size = number("step_size", step_size)
    logits, rewards = over_actions(logits, rewards=rewards)
    advantages = centred(rewards, softmax_weights(logits))
    return np.where(allowed_actions(logits), 0.0 + step_size * advantages, 0.0)
