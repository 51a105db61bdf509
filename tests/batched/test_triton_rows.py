"""The kernels in Triton, run by its interpreter: against the functions of `_sums`, and from end to end."""

import numpy as np
import pytest
import torch

from entropy_core import batched, reference
from entropy_core.batched import _large, _one_read, _simple, _sums
from entropy_core.batched.kernels import _triton_rows as kernels
from tests.batched.calls import NAN, NEVER
from tests.batched.interpreted import interpreting
from tests.batched.test_large import (
    NATS,
    assert_policy_within,
    policies,
    step_scale,
    steps,
    tokens_of,
    worst,
)

# relative error of storing a number; a device rounds to nearest, the interpreter cuts bfloat16
ROUNDING = {torch.float64: 0.0, torch.float32: 0.0, torch.bfloat16: 2**-7, torch.float16: 2**-11}
CLOSE = {torch.float64: 2e-15, torch.float32: 3e-7, torch.bfloat16: 3e-7, torch.float16: 3e-7}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Interpret kernels, with so small blocks and runs that a short row has several of both."""
    for name in ("BLOCKS", "STEP_BLOCKS"):
        monkeypatch.setattr(kernels, name, {2: 256, 4: 128, 8: 64})
    monkeypatch.setattr(kernels, "SHORTEST_RUN", 2)
    with interpreting(kernels):
        yield


@pytest.fixture
def read_once(monkeypatch):
    """Read every input as large ones are read on a device."""
    monkeypatch.setattr(_one_read, "LARGE", 1)
    monkeypatch.setattr(_one_read, "_kernels", lambda *tensors: kernels)


def rows_of(dtype, actions, seed=0):
    """Return logits and steps: ordinary, peaked, half forbidden, forbidden runs, tied, offset, equal, none."""
    generator = torch.Generator().manual_seed(seed)
    z, u = torch.randn(2, 9, actions, generator=generator, dtype=torch.float64)
    z[1] *= 8
    z[2, ::2] = NEVER
    z[3, : actions // 2] = NEVER
    z[4, actions // 2 :] = NEVER
    z[5] = z[5].round()
    z[6] += 200.0
    z[7] = 0.0
    z[8] = NEVER
    u *= torch.tensor([0.01, 0.5, 0.1, 1e-4, 0.1, 0.1, 0.5, 0.1, 0.1])[:, None]
    u[z == NEVER] = NAN
    return z.to(dtype), u.to(dtype)


def exact_state(function, *rows):
    """Return the state that a function of `_sums` gives for whole rows in float64, each as one block."""
    return [x.unsqueeze(-1) for x in function(*(x.double() for x in rows))]


def assert_same(found, expected, allowed, scale):
    """Hold states to each other, field by field, on a scale of sums of terms of size 1."""
    for name, a, b in zip(expected._fields, found, expected, strict=True):
        assert torch.equal(a.isfinite(), b.isfinite()), name
        assert ((a - b).abs() <= allowed * scale).logical_or(a == b).logical_or(~b.isfinite()).all(), name


@pytest.mark.parametrize("actions", [1, 7, 256, 1003])
@pytest.mark.parametrize("dtype", CLOSE)
def test_a_policy_has_the_sums_of_torch(dtype, actions):
    z, _ = rows_of(dtype, actions)
    for scale in (1.0, 0.3):
        found = _sums.merge_policy(_sums.policy_state(kernels.policy(z, scale), scale))
        factor = torch.tensor(scale, dtype=torch.float64)
        expected = _sums.policy_state(_sums.policy_terms(z.double(), factor), scale)
        assert_same(found, expected, CLOSE[dtype], 300 * (1 + expected.rest))


@pytest.mark.parametrize("actions", [1, 7, 256, 1003])
@pytest.mark.parametrize("dtype", CLOSE)
def test_a_step_has_the_sums_of_torch(dtype, actions):
    z, u = rows_of(dtype, actions)
    u[z == z.amax(dim=-1, keepdim=True)] = 0.05  # any of several modes may be the origin
    found = _sums.merge_step(_sums.step_state(kernels.step(z, u)))
    expected = _sums.merge_step(_sums.step_state(exact_state(_sums.step_terms, z, u)))
    assert_same(found.policy, expected.policy, CLOSE[dtype], 300 * (1 + expected.policy.rest))
    some = expected.policy.peak != NEVER
    fields = _sums.PolicySums._fields
    for name in _sums.StepSums._fields[1:]:
        a, b = getattr(found, name)[some], getattr(expected, name)[some]
        assert ((a - b).abs() <= CLOSE[dtype] * 300 * (1 + expected.policy.rest[some])).all(), name


@pytest.mark.parametrize("dtype", CLOSE)
def test_the_state_after_a_step_has_the_sums_of_torch(dtype):
    z, u = (x[:8] for x in rows_of(dtype, 1003))
    u = 20 * u
    sums = _sums.merge_step(_sums.step_state(exact_state(_sums.step_terms, z, u)))
    found = _sums.merge_policy(_sums.policy_state(kernels.moved(z, u, sums.policy.peak, sums.origin)))
    per_row = (x[:, None] for x in (sums.policy.peak, sums.origin))
    expected = _sums.policy_state(_sums.moved_terms(z.double(), u.double(), *per_row))
    assert_same(found, expected, CLOSE[dtype], 300 * (1 + expected.rest))


@pytest.mark.parametrize("dtype", CLOSE)
def test_the_pullback_is_a_polynomial_in_the_gap(dtype):
    z = rows_of(dtype, 1003)[0][:8]
    per_row = torch.tensor([[1.5, 0.3, -0.2, 0.05, 1.0]]).repeat(8, 1).double()
    per_row[:, 0] = z.double().amax(-1)
    per_row[3, 4] = 0
    z[3, 5] = NAN
    found = torch.full_like(z, NAN)
    kernels.pullback(z, found, 0.5, per_row)
    a = _sums.gaps(z.double(), per_row[:, :1], torch.tensor(0.5, dtype=torch.float64))
    exact = torch.exp(a) * (per_row[:, 1:2] + a * (per_row[:, 2:3] + a * per_row[:, 3:4]))
    exact[3] = 0
    assert not found[3].any()
    assert not found[z == NEVER].any()
    largest = exact.abs().amax(-1, keepdim=True)
    rounding = ROUNDING[dtype] * exact.abs() + torch.finfo(dtype).tiny * torch.finfo(dtype).eps
    assert ((found.double() - exact).abs() - rounding <= 20 * CLOSE[dtype] * largest).all()
    kernels.pullback(z, z, 0.5, per_row)
    assert torch.equal(z, found), "in place"


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize(("dtype", "actions"), [(d, n) for d in NATS for n in (2, 777)])
def test_values_of_a_policy(dtype, actions):
    z = policies(1, actions, dtype)
    z = z[(z != NEVER).any(dim=-1)]
    tokens = tokens_of(z)
    assert_policy_within(batched.policy_moments(z, tokens), z, tokens)


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_values_of_a_step(dtype):
    z = policies(4, 400, dtype)
    u = steps(z)
    found = batched.step_moments(z, u)
    exact = reference.step_moments(z.double().numpy(), u.double().nan_to_num(0).numpy())
    scale = step_scale(z, u)
    for name, value in zip(found._fields, found, strict=True):
        at = 1.0 if name == "entropy" else scale.clamp(min=1e-300)
        at = at + torch.from_numpy(np.abs(exact.mean)) if name == "mean" else at
        expected = torch.from_numpy(np.asarray(getattr(exact, name)))
        assert worst(value, expected, torch.as_tensor(at)) <= NATS[dtype], name


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_gradients_of_a_policy(dtype):
    z = policies(1, 500, dtype)
    tokens, counted = tokens_of(z), torch.arange(len(z)) % 5 != 1
    z[1, 3] = NAN

    def gradient(values_of, logits):
        logits = logits.detach().requires_grad_()
        return torch.autograd.grad(sum(v.double().sum() for v in values_of(logits)), logits)[0]

    found = gradient(lambda x: batched.policy_moments(x, tokens, 0.5, counted), z).double()
    exact = gradient(lambda x: _simple.policy_values(x, tokens, counted, 2.0), z.double())
    largest = exact.abs().amax(dim=-1, keepdim=True)
    rounding = ROUNDING[dtype] * exact.abs()
    assert ((found - exact).abs() - rounding <= (1e-12 if dtype == torch.float64 else 1e-5) * largest).all()
    assert not found[~counted].any()
    assert not found[z == NEVER].any()
