"""The comparison on a GPU, at sizes that fill it, beside a copy and a matrix product in the same run.

Two copies of every input take turns, each many times the size of the cache. Everything here but the clock
runs on a processor too, where `tests/benchmarks` calls it with a few rows.
"""

import contextlib
import gc
import platform
import statistics
import subprocess
import time
from typing import NamedTuple

import torch
from tqdm import tqdm

from benchmarks import accuracy, inputs, measuring, methods, tasks
from entropy_core import batched

COPIES = 2
PEERS_UNTIL = 300.0  # seconds into the run from which no further library is tried
HIDDEN_FORWARD = "entropy from hidden states, forward"
HIDDEN_BACKWARD = "entropy from hidden states, backward"
ENTROPY_ALONE = f"{methods.OURS}, entropy alone"
MADE_AGAIN = "three products, the logits made again"


class Sizes(NamedTuple):
    """Of the inputs, and how often every method has its turn."""

    rows: int = 8192
    actions: int = 151_936
    features: int = 4096
    turns: int = 15
    error_rows: int = 256
    error_actions: int = accuracy.ACTIONS


QUICK = Sizes(rows=1024, actions=32_000, turns=5, error_rows=64)


class Runs:
    """What runs, what failed and was left out, and when there is no time for more."""

    def __init__(self, sizes, device, clock):
        """Remember the sizes, the device and the clock."""
        self.sizes, self.device, self.clock = sizes, device, clock
        self.started, self.left_out, self.records = time.monotonic(), {}, []

    def usable(self, task, of_copies):
        """Return the names of the runs that work, each tried once on every copy; failures are noted."""
        names = []
        for name in tqdm(of_copies[0], desc=f"first calls, {task}", delay=5, leave=False):
            is_ours = name.startswith((methods.OURS, "floor"))
            if not is_ours and time.monotonic() - self.started > PEERS_UNTIL:
                self.left_out[f"{task}: {name}"] = "no time left"
                continue
            try:
                for runs in of_copies:
                    runs[name]()
                measuring.synchronise(self.device)
                names.append(name)
            except Exception as error:  # a library may fail in any way; the others go on
                self._leave_out(task, name, error)
        return names

    def checked(self, task, compared, check):
        """Return the records that a check gives of each method; a library's failure is noted, ours raises."""
        records = []
        for name, method in compared.items():
            try:
                records += check({name: method}) or []
            except Exception as error:
                if name == methods.OURS:
                    raise
                self._leave_out(task, name, error)
        return records

    def _leave_out(self, task, name, error):
        """Write down why a method takes no part."""
        lines = str(error).strip().splitlines() or [""]
        self.left_out[f"{task}: {name}"] = f"{type(error).__name__}: {lines[0]}"[:300]
        _forget(self.device)

    def race(self, task, of_copies, floors):
        """Time all runs that work in turn, and the memory of each; `floors` are seconds that nobody timed."""
        seconds = {name: [] for name in self.usable(task, of_copies)}
        for turn in tqdm(range(self.sizes.turns), desc=task, delay=5, leave=False):
            for name, measured in seconds.items():
                measured.append(self.clock(of_copies[turn % len(of_copies)][name]))
        medians = {name: statistics.median(values) for name, values in seconds.items()} | floors
        floor, ratios = measuring.over_floor(medians)
        for name, ratio in ratios.items():
            self.records.append(
                {
                    "task": task,
                    "shape": [self.sizes.rows, self.sizes.actions],
                    "dtype": "bfloat16",
                    "method": name,
                    "seconds": medians[name],
                    "floor_seconds": floor,
                    "ratio_to_floor": ratio,
                    "extra_mebibytes": measuring.peak_beside(of_copies[0][name], self.device),
                }
            )
        _forget(self.device)


def measure(sizes, device, clock, save=lambda found: None):
    """Return everything measured, as what JSON holds; `save` receives what there is after every part."""
    runs = Runs(sizes, device, clock)
    found = {"machine": machine(device), "rows": runs.records, "left_out": runs.left_out}
    policy, step = _tried_small(runs)
    actions, kinds = sizes.error_actions, inputs.KINDS + inputs.MASKED_KINDS
    runs.checked("agreement", policy, lambda one: accuracy.assert_agreement(device, one, {}, actions))
    runs.checked("agreement", step, lambda one: accuracy.assert_agreement(device, {}, one, actions))
    found["errors"] = runs.checked("errors", policy, lambda one: accuracy.errors(device, one, kinds, actions))
    save(found)
    found["rates"] = measure_logits(runs)
    save(found)
    found["rates"] |= measure_hidden(runs)
    found["hidden_errors"] = hidden_errors(runs)
    found["machine"]["seconds"] = round(time.monotonic() - runs.started)
    save(found)
    return found


def _tried_small(runs):
    """Return the methods that work on a few rows: a library that fails here takes no part."""
    z = inputs.hard_logits("ordinary", runs.sizes.error_actions, torch.float32, runs.device)
    tokens, u = z.argmin(dim=-1), inputs.step_of(z.shape, torch.float32, runs.device)
    tried = []
    for given, others in ((of_policy(), (z, tokens)), (of_step(), (z, u))):
        work = runs.usable("a few rows", [{n: tasks.without_graph(m, *others) for n, m in given.items()}])
        tried.append({name: method for name, method in given.items() if name in work})
    return tried


def of_policy():
    """Return the methods of the forward task; torch alone, piece by piece, is for processors."""
    return {name: method for name, method in methods.of_policy().items() if name != methods.EAGER}


