r"""LaTeX in the order a reader expects: positive terms first, numbers last; π left, log π right.

SymPy's own printer would write \log\pi \left(\Delta z - …\right), which reads as a logarithm of a product.
"""

from sympy import Add, Mul, sympify
from sympy.printing.latex import LatexPrinter

from entropy_core.symbolic.operators import (
    At,
    Dt,
    Named,
    Partial,
    Total,
    is_field,
)

__all__ = ["latex"]


def latex(expression):
    """Return the LaTeX of a point-free expression.

    Args:
        expression: point-free expression.

    Returns:
        LaTeX without delimiters; the same in every process.
    """
    return _Printer().doprint(sympify(expression))


class _Printer(LatexPrinter):
    """SymPy's printer with another order of terms and factors."""

    def _print_Add(self, expr, order=None):
        terms = sorted(expr.args, key=_term_key)
        printed = [self._print(term) for term in terms]
        joined = "".join(
            f" - {body[1:].lstrip()}" if body.startswith("-") else f" + {body}" for body in printed[1:]
        )
        return printed[0] + joined

    def _print_Mul(self, expr):
        number, rest = expr.as_coeff_Mul()
        if number.is_negative:
            positive = -expr
            return (
                rf"- \left({self._print(positive)}\right)"
                if positive.is_Add
                else f"- {self._print(positive)}"
            )
        factors = sorted(Mul.make_args(rest), key=_factor_key)
        below = [1 / f for f in factors if _divides(f)]
        above = [f for f in factors if not _divides(f)]
        fraction = (
            rf"\frac{{{self._alone(above)}}}{{{self._alone(below)}}}" if below else self._product(above)
        )
        return fraction if number == 1 else f"{self._print(number)} {fraction}"

    def _alone(self, factors):
        """What stands over or under a bar: a single factor needs no brackets there."""
        return self._print(factors[0]) if len(factors) == 1 else self._product(factors) or "1"

    def _product(self, factors):
        return r" \, ".join(self._factor(f, last=f is factors[-1]) for f in factors)

    def _factor(self, factor, last):
        """A factor, bracketed if it would swallow what follows or be torn apart."""
        body = self._print(factor)
        opens = isinstance(factor, (Dt, Partial, Total)) and not last and not body.endswith("}}")
        return rf"\left({body}\right)" if factor.is_Add or opens else body


def _divides(factor):
    return factor.is_Pow and factor.exp.could_extract_minus_sign()


def _factor_key(factor):
    """Scalars, π, other fields, numbers; brackets; log π (it seems to swallow brackets); derivatives; Σ."""
    base = factor.as_base_exp()[0]
    named = base.args[0] if isinstance(base, At) else base
    if isinstance(named, Named):
        return named.order, str(factor)
    late = {Add: 80, Dt: 95, Partial: 95, Total: 99}
    return next((place for kind, place in late.items() if isinstance(base, kind)), 75), str(factor)


def _term_key(term):
    """Positive terms before negative ones, fields before numbers, and 1 last."""
    number, rest = term.as_coeff_Mul()
    orders = sorted(_factor_key(f)[0] for f in Mul.make_args(rest))
    return (
        bool(number.is_negative),
        rest == 1,
        not (is_field(term) or term.has(At)),
        orders,
        len(str(term)),
        str(term),
    )
