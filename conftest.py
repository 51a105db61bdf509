"""One pytest run for tests and book: what the kernels compute here is what the pages show.

Every test that decides a claim, and every cell of a chapter, says so in the JUnit file; with `--keep-outputs`
the fresh outputs of each chapter whose cells all passed are kept for the build of the pages.
"""

import ast
import json
from collections import Counter
from pathlib import Path

import hypothesis
import jaxtyping
import pytest

from book._tools import kernels, outputs


def modules_with_types(package: str) -> list[str]:
    """Return the modules that state a type: checks double the time of a call, of one without types too."""
    found = []
    for path in sorted(Path(__file__).parent.glob(f"{package}/**/*.py")):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if any(getattr(node, "annotation", None) or getattr(node, "returns", None) for node in nodes):
            name = ".".join(path.relative_to(Path(__file__).parent).with_suffix("").parts)
            found.append(name.removesuffix(".__init__"))
    return found


kernels.settle()
jaxtyping.install_import_hook(modules_with_types("entropy_core"), "beartype.beartype")
hypothesis.settings.register_profile("house", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("house")


@pytest.fixture
def without_shape_checks():
    """Call the package as its users do: for torch.compile, and for the errors that it raises itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pytest_addoption(parser):
    parser.addoption(
        "--keep-outputs", metavar="DIR", help="keep the chapters' fresh outputs in this jupyter-cache"
    )


def pytest_configure(config):
    if config.getoption("keep_outputs") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Keeper(config.rootpath, Path(config.getoption("keep_outputs"))))


def pytest_collection_modifyitems(items):
    """Put what computes longest first (chapters, builds, long files): processes then end together."""
    count = Counter(item.path for item in items)
    kinds = {item.path: (item.path.suffix != ".ipynb", item.path.parent.name != "book") for item in items}
    items.sort(key=lambda item: (kinds[item.path], -count[item.path], item.path.as_posix()))


def pytest_runtest_setup(item):
    item.user_properties += [("claim", mark.args[0]) for mark in item.iter_markers("claim")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    fresh = getattr(item, "test_outputs", None)  # set by nbval when a cell has run
    if call.when == "call" and hasattr(item, "cell_num"):
        values = outputs.glued(fresh or [])
        item.user_properties += [
            ("cell", item.cell.get("id", "")),
            *((f"glue:{k}", v) for k, v in values.items()),
        ]
    report = yield
    if call.when == "call" and fresh is not None:
        report.chapter_cell = [item.cell_num, json.dumps(fresh)]  # text: it travels between processes
    return report


class Keeper:
    """Gathers the cells' outputs in the one process that sees every report, whoever ran the cells."""

    def __init__(self, root: Path, cache: Path):
        self.root, self.cache, self.passed = root, cache, {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed and hasattr(report, "chapter_cell"):
            number, fresh = report.chapter_cell
            path = self.root / report.nodeid.split("::")[0]
            self.passed.setdefault(path, {})[number] = (json.loads(fresh), report.duration)

    def pytest_sessionfinish(self):
        for path, cells in self.passed.items():
            if len(cells) == len(outputs.code_cells(outputs.nbformat.read(path, as_version=4))):
                fresh, seconds = zip(*(cells[n] for n in sorted(cells)), strict=True)
                outputs.keep(path, list(fresh), sum(seconds), self.cache)
