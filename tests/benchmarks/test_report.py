"""The tables of the comparison say NO where a bar is missed, and the floor is the fastest plain read."""

import pytest

from benchmarks import measuring, methods, report, tasks


def row(method, ratio, dtype="float32", task=tasks.FORWARD, extra=1.0):
    """Return a record of one run."""
    shape = [1024, 32_000]
    names = ("task", "shape", "dtype", "method", "seconds", "ratio_to_floor", "extra_mebibytes")
    return dict(zip(names, (task, shape, dtype, method, ratio / 100, ratio, extra), strict=True))


def verdicts(*rows, **more):
    """Return {(what, type): met} of the bars."""
    table = report.bars(report.pd.DataFrame(rows), more)
    return {(r["what"], r["type"]): r["met"] for _, r in table.iterrows()}


@pytest.mark.parametrize(("ratio", "met"), [(3.5, "yes"), (3.6, "NO")])
def test_a_ratio_is_held_to_its_limit(ratio, met):
    found = verdicts(row(methods.OURS, ratio))
    assert found[f"{tasks.FORWARD}: {methods.OURS}", "float32"] == met


@pytest.mark.parametrize(("theirs", "met"), [(4.0, "yes"), (2.7, "NO")])
def test_the_fastest_library_is_the_one_to_beat(theirs, met):
    slow, fast = row("torch Categorical", 50.0), row("AReaL, restated", theirs)
    found = verdicts(row(methods.OURS, 2.0), slow, fast)
    assert found[f"{tasks.FORWARD}: {methods.OURS} against the fastest library", "float32"] == met


@pytest.mark.parametrize(("extra", "met"), [(10.0, "yes"), (33.0, "NO")])
def test_memory_is_held_to_its_limit(extra, met):
    found = verdicts(row(methods.OURS, 2.0, extra=extra))
    assert found[f"{tasks.FORWARD}: {methods.OURS}, memory", "float32"] == met


def test_a_nan_of_ours_misses_its_bar():
    names = (
        "entropy_nats",
        "entropy_relative",
        "log_prob_nats_beyond_half_ulp",
        "gradient_of_largest",
        "gradient_relative",
    )
    errors = [{"method": methods.OURS, "dtype": "float32", **dict.fromkeys(names, 0.0), "entropy_nats": None}]
    found = verdicts(row(methods.OURS, 2.0), errors=errors)
    assert found["error: entropy nats", "float32"] == "NO"
    assert found["error: entropy relative", "float32"] == "yes"


def test_the_floor_is_the_fastest_plain_read():
    seconds = {"floor: torch.sum": 2.0, "floor: compiled sum": 1.0, "ours": 3.0}
    assert measuring.over_floor(seconds) == (1.0, {"ours": 3.0})
