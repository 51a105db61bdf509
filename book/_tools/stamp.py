"""The stamp of a test run: whether what stands in `_build` was computed from what stands here now.

`open` notes the inputs before the run, `seal` ends a green run, `check` says whether it still stands.
"""

import hashlib
import json
import sys
from pathlib import Path

PATTERNS = (
    "entropy_core/**/*.py",
    "entropy_core/**/*.cpp",
    "benchmarks/**/*.py",
    "benchmarks/results/*.json",
    "tests/**/*",
    "book/*.ipynb",
    "book/_ext/**/*.py",
    "book/_tools/**/*",
    "conftest.py",
    "pyproject.toml",
    "requirements.txt",
)
BUILD = Path("_build")
STAMP, OPENED, JUNIT, CACHE = (
    BUILD / name for name in ("stamp", "stamp.open", "tests.xml", ".jupyter_cache")
)


def digest(*paths: Path) -> str:
    """Return one hash of the names and the bytes of these files."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def inputs() -> str:
    """Return one hash of all that a run depends on: the files of PATTERNS and the interpreter."""
    files = {p for pattern in PATTERNS for p in Path().glob(pattern) if p.is_file() and p.suffix != ".pyc"}
    return hashlib.sha256(f"{digest(*files)} {sys.version} {sys.platform}".encode()).hexdigest()


def not_validated() -> list[str]:
    """Return the chapters whose outputs the run did not leave in the cache."""
    import nbformat  # here, because `check` runs before every build and needs neither
    from jupyter_cache import get_cache

    cache, missing = get_cache(CACHE), []
    for path in sorted(Path("book").glob("*.ipynb")):
        try:
            cache.match_cache_notebook(nbformat.read(path, as_version=4))
        except KeyError:
            missing.append(path.as_posix())
    return missing


def open_run() -> str | None:
    """Note the inputs of the run that begins."""
    BUILD.mkdir(exist_ok=True)
    STAMP.unlink(missing_ok=True)
    OPENED.write_text(inputs())
    return None


def seal_run() -> str | None:
    """Write the stamp of the run that ended well, unless it does not cover every chapter."""
    if missing := not_validated():
        return f"the run left no validated outputs of {', '.join(missing)}"
    STAMP.write_text(json.dumps({"inputs": OPENED.read_text(), "tests.xml": digest(JUNIT)}))
    OPENED.unlink()
    return None


def check_run() -> str | None:
    """Return why the last run cannot be rendered, or None if it can."""
    if not (STAMP.is_file() and JUNIT.is_file() and CACHE.is_dir()):
        return "no complete test run stands in _build"
    if json.loads(STAMP.read_text()) != {"inputs": inputs(), "tests.xml": digest(JUNIT)}:
        return "something changed since the last test run"
    return None


if __name__ == "__main__":
    if reason := {"open": open_run, "seal": seal_run, "check": check_run}[sys.argv[1]]():
        sys.exit(f"stamp: {reason}")
