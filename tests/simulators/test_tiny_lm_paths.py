"""Every state against drawn answers, derivatives against small steps, runs that watching does not disturb."""

import copy

import numpy as np
import pytest
import torch

from entropy_core import reference
from entropy_core.simulators.tiny_lm import (
    DIGIT_SUM,
    Settings,
    VisitedStates,
    advance,
    answer_logits,
    average_entropy_change,
    compare_states,
    encode,
    linear_logit_change,
    mean_by_prompt,
    measure_step,
    moved_model,
    next_rollout,
    parameter_step,
    path_residuals,
    policy_gradient,
    random_parameter_step,
    sample_answers,
    start_run,
    visited_states,
    watch_steps,
)
from tests.simulators.tiny_models import lively_model, schooled_model, weights_of

MODEL = schooled_model()
PROMPTS = torch.tensor([encode("09="), encode("14=")])
FEW = Settings(prompts=4, samples=6, held_out=1)


def entropies(states):
    """Entropy at each state, by the reference."""
    return torch.from_numpy(reference.entropy(states.logits.numpy()))


def test_states_are_those_of_teacher_forcing_and_their_shares_products_of_probabilities():
    states, row, count = visited_states(MODEL, PROMPTS), 0, len(PROMPTS)
    assert len(states.logits) == len(states.weights) == 157 * count
    generator = np.random.default_rng(0)
    for prompt, a, b in generator.integers(0, [count, 12, 12], (40, 3)):
        answer = torch.tensor([[a, b, 0]])
        logits = answer_logits(MODEL, PROMPTS[prompt : prompt + 1], answer)[0]
        rows = 157 * prompt + np.array([0, 1 + a, 13 + 12 * a + b])
        assert (states.logits[rows] - logits).abs().max() < 1e-12
        reached = torch.cat([torch.ones(1), logits[:2].softmax(-1)[[0, 1], [a, b]]]).cumprod(0)
        assert states.weights[rows].numpy() == pytest.approx((reached / 3 / count).detach().numpy())
        row += 1
    assert row == 40


def test_shares_are_those_of_drawn_answers():
    states, many = visited_states(MODEL, PROMPTS[:1]), 4000
    prompts = PROMPTS[:1].expand(many, -1)
    drawn = sample_answers(np.random.default_rng(1), MODEL, prompts).tokens
    places = 1 + 12 + 12 * drawn[:, 0] + drawn[:, 1]
    shares = torch.bincount(places, minlength=157)[13:] / many
    exact = 3 * states.weights[13:]
    assert ((shares - exact).abs() < 4 * (exact * (1 - exact) / many).sqrt() + 1e-3).all()
    mean = reference.entropy(answer_logits(MODEL, prompts, drawn).detach().numpy()).mean(1)
    expected = (states.weights * entropies(states)).sum().item()
    assert abs(mean.mean() - expected) < 4 * mean.std() / many**0.5


def test_means_by_prompt_are_those_of_each_prompt_alone():
    states = visited_states(MODEL, PROMPTS)
    means = mean_by_prompt(states, entropies(states), 2)
    for prompt, mean in zip(PROMPTS, means, strict=True):
        alone = visited_states(MODEL, prompt[None])
        assert mean.item() == pytest.approx((alone.weights * entropies(alone)).sum().item())


def test_the_two_parts_make_the_change_of_the_mean():
    other = moved_model(MODEL, random_parameter_step(np.random.default_rng(2), MODEL), 0.02)
    before, after = visited_states(MODEL, PROMPTS), visited_states(other, PROMPTS)
    parts = average_entropy_change(before, after)
    means = [(states.weights * entropies(states)).sum().item() for states in (before, after)]
    assert sum(parts) == pytest.approx(means[1] - means[0])
    assert abs(parts.between_states) > 1e-5 < abs(parts.within_states)
    weighted = measure_step(before.logits, after.logits, before.weights)
    assert weighted.entropy_change == pytest.approx(parts.within_states)
    assert weighted.entropy_change != pytest.approx(measure_step(before.logits, after.logits).entropy_change)


def test_states_are_compared_as_a_loop_does():
    """Entropy of the last state falls against its promise: a push of 4 on the rare action of .6, .3, .1."""
    before = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.6, 0.3, 0.1]]))
    step = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 0.1], [0.0, 0.0, 4.0]])
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    found = compare_states(VisitedStates(before, weights), VisitedStates(before + step, weights))
    rows, residual = (before.double().numpy(), step.double().numpy()), 0.0
    for share, z, dz in zip(weights.tolist(), *rows, strict=True):
        change = reference.entropy(z + dz) - reference.entropy(z)
        residual += share * abs(change + reference.covariance_over_actions(reference.log_probs(z), dz, z))
    assert found.residual == pytest.approx(residual, rel=1e-6)
    assert (found.rising, found.wrong_sign) == pytest.approx((0.3, 0.2))


