"""Whatever fails, fails loudly: each defect of a book of one chapter stops `make book`.

The book stands in a copy of the house with the real Makefile, conftest, settings, extensions and rules; only
the package, the chapter and its tests are small: a build takes seconds. The copy does not hold this file.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book._tools.execute import METADATA

ROOT = Path(__file__).parents[2]
HOUSE = ("Makefile", "conftest.py", "pyproject.toml", "requirements.txt", "_config.yml", "tests/sanitize.cfg")
RULES = ("places.py", "code_rules.py", "notebook_rules.py", "test_notebooks.py")

DRIFT = '''"""A package of one function."""

__all__ = ["drift"]


def drift(covariance):
    """Return how entropy moves."""
    return -covariance
'''

TEST = """import pytest

from entropy_core import drift


@pytest.mark.claim("drift-sign")
def test_drift():
    assert drift(2.0) == -2.0


@pytest.mark.claim("drift-cell")
def test_twice():
    assert drift(drift(2.0)) == 2.0
"""

CLAIM = """# Drift

The sign is {claim}`drift-sign`, and {claim}`drift-cell` says it again.

```{claim} drift-sign
:title: The sign
:status: proved-for-all-n
:check: tests/test_drift.py::test_drift

Entropy falls.
```

```{claim} drift-cell
:title: The sign once more
:status: measured
:check: book/chapter.ipynb#falls tests/test_drift.py::test_twice

Entropy falls here.
```
"""

CELLS = {
    "imports": "from pathlib import Path\n\nfrom entropy_core import drift",
    "count": 'with Path("runs.txt").open("a") as runs:\n    _ = runs.write("run\\n")',
    "value": "drift(0.5)",
    "falls": 'assert drift(0.5) < 0, "entropy falls"',
}

TOC = "format: jb-book\nroot: book/intro\nchapters:\n  - file: book/chapter\n  - file: book/ledger\n"


def make(place, *targets):
    """Run make in a copy, its own package before the installed one; return status and what it printed."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV", "MAKE", "MFLAGS"))}
    keep["PYTHONPATH"] = str(place)
    command = ["make", *targets, "READY=", "LINT=", f"VENV={sys.prefix}", "JOBS=0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    run = subprocess.run(command, cwd=place, env=keep, text=True, check=False, **pipes)
    return run.returncode, run.stdout


def edit(path, old, new):
    """Replace a text that stands once in a file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


def write(place, files):
    """Write small files."""
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a copy of the house in which `make book` went well from clean, and what it printed."""
    place = tmp_path_factory.mktemp("house")
    for name in HOUSE:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    for folder in ROOT.glob("book/_*"):
        shutil.copytree(folder, place / "book" / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / "tests/house", place / "tests/house", ignore=lambda _, names: set(names) - set(RULES)
    )
    cells = [new_markdown_cell("# A chapter", id="title")]
    for count, (name, source) in enumerate(CELLS.items(), start=1):
        cells.append(new_code_cell(source, id=name, execution_count=count))
    cells[3].outputs = [new_output("execute_result", data={"text/plain": "-0.5"}, execution_count=3)]
    write(
        place,
        {
            "entropy_core/__init__.py": DRIFT,
            "tests/test_drift.py": TEST,
            "book/intro.md": CLAIM,
            "book/ledger.md": "# Ledger\n\n```{claim-ledger}\n```\n",
            "book/references.bib": "",
            "book/chapter.ipynb": nbformat.writes(new_notebook(cells=cells, metadata=METADATA)),
            "_toc.yml": TOC,
        },
    )
    status, printed = make(place, "book")
    assert status == 0, printed
    return place, printed


@pytest.fixture
def house(built, tmp_path):
    """Return a fresh copy of the built house, to be spoilt."""
    return Path(shutil.copytree(built[0], tmp_path / "house", symlinks=True))


def chapter_of(house):
    """Return the chapter of a copy and where it stands."""
    path = house / "book/chapter.ipynb"
    return nbformat.read(path, as_version=4), path


def test_from_clean_each_chapter_is_executed_once(built):
    place, printed = built
    assert (place / "book/runs.txt").read_text() == "run\n"
    assert (place / "_build/html/book/chapter.html").is_file()
    assert printed.rstrip().endswith("_build/html/index.html")


def test_cell_that_raises(house):
    chapter, path = chapter_of(house)
    chapter.cells.append(new_code_cell("1 / 0", id="zero", execution_count=5))
    nbformat.write(chapter, path)
    status, printed = make(house, "book")
    assert status != 0
    assert "ZeroDivisionError" in printed


def test_stripped_notebook(house):
    chapter, path = chapter_of(house)
    for cell in chapter.cells[1:]:
        cell.execution_count, cell.outputs = None, []
    nbformat.write(chapter, path)
    status, printed = make(house, "book")
    assert status != 0
    assert "execution counts [None, None, None, None]" in printed


def test_altered_output(house):
    edit(house / "book/chapter.ipynb", '"-0.5"', '"-0.4"')
    status, printed = make(house, "book")
    assert status != 0
    assert "Cell outputs differ" in printed


def test_sign_flipped_in_the_package_after_a_green_build(house):
    edit(house / "entropy_core/__init__.py", "return -covariance", "return covariance")
    status, printed = make(house, "book")
    assert status != 0
    assert "something changed since the last test run" in printed
    assert "entropy falls" in printed
    assert not (house / "_build/stamp").exists()


def test_claims_without_their_checks(house):
    page = house / "book/intro.md"
    edit(page, "test_drift.py::test_drift", "test_drift.py::test_absent")
    edit(page, "chapter.ipynb#falls", "chapter.ipynb#rises")
    edit(page, "and {claim}`drift-cell`", "and {claim}`drift-cells`")
    status, printed = make(house, "book")
    assert status != 0
    assert "passed" not in printed, "prose alone does not run the tests again"
    for complaint in ("test_absent is not run", "#rises is not run", "unknown claim 'drift-cells'"):
        assert complaint in printed


def test_claims_whose_tests_are_skipped_or_removed(house):
    edit(house / "tests/test_drift.py", "def test_drift", '@pytest.mark.skip(reason="later")\ndef test_drift')
    edit(house / "tests/test_drift.py", "def test_twice", "def twice")
    status, printed = make(house, "book")
    assert status != 0
    assert "test_drift is skipped" in printed
    assert "test_twice is not run" in printed
