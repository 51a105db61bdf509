r"""Two groups of actions, correct and wrong: how entropy splits between them and what reward and noise do.

`correct` prints c and is 1 at a correct action, 0 at a wrong one. P = E c is the success probability; H_C and
H_W are the entropies of π conditioned on either group, in nats, and P and 1 − P must not be 0. The splits and
the rates hold for every membership c; only where c² = c is used does a certificate say so.
"""

from sympy import Dummy, IndexedBase, Sum, Symbol, log

from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.fields import advantages, delta_logits, log_probs, probs, rewards
from entropy_core.symbolic.operators import (
    Cov,
    Dt,
    E,
    Field,
    Indicator,
    Quantity,
    Scalar,
    Total,
    action_index,
)
from entropy_core.symbolic.softmax import entropy

__all__ = [
    "advantage_gap_velocity",
    "binary_covariance",
    "correct",
    "entropy_by_outcome",
    "entropy_of_correct",
    "entropy_of_wrong",
    "entropy_weight",
    "entropy_within_correct",
    "level",
    "natural_crossing",
    "natural_flow_freezes_correct",
    "natural_flow_of_success",
    "noise_in_logits",
    "noise_in_sampled_gradient",
    "policy_crossing",
    "success_probability",
    "success_rate",
]

correct = Field("correct", "c", order=42)
success_probability = Quantity("success_probability", "P", E(correct), order=3)
entropy_of_correct = Quantity(
    "entropy_of_correct", "H_C", log(E(correct)) - E(correct * log_probs) / E(correct), order=32
)
entropy_of_wrong = Quantity(
    "entropy_of_wrong", "H_W", log(1 - E(correct)) - E((1 - correct) * log_probs) / (1 - E(correct)), order=33
)
level = Scalar("level", r"\alpha", order=46)
entropy_weight = Field("entropy_weight", "S", probs * (log_probs + entropy), order=21)

_p, _i, _j = success_probability, action_index("i"), action_index("j")
_curvature_weight = 1 + log_probs + entropy


def natural_crossing():
    """The natural gradient's covariance about any level. Formula: Cov(log π, A) = E[(log π + H)(A − α)]."""
    return (
        Derivation(Cov(log_probs, advantages))
        .to(E((log_probs + entropy) * advantages), r"$\mathbb{E}[\log\pi] = -H$")
        .to(E((log_probs + entropy) * (advantages - level)), r"$\mathbb{E}[\log\pi + H] = 0$")
    )


def policy_crossing():
    """The policy gradient's covariance about any level. Formula: Cov(log π, πA) = E[(S − E S)(A − α)]."""
    weight = entropy_weight
    return (
        Derivation(Cov(log_probs, probs * advantages))
        .to(E((log_probs + entropy) * probs * advantages), r"$\mathbb{E}[\log\pi] = -H$")
        .to(E(weight * advantages), r"$S = \pi(\log\pi + H)$")
        .to(E((weight - E(weight)) * advantages), r"$\mathbb{E}[A] = 0$")
        .to(E((weight - E(weight)) * (advantages - level)), r"$\mathbb{E}[S - \mathbb{E} S] = 0$")
    )


def advantage_gap_velocity():
    """How fast the gap of two logits opens under the policy gradient.

    Formula: π_i A_i − π_j A_j = (π_i − π_j) A_i + π_j (r_i − r_j).

    Returns:
        the proved derivation.
    """
    difference = (probs.at(_i) - probs.at(_j)) * advantages.at(_i)
    return (
        Derivation(probs.at(_i) * advantages.at(_i) - probs.at(_j) * advantages.at(_j))
        .to(
            difference + probs.at(_j) * (advantages.at(_i) - advantages.at(_j)),
            r"add and subtract $\pi_j A_i$",
        )
        .to(difference + probs.at(_j) * (rewards.at(_i) - rewards.at(_j)), r"$A = r - \mathbb{E}[r]$")
    )


def binary_covariance():
    """Covariance with a 0/1 reward.

    Formula: Cov(log π, c) = P (1 − P) [log P − log(1 − P) − (H_C − H_W)].

    Returns:
        the proved derivation.
    """
    in_correct, in_wrong = E(correct * log_probs), E((1 - correct) * log_probs)
    gap = log(_p) - log(1 - _p) - (entropy_of_correct - entropy_of_wrong)
    return (
        Derivation(Cov(log_probs, correct))
        .to(in_correct - _p * E(log_probs), "definition of the covariance")
        .to((1 - _p) * in_correct - _p * in_wrong, "split the second mean by outcome")
        .to(_p * (1 - _p) * (in_correct / _p - in_wrong / (1 - _p)), "means within each outcome")
        .to(_p * (1 - _p) * gap, r"$\mathbb{E}[\log\pi \mid C] = \log P - H_C$")
    )


