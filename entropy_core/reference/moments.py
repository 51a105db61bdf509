"""All moments of a policy, or of a policy and its step, together: the names of the batched layer.

In float64 nothing is gained by one read; each value is what the function of its name gives.
"""

from typing import NamedTuple

import numpy as np

from entropy_core._shapes import Bool, Int, Real
from entropy_core.reference._moments import expectation, per_row, softmax_weights
from entropy_core.reference._validation import number, over_actions, read_logits, read_rows
from entropy_core.reference.dynamics import (
    entropy_change,
    first_order_entropy_change,
    kl_divergence,
    second_order_entropy_change,
)
from entropy_core.reference.softmax import covariance_over_actions, entropy, log_probs, varentropy

__all__ = ["PolicyMoments", "StepMoments", "policy_moments", "step_moments"]


class PolicyMoments(NamedTuple):
    """Moments of a policy, one value a row, in nats.

    Args:
        log_normaliser: log Σ_a e^{z_a}.
        entropy: H.
        varentropy: Var(log π), in nats².
        token_log_probs: log π of the token taken.
    """

    log_normaliser: np.ndarray
    entropy: np.ndarray
    varentropy: np.ndarray
    token_log_probs: np.ndarray


class StepMoments(NamedTuple):
    """Moments of a policy and its step, one value a row.

    Args:
        mean: E_π Δz, in nats.
        variance: Var_π Δz, in nats².
        covariance: Cov(log π, Δz), in nats².
        second_order_entropy_change: prediction of ΔH to second order, in nats; to first order it is
            −covariance.
        entropy_change: ΔH, in nats.
        kl_divergence: KL(π‖π'), in nats.
        entropy: H before the step, in nats.
    """

    mean: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray
    second_order_entropy_change: np.ndarray
    entropy_change: np.ndarray
    kl_divergence: np.ndarray
    entropy: np.ndarray


def policy_moments(
    logits: Real[np.ndarray, "*batch actions"],
    tokens: Int[np.ndarray, "*batch"],
    temperature: float | int = 1.0,
    response_mask: Bool[np.ndarray, "*batch"] | None = None,
) -> PolicyMoments:
    """Log-normaliser, entropy, varentropy and log-probability of the token taken.

    π = softmax(z / temperature)

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels but in log_normaliser.
        tokens: index of the token taken in each row.
        temperature: what the logits are divided by, positive.
        response_mask: True where a row counts; elsewhere every value is 0. None counts every row.

    Returns:
        The four values, one a row; token_log_probs is −inf at a forbidden token.

    Raises:
        TypeError: logits are not real numbers, tokens not integers or response_mask not boolean.
        ValueError: a row is not a policy, shapes do not fit, a token is out of range, or temperature is not
            positive and finite.

    Numerics:
        As of `entropy`, `varentropy` and `log_probs`; the log-normaliser to 1e-12 of max |z| + log n.
        tests/batched/test_large.py.

    Source: claim `moments-merge`, chapter entropy-at-vocabulary-scale.

    Example:
        >>> moments = policy_moments(np.zeros((1, 4)), np.array([2]))
        >>> print(*(f"{value.item():.4f}" for value in moments))
        1.3863 1.3863 0.0000 -1.3863
    """
    logits, tokens, counted = read_rows(logits, tokens, response_mask)
    logits = read_logits(logits) / _read_temperature(temperature)
    log_pi = log_probs(logits)
    mode = logits.argmax(axis=-1, keepdims=True)
    normaliser = np.take_along_axis(logits, mode, -1) - np.take_along_axis(log_pi, mode, -1)
    values = (
        normaliser[..., 0],
        entropy(logits),
        varentropy(logits),
        np.take_along_axis(log_pi, tokens[..., None], -1)[..., 0],
    )
    return PolicyMoments(*(np.where(counted, value, 0.0) for value in values))


def step_moments(
    logits: Real[np.ndarray, "*#batch actions"], delta_logits: Real[np.ndarray, "*#batch actions"]
) -> StepMoments:
    """Mean, variance and covariance of a step, what it does to the entropy, and the divergence it causes.

    E Δz, Var Δz, Cov(log π, Δz), ΔH to second order, ΔH, KL(π‖π'), H

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz in nats, finite at allowed actions, ignored at forbidden ones; a constant cancels but
            in mean.

    Returns:
        The seven values, one a broadcast row.

    Raises:
        TypeError: an argument is not an array of real numbers that float64 holds.
        ValueError: logits are not a policy, delta_logits is not finite at an allowed action, or shapes do not
            fit.

    Numerics:
        As of the functions of the same names; the mean to 1e-12 of E |Δz|.
        tests/batched/test_large.py.

    Source: claims `moments-merge`, chapter entropy-at-vocabulary-scale; `exact-entropy-change`, chapter
        entropy-covariance-identity.

    Example:
        >>> moments = step_moments(np.array([1.0, 0.0]), np.array([0.1, 0.0]))
        >>> print(f"{moments.covariance:.5f} {moments.entropy_change:.5f}")
        0.01966 -0.02015
    """
    logits, delta_logits = over_actions(logits, delta_logits=delta_logits)
    return StepMoments(
        per_row(expectation(delta_logits, softmax_weights(logits))),
        covariance_over_actions(delta_logits, delta_logits, logits),
        -first_order_entropy_change(logits, delta_logits),
        second_order_entropy_change(logits, delta_logits),
        entropy_change(logits, delta_logits),
        kl_divergence(logits, delta_logits),
        entropy(logits),
    )


def _read_temperature(temperature):
    temperature = number("temperature", temperature)
    if not temperature > 0:
        raise ValueError(
            f"temperature must be positive; {temperature} came. "
            "For the most probable action take logits.argmax(-1)."
        )
    return temperature
