"""Importing the package costs NumPy and no more, and shapes are enforced while tests run."""

import subprocess
import sys

import jaxtyping
import numpy as np
import pytest

from tests.house.places import ROOT

HEAVY = ("torch", "sympy", "mpmath", "matplotlib", "scipy", "pandas")

NUMPY_ONLY = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "entropy_core"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import numpy as np
from entropy_core import reference

print(float(reference.entropy(np.zeros(2))))
"""


def output_of(code):
    """Return what a fresh interpreter prints for this code."""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_importing_the_package_loads_nothing_heavy():
    loaded = f"print([m for m in {HEAVY} if m in sys.modules])"
    assert output_of(f"import sys, entropy_core; {loaded}") == "[]\n"
    assert output_of(f"import sys, sympy, entropy_core; {loaded}") == "['sympy', 'mpmath']\n"


def test_reference_needs_numpy_only():
    assert float(output_of(NUMPY_ONLY)) == pytest.approx(np.log(2))


def test_blocker_blocks():
    blocked = NUMPY_ONLY.replace("from entropy_core import reference", "import sympy")
    with pytest.raises(AssertionError, match="sympy is blocked"):
        output_of(blocked)


def test_shapes_are_enforced_in_tests():
    from entropy_core import reference

    with pytest.raises(jaxtyping.TypeCheckError):
        reference.entropy(object())
