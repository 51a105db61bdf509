"""Bounds on R = ΔH + Cov(log π, Δz) from the number n of actions and D = max Δz − min Δz alone.

Along π_t ∝ π e^{tΔz}, 0 ≤ t ≤ 1, Taylor's formula gives R = ∫₀¹ (1 − t) H''(t) dt with
−H'' = v + Cov_t(ℓ_t, Y), where ℓ_t = log π_t, Y = (Δz − E_t Δz)² and v = E_t Y = Var_t Δz.
If −a D² ≤ H'' ≤ b D² for every policy on n actions, then −½ a D² ≤ R ≤ ½ b D². The proofs below scale D to 1.

Proved by machine, in entropy_core.symbolic: the equalities. Proved by hand, here: the inequalities.
The form |R| ≤ D² (1/8 + √V_n/4) with V_n the largest varentropy is never the smallest, and is not computed.
"""

import numpy as np

__all__ = ["covariance_limit", "curvature_down", "curvature_up", "remainder_bounds"]

LARGEST_EXCESS = np.sqrt(3) / 18
TWO_ACTIONS_UP = 0.08024756189865684
OUTWARD = 1e-12


def remainder_bounds(actions, step_range):
    """Return the tightest known (lower, upper) on R, rounded outward; both 0 for one action.

    The linear bound serves large steps: R = ΔH + Cov and |Cov| ≤ D W_n, while |ΔH| ≤ log n, since entropies
    lie between 0 and log n, and |ΔH| = |∫₀¹ Cov_t(ℓ_t, Δz) dt| ≤ D W_n.
    """
    n = np.maximum(actions, 2).astype(np.float64)
    covariance = step_range * covariance_limit(n)
    linear = covariance + np.minimum(covariance, np.log(n))
    down = np.minimum(step_range**2 / 2 * curvature_down(n), linear) * (1 + OUTWARD)
    up = np.minimum(step_range**2 / 2 * curvature_up(n), linear) * (1 + OUTWARD)
    alone = actions == 1
    return np.where(alone, 0.0, 0.0 - down), np.where(alone, 0.0, up)


def curvature_down(n):
    """Return the bound on −H'' at D = 1: ¼ for two actions (sharp), else ¼ + c log(n / 4c) with c = √3/18.

    Two actions, x = π_t of the one that gains: −H'' = x(1 − x)[1 − (1 − 2x) log((1 − x)/x)], and the product
    after the minus sign is ≥ 0.

    More: v ≤ ¼ (Popoviciu). With M = E(Y − v)₊ = E(v − Y)₊ and ℓ ≤ 0,
    Cov(ℓ, Y) = E[(v − Y)₊(−ℓ)] − E[(Y − v)₊(−ℓ)] ≤ E[(v − Y)₊(−ℓ)]. Under q ∝ π(v − Y)₊ this is
    M E_q[−log π] = M (E_q log((v − Y)₊/M) + H(q)) ≤ M log(n/4M), since v − Y ≤ ¼ and H(q) ≤ log n. It
    increases up to M = n/4e, and M ≤ c by `largest_excess`.
    """
    excess = LARGEST_EXCESS
    return np.where(n == 2, 0.25, 0.25 + excess * np.log(n / (4 * excess)))


def curvature_up(n):
    """Return the bound on H'' at D = 1: .0802 for two actions (sharp), else c log(n / c) with c = √3/18.

    Two actions: H'' = x(1 − x)[(1 − 2x) log((1 − x)/x) − 1] with its maximum over x at x = .0628.

    More: H'' = −v − Cov(ℓ, Y) ≤ E[(Y − v)₊(−ℓ)] ≤ M log(n/M) as in `curvature_down`, now with Y − v ≤ 1; it
    increases up to M = n/e, and M ≤ c.
    """
    return np.where(n == 2, TWO_ACTIONS_UP, LARGEST_EXCESS * np.log(n / LARGEST_EXCESS))


def largest_excess():
    """Return c = √3/18, above E(Y − v)₊ for every u on [0, 1], with m = E u, Y = (u − m)², v = E Y.

    Let k = max(m, 1 − m); by reflection k = 1 − m, so d = u − m lies in [k − 1, k]. For any δ ≥ 0 and
    α = (k² − v)/(k + δ)², if α(d + δ)² ≥ d² − v on [k − 1, k] then M ≤ α E(d + δ)² = α(v + δ²). The two sides
    differ by a concave function of d that is 0 at d = k, so only d = k − 1 needs a look.
    δ = 0 always serves: M ≤ v(1 − v/k²).
    δ = v/k serves if v(4k − 1) ≥ k²(3 − 4k): then M ≤ v(k² − v)/(k² + v), which increases in k, and
    v ≤ k(1 − k) gives M ≤ v √(1 − 4v) ≤ √3/18 (at v = 1/6).
    Else k < ¾ and v < ρk² with ρ = (3 − 4k)/(4k − 1). For k ≤ 7/12 the first gives M ≤ k²/4 ≤ .0851; beyond,
    ρ < ½ and M ≤ k²ρ(1 − ρ), at most .0885. Both are below √3/18 = .0962, which u ∈ {0, 1} attains.
    """
    return LARGEST_EXCESS


def covariance_limit(n):
    """Return W_n = max over x of x(1 − x) log(x(n − 1)/(1 − x)), the largest |Cov(log π, u)| at D = 1.

    Cov is linear in u, so u is 1 on a set S and 0 off it: Cov = x(1 − x)(E[ℓ|S] − E[ℓ|not S]) with x = π(S).
    E[ℓ|S] ≤ log x, and E[ℓ|not S] = log(1 − x) minus an entropy of at most n − 1 actions. For −Cov exchange
    the sets. Attained by one likely action and n − 1 equal others.

    At x = 1/(1 + e^{−y}) the maximum solves (y + log(n − 1)) tanh(y/2) = 1. The left side increases in y and
    exceeds 1 at y = 2, so bisection finds it; an error in y enters W_n squared.
    """
    low, high = np.zeros_like(n), np.full_like(n, 2.0)
    for _ in range(40):
        middle = (low + high) / 2
        beyond = (middle + np.log(n - 1)) * np.tanh(middle / 2) > 1
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return (low + np.log(n - 1)) / (4 * np.cosh(low / 2) ** 2)
