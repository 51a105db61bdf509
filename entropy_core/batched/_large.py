"""Moments of large rows with their derivatives: values from the merged sums, gradients from one number a row.

With a = z − m, S = Σ e^a, τ = E a and s = a − τ = log π + H, at temperature 1,

    ∂ log Z = π,   ∂H = −π s,   ∂Var(log π) = π (s² − Var + 2 s),   ∂ log π_token = e_token − π,

so every gradient is e^a times a polynomial in a whose coefficients are numbers of the row. A row's numbers
are all that is kept besides the logits. Where a graph of the gradient is asked for, and for the gradients of
what a step does, the simple formulas of `_primitives` are differentiated instead.
"""

import torch
from torch.autograd import Function

from entropy_core.batched import _one_read, _simple, _sums
from entropy_core.batched._primitives import Entropy
from entropy_core.batched._validation import of_one_shape, over_actions

__all__: list[str] = []

STEP = (
    "mean",
    "variance",
    "covariance",
    "second_order_entropy_change",
    "entropy_change",
    "kl_divergence",
    "entropy",
)


def policy_values(logits, tokens, counted, scale, gradient_buffer):
    """Return log Z, H, Var(log π) and log π of the tokens, by one read where the logits are many."""
    if _one_read.is_large(logits):
        return Policy.apply(logits, tokens, counted, scale, gradient_buffer)[:4]
    return _simple.policy_values(logits, tokens, counted, scale)


def step_values(logits, delta_logits):
    """Return what STEP names, by one read of both where they are many."""
    shaped = of_one_shape(logits=logits, delta_logits=delta_logits)
    if _one_read.is_large(*shaped):
        return Step.apply(*shaped)
    z, u = over_actions(logits=logits, delta_logits=delta_logits)
    return tuple(formula(z, u) for formula in _simple.STEP_VALUES)


def step_value(name, logits, delta_logits):
    """Return the one value of STEP that is asked for."""
    shaped = of_one_shape(logits=logits, delta_logits=delta_logits)
    if _one_read.is_large(*shaped):
        return Step.apply(*shaped)[STEP.index(name)]
    return _simple.STEP_VALUES[STEP.index(name)](*over_actions(logits=logits, delta_logits=delta_logits))


def entropy_value(logits):
    """Return H; no row leaves out its tokens' log π, which costs one number."""
    if not _one_read.is_large(logits):
        return Entropy.apply(*over_actions(logits=logits))
    tokens = torch.zeros(logits.shape[:-1], dtype=torch.int64, device=logits.device)
    counted = torch.ones((), dtype=torch.bool, device=logits.device).expand(logits.shape[:-1])
    return Policy.apply(logits, tokens, counted, 1.0, None)[1]


def policy_moments_of(sums):
    """Return log Z, H and Var(log π) of the rows."""
    total = 1 + sums.rest
    mean_gap = sums.gap / total
    log_total = torch.log1p(sums.rest)
    return sums.peak + log_total, log_total - mean_gap, sums.gap_gap / total - mean_gap**2


def is_far(sums):
    """Return whether a row's step has so large a range that the state after it must be read.

    Looking at the numbers would make a device's host wait: there each row's kernel looks at its own.
    """
    near = _sums.is_near(sums)
    return near.device.type != "cpu" or not near.all()


def step_moments_of(sums, moved=None):
    """Return E Δz, Var Δz, Cov(log π, Δz), ΔH to second order, ΔH and KL(π‖π') of the rows.

    For a step of range at most `NEAR` the exact change comes from γ = E expm1(v), in which nothing of the
    size of H is subtracted: ΔH = log1p γ − (E v + E a g + E v g − τ γ)/(1 + γ) and KL = log1p γ − E v.
    Beyond, it comes from the state after the step, `moved`.
    """
    total = 1 + sums.policy.rest
    tau, shift = sums.policy.gap / total, sums.shift / total
    covariance = sums.gap_shift / total - tau * shift
    variance = sums.shift_shift / total - shift**2
    third = (
        sums.gap_shift_shift / total - 2 * shift * sums.gap_shift / total + shift**2 * tau - tau * variance
    )
    is_small = _sums.is_near(sums)
    growth, gap_growth, shift_growth = (
        torch.where(is_small, x / total, 0.0) for x in (sums.growth, sums.gap_growth, sums.shift_growth)
    )
    gamma = torch.where(is_small, shift + growth, 0.0)
    small_change = torch.log1p(gamma) - (shift + gap_growth + shift_growth - tau * gamma) / (1 + gamma)
    change, divergence = small_change, torch.log1p(gamma) - shift
    if moved is not None:
        ratio = moved.peak + torch.log1p(moved.rest) - torch.log1p(sums.policy.rest)
        after = policy_moments_of(moved)[1] - policy_moments_of(sums.policy)[1]
        change = torch.where(is_small, change, after)
        divergence = torch.where(is_small, divergence, ratio - shift)
    return (
        sums.origin + shift,
        variance,
        covariance,
        -covariance - (variance + third) / 2,
        change,
        divergence,
    )


def policy_values_of(sums, at_token, counted, dtype):
    """Return log Z, H, Var(log π) and log π of the tokens, 0 in rows that do not count."""
    values = *policy_moments_of(sums), at_token - torch.log1p(sums.rest)
    return tuple(torch.where(counted, x, 0.0).to(dtype) for x in values)


