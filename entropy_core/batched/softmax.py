"""The softmax policy, batched in torch: its probabilities, its entropy and the moments under it."""

import torch

from entropy_core._shapes import Float
from entropy_core.batched import _simple
from entropy_core.batched._large import entropy_value
from entropy_core.batched._primitives import Centre, LogProbs, Probs
from entropy_core.batched._validation import of_one_shape, over_actions

__all__ = [
    "covariance_over_actions",
    "entropy",
    "fisher",
    "fisher_pseudo_inverse",
    "log_probs",
    "probs",
    "varentropy",
]


def log_probs(logits: Float[torch.Tensor, "*batch actions"]) -> Float[torch.Tensor, "*batch actions"]:
    """Log-probabilities of the softmax policy.

    log π_a = z_a − log Σ_b e^{z_b}

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.

    Returns:
        log π, the shape of logits, in nats, ≤ 0; −inf at forbidden actions.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action.

    Numerics:
        Relative error ≤ 1e-12 (float64, gaps to 700) or 1e-5 (float32, gaps to 80), at the mode too. The
        gradient is g − π Σg over allowed actions: −inf passes none. tests/batched/test_gradients.py.

    Source: claim `softmax-gauge`, chapter softmax-geometry.

    Example:
        >>> log_probs(torch.tensor([0.0, 0.0, -torch.inf]))
        tensor([-0.6931, -0.6931,    -inf])
    """
    (logits,) = over_actions(logits=logits)
    return LogProbs.apply(logits)


def probs(logits: Float[torch.Tensor, "*batch actions"]) -> Float[torch.Tensor, "*batch actions"]:
    """Probabilities of the softmax policy.

    π_a = e^{z_a} / Σ_b e^{z_b}

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.

    Returns:
        π, the shape of logits, in [0, 1], summing to 1; 0 at forbidden actions.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action.

    Numerics:
        Relative error ≤ 1e-12 (float64, gaps to 700) or 1e-5 (float32, gaps to 80); beyond, they lose
        digits and end in 0. The gradient is π (g − E g).
        tests/batched/test_gradients.py.

    Source: claim `softmax-jacobian`, chapter softmax-geometry.

    Example:
        >>> probs(torch.tensor([0.0, 0.0, -torch.inf]))
        tensor([0.5000, 0.5000, 0.0000])
    """
    (logits,) = over_actions(logits=logits)
    return Probs.apply(logits)


def entropy(logits: Float[torch.Tensor, "*batch actions"]) -> Float[torch.Tensor, "*batch"]:
    """Entropy of the softmax policy.

    H = −Σ_a π_a log π_a

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.

    Returns:
        H, one value a row, in nats, in [0, log n] for n allowed actions.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action.

    Numerics:
        Relative error ≤ 1e-12 in float64 for gaps to 700, ≤ 1e-5 in float32 for gaps to 80, near zero entropy
        too; exactly 0 for one allowed action. The gradient is `entropy_gradient` to the same digits.
        tests/agreement/test_batched_reference.py.

    Source: claims `entropy-gradient-logits`, chapter entropy-covariance-identity; [cover2006elements].

    Example:
        >>> z = torch.tensor([[0.0, 0.0], [40.0, 0.0]], dtype=torch.float64)
        >>> print(*(f"{h:.4e}" for h in entropy(z).tolist()))
        6.9315e-01 1.7418e-16
    """
    (logits,) = of_one_shape(logits=logits)
    return entropy_value(logits)


def varentropy(logits: Float[torch.Tensor, "*batch actions"]) -> Float[torch.Tensor, "*batch"]:
    """Variance of the log-probability under the policy.

    Var(log π) = Σ_a π_a (log π_a + H)²

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.

    Returns:
        Var(log π), one value a row, in nats², ≥ 0.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action.

    Numerics:
        Relative error ≤ 1e-12 in float64 for gaps to 700, ≤ 1e-5 in float32 for gaps to 80; exactly 0 for
        equal logits and for one allowed action. tests/agreement/test_batched_reference.py.

    Source: claim `entropy-natural-gradient`, chapter softmax-geometry.

    Example:
        >>> varentropy(torch.tensor([0.0, 0.0, -torch.inf]))
        tensor(0.)
    """
    (logits,) = over_actions(logits=logits)
    return _simple.varentropy(logits)


