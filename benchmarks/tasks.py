"""The tasks: what is asked of every method, as runs on given tensors."""

import torch

from benchmarks import inputs, methods
from entropy_core import batched

FORWARD = "entropy and token log-probability"
STEP = "what a step does to the entropy"
BACKWARD = "entropy, forward and backward"
REUSED = f"{methods.OURS}, given buffer"
FRESH = f"{methods.OURS}, fresh gradient"


def forward_runs(shape, dtype, device):
    """Return the runs of the forward task, without a graph, and the tensors that they read."""
    z, tokens = inputs.logits_of(shape, dtype, device), inputs.tokens_of(shape, device)
    runs = {name: _without_graph(method, z, tokens) for name, method in methods.of_policy().items()}
    return runs, (z,)


def step_runs(shape, dtype, device):
    """Return the runs of the step task and the tensors that they read."""
    z, u = inputs.logits_of(shape, dtype, device), inputs.step_of(shape, dtype, device)
    return {name: _without_graph(method, z, u) for name, method in methods.of_step().items()}, (z, u)


def backward_runs(shape, dtype, device):
    """Return the runs of the forward and backward task, the tensor that they read, and one like it."""
    z, tokens = inputs.logits_of(shape, dtype, device), inputs.tokens_of(shape, device)
    buffer = torch.empty_like(z).fill_(0)  # touched, as a buffer that was used before
    runs = {name: _gradient_run(method, z, tokens) for name, method in methods.of_policy().items()}
    runs[FRESH] = runs.pop(methods.OURS)
    runs[REUSED] = _gradient_run(
        lambda leaf, t: batched.policy_moments(leaf, t, gradient_buffer=buffer).entropy[None], z, tokens
    )
    return runs, (z,), buffer


def _without_graph(method, *tensors):
    def run():
        with torch.no_grad():
            return method(*tensors)

    return run


def _gradient_run(method, z, tokens):
    """Return a run that makes the entropy of every row and the gradient of their sum."""
    leaf = z.detach().requires_grad_()

    def run():
        return torch.autograd.grad(method(leaf, tokens)[0].sum(), leaf)[0]

    return run
