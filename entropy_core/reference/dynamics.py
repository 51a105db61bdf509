"""How a step of the logits changes the entropy of one state: exactly, to first and second order, in bounds.

Along π_t ∝ π e^{tΔz} the entropy obeys H' = −Cov_t(log π_t, Δz) and
H'' = −E_t[(1 + log π_t + H_t)(Δz − E_t Δz)²]. Each function reads one of these at t = 0, or integrates it.
Since log π + H = z − E z, the logits themselves stand in for log π in every covariance.
"""

from math import factorial

import numpy as np

from entropy_core._shapes import Float, Real
from entropy_core.reference._moments import centred, expectation, per_row, softmax_weights
from entropy_core.reference._remainder import remainder_bounds
from entropy_core.reference._validation import allowed_actions, over_actions, read_logits
from entropy_core.reference.softmax import covariance_over_actions, entropy, log_probs

__all__ = [
    "entropy_change",
    "entropy_change_bound",
    "entropy_gradient",
    "first_order_entropy_change",
    "kl_divergence",
    "second_order_entropy_change",
    "third_order_entropy_change",
]


def entropy_gradient(logits: Real[np.ndarray, "*batch actions"]) -> Float[np.ndarray, "*batch actions"]:
    """Gradient of the entropy in the logits.

    ∂H/∂z_a = −π_a (log π_a + H) = −π_a (z_a − E z)

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.

    Returns:
        ∂H/∂z, shaped like logits, nats per nat, summing to 0 over the last axis; negative at actions more
        likely than e^{−H}; 0 at forbidden actions, for one allowed action and at the uniform policy.

    Raises:
        TypeError: logits are not real numbers that float64 holds.
        ValueError: logits hold NaN or +inf, allow no action, or have no action axis.

    Numerics:
        Error ≤ 1e-12 × max|∂H/∂z|, near collapse and near uniform too. Held for 1 to 1e5 actions, gaps up to
        700 and offsets of ±1e4 by tests/agreement/test_reference_oracle.py.

    Source: claim `entropy-gradient-logits`, chapter entropy-covariance-identity; [cui2025entropy, Lemma 1].

    Example:
        >>> entropy_gradient(np.log([0.7, 0.2, 0.1])).round(4)
        array([-0.3116,  0.1615,  0.1501])
    """
    logits = read_logits(logits)
    weights = softmax_weights(logits)
    probs = weights / weights.sum(axis=-1, keepdims=True)
    return 0.0 - probs * centred(np.where(allowed_actions(logits), logits, 0.0), weights)


def first_order_entropy_change(
    logits: Real[np.ndarray, "*#batch actions"], delta_logits: Real[np.ndarray, "*#batch actions"]
) -> Float[np.ndarray | np.float64, "*batch"]:
    """Entropy change to first order in the step of the logits.

    −Cov(log π, Δz) = −Cov(z, Δz)

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant
            cancels.

    Returns:
        Predicted ΔH in nats, one value per broadcast row; negative where the step favours likely actions; 0
        at the uniform policy.

    Raises:
        TypeError: an argument is not an array of real numbers that float64 holds.
        ValueError: logits are not a policy, delta_logits is not finite at an allowed action, or shapes do not
            fit.

    Numerics:
        Error ≤ 2e-12 × Σπ|log π + H||Δz − E Δz|. Held by tests/agreement/test_reference_oracle.py.

    Source: claim `entropy-lemma`, chapter entropy-covariance-identity; [cui2025entropy, Lemma 1],
        [liu2025note].

    Example:
        >>> float(first_order_entropy_change(np.log([0.7, 0.2, 0.1]), np.array([0.1, 0.0, 0.0])).round(4))
        -0.0312
    """
    logits, delta_logits = over_actions(logits, delta_logits=delta_logits)
    finite = np.where(allowed_actions(logits), logits, 0.0)
    return 0.0 - covariance_over_actions(finite, delta_logits, logits)


