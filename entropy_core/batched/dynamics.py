"""How entropy changes when logits move: gradient, lemma, second order, exact change and a bound."""

import torch

from entropy_core._shapes import Float
from entropy_core.batched._primitives import (
    Centre,
    CentredLogProbs,
    Entropy,
    LogRatio,
    Probs,
    RatioExcess,
    moved,
)
from entropy_core.batched._remainder import remainder_bounds
from entropy_core.batched._validation import over_actions

__all__ = [
    "entropy_change",
    "entropy_change_bound",
    "entropy_gradient",
    "first_order_entropy_change",
    "second_order_entropy_change",
    "third_order_entropy_change",
]

SMALL_STEP = 1.0


def entropy_gradient(logits: Float[torch.Tensor, "*batch actions"]) -> Float[torch.Tensor, "*batch actions"]:
    """Gradient of the entropy in the logits.

    ∂H/∂z_a = −π_a (log π_a + H)

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.

    Returns:
        ∂H/∂z, the shape of logits, dimensionless, of either sign, summing to 0; 0 at forbidden actions.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action.

    Numerics:
        Error ≤ 1e-12 (float64, gaps to 700) or 1e-5 (float32, gaps to 80) of the row's largest entry, however
        small that is. Itself differentiable. tests/agreement/test_batched_reference.py,
        tests/batched/test_gradients.py.

    Source: claim `entropy-gradient-logits`, chapter entropy-covariance-identity.

    Example:
        >>> entropy_gradient(torch.tensor([0.0, 0.0]))
        tensor([-0., -0.])
    """
    (logits,) = over_actions(logits=logits)
    return -Probs.apply(logits) * CentredLogProbs.apply(logits)


def first_order_entropy_change(
    logits: Float[torch.Tensor, "*#batch actions"], delta_logits: Float[torch.Tensor, "*#batch actions"]
) -> Float[torch.Tensor, "*batch"]:
    """First-order change of the entropy: the lemma.

    ΔH ≈ −Cov(log π, Δz)

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz in nats, finite at allowed actions, ignored (NaN included) at forbidden ones; a
            constant cancels.

    Returns:
        −Cov(log π, Δz), one value a broadcast row, in nats; negative where Δz rises with log π.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices, action axes or leading axes do not fit.

    Numerics:
        Error ≤ 1e-12 (float64) or 1e-5 (float32) of Σ π |log π + H| |Δz − E Δz|.
        tests/agreement/test_batched_reference.py.

    Source: claim `entropy-lemma`, chapter entropy-covariance-identity; [cui2025entropy, Lemma 1],
        [liu2025note].

    Example:
        >>> z, u = torch.tensor([1.0, 0.0]), torch.tensor([0.1, 0.0])
        >>> print(f"{first_order_entropy_change(z, u):.5f} {entropy_change(z, u):.5f}")
        -0.01966 -0.02015
    """
    logits, delta_logits = over_actions(logits=logits, delta_logits=delta_logits)
    surprise, step = CentredLogProbs.apply(logits), Centre.apply(delta_logits, logits)
    return -(Probs.apply(logits) * surprise * step).sum(dim=-1)


def second_order_entropy_change(
    logits: Float[torch.Tensor, "*#batch actions"], delta_logits: Float[torch.Tensor, "*#batch actions"]
) -> Float[torch.Tensor, "*batch"]:
    """Change of the entropy predicted up to second order.

    ΔH ≈ −Cov(log π, Δz) − ½ E[(1 + log π + H)(Δz − E Δz)²]

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz in nats, finite at allowed actions, ignored (NaN included) at forbidden ones; a
            constant cancels.

    Returns:
        The prediction, one value a broadcast row, in nats, of either sign.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices, action axes or leading axes do not fit.

    Numerics:
        Error ≤ 1e-12 (float64) or 1e-5 (float32) of Σ π |log π + H| |c| + ½ Σ π |1 + log π + H| c²,
        c = Δz − E Δz. tests/agreement/test_batched_reference.py.

    Source: claim `lemma-second-order`, chapter entropy-covariance-identity.

    Example:
        >>> z, u = torch.tensor([1.0, 0.0]), torch.tensor([0.1, 0.0])
        >>> print(f"{second_order_entropy_change(z, u):.5f} {entropy_change(z, u):.5f}")
        -0.02019 -0.02015
    """
    logits, delta_logits = over_actions(logits=logits, delta_logits=delta_logits)
    surprise, step = CentredLogProbs.apply(logits), Centre.apply(delta_logits, logits)
    return -(Probs.apply(logits) * (surprise * step + (1 + surprise) * step**2 / 2)).sum(dim=-1)


