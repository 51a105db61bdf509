r"""What the rules of differentiation do to an expression; `rules` gives them their names and reasons.

`operator` is an unevaluated derivative (`Dt`, `Grad`, `DBeta` or `Partial`) that says in what is
differentiated.
"""

from sympy import Add, KroneckerDelta, Mul, Pow, S, exp, expand, factor_terms, log

from entropy_core.symbolic.fields import (
    delta_logits,
    inverse_temperature,
    log_probs,
    logits,
    probs,
    rewards,
    velocity,
)
from entropy_core.symbolic.moments import moment_form
from entropy_core.symbolic.operators import (
    Aggregate,
    At,
    Cov,
    DBeta,
    Dt,
    E,
    Field,
    Indicator,
    Named,
    Partial,
    Quantity,
    Scalar,
    Total,
)

__all__ = [
    "derives",
    "differentiate",
    "everywhere",
    "field_and_index",
    "leibniz",
    "log_trick",
    "of_log_probs",
    "score_of",
    "through_log",
]


def everywhere(matches, replacement):
    """Rewrite every matching node, innermost first; a derivative of a constant is left alone."""

    def rewrite(e):
        if e.args:
            args = [rewrite(arg) for arg in e.args]
            e = e.func(*args) if tuple(args) != e.args else e
        return replacement(e) if matches(e) else e

    return rewrite


def derives(e):
    """Whether an expression is an unevaluated derivative."""
    return isinstance(e, (Dt, Partial))


def _derivative(operator, inner):
    """The same derivative of something else."""
    return operator.func(inner, *operator.args[1:])


def differentiate(operator, e):
    """Apply the product and chain rules, down to derivatives of single fields."""
    if isinstance(e, Quantity):
        return differentiate(operator, e.definition)
    if e.is_number or isinstance(e, Scalar):
        return S.One if isinstance(operator, DBeta) and e == inverse_temperature else S.Zero
    if isinstance(e, Add):
        return Add(*[differentiate(operator, term) for term in e.args])
    if isinstance(e, Mul):
        pairs = enumerate(e.args)
        return Add(*[Mul(*e.args[:k], differentiate(operator, f), *e.args[k + 1 :]) for k, f in pairs])
    if isinstance(e, Pow) and e.exp.is_Integer:
        return e.exp * e.base ** (e.exp - 1) * differentiate(operator, e.base)
    if isinstance(e, exp):
        return e * differentiate(operator, e.args[0])
    if isinstance(e, log):
        return differentiate(operator, e.args[0]) / e.args[0]
    if isinstance(e, Total):
        return Total(differentiate(operator, e.args[0]), *e.args[1:])
    return _velocity_of(operator, e)


def _velocity_of(operator, e):
    """The derivative of a single object: the velocity if it is the logits, else left unevaluated."""
    if e == logits:
        return velocity(operator)
    return _derivative(operator, e)


def of_log_probs(e):
    """Whether an expression is a derivative of log π."""
    return derives(e) and e.args[0] == log_probs


def through_log(e):
    """Write d log π as dπ/π, and what Σ then has in common taken out."""
    new = everywhere(of_log_probs, lambda d: _derivative(d, probs) / probs)(e)
    return everywhere(lambda t: isinstance(t, Total), lambda t: Total(factor_terms(expand(t.args[0]))))(new)


def log_trick(e):
    """Write dπ as π d log π."""
    index = field_and_index(e)[1]
    return _at(probs, index) * _derivative(e, _at(log_probs, index))


def field_and_index(e):
    """The field that is differentiated and the index it is taken at, None if it is point-free."""
    return e.args[0].args if isinstance(e.args[0], At) else (e.args[0], None)


def score_of(e):
    """Put d log π = velocity − E velocity, and dπ = π d log π; for one logit, e_j − π_j."""
    field, i = field_and_index(e)
    if isinstance(e, Partial):
        j = e.args[1].args[1]
        centred = (Indicator(j) if i is None else KroneckerDelta(i, j)) - probs.at(j)
    else:
        centred = _at(velocity(e), i) - E(velocity(e))
    return centred if field == log_probs else _at(probs, i) * centred


def _at(field, index):
    return field if index is None else At(field, index)


def leibniz(operator, e):
    """The derivative of a polynomial in fields and expectations: d E f = Cov(f, velocity) + E[d f]."""
    if isinstance(e, E):
        inner = E(leibniz(operator, e.args[0]))
        return Cov(e.args[0], velocity(operator)) + (inner if moment_form(inner) != 0 else S.Zero)
    if isinstance(e, (Add, Mul, Pow)):
        names = {part: _Placeholder(f"part{k}") for k, part in enumerate(_parts(e))}
        back = {name: part for part, name in names.items()}
        slopes = {part: e.xreplace(names).diff(name).xreplace(back) for part, name in names.items()}
        return Add(*[slope * leibniz(operator, part) for part, slope in slopes.items()])
    if isinstance(e, (Aggregate, Quantity)) and moment_form(e) != e:
        return leibniz(operator, moment_form(e))
    if e == log_probs:
        return velocity(operator) - E(velocity(operator))
    if isinstance(e, Scalar) or e.is_number or (isinstance(e, Field) and e in _FIXED):
        return S.Zero
    return _derivative(operator, e)


# Fields that do not move along a straight path.
_FIXED = (delta_logits, rewards)


class _Placeholder(Named):
    """Stands for a part of an expression while SymPy differentiates in it."""


def _parts(e):
    """The fields, quantities and aggregates that a polynomial expression is made of."""
    if isinstance(e, (Add, Mul, Pow)):
        return [part for arg in e.args for part in _parts(arg) if not part.is_number]
    return [e]
