r"""Laws that trade entropy for reward, R = b − a f(H), fitted to many runs at once.

The feature f names the law: np.exp for the published one, others for its rivals. Given f the law is linear
in a and b, so the fit is ordinary least squares, one line for each instance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from entropy_core._shapes import Bool, Float, Real

__all__ = [
    "ExchangeFit",
    "corrected_akaike",
    "exponential_feature",
    "extrapolation_errors",
    "fit_exchange_law",
    "misfit_of_the_line",
]


@dataclass(frozen=True)
class ExchangeFit:
    """One fitted law R = b − a f(H) for each instance.

    Args:
        feature: f, applied to entropies in nats.
        rates: a, reward given for one unit of the feature, shape [instances].
        intercepts: b, in units of reward, same shape.
        residual_sums: sum of squared residuals over the records of the fit.
        records: number of records of the fit.
    """

    feature: Callable
    rates: np.ndarray
    intercepts: np.ndarray
    residual_sums: np.ndarray
    records: np.ndarray

    def returns_at(self, entropies):
        """Give the law's reward b − a f(H) at each entropy in nats, shape [instances, records]."""
        return self.intercepts[:, None] - self.rates[:, None] * self.feature(np.asarray(entropies, float))

    def ceilings(self):
        """Give the law's reward at entropy 0, b − a f(0): for the published law b − a."""
        return self.returns_at(np.zeros((len(self.rates), 1)))[:, 0]


def fit_exchange_law(
    entropies: Real[np.ndarray, "instances records"],
    expected_returns: Real[np.ndarray, "instances records"],
    feature: Callable = np.exp,
    window: Bool[np.ndarray, "instances records"] | None = None,
) -> ExchangeFit:
    """Fit R = b − a f(H) to each run by least squares, every record with the same weight.

    −a = Σ (f − f̄)(R − R̄) / Σ (f − f̄)², b = R̄ + a f̄, sums over the records in the window

    Args:
        entropies: H, in nats, finite.
        expected_returns: R, finite.
        feature: f, a function of an array of entropies.
        window: records that the fit may see; all if None.

    Returns:
        The fits.

    Raises:
        ValueError: if shapes differ, a number is not finite, or a window leaves fewer than two values of the
            feature, so that no slope exists.

    Example:
        >>> entropy = np.array([[1.0, 0.5, 0.25]])
        >>> fit = fit_exchange_law(entropy, 0.9 - 0.2 * np.exp(entropy))
        >>> fit.rates.round(6), fit.ceilings().round(6)
        (array([0.2]), array([0.7]))
    """
    entropies, expected_returns = _read_runs(entropies, expected_returns)
    if window is None:
        window = np.ones(entropies.shape, bool)
    records = window.sum(axis=1)
    mean = lambda values: (window * values).sum(axis=1, keepdims=True) / np.maximum(records, 1)[:, None]  # noqa: E731
    features = feature(entropies)
    apart, gained = features - mean(features), expected_returns - mean(expected_returns)
    spread = mean(apart**2)
    if not (records >= 2).all() or not (spread > 0).all():
        raise ValueError(
            "fit_exchange_law needs at least two records with different features in every window, got "
            f"{records.min()} records in the shortest and a smallest spread {spread.min()}; "
            "widen the window, record more often, or leave out runs whose entropy stands still"
        )
    slopes = mean(apart * gained) / spread
    sums = (window * (gained - slopes * apart) ** 2).sum(axis=1)
    intercepts = mean(expected_returns) - slopes * mean(features)
    return ExchangeFit(feature, -slopes[:, 0], intercepts[:, 0], sums, records)


