"""Batches: rows do not see each other, leading axes broadcast, strides do not matter, vocabularies fit."""

import pytest
import torch

from entropy_core import batched
from tests.batched.calls import CALLS, NAN, NEVER, SMOOTH, gradients, rows

ULPS = 4


def assert_within_ulps(result, expected):
    """Compare to 4 ulp of the accumulating type; NaN and −inf in the same places."""
    eps = torch.finfo(result.dtype).eps
    torch.testing.assert_close(result, expected, rtol=ULPS * eps / 2, atol=0, equal_nan=True)


def weight_like(result):
    """Return fixed weights for the entries of a result, so that its gradient is not trivially 0."""
    return torch.linspace(0.5, 1.5, result.shape[-1] if result.ndim else 1, dtype=result.dtype).expand_as(
        result
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("actions", [1, 5, 64, 1001])
@pytest.mark.parametrize("name", CALLS)
def test_a_batch_gives_what_its_rows_give(name, actions, dtype):
    if name.startswith("fisher") and actions > 64:
        actions = 65
    inputs = rows(7, actions, dtype)
    together = CALLS[name](*inputs)
    assert_within_ulps(together, torch.stack([CALLS[name](*row) for row in zip(*inputs, strict=True)]))
    assert_within_ulps(CALLS[name](*(x[2:5] for x in inputs)), together[2:5])


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_a_batch_are_those_of_its_rows(name):
    inputs = rows(7, 33, torch.float32)
    together = gradients(CALLS[name], *inputs)
    for i, row in enumerate(zip(*inputs, strict=True)):
        for batch_gradient, row_gradient in zip(together, gradients(CALLS[name], *row), strict=True):
            if batch_gradient is not None:
                assert_within_ulps(batch_gradient[i], row_gradient)


@pytest.mark.parametrize("name", CALLS)
def test_strides_do_not_matter(name):
    inputs = rows(6, 257 if not name.startswith("fisher") else 31, torch.float32)
    expected = CALLS[name](*inputs)
    transposed = [x.t().contiguous().t() for x in inputs]
    every_second = [torch.stack([x, x + 1], dim=-1).flatten(-2)[:, ::2] for x in inputs]
    assert not transposed[0].is_contiguous()
    assert_within_ulps(CALLS[name](*transposed), expected)
    assert_within_ulps(CALLS[name](*every_second), expected)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_gradient_that_is_not_contiguous_is_taken_as_it_is(name):
    z, u, r = rows(6, 9, torch.float64)
    z = z.requires_grad_()
    result = CALLS[name](z, u, r)
    weight = weight_like(result)
    strided = torch.stack([weight, weight], dim=-1)[..., 0]
    plain = torch.autograd.grad(result, z, weight.contiguous(), retain_graph=True)[0]
    assert_within_ulps(torch.autograd.grad(result, z, strided)[0], plain)


def test_leading_axes_broadcast_and_gradients_are_summed_over_them():
    z = torch.randn(3, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = [x.expand(3, 4, 5).contiguous() for x in (z, u)]
    for call in (
        batched.entropy_change,
        batched.first_order_entropy_change,
        batched.second_order_entropy_change,
    ):
        assert call(z, u).shape == (3, 4)
        assert_within_ulps(call(z, u), call(*whole))
        in_z, in_u = gradients(call, z, u)
        whole_z, whole_u = gradients(call, *whole)
        torch.testing.assert_close(in_z, whole_z.sum(1, keepdim=True), rtol=1e-13, atol=1e-15)
        torch.testing.assert_close(in_u, whole_u.sum(0), rtol=1e-13, atol=1e-15)
    lower, upper = batched.entropy_change_bound(z, u)
    assert lower.shape == upper.shape == (3, 4)
    assert batched.covariance_over_actions(u, u, z).shape == (3, 4)
    assert batched.natural_gradient_delta_logits(z, u, torch.ones(4)).shape == (3, 4, 5)


def test_an_empty_batch_is_no_error():
    z = torch.zeros(0, 3)
    assert batched.entropy(z).shape == (0,)
    assert batched.entropy_change(z, z).shape == (0,)


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("fisher")])
def test_a_vocabulary_of_32000_in_bfloat16(name):
    z = 4 * torch.randn(64, 32000, generator=torch.Generator().manual_seed(2))
    z[:, ::7] = NEVER
    u = torch.where(z == NEVER, NAN, 0.1 * z.sin())
    z, u = z.bfloat16(), u.bfloat16()
    exact = CALLS[name](z[:2].double(), u[:2].double(), u[:2].double())
    result = CALLS[name](z, u, u)
    scale = exact.abs().where(exact.isfinite(), 0.0).amax(dim=-1, keepdim=True)
    close = (result[:2].double() - exact).abs() <= 1e-5 * scale
    assert (close | (result[:2] == exact)).all()
