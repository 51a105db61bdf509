"""No comparison is thrown away, and no test is one that cannot fail."""

import pytest

from tests.house import code_rules
from tests.house.places import PACKAGE, TESTS, name_of

RULES = (
    code_rules.thrown_away_comparisons,
    code_rules.vacuous_asserts,
    code_rules.tests_that_cannot_fail,
    code_rules.skips_without_reason,
)

BAD = {
    "allclose": (code_rules.thrown_away_comparisons, "np.allclose(a, b)"),
    "torch.equal": (
        code_rules.thrown_away_comparisons,
        "def test_a():\n    torch.equal(a, b)\n    assert a.x",
    ),
    "method all": (code_rules.thrown_away_comparisons, "(a > b).all()"),
    "compare": (code_rules.thrown_away_comparisons, "a == b"),
    "true": (code_rules.vacuous_asserts, "assert True"),
    "text": (code_rules.vacuous_asserts, "assert 'entropy falls'"),
    "tuple": (code_rules.vacuous_asserts, "assert (a == b, 'they differ')"),
    "itself": (code_rules.vacuous_asserts, "assert a.x == a.x"),
    "no assert": (code_rules.tests_that_cannot_fail, "def test_a():\n    print(entropy(z))"),
    "helper without assert": (
        code_rules.tests_that_cannot_fail,
        "def show(x):\n    x\ndef test_a():\n    show(1)",
    ),
    "method": (code_rules.tests_that_cannot_fail, "class TestA:\n    def test_a(self):\n        x = 1"),
    "skip mark": (code_rules.skips_without_reason, "@pytest.mark.skip\ndef test_a():\n    assert a"),
    "skipif": (code_rules.skips_without_reason, "@pytest.mark.skipif(True)\ndef test_a():\n    assert a"),
    "skip call": (code_rules.skips_without_reason, "def test_a():\n    pytest.skip()"),
    "xfail": (code_rules.skips_without_reason, "@pytest.mark.xfail()\ndef test_a():\n    assert a"),
}

GOOD = """
def same(a, b):
    np.testing.assert_allclose(a, b)

def also_same(a, b):
    same(a, b)

def test_through_helpers():
    also_same(1, 2)

def test_error():
    with pytest.raises(ValueError, match="forbidden"):
        entropy(z)

@pytest.mark.skipif(not cuda, reason="no accelerator")
def test_assert():
    assert np.allclose(a, b), (a, b)
    assert draw() == draw()
    values.append(np.allclose(a, b))
    pytest.skip("no accelerator")
"""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_keep_the_rule(rule):
    sources = TESTS if rule is code_rules.tests_that_cannot_fail else [*TESTS, *PACKAGE]
    found = [f"{name_of(path)} {what}" for path in sources for what in rule(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("sample", BAD)
def test_rule_finds_the_bad_sample(sample):
    rule, source = BAD[sample]
    assert len(rule(source)) == 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_lets_the_good_sample_pass(rule):
    assert rule(GOOD) == []
