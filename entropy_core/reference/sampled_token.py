"""The step that reinforces one sampled token, what it does to entropy, and the probability where that turns.

The step is Δz = ηA(e_a − π), a the token and A any number. To first order entropy moves by
−ηA(S_a − Cov(π, log π)), S_a = π_a(log π_a + H) being the token's score. The sign turns at the probability p*
with p*(log p* + H) = Cov(π, log π), which lies between e^{−H} and the largest probability.
"""

import numpy as np

from entropy_core._shapes import Bool, Float, Int, Real
from entropy_core.reference._moments import (
    centred,
    expectation,
    mode_weight_apart,
    per_row,
    softmax_weights,
)
from entropy_core.reference._tokens import over_tokens
from entropy_core.reference._validation import allowed_actions, number, read_logits, read_rows
from entropy_core.reference.softmax import entropy

__all__ = [
    "entropy_neutral_probability",
    "sampled_token_delta_logits",
    "sampled_token_first_order_entropy_change",
    "token_entropy_scores",
]

_NEWTON_STEPS = 12


def sampled_token_delta_logits(
    logits: Real[np.ndarray, "*batch actions"],
    tokens: Int[np.ndarray, "*batch"],
    advantages: Real[np.ndarray, "*batch"],
    step_size: float | int,
    response_mask: Bool[np.ndarray, "*batch"] | None = None,
) -> Float[np.ndarray, "*batch actions"]:
    """Step of the logits along the policy gradient of one sampled token in each row.

    Δz_b = η A (δ_ab − π_b)

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.
        tokens: a, index of the token sampled in each row; an allowed action.
        advantages: A, one finite number a row, of either sign; not centred here. Multiply it by the
            importance ratio π_a/π_old,a where the token was sampled from another policy.
        step_size: η, a finite number, in nats per unit of advantage.
        response_mask: True where a row counts; elsewhere the step is 0, whatever stands there. None counts
            every row.

    Returns:
        Δz in nats, one row a token, summing to 0 over the last axis; 0 at forbidden actions.

    Raises:
        TypeError: logits or advantages are not real numbers, tokens not integers or response_mask not
            boolean.
        ValueError: a row that counts is not a policy, its token is forbidden or out of range, its advantage
            is not finite, shapes do not fit, or step_size is not one finite number.

    Numerics:
        Relative error ≤ 1e-12 at every action, also where π_a rounds to 1.
        tests/agreement/test_sampled_token.py.

    Source: claim `sampled-token-rate`, chapter one-sampled-token; [williams1992simple].

    Example:
        >>> z, tokens, advantages = np.log([[0.5, 0.4, 0.1]]), np.array([1]), np.array([1.0])
        >>> sampled_token_delta_logits(z, tokens, advantages, 1.0).round(4)
        array([[-0.5,  0.6, -0.1]])
    """
    scale = number("step_size", step_size)
    _, score, _, advantages = _read(logits, tokens, advantages, response_mask)
    return 0.0 + scale * advantages[..., None] * score


def sampled_token_first_order_entropy_change(
    logits: Real[np.ndarray, "*batch actions"],
    tokens: Int[np.ndarray, "*batch"],
    advantages: Real[np.ndarray, "*batch"],
    step_size: float | int,
    response_mask: Bool[np.ndarray, "*batch"] | None = None,
) -> Float[np.ndarray | np.float64, "*batch"]:
    """Entropy change to first order when one sampled token is reinforced in each row.

    −η A (S_a − Cov(π, log π)), S_a = π_a (log π_a + H)

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        tokens: a, index of the token sampled in each row; an allowed action.
        advantages: A, one finite number a row, of either sign.
        step_size: η, a finite number, in nats per unit of advantage.
        response_mask: True where a row counts; elsewhere the change is 0, whatever stands there. None counts
            every row.

    Returns:
        Predicted ΔH in nats, one value a row; for A > 0 negative where the token is likelier than
        `entropy_neutral_probability`, positive where it is rarer; 0 at the uniform policy.

    Raises:
        TypeError: logits or advantages are not real numbers, tokens not integers or response_mask not
            boolean.
        ValueError: a row that counts is not a policy, its token is forbidden or out of range, its advantage
            is not finite, shapes do not fit, or step_size is not one finite number.

    Numerics:
        Error ≤ 1e-12 × |ηA| Σ_b π_b |log π_b + H| |δ_ab − π_b|. tests/agreement/test_sampled_token.py.

    Source: claim `sampled-token-rate`, chapter one-sampled-token; [wang2026entropy].

    Example:
        >>> z, advantages = np.log([[0.5, 0.4, 0.1]] * 2), np.ones(2)
        >>> sampled_token_first_order_entropy_change(z, np.array([0, 1]), advantages, 0.1).round(4)
        array([-0.0072,  0.0042])
    """
    scale = number("step_size", step_size)
    logits, score, weights, advantages = _read(logits, tokens, advantages, response_mask)
    surprise = centred(np.where(allowed_actions(logits), logits, 0.0), weights)
    return 0.0 - scale * advantages * per_row(expectation(surprise * score, weights))


