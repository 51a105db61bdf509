"""Errors against float64 and NaN at forbidden actions, of every method, on rows of each kind."""

import torch

from benchmarks import inputs, methods, tasks
from entropy_core import batched

ACTIONS = 32_000


def errors(device, compared=None, kinds=inputs.KINDS, actions=ACTIONS):
    """Return one record for each method, kind of rows and type; all methods where none are named."""
    records, compared = [], methods.of_policy() if compared is None else compared
    for dtype in inputs.DTYPES:
        for kind in kinds:
            if kind == "offset 1e4" and dtype != torch.float32:
                continue  # bfloat16 has steps of 64 there
            z = inputs.hard_logits(kind, actions, dtype, device)
            tokens = z.argmax(dim=-1)
            if kind in inputs.KINDS:
                tokens[1::2] = inputs.tokens_of((len(tokens[1::2]), actions), device) | 1
            records += [
                {"kind": kind, "dtype": str(dtype)[6:], "method": name, **_errors_of(method, z, tokens)}
                for name, method in compared.items()
            ]
    return records


def hidden_errors(device, compared, rows, actions, features):
    """Return one record for each method from hidden states: H, and the gradients of ΣH before rounding.

    `gradient_relative` is over entries above a hundredth of a row's largest (hidden) or the largest (weight).
    """
    h, w = (x.requires_grad_() for x in inputs.hidden_states(rows, actions, features, torch.bfloat16, device))
    tokens = inputs.tokens_of((rows, actions), device)
    exact = [x.detach().double().requires_grad_() for x in (h, w)]
    truth = batched.entropy(exact[0] @ exact[1].t())
    true_gradients = torch.autograd.grad(truth.sum(), exact)
    records = []
    for name, method in compared.items():
        entropy = method(h, w, tokens)[0]
        found = torch.autograd.grad(entropy.sum(), (h, w))
        slips = [
            _beyond_rounding(*pair, over)
            for pair, over in zip(zip(found, true_gradients, strict=True), (-1, (-2, -1)), strict=True)
        ]
        records.append(
            {
                "method": name,
                "entropy_nats": _largest(entropy.double() - truth),
                "gradient_of_largest": max(slip for slip, _ in slips),
                "gradient_relative": max(relative for _, relative in slips),
            }
        )
    return records


def _beyond_rounding(found, truth, over):
    """Return what is left of a gradient's error without its last rounding, of the largest and relative."""
    largest = truth.abs().amax(dim=over, keepdim=True)
    slip = ((found.double() - truth).abs() - torch.finfo(found.dtype).eps / 2 * truth.abs()).clamp(min=0.0)
    visible = truth.abs() > 1e-2 * largest
    return (slip / largest).max().item(), (slip / truth.abs())[visible].max().item()


def _errors_of(method, z, tokens):
    """Return the errors of H, of log π and of the gradient of H."""
    leaf = z.detach().clone().requires_grad_()
    entropy, log_probs = method(leaf, tokens)
    (gradient,) = torch.autograd.grad(entropy.sum(), leaf)
    exact = z.double()
    moments = batched.policy_moments(exact, tokens)
    true_gradient = batched.entropy_gradient(exact)
    largest = true_gradient.abs().amax(dim=-1, keepdim=True)
    rounding = torch.finfo(z.dtype).eps / 2 * true_gradient.abs() if z.dtype != torch.float32 else 0.0
    slip = ((gradient.double() - true_gradient).abs() - rounding).clamp(min=0.0)
    visible = true_gradient.abs() > 1e-3 * largest
    half_ulp = torch.finfo(torch.float32).eps / 2 * moments.token_log_probs.abs()
    log_prob_slip = (log_probs.double() - moments.token_log_probs).abs()
    return {
        "entropy_nats": _largest(entropy.double() - moments.entropy),
        "entropy_relative": _largest((entropy.double() - moments.entropy) / moments.entropy),
        "log_prob_nats": _largest(log_prob_slip),
        "log_prob_nats_beyond_half_ulp": _largest((log_prob_slip - half_ulp).clamp(min=0.0)),
        "gradient_of_largest": _largest(slip / largest),
        "gradient_relative": _largest((slip / true_gradient.abs())[visible]),
        "smallest_entropy": moments.entropy.min().item(),
    }


def _largest(x):
    """Return the largest size, or None where there is a NaN."""
    return None if x.isnan().any() else x.abs().max().item()


def assert_agreement(device, policy=None, step=None, actions=ACTIONS):
    """Stop unless all methods compute one thing on ordinary rows, and ours within its promise."""
    z = inputs.hard_logits("ordinary", actions, torch.float32, device)
    tokens = z.argmin(dim=-1)
    exact = batched.policy_moments(z.double(), tokens)
    for name, method in (methods.of_policy() if policy is None else policy).items():
        entropy, log_probs = method(z, tokens)
        torch.testing.assert_close(entropy.double(), exact.entropy, rtol=0, atol=2e-3, msg=name)
        torch.testing.assert_close(log_probs.double(), exact.token_log_probs, rtol=0, atol=2e-3, msg=name)
    u = inputs.step_of(z.shape, torch.float32, device)
    exact = methods.our_step(z.double(), u.double())
    for name, method in (methods.of_step() if step is None else step).items():
        for found, truth in zip(method(z, u), exact, strict=True):
            torch.testing.assert_close(found.double(), truth, rtol=0, atol=2e-4, msg=name)
    assert tasks.FORWARD != tasks.BACKWARD
