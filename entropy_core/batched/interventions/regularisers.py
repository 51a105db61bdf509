"""Entropy bonus and reference divergence at their optimum, and advantages that leave entropy alone.

With m of n actions right and a reward gap Δ the optimum of E r + αH succeeds with probability
σ(Δ/α − log((n − m)/m)). A reference policy puts its own odds in the place of m/(n − m).

On tokens everything rests on the excess s = log π + H, the log-probability of the token taken less its mean;
H is the entropy of the token's own state, from the same read of the logits.
"""

import math
from typing import NamedTuple

import torch

from entropy_core._shapes import Bool, Float, Int
from entropy_core.batched._primitives import Centre, CentredLogProbs, Probs
from entropy_core.batched._tokens import over_tokens
from entropy_core.batched._validation import over_actions, over_batch
from entropy_core.batched.moments import policy_moments

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

    loss: torch.Tensor
    mean_entropy: torch.Tensor
    tokens: torch.Tensor


class RepoSums(NamedTuple):
    """Sums over tokens from which both neutral coefficients follow; sums of parts add up to the whole.

    Args:
        tokens: number of counted tokens.
        excess_advantage: Σ s A, with s = log π + H, in nats × reward.
        excess_square: Σ s², in nats².
        weighted_excess_advantage: Σ π s A.
        weighted_excess_square: Σ π s².
    """

    tokens: torch.Tensor
    excess_advantage: torch.Tensor
    excess_square: torch.Tensor
    weighted_excess_advantage: torch.Tensor
    weighted_excess_square: torch.Tensor


def critical_entropy_coefficient(
    reward_gap: float | int | Float[torch.Tensor, "*#batch"],
    right: float | int | Float[torch.Tensor, "*#batch"],
    actions: float | int | Float[torch.Tensor, "*#batch"],
) -> Float[torch.Tensor, "*batch"]:
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
        TypeError: an argument is neither a number nor a floating-point tensor.
        ValueError: a number is not finite, or devices or shapes do not fit.

    Numerics: Relative error ≤ 4 eps times 1 + 1/|log((n − m)/m)|. tests/batched/test_regularisers.py.

    Source: claim `bonus-transition`, chapter regularisers-and-controllers.

    Example:
        >>> critical_entropy_coefficient(1.0, 1, torch.tensor([10.0, 150_000.0])).round(decimals=4)
        tensor([0.4551, 0.0839])
    """
    reward_gap, right, actions = over_batch(reward_gap=reward_gap, right=right, actions=actions)
    return _critical(reward_gap, torch.log((actions - right) / right))


def critical_kl_coefficient(
    reward_gap: float | int | Float[torch.Tensor, "*#batch"],
    reference_success: float | int | Float[torch.Tensor, "*#batch"],
) -> Float[torch.Tensor, "*batch"]:
    """Coefficient of a reference divergence at which its optimum succeeds half of the time.

    β_c = Δ / log((1 − P̄)/P̄)

    Args:
        reward_gap: Δ > 0, reward of a right action less that of a wrong one.
        reference_success: P̄, probability of a right action under the reference, between 0 and 1.

    Returns:
        β_c in units of reward per nat, the broadcast shape; infinite if P̄ is at least ½.

    Raises:
        TypeError: an argument is neither a number nor a floating-point tensor.
        ValueError: a number is not finite, or devices or shapes do not fit.

    Numerics: Relative error ≤ 4 eps times 1 + 1/|logit P̄|. tests/batched/test_regularisers.py.

    Source: claim `reference-transition`, chapter regularisers-and-controllers.

    Example:
        >>> round(critical_kl_coefficient(1.0, 0.01).item(), 4)
        0.2176
    """
    reward_gap, reference_success = over_batch(reward_gap=reward_gap, reference_success=reference_success)
    return _critical(reward_gap, torch.log1p(-reference_success) - torch.log(reference_success))


def entropy_bonus_success(
    coefficient: float | int | Float[torch.Tensor, "*#batch"],
    reward_gap: float | int | Float[torch.Tensor, "*#batch"],
    right: float | int | Float[torch.Tensor, "*#batch"],
    actions: float | int | Float[torch.Tensor, "*#batch"],
) -> Float[torch.Tensor, "*batch"]:
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
        TypeError: an argument is neither a number nor a floating-point tensor.
        ValueError: a number is not finite, or devices or shapes do not fit.

    Numerics: Relative error of P and of its odds ≤ 4 eps (1 + Δ/α). tests/batched/test_regularisers.py.

    Source: claim `bonus-transition`, chapter regularisers-and-controllers.

    Example:
        >>> entropy_bonus_success(torch.tensor([0.05, 0.0839, 0.2]), 1.0, 1, 150_000).round(decimals=3)
        tensor([1.0000, 0.5000, 0.0010])
    """
    coefficient, reward_gap, right, actions = over_batch(
        coefficient=coefficient, reward_gap=reward_gap, right=right, actions=actions
    )
    return torch.sigmoid(reward_gap / coefficient - torch.log((actions - right) / right))


