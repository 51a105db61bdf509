"""What sampled tokens say about covariances and entropy, in torch: estimates from one number a token.

Tokens are drawn from the sampling policy, ℓ = log π of the token that came, H the entropy of the policy that
drew it. Since E[ℓ + H] = 0 at every state, a product with ℓ + H needs no mean of its other factor: one token
a state gives an unbiased estimate.
"""

from typing import NamedTuple

import torch

from entropy_core._shapes import Bool, Float, Int
from entropy_core.batched._tokens import mean_over_tokens, over_tokens

__all__ = [
    "BatchCovariance",
    "LogProbCovariance",
    "SampledEntropyChange",
    "batch_covariance",
    "log_prob_covariance",
    "sampled_entropy_change",
    "within_state_covariance",
]


class BatchCovariance(NamedTuple):
    """The covariance over the tokens of a batch and its two parts, with the weight 1/N for each token.

    Args:
        total: mean of (x − mean x)(y − mean y) over all tokens; the sum of the other two.
        within_states: mean over tokens of the product centred at the token's own state: the part that the
            lemma speaks of.
        between_states: covariance of the states' means, each state weighted by its tokens.
    """

    total: torch.Tensor
    within_states: torch.Tensor
    between_states: torch.Tensor


class LogProbCovariance(NamedTuple):
    """Estimate of the mean covariance within states of log π with another value.

    Args:
        within_states: the estimate.
        error: its standard error, without a gradient.
    """

    within_states: torch.Tensor
    error: torch.Tensor


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


