"""Entropy of whole responses: exact for a table of next-token logits, and estimated from sampled tokens.

A response is a path: it starts in state 0, each token leads to the next state, and it ends after a token
whose next state is −1 or after `horizon` tokens. A state is whatever the next token depends on: a node of a
prefix tree, the last token of a Markov chain. `next_states[s, a]` is where token a leads from state s: the
tokens written determine the state, so the entropy of the tokens is all the entropy that a response has.

Everything follows from the flow matrix P_π(v|s) = Σ_a π(a|s) 1[next(s,a) = v] by one sweep forwards (how
often a state is visited) and one backwards (what is still to come). All terms of an entropy are non-negative,
so sums of them keep their relative accuracy.
"""

from typing import NamedTuple

import numpy as np

from entropy_core._shapes import Bool, Float, Int, Real
from entropy_core.reference._moments import centred, softmax_weights
from entropy_core.reference._tokens import mean_over_tokens, over_tokens
from entropy_core.reference._validation import allowed_actions, over_actions, read_logits
from entropy_core.reference.dynamics import entropy_gradient, first_order_entropy_change
from entropy_core.reference.softmax import covariance_over_actions, log_probs, probs
from entropy_core.reference.softmax import entropy as entropy_of_states

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

    token_part: np.ndarray
    """What the lemma says at each state, weighted by visits: −Σ_s D(s) Cov_s(log π, Δz)."""
    future_part: np.ndarray
    """What it leaves out: Σ_t Σ_s d_t(s) Cov_s(H_future, Δz), as tokens lead to less or more entropy."""


class EntropyAverages(NamedTuple):
    """What a log of entropy tends to as the batch grows, for the usual ways to average; in nats."""

    per_sequence: np.ndarray
    """H_seq: mean over responses of the sum over tokens."""
    per_token: np.ndarray
    """Mean over all tokens: H_seq over the mean length."""
    per_response: np.ndarray
    """Mean over responses of the mean token entropy, E[(1/T) Σ_t H_t]."""
    surprisal_per_response: np.ndarray
    """Mean over responses of −log p(y) divided by the length, E[−log p(y) / T]; not `per_response`."""
    tokens_per_response: np.ndarray
    """Mean length E[T], in tokens."""


class EstimatorVariances(NamedTuple):
    """Variances over responses of two unbiased estimates of the entropy of a response, in nats squared."""

    from_log_probs: np.ndarray
    """Var(−log p(y)) = Σ_t Σ_s d_t(s) Var_s(log π − H_future)."""
    from_entropies: np.ndarray
    """Var(Σ_t H_t) = Σ_t Σ_s d_t(s) Var_s(H_future)."""


class SequenceEntropyEstimate(NamedTuple):
    """An estimate of the entropy of a response, in nats, and its standard error."""

    estimate: float
    """Mean over responses."""
    standard_error: float
    """Standard deviation over responses (one degree of freedom less) over √responses; NaN below two."""


