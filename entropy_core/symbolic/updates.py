r"""The two updates in logit space, as symbols; the advantage is A = r − E r.

Same names as in `entropy_core.reference.updates`.
"""

from entropy_core.symbolic.fields import (
    advantages,
    probs,
    step_size,
)

__all__ = ["natural_gradient_delta_logits", "policy_gradient_delta_logits"]

policy_gradient_delta_logits = step_size * probs * advantages
natural_gradient_delta_logits = step_size * advantages
