"""What is read off a policy and off a step: entropies, what theory predicts of them, and distinct answers."""

from typing import NamedTuple

import numpy as np
import torch

from entropy_core._shapes import Bool, Float, Int
from entropy_core.batched import entropy, step_moments
from entropy_core.simulators.tiny_lm.model import TinyLM, sample_answers
from entropy_core.simulators.tiny_lm.tasks import SYMBOLS, Task, draw_prompts, is_right

__all__ = ["Evaluation", "StepMeasurement", "distinct_right", "evaluate", "measure_step", "state_labels"]


class Evaluation(NamedTuple):
    """How a policy does on fresh prompts.

    Args:
        accuracy: share of right answers.
        entropy: mean H at the tokens of the sampled answers, in nats.
    """

    accuracy: float
    entropy: float


class StepMeasurement(NamedTuple):
    """A step as seen at some states, means over them; entropies in nats.

    Args:
        entropy: H before the step.
        entropy_change: ΔH, exact.
        first_order_entropy_change: −Cov(log π, Δz) with the logits' change as it came about.
        second_order_entropy_change: the prediction to second order, the first included.
        logit_change: root of the mean Var_π Δz, the π-weighted rms change of logits.
        kl_divergence: KL of the policy before from the policy after.
    """

    entropy: float
    entropy_change: float
    first_order_entropy_change: float
    second_order_entropy_change: float
    logit_change: float
    kl_divergence: float


def measure_step(
    before: Float[torch.Tensor, "*states actions"], after: Float[torch.Tensor, "*states actions"]
) -> StepMeasurement:
    """Entropy change at given states, exact and predicted from the change of their logits.

    ΔH, −Cov(log π, Δz), −Cov(log π, Δz) − ½ E[(1 + log π + H)(Δz − E Δz)²], Δz = after − before

    Args:
        before: logits at the states before the step, in nats.
        after: logits at the same states after it.

    Returns:
        Means over the states, computed in float64 from the logits as they are.

    Example:
        >>> step = measure_step(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.1, 0.0]]))
        >>> print(f"{step.first_order_entropy_change:.5f} {step.entropy_change:.5f}")
        -0.01966 -0.02015
    """
    before, after = before.detach().double(), after.detach().double()
    moments = step_moments(before, after - before)
    values = (
        moments.entropy,
        moments.entropy_change,
        -moments.covariance,
        moments.second_order_entropy_change,
        moments.variance,
        moments.kl_divergence,
    )
    means = [value.mean().item() for value in values]
    means[4] = max(means[4], 0.0) ** 0.5
    return StepMeasurement(*means)


def state_labels(
    prompts: Int[torch.Tensor, "batch length"], answers: Int[torch.Tensor, "batch tokens"]
) -> Int[torch.Tensor, "batch tokens"]:
    """Name the state that each token of an answer was drawn at: the prompt and the tokens before it.

    Args:
        prompts: token indices.
        answers: token indices.

    Returns:
        One number a token; two are equal if and only if all earlier tokens are.

    Example:
        >>> prompts, answers = torch.tensor([[1, 11], [1, 11]]), torch.tensor([[4, 5, 4], [4, 6, 3]])
        >>> labels = state_labels(prompts, answers)
        >>> (labels[0] == labels[1]).tolist()
        [True, True, False]
    """
    label, labels = torch.ones_like(answers[:, 0]), []
    for token in prompts.T:
        label = label * len(SYMBOLS) + token
    for token in answers.T:
        labels.append(label)
        label = label * len(SYMBOLS) + token
    return torch.stack(labels, dim=1)


def distinct_right(
    answers: Int[torch.Tensor, "prompts samples tokens"], right: Bool[torch.Tensor, "prompts samples"]
) -> Int[torch.Tensor, " prompts"]:
    """How many different right answers each group of samples holds.

    Args:
        answers: token indices.
        right: which answers are right.

    Returns:
        One count a prompt, from 0 to the number of samples.

    Example:
        >>> answers = torch.tensor([[[4, 5, 4], [4, 5, 4], [9, 4, 0], [0, 0, 0]]])
        >>> distinct_right(answers, torch.tensor([[True, True, True, False]])).tolist()
        [2]
    """
    code = torch.zeros_like(answers[..., 0])
    for token in answers.unbind(-1):
        code = code * len(SYMBOLS) + token
    ordered = torch.where(right, code, -1).sort(dim=-1).values
    is_new = torch.ones_like(right)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return (is_new & (ordered >= 0)).sum(-1)


def evaluate(generator: np.random.Generator, model: TinyLM, task: Task, count: int = 512) -> Evaluation:
    """Accuracy and entropy of a policy on prompts drawn for it.

    Args:
        generator: source of randomness; its state is advanced.
        model: the policy.
        task: the task.
        count: prompts, with one answer each.

    Returns:
        Both, as means over answers and over their tokens.
    """
    prompts = draw_prompts(generator, task, count).to(model.head.weight.device)
    sampled = sample_answers(generator, model, prompts)
    right = is_right(task, prompts, sampled.tokens).double().mean()
    return Evaluation(right.item(), entropy(sampled.logits.double()).mean().item())
