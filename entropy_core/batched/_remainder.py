"""Bounds on R = ΔH + Cov(log π, u) that hold for every policy on n actions and every step u of range D.

Curvature. Along π_t ∝ π e^{tu}, R = ∫₀¹ (1 − t) H''(t) dt, so −a D² ≤ H'' ≤ b D² gives −½ a D² ≤ R ≤ ½ b D².
With D = 1, u on [0, 1], ℓ = log π_t, m = E u, Y = (u − m)², v = E Y and M = E (Y − v)₊ = E (v − Y)₊:
    −H'' = v + Cov(ℓ, Y). One sign of Y − v is spread over at most n − 1 actions: Jensen. On the other sign no
    action is likelier than the whole sign. What is left is to bound M by v and max(m, 1 − m); the steps are
    written out in entropy_core.reference._remainder and in the chapter beyond-first-order. The result:
    rise: b = max over x of x(1 − x)[(2x − 1) log((n − 1) x/(1 − x)) − 1], sharp;
    fall: a = max over y of ¼(1 − y²)[1 + y log((n − 1)(1 − y)/y)] for n ≥ 3, not sharp; ¼ for n = 2, sharp.
Slope. H' = −Cov(ℓ, u), and |Cov(ℓ, u)| ≤ K D: linear in u, it is largest for u the indicator of some actions
S with P = π(S), where E[ℓ|S] ≤ log P and E[ℓ|not S] ≥ log((1 − P)/(n − 1)). So
K = max x(1 − x) log((n − 1) x / (1 − x)), reached at x = σ(s) with (s + log(n − 1)) tanh ½s = 1.
Both ΔH and Cov(ℓ, u) are within K D, and |ΔH| ≤ log n: |R| ≤ K D + min(K D, log n).
Both maxima are the only ones on their interval, so that Newton's method for the zero of the derivative finds
them. The varentropy forms D²(1/8 + √V/4) and D√V are never smaller, and are not computed.
"""

import math

import torch

__all__: list[str] = []

NEWTON_STEPS = 8


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
    """Return a: H'' ≥ −a D².

    The derivative in y has the sign of λ(1 − 3y²) − 1 − 3y with λ = log((n − 1)(1 − y)/y), which falls where
    y² < ⅓; the start is the root to first order in 1/log n.
    """
    shift = torch.log(n - 1)
    y = math.sqrt(1 / 3) - 0.79 / (shift + 2.6)
    for _ in range(NEWTON_STEPS):
        odds = shift - torch.logit(y)
        slope = -6 * y * odds - (1 - 3 * y**2) / (y * (1 - y)) - 3
        y = y - (odds * (1 - 3 * y**2) - 1 - 3 * y) / slope
    return torch.where(n == 2, 0.25, (1 - y**2) * (1 + y * (shift - torch.logit(y))) / 4)


def _rise(n):
    """Return b: H'' ≤ b D².

    The derivative in x has the sign of 2(2x − 1) − (6x² − 6x + 1) log((n − 1)x/(1 − x)), concave right of the
    zero of the polynomial: Newton's method descends from .95, beyond the root for every n.
    """
    shift = torch.log(n - 1)
    x = torch.full_like(n, 0.95)
    for _ in range(NEWTON_STEPS):
        odds, bend = shift + torch.logit(x), 6 * x * (x - 1) + 1
        slope = 4 - 6 * (2 * x - 1) * odds - bend / (x * (1 - x))
        x = x - (2 * (2 * x - 1) - bend * odds) / slope
    return x * (1 - x) * ((2 * x - 1) * (shift + torch.logit(x)) - 1)


def _largest_covariance(n):
    """Return K by Newton's method for s; the root is an inflection point, so each step triples the digits."""
    shift = torch.log(n - 1)
    s = 2 / (shift + 1.3)
    for _ in range(NEWTON_STEPS):
        tanh = torch.tanh(s / 2)
        s = s - ((s + shift) * tanh - 1) / (tanh + (s + shift) * (1 - tanh**2) / 2)
    return torch.sigmoid(s) * torch.sigmoid(-s) * (s + shift)
