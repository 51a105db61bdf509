"""What trainers change in the policy gradient to hold entropy, as symbols."""

from entropy_core.symbolic.interventions import clipping

__all__ = ["clipping"]