def room_for_gradient(logits, buffer):
    """Return the buffer, or fresh contiguous memory: rows are written one after another."""
    return torch.empty_like(logits, memory_format=torch.contiguous_format) if buffer is None else buffer


class Policy(Function):
    """log Z, H, Var(log π) and log π of one token a row, of scale · z; then what the gradient needs."""

    @staticmethod
    def forward(logits, tokens, counted, scale, gradient_buffer):
        """Read the logits once; rows that do not count give 0."""
        sums = _one_read.policy_sums(logits, scale)
        at_token = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).double() * scale - sums.peak
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return *policy_values_of(sums, at_token, counted, dtype), at_token, *sums

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the logits and one number a row of each sum."""
        logits, tokens, counted, ctx.scale, ctx.buffer = inputs
        ctx.save_for_backward(logits, tokens, counted, *output[4:])
        ctx.mark_non_differentiable(*output[4:])

    @staticmethod
    def backward(ctx, *gradients):
        """Write the gradient in one pass over the logits; the token's own entry again, without 1 − π."""
        logits, tokens, counted, at_token, *sums = ctx.saved_tensors
        gradients = gradients[:4]
        if torch.is_grad_enabled():
            values = _simple.policy_values(logits, tokens, counted, ctx.scale)
            return torch.autograd.grad(values, logits, gradients, create_graph=True)[0], *[None] * 4
        sums = _sums.PolicySums(*sums)
        coefficients, own = policy_pullback(gradients, sums, at_token, counted, ctx.scale)
        out = room_for_gradient(logits, ctx.buffer)
        _one_read.write_pullback(logits, ctx.scale, sums.peak, coefficients, counted, out)
        return write_at_tokens(out, tokens, 0, own), *[None] * 4


def policy_pullback(gradients, sums, at_token, counted, scale):
    """Return the polynomial in a that multiplies e^a, and the token's own entry made without 1 − π."""
    (level, slope, bend), away = _coefficients(gradients, sums, scale)
    weight = torch.exp(at_token)
    others = torch.where(at_token == 0, sums.rest, 1 + sums.rest - weight)
    own = away * others + weight * (level + slope * at_token + bend * at_token**2)
    return (level - away, slope, bend), torch.where(counted & (weight > 0), own, 0.0)


def _coefficients(gradients, sums, scale):
    """Return the polynomial in a that multiplies e^a, and the factor of −e^a that the tokens bring."""
    to_normaliser, to_entropy, to_varentropy, to_token = (g.double() for g in gradients)
    total = 1 + sums.rest
    tau = sums.gap / total
    variance = sums.gap_gap / total - tau**2
    level = to_normaliser + to_entropy * tau + to_varentropy * (tau**2 - variance - 2 * tau)
    slope = to_varentropy * (2 - 2 * tau) - to_entropy
    unit = scale / total
    return (level * unit, slope * unit, to_varentropy * unit), to_token * unit


def at_tokens(logits, tokens, first):
    """Return in float64 the logit of each row's token; −inf where the actions from `first` hold it not."""
    index, is_here = _place(tokens, first, logits.shape[-1])
    return torch.where(is_here, logits.gather(-1, index).double(), -torch.inf).squeeze(-1)


def write_at_tokens(out, tokens, first, own):
    """Write one number a row at its token where the actions from `first` hold it; return `out`."""
    index, is_here = _place(tokens, first, out.shape[-1])
    written = torch.where(is_here, own.unsqueeze(-1).to(out.dtype), out.gather(-1, index))
    rows, index, written = out.view(-1, out.shape[-1]), index.flatten(), written.flatten()
    # not scatter_, which makes a float32 copy of all of a bfloat16 tensor
    rows.index_put_((torch.arange(len(rows), device=out.device), index), written)
    return out


def _place(tokens, first, actions):
    """Return the tokens' places among the actions from `first`, and whether they are there."""
    place = tokens.unsqueeze(-1) - first
    return place.clamp(0, actions - 1), (place >= 0) & (place < actions)


class Step(Function):
    """The six values of `step_values` and H of the rows."""

    @staticmethod
    def forward(logits, delta_logits):
        """Read both once; again for what a step of large range does."""
        sums = _one_read.step_sums(logits, delta_logits)
        moved = _one_read.moved_sums(logits, delta_logits, sums) if is_far(sums) else None
        values = *step_moments_of(sums, moved), policy_moments_of(sums.policy)[1]
        dtype = torch.promote_types(torch.promote_types(logits.dtype, delta_logits.dtype), torch.float32)
        return tuple(x.to(dtype) for x in values)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep both; an output that nobody uses sends no gradient and costs nothing."""
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, *gradients):
        """Differentiate the simple formulas of the outputs that were used."""
        used = [(f, g) for f, g in zip(_simple.STEP_VALUES, gradients, strict=True) if g is not None]
        if not used:
            return None, None
        graph, needed = torch.is_grad_enabled(), ctx.needs_input_grad
        with torch.enable_grad():
            leaves = [
                x if graph else x.detach().requires_grad_(n)
                for x, n in zip(ctx.saved_tensors, needed, strict=True)
            ]
            z, u = (x.to(used[0][1].dtype).contiguous() for x in leaves)
            values = [formula(z, u) for formula, _ in used]
        inputs = [x for x, n in zip(leaves, needed, strict=True) if n]
        found = torch.autograd.grad(
            values, inputs, [g for _, g in used], create_graph=graph, allow_unused=True
        )
        found = iter(found)
        return tuple(next(found) if n else None for n in needed)