def second_order_entropy_change(
    logits: Real[np.ndarray, "*#batch actions"], delta_logits: Real[np.ndarray, "*#batch actions"]
) -> Float[np.ndarray | np.float64, "*batch"]:
    """Entropy change up to second order in the step of the logits, first order included.

    −Cov(log π, Δz) − ½ E[(1 + log π + H)(Δz − E Δz)²]

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant
            cancels.

    Returns:
        Predicted ΔH in nats, one value per broadcast row, of either sign; −½ Var Δz at the uniform policy.

    Raises:
        TypeError: an argument is not an array of real numbers that float64 holds.
        ValueError: logits are not a policy, delta_logits is not finite at an allowed action, or shapes do not
            fit.

    Numerics:
        Error ≤ 2e-12 × Σπ|log π + H||Δz − E Δz| + 2e-12 × ½ Σπ|1 + log π + H|(Δz − E Δz)². Held by
        tests/agreement/test_reference_oracle.py.

    Source: claim `lemma-second-order`, chapter entropy-covariance-identity.

    Example:
        >>> float(second_order_entropy_change(np.zeros(2), np.array([0.2, 0.0])).round(6))
        -0.005
    """
    logits, delta_logits = over_actions(logits, delta_logits=delta_logits)
    weights = softmax_weights(logits)
    score = centred(np.where(allowed_actions(logits), logits, 0.0), weights)
    step = centred(delta_logits, weights)
    return 0.0 - per_row(expectation(score * step + 0.5 * (1.0 + score) * step**2, weights))


def third_order_entropy_change(
    logits: Real[np.ndarray, "*#batch actions"], delta_logits: Real[np.ndarray, "*#batch actions"]
) -> Float[np.ndarray | np.float64, "*batch"]:
    """Entropy change up to third order in the step of the logits, lower orders included.

    −Cov(log π, Δz) − ½ E[(1 + s) c²] − ⅙ (E[(2 + s) c³] − 3 E[s c] E[c²]), s = log π + H, c = Δz − E Δz

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant
            cancels.

    Returns:
        Predicted ΔH in nats, one value per broadcast row, of either sign; −½ Var Δz − ⅓ E(Δz − E Δz)³ at the
        uniform policy.

    Raises:
        TypeError: an argument is not an array of real numbers that float64 holds.
        ValueError: logits are not a policy, delta_logits is not finite at an allowed action, or shapes do not
            fit.

    Numerics:
        Error ≤ 2e-12 × Σπ|s c| + 2e-12 × ½ Σπ|1 + s|c² + 2e-12 × ⅙ (Σπ|2 + s||c|³ + 3 Σπ|s c| Σπc²). Held by
        tests/agreement/test_reference_oracle.py.

    Source: claim `all-orders`, chapter beyond-first-order.

    Example:
        >>> z, u = np.log([0.7, 0.2, 0.1]), np.array([0.5, 0.0, 0.0])
        >>> predictions = second_order_entropy_change(z, u), third_order_entropy_change(z, u)
        >>> np.round([*predictions, entropy_change(z, u)], 4)
        array([-0.1665, -0.1613, -0.1615])
    """
    logits, delta_logits = over_actions(logits, delta_logits=delta_logits)
    weights = softmax_weights(logits)
    score = centred(np.where(allowed_actions(logits), logits, 0.0), weights)
    step = centred(delta_logits, weights)
    slope, variance = expectation(score * step, weights), expectation(step**2, weights)
    bend = expectation((1.0 + score) * step**2, weights)
    twist = expectation((2.0 + score) * step**3, weights) - 3.0 * slope * variance
    return 0.0 - per_row(slope + bend / 2 + twist / 6)


