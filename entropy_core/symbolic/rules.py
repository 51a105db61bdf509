r"""Rules by which SymPy produces the next line of a derivation.

A rule has a name, a reason that is printed beside the line, and a rewriting. It need not be trusted: whatever
it produces is checked three ways by `Derivation`. All rules serve `Dt`, `Grad`, `DBeta` and, where it makes
sense, `Partial`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Add, KroneckerDelta, Mul, Pow, S, exp, expand, factor_terms, log

from entropy_core.symbolic.fields import (
    delta_logits,
    log_probs,
    logits,
    probs,
    rewards,
    velocity,
)
from entropy_core.symbolic.moments import combine, moment_form
from entropy_core.symbolic.operators import (
    Aggregate,
    At,
    Cov,
    Dt,
    E,
    Field,
    Indicator,
    Named,
    Partial,
    Quantity,
    Scalar,
    Total,
    is_field,
)
from entropy_core.symbolic.printing import latex

__all__ = [
    "Rule",
    "as_expectation",
    "as_sum",
    "chain_rule",
    "definition",
    "derivative_of_expectation",
    "fold",
    "indicator_picks",
    "linearity",
    "log_derivative",
    "log_softmax",
    "normalisation",
    "product_rule",
    "score",
    "score_has_mean_zero",
    "score_trick",
    "softmax_weights",
    "substitute",
]


@dataclass(frozen=True)
class Rule:
    """A named rewriting.

    Args:
        name: how errors call it.
        reason: printed beside the line it produces; LaTeX between dollar signs.
        rewrite: function from a point-free expression to the next one.
    """

    name: str
    reason: str
    rewrite: Callable

    def __call__(self, expression):
        """Return the rewritten expression."""
        return self.rewrite(expression)

    def reason_for(self, expression):
        """The reason, with @ spelled as the derivative that the expression has: d/dt, ∇_θ, d/dβ or ∂/∂z_j."""
        found = sorted(expression.atoms(Dt, Partial), key=str)
        if not found:
            return self.reason.replace("@", r"\nabla ")
        symbol, velocity = _spelling(found[0])
        return self.reason.replace("@z", velocity).replace("@", symbol + " ")


def _spelling(operator):
    """LaTeX of the bare derivative and of the velocity of the logits under it."""
    if isinstance(operator, Partial):
        symbol = rf"\tfrac{{\partial}}{{\partial {latex(operator.args[1])}}}"
    else:
        symbol = operator.symbol_latex.replace(r"\frac", r"\tfrac")
    return symbol, latex(velocity(operator))


def _everywhere(matches, replacement):
    """Rewrite every matching node, innermost first; a derivative of a constant is left alone."""

    def rewrite(e):
        if e.args:
            args = [rewrite(arg) for arg in e.args]
            e = e.func(*args) if tuple(args) != e.args else e
        return replacement(e) if matches(e) else e

    return rewrite


def _derives(e):
    return isinstance(e, (Dt, Partial))


def _derivative(operator, inner):
    """The same derivative of something else."""
    return operator.func(inner, *operator.args[1:])


def definition(symbol):
    """Return the rule that replaces a named quantity or field by its definition."""
    replace = _everywhere(lambda e: e == symbol, lambda e: symbol.definition)
    return Rule(f"definition({symbol.name})", rf"definition of ${symbol.latex_form}$", replace)


def substitute(old, new, reason):
    """Return the rule that replaces one expression by another; the check tells whether that was right."""
    return Rule(f"substitute({old})", reason, lambda e: e.xreplace({old: new}))


def fold(*targets, reason="collect"):
    """Return the rule that writes a line as a combination of targets, solving for the coefficients."""
    return Rule(f"fold({', '.join(map(str, targets))})", reason, lambda e: combine(e, targets))


def _differentiate(operator, e):
    """Product rule down to derivatives of single fields."""
    if isinstance(e, Quantity):
        return _differentiate(operator, e.definition)
    if e.is_number or isinstance(e, Scalar):
        return S.Zero
    if isinstance(e, Add):
        return Add(*[_differentiate(operator, term) for term in e.args])
    if isinstance(e, Mul):
        pairs = enumerate(e.args)
        return Add(*[Mul(*e.args[:k], _differentiate(operator, f), *e.args[k + 1 :]) for k, f in pairs])
    if isinstance(e, Pow) and e.exp.is_Integer:
        return e.exp * e.base ** (e.exp - 1) * _differentiate(operator, e.base)
    if isinstance(e, exp):
        return e * _differentiate(operator, e.args[0])
    if isinstance(e, log):
        return _differentiate(operator, e.args[0]) / e.args[0]
    if isinstance(e, Total):
        return Total(_differentiate(operator, e.args[0]), *e.args[1:])
    return _velocity_of(operator, e)


def _velocity_of(operator, e):
    """D of a single object: the velocity if it is the logits, else left unevaluated."""
    if e == logits:
        return velocity(operator)
    return _derivative(operator, e)


product_rule = Rule(
    "product_rule",
    "product rule",
    _everywhere(_derives, lambda e: _differentiate(e, e.args[0])),
)


chain_rule = Rule("chain_rule", "chain rule", product_rule.rewrite)


def _of_log_probs(e):
    return _derives(e) and e.args[0] == log_probs


def _chain_rule(e):
    new = _everywhere(_of_log_probs, lambda d: _derivative(d, probs) / probs)(e)
    return _everywhere(lambda t: isinstance(t, Total), lambda t: Total(factor_terms(expand(t.args[0]))))(new)


log_derivative = Rule("log_derivative", r"$\pi\,@\log\pi = @\pi$", _chain_rule)

score_trick = Rule(
    "score_trick",
    r"$@\pi = \pi\,@\log\pi$",
    _everywhere(lambda e: _derives(e) and _field_and_index(e)[0] == probs, lambda e: _log_trick(e)),
)


def _log_trick(e):
    index = _field_and_index(e)[1]
    return _at(probs, index) * _derivative(e, _at(log_probs, index))


def _field_and_index(e):
    """The field that is differentiated and the index it is taken at, None if it is point-free."""
    return e.args[0].args if isinstance(e.args[0], At) else (e.args[0], None)


def _score_of(e):
    """D log π = velocity − E velocity, and dπ = π d log π; for one logit, e_j − π_j."""
    field, i = _field_and_index(e)
    if isinstance(e, Partial):
        j = e.args[1].args[1]
        centred = (Indicator(j) if i is None else KroneckerDelta(i, j)) - probs.at(j)
    else:
        centred = _at(velocity(e), i) - E(velocity(e))
    return centred if field == log_probs else _at(probs, i) * centred


def _at(field, index):
    return field if index is None else At(field, index)


score = Rule(
    "score",
    r"score: $@\log\pi = @z - \mathbb{E}[@z]$",
    _everywhere(lambda e: _derives(e) and _field_and_index(e)[0] in (log_probs, probs), _score_of),
)


def _drop_terms(vanishes):
    """Expand each Σ and E over the terms of its body and drop those that vanish."""

    def rewrite(e):
        operator, terms = e.func, Add.make_args(e.args[0])
        kept = [term for term in terms if not vanishes(operator(term))]
        if len(kept) < len(terms):
            return operator(Add(*kept)) if kept else S.Zero
        terms = Add.make_args(expand(e.args[0]))
        kept = [term for term in terms if not vanishes(operator(term))]
        return (operator(Add(*kept)) if kept else S.Zero) if len(kept) < len(terms) else e

    return _everywhere(lambda e: isinstance(e, (E, Total)) and len(e.args) == 1, rewrite)


def _sums_derivative_of_probs(e):
    body = e.args[0].as_coeff_Mul()[1] if isinstance(e, Total) else None
    return body is not None and _derives(body) and body.args[0] == probs


def _is_mean_of_score(e):
    if isinstance(e, E) and _of_log_probs(e.args[0].as_coeff_Mul()[1]):
        return True
    return moment_form(e) == 0


normalisation = Rule("normalisation", r"$\sum_a @\pi = 0$", _drop_terms(_sums_derivative_of_probs))
score_has_mean_zero = Rule("score_has_mean_zero", "the score has mean zero", _drop_terms(_is_mean_of_score))


def _to_expectation(e):
    """Σ π f as E f, the sign in front."""
    sign, body = e.args[0].as_coeff_Mul()
    return sign * E(body / probs) if probs in Mul.make_args(body) else e


as_expectation = Rule(
    "as_expectation",
    r"$\sum_a \pi f = \mathbb{E} f$",
    _everywhere(lambda e: isinstance(e, Total) and len(e.args) == 1, _to_expectation),
)
as_sum = Rule(
    "as_sum",
    r"$\mathbb{E} f = \sum_a \pi f$",
    _everywhere(lambda e: isinstance(e, E), lambda e: Total(probs * e.args[0])),
)


def _leibniz(operator, e):
    """D of a polynomial in fields and expectations: d E f = Cov(f, velocity) + E[d f]."""
    if isinstance(e, E):
        inner = E(_leibniz(operator, e.args[0]))
        return Cov(e.args[0], velocity(operator)) + (inner if moment_form(inner) != 0 else S.Zero)
    if isinstance(e, (Add, Mul, Pow)):
        names = {part: _Placeholder(f"part{k}") for k, part in enumerate(_parts(e))}
        back = {name: part for part, name in names.items()}
        slopes = {part: e.xreplace(names).diff(name).xreplace(back) for part, name in names.items()}
        return Add(*[slope * _leibniz(operator, part) for part, slope in slopes.items()])
    if isinstance(e, (Aggregate, Quantity)) and moment_form(e) != e:
        return _leibniz(operator, moment_form(e))
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


derivative_of_expectation = Rule(
    "derivative_of_expectation",
    r"$@\mathbb{E} f = \operatorname{Cov}(f, @z) + \mathbb{E}[@f]$",
    _everywhere(_derives, lambda e: _leibniz(e, e.args[0])),
)

log_softmax = Rule(
    "log_softmax",
    r"$\log\pi = z - \log\sum_a e^z$",
    lambda e: e.xreplace({log_probs: logits - log(Total(exp(logits)))}),
)


def _as_weights(e):
    """Σ e^z f / Σ e^z as Σ π f."""
    partition = Total(exp(logits))
    for factor in Mul.make_args(e):
        if isinstance(factor, Total) and exp(logits) in Mul.make_args(factor.args[0]):
            return e / factor * partition * Total(probs * factor.args[0] / exp(logits))
    return e


softmax_weights = Rule(
    "softmax_weights",
    r"$\pi = e^z / \sum_a e^z$",
    _everywhere(lambda e: e.is_Mul and 1 / Total(exp(logits)) in e.args, _as_weights),
)


def _pick(e):
    """E[e_j f] = π_j f_j."""
    factors = Mul.make_args(e.args[0])
    chosen = next((f for f in factors if isinstance(f, Indicator)), None)
    if chosen is None:
        return e
    j = chosen.args[0]
    rest = Mul(*factors) / chosen
    return probs.at(j) * _value_at(rest, j)


def _value_at(e, j):
    """A field expression at one action."""
    if isinstance(e, Indicator):
        return KroneckerDelta(e.args[0], j)
    if isinstance(e, Field):
        return e.at(j)
    if not is_field(e):
        return e
    return At(e, j) if _derives(e) else e.func(*[_value_at(arg, j) for arg in e.args])


indicator_picks = Rule(
    "indicator_picks",
    r"$\mathbb{E}[e_j f] = \pi_j f_j$",
    _everywhere(lambda e: isinstance(e, E), _pick),
)

linearity = Rule("linearity", "linearity", moment_form)
