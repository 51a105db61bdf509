"""The clipped policy loss of PPO, GRPO and DAPO, and how far entropy can go while every ratio is in the band.

The clip does not keep ratios in the band: it stops the gradient of tokens that have left it in the direction
of their advantage. The two functions here are therefore about two different things.
"""

from typing import NamedTuple

import numpy as np

from entropy_core._shapes import Bool, Real
from entropy_core.reference._tokens import over_tokens
from entropy_core.reference.softmax import probs

__all__ = ["ClippedPolicyLoss", "RatioBandExtremes", "clipped_policy_loss", "ratio_band_extremes"]


class ClippedPolicyLoss(NamedTuple):
    """The loss of one micro-batch and what a trainer logs with it.

    Every entry is a sum over this micro-batch divided by `token_count`, so entries of micro-batches add up to
    those of the batch. `removed_weight / weight` is the share of the first-order weight that the clip took
    out.

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

    loss: float
    clip_fraction_low: float
    clip_fraction_high: float
    approx_kl_k1: float
    approx_kl_k3: float
    mean_ratio: float
    weight: float
    removed_weight: float


class RatioBandExtremes(NamedTuple):
    """The least and the most random policy whose every ratio is in the band.

    Args:
        lowest: least entropy, in nats, one value a row.
        highest: greatest entropy, in nats.
        lowest_probs: the policy that has the least, shaped like the logits.
        highest_probs: the policy that has the greatest.
    """

    lowest: np.ndarray
    highest: np.ndarray
    lowest_probs: np.ndarray
    highest_probs: np.ndarray


def clipped_policy_loss(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    old_log_probs: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    clip_low: float,
    clip_high: float,
    token_count: int | float | None = None,
) -> ClippedPolicyLoss:
    """Clipped surrogate loss of PPO, its lower and upper clip apart, as a mean over all tokens.

    loss = −(1/token_count) Σ min(ratio · A, clip(ratio, 1 − clip_low, 1 + clip_high) · A),
    ratio = exp(log π − log π_old)

    Args:
        token_log_probs: log π of the token taken, in nats, finite where a token counts.
        old_log_probs: log π_old of the same token under the policy that sampled it, in nats, likewise.
        advantages: A, one a token, likewise.
        response_mask: True where a token counts; elsewhere nothing is read, NaN included.
        clip_low: ε_low in [0, 1]; 1 never clips a token whose advantage is negative.
        clip_high: ε_high ≥ 0; infinity never clips a token whose advantage is positive. Both .2 is PPO's
            symmetric clip, .2 and .28 is clip-higher.
        token_count: number of tokens of the whole batch, on all devices, that the sum is divided by; by
            default the number that counts here, at least 1. Pass it if this is one of several micro-batches.

    Returns:
        Loss and figures. A token exactly at an edge is not clipped. A mask that counts nothing gives 0.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, a value is not finite where a token counts, or a clip or the count is out
            of its range.

    Numerics:
        Relative error ≤ 1e-13 of the sum of |ratio · A|; tests/reference/test_clipping.py. Ratios are not
        truncated: a log-ratio above 709 overflows, which with A < 0 makes the loss infinite, because the
        objective is unbounded there.

    Source: claim `clipped-gradient`, chapter clipping; [schulman2017proximal], Equation 7; [yu2025dapo],
        Equation 10, whose sum runs over the tokens of one group, here over all; deviations of [verl2026code]
        and [trl2026code] stand with the function of the same name in `batched`.

    Example:
        >>> new, A = np.log([[1.5, 1.1, 0.5]]), np.array([[1.0, 1.0, -1.0]])
        >>> figures = clipped_policy_loss(new, np.zeros((1, 3)), A, np.ones((1, 3), bool), 0.2, 0.2)
        >>> round(figures.loss, 4), round(figures.clip_fraction_high, 4)  # (.8 − 1.2 − 1.1) / 3
        (-0.5, 0.3333)
    """
    _check_clips(clip_low, clip_high, token_count)
    mask, new, old, advantages = over_tokens(
        response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs, advantages=advantages
    )
    with np.errstate(over="ignore"):
        log_ratio = new - old
        ratio, excess = np.exp(log_ratio), np.expm1(log_ratio) - log_ratio
        too_high = (advantages > 0) & (ratio > 1 + clip_high)
        too_low = (advantages < 0) & (ratio < 1 - clip_low)
        push = np.where(advantages == 0, 0.0, ratio) * advantages
        edges = np.where(advantages > 0, min(1 + clip_high, np.finfo(float).max), 1 - clip_low)
        surrogate = np.where(too_high | too_low, edges * advantages, push)
    count = max(1, mask.sum()) if token_count is None else token_count
    mean = lambda values: float(values[mask].sum() / count)  # noqa: E731
    return ClippedPolicyLoss(
        loss=-mean(surrogate),
        clip_fraction_low=mean(too_low),
        clip_fraction_high=mean(too_high),
        approx_kl_k1=-mean(log_ratio),
        approx_kl_k3=mean(excess),
        mean_ratio=mean(ratio),
        weight=mean(abs(push)),
        removed_weight=mean(np.where(too_high | too_low, abs(push), 0.0)),
    )


def ratio_band_extremes(
    logits: Real[np.ndarray, "*batch actions"], clip_low: float, clip_high: float
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
        TypeError: logits are not real numbers that float64 holds.
        ValueError: logits hold NaN or +inf or allow no action, or a clip is out of its range.

    Numerics:
        Absolute error ≤ 1e-12 nats for up to 1000 actions, against linear programs and a solver of convex
        programs; tests/reference/test_clipping.py.

    Source: claim `ratio-band-extremes`, chapter clipping.

    Example:
        >>> extremes = ratio_band_extremes(np.log([0.5, 0.3, 0.2]), 0.2, 0.2)
        >>> extremes.lowest_probs.round(3), extremes.highest_probs.round(3)
        (array([0.6 , 0.24, 0.16]), array([0.4 , 0.36, 0.24]))
    """
    _check_clips(clip_low, clip_high, None)
    if clip_high == np.inf:
        raise ValueError("clip_high must be finite for a band; got inf. Pass the upper clip that is meant.")
    policy = probs(logits)
    lowest, highest = _raise_from_the_top(policy, clip_low, clip_high), _level(policy, clip_low, clip_high)
    entropies = [-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1) for p in (lowest, highest)]
    return RatioBandExtremes(*entropies, lowest, highest)


