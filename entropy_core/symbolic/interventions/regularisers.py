r"""Entropy bonus, reference divergence and entropy-neutral advantages, as symbols.

All of them add a multiple of one direction to the natural gradient: −(log π + H) for the entropy H,
−(log π − log π̄) for minus the divergence from a reference. `entropy_coefficient` prints α and
`kl_coefficient` prints β, both in units of reward per nat. `reference_log_probs` prints log π̄ and is any
field. π* is the policy that maximises E r + αH − β KL(π‖π̄); `sharpness` prints ν and is 1/(α + β).

The functions below return what they have proved. That a divergence is not negative, so that π* is the
maximum, and that a variance is not negative, is by hand.
"""

from sympy import Dummy, IndexedBase, Rational, Sum, Symbol, exp, log

from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.dynamics import second_order_entropy_change
from entropy_core.symbolic.fields import (
    advantages,
    delta_logits,
    inverse_temperature,
    log_probs,
    logits,
    probs,
    rewards,
    step_size,
    temperature_path,
)
from entropy_core.symbolic.operators import (
    Cov,
    DBeta,
    E,
    Field,
    Kappa,
    Partial,
    Quantity,
    Scalar,
    Total,
    Var,
    action_index,
    named_matrix,
)
from entropy_core.symbolic.softmax import entropy, fisher

__all__ = [
    "bonus_of_shaped_advantages",
    "entropy_against_coefficient",
    "entropy_coefficient",
    "kl_coefficient",
    "natural_neutral_coefficient",
    "natural_neutral_entropy_rate",
    "natural_neutral_reward_rate",
    "natural_neutral_second_order",
    "neutral_advantages",
    "odds_at_the_optimum",
    "optimal_log_probs",
    "plain_neutral_coefficient",
    "plain_neutral_entropy_rate",
    "plain_neutral_reward_rate",
    "plain_rate_of_the_natural_coefficient",
    "reference_kl",
    "reference_log_probs",
    "regularised_direction",
    "regularised_value",
    "sharpness",
]

entropy_coefficient = Scalar("entropy_coefficient", r"\alpha", order=2)
kl_coefficient = Scalar("kl_coefficient", r"\beta", order=3)
reference_log_probs = Field("reference_log_probs", r"\log\bar\pi", order=92)
reference_kl = Quantity(
    "reference_kl",
    r"\operatorname{KL}(\pi \| \bar\pi)",
    E(log_probs - reference_log_probs),
    order=98,
)
sharpness = Scalar("sharpness", r"\nu", order=1)
_pull = sharpness * (rewards + kl_coefficient * reference_log_probs)
_optimal_normaliser = Quantity("optimal_normaliser", "Z^{*}", Total(exp(_pull)), order=5)
optimal_log_probs = Field(
    "optimal_log_probs", r"\log\pi^{*}", definition=_pull - log(_optimal_normaliser), order=93
)
_optimal_kl = Quantity(
    "optimal_kl", r"\operatorname{KL}(\pi \| \pi^{*})", E(log_probs - optimal_log_probs), order=98
)
_excess = log_probs + entropy
natural_neutral_coefficient = Quantity(
    "natural_neutral_coefficient", r"\alpha^{*}", Cov(log_probs, advantages) / Var(log_probs), order=2
)
plain_neutral_coefficient = Quantity(
    "plain_neutral_coefficient",
    r"\alpha^{\circ}",
    Cov(log_probs, probs * advantages) / E(probs * _excess**2),
    order=2,
)
neutral_advantages = Field(
    "neutral_advantages",
    r"A_{\perp}",
    definition=advantages - natural_neutral_coefficient * _excess,
    order=46,
)
_i, _j = action_index("i"), action_index("j")
_F = named_matrix("F", "F", fisher)


