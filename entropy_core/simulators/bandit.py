r"""Bandits by the thousand: one state, fixed rewards, the softmax policy moved by exact or sampled gradients.

Logits have shape [instances, actions]. The natural gradient flow dz/dt = A has the closed form z + t r; the
policy gradient flow dz/dt = πA is integrated (Dormand–Prince, one adaptive step for all instances);
the sampled policy gradient draws a batch of actions at every step. Time is step size × number of steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from entropy_core._shapes import Float, Real
from entropy_core.reference import (
    covariance_over_actions,
    entropy,
    log_probs,
)

__all__ = [
    "BanditRun",
    "aligned_bandits",
    "natural_gradient_flow",
    "policy_gradient_flow",
    "sampled_policy_gradient",
]


@dataclass(frozen=True)
class BanditRun:
    """What a run of many bandits recorded, in float64; first axis instances, second axis records.

    Args:
        times: moment of each record, step size × steps, shape [records].
        entropies: H in nats.
        covariances: Cov(log π, Δz per unit of time): minus the first-order rate of entropy.
        expected_returns: E r under the policy of the moment.
        final_logits: z at the last record, shape [instances, actions].
    """

    times: np.ndarray
    entropies: np.ndarray
    covariances: np.ndarray
    expected_returns: np.ndarray
    final_logits: np.ndarray


def aligned_bandits(
    generator: np.random.Generator,
    instances: int,
    actions: int,
    alignment: float,
    logit_scale: float = 2.0,
) -> tuple[Float[np.ndarray, "instances actions"], Float[np.ndarray, "instances actions"]]:
    """Draw rewards, and priors that agree with them to a given degree.

    r, ε ~ N(0, 1), z = logit_scale · (ρ r + √(1 − ρ²) ε)

    Args:
        generator: source of randomness; its state is advanced.
        instances: number of bandits, at least 1.
        actions: number of actions, at least 2.
        alignment: ρ in [−1, 1], the correlation of logits and rewards over random actions.
        logit_scale: standard deviation of the logits, positive.

    Returns:
        (logits, rewards).

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> logits, rewards = aligned_bandits(np.random.default_rng(0), 2, 3, alignment=1.0)
        >>> bool((logits == 2.0 * rewards).all())
        True
    """
    if instances < 1 or actions < 2 or not -1 <= alignment <= 1 or not logit_scale > 0:
        raise ValueError(
            "aligned_bandits needs instances ≥ 1, actions ≥ 2, −1 ≤ alignment ≤ 1 and logit_scale > 0, got "
            f"instances = {instances}, actions = {actions}, alignment = {alignment}, "
            f"logit_scale = {logit_scale}; for an adversarial prior pass a negative alignment"
        )
    rewards, noise = generator.normal(size=(2, instances, actions))
    return logit_scale * (alignment * rewards + np.sqrt(1 - alignment**2) * noise), rewards


def natural_gradient_flow(
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    times: Real[np.ndarray, " records"],
) -> BanditRun:
    """Follow the exact natural policy gradient, whose path is known in closed form.

    z(t) = z + t r

    Args:
        logits: z at time 0.
        rewards: r, finite.
        times: moments to record, from 0 on, increasing.

    Returns:
        The record; `covariances` is Cov(log π, A).

    Raises:
        ValueError: if shapes do not fit, a number is not finite or times do not increase from 0 or later.

    Example:
        >>> run = natural_gradient_flow(np.zeros((1, 2)), np.array([[1.0, 0.0]]), np.array([0.0, 50.0]))
        >>> run.entropies.round(4)
        array([[0.6931, 0.    ]])
    """
    logits, rewards = _read_bandits(logits, rewards)
    times = _read_times(times)
    moved = logits - logits.max(-1, keepdims=True)
    return _record(times, [moved + t * rewards for t in times], rewards, lambda probs: 1.0)


def policy_gradient_flow(
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    times: Real[np.ndarray, " records"],
    tolerance: float = 1e-8,
) -> BanditRun:
    """Follow the exact policy gradient by adaptive integration, the same step for all instances.

    dz/dt = π (r − E r)

    Args:
        logits: z at time 0.
        rewards: r, finite.
        times: moments to record, from 0 on, increasing.
        tolerance: largest local error of a logit in one integration step, in nats, positive.

    Returns:
        The record; `covariances` is Cov(log π, πA).

    Raises:
        ValueError: if shapes do not fit, a number is not finite, times do not increase from 0 or later or
            tolerance is not positive.

    Example:
        >>> run = policy_gradient_flow(np.zeros((1, 2)), np.array([[1.0, 0.0]]), np.array([0.0, 50.0]))
        >>> gap = run.final_logits[0, 0] - run.final_logits[0, 1]
        >>> round(float(gap + np.sinh(gap)), 5)
        50.0
    """
    logits, rewards = _read_bandits(logits, rewards)
    times = _read_times(times)
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}; 1e-8 suits most runs")
    velocity = lambda z: _policy_velocity(z, rewards)  # noqa: E731
    path, now, stride = [], 0.0, 0.1 / max(np.ptp(rewards, axis=-1).max(), 1e-300)
    for t in _progress(times):
        while now < t:
            width = min(stride, t - now)
            trial, error = _dormand_prince(velocity, logits, width)
            if error <= tolerance:
                logits, now = trial, t if width == t - now else now + width
            grown = 0.9 * (tolerance / max(error, 1e-300)) ** 0.2
            if error > tolerance or width == stride:
                stride = width * float(np.clip(grown, 0.2, 5.0))
        path.append(logits)
    return _record(times, path, rewards, lambda probs: probs)


def sampled_policy_gradient(
    generator: np.random.Generator,
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    step_size: float,
    steps: int,
    batch_size: int,
    reward_noise: float = 0.0,
    record_every: int = 1,
) -> BanditRun:
    """Take policy gradient steps from sampled actions with noisy rewards and an exact baseline.

    Δz = (η/B) Σ_b (r_b − E r + noise_b)(e_b − π), actions b drawn from π

    Args:
        generator: source of randomness; its state is advanced.
        logits: z before the first step.
        rewards: mean reward of each action, finite.
        step_size: η, positive.
        steps: number of updates, at least 1.
        batch_size: B, actions drawn for each update and instance, at least 1.
        reward_noise: standard deviation of the normal noise on each sampled reward, not negative.
        record_every: number of steps between two records, at least 1.

    Returns:
        The record, the start included; `covariances` is Cov(log π, πA) of the exact gradient.

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.

    Example:
        >>> start, none = np.zeros((2, 3)), np.zeros((2, 3))
        >>> run = sampled_policy_gradient(np.random.default_rng(0), start, none, 0.1, 4, 2, record_every=2)
        >>> run.times.tolist(), run.entropies.shape
        ([0.0, 0.2, 0.4], (2, 3))
    """
    logits, rewards = _read_bandits(logits, rewards)
    if min(steps, batch_size, record_every) < 1 or not step_size > 0 or not reward_noise >= 0:
        raise ValueError(
            "sampled_policy_gradient needs steps, batch_size and record_every ≥ 1, step_size > 0 and "
            f"reward_noise ≥ 0, got steps = {steps}, batch_size = {batch_size}, record_every = "
            f"{record_every}, step_size = {step_size}, reward_noise = {reward_noise}; "
            "for exact gradients use policy_gradient_flow"
        )
    path = [logits]
    for step in _progress(range(1, steps + 1)):
        logits = logits + step_size * _sampled_direction(generator, logits, rewards, batch_size, reward_noise)
        if step % record_every == 0:
            path.append(logits)
    times = step_size * record_every * np.arange(len(path))
    return _record(times, path, rewards, lambda probs: probs)


def _sampled_direction(generator, logits, rewards, batch_size, reward_noise):
    """One batch mean of (r − E r + noise)(e − π) for each instance."""
    probs = np.exp(log_probs(logits))
    edges = probs.cumsum(axis=-1)[:, None, :-1]
    draws = generator.random((len(logits), batch_size, 1))
    taken = (draws > edges).sum(axis=-1)
    advantages = rewards - (probs * rewards).sum(axis=-1, keepdims=True)
    gains = np.take_along_axis(advantages, taken, axis=-1)
    gains = gains + reward_noise * generator.normal(size=gains.shape)
    direction = -probs * gains.mean(axis=-1, keepdims=True)
    np.add.at(direction, (np.arange(len(logits))[:, None], taken), gains / batch_size)
    return direction


def _policy_velocity(logits, rewards):
    """π (r − E r)."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs = weights / weights.sum(axis=-1, keepdims=True)
    return probs * (rewards - (probs * rewards).sum(axis=-1, keepdims=True))


