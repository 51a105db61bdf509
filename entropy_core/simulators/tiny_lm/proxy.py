"""The covariance that a trainer logs, drawn again and again from one policy that does not move."""

from typing import NamedTuple

import numpy as np
import torch

from entropy_core.batched import (
    batch_covariance,
    group_normalised_advantages,
    log_prob_covariance,
    policy_moments,
)
from entropy_core.simulators.tiny_lm.measurement import state_labels
from entropy_core.simulators.tiny_lm.model import TinyLM, sample_answers
from entropy_core.simulators.tiny_lm.tasks import Task, draw_prompts, is_right

__all__ = ["SampledProxy", "sample_proxy"]


class SampledProxy(NamedTuple):
    """Covariance of log π and the advantage of the answer over the tokens of a batch, in nats.

    Args:
        total: over all tokens.
        within_states: its part within states, by the means of the sample; a state with one token adds 0.
        between_states: the rest.
        within_by_entropy: mean of (ℓ + H) A, the part within states without bias for given advantages.
    """

    total: float
    within_states: float
    between_states: float
    within_by_entropy: float


def sample_proxy(
    generator: np.random.Generator, model: TinyLM, task: Task, prompts: int = 16, samples: int = 16
) -> SampledProxy:
    """Draw a batch as a step of a run does, and log the covariance; the policy stays.

    Args:
        generator: source of randomness; its state is advanced.
        model: the policy.
        task: the task.
        prompts: prompts of the batch.
        samples: answers to each, at least 2.

    Returns:
        The covariance with group-normalised advantages, its parts, and the estimate by known entropies.

    Example:
        >>> from entropy_core.simulators.tiny_lm import DIGIT_SUM, make_model
        >>> generator = np.random.default_rng(0)
        >>> proxy = sample_proxy(generator, make_model(generator), DIGIT_SUM)
        >>> abs(proxy.total) < 1e-6, "a uniform policy has no covariance"
        (True, 'a uniform policy has no covariance')
    """
    asked = draw_prompts(generator, task, prompts).to(model.head.weight.device)
    asked = asked.repeat_interleave(samples, dim=0)
    drawn = sample_answers(generator, model, asked)
    right = is_right(task, asked, drawn.tokens).view(prompts, samples).double()
    advantages = group_normalised_advantages(right).view(-1, 1).expand(drawn.tokens.shape)
    moments = policy_moments(drawn.logits.double(), drawn.tokens)
    every = torch.ones_like(drawn.tokens, dtype=torch.bool)
    parts = batch_covariance(moments.token_log_probs, advantages, state_labels(asked, drawn.tokens), every)
    by_entropy = log_prob_covariance(moments.token_log_probs, advantages, moments.entropy, every)
    return SampledProxy(*(part.item() for part in parts), by_entropy.within_states.item())
