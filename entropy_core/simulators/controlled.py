r"""Natural gradient ascent of reward and entropy bonus with a controller of the bonus in the loop.

One step moves the logits by η (A − α(log π + H)), reads the entropy of the policy before it, possibly late
and with noise, and hands it to the controller, whose coefficient the next step uses. Exact gradients: what is
studied is the loop, not the sampling. `entropy_coefficient_at` finds where the loop rests.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from entropy_core._shapes import Float, Real
from entropy_core.reference import EntropyController, integral_update
from entropy_core.reference import varentropy as varentropy_of
from entropy_core.simulators._bandits import read_bandits

__all__ = ["ControlledRun", "controlled_ascent", "entropy_coefficient_at"]

BISECTIONS = 60


@dataclass(frozen=True)
class ControlledRun:
    """What a run of many controlled bandits recorded; first axis instances, second axis steps, start first.

    Args:
        entropies: H in nats, without noise.
        coefficients: α that the step from there used, in units of reward per nat.
        expected_returns: E r.
    """

    entropies: np.ndarray
    coefficients: np.ndarray
    expected_returns: np.ndarray


def controlled_ascent(
    generator: np.random.Generator,
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    controller: EntropyController,
    step_size: float | Float[np.ndarray, " instances"],
    steps: int,
    delay: int = 0,
    noise: float = 0.0,
    update: Callable = integral_update,
) -> ControlledRun:
    """Follow the natural gradient of E r + αH in steps while a controller moves α.

    z ← z + η (r − α z) up to a constant, then the controller meets H of `delay` steps ago, with noise

    Args:
        generator: source of the noise; its state is advanced where there is noise.
        logits: z before the first step, finite.
        rewards: r, finite.
        controller: the state at the start; arrays in it are one number an instance.
        step_size: η, one number or one an instance, in nats per unit of reward.
        steps: number of steps, at least 1.
        delay: age of the entropy that the controller meets, in steps; before the start it is that of the
            start.
        noise: standard deviation of what is added to each reading, in nats.
        update: from a controller and an entropy to the next controller.

    Returns:
        The record.

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.

    Example:
        >>> start = EntropyController(0.5, target_entropy=0.4, rate=0.2, lowest=1e-3, highest=10.0)
        >>> two, reward = np.zeros((1, 2)), np.array([[1.0, 0.0]])
        >>> run = controlled_ascent(np.random.default_rng(0), two, reward, start, 0.5, 400)
        >>> run.entropies[0, [0, -1]].round(3).tolist()
        [0.693, 0.4]
    """
    logits, rewards = read_bandits(logits, rewards)
    if steps < 1 or delay < 0 or noise < 0 or not (np.asarray(step_size) > 0).all():
        raise ValueError(
            "controlled_ascent needs steps ≥ 1, delay ≥ 0, noise ≥ 0 and step_size > 0, got "
            f"steps = {steps}, delay = {delay}, noise = {noise}, step_size = {step_size}"
        )
    eta = np.broadcast_to(np.asarray(step_size, np.float64), len(logits))[:, None]
    seen, used, earned = [], [], []
    for _ in range(steps + 1):
        level, gain = _moments(logits, rewards)
        alpha = np.broadcast_to(controller.coefficient, len(logits))
        seen.append(level), used.append(alpha), earned.append(gain)
        reading = seen[max(0, len(seen) - 1 - delay)]
        reading = reading + noise * generator.normal(size=reading.shape) if noise else reading
        logits = logits + eta * (rewards - alpha[:, None] * logits)
        controller = update(controller, reading)
    return ControlledRun(*(np.stack(values, axis=1) for values in (seen, used, earned)))


def entropy_coefficient_at(
    rewards: Real[np.ndarray, "instances actions"], target_entropy: Real[np.ndarray, " instances"]
) -> tuple[Float[np.ndarray, " instances"], Float[np.ndarray, " instances"]]:
    """Coefficient at which the optimum of E r + αH has a given entropy, and the varentropy there.

    H(softmax(r/α)) = H*, which grows with α at the rate Var(log π) per unit of log α

    Args:
        rewards: r, finite, with one best action or several.
        target_entropy: H*, between the logarithm of the number of best actions and that of all, in nats.

    Returns:
        α in units of reward per nat, and Var(log π) in nats², one an instance.

    Raises:
        ValueError: if shapes do not fit, or a target lies outside what any coefficient gives.

    Numerics:
        Bisection of log α to 1e-14 of its range of 30 nats; tests/simulators/test_controlled.py.

    Example:
        >>> alpha, spread = entropy_coefficient_at(np.array([[1.0, 0.0]]), np.array([0.5]))
        >>> alpha.round(3).tolist(), spread.round(3).tolist()
        ([0.72], [0.308])
    """
    rewards, target = np.asarray(rewards, np.float64), np.asarray(target_entropy, np.float64)
    best = (rewards == rewards.max(axis=-1, keepdims=True)).sum(axis=-1)
    if not ((np.log(best) < target) & (target < np.log(rewards.shape[-1]))).all():
        raise ValueError(
            "target_entropy must lie between log(number of best actions) and log(number of actions), got "
            f"{target.min():.4g} to {target.max():.4g}; no coefficient gives another"
        )
    spread = rewards.std(axis=-1)
    low, high = np.log(spread) - 15, np.log(spread) + 15
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = _moments(rewards / np.exp(middle)[:, None], rewards)[0] > target
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    alpha = np.exp((low + high) / 2)
    return alpha, varentropy_of(rewards / alpha[:, None])


def _moments(logits, rewards):
    """Return H and E r of each row: one exponential an entry, since the loop visits millions of them."""
    gaps = logits - logits.max(axis=-1, keepdims=True)
    weights = np.exp(gaps)
    total = weights.sum(axis=-1)
    level = np.log(total) - np.einsum("ij,ij->i", weights, gaps) / total
    return level, np.einsum("ij,ij->i", weights, rewards) / total
