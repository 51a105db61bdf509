"""How entropy changes when logits move: gradient, lemma, second order, exact change and a bound."""

import torch

from entropy_core._shapes import Float
from entropy_core.batched import _simple
from entropy_core.batched._large import step_value
from entropy_core.batched._primitives import CentredLogProbs, Probs
from entropy_core.batched._remainder import remainder_bounds
from entropy_core.batched._validation import over_actions

__all__ = [
    "entropy_change",
    "entropy_change_bound",
    "entropy_gradient",
    "first_order_entropy_change",
    "kl_divergence",
    "second_order_entropy_change",
    "third_order_entropy_change",
]


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
    return -step_value("covariance", logits, delta_logits)


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
    return step_value("second_order_entropy_change", logits, delta_logits)


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
    return _simple.third_order(*over_actions(logits=logits, delta_logits=delta_logits))


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
    return step_value("entropy_change", logits, delta_logits)


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
    step_range = torch.where(is_policy, _simple.step_range(logits, delta_logits), torch.nan)
    return remainder_bounds((logits != -torch.inf).sum(dim=-1), step_range)


def kl_divergence(
    logits: Float[torch.Tensor, "*#batch actions"], delta_logits: Float[torch.Tensor, "*#batch actions"]
) -> Float[torch.Tensor, "*batch"]:
    """Kullback–Leibler divergence from the policy before a step to the policy after it.

    KL(π‖π') = Σ_a π_a log(π_a / π'_a) = log E_π e^Δz − E_π Δz

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        delta_logits: Δz in nats, finite at allowed actions, ignored (NaN included) at forbidden ones; a
            constant cancels.

    Returns:
        KL(π‖π'), one value a broadcast row, in nats, ≥ 0 up to rounding.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices, action axes or leading axes do not fit.

    Numerics:
        For steps of range D at most 1 without subtracting what nearly agrees: error ≤ 1e-12 (float64) or
        1e-5 (float32) of D². Beyond, the same of max |Δz − Δz(mode)|.
        tests/agreement/test_batched_reference.py, tests/batched/test_large.py.

    Source: claim `exact-entropy-change`, chapter entropy-covariance-identity; [cover2006elements].

    Example:
        >>> print(f"{kl_divergence(torch.zeros(2), torch.tensor([0.1, 0.0])):.6f}")
        0.001249
    """
    return step_value("kl_divergence", logits, delta_logits)