def extrapolation_errors(
    fit: ExchangeFit,
    entropies: Real[np.ndarray, "instances records"],
    expected_returns: Real[np.ndarray, "instances records"],
    window: Bool[np.ndarray, "instances records"],
) -> Float[np.ndarray, " instances"]:
    """Measure how far a law misses the records that its fit has not seen.

    √ mean (b − a f(H) − R)² over the records outside the window

    Args:
        fit: laws fitted inside the window.
        entropies: H, in nats.
        expected_returns: R.
        window: records that the fit has seen; at least one must be left over.

    Returns:
        Root mean square error for each instance, in units of reward.

    Raises:
        ValueError: if shapes differ, a number is not finite, or nothing lies outside a window.
    """
    entropies, expected_returns = _read_runs(entropies, expected_returns)
    unseen = (~window).sum(axis=1)
    if not unseen.all():
        raise ValueError(
            f"extrapolation_errors needs records outside every window, got none in {(unseen == 0).sum()} of "
            f"{len(unseen)}; shorten the window, or read residual_sums for errors inside it"
        )
    misses = np.where(window, 0.0, fit.returns_at(entropies) - expected_returns)
    return np.sqrt((misses**2).sum(axis=1) / unseen)


def corrected_akaike(
    residual_sums: Real[np.ndarray, " instances"],
    records: Real[np.ndarray, " instances"],
    coefficients: int,
) -> Float[np.ndarray, " instances"]:
    """Score a least-squares fit by Akaike's criterion with the correction for few records; less is better.

    n log(S/n) + 2k + 2k(k + 1)/(n − k − 1), k = coefficients + 1, the variance being one more

    Args:
        residual_sums: S, sum of squared residuals, positive.
        records: n, number of records.
        coefficients: number of fitted coefficients, without the variance of the residuals.

    Returns:
        The criterion, for independent normal residuals of equal variance. Records of one run are not that:
        the order of two laws with equally many coefficients is the order of their residuals, its size is not
        evidence.

    Raises:
        ValueError: if there are too few records, or a sum is not positive.

    Source: chapter entropy-reward-exchange; [hurvich1989regression].
    """
    estimated = coefficients + 1
    if not (np.asarray(records) > estimated + 1).all() or not (np.asarray(residual_sums) > 0).all():
        raise ValueError(
            f"corrected_akaike needs more than {estimated + 1} records for {coefficients} coefficients and "
            f"positive residual sums, got at least {np.min(records)} records and {np.min(residual_sums)}; "
            "a law that fits without residual needs no criterion"
        )
    penalty = 2 * estimated + 2 * estimated * (estimated + 1) / (records - estimated - 1)
    return records * np.log(residual_sums / records) + penalty


def exponential_feature(exponent: float) -> Callable:
    """Make the feature f(H) = (e^{cH} − 1)/c, of which the line is the limit at c = 0.

    Args:
        exponent: c, per nat; 1 gives the published law with b less by a.

    Returns:
        f.
    """
    return (lambda entropies: np.expm1(exponent * entropies) / exponent) if exponent else np.positive


def misfit_of_the_line(width: Real[np.ndarray, " widths"]) -> Float[np.ndarray, " widths"]:
    """Share of the variance of e^H that no straight line explains when H is spread evenly over an interval.

    1 − Corr(H, e^H)² = 1 − 6 [w coth(w/2) − 2] / w²

    Args:
        width: w, length of the interval in nats, at least .01; where it lies does not matter.

    Returns:
        The share, between 0 and 1; w²/60 for narrow intervals.

    Raises:
        ValueError: if a width is below .01, where the difference of close numbers has lost its digits.

    Numerics:
        Relative error below 1e-4 from w = .01 on; tests/simulators/test_exchange.py.

    Source: claim `line-passes-for-the-law`, chapter entropy-reward-exchange.
    """
    if not (width >= 0.01).all():
        raise ValueError(
            f"misfit_of_the_line needs widths of .01 nats or more, got {np.min(width)}; "
            "below that use its limit, width²/60"
        )
    return 1 - 6 * (width / np.tanh(width / 2) - 2) / width**2


def _read_runs(entropies, expected_returns):
    entropies, expected_returns = np.asarray(entropies, float), np.asarray(expected_returns, float)
    if entropies.ndim != 2 or entropies.shape != expected_returns.shape:
        raise ValueError(
            "entropies and expected_returns must both have shape [instances, records], got "
            f"{entropies.shape} and {expected_returns.shape}; for one run insert an axis: entropies[None]"
        )
    if not (np.isfinite(entropies).all() and np.isfinite(expected_returns).all()):
        raise ValueError(
            "entropies and expected_returns must be finite, got NaN or infinity; cut the run there"
        )
    return entropies, expected_returns
