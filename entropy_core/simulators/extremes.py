"""Searches for what bends or moves entropy most, and for the moment at which a rise of entropy is undone."""

import numpy as np
import torch

from entropy_core import batched
from entropy_core._shapes import Float
from entropy_core.simulators._host import to_device, to_host

__all__ = ["extreme_band_changes", "extreme_curvatures", "return_times"]


def extreme_curvatures(
    seed: int,
    instances: int,
    actions: int,
    iterations: int = 400,
    device: str | torch.device = "cpu",
) -> Float[np.ndarray, "2 instances"]:
    """Let gradient ascent choose policy and step so as to bend entropy upwards, and downwards.

    H'' = −E[(1 + log π + H)(u − E u)²], maximised and minimised over logits and steps u with 0 ≤ u ≤ 1

    Args:
        seed: of torch's generator; equal seeds give equal starts.
        instances: number of random starts for each side, at least 1.
        actions: number of actions, at least 2.
        iterations: steps of Adam at rate .1, at least 1.
        device: where to compute; it must know float64. The starts are drawn on the host.

    Returns:
        H'' where the ascent ended, in nats: row 0 maximised, row 1 minimised.

    Raises:
        ValueError: if there is no instance, fewer than two actions, or no iteration.

    Numerics:
        float64; the result is the curvature at an actual policy and step, whatever the ascent missed.
        tests/simulators/test_extremes.py.

    Source: claim `curvature-adversary`, chapter beyond-first-order.
    """
    if instances < 1 or actions < 2 or iterations < 1:
        raise ValueError(
            "extreme_curvatures needs instances ≥ 1, actions ≥ 2 and iterations ≥ 1, "
            f"got {instances}, {actions} and {iterations}; with one action entropy stays 0"
        )
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(2, 2, instances, actions, dtype=torch.float64, generator=generator)
    start[0] = 2 * start[0]
    start[0, ..., 0] = start[0, ..., 0] + np.log(actions)  # else a likely action is a rare start among many
    sides = torch.tensor([[1.0], [-1.0]], dtype=torch.float64, device=device)
    leaves = start.to(device).requires_grad_()
    optimiser = torch.optim.Adam([leaves], lr=0.1)
    for _ in range(iterations):
        leaves.grad = torch.autograd.grad(-(sides * _curvature(leaves)).sum(), leaves)[0]
        optimiser.step()
    return to_host(_curvature(leaves).detach())


def extreme_band_changes(
    seed: int,
    instances: int,
    actions: int,
    clip_low: float,
    clip_high: float,
    iterations: int = 200,
    device: str | torch.device = "cpu",
) -> Float[np.ndarray, "2 instances"]:
    """Let gradient ascent choose the policy whose entropy a ratio band lets fall, and rise, the furthest.

    H − min H(π′), and max H(π′) − H, over 1 − clip_low ≤ π′/π ≤ 1 + clip_high, maximised over π

    Args:
        seed: of torch's generator; equal seeds give equal starts.
        instances: number of random starts for each side, at least 1.
        actions: number of actions, at least 2.
        clip_low: ε_low in [0, 1].
        clip_high: ε_high ≥ 0, finite.
        iterations: steps of Adam at rate .1, at least 1.
        device: where to compute; it must know float64. The starts are drawn on the host.

    Returns:
        The best change met on the way from each start, in nats, not negative: row 0 falls, row 1 rises.

    Raises:
        ValueError: if there is no instance, fewer than two actions, no iteration, or a clip is out of range.

    Numerics:
        float64; each result belongs to an actual policy, whatever the ascent missed.
        tests/simulators/test_extremes.py.

    Source: claim `ratio-band-bounds`, chapter clipping.
    """
    if instances < 1 or actions < 2 or iterations < 1:
        raise ValueError(
            "extreme_band_changes needs instances ≥ 1, actions ≥ 2 and iterations ≥ 1, "
            f"got {instances}, {actions} and {iterations}; with one action entropy stays 0"
        )
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(2, instances, actions, dtype=torch.float64, generator=generator)
    start[..., 0] = start[..., 0] + np.log(actions)  # else a likely action is a rare start among many
    leaves = start.to(device).requires_grad_()
    optimiser = torch.optim.Adam([leaves], lr=0.1)
    best = torch.zeros(2, instances, dtype=torch.float64, device=device)
    for _ in range(iterations):
        extremes, entropy = batched.ratio_band_extremes(leaves, clip_low, clip_high), batched.entropy(leaves)
        changes = torch.stack([entropy[0] - extremes.lowest[0], extremes.highest[1] - entropy[1]])
        best = best.maximum(changes.detach())
        leaves.grad = torch.autograd.grad(-changes.sum(), leaves)[0]
        optimiser.step()
    return to_host(best)


def return_times(
    logits: Float[np.ndarray, "instances actions"],
    directions: Float[np.ndarray, "instances actions"],
    longest: float = 300.0,
    device: str | torch.device = "cpu",
) -> Float[np.ndarray, " instances"]:
    """Find when entropy along z + t·u first falls below its start.

    min {t : H(z + t u) < H(z)}, on a grid of 400 times in geometric steps, then by bisection

    Args:
        logits: z, in nats.
        directions: u, along which entropy rises at first.
        longest: last time looked at, positive; the first is 1e-5 of it.
        device: where to compute; it must know float64.

    Returns:
        t > 0 for each row; infinite where entropy stays above its start up to `longest`.

    Raises:
        ValueError: if `longest` is not positive, a row is no policy, or entropy does not rise at first.

    Numerics:
        Relative error below 1e-9 where the return is a crossing; a dip below the start and back between two
        neighbouring times, 3 % apart, is not seen. tests/simulators/test_extremes.py.

    Source: claim `return-after-safe-time`, chapter beyond-first-order.
    """
    z, u = to_device(logits, device), to_device(directions, device)
    batched.check_logits(z)
    batched.check_delta_logits(z, u)
    if not longest > 0 or not (batched.first_order_entropy_change(z, u) > 0).all():
        raise ValueError(
            "return_times needs longest > 0 and −Cov(log π, u) > 0 in every row, so that there is a rise to "
            f"undo; got longest = {longest}. Keep the rows with first_order_entropy_change > 0"
        )
    times = to_device(np.geomspace(1e-5 * longest, longest, 400), device)
    below = torch.stack([batched.entropy_change(z, t * u) < 0 for t in times])
    found = below.int().argmax(dim=0)
    low, high = times[(found - 1).clamp(min=0)], times[found]
    for _ in range(30):
        middle = (low + high) / 2
        returned = batched.entropy_change(z, middle[:, None] * u) < 0
        low, high = torch.where(returned, low, middle), torch.where(returned, middle, high)
    return to_host(torch.where(below.any(dim=0), high, torch.inf))


def _curvature(leaves):
    """Return H'' of softmax(leaves[0]) along σ(leaves[1])."""
    logits, steps = leaves[0], torch.sigmoid(leaves[1])
    beyond = batched.second_order_entropy_change(logits, steps)
    return 2 * (beyond - batched.first_order_entropy_change(logits, steps))
