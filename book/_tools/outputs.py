"""What the test run computed, made into what the book shows."""

from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

PLAIN = ("application/papermill.record/text/plain", "text/plain")


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the code cells in their order, which is the order of nbval's `Cell 0`, `Cell 1`."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def glued(outputs: list[dict]) -> dict[str, str]:
    """Return the plain text of every value that these outputs glue, by its key."""
    values = {}
    for output in outputs:
        key = output.get("metadata", {}).get("scrapbook", {}).get("name")
        texts = [output["data"][mime] for mime in PLAIN if mime in output.get("data", {})]
        if key and texts:
            values[key] = "".join(texts[0])
    return values


def with_outputs(notebook: nbformat.NotebookNode, outputs: list[list[dict]]) -> nbformat.NotebookNode:
    """Return the notebook with these outputs, one list for each code cell, in place of the stored ones."""
    for number, (cell, fresh) in enumerate(zip(code_cells(notebook), outputs, strict=True), start=1):
        cell.execution_count = number
        cell.outputs = [nbformat.from_dict(output) for output in fresh]
    nbformat.validate(notebook)
    return notebook


def keep(path: Path, outputs: list[list[dict]], seconds: float, cache: Path) -> None:
    """Put a chapter with fresh outputs into the cache that the build of the pages reads."""
    notebook = with_outputs(nbformat.read(path, as_version=4), outputs)
    bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": seconds})
    get_cache(cache).cache_notebook_bundle(bundle, overwrite=True)
