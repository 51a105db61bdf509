"""Runs of the tiny language model: an update by hand, arms against each other, the slopes of theory."""

import copy
import csv
import math

import numpy as np
import pytest
import torch

from entropy_core import reference
from entropy_core.simulators.tiny_lm import (
    ARMS,
    DIGIT_SUM,
    Settings,
    StepRecord,
    Task,
    advance,
    answer_log_probs,
    answer_logits,
    decode,
    draw_prompts,
    every_prompt,
    make_model,
    measure_step,
    sample_answers,
    slip_probs,
    stacked_records,
    start_run,
    write_csv,
)
from tests.simulators.tiny_models import SMALL, schooled_model, weights_of

MODEL = schooled_model()
FEW = Settings(prompts=8, samples=6, held_out=16)


def trained(steps=1, seed=0, **changes):
    """Run some steps from the model of this module."""
    return advance(start_run(seed, MODEL, DIGIT_SUM, FEW._replace(**changes)), steps)


def same(first, second):
    """Whether two runs arrived at the same weights, bit for bit."""
    return bool((weights_of(first.model) == weights_of(second.model)).all())


def drawn_by_hand(generator, settings):
    """Draw a rollout and judge it by its text."""
    prompts = draw_prompts(generator, DIGIT_SUM, settings.prompts).repeat_interleave(settings.samples, 0)
    answers = sample_answers(generator, MODEL, prompts).tokens
    texts = [(decode(p), decode(a)) for p, a in zip(prompts, answers, strict=True)]
    rewards = [float(a.isdigit() and sum(map(int, a)) == int(p[:2])) for p, a in texts]
    return prompts, answers, np.array(rewards).reshape(settings.prompts, -1)


@pytest.mark.parametrize("arm", ["grpo", "reinforce"])
def test_the_first_update_is_the_policy_gradient_of_a_loop(arm):
    settings = FEW._replace(arm=arm, minibatches=1, samples=12)
    prompts, answers, rewards = drawn_by_hand(np.random.default_rng(3).spawn(2)[0], settings)
    assert 0 < rewards.mean() < 1
    advantages = rewards - rewards.mean(1, keepdims=True)
    if arm == "grpo":
        advantages = advantages / (rewards.std(1, ddof=1, keepdims=True) + 1e-6)
    model = copy.deepcopy(MODEL)
    log_probs = answer_logits(model, prompts, answers).log_softmax(-1)
    loss = 0.0
    for i, advantage in enumerate(advantages.flatten()):
        for t in range(3):
            loss = loss - advantage * log_probs[i, t, answers[i, t]] / answers.numel()
    loss.backward()
    norm = math.sqrt(sum(weight.grad.square().sum().item() for weight in model.parameters()))
    torch.optim.Adam(model.parameters(), lr=settings.learning_rate).step()
    run = advance(start_run(3, MODEL, DIGIT_SUM, settings), 1)
    assert run.records[0].gradient_norm == pytest.approx(norm, rel=1e-9)
    assert run.records[0].reward == pytest.approx(rewards.mean())
    assert (weights_of(run.model) - weights_of(model)).abs().max() < 1e-9
    assert (weights_of(run.model) - weights_of(MODEL)).abs().max() > 1e-4


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_runs_and_is_an_arm_of_its_own(arm):
    changes = {"clip": 0.01, "clip_higher": 0.05, "covariance_low": 0.05, "learning_rate": 5e-3}
    run = trained(2, arm=arm, **changes)
    assert [record.step for record in run.records] == [1, 2]
    assert all(math.isfinite(value) for record in run.records for value in record)
    assert not same(run, trained(2, **changes)) or arm == "grpo"
    assert same(run, trained(2, arm=arm, **changes)), "equal seeds, equal bits"
    assert same(run, trained(2, arm=arm, **changes | {"held_out": 5})), "measuring does not disturb"


