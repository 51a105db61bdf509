"""No function looks at its data: all run where there is none, and each becomes one compiled graph."""

import shutil
import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from entropy_core import batched
from tests.batched.calls import CALLS, SMOOTH, gradients, rows

pytestmark = pytest.mark.usefixtures("without_shape_checks")

DYNAMO_WARNS = pytest.mark.filterwarnings(
    "ignore:.*torch.autograd.function.Function.* should not be instantiated:DeprecationWarning"
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CALLS)
def test_runs_without_data(name, dtype):
    inputs = rows(4, 7, dtype)
    expected = CALLS[name](*inputs)
    result = CALLS[name](*(x.to("meta") for x in inputs))
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("name", SMOOTH)
def test_backward_waits_for_no_data(name):
    with FakeTensorMode():
        z, u, r = torch.zeros(3, 4, 7)
        assert gradients(CALLS[name], z, u, r)[0].shape == (4, 7)


def test_a_look_at_the_data_is_noticed_here():
    with FakeTensorMode(), pytest.raises(Exception, match="data-dependent|nonzero"):
        batched.check_logits(torch.zeros(4, 7))


@DYNAMO_WARNS
@pytest.mark.parametrize("name", CALLS)
def test_traces_into_one_graph_forward_and_backward(name):
    torch._dynamo.reset()
    inputs = rows(3, 7, torch.float32)
    traced = torch.compile(CALLS[name], fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(traced(*inputs), CALLS[name](*inputs), equal_nan=True)
    if name in SMOOTH:
        for found, expected in zip(gradients(traced, *inputs), gradients(CALLS[name], *inputs), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


COMPILED = """
import torch
from entropy_core import batched
torch.set_num_threads(1)
z = torch.tensor([[0.0, -1.0, float("-inf"), 2.0], [60.0, 0.0, 0.1, -0.1], [float("-inf")] * 3 + [1.0]])
leaf, twin = z.clone().requires_grad_(), z.clone().requires_grad_()
result, expected = torch.compile(batched.entropy, fullgraph=True)(leaf), batched.entropy(twin)
result.sum().backward(), expected.sum().backward()
torch.testing.assert_close(result, expected, rtol=1e-5, atol=0)
torch.testing.assert_close(leaf.grad, twin.grad, rtol=1e-5, atol=1e-8)
print("agree")
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler; g++ is not here")
def test_compiles_to_machine_code():
    run = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert run.stdout == "agree\n", run.stderr
