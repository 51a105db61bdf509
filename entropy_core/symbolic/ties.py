r"""Actions of equal reward: what the two gradients do to the odds between them, and what they conserve.

`reciprocal` prints x and is e^(−z), `normaliser` prints Z and is Σ e^z, so that x = 1/(Z π). Under the policy
gradient flow dz/dt = πA the velocity of x is −(r − E r)/Z: the reward of the action, and two numbers that all
actions share. The conservation laws follow. What a flow is, enters the certificates as hypotheses.
"""

from sympy import Dummy, Function, IndexedBase, Sum, Symbol, exp

from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.fields import advantages, delta_logits, log_probs, logits, probs, rewards
from entropy_core.symbolic.operators import Dt, E, Field, Quantity, Total, action_index

__all__ = [
    "conserved_difference",
    "conserved_sum",
    "conserved_triple",
    "gradients_of_two_actions",
    "log_odds_under_natural_gradient",
    "log_odds_velocity",
    "normaliser",
    "reciprocal",
    "reciprocal_under_policy_gradient",
    "reciprocal_velocity",
]

normaliser = Quantity("normaliser", "Z", Total(exp(logits)), order=4)
reciprocal = Field("reciprocal", "x", definition=exp(-logits), order=30)

_i, _j, _k = action_index("i"), action_index("j"), action_index("k")


def log_odds_velocity():
    """How the odds of two actions move along any path. Formula: d(log π_i − log π_j)/dt = Δz_i − Δz_j."""
    return Derivation(Dt(log_probs.at(_i) - log_probs.at(_j))).to(
        delta_logits.at(_i) - delta_logits.at(_j), r"$\log Z$ cancels"
    )


def log_odds_under_natural_gradient():
    """The same for Δz = A. Formula: A_i − A_j = r_i − r_j, so that equal rewards keep their odds."""
    return Derivation(advantages.at(_i) - advantages.at(_j)).to(
        rewards.at(_i) - rewards.at(_j), r"$A = r - \mathbb{E}[r]$"
    )


def reciprocal_velocity():
    """How x = e^(−z) moves along any path. Formula: dx_i/dt = −x_i Δz_i."""
    return Derivation(Dt(exp(-logits.at(_i)))).to(
        -exp(-logits.at(_i)) * delta_logits.at(_i), "derivative of the exponential"
    )


def reciprocal_under_policy_gradient():
    """The same for Δz = πA. Formula: −x_i π_i A_i = −(r_i − E r)/Z."""
    return (
        Derivation(-reciprocal.at(_i) * probs.at(_i) * advantages.at(_i))
        .to(-advantages.at(_i) / normaliser, r"$x_i\,\pi_i = 1/Z$")
        .to(-(rewards.at(_i) - E(rewards)) / normaliser, r"$A = r - \mathbb{E}[r]$")
    )


def conserved_sum():
    """The policy gradient keeps the sum of the logits. Formula: Σ πA = 0."""
    return (
        Derivation(Total(probs * advantages))
        .to(E(advantages), r"$\sum_a \pi f = \mathbb{E} f$")
        .to(0, r"$\mathbb{E}[A] = 0$")
    )


def gradients_of_two_actions():
    """Cross-multiplied gradients of two actions. Formula: π_jπ_iA_i − π_iπ_jA_j = π_iπ_j (r_i − r_j).

    Zero for equal rewards: then the two gradients stand in the ratio of the two probabilities.

    Returns:
        the proved derivation.
    """
    first, second = probs.at(_i) * advantages.at(_i), probs.at(_j) * advantages.at(_j)
    return Derivation(probs.at(_j) * first - probs.at(_i) * second).to(
        probs.at(_i) * probs.at(_j) * (rewards.at(_i) - rewards.at(_j)), r"$A = r - \mathbb{E}[r]$"
    )


def conserved_triple():
    """Certificate that (r_j − r_k) x_i + (r_k − r_i) x_j + (r_i − r_j) x_k stands still under dz/dt = πA."""
    weights = {_i: _r[_j] - _r[_k], _j: _r[_k] - _r[_i], _k: _r[_i] - _r[_j]}
    goal = sum(weight * exp(-_z(a, _t)) for a, weight in weights.items()).diff(_t)
    return Certificate(goal, tuple((-weight * exp(-_z(a, _t)), _flow(a)) for a, weight in weights.items()))


def conserved_difference():
    """Certificate that x_i − x_j stands still under dz/dt = πA if the two rewards are equal."""
    goal = (exp(-_z(_i, _t)) - exp(-_z(_j, _t))).diff(_t)
    equal = Hypothesis("(r_i - r_j)", _r[_i] - _r[_j])
    terms = ((-exp(-_z(_i, _t)), _flow(_i)), (exp(-_z(_j, _t)), _flow(_j)), (-1 / _total(), equal))
    return Certificate(goal, terms)


_t, _n = Symbol("t", real=True), Symbol("n", integer=True, positive=True)
_z, _r = Function("z", real=True), IndexedBase("r", real=True)


def _total(weight=None):
    """Σ e^z, or Σ e^z · weight, under a fresh bound index."""
    b = Dummy("b", integer=True, positive=True)
    return Sum(exp(_z(b, _t)) * (1 if weight is None else weight[b]), (b, 1, _n))


def _flow(a):
    """The hypothesis that the logit of action a moves at the velocity πA."""
    advantage = _r[a] - _total(_r) / _total()
    return Hypothesis(rf"(\dot z - \pi A)_{a}", _z(a, _t).diff(_t) - exp(_z(a, _t)) / _total() * advantage)
