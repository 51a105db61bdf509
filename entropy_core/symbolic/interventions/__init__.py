"""What trainers change in the policy gradient to hold entropy, as symbols."""

from entropy_core.symbolic.interventions import (
    batch_parts,
    clipping,
    controllers,
    covariance_terms,
    normalisation,
    regularisers,
)

__all__ = ["batch_parts", "clipping", "controllers", "covariance_terms", "normalisation", "regularisers"]
