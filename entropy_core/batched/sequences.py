"""Entropy of whole responses in torch: exact for a table of logits, estimated from sampled tokens.

A response starts in state 0, each token leads to the next state, and it ends after a token whose next state
is −1 or after `horizon` tokens. `next_states[s, a]` is where token a leads from state s; the tokens written
determine the state.

The sweeps over tokens are loops of `horizon` matrix products and pass gradients. Whether next states exist is
not looked at here: torch's scatter refuses an index that does not. The functions of tokens take what a
trainer has, [batch, tokens] and a mask, keep everything on the device and never wait for it.
"""

from typing import NamedTuple

import torch

from entropy_core._shapes import Bool, Float, Int
from entropy_core.batched._primitives import Centre, Entropy, LogProbs, Probs
from entropy_core.batched._tokens import mean_over_tokens, over_tokens
from entropy_core.batched._validation import over_actions
from entropy_core.batched.dynamics import entropy_gradient, first_order_entropy_change
from entropy_core.batched.softmax import covariance_over_actions

__all__ = [
    "EntropyAverages",
    "EstimatorVariances",
    "SequenceEntropyChange",
    "SequenceEntropyEstimate",
    "entropy_averages",
    "estimator_variances",
    "expected_visits",
    "first_order_sequence_entropy_change",
    "mean_of_response_means",
    "mean_of_response_sums",
    "sequence_advantages",
    "sequence_entropy",
    "sequence_entropy_from_entropies",
    "sequence_entropy_from_log_probs",
    "sequence_entropy_gradient",
    "token_mean",
]


class SequenceEntropyChange(NamedTuple):
    """First-order change of the entropy of a response, in nats; the prediction is the sum of the two."""

    token_part: torch.Tensor
    """What the lemma says at each state, weighted by visits: −Σ_s D(s) Cov_s(log π, Δz)."""
    future_part: torch.Tensor
    """What it leaves out: Σ_t Σ_s d_t(s) Cov_s(H_future, Δz), as tokens lead to less or more entropy."""


class EntropyAverages(NamedTuple):
    """What a log of entropy tends to as the batch grows, for the usual ways to average; in nats."""

    per_sequence: torch.Tensor
    """H_seq: mean over responses of the sum over tokens."""
    per_token: torch.Tensor
    """Mean over all tokens: H_seq over the mean length."""
    per_response: torch.Tensor
    """Mean over responses of the mean token entropy, E[(1/T) Σ_t H_t]."""
    surprisal_per_response: torch.Tensor
    """Mean over responses of −log p(y) divided by the length, E[−log p(y) / T]; not `per_response`."""
    tokens_per_response: torch.Tensor
    """Mean length E[T], in tokens."""


class EstimatorVariances(NamedTuple):
    """Variances over responses of two unbiased estimates of the entropy of a response, in nats squared."""

    from_log_probs: torch.Tensor
    """Var(−log p(y)) = Σ_t Σ_s d_t(s) Var_s(log π − H_future)."""
    from_entropies: torch.Tensor
    """Var(Σ_t H_t) = Σ_t Σ_s d_t(s) Var_s(H_future)."""


class SequenceEntropyEstimate(NamedTuple):
    """An estimate of the entropy of a response, in nats, and its standard error."""

    estimate: torch.Tensor
    """Mean over responses."""
    standard_error: torch.Tensor
    """Standard deviation over responses (one degree of freedom less) over √responses; NaN below two."""


