"""Whole answers: what is demonstrated and what a model gives, one probability for each, and digit by digit.

Three digits are few enough to enumerate. Nothing here is sampled, so that a trained prior can be held to the
policy that it was to imitate.
"""

from collections.abc import Sequence

import numpy as np
import torch

from entropy_core._shapes import Float, Int
from entropy_core.simulators.tiny_lm.model import TinyLM
from entropy_core.simulators.tiny_lm.prefixes import joint_log_probs, prefix_logits
from entropy_core.simulators.tiny_lm.tasks import DEMONSTRATIONS, SYMBOLS, Task, wanted_numbers

__all__ = [
    "answer_log_probs",
    "demonstration_probs",
    "digit_cross_entropies",
    "digit_entropies",
    "slip_probs",
]


def demonstration_probs(
    task: Task, prompts: Int[torch.Tensor, "batch length"], kind: str
) -> Float[np.ndarray, "batch symbols symbols symbols"]:
    """Probability of each answer among the demonstrations for each prompt: the ideal imitator, exact.

    p(answer) = P(wanted + slip is its number) / how many answers have that number

    Args:
        task: the task.
        prompts: token indices.
        kind: of the demonstrations.

    Returns:
        Probabilities by first, second and third symbol; 0 for what is no digit.

    Raises:
        ValueError: the kind is unknown.

    Example:
        >>> from entropy_core.simulators.tiny_lm import DIGIT_SUM, encode
        >>> probs = demonstration_probs(DIGIT_SUM, torch.tensor([encode("13=")]), "clean")
        >>> round(1 / probs[0, 4, 5, 4])
        75
    """
    if kind not in DEMONSTRATIONS:
        raise ValueError(f"kind must be one of {', '.join(DEMONSTRATIONS)}; got {kind!r}.")
    numbers = np.tensordot(task.place_values, np.indices((10, 10, 10)), axes=1)
    counts = np.bincount(numbers.ravel())
    probs = np.zeros((len(prompts), *[len(SYMBOLS)] * 3))
    wanted = wanted_numbers(task, prompts).tolist()
    for row, prompt, number in zip(probs, prompts.tolist(), wanted, strict=True):
        for slip, chance in _slips(task, prompt, kind).items():
            meant = number + slip if number + slip >= 0 else number - slip
            row[:10, :10, :10] += (numbers == meant) * chance / counts[meant]
    return probs


def answer_log_probs(
    model: TinyLM, prompts: Int[torch.Tensor, "batch length"]
) -> Float[np.ndarray, "batch symbols symbols symbols"]:
    """Log-probability of every possible answer to each prompt, digits or not, in nats.

    log p(answer) = log π(first) + log π(second | first) + log π(third | first, second)

    Args:
        model: the policy.
        prompts: token indices, on the model's device.

    Returns:
        log p by first, second and third symbol, in float64.

    Example:
        >>> from entropy_core.simulators.tiny_lm import encode, make_model
        >>> log_probs = answer_log_probs(make_model(np.random.default_rng(0)), torch.tensor([encode("13=")]))
        >>> round(float(log_probs[0, 4, 5, 4]), 3)  # uniform: −3 log 12
        -7.455
    """
    return joint_log_probs(prefix_logits(model, prompts).double()).cpu().numpy()


def digit_entropies(
    probs: Float[np.ndarray, "*batch symbols symbols symbols"],
) -> Float[np.ndarray, "*batch 3"]:
    """Entropy of each digit given those before it, in nats; their sum is the entropy of the answer.

    H₁ = H(a), H₂ = E H(b | a), H₃ = E H(c | a, b)

    Args:
        probs: probability of each answer, by first, second and third symbol.

    Returns:
        H₁, H₂ and H₃, from 0 to log 12.

    Example:
        >>> from entropy_core.simulators.tiny_lm import DIGIT_SUM, encode
        >>> prompt = torch.tensor([encode("13=")])
        >>> digit_entropies(demonstration_probs(DIGIT_SUM, prompt, "clean")).round(2).tolist()
        [[2.28, 2.04, 0.0]]
    """
    with np.errstate(divide="ignore"):
        return digit_cross_entropies(probs, np.log(probs))


