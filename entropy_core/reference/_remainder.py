"""Bounds on R = ΔH + Cov(log π, Δz) from the number n of actions and D = max Δz − min Δz alone.

Along π_t ∝ π e^{tΔz}, 0 ≤ t ≤ 1, Taylor's formula gives R = ∫₀¹ (1 − t) H''(t) dt with
−H'' = v + Cov_t(ℓ_t, Y), where ℓ_t = log π_t, Y = (Δz − E_t Δz)² and v = E_t Y = Var_t Δz.
If −a D² ≤ H'' ≤ b D² for every policy on n actions, then −½ a D² ≤ R ≤ ½ b D². The proofs below scale D to 1.

Proved by machine, in entropy_core.symbolic: the equalities. Proved by hand, here: the inequalities.
The form |R| ≤ D² (1/8 + √V_n/4) with V_n the largest varentropy is never the smallest, and is not computed.
"""

import numpy as np

__all__ = ["covariance_limit", "curvature_down", "curvature_up", "excess_share", "remainder_bounds"]

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


def curvature_up(n):
    """Return b_n = max over x of x(1 − x)[(2x − 1) log(x(n − 1)/(1 − x)) − 1], the largest H'' at D = 1.

    Attained by one action of probability x with u = 1 against n − 1 equal ones with u = 0: b_n is sharp.

    Let p = P(Y > v), M = E(Y − v)₊ = E(v − Y)₊, k = max(m, 1 − m) for m = E u, s = v/k². Since
    H'' = −v + E[(Y − v)₊(−ℓ)] − E[(v − Y)₊(−ℓ)] and actions with Y < v have π ≤ 1 − p, the last expectation
    is at least −M log(1 − p). Under q ∝ π(Y − v)₊ the one before is M (H(q) + E_q log((Y − v)/M)), at most
    M log((n − 1)(k² − v)/M): some action has Y < v. With r = M/(k² − v) ≤ p, and N = log(n − 1),
    H'' ≤ k²[−s + (1 − s) g(r)], g(r) = r (N + log((1 − r)/r)).

    `excess_share` bounds r by e. If g still increases at e, then g(r) ≤ g(e). If not, g(r) ≤ r°/(1 − r°) at
    the maximum r° ≤ e of g, and H'' ≤ 0 follows for either e below.
    e = s/(1 + s): with x = 1/(1 + s) ≥ k, as v ≤ k(1 − k), the bound is k²/x² ≤ 1 times the bracket of b_n.
    Else e = s and k ≤ K = (3 + s)/(4 + 4s): H'' ≤ K²s [(1 − s)(N + log((1 − s)/s)) − 1], linear in N with
    slope K²s(1 − s) ≤ .0888 < .0892, that of x(1 − x)[…] at x = .85. At n = 3 the former is at most .081,
    the latter .0891, so b_n is larger for n ≥ 3. At n = 2 the former is at most .052, and b_2 = .0802.
    """
    low, high = np.full_like(n, 0.5 + np.sqrt(3) / 6), np.ones_like(n)
    for _ in range(60):
        middle = (low + high) / 2
        # d/dx has the sign of 2(2x − 1) − (6x² − 6x + 1) log(x(n − 1)/(1 − x)): one root between the ends.
        odds = np.log(n - 1) + np.log(middle) - np.log1p(-middle)
        beyond = (6 * middle * (middle - 1) + 1) * odds > 2 * (2 * middle - 1)
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return low * (1 - low) * ((2 * low - 1) * (np.log(n - 1) + np.log(low / (1 - low))) - 1)


def curvature_down(n):
    """Return the bound on −H'' at D = 1: ¼ for two actions (sharp), else a_n as below.

    Two actions, x = π_t of the one that gains: −H'' = x(1 − x)[1 − (1 − 2x) log((1 − x)/x)], and the product
    after the minus sign is ≥ 0.

    More: a_n = max over y of ¼(1 − y²)[1 + g(y)], g as in `curvature_up`. As there, with the two parts
    exchanged, p = P(Y < v), v − Y ≤ v and r = M/v ≤ p: −H'' ≤ v[1 + g(r)]. That is at most a_n, or negative,
    wherever v ≤ ¼(1 − r²). By `excess_share` one of three cases holds.
    r ≤ (1 − s)/(1 + s): then v = s k² ≤ s/(1 + s)² is enough, as v ≤ k(1 − k).
    r ≤ 1 − s, k ≤ K and s ≥ .1754: then v ≤ s K² ≤ ¼(1 − (1 − s)²) is enough, and holds because
    4(2 − s)(1 + s)² − (3 + s)² = (1 − s)(4s² + 5s − 1).
    k ≤ K and s ≤ .1754: then v ≤ .0801 and v[1 + g(r)] ≤ .0801(1 + N + .28), while a_n is above
    .1366 + .0962 N, its bracket at y = 1/√3.
    """
    low, high = np.zeros_like(n), np.full_like(n, 1 / np.sqrt(3))
    for _ in range(60):
        middle = (low + high) / 2
        # d/dy has the sign of λ(1 − 3y²) − 1 − 3y, λ = log((n − 1)(1 − y)/y): one root between the ends.
        rising = (np.log((n - 1) * (1 - middle) / middle)) * (1 - 3 * middle**2) > 1 + 3 * middle
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    general = (1 - low**2) / 4 * (1 + low * np.log((n - 1) * (1 - high) / high))
    return np.where(n == 2, 0.25, general)


def excess_share(s, k):
    """Return e with M/(k² − v) ≤ e for every u on [0, 1]: s/(1 + s) if k ≥ (3 + s)/(4 + 4s), else s = v/k².

    By reflection k = 1 − m, so d = u − m lies in [k − 1, k]. For any δ ≥ 0 and α = (k² − v)/(k + δ)² ≤ 1, if
    α(d + δ)² ≥ d² − v on [k − 1, k] then M ≤ α E(d + δ)² = α(v + δ²). The two sides differ by a concave
    function of d that is 0 at d = k, so only d = k − 1 needs a look.
    δ = 0 always serves: there the difference is v(1 − (1 − k)²/k²), and M ≤ (k² − v) v/k².
    δ = v/k: there it is s(4k(1 + s) − 3 − s)/(1 + s)², and M ≤ (k² − v) v/(k² + v).
    """
    return np.where(4 * k * (1 + s) >= 3 + s, s / (1 + s), s)


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
