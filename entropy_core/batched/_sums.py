"""Sums over the actions of a row that merge: what one read of the logits leaves behind.

Over any set of actions take the peak m = max z and the mode's step c, and for every action the gap a = z − m
and the shift v = Δz − c. The sums of e^a, a e^a, a² e^a, v e^a, … over the set are its state. Two states
merge: the one with the lower peak is moved to the other's (m, c), where a grows by δ and v by ε,

    e^a → e^δ e^a,   a → a + δ,   v → v + ε,

and then sums add. So one state serves blocks of a vocabulary, tiles of a product and shards of a row, in any
order and any grouping; the state of no action (peak −inf, every sum 0) changes nothing.

`kernels/rows.cpp` has the functions that reduce a block, `policy_terms`, `step_terms` and `moved_terms`, once
more for rows in the processor's memory; they return the same fields, and end gaps at −87 (float64: −708).
`kernels/_triton_rows.py` has them for rows in a CUDA device's memory, and ends gaps at −111 (float64: −762).

Numerical reasons, once for all. The mode's own term of Σ e^a is exactly 1 and is kept apart: `rest` is the
sum of the others, S = 1 + rest, so that 1 − π(mode) is never a difference. Terms are made in the accumulating
type, a block has at most a few thousand of them, and what the blocks give is merged in float64. Gaps end at
−200 (float64: −800), where e^a is 0 and a e^a too: forbidden actions need no further case. No sum is taken of
values about another origin than the mode's, so a common offset of z or Δz costs no digit.
"""

import math
from typing import NamedTuple

import torch

__all__: list[str] = []

SERIES_TERMS = {torch.float32: 6, torch.float64: 12}
NEAR = 4.0  # range of a step up to which the sums of its growth give the entropy after it


class PolicySums(NamedTuple):
    """State of a set of actions under z: peak m, rest = Σ e^a − 1, Σ a e^a, Σ a² e^a."""

    peak: torch.Tensor
    rest: torch.Tensor
    gap: torch.Tensor
    gap_gap: torch.Tensor


class StepSums(NamedTuple):
    """State of a set of actions under z and a step Δz, about the origin (m, c).

    After the policy's sums: c, Σ v e^a, Σ a v e^a, Σ v² e^a, Σ a v² e^a; with g = expm1(v) for |v| ≤ `NEAR`
    the sums Σ (g − v) e^a, Σ a g e^a, Σ v g e^a; max v and min v.
    """

    policy: PolicySums
    origin: torch.Tensor
    shift: torch.Tensor
    gap_shift: torch.Tensor
    shift_shift: torch.Tensor
    gap_shift_shift: torch.Tensor
    growth: torch.Tensor
    gap_growth: torch.Tensor
    shift_growth: torch.Tensor
    highest: torch.Tensor
    lowest: torch.Tensor


def is_near(sums):
    """Return where the step has so small a range that the growth sums give the entropy after it."""
    return sums.highest - sums.lowest <= NEAR


