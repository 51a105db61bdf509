"""What can be checked without looking at the data: types, devices, shapes; the rest is asked for by name.

Looking at a tensor's numbers makes the host wait for the device, so no function of this layer does it
unasked. A row that breaks the rules on its numbers gives NaN in its own results and touches no other row.
"""

import math

import torch

from entropy_core._shapes import Float

__all__ = ["check_delta_logits", "check_logits"]

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def over_actions(**tensors: torch.Tensor) -> list[torch.Tensor]:
    """Bring tensors to one shape and to the accumulating type: float64 if one of them is, else float32."""
    shaped = of_one_shape(**tensors)
    dtype = torch.float64 if torch.float64 in {t.dtype for t in shaped} else torch.float32
    return [t.to(dtype).contiguous() for t in shaped]


def of_one_shape(**tensors: torch.Tensor) -> list[torch.Tensor]:
    """Bring tensors to one shape and leave their types and their memory."""
    for name, tensor in tensors.items():
        _check_type(name, tensor)
    _check_together(tensors)
    return list(torch.broadcast_tensors(*tensors.values()))


def one_a_row(logits, tokens, response_mask):
    """Return the tokens and which rows count, both of the shape of the rows and on their device."""
    batch = logits.shape[:-1]
    if not isinstance(tokens, torch.Tensor) or tokens.dtype not in (torch.int64, torch.int32):
        found = tokens.dtype if isinstance(tokens, torch.Tensor) else type(tokens).__name__
        raise TypeError(f"tokens must be a tensor of int64 action indices; got {found}. Use tokens.long().")
    if response_mask is not None and response_mask.dtype != torch.bool:
        raise TypeError(
            f"response_mask must be boolean; got {response_mask.dtype}. Use response_mask.bool()."
        )
    counted = (
        torch.ones((), dtype=torch.bool, device=logits.device) if response_mask is None else response_mask
    )
    for name, tensor in (("tokens", tokens), ("response_mask", counted)):
        if tensor.device != logits.device:
            raise ValueError(f"{name} is on {tensor.device}, logits on {logits.device}. Move it there.")
        if (response_mask is not None or name == "tokens") and tensor.shape != batch:
            raise ValueError(
                f"{name} must have one value a row, shape {tuple(batch)}; got {tuple(tensor.shape)}. "
                "Logits have one axis more, the actions."
            )
    return tokens.long(), counted.expand(batch)


def read_temperature(temperature):
    """Return 1/temperature for a positive finite number."""
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise TypeError(f"temperature must be a number; got {type(temperature).__name__}.")
    if not (temperature > 1 / torch.finfo(torch.float32).max and math.isfinite(temperature)):
        raise ValueError(
            f"temperature must be positive and finite; got {temperature}. For arg max use logits.max."
        )
    return 1.0 / temperature


def check_buffer(gradient_buffer, logits):
    """Raise unless a gradient fits into the buffer and overwrites nothing that is still needed."""
    if gradient_buffer is None:
        return
    if (gradient_buffer.shape, gradient_buffer.dtype, gradient_buffer.device) != (
        logits.shape,
        logits.dtype,
        logits.device,
    ):
        raise ValueError(
            f"gradient_buffer must be like logits, {tuple(logits.shape)} {logits.dtype} on {logits.device}; "
            f"got {tuple(gradient_buffer.shape)} {gradient_buffer.dtype} on {gradient_buffer.device}. "
            "Use torch.empty_like(logits)."
        )
    if not gradient_buffer.is_contiguous() or gradient_buffer.requires_grad:
        raise ValueError(
            "gradient_buffer must be contiguous and need no gradient. Use torch.empty_like(logits)."
        )
    if gradient_buffer.untyped_storage().data_ptr() == logits.untyped_storage().data_ptr():
        raise ValueError("gradient_buffer must not share memory with logits: the backward pass reads them.")


