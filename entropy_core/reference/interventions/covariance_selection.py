"""Which tokens Clip-Cov and KL-Cov select: the same ones, however the batch is cut.

Both methods take the first few of an order. Clip-Cov's is a draw: a key computed from the seed and the
token's index alone, smallest first, among the tokens whose term lies between two bounds. KL-Cov's is the
covariance term, largest first. Ties go to the lowest index. The first K of a batch are among the first K of
each part, so a part's first K are a state that merges: join two, order, keep K.

A token's index is 2³² times the index of its response plus its position, which neither padding nor the order
of the responses changes.

What is guaranteed: the selection is a function of the seed and of index, ℓ and A of the tokens that count,
and of nothing else. What is not: that a model gives a token the same ℓ, to the last bit, in a micro-batch of
another shape. Ties are ties of float64 terms: terms that are equal but for rounding may be ordered either
way, though the same way in every cut.

Selecting among all tokens needs ℓ of all tokens before the first loss. In the first update with a batch ℓ is
ℓ_old, which is there; later it takes a pass without gradient.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from entropy_core._shapes import Bool, Float, Int, Real
from entropy_core.reference._tokens import over_tokens
from entropy_core.reference._validation import number
from entropy_core.reference.interventions.covariance_terms import token_covariance_terms

__all__ = [
    "TokenCandidates",
    "TokenSelection",
    "clip_cov_candidates",
    "clip_cov_selection",
    "kl_cov_candidates",
    "kl_cov_selection",
    "merge_candidates",
    "selection_from",
    "selection_size",
]

POSITIONS = 2**32


class TokenCandidates(NamedTuple):
    """The first tokens of an order, at most as many as the batch selects: a state that merges.

    Args:
        keys: what the tokens are ordered by, smallest first.
        indices: their indices in the batch.
        eligible_count: how many tokens of this part could have been candidates.
        wanted: how many tokens the whole batch selects, if so many are eligible.
    """

    keys: np.ndarray
    indices: np.ndarray
    eligible_count: int
    wanted: int


class TokenSelection(NamedTuple):
    """Which of these tokens are selected.

    Args:
        selected: True at a selected token.
        covariance_terms: the terms that decided, 0 where a token does not count.
        eligible_count: how many tokens of the whole batch could have been selected.
    """

    selected: np.ndarray
    covariance_terms: np.ndarray
    eligible_count: int


def selection_size(fraction: float | int, token_count: int) -> int:
    """How many of a batch's tokens a method selects at most.

    ⌊fraction × N⌋

    Args:
        fraction: r or k, from 0 to 1, read as the decimal that it prints as: 0.29 of 100 is 29, although the
            product of the two floats is less.
        token_count: N, how many tokens of the whole batch count.

    Returns:
        A whole number, possibly 0.

    Raises:
        TypeError: fraction is not a number.
        ValueError: fraction is not from 0 to 1, or the count is negative.

    Numerics:
        Exact. tests/reference/test_covariance_methods.py.

    Source: claim `published-count-grows-with-the-split`, chapter clip-cov-and-kl-cov; [cui2025entropy],
        Equations 11 and 13. The programs [cui2025code] and [verl2026code] take at least one token of each
        micro-batch, so that their number grows with the number of micro-batches.

    Example:
        >>> selection_size(2e-4, 8192), selection_size(2e-4, 4999)
        (1, 0)
    """
    fraction = number("fraction", fraction)
    if not 0 <= fraction <= 1:
        raise ValueError(
            f"fraction must be from 0 to 1; {fraction} came. It is a share of the tokens, not a percentage."
        )
    if token_count < 0:
        raise ValueError(f"token_count must not be negative; {token_count} came. Give the number of tokens.")
    return int(Fraction(repr(float(fraction))) * int(token_count))


def clip_cov_candidates(
    covariance_terms: Float[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    token_count: int,
    fraction: float | int,
    covariance_low: float | int,
    covariance_high: float | int,
    seed: int,
    response_indices: Int[np.ndarray, " batch"] | None = None,
) -> TokenCandidates:
    """Tokens of one part of a batch that Clip-Cov may drop: the first of a draw among the eligible.

    the ⌊fraction × N⌋ smallest keys of {i : covariance_low < Cov_i < covariance_high}

    Args:
        covariance_terms: `token_covariance_terms` of this part, by the statistics of the whole batch.
        response_mask: True where a token counts and may be drawn. To leave out the tokens that the clipped
            objective drops anyway, as the programs do, make them False here.
        token_count: N, how many tokens of the whole batch count.
        fraction: r, from 0 to 1.
        covariance_low: ω_low, in the unit of the terms; 1 in the paper.
        covariance_high: ω_high, likewise; 5 in the paper.
        seed: names the draw; take another one at each update, the number of the step for example.
        response_indices: the index of each of these responses in the whole batch, no two alike; None counts
            them from 0.

    Returns:
        The state of this part.

    Raises:
        TypeError: the mask is not boolean, the seed not whole, or values are not numbers.
        ValueError: shapes differ, fraction is not from 0 to 1, bounds are out of order, indices repeat or
            leave 31 bits.

    Numerics:
        Comparisons and integers only. The keys are those of SplitMix64: no two tokens of a batch share one.
        tests/laws/test_selection_ignores_the_split.py.

    Source: claim `selection-ignores-the-split`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation 11;
        [steele2014fast]. The programs [cui2025code] and [verl2026code] draw with the generator of the process
        from one micro-batch, at least one token.
    """
    low, high = number("covariance_low", covariance_low), number("covariance_high", covariance_high)
    if not low < high:
        raise ValueError(
            f"covariance_low must be below covariance_high; {low} and {high} came. Exchange them."
        )
    mask, terms = over_tokens(response_mask, covariance_terms=covariance_terms)
    eligible = mask & (terms > low) & (terms < high)
    indices = _token_indices(mask, response_indices)[eligible]
    return _first(_draw(seed, indices), indices, selection_size(fraction, token_count))


def kl_cov_candidates(
    covariance_terms: Float[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    token_count: int,
    fraction: float | int,
    response_indices: Int[np.ndarray, " batch"] | None = None,
) -> TokenCandidates:
    """Tokens of one part of a batch that KL-Cov may penalise: those of the largest terms.

    the ⌊fraction × N⌋ largest Cov_i, the lowest indices among equals

    Args:
        covariance_terms: `token_covariance_terms` of this part, by the statistics of the whole batch.
        response_mask: True where a token counts.
        token_count: N, how many tokens of the whole batch count.
        fraction: k, from 0 to 1.
        response_indices: the index of each of these responses in the whole batch, no two alike; None counts
            them from 0.

    Returns:
        The state of this part.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, fraction is not from 0 to 1, indices repeat or leave 31 bits.

    Numerics:
        Comparisons only; ties are ties of the float64 terms. tests/laws/test_selection_ignores_the_split.py.

    Source: claim `selection-ignores-the-split`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equation 13.
        The programs [cui2025code] and [verl2026code] take the largest of one micro-batch, at least one token;
        the first reads k as a percentage.
    """
    mask, terms = over_tokens(response_mask, covariance_terms=covariance_terms)
    indices = _token_indices(mask, response_indices)[mask]
    return _first(-terms[mask], indices, selection_size(fraction, token_count))


def merge_candidates(parts: Sequence[TokenCandidates]) -> TokenCandidates:
    """Candidates of several parts of a batch together, whatever their order and their sizes.

    the first K of the joined order

    Args:
        parts: the states of disjoint parts, made with one fraction, one count and one seed.

    Returns:
        The state of all their tokens, the same bits as that of the whole.

    Raises:
        ValueError: there is no part, parts want different numbers, or one token is in two of them.

    Numerics:
        Comparisons only. tests/laws/test_selection_ignores_the_split.py.

    Source: claim `selection-ignores-the-split`, chapter clip-cov-and-kl-cov.
    """
    wanted = {part.wanted for part in parts}
    if len(wanted) != 1:
        raise ValueError(
            f"All parts must want the same number of tokens; {sorted(wanted)} came. Give every part the "
            "fraction and the token_count of the whole batch."
        )
    keys, indices = (np.concatenate([getattr(p, name) for p in parts]) for name in ("keys", "indices"))
    if len(np.unique(indices)) < len(indices):
        raise ValueError(
            "A token must be in one part only; the same index came twice. Give each part the "
            "response_indices of its rows in the whole batch."
        )
    return _first(keys, indices, wanted.pop())._replace(eligible_count=sum(p.eligible_count for p in parts))


def selection_from(
    candidates: TokenCandidates,
    covariance_terms: Float[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    response_indices: Int[np.ndarray, " batch"] | None = None,
) -> TokenSelection:
    """Which tokens of one part are selected, by the candidates of the whole batch.

    i is selected ⇔ i ∈ candidates

    Args:
        candidates: those of all parts, merged.
        covariance_terms: the terms of this part, kept for the figures of the loss.
        response_mask: True where a token counts.
        response_indices: as given for the candidates.

    Returns:
        The mask of the selected tokens, the terms, and the number of eligible tokens of the whole batch.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, indices repeat or leave 31 bits.

    Numerics:
        Comparisons only. tests/laws/test_selection_ignores_the_split.py.

    Source: claim `selection-ignores-the-split`, chapter clip-cov-and-kl-cov.
    """
    mask, terms = over_tokens(response_mask, covariance_terms=covariance_terms)
    selected = mask & np.isin(_token_indices(mask, response_indices), candidates.indices)
    return TokenSelection(selected, terms, candidates.eligible_count)


def clip_cov_selection(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    fraction: float | int,
    covariance_low: float | int,
    covariance_high: float | int,
    seed: int,
) -> TokenSelection:
    """Tokens whose loss Clip-Cov drops, drawn among those with a covariance term between two bounds.

    I ~ Uniform{⌊fraction × N⌋ of {i : covariance_low < Cov_i < covariance_high}}

    Args:
        token_log_probs: ℓ of the policy that is trained, in nats, finite where a token counts.
        advantages: A, likewise.
        response_mask: True where a token counts.
        fraction: r, from 0 to 1; 2e-4 in the paper.
        covariance_low: ω_low, in nats times the unit of A; 1 in the paper.
        covariance_high: ω_high, likewise; 5 in the paper.
        seed: names the draw; take another one at each update, the number of the step for example.

    Returns:
        The selection: all eligible tokens where fewer than ⌊fraction × N⌋ are, else so many of them.

    Raises:
        TypeError: the mask is not boolean, the seed not whole, or values are not numbers.
        ValueError: shapes differ, a value is not finite where a token counts, fraction is not from 0 to 1, or
            the bounds are out of order.

    Numerics:
        A function of the seed, the terms and the indices of the tokens; for a batch in parts see
        `clip_cov_candidates`. tests/laws/test_selection_ignores_the_split.py.

    Source: claim `selection-agrees-with-the-paper`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equations
        10 and 11. The programs [cui2025code] and [verl2026code] centre and draw in each micro-batch, at least
        one token.
    """
    terms = token_covariance_terms(token_log_probs, advantages, response_mask)
    candidates = clip_cov_candidates(
        terms, response_mask, int(response_mask.sum()), fraction, covariance_low, covariance_high, seed
    )
    return selection_from(candidates, terms, response_mask)


def kl_cov_selection(
    token_log_probs: Real[np.ndarray, "batch tokens"],
    advantages: Real[np.ndarray, "batch tokens"],
    response_mask: Bool[np.ndarray, "batch tokens"],
    fraction: float | int,
) -> TokenSelection:
    """Tokens that KL-Cov penalises: those with the largest covariance terms.

    I = {i : rank of Cov_i ≤ ⌊fraction × N⌋}

    Args:
        token_log_probs: ℓ of the policy that is trained, in nats, finite where a token counts.
        advantages: A, likewise.
        response_mask: True where a token counts.
        fraction: k, from 0 to 1; 2e-3 and 2e-4 in the paper.

    Returns:
        The selection of exactly ⌊fraction × N⌋ tokens; ties go to the lowest index.

    Raises:
        TypeError: the mask is not boolean, or values are not numbers.
        ValueError: shapes differ, a value is not finite where a token counts, or fraction is not from 0 to 1.

    Numerics:
        A function of the terms and the indices of the tokens; for a batch in parts see
        `kl_cov_candidates`. tests/laws/test_selection_ignores_the_split.py.

    Source: claim `selection-agrees-with-the-paper`, chapter clip-cov-and-kl-cov; [cui2025entropy], Equations
        10 and 13. The programs [cui2025code] and [verl2026code] centre and rank in each micro-batch and take
        at least one token.
    """
    terms = token_covariance_terms(token_log_probs, advantages, response_mask)
    candidates = kl_cov_candidates(terms, response_mask, int(response_mask.sum()), fraction)
    return selection_from(candidates, terms, response_mask)


def _token_indices(mask, response_indices):
    """Return 2³² times the index of the response plus the position, one a token."""
    responses, positions = mask.shape
    rows = np.arange(responses) if response_indices is None else np.asarray(response_indices)
    if rows.shape != (responses,) or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(
            f"response_indices must be one whole number a response, shape ({responses},); {rows.dtype} of "
            f"shape {rows.shape} came. Give the rows' indices in the whole batch."
        )
    if len(np.unique(rows)) < responses or (rows < 0).any() or (rows >= POSITIONS // 2).any():
        raise ValueError(
            "response_indices must be from 0 to 2³¹ − 1 and no two alike; others came. Give each response "
            "its index in the whole batch."
        )
    return rows.astype(np.int64)[:, None] * POSITIONS + np.arange(positions)


def _first(keys, indices, wanted):
    """Return the state of the tokens with the smallest keys, the lowest index first among equals."""
    order = np.lexsort((indices, keys))[:wanted]
    return TokenCandidates(keys[order], indices[order], len(keys), wanted)


def _draw(seed, indices):
    """Return the outputs of SplitMix64 that have these indices, as signed numbers."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be a whole number; {type(seed).__name__} came. Use the step's number.")
    gamma = np.uint64(0x9E3779B97F4A7C15)
    # The stream starts at the mixed seed: neighbouring seeds are no neighbouring places of one stream.
    start = _mixed(np.array([int(seed) % 2**64], dtype=np.uint64))
    return _mixed(start + (indices.astype(np.uint64) + np.uint64(1)) * gamma).view(np.int64)


def _mixed(bits):
    """Return 64 bits mixed so that each depends on all, one to one."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
