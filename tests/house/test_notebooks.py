"""Chapters are committed executed, in short cells, and nothing in them goes unchecked."""

import nbformat
import pytest
from nbformat import from_dict
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.house import notebook_rules
from tests.house.places import NOTEBOOKS, deciding_cells, name_of

ERROR = new_output("error", ename="ValueError", evalue="", traceback=[])


def chapter(*cells, **metadata):
    """Return a notebook of these cells, counted as executed."""
    for count, cell in enumerate(cells, start=1):
        cell.execution_count = cell.execution_count or count
    title = new_markdown_cell("# A", id="title")
    return from_dict({**new_notebook(metadata=metadata), "cells": [title, *cells]})


def cell(source="x = 1", name="one-step", tags=(), **more):
    """Return a code cell."""
    return new_code_cell(source, id=name, metadata={"tags": list(tags)} if tags else {}, **more)


def stripped(notebook):
    """Return the notebook as a tool that removes outputs leaves it."""
    for code in notebook_rules.code_cells(notebook):
        code.execution_count, code.outputs = None, []
    return notebook


BAD = {
    "stripped": (notebook_rules.unexecuted, stripped(chapter(cell()))),
    "run out of order": (notebook_rules.unexecuted, chapter(cell(execution_count=7))),
    "error": (notebook_rules.unexpected_errors, chapter(cell(outputs=[ERROR]))),
    "no error": (notebook_rules.unexpected_errors, chapter(cell(tags=["raises-exception"]))),
    "long": (notebook_rules.too_long, chapter(cell("x = 1\n" * 13))),
    "def": (notebook_rules.definitions, chapter(cell("def f(x):\n    return x"))),
    "class": (notebook_rules.definitions, chapter(cell("if x:\n    class A: pass"))),
    "magic": (notebook_rules.tricks, chapter(cell("%matplotlib inline"))),
    "shell": (notebook_rules.tricks, chapter(cell("!ls"))),
    "path": (notebook_rules.tricks, chapter(cell("import sys; sys.path.insert(0, '..')"))),
    "random id": (notebook_rules.nameless, chapter(cell(name="0f3a9c1e"))),
    "numbered id": (notebook_rules.nameless, chapter(cell(name="cell-03"))),
    "capital id": (notebook_rules.nameless, chapter(cell(name="Step"))),
    "same id": (notebook_rules.nameless, chapter(cell(), cell())),
    "version": (
        notebook_rules.machine_metadata,
        chapter(cell(), language_info={"name": "python", "version": "3.11"}),
    ),
    "editor": (notebook_rules.machine_metadata, chapter(cell(), vscode={})),
    "thrown away": (notebook_rules.pointless_code, chapter(cell("np.allclose(a, b)\nx = 1"))),
    "assert a tuple": (notebook_rules.pointless_code, chapter(cell("assert (x == 1, 'x')"))),
}

GOOD = chapter(
    cell("import numpy as np\nnp.allclose(1, 1)", "imports"),
    cell("plot(x)", "figure", tags=["nbval-ignore-output"]),
    cell("assert x == 1, 'x is one'", "figure-data"),
    cell("1 / 0", "wrong-sign", tags=["raises-exception"], outputs=[ERROR]),
    kernelspec={"name": "python3", "display_name": "Python 3", "language": "python"},
)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_chapter_keeps_the_rules(path):
    notebook = nbformat.read(path, as_version=4)
    found = [what for rule in notebook_rules.RULES for what in rule(notebook)]
    found += notebook_rules.unguarded(notebook, deciding_cells(path))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("sample", BAD)
def test_rule_finds_the_bad_sample(sample):
    rule, notebook = BAD[sample]
    assert len(rule(notebook)) == 1


@pytest.mark.parametrize("rule", notebook_rules.RULES, ids=lambda rule: rule.__name__)
def test_rule_lets_the_good_sample_pass(rule):
    assert rule(GOOD) == []


@pytest.mark.parametrize(
    ("cells", "deciding", "findings"),
    [
        ([cell("plot(x)", "figure", tags=["nbval-ignore-output"])], set(), 1),
        ([cell("plot(x)", "figure", tags=["nbval-ignore-output"])], {"figure"}, 0),
        ([cell("# NBVAL_IGNORE_OUTPUT\nplot(x)", "figure"), cell("x = 2", "next")], set(), 1),
        ([cell("plot(x)", "figure", tags=["nbval-ignore-output"]), cell("assert x", "next")], set(), 0),
        ([cell("assert plot(x)", "figure", tags=["nbval-ignore-output"])], set(), 0),
        ([cell("assert x", "figure", tags=["nbval-skip"])], {"figure"}, 1),
    ],
)
def test_output_that_is_not_compared_is_checked_otherwise(cells, deciding, findings):
    assert len(notebook_rules.unguarded(chapter(*cells), deciding)) == findings
