"""The simple formulas: each moment composed of primitives, as it stands in the book, differentiable at will.

Inputs have one shape and the accumulating type. Small rows take this way; large ones are read once (`_large`)
and come back to it when a graph of the gradient is asked for. The tests hold the two to each other.
"""

import torch

from entropy_core.batched._primitives import (
    Centre,
    CentredLogProbs,
    Entropy,
    LogProbs,
    LogRatio,
    Probs,
    RatioExcess,
    moved,
)

__all__: list[str] = []

SMALL_STEP = 1.0


def log_normaliser(z):
    """Return log Z = max z − log π(mode)."""
    mode = z.argmax(dim=-1, keepdim=True)
    return (z.gather(-1, mode) - LogProbs.apply(z).gather(-1, mode)).squeeze(-1)


def surprise_of(z, pi):
    """Return s = log π + H, and 0 where π is 0: s² may overflow at a logit of −1e38, a common −inf."""
    return torch.where(pi == 0, 0.0, CentredLogProbs.apply(z))


def varentropy(z):
    """Return Var(log π)."""
    pi = Probs.apply(z)
    return (pi * surprise_of(z, pi) ** 2).sum(dim=-1)


def token_log_probs(z, tokens):
    """Return log π of one action a row."""
    return LogProbs.apply(z).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def policy_values(logits, tokens, counted, scale):
    """Return log Z, H, Var(log π) and log π of the tokens under scale · z; 0 in rows that do not count."""
    z = torch.where(counted.unsqueeze(-1), logits.to(torch.promote_types(logits.dtype, torch.float32)), 0.0)
    z = z * scale
    values = log_normaliser(z), Entropy.apply(z), varentropy(z), token_log_probs(z, tokens)
    return tuple(torch.where(counted, x, 0.0) for x in values)


def mean_step(z, u):
    """Return E Δz, shifted by its value at the mode while it is averaged."""
    at_mode = u.gather(-1, z.argmax(dim=-1, keepdim=True))
    return (at_mode - Centre.apply(u, z).gather(-1, z.argmax(dim=-1, keepdim=True))).squeeze(-1)


def covariance(x, y, z):
    """Return Cov(x, y)."""
    return (Probs.apply(z) * Centre.apply(x, z) * Centre.apply(y, z)).sum(dim=-1)


def step_covariance(z, u):
    """Return Cov(log π, Δz)."""
    pi = Probs.apply(z)
    return (pi * surprise_of(z, pi) * Centre.apply(u, z)).sum(dim=-1)


def second_order(z, u):
    """Return −Cov(log π, Δz) − ½ E[(1 + s) c²], s = log π + H and c = Δz − E Δz."""
    pi = Probs.apply(z)
    surprise, step = surprise_of(z, pi), Centre.apply(u, z)
    return -(pi * (surprise * step + (1 + surprise) * step**2 / 2)).sum(dim=-1)


def third_order(z, u):
    """Return the second order less ⅙ (E[(2 + s) c³] − 3 E[s c] E[c²])."""
    pi = Probs.apply(z)
    surprise, step = surprise_of(z, pi), Centre.apply(u, z)
    slope, variance = (pi * surprise * step).sum(dim=-1), (pi * step**2).sum(dim=-1)
    bend = (pi * (1 + surprise) * step**2).sum(dim=-1)
    twist = (pi * (2 + surprise) * step**3).sum(dim=-1) - 3 * slope * variance
    return -(slope + bend / 2 + twist / 6)


def change(z, u):
    """Return H(z + Δz) − H(z): for steps of range at most 1 without subtracting what nearly agrees."""
    is_small, small = _small_part(z, u)
    large = Entropy.apply(moved(z, u)) - Entropy.apply(z)
    t = LogRatio.apply(small, z)
    terms = torch.expm1(t) * CentredLogProbs.apply(z) + RatioExcess.apply(t)
    return torch.where(is_small, -(Probs.apply(z) * terms).sum(dim=-1), large)


def kl_divergence(z, u):
    """Return KL(π‖π') = E_π' χ(−t), t = log(π'/π), for steps of range at most 1; beyond, −E t."""
    is_small, small = _small_part(z, u)
    t = LogRatio.apply(small, z)
    of_small = (Probs.apply(z) * torch.exp(t) * RatioExcess.apply(-t)).sum(dim=-1)
    ratio = LogProbs.apply(z) - LogProbs.apply(moved(z, u))
    of_large = (Probs.apply(z) * torch.where(z == -torch.inf, 0.0, ratio)).sum(dim=-1)
    return torch.where(is_small, of_small, of_large)


def step_range(z, u):
    """Return D = max Δz − min Δz over allowed actions, NaN if that is not a number."""
    forbidden = z == -torch.inf
    highest = u.masked_fill(forbidden, -torch.inf).amax(dim=-1)
    lowest = u.masked_fill(forbidden, torch.inf).amin(dim=-1)
    return torch.where((highest - lowest).isfinite(), highest - lowest, torch.nan)


def _small_part(z, u):
    """Return which rows have a step of range at most 1, and the step with 0 in the other rows."""
    is_small = step_range(z, u) <= SMALL_STEP
    return is_small, torch.where(is_small.unsqueeze(-1), u, 0.0)


STEP_VALUES = (
    mean_step,
    lambda z, u: covariance(u, u, z),
    step_covariance,
    second_order,
    change,
    kl_divergence,
    lambda z, u: Entropy.apply(z),
)
