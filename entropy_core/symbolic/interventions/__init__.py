"""What trainers change in the policy gradient to hold entropy, as symbols."""

from entropy_core.symbolic.interventions import clipping, controllers, normalisation, regularisers

__all__ = ["clipping", "controllers", "normalisation", "regularisers"]
