"""Advantages of a group of responses to one prompt, in torch: the reward less the group's mean, or scaled.

For a mean over the tokens of a group, centring replaces Cov by (1 − 1/G) Cov on average, G samples a group.
Dividing by the group's standard deviation multiplies by another number at each prompt, one that depends on
how often the prompt is solved.
"""

import math

import torch

from entropy_core._shapes import Float
from entropy_core.batched._validation import FLOATS

__all__ = ["group_centred_advantages", "group_normalised_advantages", "group_weight"]


def group_centred_advantages(
    rewards: Float[torch.Tensor, "*prompts samples"],
) -> Float[torch.Tensor, "*prompts samples"]:
    """Rewards less the mean of their group: the advantages of Dr. GRPO.

    A_i = r_i − mean r

    Args:
        rewards: r, one for each response; the last axis runs over the samples of one prompt.

    Returns:
        A in units of reward, summing to 0 over each group; exactly 0 where all rewards of a group are equal;
        NaN where a reward of the group is not finite.

    Raises:
        TypeError: rewards is not a floating-point tensor.
        ValueError: a group has no sample.

    Numerics:
        Error ≤ 4 eps × max |r − mean r| of the accumulating type, whatever the offset of the rewards, given
        them. Differentiable. Held by tests/agreement/test_normalisation.py.

    Source: claim `batch-covariance`, chapter estimating-from-samples; [liu2025understanding].

    Example:
        >>> group_centred_advantages(torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
        tensor([[ 0.5000, -0.5000, -0.5000,  0.5000]])
    """
    rewards = _groups(rewards)
    from_first = rewards - rewards[..., :1]
    return from_first - from_first.mean(dim=-1, keepdim=True)


def group_normalised_advantages(
    rewards: Float[torch.Tensor, "*prompts samples"], epsilon: float | int = 1e-6, ddof: int = 1
) -> Float[torch.Tensor, "*prompts samples"]:
    """Rewards less the mean of their group, over its standard deviation: the advantages of GRPO.

    A_i = (r_i − mean r) / (√(Σ_j (r_j − mean r)² / (G − ddof)) + ε)

    Args:
        rewards: r, one for each response; the last axis runs over the G samples of one prompt.
        epsilon: ε in units of reward, not negative: 1e-6 in verl, 1e-4 in TRL.
        ddof: what the divisor of the variance is short of G: 1 in verl and TRL, 0 makes Σ A² = G at ε = 0.

    Returns:
        A, dimensionless, summing to 0 over each group; exactly 0 where all rewards of a group are equal, also
        for ε = 0; NaN where a reward of the group is not finite.

    Raises:
        TypeError: rewards is not a floating-point tensor.
        ValueError: ε is not finite or negative, ddof negative, or a group has no more than ddof samples.

    Numerics:
        Relative error ≤ 1e-14 (float64) or 1e-5 (float32) × (1 + max |r| / spread), spread the standard
        deviation. Differentiable where the rewards of a group differ; elsewhere the gradient is 0. Held by
        tests/agreement/test_normalisation.py.

    Source: claim `group-normalised-mean`, chapter estimating-from-samples; [shao2024deepseekmath].

    Example:
        >>> group_normalised_advantages(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), epsilon=0, ddof=0)
        tensor([[ 1., -1., -1.,  1.]])
    """
    rewards = _groups(rewards)
    samples = rewards.shape[-1]
    _check_divisor(epsilon, ddof, samples)
    centred = group_centred_advantages(rewards)
    squares = centred.square().sum(dim=-1, keepdim=True)
    flat = squares == 0
    spread = (torch.where(flat, 1.0, squares) / (samples - ddof)).sqrt()
    return torch.where(flat, 0.0, centred / (spread + epsilon))


