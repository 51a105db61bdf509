r"""Responses of several tokens in groups, trained under any loss over the tokens of the whole batch.

A prompt has a few positions, each a state of its own with its own logits, and asks for one token at each. A
response is right if the token at every position is; all its tokens share the advantage of the response, the
reward standardised within the prompt's group. So a batch pools tokens of many states, and a wrong response
blames all of its tokens: what Clip-Cov and KL-Cov have to work with.

Nothing is shared between positions or prompts. A round draws one batch; every inner step is one step of plain
gradient descent on the objective of that whole batch. float64; random numbers are drawn on the host.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from entropy_core._shapes import Bool, Float
from entropy_core.batched import (
    absolute_log_ratio,
    clip_cov_loss,
    clip_cov_selection,
    entropy,
    group_normalised_advantages,
    kl_cov_loss,
    kl_cov_selection,
    kl_divergence,
    log_probs,
    sampled_kl_divergence,
)
from entropy_core.simulators._bandits import drawn
from entropy_core.simulators._host import to_host
from entropy_core.simulators.bandit import aligned_bandits

__all__ = [
    "ResponseBatch",
    "ResponseRun",
    "absolute_penalty",
    "aligned_responses",
    "clip_cov_objective",
    "divergence_penalty",
    "draw_responses",
    "group_ascent",
    "group_objective",
    "kl_cov_objective",
    "sampled_penalty",
]

_Objective = Callable[["ResponseBatch", Tensor, int], Tensor]
_Penalty = Callable[["ResponseBatch", Tensor], Tensor]


@dataclass(frozen=True)
class ResponseBatch:
    """One batch of responses and the policy that drew it; batch = prompts × group size.

    Args:
        old_logits: z of the policy that drew, shape [prompts, tokens, actions].
        taken: the action of each token, shape [batch, tokens].
        old_log_probs: log π_old of each token, in nats.
        advantages: A of each token, the same throughout a response.
        response_mask: True everywhere: responses have equal length.
    """

    old_logits: Tensor
    taken: Tensor
    old_log_probs: Tensor
    advantages: Tensor
    response_mask: Tensor

    def over_responses(self, values: Tensor) -> Tensor:
        """Give each response its prompt's values: from [prompts, tokens, ...] to [batch, tokens, ...]."""
        return values.repeat_interleave(len(self.taken) // len(self.old_logits), dim=0)

    def token_log_probs(self, logits: Tensor) -> Tensor:
        """Give log π of each token under these logits, in nats, differentiable; shape [batch, tokens]."""
        return self._of_taken(log_probs(logits))

    def entropy_losses(self) -> Tensor:
        """Give what each token's own push costs in entropy, per unit of step: (S − E S) A, S = π(log π + H).

        Returns:
            One number a token, positive where the push lowers entropy. The mean over the tokens of a state is
            minus the first-order entropy change of a policy gradient step.
        """
        ell = log_probs(self.old_logits)
        weights = ell.exp() * (ell + entropy(self.old_logits)[..., None])
        apart = weights - (ell.exp() * weights).sum(dim=-1, keepdim=True)
        return self._of_taken(apart) * self.advantages

    def logits_after(self, kept: Tensor, step_size: float) -> Tensor:
        """Give the logits after one plain policy gradient step by the kept tokens: z + (η/G) Σ A (e − π)."""
        group_size = len(self.taken) // len(self.old_logits)
        pushes = (kept * self.advantages)[..., None].reshape(-1, group_size, *self.taken.shape[1:], 1)
        taken = self.taken.reshape(-1, group_size, self.taken.shape[1], 1)
        step = -log_probs(self.old_logits).exp() * pushes.sum(dim=1)
        for one in range(group_size):
            step = step.scatter_add(-1, taken[:, one], pushes[:, one])
        return self.old_logits + step_size * step / group_size

    def _of_taken(self, values: Tensor) -> Tensor:
        return self.over_responses(values).gather(-1, self.taken[..., None])[..., 0]


@dataclass(frozen=True)
class ResponseRun:
    """What a run recorded before the first round and after each.

    Args:
        entropies: H in nats, mean over positions and prompts, shape [rounds + 1].
        expected_returns: exact probability that a response is right, mean over prompts.
        final_logits: z at the end.
    """

    entropies: np.ndarray
    expected_returns: np.ndarray
    final_logits: np.ndarray


def aligned_responses(
    generator: np.random.Generator,
    prompts: int,
    tokens: int,
    actions: int,
    right_actions: int,
    alignment: float,
    logit_scale: float = 2.0,
) -> tuple[Float[np.ndarray, "prompts tokens actions"], Bool[np.ndarray, "prompts tokens actions"]]:
    """Draw a policy for each position of each prompt, and which actions are right there.

    z = logit_scale · (ρ r + √(1 − ρ²) ε), right where r is among the largest `right_actions` of the position

    Args:
        generator: source of randomness; its state is advanced.
        prompts: number of prompts.
        tokens: positions of a response.
        actions: actions at each position.
        right_actions: how many of them are right, from 1 to actions − 1.
        alignment: ρ in [−1, 1], the correlation of logits with what decides who is right.
        logit_scale: standard deviation of the logits, positive.

    Returns:
        (logits, right).

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> logits, right = aligned_responses(np.random.default_rng(0), 2, 3, 10, 4, 0.5)
        >>> logits.shape, right.sum(axis=-1).tolist()
        ((2, 3, 10), [[4, 4, 4], [4, 4, 4]])
    """
    if not 1 <= right_actions < actions:
        raise ValueError(
            f"right_actions must be from 1 to actions − 1, got {right_actions} of {actions}; "
            "where all are right nothing is learnt"
        )
    logits, merits = aligned_bandits(generator, prompts * tokens, actions, alignment, logit_scale)
    right = np.argsort(np.argsort(-merits, axis=-1), axis=-1) < right_actions
    return logits.reshape(prompts, tokens, actions), right.reshape(prompts, tokens, actions)


def draw_responses(
    generator: np.random.Generator, logits: Tensor, right: Tensor, group_size: int = 8
) -> ResponseBatch:
    """Draw a group of responses to every prompt and standardise their rewards within the group.

    A = (r − mean r) / std r, std with ddof 1; 0 where all responses of a prompt agree

    Args:
        generator: source of randomness; its state is advanced.
        logits: z of each position, shape [prompts, tokens, actions]; its gradient is not followed.
        right: which actions are right, same shape, boolean.
        group_size: responses to each prompt, at least 2.

    Returns:
        The batch.

    Raises:
        ValueError: if shapes differ or the group is too small.
    """
    if logits.shape != right.shape or logits.ndim != 3 or group_size < 2:
        raise ValueError(
            "draw_responses needs logits and right of one shape [prompts, tokens, actions] and "
            f"group_size ≥ 2, got {tuple(logits.shape)}, {tuple(right.shape)} and {group_size}; "
            "see aligned_responses"
        )
    old_logits = logits.detach().clone()
    ell, (prompts, tokens, _) = log_probs(old_logits), logits.shape
    uniforms = generator.random((prompts, group_size, tokens)).swapaxes(1, 2)
    taken = drawn(uniforms, ell.exp()).swapaxes(1, 2)
    all_right = right[:, None].expand(-1, group_size, -1, -1).gather(-1, taken[..., None])[..., 0].all(dim=-1)
    advantages = group_normalised_advantages(all_right.to(ell), epsilon=0)
    of_tokens = advantages.reshape(-1, 1).expand(-1, tokens)
    old = ell[:, None].expand(-1, group_size, -1, -1).gather(-1, taken[..., None])[..., 0].reshape(-1, tokens)
    mask = torch.ones_like(of_tokens, dtype=torch.bool)
    return ResponseBatch(old_logits, taken.reshape(-1, tokens), old, of_tokens, mask)


def group_ascent(
    generator: np.random.Generator,
    logits: Float[np.ndarray, "prompts tokens actions"],
    right: Bool[np.ndarray, "prompts tokens actions"],
    objective: _Objective,
    step_size: float,
    rounds: int,
    inner_steps: int,
    group_size: int = 8,
    device: str | torch.device = "cpu",
) -> ResponseRun:
    """Descend an objective over the tokens of each batch, several steps a batch.

    z ← z − η · (number of states) · ∂objective/∂z, the objective a mean over all tokens

    Args:
        generator: source of the responses; its state is advanced.
        logits: z before the first round.
        right: which actions are right.
        objective: from (batch, logits, number of the step) to the loss, such as `group_objective`.
        step_size: η, positive: the step of each state when the loss is the mean over its own tokens.
        rounds: number of batches, at least 1.
        inner_steps: steps on each, at least 1; in the first π = π_old.
        group_size: responses to each prompt in a batch.
        device: where to compute; it must know float64.

    Returns:
        The record. Runs longer than five seconds show their progress.

    Raises:
        ValueError: if shapes differ or a number is out of its range.
    """
    if min(rounds, inner_steps) < 1 or not step_size > 0:
        raise ValueError(
            f"group_ascent needs rounds and inner_steps ≥ 1 and step_size > 0, got {rounds}, {inner_steps} "
            f"and {step_size}; to look at one batch use draw_responses"
        )
    moved = torch.tensor(logits, dtype=torch.float64, device=device)
    right, records = torch.tensor(right, device=device), []
    states, number = moved.shape[0] * moved.shape[1], 0
    for _ in tqdm(range(rounds), desc="group ascent", delay=5, leave=False):
        records.append(_measured(moved, right))
        batch = draw_responses(generator, moved, right, group_size)
        for _ in range(inner_steps):
            leaf = moved.requires_grad_()
            (gradient,) = torch.autograd.grad(objective(batch, leaf, number), leaf)
            moved, number = moved.detach() - step_size * states * gradient, number + 1
    records.append(_measured(moved, right))
    return ResponseRun(*np.array(records).T, final_logits=to_host(moved))


def group_objective(batch: ResponseBatch, logits: Tensor, number: int) -> Tensor:
    """GRPO's loss without clip and without KL: −mean(ratio · A).

    Args:
        batch: the responses.
        logits: z of the policy that is trained.
        number: of the step; not used.

    Returns:
        The loss.
    """
    ratios = (batch.token_log_probs(logits) - batch.old_log_probs).exp()
    return -(ratios * batch.advantages).mean()


def clip_cov_objective(
    fraction: float,
    covariance_low: float,
    covariance_high: float,
    clip_low: float = 1.0,
    clip_high: float = float("inf"),
) -> _Objective:
    """Make the objective of Clip-Cov: the selected tokens are dropped, drawn anew at each step.

    Args:
        fraction: r, share of tokens dropped at most.
        covariance_low: ω_low.
        covariance_high: ω_high.
        clip_low: distance of the ratio from 1 below which it does not count; 1 never clips.
        clip_high: the same above; infinity never clips.

    Returns:
        The objective, for `group_ascent`.
    """

    def objective(batch, logits, number):
        new = batch.token_log_probs(logits)
        tokens = new.detach(), batch.advantages, batch.response_mask
        selection = clip_cov_selection(*tokens, fraction, covariance_low, covariance_high, number)
        values = new, batch.old_log_probs, batch.advantages, batch.response_mask
        return clip_cov_loss(*values, selection, clip_low, clip_high).loss

    return objective


def kl_cov_objective(fraction: float, penalty: _Penalty, penalty_weight: float = 1.0) -> _Objective:
    """Make the objective of KL-Cov: the tokens with the largest covariance terms pay a penalty.

    Args:
        fraction: k, share of tokens that pay.
        penalty: from (batch, logits) to what each token would pay, such as `absolute_penalty`.
        penalty_weight: β.

    Returns:
        The objective, for `group_ascent`.
    """

    def objective(batch, logits, number):
        new = batch.token_log_probs(logits)
        selection = kl_cov_selection(new.detach(), batch.advantages, batch.response_mask, fraction)
        values = new, batch.old_log_probs, batch.advantages, batch.response_mask
        return kl_cov_loss(*values, selection, penalty(batch, logits), penalty_weight).loss

    return objective


def absolute_penalty(batch: ResponseBatch, logits: Tensor) -> Tensor:
    """What the programs take: |log π − log π_old| of the token, in nats.

    Args:
        batch: the responses.
        logits: z of the policy that is trained.

    Returns:
        One number a token, ≥ 0.
    """
    return absolute_log_ratio(batch.token_log_probs(logits), batch.old_log_probs, batch.response_mask)


def sampled_penalty(batch: ResponseBatch, logits: Tensor) -> Tensor:
    """One-sample estimate of the divergence: log π_old − log π of the token, in nats.

    Args:
        batch: the responses.
        logits: z of the policy that is trained.

    Returns:
        One number a token, of either sign.
    """
    return sampled_kl_divergence(batch.token_log_probs(logits), batch.old_log_probs, batch.response_mask)


def divergence_penalty(batch: ResponseBatch, logits: Tensor) -> Tensor:
    """What the paper writes: KL(π_old‖π) at the token's state, in nats.

    Args:
        batch: the responses.
        logits: z of the policy that is trained.

    Returns:
        One number a token, ≥ 0.
    """
    return batch.over_responses(kl_divergence(batch.old_logits, logits - batch.old_logits))


def _measured(logits, right):
    """Mean entropy over states, and the mean over prompts of the probability of a right response."""
    with torch.no_grad():
        solved = (log_probs(logits).exp() * right).sum(dim=-1).prod(dim=-1)
        return float(entropy(logits).mean()), float(solved.mean())