def entropy_change(
    logits: Real[np.ndarray, "*#batch actions"], delta_logits: Real[np.ndarray, "*#batch actions"]
) -> Float[np.ndarray | np.float64, "*batch"]:
    """Exact change of the entropy when the logits take a finite step.

    ΔH = H(z + Δz) − H(z) = −Cov(π'/π, log π) − KL(π'‖π), with π' = softmax(z + Δz)

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant
            cancels.

    Returns:
        ΔH in nats, one value per broadcast row, of either sign; exactly 0 for a constant step.

    Raises:
        TypeError: an argument is not an array of real numbers that float64 holds.
        ValueError: logits are not a policy, delta_logits is not finite at an allowed action, or shapes do not
            fit.

    Numerics:
        Where max Δz − min Δz ≤ 1 the second form is used, with no difference of entropies, and the error is
        ≤ 1e-12 × (Σπ|log π + H||Δz − E Δz| + ½ Σπ|1 + log π + H|(Δz − E Δz)²), however small the step.
        Beyond, the two entropies are subtracted: error ≤ 1e-12 × (H + H'). Held by
        tests/agreement/test_reference_oracle.py.

    Source: claim `exact-entropy-change`, chapter entropy-covariance-identity.

    Example:
        >>> float(entropy_change(np.log([0.7, 0.2, 0.1]), np.array([0.1, 0.0, 0.0])).round(4))
        -0.0315
    """
    logits, delta_logits = over_actions(logits, delta_logits=delta_logits)
    small = _range_over_allowed(logits, delta_logits) <= 1.0
    by_divergence = _change_of_small_step(logits, np.where(small, delta_logits, 0.0))
    by_entropies = entropy(_moved(logits, delta_logits)) - entropy(logits)
    return np.where(small[..., 0], by_divergence, by_entropies)[()]


def entropy_change_bound(
    logits: Real[np.ndarray, "*#batch actions"], delta_logits: Real[np.ndarray, "*#batch actions"]
) -> tuple[Float[np.ndarray | np.float64, "*batch"], Float[np.ndarray | np.float64, "*batch"]]:
    """Proved bounds on what the first order misses of the entropy change.

    lower ≤ ΔH + Cov(log π, Δz) ≤ upper

    Only the number n of allowed actions and D = max Δz − min Δz over them enter: the bounds hold for every
    policy on n actions and every step of that range. Each side is the smallest of the bounds that
    `entropy_core.reference._remainder` proves.

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant
            cancels.

    Returns:
        (lower, upper) on entropy_change − first_order_entropy_change in nats, one value each per broadcast
        row; lower ≤ 0 ≤ upper; both 0 for one allowed action or a constant step; of order D² for small steps,
        D for large ones.

    Raises:
        TypeError: an argument is not an array of real numbers that float64 holds.
        ValueError: logits are not a policy, delta_logits is not finite at an allowed action, or shapes do not
            fit.

    Numerics:
        Rounded outward by 1e-12 of the bound. Attacked with random and optimised policies in
        tests/laws/test_reference_laws.py.

    Source: claims `curvature-up-sharp` and `curvature-down-bound`, chapter beyond-first-order.

    Example:
        >>> lower, upper = entropy_change_bound(np.zeros(2), np.array([0.2, 0.0]))
        >>> print(f"{lower:.4f} {upper:.4f}")
        -0.0050 0.0016
    """
    logits, delta_logits = over_actions(logits, delta_logits=delta_logits)
    actions = allowed_actions(logits).sum(axis=-1, keepdims=True)
    lower, upper = remainder_bounds(actions, _range_over_allowed(logits, delta_logits))
    return per_row(lower), per_row(upper)


