"""Moments of a policy from its final hidden states and output matrix; the logits are never held.

z = h Wᵀ + b is made tile by tile, some rows by some actions. Each tile is reduced to the sums of its blocks
of `_sums` while it is there, the blocks of a row merge, and the memory serves the next tile. The backward
pass makes each tile again, turns it into its gradient G, and adds G W to the gradient of h and Gᵀ h to that
of W: three products, of which a pass that keeps the logits needs two.

Products are added up in float32, in float64 where an input is float64, whatever the type of the inputs and
under autocast too: logits rounded to bfloat16 would carry 0.4 % of themselves as error. Where the tensor
cores of a GPU multiply bfloat16, `_type_of_products` lets them: a product of two bfloat16 numbers is exact in
float32, and only the sum is rounded. G is float32 there and would lose 0.2 % of each entry as bfloat16, so it
goes in as a sum of two bfloat16 numbers, G = high + low, which keep all but 1/131072 of it and cost each of
its products twice. Every other type is multiplied as float32 or float64, on a GPU at the speed of those;
`torch.backends.cuda.matmul.fp32_precision` decides how exact they are.

Liger-Kernel is not called. What 0.8.5 offers for this, LigerFusedLinearScaledCrossEntropyFunction, needs a
Hopper GPU where it is fused, returns the entropy in bfloat16 there (10 nats are rounded to a sixteenth) and
neither log Z nor varentropy, and elsewhere holds the logits of 512 rows.

Import it by name: `from entropy_core.batched import hidden`.
"""

import torch
from torch.autograd import Function

from entropy_core._shapes import Bool, Float, Int
from entropy_core.batched import _large, _one_read, _sums
from entropy_core.batched._validation import check_product, one_a_row, read_temperature
from entropy_core.batched.moments import PolicyMoments

__all__ = ["entropy_from_hidden", "moments_from_hidden"]

ROWS, ACTIONS = 512, 4096  # of a tile on a processor: 8 MiB of float32
ROWS_ON_DEVICE = 8192  # elsewhere, 128 MiB: a product that fills the device, and few launches


def moments_from_hidden(
    hidden: Float[torch.Tensor, "*batch features"],
    weight: Float[torch.Tensor, "actions features"],
    tokens: Int[torch.Tensor, "*batch"],
    bias: Float[torch.Tensor, " actions"] | None = None,
    temperature: float | int = 1.0,
    response_mask: Bool[torch.Tensor, "*batch"] | None = None,
) -> PolicyMoments:
    """Log-normaliser, entropy, varentropy and log-probability of the token taken, without the logits.

    π = softmax(z / temperature), z = h Wᵀ + b

    Args:
        hidden: h, the final hidden states.
        weight: W, the output matrix, as torch.nn.Linear keeps it.
        tokens: index of the token taken in each row.
        bias: b in nats, one value an action; −inf forbids the action. None is 0.
        temperature: what the logits are divided by, positive.
        response_mask: True where a row counts; elsewhere every value and the gradient are 0, whatever the
            hidden states are. None counts every row.

    Returns:
        The four values, one a row, in nats, float64 where an input is, else float32. A token outside the
        vocabulary makes token_log_probs NaN.

    Raises:
        TypeError: hidden, weight or bias are not floating-point, tokens not integers, response_mask not
            boolean, or temperature not a number.
        ValueError: shapes or devices do not fit, or temperature is not positive.
        RuntimeError: backward, if a graph of the gradient is asked for (create_graph=True).

    Numerics:
        A product in float32 has an error that grows with the logits: the values are within
        1e-6 (1 + max |z| / temperature), varentropy within ten times that, of those of the inputs as they
        are (float64: 1e-13). Gradients before rounding to their type ≤ 3e-5 of a row's largest for hidden,
        of the matrix's largest for weight (float64: 1e-12). The tensor cores of a GPU, which multiply
        bfloat16 there, may cut where these round: allow 2⁻²⁶ of |z| more for each feature.
        Memory forward: a tile of 8 MiB (float64: 16), on a GPU 128, 40 bytes a row and 4096 actions, and 4096
        rows of weight in float32 where they are of a shorter type that must become that; backward: two tiles,
        with bfloat16 on a GPU three, the gradients, hidden's in float32, and 4096 rows of weight and of its
        gradient in float32. tests/batched/test_hidden.py.

    Source: claim `moments-merge`, chapter entropy-at-vocabulary-scale.

    Example:
        >>> moments = moments_from_hidden(torch.ones(1, 2), torch.zeros(4, 2), torch.tensor([2]))
        >>> print(*(f"{value.item():.4f}" for value in moments))
        1.3863 1.3863 0.0000 -1.3863
    """
    check_product(hidden, weight, bias)
    tokens, counted = one_a_row(hidden, tokens, response_mask)
    scale = read_temperature(temperature)
    batch = hidden.shape[:-1]
    rows = hidden.reshape(-1, hidden.shape[-1])
    values = _FromHidden.apply(rows, weight, bias, tokens.reshape(-1), counted.reshape(-1), scale)
    return PolicyMoments(*(x.reshape(batch) for x in values[:4]))


