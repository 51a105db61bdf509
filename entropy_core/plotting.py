"""Figures of the book: plain numbers in, a themed SVG with a description out.

The only module that knows matplotlib. Everywhere the prediction is a line in one colour and the measurement
is points in another; the two are told apart by colour-blind readers and in grey. Ink is ``currentColor`` and
the two colours are CSS variables, so a figure takes the theme of the page that shows it.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from entropy_core._shapes import Real

__all__ = [
    "ThemedFigure",
    "advantage_weights",
    "averages_over_share",
    "bands_over_time",
    "covariance_parts",
    "covariance_signs",
    "curves_over_coefficient",
    "entropy_against_temperature",
    "entropy_contributions",
    "entropy_paths",
    "error_ranges",
    "errors_against_step_size",
    "families_on_log_axes",
    "gradient_signs",
    "grouped_dots",
    "levels_and_points",
    "loop_regimes",
    "means_with_errors",
    "paths_beside_baseline",
    "prediction_against_measurement",
    "predictions_against_measurement",
    "residuals_against_step",
    "reward_against_entropy",
    "sampled_token_losses",
    "shares_against_alignment",
    "shares_against_entropy",
    "sign_errors_against_step",
    "signed_effects",
    "table_against_models",
    "training_runs",
]

PREDICTION = "#0b4a86"
MEASUREMENT = "#b55a00"
_INK = "#010203"
_THEMED = {  # dark pages redefine the two variables; elsewhere the colour after the comma is used
    _INK: "currentColor",
    PREDICTION: f"var(--prediction, {PREDICTION})",
    MEASUREMENT: f"var(--measurement, {MEASUREMENT})",
}

STYLE = {
    "svg.hashsalt": "entropy",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.5,
    "legend.frameon": False,
    "figure.dpi": 100,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}


class ThemedFigure:
    """An inline SVG that takes the page's text colour, with the description that stands for it.

    Attributes:
        alt: what the figure shows, for a reader who cannot see it; also its plain-text form.
        svg: the drawing; equal input gives equal text, and no two different figures share an id.
    """

    def __init__(self, figure: Figure, alt: str) -> None:
        self.alt = alt
        self._figure = figure
        self.svg = _labelled(_own_ids(_drawing(figure)), alt)
        figure.set_layout_engine("none")  # written later, it stands as it stands on the page

    def write(self, path: str | Path) -> None:
        """Write the drawing in dark ink on white, for slides and papers.

        Args:
            path: file to write; its ending names the format: .svg, .png or .pdf.
        """
        kind = Path(path).suffix.lstrip(".").lower()
        metadata = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}.get(kind)
        with mpl.rc_context(STYLE):
            self._figure.savefig(path, format=kind, dpi=200, facecolor="white", metadata=metadata)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {
            "text/html": f'<div class="themed-figure">{self.svg}</div>',
            "text/plain": f"Figure: {self.alt}",
        }


def gradient_signs(
    probs: Real[np.ndarray, " actions"], entropy_gradient: Real[np.ndarray, " actions"], entropy: float
) -> ThemedFigure:
    """Which logits lower entropy when raised: −∂H/∂z over π for each action, with the threshold e^(−H).

    Args:
        probs: probability of each action.
        entropy_gradient: ∂H/∂z of each action, in nats per unit of logit; drawn as points.
        entropy: H in nats; gives the line π(log π + H) and the threshold.

    Returns:
        One panel; points are the given gradients, the line is the formula.
    """
    probs, loss = np.asarray(probs, float), -np.asarray(entropy_gradient, float)
    threshold = float(np.exp(-entropy))
    right = min(1.0, 1.3 * float(probs.max()))
    grid = np.linspace(1e-6, right, 400)
    with _axes(6.4, 3.6) as (figure, (axes,)):
        axes.axhline(0, color=_INK, linewidth=0.8)
        axes.axvline(threshold, color=_INK, linewidth=0.8, linestyle=":")
        axes.plot(grid, grid * (np.log(grid) + entropy), color=PREDICTION)
        axes.plot(probs, loss, "o", color=MEASUREMENT)
        lowest, highest = float(min(loss.min(), -np.exp(-1 - entropy))), float(max(loss.max(), 0.0))
        room = 0.35 * (highest - lowest)
        axes.set_ylim(lowest - room, highest + room)
        _beside(axes, threshold, highest + room, f"$e^{{-H}}$ = {threshold:.3g}", _INK, (4, -12))
        _beside(axes, right, 0.0, "above: a raised logit lowers entropy", _INK, (0, 7), ha="right")
        _beside(axes, right, 0.0, "below: it raises entropy", _INK, (0, -17), ha="right")
        axes.set_xlabel("probability π of the action")
        axes.set_ylabel("−∂H/∂z  (nats per unit of logit)")
    lower, higher = _listed(probs[loss > 0]), _listed(probs[loss < 0])
    return ThemedFigure(
        figure,
        f"Points on a curve: for {probs.size} actions, minus the entropy gradient over the probability. "
        f"The curve crosses zero at e^(-H) = {threshold:.3g}. Raising the logit lowers entropy "
        f"for probabilities {lower}; it raises entropy for probabilities {higher}.",
    )


def entropy_against_temperature(
    temperatures: Real[np.ndarray, " steps"],
    entropies: Real[np.ndarray, " steps"],
    slopes: Real[np.ndarray, " steps"],
) -> ThemedFigure:
    """Entropy over temperature as points, with the predicted slope dH/dτ as a short tangent at each.

    Args:
        temperatures: τ > 0, dimensionless; drawn on a logarithmic axis.
        entropies: H at each temperature, in nats.
        slopes: predicted dH/dτ at each temperature, in nats.

    Returns:
        One panel.
    """
    temperatures, entropies, slopes = (np.asarray(v, float) for v in (temperatures, entropies, slopes))
    ratio = float(np.median(temperatures[1:] / temperatures[:-1])) ** 0.4
    with _axes(6.4, 3.6) as (figure, (axes,)):
        for tau, value, slope in zip(temperatures, entropies, slopes, strict=True):
            ends = np.geomspace(tau / ratio, tau * ratio, 9)
            axes.plot(ends, value + slope * (ends - tau), color=PREDICTION, linewidth=3)
        axes.semilogx(temperatures, entropies, "o", color=MEASUREMENT)
        middle = temperatures.size // 2
        _beside(axes, temperatures[middle], entropies[middle], "entropy computed", MEASUREMENT, (12, -14))
        late = 2 * temperatures.size // 3
        _beside(
            axes, temperatures[late], entropies[late], "slope predicted", PREDICTION, (-10, 8), ha="right"
        )
        axes.set_xlabel("temperature τ")
        axes.set_ylabel("entropy H  (nats)")
    return ThemedFigure(
        figure,
        f"Entropy goes from {entropies[0]:.3g} to {entropies[-1]:.3g} nats as the temperature goes from "
        f"{temperatures[0]:.3g} to {temperatures[-1]:.3g}. Through each of {temperatures.size} points goes a "
        f"short line with the predicted slope, between {slopes.min():.3g} and {slopes.max():.3g} nats.",
    )


def residuals_against_step(
    step_sizes: Real[np.ndarray, " steps"],
    residuals_by_actions: Mapping[int, Real[np.ndarray, "_ steps"]],
    reference_slopes: Sequence[int] = (1, 2, 3),
) -> ThemedFigure:
    """What a prediction misses over the step size, one panel for each number of actions, axes logarithmic.

    Args:
        step_sizes: standard deviation of Δz under the policy, > 0, in logits.
        residuals_by_actions: number of actions to the missed entropy in nats, sign ignored,
            shape [instances, step sizes].
        reference_slopes: powers of the step size drawn for comparison.

    Returns:
        Small multiples: median and the band from the 5th to the 95th percentile of the instances.
    """
    step_sizes = np.asarray(step_sizes, float)
    residuals = {n: np.abs(np.asarray(r, float)) for n, r in residuals_by_actions.items()}
    medians = {n: np.median(r, axis=0) for n, r in residuals.items()}
    with _axes(7.2, 3.4, columns=len(residuals)) as (figure, panels):
        for axes, (n, values) in zip(panels, residuals.items(), strict=True):
            low, high = np.percentile(values, [5, 95], axis=0)
            axes.fill_between(step_sizes, low, high, color=MEASUREMENT, alpha=0.3, linewidth=0)
            axes.loglog(step_sizes, medians[n], "o-", color=MEASUREMENT, linewidth=1, markersize=4)
            for slope in reference_slopes:
                line = medians[n][-1] * (step_sizes / step_sizes[-1]) ** slope
                axes.loglog(step_sizes, line, color=PREDICTION, linewidth=1.2, linestyle="--")
                _beside(axes, step_sizes[1], line[1], f"slope {slope}", PREDICTION, (3, -13))
            axes.margins(y=0.12)
            axes.set_title(f"{n} actions")
            axes.set_xlabel("sd of Δz  (logits)")
            axes.xaxis.set_minor_formatter(NullFormatter())
        panels[0].set_ylabel("|residual|  (nats)")
    slopes = ", ".join(f"{_slope(step_sizes, m):.2f} for {n} actions" for n, m in medians.items())
    return ThemedFigure(
        figure,
        f"Size of the residual over the step size from {step_sizes[0]:.1g} to {step_sizes[-1]:.1g}, "
        f"both axes logarithmic, {len(residuals)} panels, "
        f"with dashed lines of slope {', '.join(map(str, reference_slopes))}. "
        f"The fitted slope of the median is {slopes}.",
    )


def prediction_against_measurement(
    predicted: Real[np.ndarray, " points"],
    measured: Real[np.ndarray, " points"],
    quantity: str = "entropy change",
    unit: str = "nats",
) -> ThemedFigure:
    """Measured over predicted values, with the line on which they agree.

    Args:
        predicted: predicted values.
        measured: measured values, one for each prediction.
        quantity: what is compared, for the axes.
        unit: its unit.

    Returns:
        One square panel.
    """
    predicted, measured = np.asarray(predicted, float), np.asarray(measured, float)
    ends = np.array([min(predicted.min(), measured.min()), max(predicted.max(), measured.max())])
    with _axes(4.6, 4.2) as (figure, (axes,)):
        axes.plot(ends, ends, color=PREDICTION)
        axes.plot(predicted, measured, "o", color=MEASUREMENT, alpha=0.6, markersize=4, markeredgewidth=0)
        _beside(axes, ends[1], ends[1], "prediction = measurement", PREDICTION, (-6, -2), ha="right")
        axes.set_xlabel(f"predicted {quantity}  ({unit})")
        axes.set_ylabel(f"measured {quantity}  ({unit})")
        axes.ticklabel_format(style="sci", scilimits=(-2, 3), axis="both")
    worst = float(np.abs(predicted - measured).max())
    return ThemedFigure(
        figure,
        f"{predicted.size} points of measured over predicted {quantity}, "
        f"between {ends[0]:.2g} and {ends[1]:.2g} {unit}, with the line of equality; "
        f"the point farthest from it is {worst:.2g} {unit} away.",
    )


def covariance_signs(
    probs: Real[np.ndarray, " actions"],
    delta_logits_by_case: Mapping[str, Real[np.ndarray, " actions"]],
    covariances: Sequence[float] | Real[np.ndarray, " cases"],
) -> ThemedFigure:
    """The same policy before and after several steps: positive covariance sharpens it, negative flattens it.

    Args:
        probs: probability of each action before the step.
        delta_logits_by_case: title of each panel to the step Δz, one number for each action.
        covariances: Cov(log π, Δz) of each case, in nats; printed above its panel.

    Returns:
        Small multiples, two bars for each action.
    """
    probs = np.asarray(probs, float)
    after = {case: _stepped(probs, np.asarray(step, float)) for case, step in delta_logits_by_case.items()}
    places = np.arange(probs.size)
    with _axes(7.2, 3.4, columns=len(after)) as (figure, panels):
        for axes, (case, moved), covariance in zip(panels, after.items(), covariances, strict=True):
            axes.bar(places - 0.2, probs, 0.38, color=_INK, alpha=0.35)
            axes.bar(places + 0.2, moved, 0.38, color=MEASUREMENT)
            axes.set_title(f"{case}\nCov = {_signed(covariance)} nats")
            axes.set_xticks(places, [str(k + 1) for k in places])
            axes.set_xlabel("action")
        tallest = max(probs.max(), *(moved.max() for moved in after.values()))
        panels[0].set_ylim(0, 1.3 * tallest)
        panels[0].set_ylabel("probability")
        panels[0].text(0.98, 0.97, "before", alpha=0.75, ha="right", va="top", transform=panels[0].transAxes)
        panels[0].text(
            0.98, 0.88, "after", color=MEASUREMENT, ha="right", va="top", transform=panels[0].transAxes
        )
    told = "; ".join(
        f"{case}, covariance {covariance:+.2g} nats: to {_listed(moved)}"
        for (case, moved), covariance in zip(after.items(), covariances, strict=True)
    )
    return ThemedFigure(
        figure, f"Bars of the probabilities {_listed(probs)} before and after a step. {told}."
    )


def sign_errors_against_step(
    step_sizes: Real[np.ndarray, " steps"],
    rises_that_fell: Real[np.ndarray, " steps"],
    falls_that_rose: Real[np.ndarray, " steps"],
) -> ThemedFigure:
    """How often the first order promises the wrong sign, over the size of the step.

    Args:
        step_sizes: standard deviation of Δz under the policy, in logits.
        rises_that_fell: of the steps promised a rise of entropy, the share, 0 to 1, that lowered it.
        falls_that_rose: of the steps promised a fall of entropy, the share, 0 to 1, that raised it.

    Returns:
        One panel, step size on a logarithmic axis.
    """
    fell, rose = rises_that_fell, falls_that_rose
    with _axes(6.4, 3.4) as (figure, (axes,)):
        axes.semilogx(step_sizes, 100 * fell, "o-", color=MEASUREMENT, linewidth=1)
        axes.semilogx(step_sizes, 100 * rose, "o--", color=MEASUREMENT, linewidth=1, markerfacecolor="none")
        _beside(
            axes, step_sizes[-3], 100 * fell[-3], "promised a rise, fell", MEASUREMENT, (-8, 6), ha="right"
        )
        _beside(
            axes, step_sizes[-3], 100 * rose[-3], "promised a fall, rose", MEASUREMENT, (-8, 8), ha="right"
        )
        axes.set_xlabel("standard deviation of Δz under the policy  (logits)")
        axes.set_ylabel("promises broken  (%)")
    return ThemedFigure(
        figure,
        "Share of broken promises about the sign, for step sizes from "
        f"{step_sizes[0]:.2g} to {step_sizes[-1]:.2g}. "
        f"Promised rises that fell: from {fell[0]:.1%} to {fell[-1]:.1%}. "
        f"Promised falls that rose: from {rose[0]:.1%} to {rose[-1]:.1%}, at most {rose.max():.1%}.",
    )


def advantage_weights(
    probs: Real[np.ndarray, " actions"],
    entropy: float,
    natural: Real[np.ndarray, " actions"],
    plain: Real[np.ndarray, " actions"],
) -> ThemedFigure:
    """How much entropy an update pays for an action's advantage, over the action's probability.

    Args:
        probs: probability of each action.
        entropy: H in nats; gives the lines log π + H and π(log π + H).
        natural: measured weight under the natural gradient, in nats; drawn as full points.
        plain: measured weight under the policy gradient, in nats; drawn as open points.

    Returns:
        One panel, probability on a logarithmic axis.
    """
    probs, natural, plain = (np.asarray(v, float) for v in (probs, natural, plain))
    grid = np.geomspace(probs.min() / 1.5, 1.0, 300)
    with _axes(6.4, 3.6) as (figure, (axes,)):
        axes.axhline(0, color=_INK, linewidth=0.8)
        axes.semilogx(grid, np.log(grid) + entropy, color=PREDICTION)
        axes.semilogx(grid, grid * (np.log(grid) + entropy), color=PREDICTION, linestyle="--")
        axes.semilogx(probs, natural, "o", color=MEASUREMENT)
        axes.semilogx(probs, plain, "o", color=MEASUREMENT, markerfacecolor="none")
        left = grid[20]
        _beside(axes, left, np.log(left) + entropy, "natural: log π + H", PREDICTION, (16, -6))
        _beside(axes, left, 0.0, "plain: π(log π + H)", PREDICTION, (16, 8))
        axes.set_xlabel("probability π of the action")
        axes.set_ylabel("weight of its advantage  (nats)")
    return ThemedFigure(
        figure,
        f"Weight of the advantage over probability for {probs.size} actions between {probs.min():.2g} and "
        f"{probs.max():.2g}, H = {entropy:.3g}. Under the natural gradient the weight rises with the "
        f"probability throughout, from {natural.min():.3g} to {natural.max():.3g} nats. Under the policy "
        f"gradient it is {plain[probs.argmin()]:.2g} nats for the rarest action, at least {plain.min():.2g} "
        f"and at most {plain.max():.2g}.",
    )


def predictions_against_measurement(
    predicted_by_form: Mapping[str, Real[np.ndarray, " points"]],
    measured: Real[np.ndarray, " points"],
) -> ThemedFigure:
    """Measured entropy changes over the predictions of several forms; wrong signs are open points.

    Args:
        predicted_by_form: title of each panel to its predicted entropy changes, in nats.
        measured: measured entropy changes, in nats.

    Returns:
        Small multiples with the line of equality.
    """
    measured, said = np.asarray(measured, float), []
    with _axes(7.2, 3.6, columns=len(predicted_by_form)) as (figure, panels):
        for axes, (title, predicted) in zip(panels, predicted_by_form.items(), strict=True):
            predicted = np.asarray(predicted, float)
            wrong = np.sign(predicted) != np.sign(measured)
            ends = np.array([min(predicted.min(), measured.min()), max(predicted.max(), measured.max())])
            axes.axhline(0, color=_INK, linewidth=0.8)
            axes.axvline(0, color=_INK, linewidth=0.8)
            axes.plot(ends, ends, color=PREDICTION)
            axes.plot(predicted[~wrong], measured[~wrong], ".", color=MEASUREMENT, markersize=4)
            axes.plot(predicted[wrong], measured[wrong], "o", color=MEASUREMENT, markerfacecolor="none")
            axes.set_title(title)
            axes.set_xlabel("predicted  (nats)")
            axes.ticklabel_format(style="sci", scilimits=(-2, 3), axis="both")
            axes.locator_params(axis="x", nbins=4)
            correlation = np.corrcoef(predicted, measured)[0, 1]
            said.append(f"{title}: correlation {correlation:.2f}, wrong sign for {wrong.sum()}")
        panels[0].set_ylabel("measured  (nats)")
    return ThemedFigure(
        figure,
        f"{measured.size} measured entropy changes between {measured.min():.2g} and {measured.max():.2g} "
        f"nats over predicted ones, {len(said)} panels with the line of equality. {'; '.join(said)}.",
    )


def entropy_paths(
    times: Real[np.ndarray, " records"],
    predicted_by_case: Mapping[str, Real[np.ndarray, " records"]],
    measured_by_case: Mapping[str, Real[np.ndarray, " records"]],
) -> ThemedFigure:
    """Entropy over time, one panel for each case: the predicted path as a line, the measured one as points.

    Args:
        times: step size × steps, in nats per unit of reward.
        predicted_by_case: title of each panel to the predicted entropies, in nats.
        measured_by_case: the same titles to the measured entropies, in nats; at most 13 are drawn.

    Returns:
        Small multiples with a common entropy axis.
    """
    some = np.unique(np.linspace(0, len(times) - 1, 13).round().astype(int))
    with _axes(7.2, 3.2, columns=len(predicted_by_case)) as (figure, panels):
        for axes, (case, predicted) in zip(panels, predicted_by_case.items(), strict=True):
            axes.plot(times, predicted, color=PREDICTION)
            axes.plot(times[some], measured_by_case[case][some], "o", color=MEASUREMENT, markersize=5)
            axes.set_title(case)
            axes.set_xlabel("time ηk  (nats / reward)")
        panels[0].set_ylabel("entropy H  (nats)")
        panels[0].set_ylim(bottom=0)
    told = "; ".join(
        f"{case}: from {path[0]:.3g} through at most {path.max():.3g} to {path[-1]:.3g} nats"
        for case, path in measured_by_case.items()
    )
    return ThemedFigure(
        figure,
        f"Entropy from time {times[0]:.3g} to {times[-1]:.3g}, predicted line and measured points, "
        f"{len(predicted_by_case)} panels. {told}.",
    )


def shares_against_alignment(
    alignments: Real[np.ndarray, " alignments"],
    shares_by_case: Mapping[str, Real[np.ndarray, " alignments"]],
    instances: int,
) -> ThemedFigure:
    """Share of instances for which something holds, over the alignment of prior and reward.

    Args:
        alignments: ρ in [−1, 1], dimensionless.
        shares_by_case: label of each curve to its shares, 0 to 1; at most four curves.
        instances: number of instances behind each share; gives the bars of one standard error.

    Returns:
        One panel.
    """
    styles = ("o-", "s--", "^-.", "v:")
    with _axes(6.4, 3.8) as (figure, (axes,)):
        for style, (case, shares) in zip(styles, shares_by_case.items(), strict=False):
            height, deviation = 100 * shares, 100 * np.sqrt(shares * (1 - shares) / instances)
            axes.errorbar(
                alignments, height, deviation, fmt=style, color=MEASUREMENT, linewidth=1, label=case
            )
        axes.legend(loc="upper left")
        axes.set_xlabel("alignment ρ of prior and reward  (correlation)")
        axes.set_ylabel("share of instances  (%)")
    told = "; ".join(
        f"{case}: {', '.join(f'{share:.0%}' for share in shares)}" for case, shares in shares_by_case.items()
    )
    return ThemedFigure(
        figure,
        f"Share of {instances} instances over the alignment {_listed(alignments)}, "
        f"with standard errors. {told}.",
    )


def sampled_token_losses(
    probs: Real[np.ndarray, " actions"],
    entropy: float,
    neutral_probability: float,
    coupled: Real[np.ndarray, " actions"],
    alone: Real[np.ndarray, " actions"],
) -> ThemedFigure:
    """What entropy loses when the token sampled is reinforced, over its probability, with both thresholds.

    Args:
        probs: probability of each token.
        entropy: H in nats; gives the line π(log π + H) and its zero e^(−H).
        neutral_probability: p*, where the line lowered by p*(log p* + H) is zero.
        coupled: measured −ΔH/(ηA) of the step e_a − π; drawn as full points.
        alone: measured −ΔH/η of the step e_a; drawn as open points.

    Returns:
        One panel; between the two thresholds the two steps move entropy in opposite directions.
    """
    probs, coupled, alone = (np.asarray(v, float) for v in (probs, coupled, alone))
    right = min(1.0, 1.12 * float(probs.max()))
    grid, naive = np.linspace(1e-6, right, 400), float(np.exp(-entropy))
    score = grid * (np.log(grid) + entropy)
    baseline = neutral_probability * (np.log(neutral_probability) + entropy)
    top, bottom = float(max(score.max(), alone.max())), float(min((score - baseline).min(), coupled.min()))
    room = 0.12 * (top - bottom)
    with _axes(6.4, 3.9) as (figure, (axes,)):
        axes.axhline(0, color=_INK, linewidth=0.8)
        axes.axvspan(naive, neutral_probability, color=_INK, alpha=0.12, linewidth=0)
        axes.plot(grid, score, color=PREDICTION, linestyle="--")
        axes.plot(grid, score - baseline, color=PREDICTION)
        axes.plot(probs, alone, "o", color=MEASUREMENT, markerfacecolor="none")
        axes.plot(probs, coupled, "o", color=MEASUREMENT)
        axes.set_ylim(bottom - room, top + room)
        axes.set_xlim(0, right)
        _beside(axes, naive, top + room, f"$e^{{-H}}$ = {naive:.3g}", _INK, (-4, -12), ha="right")
        _beside(axes, neutral_probability, top + room, f"$p^*$ = {neutral_probability:.3g}", _INK, (4, -12))
        _beside(axes, grid[330], score[330], "$e_a$ alone", PREDICTION, (-8, 4), ha="right")
        _beside(axes, grid[330], score[330] - baseline, "$e_a - \\pi$", PREDICTION, (6, -14))
        axes.set_xlabel("probability π of the action")
        axes.set_ylabel("entropy lost per unit of step  (nats)")
    return ThemedFigure(
        figure,
        f"Entropy lost per unit of step over the probability of the reinforced token, for {probs.size} "
        f"tokens with probabilities {_listed(probs)}. If its logit alone is raised the loss changes sign at "
        f"e^(-H) = {naive:.3g}; with the score's other part it changes sign at "
        f"p* = {neutral_probability:.3g}. "
        f"Tokens between the two: {_listed(probs[(probs > naive) & (probs < neutral_probability)])}.",
    )


def shares_against_entropy(
    entropies: Mapping[str, Real[np.ndarray, " instances"]],
    shares: Mapping[str, Real[np.ndarray, " instances"]],
    lines: Mapping[str, tuple[Real[np.ndarray, " points"], Real[np.ndarray, " points"]]],
    label: str,
) -> ThemedFigure:
    """A share that each policy has, over its entropy, one panel for each number of actions.

    Args:
        entropies: panel title to the entropy of each policy, in nats.
        shares: panel title to its shares, 0 to 1; drawn as points.
        lines: panel title to entropies and shares of a family of policies, drawn as a line.
        label: what the share is of.

    Returns:
        One panel for each title, with a common vertical axis.
    """
    told = []
    with _axes(2.3 * len(entropies), 3.2, len(entropies)) as (figure, panels):
        for axes, (title, nats) in zip(panels, entropies.items(), strict=True):
            axes.plot(nats, 100 * shares[title], "o", color=MEASUREMENT, markersize=2.5, alpha=0.5)
            axes.plot(lines[title][0], 100 * lines[title][1], color=PREDICTION)
            axes.set_title(title)
            axes.set_xlabel("entropy  (nats)")
            axes.set_xlim(left=0)
            peak = int(np.argmax(lines[title][1]))
            told.append(
                f"{title}: points from {shares[title].min():.0%} to {shares[title].max():.0%}, median "
                f"{np.median(shares[title]):.0%}; the line peaks at {lines[title][1][peak]:.0%} for "
                f"{lines[title][0][peak]:.2g} nats"
            )
        panels[0].set_ylabel(f"{label}  (%)")
    return ThemedFigure(
        figure, f"{label[0].upper()}{label[1:]} over entropy, one point a policy. {'. '.join(told)}."
    )


def bands_over_time(
    times: Real[np.ndarray, " times"],
    values_by_case: Mapping[str, Real[np.ndarray, "_ times"]],
    references: Mapping[str, float],
    quantity: str,
    time: str = "time  (step size × steps)",
) -> ThemedFigure:
    """How a quantity of many runs moves over time, one panel for each case, time on a logarithmic axis.

    Args:
        times: moments, > 0.
        values_by_case: title of each panel to the measured values, shape [runs, times].
        references: title of each panel to the value that a theory names; drawn as a line. The drawing is
            cut off above 1.6 times the largest.
        quantity: what is measured, with its unit in brackets.
        time: what the moments count.

    Returns:
        Small multiples: median, and the bands from the 25th to the 75th and the 5th to the 95th percentile.
    """
    levels = {case: np.percentile(v, [5, 25, 50, 75, 95], axis=0) for case, v in values_by_case.items()}
    with _axes(7.2, 3.4, columns=len(levels)) as (figure, panels):
        for axes, (case, (low, lower, median, upper, high)) in zip(panels, levels.items(), strict=True):
            axes.fill_between(times, low, high, color=MEASUREMENT, alpha=0.2, linewidth=0)
            axes.fill_between(times, lower, upper, color=MEASUREMENT, alpha=0.3, linewidth=0)
            axes.semilogx(times, median, color=MEASUREMENT)
            axes.axhline(references[case], color=PREDICTION, linestyle="--")
            axes.set_title(case)
            axes.xaxis.set_major_locator(LogLocator(numticks=4))
            axes.xaxis.set_minor_formatter(NullFormatter())
        tallest = min(1.08 * max(level.max() for level in levels.values()), 1.6 * max(references.values()))
        panels[0].set_ylim(min(0.0, *(level.min() for level in levels.values())), tallest)
        panels[len(levels) // 2].set_xlabel(time)
        panels[0].set_ylabel(quantity)
    told = "; ".join(
        f"{case}: line at {references[case]:.3g}, median from {level[2, 0]:.3g} to {level[2, -1]:.3g}, "
        f"in the end between {level[0, -1]:.3g} and {level[4, -1]:.3g} for nine in ten"
        for case, level in levels.items()
    )
    return ThemedFigure(
        figure,
        f"{quantity} over time from {times[0]:.3g} to {times[-1]:.3g}, logarithmic, {len(levels)} panels, "
        f"each with a dashed line. {told}.",
    )


def families_on_log_axes(
    places: Real[np.ndarray, " places"],
    predicted_by_panel: Mapping[str, Real[np.ndarray, "_ places"]],
    measured_by_panel: Mapping[str, Real[np.ndarray, "_ places"]],
    horizontal: str,
    vertical: str,
    lowest: float = 0.0,
) -> ThemedFigure:
    """Whole families of predicted curves as lines and of measured ones as points, both axes logarithmic.

    Args:
        places: where both are known, > 0.
        predicted_by_panel: title of each panel to its predicted curves, shape [cases, places], > 0.
        measured_by_panel: the same titles to the measured values, shape [any number of cases, places]; drawn
            at no more than 25 places.
        horizontal: label of the places, with their unit in brackets.
        vertical: label of the values, with their unit in brackets.
        lowest: values below it are not drawn.

    Returns:
        Small multiples with a common vertical axis; lines from solid to dotted in the order given.
    """
    said, styles = [], ("-", "--", "-.", ":")
    some = np.unique(np.linspace(0, len(places) - 1, 25).round().astype(int))
    with _axes(7.2, 3.6, columns=len(predicted_by_panel)) as (figure, panels):
        for axes, (title, predicted) in zip(panels, predicted_by_panel.items(), strict=True):
            measured = np.asarray(measured_by_panel[title], float)
            for k, curve in enumerate(np.where(np.asarray(predicted) < lowest, np.nan, predicted)):
                axes.loglog(places, curve, styles[min(k, 3)], color=PREDICTION, linewidth=1.2)
            shown = np.where(measured < lowest, np.nan, measured)[:, some].T
            axes.loglog(places[some], shown, "o", color=MEASUREMENT, markersize=3, markeredgewidth=0)
            axes.set_xlim(places.min() / 1.3, places.max() * 1.3)
            axes.set_title(title)
            axes.set_xlabel(horizontal)
            said.append(
                f"{title}: {len(predicted)} predicted curves, the first from {predicted[0][0]:.3g} to "
                f"{predicted[0][-1]:.3g}, the last from {predicted[-1][0]:.3g} to {predicted[-1][-1]:.3g}; "
                f"{len(measured)} measured ones, from {np.median(measured[:, 0]):.3g} to "
                f"{np.median(measured[:, -1]):.3g} in the median"
            )
        panels[0].set_ylabel(vertical)
    return ThemedFigure(
        figure,
        f"{vertical} over {horizontal} from {places[0]:.3g} to {places[-1]:.3g}, both axes logarithmic, "
        f"{len(said)} panels. {'. '.join(said)}.",
    )


def errors_against_step_size(
    step_sizes: Real[np.ndarray, " steps"],
    errors_by_case: Mapping[str, Real[np.ndarray, "_ steps"]],
    reference_slopes: Sequence[int],
    vertical: str,
) -> ThemedFigure:
    """How far finite steps end from a predicted end, over the step size, one panel for each prediction.

    Args:
        step_sizes: η > 0, in nats per unit of reward.
        errors_by_case: title of each panel to the errors, sign ignored, shape [instances, step sizes].
        reference_slopes: power of the step size drawn in each panel.
        vertical: label of the errors, with their unit in brackets.

    Returns:
        Small multiples: median and the band from the 5th to the 95th percentile of the instances.
    """
    said = []
    with _axes(7.2, 3.4, columns=len(errors_by_case)) as (figure, panels):
        for axes, slope, (title, errors) in zip(
            panels, reference_slopes, errors_by_case.items(), strict=True
        ):
            low, median, high = np.percentile(np.abs(errors), [5, 50, 95], axis=0)
            axes.fill_between(step_sizes, low, high, color=MEASUREMENT, alpha=0.3, linewidth=0)
            axes.loglog(step_sizes, median, "o", color=MEASUREMENT, markersize=4)
            line = median[-1] * (step_sizes / step_sizes[-1]) ** slope
            axes.loglog(step_sizes, line, color=PREDICTION, linewidth=1.2, linestyle="--")
            _beside(axes, step_sizes[1], line[1], f"slope {slope}", PREDICTION, (6, -12))
            axes.set_title(title)
            axes.set_xlabel("step size η  (nats / reward)")
            axes.xaxis.set_minor_formatter(NullFormatter())
            said.append(f"{title}: fitted slope of the median {_slope(step_sizes, median):.2f}, line {slope}")
        panels[0].set_ylabel(vertical)
    return ThemedFigure(
        figure,
        f"{vertical} over the step size from {step_sizes[0]:.2g} to {step_sizes[-1]:.2g}, both axes "
        f"logarithmic, {len(said)} panels. {'; '.join(said)}.",
    )


def reward_against_entropy(
    entropies_by_case: Mapping[str, Real[np.ndarray, " records"]],
    rewards_by_case: Mapping[str, Real[np.ndarray, " records"]],
    laws_by_case: Mapping[str, Real[np.ndarray, " records"]],
) -> ThemedFigure:
    """Reward against the entropy paid for it, one panel for each run: a law as a line, the run as points.

    Args:
        entropies_by_case: title of each panel to the entropies of its run, in nats.
        rewards_by_case: the same titles to rewards as a share of the largest; at most 15 are drawn.
        laws_by_case: the same titles to the rewards that a law gives at these entropies.

    Returns:
        Small multiples with a common reward axis; training runs from right to left.
    """
    told = []
    with _axes(7.2, 3.2, columns=len(entropies_by_case)) as (figure, panels):
        for axes, (case, entropies) in zip(panels, entropies_by_case.items(), strict=True):
            rewards, law = rewards_by_case[case], laws_by_case[case]
            order = np.argsort(entropies)
            wanted = np.linspace(entropies.min(), entropies.max(), 15)
            some = np.unique(np.abs(entropies[:, None] - wanted).argmin(axis=0))
            axes.plot(entropies[order], law[order], color=PREDICTION)
            axes.plot(entropies[some], rewards[some], "o", color=MEASUREMENT, markersize=5)
            axes.set_title(case)
            axes.set_xlabel("entropy H  (nats)")
            worst = np.abs(law - rewards).max()
            told.append(
                f"{case}: reward {rewards[0]:.2f} to {rewards[-1]:.2f} while entropy goes from "
                f"{entropies[0]:.2f} to {entropies[-1]:.2f} nats, the line at most {worst:.2g} away"
            )
        panels[0].set_ylabel("reward R  (share of the largest)")
    return ThemedFigure(
        figure,
        f"Reward against entropy, measured points and the line of a law, {len(told)} panels. "
        f"{'; '.join(told)}.",
    )


def error_ranges(
    errors_by_panel: Mapping[str, Mapping[str, Mapping[str, Real[np.ndarray, " instances"]]]],
) -> ThemedFigure:
    """Medians and 5th to 95th percentiles of errors over instances, for several laws in several worlds.

    Args:
        errors_by_panel: title of each panel to worlds, each world to laws, each law to its errors over
            instances, as shares of the gain and positive; the first stands out, up to three are beside it.

    Returns:
        Panels side by side with a common list of worlds.
    """
    styles = (("o", PREDICTION), ("s", MEASUREMENT), ("^", MEASUREMENT), ("D", MEASUREMENT))
    worlds = list(next(iter(errors_by_panel.values())))
    every = [
        np.percentile(e, [5, 95]) for w in errors_by_panel.values() for c in w.values() for e in c.values()
    ]
    with _axes(7.2, 0.55 * len(worlds) + 1.6, columns=len(errors_by_panel)) as (figure, panels):
        for axes, (title, cases) in zip(panels, errors_by_panel.items(), strict=True):
            for row, case in enumerate(cases):
                for shift, ((marker, color), (law, errors)) in enumerate(
                    zip(styles, cases[case].items(), strict=False)
                ):
                    low, middle, high = np.percentile(errors, [5, 50, 95])
                    axes.errorbar(
                        middle,
                        row + 0.2 * (shift - 1),
                        xerr=[[middle - low], [high - middle]],
                        fmt=marker,
                        color=color,
                        markerfacecolor=color if marker == "o" else "none",
                        markersize=5,
                        linewidth=1,
                        label=law if row == 0 else None,
                    )
            axes.set_xscale("log")
            axes.set_xlim(0.8 * np.min(every), 1.25 * np.max(every))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_title(title)
            axes.set_xlabel("prediction error  (share of gain)")
        panels[0].set_yticks(range(len(worlds)), worlds)
        panels[0].set_ylabel("world  (flow, alignment)")
        panels[0].invert_yaxis()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    told = "; ".join(
        f"{title}, {case}: "
        + ", ".join(f"{law} {np.median(errors):.2g}" for law, errors in cases[case].items())
        for title, cases in errors_by_panel.items()
        for case in cases
    )
    return ThemedFigure(
        figure, f"Median prediction error of each law, with the 5th to the 95th percentile drawn. {told}."
    )


def grouped_dots(
    values_by_group: Mapping[str, Mapping[str, Sequence[float] | Real[np.ndarray, " values"]]],
    quantity: str,
    unit: str,
    ours: str = "entropy_core",
    line: tuple[float, str] | None = None,
    missing: str = "none",
    rows: str = "method",
) -> ThemedFigure:
    """Positive numbers of several methods on one logarithmic axis, a row for each method, in groups.

    Args:
        values_by_group: heading of each group to the values of each method; nan where there is none.
        quantity: what is measured, named below the axis.
        unit: its unit.
        ours: methods whose name begins so are drawn filled, the others open.
        line: a number to compare with and the words for it.
        missing: what is written where a method has no value at all.
        rows: what the rows are, for the axis.

    Returns:
        One panel; the median of many values is a bar.
    """
    lines = sum(len(methods) for methods in values_by_group.values()) + 1.3 * len(values_by_group)
    level, ticks, said = 0.0, {}, []
    with _axes(6.8, 0.27 * lines + 0.9) as (figure, (axes,)):
        axes.set_xscale("log")
        for group, methods in values_by_group.items():
            level -= 1.3
            axes.annotate(group, (0, level), (4, 0), **_AT_LEFT, va="center", fontweight="bold", fontsize=10)
            for method, values in methods.items():
                level -= 1
                ticks[level] = method
                said.append(
                    f"{group}, {method}: {_dots(axes, level, values, method.startswith(ours), missing)}"
                )
        if line is not None:
            axes.axvline(line[0], color=PREDICTION)
            _beside(axes, line[0], -0.3, line[1], PREDICTION, (4, 0))
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(level - 0.7, -0.6 if line is None else 0.4)
        axes.set_xlabel(f"{quantity}  ({unit})")
        axes.set_ylabel(rows)
    compared = "" if line is None else f", with a line at {line[0]:.2g}, {line[1]}"
    return ThemedFigure(figure, f"{quantity} in {unit}{compared}. {'; '.join(said)}.")


def means_with_errors(
    places: Real[np.ndarray, " places"],
    values_by_case: Mapping[str, Real[np.ndarray, "_ places"]],
    horizontal: str,
    vertical: str,
    scale: str = "linear",
    line: tuple[Real[np.ndarray, " places"], str] | None = None,
) -> ThemedFigure:
    """Mean of several cases over runs, with one standard error, over a common place.

    Args:
        places: where the cases were measured.
        values_by_case: name of each case to its values, shape [runs, places]; at most six cases. A case with
            one run has no error bar.
        horizontal: label of the places, with their unit in brackets.
        vertical: label of the values, with their unit in brackets.
        scale: of both axes, "linear" or "log".
        line: a predicted curve and the words for it.

    Returns:
        One panel; markers from full circles to open triangles in the order given.
    """
    styles, told = ("o-", "s--", "^-.", "v:", "D-", "P--"), []
    with _axes(6.6, 4.0) as (figure, (axes,)):
        if line is not None:
            axes.plot(places, line[0], color=PREDICTION, label=line[1])
        for rank, (style, (case, values)) in enumerate(zip(styles, values_by_case.items(), strict=False)):
            values = np.asarray(values, float)
            mean, face = values.mean(axis=0), MEASUREMENT if rank % 2 == 0 else "none"
            error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
            look = {"markersize": 5, "linewidth": 1, "color": MEASUREMENT, "markerfacecolor": face}
            axes.errorbar(places, mean, error, fmt=style, label=case, **look)
            told.append(f"{case}: from {mean[0]:.3g} to {mean[-1]:.3g}")
        axes.set_xscale(scale)
        axes.set_yscale(scale)
        axes.set_xlabel(horizontal)
        axes.set_ylabel(vertical)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    predicted = "" if line is None else f" {line[1]}: line from {line[0][0]:.3g} to {line[0][-1]:.3g}."
    return ThemedFigure(
        figure,
        f"{vertical} over {horizontal} from {places[0]:.3g} to {places[-1]:.3g}, means with standard errors. "
        f"{'; '.join(told)}.{predicted}",
    )


def paths_beside_baseline(
    paths_by_case: Mapping[str, tuple[Real[np.ndarray, "_ records"], Real[np.ndarray, "_ records"]]],
    baseline: tuple[Real[np.ndarray, "_ records"], Real[np.ndarray, "_ records"]],
    name: str,
    horizontal: str,
    vertical: str,
) -> ThemedFigure:
    """Paths of all runs of several cases, a panel for each case, the same baseline in every panel.

    Args:
        paths_by_case: title of each panel to two quantities over the records of its runs, one row a run.
        baseline: the same two quantities of the runs to compare with; drawn as lines.
        name: what the baseline is called.
        horizontal: label of the first quantity, with its unit in brackets.
        vertical: label of the second quantity, with its unit in brackets.

    Returns:
        Small multiples, three to a row, with common axes; points are records of a case, lines the baseline.
    """
    said, rows = [], -(-len(paths_by_case) // 3)
    ends = lambda paths: f"from {paths[1][:, 0].mean():.2f} to {paths[1][:, -1].mean():.2f}"  # noqa: E731
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.3 * rows + 0.8), layout="constrained")
        panels = figure.subplots(rows, 3, sharex=True, sharey=True, squeeze=False)
        for axes in panels.flat[len(paths_by_case) :]:
            axes.set_axis_off()
        for axes, (case, paths) in zip(panels.flat, paths_by_case.items(), strict=False):
            for k, (x, y) in enumerate(zip(*baseline, strict=True)):
                axes.plot(x, y, color=PREDICTION, linewidth=1.2, label=None if k else name)
            for k, (x, y) in enumerate(zip(*paths, strict=True)):
                look = {"color": MEASUREMENT, "markersize": 3, "linewidth": 0.6}
                axes.plot(x, y, "o-", **look, label=None if k else "the arm of the panel")
            axes.set_title(case)
            said.append(f"{case} {ends(paths)}")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        for axes in panels[:, 0]:
            axes.set_ylabel(vertical)
        panels[-1, 1].set_xlabel(horizontal)
    return ThemedFigure(
        figure,
        f"{vertical} over {horizontal}, every run of {len(said)} cases beside {name}, which goes "
        f"{ends(baseline)} in the mean. {'; '.join(said)}.",
    )


def table_against_models(
    labels: Sequence[str],
    printed: Real[np.ndarray, " rows"],
    models: Mapping[str, Real[np.ndarray, " rows"]],
    horizontal: str,
    vertical: str,
) -> ThemedFigure:
    """Rows of a printed table as points and what several models give for them as lines, a panel each.

    Args:
        labels: name of each row, in the order drawn.
        printed: the table's values, > 0.
        models: title of each panel to the values of a model, > 0.
        horizontal: what the rows are, with its unit in brackets.
        vertical: what the values are, with their unit in brackets.

    Returns:
        Small multiples with a common logarithmic axis.
    """
    printed, told, ticks = np.asarray(printed, float), [], (0.1, 0.2, 0.5, 1, 2, 5, 10)
    with _axes(7.2, 3.4, columns=len(models)) as (figure, panels):
        for axes, (title, given) in zip(panels, models.items(), strict=True):
            given = np.asarray(given, float)
            axes.semilogy(given, color=PREDICTION)
            axes.semilogy(printed, "o", color=MEASUREMENT, markersize=5)
            axes.set_xticks(range(len(labels)), labels)
            axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_title(title)
            axes.set_xlabel(horizontal)
            worst = np.abs(given / printed - 1).max()
            told.append(f"{title}: from {given[0]:.3g} to {given[-1]:.3g}, at most {worst:.0%} off")
        both = np.concatenate([printed, *models.values()])
        panels[0].set_ylim(0.8 * both.min(), 1.25 * both.max())
        panels[0].set_ylabel(vertical)
    return ThemedFigure(
        figure,
        f"{vertical} for {horizontal} {', '.join(labels)}: printed points from {printed[0]:.3g} to "
        f"{printed[-1]:.3g} and lines of {len(models)} models. {'; '.join(told)}.",
    )


def covariance_parts(
    predicted_by_case: Mapping[str, Mapping[str, float]],
    measured_by_case: Mapping[str, Mapping[str, Real[np.ndarray, " batches"]]],
    quantity: str,
) -> ThemedFigure:
    """Parts of a signed quantity, one panel for each case: exact values as bars, batches as points.

    Args:
        predicted_by_case: title of each panel to the exact value of each part.
        measured_by_case: the same titles to the values of each part in many batches; drawn are the median and
            the range from the 5th to the 95th percentile.
        quantity: what is measured, with its unit in brackets.

    Returns:
        Small multiples with a common list of parts and a line at 0.
    """
    parts, said = list(next(iter(predicted_by_case.values()))), []
    ends = [np.percentile(v, [5, 95]) for case in measured_by_case.values() for v in case.values()]
    reach = 1.1 * max(np.abs(ends).max(), *(abs(v) for c in predicted_by_case.values() for v in c.values()))
    with _axes(7.2, 0.5 * len(parts) + 1.4, columns=len(predicted_by_case)) as (figure, panels):
        for axes, (title, predicted) in zip(panels, predicted_by_case.items(), strict=True):
            axes.axvline(0, color=_INK, linewidth=0.8)
            for row, part in enumerate(parts):
                axes.barh(row, predicted[part], 0.62, color=PREDICTION, alpha=0.45)
                low, middle, high = np.percentile(measured_by_case[title][part], [5, 50, 95])
                axes.errorbar(
                    middle,
                    row,
                    xerr=[[middle - low], [high - middle]],
                    fmt="o",
                    color=MEASUREMENT,
                    markersize=5,
                    linewidth=1.2,
                )
                said.append(f"{title}, {part}: {predicted[part]:+.2g}, batches {low:+.2g} to {high:+.2g}")
            axes.set_title(title)
            axes.set_xlim(-reach, reach)
            axes.tick_params(axis="y", length=0)
            axes.set_xlabel(quantity)
        panels[0].set_yticks(range(len(parts)), parts)
        panels[0].set_ylabel("part  (over tokens)")
        panels[0].invert_yaxis()
    return ThemedFigure(
        figure,
        f"Bars of {quantity} with the range of nine in ten batches, {len(panels)} panels. {'; '.join(said)}.",
    )


def signed_effects(
    effects_by_panel: Mapping[str, Mapping[str, tuple[float, float]]],
    quantity: str,
    reach: float = 2.0,
) -> ThemedFigure:
    """Signed numbers with their standard errors, a row for each case, a panel for each way to compare.

    Args:
        effects_by_panel: title of each panel to the mean and standard error of each case; every panel has the
            same cases.
        quantity: what is measured, with its unit in brackets.
        reach: standard errors that a bar extends to each side; for few runs Student's t.

    Returns:
        Small multiples with a vertical line at zero; points whose bar meets it are open.
    """
    said = []
    cases = list(next(iter(effects_by_panel.values())))
    rows = -np.arange(len(cases))
    with _axes(7.2, 0.36 * len(cases) + 1.3, columns=len(effects_by_panel)) as (figure, panels):
        for axes, (title, effects) in zip(panels, effects_by_panel.items(), strict=True):
            axes.axvline(0, color=_INK, linewidth=0.8)
            for row, case in zip(rows, cases, strict=True):
                mean, error = effects[case]
                face = MEASUREMENT if abs(mean) >= reach * error else "none"
                axes.errorbar(mean, row, xerr=reach * error, fmt="o", color=MEASUREMENT, markerfacecolor=face)
            axes.set_title(title)
            axes.locator_params(axis="x", nbins=3)
            said.append(
                f"{title}: " + ", ".join(f"{c} {_signed(m)} ± {e:.1g}" for c, (m, e) in effects.items())
            )
        panels[0].set_yticks(rows, cases)
        panels[0].set_ylim(rows[-1] - 0.6, 0.6)
        panels[0].set_ylabel("case")
        panels[len(panels) // 2].set_xlabel(quantity)
    return ThemedFigure(
        figure, f"{quantity}, mean and standard error, {len(said)} panels. {'; '.join(said)}."
    )


def curves_over_coefficient(
    predicted_by_panel: Mapping[str, Mapping[str, Real[np.ndarray, "2 places"]]],
    measured_by_panel: Mapping[str, Mapping[str, Real[np.ndarray, "2 places"]]],
    horizontal: str,
) -> ThemedFigure:
    """Several quantities over a coefficient, one panel each: predictions as lines, measurements as points.

    Args:
        predicted_by_panel: label of each vertical axis, with its unit, to the cases; each case to two rows,
            coefficients > 0 and the predicted values there.
        measured_by_panel: the same labels and cases to the coefficients and measured values.
        horizontal: label of the coefficients, with their unit in brackets; the axis is logarithmic.

    Returns:
        Panels side by side, each with a vertical axis of its own; lines from solid to dotted in the order of
        the cases, named below.
    """
    said, styles, markers = [], ("-", "--", "-.", ":"), "os^v"
    with _axes(7.4, 3.6, columns=len(predicted_by_panel), sharey=False) as (figure, panels):
        for axes, (vertical, predicted) in zip(panels, predicted_by_panel.items(), strict=True):
            for k, (case, line) in enumerate(predicted.items()):
                places, values = measured_by_panel[vertical][case]
                axes.semilogx(*line, styles[k % 4], color=PREDICTION, linewidth=1.4, label=case)
                axes.semilogx(places, values, markers[k % 4], color=MEASUREMENT, markersize=4.5)
                said.append(
                    f"{vertical}, {case}: measured from {values[0]:.3g} to {values[-1]:.3g} "
                    f"for coefficients from {places[0]:.3g} to {places[-1]:.3g}"
                )
            axes.set_xlabel(horizontal)
            axes.set_ylabel(vertical)
            axes.xaxis.set_minor_formatter(NullFormatter())
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return ThemedFigure(figure, f"Predicted lines and measured points. {'; '.join(said)}.")


def loop_regimes(
    pulls: Real[np.ndarray, " runs"],
    gains: Real[np.ndarray, " runs"],
    kinds: Sequence[str],
    borders: Mapping[str, tuple[Real[np.ndarray, " places"], Real[np.ndarray, " places"]]],
) -> ThemedFigure:
    """What each run of a controlled loop did, over its two numbers, with the predicted borders.

    Args:
        pulls: ε of each run, the share of its way that a logit goes in one step.
        gains: q of each run, rate times varentropy.
        kinds: what each run did, in words; at most three kinds, in the order of their first run.
        borders: name of each predicted border to the pulls and gains of its line.

    Returns:
        One panel, both axes logarithmic.
    """
    pulls, gains, kinds = np.asarray(pulls, float), np.asarray(gains, float), np.asarray(kinds)
    styles = (("o", MEASUREMENT), ("^", "none"), ("x", MEASUREMENT))
    with _axes(6.8, 4.2) as (figure, (axes,)):
        names = sorted(set(kinds.tolist()))
        for (marker, face), kind in zip(styles, names, strict=False):
            here = kinds == kind
            axes.loglog(
                pulls[here],
                gains[here],
                marker,
                color=MEASUREMENT,
                markerfacecolor=face,
                markersize=4.5,
                label=kind,
            )
        for name, (at, level) in borders.items():
            axes.loglog(at, level, color=PREDICTION)
            _beside(axes, at[-1], level[-1], name, PREDICTION, (6, -4))
        axes.set_xlim(right=1.35 * max(at[-1] for at, _ in borders.values()))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("pull ε = ηα  (share of its way a logit goes in one step)")
        axes.set_ylabel("gain q = κ Var(log π)  (dimensionless)")
        figure.legend(loc="outside lower center", ncols=3)
    counts = ", ".join(f"{np.sum(kinds == kind)} {kind}" for kind in names)
    return ThemedFigure(
        figure,
        f"{pulls.size} runs over pull from {pulls.min():.2g} to {pulls.max():.2g} and gain from "
        f"{gains.min():.2g} to {gains.max():.2g}, both axes logarithmic: {counts}. "
        f"Lines: {', '.join(borders)}.",
    )


_AT_LEFT = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}


def _dots(axes: Axes, level: float, values: object, filled: bool, missing: str) -> str:
    """Draw one row of `grouped_dots` and return what it shows."""
    values = np.asarray(values, float).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        axes.annotate(missing, (1, level), (-4, 0), **_AT_LEFT, va="center", ha="right", fontsize=10)
        return missing
    face = MEASUREMENT if filled else "none"
    heights = np.full(values.size, level)
    axes.plot(
        values, heights, "o", color=MEASUREMENT, markerfacecolor=face, alpha=0.35 if values.size > 1 else 1
    )
    if values.size == 1:
        return f"{values[0]:.2g}"
    axes.plot(np.median(values), level, "|", color=_INK, markersize=13, markeredgewidth=2)
    return f"{values.min():.1g} to {values.max():.1g}, median {np.median(values):.1g}"


def levels_and_points(
    places: Sequence[str],
    predicted_by_panel: Mapping[str, Real[np.ndarray, " places"]],
    measured_by_panel: Mapping[str, Real[np.ndarray, " places"]],
    horizontal: str,
    vertical: str,
) -> ThemedFigure:
    """A number at each of a few places, one panel for each case: exact as a level, measured as a point on it.

    Args:
        places: name of each place, in the order drawn; of more than nine every other one is written.
        predicted_by_panel: title of each panel to the exact values, not negative.
        measured_by_panel: the same titles to the measured values.
        horizontal: what the places are, with their unit in brackets.
        vertical: what the values are, with their unit in brackets.

    Returns:
        Small multiples with one vertical axis.
    """
    said, ticks = [], range(0, len(places), 1 if len(places) < 10 else 2)
    with _axes(7.2, 3.2, columns=len(predicted_by_panel)) as (figure, panels):
        for axes, (title, exact) in zip(panels, predicted_by_panel.items(), strict=True):
            exact, measured = np.asarray(exact, float), np.asarray(measured_by_panel[title], float)
            axes.bar(range(len(places)), exact, 0.8, color=PREDICTION, alpha=0.35)
            axes.plot(measured, "o", color=MEASUREMENT, markersize=4.5)
            axes.set_xticks(list(ticks), [places[k] for k in ticks])
            axes.set_title(title)
            pairs = zip(places, measured, exact, strict=True)
            said.append(
                f"{title}: " + ", ".join(f"{p} {round(m, 4):.2g} of {round(e, 4):.2g}" for p, m, e in pairs)
            )
        panels[0].set_ylim(bottom=0)
        panels[len(panels) // 2].set_xlabel(horizontal)
        panels[0].set_ylabel(vertical)
    return ThemedFigure(
        figure, f"{vertical} by {horizontal}, measured points and exact levels. {'; '.join(said)}."
    )


def training_runs(
    columns_by_case: Mapping[str, Mapping[str, Real[np.ndarray, "runs steps"]]],
) -> ThemedFigure:
    """Reward, entropy, and the entropy change of each step over training, a column of panels for each case.

    What the runs did is points, and what was predicted of each step lies over them as lines: −Cov(log π, Δz)
    drawn through, the second order dashed. Of several runs the mean is drawn, reward and entropy of each as
    a thin line.

    Args:
        columns_by_case: title of each column to what its runs recorded, shape [runs, steps], under the names
            of `simulators.tiny_lm.StepRecord`; `simulators.tiny_lm.stacked_records` makes it. Drawn are step,
            reward, held_out_entropy, entropy_change, first_order_entropy_change and
            second_order_entropy_change; others may be there.

    Returns:
        Three panels for each case below each other; every row has one vertical axis.
    """
    said = []
    with mpl.rc_context(STYLE):
        cases = len(columns_by_case)
        figure = Figure(figsize=(6.8 if cases < 3 else 2.5 * cases, 6.2), layout="constrained")
        shares = {"height_ratios": (1, 1, 1.5)}
        grid = figure.subplots(3, cases, sharex="col", sharey="row", squeeze=False, gridspec_kw=shares)
        for (top, middle, bottom), (case, columns) in zip(grid.T, columns_by_case.items(), strict=True):
            read = {name: np.asarray(columns[name], float) for name in _READ}
            steps, mean = read["step"][0], {name: values.mean(axis=0) for name, values in read.items()}
            for axes, name in ((top, "reward"), (middle, "held_out_entropy")):
                if len(read[name]) > 1:
                    axes.plot(steps, read[name].T, color=MEASUREMENT, linewidth=0.8, alpha=0.5)
                axes.plot(steps, mean[name], "o", color=MEASUREMENT, markersize=3.5 if cases == 1 else 2.5)
            changes, first, second = (mean[name] for name in _READ[3:])
            bottom.axhline(0, color=_INK, linewidth=0.8)
            bottom.plot(steps, first, color=PREDICTION, linewidth=1.6, label="−Cov(log π, Δz)")
            bottom.plot(steps, second, "--", color=PREDICTION, linewidth=1.2, label="to second order")
            bottom.plot(
                steps, changes, "o", color=MEASUREMENT, markersize=4 if cases == 1 else 3, label="ΔH measured"
            )
            top.set_title(case)
            bottom.set_xlabel("training step  (rollouts)")
            missed = [np.abs(p - changes).mean() / np.abs(changes).mean() for p in (first, second)]
            said.append(
                f"{case}: reward {mean['reward'][0]:.2f} to {mean['reward'][-1]:.2f}, entropy "
                f"{mean['held_out_entropy'][0]:.2f} to {mean['held_out_entropy'][-1]:.2f} nats; a step "
                f"changes entropy by {changes.min():+.2g} to {changes.max():+.2g} nats, of which "
                f"the first order misses {missed[0]:.0%} on average and the second {missed[1]:.0%}"
            )
        grid[0, 0].set_ylim(0, 1)
        grid[1, 0].set_ylim(bottom=0)
        grid[0, 0].set_ylabel("reward\n(share right)")
        grid[1, 0].set_ylabel("entropy H\n(nats a token)")
        grid[2, 0].set_ylabel("entropy change\n(nats a step)")
        figure.align_ylabels(grid[:, 0])
        figure.legend(*grid[2, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    counts = " and ".join(sorted({str(len(columns["step"])) for columns in columns_by_case.values()}))
    runs = "one run" if counts == "1" else f"mean of {counts} runs"
    return ThemedFigure(
        figure,
        f"Reward, entropy and entropy change over training, {runs}, points measured, lines "
        f"predicted. {'; '.join(said)}.",
    )


_READ = (
    "step",
    "reward",
    "held_out_entropy",
    "entropy_change",
    "first_order_entropy_change",
    "second_order_entropy_change",
)


def entropy_contributions(
    before: Mapping[str, float], after: Mapping[str, float], unit: str = "nats"
) -> ThemedFigure:
    """What the token choices of a response add to its entropy, before and after a step.

    Args:
        before: name of each choice to its contribution, its probability times its entropy; the sum is H_seq.
        after: the same after the step, under the same names.
        unit: unit of the contributions.

    Returns:
        One panel, two bars for each choice; the sums stand in the legend.
    """
    places, names = np.arange(len(before)), list(before)
    heights = [np.array([values[name] for name in names], float) for values in (before, after)]
    with _axes(6.6, 3.4) as (figure, (axes,)):
        for offset, values, colour, alpha, when in (
            (-0.2, heights[0], _INK, 0.35, "before"),
            (0.2, heights[1], MEASUREMENT, 1.0, "after"),
        ):
            label = f"{when}: {values.sum():.3g} {unit} together"
            axes.bar(places + offset, values, 0.38, color=colour, alpha=alpha, label=label)
        axes.set_xticks(places, names)
        axes.set_ylim(0, 1.35 * max(values.max() for values in heights))
        axes.legend(loc="upper center")
        axes.set_xlabel("choice  (by prefix)")
        axes.set_ylabel(f"contribution to $H_{{seq}}$  ({unit})")
    told = "; ".join(f"{name} {before[name]:.3g} to {after[name]:.3g}" for name in names)
    return ThemedFigure(
        figure,
        f"Bars of contributions to the entropy of a response, in {unit}, before and after a step: {told}. "
        f"Their sum goes from {heights[0].sum():.3g} to {heights[1].sum():.3g}.",
    )


def averages_over_share(
    shares: Real[np.ndarray, " shares"],
    exact_by_average: Mapping[str, Real[np.ndarray, " shares"]],
    sampled_by_average: Mapping[str, Real[np.ndarray, " shares"]],
    share: str,
) -> ThemedFigure:
    """Several averages of one policy's token entropies over a share, exact as lines and sampled as points.

    Args:
        shares: probabilities, 0 to 1.
        exact_by_average: title of each panel to the expected values, in nats.
        sampled_by_average: the same titles to the values from sampled responses, in nats.
        share: what the probability is of, for the axis.

    Returns:
        Small multiples, each with its own vertical axis.
    """
    said = []
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        panels = figure.subplots(1, len(exact_by_average), squeeze=False)[0]
        for axes, (title, exact) in zip(panels, exact_by_average.items(), strict=True):
            axes.plot(shares, exact, color=PREDICTION)
            axes.plot(shares, sampled_by_average[title], "o", color=MEASUREMENT, markersize=5)
            axes.set_title(title)
            axes.set_ylim(0, 1.15 * max(np.max(exact), np.max(sampled_by_average[title])))
            worst = np.abs(np.asarray(sampled_by_average[title]) - exact).max()
            said.append(f"{title}: from {exact[0]:.3g} to {exact[-1]:.3g}, points at most {worst:.1g} away")
        panels[len(panels) // 2].set_xlabel(f"{share}  (probability)")
        panels[0].set_ylabel("entropy  (nats)")
    return ThemedFigure(
        figure,
        f"{len(said)} averages over the probability of {share} from {shares[0]:.2g} to {shares[-1]:.2g}, "
        f"in nats, lines exact and points sampled. {'; '.join(said)}.",
    )


@contextmanager
def _axes(width: float, height: float, columns: int = 1, sharey: bool = True):
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(1, columns, sharey=sharey, squeeze=False)[0]


def _beside(
    axes: Axes, x: float, y: float, text: str, color: str, offset: tuple[int, int], ha: str = "left"
) -> None:
    axes.annotate(text, (x, y), offset, textcoords="offset points", color=color, fontsize=10, ha=ha)


def _listed(values: np.ndarray) -> str:
    shown = [f"{value:.3g}" for value in values[:6]] + (["and so on"] if values.size > 6 else [])
    return ", ".join(shown) or "none"


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−")


def _slope(step_sizes: np.ndarray, values: np.ndarray) -> float:
    return float(np.polyfit(np.log(step_sizes), np.log(values), 1)[0])


def _stepped(probs: np.ndarray, delta_logits: np.ndarray) -> np.ndarray:
    weights = probs * np.exp(delta_logits - delta_logits.max())
    return weights / weights.sum()


def _drawing(figure: Figure) -> str:
    stream = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return re.sub("|".join(_THEMED), lambda m: _THEMED[m[0]], svg)


def _own_ids(svg: str) -> str:
    """Drop ids that nothing uses, and give the others a prefix of this drawing's own."""
    prefix = "f" + sha256(svg.encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(|href=")#([^)"]+)', rf"\g<1>#{prefix}-\g<2>", svg)


def _labelled(svg: str, alt: str) -> str:
    label = html.escape(alt, quote=True)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
