"""The clipped loss in torch: values and gradients of the literal formula, in any split, without leaks."""

import numpy as np
import pytest
import torch

from entropy_core import reference
from entropy_core.batched import clipped_policy_loss, log_probs, ratio_band_extremes
from entropy_core.batched.interventions import ClippedPolicyLoss
from tests.tokens import clipped_batches


def tensors(batch, dtype=torch.float64):
    """Return the arguments in torch, the log-probabilities a leaf."""
    new, old, advantages = (torch.tensor(x, dtype=dtype) for x in batch[:3])
    return new.requires_grad_(), old, advantages, torch.tensor(batch.mask), *batch[4:]


def literal_loss(new, old, advantages, mask, clip_low, clip_high):
    """PPO's objective as it is usually programmed; its gradient at a tie is whatever torch chooses."""
    ratio = torch.exp(new - old)
    terms = torch.min(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)
    return -terms[mask].sum() / max(1, int(mask.sum()))


@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_values_and_gradients_are_those_of_the_formula(dtype, bar, record_property):
    worst, dropped = 0.0, 0
    for batch in clipped_batches(np.random.default_rng(0), 1000):
        arguments = tensors(batch, dtype)
        found = clipped_policy_loss(*arguments)
        expected = reference.clipped_policy_loss(*batch)
        (gradient,) = torch.autograd.grad(found.loss, arguments[0])
        values = [x.item() for x in found]
        size = 1 + expected.weight
        if dtype == torch.float64:  # elsewhere rounding may carry a ratio over an edge
            worst = max(worst, max(abs(f - e) for f, e in zip(values, expected, strict=True)) / size)
            (literal,) = torch.autograd.grad(literal_loss(*arguments), arguments[0])
            at_edge = np.isin(np.exp(batch.new - batch.old), [1 - batch.clip_low, 1 + batch.clip_high])
            worst = max(worst, abs((gradient - literal).numpy()[~at_edge]).max(initial=0.0) / size)
            dropped += (literal.numpy()[batch.mask] == 0).sum()
        worst = max(worst, abs(values[0] - expected.loss) / size)
        assert all(x.dtype == dtype and not x.requires_grad for x in found[1:])
        assert (gradient.numpy()[~batch.mask] == 0).all()
    record_property(f"largest relative error, {dtype}", f"{worst:.0e}")
    assert worst < bar
    assert dtype != torch.float64 or dropped > 1000


def test_a_token_at_the_edge_keeps_its_gradient():
    new = torch.log(torch.tensor([[1.5, 0.5]], dtype=torch.float64)).requires_grad_()
    arguments = torch.zeros(1, 2).double(), torch.tensor([[1.0, -1.0]]), torch.ones(1, 2, dtype=torch.bool)
    found = clipped_policy_loss(new, *arguments, 0.5, 0.5)
    (gradient,) = torch.autograd.grad(found.loss, new)
    assert gradient.tolist() == [[-0.75, 0.25]]
    assert found.clip_fraction_low == found.clip_fraction_high == 0


def test_micro_batches_add_up_to_value_and_gradient():
    for batch in clipped_batches(np.random.default_rng(1), 60):
        arguments, count = tensors(batch), torch.tensor(max(1, batch.mask.sum()))
        whole = clipped_policy_loss(*arguments)
        (gradient,) = torch.autograd.grad(whole.loss, arguments[0])
        parts, gradients = [], []
        for i in range(len(batch.mask)):
            rows = tensors(batch.rows(i, i + 1))
            parts.append(clipped_policy_loss(*rows, count))
            gradients += torch.autograd.grad(parts[-1].loss, rows[0])
        for name, value in whole._asdict().items():
            total = sum(getattr(part, name) for part in parts)
            assert total.item() == pytest.approx(value.item(), rel=1e-12, abs=1e-15), name
        assert torch.cat(gradients).numpy() == pytest.approx(gradient.numpy(), rel=1e-12, abs=1e-15)


