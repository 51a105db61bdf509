"""Runs on disk: continued to the same bits, and refused where anything is missing."""

import os

import pytest
import torch

from entropy_core.simulators.tiny_lm import (
    DIGIT_SUM,
    Settings,
    advance,
    advance_and_save,
    checkpoints,
    load_run,
    save_run,
    start_run,
)
from tests.simulators.tiny_models import lively_model, weights_of

FEW = Settings(prompts=4, samples=4, held_out=8, covariance_low=0.0)


def begun(arm="grpo", dtype=torch.float32):
    """Begin a run and take two steps."""
    return advance(start_run(1, lively_model(dtype=dtype), DIGIT_SUM, FEW._replace(arm=arm)), 2)


@pytest.mark.parametrize(
    ("arm", "dtype"), [("grpo", torch.float64), ("clip-cov", torch.float32), ("pure noise", torch.float32)]
)
def test_a_resumed_run_goes_on_to_the_same_bits(tmp_path, arm, dtype):
    run = begun(arm, dtype)
    save_run(run, tmp_path / "run")
    advance(run, 2)
    resumed = advance(load_run(tmp_path / "run"), 2)
    assert (weights_of(resumed.model) == weights_of(run.model)).all()
    assert weights_of(resumed.model).dtype == dtype
    assert resumed.records == run.records
    assert (resumed.task, resumed.settings, resumed.model.size) == (run.task, run.settings, run.model.size)
    for ours, theirs in zip(run.optimiser.state.values(), resumed.optimiser.state.values(), strict=True):
        assert all((ours[key] == theirs[key]).all() for key in ("step", "exp_avg", "exp_avg_sq"))


def test_saving_leaves_the_run_and_no_part_file(tmp_path):
    run, alone = begun(), begun()
    save_run(run, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (weights_of(advance(run, 1).model) == weights_of(advance(alone, 1).model)).all()


def test_an_interrupted_save_keeps_the_last_one(tmp_path, monkeypatch):
    run, path = begun(), tmp_path / "run"
    save_run(run, path)
    advance(run, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space left"):
            save_run(run, path)
    assert [file.name for file in tmp_path.iterdir()] == ["run"], "and leaves nothing beside it"
    assert len(load_run(path).records) == 2
    save_run(run, path)
    assert len(load_run(path).records) == 3


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "run"
    save_run(begun(), path)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in (first, first + 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"truncated.*nothing was restarted"):
            load_run(path)
    flipped = bytearray(whole)
    flipped[-1000] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match="damaged"):
        load_run(path)
    assert path.read_bytes() == flipped, "reading leaves the file alone"


@pytest.mark.parametrize("content", [b"", b"step,reward\n1,0.5\n", b"\x80\x02}q\x00.", b"entropy-core"])
def test_a_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "run").write_bytes(content)
    with pytest.raises(ValueError, match="not a run of the tiny language model"):
        load_run(tmp_path / "run")


def test_another_version_and_a_missing_file_are_refused(tmp_path):
    save_run(begun(), tmp_path / "run")
    name, version, rest = (tmp_path / "run").read_bytes().split(b" ", 2)
    (tmp_path / "run").write_bytes(b" ".join([name, b"%d" % (int(version) + 1), rest]))
    with pytest.raises(
        ValueError, match=rf"version {int(version) + 1} of its format and this program reads {int(version)}"
    ):
        load_run(tmp_path / "run")
    with pytest.raises(FileNotFoundError):
        load_run(tmp_path / "none")


def test_a_run_saved_on_the_way_is_the_run_that_was_not(tmp_path, monkeypatch):
    kept = []
    save = checkpoints.save_run
    monkeypatch.setattr(
        checkpoints, "save_run", lambda run, path: (kept.append(len(run.records)), save(run, path))
    )
    run = advance_and_save(begun(), 5, tmp_path / "run", every=3)
    assert kept == [3, 6, 7], "at multiples and at the end"
    alone = advance(begun(), 5)
    assert (weights_of(run.model) == weights_of(alone.model)).all()
    assert load_run(tmp_path / "run").records == alone.records


def test_another_run_is_not_replaced(tmp_path):
    path = tmp_path / "run"
    later = advance_and_save(begun(), 2, path)
    whole = path.read_bytes()
    for other in (begun(), advance(start_run(2, lively_model(dtype=torch.float32), DIGIT_SUM, FEW), 5)):
        with pytest.raises(FileExistsError, match="another run, or a later moment of this one, with 4 steps"):
            advance_and_save(other, 1, path)
        assert path.read_bytes() == whole
    advance_and_save(later, 1, path)
    assert len(load_run(path).records) == 5
    path.write_text("notes")
    with pytest.raises(ValueError, match="not a run"):
        advance_and_save(later, 1, path)
    assert path.read_text() == "notes"
    with pytest.raises(ValueError, match="at least 1; got 1 and 0"):
        advance_and_save(later, 1, tmp_path / "new", every=0)


def test_a_file_from_before_the_choice_of_optimiser_is_refused(tmp_path):
    save_run(begun(), tmp_path / "run")
    name, _, rest = (tmp_path / "run").read_bytes().split(b" ", 2)
    (tmp_path / "run").write_bytes(b" ".join([name, b"1", rest]))
    with pytest.raises(
        ValueError, match=r"version 1 .* reads 2.*release that wrote it; nothing was restarted"
    ):
        load_run(tmp_path / "run")


def test_gradient_descent_is_saved_as_itself(tmp_path):
    run = advance(start_run(1, lively_model(), DIGIT_SUM, FEW._replace(optimiser="sgd")), 2)
    save_run(run, tmp_path / "run")
    resumed = load_run(tmp_path / "run")
    assert isinstance(resumed.optimiser, torch.optim.SGD)
    assert (weights_of(advance(resumed, 2).model) == weights_of(advance(run, 2).model)).all()
