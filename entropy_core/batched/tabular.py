"""Values, occupancy and the gradient of the return in a finite Markov decision process, batched in torch.

One linear solve with I − γ P_π gives the state values, one with its transpose the occupancy; both pass
gradients. Whether transitions and start are distributions is not looked at: `check_transitions` does.
"""

import torch

from entropy_core._shapes import Float
from entropy_core.batched._primitives import Centre, Probs
from entropy_core.batched._tables import read_discount, read_start_distribution, read_tables

__all__ = [
    "action_values",
    "advantages",
    "expected_return",
    "return_gradient",
    "state_occupancy",
    "state_values",
]


def state_values(
    logits: Float[torch.Tensor, "*#batch states actions"],
    transitions: Float[torch.Tensor, "*#batch states actions states"],
    rewards: Float[torch.Tensor, "*#batch states actions"],
    discount: float | int,
) -> Float[torch.Tensor, "*batch states"]:
    """Expected discounted return from each state.

    V = (I − γ P_π)⁻¹ r_π, with P_π(v|s) = Σ_a π(a|s) P(v|s,a) and r_π(s) = Σ_a π(a|s) r(s,a)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), probabilities of the next state v, each row summing to 1; ignored (NaN
            included) at forbidden actions.
        rewards: r(s,a), finite at allowed actions, ignored at forbidden ones.
        discount: γ, in [0, 1).

    Returns:
        V, in units of reward, between min r/(1 − γ) and max r/(1 − γ).

    Raises:
        TypeError: a tensor is not of floating-point type, or discount is not a number.
        ValueError: discount is outside [0, 1), or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-14 states max|r| / (1 − γ)² in float64, 2e-6 in place of
        1e-14 in float32. Differentiable in every tensor, through the linear solve.
        tests/agreement/test_tabular.py, tests/batched/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> stay, pay = torch.ones(1, 1, 1), torch.ones(1, 1)
        >>> state_values(torch.zeros(1, 1), stay, pay, 0.75)
        tensor([4.])
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    return _state_values(Probs.apply(logits), transitions, rewards, read_discount(discount))


def action_values(
    logits: Float[torch.Tensor, "*#batch states actions"],
    transitions: Float[torch.Tensor, "*#batch states actions states"],
    rewards: Float[torch.Tensor, "*#batch states actions"],
    discount: float | int,
) -> Float[torch.Tensor, "*batch states actions"]:
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
        TypeError: a tensor is not of floating-point type, or discount is not a number.
        ValueError: discount is outside [0, 1), or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-14 states max|r| / (1 − γ)² in float64, 2e-6 in place of
        1e-14 in float32. Differentiable in every tensor, through the linear solve.
        tests/agreement/test_tabular.py, tests/batched/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> stay, pay = torch.ones(1, 2, 1), torch.tensor([[1.0, 0.0]])
        >>> action_values(torch.zeros(1, 2), stay, pay, 0.5)
        tensor([[1.5000, 0.5000]])
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    return _action_values(Probs.apply(logits), transitions, rewards, read_discount(discount))


def advantages(
    logits: Float[torch.Tensor, "*#batch states actions"],
    transitions: Float[torch.Tensor, "*#batch states actions states"],
    rewards: Float[torch.Tensor, "*#batch states actions"],
    discount: float | int,
) -> Float[torch.Tensor, "*batch states actions"]:
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
        TypeError: a tensor is not of floating-point type, or discount is not a number.
        ValueError: discount is outside [0, 1), or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-14 states (max r − min r) / (1 − γ)² in float64, 2e-6 in place of
        1e-14 in float32. Differentiable in every tensor, through the linear solve.
        tests/agreement/test_tabular.py, tests/batched/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> stay, pay = torch.ones(1, 2, 1), torch.tensor([[1.0, 0.0]])
        >>> advantages(torch.zeros(1, 2), stay, pay, 0.5)
        tensor([[ 0.5000, -0.5000]])
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    return _advantages(logits, transitions, rewards, read_discount(discount))


def state_occupancy(
    logits: Float[torch.Tensor, "*#batch states actions"],
    transitions: Float[torch.Tensor, "*#batch states actions states"],
    discount: float | int,
    start_distribution: Float[torch.Tensor, "*#batch states"],
) -> Float[torch.Tensor, "*batch states"]:
    """Share of discounted time that the policy spends in each state.

    d = (1 − γ) (I − γ P_π)⁻ᵀ ρ, that is d(s) = (1 − γ) Σ_t γ^t Pr(s_t = s)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), as for `state_values`.
        discount: γ, in [0, 1).
        start_distribution: ρ, probabilities summing to 1.

    Returns:
        d, probabilities summing to 1 over the states; 0 at states that are never reached.

    Raises:
        TypeError: a tensor is not of floating-point type, or discount is not a number.
        ValueError: discount is outside [0, 1), or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-14 states / (1 − γ) in float64, 2e-6 in place of
        1e-14 in float32. Differentiable in every tensor, through the linear solve.
        tests/agreement/test_tabular.py, tests/batched/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> to_second = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
        >>> state_occupancy(torch.zeros(2, 1), to_second, 0.75, torch.tensor([1.0, 0.0]))
        tensor([0.2500, 0.7500])
    """
    logits, transitions = read_tables(logits, transitions)
    start = read_start_distribution(start_distribution, logits)
    return _state_occupancy(Probs.apply(logits), transitions, read_discount(discount), start)


def expected_return(
    logits: Float[torch.Tensor, "*#batch states actions"],
    transitions: Float[torch.Tensor, "*#batch states actions states"],
    rewards: Float[torch.Tensor, "*#batch states actions"],
    discount: float | int,
    start_distribution: Float[torch.Tensor, "*#batch states"],
) -> Float[torch.Tensor, "*batch"]:
    """Expected discounted return of the policy from its start.

    J = Σ_s ρ(s) V(s)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), as for `state_values`.
        rewards: r(s,a), finite at allowed actions, ignored at forbidden ones.
        discount: γ, in [0, 1).
        start_distribution: ρ, probabilities summing to 1.

    Returns:
        J, one value per row of the batch, in units of reward.

    Raises:
        TypeError: a tensor is not of floating-point type, or discount is not a number.
        ValueError: discount is outside [0, 1), or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-14 states max|r| / (1 − γ)² in float64, 2e-6 in place of
        1e-14 in float32. Differentiable in every tensor, through the linear solve.
        tests/agreement/test_tabular.py, tests/batched/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy].

    Example:
        >>> to_second, pay = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]]), torch.tensor([[0.0], [1.0]])
        >>> expected_return(torch.zeros(2, 1), to_second, pay, 0.75, torch.tensor([1.0, 0.0]))
        tensor(3.)
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    start = read_start_distribution(start_distribution, logits)
    values = _state_values(Probs.apply(logits), transitions, rewards, read_discount(discount))
    return (start * values).sum(dim=-1)


