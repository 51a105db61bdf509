"""Bounds on R = ΔH + Cov(log π, u) that hold for every policy on n actions and every step u of range D.

Curvature. Along π_t ∝ π e^{tu}, R = ∫₀¹ (1 − t) H''(t) dt, so −a D² ≤ H'' ≤ b D² gives −½ a D² ≤ R ≤ ½ b D².
With D = 1, ℓ = log π_t, Y = (u − E u)², v = E Y ≤ ¼:
    (A) H'' = −E[Y (1 + ℓ + H)] and Jensen under π Y / v:       a = ¼ (1 + log n),     b = ¼ (log 4n − 1);
    (B) −H'' = v + Cov(ℓ, Y) and Jensen on each sign of Y − v:  a = ¼ + c log(n / 4c),  b = c log(n / c),
        where c = max x(1 − x)|1 − 2x| = √3/18 bounds E (Y − v)₊;
    (2) two actions, p = σ(s): H'' = ¼ (s tanh ½s − 1) / cosh² ½s, which is between −¼ and RISE.
Slope. H' = −Cov(ℓ, u), and |Cov(ℓ, u)| ≤ K D: linear in u, it is largest for u the indicator of some actions
S with P = π(S), where E[ℓ|S] ≤ log P and E[ℓ|not S] ≥ log((1 − P)/(n − 1)). So
K = max x(1 − x) log((n − 1) x / (1 − x)), reached at x = σ(s) with (s + log(n − 1)) tanh ½s = 1.
Both ΔH and Cov(ℓ, u) are within K D, and |ΔH| ≤ log n: |R| ≤ K D + min(K D, log n).
The varentropy forms D²(1/8 + √V/4) and D√V are never smaller, and are not computed.
"""

import math

import torch

__all__: list[str] = []

EXCESS = math.sqrt(3) / 18
RISE = 0.08024756189865684
NEWTON_STEPS = 5


def remainder_bounds(actions, step_range):
    """Return (lower, upper), the tightest of the above on each side, rounded outward."""
    n = actions.to(step_range.dtype).clamp(min=2.0)
    slope = _largest_covariance(n) * step_range
    far = slope + torch.minimum(slope, torch.log(n))
    outward = 1 + max(1e-12, 8 * torch.finfo(step_range.dtype).eps)
    lower = torch.minimum(_fall(n) * step_range**2 / 2, far) * outward
    upper = torch.minimum(_rise(n) * step_range**2 / 2, far) * outward
    alone = (actions == 1) & ~step_range.isnan()
    return -lower.masked_fill(alone, 0.0), upper.masked_fill(alone, 0.0)


def _fall(n):
    """Return a: H'' ≥ −a D²."""
    general = torch.minimum((1 + torch.log(n)) / 4, 0.25 + EXCESS * torch.log(n / (4 * EXCESS)))
    return torch.where(n == 2, 0.25, general)


def _rise(n):
    """Return b: H'' ≤ b D²."""
    general = torch.minimum((torch.log(4 * n) - 1) / 4, EXCESS * torch.log(n / EXCESS))
    return torch.where(n == 2, RISE, general)


def _largest_covariance(n):
    """Return K by Newton's method for s; the root is an inflection point, so each step triples the digits."""
    shift = torch.log(n - 1)
    s = 2 / (shift + 1.3)
    for _ in range(NEWTON_STEPS):
        tanh = torch.tanh(s / 2)
        s = s - ((s + shift) * tanh - 1) / (tanh + (s + shift) * (1 - tanh**2) / 2)
    return torch.sigmoid(s) * torch.sigmoid(-s) * (s + shift)
