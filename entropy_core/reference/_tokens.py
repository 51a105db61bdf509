"""Tokens of sampled responses: one value each, in the shape [batch, tokens] that trainers use.

A mask says which tokens count. What stands at the others, NaN included, is replaced before any arithmetic.
"""

import numpy as np

__all__: list[str] = []


def over_tokens(response_mask, **arrays) -> list[np.ndarray]:
    """Return the mask and float64 arrays of its shape, finite where a token counts and 0 elsewhere."""
    mask = np.asarray(response_mask)
    if mask.dtype != bool:
        raise TypeError(
            f"response_mask must be boolean; {mask.dtype} came. Use response_mask.astype(bool), or "
            "np.ones(token_log_probs.shape, bool) where every token counts."
        )
    return [mask, *(_read(name, array, mask) for name, array in arrays.items())]


def _read(name, array, mask):
    try:
        values = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be numbers; {type(array).__name__} came. Give an array.") from None
    if values.shape != mask.shape:
        raise ValueError(
            f"{name} must have one value a token, shape {mask.shape} as response_mask; {values.shape} came. "
            f"One value a response becomes one a token by np.broadcast_to({name}[:, None], mask.shape)."
        )
    bad = mask & ~np.isfinite(values)
    if bad.any():
        index = tuple(int(i[0]) for i in np.nonzero(bad))
        raise ValueError(
            f"{name} must be finite where a token counts; {values[bad][0]} came at index {index}. Find the "
            "step that produced it, or take the token out of response_mask."
        )
    return np.where(mask, values, 0.0)


def mean_over_tokens(values, response_mask) -> float:
    """Return the mean of values, which are 0 where a token does not count; 0 where none counts."""
    return values.sum() / max(1, response_mask.sum())
