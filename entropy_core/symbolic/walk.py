r"""Numbers from point-free expressions, in any arithmetic.

This walk reads the definitions (E f = Σ π f, log π = z − log Z, …) a second time, on its own: it shares no
code with `realisation` and the canonicaliser of `sums`, and its derivatives are not SymPy's. `evaluation`
runs it in mpmath, `verification` also in a finite field.
"""

from math import factorial

from sympy import Add, Integer, KroneckerDelta, Mul, Pow, Rational, Symbol, exp, log
from sympy.utilities.iterables import multiset_partitions

from entropy_core.symbolic.fields import (
    log_probs,
    logits,
    policy_logits,
    probs,
)
from entropy_core.symbolic.operators import (
    At,
    Cov,
    Dt,
    E,
    Entry,
    Indicator,
    Kappa,
    Named,
    Partial,
    Total,
    Var,
    is_field,
)

__all__ = ["Walk"]


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
        z = self.values.get(policy_logits, self.values[logits])
        mode = self.arithmetic.anchor(z)
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
        return [combine(row) for row in zip(*columns, strict=True)]

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
        return self.arithmetic.total(_times(row) for row in zip(self.values[probs], *fields, strict=True))

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
        Entry: lambda walk, e: walk(e.definition),
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
