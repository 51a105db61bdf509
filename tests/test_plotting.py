"""Figures say what their data say: descriptions, drawn data, theme and determinism; never pixels.

The truth is the data given to each figure, or arithmetic a reader can redo.
"""

import re
import subprocess
import sys
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from entropy_core import plotting

PROBS = np.array([0.7, 0.2, 0.1])
ENTROPY = 0.8018185525433373  # -(.7 log .7 + .2 log .2 + .1 log .1)
STEPS = np.geomspace(1e-3, 1e-1, 5)


def gradient_signs():
    """Three actions; only the first is likelier than e^(-H) = 0.4485."""
    return plotting.gradient_signs(PROBS, np.array([-0.3116, 0.1615, 0.1501]), ENTROPY)


def entropy_against_temperature():
    """Five temperatures."""
    entropies, slopes = np.array([0.1, 0.4, 0.8, 1.0, 1.08]), np.array([1.0, 0.9, 0.5, 0.1, 0.02])
    return plotting.entropy_against_temperature(np.array([0.25, 0.5, 1.0, 2.0, 4.0]), entropies, slopes)


def residuals_against_step():
    """Residuals that are exactly 3 η² for 3 actions and 5 η² for 100."""
    return plotting.residuals_against_step(
        STEPS, {3: np.outer(np.ones(4), 3 * STEPS**2), 100: np.outer([5.0] * 4, -(STEPS**2))}
    )


def prediction_against_measurement():
    """Two points, the second off by 0.25."""
    return plotting.prediction_against_measurement(np.array([0.0, 1.0]), np.array([0.0, 1.25]))


def covariance_signs():
    """A step of log 2 on the last of three actions."""
    return plotting.covariance_signs(PROBS, {"rare action raised": np.log([1.0, 1.0, 2.0])}, [-0.1])


def sign_errors_against_step():
    """Three step sizes; a quarter of the largest steps break a promised rise."""
    return plotting.sign_errors_against_step(
        np.array([0.01, 0.1, 1.0]), np.array([0.0, 0.05, 0.25]), np.array([0.001, 0.02, 0.01])
    )


def advantage_weights():
    """Four actions in powers of two, H = 1.2130 nats; weights typed, not computed."""
    return plotting.advantage_weights(
        np.array([0.5, 0.25, 0.125, 0.125]),
        1.2130,
        np.array([0.5198, -0.1733, -0.8665, -0.8664]),
        np.array([0.26, -0.0433, -0.108, -0.11]),
    )


def predictions_against_measurement():
    """Three points; the second form has the first sign wrong."""
    forms = {"right": np.array([1.0, -2.0, 3.0]), "wrong": np.array([-1.0, -2.0, 3.0])}
    return plotting.predictions_against_measurement(forms, np.array([1.0, -2.0, 3.0]))


def entropy_paths():
    """One path that rises to 1.5 nats and one that falls."""
    predicted = {"rises": np.array([1.0, 1.5, 0.5]), "falls": np.array([1.0, 0.7, 0.5])}
    return plotting.entropy_paths(np.array([0.0, 2.0, 4.0]), predicted, predicted)


def shares_against_alignment():
    """Two shares at three alignments, of 100 instances."""
    shares = {"positive": np.array([0.0, 0.5, 1.0]), "monotone": np.array([0.0, 0.36, 1.0])}
    return plotting.shares_against_alignment(np.array([-1.0, 0.0, 1.0]), shares, 100)


def grouped_dots():
    """One method with three values and one with none, then one value each beside a line at 1."""
    groups = {
        "errors": {"entropy_core": np.array([1e-7, 2e-7, 4e-7]), "other": [np.nan, np.nan]},
        "times": {"entropy_core, compiled": [2.5], "other": [43.0]},
    }
    return plotting.grouped_dots(groups, "error", "nats", line=(1.0, "one read"), missing="NaN")


def bands_over_time():
    """Values 0..100 at every moment, and a case that loses half of them."""
    values = np.outer(np.arange(101.0), [1.0, 1.0])
    cases = {"kept": values, "lost": values * [1.0, 0.5]}
    return plotting.bands_over_time(
        np.array([1.0, 1e3]), cases, {"kept": 80.0, "lost": 20.0}, "share kept  (%)"
    )


def families_on_log_axes():
    """One panel with two predicted powers and one measured curve."""
    places = np.array([1.0, 10.0, 100.0])
    lines, points = {"plain": np.stack([places, places**2])}, {"plain": 2 * places[None]}
    return plotting.families_on_log_axes(places, lines, points, "time  (steps)", "entropy  (nats)", 5.0)