def entropy_from_hidden(
    hidden: Float[torch.Tensor, "*batch features"],
    weight: Float[torch.Tensor, "actions features"],
    bias: Float[torch.Tensor, " actions"] | None = None,
    temperature: float | int = 1.0,
) -> Float[torch.Tensor, "*batch"]:
    """Entropy of the policy, without the logits.

    H = −Σ_a π_a log π_a, π = softmax((h Wᵀ + b) / temperature)

    Args:
        hidden: h, the final hidden states.
        weight: W, the output matrix, as torch.nn.Linear keeps it.
        bias: b in nats, one value an action; −inf forbids the action. None is 0.
        temperature: what the logits are divided by, positive.

    Returns:
        H of each row in nats, between 0 and log(number of actions); float64 where an input is, else float32.

    Raises:
        TypeError: hidden, weight or bias are not floating-point, or temperature not a number.
        ValueError: shapes or devices do not fit, or temperature is not positive.
        RuntimeError: backward, if a graph of the gradient is asked for (create_graph=True).

    Numerics: As `moments_from_hidden`. tests/batched/test_hidden.py.

    Source: claim `moments-merge`, chapter entropy-at-vocabulary-scale.

    Example:
        >>> print(f"{entropy_from_hidden(torch.ones(2), torch.zeros(4, 2)).item():.4f}")
        1.3863
    """
    check_product(hidden, weight, bias)
    tokens = torch.zeros(hidden.shape[:-1], dtype=torch.int64, device=hidden.device)
    return moments_from_hidden(hidden, weight, tokens, bias, temperature).entropy


