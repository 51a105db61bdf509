"""What sampled tokens say about covariances and entropy: estimates from one number a token.

Tokens are drawn from the sampling policy, ℓ = log π of the token that came, H the entropy of the policy that
drew it. Since E[ℓ + H] = 0 at every state, a product with ℓ + H needs no mean of its other factor: one token
a state gives an unbiased estimate.
"""

from typing import NamedTuple

import numpy as np

from entropy_core._shapes import Bool, Int, Real
from entropy_core.reference._tokens import mean_over_tokens, over_tokens

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

    total: float
    within_states: float
    between_states: float


class LogProbCovariance(NamedTuple):
    """Estimate of the mean covariance within states of log π with another value.

    Args:
        within_states: the estimate.
        error: its standard error.
    """

    within_states: float
    error: float


class SampledEntropyChange(NamedTuple):
    """Estimates of the mean change of entropy at the sampled states, in nats, with their standard errors.

    Args:
        first_order: mean of −(ℓ + H) Δℓ.
        second_order: mean of −(ℓ + H) Δℓ − ½ (1 + ℓ + H) Δℓ²; the first order is included.
        importance_weighted: mean of −(w (ℓ' + H) − (ℓ + H) − (w − 1)), w = e^Δℓ: its expectation is the exact
            change, for steps of any size.
        first_order_error: standard error of first_order.
        second_order_error: standard error of second_order.
        importance_weighted_error: standard error of importance_weighted.
    """

    first_order: float
    second_order: float
    importance_weighted: float
    first_order_error: float
    second_order_error: float
    importance_weighted_error: float


