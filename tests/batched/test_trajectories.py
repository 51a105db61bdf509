"""Closed paths in torch: the values of the reference, derivatives from the law itself, types, one graph."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from entropy_core import batched, reference

torch.set_num_threads(1)
GAPS = [-30.0, -4.0, -0.3, 0.0, 1e-7, 2.0, 25.0]
PROMISED = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}


def draws(limit, count=400, seed=0):
    """Gaps and drifts of both signs and all sizes up to e^limit."""
    rng = np.random.default_rng(seed)
    gap = rng.choice([-1, 1], count) * 10 ** rng.uniform(-6, np.log10(limit), count)
    drift = rng.choice([-1, 1], count) * 10 ** rng.uniform(-6, 0.43 * limit, count)
    return gap, drift


@pytest.mark.claim("two-action-law")
@pytest.mark.parametrize("dtype", PROMISED)
def test_the_gap_agrees_with_the_reference(dtype):
    gap, drift = draws(690 if dtype == torch.float64 else 78)
    gap, drift = (torch.tensor(x, dtype=dtype) for x in (gap, drift))
    found = batched.policy_gradient_gap(gap, 1.0, drift).double().numpy()
    gap, drift = gap.double().numpy(), drift.double().numpy()
    exact = reference.policy_gradient_gap(gap, 1.0, drift)
    conditioned = (abs(gap + np.sinh(gap)) + abs(drift)) / (1 + np.cosh(exact))
    assert (abs(found - exact) <= 16 * PROMISED[dtype] * (abs(exact) + conditioned)).all()


@pytest.mark.parametrize(("dtype", "promised"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_the_time_agrees_with_the_reference(dtype, promised):
    scale = 300.0 if dtype == torch.float64 else 30.0
    start, end, reward_gap = (
        torch.tensor(x, dtype=dtype) for x in np.random.default_rng(1).normal(size=(3, 200))
    )
    start, end = scale * start.clamp(-2, 2), scale * end.clamp(-2, 2)
    found = batched.policy_gradient_escape_time(start, end, reward_gap).double().numpy()
    exact = reference.policy_gradient_escape_time(*(x.double().numpy() for x in (start, end, reward_gap)))
    np.testing.assert_allclose(found, exact, rtol=promised)


@pytest.mark.claim("regularised-path")
def test_the_regularised_path_agrees_with_the_reference():
    rng = np.random.default_rng(2)
    logits, rewards = 5 * rng.normal(size=(2, 9, 4))
    logits[::2, 1] = -np.inf
    for temperature, time in ((0.0, 2.0), (1e-17, 2.0), (0.3, 0.0), (0.3, 7.0), (2, 1000)):
        exact = reference.regularised_gradient_logits(logits, rewards, temperature, time)
        tensors = torch.tensor(logits), torch.tensor(np.where(np.isfinite(logits), rewards, np.nan))
        found = batched.regularised_gradient_logits(*tensors, temperature, time).numpy()
        np.testing.assert_allclose(found, exact, rtol=1e-14, atol=1e-14)


@pytest.mark.claim("two-action-law")
def test_derivatives_are_those_of_the_law():
    x0 = torch.tensor(GAPS, dtype=torch.float64, requires_grad=True)
    time = torch.full_like(x0, 3.0, requires_grad=True)
    x = batched.policy_gradient_gap(x0, 0.7, time)
    in_gap, in_time = torch.autograd.grad(x.sum(), (x0, time))
    before, after = (0.5 / torch.cosh(gap.detach() / 2) ** 2 for gap in (x0, x))  # 1/(1 + cosh), otherwise
    torch.testing.assert_close(in_time, 0.7 * after, rtol=1e-13, atol=0)
    torch.testing.assert_close(in_gap, after / before, rtol=1e-13, atol=0)


@pytest.mark.parametrize("call", [batched.policy_gradient_gap, batched.policy_gradient_escape_time])
def test_first_and_second_derivatives_equal_finite_differences(call):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    inputs[2] += 3 * inputs[2].sign()  # a reward gap of 0 has no time
    inputs = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_the_regularised_path_is_differentiable_and_forbidden_actions_get_zero():
    logits = torch.tensor([0.3, -torch.inf, -1.0], dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([1.0, torch.nan, 0.5], dtype=torch.float64, requires_grad=True)
    path = batched.regularised_gradient_logits(logits, rewards, 0.5, 2.0)
    in_logits, in_rewards = torch.autograd.grad(path[[0, 2]].sum() + path[1] * 0, (logits, rewards))
    kept = float(np.exp(-1.0))
    torch.testing.assert_close(in_logits, torch.tensor([kept, 0.0, kept], dtype=torch.float64))
    torch.testing.assert_close(
        in_rewards, torch.tensor([2 - 2 * kept, 0.0, 2 - 2 * kept], dtype=torch.float64)
    )


def test_torch_func_transforms_agree_with_plain_autograd():
    x0 = torch.tensor(GAPS, dtype=torch.float64)
    together = torch.func.vmap(torch.func.grad(lambda gap: batched.policy_gradient_gap(gap, 1.0, 2.0)))(x0)
    leaf = x0.clone().requires_grad_()
    alone = torch.autograd.grad(batched.policy_gradient_gap(leaf, 1.0, 2.0).sum(), leaf)[0]
    torch.testing.assert_close(together, alone, rtol=1e-14, atol=0)


def test_nothing_looks_at_the_data():
    with FakeTensorMode():
        z, r = torch.zeros(2, 4, 7)
        assert batched.policy_gradient_gap(z[..., 0], 1.0, r[..., 0]).shape == (4,)
        assert batched.policy_gradient_escape_time(z[..., 0], 1.0, r[..., 0]).shape == (4,)
        assert batched.regularised_gradient_logits(z, r, 0.5, 1.0).shape == (4, 7)


def test_types_shapes_and_rows_beyond_the_range():
    half = torch.zeros(3, 1, dtype=torch.bfloat16)
    found = batched.policy_gradient_gap(half, 1.0, torch.ones(2))
    assert (found.shape, found.dtype) == ((3, 2), torch.float32)
    assert batched.policy_gradient_gap(-1, 1, 2.0).dtype == torch.float64
    wide = batched.policy_gradient_gap(torch.tensor([-800.0, 1.0], dtype=torch.float64), 1.0, 1.0)
    assert wide.isnan().tolist() == [True, False]


ONE, TWO = torch.zeros(1), torch.zeros(2)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (
            lambda: batched.policy_gradient_gap("x", 1.0, ONE),
            TypeError,
            "gap must be a number or a floating-po",
        ),
        (lambda: batched.policy_gradient_gap(TWO.long(), 1.0, 1.0), TypeError, "gap must be float64"),
        (lambda: batched.policy_gradient_gap(True, 1.0, 1.0), TypeError, "gap must be a number.*got bool"),
        (
            lambda: batched.policy_gradient_gap(0.0, float("nan"), 1.0),
            ValueError,
            "reward_gap must be finite",
        ),
        (
            lambda: batched.policy_gradient_gap(TWO, torch.zeros(3), 1.0),
            ValueError,
            "Leading axes must broadc",
        ),
        (
            lambda: batched.policy_gradient_gap(TWO, TWO.to("meta"), 1.0),
            ValueError,
            "on one device; got gap on",
        ),
        (
            lambda: batched.regularised_gradient_logits(TWO, TWO, -1.0, 1.0),
            ValueError,
            "temperature must be f",
        ),
        (
            lambda: batched.regularised_gradient_logits(TWO, TWO, 1.0, float("inf")),
            ValueError,
            "time must be",
        ),
        (
            lambda: batched.regularised_gradient_logits(TWO, TWO, 1.0, True),
            TypeError,
            "time must be a number",
        ),
        (
            lambda: batched.regularised_gradient_logits(TWO, ONE, 1.0, 1.0),
            ValueError,
            "same number of actions",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()
