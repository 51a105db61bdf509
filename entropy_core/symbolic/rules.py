r"""Rules by which SymPy produces the next line of a derivation.

A rule has a name, a reason that is printed beside the line, and a rewriting. It need not be trusted: whatever
it produces is checked three ways by `Derivation`. The rules of differentiation serve `Dt`, `Grad`, `DBeta`
and `Partial` alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Add, KroneckerDelta, Mul, S, exp, expand, log

from entropy_core.symbolic.differentiation import (
    derives,
    differentiate,
    everywhere,
    field_and_index,
    leibniz,
    log_trick,
    of_log_probs,
    score_of,
    through_log,
)
from entropy_core.symbolic.fields import log_probs, logits, probs, velocity
from entropy_core.symbolic.moments import combine, moment_form
from entropy_core.symbolic.operators import At, Dt, E, Field, Indicator, Partial, Total, is_field
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
        symbol, moved = _spelling(found[0])
        return self.reason.replace("@z", moved).replace("@", symbol + " ")


def _spelling(operator):
    """LaTeX of the bare derivative and of the velocity of the logits under it."""
    if isinstance(operator, Partial):
        symbol = rf"\tfrac{{\partial}}{{\partial {latex(operator.args[1])}}}"
    else:
        symbol = operator.symbol_latex.replace(r"\frac", r"\tfrac")
    return symbol, latex(velocity(operator))


def definition(symbol):
    """Return the rule that replaces a named quantity or field by its definition.

    Args:
        symbol: a `Quantity` such as `entropy`, or a `Field` with a definition.
    """
    replace = everywhere(lambda e: e == symbol, lambda e: symbol.definition)
    return Rule(f"definition({symbol.name})", rf"definition of ${symbol.latex_form}$", replace)


def substitute(old, new, reason):
    """Return the rule that replaces one expression by another; the check tells whether that was right.

    Args:
        old: what to replace.
        new: by what.
        reason: printed beside the line.
    """
    return Rule(f"substitute({old})", reason, lambda e: e.xreplace({old: new}))


def fold(*targets, reason="collect"):
    """Return the rule that writes a line as a combination of targets, solving for the coefficients.

    Args:
        targets: aggregates, such as `Cov(log_probs, delta_logits)`.
        reason: printed beside the line.
    """
    return Rule(f"fold({', '.join(map(str, targets))})", reason, lambda e: combine(e, targets))


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

    return everywhere(lambda e: isinstance(e, (E, Total)) and len(e.args) == 1, rewrite)


def _sums_derivative_of_probs(e):
    body = e.args[0].as_coeff_Mul()[1] if isinstance(e, Total) else None
    return body is not None and derives(body) and body.args[0] == probs


def _is_mean_of_score(e):
    if isinstance(e, E) and of_log_probs(e.args[0].as_coeff_Mul()[1]):
        return True
    return moment_form(e) == 0


def _to_expectation(e):
    """Σ π f as E f, the sign in front."""
    sign, body = e.args[0].as_coeff_Mul()
    return sign * E(body / probs) if probs in Mul.make_args(body) else e


def _as_weights(e):
    """Σ e^z f / Σ e^z as Σ π f."""
    partition = Total(exp(logits))
    for factor in Mul.make_args(e):
        if isinstance(factor, Total) and exp(logits) in Mul.make_args(factor.args[0]):
            return e / factor * partition * Total(probs * factor.args[0] / exp(logits))
    return e


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
    return At(e, j) if derives(e) else e.func(*[_value_at(arg, j) for arg in e.args])


product_rule = Rule(
    "product_rule", "product rule", everywhere(derives, lambda e: differentiate(e, e.args[0]))
)
chain_rule = Rule("chain_rule", "chain rule", product_rule.rewrite)
log_derivative = Rule("log_derivative", r"$\pi\,@\log\pi = @\pi$", through_log)
score_trick = Rule(
    "score_trick",
    r"$@\pi = \pi\,@\log\pi$",
    everywhere(lambda e: derives(e) and field_and_index(e)[0] == probs, log_trick),
)
score = Rule(
    "score",
    r"score: $@\log\pi = @z - \mathbb{E}[@z]$",
    everywhere(lambda e: derives(e) and field_and_index(e)[0] in (log_probs, probs), score_of),
)
normalisation = Rule("normalisation", r"$\sum_a @\pi = 0$", _drop_terms(_sums_derivative_of_probs))
score_has_mean_zero = Rule("score_has_mean_zero", "the score has mean zero", _drop_terms(_is_mean_of_score))
derivative_of_expectation = Rule(
    "derivative_of_expectation",
    r"$@\mathbb{E} f = \operatorname{Cov}(f, @z) + \mathbb{E}[@f]$",
    everywhere(derives, lambda e: leibniz(e, e.args[0])),
)
log_softmax = Rule(
    "log_softmax",
    r"$\log\pi = z - \log\sum_a e^z$",
    lambda e: e.xreplace({log_probs: logits - log(Total(exp(logits)))}),
)
softmax_weights = Rule(
    "softmax_weights",
    r"$\pi = e^z / \sum_a e^z$",
    everywhere(lambda e: e.is_Mul and 1 / Total(exp(logits)) in e.args, _as_weights),
)
as_expectation = Rule(
    "as_expectation",
    r"$\sum_a \pi f = \mathbb{E} f$",
    everywhere(lambda e: isinstance(e, Total) and len(e.args) == 1, _to_expectation),
)
as_sum = Rule(
    "as_sum",
    r"$\mathbb{E} f = \sum_a \pi f$",
    everywhere(lambda e: isinstance(e, E), lambda e: Total(probs * e.args[0])),
)
indicator_picks = Rule(
    "indicator_picks",
    r"$\mathbb{E}[e_j f] = \pi_j f_j$",
    everywhere(lambda e: isinstance(e, E), _pick),
)
linearity = Rule("linearity", "linearity", moment_form)
