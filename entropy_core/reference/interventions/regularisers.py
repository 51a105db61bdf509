"""Entropy bonus and reference divergence at their optimum, and advantages that leave entropy alone.

With m of n actions right and a reward gap Δ the optimum of E r + αH succeeds with probability
σ(Δ/α − log((n − m)/m)). A reference policy puts its own odds in the place of m/(n − m).

On tokens everything rests on the excess s = log π + H, the log-probability of the token taken less its mean;
H is the entropy of the token's own state, from the same read of the logits.
"""

from typing import NamedTuple

import numpy as np

from entropy_core._shapes import Bool, Float, Int, Real
from entropy_core.reference._moments import centred, expectation, per_row, shifted, softmax_weights
from entropy_core.reference._tokens import over_tokens
from entropy_core.reference._validation import allowed_actions, number, over_actions, over_batch
from entropy_core.reference.softmax import entropy

__all__ = [
    "EntropyBonus",
    "RepoSums",
    "critical_entropy_coefficient",
    "critical_kl_coefficient",
    "entropy_bonus_loss",
    "entropy_bonus_success",
    "merge_repo_sums",
    "natural_neutral_coefficient",
    "natural_repo_coefficient",
    "plain_neutral_coefficient",
    "plain_repo_coefficient",
    "reference_kl_success",
    "regularised_optimum_logits",
    "repo_advantages",
    "repo_sums",
    "rescaled_repo_advantages",
]


class EntropyBonus(NamedTuple):
    """The term that an entropy bonus adds to a loss, and what to log beside it.

    Args:
        loss: −α times the sum of entropies over the count that was given, in units of reward.
        mean_entropy: mean of H over the counted tokens of this chunk, in nats; 0 where there is none.
        tokens: number of counted tokens of this chunk.
    """

    loss: float | np.float64
    mean_entropy: float | np.float64
    tokens: int | np.int64


class RepoSums(NamedTuple):
    """Sums over tokens from which both neutral coefficients follow; sums of parts add up to the whole.

    Args:
        tokens: number of counted tokens.
        excess_advantage: Σ s A, with s = log π + H, in nats × reward.
        excess_square: Σ s², in nats².
        weighted_excess_advantage: Σ π s A.
        weighted_excess_square: Σ π s².
    """

    tokens: int | np.int64
    excess_advantage: float | np.float64
    excess_square: float | np.float64
    weighted_excess_advantage: float | np.float64
    weighted_excess_square: float | np.float64


def critical_entropy_coefficient(
    reward_gap: float | int | Real[np.ndarray, "*#batch"],
    right: float | int | Real[np.ndarray, "*#batch"],
    actions: float | int | Real[np.ndarray, "*#batch"],
) -> Float[np.ndarray, "*batch"] | float:
    """Coefficient of an entropy bonus at which its optimum succeeds half of the time.

    α_c = Δ / log((n − m)/m)

    Args:
        reward_gap: Δ > 0, reward of a right action less that of a wrong one.
        right: m, number of right actions, at least 1.
        actions: n, number of actions, more than m.

    Returns:
        α_c in units of reward per nat, the broadcast shape; infinite if half of the actions
            or more are right.

    Raises:
        TypeError: an argument is not real numbers.
        ValueError: a number is not finite or out of its range, or shapes do not fit.

    Numerics: Relative error ≤ 4 eps times 1 + 1/|log((n − m)/m)|. tests/reference/test_regularisers.py.

    Source: claim `bonus-transition`, chapter regularisers-and-controllers.

    Example:
        >>> critical_entropy_coefficient(1.0, 1, np.array([10, 150_000])).round(4)
        array([0.4551, 0.0839])
    """
    reward_gap, right, actions = over_batch(reward_gap=reward_gap, right=right, actions=actions)
    _check_counts(reward_gap, right, actions)
    return _critical(reward_gap, np.log((actions - right) / right))


