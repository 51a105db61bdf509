"""Responses over few contexts: exact means against every response gone through, samples against the means."""

from itertools import product

import numpy as np
import pytest

from entropy_core import reference
from entropy_core.simulators import (
    Writing,
    covariance_parts_of_responses,
    wandering_writing,
    write_responses,
)

SMALL = Writing(
    np.array([[0.0, 1.0], [2.0, -1.0], [0.3, 0.1]]),
    np.array([[1, 2], [2, 0], [0, 1]]),
    np.array([1.0, 0.0, 0.25]),
    4,
)
PROMPTS = np.array([0, 2, 2])


def every_response(writing, prompt):
    """Yield chance, tokens' contexts, tokens' log-probabilities and reward of each response to a prompt."""
    ell = reference.log_probs(writing.logits)
    for tokens in product(range(writing.logits.shape[1]), repeat=writing.length):
        context, contexts, taken = prompt, [], []
        for token in tokens:
            contexts.append(context)
            taken.append(ell[context, token])
            context = writing.next_contexts[context, token]
        yield np.exp(sum(taken)), contexts, taken, writing.rewards[context]


@pytest.mark.claim("total-against-within")
def test_exact_parts_are_those_of_every_response():
    weights, ell, h, advantages = [], [], [], []
    for prompt in PROMPTS:
        found = list(every_response(SMALL, prompt))
        value = sum(chance * reward for chance, *_, reward in found)
        for chance, contexts, taken, reward in found:
            weights += [chance / (len(PROMPTS) * SMALL.length)] * SMALL.length
            ell += taken
            h += list(reference.entropy(SMALL.logits)[contexts])
            advantages += [reward - value] * SMALL.length
    weights, ell, h, advantages = map(np.array, (weights, ell, h, advantages))
    mean = lambda x: weights @ x  # noqa: E731
    parts = covariance_parts_of_responses(SMALL, PROMPTS)
    assert mean(np.ones_like(ell)) == pytest.approx(1)
    assert parts.total == pytest.approx(mean(ell * advantages) - mean(ell) * mean(advantages), rel=1e-12)
    assert parts.within_states == pytest.approx(mean((ell + h) * advantages), rel=1e-12)
    assert parts.between_states == pytest.approx(mean(h) * mean(advantages) - mean(h * advantages), rel=1e-12)
    assert abs(parts.between_states) > 5e-4


def test_samples_follow_the_policy():
    drawn = write_responses(np.random.default_rng(0), SMALL, PROMPTS, 20_000)
    advantages = drawn.rewards.reshape(3, -1)
    advantages = (advantages - advantages.mean(axis=1, keepdims=True)).reshape(-1, 1)
    terms = ((drawn.old_log_probs + drawn.entropy) * advantages).mean(axis=1)
    parts = covariance_parts_of_responses(SMALL, PROMPTS)
    assert abs(terms.mean() - parts.within_states) < 4 * terms.std() / np.sqrt(terms.size)
    second = np.bincount(drawn.contexts[:20_000, 1], minlength=3) / 20_000
    assert np.allclose(second, [0, *reference.probs(SMALL.logits)[0]], atol=0.015)
    assert np.array_equal(drawn.entropy, reference.entropy(SMALL.logits)[drawn.contexts])


def test_pull_leads_to_the_right_end():
    rates = []
    for pull in (-1.0, 0.0, 1.0):
        writing = wandering_writing(np.random.default_rng(1), (1.0, 1.0), pull)
        rates.append(write_responses(np.random.default_rng(2), writing, np.array([150]), 500).rewards.mean())
    assert rates[0] < 0.1 < rates[1] < 0.5 < 0.9 < rates[2]


def test_errors_say_what_to_do():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="positive sharpness"):
        wandering_writing(rng, (0.0, 1.0))
    with pytest.raises(ValueError, match="group_size ≥ 1, got 0"):
        write_responses(rng, SMALL, PROMPTS, 0)
