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

import torch

from entropy_core._shapes import Bool, Float
from entropy_core.batched._tokens import mean_over_tokens, over_tokens
from entropy_core.batched.interventions.clipping import clipped_policy_loss
from entropy_core.batched.interventions.covariance_selection import TokenSelection
from entropy_core.batched.samples import sampled_entropy_change

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

    batch_covariance: torch.Tensor
    tail_means: torch.Tensor
    selected_share: torch.Tensor
    eligible_count: int
    first_order_entropy_change: torch.Tensor
    second_order_entropy_change: torch.Tensor


class CovarianceLoss(NamedTuple):
    """A loss and its figures.

    Args:
        loss: what to minimise.
        figures: what to log.
    """

    loss: torch.Tensor
    figures: CovarianceFigures


def absolute_log_ratio(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    old_log_probs: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
) -> Float[torch.Tensor, "batch tokens"]:
    """How far the log-probability of the token taken has moved, either way.

    |ℓ − ℓ_old|

    Args:
        token_log_probs: ℓ of the policy that is trained, in nats.
        old_log_probs: ℓ_old of the policy that sampled, in nats.
        response_mask: True where a token counts.

    Returns:
        One number a token in nats, ≥ 0; 0 where a token does not count.

    Raises:
        TypeError: the mask is not boolean, or values are not floating-point tensors.
        ValueError: shapes or devices differ.

    Numerics:
        One rounding. The gradient at ℓ = ℓ_old is 0. tests/batched/test_covariance_methods.py.

    Source: claim `penalty-first-step`; [cui2025entropy], Listing 1; [cui2025code], [verl2026code].
    """
    new, old = over_tokens(response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs)
    return (new - old.detach()).abs()


def sampled_kl_divergence(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    old_log_probs: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
) -> Float[torch.Tensor, "batch tokens"]:
    """One-sample estimate of the divergence of the policy that sampled from the one that is trained.

    ℓ_old − ℓ, of mean KL(π_old‖π) over tokens drawn from π_old

    Args:
        token_log_probs: ℓ of the policy that is trained, in nats.
        old_log_probs: ℓ_old of the policy that sampled, in nats.
        response_mask: True where a token counts.

    Returns:
        One number a token in nats, of either sign; 0 where a token does not count.

    Raises:
        TypeError: the mask is not boolean, or values are not floating-point tensors.
        ValueError: shapes or devices differ.

    Numerics:
        One rounding. The gradient in ℓ is −1. tests/batched/test_covariance_methods.py.

    Source: claim `penalty-first-step`.
    """
    new, old = over_tokens(response_mask, token_log_probs=token_log_probs, old_log_probs=old_log_probs)
    return old.detach() - new


def clip_cov_loss(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    old_log_probs: Float[torch.Tensor, "batch tokens"],
    advantages: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
    selection: TokenSelection,
    clip_low: float | int,
    clip_high: float | int,
    token_count: int | torch.Tensor | None = None,
    old_entropy: Float[torch.Tensor, "batch tokens"] | None = None,
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
        TypeError: the mask is not boolean, or values are not floating-point tensors.
        ValueError: shapes or devices differ, or a clip or the count is out of its range.

    Numerics:
        Error ≤ 1e-13 (float64) or 1e-5 (float32) of the mean of |ρ A|.
        tests/agreement/test_covariance_methods.py.

    Source: claim `selection-agrees-with-the-paper`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation
        12, which does not clip. The programs [cui2025code] and [verl2026code] clip, without the dual clip of
        verl's other loss, select in each micro-batch, at least one token, and leave tokens that the ratio
        clips out of the draw.
    """
    kept = response_mask & ~_selected(response_mask, selection)
    count = _tokens(response_mask, token_count)
    kept_loss = clipped_policy_loss(
        token_log_probs, old_log_probs, advantages, kept, clip_low, clip_high, count
    ).loss
    figures = _figures(token_log_probs, old_log_probs, response_mask, selection, old_entropy)
    return CovarianceLoss(kept_loss, figures)


def kl_cov_loss(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    old_log_probs: Float[torch.Tensor, "batch tokens"],
    advantages: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
    selection: TokenSelection,
    penalties: Float[torch.Tensor, "batch tokens"],
    penalty_weight: float | int,
    token_count: int | torch.Tensor | None = None,
    old_entropy: Float[torch.Tensor, "batch tokens"] | None = None,
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
        TypeError: the mask is not boolean, or values are not floating-point tensors.
        ValueError: shapes or devices differ, a penalty where selected.

    Numerics:
        Error ≤ 1e-13 (float64) or 1e-5 (float32) of the mean of |ρ A| + β |penalty|.
        tests/agreement/test_covariance_methods.py.

    Source: claim `penalty-first-step`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation 14,
        β KL(π_old‖π) at the states of selected tokens. The programs [cui2025code] and [verl2026code] have
        β |ℓ − ℓ_old| of the token for it and select in each micro-batch, at least one token.
    """
    count = _tokens(response_mask, token_count)
    policy = clipped_policy_loss(
        token_log_probs, old_log_probs, advantages, response_mask, 1.0, math.inf, count
    )
    (paid,) = over_tokens(_selected(response_mask, selection), penalties=penalties)
    figures = _figures(token_log_probs, old_log_probs, response_mask, selection, old_entropy)
    return CovarianceLoss(policy.loss + penalty_weight * paid.sum() / count, figures)


def _selected(response_mask, selection):
    """Return which of the tokens that count are selected."""
    if selection.selected.shape != response_mask.shape:
        raise ValueError(
            f"selection must be of these tokens, shape {tuple(response_mask.shape)} as response_mask; got "
            f"{tuple(selection.selected.shape)}. Give the rows of this part."
        )
    return response_mask & selection.selected


def _tokens(response_mask, token_count):
    """Return what the sum over tokens is divided by."""
    return response_mask.sum().clamp(min=1) if token_count is None else token_count


@torch.no_grad()
def _figures(token_log_probs, old_log_probs, response_mask, selection, old_entropy):
    """Return the figures of a loss; nothing here waits for the device."""
    (terms,) = over_tokens(response_mask, covariance_terms=selection.covariance_terms)
    count = response_mask.sum()
    ordered = torch.where(response_mask, terms, -torch.inf).flatten().sort(descending=True).values
    sums = torch.where(ordered.isneginf(), 0.0, ordered).cumsum(0)
    first = torch.nn.functional.pad(sums, (1, 0))  # of the first 0, 1, 2, … terms
    sizes = (torch.tensor(TAILS, device=count.device) * count // 10_000).clamp(min=1)
    changes = [torch.full((), torch.nan, dtype=terms.dtype, device=count.device)] * 2
    if old_entropy is not None:
        changes = sampled_entropy_change(token_log_probs, old_log_probs, old_entropy, response_mask)[:2]
    return CovarianceFigures(
        mean_over_tokens(terms, response_mask),
        first[sizes.minimum(count)] / sizes,
        _selected(response_mask, selection).sum() / count.clamp(min=1),
        selection.eligible_count,
        *changes,
    )