def regularised_value():
    """What is maximised is its largest value less a divergence from the optimum.

    Formula: ν (E r + αH − β KL(π‖π̄)) = log Z* − KL(π‖π*), π* ∝ e^(ν(r + β log π̄)), ν = 1/(α + β).

    Returns:
        the proved derivation, with α written as 1/ν − β.
    """
    value = E(rewards) + (1 / sharpness - kl_coefficient) * entropy - kl_coefficient * reference_kl
    return (
        Derivation(sharpness * value)
        .to(E(_pull - log_probs), r"$H = -\mathbb{E}[\log\pi]$")
        .to(log(_optimal_normaliser) - E(log_probs - optimal_log_probs), r"logarithm of $\pi^{*}$")
        .to(log(_optimal_normaliser) - _optimal_kl, "definition of the divergence")
    )


def regularised_direction():
    """The natural gradient of it. Formula: F (A − α(log π + H) − β(log π − log π̄)) = ∂/∂z."""
    pulled = kl_coefficient * (log_probs - reference_log_probs)
    direction = advantages - entropy_coefficient * _excess - pulled
    value = E(rewards) + entropy_coefficient * entropy - kl_coefficient * reference_kl
    return (
        Derivation(Total(_F(_i, _j) * _at(direction, _j), _j))
        .to(probs.at(_i) * (_at(direction, _i) - E(direction)), r"$\delta_{ij}$ keeps $j = i$")
        .to(Partial(value, logits.at(_i)), "the three gradients")
    )


def odds_at_the_optimum():
    """Certificate that weights 1 + c(g − 1) multiply the odds of success by g if every c is 0 or 1.

    Formula: E[c w] (1 − P) = g P E[(1 − c) w], w = 1 + c(g − 1), which is e^(Δc/β) for g = e^(Δ/β).

    Returns:
        the certificate.
    """
    a, n = action_index("a"), Symbol("n", integer=True, positive=True)
    weights, member = IndexedBase("p", real=True), IndexedBase("c", real=True)
    growth = Symbol("g", positive=True)
    tilted = 1 + member[a] * (growth - 1)
    right, mean = _over(weights[a] * member[a] * tilted, a, n), _over(weights[a] * member[a], a, n)
    wrong, rest = (
        _over(weights[a] * (1 - member[a]) * tilted, a, n),
        _over(weights[a] * (1 - member[a]), a, n),
    )
    zero_or_one = Hypothesis("(c^2 - c)", member[a] ** 2 - member[a], a, n)
    multiplier = (growth - 1) * weights[a] * (rest + growth * mean)
    return Certificate(right * rest - growth * mean * wrong, ((multiplier, zero_or_one),))


def entropy_against_coefficient():
    """Slope of the optimum's entropy against log α. Formula: dH/d log α = −β dH/dβ = Var(log π), β = 1/α."""
    return (
        Derivation(-inverse_temperature * DBeta(entropy), temperature_path)
        .to(inverse_temperature**2 * Var(logits), r"$dH/d\beta = -\beta \operatorname{Var} z$")
        .to(Var(log_probs), r"$\log\pi = \beta z - \log Z$")
    )


def bonus_of_shaped_advantages():
    """The plain gradient of A − α(log π + H) is that of reward and bonus.

    Formula: π_j (A_j − α(log π_j + H)) = ∂(E r + αH)/∂z_j.

    Returns:
        the proved derivation.
    """
    shaped = probs.at(_j) * (advantages.at(_j) - entropy_coefficient * (log_probs.at(_j) + entropy))
    return Derivation(Partial(E(rewards) + entropy_coefficient * entropy, logits.at(_j))).to(
        shaped, "the two gradients"
    )


def natural_neutral_entropy_rate():
    """Entropy under the natural gradient of A − α(log π + H).

    Formula: −Cov(log π, A − α(log π + H)) = −Cov(log π, A) + α Var(log π) = (α − α*) Var(log π).

    Returns:
        the proved derivation.
    """
    return (
        Derivation(-Cov(log_probs, advantages - entropy_coefficient * _excess))
        .to(
            -Cov(log_probs, advantages) + entropy_coefficient * Var(log_probs),
            "linearity; $H$ is a number",
        )
        .to(
            (entropy_coefficient - natural_neutral_coefficient) * Var(log_probs),
            r"definition of $\alpha^{*}$",
        )
    )


