"""What trainers change in the policy gradient to hold entropy, as symbols."""

from entropy_core.symbolic.interventions import clipping, controllers, normalisation, regularisers

__all__ = ["clipping", "controllers", "normalisation", "regularisers"]
from entropy_core.symbolic.interventions import batch_parts, clipping, covariance_terms

__all__ = ["batch_parts", "clipping", "covariance_terms"]
