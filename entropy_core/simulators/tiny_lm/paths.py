"""Steps of a run watched where the policy goes, and paths through the space of parameters.

The entropy lemma speaks of logits. Here a step of parameters, whatever made it, becomes a step of the logits
at every state that an answer can come through: as it came about, and to first order in the parameters.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from entropy_core._shapes import Float, Int
from entropy_core.batched import group_normalised_advantages, policy_moments, step_moments
from entropy_core.simulators.tiny_lm.measurement import VisitedStates, visited_states
from entropy_core.simulators.tiny_lm.model import TinyLM, answer_logits, sample_answers
from entropy_core.simulators.tiny_lm.tasks import draw_prompts, is_right
from entropy_core.simulators.tiny_lm.training import Run, advance

__all__ = [
    "PathResiduals",
    "Rollout",
    "WatchedStep",
    "linear_logit_change",
    "moved_model",
    "next_rollout",
    "parameter_step",
    "path_residuals",
    "policy_gradient",
    "random_parameter_step",
    "watch_steps",
]


class Rollout(NamedTuple):
    """The answers that a step learns from.

    Args:
        prompts: token indices, shape [answers, length]; the answers to one prompt stand together.
        answers: token indices, shape [answers, 3].
        advantages: of each answer, normalised in its group; in units of the group's standard deviation.
    """

    prompts: torch.Tensor
    answers: torch.Tensor
    advantages: torch.Tensor


class WatchedStep(NamedTuple):
    """A step of a run at every state, and at the states of the answers that it learnt from.

    Args:
        before: all states under the policy before the step.
        after: the same states, in the same order, under the policy after it.
        sampled_before: logits at the tokens of the rollout before the step, [answers, 3, vocabulary].
        sampled_after: the same after it.
    """

    before: VisitedStates
    after: VisitedStates
    sampled_before: torch.Tensor
    sampled_after: torch.Tensor


class PathResiduals(NamedTuple):
    """What predictions of ΔH miss along a straight path of parameters, in nats.

    Args:
        first: ΔH + Cov(log π, Δz) with the change of logits as it came about, shape [sizes, states].
        second: the same with the term of second order.
        linear: ΔH + Cov(log π, J Δθ), the change of logits to first order in the parameters.
        weights: share of each state under the policy at the start.
    """

    first: torch.Tensor
    second: torch.Tensor
    linear: torch.Tensor
    weights: torch.Tensor


def next_rollout(run: Run) -> Rollout:
    """The answers that the next step of a run is going to learn from; the run is not disturbed.

    Args:
        run: the run; with the arm "pure noise" its coins are not drawn here.

    Returns:
        Prompts, answers and the advantages of "grpo".
    """
    generator, settings = copy.deepcopy(run.generator), run.settings
    prompts = draw_prompts(generator, run.task, settings.prompts).to(run.model.head.weight.device)
    prompts = prompts.repeat_interleave(settings.samples, dim=0)
    answers = sample_answers(generator, run.model, prompts).tokens
    right = is_right(run.task, prompts, answers).view(settings.prompts, settings.samples)
    advantages = group_normalised_advantages(right.to(run.model.head.weight.dtype)).flatten()
    return Rollout(prompts, answers, advantages)


def watch_steps(run: Run, steps: int, prompts: Int[torch.Tensor, "prompts length"]) -> list[WatchedStep]:
    """Take a run some steps further, in place, and keep the logits around each step.

    Args:
        run: the run; it is changed, exactly as `advance` changes it.
        steps: number of rollouts, at least 1.
        prompts: prompts whose states are watched; a task's own for expectations without sampling error.

    Returns:
        One entry a step. More than five seconds show their progress.

    Raises:
        ValueError: steps is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}.")
    watched, before = [], visited_states(run.model, prompts)
    for _ in tqdm(range(steps), delay=5, desc=f"{run.settings.arm}, watched"):
        rollout = next_rollout(run)
        sampled_before = _logits(run.model, rollout)
        advance(run, 1)
        after = visited_states(run.model, prompts)
        watched.append(WatchedStep(before, after, sampled_before, _logits(run.model, rollout)))
        before = after
    return watched


def parameter_step(before: TinyLM, after: TinyLM) -> dict[str, torch.Tensor]:
    """What a step did to each parameter, in double precision.

    Args:
        before: the policy before the step.
        after: the policy after it, of the same size.

    Returns:
        The difference of each tensor of weights, by name.
    """
    weights = dict(before.named_parameters())
    return {
        name: weight.detach().double() - weights[name].detach().double()
        for name, weight in after.named_parameters()
    }