def group_weight(
    success_probability: Float[torch.Tensor, "*prompts"],
    group_size: int,
    epsilon: float | int = 1e-6,
    ddof: int = 1,
) -> Float[torch.Tensor, "*prompts"]:
    """What a prompt's covariance counts in the expected step when advantages are normalised by group.

    E[c̄ (1 − c̄) / (σ + ε)] / (P (1 − P)), σ² = c̄ (1 − c̄) G / (G − ddof), G c̄ ~ Binomial(G, P)

    Where advantages are only centred, the weight is 1 − 1/G at every prompt.

    Args:
        success_probability: P, the probability that a response to the prompt earns 1 and not 0, in [0, 1].
        group_size: G, responses to each prompt, at least 2.
        epsilon: ε in units of reward, not negative.
        ddof: what the divisor of the variance is short of G.

    Returns:
        Weight of Cov(c, f) in the mean of A f over a group, for every function f of the response; positive.
        At P = 0 and 1 its limit, √(G − 1) for ε = 0 and ddof = 0; the same at every P for G = 2 and 3.
        NaN for a rate outside [0, 1].

    Raises:
        TypeError: success_probability is not a floating-point tensor.
        ValueError: group_size is below 2, ε is not finite or negative, or ddof not in 0 … G − 1.

    Numerics:
        Relative error ≤ 1e-14 (float64) or 1e-6 (float32) × G: a sum of G − 1 positive terms. Differentiable
        for 0 < P < 1. Held up to G = 1024 by tests/agreement/test_normalisation.py.

    Source: claims `group-normalised-mean`, `group-weight-simulated`, chapter estimating-from-samples.

    Example:
        >>> group_weight(torch.tensor([0.01, 0.5]), 16, epsilon=0, ddof=0)
        tensor([3.7330, 1.9341])
    """
    rate = success_probability
    if not isinstance(rate, torch.Tensor) or rate.dtype not in FLOATS:
        found = rate.dtype if isinstance(rate, torch.Tensor) else type(rate).__name__
        raise TypeError(
            f"success_probability must be a floating-point tensor; got {found}. Use torch.tensor."
        )
    if group_size < 2:
        raise ValueError(f"group_size must be at least 2; got {group_size}. A single response has no group.")
    _check_divisor(epsilon, ddof, group_size)
    rate = (rate if rate.dtype == torch.float64 else rate.float())[..., None]
    rate = torch.where((rate >= 0) & (rate <= 1), rate, torch.nan)
    hits = torch.arange(1, group_size, dtype=rate.dtype, device=rate.device)
    product = hits * (group_size - hits) / group_size**2
    spread = (product * group_size / (group_size - ddof)).sqrt()
    ways = math.lgamma(group_size + 1) - torch.lgamma(hits + 1) - torch.lgamma(group_size - hits + 1)
    # The binomial probability over P (1 − P): no power of P or of 1 − P is below 0.
    powers = torch.xlogy(hits - 1, rate) + torch.xlogy(group_size - hits - 1, 1 - rate)
    return (torch.exp(ways + powers) * product / (spread + epsilon)).sum(dim=-1)


def _check_divisor(epsilon, ddof, samples):
    """Raise unless ε and ddof are fit to divide with."""
    if not 0 <= epsilon < math.inf or not 0 <= ddof < samples:
        raise ValueError(
            f"epsilon must be finite and not negative and ddof be one of 0 … {samples - 1}; got epsilon = "
            f"{epsilon}, ddof = {ddof} with {samples} samples a group. One sample has no spread: use "
            "group_centred_advantages, or more samples."
        )


def _groups(rewards):
    if not isinstance(rewards, torch.Tensor) or rewards.dtype not in FLOATS:
        found = rewards.dtype if isinstance(rewards, torch.Tensor) else type(rewards).__name__
        raise TypeError(f"rewards must be a floating-point tensor; got {found}. Use rewards.float().")
    if rewards.ndim == 0 or rewards.shape[-1] == 0:
        raise ValueError(
            f"rewards must have at least one sample on their last axis; got shape {tuple(rewards.shape)}. "
            "Bring them to [prompts, samples]."
        )
    return rewards if rewards.dtype == torch.float64 else rewards.float()