def test_arms_without_their_intervention_are_grpo():
    grpo = trained(2)
    assert same(trained(2, arm="entropy bonus", entropy_coefficient=0.0), grpo)
    assert same(trained(2, arm="clip-higher", clip_higher=0.2), grpo)
    assert same(trained(2, arm="clip-cov", dropped_share=0.0), grpo)
    assert same(trained(2, arm="kl-cov", penalty_weight=0.0), trained(2, arm="kl-cov", penalised_share=0.0))


def test_the_published_penalty_waits_for_the_second_update():
    """Its gradient is 0 where π = π_old: with one update a rollout KL-Cov is as if it had no penalty."""
    once = {"arm": "kl-cov", "minibatches": 1}
    assert same(trained(2, **once, penalty_weight=5.0), trained(2, **once, penalty_weight=0.0))
    twice = once | {"minibatches": 2}
    assert not same(trained(1, **twice, penalty_weight=5.0), trained(1, **twice, penalty_weight=0.0))


def test_pure_noise_is_judged_by_the_task():
    noise, grpo = trained(arm="pure noise"), trained()
    assert noise.records[0].reward == grpo.records[0].reward
    assert noise.records[0].batch_covariance != grpo.records[0].batch_covariance


def test_the_measurement_is_that_of_the_reference():
    run = start_run(5, MODEL, DIGIT_SUM, FEW)
    generator = np.random.default_rng(5).spawn(2)[1]
    prompts = draw_prompts(generator, DIGIT_SUM, FEW.held_out)
    answers = sample_answers(generator, MODEL, prompts).tokens
    record = advance(run, 1).records[0]
    with torch.no_grad():
        before, after = (answer_logits(model, prompts, answers).numpy() for model in (MODEL, run.model))
    step = after - before
    assert record.held_out_entropy == pytest.approx(reference.entropy(before).mean())
    exact = (reference.entropy(after) - reference.entropy(before)).mean()
    assert record.entropy_change == pytest.approx(exact, rel=1e-9)
    first = -reference.covariance_over_actions(reference.log_probs(before), step, before).mean()
    assert record.first_order_entropy_change == pytest.approx(first)
    second = reference.second_order_entropy_change(before, step).mean()
    assert record.second_order_entropy_change == pytest.approx(second)
    assert record.kl_divergence == pytest.approx(reference.kl_divergence(before, step).mean())
    variance = reference.covariance_over_actions(step, step, before).mean()
    assert record.logit_change == pytest.approx(variance**0.5)


def test_the_proxy_splits_into_states():
    record = trained(arm="reinforce", samples=40).records[0]
    assert record.batch_covariance == pytest.approx(record.within_states + record.between_states)
    assert record.within_states != 0 != record.between_states


def test_held_out_entropy_follows_the_orders(record_property):
    """The residual of −Cov falls as the square of the step, that of the second order as its cube."""
    run = trained(arm="reinforce", samples=16)
    directions = [new - old for new, old in zip(run.model.parameters(), MODEL.parameters(), strict=True)]
    prompts = draw_prompts(np.random.default_rng(8), DIGIT_SUM, 64)
    answers = sample_answers(np.random.default_rng(9), MODEL, prompts).tokens
    sizes, residuals = 2.0 ** np.arange(-6, 1), []
    with torch.no_grad():
        before = answer_logits(MODEL, prompts, answers)
        for size in sizes:
            moved = copy.deepcopy(MODEL)
            for weight, direction in zip(moved.parameters(), directions, strict=True):
                weight += size * direction
            step = measure_step(before, answer_logits(moved, prompts, answers))
            predictions = step.first_order_entropy_change, step.second_order_entropy_change
            residuals.append([abs(step.entropy_change - p) for p in predictions])
    slopes = np.polyfit(np.log(sizes), np.log(residuals), 1)[0]
    record_property("slopes", f"{slopes[0]:.3f}, {slopes[1]:.3f}")
    assert slopes == pytest.approx([2, 3], abs=0.05)


