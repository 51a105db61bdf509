"""Policies and steps on which layers are compared: each name says what is hard about it.

Everything is a function of a fixed seed. `policies(n)` are for n actions; `hard_policies` come as they are.
"""

import numpy as np

NEVER = -np.inf
SIZES = (1, 2, 3, 17, 1000)


def policies(n):
    """Yield (name, logits) of n actions."""
    rng = np.random.default_rng(n)
    gaussian = rng.standard_normal(n)
    yield "uniform", np.full(n, 0.3)
    yield "near uniform", 1e-9 * gaussian
    yield "one ulp from uniform", np.where(np.arange(n) == 0, np.nextafter(1.0, 2.0), 1.0)
    yield "moderate", gaussian
    yield "peaked", 20 * gaussian
    yield "gap 700", np.linspace(0.0, -700.0, n)
    yield "one against the rest", np.where(np.arange(n) == n // 2, 40.0, 0.0)
    yield "two clusters", np.where(np.arange(n) % 2 == 0, 0.0, -1.0) + 1e-7 * gaussian
    yield "offset 1e4", 1e4 + gaussian
    yield "offset -1e4", -1e4 + 20 * gaussian
    yield "every third forbidden", np.where(np.arange(n) % 3 == 2, NEVER, 3 * gaussian)
    yield "all but one forbidden", np.where(np.arange(n) == n - 1, 5.0, NEVER)


def hard_policies():
    """Yield (name, logits) where textbook forms lose all digits or the collapse is nearly complete."""
    yield "40 and 80 below", np.array([0.0, -40.0, -80.0])
    yield "700 below", np.array([0.0, -700.0])
    yield "700 below, offset 1e4", np.array([1e4, 1e4 - 700.0, 1e4 - 699.9])
    yield "tie at the top, rest 600 below", np.array([0.0, -600.0, 0.0, -601.0])
    yield "37 below, where 1 + e^z rounds to 1", np.array([0.0, -37.0, -38.0, NEVER])
    yield "at the sign change of 1 + log p + H", np.log([0.5, 0.4, 0.1])


def steps(logits):
    """Yield (name, delta_logits) with max − min at most 1 over the allowed actions."""
    n = logits.size
    rng = np.random.default_rng(n + 1)
    gaussian = rng.standard_normal(n)
    within = gaussian / max(np.ptp(gaussian), 1e-300)
    rarest = np.where(np.arange(n) == logits.argmin(), 1.0, 0.0)
    yield "1e-12", 1e-12 * within
    yield "range 1", within * (1 - 1e-12)
    if n > 17:  # the oracle is dear: .1 s for each number at n = 1000
        return
    yield "1e-5", 1e-5 * within
    yield "offset 1e4", 1e4 + 0.5 * within
    yield "the rarest action only", rarest
    yield "temperature", -1e-3 * np.where(np.isfinite(logits), logits, 0.0) / 700
    yield "constant", np.full(n, -3.3)


def large_steps(logits):
    """Yield (name, delta_logits) with max − min above 1, up to where the policy turns over."""
    n = logits.size
    gaussian = np.random.default_rng(n + 2).standard_normal(n)
    yield "range 2", 2.0 * gaussian / max(np.ptp(gaussian), 1e-300)
    if n > 17:
        return
    yield "range 300, offset 1e4", 1e4 + 300.0 * gaussian / max(np.ptp(gaussian), 1e-300)
    yield "the policy turned over", -2.0 * np.where(np.isfinite(logits), logits, 0.0)
    yield "3000 to every second action", np.where(np.arange(n) % 2 == 1, 3000.0, 0.0) + gaussian


def quantities(logits):
    """Yield (name, x, y) for a covariance: offsets, a rare outlier, equal and opposite quantities."""
    n = logits.size
    rng = np.random.default_rng(n + 3)
    x, y = rng.standard_normal((2, n))
    outlier = np.where(np.arange(n) == logits.argmin(), 1e12, x)
    yield "gaussian", x, y
    yield "both offset", 1e4 + x, -1e6 + y
    if n > 17:
        return
    yield "rare outlier", outlier, y
    yield "rare outlier twice", outlier, outlier
    yield "spread 1e-9 on offset 1", 1.0 + 1e-9 * x, y
    yield "constant", np.full(n, 0.1), y
