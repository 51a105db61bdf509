r"""The oracle for the numeric layers: point-free expressions at 50 significant digits.

A gap of 700 between logits puts 304 zeros before the first digit of an entropy. The working precision
therefore follows the gap, and every value is computed twice, the second time with twice the digits.
"""

from math import ceil, inf, isnan, log10

import mpmath
from sympy import sympify

from entropy_core.symbolic.fields import (
    delta_logits,
    logits,
)
from entropy_core.symbolic.operators import (
    Field,
    is_field,
)
from entropy_core.symbolic.walk import Walk

__all__ = ["MpmathArithmetic", "evaluate"]


class MpmathArithmetic:
    """mpmath numbers at the working precision in force."""

    exp = staticmethod(mpmath.exp)
    log = staticmethod(mpmath.log)
    total = staticmethod(mpmath.fsum)

    anchor = staticmethod(max)

    @staticmethod
    def rational(number):
        """Return p/q rounded once."""
        return mpmath.mpf(number.p) / number.q

    @staticmethod
    def power(base, exponent):
        """Return an integer power."""
        return base**exponent

    @staticmethod
    def derivative(function):
        """Return the derivative at 0 by a difference quotient at raised precision."""
        return mpmath.diff(function, 0)


def evaluate(expression, values, digits=50):
    """Value of a point-free expression for concrete logits, correct to the digits asked for.

    Formula: the definitions, with log π = z − log Z, at a working precision of
    60 + (gap + 2·range Δz)/2 digits (more where an input varies by less than 1), checked at twice that.

    Args:
        expression: point-free expression in fields, or a tuple of them (then the exponentials are computed
            once for all). A `Field` not built in needs its own entry in `values`.
        values: {field: one number per action, symbol: number}. `logits` is required, −inf in it marks a
            forbidden action: what the other fields hold there is ignored, NaN included.
        digits: significant digits that both precisions must share.

    Returns:
        mpmath number, or for a field expression a list with one per action; for a tuple, a tuple. At
        forbidden actions the list holds −inf for `log_probs` (and `new_log_probs`) and 0 for everything else.
        A value that is 0 at both precisions to within rounding is returned as exactly 0.

    Raises:
        ValueError: if logits are missing, NaN, +inf or all −inf, or a field has the wrong length.
        KeyError: if a field or symbol of the expression has no value.
        ArithmeticError: if four doublings of the precision do not settle the digits.

    Example:
        >>> from entropy_core.symbolic import dynamics, evaluate, logits, delta_logits
        >>> z, u = [0.0, -1.0, float("-inf")], [0.1, 0.0, 5.0]
        >>> change = evaluate(dynamics.first_order_entropy_change, {logits: z, delta_logits: u})
        >>> print(mpmath.nstr(change, 20))
        -0.019661193324148186345
    """
    several = isinstance(expression, (tuple, list))
    expressions = [sympify(e) for e in (expression if several else [expression])]
    kept = _keep_allowed(values)
    precision = _working_digits(kept, digits)
    previous = _at_precision(expressions, kept, precision)
    for _ in range(4):
        precision *= 2
        current = _at_precision(expressions, kept, precision)
        settled = _settle(previous, current, digits, precision)
        if not any(None in entries for entries in settled):
            restored = tuple(
                _restore(e, entries, values[logits]) for e, entries in zip(expressions, settled, strict=True)
            )
            return restored if several else restored[0]
        previous = current
    raise ArithmeticError(f"{expression} did not settle to {digits} digits at {precision} working digits")


def _keep_allowed(values):
    """Exact values at the allowed actions; the rest is dropped from every sum."""
    allowed = _allowed_actions(values)
    return {key: _kept(key, value, allowed) for key, value in values.items()}


def _allowed_actions(values):
    if logits not in values:
        raise ValueError("evaluate needs values for logits: {logits: [...]}")
    z = list(map(_number, values[logits]))
    bad = [a for a, value in enumerate(z) if mpmath.isnan(value) or value == inf]
    if bad:
        raise ValueError(f"logits must be finite or −inf; action {bad[0]} has {z[bad[0]]}")
    allowed = [a for a, value in enumerate(z) if value != -inf]
    if not allowed:
        raise ValueError("logits must allow at least one action; all are −inf (or there are none)")
    return allowed


def _kept(key, value, allowed):
    if not isinstance(key, Field):
        return _number(value)
    if len(value) <= max(allowed):
        raise ValueError(
            f"{key.name} needs one number per action; it has {len(value)} for {max(allowed) + 1}"
        )
    return [_number(value[a]) for a in allowed]


def _number(value):
    """Exact conversion: an mpf is kept as it is, since mpf(mpf) would round to the ambient precision."""
    return value if isinstance(value, mpmath.mpf) else mpmath.mpf(value)


def _working_digits(kept, digits):
    """60 digits, half a digit per nat of gap, one per nat of range Δz, thrice the zeros of a small range."""
    ranges = {key: float(max(v) - min(v)) for key, v in kept.items() if isinstance(v, list)}
    for key, size in ranges.items():
        if isnan(size) or size == inf:
            raise ValueError(f"{key.name} must be finite at allowed actions")
    zeros = sum(max(0.0, -log10(size)) for size in ranges.values() if size > 0)
    return ceil(digits + 10 + (ranges[logits] + 2 * ranges.get(delta_logits, 0.0)) / 2 + 3 * zeros)


def _at_precision(expressions, kept, precision):
    with mpmath.workdps(precision):
        walk = Walk(MpmathArithmetic, lambda t: _along_the_line(kept, t))
        found = [walk(e) for e in expressions]
        return [value if isinstance(value, list) else [value] for value in found]


def _along_the_line(kept, t):
    """The values at z + t Δz; `Dt` differentiates in t."""
    if t == 0:
        return kept
    if delta_logits not in kept:
        raise KeyError("a derivative along the path needs values for delta_logits")
    return {**kept, logits: [z + t * u for z, u in zip(kept[logits], kept[delta_logits], strict=True)]}


def _settle(previous, current, digits, precision):
    """Each value if two precisions agree on it, 0 if it is only rounding at both, None if undecided."""
    with mpmath.workdps(precision):
        share, rounding = mpmath.mpf(10) ** (-digits), mpmath.mpf(10) ** (-0.75 * precision)
        return [
            [
                now
                if abs(before - now) <= abs(now) * share
                else mpmath.mpf(0)
                if abs(now) < rounding
                else None
                for before, now in zip(*lists, strict=True)
            ]
            for lists in zip(previous, current, strict=True)
        ]


def _restore(expression, settled, z):
    """Put the forbidden actions back into the list."""
    if not is_field(expression):
        return settled[0]
    barred = -mpmath.inf if getattr(expression, "name", "").endswith("log_probs") else mpmath.mpf(0)
    remaining = iter(settled)
    return [barred if value == -inf else next(remaining) for value in z]
