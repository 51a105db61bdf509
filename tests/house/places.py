"""Where things stand: the files that the rules of the house are about."""

import re
import subprocess
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
PACKAGE = sorted((ROOT / "entropy_core").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
LAYERS = ("symbolic", "reference", "batched")


def name_of(path: Path) -> str:
    """Return the path below the project's root, for messages and test ids."""
    return path.relative_to(ROOT).as_posix()


def public_modules() -> list[Path]:
    """Return the modules of the package that users import."""
    return [p for p in PACKAGE if p.name == "__init__.py" or not p.name.startswith("_")]


def pages() -> dict[str, str]:
    """Return the prose of each page of the book, by its file."""
    texts = {name_of(p): p.read_text(encoding="utf-8") for p in sorted((ROOT / "book").glob("*.md"))}
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        texts[name_of(path)] = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    return texts


def claims_in_book() -> set[str]:
    """Return the ids of the claims that the pages state."""
    return {name for text in pages().values() for name in re.findall(r"\{claim\}\s+([a-z0-9-]+)", text)}


def deciding_cells(notebook: Path) -> set[str]:
    """Return the ids of the cells of a chapter that the pages name as the check of a claim."""
    pattern = re.escape(name_of(notebook)) + r"#([a-z0-9-]+)"
    return {name for text in pages().values() for name in re.findall(pattern, text)}


def tracked_files() -> list[Path]:
    """Return the files that a clone would have; outside of git, the files that are not built or installed."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        return [p for p in (ROOT / name for name in listing.stdout.split("\0") if name) if p.is_file()]
    built = ("_build", "node_modules", "__pycache__")
    return [
        p
        for p in ROOT.rglob("*")
        if p.is_file() and not any(d.startswith(".") or d in built for d in p.parts)
    ]
