"""Reinforcement learning on a verifiable task, one rollout after another, measured on states of their own.

A step draws answers to a batch of prompts, judges them, and takes one update of the optimiser on each part of
the batch. What happens to the advantages and to the loss is the arm; every formula of an arm is the
package's, in `entropy_core.batched.interventions`. Before the step other answers are drawn from the same
policy, with other random numbers: at their states entropy is measured before and after, so that the sampled
batch does not flatter the prediction and the measurement does not disturb the run.
"""

import copy
import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from entropy_core._shapes import Float
from entropy_core.batched import (
    absolute_log_ratio,
    batch_covariance,
    clip_cov_loss,
    clip_cov_selection,
    clipped_policy_loss,
    entropy_bonus_loss,
    group_centred_advantages,
    group_normalised_advantages,
    kl_cov_loss,
    kl_cov_selection,
    natural_repo_coefficient,
    policy_moments,
    repo_advantages,
    repo_sums,
)
from entropy_core.simulators.tiny_lm.measurement import distinct_right, measure_step, state_labels
from entropy_core.simulators.tiny_lm.model import TinyLM, answer_logits, sample_answers
from entropy_core.simulators.tiny_lm.tasks import Task, draw_prompts, is_right

__all__ = ["ARMS", "Run", "Settings", "StepRecord", "advance", "stacked_records", "start_run", "write_csv"]

ARMS = ("grpo", "reinforce", "entropy bonus", "clip-higher", "clip-cov", "kl-cov", "repo", "pure noise")
OPTIMISERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class Settings(NamedTuple):
    """What fixes a run besides the prior, the task and the seed.

    Published selections, 2e-4 of the tokens, are less than one token of a batch of this size; the defaults
    are scaled and say nothing about those.

    Args:
        arm: "grpo" has normalised advantages and the symmetric clip; the others change one thing of it.
            "reinforce" has centred advantages and no ratio. "entropy bonus" adds −αH to the loss.
            "clip-higher" has `clip_higher` for the upper clip. "clip-cov" drops tokens with a large
            covariance term; "kl-cov" adds β|ℓ − ℓ_old| of such tokens and does not clip. "repo" makes the
            advantages of each part neutral to entropy. "pure noise" replaces the reward by a coin.
        prompts: prompts of a rollout.
        samples: answers to each prompt, at least 2.
        minibatches: parts of a rollout, whole groups each, one update on each.
        learning_rate: of the optimiser. Gradient descent takes .01 here: from .02 on it diverges, and below
            .004 little happens.
        optimiser: "adam", or "sgd" for gradient descent, without momentum.
        clip: distance from 1 of both clips.
        clip_higher: distance from 1 of the upper clip of "clip-higher".
        entropy_coefficient: α of "entropy bonus", in units of the advantage per nat.
        dropped_share: share of tokens that "clip-cov" drops at most, in each part.
        covariance_low: least covariance term of a token that may be dropped.
        covariance_high: largest.
        penalised_share: share of tokens that "kl-cov" penalises, in each part.
        penalty_weight: β of "kl-cov".
        held_out: answers drawn for the measurement of a step.
    """

    arm: str = "grpo"
    prompts: int = 16
    samples: int = 16
    minibatches: int = 2
    learning_rate: float = 5e-4
    optimiser: str = "adam"
    clip: float = 0.2
    clip_higher: float = 0.28
    entropy_coefficient: float = 0.2
    dropped_share: float = 0.05
    covariance_low: float = 1.0
    covariance_high: float = 5.0
    penalised_share: float = 0.1
    penalty_weight: float = 2.0
    held_out: int = 128


class StepRecord(NamedTuple):
    """One step; a list of these is a table. Entropies and log-probabilities in nats.

    Args:
        step: its number, from 1.
        reward: share of right answers in the rollout, whatever reward the arm uses.
        distinct_right: different right answers among the samples of a prompt, mean over prompts.
        entropy: mean H at the tokens of the rollout, before the update.
        held_out_entropy: mean H at the held-out states, before the update.
        entropy_change: mean ΔH at the held-out states over the whole step.
        first_order_entropy_change: mean −Cov(log π, Δz) there, Δz the logits' change as it came about.
        second_order_entropy_change: the prediction to second order.
        logit_change: root of the mean Var_π Δz there.
        kl_divergence: mean KL of the policy before from the policy after, there.
        batch_covariance: covariance of log π and A over the tokens of the rollout: the proxy.
        within_states: its part within states.
        between_states: its part between states.
        clip_fraction: share of tokens whose gradient the clip stops, mean over the updates.
        gradient_norm: norm of the loss's gradient, mean over the updates.
    """

    step: int
    reward: float
    distinct_right: float
    entropy: float
    held_out_entropy: float
    entropy_change: float
    first_order_entropy_change: float
    second_order_entropy_change: float
    logit_change: float
    kl_divergence: float
    batch_covariance: float
    within_states: float
    between_states: float
    clip_fraction: float
    gradient_norm: float


