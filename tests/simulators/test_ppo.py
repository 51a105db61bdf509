"""Rounds of clipped ascent: the first step is the policy gradient, the clip acts from the second on."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from entropy_core.reference import entropy, first_order_entropy_change, kl_divergence, log_probs, probs
from entropy_core.reference import policy_gradient_delta_logits as policy_gradient
from entropy_core.simulators import (
    exact_clipped_ascent,
    matched_entropies,
    sampled_clipped_ascent,
    values_at_progress,
)

RNG = np.random.default_rng(0)
START, REWARDS = RNG.normal(size=(2, 30, 7))
NEVER = (1.0, float("inf"))
plain = partial(torch.optim.SGD, lr=0.5)


def exact(rounds, inner_steps, clips, seed=0, optimiser=plain, **more):
    """Run the exact ascent on the instances of this module."""
    generator = np.random.default_rng(seed)
    return exact_clipped_ascent(generator, START, REWARDS, optimiser, rounds, inner_steps, *clips, **more)


def sampled(rounds, inner_steps, clips, batch_size=1, seed=0, **more):
    """Run the sampled ascent on the instances of this module."""
    generator, counts = np.random.default_rng(seed), (rounds, inner_steps, *clips, batch_size)
    return sampled_clipped_ascent(generator, START, REWARDS, plain, *counts, **more)


def test_the_first_step_is_the_policy_gradient():
    run = exact(1, 1, (0.2, 0.2))
    assert run.final_logits - START == pytest.approx(policy_gradient(START, REWARDS, 0.5), abs=1e-14)


@pytest.mark.claim("first-step-inert")
@pytest.mark.parametrize("run", [exact, sampled])
def test_with_one_step_a_round_every_clip_gives_the_same_run(run):
    first, second = run(5, 1, (0.01, 0.01)), run(5, 1, NEVER)
    assert (first.final_logits == second.final_logits).all()
    assert first.clip_fractions_high.max() == first.clip_fractions_low.max() == 0
    assert (run(5, 2, (0.01, 0.01)).final_logits != run(5, 2, NEVER).final_logits).any()


def test_without_clip_the_surrogate_is_the_expected_reward():
    run = exact(1, 4, NEVER)
    logits, old_return = START.copy(), (probs(START) * REWARDS).sum(-1, keepdims=True)
    for _ in range(4):
        logits = logits + policy_gradient(logits, REWARDS - old_return, 0.5)
    assert run.final_logits == pytest.approx(logits, abs=1e-12)


@pytest.mark.parametrize("batch_size", [None, 3])
def test_rounds_are_those_of_a_loop_over_tokens(batch_size):
    """Two rounds of three steps, one instance and one token after the other, from the printed objective."""
    low, high, noise = 0.05, 0.1, 0.3
    more = {"reward_noise": noise} | ({} if batch_size is None else {"batch_size": batch_size})
    run = (exact if batch_size is None else sampled)(2, 3, (low, high), **more)
    generator, expected = np.random.default_rng(0), START.copy()
    for _ in range(2):
        old = probs(expected)
        if batch_size is None:
            rewards = REWARDS + noise * generator.normal(size=REWARDS.shape)
            baseline = (old * rewards).sum(-1)
            tokens = [list(zip(range(7), p, r, strict=True)) for p, r in zip(old, rewards, strict=True)]
        else:
            draws = generator.random((30, batch_size))
            noisy = noise * generator.normal(size=draws.shape)
            baseline = (old * REWARDS).sum(-1)
            taken = [[int((p.cumsum() <= u).sum()) for u in row] for p, row in zip(old, draws, strict=True)]
            tokens = [
                [(a, 1 / batch_size, REWARDS[i, a] + noisy[i, k]) for k, a in enumerate(row)]
                for i, row in enumerate(taken)
            ]
        for _ in range(3):
            now = probs(expected)
            for i in range(30):
                step = np.zeros(7)
                for a, share, reward in tokens[i]:
                    advantage, ratio = reward - baseline[i], now[i, a] / old[i, a]
                    if ratio * advantage <= np.clip(ratio, 1 - low, 1 + high) * advantage:
                        step += share * advantage * ratio * (np.eye(7)[a] - now[i])
                expected[i] += 0.5 * step
    assert run.final_logits == pytest.approx(expected, abs=1e-12)
    assert run.clip_fractions_low.max() > 0.2


def test_the_record_is_that_of_the_final_policy():
    run = sampled(3, 4, (0.2, 0.28), batch_size=2, reward_noise=0.3)
    assert run.entropies[:, -1] == pytest.approx(entropy(run.final_logits))
    assert run.expected_returns[:, -1] == pytest.approx((probs(run.final_logits) * REWARDS).sum(-1))
    assert run.divergences[:, -1] == pytest.approx(kl_divergence(START, run.final_logits - START))
    assert run.entropies[:, 0] == pytest.approx(entropy(START))
    assert run.entropies.shape == run.outside_band.shape == run.clip_effects_low.shape == (30, 4)
    once = exact(1, 4, (0.2, 0.28))
    ratios = np.exp(log_probs(once.final_logits) - log_probs(START))
    outside = (ratios > 1.28) | (ratios < 0.8)
    assert once.outside_band[:, 1] == pytest.approx((probs(START) * outside).sum(-1))
    assert 0.05 < once.outside_band.mean() < 0.9


@pytest.mark.claim("clip-entropy-split")
def test_the_effect_of_the_clip_is_the_difference_of_two_first_orders(record_property):
    """After one step, the second with and without the clip: their predicted entropy changes differ by it."""
    low, high, rate = 0.02, 0.05, 1e-3
    mover = partial(torch.optim.SGD, lr=1.0)
    before = exact(1, 1, NEVER, optimiser=mover).final_logits
    with_clip, without = (exact(1, 2, c, optimiser=mover).final_logits for c in ((low, high), NEVER))
    predicted = [first_order_entropy_change(before, after - before) for after in (with_clip, without)]
    run = exact(1, 2, (low, high), optimiser=mover)
    effects = 2 * (run.clip_effects_low + run.clip_effects_high)[:, 1]  # a mean of two steps, the first 0
    error = abs(effects - (predicted[0] - predicted[1])).max()
    record_property("largest error", f"{error:.0e}")
    assert error < 1e-13
    assert abs(effects).max() > rate, "the clip must have acted"


def test_sampled_steps_are_unbiased_where_nothing_is_clipped():
    many, rewards = START[:1].repeat(40_000, axis=0), REWARDS[:1].repeat(40_000, axis=0)
    generator = np.random.default_rng(1)
    run = sampled_clipped_ascent(generator, many, rewards, plain, 1, 1, *NEVER, 2, reward_noise=0.5)
    steps = run.final_logits - many
    expected = policy_gradient(START[0], REWARDS[0], 0.5)
    assert abs((steps.mean(0) - expected) / (steps.std(0) / 200)).max() < 4


def test_sampled_tokens_stop_at_the_edge():
    run = sampled(1, 40, (0.2, 0.2), reward_noise=0.0)
    ratios = np.exp(log_probs(run.final_logits) - log_probs(START))
    assert run.clip_fractions_low[:, 1].max() > 0.5
    assert run.clip_fractions_high[:, 1].max() > 0.5
    assert 1.2 < ratios.max() < 1.2 * np.exp(0.5 * abs(REWARDS).max() * 2.5), "at most one step beyond"
    assert (run.rare_fractions_high <= run.clip_fractions_high).all()
    assert (run.rare_fractions_low <= run.clip_fractions_low).all()


def test_equal_seeds_give_equal_runs():
    first, again, other = (sampled(3, 2, (0.2, 0.2), seed=s).final_logits for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_values_at_progress_interpolates_between_records():
    progress, values = np.array([[0.0, 1.0, 3.0], [0.0, 3.0, 5.0]]), np.array([[1.0, 2.0, 3.0]] * 2)
    assert values_at_progress(progress, values, 3.0).tolist() == [2.5, 2.5]
    assert values_at_progress(progress, values, 0.0).tolist() == [1.0, 1.0]
    assert values_at_progress(progress, values, 4.0).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("ruler", ["divergences", "expected_returns"])
def test_matched_entropies_are_those_of_the_slowest_end(ruler):
    runs = {"narrow": exact(6, 3, (0.1, 0.1)), "wide": exact(6, 3, NEVER)}
    slow, fast = (getattr(run, ruler) for run in runs.values())
    assert slow.mean(0)[-1] < fast.mean(0)[-1]
    found = matched_entropies(runs, ruler)
    assert (found["narrow"] == runs["narrow"].entropies[:, -1]).all()
    expected = values_at_progress(fast, runs["wide"].entropies, slow.mean(0)[-1])
    assert found["wide"].mean() == pytest.approx(expected.mean(), rel=1e-12)


def test_the_spread_of_matched_entropies_is_that_of_resampled_instances():
    generator = np.random.default_rng(3)
    many, rewards = generator.normal(size=(2, 400, 7))
    clips = {"narrow": (0.1, 0.1), "wide": NEVER}
    runs = {
        k: exact_clipped_ascent(np.random.default_rng(0), many, rewards, plain, 4, 3, *c)
        for k, c in clips.items()
    }

    def difference(rows):
        taken = {
            k: replace(r, entropies=r.entropies[rows], divergences=r.divergences[rows])
            for k, r in runs.items()
        }
        found = matched_entropies(taken)
        return found["wide"] - found["narrow"]

    whole = difference(np.arange(400))
    again = [difference(generator.integers(400, size=400)).mean() for _ in range(200)]
    assert whole.std() / 20 == pytest.approx(np.std(again), rel=0.25)


@pytest.mark.usefixtures("without_shape_checks")
def test_bad_requests_are_told_what_to_do():
    with pytest.raises(ValueError, match="rounds, inner_steps must be at least 1.*got 0, 1"):
        exact(0, 1, (0.2, 0.2))
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        sampled(1, 1, (0.2, 0.2), batch_size=0)
    with pytest.raises(ValueError, match="distances from 1"):
        exact(1, 1, (1.2, 0.2))
    with pytest.raises(ValueError, match=r"logits\[None\]"):
        exact_clipped_ascent(RNG, START[0], REWARDS[0], plain, 1, 1, 0.2, 0.2)
    with pytest.raises(ValueError, match="must be finite"):
        exact_clipped_ascent(RNG, START, REWARDS * np.nan, plain, 1, 1, 0.2, 0.2)
    with pytest.raises(ValueError, match="smallest of the runs' largest means"):
        values_at_progress(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]), 2.0)
