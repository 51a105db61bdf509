"""What the test run of this build recorded: outcomes and measured numbers, by check.

A check is named as the book names it: ``tests/reference/test_softmax.py::test_entropy`` (a parametrised
test stands for all its parameters) or ``book/softmax-geometry.ipynb#jacobian`` (that cell and every cell
before it).
"""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

PASSED, FAILED, SKIPPED, NOT_RUN = "passed", "failed", "skipped", "not run"
_OWN_PROPERTIES = {"claim", "cell"}


@dataclass(frozen=True)
class Case:
    """One test case: a unit test with its parameters, or one notebook cell."""

    file: str
    name: str
    outcome: str
    seconds: float
    properties: tuple[tuple[str, str], ...]

    def values(self, key: str) -> list[str]:
        """Every value recorded under ``key``."""
        return [value for name, value in self.properties if name == key]

    @property
    def is_cell(self) -> bool:
        """Whether this case is a notebook cell."""
        return self.file.endswith(".ipynb")


@dataclass(frozen=True)
class TestRun:
    """All cases of one run, in the order in which they ran."""

    __test__ = False  # the name is for readers, not for pytest

    cases: tuple[Case, ...] = ()

    def of_check(self, check: str) -> list[Case]:
        """The cases that decide ``check``; none if it was not run."""
        if "#" in check:
            return self._up_to_cell(*check.split("#", 1))
        file, _, name = check.partition("::")
        name = name.replace("::", ".")
        return [c for c in self.cases if c.file == file and name in (c.name, c.name.split("[", 1)[0])]

    def _up_to_cell(self, notebook: str, cell: str) -> list[Case]:
        cells = [c for c in self.cases if c.file == notebook]
        ends = [k for k, c in enumerate(cells) if cell in c.values("cell")]
        return cells[: ends[0] + 1] if ends else []

    def marked(self) -> dict[str, set[str]]:
        """Claim id to the unit tests marked with it; of a test marked in part, the marked parameters."""
        tests: dict[str, list[Case]] = {}
        for case in self.cases:
            tests.setdefault(f"{case.file}::{case.name.split('[', 1)[0]}", []).append(case)
        marked: dict[str, set[str]] = {}
        for test, cases in tests.items():
            for claim in {value for case in cases for value in case.values("claim")}:
                carrying = [f"{c.file}::{c.name}" for c in cases if claim in c.values("claim")]
                marked.setdefault(claim, set()).update([test] if len(carrying) == len(cases) else carrying)
        return marked

    def glued(self, notebook: str) -> dict[str, str]:
        """The values that a notebook glued in this run, as plain text."""
        cases = (c for c in self.cases if c.file == notebook)
        pairs = (p for c in cases for p in c.properties if p[0].startswith("glue:"))
        return {name.removeprefix("glue:"): value.strip("'") for name, value in pairs}  # a string has quotes


def read(path: Path) -> TestRun:
    """The run recorded in a JUnit file; an empty run if there is none."""
    if not path.is_file():
        return TestRun()
    return TestRun(tuple(_case(element) for element in ElementTree.parse(path).getroot().iter("testcase")))


def outcome(cases: list[Case]) -> str:
    """One word for several cases: the worst of them."""
    found = {case.outcome for case in cases} or {NOT_RUN}
    return next(word for word in (FAILED, SKIPPED, NOT_RUN, PASSED) if word in found)


def measured(cases: list[Case]) -> dict[str, str]:
    """Recorded property to its value, or to the range of its values over several cases."""
    values: dict[str, list[str]] = {}
    for name, value in (pair for case in cases for pair in case.properties):
        if name not in _OWN_PROPERTIES and not name.startswith("glue:"):
            values.setdefault(name, []).append(value)
    return {name: _range(found) for name, found in values.items()}


def _range(values: list[str]) -> str:
    distinct = list(dict.fromkeys(values))
    if len(distinct) == 1:
        return distinct[0]
    try:
        ordered = sorted(distinct, key=float)
    except ValueError:
        return ", ".join(distinct)
    return f"{ordered[0]} to {ordered[-1]}"


def _case(element: ElementTree.Element) -> Case:
    file, name = _place(element)
    tags = {child.tag for child in element}
    bad = FAILED if tags & {"failure", "error"} else SKIPPED if "skipped" in tags else PASSED
    properties = tuple((p.get("name", ""), p.get("value", "")) for p in element.iter("property"))
    return Case(file, name, bad, float(element.get("time", 0)), properties)


def _place(element: ElementTree.Element) -> tuple[str, str]:
    """File and name; a test method is called ``Class.method``, as in its check with ``::``."""
    dotted, name = element.get("classname", ""), element.get("name", "")
    if dotted.endswith(".ipynb"):
        return dotted.removesuffix(".ipynb").replace(".", "/") + ".ipynb", name
    path, _, inner = _split_classes(dotted)
    return element.get("file") or path, f"{inner}.{name}" if inner else name


def _split_classes(dotted: str) -> tuple[str, str, str]:
    module, dot, classes = re.match(r"(.*?)(?:(\.)([A-Z].*))?$", dotted).groups(default="")
    return module.replace(".", "/") + ".py", dot, classes
