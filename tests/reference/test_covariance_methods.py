"""Clip-Cov and KL-Cov in NumPy: accuracy of the terms, counts, figures of nothing, errors."""

from fractions import Fraction

import numpy as np
import pytest

from entropy_core import reference
from tests.agreement import published_covariance as published


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("seed", range(5))
def test_terms_are_the_exact_ones_but_for_their_roundings(seed, offset):
    rng = np.random.default_rng(seed)
    log_probs, advantages = rng.normal(size=(7, 11)) - offset, rng.normal(size=(7, 11)) + offset
    mask = rng.random((7, 11)) < 0.8
    every = (log_probs, log_probs, advantages, mask)
    exact = published.covariances(published.tokens_of(*(x.tolist() for x in every), width=11))
    found = reference.token_covariance_terms(log_probs, advantages, mask).ravel()
    means = [Fraction(x[mask].mean()) for x in (log_probs, advantages)]
    for index, term in exact.items():
        apart = [Fraction(x.flat[index]) - m for x, m in zip((log_probs, advantages), means, strict=True)]
        condition = 1 + sum(abs(m / d) for m, d in zip(means, apart, strict=True))
        assert abs(Fraction(float(found[index])) - term) <= Fraction(4e-16) * condition * abs(term)
    assert not found[~mask.ravel()].any()
    statistics = reference.token_statistics(log_probs, advantages, mask)
    assert statistics.batch_covariance == float(sum(exact.values()) / len(exact))


@pytest.mark.parametrize(
    ("fraction", "tokens", "size"),
    [
        (2e-4, 8192, 1),
        (2e-4, 4999, 0),
        (2e-4, 5000, 1),
        (0.29, 100, 29),  # int(0.29 * 100) is 28
        (2e-3, 1500, 3),
        (1.0, 7, 7),
        (0, 7, 0),
        (1, 7, 7),
        (1e-7, 10**8, 10),
    ],
)
def test_sizes_are_those_of_the_decimal(fraction, tokens, size):
    assert reference.selection_size(fraction, tokens) == size


def test_the_loss_adds_up_over_parts():
    rng = np.random.default_rng(0)
    old, moved, advantages = rng.normal(size=(3, 6, 8))
    mask = rng.random((6, 8)) < 0.7
    selection = reference.kl_cov_selection(old, advantages, mask, 0.2)
    paid, count = reference.absolute_log_ratio(old + moved, old, mask), int(mask.sum())

    def loss(rows, token_count):
        part = reference.TokenSelection(
            selection.selected[rows], selection.covariance_terms[rows], selection.eligible_count
        )
        values = [x[rows] for x in (old + moved, old, advantages, mask)]
        clip = reference.clip_cov_loss(*values, part, 0.2, 0.2, token_count).loss
        return clip, reference.kl_cov_loss(*values, part, paid[rows], 1.0, token_count).loss

    parts = np.sum([loss(rows, count) for rows in ([0], [], [1, 2, 3, 4, 5])], axis=0)
    assert parts == pytest.approx(loss(np.arange(6), None), rel=1e-12)


def test_a_mask_of_nothing_selects_nothing_and_loses_nothing():
    nothing, mask = np.full((2, 3), np.nan), np.zeros((2, 3), bool)
    selection = reference.kl_cov_selection(nothing, nothing, mask, 0.5)
    result = reference.clip_cov_loss(nothing, nothing, nothing, mask, selection, 0.2, 0.2)
    assert result.loss == 0
    assert not result.figures.tail_means.any()
    assert np.isnan(result.figures.first_order_entropy_change)
    assert not selection.selected.any()


Z, M = np.zeros((2, 3)), np.ones((2, 3), bool)
ERRORS = {
    "broken token": (lambda: reference.kl_cov_selection(Z + np.nan, Z, M, 0.5), ValueError, "must be finite"),
    "share": (lambda: reference.kl_cov_selection(Z, Z, M, 2.0), ValueError, "not a percentage"),
    "count": (lambda: reference.selection_size(0.1, -1), ValueError, "must not be negative"),
    "bounds": (lambda: reference.clip_cov_selection(Z, Z, M, 0.1, 5.0, 1.0, 0), ValueError, "Exchange them"),
    "seed": (
        lambda: reference.clip_cov_selection(Z, Z, M, 0.1, 0, 1, 0.5),
        TypeError,
        "Use the step's number",
    ),
    "indices": (
        lambda: reference.kl_cov_candidates(Z, M, 6, 0.5, np.array([1, 1])),
        ValueError,
        "no two alike",
    ),
    "shape of indices": (
        lambda: reference.kl_cov_candidates(Z, M, 6, 0.5, np.array([1])),
        ValueError,
        "one whole number a response",
    ),
    "parts": (
        lambda: reference.merge_candidates([reference.kl_cov_candidates(Z, M, 6, f) for f in (0.5, 1.0)]),
        ValueError,
        r"\[3, 6\]",
    ),
    "same part": (
        lambda: reference.merge_candidates([reference.kl_cov_candidates(Z, M, 6, 0.5)] * 2),
        ValueError,
        "in one part only",
    ),
    "selection": (
        lambda: reference.clip_cov_loss(
            *[Z[:1]] * 3, M[:1], reference.kl_cov_selection(Z, Z, M, 0.5), 0.2, 0.2
        ),
        ValueError,
        "Give the rows of this part",
    ),
}


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("name", ERRORS)
def test_errors_teach(name):
    call, error, says = ERRORS[name]
    with pytest.raises(error, match=says):
        call()


def test_a_token_that_does_not_count_is_never_selected():
    """Not even by candidates made with a wider mask."""
    terms, mask = np.arange(6.0).reshape(2, 3), np.array([[True, True, True], [True, True, False]])
    candidates = reference.kl_cov_candidates(terms, M, 6, 0.5)
    assert reference.selection_from(candidates, terms, mask).selected.tolist() == [[0, 0, 0], [1, 1, 0]]
