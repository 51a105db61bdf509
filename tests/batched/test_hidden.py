"""Moments from hidden states against the simple formulas of the explicit float64 product."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from entropy_core import batched
from entropy_core.batched import _simple, hidden

ROOT = Path(__file__).parents[2]
NATS = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 1e-6, torch.float16: 1e-6}
SHARE = {torch.float64: 1e-12, torch.float32: 3e-5, torch.bfloat16: 3e-5, torch.float16: 3e-5}
GROWTH = (  # prints by how many MiB the peak grows from 11 MiB of logits not held to 320 MiB of them
    "import re, torch\n"
    "from entropy_core.batched import hidden\n"
    "torch.set_num_threads(1)\n"
    "def call(rows, actions):\n"
    "    h, w = torch.ones(rows, 4, requires_grad=True), torch.ones(actions, 4, requires_grad=True)\n"
    "    hidden.entropy_from_hidden(h, w).sum().backward()\n"
    "def peak():\n"  # of this program alone: what getrusage tells includes the program that started it
    "    return int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"
    "call(600, 5000)\n"
    "before = peak()\n"
    "call(2048, 40_960)\n"
    "print(peak() - before)\n"
)


@pytest.fixture
def small_tiles(monkeypatch):
    """Cut few rows and few actions into several tiles, the last ones shorter."""
    monkeypatch.setattr(hidden, "ROWS", 4)
    monkeypatch.setattr(hidden, "ACTIONS", 7)


def inputs(dtype, rows=10, actions=37, features=16, size=3.0, seed=0):
    """Return hidden states, a weight, a bias that forbids some actions, allowed tokens on every tile."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    w = torch.randn(actions, features, generator=generator, dtype=torch.float64) * size / features**0.5
    b = torch.randn(actions, generator=generator, dtype=torch.float64)
    b[1::5] = -torch.inf
    tokens = torch.arange(rows) * 5 % (actions // 5 * 5)
    return *(x.to(dtype).requires_grad_() for x in (h, w, b)), tokens


def explicit(h, w, b, tokens, counted, scale):
    """Return the truth, with leaves to differentiate it by: float64, the logits all there."""
    leaves = [x.detach().double().requires_grad_() for x in (h, w, b)]
    z = leaves[0] @ leaves[1].t() + leaves[2]
    return _simple.policy_values(z, tokens, counted, scale), leaves, z.detach()


def gradients(values, leaves):
    """Return the gradients of one fixed combination of all values."""
    rows = values[0].numel()
    weights = torch.randn(4, rows, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    loss = sum((w * v.double().flatten()).sum() for w, v in zip(weights, values, strict=True))
    return torch.autograd.grad(loss, leaves, retain_graph=True)


def assert_within(found, leaves, truth, exact_leaves, z, dtype):
    """Hold values and gradients to what is promised; return the largest error of H in nats."""
    scale = 1 + torch.where(z == -torch.inf, 0.0, z).abs().amax(dim=-1)
    for name, value, expected in zip(found._fields, found, truth, strict=True):
        allowed = NATS[dtype] * scale * (10 if name == "varentropy" else 1)
        assert ((value.double().flatten() - expected).abs() <= allowed).all(), name
    pairs = zip(gradients(found, leaves), gradients(truth, exact_leaves), strict=True)
    for name, (ours, theirs) in zip(("hidden", "weight", "bias"), pairs, strict=True):
        largest = theirs.abs().amax(dim=-1, keepdim=True) if name == "hidden" else theirs.abs().max()
        rounding = 0.0 if dtype == torch.float64 else torch.finfo(dtype).eps / 2 * theirs.abs()
        smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
        assert ours.dtype == dtype
        assert ((ours.double() - theirs).abs() <= SHARE[dtype] * largest + rounding + smallest).all(), name
    return (found.entropy.double().flatten() - truth[1]).abs().max().item()


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize(("rows", "actions"), [(1, 6), (4, 7), (10, 37), (9, 14)])
@pytest.mark.parametrize("dtype", NATS)
def test_values_and_gradients(dtype, rows, actions, temperature):
    h, w, b, tokens = inputs(dtype, rows, actions)
    counted = torch.arange(rows) % 5 != 1
    found = hidden.moments_from_hidden(h, w, tokens, b, temperature, counted)
    truth, leaves, z = explicit(h, w, b, tokens, counted, 1 / temperature)
    assert_within(found, (h, w, b), truth, leaves, z / temperature, dtype)
    assert not any(value[~counted].any() for value in found)
    assert not gradients(found, (h, w, b))[0][~counted].any()


@pytest.mark.claim("moments-merge")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_at_size(dtype, record_property):
    h, w, b, tokens = inputs(dtype, rows=513, actions=5000, features=256)
    found = hidden.moments_from_hidden(h, w, tokens, b)
    truth, leaves, z = explicit(h, w, b, tokens, torch.ones(513, dtype=torch.bool), 1.0)
    error = assert_within(found, (h, w, b), truth, leaves, z, dtype)
    record_property("largest error of H, nats", f"{error:.1e}")


@pytest.mark.usefixtures("small_tiles")
def test_the_derivatives_are_those_of_the_values():
    h, w, _, tokens = inputs(torch.float64, rows=6, actions=9, features=3, size=1.0)
    b = torch.linspace(-1, 1, 9, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: hidden.moments_from_hidden(*x, tokens % 9, b, 0.7), (h, w))
    assert torch.autograd.gradcheck(lambda x: hidden.entropy_from_hidden(h, w, x), (b,))


@pytest.mark.usefixtures("small_tiles")
def test_leading_axes_and_one_hidden_state():
    h, w, b, tokens = inputs(torch.float32, rows=12)
    flat = hidden.moments_from_hidden(h, w, tokens, b)
    shaped = hidden.moments_from_hidden(h.reshape(3, 4, -1), w, tokens.reshape(3, 4), b)
    assert shaped.entropy.shape == (3, 4)
    assert all(torch.equal(x.flatten(), y) for x, y in zip(shaped, flat, strict=True))
    assert torch.equal(hidden.entropy_from_hidden(h, w, b), flat.entropy)
    torch.testing.assert_close(hidden.entropy_from_hidden(h[5], w, b), flat.entropy[5])


@pytest.mark.usefixtures("small_tiles")
def test_rows_that_do_not_count_may_hold_anything():
    h, w, b, tokens = inputs(torch.float32)
    counted = torch.arange(10) > 1
    rest = gradients(hidden.moments_from_hidden(h, w, tokens, b, response_mask=counted), (h, w))
    with torch.no_grad():
        h[0], h[1] = torch.nan, torch.inf
    found = gradients(hidden.moments_from_hidden(h, w, tokens, b, response_mask=counted), (h, w))
    assert all(torch.equal(x, y) for x, y in zip(found, rest, strict=True))


@pytest.mark.usefixtures("small_tiles")
def test_autocast_rounds_no_product():
    h, w, b, tokens = inputs(torch.float32)
    expected = hidden.moments_from_hidden(h, w, tokens, b)
    with torch.autocast("cpu", torch.bfloat16):
        found = hidden.moments_from_hidden(h, w, tokens, b)
        assert (h @ w.t()).dtype == torch.bfloat16
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
    pairs = zip(gradients(found, (h, w)), gradients(expected, (h, w)), strict=True)
    assert all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.usefixtures("small_tiles")
def test_a_token_outside_is_nan_and_touches_no_other():
    h, w, b, _ = inputs(torch.float32, rows=3)
    moments = hidden.moments_from_hidden(h, w, torch.tensor([-1, 0, 37]), b)
    assert moments.token_log_probs.isnan().tolist() == [True, False, True]
    assert moments.entropy.isfinite().all()


def test_what_only_needs_one_gradient_gets_one():
    h, w, _, _ = inputs(torch.bfloat16)
    (of_hidden,) = torch.autograd.grad(hidden.entropy_from_hidden(h, w.detach()).sum(), h)
    (of_weight,) = torch.autograd.grad(hidden.entropy_from_hidden(h.detach(), w).sum(), w)
    both = torch.autograd.grad(hidden.entropy_from_hidden(h, w).sum(), (h, w))
    assert torch.equal(of_hidden, both[0])
    assert torch.equal(of_weight, both[1])


def test_the_gradient_has_no_gradient_and_says_so():
    h, w, _, _ = inputs(torch.float64)
    entropy = hidden.entropy_from_hidden(h, w)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(entropy.sum(), h, create_graph=True)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells a program's peak there")
def test_the_logits_are_never_held(record_property):
    run = subprocess.run([sys.executable, "-c", GROWTH], cwd=ROOT, capture_output=True, text=True, check=True)
    mebibytes = float(run.stdout)
    record_property("MiB more at 320 MiB of logits than at 11", f"{mebibytes:.0f}")
    assert mebibytes <= 32


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"hidden": torch.zeros(2, 4)}, ValueError, r"hidden \(2, 4\), weight \(5, 3\)"),
        ({"weight": torch.zeros(5)}, ValueError, "hidden must be"),
        ({"weight": torch.zeros(0, 3)}, ValueError, "hidden must be"),
        ({"weight": torch.zeros(5, 3, device="meta")}, ValueError, "on one device"),
        ({"hidden": torch.zeros(2, 3).long()}, TypeError, "hidden must be float64"),
        ({"bias": torch.zeros(4)}, ValueError, "one value an action"),
        ({"tokens": torch.zeros(3).long()}, ValueError, "tokens must have one value a row"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, says):
    fits = {"hidden": torch.zeros(2, 3), "weight": torch.zeros(5, 3), "tokens": torch.zeros(2).long()}
    assert batched.PolicyMoments(*hidden.moments_from_hidden(**fits)).entropy.shape == (2,)
    with pytest.raises(error, match=says):
        hidden.moments_from_hidden(**fits | change)
