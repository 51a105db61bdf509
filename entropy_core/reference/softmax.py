"""The softmax policy of one state: its probabilities, entropy and second moments, in float64.

A policy is given by logits z, actions on the last axis; a logit of −inf forbids its action. Everything here
is unchanged when a constant is added to z.
"""

import numpy as np

from entropy_core._shapes import Float, Real
from entropy_core.reference._moments import (
    centred,
    expectation,
    mode_weight_apart,
    per_row,
    shifted,
    softmax_weights,
)
from entropy_core.reference._validation import allowed_actions, over_actions, read_logits

__all__ = [
    "covariance_over_actions",
    "entropy",
    "fisher",
    "fisher_pseudo_inverse",
    "log_probs",
    "probs",
    "varentropy",
]

_WIDEST_GAP = 700.0  # nats; 1/π of a rarer action leaves float64


def log_probs(logits: Real[np.ndarray, "*batch actions"]) -> Float[np.ndarray, "*batch actions"]:
    """Logarithms of the action probabilities.

    log π_a = z_a − log Σ_b e^{z_b}

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.

    Returns:
        log π in nats, shaped like logits, at most 0; −inf at forbidden actions.

    Raises:
        TypeError: logits are not real numbers that float64 holds.
        ValueError: logits hold NaN or +inf, allow no action, or have no action axis.

    Numerics:
        Relative error ≤ 1e-12, at the most likely action too, where log π is tiny: log(1 + s) is taken of the
        sum s without that action. Held for 1 to 1e5 actions, gaps up to 700 and offsets of ±1e4 by
        tests/agreement/test_reference_oracle.py.

    Source: claim `softmax-gauge`, chapter softmax-geometry.

    Example:
        >>> log_probs(np.array([0.0, 0.0, -np.inf])).round(4)
        array([-0.6931, -0.6931,    -inf])
    """
    logits = read_logits(logits)
    from_mode = logits - logits.max(axis=-1, keepdims=True)
    return from_mode - np.log1p(mode_weight_apart(softmax_weights(logits)))


def probs(logits: Real[np.ndarray, "*batch actions"]) -> Float[np.ndarray, "*batch actions"]:
    """Action probabilities.

    π_a = e^{z_a} / Σ_b e^{z_b}

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.

    Returns:
        π, shaped like logits, in [0, 1], summing to 1 over the last axis; 0 at forbidden actions.

    Raises:
        TypeError: logits are not real numbers that float64 holds.
        ValueError: logits hold NaN or +inf, allow no action, or have no action axis.

    Numerics:
        Relative error ≤ 1e-12 for gaps up to 700 (beyond about 708 a probability leaves the normal float64
        range). Held by tests/agreement/test_reference_oracle.py.

    Source: claim `softmax-gauge`, chapter softmax-geometry.

    Example:
        >>> probs(np.log([[7.0, 2.0, 1.0]]))
        array([[0.7, 0.2, 0.1]])
    """
    weights = softmax_weights(read_logits(logits))
    return weights / weights.sum(axis=-1, keepdims=True)


def entropy(logits: Real[np.ndarray, "*batch actions"]) -> Float[np.ndarray | np.float64, "*batch"]:
    """Entropy of the policy.

    H = −Σ_a π_a log π_a = log(1 + s) + Σ_a π_a (max z − z_a), with 1 + s = Σ_a e^{z_a − max z}

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.

    Returns:
        H in nats, one value per row, from 0 (one allowed action) to log n (uniform over n allowed actions).

    Raises:
        TypeError: logits are not real numbers that float64 holds.
        ValueError: logits hold NaN or +inf, allow no action, or have no action axis.

    Numerics:
        Relative error ≤ 1e-12 at any size of H, since every term of the formula is ≥ 0 and s leaves out the
        most likely action; exactly 0 for one allowed action. Held for 1 to 1e5 actions, gaps up to 700 and
        offsets of ±1e4 by tests/agreement/test_reference_oracle.py.

    Source: claim `temperature-flow`, chapter softmax-geometry; [cover2006elements].

    Example:
        >>> entropy(np.zeros((2, 4))).round(4)
        array([1.3863, 1.3863])
        >>> print(f"{entropy(np.array([0.0, -700.0])):.4e}")  # collapsed, and still not 0
        6.9116e-302
    """
    logits = read_logits(logits)
    weights = softmax_weights(logits)
    others = mode_weight_apart(weights)
    below_mode = (weights * -shifted(logits)).sum(axis=-1, keepdims=True) / (1.0 + others)
    return per_row(np.log1p(others) + below_mode)


