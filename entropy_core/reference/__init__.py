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
from entropy_core.reference.moments import (
    PolicyMoments,
    StepMoments,
    policy_moments,
    step_moments,
)
from entropy_core.reference.samples import (
    SampledEntropyChange,
    sampled_entropy_change,
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
from entropy_core.reference.updates import (
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