def _raise_from_the_top(policy, clip_low, clip_high):
    """The policy that majorises all others in the band: top sums min((1+h) P_k, 1 − (1−l)(1 − P_k))."""
    order = np.argsort(-policy, axis=-1)
    ordered = np.take_along_axis(policy, order, axis=-1)
    top = ordered.cumsum(axis=-1)
    below = np.append(ordered[..., ::-1].cumsum(axis=-1)[..., -2::-1], np.zeros_like(top[..., :1]), axis=-1)
    sums = np.minimum((1 + clip_high) * top, 1 - (1 - clip_low) * below)
    raised = np.diff(sums, axis=-1, prepend=0.0).clip((1 - clip_low) * ordered, (1 + clip_high) * ordered)
    moved = np.empty_like(policy)
    np.put_along_axis(moved, order, raised, axis=-1)
    return moved


def _level(policy, clip_low, clip_high):
    """The policy that all others in the band majorise: π′ = c or the nearest edge, c such that Σ π′ = 1."""
    low, high = (1 - clip_low) * policy, (1 + clip_high) * policy
    under, over = np.zeros((*policy.shape[:-1], 1)), high.max(axis=-1, keepdims=True)
    for _ in range(60):  # Σ rises with c; 60 halvings exhaust float64
        middle = (under + over) / 2
        short = middle.clip(low, high).sum(axis=-1, keepdims=True) < 1
        under, over = np.where(short, middle, under), np.where(short, over, middle)
    return over.clip(low, high)


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
