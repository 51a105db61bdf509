"""The sums of `entropy_core.batched._sums` over runs of a row, for rows in the memory of a CUDA device.

Kernels in Triton, compiled at the first call in some seconds and kept in the user's cache. The functions are
those of `_rows`, with the same fields, in float64, one run of a row where there a block stands:

    serve(*tensors)              whether all are on a CUDA device and Triton is there
    policy(z, scale)             [5, rows, runs]   fields of `_sums.policy_terms`
    step(z, u)                   [15, rows, runs]  fields of `_sums.step_terms`
    moved(z, u, peak, origin)    [5, rows, runs]   fields of `_sums.moved_terms`
    pullback(z, out, scale, per_row)               e^a (level + slope a + bend a²) into `out`

A program of one warp reads a run of a row, block after block, each once; nothing is shared between warps and
none waits for another. It keeps one peak and, about it, sums by lane: what a lane holds of a block is added
in float32, some dozens of terms, and goes to the lane's sum in float64. A block that reaches the peak, and
few do, first moves the sums and takes its modes out; every action left then has e^a in the sum of the others.

Within a kernel gaps are counted in octaves, a = scale · (z − m) · log₂ e, so that e^a is one instruction;
they end at −160 (float64: −1100), where e^a is 0. NaN and +inf make NaN of their row's sums.

Blocks begin where addresses are multiples of 16 bytes, whatever the rows' length: the actions before the
first and behind the last of them are read together. How a row is cut depends on shape, type and address, not
on the device.
"""

from __future__ import annotations  # of the kernels, which are read without Triton too

from typing import no_type_check

import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # the kernels are then read and never run: see `serve`
    triton = None

__all__: list[str] = []

POLICY_FIELDS, STEP_FIELDS = 5, 15
LANES = 32  # of a warp
BLOCKS = {2: 1024, 4: 1024, 8: 256}  # actions that a program reads at once, by their size in bytes
STEP_BLOCKS = {2: 512, 4: 256, 8: 64}  # the same of two arrays
REGISTERS = 136  # of a lane: at least 15 warps share a multiprocessor
PROGRAMS = 2**13  # what fills a large device some times over
SHORTEST_RUN = 8  # blocks
AT_ONCE = 2**62  # elements: as many as there are
ALIGNED = 16  # bytes: what a lane loads at once
# a kernel is compiled once for each type, whatever these are; what it must know of alignment it computes
LEADS, STRIDES = ("z_lead", "u_lead", "out_lead"), ("z_stride", "u_stride", "out_stride")
ANY = ("z_ptr", "u_ptr", *LEADS, *STRIDES, "actions", "runs")


def jit(function):
    """Return a kernel, or the function as it stands where there is no Triton."""
    return triton.jit(function, do_not_specialize=ANY) if triton else function


def serve(*tensors: torch.Tensor) -> bool:
    """Return whether kernels exist for these tensors, there and here."""
    has_cuda = triton is not None and torch.version.hip is None
    return has_cuda and all(t.device.type == "cuda" for t in tensors)


