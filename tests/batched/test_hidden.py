"""Moments from hidden states against the simple formulas of the explicit float64 product."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from entropy_core import batched
from entropy_core.batched import _one_read, _simple, hidden
from entropy_core.batched.kernels import _triton_rows as kernels

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


@pytest.fixture
def tensor_cores(monkeypatch):
    """Let torch multiply bfloat16 with float32 sums, as it does on a GPU; return the types it saw."""
    seen = []

    def with_float32_sums(multiply):
        def call(*matrices, out, out_dtype=None):
            seen.append([x.dtype for x in matrices[-2:]])
            assert out_dtype in (None, out.dtype)
            return multiply(*(x.to(out.dtype) for x in matrices), out=out)

        return call

    monkeypatch.setattr(hidden, "_has_tensor_cores", lambda tensor: True)
    for name in ("mm", "addmm"):
        monkeypatch.setattr(torch, name, with_float32_sums(getattr(torch, name)))
    return seen


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
    weights = weights.to(values[0].device)
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


@pytest.mark.claim("gradient-in-two-parts")
@pytest.mark.parametrize("rows", [4, 10])
def test_tensor_cores_change_no_promise(rows, small_tiles, tensor_cores):
    h, w, b, tokens = inputs(torch.bfloat16, rows=rows, features=64)
    counted = torch.arange(rows) % 5 != 1
    found = hidden.moments_from_hidden(h, w, tokens, b, 0.5, counted)
    truth, leaves, z = explicit(h, w, b, tokens, counted, 2.0)
    assert_within(found, (h, w, b), truth, leaves, z * 2, torch.bfloat16)
    tiles = -(-rows // 4) * 6
    assert tensor_cores == [[torch.bfloat16] * 2] * (tiles + 5 * tiles), "one product forward, five backward"


def test_kernels_of_a_device_read_the_tiles(small_tiles, tensor_cores, monkeypatch):
    """The whole path of a GPU, its kernels interpreted and its products emulated."""
    interpreted = pytest.importorskip("tests.batched.interpreted", reason="there is no Triton here")
    calls = []
    monkeypatch.setattr(_one_read, "_kernels", lambda *tensors: calls.append(tensors) or kernels)
    h, w, b, tokens = inputs(torch.bfloat16, rows=6, actions=17, features=64)
    counted = torch.arange(6) != 1
    with interpreted.interpreting(kernels):
        found = hidden.moments_from_hidden(h, w, tokens % 15, b, 0.5, counted)
        truth, leaves, z = explicit(h, w, b, tokens % 15, counted, 2.0)
        assert_within(found, (h, w, b), truth, leaves, z * 2, torch.bfloat16)
    assert len(calls) == 2 * 2 * 3, "forward and backward, two runs of rows by three of actions"


@pytest.mark.parametrize(
    "dtypes", [(torch.float32,) * 2, (torch.float16,) * 2, (torch.bfloat16, torch.float32)]
)
def test_other_types_are_multiplied_as_float32(dtypes, small_tiles, tensor_cores):
    h, w, _, tokens = inputs(torch.float64)
    h, w = (x.detach().to(dtype).requires_grad_() for x, dtype in zip((h, w), dtypes, strict=True))
    gradients(hidden.moments_from_hidden(h, w, tokens), (h, w))
    assert {dtype for pair in tensor_cores for dtype in pair} == {torch.float32}


def errors_of_a_product(parts_of):
    """Return the error of G W as a share of a row's largest entry, and relative above 1 % of that."""
    h, w, _, _ = inputs(torch.bfloat16, rows=128, actions=4000, features=64)
    exact = batched.entropy_gradient((h.double() @ w.double().t()).detach())
    truth = exact @ w.detach().double()
    found = torch.zeros_like(truth, dtype=torch.float32)
    for part in parts_of(exact.float()):
        found += part.float() @ w.detach().float()
    error, largest = (found - truth).abs(), truth.abs().amax(dim=-1, keepdim=True)
    return (error / largest).max().item(), (error / truth.abs())[truth.abs() > 1e-2 * largest].max().item()


