r"""Certificates: goal = Σ multiplier × residual, so that the goal is 0 wherever the hypotheses hold.

Where a result rests on equations that are not solved (Bellman, flow, normal equations), stating the
multipliers proves it for any number of states and actions, without an inverse. Expressions here are sums, not
point-free.
"""

from dataclasses import dataclass
from random import Random

import mpmath
from sympy import Expr, Mul, Sum, Symbol, latex, sympify

from entropy_core.symbolic.evaluation import MpmathArithmetic
from entropy_core.symbolic.exact import ExactArithmetic
from entropy_core.symbolic.sums import is_zero
from entropy_core.symbolic.unrolled import Unrolled

__all__ = ["Certificate", "Hypothesis", "WrongCertificate"]

SIZES = range(2, 5)
DIGITS = 50


class WrongCertificate(AssertionError):
    """The goal is not the stated combination of residuals; the message names the checks that failed."""


@dataclass(frozen=True)
class Hypothesis:
    """An equation residual = 0 that is assumed, at every value of its index.

    Args:
        name: LaTeX symbol of the residual.
        residual: expression in sums; bound indices must be Dummies.
        index: the index it holds for, or None for a single equation.
        size: symbol for the number of values of the index.
    """

    name: str
    residual: Expr
    index: Symbol | None = None
    size: Symbol | None = None


@dataclass(frozen=True)
class Certificate:
    """A proved equality goal = Σ multiplier × residual.

    Args:
        goal: expression in sums that the hypotheses make 0.
        terms: pairs (multiplier, hypothesis); the multiplier may depend on the hypothesis' index.

    Raises:
        WrongCertificate: if one of the three checks fails.
    """

    goal: Expr
    terms: tuple

    def __post_init__(self):
        """Prove it, in general, exactly and to 50 digits."""
        difference = sympify(self.goal) - sum(_summed(*term) for term in self.terms)
        checks = {
            "every size": is_zero(difference),
            f"exact, sizes {SIZES[0]}..{SIZES[-1]}": all(_vanishes_exactly(difference, k) for k in SIZES),
            f"{DIGITS} digits": all(_vanishes_numerically(difference, k) for k in SIZES),
        }
        failed = [name for name, passed in checks.items() if not passed]
        if failed:
            raise WrongCertificate(
                f"the goal is not the combination of {len(self.terms)} residuals; failed: {', '.join(failed)}"
            )

    @property
    def latex(self):
        """LaTeX of the combination: the goal's multipliers beside the names of the residuals."""
        return " + ".join(_term_latex(*term) for term in self.terms).replace("+ -", "- ")

    def _repr_latex_(self):
        return f"$$\n0 = {self.latex}\n$$"


def _summed(multiplier, hypothesis):
    product = Mul(multiplier, hypothesis.residual)
    return product if hypothesis.index is None else Sum(product, (hypothesis.index, 1, hypothesis.size))


def _term_latex(multiplier, hypothesis):
    sign, size = multiplier.as_coeff_Mul()
    front = "-" if sign == -1 else "" if sign == 1 else latex(sign)
    factor = rf"\left({latex(size)}\right)" if size.is_Add else latex(size)
    if hypothesis.index is None:
        return rf"{front}{factor} \, {hypothesis.name}"
    index = latex(hypothesis.index)
    return rf"{front}\sum_{{{index}}} {factor} \, {hypothesis.name}_{{{index}}}"


def _sizes(expression, base):
    """Different sizes for different index sets, so that swapping two of them is noticed."""
    uppers = sorted({limits[2] for total in expression.atoms(Sum) for limits in total.limits}, key=str)
    return {upper: base + k for k, upper in enumerate(uppers)}


def _free_indices(expression):
    bound = {limits[0] for total in expression.atoms(Sum) for limits in total.limits}
    sizes = {limits[2] for total in expression.atoms(Sum) for limits in total.limits}
    return {
        s: 1 + k % 2
        for k, s in enumerate(sorted(expression.free_symbols - bound - sizes, key=str))
        if s.is_integer
    }


def _vanishes_exactly(expression, base):
    numbers = ExactArithmetic(f"certificate {base}")
    walk = Unrolled(numbers, _sizes(expression, base), numbers.draw)
    return numbers.vanishes(walk(expression, _free_indices(expression)))


def _vanishes_numerically(expression, base):
    random = Random(f"certificate {base}")
    with mpmath.workdps(DIGITS + 20):
        walk = Unrolled(
            MpmathArithmetic, _sizes(expression, base), lambda: mpmath.mpf(random.randint(1, 999)) / 500
        )
        return abs(walk(expression, _free_indices(expression))) < mpmath.mpf(10) ** (-DIGITS)
