"""Random batches of tokens for tests of both numeric layers, and what loops over their tokens give.

Loops take NumPy arrays and torch tensors; of tensors, gradients pass through them.
"""

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


def repo_batches(rng, number):
    """Yield random (token_log_probs, entropy, advantages) with NaN where the random mask is False, and it."""
    for _ in range(number):
        shape = rng.integers(1, 6), rng.integers(1, 7)
        taken, entropies = -rng.exponential(2.0, shape), rng.exponential(1.0, shape)
        gains, mask = rng.normal(size=shape), rng.random(shape) < 0.7
        yield [np.where(mask, x, np.nan) for x in (taken, entropies, gains)], mask


def repo_by_loop(taken, entropies, gains, mask, coefficient, scale):
    """Return the sums of REPO, its advantages and the rescaled ones, each counted token by itself."""
    sums, shaped, rescaled = [0] * 5, np.zeros(taken.shape), np.zeros(taken.shape)
    for place in zip(*np.nonzero(mask), strict=True):
        ell, gain = taken[place], gains[place]
        s, p = ell + entropies[place], np.exp(ell)
        sums = [a + b for a, b in zip(sums, (1, s * gain, s * s, p * s * gain, p * s * s), strict=True)]
        shaped[place] = gain - coefficient * s
        rescaled[place] = max(gain * (1 - scale * ell), 0) if gain > 0 else min(gain * (1 + scale * ell), 0)
    return sums, shaped, rescaled


def means_by_loop(values, mask):
    """Return the three means over the tokens of responses, and the error of the last, token by token."""
    rows = [[x for x, counts in zip(*row, strict=True) if counts] for row in zip(values, mask, strict=True)]
    rows = [row for row in rows if row]
    sums = [sum(row) for row in rows]
    mean = sum(sums) / len(sums)
    spread = sum((x - mean) ** 2 for x in sums) / (len(sums) - 1)
    return {
        "token_mean": sum(sums) / sum(map(len, rows)),
        "mean_of_response_means": sum(x / len(row) for x, row in zip(sums, rows, strict=True)) / len(rows),
        "mean_of_response_sums": mean,
        "its error": (spread / len(sums)) ** 0.5,
    }
