"""Small worlds of responses, in which the entropy of a whole response is known, and responses sampled there.

A world is a table of next states, as `reference.sequences` takes it: a full prefix tree, in which no two
beginnings share a row of logits, or a chain in which the next token depends on the last one and one token
ends the response.
"""

from dataclasses import dataclass

import numpy as np

from entropy_core._shapes import Int, Real
from entropy_core.reference import entropy, log_probs

__all__ = ["SampledResponses", "prefix_tree", "sample_responses", "token_chain"]


@dataclass(frozen=True)
class SampledResponses:
    """Responses as a trainer holds them: one row each, padded to the longest possible.

    Args:
        tokens: token taken, −1 after the end, shape [responses, horizon].
        token_log_probs: log π of the token taken, in nats, NaN after the end, same shape.
        entropy: H of the distribution it was taken from, in nats, NaN after the end, same shape.
        response_mask: True for the tokens of a response, the last one included, same shape.
    """

    tokens: np.ndarray
    token_log_probs: np.ndarray
    entropy: np.ndarray
    response_mask: np.ndarray


def prefix_tree(branching: int, depth: int) -> Int[np.ndarray, "states actions"]:
    """Next states of a full prefix tree: every response has the same number of tokens.

    children of state s: branching · s + 1, …, branching · s + branching

    Args:
        branching: tokens to choose from at each prefix, at least 1.
        depth: tokens of a response, at least 1; 1 is a bandit.

    Returns:
        next states; states are numbered level by level from the empty prefix, −1 ends the response.

    Raises:
        ValueError: branching or depth is below 1.

    Numerics:
        Integers; tests/simulators/test_responses.py.

    Source: chapter tokens-and-sequences.

    Example:
        >>> prefix_tree(branching=2, depth=2).tolist()
        [[1, 2], [-1, -1], [-1, -1]]
    """
    if branching < 1 or depth < 1:
        raise ValueError(
            f"prefix_tree needs branching ≥ 1 and depth ≥ 1, got branching = {branching}, depth = {depth}; "
            "a response has at least one token, taken from at least one"
        )
    inner = sum(branching**level for level in range(depth - 1))
    states = inner + branching ** (depth - 1)
    children = branching * np.arange(states)[:, None] + 1 + np.arange(branching)
    return np.where(np.arange(states)[:, None] < inner, children, -1)


def token_chain(tokens: int) -> Int[np.ndarray, "states actions"]:
    """Next states of a chain: the next token depends on the last one, and the last token of the list ends it.

    next(s, a) = a + 1 for a < tokens − 1, and the end for a = tokens − 1

    Args:
        tokens: size of the vocabulary, at least 2, the token that ends a response included.

    Returns:
        next states of [tokens, tokens]; state 0 is the empty response, state a + 1 the one after token a.

    Raises:
        ValueError: there are fewer than two tokens.

    Numerics:
        Integers; tests/simulators/test_responses.py.

    Source: chapter tokens-and-sequences.

    Example:
        >>> token_chain(3).tolist()
        [[1, 2, -1], [1, 2, -1], [1, 2, -1]]
    """
    if tokens < 2:
        raise ValueError(f"token_chain needs tokens ≥ 2, got {tokens}; one of them ends the response")
    return np.tile(np.append(np.arange(1, tokens), -1), (tokens, 1))


def sample_responses(
    generator: np.random.Generator,
    logits: Real[np.ndarray, "states actions"],
    next_states: Int[np.ndarray, "states actions"],
    horizon: int,
    responses: int,
) -> SampledResponses:
    """Draw independent responses, token by token, from a table of next-token logits.

    y_t ~ softmax(z(s_t, ·)), s_{t+1} = next(s_t, y_t)

    Args:
        generator: source of randomness; its state is advanced.
        logits: z, in nats; −inf forbids a token.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1.
        responses: number of responses, at least 1.

    Returns:
        Tokens, their log-probabilities and entropies, with NaN where a response has ended, and the mask.

    Raises:
        ValueError: horizon or responses is below 1, or logits and next_states do not fit.

    Numerics:
        Frequencies within four standard errors of the probabilities; tests/simulators/test_responses.py.

    Source: chapter tokens-and-sequences.

    Example:
        >>> drawn = sample_responses(np.random.default_rng(0), np.zeros((1, 2)), np.array([[0, -1]]), 4, 3)
        >>> drawn.response_mask.sum(axis=1)
        array([1, 3, 2])
    """
    if horizon < 1 or responses < 1 or logits.shape != next_states.shape:
        raise ValueError(
            "sample_responses needs horizon ≥ 1, responses ≥ 1 and logits of the shape of next_states, got "
            f"horizon = {horizon}, responses = {responses}, {logits.shape} and {next_states.shape}"
        )
    ell, entropies = log_probs(logits), entropy(logits)
    # One increasing list for all states: state s owns the stretch from s to s + 1.
    cumulative = np.cumsum(np.exp(ell), axis=-1)
    ladder = (cumulative / cumulative[:, -1:] + np.arange(len(ell))[:, None]).ravel()
    tokens = np.full((responses, horizon), -1)
    taken, known = np.full((2, responses, horizon), np.nan)
    state = np.zeros(responses, dtype=int)
    for t in range(horizon):
        alive = np.flatnonzero(state >= 0)
        here = state[alive]
        at = np.searchsorted(ladder, here + generator.random(alive.size), side="right")
        token = np.minimum(at - here * ell.shape[1], ell.shape[1] - 1)
        tokens[alive, t], taken[alive, t], known[alive, t] = token, ell[here, token], entropies[here]
        state[alive] = next_states[here, token]
    return SampledResponses(tokens, taken, known, tokens >= 0)