def test_nothing_leaks_from_what_does_not_count():
    poison = torch.tensor([[-1.0, torch.nan, torch.inf]], dtype=torch.float64)
    new = poison.clone().requires_grad_()
    found = clipped_policy_loss(new, poison - 0.1, poison, torch.tensor([[True, False, False]]), 0.2, 0.2)
    found.loss.backward()
    assert all(x.isfinite() for x in found)
    assert new.grad[0, 1:].tolist() == [0.0, 0.0]
    assert new.grad[0, 0] == pytest.approx(np.exp(0.1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_overflowing_ratios_do_what_is_said(dtype):
    new, old = torch.zeros(1, 4, dtype=dtype).requires_grad_(), torch.full((1, 4), -800.0, dtype=dtype)
    old[0, 3] = -torch.inf
    cases = torch.tensor([[2.0, 0.0, 0.0, 2.0]], dtype=dtype)
    mask = torch.ones(1, 4, dtype=torch.bool)
    found = clipped_policy_loss(new, old, cases, mask, 0.2, 0.25)
    found.loss.backward()
    assert found.loss == -1.25
    assert new.grad.tolist() == [[0.0] * 4], "a clipped token has no gradient, however far it is"
    assert (found.clip_fraction_high, found.mean_ratio) == (0.5, torch.inf)
    punished = new.detach().requires_grad_()
    worse = clipped_policy_loss(punished, old, -cases, mask, 0.2, 0.25).loss
    worse.backward()
    assert worse == torch.inf
    assert punished.grad.tolist() == [[torch.inf, 0.0, 0.0, torch.inf]], "the objective is unbounded there"
    gone = torch.full((1, 1), -torch.inf, dtype=dtype)
    unknown = clipped_policy_loss(gone, gone, gone.isneginf().to(dtype), mask[:, :1], 0.2, 0.2)
    assert unknown.loss.isnan()


def test_only_the_log_probabilities_receive_a_gradient():
    leaves = [torch.full((1, 2), -1.0, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    found = clipped_policy_loss(*leaves, torch.ones(1, 2, dtype=torch.bool), 0.2, 0.2)
    found.loss.backward()
    assert [x.grad is None for x in leaves] == [False, True, True]


@pytest.mark.claim("clipped-gradient")
def test_the_clipped_step_is_the_policy_gradient_of_what_is_kept(record_property):
    """Every action a token of weight π_old: the gradient in the logits is π(kÂ − E kÂ), k = 1 − c."""
    generator, worst, share = torch.Generator().manual_seed(0), 0.0, []
    for actions in (2, 10, 100, 1000):
        for _ in range(50):
            old, advantages = torch.randn(2, 1, actions, generator=generator, dtype=torch.float64)
            logits = (old + 0.3 * torch.randn(1, actions, generator=generator).double()).requires_grad_()
            before, now = log_probs(2 * old).detach(), log_probs(2 * logits)
            counted = torch.ones_like(before, dtype=torch.bool)
            found = clipped_policy_loss(now, before, before.exp() * advantages, counted, 0.2, 0.28, 1)
            (gradient,) = torch.autograd.grad(-found.loss, logits)
            policy, ratio = now.detach().exp(), (now.detach() - before).exp()
            gone = ((advantages > 0) & (ratio > 1.28)) | ((advantages < 0) & (ratio < 0.8))
            kept = torch.where(gone, 0.0, advantages)
            expected = 2 * policy * (kept - (policy * kept).sum())
            worst = max(worst, float((gradient - expected).abs().max() / expected.abs().max()))
            share.append(float(found.removed_weight / found.weight))
            assert float((policy * advantages.abs() * gone).sum()) == pytest.approx(
                float(found.removed_weight)
            )
    record_property("largest relative error", f"{worst:.0e}")
    assert worst < 1e-12
    assert 0.05 < np.mean(share) < 0.6, "the clip must have acted"


@pytest.mark.parametrize("band", [(0.2, 0.2), (0.2, 0.28), (0.0, 0.3), (1.0, 0.4), (0.3, 0.0)])
@pytest.mark.parametrize("actions", [1, 2, 17, 1000])
def test_extremes_agree_with_the_reference(band, actions):
    rng = np.random.default_rng(actions)
    logits = rng.normal(size=(2, 4, actions)) * rng.uniform(0, 9, (2, 4, 1))
    logits[..., 1::4] = -np.inf
    expected = reference.ratio_band_extremes(logits, *band)
    for dtype, bar in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        found = ratio_band_extremes(torch.tensor(logits, dtype=dtype), *band)
        for f, e in zip(found, expected, strict=True):
            assert f.dtype == dtype
            assert f.numpy() == pytest.approx(e, abs=bar)


@pytest.mark.usefixtures("without_shape_checks")
def test_bad_input_is_told_what_to_do():
    tokens, mask = (torch.zeros(1, 2),) * 3, torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="distances from 1, such as 0.2 and 0.28"):
        clipped_policy_loss(*tokens, mask, 1.2, 0.2)
    with pytest.raises(ValueError, match="token_count must be positive; got 0"):
        clipped_policy_loss(*tokens, mask, 0.2, 0.2, 0)
    with pytest.raises(TypeError, match="response_mask must be a boolean tensor"):
        clipped_policy_loss(*tokens, mask.float(), 0.2, 0.2)
    with pytest.raises(ValueError, match="clip_high must be finite for a band"):
        ratio_band_extremes(torch.zeros(2), 0.2, float("inf"))
    assert isinstance(clipped_policy_loss(*tokens, mask, 1, float("inf")), ClippedPolicyLoss)