def sequence_entropy(
    logits: Float[torch.Tensor, "*batch states actions"],
    next_states: Int[torch.Tensor, "states actions"],
    horizon: int,
) -> Float[torch.Tensor, "*batch"]:
    """Entropy of the distribution over whole responses.

    H_seq = −Σ_y p(y) log p(y) = Σ_t Σ_s d_t(s) H(s), d_t(s) the probability to be in s after t tokens

    Args:
        logits: z, in nats, one row for each state; −inf forbids a token; a constant per state cancels.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1; responses that reach it are cut there.

    Returns:
        H_seq, in nats, from 0 to horizon · log(actions).

    Raises:
        TypeError: logits are not of floating-point type, or next_states or horizon are not integers.
        ValueError: shapes or devices do not fit, or horizon is below 1.

    Numerics:
        The error of the reference in float64, with 1e-6 in place of 1e-15 and 1e-5 in place of 1e-14 in
        float32. Differentiable. tests/agreement/test_sequences.py, tests/batched/test_sequences.py.

    Source: claim `sequence-chain-rule`, chapter tokens-and-sequences; [cover2006elements, Theorem 2.5.1].

    Example:
        >>> coin_then_dice = torch.tensor([[1, 2, 0, 0], [-1, -1, -1, -1], [-1, -1, -1, -1]])
        >>> never = -torch.inf
        >>> logits = torch.tensor([[0.0, 0, never, never], [0, never, never, never], [0, 0, 0, 0]])
        >>> print(f"{sequence_entropy(logits, coin_then_dice, 2) / torch.tensor(2.0).log():.4f} bits")
        2.0000 bits
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    visits = _occupancy(_flow(Probs.apply(logits), next_states), horizon).sum(dim=-2)
    return (visits * Entropy.apply(logits)).sum(dim=-1)


def expected_visits(
    logits: Float[torch.Tensor, "*batch states actions"],
    next_states: Int[torch.Tensor, "states actions"],
    horizon: int,
) -> Float[torch.Tensor, "*batch states"]:
    """How many tokens of a response are written in each state, on average.

    D(s) = Σ_t d_t(s)

    Args:
        logits: z, in nats, one row for each state; −inf forbids a token; a constant per state cancels.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1.

    Returns:
        D, in tokens; in a prefix tree the probability of the prefix. Sums to the mean length.

    Raises:
        TypeError: logits are not of floating-point type, or next_states or horizon are not integers.
        ValueError: shapes or devices do not fit, or horizon is below 1.

    Numerics:
        The error of the reference in float64, with 1e-6 in place of 1e-15 and 1e-5 in place of 1e-14 in
        float32. Differentiable. tests/agreement/test_sequences.py, tests/batched/test_sequences.py.

    Source: claim `sequence-chain-rule`, chapter tokens-and-sequences.

    Example:
        >>> expected_visits(torch.zeros(1, 2), torch.tensor([[0, -1]]), 3)  # heads goes on, tails ends
        tensor([1.7500])
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    return _occupancy(_flow(Probs.apply(logits), next_states), horizon).sum(dim=-2)


