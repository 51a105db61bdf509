r"""The softmax policy as symbols: π = softmax(z), its entropy, its Fisher matrix, and what is proved of them.

Same names as in `entropy_core.reference.softmax`; here each is a point-free expression, not a function of
numbers. The functions below return derivations: calling one proves it, line by line.
"""

from sympy import KroneckerDelta, exp

from entropy_core.symbolic import rules
from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.fields import (
    inverse_temperature,
    log_probs,
    logits,
    probs,
    temperature_path,
)
from entropy_core.symbolic.operators import (
    Cov,
    DBeta,
    Dt,
    E,
    Field,
    Partial,
    Quantity,
    Scalar,
    Total,
    Var,
    action_index,
)

__all__ = [
    "covariance_over_actions",
    "entropy",
    "entropy_natural_gradient",
    "fisher",
    "fisher_is_jacobian",
    "fisher_kernel",
    "fisher_quadratic_form",
    "log_probs",
    "probs",
    "score",
    "score_mean_zero",
    "softmax_gauge",
    "softmax_jacobian",
    "temperature_flow",
    "varentropy",
]

entropy = Quantity("entropy", "H", -Total(probs * log_probs), order=30)
varentropy = Var(log_probs)
covariance_over_actions = Cov
_i, _j = action_index("i"), action_index("j")
_vector = Field("vector", "v", order=40)
_shift = Scalar("shift", "c")


def fisher(i, j):
    """Return entry (i, j) of the Fisher matrix of one softmax.

    Formula: F_ij = π_i (δ_ij − π_j).

    Args:
        i: action, an index from `action_index`.
        j: action.

    Returns:
        expression in the indices.
    """
    return probs.at(i) * (KroneckerDelta(i, j) - probs.at(j))


def softmax_gauge():
    """Adding one number to all logits changes nothing. Formula: softmax(z + c) = softmax(z)."""
    start = exp(logits + _shift) / Total(exp(logits + _shift))
    return (
        Derivation(start)
        .to(exp(logits) / Total(exp(logits)), "$e^c$ cancels")
        .to(probs, "definition of the softmax")
    )


def softmax_jacobian():
    """Jacobian of the softmax. Formula: ∂π_i/∂z_j = π_i (δ_ij − π_j)."""
    return Derivation(Partial(probs.at(_i), logits.at(_j))).by(rules.score_trick).by(rules.score)


def score():
    """Derivative of log π along any path of logits. Formula: d log π/dt = Δz − E Δz."""
    return (
        Derivation(Dt(log_probs))
        .by(rules.log_softmax)
        .by(rules.chain_rule)
        .by(rules.softmax_weights)
        .by(rules.as_expectation)
    )


def score_mean_zero():
    """The score has mean zero under π. Formula: E[d log π/dt] = 0."""
    return (
        Derivation(E(Dt(log_probs)))
        .by(rules.as_sum)
        .by(rules.log_derivative)
        .to(Dt(Total(probs)), "a finite sum")
        .to(0, "probabilities sum to 1")
    )


def fisher_is_jacobian():
    """The Fisher matrix of the logits is the Jacobian of the softmax. Formula: E[s_i s_j] = ∂π_i/∂z_j."""
    scores = Partial(log_probs, logits.at(_i)) * Partial(log_probs, logits.at(_j))
    return (
        Derivation(E(scores))
        .by(rules.score)
        .by(rules.linearity)
        .by(rules.indicator_picks)
        .to(fisher(_i, _j), r"$\pi_j \delta_{ij} = \pi_i \delta_{ij}$")
        .to(Partial(probs.at(_i), logits.at(_j)), "Jacobian of the softmax")
    )


def fisher_quadratic_form():
    """Length of a vector of logits in the Fisher metric. Formula: vᵀ F v = Var v."""
    form = Total(Total(_vector.at(_i) * fisher(_i, _j) * _vector.at(_j), _j), _i)
    return (
        Derivation(form)
        .to(Total(probs * _vector**2) - Total(probs * _vector) ** 2, r"$\delta_{ij}$ keeps $j = i$")
        .by(rules.as_expectation)
        .by(rules.fold(Var(_vector), reason="definition of the variance"))
    )


def fisher_kernel():
    """A constant vector has length zero, so F has no inverse. Formula: Σ_j F_ij = 0."""
    return (
        Derivation(Total(fisher(_i, _j), _j))
        .to(probs.at(_i) - probs.at(_i) * Total(probs), r"$\delta_{ij}$ keeps $j = i$")
        .to(0, "probabilities sum to 1")
    )


def entropy_natural_gradient():
    """Scaling the logits down is the natural gradient of entropy. Formula: F (−z) = ∂H/∂z."""
    return (
        Derivation(-Total(fisher(_i, _j) * logits.at(_j), _j))
        .to(-probs.at(_i) * (logits.at(_i) - E(logits)), r"$\delta_{ij}$ keeps $j = i$")
        .to(-probs.at(_i) * (log_probs.at(_i) - E(log_probs)), r"$\log Z$ cancels")
        .to(-probs.at(_i) * (log_probs.at(_i) + entropy), r"$H = -\mathbb{E}[\log\pi]$")
        .to(Partial(entropy, logits.at(_i)), "gradient of entropy")
    )


def temperature_flow():
    """Entropy under π ∝ e^{βz} as β grows. Formula: dH/dβ = −β Var z."""
    return (
        Derivation(DBeta(entropy), temperature_path)
        .by(rules.product_rule)
        .by(rules.score)
        .by(rules.score_has_mean_zero)
        .by(rules.as_expectation)
        .by(rules.fold(Cov(log_probs, logits), reason="definition of the covariance"))
        .to(-inverse_temperature * Var(logits), r"$\log\pi = \beta z - \log Z$")
    )