def varentropy(logits: Real[np.ndarray, "*batch actions"]) -> Float[np.ndarray | np.float64, "*batch"]:
    """Variance of log π under π.

    Var(log π) = E[(log π + H)²] = E[(z − E z)²]

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.

    Returns:
        Var(log π) in nats², one value per row, ≥ 0; 0 exactly where π is uniform over the allowed actions.

    Raises:
        TypeError: logits are not real numbers that float64 holds.
        ValueError: logits hold NaN or +inf, allow no action, or have no action axis.

    Numerics:
        Relative error ≤ 1e-12, near collapse and near uniform too: z is centred twice and squares are added.
        Held for 1 to 1e5 actions, gaps up to 700 and offsets of ±1e4 by
        tests/agreement/test_reference_oracle.py.

    Source: claim `temperature-flow`, chapter softmax-geometry; [reebwolf2015].

    Example:
        >>> float(varentropy(np.zeros(5)))
        0.0
        >>> round(float(varentropy(np.log([0.7, 0.2, 0.1]))), 4)
        0.4944
    """
    logits, score = _with_centred_log_probs(logits)
    return per_row(expectation(score**2, softmax_weights(logits)))


def covariance_over_actions(
    x: Real[np.ndarray, "*#batch actions"],
    y: Real[np.ndarray, "*#batch actions"],
    logits: Real[np.ndarray, "*#batch actions"],
) -> Float[np.ndarray | np.float64, "*batch"]:
    """Covariance of two per-action quantities under the policy of one state.

    Cov(x, y) = Σ_a π_a (x_a − E x)(y_a − E y)

    Args:
        x: first quantity, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant
            cancels.
        y: second quantity, likewise.
        logits: z, in nats; −inf forbids an action; a common constant cancels.

    Returns:
        Cov(x, y) in units of x times y, one value per broadcast row, of either sign.

    Raises:
        TypeError: an argument is not an array of real numbers that float64 holds.
        ValueError: logits are not a policy, x or y is not finite at an allowed action, or shapes do not fit.

    Numerics:
        Error ≤ 2e-12 × Σπ|x − E x||y − E y|, whatever the offsets of x, y and z and with rare outliers;
        exactly 0 where x or y is constant. Held by tests/agreement/test_reference_oracle.py.

    Source: claim `entropy-gradient-covariance`, chapter entropy-covariance-identity.

    Example:
        >>> rewards = np.array([1.0, 0.0, 0.0])
        >>> logits = np.log([0.7, 0.2, 0.1])
        >>> round(float(covariance_over_actions(logits, rewards, logits)), 4)
        0.3116
    """
    logits, x, y = over_actions(logits, x=x, y=y)
    weights = softmax_weights(logits)
    return per_row(expectation(centred(x, weights) * centred(y, weights), weights))


