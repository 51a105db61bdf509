r"""The step that reinforces one sampled token, as symbols, and what it does to entropy.

a is the token sampled from π and A the number it is reinforced with, any number unless A_a is written, which
is the advantage r_a − E r. S = π(log π + H) is the token's entropy score. Same names as in
`entropy_core.reference.sampled_token`. The functions below return derivations: calling one proves it, line by
line.
"""

from sympy import KroneckerDelta, Rational, S, exp

from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.dynamics import first_order_entropy_change
from entropy_core.symbolic.fields import advantages, delta_logits, log_probs, probs, step_size
from entropy_core.symbolic.operators import (
    Cov,
    E,
    Field,
    Indicator,
    Quantity,
    Scalar,
    Total,
    action_index,
    named_matrix,
)
from entropy_core.symbolic.outcomes import entropy_weight
from entropy_core.symbolic.softmax import entropy, fisher

__all__ = [
    "average_entropy_rate",
    "average_score",
    "average_step",
    "centred_score",
    "diagonal_entropy_rate",
    "finite_covariance",
    "mean_of_scores",
    "mean_score",
    "natural_direction",
    "natural_entropy_rate",
    "ordered_pairs",
    "policy_curvature",
    "sampled_advantage",
    "sampled_entropy_rate",
    "sampled_second_order",
    "sampled_token_delta_logits",
    "sampled_token_first_order_entropy_change",
    "scaling",
    "score_baseline",
    "sign_entropy_rate",
    "token_entropy_scores",
]

sampled_advantage = Scalar("sampled_advantage", "A", order=45)
scaling = Field("scaling", "d", order=9)
token_entropy_scores = entropy_weight
score_baseline = Cov(probs, log_probs)
_a, _i, _j = action_index("a"), action_index("i"), action_index("j")
_score = token_entropy_scores.at(_a)
_rate = step_size * sampled_advantage
_slope = 1 + log_probs + entropy
_step = Indicator(_a) - probs
centred_score = Field("centred_score", "s", definition=_step - E(_step), order=99)
mean_of_scores = Quantity("mean_of_scores", "C", score_baseline, order=31)
policy_curvature = Quantity("policy_curvature", "K", E(_slope * (probs - E(probs)) ** 2), order=99)
_F = named_matrix("F", "F", fisher)

sampled_token_delta_logits = _rate * (Indicator(_a) - probs)
sampled_token_first_order_entropy_change = -_rate * (_score - score_baseline)


def sampled_entropy_rate():
    """The lemma for one sampled token. Formula: −Cov(log π, ηA(e_a − π)) = −ηA(S_a − Cov(π, log π))."""
    return (
        Derivation(_lemma(sampled_token_delta_logits))
        .to(-_rate * Cov(log_probs, Indicator(_a) - probs), r"$\eta A$ is a constant")
        .to(-_rate * (Cov(log_probs, Indicator(_a)) - Cov(probs, log_probs)), "linearity")
        .to(
            sampled_token_first_order_entropy_change,
            r"$\mathbb{E}[e_a f] = \pi_a f_a$, $H = -\mathbb{E}[\log\pi]$",
        )
    )


def sampled_second_order():
    """Second-order term of the same step, first order not included, over −½η²A²; s = e_a − π less its mean.

    Formula: E[(1 + log π + H) s²] = (π_a + S_a)(1 − 4π_a + 2 E π) + π_a² + 2π_a C + K, C = Cov(π, log π),
    K = E[(1 + log π + H)(π − E π)²].

    Returns:
        the proved derivation.
    """
    own = (probs.at(_a) + _score) * (1 - 4 * probs.at(_a) + 2 * E(probs))
    shared = probs.at(_a) ** 2 + 2 * probs.at(_a) * mean_of_scores + policy_curvature
    return Derivation(E(_slope * centred_score**2)).to(own + shared, "expand the square")


def finite_covariance():
    """What decides a finite step, through scores. Formula: Cov(e^u, log π) = Σ_a S_a e^{u_a}."""
    return (
        Derivation(Cov(exp(delta_logits), log_probs))
        .to(E(exp(delta_logits) * (log_probs + entropy)), r"$H = -\mathbb{E}[\log\pi]$")
        .to(Total(token_entropy_scores * exp(delta_logits)), r"$S = \pi(\log\pi + H)$")
    )


def mean_score():
    """Scores have mean Cov(π, log π) under π. Formula: E S = Cov(π, log π)."""
    return (
        Derivation(E(token_entropy_scores))
        .to(E(probs * (log_probs + entropy)), r"$S = \pi(\log\pi + H)$")
        .to(score_baseline, r"$H = -\mathbb{E}[\log\pi]$")
    )


