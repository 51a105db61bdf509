"""Priors, made by imitation: right demonstrations first, then demonstrations with errors.

The first phase teaches the task, the second makes the policy uncertain in a way that is known. A prior that
stops early in the first phase is sharp and brittle instead.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from entropy_core.simulators.tiny_lm.measurement import Evaluation, evaluate
from entropy_core.simulators.tiny_lm.model import ModelSize, TinyLM, answer_logits, make_model
from entropy_core.simulators.tiny_lm.tasks import Task, demonstrations, draw_prompts

__all__ = ["Phase", "PhaseRecord", "Prior", "imitate", "make_prior"]


class Phase(NamedTuple):
    """One phase of imitation.

    Args:
        kind: of its demonstrations.
        steps: number of updates, at least 1.
        learning_rate: of AdamW at the first update; it falls linearly to a tenth.
        batch_size: demonstrations of an update.
    """

    kind: str
    steps: int
    learning_rate: float
    batch_size: int = 256


class PhaseRecord(NamedTuple):
    """What a phase came to.

    Args:
        kind: of its demonstrations.
        steps: number of updates.
        first_loss: mean of −log π of the demonstrated tokens before the first update, in nats.
        last_loss: the same, a mean over the last tenth of the updates.
        evaluation: accuracy and entropy afterwards.
    """

    kind: str
    steps: int
    first_loss: float
    last_loss: float
    evaluation: Evaluation


class Prior(NamedTuple):
    """A policy to begin from.

    Args:
        model: the policy.
        records: what each phase came to.
    """

    model: TinyLM
    records: tuple[PhaseRecord, ...]


def make_prior(
    seed: int,
    task: Task,
    kind: str = "aligned",
    clean_steps: int = 320,
    noisy_steps: int = 160,
    size: ModelSize | None = None,
    device: str | torch.device = "cpu",
) -> Prior:
    """Make a prior: imitate right answers, then demonstrations of the given kind.

    Args:
        seed: of weights, prompts and demonstrations.
        task: the task.
        kind: of the demonstrations in the second phase.
        clean_steps: updates of the first phase.
        noisy_steps: updates of the second phase.
        size: shapes of the weights; `ModelSize()` by default.
        device: where to compute.

    Returns:
        The model and a record of each phase.
    """
    generator = np.random.default_rng(seed)
    model = make_model(generator, size, device)
    phases = (Phase("clean", clean_steps, 3e-3), Phase(kind, noisy_steps, 2e-3))
    return Prior(model, tuple(imitate(generator, model, task, phase) for phase in phases))


def imitate(generator: np.random.Generator, model: TinyLM, task: Task, phase: Phase) -> PhaseRecord:
    """Train a model on one phase of demonstrations, in place.

    loss = mean −log π(demonstrated token | prompt, tokens before it)

    Args:
        generator: source of prompts and demonstrations; its state is advanced.
        model: the policy; it is changed.
        task: the task.
        phase: which demonstrations, how many, and how fast.

    Returns:
        The record. Phases longer than five seconds show their progress.

    Raises:
        ValueError: the phase has no update.
    """
    if phase.steps < 1 or phase.batch_size < 1 or not phase.learning_rate > 0:
        raise ValueError(f"a phase needs steps, demonstrations and a positive learning rate; got {phase}.")
    device = model.head.weight.device
    optimiser = torch.optim.AdamW(model.parameters(), lr=phase.learning_rate)
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.1, total_iters=phase.steps)
    losses = []
    for _ in tqdm(range(phase.steps), delay=5, desc=f"{task.name}, {phase.kind}"):
        prompts = draw_prompts(generator, task, phase.batch_size)
        answers = demonstrations(generator, task, prompts, phase.kind).to(device)
        logits = answer_logits(model, prompts.to(device), answers)
        loss = functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
        losses.append(loss.detach())
    means = torch.stack(losses)
    last = means[-max(1, phase.steps // 10) :].mean()
    return PhaseRecord(
        phase.kind, phase.steps, means[0].item(), last.item(), evaluate(generator, model, task)
    )
