"""No function looks at its data: all run where there is none, and each becomes one compiled graph."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from entropy_core import batched
from tests.batched.calls import CALLS, SMOOTH, gradients, rows
from tests.batched.compiled import HAS_COMPILER, TRACED

ROOT = Path(__file__).parents[2]


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


@pytest.fixture(scope="module")
def verdicts():
    """Return what a fresh interpreter finds: name to None or to what is wrong."""
    command = [sys.executable, "-m", "tests.batched.compiled"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", TRACED)
def test_is_one_graph_forward_and_backward(verdicts, name):
    assert verdicts[name] is None


@pytest.mark.skipif(not HAS_COMPILER, reason="torch.compile needs a C++ compiler; g++ is not here")
@pytest.mark.parametrize("what", ["entropy", "block sums", "large rows"])
def test_compiles_to_machine_code(verdicts, what):
    assert verdicts[f"{what}, machine code"] is None
