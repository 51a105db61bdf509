"""One method in a process of its own: its peak memory, after a small run has loaded and compiled it."""

import json
import sys

import torch

from benchmarks import measuring, tasks

torch.set_num_threads(2)


def runs_of(task, shape, dtype, device):
    """Return the runs of a task."""
    made = {
        tasks.FORWARD: tasks.forward_runs,
        tasks.STEP: tasks.step_runs,
        tasks.BACKWARD: tasks.backward_runs,
    }
    return made[task](shape, dtype, device)[0]


def main():
    """Read the request, print the peak in MiB."""
    request = json.loads(sys.argv[1])
    dtype, device = getattr(torch, request["dtype"]), request["device"]
    rows, actions = request["shape"]
    small = max(2, -(-(2**22 + 1) // actions))
    runs_of(request["task"], (small, actions), dtype, device)[request["method"]]()
    run = runs_of(request["task"], (rows, actions), dtype, device)[request["method"]]
    print(json.dumps(measuring.peak_beside(run, device)))


if __name__ == "__main__":
    main()