def fisher(logits: Real[np.ndarray, "*batch actions"]) -> Float[np.ndarray, "*batch actions actions"]:
    """Fisher information of the policy in its logits, which is also the Jacobian ∂π/∂z.

    F = diag π − π πᵀ

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.

    Returns:
        F of shape [..., n, n] in nats⁻², symmetric, positive semidefinite, rows summing to 0; rows and
        columns of forbidden actions are 0.

    Raises:
        TypeError: logits are not real numbers that float64 holds.
        ValueError: logits hold NaN or +inf, allow no action, or have no action axis.

    Numerics:
        Each entry to relative error ≤ 1e-12 for gaps up to 350 (a product of two probabilities stays a normal
        float64): 1 − π of the most likely action is the sum of the others. Held by
        tests/agreement/test_reference_oracle.py.

    Source: claim `fisher-is-jacobian`, chapter softmax-geometry; [amari1998natural].

    Example:
        >>> fisher(np.log([0.5, 0.5]))
        array([[ 0.25, -0.25],
               [-0.25,  0.25]])
    """
    logits = read_logits(logits)
    weights = softmax_weights(logits)
    normaliser = weights.sum(axis=-1, keepdims=True)
    pi = weights / normaliser
    matrix = 0.0 - pi[..., :, None] * pi[..., None, :]
    complement = 1.0 - pi
    mode = weights.argmax(axis=-1, keepdims=True)
    np.put_along_axis(complement, mode, mode_weight_apart(weights) / normaliser, axis=-1)
    diagonal = np.arange(logits.shape[-1])
    matrix[..., diagonal, diagonal] = pi * complement
    return matrix


def fisher_pseudo_inverse(
    logits: Real[np.ndarray, "*batch actions"],
) -> Float[np.ndarray, "*batch actions actions"]:
    """Moore–Penrose inverse of the Fisher information of the policy in its logits.

    F⁺ = C diag(1/π) C with C = I − 11ᵀ/n, over the n allowed actions

    It takes the policy gradient πA to the natural gradient whose plain mean is 0. To take that step use
    `natural_gradient_delta_logits`, which needs no matrix and has no limit on the gap.

    Args:
        logits: z, in nats, allowed ones at most 700 apart; −inf forbids an action; a common constant cancels.

    Returns:
        F⁺ of shape [..., n, n] in nats², symmetric, positive semidefinite, rows summing to 0; rows and
        columns of forbidden actions are 0, so that it is the inverse of `fisher` there too.

    Raises:
        TypeError: logits are not real numbers that float64 holds.
        ValueError: logits hold NaN or +inf, allow no action, have no action axis, or lie further apart.

    Numerics:
        Diagonal to relative error ≤ 1e-12; the others err by ≤ 1e-12 × [(1/π_i + 1/π_j)/n + Σ(1/π)/n²], the
        terms that may cancel there. Held for gaps up to 700 by tests/agreement/test_reference_oracle.py.

    Source: claim `fisher-pseudo-inverse`, chapter two-gradients-two-covariances; [amari1998natural].

    Example:
        >>> fisher_pseudo_inverse(np.log([0.5, 0.5]))
        array([[ 1., -1.],
               [-1.,  1.]])
    """
    logits = read_logits(logits)
    allowed = allowed_actions(logits)
    _check_gap(logits, allowed)
    weights = softmax_weights(logits)
    normaliser = weights.sum(axis=-1, keepdims=True)
    reciprocals = np.divide(normaliser, weights, out=np.zeros_like(weights), where=allowed)
    shares = reciprocals / allowed.sum(axis=-1, keepdims=True)
    mean = (shares / allowed.sum(axis=-1, keepdims=True)).sum(axis=-1)[..., None, None]
    matrix = mean - (shares[..., :, None] + shares[..., None, :])
    diagonal = np.arange(logits.shape[-1])
    matrix[..., diagonal, diagonal] += reciprocals
    return np.where(allowed[..., :, None] & allowed[..., None, :], matrix, 0.0)


def _check_gap(logits, allowed):
    gap = logits.max(axis=-1) - np.where(allowed, logits, np.inf).min(axis=-1)
    if (gap > _WIDEST_GAP).any():
        raise ValueError(
            f"fisher_pseudo_inverse holds 1/π, so allowed logits must lie within {_WIDEST_GAP:g} nats; "
            f"a gap of {gap.max():.4g} came. Use natural_gradient_delta_logits, which needs no matrix."
        )


def _with_centred_log_probs(logits):
    """Return the checked logits and log π + H = z − E z, the centred log-probabilities (0 if forbidden)."""
    logits = read_logits(logits)
    finite = np.where(allowed_actions(logits), logits, 0.0)
    return logits, centred(finite, softmax_weights(logits))
