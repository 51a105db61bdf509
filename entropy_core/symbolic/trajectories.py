r"""Whole paths of a policy, as symbols: the natural one, the regularised one, and the clock of the plain one.

With a 0/1 reward c the plain policy gradient is Δz = π(c − P). Along it x = logit P obeys no equation of its
own, but x + sinh x runs at half of K_C + K_W, the chances that two independent draws from the correct actions
coincide and that two from the wrong ones do. With two actions both chances are 1. In P,
x + sinh x = log P − log(1 − P) + ½[P/(1 − P) − (1 − P)/P], which is what `escape_clock` stands for.

The functions below return what they have proved. That x + sinh x has an inverse, and what follows from
1/k ≤ K ≤ 1 for a group of k actions, is by hand.
"""

from sympy import Dummy, IndexedBase, Rational, Sum, Symbol, exp, log

from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Derivation, Statement
from entropy_core.symbolic.dynamics import new_entropy
from entropy_core.symbolic.fields import (
    advantages,
    delta_logits,
    log_probs,
    logits,
    new_probs,
    probs,
    rewards,
)
from entropy_core.symbolic.operators import (
    Cov,
    Dt,
    E,
    Partial,
    Quantity,
    Scalar,
    Total,
    action_index,
    named_matrix,
)
from entropy_core.symbolic.outcomes import correct, success_probability
from entropy_core.symbolic.softmax import entropy, fisher

__all__ = [
    "collision_of_correct",
    "collision_of_wrong",
    "escape_clock",
    "escape_clock_along_any_path",
    "escape_clock_under_policy_gradient",
    "natural_gradient_entropy",
    "policy_gradient_of_outcome",
    "regularised_gap_velocity",
    "regularised_natural_gradient",
    "split_by_outcome",
    "success_under_policy_gradient",
    "temperature",
]

_p, _i, _j = success_probability, action_index("i"), action_index("j")
temperature = Scalar("temperature", r"\tau", order=2)
policy_gradient_of_outcome = probs * (correct - _p)
collision_of_correct = Quantity("collision_of_correct", "K_C", E(correct * probs) / _p**2, order=34)
collision_of_wrong = Quantity("collision_of_wrong", "K_W", E((1 - correct) * probs) / (1 - _p) ** 2, order=35)
escape_clock = Quantity(
    "escape_clock",
    r"\Psi",
    log(_p) - log(1 - _p) + Rational(1, 2) * (_p / (1 - _p) - (1 - _p) / _p),
    order=4,
)
_F = named_matrix("F", "F", fisher)
_by_outcome = (1 - _p) ** 2 * E(correct * probs) + _p**2 * E((1 - correct) * probs)


def escape_clock_along_any_path():
    """Rate of x + sinh x, x = logit P, along any path. Formula: dΨ/dt = Cov(c, Δz) / (2 P² (1 − P)²)."""
    covariance = Cov(correct, delta_logits)
    return (
        Derivation(Dt(escape_clock))
        .to(
            Dt(_p) / (_p * (1 - _p)) + Dt(_p) * Rational(1, 2) * (1 / (1 - _p) ** 2 + 1 / _p**2),
            "chain rule",
        )
        .to(Dt(_p) / (2 * _p**2 * (1 - _p) ** 2), r"$2ab + a^2 + b^2 = (a + b)^2$")
        .to(covariance / (2 * _p**2 * (1 - _p) ** 2), "derivative of an expectation")
    )


def success_under_policy_gradient():
    """Growth of the mean of any reward c under its policy gradient. Formula: Cov(c, Δz) = E[π (c − P)²]."""
    return Derivation(Cov(correct, policy_gradient_of_outcome)).to(
        E(probs * (correct - _p) ** 2), r"$\mathbb{E}[c - P] = 0$"
    )


