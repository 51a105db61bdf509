r"""Numbers from point-free expressions: the oracle at 50 significant digits.

The walk below reads the definitions (E f = Σ π f, log π = z − log Z, …) once more and on its own: it shares no
code with the canonicaliser of `sums` and none with `realisation`. It is generic in the arithmetic, so that the
same walk serves mpmath here and an exact finite field in `verification`.

A gap of 700 between logits puts 304 zeros before the first digit of an entropy. The working precision therefore
follows the gap, and every value is computed twice, the second time with twice the digits.
"""

from math import ceil, factorial, inf, isnan, log10

import mpmath
from sympy import Add, Integer, KroneckerDelta, Mul, Pow, Rational, Symbol, exp, log, sympify
from sympy.utilities.iterables import multiset_partitions

from entropy_core.symbolic.fields import (
    At,
    Cov,
    Dt,
    E,
    Field,
    Indicator,
    Kappa,
    Named,
    Partial,
    Total,
    Var,
    delta_logits,
    is_field,
    log_probs,
    logits,
    probs,
)

__all__ = ["evaluate"]


class MpmathArithmetic:
    """mpmath numbers at the working precision in force."""

    exp = staticmethod(mpmath.exp)
    log = staticmethod(mpmath.log)
    total = staticmethod(mpmath.fsum)

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


class Walk:
    """Values of point-free expressions at one point.

    Args:
        arithmetic: numbers to compute with.
        path: function of the path parameter giving {field or symbol: list or number}; it must give `logits`.
        parameter: where on the path.
        nudges: {action: amount} added to single logits; `Partial` differentiates in them.
        indices: {index symbol: action} for index expressions, actions counted from 1.
    """

    def __init__(self, arithmetic, path, parameter=0, nudges=None, indices=None):
        self.arithmetic, self.path, self.parameter = arithmetic, path, parameter
        self.nudges, self.indices = nudges or {}, indices or {}
        self.values = dict(path(parameter))
        if self.nudges:
            moved = list(self.values[logits])
            for action, amount in self.nudges.items():
                moved[action - 1] = moved[action - 1] + amount
            self.values[logits] = moved
        self.size = len(self.values[logits])
        self._install_softmax()

    def _install_softmax(self):
        z = self.values[logits]
        mode = self.arithmetic.anchor(z) if hasattr(self.arithmetic, "anchor") else max(z)
        shifted = [value - mode for value in z]
        weights = [self.arithmetic.exp(value) for value in shifted]
        partition = self.arithmetic.total(weights)
        log_partition = self.arithmetic.log(partition)
        self.values[probs] = [weight / partition for weight in weights]
        self.values[log_probs] = [value - log_partition for value in shifted]

    def __call__(self, expression):
        """Return a number, or a list with one number per action if the expression is a field."""
        if expression not in self.values:
            self.values[expression] = self._compute(expression)
        return self.values[expression]

    def _compute(self, e):
        if isinstance(e, (Integer, Rational)):
            return self.arithmetic.rational(e)
        if isinstance(e, Named):
            return self._named(e)
        if isinstance(e, Symbol):
            raise KeyError(f"no value was given for the symbol {e}; add it to the values")
        for kind, rule in self._rules.items():
            if isinstance(e, kind):
                return rule(self, e)
        raise TypeError(f"{type(e).__name__} has no numerical rule: {e}")

    def _named(self, e):
        if e.definition is None:
            raise KeyError(f"no values were given for {e.name}; add it to the values, one per action")
        return self(e.definition)

    def _pointwise(self, combine, operands):
        """Apply an operation action by action, numbers being the same at every action."""
        if not any(isinstance(value, list) for value in operands):
            return combine(operands)
        columns = [value if isinstance(value, list) else [value] * self.size for value in operands]
        return [combine(row) for row in zip(*columns)]

    def _sum(self, e):
        return self._pointwise(_plus, [self(arg) for arg in e.args])

    def _product(self, e):
        return self._pointwise(_times, [self(arg) for arg in e.args])

    def _power(self, e):
        base, exponent = e.args
        if not exponent.is_Integer:
            raise TypeError(f"only integer powers have a numerical rule, got {e}")
        return self._pointwise(lambda v: self.arithmetic.power(v[0], int(exponent)), [self(base)])

    def _exp(self, e):
        return self._pointwise(lambda v: self.arithmetic.exp(v[0]), [self(e.args[0])])

    def _log(self, e):
        return self._pointwise(lambda v: self.arithmetic.log(v[0]), [self(e.args[0])])

    def mean(self, *fields):
        """Return E of the pointwise product of lists."""
        return self.arithmetic.total(_times(row) for row in zip(self.values[probs], *fields))

    def _expectation(self, e):
        return self.mean(self._spread(e.args[0]))

    def _covariance(self, e):
        first, second = map(self._centred, e.args)
        return self.mean(first, second)

    def _variance(self, e):
        centred = self._centred(e.args[0])
        return self.mean(centred, centred)

    def _cumulant(self, e):
        fields = [self._spread(arg) for arg in e.args]
        terms = []
        for partition in multiset_partitions(list(range(len(fields)))):
            m = len(partition)
            blocks = [self.mean(*[fields[i] for i in block]) for block in partition]
            terms.append(
                _times([self.arithmetic.rational(Integer((-1) ** (m - 1) * factorial(m - 1))), *blocks])
            )
        return _plus(terms)

    def _total(self, e):
        if e.index is None:
            return self.arithmetic.total(self._spread(e.args[0]))
        return self.arithmetic.total(self._with_index(e.index, a)(e.args[0]) for a in range(1, self.size + 1))

    def _with_index(self, index, action):
        walk = object.__new__(Walk)
        walk.__dict__ = {**self.__dict__, "indices": {**self.indices, index: action}}
        walk.values = {key: value for key, value in self.values.items() if not key.has(index)}
        return walk

    def _action(self, index):
        action = self.indices.get(index, index)
        try:
            return int(action)
        except TypeError:
            raise KeyError(f"no action was given for the index {index}") from None

    def _at(self, e):
        return self._spread(e.args[0])[self._action(e.args[1]) - 1]

    def _indicator(self, e):
        chosen = self._action(e.args[0])
        return [self.arithmetic.rational(Integer(a == chosen)) for a in range(1, self.size + 1)]

    def _delta(self, e):
        return self.arithmetic.rational(Integer(self._action(e.args[0]) == self._action(e.args[1])))

    def _differentiate(self, e, moved):
        inner = e.args[0]
        if not is_field(inner):
            return self.arithmetic.derivative(lambda s: moved(s)(inner))
        return [self.arithmetic.derivative(lambda s, a=a: moved(s)(inner)[a]) for a in range(self.size)]

    def _dt(self, e):
        return self._differentiate(
            e,
            lambda s: Walk(self.arithmetic, self.path, self.parameter + s, self.nudges, self.indices),
        )

    def _partial(self, e):
        j = self._action(e.args[1].args[1])

        def moved(s):
            nudges = {**self.nudges, j: self.nudges.get(j, 0) + s}
            return Walk(self.arithmetic, self.path, self.parameter, nudges, self.indices)

        return self._differentiate(e, moved)

    def _spread(self, expression):
        value = self(expression)
        return value if isinstance(value, list) else [value] * self.size

    def _centred(self, expression):
        values = self._spread(expression)
        mean = self.mean(values)
        return [value - mean for value in values]

    _rules = {
        Add: _sum,
        Mul: _product,
        exp: _exp,
        Pow: _power,
        log: _log,
        E: _expectation,
        Cov: _covariance,
        Var: _variance,
        Kappa: _cumulant,
        Total: _total,
        At: _at,
        Indicator: _indicator,
        KroneckerDelta: _delta,
        Dt: _dt,
        Partial: _partial,
    }