def policy_gradient(model: TinyLM, rollout: Rollout) -> dict[str, torch.Tensor]:
    """Gradient of the mean of A log π over the tokens of a rollout: the direction in which GRPO begins.

    Args:
        model: the policy.
        rollout: its answers and their advantages.

    Returns:
        The gradient of each tensor of weights, by name; ascent raises the reward.
    """
    names, weights = zip(*model.named_parameters(), strict=True)
    logits = answer_logits(model, rollout.prompts, rollout.answers)
    return dict(zip(names, torch.autograd.grad(_credit(logits, rollout), weights), strict=True))


def random_parameter_step(generator: np.random.Generator, model: TinyLM) -> dict[str, torch.Tensor]:
    """A direction that has nothing to do with a reward: independent standard normal numbers.

    Args:
        generator: source of randomness, drawn from on the host; its state is advanced.
        model: whose parameters; only their shapes count.

    Returns:
        One number for each weight, by name, in double precision.
    """
    return {
        name: torch.from_numpy(generator.normal(size=tuple(weight.shape))).to(weight.device)
        for name, weight in model.named_parameters()
    }


def moved_model(model: TinyLM, step: dict[str, torch.Tensor], size: float = 1.0) -> TinyLM:
    """A copy of a policy, moved along a step of its parameters.

    θ + size · Δθ

    Args:
        model: the policy; it is not changed.
        step: one tensor for each of its parameters, by name.
        size: how far, without a unit.

    Returns:
        The copy, in the dtype of the policy.
    """
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in moved.named_parameters():
            weight += size * step[name]
    return moved


def linear_logit_change(
    model: TinyLM, step: dict[str, torch.Tensor], prompts: Int[torch.Tensor, "prompts length"]
) -> Float[torch.Tensor, "states vocabulary"]:
    """Change of the logits to first order in the parameters, from two small moves in opposite directions.

    J Δθ, with J the derivative of the logits in the parameters before the step

    Args:
        model: the policy before the step, in double precision.
        step: Δθ, one tensor for each parameter, by name.
        prompts: whose states.

    Returns:
        One row for each state, in the order of `visited_states`, in nats.

    Raises:
        ValueError: the model is not in double precision.

    Numerics:
        The moves have length 1e-5; the error is some 1e-8 of the largest change where the logits move by a
        few units for each unit of length. tests/simulators/test_tiny_lm_paths.py.
    """
    _check_precision(model)
    length = torch.cat([part.flatten() for part in step.values()]).norm().item()
    ends = [visited_states(moved_model(model, step, move / length), prompts).logits for move in (-1e-5, 1e-5)]
    return (ends[1] - ends[0]) * (length / 2e-5)


def path_residuals(
    model: TinyLM,
    step: dict[str, torch.Tensor],
    logit_changes: Sequence[float] | Float[np.ndarray, " sizes"],
    prompts: Int[torch.Tensor, "prompts length"],
) -> PathResiduals:
    """What the lemma misses along a direction of parameters, at every state, over the size of the step.

    Args:
        model: the policy at the start, in double precision: the residuals are differences of near numbers.
        step: the direction, one tensor for each parameter, by name; its length does not count.
        logit_changes: sizes of the step as the root of the mean Var_π of J Δθ, in logits.
        prompts: whose states.

    Returns:
        The residuals of three predictions.

    Raises:
        ValueError: the model is not in double precision.
    """
    start, linear = visited_states(model, prompts), linear_logit_change(model, step, prompts)
    unit = (start.weights * step_moments(start.logits, linear).variance).sum().sqrt().item()
    rows = []
    for size in logit_changes:
        moved = visited_states(moved_model(model, step, float(size) / unit), prompts)
        came = step_moments(start.logits, moved.logits - start.logits)
        promised = float(size) / unit * step_moments(start.logits, linear).covariance
        change = came.entropy_change
        rows.append((change + came.covariance, change - came.second_order_entropy_change, change + promised))
    return PathResiduals(*(torch.stack(column) for column in zip(*rows, strict=True)), start.weights)


def _credit(logits, rollout):
    """Return the mean of A log π over the tokens of a rollout."""
    token_log_probs = policy_moments(logits, rollout.answers).token_log_probs
    return (rollout.advantages.to(logits.dtype)[:, None] * token_log_probs).mean()


def _check_precision(model):
    """Raise unless the model is in double precision."""
    if model.head.weight.dtype != torch.float64:
        raise ValueError(
            "differences of near numbers need a model in torch.float64; got "
            f"{model.head.weight.dtype}. Call .double() on a copy."
        )


@torch.no_grad()
def _logits(model, rollout):
    return answer_logits(model, rollout.prompts, rollout.answers)