def critical_kl_coefficient(
    reward_gap: float | int | Real[np.ndarray, "*#batch"],
    reference_success: float | int | Real[np.ndarray, "*#batch"],
) -> Float[np.ndarray, "*batch"] | float:
    """Coefficient of a reference divergence at which its optimum succeeds half of the time.

    β_c = Δ / log((1 − P̄)/P̄)

    Args:
        reward_gap: Δ > 0, reward of a right action less that of a wrong one.
        reference_success: P̄, probability of a right action under the reference, between 0 and 1.

    Returns:
        β_c in units of reward per nat, the broadcast shape; infinite if P̄ is at least ½.

    Raises:
        TypeError: an argument is not real numbers.
        ValueError: a number is not finite or out of its range, or shapes do not fit.

    Numerics: Relative error ≤ 4 eps times 1 + 1/|logit P̄|. tests/reference/test_regularisers.py.

    Source: claim `reference-transition`, chapter regularisers-and-controllers.

    Example:
        >>> round(float(critical_kl_coefficient(1.0, 0.01)), 4)
        0.2176
    """
    reward_gap, reference_success = over_batch(reward_gap=reward_gap, reference_success=reference_success)
    _check_success(reward_gap, reference_success)
    return _critical(reward_gap, np.log1p(-reference_success) - np.log(reference_success))


def entropy_bonus_success(
    coefficient: float | int | Real[np.ndarray, "*#batch"],
    reward_gap: float | int | Real[np.ndarray, "*#batch"],
    right: float | int | Real[np.ndarray, "*#batch"],
    actions: float | int | Real[np.ndarray, "*#batch"],
) -> Float[np.ndarray, "*batch"] | float:
    """Probability of a right action at the optimum of reward and entropy bonus.

    P = σ(Δ/α − log((n − m)/m))

    Args:
        coefficient: α > 0, in units of reward per nat.
        reward_gap: Δ > 0, reward of a right action less that of a wrong one.
        right: m, number of right actions, at least 1.
        actions: n, number of actions, more than m.

    Returns:
        P, between 0 and 1, the broadcast shape.

    Raises:
        TypeError: an argument is not real numbers.
        ValueError: a number is not finite or out of its range, or shapes do not fit.

    Numerics: Relative error of P and of its odds ≤ 4 eps (1 + Δ/α). tests/reference/test_regularisers.py.

    Source: claim `bonus-transition`, chapter regularisers-and-controllers.

    Example:
        >>> entropy_bonus_success(np.array([0.05, 0.0839, 0.2]), 1.0, 1, 150_000).round(3)
        array([1.   , 0.5  , 0.001])
    """
    coefficient, reward_gap, right, actions = over_batch(
        coefficient=coefficient, reward_gap=reward_gap, right=right, actions=actions
    )
    _check_positive(coefficient=coefficient)
    _check_counts(reward_gap, right, actions)
    return _sigmoid(reward_gap / coefficient - np.log((actions - right) / right))


def reference_kl_success(
    coefficient: float | int | Real[np.ndarray, "*#batch"],
    reward_gap: float | int | Real[np.ndarray, "*#batch"],
    reference_success: float | int | Real[np.ndarray, "*#batch"],
) -> Float[np.ndarray, "*batch"] | float:
    """Probability of a right action at the optimum of reward and reference divergence.

    P = σ(Δ/β + logit P̄)

    Args:
        coefficient: β > 0, in units of reward per nat.
        reward_gap: Δ > 0, reward of a right action less that of a wrong one.
        reference_success: P̄, probability of a right action under the reference, between 0 and 1.

    Returns:
        P, between 0 and 1, the broadcast shape.

    Raises:
        TypeError: an argument is not real numbers.
        ValueError: a number is not finite or out of its range, or shapes do not fit.

    Numerics: Relative error of P and of its odds ≤ 4 eps (1 + Δ/β). tests/reference/test_regularisers.py.

    Source: claim `reference-transition`, chapter regularisers-and-controllers.

    Example:
        >>> reference_kl_success(np.array([0.1, 0.2176, 1.0]), 1.0, 0.01).round(3)
        array([0.996, 0.5  , 0.027])
    """
    coefficient, reward_gap, reference_success = over_batch(
        coefficient=coefficient, reward_gap=reward_gap, reference_success=reference_success
    )
    _check_positive(coefficient=coefficient)
    _check_success(reward_gap, reference_success)
    return _sigmoid(reward_gap / coefficient + np.log(reference_success) - np.log1p(-reference_success))


