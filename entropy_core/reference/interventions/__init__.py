"""What trainers change in the policy gradient to hold entropy: losses, terms and selections over tokens.

Functions of tokens take values of one token each, in the shape [batch, tokens], and a mask of those that
count.
"""

from entropy_core.reference.interventions.clipping import (
    ClippedPolicyLoss,
    RatioBandExtremes,
    clipped_policy_loss,
    ratio_band_extremes,
)
from entropy_core.reference.interventions.controllers import (
    EntropyController,
    additive_update,
    gated_coefficient,
    integral_rate_limit,
    integral_update,
    proportional_coefficient,
    sign_update,
)
from entropy_core.reference.interventions.normalisation import (
    group_centred_advantages,
    group_normalised_advantages,
    group_weight,
)
from entropy_core.reference.interventions.regularisers import (
    EntropyBonus,
    RepoSums,
    critical_entropy_coefficient,
    critical_kl_coefficient,
    entropy_bonus_loss,
    entropy_bonus_success,
    merge_repo_sums,
    natural_neutral_coefficient,
    natural_repo_coefficient,
    plain_neutral_coefficient,
    plain_repo_coefficient,
    reference_kl_success,
    regularised_optimum_logits,
    repo_advantages,
    repo_sums,
    rescaled_repo_advantages,
)

__all__ = [
    "ClippedPolicyLoss",
    "EntropyBonus",
    "EntropyController",
    "RatioBandExtremes",
    "RepoSums",
    "additive_update",
    "clipped_policy_loss",
    "critical_entropy_coefficient",
    "critical_kl_coefficient",
    "entropy_bonus_loss",
    "entropy_bonus_success",
    "gated_coefficient",
    "group_centred_advantages",
    "group_normalised_advantages",
    "group_weight",
    "integral_rate_limit",
    "integral_update",
    "merge_repo_sums",
    "natural_neutral_coefficient",
    "natural_repo_coefficient",
    "plain_neutral_coefficient",
    "plain_repo_coefficient",
    "proportional_coefficient",
    "ratio_band_extremes",
    "reference_kl_success",
    "regularised_optimum_logits",
    "repo_advantages",
    "repo_sums",
    "rescaled_repo_advantages",
    "sign_update",
]
