"""What trainers change in the policy gradient to hold entropy: losses, terms and selections over tokens.

Functions of tokens take values of one token each, in the shape [batch, tokens], and a mask of those that
count.
"""

from entropy_core.batched.interventions.normalisation import (
    group_centred_advantages,
    group_normalised_advantages,
    group_weight,
)

__all__ = ["group_centred_advantages", "group_normalised_advantages", "group_weight"]