def batch_covariance(
    x: Real[np.ndarray, "batch tokens"],
    y: Real[np.ndarray, "batch tokens"],
    states: Int[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
) -> BatchCovariance:
    """Covariance of two values over the tokens of a batch, and what of it lies within states.

    mean (x − x̄)(y − ȳ) = mean (x − x̄_s)(y − ȳ_s) + Σ_s (N_s/N)(x̄_s − x̄)(ȳ_s − ȳ)

    Not the covariance under one policy: `covariance_over_actions` is that. A trainer that centres over the
    whole batch logs `total`; the lemma speaks of `within_states`. Both are short: by one token of N, and by
    one token of each state's.

    Args:
        x: one value a token, such as log π of the token.
        y: another, such as its advantage.
        states: a label for the state of each token; equal labels mean one state.
        response_mask: which tokens count; what stands elsewhere, NaN included, is ignored.

    Returns:
        The covariance and its parts, in units of x times y; 0 where no token counts. A state with one token
        adds 0 within.

    Raises:
        TypeError: the mask is not boolean, states are not integers, or x or y are not numbers.
        ValueError: shapes differ, or a token that counts is not finite.

    Numerics:
        Error ≤ 1e-14 × √(mean (x − x̄)² mean (y − ȳ)²) for each part, whatever the offsets, given x and y.
        Held by tests/agreement/test_samples.py.

    Source: claims `batch-covariance`, `total-covariance`, chapter estimating-from-samples.

    Example:
        >>> x, y = np.array([[0.0, 1.0, 5.0, 6.0]]), np.array([[0.0, 1.0, -5.0, -4.0]])
        >>> batch_covariance(x, y, np.array([[0, 0, 1, 1]]), np.ones((1, 4), bool))
        BatchCovariance(total=-6.0, within_states=0.25, between_states=-6.25)
    """
    x, y, state, counts = _by_state(x, y, states, response_mask)
    if not x.size:
        return BatchCovariance(0.0, 0.0, 0.0)
    x, y = _about_mean(x), _about_mean(y)
    x_mean, y_mean = _state_means(x, state, counts), _state_means(y, state, counts)
    within = float(((x - x_mean[state]) * (y - y_mean[state])).mean())
    between = float((counts / x.size * x_mean * y_mean).sum())
    return BatchCovariance(float((x * y).mean()), within, between)


def within_state_covariance(
    x: Real[np.ndarray, "batch tokens"],
    y: Real[np.ndarray, "batch tokens"],
    states: Int[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
) -> float:
    """Mean covariance within states, without bias, from states that several tokens were drawn at.

    Σ_s w_s Σ_{t at s} (x_t − x̄_s)(y_t − ȳ_s) / (N_s − 1), w_s = N_s / Σ N_s over the states with N_s ≥ 2

    Args:
        x: one value a token, such as log π of the token.
        y: another, such as its advantage.
        states: a label for the state of each token; equal labels mean one state.
        response_mask: which tokens count; what stands elsewhere, NaN included, is ignored.

    Returns:
        The covariance in units of x times y, its states weighted by their tokens; NaN where no state has two.
        States with one token are left out: where they abound and the entropy is known, `log_prob_covariance`
        uses them.

    Raises:
        TypeError: the mask is not boolean, states are not integers, or x or y are not numbers.
        ValueError: shapes differ, or a token that counts is not finite.

    Numerics:
        Error ≤ 1e-14 × √(Σ w x̃² Σ w ỹ²), the centred values of each state, beside 1e-15 × the range of x
        times that of y. Held by tests/agreement/test_samples.py.

    Source: claims `batch-covariance`, `sample-covariance-variance`, chapter estimating-from-samples.

    Example:
        >>> x, y = np.array([[0.0, 1.0, 5.0, 6.0]]), np.array([[0.0, 1.0, -5.0, -4.0]])
        >>> within_state_covariance(x, y, np.array([[0, 0, 1, 1]]), np.ones((1, 4), bool))
        0.5
    """
    x, y, state, counts = _by_state(x, y, states, response_mask)
    several = counts >= 2
    if not several.any():
        return float("nan")
    x, y = _about_mean(x), _about_mean(y)
    x_mean, y_mean = _state_means(x, state, counts), _state_means(y, state, counts)
    weights = np.where(several, counts / np.maximum(counts - 1, 1), 0.0) / counts[several].sum()
    return float((weights[state] * (x - x_mean[state]) * (y - y_mean[state])).sum())


def log_prob_covariance(
    old_log_probs: Real[np.ndarray, "batch tokens"],
    y: Real[np.ndarray, "batch tokens"],
    entropy: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
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
        TypeError: the mask is not boolean, or an argument is not numbers.
        ValueError: shapes differ, or a token that counts is not finite.

    Numerics:
        Error ≤ 1e-14 × mean (|ℓ| + H)|y|. Held by tests/agreement/test_samples.py.

    Source: claim `one-token-a-state`, chapter estimating-from-samples.

    Example:
        >>> old, entropy = np.log([[0.5], [0.25], [0.25], [0.5]]), np.full((4, 1), 1.5 * np.log(2))
        >>> y, every = np.array([[1.0], [0.0], [0.0], [1.0]]), np.ones((4, 1), bool)
        >>> round(log_prob_covariance(old, y, entropy, every).within_states, 4)
        0.1733
    """
    mask, old, y, entropy = over_tokens(response_mask, old_log_probs=old_log_probs, y=y, entropy=entropy)
    terms = (old + entropy) * y
    return LogProbCovariance(float(mean_over_tokens(terms, mask)), _error_between_responses(terms, mask))


def _by_state(x, y, states, response_mask):
    """Return the values that count, in one row, the number of each one's state, and the tokens of a state."""
    mask, x, y = over_tokens(response_mask, x=x, y=y)
    states = np.asarray(states)
    if states.dtype.kind not in "iu":
        raise TypeError(
            f"states must be integers; {states.dtype} came. Number the states by "
            "np.unique(labels, return_inverse=True)[1]."
        )
    if states.shape != mask.shape:
        raise ValueError(
            f"states must have one label a token, shape {mask.shape} as response_mask; {states.shape} came. "
            "One label a response becomes one a token by np.broadcast_to(states[:, None], mask.shape)."
        )
    _, state, counts = np.unique(states[mask], return_inverse=True, return_counts=True)
    return x[mask], y[mask], state, counts


def _about_mean(values):
    """Return values less their mean, twice, so that the second mean is of rounding only."""
    values = values - values.mean()
    return values - values.mean()


def _state_means(values, state, counts):
    return np.bincount(state, weights=values, minlength=counts.size) / counts


def sampled_entropy_change(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    old_log_probs: Real[np.ndarray, "batch tokens"],
    entropy: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
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
        TypeError: the mask is not boolean, or an argument is not numbers.
        ValueError: shapes differ, or a token that counts is not finite.

    Numerics:
        Error ≤ 1e-14 × the mean of (|ℓ| + H + 1)(1 + e^Δℓ)(|Δℓ| + Δℓ²), for tiny Δℓ too. Held by
        tests/agreement/test_samples.py.

    Source: claim `sampled-entropy-change`, chapter estimating-from-samples.

    Example:
        >>> old, new = np.log([[0.7], [0.2]]), np.log([[0.72], [0.19]])
        >>> entropy = np.full((2, 1), 0.8018)
        >>> round(sampled_entropy_change(new, old, entropy, np.ones((2, 1), bool)).first_order, 4)
        -0.027
    """
    mask, new, old, entropy = over_tokens(
        response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs, entropy=entropy
    )
    step, excess = new - old, old + entropy
    first = -excess * step
    second = first - 0.5 * (1.0 + excess) * step**2
    # w (ℓ' + H) − (ℓ + H) − (w − 1) = (w − 1)(ℓ + H − 1) + w Δℓ: each part is of the size of the step.
    weighted = -np.expm1(step) * (excess - 1.0) - np.exp(step) * step
    terms = (first, second, weighted)
    return SampledEntropyChange(
        *(float(mean_over_tokens(term, mask)) for term in terms),
        *(_error_between_responses(term, mask) for term in terms),
    )


def _error_between_responses(values, mask) -> float:
    """Return the standard error of the mean over tokens when whole responses are drawn independently."""
    counted = mask.any(axis=1).sum()
    if counted < 2:
        return float("nan")
    residuals = np.where(mask, values - mean_over_tokens(values, mask), 0.0).sum(axis=1)
    return float(np.sqrt(counted / (counted - 1) * (residuals**2).sum()) / mask.sum())
