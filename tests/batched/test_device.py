"""The same numbers on an accelerator, where one is at hand."""

import numpy as np
import pytest
import torch

from entropy_core import batched, reference
from entropy_core.batched import _one_read
from tests.batched.calls import CALLS, NAN, NEVER, SMOOTH, gradients, rows
from tests.batched.test_large import (
    NATS,
    assert_policy_within,
    policies,
    step_scale,
    steps,
    tokens_of,
    worst,
)

if not torch.cuda.is_available():
    pytest.skip("no CUDA device on this machine", allow_module_level=True)

pytestmark = pytest.mark.gpu
PROMISED = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-5, torch.float16: 1e-5}


def assert_agree(found, expected, allowed):
    """Compare on the scale of each row's largest entry; infinities must stand in the same places."""
    found, expected = found.double().cpu(), expected.double()
    scale = expected.abs().where(expected.isfinite(), 0.0).amax()
    assert ((found - expected).abs() <= allowed * scale).logical_or(found == expected).all()


@pytest.mark.parametrize("actions", [1, 7, 1001, 151936])
@pytest.mark.parametrize("dtype", PROMISED)
@pytest.mark.parametrize("name", CALLS)
def test_agrees_with_the_processor(name, dtype, actions):
    inputs = rows(8, 7 if name.startswith("fisher") else actions, dtype)
    found = CALLS[name](*(x.cuda() for x in inputs))
    assert found.device.type == "cuda"
    assert_agree(found, CALLS[name](*(x.double() for x in inputs)), PROMISED[dtype])


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_agree_with_the_processor(name):
    inputs = rows(8, 33)
    pairs = zip(
        gradients(CALLS[name], *(x.cuda() for x in inputs)), gradients(CALLS[name], *inputs), strict=True
    )
    for found, expected in pairs:
        if expected is not None:
            assert_agree(found, expected, 1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_nothing_waits_for_the_device(name):
    inputs = [x.cuda() for x in rows(8, 33)]
    CALLS[name](*inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = gradients(CALLS[name], *inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result[0].device.type == "cuda"


def without_kernels(monkeypatch):
    """Read large logits as where there is no Triton."""
    monkeypatch.setattr(_one_read, "_kernels", lambda *tensors: None)


@pytest.fixture(params=["kernels", "torch"])
def by(request, monkeypatch):
    """Read by the kernels in Triton, and by torch.compile as where they are not."""
    if request.param == "torch":
        without_kernels(monkeypatch)
    else:
        pytest.importorskip("triton", reason="there is no Triton here")
    return request.param


def on_host(values):
    """Return a named tuple of tensors in the processor's memory."""
    return type(values)(*(x.detach().cpu() for x in values))


@pytest.mark.usefixtures("by")
@pytest.mark.parametrize("actions", [100_003, 151_936])  # rows that begin anywhere, and at whole lines
@pytest.mark.parametrize("dtype", NATS)
def test_large_policies(dtype, actions):
    z = policies(6, actions, dtype)
    tokens = tokens_of(z)
    logits = z.cuda().requires_grad_()
    moments = batched.policy_moments(logits, tokens.cuda())
    some = type(moments)(*(x[::6] for x in on_host(moments)))
    assert_policy_within(some, z[::6], tokens[::6])
    (found,) = torch.autograd.grad(moments.entropy.sum(), logits)
    exact = torch.from_numpy(reference.entropy_gradient(z[::6].double().numpy()))
    largest = exact.abs().amax(-1, keepdim=True)
    rounding = 0.0 if dtype in (torch.float64, torch.float32) else torch.finfo(dtype).eps / 2 * exact.abs()
    error = (found[::6].double().cpu() - exact).abs() - rounding
    assert (error <= (1e-12 if dtype == torch.float64 else 1e-5) * largest).all()


@pytest.mark.usefixtures("by")
@pytest.mark.parametrize("actions", [100_003, 151_936])
@pytest.mark.parametrize("dtype", NATS)
def test_large_steps(dtype, actions):
    z = policies(6, actions, dtype)
    u = steps(z)
    found = on_host(batched.step_moments(z.cuda(), u.cuda()))
    some = slice(None, None, 5)  # ranges below and above 1
    exact = reference.step_moments(z[some].double().numpy(), u[some].double().nan_to_num(0).numpy())
    scale = step_scale(z[some], u[some])
    for name, value in zip(found._fields, found, strict=True):
        at = 1.0 if name == "entropy" else scale
        at = at + torch.from_numpy(np.abs(exact.mean)) if name == "mean" else at
        expected = torch.from_numpy(np.asarray(getattr(exact, name)))
        assert worst(value[some], expected, torch.as_tensor(at)) <= NATS[dtype], name


@pytest.mark.usefixtures("by")
@pytest.mark.parametrize("rows", [1, 3, 70])
def test_few_and_many_large_rows_are_cut_alike(rows):
    z = policies(10, 4_194_304 // rows, torch.bfloat16)[:rows].cuda()
    tokens = torch.full((rows,), 5, device="cuda")
    found = on_host(batched.policy_moments(z, tokens))
    assert_policy_within(found, z.cpu(), tokens.cpu())


@pytest.mark.usefixtures("by")
def test_what_is_no_policy_touches_no_other_row_on_a_device():
    z = torch.zeros(70, 65_537, device="cuda")
    z[1, 3], z[2], z[3, 70] = NAN, NEVER, float("inf")
    counted = torch.arange(70, device="cuda") != 4
    z[4] = NAN
    tokens = torch.zeros(70, dtype=torch.int64, device="cuda")
    leaf = z.requires_grad_()
    entropy = batched.policy_moments(leaf, tokens, response_mask=counted).entropy
    assert entropy[1:4].isnan().all()
    assert entropy[4] == 0
    assert ((entropy[5:] - np.log(65_537)).abs() < 2e-6).all()
    (gradient,) = torch.autograd.grad(entropy.sum(), leaf)
    assert not gradient[4].any()
    assert gradient[5:].isfinite().all()


def test_large_logits_are_read_without_waiting():
    z = torch.randn(70, 65_536, device="cuda").requires_grad_()
    tokens = torch.zeros(70, dtype=torch.int64, device="cuda")
    buffer = torch.empty_like(z)

    def read():
        batched.policy_moments(z, tokens, 0.7, gradient_buffer=buffer).entropy.sum().backward()
        return batched.step_moments(z.detach(), z.detach()).entropy_change

    read()
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert read().device.type == "cuda"
    finally:
        torch.cuda.set_sync_debug_mode("default")
