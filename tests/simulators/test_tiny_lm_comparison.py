"""Arms against each other: expectations by a loop over answers, excess of known curves, Student by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from entropy_core import reference
from entropy_core.simulators.tiny_lm import (
    ADDITION,
    DIGIT_SUM,
    ArmRecord,
    Settings,
    arm_records,
    entropy_excess,
    evaluate,
    evaluate_exactly,
    make_model,
    run_arms,
    sample_answers,
    student_interval,
    value_at_reward,
)
from tests.simulators.tiny_models import lively_model, schooled_model, weights_of

FEW = Settings(prompts=4, samples=4, held_out=1)
SHORT = DIGIT_SUM._replace(smallest=9, largest=10)
FALL = np.linspace(0, 1, 201)


def of_one_prompt(model, text, samples):
    """Go through all answers to a prompt, one token after another, in NumPy."""
    prompt, nats, right = ["0123456789+=".index(c) for c in text], 0.0, []

    def logits_after(*tokens):
        with torch.no_grad():
            return model(torch.tensor([[*prompt, *tokens]]))[0][0, -1].numpy()

    first = reference.probs(logits_after())
    nats += reference.entropy(logits_after())
    for a, p in enumerate(first):
        second = reference.probs(logits_after(a))
        nats += p * reference.entropy(logits_after(a))
        for b, q in enumerate(second):
            third = reference.probs(logits_after(a, b))
            nats += p * q * reference.entropy(logits_after(a, b))
            c = int(text[:2]) - a - b
            if a < 10 and b < 10 and 0 <= c < 10:
                right.append(p * q * third[c])
    return sum(right), nats / 3, sum(1 - (1 - chance) ** samples for chance in right)


def test_expectations_are_those_of_a_loop_over_answers():
    model = lively_model()
    found = evaluate_exactly(model, SHORT, samples=64)
    by_hand = np.mean([of_one_prompt(model, text, 64) for text in ("09=", "10=")], axis=0)
    assert found == pytest.approx(tuple(by_hand), rel=1e-9)
    assert 0.001 < found.reward < found.distinct_right


def test_samples_agree_with_the_expectations():
    model = schooled_model()
    exact = evaluate_exactly(model, DIGIT_SUM)
    sampled = evaluate(np.random.default_rng(0), model, DIGIT_SUM, 4000)
    assert sampled.accuracy == pytest.approx(exact.reward, abs=4 * math.sqrt(exact.reward / 4000))
    assert sampled.entropy == pytest.approx(exact.entropy, abs=0.03)


def test_distinct_answers_are_counted_in_samples():
    model = schooled_model()
    task = DIGIT_SUM._replace(smallest=9, largest=9)
    exact = evaluate_exactly(model, task, samples=20).distinct_right
    prompts = torch.tensor([[0, 9, 11]]).expand(20, -1)
    counts = []
    for k in range(300):
        tokens = sample_answers(np.random.default_rng(k), model, prompts).tokens
        counts.append(len({tuple(t) for t in tokens.tolist() if max(t) < 10 and sum(t) == 9}))
    assert exact == pytest.approx(np.mean(counts), abs=4 * np.std(counts) / math.sqrt(300))
    assert evaluate_exactly(model, task, samples=1).distinct_right == pytest.approx(
        evaluate_exactly(model, task).reward
    )


def test_the_uniform_policy_is_right_as_often_as_counting_says():
    found = evaluate_exactly(make_model(np.random.default_rng(0)), DIGIT_SUM)
    totals = np.bincount([a + b + c for a in range(10) for b in range(10) for c in range(10)])
    assert found.reward == pytest.approx(totals[7:21].mean() / 12**3, rel=1e-5)
    assert found.entropy == pytest.approx(math.log(12), rel=1e-6)


def test_every_arm_has_the_same_priors_and_seeds():
    models = [schooled_model(), lively_model()]
    curves = run_arms(models, SHORT, {"plain": FEW, "again": FEW, "other": FEW._replace(arm="repo")}, 2)
    assert curves["plain"].steps.tolist() == [0, 1, 2]
    assert curves["plain"].seeds == (0, 1)
    for values in ("rewards", "entropies", "distinct_right"):
        plain, again, other = (getattr(runs, values) for runs in curves.values())
        assert plain.shape == (2, 3)
        assert (plain == again).all()
        assert (plain[:, 0] == other[:, 0]).all()
        assert (plain[:, 2] != other[:, 2]).all()
        assert plain[0, 0] != plain[1, 0]
    last = evaluate_exactly(curves["plain"].models[1], SHORT)
    assert last == (
        *(values[1, 2] for values in (curves["plain"].rewards, curves["plain"].entropies)),
        last[2],
    )
    assert (weights_of(models[0]) == weights_of(schooled_model())).all(), "the prior is copied"


def test_recording_seldom_does_not_change_the_run():
    often = run_arms([schooled_model()], SHORT, {"grpo": FEW}, 4, first_seed=3)["grpo"]
    seldom = run_arms([schooled_model()], SHORT, {"grpo": FEW}, 4, record_every=2, first_seed=3)["grpo"]
    assert (often.entropies[:, ::2] == seldom.entropies).all()
    assert seldom.seeds == (3,)


def test_records_are_a_table():
    curves = run_arms([schooled_model()] * 2, SHORT, {"grpo": FEW, "kl-cov": FEW._replace(arm="kl-cov")}, 1)
    table = pd.DataFrame(arm_records(curves))
    assert tuple(table.columns) == ArmRecord._fields
    assert len(table) == 8
    row = table[(table.arm == "kl-cov") & (table.seed == 1) & (table.step == 1)].iloc[0]
    runs = curves["kl-cov"]
    assert (row.reward, row.entropy, row.distinct_right) == (
        runs.rewards[1, 1],
        runs.entropies[1, 1],
        runs.distinct_right[1, 1],
    )


def curve(speed):
    """Three runs along H = 2 − R − R²/3 that reach R = .8, .7 and .6 at speed 1."""
    rewards = 0.1 + np.outer([0.7, 0.6, 0.5], speed * FALL)
    return rewards, 2 - rewards - rewards**2 / 3


@pytest.mark.claim("a-brake-keeps-nothing")
def test_slowness_is_all_that_a_slower_run_keeps():
    excess = entropy_excess(*curve(0.5), *curve(1.0))
    ends = [np.array(r) * 0.7 + 0.1 for r in (0.5, 1.0)]
    slow, fast = (2 - r - r**2 / 3 for r in ends)
    assert excess.at_equal_steps[0] == pytest.approx((slow - fast)[()], rel=1e-12)
    assert abs(excess.at_equal_reward).max() < 1e-4
    assert excess.slowness == pytest.approx(excess.at_equal_steps, abs=1e-4)


def test_what_is_kept_at_equal_reward_is_found():
    rewards, entropies = curve(0.5)
    excess = entropy_excess(rewards, entropies + np.array([[0.3], [0.2], [0.1]]), *curve(1.0))
    assert excess.at_equal_reward == pytest.approx([0.3, 0.2, 0.1], abs=1e-4)
    assert excess.at_equal_steps == pytest.approx(excess.at_equal_reward + excess.slowness)
    faster = entropy_excess(*curve(1.0), *curve(0.5))
    assert abs(faster.at_equal_reward).max() < 1e-4
    assert (faster.at_equal_steps < 0).all()


def test_a_level_that_is_not_reached_has_no_entropy():
    rewards, entropies = curve(1.0)
    found = value_at_reward(rewards, entropies, 0.65)
    assert found == pytest.approx([2 - 0.65 - 0.65**2 / 3] * 2 + [math.nan], abs=1e-4, nan_ok=True)
    assert np.isnan(value_at_reward(rewards, entropies, 0.05)).all()
    each = np.array([0.7, 0.65, 0.55])
    assert value_at_reward(rewards, entropies, each) == pytest.approx(2 - each - each**2 / 3, abs=1e-4)


def test_the_interval_is_that_of_a_t_test():
    values = np.random.default_rng(0).normal(0.4, 1.0, 5)
    interval = student_interval(np.append(values, np.nan))
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = (interval.mean - interval.half_width, interval.mean + interval.half_width)
    assert found == pytest.approx((low, high))
    assert interval.count == 5
    assert np.isnan(student_interval(values[:1]).half_width)
    assert student_interval(np.array([np.nan])).count == 0


def test_errors_teach():
    with pytest.raises(ValueError, match="2 operands"):
        evaluate_exactly(lively_model(), ADDITION)
    with pytest.raises(ValueError, match="3 steps with a record every 2"):
        run_arms([lively_model()], SHORT, {"grpo": FEW}, 3, record_every=2)
    with pytest.raises(ValueError, match="0 models"):
        run_arms([], SHORT, {"grpo": FEW}, 1)
