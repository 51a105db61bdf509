"""The kernels in Triton, run by its interpreter, against the functions of `_sums` that they restate."""

import pytest
import torch

from entropy_core.batched import _sums
from entropy_core.batched.kernels import _triton_rows as kernels
from tests.batched.calls import NAN, NEVER
from tests.batched.interpreted import interpreting

TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
CLOSE = {torch.float64: 2e-15, torch.float32: 3e-7, torch.bfloat16: 3e-7, torch.float16: 3e-7}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Interpret kernels, with so small blocks and runs that a short row has several of both."""
    for name in ("BLOCKS", "STEP_BLOCKS"):
        monkeypatch.setattr(kernels, name, {2: 256, 4: 128, 8: 64})
    monkeypatch.setattr(kernels, "SHORTEST_RUN", 2)
    with interpreting(kernels):
        yield


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


def exact_terms(function, *rows):
    """Return the fields that a function of `_sums` gives for whole rows in float64, as one block."""
    return [x.unsqueeze(-1) for x in function(*(x.double() for x in rows))]


def assert_same(found, expected, allowed, scale):
    """Hold states to each other, field by field, on a scale of sums of terms of size 1."""
    for name, a, b in zip(expected._fields, found, expected, strict=True):
        assert torch.equal(a.isfinite(), b.isfinite()), name
        assert ((a - b).abs() <= allowed * scale).logical_or(a == b).logical_or(~b.isfinite()).all(), name


@pytest.mark.parametrize("actions", [1, 7, 256, 1003])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_policy_has_the_sums_of_torch(dtype, actions):
    z, _ = rows_of(dtype, actions)
    for scale in (1.0, 0.3):
        found = _sums.merge_policy(_sums.policy_state(kernels.policy(z, scale), scale))
        factor = torch.tensor(scale, dtype=torch.float64)
        expected = _sums.policy_state([x for x in _sums.policy_terms(z.double(), factor)], scale)
        assert_same(found, expected, CLOSE[dtype], 300 * (1 + expected.rest))


@pytest.mark.parametrize("actions", [1, 7, 256, 1003])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_step_has_the_sums_of_torch(dtype, actions):
    z, u = rows_of(dtype, actions)
    found = _sums.merge_step(_sums.step_state(kernels.step(z, u)))
    expected = _sums.merge_step(_sums.step_state(exact_terms(_sums.step_terms, z, u)))
    a = torch.stack([*found.policy, *found[1:]]); b = torch.stack([*expected.policy, *expected[1:]])
    print(((a-b).abs()/(1+expected.policy.rest)).nan_to_num(0).max(1))
    print(a[:, 5], b[:, 5])
