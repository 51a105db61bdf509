"""Run chapters again and store their outputs, so that the same code gives the same bytes: `make execute`."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from book._tools import kernels

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def join_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return the outputs with neighbouring pieces of one stream joined: where they were cut is chance."""
    joined = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == "stream" == last.get("output_type") and output.name == last["name"]:
            last["text"] += output.text
        else:
            joined.append(output)
    return joined


def settle_metadata(notebook: nbformat.NotebookNode) -> None:
    """Remove what another machine, another moment or another editor would write differently."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {k: v for k, v in cell.metadata.items() if k in ("tags", "mystnb")}
        )
        if cell.cell_type == "code":
            cell.outputs = join_streams(cell.outputs)


def execute(path: Path) -> None:
    """Run one chapter from top to bottom in a fresh kernel and store it in place."""
    notebook = nbformat.read(path, as_version=4)
    settle_metadata(notebook)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=300, record_timing=False, resources=resources).execute()
    settle_metadata(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    kernels.settle()
    for name in sys.argv[1:]:
        print(f"== {name}", flush=True)
        execute(Path(name))