class _FromHidden(Function):
    """log Z, H, Var(log π) and log π of one token a row; then what the gradient needs."""

    @staticmethod
    def forward(hidden, weight, bias, tokens, counted, scale):
        """Make every tile once; rows that do not count give 0, whatever their tiles hold."""
        tile, type_in = _memory_of_a_tile(hidden, weight, bias), _type_of_products(hidden, weight, bias)
        runs = _runs(len(weight), ACTIONS)
        at_place = tile.new_empty(
            len(hidden), len(runs)
        )  # the logit in each tile that a row's token may have
        terms = []
        for number, actions in enumerate(runs):
            w, blocks = weight[actions].to(type_in), []
            places = (tokens[:, None] - actions.start).clamp(0, len(w) - 1)
            for rows in _runs(len(hidden), _rows_of_a_tile(hidden)):
                z = _logits(hidden[rows].to(type_in), w, bias, actions, tile)
                blocks.append(_one_read.policy_terms(z, scale))
                at_place[rows, number] = z.gather(-1, places[rows]).squeeze(-1)
            terms.append(torch.cat(blocks, dim=1))
        sums = _sums.merge_policy(_sums.policy_state(torch.cat(terms, dim=2), scale))
        is_action = (tokens >= 0) & (tokens < len(weight))
        of_tile = torch.where(is_action, tokens, 0)[:, None] // ACTIONS
        at_token = at_place.gather(-1, of_tile).squeeze(-1).double() * scale - sums.peak
        at_token = torch.where(is_action, at_token, torch.nan)
        return *_large.policy_values_of(sums, at_token, counted, tile.dtype), at_token, *sums

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the inputs and one number a row of each sum."""
        *tensors, ctx.scale = inputs
        ctx.save_for_backward(*tensors, *output[4:])
        ctx.mark_non_differentiable(*output[4:])

    @staticmethod
    def backward(ctx, *gradients):
        """Make every tile again, its gradient from it, and add up what that means for h, W and b."""
        if torch.is_grad_enabled():
            raise RuntimeError(
                "From hidden states a gradient cannot be differentiated again; got create_graph=True. Leave "
                "it out, or use entropy_core.batched.policy_moments(hidden @ weight.T, tokens)."
            )
        hidden, weight, bias, tokens, counted, at_token, *sums = ctx.saved_tensors
        sums = _sums.PolicySums(*sums)
        coefficients, own = _large.policy_pullback(gradients[:4], sums, at_token, counted, ctx.scale)
        type_in = _type_of_products(hidden, weight, bias)
        tile, other = (_memory_of_a_tile(hidden, weight, bias) for _ in range(2))
        to_hidden = torch.zeros_like(hidden, dtype=tile.dtype)
        to_weight = torch.empty_like(weight)
        to_bias = None if bias is None else torch.empty_like(bias)
        for actions in _runs(len(weight), ACTIONS):
            w = weight[actions].to(type_in)
            to_w, to_b = torch.zeros_like(w, dtype=tile.dtype), 0.0
            for rows in _runs(len(hidden), _rows_of_a_tile(hidden)):
                h = torch.where(counted[rows, None], hidden[rows].to(type_in), 0.0)  # 0 · NaN is NaN in Gᵀ h
                z = _logits(h, w, bias, actions, tile)
                g = other[: z.numel()].view(z.shape)
                per_row = sums.peak[rows], [x[rows] for x in coefficients], counted[rows]
                _one_read.write_pullback(z, ctx.scale, *per_row, g)
                _large.write_at_tokens(g, tokens[rows], actions.start, own[rows])
                if bias is not None:
                    to_b = to_b + g.sum(dim=0)
                into = to_hidden[rows]
                for part in _parts(g, type_in):
                    _add_product(part, w, into)
                    _add_product(part.t(), h, to_w)
            to_weight[actions] = to_w
            if bias is not None:
                to_bias[actions] = to_b
        return to_hidden.to(hidden.dtype), to_weight, to_bias, None, None, None


def _type_of_products(hidden, weight, bias):
    """Return the type in which matrices are multiplied: the inputs' own where tensor cores take it, exactly.

    Elsewhere the type in which the products are added up.
    """
    types = {x.dtype for x in (hidden, weight)}
    added = _type_of_sums(hidden, weight, bias)
    is_short = types == {torch.bfloat16} and added == torch.float32 and _has_tensor_cores(hidden)
    return torch.bfloat16 if is_short else added


def _type_of_sums(*inputs):
    """Return the type in which products are added up."""
    is_double = any(x is not None and x.dtype == torch.float64 for x in inputs)
    return torch.float64 if is_double else torch.float32


def _has_tensor_cores(tensor):
    """Return whether torch multiplies bfloat16 there with a sum, and a result, in float32."""
    return tensor.device.type == "cuda"


def _logits(h, w, bias, actions, memory):
    """Return the logits of some rows and some actions, in `memory`."""
    z = memory[: len(h) * len(w)].view(len(h), len(w))
    _put_product(h, w.t(), z)
    return z if bias is None else z.add_(bias[actions])


def _put_product(a, b, into):
    """Write a b; with `out` autocast leaves the types alone."""
    if a.dtype == into.dtype:
        torch.mm(a, b, out=into)
    else:
        torch.mm(a, b, out_dtype=into.dtype, out=into)


def _add_product(a, b, into):
    """Add a b to what is there."""
    if a.dtype == into.dtype:
        torch.addmm(into, a, b, out=into)
    else:
        torch.addmm(into, a, b, out_dtype=into.dtype, out=into)


def _parts(g, dtype):
    """Return g as a sum of matrices of a type: itself, or its nearest and what that leaves; g is used up."""
    if g.dtype == dtype:
        return (g,)
    high = g.to(dtype)
    return high, g.sub_(high).to(dtype)


def _memory_of_a_tile(hidden, weight, bias):
    """Return memory for the largest tile, in the type in which products are added up."""
    size = min(_rows_of_a_tile(hidden), len(hidden)) * min(ACTIONS, len(weight))
    return torch.empty(size, dtype=_type_of_sums(hidden, weight, bias), device=hidden.device)


def _rows_of_a_tile(hidden):
    return ROWS if hidden.device.type == "cpu" else ROWS_ON_DEVICE


def _runs(length, step):
    """Return slices that cut a length into runs of at most so many; an empty one of nothing."""
    return [slice(start, min(start + step, length)) for start in range(0, max(length, 1), step)]
