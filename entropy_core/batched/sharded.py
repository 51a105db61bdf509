"""Moments of a policy whose actions are spread over the processes of torch.distributed.

Every rank holds the logits of a run of consecutive actions, in rank order, for the same rows: tensor
parallelism's output layer. A rank reads its shard once and keeps the state of `_sums`, some numbers a row.
One all_gather of these states, merged in rank order, gives every rank bitwise the same moments of the row.

Before it one all_gather of five numbers a rank settles where each shard begins, and lets a rank whose
arguments are refused say so: then every rank raises, and none waits. With NCCL the host waits for these five.

Gradients. The backward pass communicates nothing. Its convention is that of replicated outputs: every rank
computes the same loss from them, and its shard receives the gradient of that one loss. Where ranks compute
different losses whose sum is meant, add the gradients of the outputs over the ranks before they come here.

Import it by name: `from entropy_core.batched import sharded`.
"""

import contextlib

import torch
import torch.distributed as dist
from torch.autograd import Function
from torch.distributed.tensor import DTensor, Replicate, Shard

from entropy_core._shapes import Bool, Float, Int
from entropy_core.batched import _large, _one_read, _sums
from entropy_core.batched._validation import FLOATS, check_buffer, of_one_shape, one_a_row, read_temperature
from entropy_core.batched.moments import PolicyMoments, StepMoments

__all__ = ["sharded_policy_moments", "sharded_step_moments"]

FACTS = ("arguments accepted", "number of rows", "type", "1/temperature", "width of the shard")


def sharded_policy_moments(
    logits_shard: Float[torch.Tensor, "*batch shard"],
    tokens: Int[torch.Tensor, "*batch"],
    group: dist.ProcessGroup | None = None,
    temperature: float | int = 1.0,
    response_mask: Bool[torch.Tensor, "*batch"] | None = None,
    gradient_buffer: Float[torch.Tensor, "*batch shard"] | None = None,
) -> PolicyMoments:
    """Log-normaliser, entropy, varentropy and log-probability of the token taken, of all ranks' actions.

    π = softmax(z / temperature), z = the shards side by side in rank order

    Every rank of the group calls it, with the same tokens, temperature and response_mask.

    Args:
        logits_shard: this rank's part of z in nats, of any width, 0 included; −inf forbids an action, and a
            shard may forbid all of its own. Or a DTensor of the whole z, sharded on its last axis over one
            mesh dimension and replicated over the others.
        tokens: index of the token taken in each row, counted over all ranks' actions.
        group: the processes that share the actions; None is the default group, or a DTensor's own.
        temperature: what the logits are divided by, positive.
        response_mask: True where a row counts; elsewhere every value and the gradient are 0.
        gradient_buffer: a contiguous tensor like this rank's shard, not sharing its memory, into which the
            backward pass writes the gradient. None takes fresh memory.

    Returns:
        The four values, one a row, in the accumulating type, bitwise the same on every rank.
        token_log_probs is −inf at a forbidden token; a token that no rank has makes it NaN.

    Raises:
        TypeError: a type is not what it should be, or a DTensor comes with a group.
        ValueError: shapes or devices do not fit, temperature is not positive, the buffer does not fit, or a
            DTensor is placed otherwise.
        RuntimeError: torch.distributed is not running, this process is not in the group, another rank's
            arguments were refused, or the ranks' rows, types or temperatures differ.

    Numerics:
        As `policy_moments` for large rows, whatever the size. Gradients are those of one loss that every
        rank computes, ≤ 1e-5 of a row's largest; a graph of them (create_graph=True) is refused.
        tests/batched/test_sharded.py.

    Source: claim `moments-merge`, chapter entropy-at-vocabulary-scale.
    """
    shard, group = _local(logits_shard, group)
    with _refusals_reach(group):
        (logits,) = of_one_shape(logits_shard=_never_empty(shard))
        tokens, counted = one_a_row(logits, tokens, response_mask)
        buffer = gradient_buffer if shard.numel() else None
        check_buffer(buffer, shard)
        scale = read_temperature(temperature)
    first, actions = _place_of_shard(group, logits, logits.dtype, scale, shard.shape[-1])
    own = torch.stack(
        [*_one_read.policy_sums(logits, scale), _large.at_tokens(logits.detach(), tokens, first)]
    )
    *fields, at_token = _gathered(group, own)
    sums = _sums.merge_policy(_sums.PolicySums(*fields))
    at_token = at_token.amax(dim=-1) * scale - sums.peak
    at_token = torch.where((tokens >= 0) & (tokens < actions), at_token, torch.nan)
    return PolicyMoments(*_Merged.apply(logits, tokens, first, counted, scale, buffer, at_token, *sums))


