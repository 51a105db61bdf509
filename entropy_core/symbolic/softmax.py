r"""The softmax policy as symbols: π = softmax(z), its entropy and its Fisher matrix.

Same names as in `entropy_core.reference.softmax`; here each is a point-free expression, not a function of
numbers.
"""

from sympy import KroneckerDelta

from entropy_core.symbolic.fields import Cov, E, Quantity, Var, log_probs, probs

__all__ = ["covariance_over_actions", "entropy", "fisher", "log_probs", "probs", "varentropy"]

entropy = Quantity("entropy", "H", -E(log_probs), order=30)
varentropy = Var(log_probs)
covariance_over_actions = Cov


def fisher(i, j):
    """Return entry (i, j) of the Fisher matrix of one softmax. Formula: F_ij = π_i (δ_ij − π_j)."""
    return probs.at(i) * (KroneckerDelta(i, j) - probs.at(j))
