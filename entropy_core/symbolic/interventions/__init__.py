"""What is done to a policy update to keep entropy, as symbols; modules as in the numeric layers."""

from entropy_core.symbolic.interventions import controllers, regularisers

__all__ = ["controllers", "regularisers"]
"""What trainers change in the policy gradient to hold entropy, as symbols."""

from entropy_core.symbolic.interventions import clipping

__all__ = ["clipping"]
