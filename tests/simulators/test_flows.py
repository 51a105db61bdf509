"""Flows with known ends; escape times against integration in time and the bounds of every n; refusals."""

import numpy as np
import pytest

from entropy_core.reference import policy_gradient_escape_time
from entropy_core.simulators import escape_times, integrate_flow, policy_gradient_flow


def starts(actions, right, depth, instances=12, seed=0):
    """Random policies whose success probability has the log odds −depth, and which actions are correct."""
    logits = 2 * np.random.default_rng(seed).normal(size=(instances, actions))
    correct = np.broadcast_to(np.arange(actions) < right, logits.shape)
    weights = np.exp(logits)
    odds = (weights * correct).sum(-1) / (weights * ~correct).sum(-1)
    return logits - correct * (np.log(odds) + depth)[:, None], correct


def test_the_flow_has_the_success_probability_at_that_time():
    logits, correct = starts(5, 2, 2.0)
    times = escape_times(logits, correct, 0.8)
    for start, right, time in zip(logits, correct, times, strict=True):
        run = policy_gradient_flow(start[None], 1.0 * right[None], np.array([time]), 1e-9)
        assert run.expected_returns[0, 0] == pytest.approx(0.8, abs=1e-7)


@pytest.mark.claim("two-action-law")
def test_two_actions_escape_at_the_time_of_the_law():
    gaps = np.linspace(-9, 3, 25)
    logits = np.stack([gaps, np.zeros(25)], axis=1)
    found = escape_times(logits, np.tile([True, False], (25, 1)), 0.75)
    np.testing.assert_allclose(found, policy_gradient_escape_time(gaps, np.log(3.0), 1.0), rtol=1e-7)


@pytest.mark.claim("escape-times")
@pytest.mark.parametrize(("actions", "right"), [(3, 1), (20, 1), (20, 10), (20, 19)])
def test_times_lie_between_the_law_and_the_law_of_equal_actions(actions, right):
    for depth in (0.5, 3.0, 7.0):
        ratio = escape_times(*starts(actions, right, depth)) / (depth + np.sinh(depth))
        slowest = 2 * right * (actions - right) / actions
        assert (ratio >= 1 - 1e-7).all()
        assert (ratio <= slowest + 1e-7).all()
        assert ratio.max() > 1.05
    equal = np.where(np.arange(actions) < right, -3.0, 0.0)[None]
    depth = 3.0 - np.log(right / (actions - right))
    time = escape_times(equal, equal < -1)
    np.testing.assert_allclose(time, slowest * (depth + np.sinh(depth)), rtol=1e-7)


@pytest.mark.parametrize(
    ("logits", "correct", "success", "says"),
    [
        (np.zeros(3), np.array([True, False, False]), 0.5, r"shape \[instances, actions\].*insert an axis"),
        (np.zeros((1, 2)), np.array([[True, True]]), 0.5, "a correct and a wrong action.*leave it out"),
        (np.zeros((1, 2)), np.array([[True, False]]), 1.0, r"inside \(0, 1\).*got 1.0.*certainty"),
        (np.array([[0.0, -np.inf]]), np.array([[True, False]]), 0.5, "logits be finite"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_bad_input_is_explained(logits, correct, success, says):
    with pytest.raises(ValueError, match=says):
        escape_times(logits, correct, success)


def test_a_rotation_comes_back():
    start = np.arange(12.0).reshape(3, 2, 2)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    path = integrate_flow(lambda z: z @ turn, start, np.pi * np.array([0.5, 1.0, 2.0]))
    np.testing.assert_allclose(path, [start @ turn, -start, start], atol=1e-8)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("times", [[-1.0, 1.0], [2.0, 1.0], []])
def test_times_that_do_not_increase_are_refused(times):
    with pytest.raises(ValueError, match="times must increase from 0 or later, got"):
        integrate_flow(lambda z: z, np.ones(2), np.array(times))


def test_a_flow_that_leaves_the_numbers_is_reported():
    with pytest.raises(ValueError, match="the integration failed"):
        integrate_flow(lambda z: z**2, np.ones(1), np.array([2.0]))
