"""Closed forms of the token population agree with batches drawn from it; fits find what was put in."""

from dataclasses import replace

import numpy as np
import pytest

from entropy_core.simulators import (
    TokenPopulation,
    fit_token_population,
    mean_surprisal,
    sample_population,
    top_tokens,
)

SHARES = np.array([2e-3, 0.02, 0.2, 0.5, 1.0])
POPULATION = TokenPopulation(0.6, 0.4, 0.55, 0.1)
OTHERS = {
    "mixed": POPULATION,
    "all uncertain, silent prompts": TokenPopulation(0.3, 1.0, 0.5, 0.05),
    "heavy tail": TokenPopulation(5.0, 0.3, 0.2, -0.1, tail_exponent=2.0),
    "equal surprisals, groups of two": TokenPopulation(2.0, 0.3, 1.0, 0.2, 0.05, group_size=2),
}


def terms_of_top_tokens(log_probs, advantages, right):
    """Mean covariance term and share of failures of the top shares, token by token."""
    terms = (log_probs - log_probs.mean()) * (advantages - advantages.mean())
    order = np.argsort(-terms, axis=None)
    sizes = [round(share * terms.size) for share in SHARES]
    return (
        [terms.ravel()[order[:size]].mean() for size in sizes],
        [1 - right.ravel()[order[:size]].mean() for size in sizes],
    )


@pytest.mark.claim("table-by-population")
@pytest.mark.parametrize("population", OTHERS.values(), ids=OTHERS.keys())
def test_closed_forms_are_what_batches_show(population):
    draws = [
        sample_population(np.random.default_rng(seed), population, prompts=1500, tokens=20)
        for seed in range(16)
    ]
    terms, failures = (np.array(x) for x in zip(*(terms_of_top_tokens(*draw) for draw in draws), strict=True))
    exact = top_tokens(population, SHARES)
    deviation = (terms.mean(axis=0) - exact.covariances) / (terms.std(axis=0, ddof=1) / 4)
    assert abs(deviation).max() < 4
    assert terms.mean(axis=0) == pytest.approx(exact.covariances, rel=0.05, abs=2e-3)
    in_a_tail = exact.thresholds[:2] > 0
    assert failures.mean(axis=0)[:2][in_a_tail] == pytest.approx(exact.failures[:2][in_a_tail], abs=0.03)
    surprisals = np.array([-draw[0].mean() for draw in draws])
    assert abs(surprisals.mean() - mean_surprisal(population)) < 4 * surprisals.std(ddof=1) / 4


def test_top_mean_is_the_integral_of_the_upper_quantiles():
    # The mean over the top share q is ∫₀^q quantile(u) du / q, whatever atoms the distribution has.
    middles = (np.arange(4000) + 0.5) / 4000
    for share in (0.02, 0.5):
        quantiles = top_tokens(POPULATION, share * middles**2).thresholds
        mean = top_tokens(POPULATION, np.array([share])).covariances[0]
        assert mean == pytest.approx((2 * middles * quantiles).mean(), rel=1e-4)


def test_advantages_are_standardised_in_each_group_and_silent_where_all_agree():
    _, advantages, right = sample_population(np.random.default_rng(0), POPULATION, prompts=500, tokens=2)
    groups, outcomes = advantages[:, 0].reshape(-1, 8), right[:, 0].reshape(-1, 8)
    assert (advantages[:, 0] == advantages[:, 1]).all(), "one advantage a response"
    mixed = (outcomes.any(axis=1)) & ~outcomes.all(axis=1)
    assert 100 < mixed.sum() < 450
    assert groups.mean(axis=1) == pytest.approx(0, abs=1e-12)
    assert groups.std(axis=1, ddof=1)[mixed] == pytest.approx(1)
    assert not groups[~mixed].any()
    assert (groups[mixed][outcomes[mixed]] > 0).all()


def test_wrong_responses_are_more_surprising_by_the_dependence():
    population = replace(POPULATION, dependence=0.3)
    log_probs, _, right = sample_population(np.random.default_rng(1), population, prompts=2000, tokens=20)
    ratio = log_probs[~right].mean() / log_probs[right].mean()
    assert ratio == pytest.approx(1.3 / 0.7, rel=0.03)
    assert (log_probs == 0).mean() == pytest.approx(0.6, abs=0.01)


def test_a_fit_finds_the_population_behind_exact_numbers():
    table = top_tokens(POPULATION, SHARES).covariances
    fit = fit_token_population(SHARES, table, TokenPopulation(1.0, 0.3, 0.8, 0.05))
    assert abs(fit.relative_errors).max() < 1e-3
    for name in ("difficulty_shape", "uncertain_share", "surprisal_scale", "dependence"):
        assert getattr(fit.population, name) == pytest.approx(getattr(POPULATION, name), rel=0.05)
    held = fit_token_population(SHARES, table, replace(POPULATION, dependence=0.0), ("surprisal_scale",))
    assert held.population.dependence == 0
    assert held.relative_errors[-1] == pytest.approx(-1), "no dependence, no mean covariance"


@pytest.mark.parametrize(
    "change",
    [
        {"difficulty_shape": 0.0},
        {"uncertain_share": 1.5},
        {"surprisal_scale": -1.0},
        {"dependence": 1.0},
        {"tail_exponent": 0.0},
        {"group_size": 1},
    ],
)
def test_impossible_populations_are_refused(change):
    with pytest.raises(ValueError, match="TokenPopulation needs positive.*pass 0"):
        replace(POPULATION, **change)


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="prompts and tokens ≥ 1.*one prompt makes one group"):
        sample_population(np.random.default_rng(0), POPULATION, 0, 5)
    with pytest.raises(ValueError, match=r"shares must lie in \(0, 1\].*2e-4"):
        top_tokens(POPULATION, np.array([2.0]))
    with pytest.raises(ValueError, match="free names among"):
        fit_token_population(SHARES, np.ones(5), POPULATION, ("difficulty",))
    with pytest.raises(ValueError, match="one covariance, not 0"):
        fit_token_population(SHARES, np.zeros(5), POPULATION)


@pytest.mark.claim("table-by-population")
@pytest.mark.parametrize(
    "family",
    [
        {"difficulty_shape": 1e3, "uncertain_share": 1.0},
        {"tail_exponent": 0.02},
        {"tail_exponent": 3.0},
    ],
    ids=["no mass near zero", "equal surprisals", "heavy tail"],
)
def test_no_start_fits_the_printed_table_without_what_it_needs(family):
    shares, table = np.array([2e-4, *SHARES]), np.array([5.654, 3.112, 1.385, 0.351, 0.152, 0.003])
    generator = np.random.default_rng(5)
    for _ in range(2):
        start = {
            "difficulty_shape": np.exp(generator.uniform(-3, 3)),
            "uncertain_share": generator.uniform(0.05, 0.95),
            "surprisal_scale": np.exp(generator.uniform(-3, 1)),
            "dependence": generator.uniform(-0.05, 0.1),
        }
        free = [name for name in start if name not in family]
        fit = fit_token_population(shares, table, TokenPopulation(**(start | family)), free)
        assert abs(fit.relative_errors[:-1]).max() > 0.15