def errors_against_step_size():
    """Errors that are exactly 3 η, and 5 η² with a sign."""
    errors = {"flow": np.outer(np.ones(4), 3 * STEPS), "corrected": np.outer([5.0] * 4, -(STEPS**2))}
    return plotting.errors_against_step_size(STEPS, errors, (1, 2), "error of the gap  (nats)")


def reward_against_entropy():
    """Two runs; the line is 0.1 above the first at its end."""
    entropies = {"flat": np.array([2.0, 1.0, 0.0]), "coin": np.array([0.5, 0.6, 0.1])}
    rewards = {"flat": np.array([0.0, 0.7, 0.9]), "coin": np.array([0.2, 0.4, 1.0])}
    return plotting.reward_against_entropy(
        entropies, rewards, {"flat": np.array([0.0, 0.7, 1.0]), "coin": rewards["coin"]}
    )


def error_ranges():
    """One world in two panels; errors 0.01 to 1.01 with median 0.51, and ten times as large."""
    errors = np.arange(1, 102) / 100
    laws = {"natural": {"e^H": errors, "H": 10 * errors}}
    return plotting.error_ranges({"steps": laws, "entropy": laws})


def curves_over_coefficient():
    """Two cases of one quantity, the second measured half as large as predicted."""
    lines = {"10": np.array([[0.1, 1.0], [1.0, 2.0]]), "1000": np.array([[0.2, 2.0], [2.0, 4.0]])}
    points = {"10": np.array([[0.1, 1.0], [1.0, 2.0]]), "1000": np.array([[0.2, 2.0], [1.0, 2.5]])}
    name, axis = "entropy  (nats)", "coefficient  (reward / nat)"
    return plotting.curves_over_coefficient({name: lines}, {name: points}, axis)


def loop_regimes():
    """Three runs of three kinds and one border."""
    border = {"q = 1": (np.array([0.01, 1.0]), np.array([1.0, 1.0]))}
    kinds = ["settles", "overshoots", "grows"]
    return plotting.loop_regimes(np.array([0.01, 0.1, 1.0]), np.array([0.001, 0.5, 2.0]), kinds, border)


def entropy_contributions():
    """The first choice falls, the second rises by more."""
    return plotting.entropy_contributions(
        {"first": 2.0, "after A": 1.5}, {"first": 1.75, "after A": 3.0}, "bits"
    )


def averages_over_share():
    """Two averages that move in opposite directions; one point is a quarter off."""
    exact = {"per response": np.array([1.0, 2.0, 3.0]), "per token": np.array([0.5, 0.4, 0.3])}
    sampled = {"per response": np.array([1.0, 2.25, 3.0]), "per token": exact["per token"]}
    return plotting.averages_over_share(np.array([0.1, 0.5, 0.9]), exact, sampled, "a short answer")


def sampled_token_losses():
    """Three actions of .5, .4 and .1: only the second lies between the thresholds; losses typed."""
    return plotting.sampled_token_losses(
        np.array([0.5, 0.4, 0.1]),
        0.9433,
        0.4395,
        np.array([0.072, -0.042, -0.19]),
        np.array([0.125, 0.011, -0.136]),
    )


def shares_against_entropy():
    """Two panels of two policies each; every line peaks at half."""
    nats, part = np.array([0.5, 1.5]), np.array([0.1, 0.3])
    family = (np.array([0.2, 1.0, 2.0]), np.array([0.0, 0.5, 0.2]))
    titles = ("few", "many")
    return plotting.shares_against_entropy(
        dict.fromkeys(titles, nats), dict.fromkeys(titles, part), dict.fromkeys(titles, family), "draws"
    )


def signed_effects():
    """Two cases in two panels; one effect is within two standard errors of zero."""
    panels = {
        "equal rounds": {"upper": (0.5, 0.1), "lower": (-0.3, 0.02)},
        "equal divergence": {"upper": (-0.25, 0.05), "lower": (0.1, 0.06)},
    }
    return plotting.signed_effects(panels, "change of entropy  (nats)")


def covariance_parts():
    """Two parts of opposite sign; 101 batches around each."""
    spread = np.linspace(-0.1, 0.1, 101)
    exact = {"one": {"within": 0.25, "between": -1.0}, "other": {"within": 0.5, "between": 1.0}}
    batches = {case: {part: v + spread for part, v in parts.items()} for case, parts in exact.items()}
    return plotting.covariance_parts(exact, batches, "covariance  (nats)")


