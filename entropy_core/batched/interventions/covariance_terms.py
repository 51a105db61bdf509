"""One token's share in the covariance of a batch, and the exact statistics that all parts of it agree on.

A batch is cut into micro-batches and spread over processes for reasons of memory. A selection that depends on
its means must not see how: so the sums are exact, which every cut adds up to, and each mean is rounded once.
Sums of rounded numbers, pairwise merged ones too, differ with the cut in their last bits.

Terms are float64 whatever the type of ℓ and A, and carry no gradient: they decide, they are not trained.
A mean is a number of the host, which waits for the device once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from entropy_core._shapes import Bool, Float
from entropy_core.batched._tokens import over_tokens
from entropy_core.batched.interventions._exact_sums import LOWEST, exact_dot, exact_sum, numerator

__all__ = ["TokenStatistics", "merge_token_statistics", "token_covariance_terms", "token_statistics"]


class TokenStatistics(NamedTuple):
    """How many tokens count and the exact sums of ℓ, A and ℓA over them: a state that merges.

    Every field is a tensor of int64 and merges by addition; a sum is one counter for each power of two.

    Args:
        count: N.
        log_prob_sum: Σ ℓ, in nats.
        advantage_sum: Σ A.
        product_sum: Σ ℓA.
    """

    count: torch.Tensor
    log_prob_sum: torch.Tensor
    advantage_sum: torch.Tensor
    product_sum: torch.Tensor

    @property
    def mean_log_prob(self) -> float:
        """Mean of ℓ in nats, the exact one rounded once; 0 where no token counts."""
        return numerator(self.log_prob_sum) / (max(1, int(self.count)) << -LOWEST)

    @property
    def mean_advantage(self) -> float:
        """Mean of A, the exact one rounded once; 0 where no token counts."""
        return numerator(self.advantage_sum) / (max(1, int(self.count)) << -LOWEST)

    @property
    def batch_covariance(self) -> float:
        """Mean of the terms, Σ ℓA / N − (Σ ℓ / N)(Σ A / N), the exact one rounded once."""
        n = max(1, int(self.count))
        log_probs, advantages, products = map(numerator, self[1:])
        return ((n * products << -LOWEST) - log_probs * advantages) / (n**2 << -2 * LOWEST)


def token_statistics(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    advantages: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
) -> TokenStatistics:
    """Exact count and sums of the tokens of one part of a batch.

    N, Σ ℓ, Σ A, Σ ℓA

    Args:
        token_log_probs: ℓ, log π of the token taken, in nats, finite where a token counts.
        advantages: A, likewise.
        response_mask: True where a token counts; elsewhere nothing is read, NaN included.

    Returns:
        The state of this part. A part of which no token counts has the state of nothing, zeros.

    Raises:
        TypeError: the mask is not boolean, or values are not floating-point tensors.
        ValueError: shapes or devices differ. NaN or infinite values raise where a mean is asked for.

    Numerics:
        Exact for up to 2³³ tokens, in any order of addition. tests/batched/test_covariance_methods.py.

    Source: claim `selection-ignores-the-split`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation 10.

    Example:
        >>> halves = torch.tensor([[-0.5, -1.5]])
        >>> token_statistics(halves, torch.tensor([[1.0, -1.0]]), halves < 0).batch_covariance
        0.5
    """
    log_probs, advantages = _exactly(response_mask, token_log_probs=token_log_probs, advantages=advantages)
    return TokenStatistics(
        response_mask.sum(), exact_sum(log_probs), exact_sum(advantages), exact_dot(log_probs, advantages)
    )


def merge_token_statistics(parts: Sequence[TokenStatistics]) -> TokenStatistics:
    """Statistics of several parts of a batch together, whatever their order and their sizes.

    the sum of each field

    Args:
        parts: the states of disjoint parts, on one device.

    Returns:
        The state of all their tokens, equal to that of `token_statistics` of the whole.

    Numerics:
        Exact. tests/laws/test_selection_ignores_the_split.py.

    Source: claim `selection-ignores-the-split`, chapter clip-cov-and-kl-cov; against [chan1983algorithms],
        whose merge of means rounds.
    """
    return TokenStatistics(*(torch.stack(field).sum(0) for field in zip(*parts, strict=True)))


def token_covariance_terms(
    token_log_probs: Float[torch.Tensor, "batch tokens"],
    advantages: Float[torch.Tensor, "batch tokens"],
    response_mask: Bool[torch.Tensor, "batch tokens"],
    statistics: TokenStatistics | None = None,
) -> Float[torch.Tensor, "batch tokens"]:
    """Each token's centred product, whose mean over the batch is the batch's covariance.

    (ℓ_i − mean ℓ)(A_i − mean A)

    Args:
        token_log_probs: ℓ, log π of the token taken, in nats, finite where a token counts.
        advantages: A, likewise; a constant added to ℓ or to A cancels.
        response_mask: True where a token counts.
        statistics: those of the whole batch, if these tokens are a part of it; None takes these tokens'.

    Returns:
        One term a token in float64, in nats times the unit of A, of either sign, without gradient; 0 where a
        token does not count.

    Raises:
        TypeError: the mask is not boolean, or values are not floating-point tensors.
        ValueError: shapes or devices differ, or a value of the batch is not finite where a token counts.

    Numerics:
        Two exact means, each rounded once, then three roundings: a token's term is the same bits in every
        part of the batch, and those of `reference`. tests/agreement/test_covariance_methods.py.

    Source: claim `selection-agrees-with-the-paper`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation
        10. The programs [cui2025code] and [verl2026code] centre by the means of one micro-batch, which see no
        covariance where it holds one advantage, in the type of ℓ.

    Example:
        >>> log_probs, advantages = torch.tensor([[-0.5, -1.5, torch.nan]]), torch.tensor([[1.0, -1.0, 7.0]])
        >>> token_covariance_terms(log_probs, advantages, torch.tensor([[True, True, False]]))
        tensor([[0.5000, 0.5000, 0.0000]], dtype=torch.float64)
    """
    if statistics is None:
        statistics = token_statistics(token_log_probs, advantages, response_mask)
    log_probs, advantages = _exactly(response_mask, token_log_probs=token_log_probs, advantages=advantages)
    terms = (log_probs - statistics.mean_log_prob) * (advantages - statistics.mean_advantage)
    return torch.where(response_mask, terms, 0.0)


def _exactly(response_mask, **tensors):
    """Return the values in float64, which holds them exactly, without gradient and 0 where masked."""
    return [x.detach().double() for x in over_tokens(response_mask, **tensors)]
