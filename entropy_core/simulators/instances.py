"""Random policies and random directions in which their logits may move."""

import numpy as np

from entropy_core._shapes import Float
from entropy_core.reference import covariance_over_actions

__all__ = ["random_steps"]


def random_steps(
    generator: np.random.Generator, instances: int, actions: int, logit_scale: float = 2.0
) -> tuple[Float[np.ndarray, "instances 1 actions"], Float[np.ndarray, "instances 1 actions"]]:
    """Draw policies and, for each, a direction of unit standard deviation under that policy.

    z ~ logit_scale · N(0, 1), u ~ N(0, 1) scaled so that Var_π(u) = 1

    Args:
        generator: source of randomness; its state is advanced.
        instances: number of policies, at least 1.
        actions: number of actions, at least 2: with one action no direction has a length.
        logit_scale: standard deviation of the logits, positive.

    Returns:
        (logits, directions); the middle axis has length 1, for step sizes of shape [steps, 1].

    Raises:
        ValueError: if there is no instance, fewer than two actions, or a scale that is not positive.

    Numerics:
        The variance is 1 to rounding; tests/simulators/test_instances.py.

    Source: chapter entropy-covariance-identity.

    Example:
        >>> logits, directions = random_steps(np.random.default_rng(0), instances=2, actions=3)
        >>> covariance_over_actions(directions, directions, logits).round(12).tolist()
        [[1.0], [1.0]]
    """
    if instances < 1 or actions < 2 or not logit_scale > 0:
        raise ValueError(
            "random_steps needs instances ≥ 1, actions ≥ 2 and logit_scale > 0, "
            f"got instances = {instances}, actions = {actions}, logit_scale = {logit_scale}; "
            "with a single action every direction has length 0"
        )
    logits = logit_scale * generator.normal(size=(instances, 1, actions))
    directions = generator.normal(size=(instances, 1, actions))
    lengths = np.sqrt(covariance_over_actions(directions, directions, logits))
    return logits, directions / lengths[..., None]
