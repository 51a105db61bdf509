"""Late laws: a two-arm law in closed form, the integrated flow, and the conservation laws behind them."""

import numpy as np
import pytest
from scipy.optimize import brentq

from entropy_core.reference import log_probs
from entropy_core.simulators import late_law, policy_gradient_flow


def test_two_arms_follow_their_closed_form():
    # z + sinh z = z_0 + sinh z_0 + t, solved for the gap z at a late time.
    start, late = 0.7, 1e12
    gap = brentq(lambda z: z + np.sinh(z) - start - np.sinh(start) - late, 1, 60, xtol=1e-14)
    law = late_law(np.array([[start, 0.0]]), np.array([[1.0, 0.0]]))
    assert law.exponents.tolist() == [[0.0, 1.0]]
    assert law.log_probs_at(late)[0, 1] == pytest.approx(-np.log1p(np.exp(gap)), abs=1e-9)
    assert law.remaining_reward == pytest.approx([0.5])


@pytest.mark.claim("late-exponents")
@pytest.mark.parametrize(
    ("start", "rewards", "exponents"),
    [
        ([0.5, 0.0, -0.3, 0.2], [1.0, 1.0, 1.0, 0.0], [0, 1 / 2, 1 / 2, 1]),
        ([0.5, 0.0, 0.9, 0.2], [1.0, 1.0, 0.4, 0.0], [0, 2 / 3, 1, 1]),
        ([0.5, 0.5, -0.3, 0.2], [1.0, 1.0, 1.0, 0.0], [0, 0, 1 / 3, 1]),
        ([0.5, 0.5, 0.3, 0.2, 0.1], [2.0, 2.0, 2.0, 0.0, 1.5], [0, 0, 1 / 2, 1, 1]),
    ],
    ids=["one wrong", "graded", "tie", "tie and graded"],
)
def test_integrated_flow_obeys_exponent_and_factor(start, rewards, exponents, record_property):
    start, lacking = np.array([start]), np.array([rewards]) - max(rewards)
    law = late_law(start, np.array([rewards]))
    assert law.exponents == pytest.approx(np.array([exponents]))
    late = 1e11
    run = policy_gradient_flow(start, lacking, np.array([0.0, late]), 1e-10)
    difference = abs(log_probs(run.final_logits) - law.log_probs_at(late)).max()
    record_property("largest difference of log probability", f"{difference:.1e}")
    assert difference < 5e-3
    assert -late * run.expected_returns[0, 1] == pytest.approx(law.remaining_reward[0], rel=1e-3)


@pytest.mark.claim("policy-gradient-integrals")
def test_flow_conserves_what_the_certificates_say():
    rng = np.random.default_rng(0)
    start, rewards = rng.normal(size=(20, 5)), rng.integers(0, 3, (20, 5)).astype(float)
    rewards[:, :2] = 2.0
    moved = policy_gradient_flow(start, rewards, np.array([0.0, 1e4]), 1e-10).final_logits
    x0, x1, r = np.exp(-start), np.exp(-moved), rewards
    weights = np.stack([r[:, 3] - r[:, 4], r[:, 4] - r[:, 2], r[:, 2] - r[:, 3]], axis=1)
    assert x1[:, 0] - x1[:, 1] == pytest.approx(x0[:, 0] - x0[:, 1], abs=1e-7)
    triples = [(weights * x[:, 2:]).sum(axis=1) for x in (x0, x1)]
    assert triples[1] == pytest.approx(triples[0], abs=1e-5)
    assert abs(x1 - x0).max() > 10, "what is conserved must not be at rest"


def test_common_shift_of_logits_and_of_rewards_changes_nothing():
    start, rewards = np.array([[0.5, 0.0, -0.3, 0.2]]), np.array([[1.0, 1.0, 0.0, 0.5]])
    law, shifted = late_law(start, rewards), late_law(start + 7.0, rewards - 3.0)
    assert shifted.log_factors == pytest.approx(law.log_factors, abs=1e-12)


@pytest.mark.usefixtures("without_shape_checks")
def test_requests_without_an_answer_are_refused():
    with pytest.raises(ValueError, match="less than the best reward.*stands still"):
        late_law(np.zeros((2, 3)), np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))
    with pytest.raises(ValueError, match=r"shape \[instances, actions\].*logits\[None\]"):
        late_law(np.zeros(3), np.array([1.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="must be finite, got NaN or infinity"):
        late_law(np.array([[0.0, -np.inf]]), np.array([[1.0, 0.0]]))
