"""What trainers change in the policy gradient to hold entropy, as symbols."""

from entropy_core.symbolic.interventions import clipping, controllers, regularisers

__all__ = ["clipping", "controllers", "regularisers"]
from entropy_core.symbolic.interventions import normalisation

__all__ = ["normalisation"]
