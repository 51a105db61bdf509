"""The ledger lets no unchecked claim through: each defect is one warning, and a sound book has none.

The truth is in the sample books: each differs from the sound one in the single defect its test names.
"""

import io
import json
import re
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

EXTENSIONS = Path(__file__).parents[2] / "book" / "_ext"
LEMMA_TEST = "tests/test_lemma.py::test_lemma"

CLAIM = """
:::{claim} lemma
:title: The lemma
:status: proved-for-all-n
:check: tests/test_lemma.py::test_lemma
:theorem: thm-lemma

Entropy falls by $x$.
:::
"""
THEOREM = """
:::{prf:theorem} Lemma
:label: thm-lemma

It falls.
:::
"""
REFERENCE = "\nAs {claim}`lemma` says.\n"
LEDGER = "# Ledger\n\n```{claim-ledger}\n```\n\n```{test-run}\n```\n"
SOUND = "# Chapter\n" + THEOREM + CLAIM + REFERENCE


def passed(name="test_lemma", claim="lemma", **properties):
    """One passed case of tests/test_lemma.py, as the JUnit file has it."""
    return case("tests/test_lemma.py", name, "", {"claim": claim} | properties)


def case(file, name, child, properties):
    """One test case as XML; ``child`` is its failure or skip, if any."""
    listed = "".join(f"<property name={quoteattr(k)} value={quoteattr(v)}/>" for k, v in properties.items())
    classname = file.removesuffix(".py").replace("/", ".")
    where = f"classname={quoteattr(classname)} name={quoteattr(name)} file={quoteattr(file)}"
    return f'<testcase {where} time="0.5"><properties>{listed}</properties>{child}</testcase>'


def cells(*ids, failing=None):
    """The cells of book/chapter.ipynb in order, one of them failing."""
    file = "book/chapter.ipynb"
    return [
        case(
            file,
            f"Cell {k}",
            "<failure/>" if name == failing else "",
            {"cell": name, "glue:error": "'3e-16'"},
        )
        for k, name in enumerate(ids)
    ]


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build a book of one chapter and a ledger; give back its warnings and the folder of its pages."""
    monkeypatch.syspath_prepend(EXTENSIONS)

    def run(chapter, cases, fillers=0, extensions=("sphinx_proof",), parallel=0):
        pages = {"book/chapter": chapter, "book/ledger": LEDGER}
        pages |= {f"filler{k}": f"# Filler {k}\n{REFERENCE}" for k in range(fillers)}
        pages["index"] = "# Book\n\n```{toctree}\n" + "\n".join(pages) + "\n```\n"
        (tmp_path / "book").mkdir(exist_ok=True)
        for name, text in pages.items():
            write_if_new(tmp_path / f"{name}.md", text)
        (tmp_path / "tests.xml").write_text(
            f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"
        )
        warnings = io.StringIO()
        with docutils_namespace():
            app = Sphinx(
                tmp_path,
                None,
                tmp_path / "out",
                tmp_path / "doctrees",
                "html",
                confoverrides={
                    "extensions": ["myst_parser", *extensions, "claims"],
                    "myst_enable_extensions": ["colon_fence", "dollarmath"],
                    "claims_junit": "tests.xml",
                    "html_theme": "basic",
                    "exclude_patterns": ["out", "doctrees"],
                },
                status=None,
                warning=warnings,
                parallel=parallel,
            )
            app.build()
        lines = re.sub(r"\x1b\[[0-9;]*m", "", warnings.getvalue()).splitlines()
        return [line for line in lines if line], tmp_path / "out"

    yield run
    for name in ("claims", "junit"):
        sys.modules.pop(name, None)


def write_if_new(path, text):
    """Leave the time stamp of a page that did not change, so that Sphinx sees it as read."""
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def text_of(page):
    """What a page says, without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text()))


