"""Every answer of a policy at once: a tree of prefixes, in which expectations are sums and nothing is drawn.

Prefixes stand as `prefix_logits` orders them. Position t stands for the prefixes of t − 1 tokens. What is a
mean over prefixes weighs each by the probability that an answer passes through it.
"""

from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from entropy_core._shapes import Float, Int
from entropy_core.batched import log_probs, probs, step_moments
from entropy_core.simulators.tiny_lm.model import TinyLM
from entropy_core.simulators.tiny_lm.prefixes import (
    PREFIXES,
    TOKENS,
    joint_log_probs,
    prefix_logits,
    prefix_visits,
)
from entropy_core.simulators.tiny_lm.tasks import ANSWER_LENGTH, Task, is_right
from entropy_core.simulators.tiny_lm.training import Run, advance

__all__ = [
    "PrefixTree",
    "TreeStep",
    "advance_with_trees",
    "answer_token_log_probs",
    "answer_probs",
    "measure_trees",
    "read_prefix_tree",
    "sum_by_position",
]


class PrefixTree(NamedTuple):
    """A policy at every prefix of the answers to some prompts, in float64.

    Args:
        logits: z of the next token in nats, shape [prompts, 157, 12].
        visits: probability that an answer passes through the prefix, shape [prompts, 157].
        rewards: 1 where a token completes a right answer, else 0, the shape of logits.
        advantages: A = Q − V of each token under the policy, the shape of logits.
        state_values: V, probability of a right answer from the prefix on, the shape of visits.
    """

    logits: torch.Tensor
    visits: torch.Tensor
    rewards: torch.Tensor
    advantages: torch.Tensor
    state_values: torch.Tensor


class TreeStep(NamedTuple):
    """A step of a policy, exact at every prefix; arrays have shape [prompts, 3], sums over a position.

    Args:
        expected_reward: probability of a right answer before the step, shape [prompts].
        entropy: Σ d H before it, in nats; the sum over positions is the entropy of the answer.
        entropy_change: Σ d ΔH, exact, with d of before; in nats.
        realised_covariance: Σ d Cov(log π, Δz) with the logits' change as it came about, in nats².
        natural_covariance: Σ d Cov(log π, A), that of the natural gradient of a table, in nats.
        plain_covariance: Σ d Cov(log π, d π A), that of the plain gradient of a table, in nats.
        natural_alignment: correlation of Δz and A over the tokens of a prefix, variances and covariance taken
            together over all prefixes and prompts; 1 for a natural step of any size, 0 for none.
        plain_alignment: the same of Δz and d π A.
    """

    expected_reward: np.ndarray
    entropy: np.ndarray
    entropy_change: np.ndarray
    realised_covariance: np.ndarray
    natural_covariance: np.ndarray
    plain_covariance: np.ndarray
    natural_alignment: float
    plain_alignment: float


def read_prefix_tree(model: TinyLM, task: Task, prompts: Int[torch.Tensor, "prompts length"]) -> PrefixTree:
    """Read a policy at every prefix, each once, and work out who gains what.

    d(s) = Π π of the prefix's tokens, V(s) = Σ_a π(a|s) Q(s, a), A = Q − V

    Args:
        model: the policy.
        task: the task.
        prompts: token indices, on the model's device.

    Returns:
        The tree, without a gradient. A prompt costs as much as 50 answers.

    Example:
        >>> from entropy_core.simulators.tiny_lm import DIGIT_SUM, encode, make_model
        >>> uniform, prompts = make_model(np.random.default_rng(0)), torch.tensor([encode("13=")])
        >>> tree = read_prefix_tree(uniform, DIGIT_SUM, prompts)
        >>> print(f"{answer_probs(tree)[tree.rewards[:, 13:].flatten(1) == 1].sum() * 12**3:.3f}")
        75.000
    """
    logits = prefix_logits(model, prompts).double()
    everything = torch.cartesian_prod(*[torch.arange(TOKENS, device=prompts.device)] * ANSWER_LENGTH)
    asked = prompts.repeat_interleave(len(everything), dim=0)
    right = is_right(task, asked, everything.repeat(len(prompts), 1))
    rewards = torch.zeros_like(logits)
    rewards[:, -PREFIXES[-1] :] = right.view(len(prompts), -1, TOKENS).to(logits.dtype)
    policy = probs(logits)
    visits, state_values, action_values = prefix_visits(logits), *_values(policy, rewards)
    return PrefixTree(logits, visits, rewards, action_values - state_values[..., None], state_values)


