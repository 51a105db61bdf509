"""Estimates from sampled tokens: both layers against a loop over tokens and against whole policies."""

import itertools
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


def tokens_of_states(seed, offset=0.0):
    """Return two values a token, labels of states with one to five tokens, and a mask."""
    rng = np.random.default_rng(seed)
    states = rng.integers(-2, 6, (6, 4))
    x, y = rng.normal(size=(2, 6, 4)) + 3 * states + offset
    return x, y, states, rng.random((6, 4)) < 0.8


def parts_by_loop(x, y, states, mask):
    """Return total, within, between and the unbiased within, state by state in Python numbers."""
    tokens = [(x[k], y[k], states[k]) for k in zip(*np.nonzero(mask), strict=True)]
    number = len(tokens)
    x_bar, y_bar = (sum(t[k] for t in tokens) / number for k in (0, 1))
    total = sum((a - x_bar) * (b - y_bar) for a, b, _ in tokens) / number
    within = between = unbiased = 0.0
    used = 0
    for label in {s for _, _, s in tokens}:
        here = [(a, b) for a, b, s in tokens if s == label]
        x_s, y_s = (sum(pair[k] for pair in here) / len(here) for k in (0, 1))
        products = sum((a - x_s) * (b - y_s) for a, b in here)
        within += products / number
        between += len(here) / number * (x_s - x_bar) * (y_s - y_bar)
        if len(here) > 1:
            unbiased += len(here) * products / (len(here) - 1)
            used += len(here)
    return total, within, between, unbiased / used


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_a_batch_are_the_loop_over_states(seed):
    x, y, states, mask = tokens_of_states(seed)
    *parts, unbiased = parts_by_loop(x, y, states, mask)
    ours = reference.batch_covariance(x, y, states, mask)
    theirs = batched.batch_covariance(*tensors(x, y, states, mask))
    assert np.allclose(ours, parts, rtol=1e-12, atol=1e-13)
    assert np.allclose([p.item() for p in theirs], parts, rtol=1e-12, atol=1e-13)
    assert ours.total == pytest.approx(ours.within_states + ours.between_states, rel=1e-12)
    assert reference.within_state_covariance(x, y, states, mask) == pytest.approx(unbiased, rel=1e-12)
    again = batched.within_state_covariance(*tensors(x, y, states, mask)).item()
    assert again == pytest.approx(unbiased, rel=1e-12)
    assert abs(unbiased - parts[1]) > 1e-3, "the two must differ"


def test_offsets_cost_no_digits_and_float32_keeps_five():
    x, y, states, mask = tokens_of_states(1)
    x, y = (np.round(v * 2**20) / 2**20 for v in (x, y))  # so that the offset can be added without rounding
    plain = reference.batch_covariance(x, y, states, mask)
    shifted = reference.batch_covariance(x + 2**20, y - 2**20, states, mask)
    assert np.allclose(shifted, plain, rtol=1e-13)
    narrow = batched.batch_covariance(*tensors(*(v.astype(np.float32) for v in (x, y)), states, mask))
    scale = x[mask].std() * y[mask].std()
    assert max(abs(a.item() - b) for a, b in zip(narrow, plain, strict=True)) < 1e-5 * scale


@pytest.mark.parametrize("seed", range(3))
def test_one_token_a_state_is_the_loop_over_tokens(seed):
    y, old, entropy, mask = batch(seed)
    expected = [(old[k] + entropy[k]) * y[k] for k in zip(*np.nonzero(mask), strict=True)]
    ours = reference.log_prob_covariance(old, y, entropy, mask)
    theirs = batched.log_prob_covariance(*tensors(old, y, entropy, mask))
    assert ours.within_states == pytest.approx(np.mean(expected), rel=1e-12)
    assert np.allclose([v.item() for v in theirs], ours, rtol=1e-12)
    rows = [
        (np.where(m, (o + h) * v - np.mean(expected), 0)).sum()
        for m, o, h, v in zip(mask, old, entropy, y, strict=True)
    ]
    rows = [r for r, m in zip(rows, mask, strict=True) if m.any()]
    error = np.sqrt(np.square(rows).sum() * len(rows) / (len(rows) - 1)) / len(expected)
    assert ours.error == pytest.approx(error, rel=1e-12)


