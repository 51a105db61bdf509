"""Read large logits once: blocks that fit the cache, sums made while they are there, states that merge.

A row is cut into blocks of one to two thousand actions, on a CUDA device into as many runs as keep it busy,
and each is reduced to its sums. `kernels` do that: in C++ on the processor, where there is a compiler, and in
Triton on a CUDA device, where that is installed. Elsewhere a function of `_sums` in torch does, compiled by
torch where that works, or as it stands, on pieces small enough for the cache. What is kept grows with the
number of blocks, not with the number of actions.
"""

import functools
import warnings

import torch

from entropy_core.batched import _sums
from entropy_core.batched.kernels import _rows as processor

__all__: list[str] = []

SHORTEST_BLOCK, LONGEST_BLOCK = 1024, 2048
LARGE = 2**22  # elements from which one read is worth a block structure and a compiler
CACHED = 2**19  # elements of a piece whose temporaries stay in cache
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
    states = [
        _sums.merge_policy(_sums.policy_state(policy_terms(z, scale), scale)) for (z,) in _pieces(logits)
    ]
    return _sums.PolicySums(*_in_shape(states, logits.shape[:-1]))


def policy_terms(z: torch.Tensor, scale: float) -> torch.Tensor:
    """Return what `_sums.policy_terms` gives of every block of rows [rows, actions]: [5, rows, blocks]."""
    if kernels := _kernels(z):
        return kernels.policy(z, scale)
    factor = None if scale == 1 else torch.tensor(scale, dtype=_sums.accumulating(z.dtype), device=z.device)
    return torch.stack(_block_terms(_sums.policy_terms, [z], factor))


@torch.no_grad()
def step_sums(logits: torch.Tensor, delta_logits: torch.Tensor) -> _sums.StepSums:
    """Return the state of every row of logits and their step in float64, from one read of each."""
    logits, delta_logits = torch.broadcast_tensors(logits, delta_logits)
    states = [
        _sums.merge_step(_sums.step_state(_step_terms(*piece))) for piece in _pieces(logits, delta_logits)
    ]
    policy, *others = _in_shape([(torch.stack(s.policy, dim=-1), *s[1:]) for s in states], logits.shape[:-1])
    return _sums.StepSums(_sums.PolicySums(*policy.unbind(-1)), *others)


def _step_terms(z, u):
    kernels = _kernels(z, u)
    return kernels.step(z, u).double() if kernels else _block_terms(_sums.step_terms, [z, u])


def moved_sums(logits: torch.Tensor, delta_logits: torch.Tensor, sums: _sums.StepSums) -> _sums.PolicySums:
    """Return the state of every row of logits + step about the origin m + c of `sums`; reads both again.

    For steps of a range beyond `_sums.NEAR`. The others' rows are given a peak of NaN: a kernel on a device
    need not read them, and what comes of them is not used.
    """
    with torch.no_grad():
        logits, delta_logits = torch.broadcast_tensors(logits, delta_logits)
        peaks = torch.where(_sums.is_near(sums), torch.nan, sums.policy.peak)
        origins = [x.reshape(-1) for x in (peaks, sums.origin)]
        states, first = [], 0
        for z, u in _pieces(logits, delta_logits):
            peak, origin = (x[first : first + len(z)] for x in origins)
            states.append(_sums.merge_policy(_sums.policy_state(_moved_terms(z, u, peak, origin))))
            first += len(z)
        return _sums.PolicySums(*_in_shape(states, logits.shape[:-1]))


def _moved_terms(z, u, peak, origin):
    if kernels := _kernels(z, u):
        return kernels.moved(z, u, peak, origin)
    dtype = _sums.accumulating(torch.promote_types(z.dtype, u.dtype))
    per_row = (x.to(dtype)[:, None, None] for x in (peak, origin))
    return _block_terms(_sums.moved_terms, [z, u], *per_row)


