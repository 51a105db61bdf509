r"""Bandits by the thousand: one state, fixed rewards, the softmax policy moved by exact or sampled gradients.

Logits have shape [instances, actions]. The natural gradient flow dz/dt = A has the closed form z + t r; the
policy gradient flow dz/dt = πA is integrated by torchdiffeq (Dormand–Prince, one step width for all
instances); the sampled policy gradient draws a batch of actions at every step. Time is step size × number of
steps.

Everything is computed in float64 on the device that the caller names. Random numbers are drawn on the host,
so equal seeds give equal runs on every device.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torchdiffeq import odeint
from tqdm import tqdm

from entropy_core._shapes import Float, Real
from entropy_core.batched import (
    covariance_over_actions,
    entropy,
    log_probs,
    natural_gradient_delta_logits,
    policy_gradient_delta_logits,
    probs,
)
from entropy_core.simulators._bandits import drawn
from entropy_core.simulators._host import to_device, to_host

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
    device: str | torch.device = "cpu",
) -> BanditRun:
    """Follow the exact natural policy gradient, whose path is known in closed form.

    z(t) = z + t r

    Args:
        logits: z at time 0.
        rewards: r, finite.
        times: moments to record, from 0 on, increasing.
        device: where to compute; it must know float64.

    Returns:
        The record; `covariances` is Cov(log π, A).

    Raises:
        ValueError: if shapes do not fit, a number is not finite or times do not increase from 0 or later.

    Example:
        >>> run = natural_gradient_flow(np.zeros((1, 2)), np.array([[1.0, 0.0]]), np.array([0.0, 50.0]))
        >>> run.entropies.round(4)
        array([[0.6931, 0.    ]])
    """
    logits, rewards = _read_bandits(logits, rewards, device)
    times = _read_times(times)
    moved = logits - logits.amax(dim=-1, keepdim=True)
    return _record(times, (moved + t * rewards for t in times), rewards, natural_gradient_delta_logits)


def policy_gradient_flow(
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    times: Real[np.ndarray, " records"],
    tolerance: float = 1e-8,
    device: str | torch.device = "cpu",
) -> BanditRun:
    """Follow the exact policy gradient by adaptive integration, one step width for all instances.

    dz/dt = π (r − E r)

    Args:
        logits: z at time 0.
        rewards: r, finite.
        times: moments to record, from 0 on, increasing.
        tolerance: largest local error of any logit of any instance in one integration step, in nats,
            positive.
        device: where to compute; it must know float64.

    Returns:
        The record; `covariances` is Cov(log π, πA). Runs longer than five seconds show their progress.

    Raises:
        ValueError: if shapes do not fit, a number is not finite, times do not increase from 0 or later or
            tolerance is not positive.

    Numerics:
        Local errors add up: expect some ten times the tolerance, and 1e-16 × time × range of rewards from
        rounding. Two arms keep their conservation law to time 1e8; tests/simulators/test_bandit.py.

    Example:
        >>> run = policy_gradient_flow(np.zeros((1, 2)), np.array([[1.0, 0.0]]), np.array([0.0, 50.0]))
        >>> gap = run.final_logits[0, 0] - run.final_logits[0, 1]
        >>> round(float(gap + np.sinh(gap)), 5)
        50.0
    """
    logits, rewards = _read_bandits(logits, rewards, device)
    times = _read_times(times)
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}; 1e-8 suits most runs")
    with tqdm(total=len(times), desc="policy gradient flow", delay=5, leave=False) as bar:
        path = _integrate(_PolicyVelocity(rewards, times, bar), logits, times, tolerance)
    return _record(times, path, rewards, policy_gradient_delta_logits)


def sampled_policy_gradient(
    generator: np.random.Generator,
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    step_size: float,
    steps: int,
    batch_size: int,
    reward_noise: float = 0.0,
    record_every: int = 1,
    device: str | torch.device = "cpu",
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
        device: where to compute; it must know float64.

    Returns:
        The record, the start included; `covariances` is Cov(log π, πA) of the exact gradient. Runs longer
        than five seconds show their progress.

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.

    Example:
        >>> start, none = np.zeros((2, 3)), np.zeros((2, 3))
        >>> run = sampled_policy_gradient(np.random.default_rng(0), start, none, 0.1, 4, 2, record_every=2)
        >>> run.times.tolist(), run.entropies.shape
        ([0.0, 0.2, 0.4], (2, 3))
    """
    logits, rewards = _read_bandits(logits, rewards, device)
    if min(steps, batch_size, record_every) < 1 or not step_size > 0 or not reward_noise >= 0:
        raise ValueError(
            "sampled_policy_gradient needs steps, batch_size and record_every ≥ 1, step_size > 0 and "
            f"reward_noise ≥ 0, got steps = {steps}, batch_size = {batch_size}, record_every = "
            f"{record_every}, step_size = {step_size}, reward_noise = {reward_noise}; "
            "for exact gradients use policy_gradient_flow"
        )
    path = [logits]
    for step in tqdm(range(1, steps + 1), desc="sampled policy gradient", delay=5, leave=False):
        logits = logits + step_size * _sampled_direction(generator, logits, rewards, batch_size, reward_noise)
        if step % record_every == 0:
            path.append(logits)
    times = step_size * record_every * np.arange(len(path))
    return _record(times, path, rewards, policy_gradient_delta_logits)