_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def _dormand_prince(velocity: Callable, state: np.ndarray, width: float) -> tuple[np.ndarray, float]:
    """One step of order five, and the largest difference from the embedded step of order four."""
    slopes = [velocity(state)]
    for stage in _STAGES:
        moved = state + width * sum(c * k for c, k in zip(stage, slopes, strict=True))
        slopes.append(velocity(moved))
    error = width * sum(c * k for c, k in zip(_ERROR, slopes, strict=True))
    return moved, float(np.abs(error).max())


def _record(times, path, rewards, weight_of) -> BanditRun:
    """Measure every recorded policy; `weight_of` turns probs into what multiplies A in the velocity."""
    entropies, covariances, returns = [], [], []
    for logits in path:
        ell = log_probs(logits)
        probs = np.exp(ell)
        mean = (probs * rewards).sum(axis=-1)
        velocity = weight_of(probs) * (rewards - mean[:, None])
        entropies.append(entropy(logits))
        covariances.append(covariance_over_actions(ell, velocity, logits))
        returns.append(mean)
    stacked = [np.stack(values, axis=1) for values in (entropies, covariances, returns)]
    return BanditRun(np.asarray(times), *stacked, final_logits=path[-1])


def _progress(items):
    """Show progress on anything that runs longer than five seconds."""
    from tqdm import tqdm

    return tqdm(items, delay=5)


def _read_bandits(logits, rewards):
    logits, rewards = np.asarray(logits, np.float64), np.asarray(rewards, np.float64)
    if logits.ndim != 2 or logits.shape != rewards.shape or logits.shape[-1] < 2 or not len(logits):
        raise ValueError(
            "logits and rewards must both have shape [instances, actions] with at least two actions, got "
            f"logits {logits.shape} and rewards {rewards.shape}; for one bandit insert an axis: logits[None]"
        )
    if not (np.isfinite(logits).all() and np.isfinite(rewards).all()):
        raise ValueError(
            "logits and rewards must be finite, got NaN or infinity; leave forbidden actions out of the array"
        )
    return logits, rewards


def _read_times(times):
    times = np.asarray(times, np.float64)
    increasing = times.ndim == 1 and times.size and np.isfinite(times).all() and (np.diff(times) > 0).all()
    if not (increasing and times[0] >= 0):
        raise ValueError(
            f"times must be finite, increasing and start at 0 or later, got {times}; "
            "for example np.linspace(0, 20, 101)"
        )
    return times