def regularised_optimum_logits(
    reference_logits: Real[np.ndarray, "*#batch actions"],
    rewards: Real[np.ndarray, "*#batch actions"],
    entropy_coefficient: float | int,
    kl_coefficient: float | int,
) -> Float[np.ndarray, "*batch actions"]:
    """Logits of the policy that maximises reward, entropy bonus and minus the divergence from a reference.

    z* = (r + β z̄)/(α + β), the optimum of E r + α H − β KL(π‖π̄)

    Args:
        reference_logits: z̄ in nats; −inf forbids an action, with α alone too; a constant cancels.
        rewards: r, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant cancels.
        entropy_coefficient: α ≥ 0, in units of reward per nat.
        kl_coefficient: β ≥ 0, in units of reward per nat; α + β > 0.

    Returns:
        z* in nats, one row per broadcast row; −inf at forbidden actions.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: logits are not a policy, rewards are not finite at an allowed action, shapes do not fit, a
            coefficient is negative or not one finite number, or both are 0.

    Numerics: Error ≤ 4 eps (|r| + β |z̄ − max z̄|)/(α + β). tests/reference/test_regularisers.py.

    Source: claim `regularised-optimum`, chapter regularisers-and-controllers.

    Example:
        >>> logits, rewards = np.log([0.5, 0.25, 0.25]), np.array([0.0, 1.0, 0.0])
        >>> regularised_optimum_logits(logits, rewards, 0.5, 0.5).round(3)
        array([ 0.   ,  0.653, -0.347])
    """
    alpha = number("entropy_coefficient", entropy_coefficient)
    beta = number("kl_coefficient", kl_coefficient)
    if alpha < 0 or beta < 0 or alpha + beta == 0:
        raise ValueError(
            "entropy_coefficient and kl_coefficient must not be negative, and one must be positive; "
            f"{alpha} and {beta} came. Without regularisation the optimum has no logits: it is an arg max."
        )
    logits, rewards = over_actions(reference_logits, rewards=rewards)
    return np.where(allowed_actions(logits), (rewards + beta * shifted(logits)) / (alpha + beta), -np.inf)


def natural_neutral_coefficient(
    logits: Real[np.ndarray, "*#batch actions"], rewards: Real[np.ndarray, "*#batch actions"]
) -> Float[np.ndarray, "*batch"] | np.float64:
    """Coefficient α* at which the natural gradient of A − α(log π + H) leaves entropy alone to first order.

    α* = Cov(log π, A) / Var(log π)

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.
        rewards: r, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant cancels.

    Returns:
        α* in units of reward per nat, one a row, of either sign; 0 where log π is constant.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: logits are not a policy, rewards are not finite at an allowed action, or shapes do not
            fit.

    Numerics:
        Error ≤ 1e-12 sqrt(Var r / Var log π) wherever Var(log π) > 1e-20.
        tests/reference/test_regularisers.py.

    Source: claim `neutral-advantages`, chapter regularisers-and-controllers; [petrenko2026entropy].

    Example:
        >>> round(float(natural_neutral_coefficient(np.log([0.5, 0.4, 0.1]), np.array([0.0, 1.0, 0.0]))), 4)
        0.05
    """
    logits, rewards = over_actions(logits, rewards=rewards)
    weights = softmax_weights(logits)
    excess, gain = centred(shifted(logits), weights), centred(rewards, weights)
    return _ratio(expectation(excess * gain, weights), expectation(excess**2, weights))