class _PolicyVelocity:
    """The velocity π (r − E r) as torchdiffeq calls it, and a bar that counts the records passed."""

    def __init__(self, rewards, times, bar):
        self.rewards, self.times, self.bar = rewards, times, bar

    def __call__(self, time, logits):
        # policy_gradient_delta_logits has more digits, which the tolerance hides, for thrice the seconds.
        pi = torch.softmax(logits, dim=-1)
        return pi * (self.rewards - (pi * self.rewards).sum(dim=-1, keepdim=True))

    def callback_accept_step(self, time, logits, width):
        passed = np.searchsorted(self.times, float(time + width), side="right")
        self.bar.update(int(passed) - self.bar.n)


def _integrate(velocity: Callable, logits, times, tolerance):
    """Return the logits at each time, every time the end of a step and not interpolated."""
    stops = to_device(np.union1d(0.0, times), logits.device)
    largest = lambda errors: errors.abs().max()  # noqa: E731  a mean would dilute one instance's error
    options = {"norm": largest, "step_t": stops[1:]}
    path = odeint(velocity, logits, stops, rtol=0.0, atol=tolerance, method="dopri5", options=options)
    return path[-len(times) :]


def _sampled_direction(generator, logits, rewards, batch_size, reward_noise):
    """One batch mean of (r − E r + noise)(e − π) for each instance."""
    pi, shape = probs(logits), (len(logits), batch_size)
    taken = drawn(generator.random(shape), pi)
    advantages = natural_gradient_delta_logits(logits, rewards, 1.0)
    noise = to_device(generator.normal(size=shape), logits.device)
    gains = advantages.gather(-1, taken) + reward_noise * noise
    return (-pi * gains.mean(dim=-1, keepdim=True)).scatter_add(-1, taken, gains / batch_size)


def _record(times, path, rewards, update) -> BanditRun:
    """Measure every recorded policy; `update` is the step whose size 1 is the velocity."""
    entropies, covariances, returns = [], [], []
    for logits in path:
        velocity = update(logits, rewards, 1.0)
        entropies.append(entropy(logits))
        covariances.append(covariance_over_actions(log_probs(logits), velocity, logits))
        returns.append((probs(logits) * rewards).sum(dim=-1))
    measured = [to_host(torch.stack(values, dim=1)) for values in (entropies, covariances, returns)]
    return BanditRun(np.asarray(times), *measured, final_logits=to_host(logits))


def _read_bandits(logits, rewards, device):
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
    return to_device(logits, device), to_device(rewards, device)


def _read_times(times):
    times = np.asarray(times, np.float64)
    increasing = times.ndim == 1 and times.size and np.isfinite(times).all() and (np.diff(times) > 0).all()
    if not (increasing and times[0] >= 0):
        raise ValueError(
            f"times must be finite, increasing and start at 0 or later, got {times}; "
            "for example np.linspace(0, 20, 101)"
        )
    return times
