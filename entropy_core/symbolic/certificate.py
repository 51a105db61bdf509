r"""Certificates: goal = Σ multiplier × residual, so that the goal is 0 wherever the hypotheses hold.

Where a result rests on equations that are not solved (Bellman, flow, normal equations), stating the
multipliers proves it for any number of states and actions, without an inverse. Expressions here are in sums
or in tables (`tables`), not point-free.
"""

from dataclasses import dataclass
from random import Random

import mpmath
from sympy import Expr, KroneckerDelta, Mul, Sum, Symbol, sympify

from entropy_core.symbolic.derivation import Statement
from entropy_core.symbolic.evaluation import MpmathArithmetic
from entropy_core.symbolic.exact import ExactArithmetic
from entropy_core.symbolic.printing import latex
from entropy_core.symbolic.sums import is_zero
from entropy_core.symbolic.tables import Entry, unfold
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
        name: LaTeX symbol of the residual; tables print themselves and need none.
        residual: expression in sums; bound indices must be Dummies.
        index: the index it holds for, a tuple of such indices, or None for a single equation.
        size: symbol for the number of values of the index; a tuple if `index` is one.
    """

    name: str
    residual: Expr
    index: Symbol | tuple | None = None
    size: Symbol | tuple | None = None

    @property
    def limits(self):
        """The range of each index, as `Sum` takes it."""
        if self.index is None:
            return ()
        several = isinstance(self.index, tuple)
        pairs = zip(self.index, self.size, strict=True) if several else [(self.index, self.size)]
        return tuple((index, 1, size) for index, size in pairs)


@dataclass(frozen=True)
class Certificate:
    """A proved equality goal = Σ multiplier × residual.

    Args:
        goal: expression that the hypotheses make 0, or the `Statement` of the equality that they imply.
        terms: pairs (multiplier, hypothesis); the multiplier may depend on the hypothesis' index.

    Raises:
        WrongCertificate: if one of the three checks fails.
    """

    goal: Expr | Statement
    terms: tuple

    def __post_init__(self):
        """Prove it, in general, exactly and to 50 digits."""
        difference = unfold(self.difference) - sum(_summed(*term) for term in self.terms)
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
    def difference(self):
        """The goal as one expression, left side minus right side."""
        goal = self.goal
        return goal.left - goal.right if isinstance(goal, Statement) else sympify(goal)

    @property
    def statement(self):
        """The equality that holds wherever the hypotheses do; prints as display LaTeX."""
        return self.goal if isinstance(self.goal, Statement) else Statement(sympify(self.goal), sympify(0))

    @property
    def latex(self):
        """LaTeX of the combination: the goal's multipliers beside the residuals."""
        return " + ".join(_term_latex(*term) for term in self.terms).replace("+ -", "- ")

    @property
    def how_checked(self):
        """The quiet line below: which checks the combination has passed."""
        return (
            "proved for every size of the index sets · "
            f"exact for sizes {SIZES[0]}…{SIZES[-1]} · {DIGITS} digits"
        )

    def _repr_latex_(self):
        if not self.terms:
            return self.statement._repr_latex_()
        if not isinstance(self.goal, Statement):
            return f"$$\n0 = {self.latex}\n$$"
        first, *rest = (_term_latex(*term) for term in self.terms)
        rows = [latex(self.difference), f"= {first}", *(rf"\quad {_signed(term)}" for term in rest)]
        body = " \\\\\n".join(f"&{row}" for row in rows)
        return f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"

    def _ipython_display_(self):
        from IPython.display import display

        display({"text/latex": self._repr_latex_(), "text/plain": str(self.difference)}, raw=True)
        quiet = f'<p class="how-checked"><em>{self.how_checked}</em></p>'
        display({"text/html": quiet, "text/plain": self.how_checked}, raw=True)


def _signed(term):
    return f"{{}} - {term[1:]}" if term.startswith("-") else f"{{}} + {term}"


def _summed(multiplier, hypothesis):
    product = unfold(Mul(multiplier, hypothesis.residual))
    return Sum(product, *hypothesis.limits) if hypothesis.limits else product


def _term_latex(multiplier, hypothesis):
    if hypothesis.residual.has(Entry):
        return _tables_latex(multiplier * hypothesis.residual, hypothesis.limits)
    sign, size = multiplier.as_coeff_Mul()
    front = "-" if sign == -1 else "" if sign == 1 else latex(sign)
    factor = rf"\left({latex(size)}\right)" if size.is_Add else latex(size)
    if hypothesis.index is None:
        return rf"{front}{factor} \, {hypothesis.name}"
    index = latex(hypothesis.index)
    return rf"{front}\sum_{{{index}}} {factor} \, {hypothesis.name}_{{{index}}}"


def _tables_latex(product, limits):
    number, size = product.as_coeff_Mul()
    front = {1: "", -1: "-"}.get(number, rf"{latex(number)} \, ")
    total = rf"\sum_{{{', '.join(latex(index) for index, *_ in limits)}}} " if limits else ""
    return f"{front}{total}{latex(size)}"


def _sizes(expression, base):
    """Different sizes for different index sets, so that swapping two of them is noticed."""
    uppers = sorted({limits[2] for total in expression.atoms(Sum) for limits in total.limits}, key=str)
    return {upper: base + k for k, upper in enumerate(uppers)}


def _free_indices(expression):
    """Places for the free indices: different ones, and where a delta might tell, equal ones too."""
    sizes = {limits[2] for total in expression.atoms(Sum) for limits in total.limits}
    free = [s for s in sorted(expression.free_symbols - sizes, key=str) if s.is_integer]
    apart, together = {s: 1 + k % 2 for k, s in enumerate(free)}, dict.fromkeys(free, 1)
    return [apart, together] if expression.has(KroneckerDelta) else [apart]


def _vanishes_exactly(expression, base):
    numbers = ExactArithmetic(f"certificate {base}")
    walk = Unrolled(numbers, _sizes(expression, base), numbers.draw)
    return all(numbers.vanishes(walk(expression, indices)) for indices in _free_indices(expression))


def _vanishes_numerically(expression, base):
    random = Random(f"certificate {base}")
    with mpmath.workdps(DIGITS + 20):
        walk = Unrolled(
            MpmathArithmetic, _sizes(expression, base), lambda: mpmath.mpf(random.randint(1, 999)) / 500
        )
        values = [walk(expression, indices) for indices in _free_indices(expression)]
        return all(abs(value) < mpmath.mpf(10) ** (-DIGITS) for value in values)
