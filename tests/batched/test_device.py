"""The same numbers on an accelerator, where one is at hand."""

import pytest
import torch

from tests.batched.calls import CALLS, SMOOTH, gradients, rows

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
