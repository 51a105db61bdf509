"""A decoder-only transformer of some 58 thousand parameters, in plain torch on any device.

Pre-norm blocks with learned positions. Answers have a fixed length, so that no token is padding. Initial
weights and sampled tokens come from NumPy generators on the host: with one thread equal seeds give equal bits
on one machine, and nearly equal numbers elsewhere.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from entropy_core._shapes import Float, Int
from entropy_core.simulators.tiny_lm.tasks import ANSWER_LENGTH, SYMBOLS

__all__ = ["ModelSize", "SampledAnswers", "TinyLM", "answer_logits", "make_model", "sample_answers"]


class ModelSize(NamedTuple):
    """What fixes the shapes of the weights.

    Args:
        width: numbers that a position carries through the blocks.
        layers: blocks.
        heads: heads of attention in a block; they divide the width.
        positions: most tokens that the model reads.
    """

    width: int = 48
    layers: int = 2
    heads: int = 3
    positions: int = 9


class SampledAnswers(NamedTuple):
    """Answers and the logits that they were drawn from.

    Args:
        tokens: token indices, shape [batch, 3].
        logits: z in nats at each of the tokens, shape [batch, 3, vocabulary].
    """

    tokens: torch.Tensor
    logits: torch.Tensor


class _Block(nn.Module):
    """Attention to earlier positions, then a layer of hidden units; each is added to what came in."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_hidden = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention_in, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.hidden_in, self.hidden_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, earlier=None):
        """Return the positions' new values, and keys and values of all positions so far."""
        heads = self.attention_in(self.before_attention(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        if earlier is not None:
            key, value = (torch.cat(pair, dim=-2) for pair in zip(earlier, (key, value), strict=True))
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=earlier is None)
        x = x + self.attention_out(seen.transpose(1, 2).flatten(-2))
        return x + self.hidden_out(functional.gelu(self.hidden_in(self.before_hidden(x)))), (key, value)


class TinyLM(nn.Module):
    """The transformer; `make_model` gives it its initial weights."""

    def __init__(self, size: ModelSize):
        super().__init__()
        self.size = size
        self.tokens = nn.Embedding(len(SYMBOLS), size.width)
        self.positions = nn.Embedding(size.positions, size.width)
        self.blocks = nn.ModuleList(_Block(size.width, size.heads) for _ in range(size.layers))
        self.last = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, len(SYMBOLS), bias=False)

    def forward(self, tokens, cache=None):
        """Return logits at every position given, and a cache that lets the next call give one token more."""
        start = 0 if cache is None else cache[0][0].shape[-2]
        x = self.tokens(tokens) + self.positions.weight[start : start + tokens.shape[-1]]
        kept = []
        for block, earlier in zip(self.blocks, cache or [None] * len(self.blocks), strict=True):
            x, keys_and_values = block(x, earlier)
            kept.append(keys_and_values)
        return self.head(self.last(x)), kept


def make_model(
    generator: np.random.Generator,
    size: ModelSize | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TinyLM:
    """Draw a model: matrices N(0, 1/inputs), embeddings N(0, 0.02²), norms 1, biases and the head 0.

    With its head at 0 the model begins as the uniform policy.

    Args:
        generator: source of the weights; its state is advanced.
        size: shapes of the weights; `ModelSize()` by default.
        device: where the model lies.
        dtype: of its weights, torch.float32 or torch.float64.

    Returns:
        The model.

    Raises:
        ValueError: the heads do not divide the width.

    Example:
        >>> model = make_model(np.random.default_rng(0))
        >>> sum(weight.numel() for weight in model.parameters())
        58224
    """
    size = size or ModelSize()
    if size.width % size.heads:
        raise ValueError(
            f"heads must divide the width; got {size.heads} heads and width {size.width}. Try width "
            f"{size.heads * max(1, size.width // size.heads)}."
        )
    model = TinyLM(size).to(torch.float64)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name == "head.weight" or name.endswith("bias"):
                weight.zero_()
            elif weight.ndim == 2:
                spread = 0.02 if name.startswith(("tokens", "positions")) else weight.shape[-1] ** -0.5
                weight.copy_(torch.from_numpy(generator.normal(size=tuple(weight.shape)) * spread))
    return model.to(device, dtype)


def answer_logits(
    model: TinyLM, prompts: Int[torch.Tensor, "batch length"], answers: Int[torch.Tensor, "batch 3"]
) -> Float[torch.Tensor, "batch 3 vocabulary"]:
    """Logits at the tokens of given answers, all from one pass: teacher forcing.

    Args:
        model: the policy.
        prompts: token indices, on the model's device.
        answers: token indices; the last one is not read.

    Returns:
        z in nats, from which π of each token of the answer follows; differentiable in the weights.

    Example:
        >>> model, zeros = make_model(np.random.default_rng(0)), torch.zeros(5, 6, dtype=torch.long)
        >>> answer_logits(model, zeros, zeros[:, :3]).shape
        torch.Size([5, 3, 12])
    """
    logits, _ = model(torch.cat([prompts, answers[:, :-1]], dim=1))
    return logits[:, -answers.shape[1] :]


@torch.no_grad()
def sample_answers(
    generator: np.random.Generator, model: TinyLM, prompts: Int[torch.Tensor, "batch length"]
) -> SampledAnswers:
    """Draw one answer to each prompt, token by token; each position is computed once and kept.

    Args:
        generator: source of randomness, drawn from on the host; its state is advanced.
        model: the policy.
        prompts: token indices, on the model's device.

    Returns:
        The answers and the logits that they were drawn from, without a gradient.

    Raises:
        FloatingPointError: a logit is not finite.

    Example:
        >>> model = make_model(np.random.default_rng(0))
        >>> sample_answers(np.random.default_rng(1), model, torch.zeros(5, 6, dtype=torch.long)).tokens.shape
        torch.Size([5, 3])
    """
    uniform = torch.from_numpy(generator.random((ANSWER_LENGTH, len(prompts), 1))).to(prompts.device)
    given, cache, tokens, logits = prompts, None, [], []
    for u in uniform:
        z, cache = model(given, cache)
        cumulative = z[:, -1].double().softmax(-1).cumsum(-1)
        given = (u * cumulative[:, -1:] >= cumulative).sum(-1, keepdim=True)
        tokens.append(given)
        logits.append(z[:, -1])
        if not z[:, -1].isfinite().all():
            raise FloatingPointError(
                "the model's logits are not finite, so that no answer can be drawn; its weights have "
                "diverged. Start again from an earlier checkpoint with a smaller learning rate."
            )
    return SampledAnswers(torch.cat(tokens, dim=1), torch.stack(logits, dim=1))
