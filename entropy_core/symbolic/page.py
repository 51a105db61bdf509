"""A derivation as HTML: one row a line, its reason at the right where there is room, else below.

The formulas stay LaTeX between delimiters that MathJax reads, in the book and in JupyterLab. The styles that
a notebook needs stand inline; the book's style sheet adds what a narrow screen needs.
"""

import re
from html import escape

__all__ = ["derivation_html"]

_GRID = "display:grid; grid-template-columns:max-content minmax(0,1fr); gap:0.6em 0.4em; align-items:center"
_ROW = "display:flex; flex-wrap:wrap; column-gap:2em; align-items:center; justify-content:space-between"


def derivation_html(start, lines, how_checked):
    """Return the rows of a derivation and the quiet line below them.

    Args:
        start: LaTeX of the expression on the left.
        lines: (LaTeX of the right-hand side, reason) of each line; mathematics in a reason stands between
            dollar signs.
        how_checked: words of the quiet line.

    Returns:
        HTML; equal arguments give equal text.
    """
    rows = [_row(start if k == 0 else "", right, reason) for k, (right, reason) in enumerate(lines)]
    grid = f'<div class="derivation" style="{_GRID}">\n{"".join(rows)}</div>'
    return f'{grid}\n<p class="how-checked"><em>{escape(how_checked)}</em></p>'


def _row(left, right, reason):
    formula = f'<div class="derivation-formula">{_mathematics("= " + right)}</div>'
    words = f'<div class="derivation-reason">{_reason(reason)}</div>'
    left = _mathematics(left) if left else ""
    return f'<div class="derivation-left">{left}</div><div style="{_ROW}">{formula}{words}</div>\n'


def _reason(reason):
    """Words as text, what stands between dollar signs as mathematics."""
    pieces = re.split(r"\$(.*?)\$", reason)
    return "".join(_formula(piece) if k % 2 else escape(piece) for k, piece in enumerate(pieces) if piece)


def _mathematics(latex):
    return _formula(r"\displaystyle " + latex)


def _formula(latex):
    return rf'<span class="math notranslate nohighlight">\({escape(latex)}\)</span>'
