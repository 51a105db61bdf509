r"""Derivations: a chain of equal expressions in which every line is checked before the next may follow.

    lemma = Derivation(Dt(entropy)).by(product_rule).by(score).by(score_has_mean_zero)
    lemma.to(-Cov(log_probs, delta_logits), "definition of the covariance")

A line comes either from a rule, which produces it, or from `to`, which states it. Either way it is accepted
only if the general proof, the exact check and the 50-digit check all pass.
"""

import re
from dataclasses import dataclass, replace

from sympy import Expr, sympify

from entropy_core.symbolic.fields import (
    Path,
    any_path,
)
from entropy_core.symbolic.page import derivation_html
from entropy_core.symbolic.printing import latex
from entropy_core.symbolic.verification import DIGITS, SIZES, check

__all__ = ["Derivation", "Line", "Statement", "WrongLine"]


class WrongLine(AssertionError):
    """A line of a derivation that does not equal the line before it.

    Args:
        number: number of the line, the start being line 0.
        left: the line before.
        right: the line refused.
        reason: the reason given for it.
        verdict: what the three checks said.
    """

    def __init__(self, number, left, right, reason, verdict):
        self.number, self.left, self.right, self.verdict = number, left, right, verdict
        lines = [
            f"line {number} ({reason}) does not follow from the line before it:",
            f"  left:  {left}",
            f"  right: {right}",
            f"  failed: {', '.join(verdict.failed)}",
        ]
        lines.append(
            f"  {verdict.counterexample or 'no counterexample found: true, perhaps, but not proved'}"
        )
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class Line:
    """One line: an expression and the reason it equals the one before."""

    expression: Expr
    reason: str = ""


@dataclass(frozen=True)
class Statement:
    """An equality that a derivation has proved; prints as display LaTeX, also through `glue:math`."""

    left: Expr
    right: Expr

    @property
    def latex(self):
        """LaTeX of the equality, without delimiters."""
        return f"{latex(self.left)} = {latex(self.right)}"

    def _repr_latex_(self):
        return f"$$\n{self.latex}\n$$"


@dataclass(frozen=True, repr=False)
class Derivation:
    r"""A chain of equalities, each proved when it is added.

    Args:
        start: the expression on the left.
        along: how the logits move under a derivative.
        lines: for internal use; grows by `by` and `to`.
    """

    start: Expr
    along: Path = any_path
    lines: tuple = ()

    def __post_init__(self):
        """Let numbers and strings of SymPy in as expressions."""
        object.__setattr__(self, "start", sympify(self.start))

    @property
    def last(self):
        """The expression reached so far."""
        return self.lines[-1].expression if self.lines else self.start

    def by(self, rule):
        """Return the derivation with the line that a rule produces.

        Args:
            rule: a `Rule`; its reason is printed beside the line.

        Raises:
            ValueError: if the rule changes nothing here.
            WrongLine: if what it produces is not equal.
        """
        produced = rule(self.last)
        if produced == self.last:
            raise ValueError(f"{rule.name} changes nothing in line {len(self.lines)}: {self.last}")
        return self.to(produced, rule.reason_for(self.last))

    def to(self, target, reason="rearrange"):
        r"""Return the derivation with a stated line.

        Args:
            target: the expression claimed to equal the last line.
            reason: words printed beside it, LaTeX between dollar signs.

        Raises:
            WrongLine: if one of the three checks fails; the message has the line number, both sides and, if
                there is one, a point where they differ.
        """
        target = sympify(target)
        verdict = check(self.last, target, self.along)
        if not verdict.holds:
            raise WrongLine(len(self.lines) + 1, self.last, target, reason, verdict)
        return replace(self, lines=(*self.lines, Line(target, reason)))

    @property
    def statement(self):
        """The equality of the first and the last line."""
        return Statement(self.start, self.last)

    @property
    def latex(self):
        """LaTeX of the aligned lines with their reasons, without delimiters."""
        rows = [f"{latex(line.expression)} && {_reason_latex(line.reason)}" for line in self.lines]
        rows = (
            [f"{latex(self.start)} &= {rows[0]}", *[f"&= {row}" for row in rows[1:]]]
            if rows
            else [latex(self.start)]
        )
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"

    @property
    def how_checked(self):
        """The quiet line below: which checks every line has passed."""
        return f"proved for every number of actions · exact for n = {SIZES[0]}…{SIZES[-1]} · {DIGITS} digits"

    def __repr__(self):
        return "\n= ".join(
            [str(self.start), *[f"{line.expression}    ({line.reason})" for line in self.lines]]
        )

    def _repr_latex_(self):
        return f"$$\n{self.latex}\n$$"

    def _repr_html_(self):
        lines = [(latex(line.expression), line.reason) for line in self.lines]
        return derivation_html(latex(self.start), lines, self.how_checked)


def _reason_latex(reason):
    r"""Words as \text, what stands between dollar signs as mathematics."""
    pieces = re.split(r"\$(.*?)\$", reason)
    return "".join(piece if k % 2 else rf"\text{{{piece}}}" for k, piece in enumerate(pieces) if piece)
