"""A policy at every prefix of the answers to some prompts, and how often an answer passes through each.

An answer has three tokens out of twelve, so that 157 prefixes of a prompt are followed by a token. They stand
in one order everywhere: the empty one, the 12 of one token, the 144 of two, of these the first token counting
slowest. Behind them stand 1728 answers. What is computed here is exact for the policy; nothing is sampled.
"""

import torch

from entropy_core._shapes import Float, Int
from entropy_core.batched import log_probs
from entropy_core.simulators.tiny_lm.model import TinyLM
from entropy_core.simulators.tiny_lm.tasks import ANSWER_LENGTH, SYMBOLS

__all__ = ["joint_log_probs", "prefix_logits", "prefix_visits"]

TOKENS = len(SYMBOLS)
PREFIXES = [TOKENS**position for position in range(ANSWER_LENGTH)]


@torch.no_grad()
def prefix_logits(
    model: TinyLM, prompts: Int[torch.Tensor, "prompts length"]
) -> Float[torch.Tensor, "prompts prefixes vocabulary"]:
    """Logits of the next token at every prefix, each read once: keys and values are handed down.

    Args:
        model: the policy.
        prompts: token indices, on the model's device.

    Returns:
        z in nats, shape [prompts, 157, 12], in the model's type. A prompt costs as much as 50 answers.

    Example:
        >>> import numpy as np
        >>> from entropy_core.simulators.tiny_lm import make_model
        >>> prefix_logits(make_model(np.random.default_rng(0)), torch.tensor([[1, 3, 11]])).shape
        torch.Size([1, 157, 12])
    """
    given, cache, found = prompts, None, []
    for position in range(ANSWER_LENGTH):
        z, cache = model(given, cache)
        found.append(z[:, -1].view(len(prompts), -1, TOKENS))
        if position < ANSWER_LENGTH - 1:
            given = torch.arange(TOKENS, device=prompts.device).repeat(len(z))[:, None]
            cache = [tuple(x.repeat_interleave(TOKENS, dim=0) for x in pair) for pair in cache]
    return torch.cat(found, dim=1)


def prefix_visits(
    logits: Float[torch.Tensor, "prompts prefixes vocabulary"],
) -> Float[torch.Tensor, "prompts prefixes"]:
    """Probability that an answer passes through each prefix.

    d(s) = Π π of the prefix's tokens

    Args:
        logits: z in nats, as `prefix_logits` orders them.

    Returns:
        Shape [prompts, 157]; they add up to 1 over the prefixes of a length.
    """
    reached = [torch.zeros_like(logits[:, :1, 0])]
    for ell in log_probs(logits).split(PREFIXES, dim=1)[:-1]:
        reached.append((reached[-1][..., None] + ell).flatten(1))
    return torch.cat(reached, dim=1).exp()


def joint_log_probs(
    logits: Float[torch.Tensor, "prompts prefixes vocabulary"],
) -> Float[torch.Tensor, "prompts vocabulary vocabulary vocabulary"]:
    """Log-probability of every answer, digits or not.

    log p(answer) = log π(first) + log π(second | first) + log π(third | first, second)

    Args:
        logits: z in nats, as `prefix_logits` orders them.

    Returns:
        log p in nats by first, second and third token.
    """
    first, second, third = log_probs(logits).split(PREFIXES, dim=1)
    return first[:, 0, :, None, None] + second[..., None] + third.unflatten(1, (TOKENS, TOKENS))
