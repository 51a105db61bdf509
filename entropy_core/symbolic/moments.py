r"""Moment form: every aggregate as a polynomial in expectations of products of fields.

In this form SymPy can compare coefficients, so that the coefficients of a target line are solved for, not
typed.
"""

from math import factorial

from sympy import Add, Mul, S, Symbol, expand, linsolve, sympify
from sympy.utilities.iterables import multiset_partitions

from entropy_core.symbolic.fields import (
    probs,
)
from entropy_core.symbolic.operators import (
    Aggregate,
    Cov,
    Dt,
    E,
    Kappa,
    Partial,
    Quantity,
    Total,
    Var,
    is_field,
)

__all__ = ["combine", "moment_form"]


def moment_form(expression):
    """Return an expression with E of monomials only.

    Formula: Cov(f, g) = E[f g] − E f E g, Var f = Cov(f, f), κ over set partitions, Σ π f = E f, E linear.

    Args:
        expression: point-free expression; derivatives are left as they are.
    """
    e = sympify(expression)
    if isinstance(e, (E, Total)) and len(e.args) == 1:
        return _linear(type(e), moment_form(e.args[0]))
    if isinstance(e, (Cov, Var)):
        first, second = e.args if isinstance(e, Cov) else e.args * 2
        return expand(moment_form(E(first * second)) - moment_form(E(first)) * moment_form(E(second)))
    if isinstance(e, Kappa):
        return expand(Add(*map(_block_product(e.args), multiset_partitions(list(range(len(e.args)))))))
    if isinstance(e, Quantity):
        return moment_form(e.definition)
    if isinstance(e, (Aggregate, Dt, Partial)) or not e.args:
        return e
    return expand(e.func(*map(moment_form, e.args)), log=False)


def _linear(operator, body):
    """E or Σ of an expanded expression, term by term, with what does not vary taken out."""
    out = S.Zero
    for term in Add.make_args(expand(body, log=False)):
        constant = [f for f in Mul.make_args(term) if not is_field(f)]
        varying = [f for f in Mul.make_args(term) if is_field(f)]
        weighted = operator is Total and probs in varying
        if weighted:
            varying.remove(probs)
        inner = E if weighted else operator
        out += Mul(*constant) * inner(Mul(*varying))
    return expand(out, log=False)


def _block_product(fields):
    def term(partition):
        m = len(partition)
        blocks = [moment_form(E(Mul(*[fields[k] for k in block]))) for block in partition]
        return (-1) ** (m - 1) * factorial(m - 1) * Mul(*blocks)

    return term


def combine(expression, targets):
    """Return the combination of targets that equals an expression, its rational coefficients solved for.

    Formula: expression = Σ_k c_k target_k, as polynomials in moments.

    Args:
        expression: point-free number.
        targets: the aggregates to write it in.

    Raises:
        ValueError: if no rational coefficients do it.
    """
    unknowns = [Symbol(f"c_{k}") for k in range(len(targets))]
    combination = Add(*[c * target for c, target in zip(unknowns, targets, strict=True)])
    difference = expand(moment_form(expression - combination))
    by_moment = {}
    for term in Add.make_args(difference):
        known = Mul(*[f for f in Mul.make_args(term) if f not in unknowns and not f.is_number])
        by_moment[known] = by_moment.get(known, S.Zero) + term / known
    solutions = list(linsolve(list(by_moment.values()), unknowns))
    if not solutions:
        raise ValueError(f"{expression} is no combination of {', '.join(map(str, targets))}")
    return combination.xreplace(dict(zip(unknowns, solutions[0], strict=True))).xreplace(
        dict.fromkeys(unknowns, S.Zero)
    )
