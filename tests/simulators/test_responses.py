"""Trees and chains have the shape that they promise, and sampled responses the frequencies."""

import numpy as np
import pytest

from entropy_core import reference
from entropy_core.simulators import prefix_tree, sample_responses, token_chain


@pytest.mark.parametrize(("branching", "depth"), [(1, 1), (2, 4), (5, 3), (50, 2)])
def test_every_prefix_of_a_tree_has_one_row(branching, depth):
    tree = prefix_tree(branching, depth)
    inner = tree[tree >= 0]
    assert len(tree) == sum(branching**level for level in range(depth))
    np.testing.assert_array_equal(np.sort(inner), np.arange(1, len(tree)))
    assert (tree < 0).sum() == branching**depth
    uniform = np.zeros(tree.shape)
    assert reference.sequence_entropy(uniform, tree, depth) == pytest.approx(
        depth * np.log(branching), abs=1e-12
    )


def test_a_chain_remembers_the_last_token():
    chain = token_chain(4)
    assert (chain == [1, 2, 3, -1]).all()
    logits = np.random.default_rng(0).normal(size=(4, 4))
    first, *_ = reference.probs(logits)
    second = first[:3] @ reference.probs(logits)[1:]
    drawn = sample_responses(np.random.default_rng(1), logits, chain, 2, 20000)
    for column, expected in ((0, first), (1, second)):
        share = (drawn.tokens[:, column, None] == np.arange(4)).mean(axis=0)
        deviation = np.sqrt(expected * (1 - expected) / 20000)
        assert (abs(share - expected) < 4 * deviation).all()


def test_samples_carry_their_log_probs_entropies_and_mask():
    rng = np.random.default_rng(2)
    logits, tree = rng.normal(size=(4, 4)), token_chain(4)
    logits[2, 1] = -np.inf
    drawn = sample_responses(rng, logits, tree, 6, 500)
    for tokens, taken, known, counted in zip(
        drawn.tokens, drawn.token_log_probs, drawn.entropy, drawn.response_mask, strict=True
    ):
        state = 0
        for t in range(6):
            if state < 0:
                assert tokens[t] == -1
                assert np.isnan(taken[t])
                assert not counted[t]
                continue
            assert taken[t] == reference.log_probs(logits[state])[tokens[t]]
            assert known[t] == reference.entropy(logits[state])
            state = tree[state, tokens[t]]
    exact = reference.sequence_entropy(logits, tree, 6)
    for estimate in (
        reference.sequence_entropy_from_entropies(drawn.entropy, drawn.response_mask),
        reference.sequence_entropy_from_log_probs(drawn.token_log_probs, drawn.response_mask),
    ):
        assert abs(estimate.estimate - exact) < 4 * estimate.standard_error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prefix_tree(0, 2), "branching ≥ 1 and depth ≥ 1, got branching = 0"),
        (lambda: token_chain(1), "tokens ≥ 2, got 1"),
        (
            lambda: sample_responses(np.random.default_rng(0), np.zeros((2, 2)), token_chain(2), 0, 1),
            "horizon ≥ 1",
        ),
    ],
)
def test_what_is_no_world_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