def plain_neutral_coefficient(
    logits: Real[np.ndarray, "*#batch actions"], rewards: Real[np.ndarray, "*#batch actions"]
) -> Float[np.ndarray, "*batch"] | np.float64:
    """Coefficient α° at which the plain gradient of A − α(log π + H) leaves entropy alone to first order.

    α° = Cov(log π, πA) / E[π (log π + H)²]

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.
        rewards: r, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant cancels.

    Returns:
        α° in units of reward per nat, one a row, of either sign; 0 where log π is constant.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: logits are not a policy, rewards are not finite at an allowed action, or shapes do not
            fit.

    Numerics: Error ≤ 1e-12 sqrt(E[πA²] / E[π(log π + H)²]) wherever the latter is above 1e-20.
        tests/reference/test_regularisers.py.

    Source: claim `neutral-plain`, chapter regularisers-and-controllers; [petrenko2026entropy].

    Example:
        >>> round(float(plain_neutral_coefficient(np.log([0.5, 0.4, 0.1]), np.array([0.0, 1.0, 0.0]))), 4)
        -0.496
    """
    logits, rewards = over_actions(logits, rewards=rewards)
    weights = softmax_weights(logits)
    probs = weights / weights.sum(axis=-1, keepdims=True)
    excess, gain = centred(shifted(logits), weights), centred(rewards, weights)
    return _ratio(expectation(probs * excess * gain, weights), expectation(probs * excess**2, weights))


def repo_sums(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    entropy: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
) -> RepoSums:
    """Sums over counted tokens that give the entropy-neutral coefficients of a batch.

    Σ s A, Σ s², Σ π s A, Σ π s², with s = log π + H

    Args:
        token_log_probs: log π of the tokens taken, in nats, under the policy that took them.
        entropy: H of each token's state, in nats, of the same policy; minus the batch mean of
            token_log_probs in its place pools the states.
        advantages: A of each token, in units of reward.
        response_mask: True where a token counts; what stands elsewhere, NaN included, is ignored.

    Returns:
        The sums; `merge_repo_sums` adds those of another micro-batch or process.

    Raises:
        TypeError: the mask is not boolean, or a value is not a number.
        ValueError: shapes do not fit, or a counted value is not finite.

    Numerics: Relative error ≤ 1e-12 of the sums of absolute values. tests/reference/test_regularisers.py.

    Source: claims `neutral-advantages`, `neutral-plain`, chapter regularisers-and-controllers.

    Example:
        >>> taken, mask = np.log([[0.5, 0.1]]), np.array([[True, True]])
        >>> repo_sums(taken, np.full((1, 2), 1.0), np.array([[1.0, 0.0]]), mask).excess_advantage.round(4)
        np.float64(0.3069)
    """
    mask, taken, entropy, advantages = over_tokens(
        response_mask, token_log_probs=token_log_probs, entropy=entropy, advantages=advantages
    )
    excess, probs = taken + entropy, np.where(mask, np.exp(taken), 0.0)
    return RepoSums(
        mask.sum(),
        (excess * advantages).sum(),
        (excess**2).sum(),
        (probs * excess * advantages).sum(),
        (probs * excess**2).sum(),
    )


def merge_repo_sums(first: RepoSums, second: RepoSums) -> RepoSums:
    """Sums of two parts of a batch together.

    each sum of the first plus that of the second

    Args:
        first: sums of one micro-batch or process.
        second: sums of another, of other tokens.

    Returns:
        The sums of both.

    Numerics: One rounding a sum; the order does not matter but in the last digits.
        tests/reference/test_regularisers.py.

    Source: chapter regularisers-and-controllers.

    Example:
        >>> part = RepoSums(2, 0.5, 1.0, 0.25, 0.5)
        >>> merge_repo_sums(part, part).excess_square
        2.0
    """
    return RepoSums(*(a + b for a, b in zip(first, second, strict=True)))