def test_sound_book_has_no_warning_and_prints_its_numbers(build):
    warnings, out = build(SOUND, [passed(**{"largest relative error": "1.2e-14"})])
    assert warnings == []
    box = text_of(out / "book" / "chapter.html")
    assert "proved for all n" in box
    assert "passed in this build, largest relative error = 1.2e-14" in box
    ledger = text_of(out / "book" / "ledger.html")
    assert "1 claims: 1 proved for all n. 1 of 1 passed in this build, which ran 1 tests" in ledger
    assert "Entropy falls by" in ledger, "the statement is repeated on the ledger page"
    assert "tests/test_lemma.py 1 0.5" in ledger, "the run is listed with its seconds"
    (record,) = json.loads((out / "_static" / "claims.json").read_text())
    assert record["outcome"] == "passed"
    assert record["measured"] == {"largest relative error": "1.2e-14"}


DEFECTS = {
    "unknown id": (SOUND + "\n{claim}`nobody`\n", [passed()], "unknown claim 'nobody'"),
    "declared twice": (SOUND + CLAIM, [passed()], "claim 'lemma' is declared twice"),
    "not run": (SOUND, [passed("test_other", "lemma")], f"its check {LEMMA_TEST} is not run"),
    "failed": (
        SOUND,
        [case("tests/test_lemma.py", "test_lemma", "<failure/>", {"claim": "lemma"})],
        f"its check {LEMMA_TEST} is failed",
    ),
    "raised": (
        SOUND,
        [passed(), case("tests/test_lemma.py", "test_lemma[5]", "<error/>", {"claim": "lemma"})],
        f"its check {LEMMA_TEST} is failed",
    ),
    "skipped": (
        SOUND,
        [case("tests/test_lemma.py", "test_lemma", "<skipped/>", {"claim": "lemma"})],
        f"its check {LEMMA_TEST} is skipped",
    ),
    "never referred to": ("# Chapter\n" + THEOREM + CLAIM, [passed()], "claim 'lemma' is never referred to"),
    "referred to only by itself": (
        SOUND.replace(REFERENCE, "").replace("Entropy falls", "By {claim}`lemma` entropy falls"),
        [passed()],
        "claim 'lemma' is never referred to",
    ),
    "mark without page": (
        SOUND,
        [passed(), passed("test_stray", "stray")],
        "no page declares the claim 'stray'",
    ),
    "check without mark": (
        SOUND,
        [case("tests/test_lemma.py", "test_lemma", "", {})],
        'is not marked @pytest.mark.claim("lemma")',
    ),
    "theorem without claim": (
        SOUND + THEOREM.replace("thm-lemma", "thm-bare"),
        [passed()],
        "theorem 'thm-bare' has no claim",
    ),
    "corollary without claim": (
        SOUND + THEOREM.replace("thm-lemma", "cor-bare").replace("prf:theorem", "prf:corollary"),
        [passed()],
        "corollary 'cor-bare' has no claim",
    ),
    "unknown theorem": (
        SOUND.replace(":theorem: thm-lemma", ":theorem: thm-lemma thm-none"),
        [passed()],
        "no theorem labelled 'thm-none'",
    ),
    "unknown value": (
        SOUND.replace(":theorem:", ":value: speed\n:theorem:"),
        [passed()],
        "recorded no value named 'speed'",
    ),
    "earlier cell failed": (
        SOUND.replace(LEMMA_TEST, "book/chapter.ipynb#decides"),
        cells("setup", "decides", failing="setup"),
        "its check book/chapter.ipynb#decides is failed",
    ),
    "unknown cell": (
        SOUND.replace(LEMMA_TEST, "book/chapter.ipynb#elsewhere"),
        cells("setup", "decides"),
        "its check book/chapter.ipynb#elsewhere is not run",
    ),
    "no status": (SOUND.replace(":status: proved-for-all-n\n", ""), [passed()], "needs the option :status:"),
    "no check": (SOUND.replace(f":check: {LEMMA_TEST}\n", ""), [passed()], "needs the option :check:"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_a_warning(build, defect):
    chapter, cases, expected = DEFECTS[defect]
    warnings, _ = build(chapter, cases)
    assert any(expected in line for line in warnings), f"{defect}: {warnings}"


ONE_WARNING = sorted(DEFECTS.keys() - {"no status", "no check", "raised", "failed", "skipped", "not run"})


@pytest.mark.parametrize("defect", ONE_WARNING)
def test_a_defect_causes_no_other_warning(build, defect):
    chapter, cases, expected = DEFECTS[defect]
    warnings, _ = build(chapter, cases)
    unrelated = [line for line in warnings if expected not in line]
    assert unrelated == []


def test_missing_junit_file_leaves_every_claim_unchecked(build, tmp_path):
    build(SOUND, [passed()])
    (tmp_path / "book" / "chapter.md").touch()
    warnings, out = build(SOUND, [])
    assert any("is not run" in line for line in warnings)
    assert "not run in this build" in text_of(out / "book" / "chapter.html")


def test_a_new_run_rewrites_pages_that_did_not_change(build):
    build(SOUND, [passed(error="1e-9")])
    warnings, out = build(SOUND, [passed(error="7e-9")])
    assert warnings == []
    assert "error = 7e-9" in text_of(out / "book" / "chapter.html")
    assert "error = 7e-9" in text_of(out / "book" / "ledger.html")


def test_parameters_print_as_a_range_of_numbers(build):
    runs = [
        passed("test_lemma[3]", error="2e-15"),
        passed("test_lemma[30]", error="1e-13"),
        passed("test_lemma[4]", error="9e-14"),
    ]
    warnings, out = build(SOUND, runs)
    assert warnings == []
    assert "error = 2e-15 to 1e-13" in text_of(out / "book" / "chapter.html")


def test_one_parameter_can_decide(build):
    runs = [passed("test_lemma[3]"), case("tests/test_lemma.py", "test_lemma[4]", "<skipped/>", {})]
    warnings, _ = build(SOUND.replace(LEMMA_TEST, LEMMA_TEST + "[3]"), runs)
    assert warnings == []


def test_another_test_with_the_mark_counts_too(build):
    warnings, out = build(SOUND, [passed(), passed("test_again")])
    assert warnings == []
    assert "tests/test_lemma.py::test_again" in text_of(out / "book" / "ledger.html")
    failing = case("tests/test_lemma.py", "test_again", "<failure/>", {"claim": "lemma"})
    warnings, _ = build(SOUND, [passed(), failing])
    assert any("test_again is failed" in line for line in warnings)


def test_a_marked_parameter_counts_and_its_unmarked_siblings_do_not(build):
    sibling = case("tests/test_lemma.py", "test_named[other]", "<failure/>", {})
    warnings, out = build(SOUND, [passed(), passed("test_named[lemma]"), sibling])
    assert warnings == []
    assert "tests/test_lemma.py::test_named[lemma]" in text_of(out / "book" / "ledger.html")
    failing = case("tests/test_lemma.py", "test_named[lemma]", "<failure/>", {"claim": "lemma"})
    warnings, _ = build(SOUND, [passed(), failing])
    assert any("::test_named is failed" in line for line in warnings)


def test_cell_decides_with_its_glued_number_and_a_later_failure_does_not_count(build):
    chapter = SOUND.replace(LEMMA_TEST, "book/chapter.ipynb#decides").replace(
        ":theorem:", ":value: error\n:theorem:"
    )
    warnings, out = build(chapter, cells("setup", "decides", "later", failing="later"))
    assert warnings == []
    assert "error = 3e-16;" in text_of(out / "book" / "chapter.html")


def test_unnumbered_theorem_needs_no_claim(build):
    chapter = SOUND + THEOREM.replace("thm-lemma", "thm-aside\n:nonumber:")
    warnings, _ = build(chapter, [passed()])
    assert warnings == []


def test_method_of_a_test_class_decides(build):
    classname = 'classname="tests.test_lemma.TestLemma" name="test_it" file="tests/test_lemma.py"'
    method = (
        f'<testcase {classname}><properties><property name="claim" value="lemma"/></properties></testcase>'
    )
    warnings, _ = build(SOUND.replace("::test_lemma", "::TestLemma::test_it"), [method])
    assert warnings == []


def test_parallel_reading_gives_the_same_ledger(build):
    chapter = "# Chapter\n" + CLAIM.replace(
        ":theorem: thm-lemma\n", ""
    )  # sphinx-proof cannot read in parallel
    warnings, out = build(chapter, [passed()], fillers=8, extensions=(), parallel=2)
    assert warnings == [], "Sphinx forks from six pages on; the only references stand on the fillers"
    assert "1 of 1 passed" in text_of(out / "book" / "ledger.html")