def third_order_entropy_change(
    logits: Float[torch.Tensor, "*#batch actions"], delta_logits: Float[torch.Tensor, "*#batch actions"]
) -> Float[torch.Tensor, "*batch"]:
    """Change of the entropy predicted up to third order.

    ΔH ≈ −Cov(log π, Δz) − ½ E[(1 + s) c²] − ⅙ (E[(2 + s) c³] − 3 E[s c] E[c²]), s = log π + H, c = Δz − E Δz

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz in nats, finite at allowed actions, ignored (NaN included) at forbidden ones; a
            constant cancels.

    Returns:
        The prediction, one value a broadcast row, in nats, of either sign.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices, action axes or leading axes do not fit.

    Numerics:
        Error ≤ 2e-12 (float64) or 1e-5 (float32) of Σ π |s c| + ½ Σ π |1 + s| c² + ⅙ (Σ π |2 + s| |c|³
        + 3 Σ π |s c| Σ π c²). tests/agreement/test_batched_reference.py.

    Source: claim `all-orders`, chapter beyond-first-order.

    Example:
        >>> z, u = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0])
        >>> print(f"{third_order_entropy_change(z, u):.4f} {entropy_change(z, u):.4f}")
        -0.1070 -0.1072
    """
    logits, delta_logits = over_actions(logits=logits, delta_logits=delta_logits)
    surprise, step = CentredLogProbs.apply(logits), Centre.apply(delta_logits, logits)
    pi = Probs.apply(logits)
    slope, variance = (pi * surprise * step).sum(dim=-1), (pi * step**2).sum(dim=-1)
    bend = (pi * (1 + surprise) * step**2).sum(dim=-1)
    twist = (pi * (2 + surprise) * step**3).sum(dim=-1) - 3 * slope * variance
    return -(slope + bend / 2 + twist / 6)


def entropy_change(
    logits: Float[torch.Tensor, "*#batch actions"], delta_logits: Float[torch.Tensor, "*#batch actions"]
) -> Float[torch.Tensor, "*batch"]:
    """Exact change of the entropy when the logits move by a finite step.

    ΔH = H(z + Δz) − H(z) = −Σ_a (π'_a − π_a) log π_a − KL(π'‖π)

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz in nats, finite at allowed actions, ignored (NaN included) at forbidden ones; a
            constant cancels. An infinite step at an allowed action gives NaN.

    Returns:
        ΔH, one value a broadcast row, in nats, in [−log n, log n] for n allowed actions.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices, action axes or leading axes do not fit.

    Numerics:
        Where the range of Δz over allowed actions is at most 1, the right-hand form, in t = log(π'/π),
        without subtracting what nearly agrees: error ≤ 1e-12 (float64) or 1e-5 (float32) of the scale of
        `second_order_entropy_change`. Beyond, the difference: the same of H + H'. Value and gradient pass
        from one to the other without a step. tests/agreement/test_batched_reference.py,
        tests/batched/test_values.py.

    Source: claim `exact-entropy-change`, chapter entropy-covariance-identity.

    Example:
        >>> z, u = torch.zeros(2, dtype=torch.float64), torch.tensor([1e-8, 0.0], dtype=torch.float64)
        >>> print(f"{entropy_change(z, u):.4e}")
        -1.2500e-17
    """
    logits, delta_logits = over_actions(logits=logits, delta_logits=delta_logits)
    is_small = _step_range(logits, delta_logits).unsqueeze(-1) <= SMALL_STEP
    small = _change_of_small_step(logits, torch.where(is_small, delta_logits, 0.0))
    large = Entropy.apply(moved(logits, delta_logits)) - Entropy.apply(logits)
    return torch.where(is_small.squeeze(-1), small, large)


def entropy_change_bound(
    logits: Float[torch.Tensor, "*#batch actions"], delta_logits: Float[torch.Tensor, "*#batch actions"]
) -> tuple[Float[torch.Tensor, "*batch"], Float[torch.Tensor, "*batch"]]:
    """Bounds on what the first order misses, from the number of actions and the range of the step alone.

    lower ≤ ΔH + Cov(log π, Δz) ≤ upper

    Args:
        logits: z before the step, in nats; only which of them are −inf matters.
        delta_logits: Δz in nats, finite at allowed actions, ignored (NaN included) at forbidden ones; a
            constant cancels.

    Returns:
        (lower, upper) in nats, one value each a broadcast row; lower ≤ 0 ≤ upper; of order D² for a small
        range D and of order D for a large one; both 0 for one allowed action or a constant step.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices, action axes or leading axes do not fit.

    Numerics:
        Rounded outward by 1e-12 (float64) or 8 eps (float32). Differentiable in delta_logits, except where
        two bounds or two extremes of Δz are equal; does not depend on the values of logits.
        tests/agreement/test_batched_reference.py, tests/laws/test_batched_laws.py.

    Source: claims `curvature-up-sharp` and `curvature-down-bound`, chapter beyond-first-order.

    Example:
        >>> lower, upper = entropy_change_bound(torch.zeros(2), torch.tensor([0.2, 0.0]))
        >>> print(f"{lower:.4f} {upper:.4f}")
        -0.0050 0.0016
    """
    logits, delta_logits = over_actions(logits=logits, delta_logits=delta_logits)
    is_policy = logits.amax(dim=-1).isfinite()
    step_range = torch.where(is_policy, _step_range(logits, delta_logits), torch.nan)
    return remainder_bounds((logits != -torch.inf).sum(dim=-1), step_range)


def _change_of_small_step(logits, delta_logits):
    """Return −E[expm1(t)(log π + H) + χ(t)]: cross term and KL(π'‖π), each of the size of its true value."""
    t = LogRatio.apply(delta_logits, logits)
    cross = torch.expm1(t) * CentredLogProbs.apply(logits)
    return -(Probs.apply(logits) * (cross + RatioExcess.apply(t))).sum(dim=-1)


def _step_range(logits, delta_logits):
    """Return D = max Δz − min Δz over allowed actions, NaN if that is not a number."""
    forbidden = logits == -torch.inf
    highest = delta_logits.masked_fill(forbidden, -torch.inf).amax(dim=-1)
    lowest = delta_logits.masked_fill(forbidden, torch.inf).amin(dim=-1)
    step_range = highest - lowest
    return torch.where(step_range.isfinite(), step_range, torch.nan)
