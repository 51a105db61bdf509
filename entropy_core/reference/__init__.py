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
from entropy_core.reference.moments import PolicyMoments, StepMoments, policy_moments, step_moments
from entropy_core.reference.sequences import (
    EntropyAverages,
    EstimatorVariances,
    SequenceEntropyChange,
    SequenceEntropyEstimate,
    entropy_averages,
    estimator_variances,
    expected_visits,
    first_order_sequence_entropy_change,
    mean_of_response_means,
    mean_of_response_sums,
    sequence_advantages,
    sequence_entropy,
    sequence_entropy_from_entropies,
    sequence_entropy_from_log_probs,
    sequence_entropy_gradient,
    token_mean,
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
    "EntropyAverages",
    "EstimatorVariances",
    "PolicyMoments",
    "SequenceEntropyChange",
    "SequenceEntropyEstimate",
    "StepMoments",
    "action_values",
    "advantages",
    "covariance_over_actions",
    "entropy",
    "entropy_averages",
    "entropy_change",
    "entropy_change_bound",
    "entropy_gradient",
    "estimator_variances",
    "expected_return",
    "expected_visits",
    "first_order_entropy_change",
    "first_order_sequence_entropy_change",
    "fisher",
    "fisher_pseudo_inverse",
    "kl_divergence",
    "log_probs",
    "mean_of_response_means",
    "mean_of_response_sums",
    "natural_gradient_delta_logits",
    "policy_gradient_delta_logits",
    "policy_gradient_escape_time",
    "policy_gradient_gap",
    "policy_moments",
    "probs",
    "regularised_gradient_logits",
    "return_gradient",
    "second_order_entropy_change",
    "sequence_advantages",
    "sequence_entropy",
    "sequence_entropy_from_entropies",
    "sequence_entropy_from_log_probs",
    "sequence_entropy_gradient",
    "state_occupancy",
    "state_values",
    "step_moments",
    "third_order_entropy_change",
    "token_mean",
    "varentropy",
]
