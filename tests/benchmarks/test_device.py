"""What `python -m benchmarks --device cuda` does, on a processor with few rows and a made-up clock."""

import itertools
import json

import pytest
import torch

from benchmarks import __main__ as program
from benchmarks import device, measuring, methods, report, tasks, wall
from entropy_core.batched import _one_read

SMALL = device.Sizes(rows=6, actions=3000, features=8, turns=2, error_rows=16, error_actions=1000)


def broken(*_):
    """Fail as a library may."""
    raise ImportError("no such thing\nand more")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return what the program finds, with a library that works, one that fails, and a clock that ticks."""
    policy = {methods.OURS: methods.ours, "torch Categorical": methods.categorical, "verl 0, broken": broken}
    policy["wrong"] = lambda z, t: tuple(x + 1 for x in methods.ours(z, t))
    step = {methods.OURS: methods.our_step, "natural torch formula": methods.natural_step}
    fused = {methods.OURS: methods.ours_from_hidden, "verl 0, fused": broken}
    ticks, saved = itertools.count(1), []

    def clock(run):
        run()
        return 1e-3 * next(ticks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_one_read, "LARGE", 1)
        for name, given in (("of_policy", policy), ("of_step", step), ("of_hidden", fused)):
            patch.setattr(methods, name, lambda given=given: dict(given))
        result = device.measure(SMALL, "cpu", clock, lambda so_far: saved.append(json.dumps(so_far)))
    assert len(saved) == 3
    path = tmp_path_factory.mktemp("results") / "of" / "cpu"
    program.save(path, result)
    return path.with_suffix(".json").read_text(encoding="utf-8")


@pytest.fixture
def found(measured):
    """Return it as it was read back from its file."""
    return json.loads(measured)


def test_every_part_runs_and_every_bar_is_there(found):
    by_task = {task: [r["method"] for r in found["rows"] if r["task"] == task] for task in wall_tasks()}
    assert by_task[tasks.FORWARD] == [methods.OURS, "torch Categorical", "wrong", device.ENTROPY_ALONE]
    assert set(by_task[tasks.BACKWARD]) == {tasks.FRESH, tasks.REUSED, "torch Categorical", "wrong"}
    assert by_task[tasks.STEP] == [methods.OURS, "natural torch formula"]
    assert by_task[device.HIDDEN_FORWARD] == [methods.OURS]
    assert by_task[device.HIDDEN_BACKWARD] == [methods.OURS, device.MADE_AGAIN]
    assert all(r["extra_mebibytes"] >= 0 for r in found["rows"])
    assert found["rates"]["bytes_per_second_of_a_copy"] > 0
    bars = wall.bars(found)
    verdicts = dict(zip(bars["what"], bars["met"], strict=True))
    errors = [what for what in verdicts if what.startswith("error")]
    assert len(errors) == 7
    assert all(verdicts[what] == "yes" for what in errors)
    assert [what for what, met in verdicts.items() if met == "not measured"] == [
        f"{tasks.FORWARD}: against TRL's kernel"
    ]
    table = wall.markdown(found)
    assert all(task in table for task in wall_tasks())
    assert "driver" in json.dumps(device.machine("cpu") | {"driver": device._driver()})


def wall_tasks():
    """Return the five tasks."""
    return tasks.FORWARD, tasks.BACKWARD, tasks.STEP, device.HIDDEN_FORWARD, device.HIDDEN_BACKWARD


def test_a_library_that_fails_is_left_out_by_name(found):
    assert found["left_out"]["a few rows: verl 0, broken"] == "ImportError: no such thing"
    assert f"{device.HIDDEN_BACKWARD}: verl 0, fused" in found["left_out"]
    assert found["left_out"]["agreement: wrong"].startswith("AssertionError: ")
    assert {"agreement: torch Categorical", "agreement: entropy_core"}.isdisjoint(found["left_out"])
    assert {e["method"] for e in found["errors"]} == {methods.OURS, "torch Categorical", "wrong"}


def test_ours_must_agree():
    runs = device.Runs(SMALL, "cpu", None)
    with pytest.raises(ImportError, match="no such thing"):
        runs.checked("agreement", {methods.OURS: broken}, lambda one: one[methods.OURS]())


def record(task, method, seconds, ratio=1.0, extra=1.0):
    """Return a record of one run at the size of the bars."""
    shape = {"shape": [8192, 151_936], "dtype": "bfloat16"}
    timed = {"seconds": seconds, "ratio_to_floor": ratio, "extra_mebibytes": extra}
    return {"task": task, "method": method, **shape, **timed}


@pytest.mark.parametrize(("seconds", "met"), [(1.17e-3, "yes"), (1.19e-3, "NO")])
def test_the_forward_pass_is_held_to_a_copy(seconds, met):
    copied = 2 * 2 * 8192 * 151_936 / 2e-3
    rows = [record(tasks.FORWARD, methods.OURS, seconds), record(tasks.FORWARD, "TRL 1", 1.18e-3)]
    found = {"rows": rows, "rates": {"bytes_per_second_of_a_copy": copied}, "errors": [], "hidden_errors": []}
    speed = wall._speed_bars({(r["task"], r["method"]): r for r in rows}, found["rates"])
    bars = report.in_words(report.pd.DataFrame(speed, columns=report.COLUMNS))
    assert bars["met"].tolist() == [met, met, "not measured"]


@pytest.mark.parametrize(("ratio", "met"), [(1.3, True), (1.31, False)])
def test_the_backward_pass_is_held_to_two_products(ratio, met):
    records = {(device.HIDDEN_BACKWARD, methods.OURS): record(device.HIDDEN_BACKWARD, methods.OURS, 1, ratio)}
    line = wall._over_floor(records, *wall.OVER_FLOOR[-1])
    assert line[-3:] == (f"{ratio:.2f} ×", "≤ 1.3", met)


def test_floors_that_nobody_timed_count():
    runs = device.Runs(SMALL, "cpu", lambda run: 2.0)
    runs.race("task", [{"ours": list, "floor: read": list}], {"floor: at a rate": 0.5})
    assert [(r["method"], r["ratio_to_floor"]) for r in runs.records] == [("ours", 4.0)]


def test_what_of_ours_does_not_run_is_an_error(found, tmp_path, capsys):
    program.write(tmp_path / "cuda", found)
    assert (tmp_path / "cuda.md").read_text(encoding="utf-8") in capsys.readouterr().out
    found["left_out"][f"{tasks.STEP}: {methods.OURS}"] = "RuntimeError: broken"
    with pytest.raises(SystemExit, match="RuntimeError: broken"):
        program.write(tmp_path / "cuda", found)


def test_the_program_asks_for_a_device(monkeypatch, tmp_path, found):
    asked = []
    monkeypatch.setattr(
        device, "measure", lambda sizes, where, clock, save: asked.append((sizes, where, clock)) or found
    )
    monkeypatch.setattr(device, "machine", lambda where: {"device": where})
    monkeypatch.setattr("sys.argv", ["benchmarks", "--device", "cuda", "--quick", "--results", str(tmp_path)])
    program.main()
    assert asked == [(device.QUICK._replace(turns=14), "cuda", device.by_events)]
    assert (tmp_path / "cuda-quick.md").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_the_clock_of_a_device_counts_its_work():
    z = torch.ones(2**26, device="cuda")
    one, ten = (device.by_events(lambda n=n: [z.sum() for _ in range(n)]) for n in (1, 10))
    assert ten > 3 * one > 0
    assert measuring.peak_beside(lambda: z + 1, "cuda") == pytest.approx(256)
