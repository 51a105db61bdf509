"""The kernels in C++ against the functions of `_sums` that they restate; their exponential against mpmath."""

import ctypes
import subprocess
import sys

import mpmath
import pytest
import torch

from entropy_core.batched import _one_read, _sums, entropy
from entropy_core.batched.kernels import _rows as kernels
from tests.batched.calls import NAN, NEVER
from tests.batched.test_large import rows_of

needs_compiler = pytest.mark.skipif(kernels.library() is None, reason="there is no C++ compiler here")
TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
CLOSE = {torch.float64: 1e-13, torch.float32: 3e-7}


def blocks_of(dtype, actions, seed=0):
    """Return the logits of `rows_of`, and its steps made one at all modes of a block."""
    z, u = rows_of(dtype, actions, seed)
    for block, step in zip(*(x.split(kernels.LONGEST_BLOCK, dim=-1) for x in (z, u)), strict=True):
        step[block == block.amax(dim=-1, keepdim=True)] = 0.05  # any of several modes may be the origin
    return z, u


def by_torch(function, block, *rows):
    """Return what a function of `_sums` makes of each block of at most 2048 actions."""
    cut = [x.split(kernels.LONGEST_BLOCK, dim=-1) for x in rows]
    found = [torch.stack(function(*pieces, *block)) for pieces in zip(*cut, strict=True)]
    return torch.stack(found, dim=-1).double()


def assert_same_fields(found, expected, dtype, scale):
    """Hold fields to each other; an error may be that of sums of terms of the given size."""
    found = found.double()
    assert torch.equal(found.isfinite(), expected.isfinite())
    error = (found - expected).nan_to_num(0, 0, 0).abs() / scale
    assert error.max() <= 10 * CLOSE[_sums.accumulating(dtype)]


@needs_compiler
@pytest.mark.parametrize("actions", [1, 3, 16, 17, 2047, 2048, 2049, 5003])
@pytest.mark.parametrize("dtype", TYPES)
def test_kernels_restate_the_sums(dtype, actions):
    z, u = blocks_of(dtype, actions)
    assert kernels.serve(z, u)
    total = 1 + kernels.policy(z.double(), 1.0)[2]
    for scale in (1.0, 0.3):
        expected = by_torch(_sums.policy_terms, (torch.tensor(scale, dtype=torch.float64),), z.double())
        state = _sums.policy_state(expected)
        found = torch.stack(_sums.policy_state(kernels.policy(z, scale)))
        assert_same_fields(found, torch.stack(state), dtype, 300 * total)
    expected = by_torch(_sums.step_terms, (), z.double(), u.double())
    found = kernels.step(z, u)
    allowed = expected[0] != NEVER
    for k in range(15):
        assert_same_fields(found[k][allowed], expected[k][allowed], dtype, 300 * total[allowed])


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_the_state_after_a_step_is_read_as_torch_reads_it(dtype):
    z, u = (x[:8] for x in blocks_of(dtype, 4100))
    u = 20 * u
    sums = _sums.merge_step(_sums.step_state(kernels.step(z, u)))
    found = kernels.moved(z, u, sums.policy.peak, sums.origin)
    origins = tuple(x[:, None] for x in (sums.policy.peak, sums.origin))
    expected = by_torch(_sums.moved_terms, origins, z.double(), u.double())
    state, truth = (torch.stack(_sums.policy_state(x)) for x in (found, expected))
    assert_same_fields(state, truth, dtype, 300 * (1 + truth[1].clamp(min=0)))


@needs_compiler
@pytest.mark.parametrize("dtype", TYPES)
def test_the_pullback_is_rounded_to_nearest(dtype):
    z, _ = blocks_of(dtype, 2500)
    z = z[:8]
    per_row = torch.tensor([[1.5, 0.3, -0.2, 0.05, 1.0]]).repeat(8, 1).double()
    per_row[:, 0] = z.double().amax(-1)
    per_row[3, 4] = 0
    found = torch.full_like(z, NAN)
    kernels.pullback(z, found, 0.5, per_row)
    a = _sums.gaps(z.double(), per_row[:, :1], torch.tensor(0.5, dtype=torch.float64))
    exact = torch.exp(a) * (per_row[:, 1:2] + a * (per_row[:, 2:3] + a * per_row[:, 3:4]))
    exact[3] = 0
    assert not found[3].any()
    assert not found[z == NEVER].any()
    largest = exact.abs().amax(-1, keepdim=True)
    half_ulp = torch.finfo(dtype).eps / 2 * exact.abs() + torch.finfo(dtype).tiny * torch.finfo(dtype).eps
    slip = (found.double() - exact).abs() - half_ulp
    assert (slip <= 20 * CLOSE[_sums.accumulating(dtype)] * largest).all()


