"""What trainers change in the policy gradient to hold entropy: losses, terms and selections over tokens.

Every function takes values of one token each, in the shape [batch, tokens], and a mask of those that count.
"""

from entropy_core.batched.interventions.clipping import (
    ClippedPolicyLoss,
    RatioBandExtremes,
    clipped_policy_loss,
    ratio_band_extremes,
)
from entropy_core.batched.interventions.covariance_methods import (
    CovarianceFigures,
    CovarianceLoss,
    absolute_log_ratio,
    clip_cov_loss,
    kl_cov_loss,
    sampled_kl_divergence,
)
from entropy_core.batched.interventions.covariance_selection import (
    TokenCandidates,
    TokenSelection,
    clip_cov_candidates,
    clip_cov_selection,
    kl_cov_candidates,
    kl_cov_selection,
    merge_candidates,
    selection_from,
    selection_size,
)
from entropy_core.batched.interventions.covariance_terms import (
    TokenStatistics,
    merge_token_statistics,
    token_covariance_terms,
    token_statistics,
)

__all__ = [
    "ClippedPolicyLoss",
    "CovarianceFigures",
    "CovarianceLoss",
    "RatioBandExtremes",
    "TokenCandidates",
    "TokenSelection",
    "TokenStatistics",
    "absolute_log_ratio",
    "clip_cov_candidates",
    "clip_cov_loss",
    "clip_cov_selection",
    "clipped_policy_loss",
    "kl_cov_candidates",
    "kl_cov_loss",
    "kl_cov_selection",
    "merge_candidates",
    "merge_token_statistics",
    "ratio_band_extremes",
    "sampled_kl_divergence",
    "selection_from",
    "selection_size",
    "token_covariance_terms",
    "token_statistics",
]
