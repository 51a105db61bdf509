"""Advantages of a group of responses to one prompt: the reward less the group's mean, scaled or not.

For a mean over the tokens of a group, centring replaces Cov by (1 − 1/G) Cov on average, G samples a group.
Dividing by the group's standard deviation multiplies by another number at each prompt, one that depends on
how often the prompt is solved.
"""

from math import lgamma

import numpy as np

from entropy_core._shapes import Float, Real
from entropy_core.reference._validation import number

__all__ = ["group_centred_advantages", "group_normalised_advantages", "group_weight"]


def group_centred_advantages(
    rewards: Real[np.ndarray, "*prompts samples"],
) -> Float[np.ndarray, "*prompts samples"]:
    """Rewards less the mean of their group: the advantages of Dr. GRPO.

    A_i = r_i − mean r

    Args:
        rewards: r, one for each response; the last axis runs over the samples of one prompt.

    Returns:
        A in units of reward, summing to 0 over each group; exactly 0 where all rewards of a group are equal.

    Raises:
        TypeError: rewards are not real numbers.
        ValueError: a reward is not finite, or a group has no sample.

    Numerics:
        Error ≤ 4 eps × max |r − mean r|, whatever the offset of the rewards, given them. Held by
        tests/agreement/test_normalisation.py.

    Source: claim `batch-covariance`, chapter estimating-from-samples; [liu2025understanding].

    Example:
        >>> group_centred_advantages(np.array([[1.0, 0.0, 0.0, 1.0]]))
        array([[ 0.5, -0.5, -0.5,  0.5]])
    """
    rewards = _groups(rewards)
    from_first = rewards - rewards[..., :1]
    return from_first - from_first.mean(axis=-1, keepdims=True)


def group_normalised_advantages(
    rewards: Real[np.ndarray, "*prompts samples"], epsilon: float | int = 1e-6, ddof: int = 1
) -> Float[np.ndarray, "*prompts samples"]:
    """Rewards less the mean of their group, over its standard deviation: the advantages of GRPO.

    A_i = (r_i − mean r) / (√(Σ_j (r_j − mean r)² / (G − ddof)) + ε)

    Args:
        rewards: r, one for each response; the last axis runs over the G samples of one prompt.
        epsilon: ε in units of reward, not negative: 1e-6 in verl, 1e-4 in TRL.
        ddof: what the divisor of the variance is short of G: 1 in verl and TRL, 0 makes Σ A² = G at ε = 0.

    Returns:
        A, dimensionless, summing to 0 over each group; exactly 0 where all rewards of a group are equal, also
        for ε = 0.

    Raises:
        TypeError: rewards are not real numbers.
        ValueError: a reward is not finite, ε is negative, ddof negative, or a group has no more than ddof
            samples.

    Numerics:
        Relative error ≤ 1e-14 × (1 + max |r| / spread), spread the standard deviation. Held by
        tests/agreement/test_normalisation.py.

    Source: claim `group-normalised-mean`, chapter estimating-from-samples; [shao2024deepseekmath].

    Example:
        >>> group_normalised_advantages(np.array([[1.0, 0.0, 0.0, 1.0]]), epsilon=0, ddof=0)
        array([[ 1., -1., -1.,  1.]])
    """
    rewards, samples = _groups(rewards), np.shape(rewards)[-1]
    epsilon = _divisor(epsilon, ddof, samples)
    centred = group_centred_advantages(rewards)
    spread = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / (samples - ddof))
    return np.divide(centred, spread + epsilon, out=np.zeros_like(centred), where=spread > 0)


def group_weight(
    success_probability: Real[np.ndarray, "*prompts"],
    group_size: int,
    epsilon: float | int = 1e-6,
    ddof: int = 1,
) -> Float[np.ndarray | np.float64, "*prompts"]:
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

    Raises:
        TypeError: success_probability is not real numbers.
        ValueError: success_probability is not in [0, 1], group_size is below 2, ε is negative or ddof not in
            0 … G − 1.

    Numerics:
        Relative error ≤ 1e-14 × G: a sum of G − 1 positive terms. Held up to G = 1024 by
        tests/agreement/test_normalisation.py.

    Source: claims `group-normalised-mean`, `group-weight-simulated`, chapter estimating-from-samples.

    Example:
        >>> group_weight(np.array([0.01, 0.5]), 16, epsilon=0, ddof=0).round(2)
        array([3.73, 1.93])
    """
    rate, epsilon = np.asarray(success_probability), _divisor(epsilon, ddof, group_size)
    if rate.dtype.kind not in "fiu":
        raise TypeError(f"success_probability must be real numbers; {rate.dtype} came. Give floats.")
    if not ((rate >= 0) & (rate <= 1)).all() or group_size < 2:
        raise ValueError(
            "success_probability must lie in [0, 1] and group_size be at least 2; "
            f"{rate.min()} … {rate.max()} came with {group_size}. Give the share of responses that earn 1."
        )
    rate, hits = rate.astype(np.float64)[..., None], np.arange(1, group_size)
    product = hits * (group_size - hits) / group_size**2
    spread = np.sqrt(product * group_size / (group_size - ddof))
    ways = lgamma(group_size + 1) - np.array(
        [lgamma(h + 1) + lgamma(group_size - h + 1) for h in hits.tolist()]
    )
    # The binomial probability over P (1 − P): no power of P or of 1 − P is below 0.
    chances = np.exp(ways + _power(rate, hits - 1) + _power(1.0 - rate, group_size - hits - 1))
    return (chances * product / (spread + epsilon)).sum(axis=-1)[()]


def _power(base, exponent):
    """Return log base^exponent, with 0^0 = 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(exponent == 0, 0.0, exponent * np.log(base))


def _divisor(epsilon, ddof, samples) -> float:
    """Return ε, once it and ddof are fit to divide with."""
    epsilon = number("epsilon", epsilon)
    if epsilon < 0 or not 0 <= ddof < samples:
        raise ValueError(
            f"epsilon must not be negative and ddof be one of 0 … {samples - 1}; epsilon = {epsilon}, ddof = "
            f"{ddof} came with {samples} samples a group. One sample has no spread: use "
            "group_centred_advantages, or more samples."
        )
    return epsilon


def _groups(rewards) -> np.ndarray:
    array = np.asarray(rewards)
    if array.dtype.kind not in "fiu" or array.ndim == 0:
        raise TypeError(
            f"rewards must be an array of real numbers, samples on the last axis; {array.dtype} of shape "
            f"{array.shape} came. Use np.asarray(rewards, dtype=float)."
        )
    array = array.astype(np.float64)
    if array.shape[-1] == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"every group needs finite rewards; shape {array.shape} with "
            f"{int((~np.isfinite(array)).sum())} that are not came. Drop prompts whose responses were not "
            "scored."
        )
    return array