def means_with_errors():
    """Two runs, 1 and 3 times the place, one run without error, and a line of twice the place."""
    places = np.array([1.0, 2.0, 4.0])
    cases = {"two runs": np.outer([1.0, 3.0], places), "one run": 5 * places[None]}
    return plotting.means_with_errors(
        places, cases, "step  (number)", "pull  (share)", "log", (2 * places, "twice")
    )


def paths_beside_baseline():
    """Two cases of two runs beside a baseline of one."""
    x = np.array([[0.0, 1.0], [0.0, 1.0]])
    cases = {"one": (x, np.array([[2.0, 1.0], [2.0, 0.5]])), "other": (x, np.array([[2.0, 1.5], [1.0, 1.5]]))}
    baseline = x[:1], np.array([[2.0, 0.25]])
    return plotting.paths_beside_baseline(cases, baseline, "plain", "time  (steps)", "entropy  (nats)")


def table_against_models():
    """Three rows; the second model is a quarter too high in the last."""
    rows = np.array([4.0, 1.0, 0.4])
    models = {"fits": rows, "misses": rows * [1.0, 1.0, 1.25]}
    axes = "top tokens  (% of all)", "mean term  (nats)"
    return plotting.table_against_models(["1", "10", "50"], rows, models, *axes)


def training_runs():
    """Two runs of three steps; the first order misses a quarter of every change, the second nothing."""
    steps, changes = np.array([[1.0, 2.0, 3.0]] * 2), np.array([[-0.1, -0.2, 0.1], [-0.3, -0.2, 0.1]])
    columns = {
        "step": steps,
        "reward": np.array([[0.2, 0.5, 0.7], [0.4, 0.5, 0.9]]),
        "held_out_entropy": np.array([[2.0, 1.5, 1.0], [2.2, 1.5, 1.2]]),
        "entropy_change": changes,
        "first_order_entropy_change": 0.75 * changes,
        "second_order_entropy_change": changes,
        "gradient_norm": steps,
    }
    return plotting.training_runs({"plain": columns, "alone": {k: v[:1] for k, v in columns.items()}})


def levels_and_points():
    """Two places in two panels; the second panel is measured half as high as it should be."""
    exact = np.array([0.5, 2.0])
    levels, points = {"met": exact, "missed": exact}, {"met": exact, "missed": exact / 2}
    return plotting.levels_and_points(
        ["first", "second"], levels, points, "digit  (place)", "entropy  (nats)"
    )


