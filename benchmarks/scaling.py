"""How time grows with rows and actions, and memory while a file of logits streams by."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks import inputs, measuring
from entropy_core import batched

STREAM_ACTIONS = 1024
BLOCK_ROWS = 16_384


def growth(device, repetitions):
    """Return the slopes of log time in log size, along rows and along actions, with the points."""
    along = {
        "rows": [(rows, 32_000) for rows in (256, 512, 1024, 2048, 4096)],
        "actions": [(512, actions) for actions in (16_000, 32_000, 64_000, 128_000, 256_000)],
    }
    found = {}
    for axis, shapes in along.items():
        data = {shape: inputs.logits_of(shape, torch.float32, device) for shape in shapes}
        runs = {str(shape): (lambda z=z: batched.entropy(z)) for shape, z in data.items()}
        seconds = list(measuring.race(runs, repetitions, device, f"growth with {axis}").values())
        sizes = [shape[0] if axis == "rows" else shape[1] for shape in shapes]
        slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
        found[axis] = {"sizes": sizes, "seconds": seconds, "slope": slope}
    return found


def stream(device, rows):
    """Return peak memory in MiB and seconds for the entropy of so many rows read from a file in blocks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "logits.bin"
        _write(path, rows)
        start = time.perf_counter()
        peak = measuring.peak_beside(lambda: _mean_entropy(path, rows, device), device)
        return {"rows": rows, "extra_mebibytes": peak, "seconds": time.perf_counter() - start}


def _mean_entropy(path, rows, device):
    """Add the entropy block by block; each block is mapped into memory for its own time only."""
    total = torch.zeros((), dtype=torch.float64, device=device)
    for start in tqdm(range(0, rows, BLOCK_ROWS), desc="entropy of a stream", delay=5, leave=False):
        shape = min(BLOCK_ROWS, rows - start), STREAM_ACTIONS
        mapped = np.memmap(path, np.int16, "c", offset=2 * start * STREAM_ACTIONS, shape=shape)
        block = torch.from_numpy(mapped).view(torch.bfloat16).to(device)
        total += batched.entropy(block).double().sum()
    return total / rows


def _write(path, rows):
    """Write normal bfloat16 logits block by block."""
    block = inputs.logits_of((min(rows, BLOCK_ROWS), STREAM_ACTIONS), torch.bfloat16, "cpu")
    with path.open("wb") as file:
        for start in tqdm(range(0, rows, BLOCK_ROWS), desc="writing logits", delay=5, leave=False):
            part = block[: min(BLOCK_ROWS, rows - start)]
            file.write(part.view(torch.int16).numpy().tobytes())