def _kernels(*tensors):
    """Return the kernels for tensors of one type where they are, in C++ or in Triton, or None."""
    if tensors[0].device.type == "cpu":
        kernels = processor
    else:  # imports Triton, which who reads on the processor need not wait for
        from entropy_core.batched.kernels import _triton_rows as kernels
    return kernels if kernels.serve(*tensors) else None


def write_pullback(logits, scale, peak, coefficients, counted, out):
    """Write e^a (level + slope a + bend a²) with a = scale · z − peak into `out`; 0 in rows not counted.

    One read and one write. What a row needs is one float64 number each; the coefficients carry the factor
    1/S and are made in float64, where they may nearly cancel.
    """
    dtype = _sums.accumulating(logits.dtype)
    per_row = torch.stack([x.reshape(-1).to(dtype) for x in (peak / scale, *coefficients, counted)], dim=-1)
    rows, written = _rows(logits), out.view(-1, out.shape[-1])
    kernels = _kernels(logits)
    if kernels and rows.stride(-1) == 1:
        kernels.pullback(rows, written, scale, per_row)
        return
    factor = None if scale == 1 else torch.tensor(scale, dtype=dtype, device=logits.device)
    for span in _spans(*rows.shape, AT_ONCE if _compiles(logits) else CACHED):
        _run(_pullback, (rows[span], written[span], factor, per_row[span].unsqueeze(-1).unbind(1)))


def _pullback(z, out, factor, per_row):
    """Elementwise: gaps end where e^a is 0, so that forbidden actions get 0."""
    peak, level, slope, bend, counted = per_row
    a = _sums.gaps(z.to(peak.dtype), peak, factor)
    out.copy_(torch.where(counted != 0, _sums.exponentials(a) * (level + a * (slope + a * bend)), 0.0))


def _pieces(*tensors):
    """Yield the rows of tensors of one shape in pieces, each as tensors [rows, actions] of one type."""
    tensors = [_rows(t).resolve_neg() for t in tensors]
    dtype = functools.reduce(torch.promote_types, (t.dtype for t in tensors))
    copied = any(t.stride(-1) != 1 or t.dtype != dtype for t in tensors)
    kernels = None if copied else _kernels(*tensors)
    for span in _spans(*tensors[0].shape, LARGE if copied else kernels.AT_ONCE if kernels else AT_ONCE):
        yield [t[span].to(dtype).contiguous() if copied else t[span] for t in tensors]


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
    """Return the reductions of all blocks of a piece in torch, [rows, blocks]; the rest is a block too."""
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
    if _compiles(*whole):
        return _run(reduce, (*whole, *extra))
    rows, blocks, length = whole[0].shape
    terms = None
    for span in _spans(rows, blocks * length, CACHED):
        part = reduce(*(t[span] for t in whole), *(x[span] if _is_per_row(x) else x for x in extra))
        terms = terms or [t.new_empty(rows, blocks) for t in part]
        for written, t in zip(terms, part, strict=True):
            written[span] = t
    return terms


def _is_per_row(x):
    return x is not None and x.ndim > 0


def _in_shape(states, batch):
    """Join the pieces of every field, one row after another, and give it the shape of the batch."""
    joined = (torch.cat(parts) for parts in zip(*states, strict=True))
    return [x.reshape(*batch, *x.shape[1:]) for x in joined]


class _Compiler:
    """Whether torch.compile makes machine code for a device; found out at the first large call there."""

    works = True


_compiler = _Compiler()


def _compiles(*tensors):
    """Return whether torch.compile serves these tensors: on a device, where it works."""
    return _compiler.works and tensors[0].device.type != "cpu"


def _run(function, arguments):
    """Call a function compiled where that works, as it stands elsewhere."""
    if _compiles(arguments[0]):
        try:
            return _compiled(function)(*arguments)
        except torch._inductor.exc.InductorError as error:
            _compiler.works = False
            warnings.warn(
                f"torch.compile does not work here ({str(error).splitlines()[0]}); logits are read piece by "
                "piece without it, two to four times slower. Install Triton.",
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