def _plus(values):
    out = values[0]
    for value in values[1:]:
        out = out + value
    return out


def _times(values):
    out = values[0]
    for value in values[1:]:
        out = out * value
    return out


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
        mpmath number, or for a field expression a list with one per action; for a tuple, a tuple. At forbidden actions the list
        holds −inf for `log_probs` (and `new_log_probs`) and 0 for everything else. A value that is 0 at both
        precisions to within rounding is returned as exactly 0.

    Raises:
        ValueError: if logits are missing, NaN, +inf or all −inf, or a field has the wrong length.
        KeyError: if a field or symbol of the expression has no value.
        ArithmeticError: if four doublings of the precision do not settle the digits.

    Example:
        >>> from entropy_core.symbolic import dynamics, evaluate, logits, delta_logits
        >>> z, u = [0.0, -1.0, float("-inf")], [0.1, 0.0, 5.0]
        >>> print(mpmath.nstr(evaluate(dynamics.first_order_entropy_change, {logits: z, delta_logits: u}), 20))
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
        settled = [
            [_settle(*pair, digits, precision) for pair in zip(*lists)] for lists in zip(previous, current)
        ]
        if not any(None in entries for entries in settled):
            restored = tuple(_restore(e, entries, values[logits]) for e, entries in zip(expressions, settled))
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
    """60 digits, half a digit per nat of gap and per half nat of Δz, and thrice the zeros of a small range."""
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
    return {**kept, logits: [z + t * u for z, u in zip(kept[logits], kept[delta_logits])]}


def _settle(previous, current, digits, precision):
    """The value if two precisions agree, 0 if it is only rounding at both, None if undecided."""
    with mpmath.workdps(precision):
        if abs(previous - current) <= abs(current) * mpmath.mpf(10) ** (-digits):
            return current
        return mpmath.mpf(0) if abs(current) < mpmath.mpf(10) ** (-0.75 * precision) else None


def _restore(expression, settled, z):
    """Put the forbidden actions back into the list."""
    if not is_field(expression):
        return settled[0]
    barred = -mpmath.inf if getattr(expression, "name", "").endswith("log_probs") else mpmath.mpf(0)
    remaining = iter(settled)
    return [barred if value == -inf else next(remaining) for value in z]
