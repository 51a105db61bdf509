"""What the functions of this layer accept, and the sentences said when something else comes.

Every reader returns C-contiguous float64 arrays: NumPy sums those pairwise along the last axis, and the
promised accuracy at 1e5 actions rests on it.
"""

import numpy as np

__all__ = ["allowed_actions", "number", "over_actions", "over_batch", "read_logits", "read_rows"]


def read_logits(logits) -> np.ndarray:
    """Return logits as float64 with actions on the last axis, or say what is wrong with them."""
    logits = _numbers("logits", logits)
    if np.isnan(logits).any():
        raise ValueError(
            f"logits must not be NaN; NaN came at index {_first(np.isnan(logits))}. "
            "Find the step that produced it; use -inf to forbid an action."
        )
    if np.isposinf(logits).any():
        raise ValueError(
            f"logits must be finite or -inf; +inf came at index {_first(np.isposinf(logits))}. "
            "Use a large finite logit for a preferred action and -inf for a forbidden one."
        )
    blocked = np.isneginf(logits).all(axis=-1)
    if blocked.any():
        raise ValueError(
            f"each row of logits must allow at least one action; every logit is -inf {_row(blocked)}. "
            "Give that state a finite logit, or leave the row out."
        )
    return logits


def over_actions(logits, **values) -> list[np.ndarray]:
    """Return logits and the named per-action values at one common shape, values 0 at forbidden actions."""
    logits = read_logits(logits)
    arrays = {name: _numbers(name, value) for name, value in values.items()}
    for name, array in arrays.items():
        _check_actions(name, array, logits)
    try:
        logits, *broadcast = np.broadcast_arrays(logits, *arrays.values())
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(
            f"leading axes must broadcast together; logits {logits.shape}, {shapes} came. "
            "Insert axes of length 1 (x[:, None, :]) until the shapes agree or are 1, axis by axis."
        ) from None
    allowed = allowed_actions(logits)
    for name, array in zip(arrays, broadcast, strict=True):
        _check_finite(name, array, allowed)
    values_at_allowed = [np.ascontiguousarray(np.where(allowed, array, 0.0)) for array in broadcast]
    return [np.ascontiguousarray(logits), *values_at_allowed]


def read_rows(logits, tokens, response_mask) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits with 0 in rows that do not count, one action index a row, and which rows count."""
    logits, tokens = _numbers("logits", logits), np.asarray(tokens)
    batch, actions = logits.shape[:-1], logits.shape[-1]
    counted = np.ones(batch, bool) if response_mask is None else np.asarray(response_mask)
    if tokens.dtype.kind not in "iu" or counted.dtype != bool:
        raise TypeError(
            "tokens must be integers and response_mask boolean; "
            f"{tokens.dtype} and {counted.dtype} came. Convert them with astype."
        )
    if tokens.shape != batch or counted.shape != batch:
        raise ValueError(
            f"tokens and response_mask must have one value a row, shape {batch}; {tokens.shape} and "
            f"{counted.shape} came. Logits have one axis more, the actions."
        )
    if tokens.size and (tokens.min() < 0 or tokens.max() >= actions):
        raise ValueError(
            f"tokens must lie in 0 … {actions - 1}; {tokens.min()} … {tokens.max()} came. "
            "A padding index belongs under a False of response_mask, with a token that exists."
        )
    return np.where(counted[..., None], logits, 0.0), tokens, counted


def number(name: str, value) -> float:
    """Return a finite real scalar as float."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a real number; {_described(value, array)} came. Pass a float.")
    if array.ndim != 0:
        raise ValueError(
            f"{name} must be one number; shape {array.shape} came. "
            "For several step sizes multiply the rewards by them and pass 1.0."
        )
    if not np.isfinite(array):
        raise ValueError(f"{name} must be finite; {value} came. Pass a finite float.")
    return float(array)


def over_batch(**values) -> list[np.ndarray]:
    """Return the named numbers as float64 arrays of one shape, or say what is wrong with them."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{name} must be real numbers; dtype {array.dtype} came. Convert it to float64.")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite; NaN or an infinity came. Give finite numbers.")
    try:
        return list(np.broadcast_arrays(*(array.astype(np.float64) for array in arrays.values())))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(
            f"shapes must broadcast together; {shapes} came. Insert axes of length 1 until they agree."
        ) from None


def allowed_actions(logits: np.ndarray) -> np.ndarray:
    """Return True where an action is allowed, that is where its logit is finite."""
    return np.isfinite(logits)


def _numbers(name, value) -> np.ndarray:
    array = np.asarray(value)
    exact_in_float64 = array.dtype.kind in "iu" or array.dtype in (np.float16, np.float32, np.float64)
    if not exact_in_float64:
        raise TypeError(
            f"{name} must be a NumPy array of float64, float32, float16 or integers; "
            f"{_described(value, array)} came. Convert it first, for example "
            f"np.asarray({name}, dtype=np.float64)."
        )
    if array.ndim == 0:
        raise ValueError(
            f"{name} must have a last axis of actions; a single number came. "
            f"Pass an array of shape [actions] or [..., actions]."
        )
    if array.shape[-1] == 0:
        raise ValueError(
            f"{name} must have at least one action on the last axis; shape {array.shape} came. "
            "Check the slice that made it empty."
        )
    return np.ascontiguousarray(array, dtype=np.float64)


def _check_actions(name, array, logits):
    if array.shape[-1] != logits.shape[-1]:
        raise ValueError(
            f"{name} must have one value per action: last axis {logits.shape[-1]} as in logits "
            f"{logits.shape}; {name} {array.shape} came. Put the actions on the last axis of both."
        )


def _check_finite(name, array, allowed):
    bad = allowed & ~np.isfinite(array)
    if bad.any():
        index = _first(bad)
        raise ValueError(
            f"{name} must be finite wherever logits are; {array[index]} came at index {index}. "
            "To forbid an action set its logit to -inf; whatever stands there is then ignored."
        )


def _described(value, array) -> str:
    return f"{type(value).__name__} of dtype {array.dtype}"


def _first(mask) -> tuple[int, ...]:
    return tuple(int(axis[0]) for axis in np.nonzero(mask))


def _row(blocked) -> str:
    return f"in row {_first(blocked)}" if blocked.ndim else "in it"
