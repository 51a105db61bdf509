"""Fits of R = b − a f(H): known coefficients come back, SciPy agrees, and bad input is told what to do."""

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import linregress

from entropy_core.simulators import (
    corrected_akaike,
    exponential_feature,
    extrapolation_errors,
    fit_exchange_law,
    misfit_of_the_line,
)

RNG = np.random.default_rng(0)
ENTROPIES = np.sort(RNG.uniform(0.1, 3.0, (5, 40)))[:, ::-1].copy()
NOISY = 0.8 - 0.03 * np.exp(ENTROPIES) + 0.05 * RNG.normal(size=ENTROPIES.shape)


@pytest.mark.parametrize(
    ("feature", "at_zero"), [(np.exp, 1.0), (np.positive, 0.0), (np.square, 0.0), (np.sqrt, 0.0)]
)
def test_known_coefficients_come_back(feature, at_zero):
    rates, intercepts = np.array([0.2, 0.1, 1.0, -0.3, 0.5]), np.array([1.0, 0.5, 0.0, 2.0, -1.0])
    law = lambda entropy: intercepts[:, None] - rates[:, None] * feature(entropy)  # noqa: E731
    fit = fit_exchange_law(ENTROPIES, law(ENTROPIES), feature)
    assert fit.rates == pytest.approx(rates, rel=1e-10)
    assert fit.ceilings() == pytest.approx(intercepts - rates * at_zero, rel=1e-10)
    assert fit.returns_at(ENTROPIES / 2) == pytest.approx(law(ENTROPIES / 2), rel=1e-10)
    assert fit.residual_sums == pytest.approx(np.zeros(5), abs=1e-20)


def test_scipy_finds_the_same_coefficients():
    fit = fit_exchange_law(ENTROPIES, NOISY)
    for k in range(5):
        found, _ = curve_fit(lambda h, a, b: b - a * np.exp(h), ENTROPIES[k], NOISY[k])
        assert (fit.rates[k], fit.intercepts[k]) == pytest.approx(tuple(found), rel=1e-5)
        line = linregress(np.exp(ENTROPIES[k]), NOISY[k])
        unexplained = (1 - line.rvalue**2) * NOISY[k].var() * 40
        assert fit.residual_sums[k] == pytest.approx(unexplained, rel=1e-9)


def test_a_window_hides_the_rest():
    window = np.arange(40) < np.array([[10], [20], [30], [39], [2]])
    fit = fit_exchange_law(ENTROPIES, np.where(window, NOISY, 1e6), window=window)
    for k, seen in enumerate(window):
        alone = fit_exchange_law(ENTROPIES[k : k + 1, seen], NOISY[k : k + 1, seen])
        assert fit.rates[k] == pytest.approx(alone.rates[0], rel=1e-9)
        assert fit.intercepts[k] == pytest.approx(alone.intercepts[0], rel=1e-9)
    assert fit.records.tolist() == [10, 20, 30, 39, 2]


def test_extrapolation_errors_see_only_what_the_fit_did_not():
    window = np.arange(40) < 10
    window = np.repeat(window[None], 5, axis=0)
    truth = 1 - 0.1 * np.exp(ENTROPIES)
    fit = fit_exchange_law(ENTROPIES, truth, window=window)
    shifted = np.where(window, truth + 7.0, truth + np.arange(1.0, 6)[:, None])
    assert extrapolation_errors(fit, ENTROPIES, shifted, window) == pytest.approx(np.arange(1.0, 6), rel=1e-9)


def test_the_law_wins_on_its_own_data_and_the_line_on_its():
    law = fit_exchange_law(ENTROPIES, NOISY).residual_sums
    assert (law < fit_exchange_law(ENTROPIES, NOISY, np.positive).residual_sums).all()
    straight = 1 - 0.2 * ENTROPIES + 0.01 * (NOISY - NOISY.mean())
    law = fit_exchange_law(ENTROPIES, straight).residual_sums
    assert (law > fit_exchange_law(ENTROPIES, straight, np.positive).residual_sums).all()


