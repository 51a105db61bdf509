"""Train the tiny language model by reinforcement and keep what happened.

Makes a prior by imitation, some eight seconds, and trains one arm from it, four seconds for 60 steps. The
folder then holds

  records.csv      one row a step: reward, entropy, its change as measured and as predicted, ...
  settings.csv     one row: everything that fixes the run
  training.svg     reward, entropy and entropy changes over training, with the predictions laid over;
  training.png     the same
  run.checkpoint   the run itself, written anew every few steps, whole or not at all

One run is one seed, and everything in it is conditional on a prior that was made.
"""

import argparse
import csv
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from entropy_core.simulators.tiny_lm import (
    ADDITION,
    ARMS,
    DEMONSTRATIONS,
    DIGIT_SUM,
    ModelSize,
    Run,
    Settings,
    advance_and_save,
    load_run,
    make_model,
    make_prior,
    save_run,
    stacked_records,
    start_run,
    write_csv,
)

PROGRAM = "python -m entropy_core.simulators.tiny_lm"
TASKS = {task.name.replace(" ", "-"): task for task in (DIGIT_SUM, ADDITION)}
ORIGIN = {  # what a checkpoint does not need to go on
    "task": "digit-sum",
    "prior": "aligned",
    "seed": 0,
    "clean_steps": 320,
    "noisy_steps": 160,
    "width": ModelSize().width,
    "layers": ModelSize().layers,
    "heads": ModelSize().heads,
}
TABLE, FACTS, CHECKPOINT = "records.csv", "settings.csv", "run.checkpoint"
FIGURES = ("training.svg", "training.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, train, write.

    Args:
        arguments: what stands behind the program's name; those of the command line by default.

    Raises:
        SystemExit: the arguments do not fit, 2; something could not be done, 1; interrupted, 130.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # equal seeds then give equal bits
    if min(given.steps, given.every) < 1:
        parser.error(f"--steps and --every must be at least 1; got {given.steps} and {given.every}")
    try:
        run, folder = _continued(given) if given.resume else _begun(given)
        _train(run, folder, given)
    except KeyboardInterrupt:
        parser.exit(130, "stopped before the first step; nothing was kept\n")
    except (ValueError, OSError, FloatingPointError) as problem:
        parser.exit(1, f"error: {problem}\n")


def _parser():
    """Return the parser; the options for the settings are the fields of `Settings`, explained as there."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: %(prog)s out/bonus --arm 'entropy bonus' --entropy-coefficient 0.1 --steps 100",
    )
    parser.add_argument("folder", type=Path, nargs="?", help="folder to write, new or without these files")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="go on from this run.checkpoint, to the same bits on the same machine, and renew the files "
        "beside it; it fixes the run, so that only --steps, --every and --device may be given too",
    )
    parser.add_argument("--steps", type=int, default=60, help="rollouts in all, resumed ones included (60)")
    parser.add_argument("--every", type=int, default=10, help="steps between two checkpoints (10)")
    parser.add_argument("--device", default="cpu", help="torch device, for example cuda (cpu)")
    origin = parser.add_argument_group("prior and seed")
    choices = {"task": tuple(TASKS), "prior": DEMONSTRATIONS}
    words = {
        "prior": "kind of demonstrations in the second phase of imitation",
        "seed": "of the prior and of the run",
        "clean_steps": "updates on right demonstrations",
        "noisy_steps": "updates on those of the prior's kind",
        "task": "what is asked: three digits with a given sum, or the sum of two numbers",
    } | _explained(ModelSize)
    for name, default in ORIGIN.items():
        _add_option(origin, name, default, words[name], choices.get(name))
    settings = parser.add_argument_group("settings of the run")
    for name, default in Settings()._asdict().items():
        _add_option(settings, name, default, _explained(Settings)[name], ARMS if name == "arm" else None)
    return parser


def _add_option(group, name, default, words, choices):
    """Add an option that is None unless given, so that a resumed run can refuse it."""
    words = f"{words.rstrip('.')} ({default})".replace("%", "%%")
    group.add_argument(f"--{name.replace('_', '-')}", type=type(default), help=words, choices=choices)


def _explained(settings):
    """Return what the docstring says of each argument."""
    found = re.findall(r"^        (\w+): (.*(?:\n {12}.*)*)", settings.__doc__ or "", re.MULTILINE)
    return dict.fromkeys(settings._fields, "") | {name: " ".join(text.split()) for name, text in found}


def _begun(given):
    """Return a new run and its folder, which holds the settings and the first checkpoint."""
    if given.folder is None:
        raise ValueError("name the folder to write, or --resume FILE. --help explains both.")
    there = [name for name in (TABLE, FACTS, CHECKPOINT, *FIGURES) if (given.folder / name).exists()]
    if there:
        raise FileExistsError(
            f"{given.folder} holds {', '.join(there)} of another run; nothing was written. Name another "
            f"folder, or go on with that run: --resume {given.folder / CHECKPOINT}"
        )
    facts = {name: _chosen(given, name, default) for name, default in ORIGIN.items()}
    settings = Settings(**{name: _chosen(given, name, v) for name, v in Settings()._asdict().items()})
    task, size = TASKS[facts["task"]], ModelSize(facts["width"], facts["layers"], facts["heads"])
    _look_at(given.device)
    start_run(0, make_model(np.random.default_rng(0), size), task, settings)  # refuses what does not fit
    given.folder.mkdir(parents=True, exist_ok=True)
    versions = {"device": given.device, "torch": torch.__version__, "numpy": np.__version__}
    with open(given.folder / FACTS, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(zip(*(facts | settings._asdict() | versions).items(), strict=True))
    try:
        steps = facts["clean_steps"], facts["noisy_steps"]
        prior = make_prior(facts["seed"], task, facts["prior"], *steps, size, given.device)
        run = start_run(facts["seed"], prior.model, task, settings)
        save_run(run, given.folder / CHECKPOINT)
    except BaseException:
        (given.folder / FACTS).unlink()
        raise
    accuracy, entropy = prior.records[-1].evaluation
    print(
        f"{task.name}, {facts['prior']} prior, seed {facts['seed']}: "
        f"share right {accuracy:.2f}, entropy {entropy:.2f} nats a token"
    )
    return run, given.folder


def _continued(given):
    """Return the run of a checkpoint and its folder."""
    fixed = [name for name in (*ORIGIN, *Settings._fields, "folder") if getattr(given, name) is not None]
    if fixed:
        raise ValueError(
            f"{', '.join(fixed)} cannot be given with --resume: the checkpoint fixes the run, and its files "
            "stand beside it. Leave them out, or begin a new run in a folder of its own."
        )
    _look_at(given.device)
    run = load_run(given.resume, given.device)
    if len(run.records) >= given.steps:
        raise ValueError(
            f"{given.resume} has taken {len(run.records)} steps and --steps asks for {given.steps} in all. "
            "Ask for more."
        )
    _refuse_another_table(run, given.resume.parent / TABLE)
    print(f"{run.task.name}, {run.settings.arm}: going on after step {len(run.records)}")
    return run, given.resume.parent


def _chosen(given, name, default):
    """Return what was given for an option, or its default."""
    value = getattr(given, name)
    return default if value is None else value


def _look_at(device):
    """Raise unless torch can use the device."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:
        raise ValueError(f"device {device!r} cannot be used: {str(problem).splitlines()[0]}") from problem


def _refuse_another_table(run, path):
    """Raise if a table at this path holds anything but the first steps of the run."""
    if not path.exists():
        return
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    if rows != [[str(value) for value in record] for record in run.records[: len(rows)]]:
        raise FileExistsError(
            f"{path} holds other steps than the checkpoint; nothing was written. Move it away, or put the "
            "checkpoint into a folder of its own."
        )


def _train(run, folder, given):
    """Advance to the last step, then write the table and the figure; an interruption says how to go on."""
    path = given.resume or folder / CHECKPOINT
    try:
        advance_and_save(run, given.steps - len(run.records), path, given.every)
    except (KeyboardInterrupt, FloatingPointError) as stop:
        print(f"stopped in step {len(run.records) + 1}; go on with: {PROGRAM} --resume {path}")
        if isinstance(stop, FloatingPointError):
            raise
        sys.exit(130)
    write_csv(run.records, folder / TABLE)
    written = [TABLE, FACTS, path.name]
    try:
        from entropy_core import plotting
    except ImportError:
        print("no figure: it needs matplotlib, pip install 'entropy-core[book]'")
    else:
        figure = plotting.training_runs({run.settings.arm: stacked_records([run])})
        for name in FIGURES:
            figure.write(folder / name)
        written += FIGURES
    _summarise(run)
    print(f"written to {folder}: {', '.join(written)}")


def _summarise(run: Run) -> None:
    """Print what the run came to."""
    columns = {name: values[0] for name, values in stacked_records([run]).items()}
    few = max(1, min(5, len(run.records) // 2))
    ends = {k: (v[:few].mean(), v[-few:].mean()) for k, v in columns.items()}
    rewards, entropies = ends["reward"], ends["held_out_entropy"]
    changes = columns["entropy_change"]
    print(
        f"{run.settings.arm}, {len(run.records)} steps, first and last {few} averaged: "
        f"share right {rewards[0]:.2f} to {rewards[1]:.2f}, "
        f"entropy {entropies[0]:.2f} to {entropies[1]:.2f} nats a token"
    )
    for order in ("first", "second"):
        missed = np.abs(columns[f"{order}_order_entropy_change"] - changes).sum() / np.abs(changes).sum()
        print(f"of the entropy changes the {order} order misses {missed:.1%}")


if __name__ == "__main__":
    main()
