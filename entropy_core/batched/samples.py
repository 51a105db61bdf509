"""What sampled tokens say about covariances and entropy, in torch: estimates from one number a token.

Tokens are drawn from the sampling policy, ℓ = log π of the token that came, H the entropy of the policy that
drew it. Since E[ℓ + H] = 0 at every state, a product with ℓ + H needs no mean of its other factor: one token
a state gives an unbiased estimate.
"""

from typing import NamedTuple

import torch

from entropy_core._shapes import Bool, Float
from entropy_core.batched._tokens import mean_over_tokens, over_tokens

__all__ = ["SampledEntropyChange", "sampled_entropy_change"]


class SampledEntropyChange(NamedTuple):
    """Estimates of the mean change of entropy at the sampled states, in nats, with their standard errors.

    Args:
        first_order: mean of −(ℓ + H) Δℓ.
        second_order: mean of −(ℓ + H) Δℓ − ½ (1 + ℓ + H) Δℓ²; the first order is included.
        importance_weighted: mean of −(w (ℓ' + H) − (ℓ + H) − (w − 1)), w = e^Δℓ: its expectation is the exact
            change, for steps of any size.
        first_order_error: standard error of first_order, without a gradient, like the next two.
        second_order_error: standard error of second_order.
        importance_weighted_error: standard error of importance_weighted.
    """

    first_order: torch.Tensor
    second_order: torch.Tensor
    importance_weighted: torch.Tensor
    first_order_error: torch.Tensor
    second_order_error: torch.Tensor
    importance_weighted_error: torch.Tensor


def sampled_entropy_change(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    old_log_probs: Float[torch.Tensor, "batch tokens"],
    entropy: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
) -> SampledEntropyChange:
    """Change of entropy from the old policy to the new one, estimated from tokens that the old one drew.

    −mean[(ℓ + H) Δℓ], −mean[(ℓ + H) Δℓ + ½ (1 + ℓ + H) Δℓ²], −mean[w (ℓ' + H) − (ℓ + H) − (w − 1)]

    Each is unbiased for what it names (the first-order change, the second-order one up to third order, the
    exact one) if the new policy was not fitted to these very tokens; on the tokens of its own update it
    overstates what the update does at other states.

    Args:
        token_log_probs: ℓ' = log π_new of each token, in nats.
        old_log_probs: ℓ = log π_old of the same token, in nats; π_old drew it, at temperature 1 of π_old.
        entropy: H of π_old at the state of each token, in nats.
        response_mask: which tokens count; what stands elsewhere, NaN included, is ignored.

    Returns:
        Mean change of entropy in nats over the tokens that count, negative where entropy falls; all 0 where
        none counts. Standard errors are between responses, so that tokens of one response may depend on each
        other; NaN with fewer than two responses.

    Raises:
        TypeError: the mask is not boolean, or an argument is not a floating-point tensor.
        ValueError: shapes or devices differ.

    Numerics:
        Error ≤ 1e-14 (float64) or 1e-5 (float32) × the mean of (|ℓ| + H + 1)(1 + e^Δℓ)(|Δℓ| + Δℓ²), given
        Δℓ, for tiny Δℓ too. Differentiable in every tensor; a token that does not count gets the gradient 0.
        Held by tests/agreement/test_samples.py.

    Source: claim `sampled-entropy-change`, chapter estimating-from-samples.

    Example:
        >>> old, new = torch.tensor([[0.7], [0.2]]).log(), torch.tensor([[0.72], [0.19]]).log()
        >>> change = sampled_entropy_change(new, old, torch.full((2, 1), 0.8018), torch.ones(2, 1).bool())
        >>> round(float(change.first_order), 4)
        -0.027
    """
    new, old, entropy = over_tokens(
        response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs, entropy=entropy
    )
    step, excess = new - old, old + entropy
    first = -excess * step
    second = first - 0.5 * (1.0 + excess) * step**2
    # w (ℓ' + H) − (ℓ + H) − (w − 1) = (w − 1)(ℓ + H) + [w Δℓ − (w − 1)], without cancellation.
    weighted = -torch.expm1(step) * excess - _excess_of_ratio(step)
    terms = (first, second, weighted)
    return SampledEntropyChange(
        *(mean_over_tokens(term, response_mask) for term in terms),
        *(_error_between_responses(term.detach(), response_mask) for term in terms),
    )


def _excess_of_ratio(step):
    """Return w log w − (w − 1) for w = e^step, never negative, accurate for small steps."""
    small = step.abs() < (1e-3 if step.dtype == torch.float64 else 3e-2)
    near, far = torch.where(small, step, 0.0), torch.where(small, 0.0, step)
    series = near**2 * (0.5 + near * (1 / 3 + near * (1 / 8 + near * (1 / 30 + near / 144))))
    return series + (far * torch.exp(far) - torch.expm1(far))


def _error_between_responses(values, mask):
    """Return the standard error of the mean over tokens when whole responses are drawn independently."""
    counted = mask.any(dim=1).sum().to(values.dtype)  # a quotient of integers would be float32
    residuals = torch.where(mask, values - mean_over_tokens(values, mask), 0.0).sum(dim=1)
    spread = (counted / (counted - 1) * residuals.square().sum()).sqrt()
    return torch.where(counted < 2, torch.nan, spread / mask.sum().clamp(min=1))
