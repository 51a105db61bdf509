"""The clipped policy loss of PPO, GRPO and DAPO, and how far entropy can go while every ratio is in the band.

The clip does not keep ratios in the band: it stops the gradient of tokens that have left it in the direction
of their advantage. The two functions here are therefore about two different things.
"""

from typing import NamedTuple

import torch

from entropy_core._shapes import Bool, Float
from entropy_core.batched._tokens import over_tokens
from entropy_core.batched._validation import over_actions
from entropy_core.batched.softmax import probs

__all__ = ["ClippedPolicyLoss", "RatioBandExtremes", "clipped_policy_loss", "ratio_band_extremes"]


class ClippedPolicyLoss(NamedTuple):
    """The loss of one micro-batch and what a trainer logs with it.

    Every entry is a sum over this micro-batch divided by `token_count`, so entries of micro-batches add up to
    those of the batch. `removed_weight / weight` is the share of the first-order weight that the clip took
    out. Only the loss carries a gradient.

    Args:
        loss: minus the clipped surrogate, in units of the advantage.
        clip_fraction_low: share of tokens with A < 0 and ratio < 1 − clip_low.
        clip_fraction_high: share of tokens with A > 0 and ratio > 1 + clip_high.
        approx_kl_k1: mean of log π_old − log π, in nats; over tokens of π_old an unbiased estimate of
            KL(π_old‖π), of either sign.
        approx_kl_k3: mean of ratio − 1 − log ratio, in nats; estimates the same, never negative.
        mean_ratio: mean of π/π_old; 1 in expectation over tokens of π_old.
        weight: mean of |ratio · A|, the size of a token's push on its log-probability without the clip.
        removed_weight: the same over clipped tokens only.
    """

    loss: torch.Tensor
    clip_fraction_low: torch.Tensor
    clip_fraction_high: torch.Tensor
    approx_kl_k1: torch.Tensor
    approx_kl_k3: torch.Tensor
    mean_ratio: torch.Tensor
    weight: torch.Tensor
    removed_weight: torch.Tensor


class RatioBandExtremes(NamedTuple):
    """The least and the most random policy whose every ratio is in the band.

    Args:
        lowest: least entropy, in nats, one value a row.
        highest: greatest entropy, in nats.
        lowest_probs: the policy that has the least, shaped like the logits.
        highest_probs: the policy that has the greatest.
    """

    lowest: torch.Tensor
    highest: torch.Tensor
    lowest_probs: torch.Tensor
    highest_probs: torch.Tensor


def clipped_policy_loss(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    old_log_probs: Float[torch.Tensor, "batch tokens"],
    advantages: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
    clip_low: float,
    clip_high: float,
    token_count: int | float | torch.Tensor | None = None,
) -> ClippedPolicyLoss:
    """Clipped surrogate loss of PPO, its lower and upper clip apart, as a mean over all tokens.

    loss = −(1/token_count) Σ min(ratio · A, clip(ratio, 1 − clip_low, 1 + clip_high) · A),
    ratio = exp(log π − log π_old)

    Args:
        token_log_probs: log π of the token taken, in nats; the only argument that receives a gradient.
        old_log_probs: log π_old of the same token under the policy that sampled it, in nats; a constant.
        advantages: A, one a token; a constant.
        response_mask: True where a token counts; elsewhere nothing is read, NaN included.
        clip_low: ε_low in [0, 1]; 1 never clips a token whose advantage is negative.
        clip_high: ε_high ≥ 0; infinity never clips a token whose advantage is positive. Both .2 is PPO's
            symmetric clip, .2 and .28 is clip-higher.
        token_count: number of tokens of the whole batch, on all devices, that the sum is divided by; by
            default the number that counts here, at least 1. Pass it if this is one of several micro-batches.

    Returns:
        Loss and figures, scalars in float64 if an input is float64, else in float32. A token exactly at an
        edge is not clipped. A mask that counts nothing gives 0.

    Raises:
        TypeError: the mask is not boolean, or values are not floating-point tensors.
        ValueError: shapes or devices differ, or a clip or the count is out of its range.

    Numerics:
        Value and gradient agree with the literal formula to 1e-12 (float64) or 1e-5 (float32) of the sum of
        |ratio · A|; tests/batched/test_clipping.py. Ratios are not truncated. Where exp overflows (log-ratios
        above 88 in float32, an old log-probability of −inf) a token with A > 0 is clipped, with finite loss
        and gradient 0; with A = 0 it adds 0; with A < 0 loss and gradient are infinite, because the objective
        is unbounded there. Both log-probabilities −inf give NaN.

    Source: claim `clipped-gradient`, chapter clipping; [schulman2017proximal], Equation 7; [yu2025dapo],
        Equation 10, whose sum runs over the tokens of one group, here over all. Deviates from [verl2026code]
        (`compute_policy_loss_vanilla`): no truncation of log-ratios to ±20, no dual clip
        (`clip_ratio_c` = 3, which bounds the loss for A < 0); `loss_agg_mode` there is "token-mean" by
        default. Of the `loss_type`s of [trl2026code] "dapo" is this mean, "bnpo" averages micro-batches that
        were each divided by their own count, "grpo" averages over responses first.

    Example:
        >>> old, A = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([[1.0, 1.0, -1.0]])
        >>> new = torch.log(torch.tensor([[1.5, 1.1, 0.5]], dtype=torch.float64))
        >>> figures = clipped_policy_loss(new, old, A, torch.ones(1, 3, dtype=torch.bool), 0.2, 0.2)
        >>> round(figures.loss.item(), 4), round(figures.clip_fraction_high.item(), 4)  # (.8 − 1.2 − 1.1) / 3
        (-0.5, 0.3333)
    """
    _check_clips(clip_low, clip_high, token_count)
    new, old, weights = over_tokens(
        response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs, advantages=advantages
    )
    old, weights = old.detach(), weights.detach()
    log_ratio = new - old
    ratio = log_ratio.detach().exp()
    too_high = (weights > 0) & (ratio > 1 + clip_high)
    too_low = (weights < 0) & (ratio < 1 - clip_low)
    clipped = too_high | too_low
    idle = (weights == 0) & torch.isposinf(ratio)  # ∞ · 0
    moving = torch.where(clipped | idle, 0.0, log_ratio).exp() * weights
    edge = torch.where(too_high, (1 + clip_high) * weights, (1 - clip_low) * weights)
    surrogate = torch.where(clipped, edge, moving)

    count = response_mask.sum().clamp(min=1) if token_count is None else token_count
    mean = lambda values: values.sum() / count  # noqa: E731
    flat, counted = log_ratio.detach(), response_mask.to(ratio.dtype)
    pushes = torch.where(idle, 0.0, ratio) * weights.abs()
    return ClippedPolicyLoss(
        loss=-mean(surrogate),
        clip_fraction_low=mean(too_low.to(ratio.dtype)),
        clip_fraction_high=mean(too_high.to(ratio.dtype)),
        approx_kl_k1=mean(-flat),
        approx_kl_k3=mean(torch.where(torch.isposinf(ratio), ratio, torch.expm1(flat) - flat)),
        mean_ratio=mean(ratio * counted),
        weight=mean(pushes),
        removed_weight=mean(torch.where(clipped, pushes, 0.0)),
    )


