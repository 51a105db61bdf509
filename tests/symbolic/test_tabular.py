"""The policy gradient theorem for every number of states and actions; wrong variants are refused."""

import pytest
from sympy import IndexedBase, Sum

from entropy_core.symbolic import Certificate, Dt, Statement, WrongCertificate, is_zero, tabular
from entropy_core.symbolic.operators import action_index
from entropy_core.symbolic.tables import ByLogit, OverActions, OverStates, state_index, unfold

s, a = state_index("s"), action_index("a")
EVERY_CHECK = "every size, exact, sizes 2..4, 50 digits"


@pytest.mark.claim("policy-gradient-theorem")
def test_gradient_in_one_logit():
    proved = tabular.policy_gradient_theorem()
    assert proved.statement.right == tabular.state_occupancy(s) * tabular.probs(s, a) * tabular.advantages(
        s, a
    )
    assert str(tabular.discount) in str(proved.statement.left)
    assert r"\frac{\partial J}{\partial z(s, a)}" in proved.statement.latex


@pytest.mark.claim("policy-gradient-theorem")
def test_slope_along_any_step():
    proved = tabular.policy_gradient_along_a_step()
    assert proved.statement.left == (1 - tabular.discount) * Dt(tabular.expected_return)
    assert proved.latex.startswith(r"\sum_{s} d(s) \, \frac{d}{dt} B(s)")


def variant(wrong):
    """The certificate of the theorem for another right-hand side."""
    proved = tabular.policy_gradient_theorem()
    return Certificate(Statement(proved.statement.left, wrong), proved.terms)


@pytest.mark.parametrize(
    "wrong",
    [
        tabular.probs(s, a) * tabular.advantages(s, a),
        tabular.state_occupancy(s) * tabular.advantages(s, a),
        tabular.start_distribution(s) * tabular.probs(s, a) * tabular.advantages(s, a),
        -tabular.state_occupancy(s) * tabular.probs(s, a) * tabular.advantages(s, a),
        tabular.state_occupancy(s) * tabular.probs(s, a) * tabular.action_values(s, a),
    ],
    ids=["no occupancy", "no probability", "start instead of occupancy", "sign", "Q instead of A"],
)
@pytest.mark.claim("policy-gradient-theorem")
def test_wrong_gradients_are_refused(wrong):
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        variant(wrong)


def test_a_missing_hypothesis_is_noticed():
    proved = tabular.policy_gradient_theorem()
    for left_out in range(3):
        kept = tuple(term for k, term in enumerate(proved.terms) if k != left_out)
        with pytest.raises(WrongCertificate, match=EVERY_CHECK):
            Certificate(proved.goal, kept)


def test_an_index_named_like_a_bound_one_is_not_captured():
    bound = next(iter(unfold(tabular.action_values(s, a)).atoms(Sum))).limits[0][0]
    for name in ("s'", "b", "x", "v"):
        free = state_index(name)
        unfolded = unfold(tabular.action_values(free, a))
        assert unfolded.has(IndexedBase("rewards", real=True)[free, a])
        assert unfolded.free_symbols >= {free, a}
    assert bound.is_Symbol


def test_derivatives_along_a_step_and_in_a_logit_are_different_unknowns():
    along, partial = unfold(Dt(tabular.state_values(s))), unfold(ByLogit(tabular.state_values(s), s, a))
    assert not is_zero(along - partial)


def test_partial_derivative_of_the_policy_is_the_softmax_jacobian():
    x, b = state_index("x"), action_index("b")
    row = OverActions(ByLogit(tabular.probs(x, b), s, a), b)
    assert is_zero(unfold(row))
    gain = OverStates(OverActions(ByLogit(tabular.probs(x, b), s, a) * tabular.rewards(x, b), b), x)
    mean = OverActions(tabular.probs(s, b) * tabular.rewards(s, b), b)
    assert is_zero(unfold(gain - tabular.probs(s, a) * (tabular.rewards(s, a) - mean)))


def test_definitions_print_as_equations():
    assert tabular.bellman_equation().latex == r"B(s) = V(s) - \sum_{b} \pi(b \mid s) \, Q(s, b)"
    assert tabular.flow_equation().latex.startswith("F(s) = d(s) - ")


@pytest.mark.claim("average-entropy-slope")
def test_average_entropy_is_a_return_and_has_two_parts():
    average, slope = tabular.average_entropy_is_a_return(), tabular.average_entropy_along_a_step()
    assert average.statement.right == slope.statement.left.xreplace(
        {
            Dt(OverStates(tabular.start_distribution(s) * tabular.entropy_values(s), s)): OverStates(
                tabular.start_distribution(s) * tabular.entropy_values(s), s
            )
        }
    )
    lemma_alone = OverStates(tabular.state_occupancy(s) * Dt(tabular.state_entropy(s)), s)
    assert lemma_alone in slope.statement.right.args
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(Statement(slope.statement.left, lemma_alone), slope.terms)
