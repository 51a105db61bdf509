"""Clip-Cov and KL-Cov: losses in which a selection of tokens is dropped or held to the old policy.

Which tokens is `covariance_selection`'s business. Given the selection, the losses are those of the paper,
means over the tokens of the batch with the sign of something to minimise.

KL-Cov's penalty is called by one name, KL(π_old‖π), for three things, and each has its own function here:

* `absolute_log_ratio`, |ℓ − ℓ_old| of the token taken, is what the programs compute. It is no divergence: its
  mean under π_old exceeds |KL|, and its gradient is 0 where π = π_old.
* `sampled_kl_divergence`, ℓ_old − ℓ of the token taken, has the mean KL(π_old‖π) over tokens drawn from
  π_old. Over selected tokens it has not: a selection is no draw. Its gradient is nowhere 0.
* `kl_divergence(old_logits, logits - old_logits)`, of the whole state, is Equation 14. It needs logits. Its
  gradient is 0 where π = π_old.
"""

import math
from typing import NamedTuple

import numpy as np

from entropy_core._shapes import Bool, Float, Real
from entropy_core.reference._tokens import mean_over_tokens, over_tokens
from entropy_core.reference._validation import number
from entropy_core.reference.interventions.clipping import clipped_policy_loss
from entropy_core.reference.interventions.covariance_selection import TokenSelection
from entropy_core.reference.samples import sampled_entropy_change

__all__ = [
    "CovarianceFigures",
    "CovarianceLoss",
    "absolute_log_ratio",
    "clip_cov_loss",
    "kl_cov_loss",
    "sampled_kl_divergence",
]

TAILS = (2, 20, 200, 2000, 5000)  # tokens of ten thousand, the rows of Table 1


class CovarianceFigures(NamedTuple):
    """What a trainer logs beside the loss, over the tokens that count here.

    Args:
        batch_covariance: mean of the covariance terms; the batch's covariance if these are all its tokens.
        tail_means: mean of the largest .02, .2, 2, 20 and 50 percent of the terms, at least one term each.
        selected_share: share of the tokens that is selected.
        eligible_count: how many tokens of the whole batch could have been.
        first_order_entropy_change: mean over tokens of −(ℓ_old + H)(ℓ − ℓ_old), in nats; NaN where the
            entropy of the old policy is not given.
        second_order_entropy_change: the same to second order.
    """

    batch_covariance: float
    tail_means: np.ndarray
    selected_share: float
    eligible_count: int
    first_order_entropy_change: float
    second_order_entropy_change: float


class CovarianceLoss(NamedTuple):
    """A loss and its figures.

    Args:
        loss: what to minimise.
        figures: what to log.
    """

    loss: float
    figures: CovarianceFigures


def absolute_log_ratio(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    old_log_probs: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
) -> Float[np.ndarray, "batch tokens"]:
    """How far the log-probability of the token taken has moved, either way.

    |ℓ − ℓ_old|

    Args:
        token_log_probs: ℓ of the policy that is trained, in nats.
        old_log_probs: ℓ_old of the policy that sampled, in nats.
        response_mask: True where a token counts.

    Returns:
        One number a token in nats, ≥ 0; 0 where a token does not count.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, or a value is not finite where a token counts.

    Numerics:
        One rounding. In `batched` the gradient at ℓ = ℓ_old is 0. tests/batched/test_covariance_methods.py.

    Source: claim `penalty-first-step`; [cui2025entropy], Listing 1; [cui2025code], [verl2026code].
    """
    _, new, old = over_tokens(response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs)
    return abs(new - old)


def sampled_kl_divergence(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    old_log_probs: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
) -> Float[np.ndarray, "batch tokens"]:
    """One-sample estimate of the divergence of the policy that sampled from the one that is trained.

    ℓ_old − ℓ, of mean KL(π_old‖π) over tokens drawn from π_old

    Args:
        token_log_probs: ℓ of the policy that is trained, in nats.
        old_log_probs: ℓ_old of the policy that sampled, in nats.
        response_mask: True where a token counts.

    Returns:
        One number a token in nats, of either sign; 0 where a token does not count.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, or a value is not finite where a token counts.

    Numerics:
        One rounding. In `batched` the gradient in ℓ is −1. tests/batched/test_covariance_methods.py.

    Source: claim `penalty-first-step`.
    """
    _, new, old = over_tokens(response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs)
    return old - new


