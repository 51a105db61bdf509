r"""The covariance of a batch from the statistics of two parts of it, of m and of n tokens.

Tokens i of the first part have ℓ_i and A_i, tokens b of the second ℓ'_b and A'_b; nothing is assumed about
them. The sums N, Σℓ, ΣA, Σℓ A of disjoint parts add up, and give the covariance of both together.
"""

from entropy_core.symbolic.certificate import Certificate
from entropy_core.symbolic.derivation import Statement
from entropy_core.symbolic.tables import OverActions, OverStates, Table, actions, state_index, states

__all__ = ["covariance_from_merged_sums", "covariance_of_parts", "one_advantage_has_no_covariance"]


def _values(name, printed, order):
    return Table(name, lambda index: f"{printed}_{{{index}}}", order=order)


_i, _b = state_index("i"), state_index("b")
_log_probs = (_values("log_probs", r"\ell", 60)(_i), _values("other_log_probs", r"\ell'", 61)(_b))
_advantages = (_values("advantages", "A", 45)(_i), _values("other_advantages", "A'", 46)(_b))
_sizes = (states, actions)
_total = states + actions


def _sums(values):
    """Sums over each part of one value a token."""
    first, second = values
    return OverStates(first, _i), OverActions(second, _b)


def _products():
    return [x * a for x, a in zip(_log_probs, _advantages, strict=True)]


def _mean_of_terms():
    """Mean over both parts of the terms centred by the means of both."""
    mean_log_prob, mean_advantage = (sum(_sums(v)) / _total for v in (_log_probs, _advantages))
    terms = [(x - mean_log_prob) * (a - mean_advantage) for x, a in zip(_log_probs, _advantages, strict=True)]
    return sum(_sums(terms)) / _total


def covariance_from_merged_sums():
    """The mean of the terms of both parts from their added sums.

    Formula: Σ (ℓ − ℓ̄)(A − Ā) / N = Σ ℓA / N − (Σ ℓ / N)(Σ A / N), every Σ over both parts, N = m + n.

    Returns:
        the `Certificate`, for every m and n.
    """
    product, log_prob, advantage = (sum(_sums(v)) for v in (_products(), _log_probs, _advantages))
    merged = product / _total - log_prob * advantage / _total**2
    return Certificate(Statement(_mean_of_terms(), merged), ())


def covariance_of_parts():
    """The covariance of a batch is the mean of its parts' and the covariance between their means.

    Formula: N C = m C_1 + n C_2 + (m n / N)(ℓ̄_1 − ℓ̄_2)(Ā_1 − Ā_2). The last term is what
    micro-batches do not see that are centred by their own means.

    Returns:
        the `Certificate`, for every m and n.
    """
    means = [
        [s / k for s, k in zip(_sums(v), _sizes, strict=True)] for v in (_products(), _log_probs, _advantages)
    ]
    within = sum(k * (p - x * a) for k, p, x, a in zip(_sizes, *means, strict=True))
    (x1, x2), (a1, a2) = means[1:]
    between = states * actions / _total * (x1 - x2) * (a1 - a2)
    return Certificate(Statement(_total * _mean_of_terms(), within + between), ())


def one_advantage_has_no_covariance():
    """Where all tokens of a part have one advantage a, its sums give covariance 0.

    Formula: Σ ℓa / m − (Σ ℓ / m)(m a / m) = 0.

    Returns:
        the `Certificate`, for every m.
    """
    shared = Table("shared_advantage", lambda index: "a", order=45)(1)
    log_prob = OverStates(_log_probs[0], _i) / states
    covariance = OverStates(_log_probs[0] * shared, _i) / states - log_prob * OverStates(shared, _i) / states
    return Certificate(covariance, ())