def natural_repo_coefficient(sums: RepoSums) -> float | np.float64:
    """Estimate of the coefficient that is neutral under the natural gradient.

    α* ≈ Σ s A / Σ s²

    Args:
        sums: sums over the tokens of the whole batch.

    Returns:
        α* in units of reward per nat; 0 where Σ s² is 0.

    Numerics: One rounding. tests/reference/test_regularisers.py.

    Source: claim `neutral-sampled`, chapter regularisers-and-controllers.

    Example:
        >>> natural_repo_coefficient(RepoSums(2, 0.5, 1.0, 0.25, 1.25))
        0.5
    """
    return sums.excess_advantage / sums.excess_square if sums.excess_square > 0 else 0.0


def plain_repo_coefficient(sums: RepoSums) -> float | np.float64:
    """Estimate of the coefficient that is neutral under the plain gradient of a table of logits.

    α° ≈ Σ π s A / Σ π s²

    Args:
        sums: sums over the tokens of the whole batch.

    Returns:
        α° in units of reward per nat; 0 where Σ π s² is 0.

    Numerics: One rounding. tests/reference/test_regularisers.py.

    Source: claim `neutral-sampled`, chapter regularisers-and-controllers.

    Example:
        >>> plain_repo_coefficient(RepoSums(2, 0.5, 1.0, 0.25, 1.25))
        0.2
    """
    positive = sums.weighted_excess_square > 0
    return sums.weighted_excess_advantage / sums.weighted_excess_square if positive else 0.0


def repo_advantages(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    entropy: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    coefficient: float | int,
) -> Float[np.ndarray, "batch tokens"]:
    """Advantages less a multiple of the centred log-probability of the token taken.

    A − α (log π + H)

    Args:
        token_log_probs: log π of the tokens taken, in nats.
        entropy: H of each token's state, in nats; minus a mean of token_log_probs centres over that.
        advantages: A of each token, in units of reward.
        response_mask: True where a token counts; what stands elsewhere, NaN included, is ignored.
        coefficient: α in units of reward per nat: a fixed one is an entropy bonus, estimated from the batch
            (`natural_repo_coefficient`, `plain_repo_coefficient`) it leaves entropy alone to first order.

    Returns:
        The new advantages; 0 where a token does not count.

    Raises:
        TypeError: the mask is not boolean, or a value is not a number.
        ValueError: shapes do not fit, or a counted value or the coefficient is not finite.

    Numerics: Three roundings. tests/reference/test_regularisers.py.

    Source: claims `neutral-advantages`, `bonus-is-repo`, chapter regularisers-and-controllers;
        [petrenko2026entropy].

    Example:
        >>> taken, mask = np.log([[0.5, 0.1]]), np.array([[True, True]])
        >>> repo_advantages(taken, np.full((1, 2), 1.0), np.array([[1.0, 0.0]]), mask, 0.5).round(3)
        array([[0.847, 0.651]])
    """
    coefficient = number("coefficient", coefficient)
    _, taken, entropy, advantages = over_tokens(
        response_mask, token_log_probs=token_log_probs, entropy=entropy, advantages=advantages
    )
    return advantages - coefficient * (taken + entropy)


def rescaled_repo_advantages(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    scale: float | int,
) -> Float[np.ndarray, "batch tokens"]:
    """Advantages rescaled by the log-probability of the token taken, each kept on its side of 0.

    max(A (1 − ζ log π), 0) for A > 0, min(A (1 + ζ log π), 0) for A < 0

    Args:
        token_log_probs: log π of the tokens taken, in nats.
        advantages: A of each token, in units of reward.
        response_mask: True where a token counts; what stands elsewhere, NaN included, is ignored.
        scale: ζ, per nat; above 0 every gain grows and every loss shrinks, those of rare tokens most.

    Returns:
        The new advantages; 0 where a token does not count.

    Raises:
        TypeError: the mask is not boolean, or a value is not a number.
        ValueError: shapes do not fit, or a counted value or the scale is not finite.

    Numerics: Three roundings. tests/reference/test_regularisers.py.

    Source: claim `rescaled-advantages`, chapter regularisers-and-controllers; [petrenko2026entropy, Appendix
        D.2] as read in [skyrl1896].

    Example:
        >>> taken, mask = np.log([[0.5, 0.1]]), np.array([[True, True]])
        >>> rescaled_repo_advantages(taken, np.array([[1.0, -1.0]]), mask, 0.1).round(3)
        array([[ 1.069, -0.77 ]])
    """
    scale = number("scale", scale)
    _, taken, advantages = over_tokens(response_mask, token_log_probs=token_log_probs, advantages=advantages)
    factor = np.maximum(1 - scale * np.sign(advantages) * taken, 0.0)
    return advantages * factor


