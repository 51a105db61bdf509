"""Flows obey their conservation laws, samples their expectation, and bad input is told what to do."""

import numpy as np
import pytest
from scipy.optimize import brentq
from tqdm import tqdm

from entropy_core.reference import entropy, entropy_change
from entropy_core.simulators import (
    aligned_bandits,
    bandit,
    natural_gradient_flow,
    policy_gradient_flow,
    sampled_policy_gradient,
)

TIMES = np.array([0.0, 0.5, 3.0, 40.0])
LOGITS = np.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.0]])
REWARDS = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]])


def test_two_arms_obey_the_conservation_law_of_the_policy_gradient():
    # z' = (r_1 − r_2)/(1 + cosh z): z + sinh z grows at the rate of the reward gap.
    start = np.array([[2.0, 0.0], [-3.0, 0.0], [0.0, 1.0]])
    gaps = np.array([1.0, 1.0, 0.25])
    run = policy_gradient_flow(start, gaps[:, None] * [1.0, 0.0], np.array([0.0, 10.0, 1000.0]))
    law = lambda z: z[:, 0] - z[:, 1] + np.sinh(z[:, 0] - z[:, 1])  # noqa: E731
    assert law(run.final_logits) == pytest.approx(law(start) + 1000 * gaps, rel=1e-6)


def test_the_law_holds_to_a_hundred_million_at_every_record():
    times = np.append(0, np.geomspace(0.1, 1e8, 40))
    run = policy_gradient_flow(np.array([[-12.0, 0.0]]), np.array([[1.0, 0.0]]), times)
    gap = np.array([brentq(lambda z, t=t: z + 12 + np.sinh(z) + np.sinh(12) - t, -12, 20) for t in times])
    assert run.entropies[0] == pytest.approx(entropy(gap[:, None] * [1.0, 0.0]), abs=1e-6)
    assert run.final_logits[0] @ [1, -1] == pytest.approx(gap[-1], abs=1e-6)


def test_quiet_instances_do_not_dilute_the_error_of_a_moving_one():
    start, rewards = np.zeros((5000, 2)), np.zeros((5000, 2))
    rewards[0, 0] = 1.0
    run = policy_gradient_flow(start, rewards, np.array([0.0, 3.0, 30.0]), tolerance=1e-6)
    gap = run.final_logits[0] @ [1, -1]
    assert gap + np.sinh(gap) == pytest.approx(30.0, rel=1e-5)
    assert not run.final_logits[1:].any()


def test_progress_counts_the_records(monkeypatch):
    bars = []
    drawn = lambda **options: bars.append(tqdm(disable=False, **options)) or bars[-1]  # noqa: E731
    monkeypatch.setattr(bandit, "tqdm", drawn)
    policy_gradient_flow(LOGITS, REWARDS, TIMES)
    assert [(bar.n, bar.total, bar.delay) for bar in bars] == [(4, 4, 5)]


def test_logits_keep_their_sum_under_the_policy_gradient():
    run = policy_gradient_flow(LOGITS, REWARDS, TIMES)
    assert run.final_logits.sum(axis=1) == pytest.approx(LOGITS.sum(axis=1), abs=1e-10)