@needs_compiler
@pytest.mark.claim("one-read-accuracy")
def test_the_exponential_keeps_its_bound(record_property):
    """The bit trick: e^a to 4e-7 of itself down to a = −87.3, and e^v − 1 − v to 2e-6 of itself."""
    x = torch.cat(
        [
            torch.linspace(-87.33, 0.0, 992),
            torch.linspace(-4.0, 4.0, 992),
            -torch.logspace(-9, 0, 1024),
            torch.logspace(-9, 0, 1024),
        ]
    )
    excesses, weights = torch.empty(2, len(x))
    pointers = (ctypes.c_void_p(t.data_ptr()) for t in (x, excesses, weights))
    kernels.library().exponentials(*pointers, ctypes.c_int64(len(x)))
    with mpmath.workdps(40):
        truth = [(mpmath.exp(mpmath.mpf(v)), mpmath.expm1(mpmath.mpf(v)) - mpmath.mpf(v)) for v in x.tolist()]
    e, excess = (torch.tensor([float(pair[k]) for pair in truth], dtype=torch.float64) for k in range(2))
    gaps = x <= 0
    error = ((weights - e).abs() / e)[gaps].max().item()
    record_property("largest relative error of the exponential", f"{error:.1e}")
    assert error < 4e-7
    assert ((excesses - excess).abs() <= 2e-6 * excess)[x.abs() <= 4].all()


@needs_compiler
def test_a_forbidden_action_has_no_weight_at_all():
    z = torch.full((2, 3000), NEVER)
    z[:, 7] = torch.tensor([0.0, -1e30])
    peak, total, below, gap, gap_gap = kernels.policy(z, 1.0)[:, :, 0]
    assert torch.equal(peak, z[:, 7])
    assert torch.equal(total, torch.ones(2))
    assert not below.any()
    assert not gap.any()
    assert not gap_gap.any()


@needs_compiler
def test_nan_among_forbidden_actions_is_not_lost():
    z = torch.full((1, 40), NEVER)
    z[0, 33] = NAN
    state = _sums.policy_state(kernels.policy(z, 1.0))
    assert state.rest.isnan().all()


WITHOUT = """
import sys, warnings, torch
from entropy_core.batched import entropy
z = torch.zeros(64, 65_536)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    values = [entropy(z) for _ in range(2)]
assert all(((v - torch.log(torch.tensor(65_536.0))).abs() < 2e-6).all() for v in values)
print(len(said), said[0].category.__name__, said[0].message)
"""


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_a_missing_compiler_is_said_once_and_done_without(compiler, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("1 RuntimeWarning Large logits are read in torch")
    assert "name one in CXX" in run.stdout


@needs_compiler
def test_kernels_are_compiled_once_for_each_source(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler = "c++"
    first = kernels._compiled(compiler)
    made = first.stat().st_mtime_ns
    assert kernels._compiled(compiler) == first
    assert first.stat().st_mtime_ns == made
    assert list(first.parent.iterdir()) == [first], "nothing unfinished is left"
    changed = tmp_path / "rows.cpp"
    changed.write_text(kernels.SOURCE.read_text(encoding="utf-8") + "\n// another\n", encoding="utf-8")
    monkeypatch.setattr(kernels, "SOURCE", changed)
    assert kernels._compiled(compiler) != first


@needs_compiler
def test_one_row_is_shared_by_the_threads_like_many(monkeypatch):
    monkeypatch.setattr(_one_read, "LARGE", 1)
    z = torch.randn(1, 300_000, generator=torch.Generator().manual_seed(1))
    before, values = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        values.append(entropy(z))
    torch.set_num_threads(before)
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[0], values[2])
