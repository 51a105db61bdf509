"""What is compared: this package's functions, the plain formulas, and what training libraries compute.

Every method of a task takes the same tensors and returns the same values. TRL and verl are called; AReaL's
`_gather_logprobs_entropy` (revision 4aef98d8d) is restated here, since its wheel needs the whole system.
"""

import contextlib
import functools
import importlib
import sys
import types
from importlib.metadata import PackageNotFoundError, distribution
from unittest import mock

import torch

from entropy_core import batched
from entropy_core.batched import _one_read, hidden

OURS = "entropy_core"
EAGER = "entropy_core, no compiler"
COMPILED = "entropy_core, torch.compile"


def without_compiler(function):
    """Return the function as it runs where there are no kernels."""

    @functools.wraps(function)
    def call(*arguments):
        with mock.patch.object(_one_read, "_kernels", return_value=None):
            return function(*arguments)

    return call


def by_torch_compile(function):
    """Return the function as it would run if torch.compile made the machine code, as on other devices."""

    @functools.wraps(function)
    def call(*arguments):
        with mock.patch.object(_one_read, "_compiles", return_value=True):
            return without_compiler(function)(*arguments)

    return call


def ours(logits, tokens):
    """Return H and log π of the tokens."""
    moments = batched.policy_moments(logits, tokens)
    return moments.entropy, moments.token_log_probs


def categorical(logits, tokens):
    """Return H and log π as torch.distributions gives them."""
    policy = torch.distributions.Categorical(logits=logits, validate_args=False)
    return policy.entropy(), policy.log_prob(tokens)


def restated_areal(logits, tokens, chunk=1024):
    """Return H and log π by AReaL's formula, compiled, in chunks of 1024 rows."""
    parts = [_areal_chunk()(z, t) for z, t in zip(logits.split(chunk), tokens.split(chunk), strict=True)]
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


@functools.cache
def _areal_chunk():
    def chunk_values(logits, tokens):
        log_probs = torch.nn.functional.log_softmax(logits.float(), dim=-1)
        entropy = -torch.sum(log_probs.exp() * log_probs, dim=-1)
        return entropy, log_probs.gather(dim=-1, index=tokens.unsqueeze(-1)).squeeze(-1)

    return torch.compile(chunk_values, dynamic=True)


@functools.cache
def _plain_formula():
    def values(logits, tokens):
        z = logits.float()
        a = z - z.amax(dim=-1, keepdim=True)
        e = a.exp()
        total = e.sum(dim=-1)
        at_token = a.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return total.log() - (a * e).sum(dim=-1) / total, at_token - total.log()

    return torch.compile(values, dynamic=True)


def plain_compiled(logits, tokens):
    """Return H and log π by maximum, difference, exponential and two sums, compiled."""
    return _plain_formula()(logits, tokens)


def peers():
    """Return the training libraries' functions that are installed, by name and version."""
    found = {}
    for library, values in (("trl", _trl), ("verl", _verl)):
        try:
            found[f"{LIBRARIES[library]} {distribution(library).version}"] = values
        except PackageNotFoundError:
            print(
                f"{library} is not installed and left out: see benchmarks/requirements.txt", file=sys.stderr
            )
    return found


LIBRARIES = {"trl": "TRL", "verl": "verl"}


def _trl(logits, tokens):
    """Return H and log π as TRL computes them; on a GPU by its Triton kernel, which needs no other part."""
    if logits.device.type == "cuda":
        kernel = module("trl", "trl.kernels.logprob_entropy").selective_log_softmax_and_entropy
        return kernel(logits, tokens)[::-1]
    from trl.trainer.utils import selective_log_softmax_and_entropy

    return selective_log_softmax_and_entropy(logits, tokens)[::-1]


def _verl(logits, tokens):
    """Return H and log π as verl computes them."""
    functions = module("verl", "verl.utils.torch_functional")
    return functions.entropy_from_logits(logits), functions.logprobs_from_logits(logits, tokens)


@functools.cache
def module(library, name):
    """Return a library's module without the imports of the packages around it."""
    *packages, _ = name.split(".")
    for depth in range(1, len(packages) + 1):
        path = distribution(library).locate_file("/".join(packages[:depth]))
        package = types.ModuleType(".".join(packages[:depth]))
        package.__path__ = [str(path)]
        sys.modules.setdefault(package.__name__, package)
    return importlib.import_module(name)


def of_policy():
    """Return the methods that give H and log π of the tokens."""
    return {
        OURS: ours,
        EAGER: without_compiler(ours),
        COMPILED: by_torch_compile(ours),
        "plain formula, compiled": plain_compiled,
        "AReaL, restated": restated_areal,
        **peers(),
        "torch Categorical": categorical,
    }


def natural_step(logits, delta_logits):
    """Return Cov(log π, Δz), ΔH to second order, ΔH and KL as one writes them in torch."""
    log_probs, new = logits.float().log_softmax(-1), (logits.float() + delta_logits.float()).log_softmax(-1)
    probs, step = log_probs.exp(), delta_logits.float()
    entropy, new_entropy = -(probs * log_probs).sum(-1), -(new.exp() * new).sum(-1)
    score, centred = log_probs + entropy[..., None], step - (probs * step).sum(-1, keepdim=True)
    covariance = (probs * score * centred).sum(-1)
    second = -covariance - (probs * (1 + score) * centred**2).sum(-1) / 2
    return covariance, second, new_entropy - entropy, (probs * (log_probs - new)).sum(-1)


def our_step(logits, delta_logits):
    """Return the same from one read of each."""
    moments = batched.step_moments(logits, delta_logits)
    return (
        moments.covariance,
        moments.second_order_entropy_change,
        moments.entropy_change,
        moments.kl_divergence,
    )


def of_step():
    """Return the methods that give what a step does."""
    return {
        OURS: our_step,
        EAGER: without_compiler(our_step),
        COMPILED: by_torch_compile(our_step),
        "natural torch formula": natural_step,
    }


def ours_from_hidden(states, matrix, tokens):
    """Return H and log π of the tokens, the logits never held."""
    moments = hidden.moments_from_hidden(states, matrix, tokens)
    return moments.entropy, moments.token_log_probs


def product_then_ours(states, matrix, tokens):
    """Return the same from logits that are held, rounded to the type of the inputs."""
    return ours(states @ matrix.t(), tokens)


def of_hidden():
    """Return the methods that give H and log π from hidden states and an output matrix."""
    return {
        OURS: ours_from_hidden,
        "product, then entropy_core": product_then_ours,
        **hidden_peers(),
    }


def hidden_peers():
    """Return the training libraries' fused functions that are installed, by name and version."""
    found = {}
    for library, name, values in (("verl", "verl", _verl_fused), ("liger-kernel", "Liger", _liger)):
        with contextlib.suppress(PackageNotFoundError):
            found[f"{name} {distribution(library).version}, fused"] = values
    return found


def _verl_fused(states, matrix, tokens):
    """Return H and log π by verl's Triton kernels, which need a GPU."""
    call = module("verl", "verl.utils.kernel.linear_cross_entropy").linear_cross_entropy
    return call(states, matrix, tokens, 1.0, "none")[::-1]


def _liger(states, matrix, tokens):
    """Return H and log π by Liger's fused function; away from Hopper GPUs it is not fused."""
    name = "liger_kernel.ops.fused_linear_scaled_cross_entropy"
    call = module("liger-kernel", name).LigerFusedLinearScaledCrossEntropyFunction.apply
    surprise, entropy = call(states, matrix, tokens, return_entropy=True)
    return entropy, -surprise
