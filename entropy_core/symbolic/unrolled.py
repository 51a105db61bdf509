r"""Sums written out: the value of an expression in sums, for given sizes of its index sets, by plain loops.

Shares no code with the canonicaliser. Inputs (indexed symbols, function values and their derivatives,
symbols) get a value when they are first met and keep it.
"""

from sympy import Add, Derivative, Indexed, Integer, KroneckerDelta, Mul, Pow, Rational, Sum, Symbol, exp, log
from sympy.core.function import AppliedUndef

__all__ = ["Unrolled"]


class Unrolled:
    """Values of expressions in sums at one random point.

    Args:
        arithmetic: numbers to compute with, as for `walk.Walk`.
        sizes: {symbol: size} of the index sets.
        draw: gives a random input.
    """

    def __init__(self, arithmetic, sizes, draw):
        self.arithmetic, self.sizes, self.draw = arithmetic, sizes, draw
        self.inputs, self.totals, self.free = {}, {}, {}

    def __call__(self, e, indices=None):
        """Return the value of an expression; `indices` gives {index: action} for its free indices."""
        indices = indices or {}
        if isinstance(e, (Integer, Rational)):
            return self.arithmetic.rational(e)
        if isinstance(e, Sum):
            return self._total(e, indices)
        if isinstance(e, KroneckerDelta):
            first, second = (self._position(index, indices) for index in e.args)
            return self.arithmetic.rational(Integer(first == second))
        if isinstance(e, Symbol) and e in self.sizes:
            return self.arithmetic.rational(Integer(self.sizes[e]))
        if isinstance(e, (Symbol, Indexed, AppliedUndef, Derivative)):
            return self._input(e, indices)
        return self._operation(e, [self(arg, indices) for arg in e.args])

    def _total(self, e, indices):
        """Loop once for each position of the indices that the sum leaves free."""
        free = self.free.setdefault(e, sorted(e.free_symbols, key=str))
        key = e, tuple(indices.get(index) for index in free)
        if key not in self.totals:
            self.totals[key] = self._loop(e.function, list(e.limits), indices)
        return self.totals[key]

    def _loop(self, body, limits, indices):
        if not limits:
            return self(body, indices)
        index, _, size = limits[-1]
        values = (
            self._loop(body, limits[:-1], {**indices, index: a}) for a in range(1, self.sizes[size] + 1)
        )
        return self.arithmetic.total(values)

    def _position(self, index, indices):
        return int(indices.get(index, index))

    def _input(self, e, indices):
        if isinstance(e, Indexed):
            key = str(e.base), *(self._position(index, indices) for index in e.indices)
        else:
            key = str(e.xreplace({index: Integer(action) for index, action in indices.items()}))
        if key not in self.inputs:
            self.inputs[key] = self.draw()
        return self.inputs[key]

    def _operation(self, e, values):
        if isinstance(e, Pow):
            return self.arithmetic.power(values[0], int(e.exp))
        if isinstance(e, exp):
            return self.arithmetic.exp(values[0])
        if isinstance(e, log):
            return self.arithmetic.log(values[0])
        if not isinstance(e, (Add, Mul)):
            raise TypeError(f"{type(e).__name__} has no rule in sums: {e}")
        out = values[0]
        for value in values[1:]:
            out = out + value if isinstance(e, Add) else out * value
        return out