def kl_divergence(
    logits: Real[np.ndarray, "*#batch actions"], delta_logits: Real[np.ndarray, "*#batch actions"]
) -> Float[np.ndarray | np.float64, "*batch"]:
    """Kullback–Leibler divergence from the policy before a step to the policy after it.

    KL(π‖π') = Σ_a π_a log(π_a / π'_a) = log E_π e^Δz − E_π Δz

    Args:
        logits: z before the step, in nats, shape [..., actions]; −inf forbids an action; a common constant
            cancels.
        delta_logits: Δz in nats, finite at allowed actions, ignored at forbidden ones; a constant cancels.

    Returns:
        KL(π‖π') in nats, one value per broadcast row, ≥ 0; exactly 0 for a constant step.

    Raises:
        TypeError: an argument is not an array of real numbers that float64 holds.
        ValueError: logits are not a policy, delta_logits is not finite at an allowed action, or shapes do not
            fit.

    Numerics:
        Where max Δz − min Δz ≤ 1 a sum of terms ≥ 0: relative error ≤ 1e-12, however small the step. Beyond,
        error ≤ 1e-12 × Σπ|log π' − log π|. Held by tests/agreement/test_reference_oracle.py.

    Source: claim `exact-entropy-change`, chapter entropy-covariance-identity; [cover2006elements].

    Example:
        >>> float(kl_divergence(np.zeros(2), np.array([0.1, 0.0])).round(6))
        0.001249
    """
    logits, delta_logits = over_actions(logits, delta_logits=delta_logits)
    small = _range_over_allowed(logits, delta_logits) <= 1.0
    weights = softmax_weights(logits)
    log_ratio = _log_ratio(logits, np.where(small, delta_logits, 0.0))
    of_small = expectation(_power_series(log_ratio, _EXP_BEYOND_LINEAR), weights)  # E e^log_ratio = 1
    allowed = allowed_actions(logits)
    before, after = (np.where(allowed, log_probs(z), 0.0) for z in (logits, _moved(logits, delta_logits)))
    return per_row(np.where(small, of_small, expectation(before - after, weights)))


def _change_of_small_step(logits, delta_logits):
    """Return −E[(w − 1)(log π + H)] − E[w log w − w + 1] with w = π'/π."""
    weights = softmax_weights(logits)
    score = centred(np.where(allowed_actions(logits), logits, 0.0), weights)
    log_ratio = _log_ratio(logits, delta_logits)
    divergence = _power_series(log_ratio, _RATIO_DIVERGENCE)
    return 0.0 - per_row(expectation(np.expm1(log_ratio) * score + divergence, weights))


def _log_ratio(logits, delta_logits):
    """Return log(π'/π) for steps of range at most 1, 0 less a constant at forbidden actions."""
    weights = softmax_weights(logits)
    step = np.where(allowed_actions(logits), centred(delta_logits, weights), 0.0)
    # E step = 0, so log E e^step = log1p(E[e^step − 1 − step]): a sum of terms ≥ 0.
    return step - np.log1p(expectation(_power_series(step, _EXP_BEYOND_LINEAR), weights))


# Σ_k c_k t^k for k ≥ 2. At |t| ≤ 1 the first term left out is below 1e-20 of the sum.
_EXP_BEYOND_LINEAR = [1 / factorial(k) for k in range(2, 24)]  # e^t − 1 − t
_RATIO_DIVERGENCE = [(k - 1) / factorial(k) for k in range(2, 24)]  # w log w − w + 1 at w = e^t


def _power_series(t, coefficients):
    """Return t² (c_2 + c_3 t + …) by Horner's rule: relatively accurate where the closed form cancels."""
    total = np.zeros_like(t)
    for coefficient in reversed(coefficients):
        total = coefficient + t * total
    return t**2 * total


def _moved(logits, delta_logits):
    """Return z + Δz less a constant; no difference of logits is rounded at the size of their offset."""
    allowed = allowed_actions(logits)
    finite = np.where(allowed, logits, 0.0)
    total = finite + delta_logits
    added = total - finite
    lost = (finite - (total - added)) + (delta_logits - added)  # z + Δz = total + lost exactly (Knuth)
    top = np.where(allowed, total, -np.inf).argmax(axis=-1, keepdims=True)
    from_top = (total - np.take_along_axis(total, top, -1)) + (lost - np.take_along_axis(lost, top, -1))
    return np.where(allowed, from_top, -np.inf)


def _range_over_allowed(logits, delta_logits):
    """Return max Δz − min Δz over allowed actions."""
    allowed = allowed_actions(logits)
    largest = np.where(allowed, delta_logits, -np.inf).max(axis=-1, keepdims=True)
    return largest - np.where(allowed, delta_logits, np.inf).min(axis=-1, keepdims=True)
