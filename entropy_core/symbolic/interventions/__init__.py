"""What is done to a policy update to keep entropy, as symbols; modules as in the numeric layers."""

from entropy_core.symbolic.interventions import clipping, controllers, regularisers

__all__ = ["clipping", "controllers", "regularisers"]