def token_entropy_scores(
    token_log_probs: Real[np.ndarray, "*batch"],
    entropy: Real[np.ndarray, "*batch"],
    response_mask: Bool[np.ndarray, "*batch"],
) -> Float[np.ndarray, "*batch"]:
    """Entropy scores of tokens: what entropy loses when the logit of the token alone is raised.

    S_a = π_a (log π_a + H)

    Args:
        token_log_probs: log π_a of each token, in nats, finite where the token counts.
        entropy: H of the policy that each token was sampled from, in nats.
        response_mask: True where a token counts; elsewhere the score is 0, whatever stands there.

    Returns:
        S, one value a token, in nats per nat; positive above the probability e^{−H}, negative below, at least
        −e^{−1−H}. Under the policy its mean is Cov(π, log π) ≥ 0, which a policy gradient step subtracts.

    Raises:
        TypeError: response_mask is not boolean, or the others are not numbers.
        ValueError: shapes differ, or a value is not finite where the token counts.

    Numerics:
        Error ≤ 1e-12 × π_a (|log π_a| + H): near e^{−H} the two cancel.
        tests/agreement/test_sampled_token.py.

    Source: claim `entropy-gradient-logits`, chapter entropy-covariance-identity; [wang2026entropy].

    Example:
        >>> half = np.array([0.5, 0.0625])  # H = log 4
        >>> token_entropy_scores(np.log(half), np.log([4.0, 4.0]), np.ones(2, bool)).round(4)
        array([ 0.3466, -0.0866])
    """
    _, log_probs, entropy = over_tokens(response_mask, token_log_probs=token_log_probs, entropy=entropy)
    return np.exp(log_probs) * (log_probs + entropy) * response_mask


def entropy_neutral_probability(
    logits: Real[np.ndarray, "*batch actions"],
) -> Float[np.ndarray | np.float64, "*batch"]:
    """Probability of a sampled token at which reinforcing it leaves entropy alone, to first order.

    p* ≥ e^{−H} with p* (log p* + H) = Cov(π, log π); p* = e^{t − H}, t e^t = e^H Cov(π, log π)

    Args:
        logits: z, in nats; −inf forbids an action; a common constant cancels.

    Returns:
        p*, one value a row, in [e^{−H}, max π]; 1/n for n equally likely actions, 1 for one.

    Raises:
        TypeError: logits are not real numbers that float64 holds.
        ValueError: logits hold NaN or +inf, allow no action, or have no action axis.

    Numerics:
        Relative error ≤ 1e-12 for up to 1e6 actions. Newton's method from log(1 + e^H Cov), which is never
        below t, comes down to it without passing it. tests/agreement/test_sampled_token.py.

    Source: claims `neutral-probability` and `neutral-probability-bounds`, chapter one-sampled-token.

    Example:
        >>> float(entropy_neutral_probability(np.log([0.5, 0.4, 0.1])).round(4))
        0.4395
    """
    logits = read_logits(logits)
    weights = softmax_weights(logits)
    probs = weights / weights.sum(axis=-1, keepdims=True)
    surprise = centred(np.where(allowed_actions(logits), logits, 0.0), weights)
    baseline = np.maximum(per_row(expectation(probs * surprise, weights)), 0.0)
    nats = entropy(logits)
    return np.exp(_product_log(np.exp(nats) * baseline) - nats)


def _product_log(target):
    """Return t ≥ 0 with t e^t = target ≥ 0 (Lambert's W)."""
    t = np.log1p(target)
    for _ in range(_NEWTON_STEPS):
        t = t - (t - target * np.exp(-t)) / (1.0 + t)
    return np.maximum(t, 0.0)


def _read(logits, tokens, advantages, response_mask):
    """Return logits, e_a − π, weights and advantages; rows that do not count are uniform and have A = 0."""
    logits, tokens, counted = read_rows(logits, tokens, response_mask)
    _, advantages = over_tokens(counted, advantages=advantages)
    logits, token = read_logits(logits), tokens[..., None]
    forbidden = ~np.isfinite(np.take_along_axis(logits, token, axis=-1))
    if forbidden.any():
        raise ValueError(
            f"a sampled token must be an allowed action; {int(forbidden.sum())} tokens have the logit -inf. "
            "Take them out of response_mask, or give the logits that they were sampled from."
        )
    weights = softmax_weights(logits)
    probs = weights / weights.sum(axis=-1, keepdims=True)
    others = mode_weight_apart(weights)
    own = np.take_along_axis(probs, token, axis=-1)
    is_mode = token == weights.argmax(axis=-1, keepdims=True)
    score = 0.0 - probs
    np.put_along_axis(score, token, np.where(is_mode, others / (1.0 + others), 1.0 - own), axis=-1)
    return logits, score, weights, advantages
