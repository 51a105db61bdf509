"""The torch layer against the reference, one token at a time, and what its gradients reach."""

import numpy as np
import pytest
import torch

from entropy_core import batched
from entropy_core import reference as ref
from tests.tokens import repo_batches, repo_by_loop

torch.set_num_threads(1)
NAN = float("nan")


def both(*arrays):
    """The same arrays for both layers."""
    return arrays, [torch.from_numpy(np.asarray(x)) for x in arrays]


def close(found, expected, error=1e-12):
    """Assert agreement, relative to the size of the values."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=error, atol=error)


def test_closed_forms_agree_with_the_reference():
    rng = np.random.default_rng(0)
    alpha, gap = 10 ** rng.uniform(-2, 1, 500), rng.uniform(0.1, 3, 500)
    right, actions = rng.integers(1, 50, 500).astype(float), rng.integers(51, 200_000, 500).astype(float)
    share = rng.uniform(1e-6, 1 - 1e-6, 500)
    for name, given in {
        "entropy_bonus_success": (alpha, gap, right, actions),
        "critical_entropy_coefficient": (gap, right, actions),
        "reference_kl_success": (alpha, gap, share),
        "critical_kl_coefficient": (gap, share),
    }.items():
        arrays, tensors = both(*given)
        close(getattr(batched, name)(*tensors), getattr(ref, name)(*arrays), 1e-10)


@pytest.mark.parametrize("n", [2, 50, 1000])
def test_functions_of_logits_agree_with_the_reference(n):
    rng = np.random.default_rng(n)
    logits, rewards = 3 * rng.normal(size=(2, 40, n))
    logits[::2, 1::3], rewards[::2, 1::3] = -np.inf, NAN
    arrays, tensors = both(logits, rewards)
    for name in ("natural_neutral_coefficient", "plain_neutral_coefficient"):
        close(getattr(batched, name)(*tensors), getattr(ref, name)(*arrays), 1e-9)
    found = batched.regularised_optimum_logits(*tensors, 0.2, 0.3)
    close(found, ref.regularised_optimum_logits(*arrays, 0.2, 0.3))


@pytest.mark.claim("neutral-sampled")
def test_thousand_batches_agree_with_one_token_at_a_time():
    for seed, (values, mask) in enumerate(repo_batches(np.random.default_rng(1), 1000)):
        coefficient, scale = 0.3 - 1e-3 * seed, 1e-3 * seed - 0.4
        sums, shaped, rescaled = repo_by_loop(*values, mask, coefficient, scale)
        taken, entropies, gains, mask = map(torch.from_numpy, (*values, mask))
        close(torch.stack([x.double() for x in batched.repo_sums(taken, entropies, gains, mask)]), sums)
        close(batched.repo_advantages(taken, entropies, gains, mask, coefficient), shaped)
        close(batched.rescaled_repo_advantages(taken, gains, mask, scale), rescaled)


def test_gradient_reaches_advantages_alone_and_no_masked_token():
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[0, 0] = True
    taken, entropies, gains = (
        torch.full((4, 5), NAN).masked_fill(mask, value).requires_grad_() for value in (-1.0, 2.0, 0.5)
    )
    shaped = batched.repo_advantages(taken, entropies, gains, mask, 0.5)
    rescaled = batched.rescaled_repo_advantages(taken, gains, mask, 0.5)
    assert taken.grad_fn is None
    (gradient,) = torch.autograd.grad(shaped.sum() + rescaled.sum(), gains)
    assert gradient[mask].tolist() == [1.0 + 1.5]
    assert not gradient[~mask].any()


@pytest.mark.claim("bonus-is-repo")
def test_plain_gradient_of_shaped_advantages_is_that_of_the_bonus():
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(size=(1, 1, 12))).requires_grad_()
    mask, rewards = torch.ones(1, 12, dtype=torch.bool), torch.from_numpy(rng.normal(size=12))
    pi, ell = batched.probs(logits[0, 0]), batched.log_probs(logits[0, 0])
    level = batched.entropy(logits[0, 0])
    gains = (rewards - (pi * rewards).sum()).detach()
    shaped = batched.repo_advantages(ell[None], level.expand(1, 12), gains[None], mask, 0.4)
    (of_shaped,) = torch.autograd.grad((pi.detach() * shaped[0] * ell).sum(), logits, retain_graph=True)
    bonus = batched.entropy_bonus_loss(logits, torch.ones(1, 1, dtype=torch.bool), 0.4)
    (of_bonus,) = torch.autograd.grad((pi * rewards).sum() - bonus.loss, logits, retain_graph=True)
    close(of_shaped, of_bonus.numpy())
    other = batched.repo_advantages(ell[None], level.expand(1, 12), gains[None], mask, -0.4)
    (wrong,) = torch.autograd.grad((pi.detach() * other[0] * ell).sum(), logits)
    assert not torch.allclose(wrong, of_bonus)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_bonus_agrees_with_the_reference_and_masked_logits_do_not_leak(dtype):
    rng = np.random.default_rng(4)
    logits, mask = rng.normal(size=(4, 5, 70)), rng.random((4, 5)) < 0.5
    rounded = torch.from_numpy(logits).to(dtype)
    logits = rounded.double().numpy().copy()
    logits[~mask] = NAN
    dirty = rounded.clone()
    dirty[torch.from_numpy(~mask)] = NAN
    dirty.requires_grad_()
    found = batched.entropy_bonus_loss(dirty, torch.from_numpy(mask), 0.2)
    expected = ref.entropy_bonus_loss(logits, mask, 0.2)
    close(found.loss, expected.loss, 1e-12 if dtype == torch.float64 else 2e-6)
    close(found.mean_entropy, expected.mean_entropy, 1e-12 if dtype == torch.float64 else 2e-6)
    (gradient,) = torch.autograd.grad(found.loss, dirty)
    assert not gradient[~torch.from_numpy(mask)].any()
    exact = ref.entropy_gradient(np.where(mask[..., None], logits, 0.0)) * mask[..., None]
    close(gradient.double(), -0.2 / mask.sum() * exact, 1e-12 if dtype == torch.float64 else 1e-2)
    parts = [
        batched.entropy_bonus_loss(dirty[k : k + 1], torch.from_numpy(mask[k : k + 1]), 0.2, int(mask.sum()))
        for k in range(4)
    ]
    close(sum(p.loss for p in parts), expected.loss, 1e-12 if dtype == torch.float64 else 2e-6)


def test_sums_merge_and_give_coefficients_without_waiting():
    ((values, mask),) = repo_batches(np.random.default_rng(5), 1)
    taken, entropies, gains, mask = map(torch.from_numpy, (*values, mask))
    assert mask.sum() > 2
    sums = batched.repo_sums(taken, entropies, gains, mask)
    twice = batched.merge_repo_sums(sums, sums)
    close(torch.stack([x.double() for x in twice]), 2 * np.array([float(x) for x in sums]))
    close(batched.natural_repo_coefficient(twice), float(sums[1] / sums[2]))
    close(batched.plain_repo_coefficient(twice), float(sums[3] / sums[4]))
    shaped = batched.repo_advantages(taken, entropies, gains, mask, batched.natural_repo_coefficient(sums))
    assert abs(float((shaped * (taken + entropies))[mask].sum())) < 1e-12


@pytest.mark.parametrize("name", ["natural_neutral_coefficient", "plain_neutral_coefficient"])
def test_coefficients_are_differentiable(name):
    rng = np.random.default_rng(6)
    logits, rewards = (torch.from_numpy(rng.normal(size=(3, 5))).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(getattr(batched, name), (logits, rewards))
    flat = torch.zeros(1, 4, requires_grad=True)
    getattr(batched, name)(flat, torch.ones(1, 4)).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_errors_teach(without_shape_checks):
    taken, gains, mask = torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="one value a token"):
        batched.repo_advantages(taken, torch.zeros(1, 1), gains, mask, 0.1)
    with pytest.raises(TypeError, match="boolean"):
        batched.rescaled_repo_advantages(taken, gains, mask.int(), 0.1)
    with pytest.raises(ValueError, match="finite"):
        batched.repo_advantages(taken, taken, gains, mask, NAN)
    with pytest.raises(ValueError, match="one of them positive"):
        batched.regularised_optimum_logits(taken, gains, 0.0, 0.0)
