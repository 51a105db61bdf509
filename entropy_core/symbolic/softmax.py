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
    named_matrix,
)

__all__ = [
    "covariance_over_actions",
    "entropy",
    "entropy_natural_gradient",
    "fisher",
    "fisher_is_jacobian",
    "fisher_kernel",
    "fisher_pseudo_inverse",
    "fisher_quadratic_form",
    "log_probs",
    "number_of_actions",
    "penrose_conditions",
    "probs",
    "pseudo_inverse_entries",
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
number_of_actions = Quantity("number_of_actions", "n", Total(1), order=3)
_i, _j, _k, _l = map(action_index, "ijkl")
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


def fisher_pseudo_inverse(i, j):
    """Return entry (i, j) of the Moore–Penrose inverse of the Fisher matrix.

    Formula: F⁺_ij = δ_ij/π_i − (1/π_i + 1/π_j)/n + Σ_a (1/π_a)/n².

    Args:
        i: action, an index from `action_index`.
        j: action.

    Returns:
        expression in the indices; `penrose_conditions` proves the name.
    """
    reciprocals = (1 / probs.at(i) + 1 / probs.at(j)) / number_of_actions
    return KroneckerDelta(i, j) / probs.at(i) - reciprocals + Total(1 / probs) / number_of_actions**2


_F = named_matrix("F", "F", fisher)
_pseudo_inverse = named_matrix("F_plus", "F^{+}", fisher_pseudo_inverse)
_C = named_matrix("C", "C", lambda i, j: KroneckerDelta(i, j) - 1 / number_of_actions)


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


def pseudo_inverse_entries():
    """The pseudo-inverse as a product. Formula: C diag(1/π) C = F⁺ with C = I − 11ᵀ/n."""
    return (
        Derivation(Total(_C(_i, _k) / probs.at(_k) * _C(_k, _j), _k))
        .to(
            Total(_C(_i, _k) / probs.at(_k) * (KroneckerDelta(_k, _j) - 1 / number_of_actions), _k),
            r"$C = I - \mathbf{1}\mathbf{1}^\top/n$",
        )
        .to(fisher_pseudo_inverse(_i, _j), r"$\delta_{jk}$ keeps $k = j$")
    )


def penrose_conditions():
    """The four conditions that only the Moore–Penrose inverse meets.

    Formula: F F⁺ = C, F⁺ F = C, with C = I − 11ᵀ/n symmetric; F F⁺ F = F; F⁺ F F⁺ = F⁺.

    Returns:
        four proved derivations, in this order.
    """
    other = _pseudo_inverse
    return (
        Derivation(Total(_F(_i, _k) * other(_k, _j), _k)).to(_C(_i, _j), "multiply out"),
        Derivation(Total(other(_i, _k) * _F(_k, _j), _k)).to(_C(_i, _j), "multiply out"),
        Derivation(Total(Total(_F(_i, _k) * other(_k, _l) * _F(_l, _j), _k), _l))
        .to(Total(_C(_i, _l) * _F(_l, _j), _l), "$F F^{+} = C$")
        .to(_F(_i, _j), r"columns of $F$ sum to 0"),
        Derivation(Total(Total(other(_i, _k) * _F(_k, _l) * other(_l, _j), _k), _l))
        .to(Total(_C(_i, _l) * other(_l, _j), _l), "$F^{+} F = C$")
        .to(other(_i, _j), r"columns of $F^{+}$ sum to 0"),
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