def sharded_step_moments(
    logits_shard: Float[torch.Tensor, "*#batch shard"],
    delta_logits_shard: Float[torch.Tensor, "*#batch shard"],
    group: dist.ProcessGroup | None = None,
) -> StepMoments:
    """Mean, variance and covariance of a step over all ranks' actions, its entropy change and divergence.

    E Δz, Var Δz, Cov(log π, Δz), ΔH to second order, ΔH, KL(π‖π'), H

    Every rank of the group calls it. Gradients are not offered: measure a step, do not train through it.

    Args:
        logits_shard: this rank's part of z before the step, in nats; −inf forbids an action. Or a DTensor,
            as in `sharded_policy_moments`; then the step is one too.
        delta_logits_shard: the same part of Δz in nats, finite at allowed actions, ignored (NaN included) at
            forbidden ones.
        group: the processes that share the actions; None is the default group, or a DTensor's own.

    Returns:
        The seven values, one a broadcast row, in the accumulating type, bitwise the same on every rank.

    Raises:
        TypeError: an argument is not a floating-point tensor, or only one is a DTensor.
        ValueError: shapes or devices do not fit, a gradient is asked for, or a DTensor is placed otherwise.
        RuntimeError: torch.distributed is not running, this process is not in the group, another rank's
            arguments were refused, or the ranks' rows or types differ.

    Numerics: As `step_moments` for large rows, whatever the size. tests/batched/test_sharded.py.

    Source: claims `moments-merge`, chapter entropy-at-vocabulary-scale; `exact-entropy-change`, chapter
        entropy-covariance-identity.
    """
    (shard, group), (step, _) = (_local(x, group) for x in _alike(logits_shard, delta_logits_shard))
    with _refusals_reach(group):
        shaped = of_one_shape(logits_shard=_never_empty(shard), delta_logits_shard=_never_empty(step))
        if torch.is_grad_enabled() and any(x.requires_grad for x in shaped):
            raise ValueError(
                "Gradients of a step over shards are not offered; got a shard that requires one. Call under "
                "torch.no_grad(), or give logits_shard.detach() and delta_logits_shard.detach()."
            )
    dtype = torch.promote_types(shaped[0].dtype, shaped[1].dtype)
    _place_of_shard(group, shaped[0], dtype, 1.0, shard.shape[-1])
    own = _one_read.step_sums(*shaped)
    fields = _gathered(group, torch.stack([*own.policy, *own[1:]]))
    sums = _sums.merge_step(_sums.StepSums(_sums.PolicySums(*fields[:4]), *fields[4:]))
    moved = None
    if _large.is_far(sums):  # the same on every rank: the merged numbers are
        fields = _gathered(group, torch.stack(_one_read.moved_sums(*shaped, sums)))
        moved = _sums.merge_policy(_sums.PolicySums(*fields))
    values = *_large.step_moments_of(sums, moved), _large.policy_moments_of(sums.policy)[1]
    return StepMoments(*(x.to(torch.promote_types(dtype, torch.float32)) for x in values))


