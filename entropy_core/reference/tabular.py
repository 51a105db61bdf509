"""Values, occupancy and the gradient of the return for a softmax policy in a finite Markov decision process.

One linear solve with I − γ P_π gives the state values, one with its transpose the occupancy. States lie on
the axis before the actions; the last axis of the transitions is the next state. The condition number of
I − γ P_π is at most 2/(1 − γ), which is what the errors below promise.
"""

import numpy as np

from entropy_core._shapes import Float, Real
from entropy_core.reference._moments import centred, per_row, softmax_weights
from entropy_core.reference._tables import read_discount, read_start_distribution, read_tables
from entropy_core.reference._validation import allowed_actions

__all__ = [
    "action_values",
    "advantages",
    "expected_return",
    "return_gradient",
    "state_occupancy",
    "state_values",
]


def state_values(
    logits: Real[np.ndarray, "*#batch states actions"],
    transitions: Real[np.ndarray, "*#batch states actions states"],
    rewards: Real[np.ndarray, "*#batch states actions"],
    discount: float | int,
) -> Float[np.ndarray, "*batch states"]:
    """Expected discounted return from each state.

    V = (I − γ P_π)⁻¹ r_π, with P_π(v|s) = Σ_a π(a|s) P(v|s,a) and r_π(s) = Σ_a π(a|s) r(s,a)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), probabilities of the next state v, each row summing to 1 within 1e-9; ignored
            (NaN included) at forbidden actions.
        rewards: r(s,a), finite at allowed actions, ignored at forbidden ones.
        discount: γ, in [0, 1).

    Returns:
        V, in units of reward, between min r/(1 − γ) and max r/(1 − γ).

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: logits are not a policy, transitions are not distributions, rewards are not finite,
            discount is outside [0, 1), or shapes do not fit.

    Numerics:
        Error ≤ 1e-14 states max|r| / (1 − γ)². Held by tests/agreement/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> stay, pay = np.ones((1, 1, 1)), np.ones((1, 1))
        >>> state_values(np.zeros((1, 1)), stay, pay, 0.75)
        array([4.])
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    return _state_values(_probs(logits), transitions, rewards, read_discount(discount))


def action_values(
    logits: Real[np.ndarray, "*#batch states actions"],
    transitions: Real[np.ndarray, "*#batch states actions states"],
    rewards: Real[np.ndarray, "*#batch states actions"],
    discount: float | int,
) -> Float[np.ndarray, "*batch states actions"]:
    """Expected discounted return from each state after each action.

    Q(s,a) = r(s,a) + γ Σ_v P(v|s,a) V(v)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), as for `state_values`.
        rewards: r(s,a), finite at allowed actions, ignored at forbidden ones.
        discount: γ, in [0, 1).

    Returns:
        Q, in units of reward; 0 at forbidden actions.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: as for `state_values`.

    Numerics:
        Error ≤ 1e-14 states max|r| / (1 − γ)². Held by tests/agreement/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> stay, pay = np.ones((1, 2, 1)), np.array([[1.0, 0.0]])
        >>> action_values(np.zeros((1, 2)), stay, pay, 0.5)
        array([[1.5, 0.5]])
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    return _action_values(_probs(logits), transitions, rewards, read_discount(discount))


def advantages(
    logits: Real[np.ndarray, "*#batch states actions"],
    transitions: Real[np.ndarray, "*#batch states actions states"],
    rewards: Real[np.ndarray, "*#batch states actions"],
    discount: float | int,
) -> Float[np.ndarray, "*batch states actions"]:
    """How much better each action is than the policy's average at its state.

    A(s,a) = Q(s,a) − V(s)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), as for `state_values`.
        rewards: r(s,a), finite at allowed actions, ignored at forbidden ones; a common constant cancels.
        discount: γ, in [0, 1).

    Returns:
        A, in units of reward, with mean 0 under π at every state; 0 at forbidden actions.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: as for `state_values`.

    Numerics:
        Error ≤ 1e-14 states (max r − min r) / (1 − γ)², whatever the offset of the rewards as stored. Held by
        tests/agreement/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> stay, pay = np.ones((1, 2, 1)), np.array([[1.0, 0.0]])
        >>> advantages(np.zeros((1, 2)), stay, pay, 0.5)
        array([[ 0.5, -0.5]])
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    return _advantages(logits, transitions, rewards, read_discount(discount))


def state_occupancy(
    logits: Real[np.ndarray, "*#batch states actions"],
    transitions: Real[np.ndarray, "*#batch states actions states"],
    discount: float | int,
    start_distribution: Real[np.ndarray, "*#batch states"],
) -> Float[np.ndarray, "*batch states"]:
    """Share of discounted time that the policy spends in each state.

    d = (1 − γ) (I − γ P_π)⁻ᵀ ρ, that is d(s) = (1 − γ) Σ_t γ^t Pr(s_t = s)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), as for `state_values`.
        discount: γ, in [0, 1).
        start_distribution: ρ, probabilities summing to 1 within 1e-9.

    Returns:
        d, probabilities summing to 1 over the states; 0 at states that are never reached.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: as for `state_values`, or start_distribution is not a distribution.

    Numerics:
        Error ≤ 1e-14 states / (1 − γ), absolute: occupancies below that have no correct digit. Held by
        tests/agreement/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> to_second = np.array([[[0.0, 1.0]], [[0.0, 1.0]]])
        >>> state_occupancy(np.zeros((2, 1)), to_second, 0.75, np.array([1.0, 0.0]))
        array([0.25, 0.75])
    """
    logits, transitions = read_tables(logits, transitions)
    start = read_start_distribution(start_distribution, logits)
    return _state_occupancy(_probs(logits), transitions, read_discount(discount), start)


def expected_return(
    logits: Real[np.ndarray, "*#batch states actions"],
    transitions: Real[np.ndarray, "*#batch states actions states"],
    rewards: Real[np.ndarray, "*#batch states actions"],
    discount: float | int,
    start_distribution: Real[np.ndarray, "*#batch states"],
) -> Float[np.ndarray, "*batch"] | np.float64:
    """Expected discounted return of the policy from its start.

    J = Σ_s ρ(s) V(s)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), as for `state_values`.
        rewards: r(s,a), finite at allowed actions, ignored at forbidden ones.
        discount: γ, in [0, 1).
        start_distribution: ρ, probabilities summing to 1 within 1e-9.

    Returns:
        J, one value per row of the batch, in units of reward.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: as for `state_occupancy`.

    Numerics:
        Error ≤ 1e-14 states max|r| / (1 − γ)². Held by tests/agreement/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> to_second, pay = np.array([[[0.0, 1.0]], [[0.0, 1.0]]]), np.array([[0.0], [1.0]])
        >>> print(expected_return(np.zeros((2, 1)), to_second, pay, 0.75, np.array([1.0, 0.0])))
        3.0
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    start = read_start_distribution(start_distribution, logits)
    values = _state_values(_probs(logits), transitions, rewards, read_discount(discount))
    return (start * values).sum(axis=-1)


