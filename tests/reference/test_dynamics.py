"""Exact values and seams of the dynamics module."""

import numpy as np
import pytest

from entropy_core import reference

NEVER = -np.inf


def test_first_order_of_a_case_worked_by_hand():
    # π = (4, 2, 1)/7, Δz = (−1, 5, −6): Cov(log π, Δz) = (2/7) log 2
    change = reference.first_order_entropy_change(np.log([4.0, 2.0, 1.0]), np.array([-1.0, 5.0, -6.0]))
    assert abs(change + 2 / 7 * np.log(2)) < 1e-15


def test_vanilla_and_natural_gradient_can_move_entropy_in_opposite_directions():
    # the same π and rewards: Cov(log π, π A) = −(64/343) log 2
    z, advantages = np.log([4.0, 2.0, 1.0]), np.array([-1.0, 5.0, -6.0])
    vanilla = reference.policy_gradient_delta_logits(z, advantages, 1.0)
    assert abs(reference.first_order_entropy_change(z, vanilla) - 64 / 343 * np.log(2)) < 1e-15


@pytest.mark.parametrize("delta", [-3.0, 0.0, 1e4])
@pytest.mark.parametrize(
    "function",
    [
        "entropy_change",
        "first_order_entropy_change",
        "second_order_entropy_change",
        "third_order_entropy_change",
    ],
)
def test_constant_step_changes_nothing(function, delta):
    z = np.array([0.1, 2.0, NEVER, -30.0])
    assert getattr(reference, function)(z, np.full(4, delta)) == 0.0
    assert reference.entropy_change_bound(z, np.full(4, delta)) == (0.0, 0.0)


def test_one_allowed_action_has_nothing_to_change():
    z, u = np.array([NEVER, 3.0]), np.array([7.0, -2.0])
    assert reference.entropy_change(z, u) == 0.0
    assert reference.second_order_entropy_change(z, u) == 0.0
    assert reference.entropy_change_bound(z, u) == (0.0, 0.0)


def test_the_two_forms_of_the_exact_change_meet_at_range_1():
    rng = np.random.default_rng(3)
    z, u = rng.standard_normal((200, 6)), rng.random((200, 6))
    u /= np.ptp(u, axis=-1, keepdims=True)
    inside = reference.entropy_change(z, u * (1 - 1e-14))
    outside = reference.entropy_change(z, u * (1 + 1e-14))
    np.testing.assert_allclose(outside, inside, rtol=0, atol=5e-14)


def test_exact_change_of_a_step_of_1e5_that_ends_the_competition():
    z = np.random.default_rng(4).standard_normal(9)
    u = np.where(np.arange(9) == 3, 1e5, 0.0)
    assert abs(reference.entropy_change(z, u) + reference.entropy(z)) < 1e-15


def test_rows_of_one_batch_may_take_either_form():
    z = np.zeros((2, 3))
    u = np.array([[0.5, 0.0, 0.0], [50.0, 0.0, 0.0]])
    together = reference.entropy_change(z, u)
    assert together.tolist() == [float(reference.entropy_change(*row)) for row in zip(z, u, strict=True)]


def test_bound_depends_on_allowed_actions_and_range_alone():
    z, u = np.array([0.0, 1.0, NEVER, -5.0]), np.array([0.1, 0.4, 9.0, 0.2])
    assert reference.entropy_change_bound(z, u) == reference.entropy_change_bound(np.zeros(3), u[[3, 0, 1]])