def sequence_entropy(
    logits: Real[np.ndarray, "*batch states actions"],
    next_states: Int[np.ndarray, "states actions"],
    horizon: int,
) -> Float[np.ndarray, "*batch"] | np.float64:
    """Entropy of the distribution over whole responses.

    H_seq = −Σ_y p(y) log p(y) = Σ_t Σ_s d_t(s) H(s), d_t(s) the probability to be in s after t tokens

    Args:
        logits: z, in nats, one row for each state; −inf forbids a token; a constant per state cancels.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1; responses that reach it are cut there.

    Returns:
        H_seq, in nats, from 0 to horizon · log(actions).

    Raises:
        TypeError: logits are not real numbers, or next_states or horizon are not integers.
        ValueError: logits are not a policy, next_states do not fit or name no state, or horizon is below 1.

    Numerics:
        Relative error ≤ 1e-15 (states + horizon), also at H → 0. Memory states² beside the logits. Held by
        tests/agreement/test_sequences.py.

    Source: claim `sequence-chain-rule`, chapter tokens-and-sequences; [cover2006elements, Theorem 2.5.1].

    Example:
        >>> coin_then_dice = np.array([[1, 2, 0, 0], [-1, -1, -1, -1], [-1, -1, -1, -1]])
        >>> logits = np.array([[0.0, 0, -np.inf, -np.inf], [0, -np.inf, -np.inf, -np.inf], [0, 0, 0, 0]])
        >>> sequence_entropy(logits, coin_then_dice, 2) / np.log(2)  # bits: 1 for the coin, ½ · 2 behind it
        np.float64(2.0)
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    visits = _occupancy(_flow(probs(logits), next_states), horizon).sum(axis=-2)
    return (visits * entropy_of_states(logits)).sum(axis=-1)


def expected_visits(
    logits: Real[np.ndarray, "*batch states actions"],
    next_states: Int[np.ndarray, "states actions"],
    horizon: int,
) -> Float[np.ndarray, "*batch states"]:
    """How many tokens of a response are written in each state, on average.

    D(s) = Σ_t d_t(s)

    Args:
        logits: z, in nats, one row for each state; −inf forbids a token; a constant per state cancels.
        next_states: where token a leads from state s; −1 ends the response; state 0 is the start.
        horizon: largest number of tokens, at least 1.

    Returns:
        D, in tokens; in a prefix tree the probability of the prefix. Sums to the mean length.

    Raises:
        TypeError: as for `sequence_entropy`.
        ValueError: as for `sequence_entropy`.

    Numerics:
        Relative error ≤ 1e-15 (states + horizon). Held by tests/agreement/test_sequences.py.

    Source: claim `sequence-chain-rule`, chapter tokens-and-sequences.

    Example:
        >>> expected_visits(np.zeros((1, 2)), np.array([[0, -1]]), 3)  # heads goes on, tails ends
        array([1.75])
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    return _occupancy(_flow(probs(logits), next_states), horizon).sum(axis=-2)


def sequence_entropy_gradient(
    logits: Real[np.ndarray, "*batch states actions"],
    next_states: Int[np.ndarray, "states actions"],
    horizon: int,
) -> Float[np.ndarray, "*batch states actions"]:
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
        TypeError: as for `sequence_entropy`.
        ValueError: as for `sequence_entropy`.

    Numerics:
        Error ≤ 1e-14 (states + horizon) · horizon log(actions), absolute, times the largest number of visits.
        Held by tests/agreement/test_sequences.py.

    Source: claim `sequence-entropy-slope`, chapter tokens-and-sequences.

    Example:
        >>> plan_or_stop = np.array([[1, -1], [-1, -1]])  # token 0 leads to a coin, token 1 ends
        >>> sequence_entropy_gradient(np.zeros((2, 2)), plan_or_stop, 2)[0] / np.log(2)
        array([ 0.25, -0.25])
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    visits, future = _visits_and_future(logits, next_states, horizon)
    by_future = np.where(allowed_actions(logits), centred(future, softmax_weights(logits)), 0.0)
    return visits[..., None] * entropy_gradient(logits) + probs(logits) * by_future


