"""Sums of parts give the covariance of the batch, for every size of two parts; what is changed is refused."""

import pytest

from entropy_core.symbolic import Statement, WrongCertificate
from entropy_core.symbolic.certificate import Certificate
from entropy_core.symbolic.interventions import batch_parts
from entropy_core.symbolic.tables import actions, states


@pytest.mark.claim("batch-covariance-from-parts")
@pytest.mark.parametrize("name", batch_parts.__all__)
def test_parts_give_the_whole(name):
    proved = getattr(batch_parts, name)()
    assert isinstance(proved, Certificate)
    assert not proved.terms


@pytest.mark.claim("batch-covariance-from-parts")
def test_the_part_between_the_means_cannot_be_left_out():
    """Without it, or with its sign changed, the covariances of the parts are not enough."""
    goal = batch_parts.covariance_of_parts().goal
    left, right = goal.left, goal.right
    (between,) = [term for term in right.args if term.has(1 / (states + actions))]
    for wrong in (right - between, right - 2 * between):
        with pytest.raises(WrongCertificate):
            Certificate(Statement(left, wrong), ())


def test_sums_that_are_divided_by_the_wrong_count_are_refused():
    goal = batch_parts.covariance_from_merged_sums().goal
    with pytest.raises(WrongCertificate):
        Certificate(Statement(goal.left, goal.right.xreplace({states: states + 1})), ())
