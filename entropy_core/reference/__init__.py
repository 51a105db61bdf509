"""Float64 reference of the softmax policy, formula by formula, accurate where the textbook form is not.

Actions lie on the last axis; leading axes are a batch and broadcast. Logits are in nats, a logit of −inf
forbids its action. Input of float16, float32 or integers is converted to float64, which holds it exactly
(integers up to 2⁵³). Each docstring promises an error, for results above 2.2e-308, where float64 is
normal; the tests hold it against the symbolic result at 40 significant digits.
"""

from entropy_core.reference.dynamics import (
    entropy_change,
    entropy_change_bound,
    entropy_gradient,
    first_order_entropy_change,
    kl_divergence,
    second_order_entropy_change,
    third_order_entropy_change,
)
from entropy_core.reference.interventions import (
    group_centred_advantages,
    group_normalised_advantages,
    group_weight,
)
from entropy_core.reference.moments import PolicyMoments, StepMoments, policy_moments, step_moments
from entropy_core.reference.samples import (
    BatchCovariance,
    LogProbCovariance,
    SampledEntropyChange,
    batch_covariance,
    log_prob_covariance,
    sampled_entropy_change,
    within_state_covariance,
)
from entropy_core.reference.softmax import (
    covariance_over_actions,
    entropy,
    fisher,
    fisher_pseudo_inverse,
    log_probs,
    probs,
    varentropy,
)
from entropy_core.reference.tabular import (
    action_values,
    advantages,
    expected_return,
    return_gradient,
    state_occupancy,
    state_values,
)
from entropy_core.reference.trajectories import (
    policy_gradient_escape_time,
    policy_gradient_gap,
    regularised_gradient_logits,
)
from entropy_core.reference.updates import natural_gradient_delta_logits, policy_gradient_delta_logits

__all__ = [
    "BatchCovariance",
    "LogProbCovariance",
    "PolicyMoments",
    "SampledEntropyChange",
    "StepMoments",
    "action_values",
    "advantages",
    "batch_covariance",
    "covariance_over_actions",
    "entropy",
    "entropy_change",
    "entropy_change_bound",
    "entropy_gradient",
    "expected_return",
    "first_order_entropy_change",
    "fisher",
    "fisher_pseudo_inverse",
    "group_centred_advantages",
    "group_normalised_advantages",
    "group_weight",
    "kl_divergence",
    "log_prob_covariance",
    "log_probs",
    "natural_gradient_delta_logits",
    "policy_gradient_delta_logits",
    "policy_gradient_escape_time",
    "policy_gradient_gap",
    "policy_moments",
    "probs",
    "regularised_gradient_logits",
    "return_gradient",
    "sampled_entropy_change",
    "second_order_entropy_change",
    "third_order_entropy_change",
    "state_occupancy",
    "state_values",
    "step_moments",
    "varentropy",
    "within_state_covariance",
]
