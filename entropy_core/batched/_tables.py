"""Types, devices and shapes of a finite decision process; its numbers are looked at on request only."""

import torch

from entropy_core._shapes import Float
from entropy_core.batched._validation import FLOATS, over_actions

__all__ = ["check_transitions", "read_discount", "read_start_distribution", "read_tables"]

TOLERANCE = 1e-5


def read_tables(logits, transitions, **tables) -> list[torch.Tensor]:
    """Return logits, transitions and the named tables at one batch shape and type, 0 at forbidden actions."""
    (logits,) = over_actions(logits=logits)
    if logits.ndim < 2:
        raise ValueError(
            f"logits must have axes [..., states, actions]; got shape {tuple(logits.shape)}. "
            "For a single state pass logits.unsqueeze(0)."
        )
    states, actions = logits.shape[-2:]
    for name, table in tables.items():
        _check(name, table, logits, (states, actions), "[..., states, actions]")
    logits, *read = over_actions(logits=logits, **tables)
    _check(
        "transitions", transitions, logits, (states, actions, states), "[..., states, actions, next states]"
    )
    batch = _common_batch(logits.shape[:-2], transitions.shape[:-3], "transitions")
    dtype = torch.promote_types(logits.dtype, transitions.dtype)
    logits, *read = (x.to(dtype).expand(*batch, states, actions) for x in (logits, *read))
    forbidden = logits == -torch.inf
    transitions = transitions.to(dtype).expand(*batch, states, actions, states)
    transitions = transitions.masked_fill(forbidden.unsqueeze(-1), 0.0)
    return [logits.contiguous(), transitions, *(x.masked_fill(forbidden, 0.0) for x in read)]


def read_discount(discount) -> float:
    """Return the discount as float in [0, 1)."""
    if isinstance(discount, bool) or not isinstance(discount, int | float):
        raise TypeError(f"discount must be a number; got {type(discount).__name__}. Give a float.")
    if not 0 <= discount < 1:
        raise ValueError(
            f"discount must lie in [0, 1); got {discount}. At 1 an endless process has no finite return: "
            "give a discount below 1, such as 1 - 1/horizon."
        )
    return float(discount)


def read_start_distribution(start_distribution, logits) -> torch.Tensor:
    """Return the start distribution over the states of these logits, in their type."""
    _check("start_distribution", start_distribution, logits, (logits.shape[-2],), "[..., states]")
    _common_batch(logits.shape[:-2], start_distribution.shape[:-1], "start_distribution")
    return start_distribution.to(logits.dtype)


def check_transitions(transitions: Float[torch.Tensor, "*batch states actions states"]) -> None:
    """Look at the numbers and raise unless every row is a distribution; makes the host wait for the device.

    P(v|s,a) ≥ 0 and Σ_v P(v|s,a) = 1

    Args:
        transitions: P(v|s,a), probabilities of the next state v.

    Raises:
        TypeError: transitions is not a floating-point tensor.
        ValueError: a row has a negative entry or NaN, or does not sum to 1 within 1e-5.

    Numerics: No rounding but that of the sums. tests/batched/test_tabular.py.

    Source: The conventions of `entropy_core.batched`; no claim.

    Example:
        >>> check_transitions(torch.full((2, 3, 2), 0.5))
    """
    _check("transitions", transitions, transitions, (), "[..., states, actions, next states]")
    rows = transitions.detach()
    bad = ~((rows >= 0).all(dim=-1) & ((rows.sum(dim=-1) - 1).abs() <= TOLERANCE))
    if bad.any():
        row = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"each row of transitions must be non-negative and sum to 1 within {TOLERANCE}; row {row} is "
            f"{rows[row].tolist()}. Divide each row by its sum; for an episode that ends, let the last state "
            "lead to itself with reward 0."
        )


def _check(name, tensor, like, shape, axes):
    """Raise unless this is a floating-point tensor on the device of another one, with these last axes."""
    if not isinstance(tensor, torch.Tensor) or tensor.dtype not in FLOATS:
        kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise TypeError(f"{name} must be a floating-point tensor; got {kind}. Use torch.as_tensor, .float().")
    if tensor.device != like.device:
        raise ValueError(
            f"All tensors must be on one device; got {name} on {tensor.device}, logits on {like.device}. "
            "Move them with .to(device)."
        )
    if shape and tuple(tensor.shape[-len(shape) :]) != tuple(shape):
        raise ValueError(
            f"{name} must have axes {axes} that end in {tuple(shape)}, as logits have; got shape "
            f"{tuple(tensor.shape)}. States come before actions, and the next state is last."
        )


def _common_batch(first, second, name):
    try:
        return torch.broadcast_shapes(first, second)
    except RuntimeError as error:
        raise ValueError(
            f"Leading axes must broadcast; got logits {tuple(first)} and {name} {tuple(second)}. "
            "Insert axes of length 1 where a value is shared."
        ) from error