FIGURES = [
    levels_and_points,
    training_runs,
    paths_beside_baseline,
    table_against_models,
    means_with_errors,
    covariance_parts,
    signed_effects,
    sampled_token_losses,
    shares_against_entropy,
    entropy_contributions,
    averages_over_share,
    curves_over_coefficient,
    loop_regimes,
    grouped_dots,
    bands_over_time,
    families_on_log_axes,
    errors_against_step_size,
    reward_against_entropy,
    error_ranges,
    entropy_paths,
    shares_against_alignment,
    advantage_weights,
    predictions_against_measurement,
    sign_errors_against_step,
    gradient_signs,
    entropy_against_temperature,
    residuals_against_step,
    prediction_against_measurement,
    covariance_signs,
]
SAID = {
    levels_and_points: [
        "entropy  (nats) by digit  (place)",
        "met: first 0.5 of 0.5, second 2 of 2; missed: first 0.25 of 0.5, second 1 of 2",
    ],
    training_runs: [
        "mean of 1 and 2 runs",
        "plain: reward 0.30 to 0.80, entropy 2.10 to 1.10 nats; a step changes entropy by -0.2 to +0.1 nats",
        "of which the first order misses 25% on average and the second 0%; alone: reward 0.20 to 0.70",
    ],
    table_against_models: [
        "mean term  (nats) for top tokens  (% of all) 1, 10, 50: printed points from 4 to 0.4",
        "fits: from 4 to 0.4, at most 0% off; misses: from 4 to 0.5, at most 25% off",
    ],
    means_with_errors: [
        "pull  (share) over step  (number) from 1 to 4",
        "two runs: from 2 to 8; one run: from 5 to 20. twice: line from 2 to 8.",
    ],
    covariance_parts: [
        "2 panels",
        "one, within: +0.25, batches +0.16 to +0.34; one, between: -1, batches -1.1 to -0.91",
    ],
    paths_beside_baseline: [
        "every run of 2 cases beside plain, which goes from 2.00 to 0.25 in the mean",
        "one from 2.00 to 0.75; other from 1.50 to 1.50",
    ],
    signed_effects: [
        "change of entropy  (nats), mean and standard error, 2 panels",
        "equal rounds: upper +0.5 ± 0.1, lower −0.3 ± 0.02; equal divergence: upper −0.25 ± 0.05",
    ],
    sampled_token_losses: [
        "3 tokens",
        "sign at e^(-H) = 0.389",
        "at p* = 0.44. Tokens between the two: 0.4.",
    ],
    shares_against_entropy: [
        "Draws over entropy",
        "few: points from 10% to 30%, median 20%; the line peaks at 50% for 1 nats. many",
    ],
    entropy_contributions: ["in bits", "first 2 to 1.75; after A 1.5 to 3", "sum goes from 3.5 to 4.75"],
    averages_over_share: [
        "2 averages over the probability of a short answer from 0.1 to 0.9",
        "per response: from 1 to 3, points at most 0.2 away; per token: from 0.5 to 0.3",
    ],
    curves_over_coefficient: [
        "entropy  (nats), 10: measured from 1 to 2 for coefficients from 0.1 to 1",
        "1000: measured from 1 to 2.5 for coefficients from 0.2 to 2",
    ],
    loop_regimes: [
        "3 runs over pull from 0.01 to 1 and gain from 0.001 to 2",
        "1 grows, 1 overshoots, 1 settles",
        "Lines: q = 1",
    ],
    grouped_dots: [
        "error in nats, with a line at 1, one read",
        "errors, entropy_core: 1e-07 to 4e-07, median 2e-07; errors, other: NaN",
        "times, entropy_core, compiled: 2.5; times, other: 43.",
    ],
    bands_over_time: [
        "from 1 to 1e+03",
        "kept: line at 80, median from 50 to 50, in the end between 5 and 95",
        "lost: line at 20, median from 50 to 25, in the end between 2.5 and 47.5",
    ],
    families_on_log_axes: [
        "entropy  (nats) over time  (steps) from 1 to 100",
        "plain: 2 predicted curves, the first from 1 to 100, the last from 1 to 1e+04; 1 measured ones",
        "from 2 to 200 in the median",
    ],
    errors_against_step_size: [
        "flow: fitted slope of the median 1.00, line 1",
        "corrected: fitted slope of the median 2.00, line 2",
    ],
    reward_against_entropy: [
        "2 panels",
        "flat: reward 0.00 to 0.90 while entropy goes from 2.00 to 0.00 nats, the line at most 0.1 away",
    ],
    error_ranges: ["steps, natural: e^H 0.51, H 5.1; entropy, natural: e^H 0.51, H 5.1"],
    shares_against_alignment: ["100 instances", "positive: 0%, 50%, 100%", "monotone: 0%, 36%, 100%"],
    entropy_paths: ["time 0 to 4", "2 panels", "rises: from 1 through at most 1.5 to 0.5 nats"],
    predictions_against_measurement: [
        "3 measured entropy changes between -2 and 3 nats",
        "right: correlation 1.00, wrong sign for 0; wrong: correlation 0.90, wrong sign for 1",
    ],
    advantage_weights: ["4 actions between 0.12 and 0.5", "from -0.867 to 0.52 nats", "at most 0.26"],
    sign_errors_against_step: ["from 0.01 to 1", "from 0.0% to 25.0%", "from 0.1% to 1.0%, at most 2.0%"],
    gradient_signs: [
        "3 actions",
        "e^(-H) = 0.449",
        "lowers entropy for probabilities 0.7;",
        "raises entropy for probabilities 0.2, 0.1.",
    ],
    entropy_against_temperature: ["from 0.1 to 1.08 nats", "from 0.25 to 4", "between 0.02 and 1 nats"],
    residuals_against_step: [
        "from 0.001 to 0.1",
        "slope 1, 2, 3",
        "is 2.00 for 3 actions, 2.00 for 100 actions",
    ],
    prediction_against_measurement: ["2 points of measured over predicted entropy change", "0.25 nats away"],
    covariance_signs: [
        "0.7, 0.2, 0.1 before",
        "rare action raised, covariance -0.1 nats: to 0.636, 0.182, 0.182",
    ],
}


