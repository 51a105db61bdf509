"""The sums of `entropy_core.batched._sums` over blocks of a row, for rows in the processor's memory.

`rows.cpp` is compiled by the machine's C++ compiler when it is first needed, in about two seconds, for this
processor, and kept in the user's cache. Where there is no compiler, `serve` says so and nothing here is used.
"""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import torch

__all__: list[str] = []

SOURCE = Path(__file__).with_name("rows.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-trapping-math", "-shared", "-fPIC")
LONGEST_BLOCK = 2048  # as in rows.cpp
AT_ONCE = 2**26  # elements whose block sums take a few megabytes
POLICY_FIELDS, STEP_FIELDS = 5, 15


class _Shape(ctypes.Structure):
    _fields_ = (("rows", ctypes.c_int64), ("actions", ctypes.c_int64), ("threads", ctypes.c_int))


def serve(*tensors: torch.Tensor) -> bool:
    """Return whether kernels exist for tensors of one type, there and here; the first call compiles."""
    (dtype,) = {t.dtype for t in tensors}
    return all(t.device.type == "cpu" for t in tensors) and _kernel("policy", dtype) is not None


def policy(z: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the fields of `_sums.policy_terms`, shape [5, rows, blocks]."""
    out = _room(POLICY_FIELDS, z)
    _run("policy", z, *_rows_of(z), ctypes.c_double(scale), _memory(out))
    return out


def step(z: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Return the fields of `_sums.step_terms`, shape [15, rows, blocks]."""
    out = _room(STEP_FIELDS, z)
    _run("step", z, *_rows_of(z), *_rows_of(u), _memory(out))
    return out


def moved(z: torch.Tensor, u: torch.Tensor, peak: torch.Tensor, origin: torch.Tensor) -> torch.Tensor:
    """Return the fields of `_sums.moved_terms`, shape [5, rows, blocks], from one peak and origin a row."""
    out = _room(POLICY_FIELDS, z)
    peak, origin = peak.to(out.dtype).contiguous(), origin.to(out.dtype).contiguous()
    _run("moved", z, *_rows_of(z), *_rows_of(u), _memory(peak), _memory(origin), _memory(out))
    return out


def pullback(z: torch.Tensor, out: torch.Tensor, scale: float, per_row: torch.Tensor) -> None:
    """Write e^a (level + slope a + bend a²) into `out`; a row's five numbers: peak, the three, counted."""
    numbers = per_row.to(_accumulating(z.dtype)).contiguous()
    _run("pullback", z, *_rows_of(z), _memory(out), ctypes.c_double(scale), _memory(numbers))


def _room(fields, z):
    """Return memory for what blocks leave behind."""
    blocks = -(-z.shape[1] // LONGEST_BLOCK)
    return torch.empty(fields, len(z), blocks, dtype=_accumulating(z.dtype))


def _accumulating(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def _rows_of(tensor):
    return _memory(tensor), ctypes.c_int64(tensor.stride(0))


def _memory(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


def _run(name, z, *arguments):
    shape = _Shape(*z.shape, torch.get_num_threads())
    _kernel(name, z.dtype)(ctypes.byref(shape), *arguments)


@functools.cache
def _kernel(name, dtype):
    """Return a kernel, or None where it cannot be made."""
    return getattr(library(), f"{name}_{str(dtype).removeprefix('torch.')}", None)


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels, or None, with a warning, where there is no compiler."""
    named = os.environ.get("CXX")
    compiler = next(filter(shutil.which, (named,) if named else ("c++", "g++", "clang++")), None)
    try:
        if compiler is None:
            raise FileNotFoundError(f"there is no {named or 'C++ compiler'} on the path")
        return ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        warnings.warn(
            f"Large logits are read in torch, several times slower: the kernels cannot be compiled here "
            f"({said[-1] if said else type(error).__name__}). Install a C++ compiler, or name one in CXX.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _compiled(compiler):
    """Return the path of the library made of this source for this processor, making it if need be."""
    machine = _output(compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull)
    key = hashlib.sha256("\n".join((SOURCE.read_text(encoding="utf-8"), *FLAGS, machine)).encode())
    path = _cache() / f"rows-{key.hexdigest()[:16]}.so"
    if not path.exists():
        unfinished = Path(tempfile.mkstemp(suffix=".so", dir=path.parent)[1])
        try:
            _output(compiler, *FLAGS, "-fopenmp", str(SOURCE), "-o", str(unfinished))
        except subprocess.CalledProcessError:  # a compiler without OpenMP: one thread
            _output(compiler, *FLAGS, str(SOURCE), "-o", str(unfinished))
        unfinished.replace(path)
    return path


def _output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _cache():
    """Return a folder of the user's for compiled kernels, a fresh one where that cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "entropy_core"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="entropy_core-"))
    return folder if os.access(folder, os.W_OK) else Path(tempfile.mkdtemp(prefix="entropy_core-"))