def test_watching_does_not_disturb_and_sees_the_rollout():
    run, plain = (start_run(3, MODEL, DIGIT_SUM, FEW) for _ in range(2))
    watched = watch_steps(run, 2, PROMPTS)
    advance(plain, 2)
    assert (weights_of(run.model) == weights_of(plain.model)).all()
    assert run.records == plain.records
    for step, record in zip(watched, run.records, strict=True):
        own = reference.entropy(step.sampled_before.numpy()).mean()
        assert own == pytest.approx(record.entropy), "the states of the rollout are the run's"
    assert (watched[0].after.logits == watched[1].before.logits).all()
    assert (watched[1].after.logits == visited_states(run.model, PROMPTS).logits).all()
    assert (watched[1].sampled_after - watched[1].sampled_before).abs().max() > 1e-4


def test_the_gradient_is_the_one_that_the_run_follows():
    settings = FEW._replace(minibatches=1, samples=12)
    run = start_run(4, MODEL, DIGIT_SUM, settings)
    gradient = policy_gradient(run.model, next_rollout(run))
    advance(run, 1)
    norm = sum(part.square().sum() for part in gradient.values()).sqrt().item()
    assert run.records[0].gradient_norm == pytest.approx(norm, rel=1e-4)
    step = parameter_step(MODEL, run.model)
    big = {name: part.abs() > 1e-4 * norm for name, part in gradient.items()}
    signs = torch.cat([(step[n].sign() == part.sign())[big[n]] for n, part in gradient.items()])
    assert len(signs) > 100
    assert signs.all(), "the first step of Adam climbs along every coordinate"


def test_linear_change_is_the_derivative_of_the_logits():
    """For the head, in which logits are linear, by hand; otherwise against automatic differentiation."""
    model = lively_model()
    step = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    step["head.weight"] = 3 * model.head.weight.detach()
    linear = linear_logit_change(model, step, PROMPTS)
    assert (linear - 3 * visited_states(model, PROMPTS).logits).abs().max() < 1e-8
    step = random_parameter_step(np.random.default_rng(8), model)
    linear = linear_logit_change(model, step, PROMPTS)
    for token in (0, 7):
        logit = answer_logits(model, PROMPTS[1:], torch.zeros(1, 3, dtype=torch.long))[0, 0, token]
        slopes = torch.autograd.grad(logit, list(model.parameters()))
        slope = sum((part * move).sum() for part, move in zip(slopes, step.values(), strict=True))
        assert linear[157, token].item() == pytest.approx(slope.item(), rel=1e-6)


@pytest.mark.claim("network-residual-orders")
def test_residuals_have_their_orders_at_states_of_a_lively_network():
    """The negative control beside them has order 1."""
    model, sizes = lively_model(spread=0.2), np.geomspace(1e-4, 1e-1, 4)
    step = random_parameter_step(np.random.default_rng(9), model)
    found = path_residuals(model, step, sizes, PROMPTS)
    weights, *residuals = (part.numpy() for part in (found.weights, *found[:3]))

    def order(values):
        return np.polyfit(np.log(sizes), np.log((weights * abs(values)).sum(1)), 1)[0]

    assert [order(values) for values in residuals] == pytest.approx([2, 3, 2], abs=0.1)
    logits = visited_states(model, PROMPTS).logits.numpy()
    linear = linear_logit_change(model, step, PROMPTS).numpy()
    rms = (weights * reference.covariance_over_actions(linear, linear, logits)).sum() ** 0.5
    slope = reference.covariance_over_actions(reference.log_probs(logits), linear / rms, logits)
    turned = residuals[2] - 2 * sizes[:, None] * slope
    assert order(turned) == pytest.approx(1, abs=0.1), "with the sign of the covariance turned"


def test_the_model_that_is_moved_stays_where_it_is():
    model = copy.deepcopy(MODEL)
    step = random_parameter_step(np.random.default_rng(10), model)
    moved = moved_model(model, step, 0.5)
    assert (weights_of(model) == weights_of(MODEL)).all()
    back = parameter_step(model, moved)
    assert all((back[name] - 0.5 * step[name]).abs().max() < 1e-12 for name in step)


def test_errors_teach():
    run = start_run(0, MODEL, DIGIT_SUM, FEW)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        watch_steps(run, 0, PROMPTS)
    single = copy.deepcopy(MODEL).float()
    step = random_parameter_step(np.random.default_rng(0), single)
    with pytest.raises(ValueError, match="torch.float64; got torch.float32"):
        path_residuals(single, step, [0.1], PROMPTS)