@pytest.mark.parametrize("flow", [natural_gradient_flow, policy_gradient_flow])
def test_recorded_covariance_is_the_rate_of_entropy(flow):
    nudge = 1e-5
    run = flow(LOGITS, REWARDS, np.array([1.0 - nudge, 1.0, 1.0 + nudge]))
    rate = (run.entropies[:, 2] - run.entropies[:, 0]) / (2 * nudge)
    assert run.covariances[:, 1] == pytest.approx(-rate, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("flow", [natural_gradient_flow, policy_gradient_flow])
def test_reward_never_falls_and_instances_do_not_meet(flow):
    run = flow(LOGITS, REWARDS, TIMES)
    assert (np.diff(run.expected_returns, axis=1) > 0).all()
    alone = flow(LOGITS[1:], REWARDS[1:], TIMES)
    assert run.entropies[1] == pytest.approx(alone.entropies[0], abs=1e-7)


def test_natural_flow_ends_at_the_entropy_among_the_best():
    run = natural_gradient_flow(np.log([[0.7, 0.2, 0.1]]), np.array([[0.0, 1.0, 1.0]]), np.array([0.0, 90.0]))
    assert run.entropies[0, 1] == pytest.approx(np.log(3) - 2 / 3 * np.log(2), abs=1e-12)


def test_alignment_is_the_correlation_of_prior_and_reward():
    logits, rewards = aligned_bandits(np.random.default_rng(0), 400, 100, alignment=-0.6, logit_scale=3.0)
    # 40 000 pairs: standard errors .003 of the correlation and .011 of the scale.
    assert abs(np.corrcoef(logits.ravel(), rewards.ravel())[0, 1] + 0.6) < 0.015
    assert abs(logits.std() - 3.0) < 0.05


def test_mean_sampled_step_is_the_exact_gradient():
    many = np.repeat(LOGITS[:1], 40_000, axis=0)
    rewards = np.repeat(REWARDS[:1], 40_000, axis=0)
    run = sampled_policy_gradient(np.random.default_rng(1), many, rewards, 1.0, 1, 2, reward_noise=0.5)
    steps = run.final_logits - many
    probs = np.exp(LOGITS[0]) / np.exp(LOGITS[0]).sum()
    exact = probs * (REWARDS[0] - probs @ REWARDS[0])
    deviations = (steps.mean(axis=0) - exact) / (steps.std(axis=0) / 200)
    assert abs(deviations).max() < 4
    assert abs(probs * REWARDS[0] - exact).max() > 0.02, "the centring must be visible at this size"


def test_sampled_scores_are_centred():
    # Every score e − π sums to 0 over the actions, so the logits keep their sum in each single step.
    run = sampled_policy_gradient(np.random.default_rng(3), LOGITS, REWARDS, 1.0, 5, 2, reward_noise=1.0)
    assert run.final_logits.sum(axis=1) == pytest.approx(LOGITS.sum(axis=1), abs=1e-10)


def test_noise_shrinks_with_the_batch():
    many, none = np.zeros((20_000, 4)), np.zeros((20_000, 4))
    run = lambda batch: sampled_policy_gradient(  # noqa: E731
        np.random.default_rng(2), many, none, 0.2, 1, batch, reward_noise=1.0
    )
    small, large = run(1), run(5)
    fall = [entropy_change(many, r.final_logits - many).mean() for r in (small, large)]
    assert fall[0] / fall[1] == pytest.approx(5, rel=0.1)


def test_equal_seeds_give_equal_runs_and_records_are_on_time():
    runs = [
        sampled_policy_gradient(
            np.random.default_rng(7), LOGITS, REWARDS, 0.1, 6, 3, reward_noise=1.0, record_every=3
        )
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].final_logits, runs[1].final_logits)
    assert runs[0].times == pytest.approx([0.0, 0.3, 0.6])
    assert runs[0].entropies[:, -1] == pytest.approx(entropy(runs[0].final_logits))


@pytest.mark.parametrize(
    "change", [{"alignment": 1.5}, {"instances": 0}, {"actions": 1}, {"logit_scale": 0.0}]
)
def test_impossible_bandits_are_refused(change):
    arguments = {"instances": 3, "actions": 4, "alignment": 0.0} | change
    with pytest.raises(ValueError, match="needs instances ≥ 1.*negative alignment"):
        aligned_bandits(np.random.default_rng(0), **arguments)


@pytest.mark.parametrize(
    "change", [{"steps": 0}, {"batch_size": 0}, {"step_size": 0.0}, {"reward_noise": -1.0}]
)
def test_impossible_samples_are_refused(change):
    arguments = {"step_size": 0.1, "steps": 2, "batch_size": 2} | change
    with pytest.raises(ValueError, match="needs steps.*use policy_gradient_flow"):
        sampled_policy_gradient(np.random.default_rng(0), LOGITS, REWARDS, **arguments)


@pytest.mark.usefixtures("without_shape_checks")
def test_flows_say_what_they_need():
    with pytest.raises(ValueError, match=r"shape \[instances, actions\].*logits\[None\]"):
        natural_gradient_flow(LOGITS[0], REWARDS[0], TIMES)
    with pytest.raises(ValueError, match="must be finite, got NaN or infinity"):
        natural_gradient_flow(LOGITS, np.full_like(REWARDS, np.nan), TIMES)
    with pytest.raises(ValueError, match="increasing and start at 0"):
        policy_gradient_flow(LOGITS, REWARDS, TIMES[::-1])
    with pytest.raises(ValueError, match="tolerance must be positive"):
        policy_gradient_flow(LOGITS, REWARDS, TIMES, tolerance=0.0)


def test_kernels_of_the_book_draw_no_bars():
    assert tqdm(range(2)).disable, "a bar on a page would come and go with the speed of the build"