def entropy_bonus_loss(
    logits: Real[np.ndarray, "batch tokens actions"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    coefficient: float | int,
    token_count: int | np.int64 | Int[np.ndarray, ""] | None = None,
) -> EntropyBonus:
    """Term that an entropy bonus adds to a loss, from logits.

    −α Σ H / N over the counted tokens

    Args:
        logits: z in nats, already divided by the temperature at which tokens were drawn; −inf forbids an
            action, so that logits cut to a short list of actions give the bonus on that list.
        response_mask: True where a token counts; logits elsewhere, NaN included, are ignored.
        coefficient: α in units of reward per nat.
        token_count: N, the counted tokens of the whole batch, so that the losses of its chunks add up; None
            counts those given here.

    Returns:
        The loss, and the figures to log; loss 0 where no token counts.

    Raises:
        TypeError: the mask is not boolean, or logits or the coefficient are not numbers.
        ValueError: shapes do not fit, counted logits are not a policy, or the coefficient is not finite.

    Numerics: Relative error ≤ 1e-12. tests/reference/test_regularisers.py.

    Source: claim `regularised-optimum`, chapter regularisers-and-controllers.

    Example:
        >>> entropy_bonus_loss(np.zeros((1, 2, 4)), np.array([[True, False]]), 0.1).loss.round(4)
        np.float64(-0.1386)
    """
    coefficient, mask = number("coefficient", coefficient), np.asarray(response_mask)
    if mask.dtype != bool or mask.shape != np.shape(logits)[:-1]:
        kind = TypeError if mask.dtype != bool else ValueError
        raise kind(
            f"response_mask must be boolean with one value a token, shape {np.shape(logits)[:-1]}; "
            f"{mask.dtype} of shape {mask.shape} came. Logits have one axis more, the actions."
        )
    total = entropy(np.where(mask[..., None], logits, 0.0))[mask].sum()
    tokens = mask.sum()
    over = tokens if token_count is None else token_count
    return EntropyBonus(-coefficient * total / max(1, over), total / max(1, tokens), tokens)


def _critical(reward_gap, barrier):
    with np.errstate(divide="ignore"):
        return np.where(barrier > 0, reward_gap / np.maximum(barrier, 0.0), np.inf)[()]


def _sigmoid(x):
    grown = np.exp(-np.abs(x))
    return (np.where(x >= 0, 1.0, grown) / (1 + grown))[()]


def _ratio(above, below):
    """Return above/below of each row, 0 where below is 0."""
    return per_row(np.divide(above, below, out=np.zeros_like(above), where=below > 0))


def _check_positive(**values):
    for name, value in values.items():
        if not (value > 0).all():
            raise ValueError(f"{name} must be positive; {value.min()} came. Its limit 0 is plain reward.")


def _check_counts(reward_gap, right, actions):
    _check_positive(reward_gap=reward_gap)
    if not ((right >= 1) & (actions > right)).all():
        raise ValueError(
            f"right must be at least 1 and below actions; right from {right.min()} and actions from "
            f"{actions.min()} came. With no right or no wrong action nothing depends on the coefficient."
        )


def _check_success(reward_gap, reference_success):
    _check_positive(reward_gap=reward_gap)
    if not ((reference_success > 0) & (reference_success < 1)).all():
        raise ValueError(
            f"reference_success must lie between 0 and 1; {reference_success.min()} … "
            f"{reference_success.max()} came. A reference that never succeeds forbids success."
        )
