"""The softmax policy and its entropy in torch: any device, leading axes a batch, actions on the last axis.

Every quantity is a moment of a softmax, composed of a few primitives whose derivatives are written out;
gradients of any order are therefore as accurate as values, at forbidden actions and in a collapsed policy
too.

Types. float64 accumulates in float64; float32, bfloat16 and float16 accumulate in float32. Results have the
accumulating type (a bfloat16 entropy of 10 nats would be rounded to a sixteenth); gradients have the type of
the tensor that they belong to, as torch asks.

Forbidden actions. A logit of −inf forbids its action: rewards, steps and other values there are ignored, NaN
included, and receive the gradient 0.

What is not looked at. Types, devices and shapes are checked. NaN, +inf, a row without an allowed action and
an infinite step cannot be seen without making the host wait for the device: such a row gives NaN in its own
results. `check_logits` and `check_delta_logits` look, and raise.

Large logits. From 2²² of them on, `policy_moments`, `step_moments`, `entropy`, the predicted and the exact
changes of entropy and `kl_divergence` read their inputs once, in blocks whose sums merge, and keep a few
numbers a row for the gradient. On the processor kernels in C++ do it, compiled at the first such call in
about two seconds and kept in the user's cache; on other devices torch.compile does. `sharded` does the same
for actions spread over processes and `hidden` for logits that are never held; both are imported by name.
"""

from entropy_core.batched._tables import check_transitions
from entropy_core.batched._validation import check_delta_logits, check_logits
from entropy_core.batched.dynamics import (
    entropy_change,
    entropy_change_bound,
    entropy_gradient,
    first_order_entropy_change,
    kl_divergence,
    second_order_entropy_change,
    third_order_entropy_change,
)
from entropy_core.batched.interventions import (
    ClippedPolicyLoss,
    EntropyBonus,
    EntropyController,
    RatioBandExtremes,
    RepoSums,
    additive_update,
    clipped_policy_loss,
    critical_entropy_coefficient,
    critical_kl_coefficient,
    entropy_bonus_loss,
    entropy_bonus_success,
    gated_coefficient,
    group_centred_advantages,
    group_normalised_advantages,
    group_weight,
    integral_rate_limit,
    integral_update,
    merge_repo_sums,
    natural_neutral_coefficient,
    natural_repo_coefficient,
    plain_neutral_coefficient,
    plain_repo_coefficient,
    proportional_coefficient,
    ratio_band_extremes,
    reference_kl_success,
    regularised_optimum_logits,
    repo_advantages,
    repo_sums,
    rescaled_repo_advantages,
    sign_update,
)
from entropy_core.batched.moments import PolicyMoments, StepMoments, policy_moments, step_moments
from entropy_core.batched.sampled_token import (
    entropy_neutral_probability,
    sampled_token_delta_logits,
    sampled_token_first_order_entropy_change,
    token_entropy_scores,
)
from entropy_core.batched.samples import (
    BatchCovariance,
    LogProbCovariance,
    SampledEntropyChange,
    batch_covariance,
    log_prob_covariance,
    sampled_entropy_change,
    within_state_covariance,
)
from entropy_core.batched.sequences import (
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
from entropy_core.batched.softmax import (
    covariance_over_actions,
    entropy,
    fisher,
    fisher_pseudo_inverse,
    log_probs,
    probs,
    varentropy,
)
from entropy_core.batched.tabular import (
    action_values,
    advantages,
    expected_return,
    return_gradient,
    state_occupancy,
    state_values,
)
from entropy_core.batched.trajectories import (
    policy_gradient_escape_time,
    policy_gradient_gap,
    regularised_gradient_logits,
)
from entropy_core.batched.updates import natural_gradient_delta_logits, policy_gradient_delta_logits

__all__ = [
    "BatchCovariance",
    "ClippedPolicyLoss",
    "EntropyAverages",
    "EntropyBonus",
    "EntropyController",
    "EstimatorVariances",
    "LogProbCovariance",
    "PolicyMoments",
    "RatioBandExtremes",
    "RepoSums",
    "SampledEntropyChange",
    "SequenceEntropyChange",
    "SequenceEntropyEstimate",
    "StepMoments",
    "action_values",
    "additive_update",
    "advantages",
    "batch_covariance",
    "check_delta_logits",
    "check_logits",
    "check_transitions",
    "clipped_policy_loss",
    "covariance_over_actions",
    "critical_entropy_coefficient",
    "critical_kl_coefficient",
    "entropy",
    "entropy_averages",
    "entropy_bonus_loss",
    "entropy_bonus_success",
    "entropy_change",
    "entropy_change_bound",
    "entropy_gradient",
    "entropy_neutral_probability",
    "estimator_variances",
    "expected_return",
    "expected_visits",
    "first_order_entropy_change",
    "first_order_sequence_entropy_change",
    "fisher",
    "fisher_pseudo_inverse",
    "gated_coefficient",
    "group_centred_advantages",
    "group_normalised_advantages",
    "group_weight",
    "integral_rate_limit",
    "integral_update",
    "kl_divergence",
    "log_prob_covariance",
    "log_probs",
    "mean_of_response_means",
    "mean_of_response_sums",
    "merge_repo_sums",
    "natural_gradient_delta_logits",
    "natural_neutral_coefficient",
    "natural_repo_coefficient",
    "plain_neutral_coefficient",
    "plain_repo_coefficient",
    "policy_gradient_delta_logits",
    "policy_gradient_escape_time",
    "policy_gradient_gap",
    "policy_moments",
    "probs",
    "proportional_coefficient",
    "ratio_band_extremes",
    "reference_kl_success",
    "regularised_gradient_logits",
    "regularised_optimum_logits",
    "repo_advantages",
    "repo_sums",
    "rescaled_repo_advantages",
    "return_gradient",
    "sampled_entropy_change",
    "sampled_token_delta_logits",
    "sampled_token_first_order_entropy_change",
    "second_order_entropy_change",
    "sequence_advantages",
    "sequence_entropy",
    "sequence_entropy_from_entropies",
    "sequence_entropy_from_log_probs",
    "sequence_entropy_gradient",
    "sign_update",
    "state_occupancy",
    "state_values",
    "step_moments",
    "third_order_entropy_change",
    "token_entropy_scores",
    "token_mean",
    "varentropy",
    "within_state_covariance",
]
