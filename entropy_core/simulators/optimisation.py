r"""Bandits under the optimisers of torch: exact or sampled gradients of the expected reward of one state.

Parameters are a table of logits, one row an instance, or pass through a fixed square matrix. The objective is
the sum over instances, so each instance meets its own gradient; optimisers that work coordinate by coordinate
(SGD, Adam, RMSprop) then treat the instances as if each ran alone. float64 throughout.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entropy_core._shapes import Real
from entropy_core.reference import entropy
from entropy_core.simulators._bandits import drawn, read_bandits

__all__ = ["OptimiserRun", "exact_gradient_ascent", "sampled_gradient_ascent"]


@dataclass(frozen=True)
class OptimiserRun:
    """What a run of many bandits recorded, in float64; first axis instances, second axis records.

    Args:
        steps: number of updates before each record, shape [records].
        entropies: H in nats.
        entropies_among_best: entropy conditioned on the actions of the best reward, in nats.
        expected_returns: E r under the policy of the moment.
        final_logits: z at the last record, shape [instances, actions].
    """

    steps: np.ndarray
    entropies: np.ndarray
    entropies_among_best: np.ndarray
    expected_returns: np.ndarray
    final_logits: np.ndarray


def exact_gradient_ascent(
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    optimiser: Callable[[list[Tensor]], torch.optim.Optimizer],
    record_at: Sequence[int],
    mixing: Real[np.ndarray, "actions actions"] | None = None,
    device: str | torch.device = "cpu",
) -> OptimiserRun:
    """Hand the exact gradient πA of the expected reward to an optimiser of torch.

    z = z_0 + M θ, ∂(E r)/∂θ = Mᵀ πA

    Args:
        logits: z_0, the logits before the first step; θ starts at 0.
        rewards: r, finite.
        optimiser: from a list of parameters to a torch optimiser, such as `partial(torch.optim.SGD, lr=1.0)`.
            It minimises, so it is given minus the gradient.
        record_at: numbers of steps after which to record, increasing; 0 is the start.
        mixing: M, by default the identity: each parameter is a logit.
        device: where torch computes.

    Returns:
        The record, on the host.

    Raises:
        ValueError: if shapes do not fit, a number is not finite or record_at does not increase from 0 or
            later.

    Example:
        >>> from functools import partial
        >>> start, reward = np.zeros((1, 2)), np.array([[1.0, 0.0]])
        >>> run = exact_gradient_ascent(start, reward, partial(torch.optim.SGD, lr=2.0), [0, 1])
        >>> run.final_logits.tolist()
        [[0.5, -0.5]]
    """
    return _ascend(logits, rewards, optimiser, record_at, lambda probs, gains: probs * gains, mixing, device)


def sampled_gradient_ascent(
    generator: np.random.Generator,
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    optimiser: Callable[[list[Tensor]], torch.optim.Optimizer],
    record_at: Sequence[int],
    batch_size: int,
    device: str | torch.device = "cpu",
) -> OptimiserRun:
    """Hand an unbiased sampled gradient, with the exact baseline, to an optimiser of torch.

    g = (1/B) Σ_b A_b (e_b − π), actions b drawn from π

    Args:
        generator: source of randomness, drawn from on the host; its state is advanced.
        logits: z before the first step.
        rewards: r, finite.
        optimiser: from a list of parameters to a torch optimiser; it is given −g.
        record_at: numbers of steps after which to record, increasing; 0 is the start.
        batch_size: B, actions drawn for each update and instance, at least 1.
        device: where torch computes.

    Returns:
        The record, on the host.

    Raises:
        ValueError: if shapes do not fit, a number is not finite, record_at does not increase from 0 or later,
            or batch_size is below 1.

    Example:
        >>> from functools import partial
        >>> start, reward = np.zeros((1, 2)), np.array([[1.0, 0.0]])
        >>> optimiser, generator = partial(torch.optim.SGD, lr=2.0), np.random.default_rng(0)
        >>> run = sampled_gradient_ascent(generator, start, reward, optimiser, [0, 1], batch_size=4)
        >>> run.final_logits.tolist()  # two actions, equal baselines: every sample says the same
        [[0.5, -0.5]]
    """
    if batch_size < 1:
        raise ValueError(
            f"batch_size must be at least 1, got {batch_size}; exact_gradient_ascent draws nothing"
        )

    def direction(probs, gains):
        taken = drawn(generator.random((len(probs), batch_size)), probs)
        weights = gains.gather(-1, taken) / batch_size
        return -probs * weights.sum(-1, keepdim=True) + torch.zeros_like(probs).scatter_add(
            -1, taken, weights
        )

    return _ascend(logits, rewards, optimiser, record_at, direction, None, device)


def _ascend(logits, rewards, optimiser, record_at, direction, mixing, device) -> OptimiserRun:
    """Step, and record the policy at the given numbers of steps."""
    from tqdm import tqdm

    logits, rewards, record_at = _read(logits, rewards, record_at)
    start, reward = (torch.tensor(x, dtype=torch.float64, device=device) for x in (logits, rewards))
    lacking = reward - reward.amax(-1, keepdim=True)  # same advantages, no digits lost late
    matrix = torch.eye(start.shape[-1], dtype=torch.float64, device=device)
    matrix = matrix if mixing is None else torch.tensor(mixing, dtype=torch.float64, device=device)
    parameters = torch.nn.Parameter(torch.zeros_like(start))
    mover, path = optimiser([parameters]), []
    for step in tqdm(range(record_at[-1] + 1), delay=5):
        with torch.no_grad():
            moved = start + parameters @ matrix.T
            if step in record_at:
                path.append(moved.cpu().numpy())
            probs = torch.softmax(moved, dim=-1)
            gains = lacking - (probs * lacking).sum(-1, keepdim=True)
            parameters.grad = -direction(probs, gains) @ matrix
        mover.step()
    return _record(record_at, path, rewards)


def _record(record_at, path, rewards) -> OptimiserRun:
    """Measure every recorded policy."""
    best = rewards == rewards.max(axis=-1, keepdims=True)
    kept = [entropy(np.where(best, logits, -np.inf)) for logits in path]
    weights = [np.exp(logits - logits.max(axis=-1, keepdims=True)) for logits in path]
    returns = [(w * rewards).sum(axis=-1) / w.sum(axis=-1) for w in weights]
    entropies = [entropy(logits) for logits in path]
    stacked = [np.stack(values, axis=1) for values in (entropies, kept, returns)]
    return OptimiserRun(np.asarray(record_at), *stacked, final_logits=path[-1])


def _read(logits, rewards, record_at):
    """Arrays of float64 and the moments as integers, or a word on what is wrong."""
    logits, rewards = read_bandits(logits, rewards)
    record_at = [int(step) for step in record_at]
    if not record_at or record_at[0] < 0 or sorted(set(record_at)) != record_at:
        raise ValueError(f"record_at must increase from 0 or later, got {record_at}; such as [0, 10, 100]")
    return logits, rewards, record_at
