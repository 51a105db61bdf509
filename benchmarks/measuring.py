"""Interleaved medians, floors, peak memory in a fresh process."""

import gc
import json
import statistics
import subprocess
import sys
import time

import torch
from tqdm import tqdm

MEBIBYTE = 2**20


def race(runs, repetitions, device, label):
    """Return the median seconds of each run, all taking turns; the first turn warms up."""
    seconds = {name: [] for name in runs}
    for turn in tqdm(range(repetitions + 1), desc=label, delay=5, leave=False):
        for name, run in runs.items():
            synchronise(device)
            start = time.perf_counter()
            result = run()
            synchronise(device)
            if turn:
                seconds[name].append(time.perf_counter() - start)
            del result
    return {name: statistics.median(values) for name, values in seconds.items()}


def synchronise(device):
    """Wait for the device."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def reads(*tensors):
    """Return the runs that only read the tensors; the fastest of them is the floor."""
    compiled = torch.compile(lambda z: z.sum(dtype=torch.float32), dynamic=True)
    return {
        "floor: torch.sum": lambda: [t.sum(dtype=torch.float32) for t in tensors],
        "floor: compiled sum": lambda: [compiled(t) for t in tensors],
    }


def reads_and_write(tensor, out):
    """Return the runs that read twice and write once."""
    return {
        f"{name}, and a copy": lambda run=run: (run(), out.copy_(tensor))
        for name, run in reads(tensor).items()
    }


def over_floor(seconds):
    """Return (floor in seconds, {method: ratio to the floor})."""
    floor = min(value for name, value in seconds.items() if name.startswith("floor"))
    return floor, {n: value / floor for n, value in seconds.items() if not n.startswith("floor")}


def extra_memory(task, method, shape, dtype, device):
    """Return the peak memory in MiB beside the inputs that a method takes in a process of its own."""
    request = json.dumps({"task": task, "method": method, "shape": shape, "dtype": dtype, "device": device})
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.alone", request], capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise RuntimeError(f"{task} by {method} failed in its own process:\n{run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def peak_beside(run, device):
    """Run once and return by how many MiB memory rose at its highest."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = run()
        torch.cuda.synchronize()
        del result
        return (torch.cuda.max_memory_allocated() - before) / MEBIBYTE
    before = _reset_peak()
    result = run()
    peak = _status("VmHWM")
    del result
    return (peak - before) / 1024


def _reset_peak():
    """Forget the process's highest resident size so far (Linux), and return the present one in KiB."""
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")
    return _status("VmRSS")


def _status(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))
