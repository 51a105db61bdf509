r"""What the covariance term of a token says about entropy, and what leaving out some tokens does.

`selected` prints k and is 1 at the actions whose push is left out, 0 elsewhere; that it is 0 or 1 is used
nowhere. S = π(log π + H). `pooled_mean` prints m and is the mean of log π over a batch with other states.
`token_log_prob`, `token_advantage` and the means and the maximum beside them are numbers of one token.

The functions return what they have proved. Every inequality is by hand.
"""

from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.fields import advantages, log_probs, logits, probs, step_size
from entropy_core.symbolic.operators import Cov, E, Field, Partial, Scalar, Total, action_index
from entropy_core.symbolic.outcomes import entropy_weight
from entropy_core.symbolic.softmax import entropy

__all__ = [
    "bound_of_a_token",
    "old_probs",
    "pooled_credit",
    "pull_to_the_old_policy",
    "removal_under_natural_gradient",
    "removal_under_policy_gradient",
    "selected",
]

selected = Field("selected", "k", order=9)
old_probs = Field("old_probs", r"{\pi_{\mathrm{old}}}", order=12)
_pooled_mean = Scalar("pooled_mean", "m", order=47)
_ell, _mean_ell = (
    Scalar("token_log_prob", r"\ell_i", order=91),
    Scalar("mean_log_prob", r"\bar\ell", order=92),
)
_gain, _mean_gain = Scalar("token_advantage", "A_i", order=46), Scalar("mean_advantage", r"\bar A", order=48)
_best = Scalar("largest_advantage", r"A_{\max}", order=49)
_j = action_index("j")
_kept = (1 - selected) * advantages


def removal_under_natural_gradient():
    """What leaving out the selected actions adds to the first-order entropy change of a natural step.

    Formula: −Cov(log π, η(1 − k)A) + Cov(log π, ηA) = η E[k (log π − E log π)(A − E A)].

    Returns:
        the proved derivation.
    """
    return (
        Derivation(-Cov(log_probs, step_size * _kept) + Cov(log_probs, step_size * advantages))
        .to(step_size * Cov(log_probs, selected * advantages), "the covariance is linear")
        .to(step_size * E(selected * (log_probs + entropy) * advantages), r"$\mathbb{E}[\log\pi] = -H$")
        .to(
            step_size * E(selected * (log_probs - E(log_probs)) * (advantages - E(advantages))),
            r"$\mathbb{E}[A] = 0$",
        )
    )


def removal_under_policy_gradient():
    """The same for the plain policy gradient, in which each action pushes by its score.

    Formula: −Cov(log π, ηπ[(1 − k)A − E((1 − k)A)]) + Cov(log π, ηπA) = η E[k (S − E S) A].

    Returns:
        the proved derivation.
    """
    kept_step = step_size * probs * (_kept - E(_kept))
    apart = entropy_weight - E(entropy_weight)
    return (
        Derivation(-Cov(log_probs, kept_step) + Cov(log_probs, step_size * probs * advantages))
        .to(
            step_size * Cov(log_probs, probs * (selected * advantages - E(selected * advantages))),
            r"the covariance is linear, $\mathbb{E}[A] = 0$",
        )
        .to(step_size * E(apart * selected * advantages), r"$S = \pi(\log\pi + H)$")
    )


def pooled_credit():
    """What a term centred by the mean of a batch adds to one centred by the mean of its state.

    Formula: E[k (log π − m) A] = E[k (log π + H) A] − (H + m) E[k A].

    Returns:
        the proved derivation.
    """
    return Derivation(E(selected * (log_probs - _pooled_mean) * advantages)).to(
        E(selected * (log_probs + entropy) * advantages)
        - (entropy + _pooled_mean) * E(selected * advantages),
        r"$-m = H - (H + m)$",
    )


def bound_of_a_token():
    """The covariance term of a token as its bound less what is never negative where the advantage is above.

    Formula: (ℓ_i − ℓ̄)(A_i − Ā) = −ℓ̄(A_max − Ā) − [(−ℓ_i)(A_i − Ā) + (−ℓ̄)(A_max − A_i)].

    Returns:
        the proved derivation. That both products in the bracket are ≥ 0 where A_i ≥ Ā is by hand.
    """
    slack = -_ell * (_gain - _mean_gain) - _mean_ell * (_best - _gain)
    return Derivation((_ell - _mean_ell) * (_gain - _mean_gain)).to(
        -_mean_ell * (_best - _mean_gain) - slack, r"add and subtract $\bar\ell\, A_{\max}$"
    )


def pull_to_the_old_policy():
    """The gradient of KL(π_old‖π), whose part that moves is −Σ π_old log π.

    Formula: ∂/∂z_j (−Σ π_old log π) = π_j Σ π_old − (π_old)_j, which is π_j − (π_old)_j and 0 at π = π_old.

    Returns:
        the proved derivation.
    """
    return Derivation(Partial(-Total(old_probs * log_probs), logits.at(_j))).to(
        probs.at(_j) * Total(old_probs) - old_probs.at(_j),
        r"$\partial\log\pi_a/\partial z_j = \delta_{aj} - \pi_j$",
    )