def sequence_entropy_gradient(
    logits: Float[torch.Tensor, "*batch states actions"],
    next_states: Int[torch.Tensor, "states actions"],
    horizon: int,
) -> Float[torch.Tensor, "*batch states actions"]:
    """Gradient of the entropy of a response in the logits.

    ∂H_seq/∂z(s,a) = Σ_t d_t(s) π(a|s) [−(log π(a|s) + H(s)) + H_future(s,a) − Σ_b π(b|s) H_future(s,b)]

    H_future(s,a) at t is the entropy of all that follows token a. The entropy bonus of a trainer, the
    gradient of token entropies at sampled prefixes, has the part −(log π + H) only.

    Args:
        logits: z, in nats, one row for each state; −inf forbids a token; a constant per state cancels.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1.

    Returns:
        ∂H_seq/∂z, in nats per unit of logit, summing to 0 over the tokens of a state; 0 at forbidden tokens.

    Raises:
        TypeError: logits are not of floating-point type, or next_states or horizon are not integers.
        ValueError: shapes or devices do not fit, or horizon is below 1.

    Numerics:
        The error of the reference in float64, with 1e-6 in place of 1e-15 and 1e-5 in place of 1e-14 in
        float32. Differentiable. tests/agreement/test_sequences.py, tests/batched/test_sequences.py.

    Source: claim `sequence-entropy-slope`, chapter tokens-and-sequences.

    Example:
        >>> plan_or_stop = torch.tensor([[1, -1], [-1, -1]])  # token 0 leads to a coin, token 1 ends
        >>> sequence_entropy_gradient(torch.zeros(2, 2), plan_or_stop, 2)[0] / torch.tensor(2.0).log()
        tensor([ 0.2500, -0.2500])
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    visits, future = _visits_and_future(logits, next_states, horizon)
    by_future = Probs.apply(logits) * Centre.apply(future, logits)
    return visits.unsqueeze(-1) * entropy_gradient(logits) + by_future


def first_order_sequence_entropy_change(
    logits: Float[torch.Tensor, "*#batch states actions"],
    delta_logits: Float[torch.Tensor, "*#batch states actions"],
    next_states: Int[torch.Tensor, "states actions"],
    horizon: int,
) -> SequenceEntropyChange:
    """First-order change of the entropy of a response, in the lemma's part and the future's.

    ΔH_seq ≈ −Σ_s D(s) Cov_s(log π, Δz) + Σ_t Σ_s d_t(s) Cov_s(H_future, Δz)

    Args:
        logits: z, in nats, one row for each state; −inf forbids a token; a constant per state cancels.
        delta_logits: Δz, in nats, finite at allowed tokens, ignored at forbidden ones; a constant per state
            cancels.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1.

    Returns:
        The two parts, in nats, each of the shape of the batch; add them for the prediction.

    Raises:
        TypeError: logits are not of floating-point type, or next_states or horizon are not integers.
        ValueError: shapes or devices do not fit, or horizon is below 1.

    Numerics:
        The error of the reference in float64, with 1e-6 in place of 1e-15 and 1e-5 in place of 1e-14 in
        float32. Differentiable. tests/agreement/test_sequences.py, tests/batched/test_sequences.py.

    Source: claim `sequence-entropy-slope`, chapter tokens-and-sequences.

    Example:
        >>> plan_or_stop = torch.tensor([[1, -1], [-1, -1]])
        >>> more_plans = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        >>> parts = first_order_sequence_entropy_change(torch.zeros(2, 2), more_plans, plan_or_stop, 2)
        >>> [round(part.item(), 4) + 0.0 for part in parts]
        [0.0, 0.1733]
    """
    logits, delta_logits = over_actions(logits=logits, delta_logits=delta_logits)
    logits, next_states, horizon = _read(logits, next_states, horizon)
    visits, future = _visits_and_future(logits, next_states, horizon)
    return SequenceEntropyChange(
        (visits * first_order_entropy_change(logits, delta_logits)).sum(dim=-1),
        covariance_over_actions(future, delta_logits, logits).sum(dim=-1),
    )


def sequence_advantages(
    logits: Float[torch.Tensor, "*#batch states actions"],
    rewards: Float[torch.Tensor, "*#batch states actions"],
    next_states: Int[torch.Tensor, "states actions"],
    horizon: int,
) -> Float[torch.Tensor, "*batch states actions"]:
    """How much better a response ends after a token than on average, averaged over the visits of the state.

    A(s,a) = Σ_t d_t(s) [Q_t(s,a) − Σ_b π(b|s) Q_t(s,b)] / D(s)

    Q_t is the reward of the token and of all that follow. The policy gradient of the expected reward of a
    response is D(s) π(a|s) A(s,a), its natural gradient A(s,a).

    Args:
        logits: z, in nats, one row for each state; −inf forbids a token; a constant per state cancels.
        rewards: r(s,a), paid for token a in state s, finite at allowed tokens; the reward of a response is
            their sum.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1.

    Returns:
        A, in units of reward, with mean 0 under π at every state; 0 at forbidden tokens and unvisited states.

    Raises:
        TypeError: logits are not of floating-point type, or next_states or horizon are not integers.
        ValueError: shapes or devices do not fit, or horizon is below 1.

    Numerics:
        The error of the reference in float64, with 1e-6 in place of 1e-15 and 1e-5 in place of 1e-14 in
        float32. Differentiable. tests/agreement/test_sequences.py, tests/batched/test_sequences.py.

    Source: claim `natural-step-on-responses`, chapter tokens-and-sequences; [sutton2000policy, Theorem 1].

    Example:
        >>> two_flips = torch.tensor([[1, 1], [-1, -1]])
        >>> first_pays = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        >>> sequence_advantages(torch.zeros(2, 2), first_pays, two_flips, 2)
        tensor([[ 0.5000, -0.5000],
                [ 0.0000,  0.0000]])
    """
    logits, rewards = over_actions(logits=logits, rewards=rewards)
    logits, next_states, horizon = _read(logits, next_states, horizon)
    rewards = rewards.masked_fill(logits == -torch.inf, 0.0)
    policy = Probs.apply(logits)
    flow = _flow(policy, next_states)
    occupancy = _occupancy(flow, horizon)
    later = _after_each_token(occupancy, _to_come(flow, (policy * rewards).sum(dim=-1), horizon), next_states)
    visits = occupancy.sum(dim=-2).unsqueeze(-1)
    unseen = visits == 0
    values = rewards + later / visits.masked_fill(unseen, 1.0)
    return Centre.apply(values, logits).masked_fill(unseen, 0.0)


def entropy_averages(
    logits: Float[torch.Tensor, "*batch states actions"],
    next_states: Int[torch.Tensor, "states actions"],
    horizon: int,
) -> EntropyAverages:
    """What logs of entropy tend to as the batch grows, for responses of random length.

    E ΣH_t, E ΣH_t / E T, E[ΣH_t / T], E[−log p(y) / T] and E T, the sums over the tokens t of a response

    Args:
        logits: z, in nats, one row for each state; −inf forbids a token; a constant per state cancels.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1.

    Returns:
        Five numbers, each of the shape of the batch: four averages in nats and the mean length in tokens.

    Raises:
        TypeError: logits are not of floating-point type, or next_states or horizon are not integers.
        ValueError: shapes or devices do not fit, or horizon is below 1.

    Numerics:
        The error of the reference in float64, with 1e-6 in place of 1e-15 and 1e-5 in place of 1e-14 in
        float32. Differentiable. tests/agreement/test_sequences.py, tests/batched/test_sequences.py.

    Source: claim `logged-entropies`, chapter tokens-and-sequences.

    Example:
        >>> coin = entropy_averages(torch.zeros(1, 2), torch.tensor([[0, -1]]), 2)  # tails ends
        >>> [round(x.item() / 0.693147, 4) for x in coin[:4]], coin.tokens_per_response.item()
        ([1.5, 1.0, 1.0, 1.0], 1.5)
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    policy, entropies, surprisal = Probs.apply(logits), Entropy.apply(logits), _surprisal(logits)
    flow, flow_of_surprisal = _flow(policy, next_states), _flow(policy * surprisal, next_states)
    here = _at_start(entropies)
    entropy_so_far, surprisal_so_far = here * entropies, torch.zeros_like(here)
    total, length, by_entropy, by_surprisal = (torch.zeros_like(here[..., 0]) for _ in range(4))
    for t in range(horizon):
        total, length = total + (here * entropies).sum(dim=-1), length + here.sum(dim=-1)
        ends = flow[..., -1] if t < horizon - 1 else torch.ones_like(here)
        last = flow_of_surprisal[..., -1] if t < horizon - 1 else flow_of_surprisal.sum(dim=-1)
        by_entropy = by_entropy + (entropy_so_far * ends).sum(dim=-1) / (t + 1)
        by_surprisal = by_surprisal + (surprisal_so_far * ends + here * last).sum(dim=-1) / (t + 1)
        surprisal_so_far = _forward(surprisal_so_far, flow) + _forward(here, flow_of_surprisal)
        here = _forward(here, flow)
        entropy_so_far = _forward(entropy_so_far, flow) + here * entropies
    return EntropyAverages(total, total / length, by_entropy, by_surprisal, length)


