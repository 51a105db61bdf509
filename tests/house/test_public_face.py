"""What the package promises: complete docstrings, honest `__all__`, one name in all layers, real claims."""

import ast
import importlib
import inspect

import pytest

from tests.house import docstring_rules
from tests.house.code_rules import imports_of
from tests.house.places import LAYERS, PACKAGE, ROOT, claims_in_book, name_of, public_modules

NUMERIC = ("reference", "batched")

BAD_DOCSTRINGS = {
    "none": "def f(x): pass",
    "argument": 'def f(x):\n    """Give x.\n\n    Args:\n        y: a number.\n    """',
    "returns": 'def f() -> int:\n    """Give one."""',
    "empty returns": 'def f() -> int:\n    """Give one.\n\n    Returns:\n    """',
    "raises": 'def f():\n    """Give up."""\n    raise ValueError("x")',
    "method": 'class A:\n    """An A."""\n    def f(self) -> int:\n        """Give one."""',
}


def public_functions_of(path):
    """Return the names of the functions that a module promises."""
    return {name for name, _ in docstring_rules.public_functions(ast.parse(path.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("path", public_modules(), ids=name_of)
def test_public_docstrings_are_complete(path):
    layer = path.relative_to(ROOT).parts[1]
    exported = set(importlib.import_module(f"entropy_core.{layer}").__all__) if layer in LAYERS else set()
    required = ("Numerics", "Source") if layer in NUMERIC else ()
    found = docstring_rules.incomplete_docstrings(path.read_text(encoding="utf-8"), exported, required)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("sample", BAD_DOCSTRINGS)
def test_incomplete_docstring_is_found(sample):
    assert len(docstring_rules.incomplete_docstrings(BAD_DOCSTRINGS[sample], {"f", "A.f"})) == 1


def test_numeric_functions_owe_two_sections_more():
    source = 'def f() -> int:\n    """Give one.\n\n    Returns:\n        One.\n    """'
    assert docstring_rules.incomplete_docstrings(source, {"f"}) == []
    assert len(docstring_rules.incomplete_docstrings(source, {"f"}, ("Numerics", "Source"))) == 2


def test_one_sentence_is_enough_below_the_top():
    assert docstring_rules.incomplete_docstrings('def f() -> int:\n    """Give one."""', set()) == []
    assert docstring_rules.incomplete_docstrings("def f(): pass", set()) == ["f lacks a docstring"]
    longer = 'def f() -> int:\n    """Give one.\n\n    And no more.\n    """'
    assert docstring_rules.incomplete_docstrings(longer, set()) == ["f lacks section Returns"]


@pytest.mark.parametrize("path", public_modules(), ids=name_of)
def test_all_names_what_is_public(path):
    found = docstring_rules.wrong_all(path.read_text(encoding="utf-8"), path.name == "__init__.py")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "is_top"),
    [
        ("def f(): pass", False),
        ("__all__ = ['f', 'g']\ndef f(): pass", False),
        ("__all__ = []\nkernel: int = 1", False),
        ("from entropy_core.x import f\n__all__ = []", True),
    ],
)
def test_wrong_all_is_found(source, is_top):
    assert len(docstring_rules.wrong_all(source, is_top)) == 1


def test_reference_and_batched_speak_the_same_names():
    reference, batched = (importlib.import_module(f"entropy_core.{layer}") for layer in NUMERIC)
    extra = {
        name for name in batched.__all__ if name.startswith("check")
    }  # looks for what only a device sync can see
    assert set(reference.__all__) == set(batched.__all__) - extra
    for name in reference.__all__:
        ours, theirs = (list(inspect.signature(getattr(m, name)).parameters) for m in (reference, batched))
        assert ours == [p for p in theirs if p != "gradient_buffer"], name  # memory, which NumPy manages


def test_no_module_has_the_name_of_a_function():
    functions = {name for path in public_modules() for name in public_functions_of(path)}
    assert functions, "the package has public functions"
    assert not functions & {path.stem for path in PACKAGE}


def test_docstrings_name_claims_that_the_book_states():
    named = {path: docstring_rules.claims_named(path.read_text(encoding="utf-8")) for path in PACKAGE}
    stated = claims_in_book()
    missing = [
        f"{name_of(path)}: {claim}" for path, claims in named.items() for claim in sorted(claims - stated)
    ]
    assert not missing, "\n".join(missing)


def test_claims_are_read_from_docstrings():
    source = (
        'def f():\n    """F.\n\n    Source: claim `entropy-gradient`, chapter x; claims `a-b`, `c`; [key]."""'
    )
    assert docstring_rules.claims_named(source) == {"entropy-gradient", "a-b", "c"}


def test_shapes_are_named_in_one_place():
    users = [name_of(p) for p in PACKAGE if imports_of(p.read_text(encoding="utf-8"), "jaxtyping")]
    assert users == ["entropy_core/_shapes.py"]
