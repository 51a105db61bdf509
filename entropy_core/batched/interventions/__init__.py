"""What trainers change in the policy gradient to hold entropy: losses, terms and selections over tokens.

Functions of tokens take values of one token each, in the shape [batch, tokens], and a mask of those that
count.
"""

from entropy_core.batched.interventions.clipping import (
    ClippedPolicyLoss,
    RatioBandExtremes,
    clipped_policy_loss,
    ratio_band_extremes,
)

__all__ = ["ClippedPolicyLoss", "RatioBandExtremes", "clipped_policy_loss", "ratio_band_extremes"]