@pytest.mark.claim("gradient-in-two-parts")
def test_two_bfloat16_numbers_carry_a_gradient_and_one_does_not(record_property):
    share, relative = errors_of_a_product(lambda g: hidden._parts(g, torch.bfloat16))
    record_property("error with the gradient in two parts", f"{share:.1e}")
    assert share < 3e-5
    assert relative < 1e-3
    share, relative = errors_of_a_product(lambda g: [g.bfloat16()])
    record_property("error with it in one", f"{share:.1e}")
    assert share > 3e-4
    assert relative > 1e-2


@pytest.mark.parametrize("name", ["mm", "addmm"])
def test_torch_has_the_products_that_a_gpu_is_asked_for(name):
    short, into = torch.ones(2, 2, dtype=torch.bfloat16), torch.zeros(2, 2)
    multiply = {"mm": hidden._put_product, "addmm": hidden._add_product}[name]
    with pytest.raises(NotImplementedError, match=rf"aten::{name}\.dtype_out"):
        multiply(short, short, into)


def test_tiles_on_a_device_are_larger_and_bounded():
    h, w = torch.empty(20_000, 64, device="meta"), torch.empty(151_936, 64, device="meta")
    assert hidden._memory_of_a_tile(h, w, None).nbytes == 2**27
    assert hidden._memory_of_a_tile(h[:3], w[:5], None).nbytes == 60
    assert hidden._memory_of_a_tile(*(torch.empty(x.shape) for x in (h, w)), None).nbytes == 2**23


def test_no_rows_at_all():
    h, w = torch.zeros(0, 3, requires_grad=True), torch.zeros(5, 3, requires_grad=True)
    moments = hidden.moments_from_hidden(h, w, torch.zeros(0, dtype=torch.int64))
    assert moments.entropy.shape == (0,)
    of_hidden, of_weight = torch.autograd.grad(moments.entropy.sum(), (h, w))
    assert of_hidden.shape == (0, 3)
    assert not of_weight.any()


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


on_a_device = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


@pytest.mark.gpu
@on_a_device
@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize(
    ("rows", "actions", "features"), [(10, 37, 16), (9000, 9001, 64), (512, 32_000, 4096)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_device(dtype, rows, actions, features, temperature, monkeypatch):
    """Tensor cores may cut a sum instead of rounding it, once in eight products: 2⁻²³ of it each time."""
    h, w, b, tokens = inputs(dtype, rows, actions, features)
    h, w, b, tokens = (x.detach().cuda() for x in (h, w, b, tokens))
    leaves = [x.requires_grad_() for x in (h, w, b)]
    counted = torch.arange(rows, device="cuda") % 5 != 1
    found = hidden.moments_from_hidden(*leaves[:2], tokens, leaves[2], temperature, counted)
    truth, exact_leaves, z = explicit(*leaves, tokens, counted, 1 / temperature)
    monkeypatch.setitem(NATS, dtype, NATS[dtype] + features / 8 * 2**-23)
    monkeypatch.setitem(SHARE, dtype, SHARE[dtype] + 10 * max(rows, actions) ** 0.5 * 2**-23)
    assert_within(found, leaves, truth, exact_leaves, z / temperature, dtype)


@pytest.mark.gpu
@on_a_device
def test_nothing_on_a_device_waits_and_tiles_stay_small():
    h, w = (torch.randn(n, 256, device="cuda", dtype=torch.bfloat16).requires_grad_() for n in (8192, 50_000))
    hidden.entropy_from_hidden(h, w).sum().backward()
    h.grad = w.grad = None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode("error")
    try:
        hidden.entropy_from_hidden(h, w).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    mebibytes = (torch.cuda.max_memory_allocated() - before) / 2**20
    assert mebibytes < 512, "the logits as float32 would take 1562"


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
