r"""Bandits by the thousand under the clipped loss of PPO: rounds of one batch each, several steps a round.

A round fixes π_old, draws tokens with their advantages, and takes some steps of an optimiser of torch on the
loss of `entropy_core.batched.clipped_policy_loss`. In the first step of a round every ratio is 1, so that the
clip cannot act before the second. Each instance is a context of its own, with its own logits; nothing is
shared, and with one token a round an instance is one position of a response that is visited once.

float64 throughout. Random numbers are drawn on the host, so equal seeds give equal runs on every device.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from entropy_core._shapes import Float, Real
from entropy_core.batched import clipped_policy_loss, entropy, kl_divergence
from entropy_core.simulators._bandits import drawn, read_bandits
from entropy_core.simulators._host import to_device, to_host

__all__ = [
    "ClippedRun",
    "exact_clipped_ascent",
    "matched_entropies",
    "sampled_clipped_ascent",
    "values_at_progress",
]


@dataclass(frozen=True)
class ClippedRun:
    """What a run of many bandits recorded, in float64; first axis instances, second axis the rounds done.

    Of the clip, a record holds means over the steps of the round before it, 0 at the start. A token is called
    rare if S < E S there, with S = π(log π + H): raising a rare token raises entropy to first order.

    Args:
        entropies: H in nats.
        expected_returns: E r under the policy of the moment.
        divergences: KL(π_0‖π) from the policy at the start, in nats.
        clip_fractions_low: share of tokens with A < 0 whose gradient the clip stopped.
        clip_fractions_high: share of tokens with A > 0 whose gradient the clip stopped.
        rare_fractions_low: share of tokens that are both in the first of these and rare.
        rare_fractions_high: share of tokens that are both in the second of these and rare.
        clip_effects_low: first-order entropy change that the lower clip adds to a step, in nats per unit of
            learning rate of plain gradient ascent; positive where the clip raises entropy.
        clip_effects_high: the same for the upper clip.
        outside_band: probability under π_old of actions whose ratio is outside the band at the end of the
            round, sampled or not.
        final_logits: z at the end, shape [instances, actions].
    """

    entropies: np.ndarray
    expected_returns: np.ndarray
    divergences: np.ndarray
    clip_fractions_low: np.ndarray
    clip_fractions_high: np.ndarray
    rare_fractions_low: np.ndarray
    rare_fractions_high: np.ndarray
    clip_effects_low: np.ndarray
    clip_effects_high: np.ndarray
    outside_band: np.ndarray
    final_logits: np.ndarray


def exact_clipped_ascent(
    generator: np.random.Generator,
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    optimiser: Callable[[list[Tensor]], torch.optim.Optimizer],
    rounds: int,
    inner_steps: int,
    clip_low: float,
    clip_high: float,
    reward_noise: float = 0.0,
    device: str | torch.device = "cpu",
) -> ClippedRun:
    """Ascend the expectation of the clipped surrogate over π_old: every action is a token of weight π_old.

    Σ_a π_old min(ratio · A, clip(ratio, 1 − clip_low, 1 + clip_high) · A), ratio = π/π_old, A = r̃ − E_old r̃
    with r̃ = r + noise

    Args:
        generator: source of the noise; its state is advanced.
        logits: z before the first round.
        rewards: mean reward of each action, finite.
        optimiser: from a list of parameters to a torch optimiser, such as `partial(torch.optim.SGD, lr=1.0)`.
            Its state lasts over rounds. It minimises, so it is given the loss.
        rounds: number of batches, at least 1.
        inner_steps: steps on each, at least 1; with 1 no ratio ever differs from 1.
        clip_low: ε_low in [0, 1]; 1 never clips below.
        clip_high: ε_high ≥ 0; infinity never clips above.
        reward_noise: standard deviation of the normal noise on the reward of each action in each round.
        device: where to compute; it must know float64.

    Returns:
        The record. Runs longer than five seconds show their progress.

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.

    Example:
        >>> from functools import partial
        >>> start, rng = np.array([[0.0, 0.0]]), np.random.default_rng(0)
        >>> plain = partial(torch.optim.SGD, lr=1.0)
        >>> run = exact_clipped_ascent(rng, start, np.array([[1.0, -1.0]]), plain, 1, 2, 0.2, 0.2)
        >>> run.final_logits.tolist()  # after one step both ratios have left the band: the second is 0
        [[0.5, -0.5]]
    """

    def draw(old, generator):
        noisy = rewards_on + reward_noise * _normal(generator, rewards_on)
        weights = old.exp()
        return everything, weights, noisy - (weights * noisy).sum(-1, keepdim=True)

    start, rewards_on = _read(
        logits, rewards, device, rounds=rounds, inner_steps=inner_steps, noise=reward_noise
    )
    everything = torch.arange(start.shape[-1], device=start.device).expand_as(start)
    return _ascend(generator, start, rewards_on, optimiser, rounds, inner_steps, (clip_low, clip_high), draw)


def sampled_clipped_ascent(
    generator: np.random.Generator,
    logits: Real[np.ndarray, "instances actions"],
    rewards: Real[np.ndarray, "instances actions"],
    optimiser: Callable[[list[Tensor]], torch.optim.Optimizer],
    rounds: int,
    inner_steps: int,
    clip_low: float,
    clip_high: float,
    batch_size: int,
    reward_noise: float = 0.0,
    device: str | torch.device = "cpu",
) -> ClippedRun:
    """Ascend the clipped surrogate of sampled tokens: each instance draws a few in every round.

    (1/B) Σ_b min(ratio_b A_b, clip(ratio_b, 1 − clip_low, 1 + clip_high) A_b), A_b = r_b + noise_b − E_old r

    Args:
        generator: source of tokens and noise; its state is advanced.
        logits: z before the first round.
        rewards: mean reward of each action, finite.
        optimiser: from a list of parameters to a torch optimiser, such as `partial(torch.optim.SGD, lr=0.1)`.
            Its state lasts over rounds. It minimises, so it is given the loss.
        rounds: number of batches, at least 1.
        inner_steps: steps on each, at least 1; with 1 no ratio ever differs from 1.
        clip_low: ε_low in [0, 1]; 1 never clips below.
        clip_high: ε_high ≥ 0; infinity never clips above.
        batch_size: B, tokens drawn from π_old for each instance and round, at least 1.
        reward_noise: standard deviation of the normal noise on the reward of each token.
        device: where to compute; it must know float64.

    Returns:
        The record. Runs longer than five seconds show their progress.

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.

    Example:
        >>> from functools import partial
        >>> start, plain = np.zeros((1, 2)), partial(torch.optim.SGD, lr=1.0)
        >>> arguments = start, np.array([[1.0, -1.0]]), plain, 1, 2, 0.2, 0.2, 4
        >>> run = sampled_clipped_ascent(np.random.default_rng(0), *arguments)
        >>> run.final_logits.tolist()  # two actions, equal baselines: every sample says the same
        [[0.5, -0.5]]
    """

    def draw(old, generator):
        taken = drawn(generator.random((len(old), batch_size)), old.exp())
        rewarded = rewards_on.gather(-1, taken) + reward_noise * _normal(generator, taken)
        baseline = (old.exp() * rewards_on).sum(-1, keepdim=True)
        return taken, torch.full_like(rewarded, 1 / batch_size), rewarded - baseline

    start, rewards_on = _read(
        logits,
        rewards,
        device,
        rounds=rounds,
        inner_steps=inner_steps,
        batch_size=batch_size,
        noise=reward_noise,
    )
    return _ascend(generator, start, rewards_on, optimiser, rounds, inner_steps, (clip_low, clip_high), draw)


def values_at_progress(
    progress: Real[np.ndarray, "instances records"],
    values: Real[np.ndarray, "instances records"],
    level: float,
) -> Float[np.ndarray, " instances"]:
    """Values of each instance where the mean progress over instances first reaches a level.

    Linear between the two records around that moment. With divergences as progress this compares runs at
    equal divergence from their start, with expected returns at equal reward, and not at equal steps.

    Args:
        progress: what is made equal, such as divergences in nats; its mean starts below the level.
        values: what is compared, such as entropies.
        level: value of the mean progress.

    Returns:
        One value an instance, in the unit of values.

    Raises:
        ValueError: if the mean never reaches the level, or starts above it.

    Example:
        >>> values_at_progress(np.array([[0.0, 1.0], [0.0, 3.0]]), np.array([[5.0, 4.0], [6.0, 4.0]]), 1.0)
        array([4.5, 5. ])
    """
    mean = progress.mean(axis=0)
    if not (mean >= level).any() or mean[0] > level:
        raise ValueError(
            f"level must be from the first to the largest mean, {mean[0]} and {mean.max()}, got {level}; "
            "take the smallest of the runs' largest means, or record more rounds"
        )
    after = int((mean >= level).argmax())
    if after == 0:
        return np.array(values[:, 0])
    share = (level - mean[after - 1]) / (mean[after] - mean[after - 1])
    return (1 - share) * values[:, after - 1] + share * values[:, after]


def matched_entropies(
    runs: Mapping, ruler: str = "divergences"
) -> dict[str, Float[np.ndarray, " instances"]]:
    """Entropies of several runs where all have come equally far, by the mean of one record over instances.

    H_i + (dH̄/dD̄)(D_i of the run that sets the level − D_i), a bar the mean over instances

    The second term has mean 0. It takes each instance along the mean path of its run to where the run that
    sets the level has it, so that differences between runs spread by what is left of their standard error:
    the moment of the match is read off the same instances.

    Args:
        runs: a `ClippedRun` by each name.
        ruler: the record that is made equal, "divergences" in nats or "expected_returns".

    Returns:
        Entropies in nats by name, at the smallest of the runs' largest means; see `values_at_progress`.

    Raises:
        ValueError: if a run starts beyond that level.

    Example:
        >>> from functools import partial
        >>> plain, start = partial(torch.optim.SGD, lr=1.0), np.log([[0.6, 0.4]])
        >>> more = start, np.array([[1.0, 0.0]]), plain, 4, 2
        >>> clips = {"narrow": (0.2, 0.2), "wide": (0.5, 0.5)}
        >>> runs = {k: exact_clipped_ascent(np.random.default_rng(0), *more, *c) for k, c in clips.items()}
        >>> {name: entropy.round(2).tolist() for name, entropy in matched_entropies(runs).items()}
        {'narrow': [0.31], 'wide': [0.31]}
    """
    progress = {name: getattr(run, ruler) for name, run in runs.items()}
    nearest = min(progress, key=lambda name: progress[name].mean(axis=0).max())
    level = progress[nearest].mean(axis=0).max()
    target = values_at_progress(progress[nearest], progress[nearest], level)
    matched = {}
    for name, far in progress.items():
        here = values_at_progress(far, far, level)
        after = int((far.mean(axis=0) >= level).argmax())
        change = lambda x, at=after: (x[:, at] - x[:, at - 1]).mean()  # noqa: E731
        slope = change(runs[name].entropies) / change(far) if after and name != nearest else 0.0
        matched[name] = values_at_progress(far, runs[name].entropies, level) + slope * (target - here)
    return matched


def _ascend(generator, start, rewards, optimiser, rounds, inner_steps, clips, draw) -> ClippedRun:
    """Take the steps of every round, and record the policy after each."""
    parameters = torch.nn.Parameter(start.clone())
    mover, records = optimiser([parameters]), [_state(start, start, rewards)]
    tallies = [torch.zeros(7, len(start), dtype=start.dtype, device=start.device)]
    for _ in tqdm(range(rounds), desc="clipped ascent", delay=5, leave=False):
        old = parameters.detach().log_softmax(-1)
        taken, shares, advantages = draw(old, generator)
        old_taken, counted = old.gather(-1, taken), torch.ones_like(taken, dtype=torch.bool)
        tally = 0.0
        for _ in range(inner_steps):
            now = parameters.log_softmax(-1)
            tokens = now.gather(-1, taken), old_taken, shares * advantages, counted
            loss = clipped_policy_loss(*tokens, *clips, token_count=1).loss
            (parameters.grad,) = torch.autograd.grad(loss, parameters)
            tally = tally + _tally(now.detach(), taken, old_taken, shares, advantages, clips) / inner_steps
            mover.step()
        now = parameters.detach().log_softmax(-1)
        ratios = (now - old).exp()
        outside = (ratios > 1 + clips[1]) | (ratios < 1 - clips[0])
        tallies.append(torch.cat([tally, (old.exp() * outside).sum(-1)[None]]))
        records.append(_state(parameters.detach(), start, rewards))
    stacked = [to_host(x) for x in torch.stack([*map(torch.cat, zip(records, tallies, strict=True))], dim=-1)]
    return ClippedRun(*stacked, final_logits=to_host(parameters.detach()))


def _state(logits, start, rewards):
    """Entropy, expected return and divergence from the start, a row each."""
    returns = (logits.softmax(-1) * rewards).sum(-1)
    return torch.stack([entropy(logits), returns, kl_divergence(start, logits - start)])


def _tally(now, taken, old_taken, shares, advantages, clips):
    """Shares of clipped and of rare clipped tokens and first-order effects of the clip, low before high."""
    ratios = (now.gather(-1, taken) - old_taken).exp()
    sides = (
        (advantages < 0) & (ratios < 1 - clips[0]),
        (advantages > 0) & (ratios > 1 + clips[1]),
    )
    probs = now.exp()
    weights = probs * now
    weights = weights - probs * weights.sum(-1, keepdim=True)  # S = π(log π + H)
    apart = weights.gather(-1, taken) - (probs * weights).sum(-1, keepdim=True)
    pushes = shares * ratios * advantages * apart
    fractions = [(shares * side).sum(-1) for side in sides]
    rare = [(shares * (side & (apart < 0))).sum(-1) for side in sides]
    return torch.stack([*fractions, *rare, *((pushes * side).sum(-1) for side in sides)])


def _normal(generator, like):
    """Standard normal numbers of this shape, drawn on the host."""
    return torch.from_numpy(generator.normal(size=tuple(like.shape))).to(like.device)


def _read(logits, rewards, device, noise, **counts):
    """Tensors of float64, or a word on what is wrong."""
    if min(counts.values()) < 1 or not noise >= 0:
        raise ValueError(
            f"{', '.join(counts)} must be at least 1 and reward_noise at least 0, got "
            f"{', '.join(map(str, counts.values()))} and {noise}; for no noise leave reward_noise out"
        )
    logits, rewards = read_bandits(logits, rewards)
    return to_device(logits, device), to_device(rewards, device)
