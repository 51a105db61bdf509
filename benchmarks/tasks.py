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
    runs = {name: without_graph(method, z, tokens) for name, method in methods.of_policy().items()}
    return runs, (z,)


def step_runs(shape, dtype, device):
    """Return the runs of the step task and the tensors that they read."""
    z, u = inputs.logits_of(shape, dtype, device), inputs.step_of(shape, dtype, device)
    return {name: without_graph(method, z, u) for name, method in methods.of_step().items()}, (z, u)


def backward_runs(shape, dtype, device):
    """Return the runs of the forward and backward task, the tensor that they read, and one like it."""
    z, tokens = inputs.logits_of(shape, dtype, device), inputs.tokens_of(shape, device)
    buffer = torch.empty_like(z).fill_(0)  # touched, as a buffer that was used before
    compared = backward_methods(methods.of_policy(), buffer)
    return {name: gradient_run(method, z, tokens) for name, method in compared.items()}, (z,), buffer


def backward_methods(compared, buffer):
    """Return the methods with ours twice: its gradient in fresh memory, and in a given buffer."""
    compared = dict(compared)
    compared[FRESH] = compared.pop(methods.OURS)
    compared[REUSED] = lambda z, t: batched.policy_moments(z, t, gradient_buffer=buffer).entropy[None]
    return compared


def without_graph(method, *tensors):
    """Return a run of a method that keeps nothing for a gradient."""

    def run():
        with torch.no_grad():
            return method(*tensors)

    return run


def gradient_run(method, z, tokens):
    """Return a run that makes the entropy of every row and the gradient of their sum."""
    leaf = z.detach().requires_grad_()

    def run():
        return torch.autograd.grad(method(leaf, tokens)[0].sum(), leaf)[0]

    return run
