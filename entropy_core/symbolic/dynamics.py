r"""How entropy changes, as symbols: its gradient, the lemma, the second order and the exact finite step.

Same names as in `entropy_core.reference.dynamics`. `new_probs` prints π' and is softmax(z + Δz).
"""

from sympy import Rational

from entropy_core.symbolic.fields import (
    Cov,
    E,
    Quantity,
    Total,
    delta_logits,
    log_probs,
    new_log_probs,
    new_probs,
    probs,
)
from entropy_core.symbolic.softmax import entropy

__all__ = [
    "entropy_change",
    "entropy_gradient",
    "first_order_entropy_change",
    "new_entropy",
    "second_order_entropy_change",
]

new_entropy = Quantity("new_entropy", "H'", -Total(new_probs * new_log_probs), order=31)
entropy_gradient = -probs * (log_probs + entropy)
entropy_change = new_entropy - entropy
first_order_entropy_change = -Cov(log_probs, delta_logits)
second_order_entropy_change = first_order_entropy_change - E(
    (1 + log_probs + entropy) * (delta_logits - E(delta_logits)) ** 2
) * Rational(1, 2)
