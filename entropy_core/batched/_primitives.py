"""Softmax and centring with exact derivatives: what every quantity of this layer is composed of.

Write P x = x − E_π x for centring under π = softmax(z) and Pᵀ g = g − π Σ_a g_a for its transpose. Then

    d log π = P dz                         so a gradient g comes back as  Pᵀ g
    dπ      = π · P dz                                                    π · P g
    dH      = −E[P z · dz]                                                −g π · P z
    d(P x)  = P dx − Cov(x, dz)                                           Pᵀ g to x, −(Σ g) π · P x to z
    P z     = log π + H
    d(Pᵀ x) = Pᵀ dx − (Σ x) π · P dz                                      P g to x, −(Σ x) π · P g to z

so that derivatives of every order stay inside the set. Automatic differentiation through exp, log and sum
would be right to an eps of the largest term only; a policy that has collapsed on its mode has gradients of
1e-300.

Numerical reasons, once for all: values are shifted by their value at the mode before they are averaged, so
what a collapsed policy leaves of them is computed and not subtracted; 1 − π(mode) is the sum of the other
probabilities. Forbidden actions (z = −inf) are replaced before any arithmetic. A row with NaN, +inf or no
allowed action is turned into NaN as a whole. `mode` is an index tensor: nothing here waits for the device.
"""

from typing import NamedTuple

import torch
from torch.autograd import Function

__all__: list[str] = []

SERIES_TERMS = 20


class Row(NamedTuple):
    """The softmax of each row: e^gap over its sum, with the mode's term (which is 1) kept apart."""

    gaps: torch.Tensor
    forbidden: torch.Tensor
    mode: torch.Tensor
    rest: torch.Tensor
    probs: torch.Tensor


def read(z):
    """Read a row: gap = z − max z (0 where forbidden), rest = Σ e^gap off mode, π = e^gap / (1 + rest)."""
    peak, mode = z.max(dim=-1, keepdim=True)
    peak = torch.where(peak.isfinite(), peak, torch.nan)
    forbidden = (z == -torch.inf) & ~peak.isnan()
    weights = torch.exp(z - peak)
    gaps = (z - peak).masked_fill(forbidden, 0.0)
    rest = _total_without(mode, weights)
    return Row(gaps, forbidden, mode, rest, weights / (1 + rest))


def _total_without(mode, values):
    return values.scatter(-1, mode, 0.0).sum(dim=-1, keepdim=True)