def of_step():
    """Return the methods of the step task, likewise."""
    return {name: method for name, method in methods.of_step().items() if name != methods.EAGER}


def measure_logits(runs):
    """Time what starts from logits; return the copy's rate, in bytes a second."""
    shape, device = (runs.sizes.rows, runs.sizes.actions), runs.device
    z = [inputs.logits_of(shape, torch.bfloat16, device, seed=k) for k in range(COPIES)]
    tokens, buffer = inputs.tokens_of(shape, device), torch.zeros_like(z[0])
    size = z[0].nbytes
    copies = [runs.clock(lambda k=k: buffer.copy_(z[k % COPIES])) for k in range(runs.sizes.turns + 1)][1:]
    rate = 2 * size / statistics.median(copies)

    def at_the_copys_rate(arrays):
        return {"floor: at the copy's rate": arrays * size / rate}

    forward = of_policy() | {ENTROPY_ALONE: lambda logits, _: batched.entropy(logits)}
    runs.race(
        tasks.FORWARD,
        [{n: tasks.without_graph(m, x, tokens) for n, m in forward.items()} | _sum("floor", x) for x in z],
        at_the_copys_rate(1),
    )
    runs.race(
        tasks.BACKWARD,
        [
            {
                n: tasks.gradient_run(m, x, tokens)
                for n, m in tasks.backward_methods(of_policy(), buffer).items()
            }
            | {"floor: a sum, and a copy": lambda x=x: (_sum("", x)[": torch.sum"](), buffer.copy_(x))}
            for x in z
        ],
        at_the_copys_rate(3),
    )
    u = [inputs.step_of(shape, torch.bfloat16, device) for _ in range(COPIES)]
    runs.race(
        tasks.STEP,
        [
            {n: tasks.without_graph(m, x, y) for n, m in of_step().items()} | _sum("floor", x, y)
            for x, y in zip(z, u, strict=True)
        ],
        at_the_copys_rate(2),
    )
    return {"bytes_per_second_of_a_copy": rate}


def _sum(name, *tensors):
    return {f"{name}: torch.sum": lambda: [t.sum(dtype=torch.float32) for t in tensors]}


def measure_hidden(runs):
    """Time what starts from hidden states; return the rate of the bare product, in operations a second."""
    rows, actions, features = runs.sizes[:3]
    data = [
        inputs.hidden_states(rows, actions, features, torch.bfloat16, runs.device, seed=k)
        for k in range(COPIES)
    ]
    tokens = inputs.tokens_of((rows, actions), runs.device)
    products = [{"floor: bare product": lambda h=h, w=w: torch.mm(h, w.t())} for h, w in data]
    forward = methods.of_hidden().items()
    runs.race(
        HIDDEN_FORWARD,
        [
            {n: tasks.without_graph(m, h, w, tokens) for n, m in forward} | product
            for (h, w), product in zip(data, products, strict=True)
        ],
        {},
    )
    pulled = inputs.logits_of((rows, actions), torch.bfloat16, runs.device, scale=1 / actions)
    runs.race(
        HIDDEN_BACKWARD,
        [
            {n: _backward_run(m, h, w, tokens) for n, m in forward}
            | {
                "floor: two products": lambda h=h, w=w: (pulled @ w, pulled.t() @ h),
                MADE_AGAIN: lambda h=h, w=w: (pulled @ w, pulled.t() @ h, h @ w.t()),
            }
            for h, w in data
        ],
        {},
    )
    floors = (r["floor_seconds"] for r in runs.records if r["task"] == HIDDEN_FORWARD)
    return {"operations_per_second_of_a_product": 2 * rows * actions * features / next(floors)}


def _backward_run(method, states, matrix, tokens):
    """Return a run of the backward pass alone; its forward pass happens at the first call and is kept."""
    leaves = [x.detach().requires_grad_() for x in (states, matrix)]
    kept = []

    def run():
        if not kept:
            kept.append(method(*leaves, tokens)[0].sum())
        return torch.autograd.grad(kept[0], leaves, retain_graph=True)

    return run


def hidden_errors(runs):
    """Return the errors from hidden states of the methods that work."""
    rows, actions, features = runs.sizes.error_rows, runs.sizes.error_actions, runs.sizes.features
    known = {r["method"] for r in runs.records if r["task"] == HIDDEN_BACKWARD}
    compared = {name: method for name, method in methods.of_hidden().items() if name in known}

    def errors(one):
        return accuracy.hidden_errors(runs.device, one, rows, actions, features)

    return runs.checked("errors from hidden states", compared, errors)


def _forget(device):
    """Give memory back that nobody holds."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()


def by_events(run):
    """Return the seconds that a run takes on the present CUDA device, by its own clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    result = run()
    end.record()
    torch.cuda.synchronize()
    del result
    return start.elapsed_time(end) / 1000


def machine(device):
    """Return what the numbers depend on."""
    found = {
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "device": properties.name,
            "driver": _driver(),
            "CUDA": torch.version.cuda,
            "multiprocessors": properties.multi_processor_count,
            "memory, GiB": round(properties.total_memory / 2**30, 1),
            "second-level cache, MiB": round(properties.L2_cache_size / 2**20, 1),
        }
    return found


def _driver():
    """Return the driver's version as nvidia-smi tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return said.strip().splitlines()[0]
    return "not told"


def _version(package):
    try:
        return methods.distribution(package).version
    except methods.PackageNotFoundError:
        return "not installed"
