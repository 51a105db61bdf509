"""Random finite Markov decision processes, and episodes sampled in them.

A process here is known exactly, so that a sampled estimate can be held against `reference.tabular`. The
estimator below knows no value function: it multiplies scores by sampled returns.

Episodes and estimates are computed in float64 on the device that the caller names. Random numbers are drawn
on the host, so equal seeds give equal episodes on every device.
"""

from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from entropy_core._shapes import Float, Real
from entropy_core.batched import check_logits, probs
from entropy_core.reference import expected_return
from entropy_core.simulators._host import to_device, to_host

__all__ = [
    "GradientEstimate",
    "Rollouts",
    "TabularMDP",
    "random_mdps",
    "rollouts",
    "sampled_return_gradient",
]


@dataclass(frozen=True)
class TabularMDP:
    """Finite Markov decision processes, one per instance.

    Args:
        transitions: P(v|s,a), shape [instances, states, actions, states].
        rewards: r(s,a), shape [instances, states, actions].
        discount: γ, in [0, 1).
        start_distribution: ρ, shape [instances, states].

    Raises:
        ValueError: a row of transitions is not a distribution, the discount is outside [0, 1), or shapes do
            not fit.
    """

    transitions: np.ndarray
    rewards: np.ndarray
    discount: float
    start_distribution: np.ndarray

    def __post_init__(self):
        """Let the reference layer say what is wrong: a process that it refuses has no return."""
        uniform = np.zeros(np.shape(self.rewards))
        expected_return(uniform, self.transitions, self.rewards, self.discount, self.start_distribution)


@dataclass(frozen=True)
class Rollouts:
    """Episodes of equal length.

    Args:
        states: state at each step, shape [instances, episodes, steps].
        actions: action taken there, same shape.
        rewards: reward received for it, same shape.
    """

    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray


@dataclass(frozen=True)
class GradientEstimate:
    """A mean over episodes and its standard error.

    Args:
        mean: estimate of ∂J/∂z, shape [instances, states, actions].
        standard_error: standard deviation over episodes divided by √episodes, same shape.
    """

    mean: np.ndarray
    standard_error: np.ndarray


def random_mdps(
    generator: np.random.Generator,
    instances: int,
    states: int,
    actions: int,
    branching: int = 3,
    discount: float = 0.9,
) -> TabularMDP:
    """Draw processes in which each action leads to a few random states.

    P(·|s,a) ~ Dirichlet(1, …, 1) on `branching` distinct states, r ~ N(0, 1), ρ ~ Dirichlet(1, …, 1)

    Args:
        generator: source of randomness; its state is advanced.
        instances: number of processes, at least 1.
        states: number of states, at least 1.
        actions: number of actions, at least 1.
        branching: number of states that an action can lead to, from 1 to `states`.
        discount: γ, in [0, 1).

    Returns:
        The processes, as one record.

    Raises:
        ValueError: a count is out of range, or the discount outside [0, 1).

    Numerics:
        Rows sum to 1 to rounding; tests/simulators/test_tabular_mdp.py.

    Source: chapter policy-gradient-theorem.

    Example:
        >>> random_mdps(np.random.default_rng(0), 2, 5, 3).transitions.sum(-1).round(12).min()
        np.float64(1.0)
    """
    if min(instances, states, actions) < 1 or not 1 <= branching <= states:
        raise ValueError(
            "random_mdps needs instances, states and actions ≥ 1 and 1 ≤ branching ≤ states, got "
            f"instances = {instances}, states = {states}, actions = {actions}, branching = {branching}; "
            "lower the branching or add states"
        )
    if not 0 <= discount < 1:
        raise ValueError(f"random_mdps needs a discount in [0, 1), got {discount}; lower it")
    shape = (instances, states, actions)
    reached = generator.random((*shape, states)).argsort(axis=-1)[..., :branching]
    transitions = np.zeros((*shape, states))
    np.put_along_axis(transitions, reached, generator.dirichlet(np.ones(branching), shape), axis=-1)
    start = generator.dirichlet(np.ones(states), instances)
    return TabularMDP(transitions, generator.normal(size=shape), float(discount), start)