def check_product(hidden, weight, bias):
    """Raise unless hidden · weightᵀ + bias is a row of logits for every hidden state."""
    given = {"hidden": hidden, "weight": weight} | ({} if bias is None else {"bias": bias})
    for name, tensor in given.items():
        _check_type(name, tensor)
    shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in given.items())
    if len({t.device for t in given.values()}) > 1:
        devices = ", ".join(f"{name} on {t.device}" for name, t in given.items())
        raise ValueError(f"All tensors must be on one device; got {devices}. Move them with .to(device).")
    if weight.ndim != 2 or hidden.shape[-1] != weight.shape[1] or len(weight) == 0:
        raise ValueError(
            f"hidden must be [*batch, features] and weight [actions, features]; got {shapes}. The weight of "
            "torch.nn.Linear(features, actions) is so."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must have one value an action, [actions]; got {shapes}.")


def over_batch(**values) -> list[torch.Tensor]:
    """Bring numbers and tensors without an action axis to one shape and to the accumulating type."""
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    for name, value in values.items():
        _check_number_or_float(name, value)
    if len({t.device for t in tensors.values()}) > 1:
        devices = ", ".join(f"{name} on {t.device}" for name, t in tensors.items())
        raise ValueError(f"All tensors must be on one device; got {devices}. Move them with .to(device).")
    shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
    _broadcast([t.shape for t in tensors.values()], shapes)
    widest = torch.float64 in {t.dtype for t in tensors.values()} or not tensors
    dtype = torch.float64 if widest else torch.float32
    device = next(iter(tensors.values())).device if tensors else None
    return list(
        torch.broadcast_tensors(*(torch.as_tensor(v, dtype=dtype, device=device) for v in values.values()))
    )


def step_size_over_batch(step_size, logits):
    """Return a number as it is and a tensor of one step size a row with an axis for the actions."""
    if isinstance(step_size, torch.Tensor):
        _check_float("step_size", step_size)
        _check_batch(step_size, logits)
        return step_size.unsqueeze(-1).to(logits.dtype)
    if isinstance(step_size, bool) or not isinstance(step_size, int | float):
        raise TypeError(
            f"step_size must be a number or a floating-point tensor; got {type(step_size).__name__}. "
            "Give a float, or one value a row as a tensor of the batch's shape."
        )
    if not math.isfinite(step_size):
        raise ValueError(
            f"step_size must be finite; got {step_size}. Give a finite number of nats per reward."
        )
    return step_size


def check_logits(logits: Float[torch.Tensor, "*batch actions"]) -> None:
    """Look at the numbers and raise unless every row is a policy; makes the host wait for the device.

    every row: max z is a finite number

    Args:
        logits: z in nats; −inf forbids an action.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action, or a row holds NaN or +inf, or forbids every action; names the first.

    Numerics: No rounding: only comparisons. tests/batched/test_validation.py.

    Source: The conventions of `entropy_core.batched`; no claim.

    Example:
        >>> check_logits(torch.tensor([0.0, -torch.inf]))
    """
    _check_type("logits", logits)
    highest = logits.detach().amax(dim=-1)
    _raise_at_first(highest.isnan(), "every logit must be a number", "NaN", "Find where the NaN was made")
    _raise_at_first(highest == torch.inf, "logits must be below +inf", "+inf", "Clamp or correct that logit")
    _raise_at_first(
        highest == -torch.inf,
        "every row needs at least one allowed action",
        "only −inf",
        "Drop the row, or allow an action",
    )


def check_delta_logits(
    logits: Float[torch.Tensor, "*#batch actions"], delta_logits: Float[torch.Tensor, "*#batch actions"]
) -> None:
    """Look at the numbers and raise unless Δz is finite at every allowed action; makes the host wait.

    Δz_a finite wherever z_a > −inf

    Serves x, y and rewards as well: the rule is the same.

    Args:
        logits: z in nats; −inf forbids an action. Its own numbers are the business of `check_logits`.
        delta_logits: Δz in nats; ignored (NaN included) at forbidden actions.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: shapes or devices do not fit, or Δz is NaN or infinite at an allowed action.

    Numerics: No rounding: only comparisons. tests/batched/test_validation.py.

    Source: The conventions of `entropy_core.batched`; no claim.

    Example:
        >>> check_delta_logits(torch.tensor([0.0, -torch.inf]), torch.tensor([0.1, torch.nan]))
    """
    logits, delta_logits = over_actions(logits=logits, delta_logits=delta_logits)
    blocked = ~delta_logits.detach().isfinite() & (logits.detach() != -torch.inf)
    _raise_at_first(
        blocked.any(dim=-1),
        "delta_logits must be finite at allowed actions",
        "NaN or an infinity",
        "Forbid an action by its logit, not by its step",
    )


def _check_type(name, tensor):
    """Raise unless this is a floating-point tensor with at least one action."""
    _check_float(name, tensor)
    if tensor.ndim == 0 or tensor.shape[-1] == 0:
        raise ValueError(
            f"{name} must have at least one action on its last axis; got shape {tuple(tensor.shape)}. "
            "Give a tensor of shape [..., actions]."
        )


def _check_float(name, tensor):
    """Raise unless this is a tensor of one of the four floating-point types."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor; got {type(tensor).__name__}. Use torch.as_tensor({name}), or "
            "entropy_core.reference for NumPy arrays."
        )
    if tensor.dtype not in FLOATS:
        raise TypeError(
            f"{name} must be float64, float32, bfloat16 or float16; got {tensor.dtype}. "
            f"Convert it: {name}.float()."
        )


def _check_number_or_float(name, value):
    """Raise unless this is a finite number or a floating-point tensor."""
    if isinstance(value, torch.Tensor):
        _check_float(name, value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"{name} must be a number or a floating-point tensor; got {type(value).__name__}. Give a float."
        )
    elif not math.isfinite(value):
        raise ValueError(f"{name} must be finite; got {value}. Give a finite number.")


def _check_together(tensors):
    """Raise unless all are on one device, have equally many actions and broadcast over the leading axes."""
    shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
    if len({t.device for t in tensors.values()}) > 1:
        devices = ", ".join(f"{name} on {t.device}" for name, t in tensors.items())
        raise ValueError(f"All tensors must be on one device; got {devices}. Move them with .to(device).")
    if len({t.shape[-1] for t in tensors.values()}) > 1:
        raise ValueError(
            f"All tensors must have the same number of actions on their last axis; got {shapes}. "
            "Leading axes broadcast, the action axis does not: expand it, or check that it is the last one."
        )
    _broadcast([t.shape[:-1] for t in tensors.values()], shapes)


def _check_batch(step_size, logits):
    """Raise unless step_size broadcasts over the rows of logits."""
    shapes = f"step_size {tuple(step_size.shape)}, logits {tuple(logits.shape)}"
    _broadcast([step_size.shape, logits.shape[:-1]], shapes)


def _broadcast(batches, shapes):
    """Raise an error that names the arguments unless these leading shapes broadcast."""
    try:
        torch.broadcast_shapes(*batches)
    except RuntimeError as error:
        raise ValueError(
            f"Leading axes must broadcast; got {shapes}. Insert axes of length 1 where a value is shared."
        ) from error


def _raise_at_first(bad_rows, requirement, found, remedy):
    """Raise for the first row marked bad; reading the mark is the synchronisation."""
    places = bad_rows.nonzero()
    if len(places):
        row = tuple(places[0].tolist())
        raise ValueError(f"{requirement}; got {found} in row {row} ({len(places)} such rows). {remedy}.")
