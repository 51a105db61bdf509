"""Expectations under a softmax, accurate where the textbook forms are not.

Three facts carry the layer:

* `z - max z` is one correctly rounded subtraction: its relative error does not know the common offset of z.
* The weights e^(z - max z) err by a relative amount only, and a moment about its own mean changes by the same
  relative amount.
* An error in the mean is common to all actions. Centring twice makes it of second order, also when the spread
  of x is far below its offset; and a constant x is centred to exactly 0.

Per-action values are finite: `over_actions` has put 0 at forbidden actions, and their weight is 0.
"""

import numpy as np

__all__ = ["centred", "expectation", "mode_weight_apart", "per_row", "shifted", "softmax_weights"]


def shifted(logits: np.ndarray) -> np.ndarray:
    """Return z - max z, and 0 at forbidden actions, where the weight is 0 and the value must not matter."""
    return np.where(np.isfinite(logits), logits - logits.max(axis=-1, keepdims=True), 0.0)


def softmax_weights(logits: np.ndarray) -> np.ndarray:
    """Return e^(z - max z): 1 at the mode, 0 at forbidden actions."""
    return np.exp(logits - logits.max(axis=-1, keepdims=True))


def mode_weight_apart(weights: np.ndarray) -> np.ndarray:
    """Return s, the sum of all weights but the mode's: the normaliser is 1 + s, and s may be 1e-300."""
    others = weights.copy()
    np.put_along_axis(others, weights.argmax(axis=-1, keepdims=True), 0.0, axis=-1)
    return others.sum(axis=-1, keepdims=True)


def expectation(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return E x = sum(w x) / sum(w) with the last axis kept at length 1."""
    return (weights * x).sum(axis=-1, keepdims=True) / weights.sum(axis=-1, keepdims=True)


def per_row(kept: np.ndarray) -> np.ndarray | np.float64:
    """Return the value of each row without the axis that the sum kept; a NumPy scalar for a single row."""
    return kept[..., 0][()]


def centred(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return x - E x; at actions of weight 0 it is the distance from the same mean."""
    at_mode = np.take_along_axis(x, weights.argmax(axis=-1, keepdims=True), axis=-1)
    mean = at_mode + expectation(x - at_mode, weights)
    about_rounded_mean = x - mean
    return about_rounded_mean - expectation(about_rounded_mean, weights)
