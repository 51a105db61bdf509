"""The truth for numerical layers: the symbolic result in mpmath, and how far a number is from it.

Nothing here states a formula of the subject. `truth` evaluates an expression of `entropy_core.symbolic`; the
size that an error is measured against, Σ π|…|, is put together from such values.
"""

from functools import lru_cache

import mpmath
import numpy as np

from entropy_core import symbolic

DIGITS = 40
SPACING = mpmath.mpf(2) ** -1074  # of float64 below 2.2e-308: no result can be nearer to its truth
SCORE = symbolic.logits - symbolic.E(symbolic.logits)  # log π + H
STEP = symbolic.delta_logits - symbolic.E(symbolic.delta_logits)
X, Y = symbolic.Field("x"), symbolic.Field("y")


def truth(expression, **values):
    """Return the exact value at the given float64 inputs: one mpmath number, or an array of them.

    Args:
        expression: an expression of entropy_core.symbolic.
        values: logits, delta_logits, rewards, step_size, x, y as the expression needs them; one row.
    """
    needed = _names_in(expression) | {"logits"}
    named = {name: tuple(np.atleast_1d(value).tolist()) for name, value in values.items() if name in needed}
    result = _evaluated(expression, tuple(sorted(named.items())))
    return np.array(result, dtype=object) if isinstance(result, tuple) else result


def scale(*fields, **values):
    """Return E|f g …|: the sum of the absolute terms of an expectation."""
    factors = [truth(field, **values) for field in (symbolic.probs, *fields)]
    product = factors[0]
    for factor in factors[1:]:
        product = product * abs(factor)
    return mpmath.fsum(product)


def error_ratio(value, exact, allowance):
    """Return the largest |value − exact| / allowance; the spacing of the least float64 is always allowed."""
    exact = np.atleast_1d(np.array(exact, dtype=object))
    allowance = np.broadcast_to(np.atleast_1d(np.array(allowance, dtype=object)), exact.shape)
    value = np.atleast_1d(value)
    assert value.shape == exact.shape, f"{value.shape} came, {exact.shape} is the shape of the truth"
    with mpmath.workdps(DIGITS):
        return max(map(_ratio, value.tolist(), exact.tolist(), allowance.tolist()))


def _ratio(value, exact, allowance):
    if value == exact:
        return 0.0
    error = abs(mpmath.mpf(value) - exact)
    allowed = allowance + (SPACING if exact != 0 else 0)
    return float(error / allowed) if allowed > 0 and mpmath.isfinite(error) else float("inf")


def _names_in(expression):
    """Return the names of the fields and numbers of an expression, those inside definitions too."""
    symbols = getattr(expression, "free_symbols", set())
    inner = (_names_in(symbol.definition) for symbol in symbols if getattr(symbol, "definition", None))
    return {symbol.name for symbol in symbols}.union(*inner)


@lru_cache(maxsize=4096)
def _evaluated(expression, named):
    fields = {**vars(symbolic), "x": X, "y": Y}
    values = {fields[name]: value if name != "step_size" else value[0] for name, value in named}
    result = symbolic.evaluate(expression, values, digits=DIGITS)
    return tuple(result) if isinstance(result, list) else result
