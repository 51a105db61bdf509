"""Rules for chapters, each a function from the notebook to the places that break it."""

import ast
import re

from nbformat import NotebookNode

from tests.house.code_rules import thrown_away_comparisons, vacuous_asserts

MOST_LINES = 12
ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
RANDOM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f-]+)?|cell-\d+")
METADATA = {"kernelspec": {"display_name", "language", "name"}, "language_info": {"name"}}
TRICKS = re.compile(
    r"^\s*[%!]|\bsys\.path\b|\bpip\b|\bget_ipython\b|\bos\.chdir\b|__file__|\bsubprocess\b", re.MULTILINE
)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> set[str]:
    """Return the tags of a cell."""
    return set(cell.metadata.get("tags", []))


def each_cell(notebook: NotebookNode, what: str, breaks) -> list[str]:
    """Return one line for each code cell that breaks a rule."""
    return [f"cell {cell.get('id')}: {what}" for cell in code_cells(notebook) if breaks(cell)]


def unexecuted(notebook: NotebookNode) -> list[str]:
    """Find chapters that were not run from top to bottom: without a count nothing is compared."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    in_order = counts == list(range(1, len(counts) + 1))
    return [] if in_order else [f"execution counts {counts}: run `make execute` and commit the outputs"]


def unexpected_errors(notebook: NotebookNode) -> list[str]:
    """Find stored errors in cells that do not announce one, and announced errors that did not come."""

    def stores_error(cell: NotebookNode) -> bool:
        return any(output.output_type == "error" for output in cell.outputs)

    silent = each_cell(
        notebook, "its output is an error", lambda c: stores_error(c) and "raises-exception" not in tags(c)
    )
    return silent + each_cell(
        notebook,
        "announces an error and stores none",
        lambda c: "raises-exception" in tags(c) and not stores_error(c),
    )


def too_long(notebook: NotebookNode) -> list[str]:
    """Find cells of more lines than a reader takes in at once."""
    return each_cell(
        notebook,
        f"more than {MOST_LINES} lines",
        lambda c: len([line for line in c.source.splitlines() if line.strip()]) > MOST_LINES,
    )


def definitions(notebook: NotebookNode) -> list[str]:
    """Find cells that define what the package should have, with a test."""

    def defines(cell: NotebookNode) -> bool:
        return re.search(r"^\s*(async\s+def|def|class)\s", cell.source, re.MULTILINE) is not None

    return each_cell(notebook, "defines something; move it into the package", defines)


def tricks(notebook: NotebookNode) -> list[str]:
    """Find magics, shell commands, installs and changes of the path."""
    return each_cell(notebook, "magic, shell, pip or path trick", lambda c: TRICKS.search(c.source))


def nameless(notebook: NotebookNode) -> list[str]:
    """Find cells whose id is not made of words, since claims and readers refer to cells by their id."""
    ids = [cell.get("id", "") for cell in notebook.cells]
    code = [cell.get("id", "") for cell in code_cells(notebook)]
    return [
        f"id {i!r} is not kebab-case words" for i in code if not ID.fullmatch(i) or RANDOM_ID.fullmatch(i)
    ] + [f"id {i!r} is used twice" for i in sorted(set(ids)) if ids.count(i) > 1]


def machine_metadata(notebook: NotebookNode) -> list[str]:
    """Find metadata that tell of a machine, a moment or an editor."""
    found = [f"notebook metadata {key}" for key in notebook.metadata if key not in METADATA]
    for key, allowed in METADATA.items():
        found += [f"notebook metadata {key}.{k}" for k in notebook.metadata.get(key, {}) if k not in allowed]
    strange = [(c.get("id"), k) for c in notebook.cells for k in c.metadata if k not in ("tags", "mystnb")]
    return found + [f"cell {name}: metadata {key}" for name, key in strange]


def asserts(cell: NotebookNode) -> bool:
    """Whether a cell asserts something."""
    try:
        return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))
    except SyntaxError:
        return False


def unguarded(notebook: NotebookNode, deciding: set[str]) -> list[str]:
    """Find cells whose output is not compared though nothing else checks them.

    Args:
        notebook: the chapter.
        deciding: the ids of its cells that decide a claim.

    Returns:
        The cells that are skipped; and the cells that ignore their output, hold no assert, are not
        followed by a cell that asserts, and decide no claim.
    """
    cells = code_cells(notebook)
    found = each_cell(notebook, "is skipped", lambda c: "nbval-skip" in tags(c) or "NBVAL_SKIP" in c.source)
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        ignores = "nbval-ignore-output" in tags(cell) or "NBVAL_IGNORE_OUTPUT" in cell.source
        guarded = (
            asserts(cell) or (following is not None and asserts(following)) or cell.get("id") in deciding
        )
        if ignores and not guarded:
            found.append(
                f"cell {cell.get('id')}: ignores its output, and no assert stands in it or in the next cell"
            )
    return found


def pointless_code(notebook: NotebookNode) -> list[str]:
    """Find comparisons thrown away before a cell's last line, and asserts that cannot fail."""
    found = []
    for cell in code_cells(notebook):
        try:
            body = ast.parse(cell.source).body
        except SyntaxError:
            found.append(f"cell {cell.get('id')}: is not Python")
            continue
        shown = 1 if body and isinstance(body[-1], ast.Expr) else 0  # the last value of a cell is displayed
        source = "\n".join(ast.unparse(statement) for statement in body[: len(body) - shown])
        found += [
            f"cell {cell.get('id')}: {what}"
            for what in thrown_away_comparisons(source) + vacuous_asserts(source)
        ]
    return found


RULES = (
    unexecuted,
    unexpected_errors,
    too_long,
    definitions,
    tricks,
    nameless,
    machine_metadata,
    pointless_code,
)