def reference_kl_success(
    coefficient: float | int | Float[torch.Tensor, "*#batch"],
    reward_gap: float | int | Float[torch.Tensor, "*#batch"],
    reference_success: float | int | Float[torch.Tensor, "*#batch"],
) -> Float[torch.Tensor, "*batch"]:
    """Probability of a right action at the optimum of reward and reference divergence.

    P = σ(Δ/β + logit P̄)

    Args:
        coefficient: β > 0, in units of reward per nat.
        reward_gap: Δ > 0, reward of a right action less that of a wrong one.
        reference_success: P̄, probability of a right action under the reference, between 0 and 1.

    Returns:
        P, between 0 and 1, the broadcast shape.

    Raises:
        TypeError: an argument is neither a number nor a floating-point tensor.
        ValueError: a number is not finite, or devices or shapes do not fit.

    Numerics: Relative error of P and of its odds ≤ 4 eps (1 + Δ/β). tests/batched/test_regularisers.py.

    Source: claim `reference-transition`, chapter regularisers-and-controllers.

    Example:
        >>> reference_kl_success(torch.tensor([0.1, 0.2176, 1.0]), 1.0, 0.01).round(decimals=3)
        tensor([0.9960, 0.5000, 0.0270])
    """
    coefficient, reward_gap, reference_success = over_batch(
        coefficient=coefficient, reward_gap=reward_gap, reference_success=reference_success
    )
    return torch.sigmoid(
        reward_gap / coefficient + torch.log(reference_success) - torch.log1p(-reference_success)
    )


def regularised_optimum_logits(
    reference_logits: Float[torch.Tensor, "*#batch actions"],
    rewards: Float[torch.Tensor, "*#batch actions"],
    entropy_coefficient: float | int,
    kl_coefficient: float | int,
) -> Float[torch.Tensor, "*batch actions"]:
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
        TypeError: a tensor is not floating-point.
        ValueError: there is no action, devices or shapes do not fit, a coefficient is negative or not finite,
            or both are 0.

    Numerics: Error ≤ 4 eps (|r| + β |z̄ − max z̄|)/(α + β). tests/batched/test_regularisers.py.

    Source: claim `regularised-optimum`, chapter regularisers-and-controllers.

    Example:
        >>> logits, rewards = torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor([0.0, 1.0, 0.0])
        >>> regularised_optimum_logits(logits, rewards, 0.5, 0.5).round(decimals=3)
        tensor([ 0.0000,  0.6530, -0.3470])
    """
    alpha, beta = entropy_coefficient, kl_coefficient
    if not all(math.isfinite(x) for x in (alpha, beta)) or alpha < 0 or beta < 0 or alpha + beta == 0:
        raise ValueError(
            "entropy_coefficient and kl_coefficient must be finite, not negative, and one of them positive; "
            f"{alpha} and {beta} came. Without regularisation the optimum has no logits: it is an arg max."
        )
    logits, rewards = over_actions(reference_logits=reference_logits, rewards=rewards)
    forbidden = logits == -torch.inf
    held = (logits - logits.detach().amax(dim=-1, keepdim=True)).masked_fill(forbidden, 0.0)
    pulled = (rewards.masked_fill(forbidden, 0.0) + beta * held) / (alpha + beta)
    return pulled.masked_fill(forbidden, -torch.inf)


def natural_neutral_coefficient(
    logits: Float[torch.Tensor, "*#batch actions"], rewards: Float[torch.Tensor, "*#batch actions"]
) -> Float[torch.Tensor, "*batch"]:
    """Coefficient α* at which the natural gradient of A − α(log π + H) leaves entropy alone to first order.

    α* = Cov(log π, A) / Var(log π)

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.
        rewards: r, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant cancels.

    Returns:
        α* in units of reward per nat, one a row, of either sign; 0 where log π is constant.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-12 (float64) or 1e-5 (float32) × sqrt(Var r / Var log π) wherever Var(log π) > 1e-20.
        Differentiable in both tensors. tests/batched/test_regularisers.py.

    Source: claim `neutral-advantages`, chapter regularisers-and-controllers; [petrenko2026entropy].

    Example:
        >>> logits, rewards = torch.tensor([0.5, 0.4, 0.1]).log(), torch.tensor([0.0, 1.0, 0.0])
        >>> round(natural_neutral_coefficient(logits, rewards).item(), 4)
        0.05
    """
    probs, excess, gain = _excess_and_gain(logits, rewards)
    return _ratio((probs * excess * gain).sum(dim=-1), (probs * excess**2).sum(dim=-1))


def plain_neutral_coefficient(
    logits: Float[torch.Tensor, "*#batch actions"], rewards: Float[torch.Tensor, "*#batch actions"]
) -> Float[torch.Tensor, "*batch"]:
    """Coefficient α° at which the plain gradient of A − α(log π + H) leaves entropy alone to first order.

    α° = Cov(log π, πA) / E[π (log π + H)²]

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.
        rewards: r, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant cancels.

    Returns:
        α° in units of reward per nat, one a row, of either sign; 0 where log π is constant.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-12 (float64) or 1e-5 (float32) × sqrt(E[πA²] / E[π(log π + H)²]) wherever the latter is
        above 1e-20. Differentiable in both tensors.
        tests/batched/test_regularisers.py.

    Source: claim `neutral-plain`, chapter regularisers-and-controllers; [petrenko2026entropy].

    Example:
        >>> logits, rewards = torch.tensor([0.5, 0.4, 0.1]).log(), torch.tensor([0.0, 1.0, 0.0])
        >>> round(plain_neutral_coefficient(logits, rewards).item(), 4)
        -0.496
    """
    probs, excess, gain = _excess_and_gain(logits, rewards)
    return _ratio((probs**2 * excess * gain).sum(dim=-1), (probs**2 * excess**2).sum(dim=-1))


def repo_sums(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    entropy: Float[torch.Tensor, "batch tokens"],
    advantages: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
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
        TypeError: the mask is not boolean, or a tensor is not of a floating-point type.
        ValueError: devices or shapes do not fit.

    Numerics: In float64 whatever the inputs: relative error ≤ 1e-12 of the sums of absolute values. No
        gradient passes. tests/batched/test_regularisers.py.

    Source: claims `neutral-advantages`, `neutral-plain`, chapter regularisers-and-controllers.

    Example:
        >>> taken, gain = torch.tensor([[0.5, 0.1]]).log(), torch.tensor([[1.0, 0.0]])
        >>> sums = repo_sums(taken, torch.ones(1, 2), gain, torch.ones(1, 2, dtype=torch.bool))
        >>> round(sums.excess_advantage.item(), 4)
        0.3069
    """
    taken, entropy, advantages = over_tokens(
        response_mask,
        token_log_probs=token_log_probs.detach(),
        entropy=entropy.detach(),
        advantages=advantages.detach(),
    )
    taken, entropy, advantages = (x.double() for x in (taken, entropy, advantages))
    excess, probs = taken + entropy, taken.exp()
    terms = (excess * advantages, excess**2, probs * excess * advantages, probs * excess**2)
    return RepoSums(response_mask.sum(), *(term.sum() for term in terms))