def return_gradient(
    logits: Real[np.ndarray, "*#batch states actions"],
    transitions: Real[np.ndarray, "*#batch states actions states"],
    rewards: Real[np.ndarray, "*#batch states actions"],
    discount: float | int,
    start_distribution: Real[np.ndarray, "*#batch states"],
) -> Float[np.ndarray, "*batch states actions"]:
    """Gradient of the expected return in the logits: the exact policy gradient.

    ∂J/∂z(s,a) = d(s) π(a|s) A(s,a) / (1 − γ)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), as for `state_values`.
        rewards: r(s,a), finite at allowed actions, ignored at forbidden ones; a common constant cancels.
        discount: γ, in [0, 1).
        start_distribution: ρ, probabilities summing to 1 within 1e-9.

    Returns:
        ∂J/∂z, in units of reward per nat, summing to 0 over the actions of a state; 0 at forbidden actions.

    Raises:
        TypeError: an argument is not real numbers that float64 holds.
        ValueError: as for `state_occupancy`.

    Numerics:
        Error ≤ 1e-14 states (max r − min r) / (1 − γ)³, absolute, whatever the offset of the rewards as
        stored. Held by tests/agreement/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy, Theorem 1].

    Example:
        >>> stay, pay = np.ones((1, 2, 1)), np.array([[1.0, 0.0]])
        >>> return_gradient(np.zeros((1, 2)), stay, pay, 0.5, np.ones(1))
        array([[ 0.5, -0.5]])
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    start, discount = read_start_distribution(start_distribution, logits), read_discount(discount)
    policy = _probs(logits)
    visits = _state_occupancy(policy, transitions, discount, start)[..., None] / (1 - discount)
    return 0.0 + visits * policy * _advantages(logits, transitions, rewards, discount)


def _probs(logits):
    weights = softmax_weights(logits)
    return weights / weights.sum(axis=-1, keepdims=True)


def _flow_matrix(policy, transitions, discount):
    """Return I − γ P_π."""
    under_policy = np.einsum("...sa,...sav->...sv", policy, transitions)
    return np.eye(transitions.shape[-1]) - discount * under_policy


def _state_values(policy, transitions, rewards, discount):
    under_policy = (policy * rewards).sum(axis=-1, keepdims=True)
    return per_row(np.linalg.solve(_flow_matrix(policy, transitions, discount), under_policy))


def _action_values(policy, transitions, rewards, discount):
    values = _state_values(policy, transitions, rewards, discount)
    return rewards + discount * np.einsum("...sav,...v->...sa", transitions, values)


def _state_occupancy(policy, transitions, discount, start):
    flow = np.swapaxes(_flow_matrix(policy, transitions, discount), -1, -2)
    return per_row(np.linalg.solve(flow, (1 - discount) * start[..., None]))


def _advantages(logits, transitions, rewards, discount):
    """Return Q − E Q for rewards less a constant, so that a common offset costs no digit."""
    allowed, weights = allowed_actions(logits), softmax_weights(logits)
    top = np.where(allowed, rewards, -np.inf).max(axis=(-2, -1), keepdims=True)
    q = _action_values(_probs(logits), transitions, np.where(allowed, rewards - top, 0.0), discount)
    return np.where(allowed, centred(q, weights), 0.0)