def policy(z: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the fields of `_sums.policy_terms`, shape [5, rows, runs]."""
    block = BLOCKS[z.element_size()]
    out, length = _room(POLICY_FIELDS, z, block)
    step = {"u_ptr": None, "u_lead": 0, "u_stride": 0, "peak_ptr": None, "origin_ptr": None, "ALIKE": False}
    _launch(policy_kernel, z, length, out_ptr=out, scale=scale, BLOCK=block, **step)
    return out


def moved(z: torch.Tensor, u: torch.Tensor, peak: torch.Tensor, origin: torch.Tensor) -> torch.Tensor:
    """Return the fields of `_sums.moved_terms`, shape [5, rows, runs], from one peak and origin a row.

    Rows whose peak is NaN are not read and come out as rows of no action.
    """
    block = STEP_BLOCKS[z.element_size()]
    out, length = _room(POLICY_FIELDS, z, block)
    step = _second(z, u, "u") | {
        "peak_ptr": peak.double().contiguous(),
        "origin_ptr": origin.double().contiguous(),
    }
    _launch(policy_kernel, z, length, out_ptr=out, scale=1.0, BLOCK=block, **step)
    return out


def step(z: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Return the fields of `_sums.step_terms`, shape [15, rows, runs]."""
    block = STEP_BLOCKS[z.element_size()]
    out, length = _room(STEP_FIELDS, z, block)
    _launch(step_kernel, z, length, out_ptr=out, BLOCK=block, **_second(z, u, "u"))
    return out


def pullback(z: torch.Tensor, out: torch.Tensor, scale: float, per_row: torch.Tensor) -> None:
    """Write e^a (level + slope a + bend a²) into `out`; a row's five numbers: peak, the three, counted."""
    block = BLOCKS[z.element_size()]
    written = _second(z, out, "out") | {"number_ptr": per_row.double().contiguous()}
    _launch(pullback_kernel, z, _length(*z.shape, block), scale=scale, BLOCK=block, **written)


def _length(rows, actions, block):
    """Return the length of a run, in whole blocks."""
    wanted = -(-PROGRAMS // rows)
    return block * max(SHORTEST_RUN, -(-actions // (wanted * block)))


def _room(fields, z, block):
    """Return memory for what runs leave behind, and their length."""
    length = _length(*z.shape, block)
    runs = -(-z.shape[1] // length)
    return torch.empty(fields, len(z), runs, dtype=torch.float64, device=z.device), length


def _lead(x):
    """Return how many elements lie between the multiple of `ALIGNED` bytes before a tensor and its first."""
    return x.data_ptr() % ALIGNED // x.element_size()


def _second(z, x, name):
    """Return what a kernel is told of a second array, and whether its rows are aligned as z's are."""
    stride, width = x.stride(0), ALIGNED // x.element_size()
    alike = x.dtype == z.dtype and _lead(x) == _lead(z) and (stride - z.stride(0)) % width == 0
    return {f"{name}_ptr": x, f"{name}_lead": _lead(x), f"{name}_stride": stride, "ALIKE": alike}


def _launch(kernel, z, length, **arguments):
    """Run a program of one warp for each run of a row, on the device where these are."""
    rows, actions = z.shape
    runs = -(-actions // length)
    shape = {"z_lead": _lead(z), "z_stride": z.stride(0), "actions": actions, "length": length, "runs": runs}
    with torch.cuda.device_of(z):
        kernel[(rows * runs,)](
            z_ptr=z, **shape, **arguments, LANES=LANES, num_warps=LANES // 32, maxnreg=REGISTERS
        )


@jit
@no_type_check
def policy_kernel(
    z_ptr,
    z_lead,
    z_stride,
    u_ptr,
    u_lead,
    u_stride,
    peak_ptr,
    origin_ptr,
    out_ptr,
    actions,
    length,
    runs,
    scale: tl.float64,
    ALIKE: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    """Write the fields of `_sums.policy_terms` of one run; where there is a step, of `_sums.moved_terms`."""
    A: tl.constexpr = tl.float64 if z_ptr.dtype.element_ty == tl.float64 else tl.float32
    WIDTH: tl.constexpr = 128 // z_ptr.dtype.element_ty.primitive_bitwidth
    row, first, length = run_of(actions, length, runs)
    z_ptr, z_start = tl.multiple_of(z_ptr - z_lead, 16), z_lead + row * z_stride + first
    if u_ptr is not None:
        before, origin = tl.load(peak_ptr + row).to(A), tl.load(origin_ptr + row).to(A)
        length = tl.where(before == before, length, 0)  # a peak of NaN asks for nothing to be read
    head, blocks, ragged = cut(z_start, length, BLOCK, WIDTH)
    z_begin = tl.multiple_of(z_start + head, WIDTH)
    if u_ptr is not None:
        u_ptr, u_start = tl.multiple_of(u_ptr - u_lead, 16), u_lead + row * u_stride + first
        u_begin = tl.multiple_of(u_start + head, WIDTH) if ALIKE else u_start + head
    factor = tl.full((), scale * 1.4426950408889634, A)
    zero = tl.full((LANES,), 0.0, tl.float64)
    peak, sums = tl.full((), float("-inf"), A), (zero, zero, zero, zero)
    i = tl.arange(0, BLOCK)
    for k in range(0, blocks):
        z = tl.load(z_ptr + z_begin + (k * BLOCK + i)).to(A)
        if u_ptr is not None:
            z = after(z, tl.load(u_ptr + u_begin + (k * BLOCK + i)).to(A), before, origin)
        peak, sums = add_policy(peak, sums, z, factor, LANES, WIDTH)
    for k in range(0, ragged, BLOCK):
        at = outside(k + i, head, blocks * BLOCK)
        z = tl.load(z_ptr + z_start + at, mask=at < length, other=float("-inf")).to(A)
        if u_ptr is not None:
            z = after(z, tl.load(u_ptr + u_start + at, mask=at < length, other=0.0).to(A), before, origin)
        peak, sums = add_policy(peak, sums, z, factor, LANES, WIDTH)
    write(out_ptr, policy_fields(peak, sums, scale / factor.to(tl.float64)))


@jit
@no_type_check
def step_kernel(
    z_ptr,
    z_lead,
    z_stride,
    u_ptr,
    u_lead,
    u_stride,
    out_ptr,
    actions,
    length,
    runs,
    ALIKE: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    """Write the fields of `_sums.step_terms` of one run."""
    A: tl.constexpr = tl.float64 if z_ptr.dtype.element_ty == tl.float64 else tl.float32
    WIDTH: tl.constexpr = 128 // z_ptr.dtype.element_ty.primitive_bitwidth
    row, first, length = run_of(actions, length, runs)
    z_ptr, z_start = tl.multiple_of(z_ptr - z_lead, 16), z_lead + row * z_stride + first
    u_ptr, u_start = tl.multiple_of(u_ptr - u_lead, 16), u_lead + row * u_stride + first
    head, blocks, ragged = cut(z_start, length, BLOCK, WIDTH)
    z_begin = tl.multiple_of(z_start + head, WIDTH)
    u_begin = tl.multiple_of(u_start + head, WIDTH) if ALIKE else u_start + head
    factor = tl.full((), 1.4426950408889634, A)
    zero = tl.full((LANES,), 0.0, tl.float64)
    policy, step = (zero, zero, zero, zero), (zero, zero, zero, zero, zero, zero, zero)
    place = tl.full((), float("-inf"), A), tl.full((), 0.0, A)
    reach = tl.full((LANES,), float("-inf"), A), tl.full((LANES,), float("inf"), A)
    i = tl.arange(0, BLOCK)
    for k in range(0, blocks):
        z = tl.load(z_ptr + z_begin + (k * BLOCK + i)).to(A)
        u = tl.load(u_ptr + u_begin + (k * BLOCK + i)).to(A)
        place, policy, step, reach = add_step(place, policy, step, reach, z, u, factor, LANES, WIDTH)
    for k in range(0, ragged, BLOCK):
        at = outside(k + i, head, blocks * BLOCK)
        z = tl.load(z_ptr + z_start + at, mask=at < length, other=float("-inf")).to(A)
        u = tl.load(u_ptr + u_start + at, mask=at < length, other=0.0).to(A)
        place, policy, step, reach = add_step(place, policy, step, reach, z, u, factor, LANES, WIDTH)
    write(out_ptr, step_fields(place, policy, step, reach, 1 / factor.to(tl.float64)))


@jit
@no_type_check
def pullback_kernel(
    z_ptr,
    z_lead,
    z_stride,
    out_ptr,
    out_lead,
    out_stride,
    number_ptr,
    actions,
    length,
    runs,
    scale: tl.float64,
    ALIKE: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    """Write e^a (level + slope a + bend a²) at the actions of one run, 0 where its row does not count."""
    A: tl.constexpr = tl.float64 if z_ptr.dtype.element_ty == tl.float64 else tl.float32
    WIDTH: tl.constexpr = 128 // z_ptr.dtype.element_ty.primitive_bitwidth
    row, first, length = run_of(actions, length, runs)
    z_ptr, z_start = tl.multiple_of(z_ptr - z_lead, 16), z_lead + row * z_stride + first
    out_ptr, start = tl.multiple_of(out_ptr - out_lead, 16), out_lead + row * out_stride + first
    head, blocks, ragged = cut(z_start, length, BLOCK, WIDTH)
    z_begin = tl.multiple_of(z_start + head, WIDTH)
    begin = tl.multiple_of(start + head, WIDTH) if ALIKE else start + head
    factor = tl.full((), scale * 1.4426950408889634, A)
    octave = scale / factor.to(tl.float64)
    number_ptr += row * 5
    peak, level = tl.load(number_ptr).to(A), tl.load(number_ptr + 1).to(A)
    slope, bend = (octave * tl.load(number_ptr + 2)).to(A), (octave * octave * tl.load(number_ptr + 3)).to(A)
    counted = tl.load(number_ptr + 4) != 0
    i = tl.arange(0, BLOCK)
    for k in range(0, blocks):
        a = octaves(tl.load(z_ptr + z_begin + (k * BLOCK + i)).to(A), peak, factor)
        found = tl.where(counted, tl.exp2(a) * (level + a * (slope + a * bend)), 0.0)
        tl.store(out_ptr + begin + (k * BLOCK + i), found)
    for k in range(0, ragged, BLOCK):
        at = outside(k + i, head, blocks * BLOCK)
        a = octaves(tl.load(z_ptr + z_start + at, mask=at < length, other=float("-inf")).to(A), peak, factor)
        found = tl.where(counted, tl.exp2(a) * (level + a * (slope + a * bend)), 0.0)
        tl.store(out_ptr + start + at, found, mask=at < length)


@jit
@no_type_check
def run_of(actions, length, runs):
    """Return a program's row, its first action and how many it reads."""
    row, first = tl.program_id(0) // runs, tl.program_id(0) % runs * length
    return row.to(tl.int64), first, tl.minimum(length, actions - first)


@jit
@no_type_check
def cut(start, length, BLOCK: tl.constexpr, WIDTH: tl.constexpr):
    """Return how many places there are to a multiple of WIDTH, whole blocks from there, actions in none."""
    head = (-start & (WIDTH - 1)).to(tl.int32)
    blocks = tl.maximum(length - head, 0) // BLOCK
    return head, blocks, length - blocks * BLOCK


@jit
@no_type_check
def outside(j, head, inside):
    """Return the places of actions that are in no block: before them, then behind."""
    return tl.where(j < head, j, j + inside)


@jit
@no_type_check
def write(out_ptr, fields):
    """Write the fields of this program's run."""
    out_ptr += tl.program_id(0)
    for k in tl.static_range(len(fields)):
        tl.store(out_ptr + k * tl.num_programs(0).to(tl.int64), fields[k])


@jit
@no_type_check
def octaves(z, peak, factor):
    """Return the gaps in octaves, ended where their weight is 0; NaN stays."""
    LOWEST: tl.constexpr = -1100.0 if z.dtype == tl.float64 else -160.0
    a = (z - tl.where(peak == float("-inf"), 0.0, peak)) * factor
    return tl.maximum(a, LOWEST, propagate_nan=tl.PropagateNan.ALL)


@jit
@no_type_check
def octaves_between(peak, top, factor):
    """Return the gap of a lower peak in float64, ended where its weight is 0."""
    return tl.maximum((peak.to(tl.float64) - top.to(tl.float64)) * factor.to(tl.float64), -1100.0)


@jit
@no_type_check
def by_lane(x, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """Return the sums of what each lane has loaded of a block, in float64."""
    return tl.sum(tl.sum(tl.reshape(x, (x.shape[0] // (LANES * WIDTH), LANES, WIDTH)), 2), 0).to(tl.float64)


@jit
@no_type_check
def after(z, u, peak, origin):
    """Return the logits after a step, (z − m) + (Δz − c); forbidden actions stay so."""
    return tl.where(z == float("-inf"), z, (z - peak) + (u - origin))


@jit
@no_type_check
def add_policy(peak, sums, z, factor, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """Add a block to a peak and the sums about it by lane."""
    top = tl.max(z, 0)
    if top > peak:
        sums = move_policy(sums, octaves_between(peak, top, factor))
        peak = top
    if (top == peak) & (tl.abs(top) < float("inf")):
        rest, modes, gap, gap_gap = sums
        sums = rest, modes + by_lane(tl.where(z == top, 1.0, 0.0).to(z.dtype), LANES, WIDTH), gap, gap_gap
        z = tl.where(z == top, float("-inf"), z)
    a = octaves(z, peak, factor)
    return peak, add_policy_terms(sums, a, tl.exp2(a), LANES, WIDTH)


@jit
@no_type_check
def add_policy_terms(sums, a, e, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """Add to Σ e^a without modes, modes, Σ a e^a and Σ a² e^a by lane; the modes are taken out already."""
    rest, modes, gap, gap_gap = sums
    ae = a * e
    rest += by_lane(e, LANES, WIDTH)
    gap += by_lane(ae, LANES, WIDTH)
    gap_gap += by_lane(a * ae, LANES, WIDTH)
    return rest, modes, gap, gap_gap


@jit
@no_type_check
def move_policy(sums, delta):
    """Return sums about a higher peak, from which the old one has the gap δ; its modes are none any more."""
    rest, modes, gap, gap_gap = sums
    weight, total = tl.exp2(delta), rest + modes
    gap_gap = weight * (gap_gap + delta * (2 * gap + delta * total))
    return weight * total, modes * 0, weight * (gap + delta * total), gap_gap


@jit
@no_type_check
def policy_fields(peak, sums, octave):
    """Return the fields of `_sums.policy_terms`; an octave is so many nats."""
    rest, modes, gap, gap_gap = sums
    below = tl.sum(rest, 0)
    total = below + tl.sum(modes, 0)
    return peak.to(tl.float64), total, below, octave * tl.sum(gap, 0), octave * octave * tl.sum(gap_gap, 0)


@jit
@no_type_check
def add_step(place, policy, step, reach, z, u, factor, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """Add a block to (m, c), the policy's and the step's sums by lane, each lane's largest and smallest v."""
    peak, origin = place
    top = tl.max(z, 0)
    if top > peak:
        i = tl.arange(0, z.shape[0])
        new = tl.sum(tl.where(i == tl.min(tl.where(z == top, i, z.shape[0]), 0), u, 0.0), 0)
        delta = octaves_between(peak, top, factor)
        epsilon = tl.where(peak == float("-inf"), 0.0, origin.to(tl.float64) - new.to(tl.float64))
        step = move_step(policy, step, delta, epsilon)
        policy = move_policy(policy, delta)
        reach = reach[0] + epsilon.to(z.dtype), reach[1] + epsilon.to(z.dtype)
        peak, origin = top, new
    a = octaves(z, peak, factor)
    e = tl.exp2(a)
    v = tl.where(z == float("-inf"), 0.0, u - origin)
    reach = widened(reach, v, LANES, WIDTH)
    step = add_step_terms(step, a, e, v, reach, LANES, WIDTH)
    if (top == peak) & (top > float("-inf")):
        rest, modes, gap, gap_gap = policy
        policy = rest, modes + by_lane(tl.where(a == 0, 1.0, 0.0).to(a.dtype), LANES, WIDTH), gap, gap_gap
        e = tl.where(a == 0, 0.0, e)
    return (peak, origin), add_policy_terms(policy, a, e, LANES, WIDTH), step, reach


@jit
@no_type_check
def add_step_terms(step, a, e, v, reach, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """Add to Σ v e, Σ a v e, Σ v² e, Σ a v² e, Σ (g − v) e, Σ a g e and Σ v g e by lane."""
    shift, gap_shift, shift_shift, gap_shift_shift, growth, gap_growth, shift_growth = step
    ve = v * e
    vve = v * ve
    shift += by_lane(ve, LANES, WIDTH)
    gap_shift += by_lane(a * ve, LANES, WIDTH)
    shift_shift += by_lane(vve, LANES, WIDTH)
    gap_shift_shift += by_lane(a * vve, LANES, WIDTH)
    beyond = e * excess(v, tl.max(tl.maximum(reach[0], -reach[1]), 0))
    growth += by_lane(beyond, LANES, WIDTH)
    gap_growth += by_lane(a * (ve + beyond), LANES, WIDTH)
    shift_growth += by_lane(v * (ve + beyond), LANES, WIDTH)
    return shift, gap_shift, shift_shift, gap_shift_shift, growth, gap_growth, shift_growth


@jit
@no_type_check
def excess(v, largest):
    """Return e^v − 1 − v of v²/2 to its own digits; e^v = 2^k e^r with whole k where v is not small."""
    if v.dtype == tl.float32:
        if largest <= 0.25:
            found = v * v * (0.5 + v * (1 / 6 + v * (1 / 24 + v * (1 / 120 + v * (1 / 720)))))
        else:
            k = tl.floor(v * 1.4426950408889634 + 0.5)
            scale, r = tl.exp2(k), v - k * 0.6931471805599453
            bend = (
                r
                * r
                * (0.5 + r * (0.16666577 + r * (0.0416665547 + r * (0.00836317307 + r * 0.00139261761))))
            )
            found = scale * bend + ((scale * r - v) + (scale - 1))
    else:
        series = v * 0 + 1
        for n in tl.static_range(14, 2, -1):
            series = 1 + v * (1 / n) * series
        found = tl.where(tl.abs(v) < 0.5, v * v * 0.5 * series, tl.exp2(v * 1.4426950408889634) - 1 - v)
    return found


@jit
@no_type_check
def widened(reach, v, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """Return each lane's largest and smallest number, those of a block among them."""
    v = tl.reshape(v, (v.shape[0] // (LANES * WIDTH), LANES, WIDTH))
    return tl.maximum(reach[0], tl.max(tl.max(v, 2), 0)), tl.minimum(reach[1], tl.min(tl.min(v, 2), 0))


@jit
@no_type_check
def move_step(policy, step, delta, epsilon):
    """Return the step's sums, gaps grown by δ and shifts by ε, times e^δ: `_sums._move_step`."""
    shift, gap_shift, shift_shift, gap_shift_shift, growth, gap_growth, shift_growth = step
    weight, total, gap = tl.exp2(delta), policy[0] + policy[1], policy[2]
    moved = shift + epsilon * total
    gap_shift, gap_shift_shift, shift_shift = (
        gap_shift + epsilon * gap,
        gap_shift_shift + epsilon * (2 * gap_shift + epsilon * gap),
        shift_shift + epsilon * (shift + moved),
    )
    gap_shift, gap_shift_shift = gap_shift + delta * moved, gap_shift_shift + delta * shift_shift
    small = tl.minimum(tl.maximum(epsilon, -4.0), 4.0)
    beyond = excess(small, tl.abs(small))
    grown, all_growth = small + beyond, growth + shift
    growth += grown * all_growth + beyond * total
    gap_growth = (1 + grown) * (gap_growth + delta * all_growth) + grown * (gap + delta * total)
    shift_growth = (1 + grown) * (shift_growth + small * all_growth) + grown * (shift + small * total)
    return (
        weight * moved,
        weight * gap_shift,
        weight * shift_shift,
        weight * gap_shift_shift,
        weight * growth,
        weight * gap_growth,
        weight * shift_growth,
    )


@jit
@no_type_check
def step_fields(place, policy, step, reach, octave):
    """Return the fields of `_sums.step_terms`; an octave is so many nats."""
    shift, gap_shift, shift_shift, gap_shift_shift, growth, gap_growth, shift_growth = step
    peak, total, below, gap, gap_gap = policy_fields(place[0], policy, octave)
    return (
        peak,
        total,
        below,
        gap,
        gap_gap,
        place[1].to(tl.float64),
        tl.sum(shift, 0),
        octave * tl.sum(gap_shift, 0),
        tl.sum(shift_shift, 0),
        octave * tl.sum(gap_shift_shift, 0),
        tl.sum(growth, 0),
        octave * tl.sum(gap_growth, 0),
        tl.sum(shift_growth, 0),
        tl.max(reach[0], 0).to(tl.float64),
        tl.min(reach[1], 0).to(tl.float64),
    )