def batch_covariance(
    x: Float[torch.Tensor, "batch tokens"],
    y: Float[torch.Tensor, "batch tokens"],
    states: Int[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
) -> BatchCovariance:
    """Covariance of two values over the tokens of a batch, and what of it lies within states.

    mean (x − x̄)(y − ȳ) = mean (x − x̄_s)(y − ȳ_s) + Σ_s (N_s/N)(x̄_s − x̄)(ȳ_s − ȳ)

    Not the covariance under one policy: `covariance_over_actions` is that. A trainer that centres over the
    whole batch logs `total`; the lemma speaks of `within_states`. Both are short: by one token of N, and by
    one token of each state's.

    Args:
        x: one value a token, such as log π of the token.
        y: another, such as its advantage.
        states: a label for the state of each token; equal labels mean one state. Sorting the labels makes the
            host wait for the device.
        response_mask: which tokens count; what stands elsewhere, NaN included, is ignored.

    Returns:
        The covariance and its parts, in units of x times y; 0 where no token counts. A state with one token
        adds 0 within.

    Raises:
        TypeError: the mask is not boolean, states are not integers, or x or y are not floating-point tensors.
        ValueError: shapes or devices differ.

    Numerics:
        Error ≤ 1e-14 (float64) or 1e-5 (float32) × √(mean (x − x̄)² mean (y − ȳ)²) for each part, given
        values whose offset is no larger than their spread; differentiable in x and y. Held by
        tests/agreement/test_samples.py.

    Source: claims `batch-covariance`, `total-covariance`, chapter estimating-from-samples.

    Example:
        >>> x, y = torch.tensor([[0.0, 1.0, 5.0, 6.0]]), torch.tensor([[0.0, 1.0, -5.0, -4.0]])
        >>> parts = batch_covariance(x, y, torch.tensor([[0, 0, 1, 1]]), torch.ones(1, 4).bool())
        >>> [part.item() for part in parts]
        [-6.0, 0.25, -6.25]
    """
    x, y, state, counts = _by_state(x, y, states, response_mask)
    if not x.numel():
        return BatchCovariance(x.sum(), x.sum(), y.sum())
    x, y = _about_mean(x), _about_mean(y)
    x_mean, y_mean = _state_means(x, state, counts), _state_means(y, state, counts)
    within = ((x - x_mean[state]) * (y - y_mean[state])).mean()
    between = (counts / x.numel() * x_mean * y_mean).sum()
    return BatchCovariance((x * y).mean(), within, between)


def within_state_covariance(
    x: Float[torch.Tensor, "batch tokens"],
    y: Float[torch.Tensor, "batch tokens"],
    states: Int[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
) -> Float[torch.Tensor, ""]:
    """Mean covariance within states, without bias, from states that several tokens were drawn at.

    Σ_s w_s Σ_{t at s} (x_t − x̄_s)(y_t − ȳ_s) / (N_s − 1), w_s = N_s / Σ N_s over the states with N_s ≥ 2

    Args:
        x: one value a token, such as log π of the token.
        y: another, such as its advantage.
        states: a label for the state of each token; equal labels mean one state. Sorting the labels makes the
            host wait for the device.
        response_mask: which tokens count; what stands elsewhere, NaN included, is ignored.

    Returns:
        The covariance in units of x times y, its states weighted by their tokens; NaN where no state has two.
        States with one token are left out: where they abound and the entropy is known, `log_prob_covariance`
        uses them.

    Raises:
        TypeError: the mask is not boolean, states are not integers, or x or y are not floating-point tensors.
        ValueError: shapes or devices differ.

    Numerics:
        Error ≤ 1e-14 (float64) or 1e-5 (float32) × the root of the means of x² and y² about the batch's mean;
        differentiable in x and y. Held by tests/agreement/test_samples.py.

    Source: claims `batch-covariance`, `sample-covariance-variance`, chapter estimating-from-samples.

    Example:
        >>> x, y = torch.tensor([[0.0, 1.0, 5.0, 6.0]]), torch.tensor([[0.0, 1.0, -5.0, -4.0]])
        >>> within_state_covariance(x, y, torch.tensor([[0, 0, 1, 1]]), torch.ones(1, 4).bool()).item()
        0.5
    """
    x, y, state, counts = _by_state(x, y, states, response_mask)
    several = counts >= 2
    used = torch.where(several, counts, 0.0).sum()
    x, y = _about_mean(x), _about_mean(y)
    x_mean, y_mean = _state_means(x, state, counts), _state_means(y, state, counts)
    weights = torch.where(several, counts / (counts - 1).clamp(min=1), 0.0)
    total = (weights[state] * (x - x_mean[state]) * (y - y_mean[state])).sum()
    return torch.where(used > 0, total / used.clamp(min=1), torch.nan)


def log_prob_covariance(
    old_log_probs: Float[torch.Tensor, "batch tokens"],
    y: Float[torch.Tensor, "batch tokens"],
    entropy: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
) -> LogProbCovariance:
    """Mean covariance within states of log π and another value, without bias, from one token a state.

    mean (ℓ + H) y, for E[ℓ + H] = 0 at every state

    A baseline may be subtracted from y if it does not depend on the token; it changes the scatter, not the
    mean.

    Args:
        old_log_probs: ℓ = log π_old of each token, in nats; π_old drew it, at temperature 1 of π_old.
        y: another value of the token, such as its advantage or Δz.
        entropy: H of π_old at the state of each token, in nats.
        response_mask: which tokens count; what stands elsewhere, NaN included, is ignored.

    Returns:
        The estimate, in nats times the unit of y, 0 where no token counts; and its standard error between
        responses, NaN with fewer than two.

    Raises:
        TypeError: the mask is not boolean, or an argument is not a floating-point tensor.
        ValueError: shapes or devices differ.

    Numerics:
        Error ≤ 1e-14 (float64) or 1e-5 (float32) × mean (|ℓ| + H)|y|; differentiable in every tensor. Held by
        tests/agreement/test_samples.py.

    Source: claim `one-token-a-state`, chapter estimating-from-samples.

    Example:
        >>> old, entropy = torch.tensor([[0.5], [0.25], [0.25], [0.5]]).log(), torch.full((4, 1), 1.0397)
        >>> y, every = torch.tensor([[1.0], [0.0], [0.0], [1.0]]), torch.ones(4, 1).bool()
        >>> round(log_prob_covariance(old, y, entropy, every).within_states.item(), 4)
        0.1733
    """
    old, y, entropy = over_tokens(response_mask, old_log_probs=old_log_probs, y=y, entropy=entropy)
    terms = (old + entropy) * y
    error = _error_between_responses(terms.detach(), response_mask)
    return LogProbCovariance(mean_over_tokens(terms, response_mask), error)


def _by_state(x, y, states, response_mask):
    """Return the values that count, in one row, the number of each one's state, and the tokens of a state."""
    x, y = over_tokens(response_mask, x=x, y=y)
    if not isinstance(states, torch.Tensor) or states.is_floating_point() or states.dtype == torch.bool:
        found = states.dtype if isinstance(states, torch.Tensor) else type(states).__name__
        raise TypeError(
            f"states must be a tensor of integers; got {found}. Number the states by "
            "torch.unique(labels, return_inverse=True)[1]."
        )
    if states.shape != response_mask.shape or states.device != response_mask.device:
        raise ValueError(
            f"states must have one label a token, shape {tuple(response_mask.shape)} on "
            f"{response_mask.device} as response_mask; got {tuple(states.shape)} on {states.device}. One "
            "label a response becomes one a token by states[:, None].expand_as(response_mask)."
        )
    _, state, counts = torch.unique(states[response_mask], return_inverse=True, return_counts=True)
    return x[response_mask], y[response_mask], state, counts.to(x.dtype)


def _about_mean(values):
    """Return values less their mean, twice, so that the second mean is of rounding only."""
    values = values - values.mean()
    return values - values.mean()


def _state_means(values, state, counts):
    return torch.zeros_like(counts).index_add(0, state, values) / counts


def sampled_entropy_change(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    old_log_probs: Float[torch.Tensor, "batch tokens"],
    entropy: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
) -> SampledEntropyChange:
    """Change of entropy from the old policy to the new one, estimated from tokens that the old one drew.

    −mean[(ℓ + H) Δℓ], −mean[(ℓ + H) Δℓ + ½ (1 + ℓ + H) Δℓ²], −mean[w (ℓ' + H) − (ℓ + H) − (w − 1)]

    Each is unbiased for what it names (the first-order change, the second-order one up to third order, the
    exact one) if the new policy was not fitted to these very tokens; on the tokens of its own update it also
    sees each token's own push and is biased (claim `covariance-on-own-tokens`).

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
    # w (ℓ' + H) − (ℓ + H) − (w − 1) = (w − 1)(ℓ + H − 1) + w Δℓ: each part is of the size of the step.
    weighted = -torch.expm1(step) * (excess - 1.0) - torch.exp(step) * step
    terms = (first, second, weighted)
    return SampledEntropyChange(
        *(mean_over_tokens(term, response_mask) for term in terms),
        *(_error_between_responses(term.detach(), response_mask) for term in terms),
    )


def _error_between_responses(values, mask):
    """Return the standard error of the mean over tokens when whole responses are drawn independently."""
    counted = mask.any(dim=1).sum().to(values.dtype)  # a quotient of integers would be float32
    residuals = torch.where(mask, values - mean_over_tokens(values, mask), 0.0).sum(dim=1)
    spread = (counted / (counted - 1) * residuals.square().sum()).sqrt()
    return torch.where(counted < 2, torch.nan, spread / mask.sum().clamp(min=1))