def average_score():
    """And plain sum 0. Formula: Σ_a S_a = 0."""
    return (
        Derivation(Total(token_entropy_scores))
        .to(E(log_probs + entropy), r"$\sum_a \pi f = \mathbb{E} f$")
        .to(S.Zero, r"$H = -\mathbb{E}[\log\pi]$")
    )


def ordered_pairs():
    """The baseline as a sum over pairs of actions, no term of which is negative.

    Formula: Cov(π, log π) = ½ Σ_i Σ_j π_i π_j (π_i − π_j)(log π_i − log π_j).

    Returns:
        the proved derivation.
    """
    differences = (probs.at(_i) - probs.at(_j)) * (log_probs.at(_i) - log_probs.at(_j))
    pairs = Total(Total(probs.at(_i) * probs.at(_j) * differences, _j), _i)
    return Derivation(score_baseline).to(Rational(1, 2) * pairs, r"each pair once from either side")


def average_step():
    """Averaged over the token drawn from π, the step is the policy gradient's.

    Formula: Σ_a π_a η A_a (δ_ai − π_i) = η π_i A_i.

    Returns:
        the proved derivation.
    """
    drawn = probs.at(_a) * step_size * advantages.at(_a) * (KroneckerDelta(_a, _i) - probs.at(_i))
    return (
        Derivation(Total(drawn, _a))
        .to(step_size * probs.at(_i) * (advantages.at(_i) - E(advantages)), r"$\delta_{ai}$ keeps $a = i$")
        .to(step_size * probs.at(_i) * advantages.at(_i), r"$\mathbb{E}[A] = 0$")
    )


def average_entropy_rate():
    """Averaged over the draw, the rate is the policy gradient's.

    Formula: Σ_a π_a [−η A_a (S_a − Cov(π, log π))] = −η Cov(log π, πA).

    Returns:
        the proved derivation.
    """
    drawn = probs * (-step_size * advantages * (token_entropy_scores - score_baseline))
    return (
        Derivation(Total(drawn))
        .to(-step_size * E(advantages * token_entropy_scores), r"$\mathbb{E}[A] = 0$")
        .to(-step_size * Cov(log_probs, probs * advantages), r"$S = \pi(\log\pi + H)$")
    )


def diagonal_entropy_rate():
    """The rate when each coordinate of the score is scaled by a number d of its own.

    Formula: −Cov(log π, ηA d(e_a − π)) = −ηA (d_a S_a − Cov(log π, dπ)).

    Returns:
        the proved derivation.
    """
    scaled = _rate * scaling * (Indicator(_a) - probs)
    return (
        Derivation(_lemma(scaled))
        .to(-_rate * (Cov(log_probs, scaling * Indicator(_a)) - Cov(log_probs, scaling * probs)), "linearity")
        .to(
            -_rate * (scaling.at(_a) * _score - Cov(log_probs, scaling * probs)),
            r"$\mathbb{E}[e_a f] = \pi_a f_a$",
        )
    )


def sign_entropy_rate():
    """The rate when each coordinate of the score is replaced by its sign, + at a and − elsewhere.

    Formula: −Cov(log π, η(2e_a − 1)) = −2ηS_a.

    Returns:
        the proved derivation.
    """
    return (
        Derivation(_lemma(step_size * (2 * Indicator(_a) - 1)))
        .to(-2 * step_size * Cov(log_probs, Indicator(_a)), "a constant has no covariance")
        .to(-2 * step_size * _score, r"$\mathbb{E}[e_a f] = \pi_a f_a$, $H = -\mathbb{E}[\log\pi]$")
    )


def natural_direction():
    """What the Fisher matrix takes to the score of one token. Formula: Σ_j F_ij δ_aj / π_j = δ_ai − π_i."""
    return Derivation(Total(_F(_i, _j) * KroneckerDelta(_a, _j) / probs.at(_j), _j)).to(
        KroneckerDelta(_a, _i) - probs.at(_i), r"$F_{ij} = \pi_i(\delta_{ij} - \pi_j)$"
    )


def natural_entropy_rate():
    """The natural gradient of one token. Formula: −Cov(log π, ηA e_a / π) = −ηA (log π_a + H)."""
    return (
        Derivation(_lemma(_rate * Indicator(_a) / probs))
        .to(-_rate * Cov(log_probs, Indicator(_a) / probs), r"$\eta A$ is a constant")
        .to(-_rate * (log_probs.at(_a) + entropy), r"$\mathbb{E}[e_a f/\pi] = f_a$")
    )


def _lemma(step):
    """−Cov(log π, step)."""
    return first_order_entropy_change.xreplace({delta_logits: step})
