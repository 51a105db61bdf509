"""Advantages of a group of responses to one prompt, in torch: the reward less the group's mean, or scaled.

For a mean over the tokens of a group, centring replaces Cov by (1 − 1/G) Cov on average, G samples a group.
Dividing by the group's standard deviation multiplies by another number at each prompt, one that depends on
how often the prompt is solved.
"""

import math

import torch

from entropy_core._shapes import Float
from entropy_core.batched._validation import FLOATS

__all__ = ["group_centred_advantages", "group_normalised_advantages"]


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
    if not 0 <= epsilon < math.inf or not 0 <= ddof < samples:
        raise ValueError(
            f"epsilon must be finite and not negative and ddof be one of 0 … {samples - 1}; got epsilon = "
            f"{epsilon}, ddof = {ddof} with {samples} samples a group. One sample has no spread: use "
            "group_centred_advantages, or more samples."
        )
    centred = group_centred_advantages(rewards)
    squares = centred.square().sum(dim=-1, keepdim=True)
    flat = squares == 0
    spread = (torch.where(flat, 1.0, squares) / (samples - ddof)).sqrt()
    return torch.where(flat, 0.0, centred / (spread + epsilon))


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