def recorder(monkeypatch):
    """Return what figures hand to matplotlib from now on, by the name of the method."""
    calls = []

    def spy(name):
        original = getattr(Axes, name)

        def recorded(self, *args, **kwargs):
            calls.append((name, args, kwargs))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Axes, name, recorded)

    for name in (
        "plot",
        "loglog",
        "semilogx",
        "semilogy",
        "bar",
        "barh",
        "errorbar",
        "fill_between",
        "set_xlabel",
        "set_ylabel",
        "text",
        "annotate",
    ):
        spy(name)
    return lambda name: [(args, kwargs) for called, args, kwargs in calls if called == name]


@pytest.fixture
def drawn(monkeypatch):
    """What a figure hands to matplotlib: data of lines and bars, labels and texts."""
    return recorder(monkeypatch)


@cache
def made(figure):
    """Draw a figure of FIGURES once for all tests; return it and the names of its axes."""
    with pytest.MonkeyPatch.context() as patch:
        drawn = recorder(patch)
        picture = figure()
    return picture, [args[0] for name in ("set_xlabel", "set_ylabel") for args, _ in drawn(name) if args[0]]


@pytest.mark.parametrize("figure", FIGURES)
def test_description_states_the_data(figure):
    alt = made(figure)[0].alt
    missing = [words for words in SAID[figure] if words not in alt]
    assert missing == [], alt


@pytest.mark.parametrize("figure", FIGURES)
def test_axes_are_named_with_units(figure):
    labels = made(figure)[1]
    assert len(labels) >= 2
    bare = [label for label in labels if "(" not in label]
    dimensionless = {
        "probability π of the action",
        "temperature τ",
        "action",
        "probability",
        "method",
        "case",
    }
    assert set(bare) <= dimensionless


