"""Run by test_graph in a fresh interpreter, where no shape checks stand in the way: what compiles and agrees.

Prints one JSON object: for each name null, or what went wrong.
"""

import json
import shutil

import torch

from entropy_core import batched
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


if __name__ == "__main__":
    print(json.dumps(traced() | (machine_code() if HAS_COMPILER else {})))
