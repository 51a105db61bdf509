"""What a finite Markov decision process must satisfy, and the sentences said when it does not."""

import numpy as np

from entropy_core.reference._validation import allowed_actions, number, over_actions, read_logits

__all__ = ["read_discount", "read_start_distribution", "read_tables"]

TOLERANCE = 1e-9


def read_tables(logits, transitions, **tables) -> list[np.ndarray]:
    """Return logits, transitions and the named tables at one common batch shape, 0 at forbidden actions."""
    logits, transitions = read_logits(logits), _read_array("transitions", transitions)
    if logits.ndim < 2:
        raise ValueError(
            f"logits must have axes [..., states, actions]; shape {logits.shape} came. "
            "For a single state pass logits[None, :]."
        )
    states, actions = logits.shape[-2:]
    _check_shape("transitions", transitions, (states, actions, states), "[..., states, actions, next states]")
    for name, table in tables.items():
        _check_shape(name, np.asarray(table), (states, actions), "[..., states, actions]")
    logits, *read = over_actions(logits, **tables)
    batch = _common_batch(logits=logits.shape[:-2], transitions=transitions.shape[:-3])
    logits, *read = (np.broadcast_to(x, (*batch, states, actions)) for x in (logits, *read))
    allowed = allowed_actions(logits)[..., None]
    transitions = np.where(allowed, np.broadcast_to(transitions, (*batch, states, actions, states)), 0.0)
    _check_distributions("transitions", transitions, allowed[..., 0], "from each state under each action")
    return [logits, transitions, *read]


def read_discount(discount) -> float:
    """Return the discount as float in [0, 1)."""
    discount = number("discount", discount)
    if not 0 <= discount < 1:
        raise ValueError(
            f"discount must lie in [0, 1); {discount} came. At 1 an endless process has no finite return: "
            "give a discount below 1, such as 1 - 1/horizon."
        )
    return discount


def read_start_distribution(start_distribution, logits) -> np.ndarray:
    """Return the start distribution over the states of these logits."""
    start = _read_array("start_distribution", start_distribution)
    _check_shape("start_distribution", start, logits.shape[-2:-1], "[..., states]")
    _check_distributions(
        "start_distribution", start, np.ones(start.shape[:-1], dtype=bool), "over the states"
    )
    _common_batch(logits=logits.shape[:-2], start_distribution=start.shape[:-1])
    return start


def _read_array(name, value):
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"{name} must be a NumPy array of real numbers; dtype {array.dtype} came. Convert it."
        )
    return array.astype(np.float64)


def _check_shape(name, array, shape, axes):
    if array.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{name} must have axes {axes} that end in {shape}, as logits have; shape {array.shape} came. "
            "States come before actions, and the next state is last."
        )


def _common_batch(**batches):
    try:
        return np.broadcast_shapes(*batches.values())
    except ValueError:
        shapes = ", ".join(f"{name} {batch}" for name, batch in batches.items())
        raise ValueError(
            f"leading axes must broadcast together; {shapes} came. Insert axes of length 1 where needed."
        ) from None


def _check_distributions(name, array, needed, over):
    negative = needed & ~(array >= 0).all(axis=-1)
    if negative.any():
        raise ValueError(
            f"{name} must be probabilities {over}, none negative or NaN; row {_first(negative)} has one. "
            "Correct that row."
        )
    off = needed & ~(np.abs(array.sum(axis=-1) - 1) <= TOLERANCE)
    if off.any():
        raise ValueError(
            f"{name} must sum to 1 {over} within {TOLERANCE}; row {_first(off)} sums to "
            f"{array.sum(axis=-1)[_first(off)]:.12g}. Divide each row by its sum; for an episode that ends, "
            "let the last state lead to itself with reward 0."
        )


def _first(mask):
    return tuple(np.argwhere(mask)[0].tolist())
