"""Advantages of groups of responses to one prompt."""

import numpy as np

__all__: list[str] = []


def standardised(right: np.ndarray) -> np.ndarray:
    """Return rewards less their mean over their deviation (ddof 1) in the group; 0 where all agree."""
    rewards = np.asarray(right, float)
    centred, deviation = rewards - rewards.mean(-1, keepdims=True), rewards.std(-1, ddof=1, keepdims=True)
    return np.where(deviation > 0, centred / np.where(deviation > 0, deviation, 1), 0.0)
