"""Runs on disk: written whole or not at all, read whole or not at all, and continued to the same bits.

A file begins with a line that names its format, its version, the length of what follows and its SHA-256. It
holds everything that a run depends on: weights, the optimiser's state, both generators, settings, records.
"""

import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from entropy_core.simulators.tiny_lm.model import ModelSize, TinyLM
from entropy_core.simulators.tiny_lm.tasks import Task
from entropy_core.simulators.tiny_lm.training import Run, Settings, StepRecord, advance, start_run

__all__ = ["advance_and_save", "load_run", "save_run"]

FORMAT, VERSION = "entropy-core-tiny-lm-run", 2


def save_run(run: Run, path: str | Path) -> None:
    """Write a run; the file at the path is the old one or the new one at every moment, never a part.

    Args:
        run: the run.
        path: file to write; a file of its name with ".part" at the end is written first, and renamed or, on
            failure, removed.

    Raises:
        OSError: the file cannot be written; what stood at the path stands there still.
    """
    kept = io.BytesIO()
    generators = (run.generator, run.held_out_generator)
    facts = {
        "task": run.task._asdict(),
        "settings": run.settings._asdict(),
        "size": run.model.size._asdict(),
        "generators": [generator.bit_generator.state for generator in generators],
        "records": [list(record) for record in run.records],
    }
    weights, moments = run.model.state_dict(), run.optimiser.state_dict()
    torch.save({"facts": json.dumps(facts), "weights": weights, "optimiser": moments}, kept)
    content = kept.getvalue()
    header = f"{FORMAT} {VERSION} {len(content)} {hashlib.sha256(content).hexdigest()}\n"
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            file.write(header.encode() + content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load_run(path: str | Path, device: str | torch.device = "cpu") -> Run:
    """Read a run, ready to advance: on the device and machine that wrote it, to the same bits.

    Args:
        path: file that `save_run` wrote.
        device: where the model is to lie.

    Returns:
        The run as it was saved.

    Raises:
        ValueError: the file is of another format or version, truncated or damaged. Nothing is restarted: take
            an earlier checkpoint, or delete the file and begin again knowingly.
        FileNotFoundError: there is no file.
    """
    content = _checked(Path(path).read_bytes(), path)
    saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    facts, weights = json.loads(saved["facts"]), saved["weights"]
    model = TinyLM(ModelSize(**facts["size"])).to(device, weights["head.weight"].dtype)
    model.load_state_dict(weights)
    task = facts["task"] | {"place_values": tuple(facts["task"]["place_values"])}
    run = start_run(0, model, Task(**task), Settings(**facts["settings"]))
    run.optimiser.load_state_dict(saved["optimiser"])
    run.generator, run.held_out_generator = (_generator(state) for state in facts["generators"])
    run.records = [StepRecord(*record) for record in facts["records"]]
    return run


def advance_and_save(run: Run, steps: int, path: str | Path, every: int = 10) -> Run:
    """Take a run some steps further, in place, and save it on the way: an interruption costs `every` steps.

    It is saved after each step whose number `every` divides, and after the last. Saving draws nothing: the
    run is the one that `advance` makes, to the same bits.

    Args:
        run: the run; it is changed.
        steps: number of rollouts, at least 1.
        path: file to write. One that holds an earlier moment of this run is replaced.
        every: steps between two savings, at least 1.

    Returns:
        The same run. More than five seconds show their progress.

    Raises:
        ValueError: steps or every is below 1, or the file is not one that `save_run` wrote.
        FileExistsError: the file holds another run, or a later moment of this one.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"steps and every must be at least 1; got {steps} and {every}.")
    if Path(path).exists():
        _refuse_to_lose(load_run(path), run, path)
    last = len(run.records) + steps
    with tqdm(total=steps, delay=5, desc=f"{run.settings.arm}, saving") as bar:
        while (done := len(run.records)) < last:
            piece = min(every - done % every, last - done)
            advance(run, piece)
            save_run(run, path)
            bar.update(piece)
    return run


def _checked(written, path):
    """Return what the file holds, or say why it cannot be trusted."""
    header, _, content = written.partition(b"\n")
    words = header[:200].decode("utf-8", "replace").split(" ")
    advice = "Take an earlier checkpoint, or delete the file to begin again; nothing was restarted."
    if words[0] != FORMAT:
        raise ValueError(f"{path} is not a run of the tiny language model; save_run writes those. {advice}")
    if len(words) != 4 or words[1] != str(VERSION):
        raise ValueError(
            f"{path} has version {' '.join(words[1:2])} of its format and this program reads {VERSION}. "
            "Read it with the release that wrote it; nothing was restarted."
        )
    if words[2] != str(len(content)):
        raise ValueError(f"{path} is truncated: {len(content)} bytes of {words[2]} are there. {advice}")
    if words[3] != hashlib.sha256(content).hexdigest():
        raise ValueError(f"{path} is damaged: its content does not have the hash that was written. {advice}")
    return content


def _generator(state):
    """Return a generator in this state."""
    generator = np.random.default_rng(0)
    generator.bit_generator.state = state
    return generator


def _refuse_to_lose(kept, run, path):
    """Raise unless a saved run is an earlier moment of the one that is to replace it."""
    same = (kept.task, kept.settings, kept.model.size) == (run.task, run.settings, run.model.size)
    if not same or kept.records != run.records[: len(kept.records)]:
        raise FileExistsError(
            f"{path} holds another run, or a later moment of this one, with {len(kept.records)} steps; "
            "nothing was written. Go on from it with load_run, or name another file."
        )
