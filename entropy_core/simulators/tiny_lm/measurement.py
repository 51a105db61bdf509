"""What is read off a policy and off a step: entropies, what theory predicts of them, and distinct answers."""

from typing import NamedTuple

import numpy as np
import torch

from entropy_core._shapes import Bool, Float, Int
from entropy_core.batched import entropy, step_moments
from entropy_core.simulators.tiny_lm.model import TinyLM, sample_answers
from entropy_core.simulators.tiny_lm.prefixes import prefix_logits, prefix_visits
from entropy_core.simulators.tiny_lm.tasks import ANSWER_LENGTH, SYMBOLS, Task, draw_prompts, is_right

__all__ = [
    "AverageChange",
    "Evaluation",
    "StateComparison",
    "StepMeasurement",
    "VisitedStates",
    "average_entropy_change",
    "compare_states",
    "distinct_right",
    "evaluate",
    "mean_by_prompt",
    "measure_step",
    "state_labels",
    "visited_states",
]


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


class VisitedStates(NamedTuple):
    """Every state that an answer to some prompts can come through, and how often it does.

    Args:
        logits: z in nats, one row for each state, prompt by prompt, as `prefix_logits` orders them.
        weights: share of all tokens that are drawn at the state, prompts being equally frequent; the shares
            add up to 1.
    """

    logits: torch.Tensor
    weights: torch.Tensor


class AverageChange(NamedTuple):
    """The two parts of a change of mean entropy along the policy's own states, in nats.

    Args:
        within_states: Σ d ΔH, the entropies moved, the states weighted as before the step.
        between_states: Σ Δd H', the weights moved.
    """

    within_states: float
    between_states: float


class StateComparison(NamedTuple):
    """What a mean over states hides; all weighted as before the step.

    Args:
        residual: mean of |ΔH + Cov(log π, Δz)|, what the first order misses at a state, in nats.
        rising: share of the tokens at states whose entropy rises.
        wrong_sign: share of the tokens at states where the first order has the wrong sign.
    """

    residual: float
    rising: float
    wrong_sign: float


def measure_step(
    before: Float[torch.Tensor, "*states actions"],
    after: Float[torch.Tensor, "*states actions"],
    weights: Float[torch.Tensor, "*states"] | None = None,
) -> StepMeasurement:
    """Entropy change at given states, exact and predicted from the change of their logits.

    ΔH, −Cov(log π, Δz), −Cov(log π, Δz) − ½ E[(1 + log π + H)(Δz − E Δz)²], Δz = after − before

    Args:
        before: logits at the states before the step, in nats.
        after: logits at the same states after it.
        weights: share of each state, adding up to 1; equal by default.

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
    shares = torch.full_like(moments.entropy, 1 / moments.entropy.numel()) if weights is None else weights
    means = [(shares.double() * value).sum().item() for value in values]
    means[4] = max(means[4], 0.0) ** 0.5
    return StepMeasurement(*means)


def visited_states(model: TinyLM, prompts: Int[torch.Tensor, "prompts length"]) -> VisitedStates:
    """Logits at every state behind some prompts, and the probability that a token is drawn there.

    Π π of the earlier tokens / (3 · prompts)

    Args:
        model: the policy.
        prompts: token indices, on the model's device; a task's different prompts make its expectations exact.

    Returns:
        157 states a prompt, with 12 symbols and answers of three tokens. The weighted mean of their entropies
        is the expected entropy of a token, a third of the entropy of an answer.

    Example:
        >>> from entropy_core.simulators.tiny_lm import make_model
        >>> states = visited_states(make_model(np.random.default_rng(0)), torch.tensor([[1, 3, 11]]))
        >>> print(states.logits.shape, f"{states.weights.sum():.3f}")
        torch.Size([157, 12]) 1.000
    """
    logits = prefix_logits(model, prompts)
    weights = prefix_visits(logits.double()) / (ANSWER_LENGTH * len(prompts))
    return VisitedStates(logits.flatten(0, 1), weights.flatten())


def compare_states(before: VisitedStates, after: VisitedStates) -> StateComparison:
    """How a step differs from state to state.

    Args:
        before: the states under the policy before the step.
        after: the same states under the policy after it.

    Returns:
        Three means over the states, computed in float64 from the logits as they are.
    """
    logits = before.logits.double()
    moments = step_moments(logits, after.logits.double() - logits)
    change, promise = moments.entropy_change, -moments.covariance
    values = (change - promise).abs(), (change > 0).double(), (change * promise < 0).double()
    return StateComparison(*((before.weights * value).sum().item() for value in values))


def mean_by_prompt(
    states: VisitedStates, values: Float[torch.Tensor, " states"], prompts: int
) -> Float[torch.Tensor, " prompts"]:
    """Mean of a value over the tokens of the answers to each prompt.

    Args:
        states: of `visited_states`; only the weights count.
        values: one for each state.
        prompts: number of prompts.

    Returns:
        One mean a prompt, in its order.
    """
    return (prompts * states.weights * values).view(prompts, -1).sum(1)


def average_entropy_change(before: VisitedStates, after: VisitedStates) -> AverageChange:
    """Split a change of the mean entropy along the policy's own states into its two parts; they add up to it.

    Σ d' H' − Σ d H = Σ d ΔH + Σ (d' − d) H'

    Args:
        before: the states under the policy before the step.
        after: the same states under the policy after it.

    Returns:
        Both parts.
    """
    old, new = entropy(before.logits.double()), entropy(after.logits.double())
    within = (before.weights * (new - old)).sum()
    return AverageChange(within.item(), ((after.weights - before.weights) * new).sum().item())


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
