"""All moments of a policy, or of a policy and its step, from one read of the logits.

Functions elsewhere in this layer return one number a row. A training loop wants several of the same logits,
and at vocabulary size reading them is what costs: here they come together.
"""

from typing import NamedTuple

import torch

from entropy_core._shapes import Bool, Float, Int
from entropy_core.batched import _large
from entropy_core.batched._validation import check_buffer, of_one_shape, one_a_row, read_temperature

__all__ = ["PolicyMoments", "StepMoments", "policy_moments", "step_moments"]


class PolicyMoments(NamedTuple):
    """What one read of the logits gives, one value a row, in nats.

    Args:
        log_normaliser: log Σ_a e^{z_a}.
        entropy: H.
        varentropy: Var(log π), in nats².
        token_log_probs: log π of the token taken.
    """

    log_normaliser: torch.Tensor
    entropy: torch.Tensor
    varentropy: torch.Tensor
    token_log_probs: torch.Tensor


class StepMoments(NamedTuple):
    """What one read of logits and step gives, one value a row.

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

    mean: torch.Tensor
    variance: torch.Tensor
    covariance: torch.Tensor
    second_order_entropy_change: torch.Tensor
    entropy_change: torch.Tensor
    kl_divergence: torch.Tensor
    entropy: torch.Tensor


def policy_moments(
    logits: Float[torch.Tensor, "*batch actions"],
    tokens: Int[torch.Tensor, "*batch"],
    temperature: float | int = 1.0,
    response_mask: Bool[torch.Tensor, "*batch"] | None = None,
    gradient_buffer: Float[torch.Tensor, "*batch actions"] | None = None,
) -> PolicyMoments:
    """Log-normaliser, entropy, varentropy and log-probability of the token taken, from one read.

    π = softmax(z / temperature)

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels but in log_normaliser.
        tokens: index of the token taken in each row.
        temperature: what the logits are divided by, positive.
        response_mask: True where a row counts; elsewhere every value and the gradient are 0, whatever the
            logits are. None counts every row.
        gradient_buffer: a contiguous tensor like logits, not sharing their memory, into which the backward
            pass of large logits writes the gradient instead of into fresh memory; what it held is lost, and
            it holds this gradient until the next backward pass. None takes fresh memory.

    Returns:
        The four values, one a row, in the accumulating type; token_log_probs is −inf at a forbidden token.

    Raises:
        TypeError: logits are not floating-point, tokens not integers, response_mask not boolean, or
            temperature not a number.
        ValueError: shapes or devices do not fit, temperature is not positive, or the buffer is not like
            logits, not contiguous, or shares their memory.

    Numerics:
        Sums within a block in the accumulating type, between blocks in float64. Error ≤ 1e-12 (float64) or
        2e-6 nats (other types; log-probabilities: or half an ulp); entropy relatively ≤ 1e-3 down to 1e-6.
        Gradients ≤ 1e-5 of a row's largest. From 2²² logits on one read, and one read and one write
        backward; keeps a few numbers a row beside the logits. The gradient of the gradient is available,
        through the simple formulas. tests/batched/test_large.py.

    Source: claim `moments-merge`, chapter entropy-at-vocabulary-scale.

    Example:
        >>> moments = policy_moments(torch.zeros(1, 4), torch.tensor([2]))
        >>> print(*(f"{value.item():.4f}" for value in moments))
        1.3863 1.3863 0.0000 -1.3863
    """
    (logits,) = of_one_shape(logits=logits)
    tokens, counted = one_a_row(logits, tokens, response_mask)
    check_buffer(gradient_buffer, logits)
    scale = read_temperature(temperature)
    return PolicyMoments(*_large.policy_values(logits, tokens, counted, scale, gradient_buffer))


def step_moments(
    logits: Float[torch.Tensor, "*#batch actions"], delta_logits: Float[torch.Tensor, "*#batch actions"]
) -> StepMoments:
    """Mean, variance and covariance of a step, what it does to the entropy, and the divergence it causes.

    E Δz, Var Δz, Cov(log π, Δz), ΔH to second order, ΔH, KL(π‖π'), H

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz in nats, finite at allowed actions, ignored (NaN included) at forbidden ones; a
            constant cancels but in mean.

    Returns:
        The seven values, one a broadcast row, in the accumulating type.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices, action axes or leading axes do not fit.

    Numerics:
        Small inputs as the functions of the same names. From 2²² logits on one read of each, on the processor
        a second one for steps of range D beyond 4, elsewhere always; error ≤ 1e-12 (float64) or 2e-6 (other
        types) of D (1 + log n) for D at most 1, and of (D + 1) (D + log n) beyond; mean also of |mean|.
        Gradients are those of the simple formulas, at their price.
        tests/batched/test_large.py.

    Source: claims `moments-merge`, chapter entropy-at-vocabulary-scale; `exact-entropy-change`, chapter
        entropy-covariance-identity.

    Example:
        >>> moments = step_moments(torch.tensor([1.0, 0.0]), torch.tensor([0.1, 0.0]))
        >>> print(f"{moments.covariance:.5f} {moments.entropy_change:.5f}")
        0.01966 -0.02015
    """
    return StepMoments(*_large.step_values(logits, delta_logits))
