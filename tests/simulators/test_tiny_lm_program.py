"""The program from end to end: what it writes, how it goes on, and what it refuses."""

import os
import subprocess
import sys

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch

from entropy_core.simulators.tiny_lm import DIGIT_SUM, Settings, StepRecord, load_run
from entropy_core.simulators.tiny_lm import __main__ as program
from tests.simulators.tiny_models import weights_of

TINY = ["--width=16", "--heads=2", "--clean-steps=3", "--noisy-steps=2"]
TINY += ["--prompts=4", "--samples=4", "--held-out=8"]
FIGURES = program.FIGURES
FILES = {"records.csv", "settings.csv", "training.svg", "training.png", "run.checkpoint"}


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """Give back the threads that the program takes away, and draw one figure where none is looked at."""
    count = torch.get_num_threads()
    monkeypatch.setattr(program, "FIGURES", ("training.svg",))
    yield
    torch.set_num_threads(count)


def run(*arguments):
    """Run the program in this process."""
    program.main([str(argument) for argument in arguments])


def refusal(capsys, *arguments):
    """Run the program, see it end with an error, and return its words."""
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code in (1, 2)
    return capsys.readouterr().err


def stopped_at(monkeypatch, step, stop):
    """Let the program be stopped when it comes to a step."""
    from entropy_core.simulators.tiny_lm import training

    draw = training.distinct_right

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == step:
            raise stop
        return draw(*arguments)

    calls = []
    monkeypatch.setattr(training, "distinct_right", interrupted)


def test_a_run_is_written_whole_and_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(program, "FIGURES", FIGURES)
    folder = tmp_path / "new" / "run"
    run(folder, *TINY, "--steps", 5, "--every", 2, "--arm", "entropy bonus", "--seed", 3)
    assert {path.name for path in folder.iterdir()} == FILES
    table, facts = pd.read_csv(folder / "records.csv"), pd.read_csv(folder / "settings.csv")
    assert list(table.columns) == list(StepRecord._fields)
    assert table.step.tolist() == [1, 2, 3, 4, 5]
    kept = load_run(folder / "run.checkpoint")
    assert table.to_numpy().tolist() == [list(map(float, record)) for record in kept.records]
    assert (kept.task, kept.settings.arm, kept.settings.samples) == (DIGIT_SUM, "entropy bonus", 4)
    assert len(facts) == 1
    wanted = {"arm": "entropy bonus", "seed": 3, "width": 16, "prior": "aligned", "clean_steps": 3}
    assert facts.loc[0, list(wanted)].to_dict() == wanted
    assert set(Settings._fields) < set(facts.columns)
    assert "aria-label" not in (folder / "training.svg").read_text(encoding="utf-8")
    drawing = matplotlib.image.imread(folder / "training.png")
    assert drawing[0, 0, :3].min() == 1, "on white"
    assert drawing.std() > 0.05, "and not empty"
    told = capsys.readouterr().out
    share = table.reward[-2:].mean()
    assert f"to {share:.2f}" in told
    missed = abs(table.first_order_entropy_change - table.entropy_change).sum()
    assert f"the first order misses {missed / abs(table.entropy_change).sum():.1%}" in told
    assert str(folder) in told


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt(), FloatingPointError("diverged")], ids=["^C", "diverged"]
)
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, monkeypatch, capsys, stop):
    run(tmp_path / "whole", *TINY, "--steps", 7)
    with monkeypatch.context() as patch:
        stopped_at(patch, 6, stop)
        with pytest.raises(SystemExit) as end:
            run(tmp_path / "cut", *TINY, "--steps", 7, "--every", 2)
    assert end.value.code == (130 if isinstance(stop, KeyboardInterrupt) else 1)
    checkpoint = tmp_path / "cut" / "run.checkpoint"
    assert (
        f"stopped in step 6; go on with: {program.PROGRAM} --resume {checkpoint}" in capsys.readouterr().out
    )
    assert len(load_run(checkpoint).records) == 4
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"run.checkpoint", "settings.csv"}
    run("--resume", checkpoint, "--steps", 7)
    whole, cut = (load_run(tmp_path / name / "run.checkpoint") for name in ("whole", "cut"))
    assert (weights_of(whole.model) == weights_of(cut.model)).all()
    for name in ("records.csv", "settings.csv", "training.svg"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_an_interrupted_prior_leaves_nothing(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "make_prior", interrupted)
    with pytest.raises(SystemExit) as end:
        run(tmp_path / "run", *TINY)
    assert end.value.code == 130
    assert "nothing was kept" in capsys.readouterr().err
    assert list((tmp_path / "run").iterdir()) == []


def test_nothing_is_overwritten(tmp_path, capsys):
    run(tmp_path / "run", *TINY, "--steps", 2)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert "holds records.csv, settings.csv" in refusal(capsys, tmp_path / "run", *TINY)
    checkpoint = tmp_path / "run" / "run.checkpoint"
    assert "has taken 2 steps" in refusal(capsys, "--resume", checkpoint, "--steps", 2)
    given = refusal(capsys, "--resume", checkpoint, "--steps", 4, "--arm", "repo", "--seed", 0)
    assert "seed, arm cannot be given with --resume" in given
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == kept
    run(tmp_path / "other", *TINY, "--steps", 2, "--seed", 1)
    (tmp_path / "run" / "records.csv").write_bytes((tmp_path / "other" / "records.csv").read_bytes())
    assert "other steps than the checkpoint" in refusal(capsys, "--resume", checkpoint, "--steps", 3)
    assert checkpoint.read_bytes() == kept["run.checkpoint"]


def test_a_checkpoint_that_cannot_be_trusted_is_refused(tmp_path, capsys):
    run(tmp_path / "run", *TINY, "--steps", 1)
    path = tmp_path / "run" / "run.checkpoint"
    path.write_bytes(path.read_bytes()[:-10])
    assert "truncated" in refusal(capsys, "--resume", path)
    foreign = tmp_path / "run" / "settings.csv"
    before = foreign.read_bytes()
    assert "not a run of the tiny language model" in refusal(capsys, "--resume", foreign)
    assert foreign.read_bytes() == before
    assert "No such file" in refusal(capsys, "--resume", tmp_path / "none")


def test_errors_come_before_the_prior_is_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(program, "make_prior", lambda *_: pytest.fail("too late"))
    (tmp_path / "file").write_text("here")
    assert "Not a directory" in refusal(capsys, tmp_path / "file" / "run")
    assert "no group" in refusal(capsys, tmp_path / "a", "--samples", 1)
    assert "heads must divide the width" in refusal(capsys, tmp_path / "a", "--width", 10)
    assert "device 'nowhere' cannot be used" in refusal(capsys, tmp_path / "a", "--device", "nowhere")
    assert "invalid choice: 'ppo'" in refusal(capsys, tmp_path / "a", "--arm", "ppo")
    assert "must be at least 1; got 0" in refusal(capsys, tmp_path / "a", "--steps", 0)
    assert "name the folder" in refusal(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_help_explains_every_setting_and_nothing_draws_before_it_must():
    code = (
        "import sys; from entropy_core.simulators.tiny_lm import __main__ as m;"
        "print([n for n in ('matplotlib', 'pandas') if n in sys.modules]); m.main(['--help'])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    loaded, _, help_text = done.stdout.partition("\n")
    assert loaded == "[]"
    words = " ".join(help_text.split())
    for name in Settings._fields:
        assert f"--{name.replace('_', '-')} " in words
    assert 'share of tokens that "clip-cov" drops at most, in each part (0.05)' in words
    assert np.all([name in words for name in FILES])