def merge_repo_sums(first: RepoSums, second: RepoSums) -> RepoSums:
    """Sums of two parts of a batch together.

    each sum of the first plus that of the second

    Args:
        first: sums of one micro-batch or process.
        second: sums of another, of other tokens.

    Returns:
        The sums of both.

    Numerics: One rounding a sum; the order does not matter but in the last digits.
        tests/batched/test_regularisers.py.

    Source: chapter regularisers-and-controllers.

    Example:
        >>> part = RepoSums(*torch.tensor([2.0, 0.5, 1.0, 0.25, 0.5]))
        >>> merge_repo_sums(part, part).excess_square
        tensor(2.)
    """
    return RepoSums(*(a + b for a, b in zip(first, second, strict=True)))


def natural_repo_coefficient(sums: RepoSums) -> Float[torch.Tensor, ""]:
    """Estimate of the coefficient that is neutral under the natural gradient.

    α* ≈ Σ s A / Σ s²

    Args:
        sums: sums over the tokens of the whole batch.

    Returns:
        α* in units of reward per nat; 0 where Σ s² is 0.

    Numerics: One rounding. tests/batched/test_regularisers.py.

    Source: claim `neutral-sampled`, chapter regularisers-and-controllers.

    Example:
        >>> natural_repo_coefficient(RepoSums(*torch.tensor([2.0, 0.5, 1.0, 0.25, 1.25])))
        tensor(0.5000)
    """
    return _ratio(sums.excess_advantage, sums.excess_square)


def plain_repo_coefficient(sums: RepoSums) -> Float[torch.Tensor, ""]:
    """Estimate of the coefficient that is neutral under the plain gradient of a table of logits.

    α° ≈ Σ π s A / Σ π s²

    Args:
        sums: sums over the tokens of the whole batch.

    Returns:
        α° in units of reward per nat; 0 where Σ π s² is 0.

    Numerics: One rounding. tests/batched/test_regularisers.py.

    Source: claim `neutral-sampled`, chapter regularisers-and-controllers.

    Example:
        >>> plain_repo_coefficient(RepoSums(*torch.tensor([2.0, 0.5, 1.0, 0.25, 1.25])))
        tensor(0.2000)
    """
    return _ratio(sums.weighted_excess_advantage, sums.weighted_excess_square)