@dataclass
class Run:
    """A run under way: `advance` takes it further, `save_run` keeps it.

    Args:
        task: the task.
        settings: what fixes the run.
        model: the policy of the moment.
        optimiser: that of the settings, with its state.
        generator: source of prompts, answers and noise.
        held_out_generator: source of the prompts and answers of the measurement.
        records: one a step.
    """

    task: Task
    settings: Settings
    model: TinyLM
    optimiser: torch.optim.Optimizer
    generator: np.random.Generator
    held_out_generator: np.random.Generator
    records: list[StepRecord]


class _Part(NamedTuple):
    """A part of a rollout: prompts, answers, advantages, and the logits that the answers were drawn with."""

    prompts: torch.Tensor
    answers: torch.Tensor
    advantages: torch.Tensor
    old_logits: torch.Tensor


def start_run(seed: int, model: TinyLM, task: Task, settings: Settings | None = None) -> Run:
    """Begin a run from a prior, which is copied.

    Args:
        seed: of everything that the run draws.
        model: the prior.
        task: the task.
        settings: what fixes the run; `Settings()` by default.

    Returns:
        The run, before its first step.

    Raises:
        ValueError: a setting is out of its range.
    """
    settings = settings or Settings()
    _check(settings)
    policy = copy.deepcopy(model)
    optimiser = OPTIMISERS[settings.optimiser](policy.parameters(), lr=settings.learning_rate)
    return Run(task, settings, policy, optimiser, *np.random.default_rng(seed).spawn(2), records=[])


