"""Docstrings are written for the editor and read on the page; here they find the form of the page.

``Source: claim `entropy-lemma`; [cui2025entropy, Lemma 1]`` becomes a section with links to the claim and the
bibliography, so no docstring can name a claim or a key that the book does not have. A bar means an absolute
value, which reStructuredText would read as a substitution.
"""

import re

from sphinx.application import Sphinx

_INLINE_SECTION = re.compile(r"^( *)(Source|Numerics): +(\S.*)$")
_CLAIM = re.compile(r"(\bclaims?|,|\band) `([a-z0-9-]+)`")
_CITATION = re.compile(r"\[([a-z]+\d{4}[a-z]*)((?:, [^]]*)?)\]")


def rewrite(app: Sphinx, what: str, name: str, obj: object, options: dict, lines: list[str]) -> None:
    """Rewrite one docstring in place, before napoleon reads its sections."""
    lines[:] = [part for line in lines for part in _sections(_bars(line))]
    start = next((k for k, line in enumerate(lines) if line.strip() == "Source:"), len(lines))
    for k in range(start + 1, len(lines)):
        if not lines[k].strip():
            break
        lines[k] = _CITATION.sub(r":cite:t:`\1`\2", _CLAIM.sub(r"\1 :claim:`\2`", lines[k]))


def _bars(line: str) -> str:
    if line.lstrip().startswith(">>>"):
        return line
    return re.sub(r"(``.*?``)|\|", lambda m: m[1] or r"\|", line)


def _sections(line: str) -> list[str]:
    found = _INLINE_SECTION.match(line)
    return [f"{found[1]}{found[2]}:", f"{found[1]}    {found[3]}"] if found else [line]


def setup(app: Sphinx) -> dict:
    """Register with Sphinx, before napoleon (priority 500)."""
    app.connect("autodoc-process-docstring", rewrite, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
