"""No file tells of the machine on which it was written, and the README runs."""

import re
from pathlib import Path

import pytest

from tests.house.places import ROOT, name_of, tracked_files

HOME = re.compile(r"(?<![\w.:/])/(?:home|Users|root|work|" + re.escape(ROOT.parts[1]) + r")/[\w.]")
INDEX = re.compile(
    r"--(?:extra-)?index" + r"-url|--find" + r"-links|download\.pytorch" + r"\.org|files\.python" + "hosted"
)


def tells(text: str) -> list[str]:
    """Find paths of a machine and addresses of package indexes."""
    return [match.group(0) for pattern in (HOME, INDEX) for match in pattern.finditer(text)]


def text_of(path: Path) -> str:
    """Return the text of a file, nothing for one that is not text or not ours."""
    if "mathjax" in name_of(path):
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_tracked_files_name_no_machine():
    found = [f"{name_of(path)}: {what}" for path in tracked_files() for what in tells(text_of(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    ["see /" + "home/ada/book", "'/" + "work/main/x'", "pip --index" + "-url x", "--find" + "-links=w"],
)
def test_a_machine_is_found(text):
    assert len(tells(text)) == 1


def test_readme_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2, "one in NumPy, one in torch"
    for block in blocks:
        assert "assert" in block, "an example that checks what it shows"
        exec(compile(block, "README.md", "exec"), {})
