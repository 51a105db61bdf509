r"""How entropy changes, as symbols: its gradient, the lemma, the second order and the exact finite step.

Same names as in `entropy_core.reference.dynamics`. `new_probs` prints π' and is softmax(z + Δz). The
functions below return derivations: calling one proves it, line by line.
"""

from sympy import Rational

from entropy_core.symbolic import rules
from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.fields import (
    delta_logits,
    log_probs,
    logits,
    new_log_probs,
    new_probs,
    probs,
    straight_path,
)
from entropy_core.symbolic.moments import moment_form
from entropy_core.symbolic.operators import (
    Cov,
    Dt,
    E,
    Field,
    Grad,
    Indicator,
    Kappa,
    Partial,
    Quantity,
    Total,
    Var,
    action_index,
)
from entropy_core.symbolic.softmax import entropy

__all__ = [
    "entropy_change",
    "entropy_derivative",
    "entropy_gradient",
    "entropy_gradient_as_covariance",
    "entropy_gradient_covariance",
    "entropy_gradient_logits",
    "entropy_lemma",
    "exact_entropy_change",
    "first_order_entropy_change",
    "reverse_kl_divergence",
    "lemma_second_order",
    "new_entropy",
    "probs_ratio",
    "second_order_entropy_change",
    "second_order_expansion",
    "third_order_entropy_change",
]

new_entropy = Quantity("new_entropy", "H'", -Total(new_probs * new_log_probs), order=31)
reverse_kl_divergence = Quantity(
    "reverse_kl_divergence",
    r"\operatorname{KL}(\pi' \| \pi)",
    Total(new_probs * (new_log_probs - log_probs)),
    order=98,
)
probs_ratio = Field("probs_ratio", "w", new_probs / probs, order=20)

entropy_gradient = -probs * (log_probs + entropy)
entropy_change = new_entropy - entropy
first_order_entropy_change = -Cov(log_probs, delta_logits)
_centred = delta_logits - E(delta_logits)
second_order_entropy_change = first_order_entropy_change - Rational(1, 2) * E(
    (1 + log_probs + entropy) * _centred**2
)
third_order_entropy_change = second_order_entropy_change - Rational(1, 6) * (
    Kappa(log_probs, delta_logits, delta_logits, delta_logits)
    + 2 * Kappa(delta_logits, delta_logits, delta_logits)
)
_j = action_index("j")


def entropy_gradient_covariance():
    """Gradient of entropy in any parameters of the logits. Formula: ∇_θ H = −Cov(log π, ∇_θ z)."""
    return (
        Derivation(Grad(entropy))
        .by(rules.definition(entropy))
        .by(rules.product_rule)
        .by(rules.log_derivative)
        .by(rules.normalisation)
        .by(rules.score_trick)
        .by(rules.as_expectation)
        .by(rules.score)
        .by(rules.fold(Cov(log_probs, Grad(logits)), reason="definition of the covariance"))
    )


def entropy_gradient_logits():
    """Gradient of entropy in the logits themselves. Formula: ∂H/∂z_j = −π_j (log π_j + H)."""
    return (
        Derivation(Partial(entropy, logits.at(_j)))
        .by(rules.product_rule)
        .by(rules.log_derivative)
        .by(rules.normalisation)
        .by(rules.score)
        .by(rules.as_expectation)
        .by(rules.linearity)
        .by(rules.indicator_picks)
        .to(-probs.at(_j) * (log_probs.at(_j) + entropy), r"$H = -\mathbb{E}[\log\pi]$")
    )


def entropy_gradient_as_covariance():
    """The same gradient as a covariance. Formula: ∂H/∂z_j = −Cov(log π, e_j)."""
    return (
        Derivation(Partial(entropy, logits.at(_j)))
        .to(-probs.at(_j) * (log_probs.at(_j) + entropy), "gradient in the logits")
        .to(-Cov(log_probs, Indicator(_j)), r"$\mathbb{E}[e_j f] = \pi_j f_j$")
    )


def entropy_lemma():
    """Rate of change of entropy when the logits move with velocity Δz. Formula: dH/dt = −Cov(log π, Δz)."""
    return (
        Derivation(Dt(entropy))
        .by(rules.product_rule)
        .by(rules.score)
        .by(rules.score_has_mean_zero)
        .by(rules.as_expectation)
        .by(rules.fold(Cov(log_probs, delta_logits), reason="definition of the covariance"))
    )


def lemma_second_order():
    """Curvature of entropy along z + tΔz.

    Formula: H'' = −Var Δz − κ(log π, Δz, Δz) = −E[(Δz − E Δz)² (1 + log π + H)].

    Returns:
        the proved derivation.
    """
    product, means = E(log_probs * delta_logits), E(log_probs) * E(delta_logits)
    return (
        Derivation(Dt(Dt(entropy)), straight_path)
        .to(Dt(first_order_entropy_change), "the lemma, at every $t$")
        .to(Dt(means - product), "definition of the covariance")
        .by(rules.derivative_of_expectation)
        .by(
            rules.fold(
                Var(delta_logits), Kappa(log_probs, delta_logits, delta_logits), reason="joint cumulant"
            )
        )
        .to(-E(_centred**2 * (1 + log_probs + entropy)), r"$H = -\mathbb{E}[\log\pi]$")
    )


def second_order_expansion():
    """Taylor terms of entropy along z + tΔz. Formula: H' + ½H'' = second_order_entropy_change."""
    return Derivation(Dt(entropy) + Rational(1, 2) * Dt(Dt(entropy)), straight_path).to(
        second_order_entropy_change, "the lemma and its second order"
    )


def exact_entropy_change():
    """Exact change of entropy in a finite step.

    Formula: ΔH = −Σ (π' − π) log π − KL(π'‖π) = −Cov(w, log π) − KL(π'‖π), w = π'/π.

    Returns:
        the proved derivation.
    """
    moved = Total((new_probs - probs) * log_probs)
    return (
        Derivation(entropy_change)
        .to(-Total(new_probs * new_log_probs) + Total(probs * log_probs), "definition of entropy, twice")
        .to(
            -moved - Total(new_probs * (new_log_probs - log_probs)), r"add and subtract $\sum_a \pi' \log\pi$"
        )
        .to(-moved - reverse_kl_divergence, "definition of the divergence")
        .to(-Cov(probs_ratio, log_probs) - reverse_kl_divergence, r"$w = \pi'/\pi$ has mean 1")
    )


def entropy_derivative(order):
    """One derivative of entropy along z + tΔz from the one before, the coefficients solved for.

    Formula: H^(m) = −κ(log π, Δz, …, Δz) − (m − 1) κ(Δz, …, Δz), each with m times Δz.

    Args:
        order: m ≥ 2; each takes some three times as long as the one before, m = 4 about ten seconds.

    Returns:
        the proved derivation of d/dt H^(m−1).
    """
    before = _in_cumulants(order - 1)
    step = [delta_logits] * order
    return (
        Derivation(Dt(before), straight_path)
        .to(Dt(moment_form(before)), "cumulants in moments")
        .by(rules.derivative_of_expectation)
        .by(rules.fold(Kappa(log_probs, *step), Kappa(*step), reason="joint cumulants"))
    )


def _in_cumulants(order):
    step = [delta_logits] * order
    return -Kappa(log_probs, *step) - (order - 1) * Kappa(*step)
