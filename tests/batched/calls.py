"""Every public function of the batched layer as a function of (logits, delta_logits, rewards), and inputs."""

import torch

from entropy_core import batched

torch.set_num_threads(1)

NEVER = float("-inf")
NAN = float("nan")

CALLS = {
    "log_probs": lambda z, u, r: batched.log_probs(z),
    "probs": lambda z, u, r: batched.probs(z),
    "entropy": lambda z, u, r: batched.entropy(z),
    "varentropy": lambda z, u, r: batched.varentropy(z),
    "fisher": lambda z, u, r: batched.fisher(z),
    "fisher_pseudo_inverse": lambda z, u, r: batched.fisher_pseudo_inverse(z),
    "entropy_gradient": lambda z, u, r: batched.entropy_gradient(z),
    "covariance_over_actions": lambda z, u, r: batched.covariance_over_actions(u, r, z),
    "first_order_entropy_change": lambda z, u, r: batched.first_order_entropy_change(z, u),
    "second_order_entropy_change": lambda z, u, r: batched.second_order_entropy_change(z, u),
    "third_order_entropy_change": lambda z, u, r: batched.third_order_entropy_change(z, u),
    "entropy_change": lambda z, u, r: batched.entropy_change(z, u),
    "kl_divergence": lambda z, u, r: batched.kl_divergence(z, u),
    "entropy_change_bound, lower": lambda z, u, r: batched.entropy_change_bound(z, u)[0],
    "entropy_change_bound, upper": lambda z, u, r: batched.entropy_change_bound(z, u)[1],
    "policy_gradient_delta_logits": lambda z, u, r: batched.policy_gradient_delta_logits(z, r, 0.3),
    "natural_gradient_delta_logits": lambda z, u, r: batched.natural_gradient_delta_logits(z, r, 0.3),
}
BOUNDS = [name for name in CALLS if "bound" in name]
SMOOTH = [name for name in CALLS if name not in BOUNDS]


def rows(batch, actions, dtype=torch.float64, seed=0):
    """Return logits of mixed sharpness, steps of range below and above 1, rewards; NaN where forbidden."""
    generator = torch.Generator().manual_seed(seed)
    z, u, r = torch.randn(3, batch, actions, dtype=torch.float64, generator=generator)
    sharpness = torch.logspace(-3, 1, batch, dtype=torch.float64).unsqueeze(-1)
    ranges = torch.logspace(0.5, -3, batch, dtype=torch.float64).unsqueeze(-1)
    z, u = sharpness * z, ranges * u
    z[::2, 1::3] = NEVER
    u, r = (torch.where(z == NEVER, NAN, x) for x in (u, r))
    return z.to(dtype), u.to(dtype), r.to(dtype)


def gradients(call, *inputs, weight=None):
    """Return the gradients of a weighted sum of what `call` returns; None for an input without influence."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    result = call(*leaves)
    weight = torch.ones_like(result) if weight is None else weight
    return torch.autograd.grad(result, leaves, weight, allow_unused=True)


def said(call):
    """Return the type and the text of the error of a call."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"
