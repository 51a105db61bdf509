"""Run the comparison: `python -m benchmarks`, or `--quick` for one size in under a minute.

`--device cuda` measures on a GPU instead, against its copy and its matrix product, in under eight minutes.

Asserts agreement, then times; writes one JSON file and one Markdown table under `benchmarks/results/`.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks import accuracy, device, inputs, measuring, methods, report, scaling, tasks, wall

RESULTS = Path(__file__).parent / "results"


def main():
    """Read the arguments, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one size, few repetitions, nothing in processes of their own"
    )
    parser.add_argument("--device", default="cpu", help="torch device, for example cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads on the processor")
    parser.add_argument("--repetitions", type=int, default=7, help="turns of every method")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kind = torch.device(arguments.device).type
    path = arguments.results / (kind + ("-quick" if arguments.quick else ""))
    if kind == "cuda":
        sizes = (device.QUICK if arguments.quick else device.Sizes())._replace(
            turns=2 * arguments.repetitions
        )
        print(json.dumps(device.machine(arguments.device)))
        write(
            path, device.measure(sizes, arguments.device, device.by_events, lambda found: save(path, found))
        )
    else:
        write(path, measure(arguments))


def save(path, found):
    """Write what was measured so far as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def write(path, found):
    """Write both files and print the tables; a method of ours that did not run is an error."""
    save(path, found)
    table = wall.markdown(found) if "rates" in found else report.markdown(found)
    path.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)
    failed = {name: why for name, why in found.get("left_out", {}).items() if f": {methods.OURS}" in name}
    if failed:
        raise SystemExit(f"Did not run: {failed}")


def measure(arguments):
    """Return everything measured, as what JSON holds."""
    device, quick = arguments.device, arguments.quick
    accuracy.assert_agreement(device)
    found = {"machine": machine(arguments), "rows": []}
    for shape in inputs.QUICK_SHAPES if quick else inputs.SHAPES:
        for dtype in inputs.DTYPES:
            found["rows"] += times(shape, dtype, device, 3 if quick else arguments.repetitions)
    if quick:
        return found
    alone = [row for row in found["rows"] if row["shape"] == list(inputs.SHAPES[0])]
    for row in tqdm(alone, desc="memory of each method in its own process", delay=5, leave=False):
        shape, dtype = row["shape"], row["dtype"]
        row["extra_mebibytes"] = measuring.extra_memory(row["task"], row["method"], shape, dtype, device)
    found["errors"] = accuracy.errors(device)
    found["growth"] = scaling.growth(device, arguments.repetitions)
    found["stream"] = [scaling.stream(device, rows) for rows in (10**3, 10**4, 10**5, 10**6)]
    found["machine"]["load_after"] = os.getloadavg()[0]
    return found


def times(shape, dtype, device, repetitions):
    """Return one record for each task and method at one size."""
    records = []
    forward, read = tasks.forward_runs(shape, dtype, device)
    records += _race(tasks.FORWARD, forward | measuring.reads(*read), shape, dtype, device, repetitions)
    step, read = tasks.step_runs(shape, dtype, device)
    records += _race(tasks.STEP, step | measuring.reads(*read), shape, dtype, device, repetitions)
    backward, (z,), out = tasks.backward_runs(shape, dtype, device)
    floor = measuring.reads_and_write(z, out)
    return records + _race(tasks.BACKWARD, backward | floor, shape, dtype, device, repetitions)


def _race(task, runs, shape, dtype, device, repetitions):
    label = f"{task}, {shape}, {dtype}"
    seconds = measuring.race(runs, repetitions, device, label)
    floor, ratios = measuring.over_floor(seconds)
    return [
        {
            "task": task,
            "shape": list(shape),
            "dtype": str(dtype).removeprefix("torch."),
            "method": method,
            "seconds": seconds[method],
            "floor_seconds": floor,
            "ratio_to_floor": ratio,
            "extra_mebibytes": None,
        }
        for method, ratio in ratios.items()
    ]


def machine(arguments):
    """Return what the numbers depend on."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            processor = next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    is_cuda = torch.device(arguments.device).type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if is_cuda else processor,
        "threads": arguments.threads,
        "load_before": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "peers": [name for name in methods.of_policy() if name[:3] in ("TRL", "ver")],
    }


if __name__ == "__main__":
    main()
