r"""From point-free expressions to sums over a symbolic number of actions n.

E f becomes Σ_a π_a f_a with π_a = e^{z_a}/Z, log π_a becomes z_a − log Z, `Dt` and `Partial` become SymPy's
own derivative of the sum. What z is depends on the `Path`.
"""

from math import factorial

from sympy import Dummy, Function, IndexedBase, KroneckerDelta, Mul, S, Sum, Symbol, exp, log, sympify
from sympy.utilities.iterables import multiset_partitions

from entropy_core.symbolic.fields import (
    any_path,
    delta_logits,
    inverse_temperature,
    log_probs,
    logits,
    probs,
    straight_path,
    temperature_path,
)
from entropy_core.symbolic.operators import (
    At,
    Cov,
    DBeta,
    Dt,
    E,
    Entry,
    Field,
    Indicator,
    Kappa,
    Named,
    Partial,
    Total,
    Var,
    is_field,
)

__all__ = ["n", "realise"]

n = Symbol("n", integer=True, positive=True)
_parameter = Symbol("t", real=True)
_z = IndexedBase("z", real=True)
_change = IndexedBase("Delta_z", real=True)
_motion = Function("z", real=True)


def realise(expression, path=any_path, action=None):
    """Return the sum over n actions that a point-free expression stands for.

    Formula: E f → Σ_a π_a f_a, π_a → e^{z_a}/Σ_b e^{z_b}, log π_a → z_a − log Σ_b e^{z_b}.

    Args:
        expression: point-free expression; free indices are actions in 1..n.
        path: how the logits move under `Dt`.
        action: index at which a field expression is taken; required if it is one.

    Raises:
        ValueError: if a field stands outside an aggregate and no action is given, or if the derivative does
        not
            fit the path.
    """
    expression = sympify(expression)
    if action is None and is_field(expression):
        raise ValueError(
            f"{expression} differs from action to action: put it into an aggregate such as E, or take .at(i)"
        )
    return _Realiser(path, expression.has(Partial))(expression, action)


class _Realiser:
    """One walk over one expression; `partial` says that single logits are differentiated."""

    def __init__(self, path, partial):
        self.path, self.partial = path, partial

    def __call__(self, e, a):
        for kind, rule in _RULES.items():
            if isinstance(e, kind):
                return rule(self, e, a)
        return e.func(*[self(arg, a) for arg in e.args]) if e.args else e

    def policy_logits(self, a):
        """The logits whose softmax is π, at action a."""
        if self.path == straight_path:
            return _z[a] + _parameter * _change[a]
        if self.path == temperature_path:
            return inverse_temperature * _z[a]
        # SymPy differentiates in z[j], not in a function value z(j, t): generic motion is then added to z[j].
        return _z[a] + _motion(a, _parameter) if self.partial else _motion(a, _parameter)

    def partition(self):
        """Z = Σ_b e^{z_b}."""
        return self.total(lambda b: exp(self.policy_logits(b)))

    @staticmethod
    def total(term):
        """Σ over a fresh bound index, so that no free index is captured."""
        b = Dummy("b", integer=True, positive=True)
        return Sum(term(b), (b, 1, n))

    def mean(self, *fields):
        """E of the pointwise product of expressions."""
        product = Mul(*fields)
        return self.total(lambda b: exp(self.policy_logits(b)) * self(product, b)) / self.partition()

    def named(self, e, a):
        """A field at action a, a quantity or a scalar."""
        if isinstance(e, Field) and a is None:
            raise ValueError(f"the field {e.name} stands outside an aggregate; use E, Total or .at(i)")
        if e == probs:
            return exp(self.policy_logits(a)) / self.partition()
        if e == log_probs:
            return self.policy_logits(a) - log(self.partition())
        if e == logits:
            return _z[a] if self.path == temperature_path else self.policy_logits(a)
        if e == delta_logits:
            return _change[a] if self.path == straight_path else self.policy_logits(a).diff(self.variable)
        if e.definition is not None:
            return self(e.definition, a)
        return IndexedBase(e.name, real=True)[a] if isinstance(e, Field) else e

    @property
    def variable(self):
        """The parameter of the path."""
        return inverse_temperature if self.path == temperature_path else _parameter

    def along(self, e, a):
        """`Dt`, `Grad` or `DBeta`: SymPy's derivative in the path parameter."""
        if isinstance(e, DBeta) != (self.path == temperature_path):
            raise ValueError(f"{e} does not fit {self.path.name}: there {self.path.law}")
        return self(e.args[0], a).diff(self.variable)

    def partial_derivative(self, e, a):
        """∂/∂z_j: SymPy's derivative in one logit."""
        if self.path == temperature_path:
            raise ValueError(f"{e} does not fit temperature_path: there only β moves")
        return self(e.args[0], a).diff(_z[e.args[1].args[1]])

    def covariance(self, e, a):
        """Cov(f, g) = E[f g] − E f E g; Var f is Cov(f, f)."""
        first, second = e.args if len(e.args) == 2 else e.args * 2
        return self.mean(first, second) - self.mean(first) * self.mean(second)

    def cumulant(self, e, a):
        """Joint cumulant by the formula over set partitions."""
        out = S.Zero
        for partition in multiset_partitions(list(range(len(e.args)))):
            m = len(partition)
            blocks = [self.mean(*[e.args[k] for k in block]) for block in partition]
            out += (-1) ** (m - 1) * factorial(m - 1) * Mul(*blocks)
        return out

    def plain_sum(self, e, a):
        """Σ_a f_a, or the sum of an index expression over its index."""
        if e.index is None:
            return self.total(lambda b: self(e.args[0], b))
        return self.total(lambda b: self(e.args[0].xreplace({e.index: b}), a))


_RULES = {
    Named: _Realiser.named,
    E: lambda walk, e, a: walk.mean(e.args[0]),
    Cov: _Realiser.covariance,
    Var: _Realiser.covariance,
    Kappa: _Realiser.cumulant,
    Total: _Realiser.plain_sum,
    At: lambda walk, e, a: walk(e.args[0], e.args[1]),
    Entry: lambda walk, e, a: walk(e.definition, a),
    Indicator: lambda walk, e, a: KroneckerDelta(a, e.args[0]),
    Dt: _Realiser.along,
    Partial: _Realiser.partial_derivative,
}