def rollouts(
    generator: np.random.Generator,
    mdp: TabularMDP,
    logits: Real[np.ndarray, "instances states actions"],
    episodes: int,
    steps: int,
    device: str | torch.device = "cpu",
) -> Rollouts:
    """Sample episodes of a softmax policy.

    s_0 ~ ρ, a_t ~ π(·|s_t), s_{t+1} ~ P(·|s_t, a_t)

    Args:
        generator: source of randomness; its state is advanced.
        mdp: the processes.
        logits: z, in nats; −inf forbids an action.
        episodes: number of episodes in each process, at least 2: with one there is no standard error.
        steps: length of an episode, at least 1; what comes later weighs γ^steps.
        device: where to compute; it must know float64.

    Returns:
        States, actions and rewards of every step. Runs longer than five seconds show their progress.

    Raises:
        ValueError: logits do not fit the processes or a row of them is no policy, or there are too few
            episodes or steps.

    Numerics:
        The random numbers are float64; frequencies agree with `reference.state_occupancy` within their
        standard error; tests/simulators/test_tabular_mdp.py.

    Source: chapter policy-gradient-theorem.

    Example:
        >>> mdp = random_mdps(np.random.default_rng(0), instances=2, states=5, actions=3)
        >>> rollouts(np.random.default_rng(1), mdp, np.zeros((2, 5, 3)), episodes=4, steps=7).states.shape
        (2, 4, 7)
    """
    if logits.shape != mdp.rewards.shape:
        raise ValueError(
            f"logits must have one value per process, state and action, shape {mdp.rewards.shape}; shape "
            f"{logits.shape} came. Use np.broadcast_to for one policy in all processes."
        )
    if episodes < 2 or steps < 1:
        raise ValueError(f"rollouts needs episodes ≥ 2 and steps ≥ 1, got {episodes} and {steps}; add some")
    z = to_device(logits, device)
    check_logits(z)
    policy = _cumulative(probs(z))
    moves, start = (_cumulative(to_device(x, device)) for x in (mdp.transitions, mdp.start_distribution))
    instance = torch.arange(len(logits), device=device)[:, None]
    state = _sample(generator, start[:, None].expand(-1, episodes, -1))
    visited, taken = [], []
    for _ in tqdm(range(steps), desc="rollouts", delay=5, leave=False):
        action = _sample(generator, policy[instance, state])
        visited.append(state)
        taken.append(action)
        state = _sample(generator, moves[instance, state, action])
    states, actions = (to_host(torch.stack(x, dim=-1)) for x in (visited, taken))
    return Rollouts(states, actions, mdp.rewards[np.arange(len(logits))[:, None, None], states, actions])


def sampled_return_gradient(
    episodes: Rollouts,
    logits: Real[np.ndarray, "instances states actions"],
    discount: float,
    device: str | torch.device = "cpu",
) -> GradientEstimate:
    """Estimate the gradient of the return from episodes: scores times discounted returns, nothing else.

    ∂J/∂z ≈ mean over episodes of Σ_t ∇log π(a_t|s_t) Σ_{k≥t} γ^k r_k

    Args:
        episodes: sampled with the policy of these logits.
        logits: z, in nats.
        discount: γ, in [0, 1).
        device: where to compute; it must know float64.

    Returns:
        The mean over episodes and its standard error. No bias but that of the cut at the last step, which is
        at most γ^steps max|r| (steps + 1/(1 − γ)) / (1 − γ).

    Raises:
        ValueError: the discount is outside [0, 1), logits do not fit the episodes, or a row is no policy.

    Numerics:
        z-scores against `reference.return_gradient` have unit variance; tests/simulators/test_tabular_mdp.py.

    Source: claim `policy-gradient-rollouts`, chapter policy-gradient-theorem; [williams1992simple].
    """
    if not 0 <= discount < 1:
        raise ValueError(f"the discount must lie in [0, 1), got {discount}; use that of the process")
    if len(logits) != len(episodes.states):
        raise ValueError(
            f"logits hold {len(logits)} processes and the episodes {len(episodes.states)}; "
            "pass the logits that the episodes were sampled with"
        )
    z = to_device(logits, device)
    check_logits(z)
    weighted = episodes.rewards * discount ** np.arange(episodes.rewards.shape[-1])
    to_go = to_device(weighted, device).flip(-1).cumsum(dim=-1).flip(-1)
    taken = _totals(to_go, episodes.states, episodes.actions, logits.shape[-2:])
    by_episode = taken - taken.sum(dim=-1, keepdim=True) * probs(z)[:, None]
    spread = by_episode.std(dim=1) / by_episode.shape[1] ** 0.5
    return GradientEstimate(to_host(by_episode.mean(dim=1)), to_host(spread))


def _totals(
    weights: Float[torch.Tensor, "instances episodes steps"], states, actions, shape
) -> Float[torch.Tensor, "instances episodes states actions"]:
    """Sum weights over the steps of an episode, apart for each state and action."""
    cell = torch.from_numpy(states * shape[1] + actions).to(weights.device)
    totals = weights.new_zeros(*weights.shape[:2], shape[0] * shape[1])
    return totals.scatter_add(-1, cell, weights).unflatten(-1, shape)


def _cumulative(distributions):
    """Cumulative sums that end at exactly 1, so that nothing of probability 0 is ever drawn."""
    sums = distributions.cumsum(dim=-1)
    return sums / sums[..., -1:]


def _sample(generator, cumulative):
    """Draw one index from each cumulative distribution."""
    draws = to_device(generator.random((*cumulative.shape[:-1], 1)), cumulative.device)
    return (draws >= cumulative).sum(dim=-1)
