"""Estimates from sampled tokens: both layers against a loop over tokens and against whole policies."""

import math

import numpy as np
import pytest
import torch

from entropy_core import batched, reference

torch.set_num_threads(1)


def by_loop(new, old, entropy, mask):
    """Return the three means and their standard errors, token by token in Python numbers."""
    terms = [[], [], []]
    for row, counted in enumerate(mask):
        rows = [[], [], []]
        for t in np.flatnonzero(counted):
            step, excess = new[row, t] - old[row, t], old[row, t] + entropy[row, t]
            rows[0].append(-excess * step)
            rows[1].append(-excess * step - 0.5 * (1 + excess) * step**2)
            weight = math.exp(step)
            rows[2].append(-(weight * (new[row, t] + entropy[row, t]) - excess - (weight - 1)))
        for kept, values in zip(terms, rows, strict=True):
            kept.append(values)
    means, errors = [], []
    for kept in terms:
        everything = [value for values in kept for value in values]
        mean = sum(everything) / len(everything)
        groups = [sum(value - mean for value in values) for values in kept if values]
        spread = sum(g**2 for g in groups) * len(groups) / (len(groups) - 1)
        means.append(mean)
        errors.append(math.sqrt(spread) / len(everything))
    return [*means, *errors]


def batch(seed, shape=(7, 5)):
    """Return new and old log-probabilities, entropies and a mask with one response that has no token."""
    rng = np.random.default_rng(seed)
    old = -rng.exponential(1.5, shape)
    new = np.minimum(old + rng.normal(0, 0.3, shape), 0)
    mask = rng.random(shape) < 0.7
    mask[2] = False
    return new, old, rng.exponential(1.0, shape), mask


def tensors(*arrays):
    """Return float64 tensors of arrays, masks as they are."""
    return [torch.tensor(a) for a in arrays]


@pytest.mark.parametrize("seed", range(5))
def test_sampled_entropy_change_is_the_loop_over_tokens(seed):
    new, old, entropy, mask = batch(seed)
    expected = by_loop(new, old, entropy, mask)
    ours = reference.sampled_entropy_change(new, old, entropy, mask)
    theirs = batched.sampled_entropy_change(*tensors(new, old, entropy, mask))
    assert np.allclose(ours, expected, rtol=1e-12, atol=1e-14)
    assert np.allclose([float(x) for x in theirs], expected, rtol=1e-12, atol=1e-14)
    assert ours._fields == theirs._fields


def test_float32_keeps_five_digits_of_tiny_and_large_steps():
    rng = np.random.default_rng(7)
    for size in (1e-6, 1e-3, 3e-2, 1.0):
        step = torch.tensor(rng.normal(0, size, (40, 3)), dtype=torch.float32)
        old = torch.zeros_like(step)  # so that the step survives the subtraction
        entropy, mask = torch.full_like(step, 0.7), torch.ones_like(step).bool()
        narrow = batched.sampled_entropy_change(step, old, entropy, mask)
        wide = reference.sampled_entropy_change(
            step.double().numpy(), *(x.numpy() for x in (old, entropy, mask))
        )
        scale = (1.7 * (1 + step.exp()) * (step.abs() + step**2)).mean().item()
        assert max(abs(float(a) - b) for a, b in zip(narrow[:3], wide[:3], strict=True)) < 1e-5 * scale
        assert narrow[0].dtype == torch.float32


def test_padding_reaches_neither_value_nor_gradient():
    new, old, entropy, mask = batch(3)
    clean = reference.sampled_entropy_change(new, old, entropy, mask)
    for junk in (np.nan, np.inf, 1e30):
        dirty = [np.where(mask, x, junk) for x in (new, old, entropy)]
        assert reference.sampled_entropy_change(*dirty, mask) == clean
        leaves = [torch.tensor(x, requires_grad=True) for x in dirty]
        change = batched.sampled_entropy_change(*leaves, torch.tensor(mask))
        assert np.allclose([float(x.detach()) for x in change], clean, rtol=1e-12)
        sum(change[:3]).backward()
        for leaf in leaves:
            assert leaf.grad.isfinite().all()
            assert not leaf.grad[~torch.tensor(mask)].any()


def test_gradients_are_those_of_difference_quotients():
    leaves = [torch.tensor(x, requires_grad=True) for x in batch(5, (3, 4))[:3]]
    mask = torch.tensor([[True, True, False, True]] * 3)
    assert torch.autograd.gradcheck(lambda *x: batched.sampled_entropy_change(*x, mask)[:3], leaves)


def test_no_token_gives_zero_and_one_response_no_error():
    new, old, entropy, mask = batch(4)
    for module, given in ((reference, (new, old, entropy)), (batched, tensors(new, old, entropy))):
        none, single = np.zeros_like(mask), np.zeros_like(mask)
        single[0, :2] = True
        nothing = module.sampled_entropy_change(*given, none if module is reference else torch.tensor(none))
        alone = module.sampled_entropy_change(*given, single if module is reference else torch.tensor(single))
        assert [float(x) for x in nothing[:3]] == [0, 0, 0]
        assert all(math.isnan(x) for x in [*nothing[3:], *alone[3:]])
        assert alone.first_order != 0


@pytest.mark.claim("sampled-entropy-change")
@pytest.mark.parametrize("actions", [2, 10, 1000])
def test_expectation_over_the_sampled_token(actions, record_property):
    # Each action comes as often as its probability says, so that the mean over tokens is the expectation.
    rng, errors, thirds = np.random.default_rng(actions), [], []
    counts = rng.integers(1, 9, actions)
    once = lambda values: values.repeat(counts)[:, None]  # noqa: E731
    for size in (1.0, 1e-3):
        logits, step = np.log(counts), size * rng.normal(size=actions)
        old, new = reference.log_probs(logits), reference.log_probs(logits + step)
        entropy = np.full((counts.sum(), 1), reference.entropy(logits))
        change = reference.sampled_entropy_change(once(new), once(old), entropy, np.full(entropy.shape, True))
        exact = (reference.first_order_entropy_change, reference.entropy_change)
        for estimate, expected in zip(change[::2], exact, strict=False):
            errors.append(abs(estimate - expected(logits, step)) / size)
        thirds.append(
            abs(change.second_order - reference.second_order_entropy_change(logits, step)) / size**3
        )
        assert abs(change.first_order - change.importance_weighted) > 1e-4 * size**2, "they are two numbers"
    assert max(errors) < 1e-13
    assert max(thirds) < 3
    record_property(f"largest error with {actions} actions, per nat of step", f"{max(errors):.0e}")