def test_akaike_matches_the_likelihood_it_stands_for():
    # −2 log likelihood at the fitted variance is n log(2πS/n) + n; hand-computed penalty for n = 10, k = 3.
    sums, records = np.array([2.0, 0.5]), np.array([10, 10])
    scale = np.sqrt(sums / 10)
    residual = np.sqrt(sums / 10)  # ten residuals of equal size have this sum of squares
    log_likelihood = 10 * (-0.5 * np.log(2 * np.pi * scale**2) - residual**2 / (2 * scale**2))
    expected = -2 * log_likelihood - 10 * np.log(2 * np.pi) - 10 + 6 + 24 / 6
    assert corrected_akaike(sums, records, coefficients=2) == pytest.approx(expected, rel=1e-12)
    assert corrected_akaike(sums, records, 3)[0] - corrected_akaike(sums, records, 2)[0] == pytest.approx(
        8 + 40 / 5 - 6 - 24 / 6
    )


def test_the_exponential_features_pass_through_the_line():
    entropy = np.array([0.0, 0.5, 2.0])
    assert exponential_feature(0.0)(entropy) == pytest.approx(entropy)
    assert exponential_feature(1e-7)(entropy) == pytest.approx(entropy, rel=1e-6)
    assert exponential_feature(2.0)(entropy) == pytest.approx([0.0, (np.e - 1) / 2, (np.e**4 - 1) / 2])


@pytest.mark.claim("line-passes-for-the-law")
def test_misfit_of_the_line_is_the_unexplained_variance(record_property):
    nodes, weights = np.polynomial.legendre.leggauss(60)  # exact to rounding for e^x on these intervals
    widths = np.array([0.01, 0.3, 0.58, 2.0, 6.0])
    entropy = 3.5 + np.outer(widths / 2, nodes)  # where the interval lies must not matter
    curve = np.expm1(entropy - 3.5)
    curve, line = curve - (weights * curve).sum(1, keepdims=True) / 2, entropy - 3.5
    slope = (weights * curve * line).sum(1, keepdims=True) / (weights * line**2).sum(1, keepdims=True)
    share = (weights * (curve - slope * line) ** 2).sum(1) / (weights * curve**2).sum(1)
    worst = abs(misfit_of_the_line(widths) / share - 1).max()
    assert worst < 1e-4
    narrow = np.array([0.02, 0.05])
    assert misfit_of_the_line(narrow) == pytest.approx(narrow**2 / 60, rel=1e-3)
    record_property("largest relative error", f"{worst:.0e}")


@pytest.mark.usefixtures("without_shape_checks")
def test_bad_input_is_told_what_to_do():
    with pytest.raises(ValueError, match=r"shape \[instances, records\].*entropies\[None\]"):
        fit_exchange_law(ENTROPIES[0], NOISY[0])
    with pytest.raises(ValueError, match="finite.*cut the run"):
        fit_exchange_law(ENTROPIES, NOISY * np.nan)
    with pytest.raises(ValueError, match="at least two records.*widen the window"):
        fit_exchange_law(ENTROPIES, NOISY, window=np.arange(40) < np.ones((5, 1)))
    with pytest.raises(ValueError, match="spread 0.*entropy stands still"):
        fit_exchange_law(np.ones((5, 40)), NOISY)
    fit, everything = fit_exchange_law(ENTROPIES, NOISY), np.ones(NOISY.shape, bool)
    with pytest.raises(ValueError, match="none in 5 of 5; shorten"):
        extrapolation_errors(fit, ENTROPIES, NOISY, everything)
    with pytest.raises(ValueError, match="more than 4 records"):
        corrected_akaike(np.ones(2), np.array([4, 9]), 2)
    with pytest.raises(ValueError, match=r"\.01 nats or more.*width²/60"):
        misfit_of_the_line(np.array([0.001]))
