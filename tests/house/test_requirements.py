"""The pins of requirements.txt are exact, complete and within the bounds that pyproject.toml promises."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.places import ROOT

LINES = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
PIN = re.compile(r"([\w.-]+)==([\w.]+)(; .+)?")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(lines):
    """Return each pinned version by the canonical name of its package."""
    matches = [PIN.fullmatch(line) for line in lines]
    return {canonicalize_name(m.group(1)): m.group(2) for m in matches if m}


def inexact(lines):
    """Return the lines that are neither a pin, nor a comment, nor this project itself."""
    return [
        line
        for line in lines
        if line and not line.startswith("#") and line != "-e ." and not PIN.fullmatch(line)
    ]


def needed_by(package):
    """Return the names that a package needs here, without its extras; nothing for one of another platform."""
    try:
        found = [Requirement(text) for text in requires(package) or []]
    except PackageNotFoundError:
        return set()
    return {canonicalize_name(r.name) for r in found if r.marker is None or r.marker.evaluate({"extra": ""})}


def test_every_line_is_an_exact_pin():
    assert inexact(LINES) == []
    assert LINES[-1] == "-e ."


@pytest.mark.parametrize("line", ["torch", "torch>=2.11", "torch==2.13.0+cpu", "--pre", "torch==2.*"])
def test_inexact_line_is_found(line):
    assert inexact([line]) == [line]


def test_pins_are_complete():
    pinned = pins(LINES)
    by_torch = {
        name for name in needed_by("torch") if name.startswith(("nvidia-", "cuda-", "triton"))
    }  # torch pins them
    missing = {package: needed_by(package) - pinned.keys() - by_torch for package in pinned}
    assert {package: names for package, names in missing.items() if names} == {}


def test_pins_lie_inside_the_promised_bounds():
    pinned = pins(LINES)
    promised = [
        *PROJECT["dependencies"],
        *(r for rs in PROJECT["optional-dependencies"].values() for r in rs),
    ]
    outside = [
        r
        for r in map(Requirement, promised)
        if r.name != "entropy-core" and pinned[r.name] not in r.specifier
    ]
    assert outside == []