def accumulating(dtype):
    """Return float64 for float64 and float32 for every other type."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def policy_terms(z, scale):
    """Return m, Σ e^a, the same without modes, Σ a e^a, Σ a² e^a of each block, the last axis, of scale · z.

    Only bare reductions leave: a compiler then walks a block twice in cache and the memory once.
    """
    z = z.to(accumulating(z.dtype))
    peak = z.amax(dim=-1, keepdim=True)
    a = gaps(z, peak, scale)
    e = exponentials(a)
    total, e = e.sum(dim=-1), e.frac_()  # takes out the modes: their weight is 1, their gap 0
    below, ae = e.sum(dim=-1), e.mul_(a)
    return peak.squeeze(-1), total, below, ae.sum(dim=-1), ae.mul_(a).sum(dim=-1)


def step_terms(z, u):
    """Return the reductions of `policy_terms` and those that a step adds, of each block, the last axis."""
    z, u = z.to(accumulating(z.dtype)), u.to(accumulating(z.dtype))
    peak = z.amax(dim=-1, keepdim=True)
    a = gaps(z, peak, None)
    e = exponentials(a)
    origin = torch.where(a == 0, u, -torch.inf).amax(dim=-1, keepdim=True)
    v = torch.where(z == -torch.inf, 0.0, u - origin)
    ae, ve = a * e, v * e
    vve = v * ve
    excess = _excess(v)
    ge = (v + excess) * e
    return (
        peak.squeeze(-1),
        e.sum(dim=-1),
        e.frac().sum(dim=-1),
        ae.sum(dim=-1),
        dot(a, ae),
        origin.squeeze(-1),
        ve.sum(dim=-1),
        dot(a, ve),
        vve.sum(dim=-1),
        dot(a, vve),
        dot(excess, e),
        dot(a, ge),
        dot(v, ge),
        v.amax(dim=-1),
        v.amin(dim=-1),
    )


def moved_terms(z, u, peak, origin):
    """Return the reductions of `policy_terms` of (z − peak) + (Δz − origin); forbidden actions stay so."""
    z, u = z.to(peak.dtype), u.to(peak.dtype)
    return policy_terms(torch.where(z == -torch.inf, z, (z - peak) + (u - origin)), None)


def dot(x, y):
    """Return the sum of products of each block; library dot products would round in an autocast region."""
    return (x * y).sum(dim=-1)


def gaps(z, peak, scale):
    """Return scale · (z − peak), ended where e^a is 0; peak −inf means a block of forbidden actions."""
    lowest = -800.0 if z.dtype == torch.float64 else -200.0
    a = z - torch.where(peak == -torch.inf, 0.0, peak)
    return (a if scale is None else a.mul_(scale)).clamp_(min=lowest)


def exponentials(a):
    """Return e^a as 2^(a log₂ e), relative error up to (1 + |a|) ulp; torch has the faster code for exp2."""
    return (a * math.log2(math.e)).exp2_()


def _excess(v):
    """Return expm1(v) − v: the power series v² Σ v^k / (k + 2)! where the difference would lose digits."""
    series = torch.zeros_like(v)
    for k in range(SERIES_TERMS[v.dtype], -1, -1):
        series = series * v + 1 / math.factorial(k + 2)
    return torch.where(v.abs() < 0.5, v * v * series, torch.expm1(v) - v)


def policy_state(terms, scale=1.0):
    """Return the float64 state of blocks from what `policy_terms` returns."""
    peak, total, below, gap, gap_gap = (x.double() for x in terms)
    modes = (total - below).round()
    return PolicySums(peak * scale, below + (modes - 1), gap, gap_gap)


def step_state(terms):
    """Return the float64 state of blocks from what `step_terms` returns; no action has the origin 0."""
    policy = policy_state(terms[:5])
    origin, *others = (x.double() for x in terms[5:])
    return StepSums(policy, torch.where(policy.peak == -torch.inf, 0.0, origin), *others)


def merge_policy(x: PolicySums) -> PolicySums:
    """Merge the states along the last axis; of the modes' terms one, the top's, stays apart."""
    if x.peak.shape[-1] == 1:
        return PolicySums(*(field.squeeze(-1) for field in x))
    peak, top = x.peak.max(dim=-1, keepdim=True)
    delta = _below(peak, x.peak)
    return PolicySums(peak.squeeze(-1), *_add_policy(x, delta, _is_index(top, x.peak)))


def merge_step(x: StepSums) -> StepSums:
    """Merge the states along the last axis, moved to the origin of the one with the highest peak."""
    if x.origin.shape[-1] == 1:
        return StepSums(merge_policy(x.policy), *(field.squeeze(-1) for field in x[1:]))
    peak, top = x.policy.peak.max(dim=-1, keepdim=True)
    delta = _below(peak, x.policy.peak)
    epsilon = torch.where(delta == -torch.inf, 0.0, x.origin - x.origin.gather(-1, top))
    sums = torch.stack(_move_step(x, torch.where(delta == -torch.inf, 0.0, delta), epsilon))
    weight = torch.exp(delta)
    return StepSums(
        PolicySums(peak.squeeze(-1), *_add_policy(x.policy, delta, _is_index(top, x.policy.peak))),
        x.origin.gather(-1, top).squeeze(-1),
        *torch.where(weight == 0, 0.0, weight * sums).sum(dim=-1),
        (x.highest + epsilon).amax(dim=-1),
        (x.lowest + epsilon).amin(dim=-1),
    )


def _below(peak, own):
    """Return δ = own − peak ≤ 0: −inf for a state of no action, and 0 where every state is one."""
    return torch.where(own == peak, 0.0, own - peak)


def _is_index(top, x):
    return torch.arange(x.shape[-1], device=x.device) == top


def _add_policy(x, delta, is_top):
    """Return rest, Σ a e, Σ a² e of states whose gaps grow by δ, added along the last axis.

    Where e^δ is 0 nothing is added: a logit of −1e308 that stands for −inf has a δ² that overflows.
    """
    weight = torch.exp(delta)
    delta = torch.where(weight == 0, 0.0, delta)
    total = 1 + x.rest
    rest = torch.where(is_top, x.rest, weight * total)
    gap = weight * (x.gap + delta * total)
    gap_gap = weight * (x.gap_gap + delta * (2 * x.gap + delta * total))
    return rest.sum(dim=-1), gap.sum(dim=-1), gap_gap.sum(dim=-1)


def _move_step(x, delta, epsilon):
    """Return the seven sums that hold the step, gaps grown by δ and shifts by ε, before the weight e^δ.

    The last three are used where the whole row's step has range at most `NEAR`, and so has ε.
    """
    total, gap = 1 + x.policy.rest, x.policy.gap
    shift = x.shift + epsilon * total
    gap_shift = x.gap_shift + epsilon * gap
    shift_shift = x.shift_shift + epsilon * (x.shift + shift)
    gap_shift_shift = x.gap_shift_shift + epsilon * (x.gap_shift + gap_shift)
    small = epsilon.clamp(-NEAR, NEAR)
    grown, factor = torch.expm1(small), torch.exp(small)
    all_growth = x.growth + x.shift
    growth = x.growth + grown * all_growth + (grown - small) * total
    gap_growth = factor * (x.gap_growth + delta * all_growth) + grown * (gap + delta * total)
    shift_growth = factor * (x.shift_growth + small * all_growth) + grown * (x.shift + small * total)
    gap_shift, gap_shift_shift = gap_shift + delta * shift, gap_shift_shift + delta * shift_shift
    return shift, gap_shift, shift_shift, gap_shift_shift, growth, gap_growth, shift_growth