def digit_cross_entropies(
    probs: Float[np.ndarray, "*batch symbols symbols symbols"],
    log_probs: Float[np.ndarray, "*batch symbols symbols symbols"],
) -> Float[np.ndarray, "*batch 3"]:
    """Cross entropy of each digit given those before it, in nats: what a loss of imitation tends to.

    −E_p log q(a), −E_p log q(b | a), −E_p log q(c | a, b)

    Args:
        probs: p, probability of each answer among the demonstrations.
        log_probs: log q of each answer for the imitator, finite where p is positive.

    Returns:
        One for each digit; less `digit_entropies` of p it is the digit's divergence KL(p‖q).

    Raises:
        ValueError: an answer is demonstrated that the imitator forbids.
    """
    if np.isneginf(log_probs[probs > 0]).any():
        raise ValueError(
            "log_probs must be finite where probs is positive; an answer with −inf is demonstrated, and the "
            "loss of imitating it is infinite. Ask which digit the imitator forbids."
        )
    q = np.exp(log_probs)
    with np.errstate(divide="ignore"):
        pairs, firsts = np.log(q.sum(-1)), np.log(q.sum((-2, -1)))
    totals = [
        -_mean(p, log_q)
        for p, log_q in (
            (probs.sum((-2, -1)), firsts),
            (probs.sum(-1).reshape(*probs.shape[:-3], -1), pairs.reshape(*probs.shape[:-3], -1)),
            (probs.reshape(*probs.shape[:-3], -1), log_probs.reshape(*probs.shape[:-3], -1)),
        )
    ]
    return np.diff(np.stack(totals, axis=-1), axis=-1, prepend=0.0)


def slip_probs(
    task: Task,
    prompts: Int[torch.Tensor, "batch length"],
    probs: Float[np.ndarray, "batch symbols symbols symbols"],
    slips: Sequence[int],
) -> Float[np.ndarray, "batch slips"]:
    """Probability that an answer's number is off by so much; a slip of 0 is the chance to be right.

    Args:
        task: the task.
        prompts: token indices.
        probs: probability of each answer to each prompt.
        slips: number of the answer less the number wanted.

    Returns:
        One for each prompt and slip. What is not three digits has no number and counts nowhere.

    Example:
        >>> from entropy_core.simulators.tiny_lm import DIGIT_SUM, every_prompt
        >>> prompts = every_prompt(DIGIT_SUM)
        >>> probs = demonstration_probs(DIGIT_SUM, prompts, "aligned")
        >>> slip_probs(DIGIT_SUM, prompts, probs, [-1, 0, 6]).mean(0).round(6).tolist()
        [0.05, 0.5, 0.0]
    """
    numbers = np.tensordot(task.place_values, np.indices((10, 10, 10)), axes=1)
    meant = wanted_numbers(task, prompts).numpy()[:, None] + np.asarray(slips)
    chosen = numbers == meant[..., None, None, None]
    return np.where(chosen, probs[:, None, :10, :10, :10], 0.0).sum((-3, -2, -1))


def _mean(probs, values):
    """Return Σ p x over the last axis, where p = 0 counts nothing."""
    return (probs * np.where(probs > 0, values, 0.0)).sum(-1)


def _slips(task, prompt, kind):
    """Return the probability of each slip of a demonstration for a prompt."""
    if kind == "aligned":
        return {0: 0.5} | dict.fromkeys([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5], 0.05)
    if kind == "flat":
        return dict.fromkeys(range(-5, 6), 1 / 11)
    if kind == "adversarial" and task.operands == 1:
        return {0: 0.1, 1: 0.9}
    if kind == "adversarial" and prompt[1] + prompt[4] >= 10:
        return {0: 0.1, -10: 0.9}
    return {0: 1.0}
