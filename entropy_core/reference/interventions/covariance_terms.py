"""One token's share in the covariance of a batch, and the exact statistics that all parts of it agree on.

A batch is cut into micro-batches and spread over processes for reasons of memory. A selection that depends on
its means must not see how: so the sums are exact rational numbers, which every cut adds up to, and each mean
is rounded once. Sums of rounded numbers, pairwise merged ones too, differ with the cut in their last bits.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from entropy_core._shapes import Bool, Float, Real
from entropy_core.reference._tokens import over_tokens

__all__ = ["TokenStatistics", "merge_token_statistics", "token_covariance_terms", "token_statistics"]


class TokenStatistics(NamedTuple):
    """How many tokens count and the exact sums of ℓ, A and ℓA over them: a state that merges.

    Args:
        count: N.
        log_prob_sum: Σ ℓ, in nats.
        advantage_sum: Σ A.
        product_sum: Σ ℓA.
    """

    count: int
    log_prob_sum: Fraction
    advantage_sum: Fraction
    product_sum: Fraction

    @property
    def mean_log_prob(self) -> float:
        """Mean of ℓ in nats, the exact one rounded once; 0 where no token counts."""
        return float(self.log_prob_sum / max(1, self.count))

    @property
    def mean_advantage(self) -> float:
        """Mean of A, the exact one rounded once; 0 where no token counts."""
        return float(self.advantage_sum / max(1, self.count))

    @property
    def batch_covariance(self) -> float:
        """Mean of the terms, Σ ℓA / N − (Σ ℓ / N)(Σ A / N), the exact one rounded once."""
        n = max(1, self.count)
        return float(self.product_sum / n - self.log_prob_sum * self.advantage_sum / n**2)


def token_statistics(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
) -> TokenStatistics:
    """Exact count and sums of the tokens of one part of a batch.

    N, Σ ℓ, Σ A, Σ ℓA

    Args:
        token_log_probs: ℓ, log π of the token taken, in nats, finite where a token counts.
        advantages: A, likewise.
        response_mask: True where a token counts; elsewhere nothing is read, NaN included.

    Returns:
        The state of this part. A part of which no token counts has the state of nothing, four zeros.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, or a value is not finite where a token counts.

    Numerics:
        Exact: sums are rational numbers. tests/reference/test_covariance_methods.py.

    Source: claim `selection-ignores-the-split`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation 10.

    Example:
        >>> halves = np.array([[-0.5, -1.5]])
        >>> token_statistics(halves, np.array([[1.0, -1.0]]), halves < 0).batch_covariance
        0.5
    """
    mask, log_probs, advantages = over_tokens(
        response_mask, token_log_probs=token_log_probs, advantages=advantages
    )
    log_probs, advantages = (list(map(Fraction, x[mask].tolist())) for x in (log_probs, advantages))
    products = (x * y for x, y in zip(log_probs, advantages, strict=True))
    return TokenStatistics(
        int(mask.sum()),
        sum(log_probs, Fraction(0)),
        sum(advantages, Fraction(0)),
        sum(products, Fraction(0)),
    )


def merge_token_statistics(parts: Sequence[TokenStatistics]) -> TokenStatistics:
    """Statistics of several parts of a batch together, whatever their order and their sizes.

    the sum of each field

    Args:
        parts: the states of disjoint parts.

    Returns:
        The state of all their tokens, equal to that of `token_statistics` of the whole.

    Numerics:
        Exact. tests/laws/test_selection_ignores_the_split.py.

    Source: claim `selection-ignores-the-split`, chapter clip-cov-and-kl-cov; against [chan1983algorithms],
        whose merge of means rounds.
    """
    return TokenStatistics(*(sum(field, type(field[0])(0)) for field in zip(*parts, strict=True)))


def token_covariance_terms(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    statistics: TokenStatistics | None = None,
) -> Float[np.ndarray, "batch tokens"]:
    """Each token's centred product, whose mean over the batch is the batch's covariance.

    (ℓ_i − mean ℓ)(A_i − mean A)

    Args:
        token_log_probs: ℓ, log π of the token taken, in nats, finite where a token counts.
        advantages: A, likewise; a constant added to ℓ or to A cancels.
        response_mask: True where a token counts.
        statistics: those of the whole batch, if these tokens are a part of it; None takes these tokens'.

    Returns:
        One term a token, in nats times the unit of A, of either sign; 0 where a token does not count.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, or a value is not finite where a token counts.

    Numerics:
        Two exact means, each rounded once, then three roundings: a token's term is the same bits in every
        part of the batch. Relative error ≤ 4e-16 × (1 + |mean ℓ / (ℓ − mean ℓ)| + the same of A), held by
        tests/reference/test_covariance_methods.py.

    Source: claim `selection-agrees-with-the-paper`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation
        10. The programs [cui2025code] and [verl2026code] centre by the means of one micro-batch, which see no
        covariance where it holds one advantage.

    Example:
        >>> log_probs, advantages = np.array([[-0.5, -1.5, np.nan]]), np.array([[1.0, -1.0, 7.0]])
        >>> token_covariance_terms(log_probs, advantages, np.array([[True, True, False]]))
        array([[0.5, 0.5, 0. ]])
    """
    if statistics is None:
        statistics = token_statistics(token_log_probs, advantages, response_mask)
    mask, log_probs, advantages = over_tokens(
        response_mask, token_log_probs=token_log_probs, advantages=advantages
    )
    terms = (log_probs - statistics.mean_log_prob) * (advantages - statistics.mean_advantage)
    return np.where(mask, terms, 0.0)