def covariance_over_actions(
    x: Float[torch.Tensor, "*#batch actions"],
    y: Float[torch.Tensor, "*#batch actions"],
    logits: Float[torch.Tensor, "*#batch actions"],
) -> Float[torch.Tensor, "*batch"]:
    """Covariance of two per-action quantities under the policy of one state.

    Cov(x, y) = Σ_a π_a (x_a − E x)(y_a − E y)

    Args:
        x: any quantity per action, finite at allowed actions, ignored (NaN included) at forbidden ones; a
            constant cancels.
        y: as x.
        logits: z in nats; −inf forbids an action; a common constant cancels.

    Returns:
        Cov(x, y), one value a broadcast row, in the unit of x times that of y, of either sign.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: there is no action, or devices, action axes or leading axes do not fit.

    Numerics:
        Error ≤ 1e-12 (float64) or 1e-5 (float32) of Σ π |x − E x| |y − E y|. Gradients: π (y − E y) to x, and
        π ((x − E x)(y − E y) − Cov) to logits. tests/agreement/test_batched_reference.py,
        tests/batched/test_gradients.py.

    Source: claim `entropy-gradient-covariance`, chapter entropy-covariance-identity.

    Example:
        >>> x = torch.tensor([1.0, 0.0, torch.nan])
        >>> covariance_over_actions(x, x, torch.tensor([0.0, 0.0, -torch.inf]))
        tensor(0.2500)
    """
    x, y, logits = over_actions(x=x, y=y, logits=logits)
    return _simple.covariance(x, y, logits)


def fisher(logits: Float[torch.Tensor, "*batch actions"]) -> Float[torch.Tensor, "*batch actions actions"]:
    """Fisher information of the policy in its logits, which is the Jacobian of the softmax.

    F = diag π − π πᵀ

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.

    Returns:
        F, shape [..., actions, actions], positive semidefinite, rows summing to 0; rows and columns of
        forbidden actions are 0.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action.

    Numerics:
        Relative error of each entry as of `probs`, the mode's π (1 − π) too. Holds actions² numbers a row:
        for a vocabulary multiply by F through `covariance_over_actions`. tests/batched/test_gradients.py.

    Source: claims `fisher-is-jacobian`, `fisher-rank`, chapter softmax-geometry; [amari1998natural].

    Example:
        >>> fisher(torch.tensor([0.0, 0.0]))
        tensor([[ 0.2500, -0.2500],
                [-0.2500,  0.2500]])
    """
    (logits,) = over_actions(logits=logits)
    rows = logits.unsqueeze(-2).expand(*logits.shape, logits.shape[-1]).contiguous()
    unit_vectors = torch.eye(logits.shape[-1], dtype=logits.dtype, device=logits.device).expand_as(rows)
    return Probs.apply(logits).unsqueeze(-2) * Centre.apply(unit_vectors, rows)


def fisher_pseudo_inverse(
    logits: Float[torch.Tensor, "*batch actions"],
) -> Float[torch.Tensor, "*batch actions actions"]:
    """Moore–Penrose inverse of the Fisher information of the policy in its logits.

    F⁺ = C diag(1/π) C with C = I − 11ᵀ/n, over the n allowed actions

    It takes the policy gradient πA to the natural gradient whose plain mean is 0. To take that step use
    `natural_gradient_delta_logits`, which needs no matrix and has no limit on the gap.

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.

    Returns:
        F⁺, shape [..., actions, actions], symmetric, positive semidefinite, rows summing to 0; rows and
        columns of forbidden actions are 0.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action.

    Numerics:
        Error ≤ 1e-12 (float64, gaps to 700) or 1e-5 (float32, gaps to 80) of
        [δ_ij/π_i + (1/π_i + 1/π_j)/n + Σ(1/π)/n²]; beyond the gap infinite or NaN. Differentiable; −inf
        passes no gradient. tests/agreement/test_batched_reference.py, tests/batched/test_gradients.py.

    Source: claim `fisher-pseudo-inverse`, chapter two-gradients-two-covariances; [amari1998natural].

    Example:
        >>> fisher_pseudo_inverse(torch.tensor([0.0, 0.0]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    (logits,) = over_actions(logits=logits)
    log_probs = LogProbs.apply(logits)
    forbidden = log_probs == -torch.inf
    actions = (~forbidden).sum(dim=-1, keepdim=True)
    reciprocals = torch.exp(-log_probs.masked_fill(forbidden, 0.0)).masked_fill(forbidden, 0.0)
    shares = reciprocals / actions
    mean = (shares / actions).sum(dim=-1)[..., None, None]
    matrix = mean - (shares.unsqueeze(-1) + shares.unsqueeze(-2)) + torch.diag_embed(reciprocals)
    return matrix.masked_fill(forbidden.unsqueeze(-1) | forbidden.unsqueeze(-2), 0.0)