class _Merged(Function):
    """The four values of a merged state; their gradient for the actions that are here."""

    @staticmethod
    def forward(logits, tokens, first, counted, scale, gradient_buffer, at_token, *sums):
        """Make the values; the logits are kept for the gradient only."""
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return _large.policy_values_of(_sums.PolicySums(*sums), at_token, counted, dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the shard and one number a row of each sum."""
        logits, tokens, ctx.first, counted, ctx.scale, ctx.buffer, *numbers = inputs
        ctx.save_for_backward(logits, tokens, counted, *numbers)

    @staticmethod
    def backward(ctx, *gradients):
        """Write the shard's gradient in one pass; the token's own entry where the token is."""
        if torch.is_grad_enabled():
            raise RuntimeError(
                "Over shards a gradient cannot be differentiated again; got create_graph=True. Leave it out, "
                "or gather the logits and use entropy_core.batched.policy_moments."
            )
        logits, tokens, counted, at_token, *sums = ctx.saved_tensors
        sums = _sums.PolicySums(*sums)
        coefficients, own = _large.policy_pullback(gradients, sums, at_token, counted, ctx.scale)
        out = _large.room_for_gradient(logits, ctx.buffer)
        _one_read.write_pullback(logits, ctx.scale, sums.peak, coefficients, counted, out)
        return _large.write_at_tokens(out, tokens, ctx.first, own), *[None] * 10


def _local(tensor, group):
    """Return this rank's shard and the group that shares the actions."""
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "torch.distributed is not running. Call torch.distributed.init_process_group first, or use "
            "entropy_core.batched.policy_moments for logits that one process holds."
        )
    if isinstance(tensor, DTensor):
        if group is not None:
            raise TypeError("A DTensor brings its own group; got another one as well. Leave group out.")
        return tensor.to_local(), tensor.device_mesh.get_group(_dimension_of_actions(tensor))
    if dist.get_rank(group) < 0:
        raise RuntimeError("This process is not in the group. Let only the ranks of the group call.")
    return tensor, group


def _dimension_of_actions(tensor):
    """Return the one mesh dimension over which a DTensor's last axis is sharded."""
    last = [type(p) is Shard and p.dim % tensor.ndim == tensor.ndim - 1 for p in tensor.placements]
    if sum(last) != 1 or not all(
        cut or isinstance(p, Replicate) for cut, p in zip(last, tensor.placements, strict=True)
    ):
        raise ValueError(
            "A DTensor must be sharded on its last axis, the actions, over one mesh dimension and replicated "
            f"over the others; got {tensor.placements} for shape {tuple(tensor.shape)}. Use "
            "tensor.redistribute(placements=[Shard(-1)]), or give tensor.to_local() and the group."
        )
    return last.index(True)


def _alike(logits, delta_logits):
    """Return both if both are DTensors or neither is."""
    if isinstance(logits, DTensor) != isinstance(delta_logits, DTensor):
        raise TypeError(
            f"logits_shard and delta_logits_shard must both be DTensors or both be shards; got "
            f"{type(logits).__name__} and {type(delta_logits).__name__}. Use .to_local() of the DTensor."
        )
    return logits, delta_logits


def _never_empty(shard):
    """Return a shard of no action as one of one forbidden action, which changes nothing."""
    is_empty = isinstance(shard, torch.Tensor) and shard.ndim > 0 and shard.shape[-1] == 0
    return torch.nn.functional.pad(shard, (0, 1), value=-torch.inf) if is_empty else shard


@contextlib.contextmanager
def _refusals_reach(group):
    """If this rank refuses its arguments, take part in the exchange of facts so that the others know."""
    try:
        yield
    except (TypeError, ValueError):
        _exchange_facts(group, [0.0] * len(FACTS))
        raise


def _exchange_facts(group, facts):
    """Return the facts of every rank, in rank order."""
    device = "cuda" if dist.get_backend(group) == "nccl" else "cpu"
    return _gathered(group, torch.tensor(facts, dtype=torch.float64, device=device)).t().tolist()


def _place_of_shard(group, logits, dtype, scale, width):
    """Return the index of the shard's first action and the number of all, once the ranks agree."""
    rows = logits.shape[:-1].numel()
    facts = _exchange_facts(group, [1.0, rows, FLOATS.index(dtype), scale, width])
    refused = [rank for rank, (accepted, *_) in enumerate(facts) if not accepted]
    if refused:
        raise RuntimeError(f"Ranks {refused} of the group refused their arguments; see the error there.")
    for name, *given in zip(FACTS[1:4], *(f[1:4] for f in facts), strict=True):
        if len(set(given)) > 1:
            said = [FLOATS[int(x)] for x in given] if name == "type" else given
            raise RuntimeError(f"All ranks must agree on the {name}; got {said} in rank order.")
    widths = [int(f[4]) for f in facts]
    return sum(widths[: dist.get_rank(group)]), sum(widths)


def _gathered(group, own):
    """Return what every rank gives, along a new last axis in rank order."""
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, own, group=group)
    return torch.stack(parts, dim=-1)