def split_by_outcome():
    """Certificate that c² = c splits E[π (c − P)²] into (1 − P)² E[cπ] + P² E[(1 − c)π]."""
    a, n = action_index("a"), Symbol("n", integer=True, positive=True)
    weights, member = IndexedBase("p", real=True), IndexedBase("c", real=True)
    mean = _over(weights[a] * member[a], a, n)
    whole = _over(weights[a] ** 2 * (member[a] ** 2 - 2 * mean * member[a] + mean**2), a, n)
    inside = _over(weights[a] ** 2 * member[a], a, n)
    outside = _over(weights[a] ** 2 * (1 - member[a]), a, n)
    zero_or_one = Hypothesis("(c^2 - c)", member[a] ** 2 - member[a], a, n)
    return Certificate(
        whole - (1 - mean) ** 2 * inside - mean**2 * outside, ((weights[a] ** 2, zero_or_one),)
    )


def escape_clock_under_policy_gradient():
    """The clock of the plain policy gradient of a 0/1 reward. Formula: dΨ/dt = ½ (K_C + K_W).

    Puts together `escape_clock_along_any_path`, `success_under_policy_gradient` and `split_by_outcome`, each
    proved on the way.

    Returns:
        the statement.

    Raises:
        AssertionError: if one part does not begin where another ends.
    """
    rate = escape_clock_along_any_path().last.xreplace({delta_logits: policy_gradient_of_outcome})
    whole, split = success_under_policy_gradient(), split_by_outcome()
    collisions = Derivation(_by_outcome / (2 * _p**2 * (1 - _p) ** 2)).to(
        Rational(1, 2) * (collision_of_correct + collision_of_wrong), r"$K_C = \mathbb{E}[c\,\pi]/P^2$"
    )
    chained = rate.xreplace({whole.start: whole.last}) == whole.last / (2 * _p**2 * (1 - _p) ** 2)
    if not (chained and split.how_checked):
        raise AssertionError(f"the parts do not meet: {rate} is not the rate that is split by outcome")
    return Statement(Dt(escape_clock), collisions.last)


def natural_gradient_entropy():
    """Entropy after a step of any size from where it began; on the natural path Δz = t r.

    Formula: H' = log E e^Δz − Σ π' Δz − Σ π' log π.

    Returns:
        the proved derivation.
    """
    normaliser = log(E(exp(delta_logits)))
    return (
        Derivation(new_entropy)
        .to(-Total(new_probs * (log_probs + delta_logits - normaliser)), "logarithm of $\\pi'$")
        .to(
            normaliser - Total(new_probs * delta_logits) - Total(new_probs * log_probs),
            "probabilities sum to 1",
        )
    )


def regularised_natural_gradient():
    """The natural gradient of E r + τH. Formula: F (A − τ(log π + H)) = ∂(E r + τH)/∂z."""
    direction = advantages.at(_j) - temperature * (log_probs.at(_j) + entropy)
    return (
        Derivation(Total(_F(_i, _j) * direction, _j))
        .to(
            probs.at(_i) * (advantages.at(_i) - temperature * (log_probs.at(_i) + entropy)),
            r"$\delta_{ij}$ keeps $j = i$, and both means vanish",
        )
        .to(Partial(E(rewards) + temperature * entropy, logits.at(_i)), "the two gradients")
    )


def regularised_gap_velocity():
    """How fast the gap of two logits opens under it. Formula: (r_i − r_j) − τ(z_i − z_j)."""
    of = lambda a: advantages.at(a) - temperature * (log_probs.at(a) + entropy)  # noqa: E731
    return (
        Derivation(of(_i) - of(_j))
        .to(
            rewards.at(_i) - rewards.at(_j) - temperature * (log_probs.at(_i) - log_probs.at(_j)),
            r"$A = r - \mathbb{E}[r]$, and $H$ cancels",
        )
        .to(
            rewards.at(_i) - rewards.at(_j) - temperature * (logits.at(_i) - logits.at(_j)),
            r"$\log Z$ cancels",
        )
    )


def _over(term, a, n):
    """Sum over actions under a fresh bound index."""
    bound = Dummy("a", integer=True, positive=True)
    return Sum(term.xreplace({a: bound}), (bound, 1, n))
