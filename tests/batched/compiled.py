"""Run by test_graph in a fresh interpreter, where no shape checks stand in the way: what compiles and agrees.

Prints one JSON object: for each name null, or what went wrong.
"""

import json
import shutil

import torch

from entropy_core import batched
from entropy_core.batched import _one_read, _sums
from entropy_core.batched.kernels import _rows as kernels
from tests.batched.calls import CALLS, rows

TRACED = (  # between them they use every primitive
    "log_probs",
    "fisher",
    "covariance_over_actions",
    "second_order_entropy_change",
    "entropy_change",
    "policy_gradient_delta_logits",
)


HAS_COMPILER = shutil.which("g++") is not None


def value_and_gradients(call, inputs):
    """Return a result and the gradients of its sum, in one forward and one backward pass."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    result = call(*leaves)
    return result.detach(), *torch.autograd.grad(result.sum(), leaves, allow_unused=True)


def difference(call, inputs, **options):
    """Return what is wrong with the compiled function on these inputs, or None."""
    torch._dynamo.reset()
    try:
        found = value_and_gradients(torch.compile(call, fullgraph=True, **options), inputs)
        for pair in zip(found, value_and_gradients(call, inputs), strict=True):
            torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-8, equal_nan=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def traced():
    """Return the verdict on functions as one graph each, forward and backward."""
    inputs = rows(3, 7, torch.float64)
    return {name: difference(CALLS[name], inputs, backend="aot_eager") for name in TRACED}


def machine_code():
    """Return the verdict on the entropy in machine code."""
    z = torch.tensor([[0.0, -1.0, -torch.inf, 2.0], [10.0, 0.0, 0.1, -0.1], [-torch.inf, 1.0, 1.0, 1.0]])
    return {"entropy, machine code": difference(batched.entropy, [z])}


def loops():
    """Return the verdict on the block sums: one loop over the blocks each, so that memory is read once."""
    from torch._inductor.utils import run_and_get_code

    found = {}
    blocks = torch.randn(64, 4, 2000)
    for reduce, inputs in ((_sums.policy_terms, (blocks, None)), (_sums.step_terms, (blocks, blocks))):
        for dtype in (torch.float32, torch.bfloat16):
            torch._dynamo.reset()
            _one_read._compiled.cache_clear()
            given = [None if x is None else x.to(dtype) for x in inputs]
            _, (code,) = run_and_get_code(_one_read._compiled(reduce), *given)
            count = code.count("for(int64_t x0=")
            if count != 1:
                found[f"{reduce.__name__} {dtype}"] = count
    return {"block sums, machine code": None if not found else f"loops over memory: {found}"}


def read_once():
    """Return the verdict on large rows, read and differentiated by torch's machine code and without it.

    Devices other than the processor are read so; here the processor stands in for one.
    """
    z = 3 * torch.randn(70, 65_537, generator=torch.Generator().manual_seed(0))
    z[:, ::5], z[3] = -torch.inf, 100 * z[3]
    u = torch.where(z == -torch.inf, torch.nan, (7 * z).sin())
    tokens = z.argmin(dim=-1) * 0 + 1
    kernels.serve = lambda *tensors: False
    _one_read._compiles = lambda *tensors: _one_read._compiler.works

    def results(works):
        _one_read._compiler.works = works
        leaf = z.detach().clone().requires_grad_()
        moments = batched.policy_moments(leaf, tokens, 0.7)
        gradient = torch.autograd.grad(sum(m.sum() for m in moments), leaf)[0]
        steps = batched.step_moments(z, u), batched.step_moments(z, 5 * u)
        return *(m.detach() for m in moments), gradient, *steps[0], *steps[1]

    try:
        found = results(True)
        assert _one_read._compiler.works, "torch.compile was given up"
        for pair in zip(found, results(False), strict=True):
            torch.testing.assert_close(*pair, rtol=1e-5, atol=2e-6)
    except Exception as error:
        return {"large rows, machine code": f"{type(error).__name__}: {error}"}
    return {"large rows, machine code": None}


if __name__ == "__main__":
    print(json.dumps(traced() | (machine_code() | loops() | read_once() if HAS_COMPILER else {})))