def answer_token_log_probs(tree: PrefixTree) -> Float[torch.Tensor, "prompts answers tokens"]:
    """Log-probability of each token of every answer.

    Args:
        tree: of a policy.

    Returns:
        ℓ in nats, shape [prompts, 1728, 3], answers in the order of their tokens as digits of base 12.
    """
    ell = log_probs(tree.logits).split(PREFIXES, dim=1)
    count = TOKENS**ANSWER_LENGTH
    columns = [part.flatten(1).repeat_interleave(count // part[0].numel(), dim=1) for part in ell]
    return torch.stack(columns, dim=-1)


def answer_probs(tree: PrefixTree) -> Float[torch.Tensor, "prompts answers"]:
    """Probability of every answer.

    Args:
        tree: of a policy.

    Returns:
        One probability an answer, shape [prompts, 1728], in the order of `answer_token_log_probs`.
    """
    return joint_log_probs(tree.logits).exp().flatten(1)


def sum_by_position(
    tree: PrefixTree, values: Float[torch.Tensor, "prompts prefixes"]
) -> Float[torch.Tensor, "prompts positions"]:
    """What a value at prefixes is on average when an answer is at its first, second and third token.

    Σ d(s) x(s) over the prefixes s of a position

    Args:
        tree: of a policy; gives d.
        values: one number a prefix.

    Returns:
        Shape [prompts, 3], in units of the values.
    """
    return torch.stack([part.sum(-1) for part in (tree.visits * values).split(PREFIXES, dim=-1)], dim=-1)


def measure_trees(before: PrefixTree, after: PrefixTree) -> TreeStep:
    """What a step did at every prefix, and what the advantages there had asked for.

    Args:
        before: tree of the policy before the step.
        after: of the policy after it, for the same prompts.

    Returns:
        The measurement.
    """
    delta_logits = after.logits - before.logits
    moved, policy = step_moments(before.logits, delta_logits), probs(before.logits)
    plain = before.visits[..., None] * policy * before.advantages
    ell, *pushes = (
        x - (policy * x).sum(-1, keepdim=True)
        for x in (log_probs(before.logits), delta_logits, before.advantages, plain)
    )
    values = (
        moved.entropy,
        moved.entropy_change,
        moved.covariance,
        *((policy * ell * push).sum(-1) for push in pushes[1:]),
    )
    weight = before.visits[..., None] * policy
    realised, *asked = ((push, (weight * push**2).sum().item()) for push in pushes)
    alignments = [_alignment(weight, realised, push) for push in asked]
    return TreeStep(
        before.state_values[:, 0].cpu().numpy(),
        *(sum_by_position(before, value).cpu().numpy() for value in values),
        *alignments,
    )


def advance_with_trees(run: Run, prompts: Int[torch.Tensor, "prompts length"], steps: int) -> list[TreeStep]:
    """Take a run some steps further, in place, and measure each at every prefix of the given prompts.

    Args:
        run: the run; it is changed as `advance` changes it.
        prompts: token indices, on the model's device.
        steps: number of rollouts.

    Returns:
        One measurement a step. More than five seconds show their progress.
    """
    trees = [read_prefix_tree(run.model, run.task, prompts)]
    for _ in tqdm(range(steps), delay=5, desc=f"{run.settings.arm}, every answer"):
        trees.append(read_prefix_tree(advance(run, 1).model, run.task, prompts))
    return [measure_trees(*pair) for pair in zip(trees[:-1], trees[1:], strict=True)]


def _values(policy, rewards):
    """Return the expected reward from each prefix and after each token, the last ones first."""
    later, states, tokens = rewards[:, -PREFIXES[-1] :], [], []
    for part in reversed(policy.split(PREFIXES, dim=1)):
        tokens.insert(0, later)
        states.insert(0, (part * later).sum(-1))
        later = states[0].view(len(policy), -1, TOKENS if part.shape[1] > 1 else 1)
    return torch.cat(states, dim=1), torch.cat(tokens, dim=1)


def _alignment(weight, first, second):
    """Return the correlation of two pushes, each with its mean square; 0 where one of them is 0."""
    (x, x_square), (y, y_square) = first, second
    product = (x_square * y_square) ** 0.5
    return (weight * x * y).sum().item() / product if product else 0.0
