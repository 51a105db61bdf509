"""Where SymPy is silently wrong or cannot help: one canary each, so that an upgrade is noticed.

Each test states the wrong answer that SymPy 1.14 gives. If one fails, SymPy has changed: read why the package
goes around that place, then change the test.
"""

import pytest
import sympy
from sympy import (
    DiagMatrix,
    Dummy,
    IndexedBase,
    KroneckerDelta,
    MatrixSymbol,
    OneMatrix,
    Piecewise,
    S,
    Sum,
    exp,
    log,
    symbols,
)
from sympy.stats import Expectation, Normal

from entropy_core.symbolic import is_zero

a, k, s = symbols("a k s", integer=True, positive=True)
n = sympy.Symbol("n", integer=True, positive=True)
z, A, B = (IndexedBase(name, real=True) for name in ("z", "A", "B"))


def total(term):
    b = Dummy("b", integer=True, positive=True)
    return Sum(term(b), (b, 1, n))


def test_the_version_that_the_canaries_are_for():
    assert sympy.__version__.startswith("1.14.")


def test_substitution_captures_a_bound_index():
    captured = Sum(exp(z[s, a]), (a, 1, n)).subs(s, a)
    assert captured == Sum(exp(z[a, a]), (a, 1, n))


def test_derivative_in_an_entry_named_like_the_bound_index_is_the_whole_sum():
    partition = Sum(exp(z[k]), (k, 1, n))
    assert partition.diff(z[k]) == partition
    assert is_zero(total(lambda b: exp(z[b])).diff(z[k]) - exp(z[k]))


def test_derivative_of_an_expectation_is_zero():
    theta = symbols("theta", real=True)
    assert Expectation(Normal("X", theta, 1)).diff(theta) == 0


def test_derivative_of_a_softmax_entry_in_the_matrix_symbol_is_zero():
    logits = MatrixSymbol("z", 3, 1)
    weights = logits.applyfunc(exp)
    share = weights[0, 0] / (OneMatrix(1, 3) * weights)[0, 0]
    assert share.diff(logits).is_ZeroMatrix
    assert share.diff(logits[0, 0]) != 0


def test_derivative_of_a_softmax_vector_loses_the_quotient_term():
    logits = MatrixSymbol("z", n, 1)
    weights = logits.applyfunc(exp)
    slope = (weights / (OneMatrix(1, n) * weights)[0, 0]).diff(logits)
    assert slope.has(DiagMatrix)
    assert not slope.is_MatAdd


def test_substitution_skips_entries_at_a_bound_index():
    bound = Sum(A[a], (a, 1, n))
    assert bound.subs(A[a], B[a]) == bound
    assert bound.xreplace({A[a]: B[a]}) == Sum(B[a], (a, 1, n))


def test_sum_of_a_delta_without_a_range_is_piecewise():
    assert Sum(KroneckerDelta(a, k), (a, 1, n)).doit().has(Piecewise)


def test_simplify_fails_on_the_softmax_jacobian():
    share = exp(z[s]) / total(lambda b: exp(z[b]))
    with pytest.raises(StopIteration):
        sympy.simplify(share.diff(z[k]))


def test_sums_are_not_seen_to_cancel():
    left, right = Sum(z[a], (a, 1, n)), Sum(z[k], (k, 1, n))
    assert sympy.expand(left - right) != S.Zero
    assert is_zero(left - right)


def test_logarithm_of_a_quotient_is_not_a_difference():
    partition = total(lambda b: exp(z[b]))
    assert sympy.expand(log(exp(z[k]) / partition) - (z[k] - log(partition)), log=False) != 0


def test_numpy_code_from_symbols_is_wrong_at_large_logits():
    import numpy as np

    symbolic_logits = sympy.symbols("z0:2", real=True)
    weights = [exp(value) for value in symbolic_logits]
    entropy = -sum(w / sum(weights) * log(w / sum(weights)) for w in weights)
    with np.errstate(all="ignore"):
        assert np.isnan(sympy.lambdify(symbolic_logits, entropy)(np.float64(800.0), np.float64(0.0)))
