"""The kernels in Triton, run by its interpreter: against the functions of `_sums`, and from end to end."""

import mpmath
import numpy as np
import pytest
import torch

from entropy_core import batched, reference
from entropy_core.batched import _one_read, _simple, _sums
from entropy_core.batched.kernels import _triton_rows as kernels
from tests.batched.calls import NAN, NEVER
from tests.batched.interpreted import interpreting
from tests.batched.test_large import (
    NATS,
    assert_policy_within,
    assert_step_within,
    policies,
    rows_of,
    steps,
    tokens_of,
)

# relative error of storing a number; a device rounds to nearest, the interpreter cuts bfloat16
ROUNDING = {torch.float64: 0.0, torch.float32: 0.0, torch.bfloat16: 2**-7, torch.float16: 2**-11}
CLOSE = {torch.float64: 2e-15, torch.float32: 3e-7, torch.bfloat16: 3e-7, torch.float16: 3e-7}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Interpret kernels, with so small blocks and runs that a short row has several of both."""
    for name in ("BLOCKS", "STEP_BLOCKS"):
        monkeypatch.setattr(kernels, name, dict.fromkeys((2, 4, 8), 256))
    monkeypatch.setattr(kernels, "SHORTEST_RUN", 2)
    with interpreting(kernels):
        yield


@pytest.fixture
def read_once(monkeypatch):
    """Read every input as large ones are read on a device."""
    monkeypatch.setattr(_one_read, "LARGE", 1)
    monkeypatch.setattr(_one_read, "_kernels", lambda *tensors: kernels)


def exact_state(function, *rows):
    """Return the state that a function of `_sums` gives for whole rows in float64, each as one block."""
    return [x.unsqueeze(-1) for x in function(*(x.double() for x in rows))]


def assert_same(found, expected, allowed, scale):
    """Hold states to each other, field by field, on a scale of sums of terms of size 1."""
    for name, a, b in zip(expected._fields, found, expected, strict=True):
        assert torch.equal(a.isfinite(), b.isfinite()), name
        assert ((a - b).abs() <= allowed * scale).logical_or(a == b).logical_or(~b.isfinite()).all(), name


@pytest.mark.parametrize("actions", [7, 1003])
@pytest.mark.parametrize("dtype", CLOSE)
def test_a_policy_has_the_sums_of_torch(dtype, actions):
    z, _ = rows_of(dtype, actions)
    for scale in (1.0, 0.3):
        found = _sums.merge_policy(_sums.policy_state(kernels.policy(z, scale), scale))
        factor = torch.tensor(scale, dtype=torch.float64)
        expected = _sums.policy_state(_sums.policy_terms(z.double(), factor), scale)
        assert_same(found, expected, CLOSE[dtype], 300 * (1 + expected.rest))


@pytest.mark.parametrize("actions", [7, 1003])
@pytest.mark.parametrize("dtype", CLOSE)
def test_a_step_has_the_sums_of_torch(dtype, actions):
    z, u = rows_of(dtype, actions)
    u[z == z.amax(dim=-1, keepdim=True)] = 0.05  # any of several modes may be the origin
    found = _sums.merge_step(_sums.step_state(kernels.step(z, u)))
    expected = _sums.merge_step(_sums.step_state(exact_state(_sums.step_terms, z, u)))
    assert_same(found.policy, expected.policy, CLOSE[dtype], 300 * (1 + expected.policy.rest))
    some = expected.policy.peak != NEVER
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
@pytest.mark.parametrize(("dtype", "actions"), [(d, n) for d in NATS for n in (1, 777)])
def test_values_of_a_policy(dtype, actions):
    z = policies(1, actions, dtype)
    z = z[(z != NEVER).any(dim=-1)]
    tokens = tokens_of(z)
    assert_policy_within(batched.policy_moments(z, tokens), z, tokens)


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_values_of_a_step(dtype):
    z = policies(1, 777, dtype)
    u = steps(z)
    assert_step_within(batched.step_moments(z, u), z, u)


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


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("bad", [NAN, float("inf"), NEVER])
def test_a_row_that_is_no_policy_gives_nan_and_touches_no_other(bad):
    z, u = torch.zeros(3, 700), torch.zeros(3, 700)
    z[1] = bad if bad == NEVER else z[1]
    z[1, 300] = bad
    entropies = (
        batched.policy_moments(z, torch.zeros(3, dtype=torch.int64)).entropy,
        batched.step_moments(z, u).entropy,
        batched.step_moments(z, u).entropy_change + np.log(700),
    )
    for entropy in entropies:
        assert entropy[1].isnan()
        torch.testing.assert_close(entropy[[0, 2]], torch.full((2,), np.log(700), dtype=torch.float32))


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("bad", [NAN, float("inf"), NEVER])
def test_a_step_that_is_none_leaves_the_entropy_before_it(bad):
    z, u = torch.zeros(2, 700), torch.ones(2, 700)
    u[1, 300] = bad
    moments = batched.step_moments(z, u)
    torch.testing.assert_close(moments.entropy, torch.full((2,), np.log(700), dtype=torch.float32))
    assert not moments.covariance[1].isfinite()
    assert moments.entropy_change[0] == 0


@pytest.mark.parametrize(("dtype", "width", "first"), [(torch.bfloat16, 643, 3), (torch.float32, 640, 1)])
def test_rows_may_begin_at_any_address(dtype, width, first):
    """Blocks are aligned, so that other actions stand in them; a step may be aligned otherwise."""
    wide = torch.randn(2, 2, width, generator=torch.Generator().manual_seed(first)).to(dtype)
    z, u = wide[:, 0, first:-2], wide[:, 1, 2 : width - first]
    assert not kernels._second(z, u, "u")["ALIKE"]
    assert kernels._lead(z) != 0
    found = _sums.merge_step(_sums.step_state(kernels.step(z, u)))
    expected = _sums.merge_step(_sums.step_state(exact_state(_sums.step_terms, z, u)))
    assert_same(found.policy, expected.policy, CLOSE[dtype], 300 * (1 + expected.policy.rest))
    for a, b in zip(found[1:], expected[1:], strict=True):
        assert ((a - b).abs() <= CLOSE[dtype] * 300 * (1 + expected.policy.rest)).all()
    moved = _sums.merge_policy(_sums.policy_state(kernels.moved(z, u, found.policy.peak, found.origin)))
    after = _sums.policy_state(_sums.policy_terms(z.double() + u.double(), None))
    assert ((moved.gap / (1 + moved.rest) - after.gap / (1 + after.rest)).abs() <= 2e-6).all()
    out, numbers = torch.full_like(wide[:, 0, :], NAN)[:, :-2], torch.tensor([[0, 1.0, 0, 0, 1]] * 2)
    kernels.pullback(z, out[:, first:], 1.0, numbers)
    torch.testing.assert_close(out[:, first:].double(), z.double().exp(), rtol=2**-7, atol=0)
    assert out[:, :first].isnan().all()


def test_few_rows_are_cut_into_many_runs(monkeypatch):
    """As many programs as fill a device, none of which reads less than eight blocks; whole rows otherwise."""
    monkeypatch.setattr(kernels, "SHORTEST_RUN", 8)
    assert kernels._length(8192, 151_936, 1024) >= 151_936
    assert kernels._length(4096, 151_936, 1024) == 75 * 1024
    assert kernels._length(64, 151_936, 1024) == 8 * 1024


def test_kernels_serve_devices_only():
    assert not kernels.serve(torch.zeros(2, 3))
    assert not kernels.serve(torch.zeros(2, 3, device="meta"))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_the_growth_of_a_step_keeps_its_digits(dtype, bound):
    """With two equal logits the sum of (g − v) e^a is e^v − 1 − v, in blocks of small and of large steps."""
    sizes = torch.tensor([1e-7, 1e-3, 0.1, 0.24, 0.26, 0.4, 1.0, 2.0, 3.9], dtype=dtype)
    u = torch.stack([torch.zeros(18, dtype=dtype), torch.cat([sizes, -sizes])], dim=-1)
    with mpmath.workdps(40):
        exact = [float(mpmath.expm1(mpmath.mpf(v)) - mpmath.mpf(v)) for v in u[:, 1].tolist()]
    growth = kernels.step(torch.zeros_like(u), u)[10].squeeze(-1)
    exact = torch.tensor(exact, dtype=torch.float64)
    assert ((growth - exact).abs() <= bound * exact).all()


def test_forbidden_blocks_have_no_part_in_the_range_of_a_step():
    z, u = torch.zeros(1, 700), torch.full((1, 700), 10.0)
    z[:, :300], u[:, 400] = NEVER, 12.0
    fields = kernels.step(z, u)
    highest, lowest = (x.squeeze() for x in _sums.merge_step(_sums.step_state(fields))[-2:])
    assert (highest.item(), lowest.item()) == (2.0, 0.0)


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_lowest_number_of_a_type_forbids_as_well(dtype):
    z, u = policies(1, 700, dtype)[:2], torch.ones(2, 700, dtype=dtype)
    u[:, ::3] = 1.5
    lowest = z.clone()
    z[:, :300], lowest[:, :300] = NEVER, torch.finfo(dtype).min
    tokens = tokens_of(z)
    for of in (lambda x: batched.policy_moments(x, tokens), lambda x: batched.step_moments(x, u)):
        for a, b in zip(of(lowest), of(z), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("actions", [7, 3000])
def test_a_row_whose_entropy_is_known_is_not_read_again(actions):
    """What stands there would show: NaN, in logits and in the step."""
    z, u = torch.full((2, 3, actions), NAN)
    z[1], u[1] = 0.0, torch.linspace(0, 1, actions)
    peak = torch.tensor([NAN, 0.0, NAN], dtype=torch.float64)
    found = _sums.merge_policy(_sums.policy_state(kernels.moved(z, u, peak, torch.zeros(3))))
    assert found.peak.tolist() == [NEVER, 1.0, NEVER]
    assert found.gap[[0, 2]].tolist() == [0.0, 0.0]
    assert (found.gap[1] - _sums.policy_state(_sums.policy_terms(u[1:2, None], None)).gap[0]).abs() < 1e-4


def test_rows_of_near_and_far_steps_stand_side_by_side(read_once):
    z = torch.randn(4, 3000, generator=torch.Generator().manual_seed(3))
    u = z.flip(0) * torch.tensor([0.01, 3.0, 0.5, 9.0])[:, None]
    found, rows = batched.step_moments(z, u), (z.double().numpy(), u.double().numpy())
    change = reference.entropy(rows[0] + rows[1]) - reference.entropy(rows[0])
    assert found.entropy_change.numpy() == pytest.approx(change, abs=2e-6)
    assert found.covariance.numpy() == pytest.approx(
        reference.covariance_over_actions(reference.log_probs(rows[0]), rows[1], rows[0]), abs=2e-5
    )