class LogProbs(Function):
    """log π = gap − log(1 + rest), −inf where forbidden."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z):
        """Return log π."""
        row = read(z)
        return (row.gaps - torch.log1p(row.rest)).masked_fill(row.forbidden, -torch.inf)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the logits."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        """Return Pᵀ g."""
        (z,) = ctx.saved_tensors
        return CentreTransposed.apply(gradient, z)


class Probs(Function):
    """π, 0 where forbidden."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z):
        """Return π."""
        return read(z).probs

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the logits."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        """Return π · P g."""
        (z,) = ctx.saved_tensors
        return Probs.apply(z) * Centre.apply(gradient, z)


class Entropy(Function):
    """H = log(1 + rest) − Σ π gap: two terms that are never negative, so H is relatively accurate near 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z):
        """Return H, without the action axis."""
        row = read(z)
        return torch.log1p(row.rest).squeeze(-1) - (row.probs * row.gaps).sum(dim=-1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the logits."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        """Return −g π (log π + H)."""
        (z,) = ctx.saved_tensors
        return -gradient.unsqueeze(-1) * Probs.apply(z) * CentredLogProbs.apply(z)


class CentredLogProbs(Function):
    """log π + H = P z: the score of the entropy. Exactly 0 for equal logits."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z):
        """Return P z."""
        return Centre.forward(z, z)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the logits."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        """Return Pᵀ g − (Σ g) π · P z."""
        (z,) = ctx.saved_tensors
        mean_part = _total_allowed(gradient, z) * Probs.apply(z) * CentredLogProbs.apply(z)
        return CentreTransposed.apply(gradient, z) - mean_part


class Centre(Function):
    """P x = x − E_π x, 0 where forbidden, whatever stands there."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, z):
        """Return P x, the mean taken after x is shifted by its value at the mode."""
        row = read(z)
        shifted = (x - x.gather(-1, row.mode)).masked_fill(row.forbidden, 0.0).contiguous()
        mean = (row.probs * shifted).sum(dim=-1, keepdim=True)
        return (shifted - mean).masked_fill(row.forbidden, 0.0)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep both inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        """Return Pᵀ g and −(Σ g) π · P x."""
        x, z = ctx.saved_tensors
        to_x = CentreTransposed.apply(gradient, z) if ctx.needs_input_grad[0] else None
        to_z = _through_the_mean(gradient, x, z) if ctx.needs_input_grad[1] else None
        return to_x, to_z


class CentreTransposed(Function):
    """Pᵀ x = x − π Σ x, 0 where forbidden, whatever stands there."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, z):
        """Return Pᵀ x; at the mode x(1 − π) − π Σ_others x, where 1 − π = rest / (1 + rest)."""
        row = read(z)
        x = x.masked_fill(row.forbidden, 0.0).contiguous()
        x_mode, others = x.gather(-1, row.mode), _total_without(row.mode, x)
        at_mode = (x_mode * row.rest - others) / (1 + row.rest)
        return (x - row.probs * (x_mode + others)).scatter(-1, row.mode, at_mode)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep both inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        """Return P g and −(Σ x) π · P g."""
        x, z = ctx.saved_tensors
        to_x = Centre.apply(gradient, z) if ctx.needs_input_grad[0] else None
        to_z = _through_the_mean(x, gradient, z) if ctx.needs_input_grad[1] else None
        return to_x, to_z


def _through_the_mean(x, y, z):
    """Return −(Σ x) π · P y."""
    return -_total_allowed(x, z) * Probs.apply(z) * Centre.apply(y, z)


def _total_allowed(x, z):
    """Return Σ x over allowed actions."""
    return torch.where(z == -torch.inf, 0.0, x).sum(dim=-1, keepdim=True)


class LogRatio(Function):
    """t = log π' − log π = u − log E_π e^u for π' = softmax(z + u), without subtracting two logarithms.

    For steps of range at most 1, where e^u neither overflows nor swamps; 0 where forbidden.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(u, z):
        """Return v − log1p(E expm1 v), v = u less its value at the mode."""
        row = read(z)
        v = (u - u.gather(-1, row.mode)).masked_fill(row.forbidden, 0.0)
        growth = (row.probs * torch.expm1(v)).sum(dim=-1, keepdim=True)
        return (v - torch.log1p(growth)).masked_fill(row.forbidden, 0.0)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep both inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        """Return P'ᵀ g, centring under π', and −(Σ g)(π' − π) = −(Σ g) π expm1(t)."""
        u, z = ctx.saved_tensors
        total = torch.where(z == -torch.inf, 0.0, gradient).sum(dim=-1, keepdim=True)
        to_u = CentreTransposed.apply(gradient, moved(z, u)) if ctx.needs_input_grad[0] else None
        to_z = (
            -total * Probs.apply(z) * torch.expm1(LogRatio.apply(u, z)) if ctx.needs_input_grad[1] else None
        )
        return to_u, to_z


class RatioExcess(Function):
    """χ(t) = t e^t − expm1(t) = ∫₀ᵗ s e^s ds = t² Σ_k t^k / (k! (k + 2)) for |t| ≤ 1; KL(π'‖π) = E_π χ(t)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t):
        """Return the power series: the closed form would leave an eps of |t| where the truth is ½ t²."""
        total = torch.zeros_like(t)
        for k in range(SERIES_TERMS, 0, -1):
            total = 1 / (k + 1) + total * t / k
        return t * t * total

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the log-ratio."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        """Return g t e^t."""
        (t,) = ctx.saved_tensors
        return gradient * t * torch.exp(t)


def moved(z, u):
    """Return z + u less a constant a row, chosen so that an offset of z or u costs no digit of the sum.

    An infinite step at an allowed action becomes NaN: it must not pass for a forbidden action.
    """
    peak, mode = z.detach().max(dim=-1, keepdim=True)
    step = torch.where(z == -torch.inf, 0.0, u)
    step = torch.where(step.isinf(), torch.nan, step)
    return (z - peak) + (step - step.detach().gather(-1, mode))