def natural_neutral_reward_rate():
    """Reward under the natural gradient of the neutral advantage.

    Formula: Cov(A, A − α*(log π + H)) = Var A − Cov(log π, A)² / Var(log π).

    Returns:
        the proved derivation.
    """
    lost = Cov(log_probs, advantages) ** 2 / Var(log_probs)
    return (
        Derivation(Cov(advantages, neutral_advantages))
        .to(
            Var(advantages) - natural_neutral_coefficient * Cov(log_probs, advantages),
            "linearity; $H$ is a number",
        )
        .to(Var(advantages) - lost, r"definition of $\alpha^{*}$")
    )


def natural_neutral_second_order():
    """What entropy still does in one neutral natural step, to second order.

    Formula: −½ η² (Var A⊥ + κ(log π, A⊥, A⊥)), A⊥ = A − α*(log π + H).

    Returns:
        the proved derivation.
    """
    neutral = neutral_advantages
    start = second_order_entropy_change.xreplace({delta_logits: step_size * neutral})
    left = Var(neutral) + Kappa(log_probs, neutral, neutral)
    return (
        Derivation(start)
        .to(
            -step_size * Cov(log_probs, neutral) - Rational(1, 2) * step_size**2 * left,
            r"$H = -\mathbb{E}[\log\pi]$",
        )
        .to(-Rational(1, 2) * step_size**2 * left, r"$\operatorname{Cov}(\log\pi, A_{\perp}) = 0$")
    )


def plain_neutral_entropy_rate():
    """Entropy under the plain gradient of A − α(log π + H).

    Formula: −Cov(log π, π(A − α(log π + H))) = −Cov(log π, πA) + α E[π(log π + H)²].

    Returns:
        the proved derivation.
    """
    start = -Cov(log_probs, probs * (advantages - entropy_coefficient * _excess))
    return (
        Derivation(start)
        .to(
            -Cov(log_probs, probs * advantages) + entropy_coefficient * Cov(log_probs, probs * _excess),
            "linearity",
        )
        .to(
            -Cov(log_probs, probs * advantages) + entropy_coefficient * E(probs * _excess**2),
            r"$\mathbb{E}[\log\pi] = -H$",
        )
        .to(
            (entropy_coefficient - plain_neutral_coefficient) * E(probs * _excess**2),
            r"definition of $\alpha^{\circ}$",
        )
    )


def plain_neutral_reward_rate():
    """Reward under the plain gradient of A − α°(log π + H).

    Formula: Cov(r, π(A − α°(log π + H))) = E[πA²] − Cov(log π, πA)² / E[π(log π + H)²].

    Returns:
        the proved derivation.
    """
    shaped = probs * (advantages - plain_neutral_coefficient * _excess)
    lost = Cov(log_probs, probs * advantages) ** 2 / E(probs * _excess**2)
    return (
        Derivation(Cov(rewards, shaped))
        .to(
            E(probs * advantages**2) - plain_neutral_coefficient * E(probs * advantages * _excess),
            r"$A = r - \mathbb{E}[r]$",
        )
        .to(E(probs * advantages**2) - lost, r"definition of $\alpha^{\circ}$")
    )


def plain_rate_of_the_natural_coefficient():
    """The natural coefficient under the plain gradient: neutral only where the two coefficients agree.

    Formula: −Cov(log π, π(A − α*(log π + H))) = (α* − α°) E[π(log π + H)²].

    Returns:
        the proved derivation.
    """
    return Derivation(-Cov(log_probs, probs * neutral_advantages)).to(
        (natural_neutral_coefficient - plain_neutral_coefficient) * E(probs * _excess**2),
        r"definitions of $\alpha^{*}$ and $\alpha^{\circ}$",
    )


def _at(expression, index):
    """Return a sum of products of fields at one action."""
    return expression.xreplace({field: field.at(index) for field in expression.atoms(Field)})


def _over(term, a, n):
    """Sum over actions under a fresh bound index."""
    bound = Dummy("a", integer=True, positive=True)
    return Sum(term.xreplace({a: bound}), (bound, 1, n))
