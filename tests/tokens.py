"""Random batches of tokens for tests of losses: masks, and ratios exactly at the edges of a clip."""

from typing import NamedTuple

import numpy as np


class ClippedBatch(NamedTuple):
    """Arguments of `clipped_policy_loss`, in its order."""

    new: np.ndarray
    old: np.ndarray
    advantages: np.ndarray
    mask: np.ndarray
    clip_low: float
    clip_high: float

    def rows(self, first, last):
        """Return the micro-batch of some of the rows."""
        return ClippedBatch(*(x[first:last] for x in self[:4]), *self[4:])


def clipped_batches(rng, number):
    """Yield random batches, a fifth of the ratios at an edge, some advantages 0, some masks empty."""
    for _ in range(number):
        shape = tuple(rng.integers(1, 6, size=2))
        clip_low, clip_high = rng.choice([0.125, 0.25, 0.5], size=2)  # their edges are binary fractions
        old = np.where(rng.random(shape) < 0.5, 0.0, -3 * rng.random(shape))
        ratios = np.exp(0.4 * rng.normal(size=shape))
        edges = np.where(rng.random(shape) < 0.5, 1 - clip_low, 1 + clip_high)
        at_edge = (rng.random(shape) < 0.2) & (np.exp(np.log(edges)) == edges)
        old = np.where(at_edge, 0.0, old)
        new = np.where(at_edge, np.log(edges), old + np.log(ratios))
        advantages = np.where(rng.random(shape) < 0.1, 0.0, rng.normal(size=shape))
        mask = rng.random(shape) < rng.choice([0.0, 0.3, 0.9, 1.0], p=[0.02, 0.3, 0.38, 0.3])
        yield ClippedBatch(new, old, advantages, mask, float(clip_low), float(clip_high))