def ratio_band_extremes(
    logits: Float[torch.Tensor, "*batch actions"], clip_low: float, clip_high: float
) -> RatioBandExtremes:
    """Least and greatest entropy of a policy whose ratio to π is in the band at every action.

    H(π′) over all π′ with 1 − clip_low ≤ π′/π ≤ 1 + clip_high, Σ π′ = 1

    Args:
        logits: z of π in nats; −inf forbids an action; a common constant cancels.
        clip_low: ε_low in [0, 1].
        clip_high: ε_high ≥ 0, finite.

    Returns:
        Entropies in nats and the policies that have them. The least raises actions to the upper edge from the
        likeliest on and lowers the rest to the lower edge, one action between. The greatest moves every
        action as near to one common level as its band allows.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action, or a clip is out of its range.

    Numerics:
        Absolute error ≤ 1e-12 nats (float64) or 1e-4 (float32) for up to 1000 actions;
        tests/batched/test_clipping.py. Not meant to be differentiated: the extremes have kinks.

    Source: claim `ratio-band-extremes`, chapter clipping.

    Example:
        >>> extremes = ratio_band_extremes(torch.tensor([0.5, 0.3, 0.2]).double().log(), 0.2, 0.2)
        >>> [p.round(decimals=3).tolist() for p in extremes[2:]]
        [[0.6, 0.24, 0.16], [0.4, 0.36, 0.24]]
    """
    _check_clips(clip_low, clip_high, None)
    if clip_high == float("inf"):
        raise ValueError("clip_high must be finite for a band; got inf. Pass the upper clip that is meant.")
    (logits,) = over_actions(logits=logits)
    policy = probs(logits)
    lowest, highest = _raise_from_the_top(policy, clip_low, clip_high), _level(policy, clip_low, clip_high)
    entropy_of = lambda p: -torch.special.xlogy(p, p).sum(-1)  # noqa: E731
    return RatioBandExtremes(entropy_of(lowest), entropy_of(highest), lowest, highest)


def _raise_from_the_top(policy, clip_low, clip_high):
    """The policy that majorises all others in the band: top sums min((1+h) P_k, 1 − (1−l)(1 − P_k))."""
    ordered, order = policy.sort(dim=-1, descending=True)
    room = (clip_high + clip_low) * ordered  # from the lower edge to the upper
    before = room.cumsum(-1) - room
    spent = (clip_low - before).clamp(min=0.0).minimum(room)
    return torch.zeros_like(policy).scatter(-1, order, (1 - clip_low) * ordered + spent)


def _level(policy, clip_low, clip_high):
    """The policy that all others in the band majorise: π′ = c or the nearest edge, c such that Σ π′ = 1."""
    low, high = (1 - clip_low) * policy, (1 + clip_high) * policy
    breaks, order = torch.cat([low, high], dim=-1).sort(dim=-1)
    slopes = torch.where(order < policy.shape[-1], 1.0, -1.0).to(policy.dtype).cumsum(-1)
    rise = torch.zeros_like(breaks)
    rise[..., 1:] = (slopes[..., :-1] * breaks.diff(dim=-1)).cumsum(-1)
    k = (rise <= clip_low).sum(-1, keepdim=True) - 1
    short = clip_low - rise.gather(-1, k)
    level = breaks.gather(-1, k) + short / slopes.gather(-1, k).clamp(min=1.0)
    return level.maximum(low).minimum(high)


def _check_clips(clip_low, clip_high, token_count):
    if not 0 <= clip_low <= 1 or not clip_high >= 0:
        raise ValueError(
            f"clip_low must lie in [0, 1] and clip_high be at least 0; got {clip_low} and {clip_high}. They "
            "are distances from 1, such as 0.2 and 0.28, not edges; 1 and float('inf') never clip."
        )
    if isinstance(token_count, (int, float)) and not token_count > 0:
        raise ValueError(
            f"token_count must be positive; got {token_count}. It is the number of tokens of the whole batch "
            "that count, on all devices; leave it out if this is the whole batch."
        )