def repo_advantages(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    entropy: Float[torch.Tensor, "batch tokens"],
    advantages: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
    coefficient: float | int | Float[torch.Tensor, ""],
) -> Float[torch.Tensor, "batch tokens"]:
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
        TypeError: the mask is not boolean, or a tensor is not of a floating-point type.
        ValueError: devices or shapes do not fit, or the coefficient is not finite.

    Numerics:
        Three roundings. The gradient passes to advantages alone: the shaping is a number.
        tests/batched/test_regularisers.py.

    Source: claims `neutral-advantages`, `bonus-is-repo`, chapter regularisers-and-controllers;
        [petrenko2026entropy].

    Example:
        >>> taken, gain = torch.tensor([[0.5, 0.1]]).log(), torch.tensor([[1.0, 0.0]])
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> repo_advantages(taken, torch.ones(1, 2), gain, mask, 0.5).round(decimals=3)
        tensor([[0.8470, 0.6510]])
    """
    (coefficient,) = over_batch(coefficient=coefficient)
    taken, entropy, advantages = over_tokens(
        response_mask,
        token_log_probs=token_log_probs.detach(),
        entropy=entropy.detach(),
        advantages=advantages,
    )
    return advantages - coefficient.to(taken.device) * (taken + entropy)


def rescaled_repo_advantages(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    advantages: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
    scale: float | int | Float[torch.Tensor, ""],
) -> Float[torch.Tensor, "batch tokens"]:
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
        TypeError: the mask is not boolean, or a tensor is not of a floating-point type.
        ValueError: devices or shapes do not fit, or the scale is not finite.

    Numerics:
        Three roundings. The gradient passes to advantages alone: the shaping is a number.
        tests/batched/test_regularisers.py.

    Source: claim `rescaled-advantages`, chapter regularisers-and-controllers; [petrenko2026entropy, Appendix
        D.2] as read in [skyrl1896].

    Example:
        >>> taken, gain = torch.tensor([[0.5, 0.1]]).log(), torch.tensor([[1.0, -1.0]])
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> rescaled_repo_advantages(taken, gain, mask, 0.1).round(decimals=3)
        tensor([[ 1.0690, -0.7700]])
    """
    (scale,) = over_batch(scale=scale)
    taken, advantages = over_tokens(
        response_mask, token_log_probs=token_log_probs.detach(), advantages=advantages
    )
    factor = 1 - scale.to(taken.device) * advantages.detach().sign() * taken
    return advantages * factor.clamp(min=0)


def entropy_bonus_loss(
    logits: Float[torch.Tensor, "batch tokens actions"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
    coefficient: float | int,
    token_count: int | Int[torch.Tensor, ""] | None = None,
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
        TypeError: the mask is not boolean, logits are not floating-point, or the coefficient is not a number.
        ValueError: devices or shapes do not fit, or the coefficient is not finite.

    Numerics: Those of `policy_moments`. tests/batched/test_regularisers.py.

    Source: claim `regularised-optimum`, chapter regularisers-and-controllers.

    Example:
        >>> counted = torch.tensor([[True, False]])
        >>> entropy_bonus_loss(torch.zeros(1, 2, 4), counted, 0.1).loss.round(decimals=4)
        tensor(-0.1386)
    """
    (coefficient,) = over_batch(coefficient=coefficient)
    (ones,) = over_tokens(response_mask, rows_of_logits=torch.ones_like(logits[..., 0]))
    tokens = response_mask.sum()
    taken = logits.detach().argmax(dim=-1)
    entropies = policy_moments(logits, taken, response_mask=response_mask).entropy
    total = entropies.sum()
    over = tokens if token_count is None else torch.as_tensor(token_count, device=ones.device)
    loss = -coefficient.to(total) * total / over.clamp(min=1)
    return EntropyBonus(loss, total.detach() / tokens.clamp(min=1), tokens)


def _excess_and_gain(logits, rewards):
    """Return π, log π + H and r − E r, each exactly 0 where forbidden."""
    logits, rewards = over_actions(logits=logits, rewards=rewards)
    return Probs.apply(logits), CentredLogProbs.apply(logits), Centre.apply(rewards, logits)


def _critical(reward_gap, barrier):
    return torch.where(barrier > 0, reward_gap / barrier, torch.inf)


def _ratio(above, below):
    """Return above/below, 0 where below is 0, with a finite gradient there."""
    positive = below > 0
    return torch.where(positive, above / torch.where(positive, below, 1.0), 0.0)
