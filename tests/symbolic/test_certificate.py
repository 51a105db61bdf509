"""Certificates: the policy gradient theorem for every number of states and actions; wrong ones refused."""

import pytest
from sympy import Dummy, Function, IndexedBase, Sum, Symbol, exp, symbols

from entropy_core.symbolic import Certificate, Hypothesis, WrongCertificate

n, m = symbols("n m", integer=True, positive=True)
s, v = symbols("s v", integer=True, positive=True)
t, discount = Symbol("t", real=True), Symbol("gamma", positive=True)
z, change, r, P = (IndexedBase(name, real=True) for name in ("z", "Delta", "r", "P"))
start, d = IndexedBase("rho", real=True), IndexedBase("d", real=True)
V = Function("V", real=True)


def total(term, size):
    """Σ over a fresh index."""
    b = Dummy("b", integer=True, positive=True)
    return Sum(term(b), (b, 1, size))


def moved(x, a):
    return exp(z[x, a] + t * change[x, a])


def pi(x, a):
    return moved(x, a) / total(lambda b: moved(x, b), n)


def action_value(x, a):
    return r[x, a] + discount * total(lambda y: P[x, a, y] * V(y, t), m)


def mean_value(x):
    return total(lambda a: pi(x, a) * action_value(x, a), n)


def gain(x):
    """E[Δz A] at one state."""
    return total(lambda a: pi(x, a) * change[x, a] * (action_value(x, a) - mean_value(x)), n)


def slope(x):
    return V(x, t).diff(t)


BELLMAN = Hypothesis(r"\dot B", (V(s, t) - mean_value(s)).diff(t), s, m)
INFLOW = total(lambda x: d[x] * total(lambda a: pi(x, a) * P[x, a, v], n), m)
FLOW = Hypothesis("F", d[v] - (1 - discount) * start[v] - discount * INFLOW, v, m)
GOAL = (1 - discount) * total(lambda x: start[x] * slope(x), m) - total(lambda x: d[x] * gain(x), m)


def test_policy_gradient_theorem_for_any_number_of_states_and_actions():
    certificate = Certificate(GOAL, ((d[s], BELLMAN), (-slope(v), FLOW)))
    assert certificate.latex.startswith(r"\sum_{s} {d}_{s} \, \dot B_{s} - \sum_{v} ")


@pytest.mark.parametrize(
    "terms", [((d[s], BELLMAN), (slope(v), FLOW)), ((d[s], BELLMAN),)], ids=["sign", "missing"]
)
def test_wrong_multipliers_are_refused_by_all_three_checks(terms):
    with pytest.raises(WrongCertificate, match="every size, exact, sizes 2..4, 50 digits"):
        Certificate(GOAL, terms)


def test_single_equation_needs_no_index():
    p, q = symbols("p q", real=True)
    assert Certificate(p**2 - q**2, ((p + q, Hypothesis("e", p - q)),)).latex == r"\left(p + q\right) \, e"
    with pytest.raises(WrongCertificate):
        Certificate(p**2 - q**2, ((p - q, Hypothesis("e", p - q)),))
