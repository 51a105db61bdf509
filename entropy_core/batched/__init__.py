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
numbers a row for the gradient. The first such call of a type compiles, for seconds, or tens of seconds where
nothing was ever compiled. `sharded` does the same for actions spread over processes and `hidden` for logits
that are never held; both are imported by name.
"""

from entropy_core.batched._tables import (
    check_transitions,
)
from entropy_core.batched._validation import (
    check_delta_logits,
    check_logits,
)
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
    CovarianceFigures,
    CovarianceLoss,
    RatioBandExtremes,
    TokenCandidates,
    TokenSelection,
    TokenStatistics,
    absolute_log_ratio,
    clip_cov_candidates,
    clip_cov_loss,
    clip_cov_selection,
    clipped_policy_loss,
    kl_cov_candidates,
    kl_cov_loss,
    kl_cov_selection,
    merge_candidates,
    merge_token_statistics,
    ratio_band_extremes,
    sampled_kl_divergence,
    selection_from,
    selection_size,
    token_covariance_terms,
    token_statistics,
)
from entropy_core.batched.moments import (
    PolicyMoments,
    StepMoments,
    policy_moments,
    step_moments,
)
from entropy_core.batched.samples import (
    SampledEntropyChange,
    sampled_entropy_change,
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
from entropy_core.batched.updates import (
    natural_gradient_delta_logits,
    policy_gradient_delta_logits,
)

__all__ = [
    "ClippedPolicyLoss",
    "CovarianceFigures",
    "CovarianceLoss",
    "PolicyMoments",
    "RatioBandExtremes",
    "SampledEntropyChange",
    "StepMoments",
    "TokenCandidates",
    "TokenSelection",
    "TokenStatistics",
    "absolute_log_ratio",
    "action_values",
    "advantages",
    "check_delta_logits",
    "check_logits",
    "check_transitions",
    "clip_cov_candidates",
    "clip_cov_loss",
    "clip_cov_selection",
    "clipped_policy_loss",
    "covariance_over_actions",
    "entropy",
    "entropy_change",
    "entropy_change_bound",
    "entropy_gradient",
    "expected_return",
    "first_order_entropy_change",
    "fisher",
    "fisher_pseudo_inverse",
    "kl_cov_candidates",
    "kl_cov_loss",
    "kl_cov_selection",
    "kl_divergence",
    "log_probs",
    "merge_candidates",
    "merge_token_statistics",
    "natural_gradient_delta_logits",
    "policy_gradient_delta_logits",
    "policy_gradient_escape_time",
    "policy_gradient_gap",
    "policy_moments",
    "probs",
    "ratio_band_extremes",
    "regularised_gradient_logits",
    "return_gradient",
    "sampled_entropy_change",
    "sampled_kl_divergence",
    "second_order_entropy_change",
    "selection_from",
    "selection_size",
    "state_occupancy",
    "state_values",
    "step_moments",
    "third_order_entropy_change",
    "token_covariance_terms",
    "token_statistics",
    "varentropy",
]
