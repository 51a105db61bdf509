r"""What the clip of PPO does to a step and to entropy, as symbols.

`old_advantages` prints Â and is any function of the action: the advantage estimate that a batch was given
before the first of its steps. `clipped` prints c and is 1 at the actions whose gradient the clip stops,
A > 0 and π/π_old > 1 + ε_high or A < 0 and π/π_old < 1 − ε_low, and 0 elsewhere; it does not move while π
stays off the edges. Only c² = c would need that it is 0 or 1, and nothing here does. S = π(log π + H).

The functions return what they have proved. Which actions c holds, and every inequality, is by hand.
"""

from sympy import IndexedBase, Sum, Symbol

from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.fields import log_probs, logits, probs, step_size
from entropy_core.symbolic.operators import Cov, E, Field, Indicator, Partial, Total, action_index
from entropy_core.symbolic.outcomes import entropy_weight

__all__ = [
    "clipped",
    "clipped_entropy_rate",
    "clipped_gradient",
    "mixture_of_the_band",
    "old_advantages",
    "sampled_log_ratio_velocity",
    "token_entropy_rate",
]

old_advantages = Field("old_advantages", r"\hat A", order=47)
clipped = Field("clipped", "c", order=8)
_kept = (1 - clipped) * old_advantages
_i, _j = action_index("i"), action_index("j")


def clipped_gradient():
    """The gradient of the clipped surrogate: the policy gradient of the advantages that are not clipped.

    Formula: ∂/∂z_j Σ π (1 − c)Â = π_j [(1 − c)Â − E((1 − c)Â)]_j. The sum is what of the surrogate
    Σ π_old min(π/π_old · Â, …) moves with π; the clipped terms are constants and have no gradient.

    Returns:
        the proved derivation.
    """
    kept_at = (1 - clipped.at(_j)) * old_advantages.at(_j)
    return (
        Derivation(Partial(Total(probs * _kept), logits.at(_j)))
        .to(Cov(_kept, Indicator(_j)), r"$c$ and $\hat A$ do not move")
        .to(probs.at(_j) * (kept_at - E(_kept)), r"$\mathbb{E}[e_j f] = \pi_j f_j$")
    )


def clipped_entropy_rate():
    """First-order entropy change of that step: without the clip, and what the clip adds.

    Formula: −Cov(log π, Δz) = −η E[(S − E S) Â] + η E[(S − E S) c Â].

    Returns:
        the proved derivation.
    """
    step = step_size * probs * (_kept - E(_kept))
    apart = entropy_weight - E(entropy_weight)
    return (
        Derivation(-Cov(log_probs, step))
        .to(-step_size * E(apart * _kept), r"$S = \pi(\log\pi + H)$")
        .to(
            -step_size * E(apart * old_advantages) + step_size * E(apart * clipped * old_advantages),
            "the clipped part apart",
        )
    )


def token_entropy_rate():
    """First-order entropy change of a push on one token. Formula: −Cov(log π, e_j − π) = −(S_j − E S)."""
    return Derivation(-Cov(log_probs, Indicator(_j) - probs)).to(
        -(entropy_weight.at(_j) - E(entropy_weight)), r"$\mathbb{E}[e_j f] = \pi_j f_j$"
    )


def sampled_log_ratio_velocity():
    """Velocity of log π_j under the push e_j − π. Formula: (e_j − π)_j − E(e_j − π) = 1 − 2π_j + Σ π²."""
    push = Indicator(_j) - probs
    return Derivation(1 - probs.at(_j) - E(push)).to(
        1 - 2 * probs.at(_j) + Total(probs**2), r"$\mathbb{E}[e_j] = \pi_j$"
    )


def mixture_of_the_band():
    """Certificate that q = (π′ − (1 − ε)π)/ε sums to 1: what a policy above the lower edge mixes with π."""
    a, n = action_index("a"), Symbol("n", integer=True, positive=True)
    new, old, share = (
        IndexedBase("q", real=True),
        IndexedBase("p", real=True),
        Symbol("epsilon", positive=True),
    )
    total = lambda base: Sum(base[a], (a, 1, n))  # noqa: E731
    goal = Sum((new[a] - (1 - share) * old[a]) / share, (a, 1, n)) - 1
    sums = (Hypothesis(r"(\sum \pi' - 1)", total(new) - 1), Hypothesis(r"(\sum \pi - 1)", total(old) - 1))
    return Certificate(goal, ((1 / share, sums[0]), (-(1 - share) / share, sums[1])))
