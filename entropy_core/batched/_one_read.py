"""Read large logits once: blocks that fit the cache, sums that a compiler fuses, states that merge.

A row is cut into blocks of one to two thousand actions. Each block is reduced to its sums by one function of
`_sums`, which `torch.compile` turns into a loop that finds the peak and then adds, while the block is in
cache. Where there is no compiler the same function runs as it stands, on pieces small enough for the cache.
What is kept grows with the number of blocks, not with the number of actions.

Compiling takes seconds at the first large call of a type, tens of seconds where nothing was ever compiled;
torch keeps the machine code on disk.
"""

import functools
import warnings

import torch

from entropy_core.batched import _sums

__all__: list[str] = []

SHORTEST_BLOCK, LONGEST_BLOCK = 1024, 2048
LARGE = 2**22  # elements from which one read is worth a block structure and a compiler
CACHED = 2**18  # elements of a piece whose temporaries stay in cache
AT_ONCE = 2**26  # elements of a piece whose block sums take a few megabytes
FUSE_ALL = {"realize_opcount_threshold": 10_000, "realize_reads_threshold": 1_000}
VARIANTS = 64  # of strides, types and axes of length 1 that a compiled function may meet


def is_large(*tensors: torch.Tensor) -> bool:
    """Return whether this is data, no tracer's stand-in for it, and enough of it to be read in blocks."""
    return (
        torch.broadcast_shapes(*(t.shape for t in tensors)).numel() >= LARGE
        and all(type(t) in (torch.Tensor, torch.nn.Parameter) and t.device.type != "meta" for t in tensors)
        and not torch.compiler.is_compiling()
    )


@torch.no_grad()
def policy_sums(logits: torch.Tensor, scale: float = 1.0) -> _sums.PolicySums:
    """Return the state of every row of scale · logits in float64, from one read of the logits."""
    factor = torch.tensor(scale, dtype=_sums.accumulating(logits.dtype), device=logits.device)
    states = [
        _sums.merge_policy(_sums.policy_state(_block_terms(_sums.policy_terms, piece, factor), scale))
        for piece in _pieces(logits)
    ]
    return _sums.PolicySums(*_in_shape(states, logits.shape[:-1]))


@torch.no_grad()
def step_sums(logits: torch.Tensor, delta_logits: torch.Tensor) -> _sums.StepSums:
    """Return the state of every row of logits and their step in float64, from one read of each."""
    logits, delta_logits = torch.broadcast_tensors(logits, delta_logits)
    states = [
        _sums.merge_step(_sums.step_state(_block_terms(_sums.step_terms, piece)))
        for piece in _pieces(logits, delta_logits)
    ]
    flat = [(*s.policy, *s[1:-1], *s.moved) for s in states]
    fields = _in_shape(flat, logits.shape[:-1])
    return _sums.StepSums(_sums.PolicySums(*fields[:4]), *fields[4:-4], _sums.PolicySums(*fields[-4:]))


@torch.no_grad()
def write_pullback(logits, scale, peak, coefficients, counted, out):
    """Write e^a (level + slope a + bend a²) with a = scale · z − peak into `out`; 0 in rows not counted.

    One read and one write. What a row needs is one float64 number each; the coefficients carry the factor
    1/S and are made in float64, where they may nearly cancel.
    """
    dtype = _sums.accumulating(logits.dtype)
    factor = torch.tensor(scale, dtype=dtype, device=logits.device)
    per_row = [x.reshape(-1, 1).to(dtype) for x in (peak / scale, *coefficients)] + [counted.reshape(-1, 1)]
    rows, written = _rows(logits), out.view(-1, out.shape[-1])
    for span in _spans(*rows.shape, AT_ONCE if _compiler.works else CACHED):
        _run(_pullback, (rows[span], written[span], factor, *(x[span] for x in per_row)))


def _pullback(z, out, factor, peak, level, slope, bend, counted):
    """Elementwise: gaps end where e^a is 0, so that forbidden actions get 0."""
    a = _sums.gaps(z.to(peak.dtype), peak, factor)
    out.copy_(torch.where(counted, torch.exp(a) * (level + a * (slope + a * bend)), 0.0))


def _pieces(*tensors):
    """Yield the rows of tensors of one shape in pieces, each as tensors [rows, actions]."""
    tensors = [_rows(t) for t in tensors]
    strided = any(t.stride(-1) != 1 for t in tensors)
    for span in _spans(*tensors[0].shape, LARGE if strided else AT_ONCE):
        yield [t[span].contiguous() if strided else t[span] for t in tensors]


def _rows(tensor):
    return tensor.reshape(-1, tensor.shape[-1])


def _spans(rows, actions, elements):
    """Return slices of consecutive rows with at most so many elements, and at least one row."""
    step = max(1, elements // actions)
    return [slice(start, start + step) for start in range(0, rows, step)]


def block_length(actions: int) -> int:
    """Return the block length, up to 2048, that leaves the shortest rest of a row; the longest of those."""
    if actions <= LONGEST_BLOCK:
        return actions
    return min(range(LONGEST_BLOCK, SHORTEST_BLOCK - 1, -1), key=lambda length: actions % length)


def _block_terms(reduce, piece, *extra):
    """Return the reductions of all blocks of a piece, shape [rows, blocks]; the short rest is a block too."""
    actions = piece[0].shape[-1]
    length = block_length(actions)
    blocks = actions // length
    whole = [t[:, : blocks * length].unflatten(1, (blocks, length)) for t in piece]
    terms = _reduced(reduce, whole, extra)
    if actions % length:
        rest = reduce(*(t[:, None, blocks * length :] for t in piece), *extra)
        terms = [torch.cat(both, dim=1) for both in zip(terms, rest, strict=True)]
    return terms


def _reduced(reduce, whole, extra):
    """Reduce all blocks at once where that compiles, else in pieces whose temporaries stay in cache."""
    if _compiler.works:
        return _run(reduce, (*whole, *extra))
    rows, blocks, length = whole[0].shape
    terms = None
    for span in _spans(rows, blocks * length, CACHED):
        part = reduce(*(t[span] for t in whole), *extra)
        terms = terms or [t.new_empty(rows, blocks) for t in part]
        for written, t in zip(terms, part, strict=True):
            written[span] = t
    return terms


def _in_shape(states, batch):
    """Join the pieces of every field and give it the shape of the batch."""
    return [torch.cat(parts).reshape(batch) for parts in zip(*states, strict=True)]


class _Compiler:
    """Whether torch.compile makes machine code here; found out at the first large call."""

    works = True


_compiler = _Compiler()


def _run(function, arguments):
    """Call a function compiled where that works and pays, as it stands elsewhere."""
    if _compiler.works and arguments[0].numel() > CACHED:
        try:
            return _compiled(function)(*arguments)
        except torch._inductor.exc.InductorError as error:
            _compiler.works = False
            warnings.warn(
                f"torch.compile does not work here ({str(error).splitlines()[0]}); logits are read piece by "
                "piece without it, two to four times slower. Install a C++ compiler (on a GPU: Triton).",
                RuntimeWarning,
                stacklevel=2,
            )
    return function(*arguments)


@functools.cache
def _compiled(function):
    return torch.compile(
        function,
        dynamic=True,
        fullgraph=True,
        options=FUSE_ALL,
        recompile_limit=VARIANTS,
        isolate_recompiles=True,
    )