def entropy_by_outcome():
    """Entropy split by outcome. Formula: H = −P log P − (1 − P) log(1 − P) + P H_C + (1 − P) H_W."""
    between = -_p * log(_p) - (1 - _p) * log(1 - _p)
    return (
        Derivation(entropy)
        .to(-E(correct * log_probs) - E((1 - correct) * log_probs), r"$1 = c + (1 - c)$")
        .to(
            between + _p * entropy_of_correct + (1 - _p) * entropy_of_wrong,
            r"$\mathbb{E}[c\log\pi] = P(\log P - H_C)$",
        )
    )


def success_rate():
    """How fast success grows. Formula: dP/dt = Cov(c, Δz)."""
    return Derivation(Dt(success_probability)).to(Cov(correct, delta_logits), "derivative of an expectation")


def entropy_within_correct():
    """The lemma inside one outcome. Formula: dH_C/dt = −(E[c log π Δz] / P − E[c log π] E[c Δz] / P²)."""
    product, means = E(correct * log_probs * delta_logits), E(correct * log_probs) * E(correct * delta_logits)
    return Derivation(Dt(entropy_of_correct)).to(
        -(product / _p - means / _p**2), r"the covariance inside $C$, where $\Delta z$ acts"
    )


def noise_in_logits():
    """Second-order drift of entropy under independent logit noise of unit variance, twice and negative.

    Formula: Σ_i E[(1 + log π + H)(e_i − E e_i)²] = 1 − E π − 2 Cov(π, log π).

    Returns:
        the proved derivation.
    """
    return Derivation(_mean_curvature(Indicator(_i))).to(
        1 - E(probs) - 2 * Cov(probs, log_probs), r"$\mathbb{E}[\log\pi + H] = 0$"
    )


def noise_in_sampled_gradient():
    """The same for one sampled score e_i − π with unit reward noise, the action drawn from π.

    Formula: Σ_i π_i E[(1 + log π + H)(x − E x)²], x = e_i − π, equals
    Σ π² [1 − π + (log π + H)(1 − 2π)] − E[(1 + log π + H)(π − E π)²].

    Returns:
        the proved derivation.
    """
    first = Total(probs**2 * (1 - probs + (log_probs + entropy) * (1 - 2 * probs)))
    second = E(_curvature_weight * (probs - E(probs)) ** 2)
    return Derivation(_mean_curvature(Indicator(_i) - probs, probs.at(_i))).to(
        first - second, r"expand the square, $\mathbb{E}[1 + \log\pi + H] = 1$"
    )


def _mean_curvature(direction, weight=1):
    """Σ_i weight_i E[(1 + log π + H)(x_i − E x_i)²]: minus twice the mean second-order change of entropy."""
    return Total(weight * E(_curvature_weight * (direction - E(direction)) ** 2), _i)


def natural_flow_of_success():
    """Certificate that c² = c makes Var c = P (1 − P), the rate of P under the natural gradient of c."""
    a, n, weights, member, zero_or_one = _members()
    mean = _over(weights[a] * member[a], a, n)
    variance = _over(weights[a] * member[a] ** 2, a, n) - mean**2
    return Certificate(variance - mean * (1 - mean), ((weights[a], zero_or_one),))


def natural_flow_freezes_correct():
    """Certificate that c² = c makes the covariance inside C with the reward c itself vanish."""
    a, n, weights, member, zero_or_one = _members()
    ell = IndexedBase("ell", real=True)
    mean, in_correct = _over(weights[a] * member[a], a, n), _over(weights[a] * member[a] * ell[a], a, n)
    inside = mean * _over(weights[a] * member[a] ** 2 * ell[a], a, n)
    inside -= in_correct * _over(weights[a] * member[a] ** 2, a, n)
    return Certificate(inside, ((weights[a] * (mean * ell[a] - in_correct), zero_or_one),))


def _members():
    """An index, the number of actions, probabilities, a membership and the hypothesis that it is 0/1."""
    a, n = action_index("a"), Symbol("n", integer=True, positive=True)
    weights, member = IndexedBase("p", real=True), IndexedBase("c", real=True)
    return a, n, weights, member, Hypothesis("(c^2 - c)", member[a] ** 2 - member[a], a, n)


def _over(term, a, n):
    """Sum over actions under a fresh bound index."""
    bound = Dummy("a", integer=True, positive=True)
    return Sum(term.xreplace({a: bound}), (bound, 1, n))