def estimator_variances(
    logits: Float[torch.Tensor, "*batch states actions"],
    next_states: Int[torch.Tensor, "states actions"],
    horizon: int,
) -> EstimatorVariances:
    """Variances, over responses, of −log p(y) and of the sum of the token entropies along y.

    Var(−log p(y)) = Σ_t Σ_s d_t(s) Var_s(log π − H_future), Var(Σ_t H_t) = Σ_t Σ_s d_t(s) Var_s(H_future)

    Both have the mean H_seq. Neither is always the smaller: the difference is
    Σ_t Σ_s d_t(s) [Var_s(log π) − 2 Cov_s(log π, H_future)].

    Args:
        logits: z, in nats, one row for each state; −inf forbids a token; a constant per state cancels.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1.

    Returns:
        Two variances of one response, in nats squared, each of the shape of the batch.

    Raises:
        TypeError: logits are not of floating-point type, or next_states or horizon are not integers.
        ValueError: shapes or devices do not fit, or horizon is below 1.

    Numerics:
        The error of the reference in float64, with 1e-6 in place of 1e-15 and 1e-5 in place of 1e-14 in
        float32. Differentiable. tests/agreement/test_sequences.py, tests/batched/test_sequences.py.

    Source: claim `response-estimator-variances`, chapter tokens-and-sequences; [amini2025better].

    Example:
        >>> three_responses = torch.tensor([[-1, 1], [-1, -1]])  # one token, or a second one from a coin
        >>> uniform = torch.tensor([[1 / 3, 2 / 3], [1 / 2, 1 / 2]], dtype=torch.float64).log()
        >>> [round(x.item(), 4) for x in estimator_variances(uniform, three_responses, 2)]
        [0.0, 0.1068]
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    policy, entropies = Probs.apply(logits), Entropy.apply(logits)
    above = _surprisal(logits) - entropies.unsqueeze(-1)
    flow, excess = _flow(policy, next_states), _flow(policy * above, next_states)
    spread = (policy * above**2).sum(dim=-1)
    occupancy, to_come = _occupancy(flow, horizon), _to_come(flow, entropies, horizon)
    first, second = torch.zeros_like(spread[..., 0]), torch.zeros_like(spread[..., 0])
    for t in range(horizon):
        future = torch.nn.functional.pad(to_come[..., t + 1, :], (0, 1)).unsqueeze(-2)
        future = future - (flow * future).sum(dim=-1, keepdim=True)
        of_future = (flow * future**2).sum(dim=-1)
        of_surprisal = spread + 2 * (excess * future).sum(dim=-1) + of_future
        first = first + (occupancy[..., t, :] * of_surprisal).sum(dim=-1)
        second = second + (occupancy[..., t, :] * of_future).sum(dim=-1)
    return EstimatorVariances(first, second)


def token_mean(
    values: Float[torch.Tensor, "batch tokens"], response_mask: Bool[torch.Tensor, "batch tokens"]
) -> Float[torch.Tensor, ""]:
    """Mean of a value over all tokens of a batch; long responses weigh more.

    Σ_i Σ_t x_it / Σ_i T_i, which tends to E[Σ_t x_t] / E[T] for independent responses

    Args:
        values: one value a token, such as an entropy; ignored (NaN included) where the mask is False.
        response_mask: True where a token counts.

    Returns:
        The mean, in the unit of the values; 0 if no token counts.

    Raises:
        TypeError: a tensor is not of floating-point type, or the mask is not boolean.
        ValueError: shapes or devices differ.

    Numerics:
        Accumulates in float64 if given, else float32: relative error 1e-6 of the mean size of the summands.
        Differentiable; masked places get the gradient 0. tests/batched/test_sequences.py.

    Source: claim `logged-entropies`, chapter tokens-and-sequences; "token-mean" in [verl2026aggregation].

    Example:
        >>> values = torch.tensor([[1.0, 1, 1], [5, torch.nan, torch.nan]])
        >>> token_mean(values, values.isfinite())
        tensor(2.)
    """
    (values,) = over_tokens(response_mask, values=values)
    return mean_over_tokens(values, response_mask)


def mean_of_response_means(
    values: Float[torch.Tensor, "batch tokens"], response_mask: Bool[torch.Tensor, "batch tokens"]
) -> Float[torch.Tensor, ""]:
    """Mean over responses of the mean over their tokens; every response weighs the same.

    mean_i (1/T_i) Σ_t x_it, which tends to E[Σ_t x_t / T]

    Args:
        values: one value a token; ignored (NaN included) where the mask is False.
        response_mask: True where a token counts; a row without any is no response.

    Returns:
        The mean, in the unit of the values; 0 if no token counts.

    Raises:
        TypeError: a tensor is not of floating-point type, or the mask is not boolean.
        ValueError: shapes or devices differ.

    Numerics:
        Accumulates in float64 if given, else float32: relative error 1e-6 of the mean size of the summands.
        Differentiable; masked places get the gradient 0. tests/batched/test_sequences.py.

    Source: claim `logged-entropies`, chapter tokens-and-sequences; "seq-mean-token-mean" in
        [verl2026aggregation].

    Example:
        >>> values = torch.tensor([[1.0, 1, 1], [5, torch.nan, torch.nan]])
        >>> mean_of_response_means(values, values.isfinite())
        tensor(3.)
    """
    (values,) = over_tokens(response_mask, values=values)
    lengths = response_mask.sum(dim=-1)
    return mean_over_tokens(values.sum(dim=-1) / lengths.clamp(min=1), lengths > 0)


def mean_of_response_sums(
    values: Float[torch.Tensor, "batch tokens"], response_mask: Bool[torch.Tensor, "batch tokens"]
) -> Float[torch.Tensor, ""]:
    """Mean over responses of the sum over their tokens.

    mean_i Σ_t x_it, which tends to E[Σ_t x_t]; for token entropies, or −log π of the tokens taken, to H_seq

    Args:
        values: one value a token; ignored (NaN included) where the mask is False.
        response_mask: True where a token counts; a row without any is no response.

    Returns:
        The mean, in the unit of the values; 0 if no token counts.

    Raises:
        TypeError: a tensor is not of floating-point type, or the mask is not boolean.
        ValueError: shapes or devices differ.

    Numerics:
        Accumulates in float64 if given, else float32: relative error 1e-6 of the mean size of the summands.
        Differentiable; masked places get the gradient 0. tests/batched/test_sequences.py.

    Source: claim `logged-entropies`, chapter tokens-and-sequences; "seq-mean-token-sum" in
        [verl2026aggregation].

    Example:
        >>> values = torch.tensor([[1.0, 1, 1], [5, torch.nan, torch.nan]])
        >>> mean_of_response_sums(values, values.isfinite())
        tensor(4.)
    """
    (values,) = over_tokens(response_mask, values=values)
    return mean_over_tokens(values.sum(dim=-1), response_mask.any(dim=-1))


def sequence_entropy_from_entropies(
    entropy: Float[torch.Tensor, "batch tokens"], response_mask: Bool[torch.Tensor, "batch tokens"]
) -> SequenceEntropyEstimate:
    """Unbiased estimate of the entropy of a response from the entropy at each prefix that was sampled.

    H_seq = E Σ_t H_t, so the mean over responses of Σ_t H_t: each −log π is replaced by its mean

    Args:
        entropy: H of the next-token distribution at each token, in nats; ignored (NaN included) where the
            mask is False.
        response_mask: True where a token counts, the last one of a response included; a row without any is
            no response.

    Returns:
        Estimate in nats and its standard error, which takes responses as independent: where several share a
        prompt, it is the error given those prompts only if each prompt is estimated on its own.

    Raises:
        TypeError: a tensor is not of floating-point type, or the mask is not boolean.
        ValueError: shapes or devices differ.

    Numerics:
        Accumulates in float64 if given, else float32: relative error 1e-6 of the mean size of the summands.
        Differentiable; masked places get the gradient 0. tests/batched/test_sequences.py.

    Source: claim `response-estimator-variances`, chapter tokens-and-sequences; [amini2025better].

    Example:
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> sequence_entropy_from_entropies(torch.tensor([[1.0, 1.0], [1.0, torch.nan]]), mask)
        SequenceEntropyEstimate(estimate=tensor(1.5000), standard_error=tensor(0.5000))
    """
    (entropy,) = over_tokens(response_mask, entropy=entropy)
    return _estimate(entropy, response_mask)


def sequence_entropy_from_log_probs(
    token_log_probs: Float[torch.Tensor, "batch tokens"], response_mask: Bool[torch.Tensor, "batch tokens"]
) -> SequenceEntropyEstimate:
    """Unbiased estimate of the entropy of a response from the log-probabilities of the tokens taken.

    H_seq = E[−log p(y)], so the mean over responses of −Σ_t log π(y_t | y_<t)

    Args:
        token_log_probs: log π of the token taken, under the policy that sampled it, in nats; ignored (NaN
            included) where the mask is False.
        response_mask: True where a token counts, the last one of a response included; a row without any is
            no response.

    Returns:
        Estimate in nats and its standard error, under the conditions of `sequence_entropy_from_entropies`.

    Raises:
        TypeError: a tensor is not of floating-point type, or the mask is not boolean.
        ValueError: shapes or devices differ.

    Numerics:
        Accumulates in float64 if given, else float32: relative error 1e-6 of the mean size of the summands.
        Differentiable; masked places get the gradient 0. tests/batched/test_sequences.py.

    Source: claim `response-estimator-variances`, chapter tokens-and-sequences.

    Example:
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> sequence_entropy_from_log_probs(torch.tensor([[-1.0, -1.0], [-1.0, torch.nan]]), mask)
        SequenceEntropyEstimate(estimate=tensor(1.5000), standard_error=tensor(0.5000))
    """
    (token_log_probs,) = over_tokens(response_mask, token_log_probs=token_log_probs)
    return _estimate(-token_log_probs, response_mask)


def _estimate(values, response_mask):
    counted = response_mask.any(dim=-1)
    sums, responses = values.sum(dim=-1), counted.sum()
    mean = sums.sum() / responses.clamp(min=1)
    squares = torch.where(counted, (sums - mean) ** 2, 0.0).sum()
    error = (squares / (responses - 1).clamp(min=1) / responses.clamp(min=1)).sqrt()
    return SequenceEntropyEstimate(mean, torch.where(responses > 1, error, torch.nan))


def _read(logits, next_states, horizon):
    """Return logits, next states with the end as state number `states`, and the horizon."""
    (logits,) = over_actions(logits=logits)
    if isinstance(horizon, bool) or not isinstance(horizon, int):
        raise TypeError(f"horizon must be an integer; got {type(horizon).__name__}. Pass a count of tokens.")
    if not isinstance(next_states, torch.Tensor) or next_states.dtype not in (torch.int64, torch.int32):
        found = next_states.dtype if isinstance(next_states, torch.Tensor) else type(next_states).__name__
        raise TypeError(
            f"next_states must be a tensor of int64; got {found}. Use .long(), with −1 for the end."
        )
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1; got {horizon}. A response has at least one token.")
    if logits.ndim < 2 or next_states.shape != logits.shape[-2:]:
        raise ValueError(
            f"logits must be [..., states, actions] and next_states [states, actions]; got "
            f"{tuple(logits.shape)} and {tuple(next_states.shape)}. One table serves the batch."
        )
    if next_states.device != logits.device:
        raise ValueError(
            f"All tensors must be on one device; got next_states on {next_states.device}, logits on "
            f"{logits.device}. Move them with .to(device)."
        )
    return logits, torch.where(next_states < 0, logits.shape[-2], next_states.long()), horizon


def _surprisal(logits):
    """Return −log π, 0 at forbidden tokens."""
    forbidden = logits == -torch.inf
    return -LogProbs.apply(logits).masked_fill(forbidden, 0.0)


def _flow(weights, next_states):
    """Return Σ_a w(s,a) 1[next(s,a) = v] for every state v and, in the last column, for the end."""
    sums = weights.new_zeros(*weights.shape[:-1], weights.shape[-2] + 1)
    return sums.scatter_add(-1, next_states.expand(weights.shape), weights)


def _at_start(entropies):
    start = torch.arange(entropies.shape[-1], device=entropies.device) == 0
    return start.to(entropies.dtype).expand(entropies.shape)


def _forward(here, flow):
    return (here.unsqueeze(-2) @ flow[..., :-1]).squeeze(-2)


def _occupancy(flow, horizon):
    """Return d_t(s), shape [..., horizon, states]."""
    path = [_at_start(flow[..., 0])]
    for _ in range(horizon - 1):
        path.append(_forward(path[-1], flow))
    return torch.stack(path, dim=-2)


def _to_come(flow, paid, horizon):
    """Return what is still paid after t tokens in state s, shape [..., horizon + 1, states]."""
    path = [torch.zeros_like(paid)]
    for _ in range(horizon):
        path.append(paid + (flow[..., :-1] @ path[-1].unsqueeze(-1)).squeeze(-1))
    return torch.stack(path[::-1], dim=-2)


def _after_each_token(occupancy, to_come, next_states):
    """Return Σ_t d_t(s) V_{t+1}(next(s,a)), 0 where a token ends the response."""
    by_state = occupancy.mT @ to_come[..., 1:, :]
    with_end = torch.nn.functional.pad(by_state, (0, 1))
    return with_end.gather(-1, next_states.expand(*by_state.shape[:-1], -1))


def _visits_and_future(logits, next_states, horizon):
    flow = _flow(Probs.apply(logits), next_states)
    occupancy = _occupancy(flow, horizon)
    to_come = _to_come(flow, Entropy.apply(logits), horizon)
    return occupancy.sum(dim=-2), _after_each_token(occupancy, to_come, next_states)
