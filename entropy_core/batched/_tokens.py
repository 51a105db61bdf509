"""Tokens of sampled responses: one value each, in the shape [batch, tokens] that trainers use.

A mask says which tokens count. What stands at the others, NaN included, is replaced before any arithmetic,
so that it reaches neither a value nor a gradient.
"""

import torch

from entropy_core.batched._validation import FLOATS

__all__: list[str] = []


def over_tokens(response_mask, **tensors) -> list[torch.Tensor]:
    """Return tensors of the shape of the mask in the accumulating type, 0 where a token does not count."""
    if not isinstance(response_mask, torch.Tensor) or response_mask.dtype != torch.bool:
        found = (
            response_mask.dtype if isinstance(response_mask, torch.Tensor) else type(response_mask).__name__
        )
        raise TypeError(
            f"response_mask must be a boolean tensor; got {found}. Use response_mask.bool(), or "
            "torch.ones_like(token_log_probs, dtype=torch.bool) where every token counts."
        )
    for name, tensor in tensors.items():
        _check(name, tensor, response_mask)
    dtype = torch.float64 if torch.float64 in {t.dtype for t in tensors.values()} else torch.float32
    return [torch.where(response_mask, t.to(dtype), 0.0) for t in tensors.values()]


def _check(name, tensor, response_mask):
    if not isinstance(tensor, torch.Tensor) or tensor.dtype not in FLOATS:
        found = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise TypeError(f"{name} must be a floating-point tensor; got {found}. Use {name}.float().")
    if tensor.shape != response_mask.shape:
        raise ValueError(
            f"{name} must have one value a token, shape {tuple(response_mask.shape)} as response_mask; got "
            f"{tuple(tensor.shape)}. One value a response becomes one a token by "
            f"{name}[:, None].expand_as(response_mask)."
        )
    if tensor.device != response_mask.device:
        raise ValueError(
            f"All tensors must be on one device; got {name} on {tensor.device}, response_mask on "
            f"{response_mask.device}. Move them with .to(device)."
        )


def mean_over_tokens(values, response_mask) -> torch.Tensor:
    """Return the mean of values, which are 0 where a token does not count; 0 where none counts."""
    return values.sum() / response_mask.sum().clamp(min=1)
