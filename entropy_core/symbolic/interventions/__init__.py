"""What trainers change in the policy gradient to hold entropy, as symbols."""

from entropy_core.symbolic.interventions import (
    clipping,
    covariance_terms,
)

__all__ = [
    "clipping",
    "covariance_terms",
]
