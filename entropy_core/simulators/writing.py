r"""Responses of many tokens, each drawn at a context that the tokens before led to, rewarded at the end.

A context is what the policy sees: it holds logits over tokens, and each token leads to the next context. A
response starts at the context of its prompt, has a fixed length, and earns the reward of the context that it
ends at. There are few contexts, so that values and visits are sums over them and every mean over responses is
known exactly; the responses themselves never repeat. NumPy float64 on the host.
"""

from typing import NamedTuple

import numpy as np

from entropy_core._shapes import Int
from entropy_core.reference import covariance_over_actions, entropy, log_probs, probs

__all__ = [
    "CovarianceParts",
    "WrittenResponses",
    "Writing",
    "covariance_parts_of_responses",
    "write_responses",
    "wandering_writing",
]


class Writing(NamedTuple):
    """A policy over responses.

    Args:
        logits: z of each token at each context, shape [contexts, tokens], in nats.
        next_contexts: where each token leads, an index of a context, the same shape.
        rewards: what a response earns that ends at a context, shape [contexts].
        length: tokens of a response.
    """

    logits: np.ndarray
    next_contexts: np.ndarray
    rewards: np.ndarray
    length: int


class WrittenResponses(NamedTuple):
    """Sampled responses, [responses] or [responses, length]; the samples of a prompt follow each other.

    Args:
        contexts: index of the context that each token was drawn at.
        old_log_probs: log π of each token, in nats.
        entropy: H of the policy at each token's context, in nats.
        rewards: reward of each response.
    """

    contexts: np.ndarray
    old_log_probs: np.ndarray
    entropy: np.ndarray
    rewards: np.ndarray


class CovarianceParts(NamedTuple):
    """Exact covariance over tokens of log π and the advantage of the response, in nats per unit of reward.

    Args:
        total: over all tokens; the sum of the other two.
        within_states: mean of the covariance at a state, where the states are the prefixes of responses.
        between_states: covariance of the states' means: of −H with the mean advantage that is still to come.
    """

    total: float
    within_states: float
    between_states: float


def wandering_writing(
    generator: np.random.Generator,
    sharpness: tuple[float, float],
    pull: float = 0.0,
    contexts: int = 300,
    tokens: int = 40,
    stride: int = 25,
    length: int = 24,
) -> Writing:
    """Draw a writing whose contexts lie on a line; the rightmost fifth is right, and earns 1.

    z = sharpness(context) · (ε + pull · jump / √Var jump), ε ~ N(0, 1), next = context + jump

    Args:
        generator: source of randomness; its state is advanced.
        sharpness: scale of the logits at the left end and at the right end, positive.
        pull: how much the policy prefers tokens that lead to the right; 0 does not know the task.
        contexts: number of contexts, at least 5.
        tokens: number of tokens, at least 2.
        stride: largest jump, either way, at least 1; the ends stop it.
        length: tokens of a response, at least 1.

    Returns:
        the writing.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> writing = wandering_writing(np.random.default_rng(0), (1.0, 2.0), contexts=10, tokens=3)
        >>> writing.rewards.tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """
    if contexts < 5 or tokens < 2 or stride < 1 or length < 1 or not min(sharpness) > 0:
        raise ValueError(
            "wandering_writing needs contexts ≥ 5, tokens ≥ 2, stride ≥ 1, length ≥ 1 and a positive "
            f"sharpness, got contexts = {contexts}, tokens = {tokens}, stride = {stride}, length = {length}, "
            f"sharpness = {sharpness}; for a uniform policy make the sharpness small"
        )
    jumps = generator.integers(-stride, stride + 1, (contexts, tokens))
    spread = np.sqrt(stride * (stride + 1) / 3)
    scale = np.linspace(*sharpness, contexts)[:, None]
    logits = scale * (generator.normal(size=jumps.shape) + pull * jumps / spread)
    places = np.arange(contexts)
    right = (places >= contexts - contexts // 5).astype(float)
    return Writing(logits, (places[:, None] + jumps).clip(0, contexts - 1), right, length)


def covariance_parts_of_responses(writing: Writing, prompts: Int[np.ndarray, " prompts"]) -> CovarianceParts:
    """Exact covariance over tokens of log π with one advantage for a whole response, and its two parts.

    A = reward − expected reward of the prompt; each token of each prompt counts alike.

    Args:
        writing: the policy.
        prompts: context that each prompt starts at.

    Returns:
        The covariance and its parts.

    Example:
        >>> writing = wandering_writing(np.random.default_rng(0), (1.0, 2.0), contexts=10, tokens=3)
        >>> parts = covariance_parts_of_responses(writing, np.array([2, 5]))
        >>> bool(np.isclose(parts.total, parts.within_states + parts.between_states))
        True
    """
    pi, ell, h = probs(writing.logits), log_probs(writing.logits), entropy(writing.logits)
    values = [writing.rewards]
    for _ in range(writing.length):
        values.insert(0, (pi * values[0][writing.next_contexts]).sum(axis=-1))
    places = np.arange(len(h))
    moves = np.zeros((len(h), len(h)))
    np.add.at(moves, (places[:, None], writing.next_contexts), pi)
    visits = np.eye(len(h))[prompts] / (len(prompts) * writing.length)
    within = product = mean_entropy = mean_advantage = 0.0
    for now, later in zip(values[:-1], values[1:], strict=True):
        within += (visits @ covariance_over_actions(ell, later[writing.next_contexts], writing.logits)).sum()
        ahead = now - values[0][prompts][:, None]
        product += (visits * h * ahead).sum()
        mean_entropy += (visits @ h).sum()
        mean_advantage += (visits * ahead).sum()
        visits = visits @ moves
    between = mean_entropy * mean_advantage - product
    return CovarianceParts(float(within + between), float(within), float(between))


def write_responses(
    generator: np.random.Generator, writing: Writing, prompts: Int[np.ndarray, " prompts"], group_size: int
) -> WrittenResponses:
    """Draw responses to each prompt.

    a_t ~ π(· | context_t), context_{t+1} = next(context_t, a_t)

    Args:
        generator: source of randomness; its state is advanced.
        writing: the policy.
        prompts: context that each prompt starts at.
        group_size: responses to each prompt, at least 1.

    Returns:
        The responses, prompts × group_size of them.

    Raises:
        ValueError: if group_size is below 1.

    Example:
        >>> writing = wandering_writing(np.random.default_rng(0), (1.0, 2.0), contexts=10, tokens=3)
        >>> write_responses(np.random.default_rng(1), writing, np.array([2, 5]), 4).contexts.shape
        (8, 24)
    """
    if group_size < 1:
        raise ValueError(
            f"write_responses needs group_size ≥ 1, got {group_size}; for covariances give 2 or more"
        )
    ell, h = log_probs(writing.logits), entropy(writing.logits)
    cumulative = probs(writing.logits).cumsum(axis=-1)
    context, contexts, taken = np.repeat(prompts, group_size), [], []
    for _ in range(writing.length):
        drawn = generator.random((len(context), 1)) * cumulative[context, -1:]
        token = (drawn >= cumulative[context]).sum(axis=-1)
        contexts.append(context)
        taken.append(ell[context, token])
        context = writing.next_contexts[context, token]
    visited = np.stack(contexts, axis=1)
    return WrittenResponses(visited, np.stack(taken, axis=1), h[visited], writing.rewards[context])