def first_order_sequence_entropy_change(
    logits: Real[np.ndarray, "*#batch states actions"],
    delta_logits: Real[np.ndarray, "*#batch states actions"],
    next_states: Int[np.ndarray, "states actions"],
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
        TypeError: as for `sequence_entropy`.
        ValueError: as for `sequence_entropy`, or delta_logits are not finite.

    Numerics:
        Error ≤ 1e-14 (states + horizon) · horizon log(actions), absolute, times the range of Δz and the
        largest number of visits. Held by tests/agreement/test_sequences.py.

    Source: claim `sequence-entropy-slope`, chapter tokens-and-sequences.

    Example:
        >>> plan_or_stop = np.array([[1, -1], [-1, -1]])
        >>> more_plans = np.array([[1.0, 0.0], [0.0, 0.0]])
        >>> [float(part) for part in
        ...  first_order_sequence_entropy_change(np.zeros((2, 2)), more_plans, plan_or_stop, 2)]
        [0.0, 0.17328679513998632]
    """
    logits, delta_logits = over_actions(logits, delta_logits=delta_logits)
    logits, next_states, horizon = _read(logits, next_states, horizon)
    visits, future = _visits_and_future(logits, next_states, horizon)
    return SequenceEntropyChange(
        (visits * first_order_entropy_change(logits, delta_logits)).sum(axis=-1),
        covariance_over_actions(future, delta_logits, logits).sum(axis=-1),
    )


def sequence_advantages(
    logits: Real[np.ndarray, "*#batch states actions"],
    rewards: Real[np.ndarray, "*#batch states actions"],
    next_states: Int[np.ndarray, "states actions"],
    horizon: int,
) -> Float[np.ndarray, "*batch states actions"]:
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
        TypeError: as for `sequence_entropy`.
        ValueError: as for `sequence_entropy`, or rewards are not finite.

    Numerics:
        Error ≤ 1e-14 (states + horizon) · horizon max|r|, absolute.
        Held by tests/agreement/test_sequences.py.

    Source: claim `natural-step-on-responses`, chapter tokens-and-sequences; [sutton2000policy, Theorem 1].

    Example:
        >>> two_flips, first_pays = np.array([[1, 1], [-1, -1]]), np.array([[1.0, 0.0], [0.0, 0.0]])
        >>> sequence_advantages(np.zeros((2, 2)), first_pays, two_flips, 2)
        array([[ 0.5, -0.5],
               [ 0. ,  0. ]])
    """
    logits, rewards = over_actions(logits, rewards=rewards)
    logits, next_states, horizon = _read(logits, next_states, horizon)
    policy = probs(logits)
    flow = _flow(policy, next_states)
    occupancy = _occupancy(flow, horizon)
    to_come = _to_come(flow, (policy * rewards).sum(axis=-1), horizon)
    visits = occupancy.sum(axis=-2)[..., None]
    later = _after_each_token(occupancy, to_come, next_states)
    values = rewards + np.divide(later, visits, out=np.zeros_like(later), where=visits > 0)
    seen = allowed_actions(logits) & (visits > 0)
    return np.where(seen, centred(values, softmax_weights(logits)), 0.0)


def entropy_averages(
    logits: Real[np.ndarray, "*batch states actions"],
    next_states: Int[np.ndarray, "states actions"],
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
        TypeError: as for `sequence_entropy`.
        ValueError: as for `sequence_entropy`.

    Numerics:
        Relative error ≤ 1e-15 (states + horizon). Held by tests/agreement/test_sequences.py.

    Source: claim `logged-entropies`, chapter tokens-and-sequences.

    Example:
        >>> coin = entropy_averages(np.zeros((1, 2)), np.array([[0, -1]]), 2)  # heads goes on, at most twice
        >>> [round(float(x / np.log(2)), 12) for x in coin[:4]], float(coin.tokens_per_response)
        ([1.5, 1.0, 1.0, 1.0], 1.5)
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    policy, entropies = probs(logits), entropy_of_states(logits)
    surprisal = np.where(allowed_actions(logits), -log_probs(logits), 0.0)
    flow, flow_of_surprisal = _flow(policy, next_states), _flow(policy * surprisal, next_states)
    here = _at_start(entropies)
    entropy_so_far, surprisal_so_far = here * entropies, np.zeros_like(here)
    total, length, by_entropy, by_surprisal = 0.0, 0.0, 0.0, 0.0
    for t in range(horizon):
        total, length = total + (here * entropies).sum(axis=-1), length + here.sum(axis=-1)
        ends = flow[..., -1] if t < horizon - 1 else np.ones_like(here)
        last = flow_of_surprisal[..., -1] if t < horizon - 1 else flow_of_surprisal.sum(axis=-1)
        by_entropy = by_entropy + (entropy_so_far * ends).sum(axis=-1) / (t + 1)
        by_surprisal = by_surprisal + (surprisal_so_far * ends + here * last).sum(axis=-1) / (t + 1)
        surprisal_so_far = _forward(surprisal_so_far, flow) + _forward(here, flow_of_surprisal)
        here = _forward(here, flow)
        entropy_so_far = _forward(entropy_so_far, flow) + here * entropies
    return EntropyAverages(total, total / length, by_entropy, by_surprisal, length)


def estimator_variances(
    logits: Real[np.ndarray, "*batch states actions"],
    next_states: Int[np.ndarray, "states actions"],
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
        TypeError: as for `sequence_entropy`.
        ValueError: as for `sequence_entropy`.

    Numerics:
        Error ≤ 1e-14 (states + horizon) · horizon² log²(actions), absolute: a variance far below the square
        of an entropy has fewer digits. Held by tests/agreement/test_sequences.py.

    Source: claim `response-estimator-variances`, chapter tokens-and-sequences; [amini2025better].

    Example:
        >>> three_responses = np.array([[-1, 1], [-1, -1]])  # one token, or a second one from a coin
        >>> uniform = np.log([[1 / 3, 2 / 3], [1 / 2, 1 / 2]])
        >>> [round(float(x), 4) for x in estimator_variances(uniform, three_responses, 2)]
        [0.0, 0.1068]
    """
    logits, next_states, horizon = _read(logits, next_states, horizon)
    policy, entropies = probs(logits), entropy_of_states(logits)
    surprisal = np.where(allowed_actions(logits), -log_probs(logits), 0.0)
    flow = _flow(policy, next_states)
    excess = _flow(policy * (surprisal - entropies[..., None]), next_states)
    spread = (policy * (surprisal - entropies[..., None]) ** 2).sum(axis=-1)
    occupancy, to_come = _occupancy(flow, horizon), _to_come(flow, entropies, horizon)
    first, second = 0.0, 0.0
    for t in range(horizon):
        future = np.append(to_come[..., t + 1, :], np.zeros_like(spread[..., :1]), axis=-1)[..., None, :]
        future = future - (flow * future).sum(axis=-1, keepdims=True)
        of_future = (flow * future**2).sum(axis=-1)
        of_surprisal = spread + 2 * (excess * future).sum(axis=-1) + of_future
        first = first + (occupancy[..., t, :] * of_surprisal).sum(axis=-1)
        second = second + (occupancy[..., t, :] * of_future).sum(axis=-1)
    return EstimatorVariances(first, second)


def token_mean(
    values: Real[np.ndarray, "batch tokens"], response_mask: Bool[np.ndarray, "batch tokens"]
) -> float:
    """Mean of a value over all tokens of a batch; long responses weigh more.

    Σ_i Σ_t x_it / Σ_i T_i, which tends to E[Σ_t x_t] / E[T] for independent responses

    Args:
        values: one value a token, such as an entropy; ignored (NaN included) where the mask is False.
        response_mask: True where a token counts.

    Returns:
        The mean, in the unit of the values; 0 if no token counts.

    Raises:
        TypeError: values are not numbers or the mask is not boolean.
        ValueError: shapes differ or a value that counts is not finite.

    Numerics:
        Relative error 1e-15 of the mean size of the values. Held by tests/reference/test_sequences.py.

    Source: claim `logged-entropies`, chapter tokens-and-sequences; "token-mean" in [verl2026aggregation].

    Example:
        >>> values = np.array([[1.0, 1.0, 1.0], [5.0, np.nan, np.nan]])
        >>> token_mean(values, np.isfinite(values))
        2.0
    """
    response_mask, values = over_tokens(response_mask, values=values)
    return float(mean_over_tokens(values, response_mask))


def mean_of_response_means(
    values: Real[np.ndarray, "batch tokens"], response_mask: Bool[np.ndarray, "batch tokens"]
) -> float:
    """Mean over responses of the mean over their tokens; every response weighs the same.

    mean_i (1/T_i) Σ_t x_it, which tends to E[Σ_t x_t / T]

    Args:
        values: one value a token; ignored (NaN included) where the mask is False.
        response_mask: True where a token counts; a row without any is no response.

    Returns:
        The mean, in the unit of the values; 0 if no token counts.

    Raises:
        TypeError: values are not numbers or the mask is not boolean.
        ValueError: shapes differ or a value that counts is not finite.

    Numerics:
        Relative error 1e-15 of the mean size of the values. Held by tests/reference/test_sequences.py.

    Source: claim `logged-entropies`, chapter tokens-and-sequences; "seq-mean-token-mean" in
        [verl2026aggregation].

    Example:
        >>> values = np.array([[1.0, 1.0, 1.0], [5.0, np.nan, np.nan]])
        >>> mean_of_response_means(values, np.isfinite(values))
        3.0
    """
    response_mask, values = over_tokens(response_mask, values=values)
    lengths = response_mask.sum(axis=-1)
    return float(mean_over_tokens(values.sum(axis=-1) / np.maximum(lengths, 1), lengths > 0))


def mean_of_response_sums(
    values: Real[np.ndarray, "batch tokens"], response_mask: Bool[np.ndarray, "batch tokens"]
) -> float:
    """Mean over responses of the sum over their tokens.

    mean_i Σ_t x_it, which tends to E[Σ_t x_t]; for token entropies, or −log π of the tokens taken, to H_seq

    Args:
        values: one value a token; ignored (NaN included) where the mask is False.
        response_mask: True where a token counts; a row without any is no response.

    Returns:
        The mean, in the unit of the values; 0 if no token counts.

    Raises:
        TypeError: values are not numbers or the mask is not boolean.
        ValueError: shapes differ or a value that counts is not finite.

    Numerics:
        Relative error 1e-15 of the mean size of the sums. Held by tests/reference/test_sequences.py.

    Source: claim `logged-entropies`, chapter tokens-and-sequences; "seq-mean-token-sum" in
        [verl2026aggregation].

    Example:
        >>> values = np.array([[1.0, 1.0, 1.0], [5.0, np.nan, np.nan]])
        >>> mean_of_response_sums(values, np.isfinite(values))
        4.0
    """
    response_mask, values = over_tokens(response_mask, values=values)
    return float(mean_over_tokens(values.sum(axis=-1), response_mask.any(axis=-1)))


def sequence_entropy_from_entropies(
    entropy: Real[np.ndarray, "batch tokens"], response_mask: Bool[np.ndarray, "batch tokens"]
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
        TypeError: entropy is not numbers or the mask is not boolean.
        ValueError: shapes differ or an entropy that counts is not finite.

    Numerics:
        Relative error 1e-15 of the estimate. Held by tests/reference/test_sequences.py.

    Source: claim `response-estimator-variances`, chapter tokens-and-sequences; [amini2025better].

    Example:
        >>> mask = np.array([[True, True], [True, False]])
        >>> sequence_entropy_from_entropies(np.array([[1.0, 1.0], [1.0, np.nan]]), mask)
        SequenceEntropyEstimate(estimate=1.5, standard_error=0.5)
    """
    response_mask, entropy = over_tokens(response_mask, entropy=entropy)
    return _estimate(entropy, response_mask)


def sequence_entropy_from_log_probs(
    token_log_probs: Real[np.ndarray, "batch tokens"], response_mask: Bool[np.ndarray, "batch tokens"]
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
        TypeError: token_log_probs are not numbers or the mask is not boolean.
        ValueError: shapes differ or a log-probability that counts is not finite.

    Numerics:
        Relative error 1e-15 of the estimate. Held by tests/reference/test_sequences.py.

    Source: claim `response-estimator-variances`, chapter tokens-and-sequences.

    Example:
        >>> mask = np.array([[True, True], [True, False]])
        >>> sequence_entropy_from_log_probs(np.array([[-1.0, -1.0], [-1.0, np.nan]]), mask)
        SequenceEntropyEstimate(estimate=1.5, standard_error=0.5)
    """
    response_mask, token_log_probs = over_tokens(response_mask, token_log_probs=token_log_probs)
    return _estimate(-token_log_probs, response_mask)


def _estimate(values, response_mask):
    sums = values.sum(axis=-1)[response_mask.any(axis=-1)]
    if sums.size < 2:
        return SequenceEntropyEstimate(float(sums.sum()), float("nan"))
    return SequenceEntropyEstimate(float(sums.mean()), float(sums.std(ddof=1) / np.sqrt(sums.size)))


def _read(logits, next_states, horizon):
    """Return logits, next states with the end as state number `states`, and the horizon."""
    logits, next_states = read_logits(logits), np.asarray(next_states)
    if isinstance(horizon, bool | np.bool_) or not isinstance(horizon, int | np.integer):
        raise TypeError(f"horizon must be an integer; {type(horizon).__name__} came. Pass a count of tokens.")
    if next_states.dtype.kind not in "iu":
        raise TypeError(
            f"next_states must be integers; {next_states.dtype} came. Use −1 where a response ends."
        )
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1; {horizon} came. A response has at least one token.")
    if logits.ndim < 2 or next_states.shape != logits.shape[-2:]:
        raise ValueError(
            f"logits must be [..., states, actions] and next_states [states, actions]; {logits.shape} and "
            f"{next_states.shape} came. One table of next states serves the whole batch."
        )
    states = logits.shape[-2]
    if next_states.min() < -1 or next_states.max() >= states:
        raise ValueError(
            f"next_states must lie in −1 … {states - 1}; {next_states.min()} … {next_states.max()} came. "
            "Give each state a row of logits; −1 ends the response."
        )
    return logits, np.where(next_states < 0, states, next_states), int(horizon)


def _flow(weights, next_states):
    """Return Σ_a w(s,a) 1[next(s,a) = v] for every state v and, in the last column, for the end."""
    states, rows = weights.shape[-2], weights[..., 0].size
    starts = (states + 1) * np.arange(rows).reshape(weights.shape[:-1])
    places = (starts[..., None] + next_states).ravel()
    sums = np.bincount(places, weights=weights.ravel(), minlength=(states + 1) * rows)
    return sums.reshape(*weights.shape[:-1], states + 1)


def _at_start(entropies):
    here = np.zeros_like(entropies)
    here[..., 0] = 1.0
    return here


def _forward(here, flow):
    return (here[..., None, :] @ flow[..., :-1])[..., 0, :]


def _occupancy(flow, horizon):
    """Return d_t(s), shape [..., horizon, states]."""
    path = [_at_start(flow[..., 0])]
    for _ in range(horizon - 1):
        path.append(_forward(path[-1], flow))
    return np.stack(path, axis=-2)


def _to_come(flow, paid, horizon):
    """Return what is still paid after t tokens in state s, shape [..., horizon + 1, states]."""
    path = [np.zeros_like(paid)]
    for _ in range(horizon):
        path.append(paid + (flow[..., :-1] @ path[-1][..., None])[..., 0])
    return np.stack(path[::-1], axis=-2)


def _after_each_token(occupancy, to_come, next_states):
    """Return Σ_t d_t(s) V_{t+1}(next(s,a)), 0 where a token ends the response."""
    by_state = np.swapaxes(occupancy, -1, -2) @ to_come[..., 1:, :]
    with_end = np.append(by_state, np.zeros_like(by_state[..., :1]), axis=-1)
    return with_end[..., np.arange(len(next_states))[:, None], next_states]


def _visits_and_future(logits, next_states, horizon):
    flow = _flow(probs(logits), next_states)
    occupancy = _occupancy(flow, horizon)
    to_come = _to_come(flow, entropy_of_states(logits), horizon)
    return occupancy.sum(axis=-2), _after_each_token(occupancy, to_come, next_states)
