"""Advantages of groups: both layers against a loop over the group in exact arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from entropy_core import batched, reference

torch.set_num_threads(1)


def by_loop(rewards, epsilon, ddof):
    """Return the advantages of one group; the sums are exact, the root is rounded once."""
    exact = [Fraction(float(r)) for r in rewards]
    mean = sum(exact) / len(exact)
    spread = math.sqrt(sum((r - mean) ** 2 for r in exact) / (len(exact) - ddof))
    return [0.0 if spread == 0 else float(r - mean) / (spread + epsilon) for r in exact]


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize(("epsilon", "ddof"), [(0, 0), (1e-6, 1), (1e-4, 1), (0.3, 0)])
def test_layers_are_the_loop(offset, epsilon, ddof):
    rng = np.random.default_rng(0)
    rewards = offset + np.concatenate([rng.normal(size=(20, 8)), 1.0 * (rng.random((20, 8)) < 0.2)])
    expected = np.array([by_loop(group, epsilon, ddof) for group in rewards])
    centred = np.array(
        [[float(Fraction(r) - sum(map(Fraction, g)) / 8) for r in g] for g in rewards.tolist()]
    )
    ours = reference.group_normalised_advantages(rewards, epsilon, ddof)
    assert np.allclose(ours, expected, rtol=1e-13, atol=1e-14 * (1 + offset))
    assert np.allclose(reference.group_centred_advantages(rewards), centred, rtol=1e-13, atol=1e-15)
    theirs = batched.group_normalised_advantages(torch.tensor(rewards), epsilon, ddof).numpy()
    assert np.allclose(theirs, ours, rtol=1e-13, atol=1e-14)
    again = batched.group_centred_advantages(torch.tensor(rewards)).numpy()
    assert np.allclose(again, centred, rtol=1e-13, atol=1e-15)
    assert np.allclose(ours.sum(axis=-1), 0, atol=1e-13)


def test_defaults_are_those_of_verl():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.25]], dtype=torch.float64)
    expected = (rewards - rewards.mean()) / (torch.std(rewards) + 1e-6)
    assert torch.allclose(batched.group_normalised_advantages(rewards), expected, rtol=1e-14)
    wider = (rewards - rewards.mean()) / (torch.std(rewards) + 1e-4)
    assert not torch.allclose(batched.group_normalised_advantages(rewards), wider, rtol=1e-6)


def test_equal_rewards_give_exactly_zero_though_their_mean_is_rounded():
    rewards = np.full((2, 7), 0.1)
    assert rewards.mean(axis=-1)[0] != 0.1, "or the test tests nothing"
    for epsilon in (0, 1e-6):
        assert not reference.group_normalised_advantages(rewards, epsilon, 0).any()
        leaf = torch.tensor(rewards, requires_grad=True)
        advantages = batched.group_normalised_advantages(leaf, epsilon, 0)
        assert not advantages.any()
        advantages.square().sum().backward()
        assert not leaf.grad.any()
    assert not reference.group_centred_advantages(rewards).any()


def test_float32_types_and_gradients():
    rewards = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = batched.group_normalised_advantages(rewards)
    for dtype in (torch.float32, torch.bfloat16):
        narrow = batched.group_normalised_advantages(rewards.to(dtype))
        again = batched.group_normalised_advantages(rewards.to(dtype).double())
        assert narrow.dtype == torch.float32
        assert torch.allclose(narrow.double(), again, rtol=1e-5, atol=1e-6)
    assert exact.dtype == torch.float64
    leaf = rewards.requires_grad_()
    assert torch.autograd.gradcheck(batched.group_normalised_advantages, (leaf,))
    assert torch.autograd.gradcheck(batched.group_centred_advantages, (leaf,))


def test_errors_say_what_to_do(without_shape_checks):
    good = np.zeros((2, 3))
    for bad in (-1e-6, math.inf, math.nan):
        with pytest.raises(ValueError, match="epsilon must"):
            reference.group_normalised_advantages(good, bad)
        with pytest.raises(ValueError, match="epsilon must"):
            batched.group_normalised_advantages(torch.tensor(good), bad)
    for module, group in ((reference, np.ones((2, 1))), (batched, torch.ones(2, 1))):
        with pytest.raises(ValueError, match="One sample has no spread"):
            module.group_normalised_advantages(group)
        assert not module.group_centred_advantages(group).any()
    with pytest.raises(ValueError, match="finite rewards"):
        reference.group_centred_advantages(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="at least one sample"):
        batched.group_centred_advantages(torch.zeros(2, 0))
    with pytest.raises(TypeError, match=r"rewards.float\(\)"):
        batched.group_centred_advantages(torch.zeros(2, 2).long())
    with pytest.raises(TypeError, match="real numbers"):
        reference.group_centred_advantages(np.array([["a", "b"]]))


def exact_weight(rate, samples, epsilon, ddof):
    """Return the weight of a group by the binomial distribution, in whole numbers but for the root."""
    (right, whole), total = rate.as_integer_ratio(), 0.0
    for hits in range(1, samples):
        ways = math.comb(samples, hits) * right ** (hits - 1) * (whole - right) ** (samples - hits - 1)
        product = hits * (samples - hits)
        spread = math.sqrt(product / samples / (samples - ddof))
        total += ways * product / (whole ** (samples - 2) * samples**2) / (spread + epsilon)
    return total


@pytest.mark.parametrize(
    ("samples", "epsilon", "ddof"), [(2, 0, 0), (3, 1e-4, 1), (16, 0, 0), (1024, 0.1, 1)]
)
def test_weights_of_prompts_are_binomial_means(samples, epsilon, ddof):
    rates = [0.0, 1e-9, 0.125, 0.5, 0.9375, 1.0]
    expected = [exact_weight(rate, samples, epsilon, ddof) for rate in rates]
    ours = reference.group_weight(np.array(rates), samples, epsilon, ddof)
    theirs = batched.group_weight(torch.tensor(rates, dtype=torch.float64), samples, epsilon, ddof)
    narrow = batched.group_weight(torch.tensor(rates), samples, epsilon, ddof)
    assert np.allclose(ours, expected, rtol=1e-14 * samples)
    assert np.allclose(theirs.numpy(), expected, rtol=1e-14 * samples)
    assert np.allclose(narrow.numpy(), expected, rtol=1e-6 * samples)
    if epsilon == ddof == 0:
        assert ours[0] == pytest.approx(math.sqrt(samples - 1), rel=1e-12)
        assert ours[3] == pytest.approx(1 if samples == 2 else 1.93, rel=3e-3)


@pytest.mark.parametrize("ddof", [0, 1])
def test_only_pairs_and_triples_weigh_every_prompt_alike(ddof):
    rates = np.array([0.01, 0.1, 0.3, 0.5, 0.9])
    for samples in (2, 3, 4, 5):
        weights = reference.group_weight(rates, samples, 0, ddof)
        limit = math.sqrt((samples - 1) * (samples - ddof) / samples)
        assert (weights <= limit * (1 + 1e-14)).all()
        assert (weights > limit * (1 - 1e-12)).all() == (samples <= 3)


def test_errors_of_weights(without_shape_checks):
    for module, rate in ((reference, np.array([0.5])), (batched, torch.tensor([0.5]))):
        with pytest.raises(ValueError, match="group_size"):
            module.group_weight(rate, 1, 0, 0)
        with pytest.raises(ValueError, match="epsilon must"):
            module.group_weight(rate, 4, -1.0)
        with pytest.raises(TypeError, match="success_probability must be"):
            module.group_weight(["a"], 4)
        assert module.group_weight(rate[0], 4).shape == ()
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        reference.group_weight(np.array([1.5]), 4)
    assert batched.group_weight(torch.tensor([1.5]), 2).isnan().all()