def return_gradient(
    logits: Float[torch.Tensor, "*#batch states actions"],
    transitions: Float[torch.Tensor, "*#batch states actions states"],
    rewards: Float[torch.Tensor, "*#batch states actions"],
    discount: float | int,
    start_distribution: Float[torch.Tensor, "*#batch states"],
) -> Float[torch.Tensor, "*batch states actions"]:
    """Gradient of the expected return in the logits: the exact policy gradient.

    ∂J/∂z(s,a) = d(s) π(a|s) A(s,a) / (1 − γ)

    Args:
        logits: z, in nats; −inf forbids an action; a constant per state cancels.
        transitions: P(v|s,a), as for `state_values`.
        rewards: r(s,a), finite at allowed actions, ignored at forbidden ones; a common constant cancels.
        discount: γ, in [0, 1).
        start_distribution: ρ, probabilities summing to 1.

    Returns:
        ∂J/∂z, in units of reward per nat, summing to 0 over the actions of a state; 0 at forbidden actions.

    Raises:
        TypeError: a tensor is not of floating-point type, or discount is not a number.
        ValueError: discount is outside [0, 1), or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-14 states (max r − min r) / (1 − γ)³ in float64, 2e-6 in place of
        1e-14 in float32. Equals what autograd
        finds for `expected_return`. Differentiable in every tensor, through the linear solve.
        tests/agreement/test_tabular.py, tests/batched/test_tabular.py.

    Source: claim `policy-gradient-theorem`, chapter policy-gradient-theorem; [sutton2000policy, Theorem 1].

    Example:
        >>> stay, pay = torch.ones(1, 2, 1), torch.tensor([[1.0, 0.0]])
        >>> return_gradient(torch.zeros(1, 2), stay, pay, 0.5, torch.ones(1))
        tensor([[ 0.5000, -0.5000]])
    """
    logits, transitions, rewards = read_tables(logits, transitions, rewards=rewards)
    start, discount = read_start_distribution(start_distribution, logits), read_discount(discount)
    policy = Probs.apply(logits)
    visits = _state_occupancy(policy, transitions, discount, start).unsqueeze(-1) / (1 - discount)
    return visits * policy * _advantages(logits, transitions, rewards, discount)


def _flow_matrix(policy, transitions, discount):
    """Return I − γ P_π."""
    under_policy = torch.einsum("...sa,...sav->...sv", policy, transitions)
    return torch.eye(policy.shape[-2], dtype=policy.dtype, device=policy.device) - discount * under_policy


def _state_values(policy, transitions, rewards, discount):
    under_policy = (policy * rewards).sum(dim=-1, keepdim=True)
    return torch.linalg.solve(_flow_matrix(policy, transitions, discount), under_policy).squeeze(-1)


def _action_values(policy, transitions, rewards, discount):
    values = _state_values(policy, transitions, rewards, discount)
    return rewards + discount * torch.einsum("...sav,...v->...sa", transitions, values)


def _state_occupancy(policy, transitions, discount, start):
    flow = _flow_matrix(policy, transitions, discount).mT
    return torch.linalg.solve(flow, (1 - discount) * start.unsqueeze(-1)).squeeze(-1)


def _advantages(logits, transitions, rewards, discount):
    """Return Q − E Q for rewards less a constant, so that a common offset costs no digit."""
    allowed = logits != -torch.inf
    top = torch.where(allowed, rewards, -torch.inf).amax(dim=(-2, -1), keepdim=True).detach()
    shifted = torch.where(allowed, rewards - top, 0.0)
    return Centre.apply(_action_values(Probs.apply(logits), transitions, shifted, discount), logits)