def test_grpo_learns_and_noise_does_not(record_property):
    """A task of copying one digit from a uniform start; accuracy by enumeration, three seeds each."""
    copying = Task("copy a digit", operands=1, smallest=2, largest=4, place_values=(1, 0, 0))
    start, prompts = make_model(np.random.default_rng(0), SMALL), every_prompt(copying)
    few = Settings(prompts=6, samples=16, held_out=2, learning_rate=1e-2)

    def accuracies(arm):
        runs = [start_run(seed, start, copying, few._replace(arm=arm)) for seed in range(3)]
        models = [start] + [advance(run, 20).model for run in runs]
        every = [np.exp(answer_log_probs(model, prompts)) for model in models]
        return [slip_probs(copying, prompts, probs, [0]).mean() for probs in every]

    (before, *learned), (_, *noise) = accuracies("grpo"), accuracies("pure noise")
    record_property("share right", ", ".join(f"{value:.2f}" for value in (before, *learned, *noise)))
    assert before == pytest.approx(100 / 12**3)
    assert min(learned) > 3 * before, "every seed learns"
    assert max(noise) < 2 * before, "and no seed learns from coins"


def test_runs_are_stacked_by_name_and_only_if_equally_long():
    runs = [trained(2, seed) for seed in (0, 1)]
    columns = stacked_records(runs)
    assert columns["reward"].tolist() == [[record.reward for record in run.records] for run in runs]
    assert columns["step"].tolist() == [[1, 2], [1, 2]]
    assert set(columns) == set(StepRecord._fields)
    for wrong in ([], [runs[0], trained(1)]):
        with pytest.raises(ValueError, match="same number of steps"):
            stacked_records(wrong)


def test_a_table_is_written_and_read_back(tmp_path):
    run = trained(2)
    write_csv(run.records, tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == list(StepRecord._fields)
    assert [[float(value) for value in row] for row in rows] == [list(record) for record in run.records]


def test_a_gradient_that_is_not_finite_is_not_applied():
    run = start_run(0, MODEL, DIGIT_SUM, FEW)
    handle = run.model.head.weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(FloatingPointError, match="step 1 is not finite and was not applied"):
        advance(run, 1)
    handle.remove()
    assert run.records == []
    assert (weights_of(run.model) == weights_of(MODEL)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arm": "ppo"}, "one of grpo, reinforce"),
        ({"optimiser": "adagrad"}, "one of adam, sgd; got 'adagrad'"),
        ({"samples": 1}, "no group"),
        ({"minibatches": 3}, "8 prompts in 3"),
        ({"learning_rate": float("nan")}, "positive and finite"),
    ],
)
def test_errors_teach(changes, message):
    with pytest.raises(ValueError, match=message):
        start_run(0, MODEL, DIGIT_SUM, FEW._replace(**changes))


@pytest.mark.claim("scale-free-step")
@pytest.mark.parametrize(("optimiser", "power"), [("sgd", 1), ("adam", 0)])
def test_only_gradient_descent_takes_longer_steps_where_advantages_are_larger(optimiser, power):
    """With all gradients times four, as if all advantages were, Adam takes the same step but for its ε."""
    runs = [
        start_run(6, MODEL, DIGIT_SUM, FEW._replace(optimiser=optimiser, learning_rate=1e-4, minibatches=1))
        for _ in range(2)
    ]
    for weight in runs[1].model.parameters():
        weight.register_hook(lambda gradient: 4 * gradient)
    first, second = (weights_of(advance(run, 1).model) - weights_of(MODEL) for run in runs)
    assert first.abs().max() > 1e-6
    assert (second - 4**power * first).norm() < 0.02 * first.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_step_agrees_with_the_processor():
    there = advance(start_run(0, copy.deepcopy(MODEL).cuda(), DIGIT_SUM, FEW), 1).records[0]
    assert list(there) == pytest.approx(list(trained().records[0]), rel=1e-6)
