"""Arms against each other: the same priors, the same seeds, and entropy compared where reward is equal.

Answers are so short that every one can be gone through: reward, entropy and the number of distinct right
answers are expectations over all of them, not estimates from samples. What spreads is the runs.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from tqdm import tqdm

from entropy_core._shapes import Float, Real
from entropy_core.batched import entropy
from entropy_core.simulators.ppo import values_at_progress
from entropy_core.simulators.tiny_lm.model import TinyLM
from entropy_core.simulators.tiny_lm.prefixes import TOKENS, joint_log_probs, prefix_logits, prefix_visits
from entropy_core.simulators.tiny_lm.tasks import ANSWER_LENGTH, Task, every_prompt, is_right
from entropy_core.simulators.tiny_lm.training import Settings, advance, start_run

__all__ = [
    "ArmCurves",
    "ArmRecord",
    "EntropyExcess",
    "ExactEvaluation",
    "Interval",
    "arm_records",
    "value_at_reward",
    "entropy_excess",
    "evaluate_exactly",
    "run_arms",
    "student_interval",
]


class ExactEvaluation(NamedTuple):
    """How a policy does, as expectations over all prompts and all answers.

    Args:
        reward: probability of a right answer.
        entropy: mean H at the tokens of an answer, in nats.
        distinct_right: expected number of different right answers among the samples of a prompt.
    """

    reward: float
    entropy: float
    distinct_right: float


class ArmRecord(NamedTuple):
    """One policy of one run; a list of these is a table with one row a record.

    Args:
        arm: name of the arm.
        seed: of the run.
        step: steps taken, 0 for the prior.
        reward: probability of a right answer.
        entropy: mean H at the tokens of an answer, in nats.
        distinct_right: expected number of different right answers among the samples of a prompt.
    """

    arm: str
    seed: int
    step: int
    reward: float
    entropy: float
    distinct_right: float


@dataclass(frozen=True)
class ArmCurves:
    """What the runs of one arm went through, exact at each record.

    Args:
        seeds: of the runs.
        steps: taken at each record, the first 0.
        rewards: probability of a right answer, shape [seeds, records].
        entropies: mean H at the tokens of an answer, in nats, same shape.
        distinct_right: expected number of different right answers, same shape.
        models: the policy at the end of each run.
    """

    seeds: tuple[int, ...]
    steps: np.ndarray
    rewards: np.ndarray
    entropies: np.ndarray
    distinct_right: np.ndarray
    models: tuple[TinyLM, ...]


class EntropyExcess(NamedTuple):
    """Entropy of an arm above that of a baseline, in nats, taken apart; one number a run.

    Args:
        at_equal_steps: difference at the last records; the sum of the other two.
        at_equal_reward: difference where both first reach the largest reward that both reach.
        slowness: the rest, what either spent beyond that reward.
    """

    at_equal_steps: np.ndarray
    at_equal_reward: np.ndarray
    slowness: np.ndarray


class Interval(NamedTuple):
    """A mean and how well it is known.

    Args:
        mean: over the finite values.
        half_width: half the width of Student's interval; NaN for fewer than two values.
        count: number of finite values.
    """

    mean: float
    half_width: float
    count: int


def evaluate_exactly(model: TinyLM, task: Task, samples: int = 64) -> ExactEvaluation:
    """Reward, entropy and diversity of a policy, from the probabilities of all answers to all prompts.

    E r, mean over tokens of E H(prefix), Σ 1 − (1 − π(answer))^samples over right answers

    Args:
        model: the policy.
        task: a task with one operand, so that its prompts can be gone through.
        samples: answers to a prompt among which distinct right ones are counted.

    Returns:
        Means over the prompts of the task, each alike; computed in float64 from the logits as they are.

    Raises:
        ValueError: the task has more than one operand, or samples is below 1.
    """
    if task.operands != 1 or samples < 1:
        raise ValueError(
            f"evaluate_exactly goes through all prompts of one operand and needs samples of at least 1; got "
            f"{task.operands} operands and {samples} samples. For other tasks draw prompts with evaluate."
        )
    prompts = every_prompt(task)
    answers = torch.cartesian_prod(*[torch.arange(TOKENS)] * ANSWER_LENGTH)
    right = torch.stack([is_right(task, prompt.expand(len(answers), -1), answers) for prompt in prompts])
    logits = prefix_logits(model, prompts.to(model.head.weight.device)).double().cpu()
    nats = (prefix_visits(logits) * entropy(logits)).sum().item() / (ANSWER_LENGTH * len(prompts))
    reached = joint_log_probs(logits).exp().flatten(1)
    chances = torch.where(right, reached, 0.0).clamp(max=1)
    distinct = -torch.expm1(samples * torch.log1p(-chances))
    return ExactEvaluation(chances.sum(1).mean().item(), nats, distinct.sum(1).mean().item())


def run_arms(
    models: Sequence[TinyLM],
    task: Task,
    arms: Mapping[str, Settings],
    steps: int,
    record_every: int = 1,
    first_seed: int = 0,
) -> dict[str, ArmCurves]:
    """Run each arm from each prior; run k of every arm has the same prior and the same seed.

    Args:
        models: the priors, one for each seed; they are copied.
        task: a task with one operand.
        arms: what fixes the runs of each arm, by its name.
        steps: of every run, a multiple of `record_every`.
        record_every: steps between two records.
        first_seed: seed of the first run; the others follow it.

    Returns:
        The curves of each arm. More than five seconds show their progress.

    Raises:
        ValueError: there is no model or no arm, or the records do not divide the steps.
    """
    if not models or not arms or steps < 1 or record_every < 1 or steps % record_every:
        raise ValueError(
            f"run_arms needs a model, an arm and steps that record_every divides; got {len(models)} models, "
            f"{len(arms)} arms and {steps} steps with a record every {record_every}."
        )
    seeds, found = tuple(range(first_seed, first_seed + len(models))), {name: [] for name in arms}
    every = [*itertools.product(arms, range(len(models)))]
    for name, k in tqdm(every, delay=5, desc="arms × seeds", leave=False):
        run = start_run(seeds[k], models[k], task, arms[name])
        path = [evaluate_exactly(run.model, task)]
        for _ in range(steps // record_every):
            path.append(evaluate_exactly(advance(run, record_every).model, task))
        found[name].append((run.model, np.array(path)))
    counted = np.arange(0, steps + 1, record_every)
    curves = {}
    for name, runs in found.items():
        last, paths = zip(*runs, strict=True)
        curves[name] = ArmCurves(seeds, counted, *np.moveaxis(np.stack(paths), -1, 0), models=last)
    return curves


def arm_records(curves: Mapping[str, ArmCurves]) -> list[ArmRecord]:
    """Write curves as a table with one row for each arm, seed and record.

    Args:
        curves: of each arm, by its name.

    Returns:
        The rows, which `pandas.DataFrame` takes as they are.
    """
    return [
        ArmRecord(name, seed, int(step), *(float(values[k, t]) for values in _measured(runs)))
        for name, runs in curves.items()
        for k, seed in enumerate(runs.seeds)
        for t, step in enumerate(runs.steps)
    ]


def value_at_reward(
    rewards: Real[np.ndarray, "runs records"],
    values: Real[np.ndarray, "runs records"],
    level: float | Real[np.ndarray, " runs"],
) -> Float[np.ndarray, " runs"]:
    """What each run has where its own reward first reaches a level, linear between two records.

    Args:
        rewards: of each run.
        values: at the same records, such as entropies in nats.
        level: reward, one for all runs or one for each.

    Returns:
        One value a run, in the unit of the values; NaN for a run that starts above the level or never
        reaches it.

    Example:
        >>> rewards, entropies = np.array([[0.2, 0.4], [0.2, 0.6]]), np.array([[2.0, 1.5], [2.0, 1.0]])
        >>> value_at_reward(rewards, entropies, 0.5)
        array([ nan, 1.25])
    """
    found = []
    for path, row, wanted in zip(rewards, values, np.broadcast_to(level, len(rewards)), strict=True):
        reached = path[0] <= wanted <= path.max()
        found.append(values_at_progress(path[None], row[None], wanted)[0] if reached else np.nan)
    return np.array(found)


def entropy_excess(
    rewards: Real[np.ndarray, "runs records"],
    entropies: Real[np.ndarray, "runs records"],
    baseline_rewards: Real[np.ndarray, "runs records"],
    baseline_entropies: Real[np.ndarray, "runs records"],
) -> EntropyExcess:
    """Take the entropy that an arm has above a baseline apart: kept at equal reward, and mere slowness.

    H(T) − H₀(T) = [H − H₀ where both have the reward R*] + rest, R* = min(max R, max R₀)

    Args:
        rewards: of the arm, run k beside run k of the baseline.
        entropies: of the arm, in nats.
        baseline_rewards: of the baseline, after the same steps.
        baseline_entropies: of the baseline, in nats.

    Returns:
        The parts, each with one number a run. An arm that runs along the baseline's curve more slowly has
        `at_equal_reward` 0 up to the interpolation. NaN where one starts above the other's largest reward.

    Example:
        >>> rewards, entropies = np.array([[0.2, 0.4, 0.6]]), np.array([[2.0, 1.5, 1.0]])
        >>> entropy_excess(np.array([[0.2, 0.3, 0.4]]), np.array([[2.0, 1.8, 1.6]]), rewards, entropies)
        EntropyExcess(at_equal_steps=array([0.6]), at_equal_reward=array([0.1]), slowness=array([0.5]))
    """
    level = np.minimum(rewards.max(axis=1), baseline_rewards.max(axis=1))
    last = entropies[:, -1] - baseline_entropies[:, -1]
    base = value_at_reward(baseline_rewards, baseline_entropies, level)
    kept = value_at_reward(rewards, entropies, level) - base
    return EntropyExcess(last, kept, last - kept)


def student_interval(values: Real[np.ndarray, " runs"], confidence: float = 0.95) -> Interval:
    """Mean over runs with Student's interval.

    mean ± t s / √N, t of N − 1 degrees of freedom

    Args:
        values: one a run; those that are not finite are left out, and the count says so.
        confidence: probability that the interval holds the mean, for independent normal values.

    Returns:
        The interval. Of three runs t is 4.3: it is wide, and that is how little three runs say.

    Example:
        >>> interval = student_interval(np.array([1.0, 2.0, 3.0, np.nan]))
        >>> f"{interval.mean:.2f} ± {interval.half_width:.2f} of {interval.count}"
        '2.00 ± 2.48 of 3'
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else np.nan, np.nan, len(values))
    reach = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return Interval(float(values.mean()), float(reach), len(values))


def _measured(runs: ArmCurves) -> tuple[np.ndarray, ...]:
    """Return what is measured at each record, in the order of the evaluation."""
    return runs.rewards, runs.entropies, runs.distinct_right