@pytest.mark.parametrize("figure", FIGURES)
def test_svg_is_well_formed_described_and_themed(figure):
    picture = made(figure)[0]
    root = ElementTree.fromstring(picture.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == picture.alt
    assert "currentColor" in picture.svg
    assert f"var(--measurement, {plotting.MEASUREMENT})" in picture.svg
    assert "#010203" not in picture.svg
    assert "<metadata" not in picture.svg
    background = [
        path for path in re.findall(r'style="fill: (#[0-9a-f]{6})', picture.svg) if path == "#ffffff"
    ]
    assert background == [], "no card behind the figure"


@pytest.mark.parametrize("figure", FIGURES)
def test_equal_data_give_equal_text(figure):
    assert figure().svg == made(figure)[0].svg


def test_two_processes_give_equal_text():
    command = (
        "import numpy as np; from entropy_core.plotting import prediction_against_measurement as draw; "
        "print(draw(np.array([0.0, 1.0]), np.array([0.0, 1.25])).svg, end='')"
    )
    other = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert other == prediction_against_measurement().svg


def test_figures_on_one_page_share_no_id_and_every_reference_is_kept():
    drawings = [made(figure)[0].svg for figure in FIGURES]
    ids = [name for svg in drawings for name in re.findall(r' id="([^"]+)"', svg)]
    assert len(ids) > len(FIGURES)
    assert len(ids) == len(set(ids))
    used = {name for svg in drawings for name in re.findall(r'(?:url\(|href=")#([^")]+)', svg)}
    assert used == set(ids)


def test_notebook_shows_the_svg_and_stores_the_description():
    figure = gradient_signs()
    bundle = figure._repr_mimebundle_()
    assert bundle["text/plain"] == f"Figure: {figure.alt}"
    assert figure.svg in bundle["text/html"]


def test_description_is_escaped():
    figure = plotting.prediction_against_measurement(np.eye(2)[0], np.eye(2)[0], quantity='"<H>" & more')
    assert ElementTree.fromstring(figure.svg).get("aria-label") == figure.alt


def test_gradient_points_are_the_given_gradient_and_the_line_is_the_formula(drawn):
    gradient_signs()
    (line, _), (points, _) = drawn("plot")
    np.testing.assert_array_equal(points[0], PROBS)
    np.testing.assert_array_equal(points[1], [0.3116, -0.1615, -0.1501])
    crossing = line[0][np.argmin(np.abs(line[1][10:])) + 10]
    assert crossing == pytest.approx(np.exp(-ENTROPY), abs=2e-3), "the line crosses zero at e^(-H)"
    end = line[0][-1]
    assert PROBS.max() < end <= 1, "the line reaches beyond the likeliest action"
    assert line[1][-1] == pytest.approx(end * (np.log(end) + ENTROPY))


def test_tangents_have_the_given_slopes(drawn):
    entropy_against_temperature()
    tangents = [args for args, _ in drawn("plot") if len(args) == 2]
    slopes = [(y[-1] - y[0]) / (x[-1] - x[0]) for x, y in tangents]
    np.testing.assert_allclose(slopes, [1, 0.9, 0.5, 0.1, 0.02], rtol=1e-9)
    ((x, y, _), _) = drawn("semilogx")[0]
    np.testing.assert_array_equal(x, [0.25, 0.5, 1, 2, 4])
    np.testing.assert_array_equal(y, [0.1, 0.4, 0.8, 1.0, 1.08])


def test_bands_are_percentiles_and_reference_lines_have_their_slope(drawn):
    instances = np.arange(1.0, 102.0)[:, None] * STEPS**2
    plotting.residuals_against_step(STEPS, {4: instances}, reference_slopes=(2,))
    ((x, low, high), _) = drawn("fill_between")[0]
    np.testing.assert_allclose(low / x**2, 6.0)  # the 5th percentile of 1..101
    np.testing.assert_allclose(high / x**2, 96.0)
    (median, _), (reference, _) = drawn("loglog")
    np.testing.assert_allclose(median[1] / STEPS**2, 51.0)
    np.testing.assert_allclose(np.diff(np.log(reference[1])) / np.diff(np.log(STEPS)), 2.0)


def test_bars_are_the_probabilities_before_and_after(drawn):
    covariance_signs()
    before, after = (args[1] for args, _ in drawn("bar"))
    np.testing.assert_array_equal(before, PROBS)
    np.testing.assert_allclose(after, np.array([0.7, 0.2, 0.2]) / 1.1)


def test_two_colours_are_apart_in_grey_and_readable_on_white():
    prediction, measurement = (_luminance(c) for c in (plotting.PREDICTION, plotting.MEASUREMENT))
    assert _contrast(1.0, prediction) >= 4.5
    assert _contrast(1.0, measurement) >= 4.5
    assert _contrast(measurement, prediction) >= 1.7, "as grey levels"


def _luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def _contrast(light, dark):
    """Contrast ratio as WCAG 2 defines it."""
    return (light + 0.05) / (dark + 0.05)


def test_weights_of_an_advantage_lie_on_the_two_lines(drawn):
    advantage_weights()
    (natural, _), (plain, _), (full, _), (open_points, _) = drawn("semilogx")
    at = np.interp(0.5, natural[0], natural[1]), np.interp(0.5, plain[0], plain[1])
    np.testing.assert_allclose(at, (1.2130 - 0.6931, 0.2599), atol=2e-3)
    np.testing.assert_array_equal(full[1], [0.5198, -0.1733, -0.8665, -0.8664])
    np.testing.assert_array_equal(open_points[1], [0.26, -0.0433, -0.108, -0.11])


def test_points_of_the_wrong_sign_are_drawn_apart(drawn):
    predictions_against_measurement()
    counts = [len(args[0]) for args, _ in drawn("plot") if len(args) == 3]
    assert counts == [3, 0, 2, 1]


def test_share_bars_are_one_standard_error(drawn):
    shares_against_alignment()
    (_, (_, monotone, deviation)), *_ = [(k, args) for args, k in reversed(drawn("errorbar"))]
    np.testing.assert_allclose(monotone, [0, 36, 100])
    np.testing.assert_allclose(deviation, [0, 4.8, 0])  # 100 √(.36 · .64 / 100)


def test_entropy_paths_draw_the_prediction_and_the_measurement(drawn):
    plotting.entropy_paths(STEPS, {"a": STEPS}, {"a": 2 * STEPS})
    (line, _), (points, _) = drawn("plot")
    np.testing.assert_array_equal(line[1], STEPS)
    np.testing.assert_array_equal(points[1], 2 * STEPS)


def test_bands_hold_half_and_nine_tenths_of_the_runs(drawn):
    bands_over_time()
    outer, inner, *_ = [args for args, _ in drawn("fill_between")]
    np.testing.assert_allclose([outer[1][0], outer[2][0]], [5, 95])
    np.testing.assert_allclose([inner[1][0], inner[2][0]], [25, 75])
    (_, median), *_ = [args for args, _ in drawn("semilogx")]
    np.testing.assert_allclose(median, 50)


def test_families_leave_out_what_lies_below_the_lowest(drawn):
    families_on_log_axes()
    (first, _), (second, _), (points, _) = drawn("loglog")
    np.testing.assert_array_equal(first[1], [np.nan, 10, 100])
    np.testing.assert_array_equal(second[1], [np.nan, 100, 10000])
    np.testing.assert_array_equal(points[1][:, 0], [np.nan, 20, 200])


def test_error_bands_are_percentiles_and_the_line_has_its_slope(drawn):
    instances = np.arange(1.0, 102.0)[:, None] * STEPS
    plotting.errors_against_step_size(STEPS, {"flow": instances}, (1,), "error  (nats)")
    ((x, low, high), _) = drawn("fill_between")[0]
    np.testing.assert_allclose(low / x, 6.0)  # the 5th percentile of 1..101
    np.testing.assert_allclose(high / x, 96.0)
    (median, _), (line, _) = drawn("loglog")
    np.testing.assert_allclose(median[1] / STEPS, 51.0)
    np.testing.assert_allclose(np.diff(np.log(line[1])) / np.diff(np.log(STEPS)), 1.0)


def test_error_bars_end_at_the_percentiles(drawn):
    error_ranges()
    (middle, _), bars = drawn("errorbar")[0]
    low, high = bars["xerr"]
    np.testing.assert_allclose([middle, middle - low[0], middle + high[0]], [0.51, 0.06, 0.96])


def test_reward_points_are_the_run_and_the_line_is_the_law(drawn):
    reward_against_entropy()
    (line, _), (points, _), *_ = drawn("plot")
    np.testing.assert_array_equal(line[1], [1.0, 0.7, 0.0])
    np.testing.assert_array_equal(points[1], [0.0, 0.7, 0.9])


def test_regimes_draw_each_kind_by_itself_and_the_border(drawn):
    loop_regimes()
    points, line = drawn("loglog")[:3], drawn("loglog")[3]
    assert [(float(p[0][0][0]), float(p[0][1][0]), p[1]["label"]) for p in points] == [
        (1.0, 2.0, "grows"),
        (0.1, 0.5, "overshoots"),
        (0.01, 0.001, "settles"),
    ]
    assert line[1]["color"] == plotting.PREDICTION
    assert line[0][1].tolist() == [1.0, 1.0]


def test_curves_draw_predictions_as_lines_and_measurements_as_points(drawn):
    curves_over_coefficient()
    line, point = drawn("semilogx")[2:4]
    assert line[0][1].tolist() == [2.0, 4.0]
    assert line[1]["color"] == plotting.PREDICTION
    assert point[0][1].tolist() == [1.0, 2.5]
    assert point[1]["color"] == plotting.MEASUREMENT


def test_contributions_are_drawn_as_given_beside_their_sums(drawn):
    entropy_contributions()
    (before, said), (after, _) = drawn("bar")
    np.testing.assert_array_equal(before[1], [2.0, 1.5])
    np.testing.assert_array_equal(after[1], [1.75, 3.0])
    assert said["label"] == "before: 3.5 bits together"


def test_averages_are_lines_and_samples_are_points(drawn):
    averages_over_share()
    (line, look), (points, _), *_ = drawn("plot")
    np.testing.assert_array_equal(line[1], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(points[1], [1.0, 2.25, 3.0])
    assert look["color"] == plotting.PREDICTION


def test_effects_within_two_errors_of_zero_are_open(drawn):
    signed_effects()
    bars = [(args[0], kwargs["xerr"], kwargs["markerfacecolor"]) for args, kwargs in drawn("errorbar")]
    filled = plotting.MEASUREMENT
    assert bars == [(0.5, 0.2, filled), (-0.3, 0.04, filled), (-0.25, 0.1, filled), (0.1, 0.12, "none")]


def test_bars_of_effects_reach_as_far_as_is_said(drawn):
    plotting.signed_effects({"one": {"near": (0.3, 0.1), "far": (0.5, 0.1)}}, "change  (nats)", reach=4.0)
    bars = [(kwargs["xerr"], kwargs["markerfacecolor"]) for _, kwargs in drawn("errorbar")]
    assert bars == [(0.4, "none"), (0.4, plotting.MEASUREMENT)]


def test_the_baseline_is_a_line_in_every_panel(drawn):
    paths_beside_baseline()
    lines = [(list(args[1]), kwargs["color"]) for args, kwargs in drawn("plot")]
    baseline = ([2.0, 0.25], plotting.PREDICTION)
    cases = [(y, plotting.MEASUREMENT) for y in ([2.0, 1.0], [2.0, 0.5], [2.0, 1.5], [1.0, 1.5])]
    assert lines == [baseline, *cases[:2], baseline, *cases[2:]]


def test_bars_are_the_exact_parts_and_points_the_batches(drawn):
    covariance_parts()
    assert [args[:2] for args, _ in drawn("barh")] == [(0, 0.25), (1, -1.0), (0, 0.5), (1, 1.0)]
    (middle, row), bars = drawn("errorbar")[1]
    assert row == 1
    np.testing.assert_allclose([middle, bars["xerr"][0][0], bars["xerr"][1][0]], [-1.0, 0.09, 0.09])


def test_means_have_bars_of_one_standard_error(drawn):
    means_with_errors()
    (many, _), (single, _) = drawn("errorbar")
    np.testing.assert_allclose(many[1], [2, 4, 8])
    np.testing.assert_allclose(many[2], [1, 2, 4])  # 1 and 3: deviation √2, over √2
    assert single[2] is None
    ((_, line), _) = drawn("plot")[0]
    np.testing.assert_allclose(line, [2, 4, 8])


def test_points_are_the_table_in_every_panel(drawn):
    table_against_models()
    first, points, second, again = (args for args, _ in drawn("semilogy"))
    np.testing.assert_array_equal(first[0], [4.0, 1.0, 0.4])
    np.testing.assert_allclose(second[0], [4.0, 1.0, 0.5])
    assert points[1] == again[1] == "o"
    np.testing.assert_array_equal(points[0], again[0])


def test_training_shows_each_run_and_lays_the_prediction_over(drawn):
    training_runs()
    thin, rewards, _, entropies, first, second, changes = drawn("plot")[:7]
    np.testing.assert_array_equal(thin[0][1], np.array([[0.2, 0.4], [0.5, 0.5], [0.7, 0.9]]))
    np.testing.assert_allclose(rewards[0][1], [0.3, 0.5, 0.8])
    np.testing.assert_allclose(entropies[0][1], [2.1, 1.5, 1.1])
    np.testing.assert_allclose(changes[0][1], [-0.2, -0.2, 0.1])
    np.testing.assert_allclose(first[0][1], [-0.15, -0.15, 0.075])
    np.testing.assert_allclose(second[0][1], [-0.2, -0.2, 0.1])
    assert [look["color"] for _, look in (first, second, changes)] == [
        plotting.PREDICTION,
        plotting.PREDICTION,
        plotting.MEASUREMENT,
    ]
    assert len(drawn("plot")) == 7 + 5, "one run has no thin lines"


def test_a_drawing_is_written_in_dark_ink_on_white(tmp_path):
    figure = training_runs()
    figure.write(tmp_path / "a.svg")
    figure.write(tmp_path / "b.PNG")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "var(--" not in text
    assert "currentColor" not in text
    assert plotting.PREDICTION in text
    image = imread(tmp_path / "b.PNG", format="png")
    assert image[0, 0].tolist() == [1, 1, 1, 1]
    assert image[..., 2].min() < 0.1
    with pytest.raises(ValueError, match="'doc' is not supported"):
        figure.write(tmp_path / "c.doc")
    figure.write(tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text(encoding="utf-8") == text


def test_levels_are_exact_and_points_measured(drawn):
    levels_and_points()
    (_, (points, look)), (bars, _) = drawn("plot"), drawn("bar")[0]
    np.testing.assert_array_equal(points[0], [0.25, 1.0])
    np.testing.assert_array_equal(bars[1], [0.5, 2.0])
    assert look["color"] == plotting.MEASUREMENT
    assert drawn("bar")[1][1]["color"] == plotting.PREDICTION


@pytest.mark.parametrize("order", [("low", "high"), ("high", "low")])
def test_no_panel_is_cut_off(monkeypatch, order):
    ends = []
    end = plotting.ThemedFigure.__init__

    def spied(self, figure, alt):
        ends.append(figure.axes[0].get_ylim())
        end(self, figure, alt)

    monkeypatch.setattr(plotting.ThemedFigure, "__init__", spied)
    values = {name: np.array([0.1, {"low": 0.2, "high": 5.0}[name]]) for name in order}
    plotting.levels_and_points(["a", "b"], values, values, "place  (name)", "height  (nats)")
    assert ends[0][0] == 0
    assert ends[0][1] > 5