def advance(run: Run, steps: int) -> Run:
    """Take a run some steps further, in place.

    Args:
        run: the run; it is changed.
        steps: number of rollouts, at least 1.

    Returns:
        The same run. More than five seconds show their progress.

    Raises:
        ValueError: steps is below 1.
        FloatingPointError: the policy diverged; the records end with the last good step.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}.")
    for _ in tqdm(range(steps), delay=5, desc=run.settings.arm):
        run.records.append(_step(run))
    return run


def stacked_records(runs: Iterable[Run]) -> dict[str, Float[np.ndarray, "runs steps"]]:
    """What several runs recorded, by name, as figures and averages over seeds read it.

    Args:
        runs: at least one; all have taken the same number of steps.

    Returns:
        Each name of `StepRecord` to its values, a row for each run.

    Raises:
        ValueError: there is no run, or their numbers of steps differ.

    Example:
        >>> from entropy_core.simulators.tiny_lm import DIGIT_SUM, make_model
        >>> few, model = Settings(prompts=2, samples=2, held_out=2), make_model(np.random.default_rng(0))
        >>> runs = [advance(start_run(seed, model, DIGIT_SUM, few), 3) for seed in (0, 1)]
        >>> stacked_records(runs)["step"].tolist()
        [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    """
    tables = [run.records for run in runs]
    lengths = {len(records) for records in tables}
    if len(lengths) != 1:
        raise ValueError(
            f"runs must have taken the same number of steps, at least one run; got {sorted(lengths)} steps "
            "of the runs. Advance the shorter ones, or stack fewer records."
        )
    values = np.array(tables, float).reshape(len(tables), lengths.pop(), len(StepRecord._fields))
    return dict(zip(StepRecord._fields, values.transpose(2, 0, 1), strict=True))


def write_csv(records: Iterable[StepRecord], path: str | Path) -> None:
    """Write records as a table with one row a step and a header of their names.

    Args:
        records: of a run.
        path: file to write.
    """
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([StepRecord._fields, *records])


def _step(run):
    """Draw, judge, update and measure."""
    settings, task, model = run.settings, run.task, run.model
    device = model.head.weight.device
    seen = draw_prompts(run.held_out_generator, task, settings.held_out).to(device)
    answered = sample_answers(run.held_out_generator, model, seen).tokens
    before = _logits(model, seen, answered)

    prompts = draw_prompts(run.generator, task, settings.prompts).to(device)
    prompts = prompts.repeat_interleave(settings.samples, dim=0)
    answers = sample_answers(run.generator, model, prompts).tokens
    groups = (settings.prompts, settings.samples)
    right = is_right(task, prompts, answers).view(groups)
    rewards = right.to(before.dtype)
    if settings.arm == "pure noise":
        coins = torch.from_numpy(run.generator.integers(0, 2, groups))
        rewards = coins.to(device, before.dtype)
    normalise = group_centred_advantages if settings.arm == "reinforce" else group_normalised_advantages
    advantages = normalise(rewards).view(-1, 1).expand(answers.shape)

    size = len(answers) // settings.minibatches
    pieces = zip(prompts.split(size), answers.split(size), advantages.split(size), strict=True)
    # Each part alone, as it is read again for its update: the first ratio is then 1 to the last bit.
    parts = [_Part(*piece, _logits(model, *piece[:2])) for piece in pieces]
    old = policy_moments(torch.cat([part.old_logits for part in parts]), answers)
    everything = torch.ones_like(answers, dtype=torch.bool)
    covariance = batch_covariance(old.token_log_probs, advantages, state_labels(prompts, answers), everything)
    updates = [_update(run, part, index) for index, part in enumerate(parts)]
    measured = measure_step(before, _logits(model, seen, answered))
    return StepRecord(
        len(run.records) + 1,
        right.double().mean().item(),
        distinct_right(answers.view(*groups, -1), right).double().mean().item(),
        old.entropy.mean().item(),
        *measured,
        *(value.item() for value in covariance),
        *(sum(values) / len(updates) for values in zip(*updates, strict=True)),
    )


def _update(run, part, index):
    """Take one update on a part of the rollout; return its clip fraction and the norm of its gradient."""
    seed = len(run.records) * run.settings.minibatches + index
    loss, clip_fraction = _loss(
        run.settings, part, answer_logits(run.model, part.prompts, part.answers), seed
    )
    run.optimiser.zero_grad()
    loss.backward()
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in run.model.parameters()]).item()
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"the gradient of step {len(run.records) + 1} is not finite and was not applied; the policy has "
            "diverged. Go back to a checkpoint and take a smaller learning rate."
        )
    run.optimiser.step()
    return clip_fraction, norm


def _loss(settings, part, logits, seed):
    """Return the loss of the arm, and the share of tokens that its clip stops."""
    mask = torch.ones_like(part.answers, dtype=torch.bool)
    new = policy_moments(logits, part.answers).token_log_probs
    old_moments = policy_moments(part.old_logits, part.answers)
    old, advantages = old_moments.token_log_probs, part.advantages
    low, high = settings.clip, settings.clip
    if settings.arm == "reinforce":  # against itself: the ratio is 1, its gradient that of log π
        old, low, high = new.detach(), 1.0, math.inf
    elif settings.arm == "clip-higher":
        high = settings.clip_higher
    elif settings.arm == "kl-cov":
        selection = kl_cov_selection(new, advantages, mask, settings.penalised_share)
        penalties = absolute_log_ratio(new, old, mask)
        return kl_cov_loss(
            new, old, advantages, mask, selection, penalties, settings.penalty_weight
        ).loss, 0.0
    elif settings.arm == "repo":
        sums = repo_sums(old, old_moments.entropy, advantages, mask)
        coefficient = natural_repo_coefficient(sums)
        advantages = repo_advantages(old, old_moments.entropy, advantages, mask, coefficient)
    clipped = clipped_policy_loss(new, old, advantages, mask, low, high)
    loss = clipped.loss
    if settings.arm == "entropy bonus":
        loss = loss + entropy_bonus_loss(logits, mask, settings.entropy_coefficient).loss
    elif settings.arm == "clip-cov":
        bounds = settings.covariance_low, settings.covariance_high
        selection = clip_cov_selection(new, advantages, mask, settings.dropped_share, *bounds, seed)
        loss = clip_cov_loss(new, old, advantages, mask, selection, low, high).loss
    return loss, (clipped.clip_fraction_low + clipped.clip_fraction_high).item()


@torch.no_grad()
def _logits(model, prompts, answers):
    return answer_logits(model, prompts, answers)


def _check(settings):
    """Raise unless the settings fit together."""
    if settings.arm not in ARMS:
        raise ValueError(f"arm must be one of {', '.join(ARMS)}; got {settings.arm!r}.")
    if settings.optimiser not in OPTIMISERS:
        raise ValueError(f"optimiser must be one of {', '.join(OPTIMISERS)}; got {settings.optimiser!r}.")
    if min(settings.prompts, settings.minibatches, settings.held_out) < 1 or settings.samples < 2:
        raise ValueError(
            f"a run needs prompts, minibatches and held_out of at least 1 and samples of at least 2; got "
            f"{settings}. One sample has no group to be compared with."
        )
    if settings.prompts % settings.minibatches:
        raise ValueError(
            f"minibatches must divide prompts, for they are whole groups; got {settings.prompts} prompts in "
            f"{settings.minibatches} minibatches."
        )
    if not 0 < settings.learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite; got {settings.learning_rate}.")