def test_padding_reaches_no_covariance_and_no_gradient():
    x, y, states, mask = tokens_of_states(2)
    entropy = np.full(x.shape, 0.9)
    calls = {
        "batch_covariance": lambda m, a, b, s, h, k: m.batch_covariance(a, b, s, k).within_states,
        "within_state_covariance": lambda m, a, b, s, h, k: m.within_state_covariance(a, b, s, k),
        "log_prob_covariance": lambda m, a, b, s, h, k: m.log_prob_covariance(a, b, h, k).within_states,
    }
    dirty = [np.where(mask, v, np.nan) for v in (x, y)]
    for call in calls.values():
        clean = call(reference, x, y, states, entropy, mask)
        assert call(reference, *dirty, states, entropy, mask) == clean
        leaves = [torch.tensor(v, requires_grad=True) for v in dirty]
        value = call(batched, *leaves, *tensors(states, entropy, mask))
        assert value.item() == pytest.approx(clean, rel=1e-12)
        for gradient in torch.autograd.grad(value, leaves):
            assert gradient.isfinite().all()
            assert not gradient[~torch.tensor(mask)].any()
            assert gradient.any()


def test_no_token_and_lonely_tokens(without_shape_checks):
    x, y, states, mask = tokens_of_states(3)
    lonely = np.arange(x.size).reshape(x.shape)
    for module, given in (
        (reference, (x, y, states, mask, lonely)),
        (batched, tensors(x, y, states, mask, lonely)),
    ):
        x_, y_, states_, mask_, lonely_ = given
        assert [float(v) for v in module.batch_covariance(x_, y_, states_, mask_ & ~mask_)] == [0, 0, 0]
        assert math.isnan(module.within_state_covariance(x_, y_, lonely_, mask_))
        assert float(module.batch_covariance(x_, y_, lonely_, mask_).within_states) == 0
        for function in (module.batch_covariance, module.within_state_covariance):
            with pytest.raises(TypeError, match="states must be"):
                function(x_, y_, x_, mask_)
            with pytest.raises(ValueError, match="one label a token"):
                function(x_, y_, states_[:2], mask_)
            with pytest.raises(TypeError, match="response_mask must be"):
                function(x_, y_, states_, x_)


@pytest.mark.claim("one-token-a-state")
def test_estimates_of_the_within_part_are_unbiased_over_every_sample():
    # Two states with known policies, every sample of 2 tokens at each.
    logits = np.array([[0.0, 1.0, -1.0], [0.5, -2.0, 0.3]])
    pi, ell, entropy = reference.probs(logits), reference.log_probs(logits), reference.entropy(logits)
    y = np.array([[1.0, -0.5, 2.0], [0.3, 4.0, -1.0]])
    truth = reference.covariance_over_actions(ell, y, logits).mean()
    labels, every = np.array([[0, 0], [1, 1]]), np.ones((2, 2), bool)
    means = np.zeros(3)
    for drawn in itertools.product(range(3), repeat=4):
        tokens = np.array(drawn).reshape(2, 2)
        chance = np.take_along_axis(pi, tokens, 1).prod()
        x_, y_ = (np.take_along_axis(v, tokens, 1) for v in (ell, y))
        entropies = np.repeat(entropy[:, None], 2, axis=1)
        means += chance * np.array(
            [
                reference.within_state_covariance(x_, y_, labels, every),
                reference.log_prob_covariance(x_, y_, entropies, every).within_states,
                reference.batch_covariance(x_, y_, labels, every).within_states,
            ]
        )
    assert np.allclose(means, [truth, truth, truth / 2], rtol=1e-12)