def clip_cov_loss(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    old_log_probs: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    selection: TokenSelection,
    clip_low: float | int,
    clip_high: float | int,
    token_count: int | None = None,
    old_entropy: Real[np.ndarray, "batch tokens"] | None = None,
) -> CovarianceLoss:
    """Clipped policy loss without the selected tokens.

    −Σ_{i ∉ I} min(ρ_i A_i, clip(ρ_i, 1 − clip_low, 1 + clip_high) A_i) / N, ρ = e^{ℓ − ℓ_old}

    Args:
        token_log_probs: ℓ of the policy that is trained, in nats.
        old_log_probs: ℓ_old of the policy that sampled, in nats.
        advantages: A.
        response_mask: True where a token counts.
        selection: `clip_cov_selection` of these tokens, or their part of a batch's.
        clip_low: ε_low as in `clipped_policy_loss`, a distance from 1.
        clip_high: ε_high likewise; 1 and infinity never clip.
        token_count: N, the selected tokens included; that of the whole batch makes the losses of its parts
            add up to its own. None counts these tokens.
        old_entropy: H of the policy that sampled at each token's state, in nats, for the predicted changes
            of entropy. ℓ_old + H has mean 0 in each state, so one sample a state is unbiased; centring ℓ_old
            over the batch instead would add the differences between states.

    Returns:
        The loss and its figures.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, a value is not finite where a token counts, or a clip or the count is out
            of its range.

    Numerics:
        Error ≤ 1e-13 of the mean of |ρ A|.
        tests/agreement/test_covariance_methods.py.

    Source: claim `selection-agrees-with-the-paper`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation
        12, which does not clip. The programs [cui2025code] and [verl2026code] clip, without the dual clip of
        verl's other loss, select in each micro-batch, at least one token, and leave tokens that the ratio
        clips out of the draw.
    """
    mask, new, old = over_tokens(response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs)
    kept = mask & ~_selected(mask, selection)
    count = _tokens(mask, token_count)
    loss = clipped_policy_loss(new, old, advantages, kept, clip_low, clip_high, count).loss
    return CovarianceLoss(loss, _figures(new, old, mask, selection, old_entropy))


def kl_cov_loss(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    old_log_probs: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    selection: TokenSelection,
    penalties: Real[np.ndarray, "batch tokens"],
    penalty_weight: float | int,
    token_count: int | None = None,
    old_entropy: Real[np.ndarray, "batch tokens"] | None = None,
) -> CovarianceLoss:
    """Policy loss with a penalty on the selected tokens.

    (−Σ_i ρ_i A_i + β Σ_{i ∈ I} penalty_i) / N, ρ = e^{ℓ − ℓ_old}

    Args:
        token_log_probs: ℓ of the policy that is trained, in nats.
        old_log_probs: ℓ_old of the policy that sampled, in nats.
        advantages: A.
        response_mask: True where a token counts.
        selection: `kl_cov_selection` of these tokens, or their part of a batch's.
        penalties: what a selected token pays, in nats; read at selected tokens only. `kl_divergence` of the
            states for the paper's loss, `absolute_log_ratio` for the programs'.
        penalty_weight: β; 1 in the paper and its scripts, .1 in verl's configuration.
        token_count: N; that of the whole batch makes the losses of its parts add up to its own. None counts
            these tokens.
        old_entropy: as in `clip_cov_loss`.

    Returns:
        The loss and its figures.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, or a value is not finite where a token counts, a penalty where selected.

    Numerics:
        Error ≤ 1e-13 of the mean of |ρ A| + β |penalty|.
        tests/agreement/test_covariance_methods.py.

    Source: claim `penalty-first-step`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation 14,
        β KL(π_old‖π) at the states of selected tokens. The programs [cui2025code] and [verl2026code] have
        β |ℓ − ℓ_old| of the token for it and select in each micro-batch, at least one token.
    """
    mask, new, old = over_tokens(response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs)
    _, paid = over_tokens(_selected(mask, selection), penalties=penalties)
    count = _tokens(mask, token_count)
    policy = clipped_policy_loss(new, old, advantages, mask, 1.0, math.inf, count)
    loss = policy.loss + number("penalty_weight", penalty_weight) * paid.sum() / count
    return CovarianceLoss(float(loss), _figures(new, old, mask, selection, old_entropy))


def _selected(mask, selection):
    """Return which of the tokens that count are selected."""
    if selection.selected.shape != mask.shape:
        raise ValueError(
            f"selection must be of these tokens, shape {mask.shape} as response_mask; "
            f"{selection.selected.shape} came. Give the rows of this part."
        )
    return mask & selection.selected


def _tokens(mask, token_count):
    """Return what the sum over tokens is divided by."""
    return max(1, int(mask.sum())) if token_count is None else token_count


def _figures(new, old, mask, selection, old_entropy):
    """Return the figures of a loss."""
    count = max(1, mask.sum())
    ordered = np.sort(selection.covariance_terms[mask])[::-1]
    sizes = [max(1, tail * int(mask.sum()) // 10_000) for tail in TAILS]
    tails = np.array([ordered[:size].sum() / size for size in sizes])
    first = second = float("nan")
    if old_entropy is not None:
        first, second, *_ = sampled_entropy_change(new, old, old_entropy, mask)
    return CovarianceFigures(
        float(mean_over_tokens(selection.covariance_terms, mask)),
        tails,
        float(_selected(mask, selection).sum() / count),
        selection.eligible_count,
        float(first),
        float(second),
    )
