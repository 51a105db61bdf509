r"""The two updates in logit space, as symbols; the advantage is A = r − E r.

Same names as in `entropy_core.reference.updates`. The functions below return derivations: calling one proves
it, line by line.
"""

from sympy import exp

from entropy_core.symbolic import rules
from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.dynamics import first_order_entropy_change
from entropy_core.symbolic.fields import (
    advantages,
    delta_logits,
    log_probs,
    logits,
    probs,
    rewards,
    step_size,
)
from entropy_core.symbolic.operators import (
    Cov,
    E,
    Partial,
    Scalar,
    Total,
    action_index,
    named_matrix,
)
from entropy_core.symbolic.softmax import (
    entropy,
    fisher,
    fisher_pseudo_inverse,
    number_of_actions,
)

__all__ = [
    "baseline_in_natural_gradient",
    "baseline_in_policy_gradient",
    "log_probs_under_natural_gradient",
    "log_probs_under_policy_gradient",
    "multiplicative_weights",
    "natural_gradient_delta_logits",
    "natural_gradient_entropy_rate",
    "natural_gradient_gauge",
    "natural_gradient_of_reward",
    "policy_gradient_delta_logits",
    "policy_gradient_entropy_rate",
    "policy_gradient_of_reward",
]

policy_gradient_delta_logits = step_size * probs * advantages
natural_gradient_delta_logits = step_size * advantages
_i, _j = action_index("i"), action_index("j")
_shift = Scalar("shift", "c")
_baseline = Scalar("baseline", "b")
_F = named_matrix("F", "F", fisher)
_pseudo_inverse = named_matrix("F_plus", "F^{+}", fisher_pseudo_inverse)


def policy_gradient_of_reward():
    """The gradient of the expected reward of one state. Formula: ∂E[r]/∂z_j = π_j A_j."""
    return (
        Derivation(Partial(E(rewards), logits.at(_j)))
        .by(rules.derivative_of_expectation)
        .to(probs.at(_j) * (rewards.at(_j) - E(rewards)), r"$\mathbb{E}[e_j f] = \pi_j f_j$")
        .to(probs.at(_j) * advantages.at(_j), r"$A = r - \mathbb{E}[r]$")
    )


def natural_gradient_of_reward():
    """The pseudo-inverse on the policy gradient. Formula: F⁺(πA) = A − its plain mean."""
    return (
        Derivation(Total(_pseudo_inverse(_i, _j) * probs.at(_j) * advantages.at(_j), _j))
        .to(
            advantages.at(_i)
            - Total(advantages) / number_of_actions
            + E(advantages)
            * (Total(1 / probs) / number_of_actions**2 - 1 / probs.at(_i) / number_of_actions),
            "the entries of $F^{+}$",
        )
        .to(advantages.at(_i) - Total(advantages) / number_of_actions, r"$\mathbb{E}[A] = 0$")
    )


def natural_gradient_gauge():
    """Every A + c is a natural direction. Formula: F (A + c) = πA."""
    shifted = advantages.at(_j) + _shift
    return (
        Derivation(Total(_F(_i, _j) * shifted, _j))
        .to(probs.at(_i) * (advantages.at(_i) - E(advantages)), "$F$ annihilates $c$")
        .to(probs.at(_i) * advantages.at(_i), r"$\mathbb{E}[A] = 0$")
    )


def multiplicative_weights():
    """The exact natural step of any size and any baseline b. Formula: π' = π e^{ηr} / E e^{ηr}."""
    raised = exp(logits + step_size * (rewards - _baseline))
    growth = exp(step_size * rewards)
    return (
        Derivation(raised / Total(raised))
        .to(exp(logits) * growth / Total(exp(logits) * growth), r"$e^{-\eta b}$ cancels")
        .to(probs * growth / E(growth), r"$\pi = e^z / \sum_a e^z$")
    )


def log_probs_under_policy_gradient():
    """Velocity of log π under the policy gradient. Formula: d log π = η (πA − Σ π² A)."""
    step = policy_gradient_delta_logits
    return Derivation(step - E(step)).to(
        step_size * (probs * advantages - Total(probs**2 * advantages)), r"$\mathbb{E} f = \sum_a \pi f$"
    )


def log_probs_under_natural_gradient():
    """Velocity of log π under the natural gradient. Formula: d log π = ηA."""
    step = natural_gradient_delta_logits
    return Derivation(step - E(step)).to(step_size * advantages, r"$\mathbb{E}[A] = 0$")


def natural_gradient_entropy_rate():
    """The lemma for the natural gradient. Formula: −Cov(log π, ηA) = −η Cov(log π, A)."""
    start = first_order_entropy_change.xreplace({delta_logits: natural_gradient_delta_logits})
    return Derivation(start).to(-step_size * Cov(log_probs, advantages), r"$\eta$ is a constant")


def policy_gradient_entropy_rate():
    """The lemma for the policy gradient, with the weight that stands in the place of log π.

    Formula: −Cov(log π, ηπA) = −η Cov(log π, πA) = −η Cov(π(log π + H), A).

    Returns:
        the proved derivation.
    """
    start = first_order_entropy_change.xreplace({delta_logits: policy_gradient_delta_logits})
    return (
        Derivation(start)
        .to(-step_size * Cov(log_probs, probs * advantages), r"$\eta$ is a constant")
        .to(-step_size * E((log_probs + entropy) * probs * advantages), r"$H = -\mathbb{E}[\log\pi]$")
        .to(-step_size * Cov(probs * (log_probs + entropy), advantages), r"$\mathbb{E}[A] = 0$")
    )


def baseline_in_natural_gradient():
    """A baseline error c does not reach the natural form. Formula: Cov(log π, A + c) = Cov(log π, A)."""
    return Derivation(Cov(log_probs, advantages + _shift)).to(
        Cov(log_probs, advantages), "a constant has no covariance"
    )


def baseline_in_policy_gradient():
    """A baseline error c moves the plain form.

    Formula: Cov(log π, π(A + c)) = Cov(log π, πA) + c Cov(log π, π).

    Returns:
        the proved derivation.
    """
    return Derivation(Cov(log_probs, probs * (advantages + _shift))).to(
        Cov(log_probs, probs * advantages) + _shift * Cov(log_probs, probs), "linearity"
    )
