"""What the simulators of bandits share: how they read their arguments and draw actions."""

import numpy as np
import torch

__all__: list[str] = []


def read_bandits(logits, rewards) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and rewards of [instances, actions] in float64, or say what is wrong with them."""
    logits, rewards = np.asarray(logits, np.float64), np.asarray(rewards, np.float64)
    if logits.ndim != 2 or logits.shape != rewards.shape or not logits.size:
        raise ValueError(
            "logits and rewards must both have shape [instances, actions], got "
            f"logits {logits.shape} and rewards {rewards.shape}; for one bandit insert an axis: logits[None]"
        )
    if not (np.isfinite(logits).all() and np.isfinite(rewards).all()):
        raise ValueError("logits and rewards must be finite, got NaN or infinity; leave such actions out")
    return logits, rewards


def drawn(uniforms: np.ndarray, probs: torch.Tensor) -> torch.Tensor:
    """Return the action that each number in [0, 1) draws; the last axis of both belongs to one policy."""
    edges = probs.cumsum(dim=-1)[..., :-1].contiguous()
    return torch.searchsorted(edges, torch.from_numpy(uniforms).to(edges).contiguous(), right=True)
