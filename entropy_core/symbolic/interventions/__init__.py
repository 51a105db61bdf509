"""What trainers change in the policy gradient to hold entropy, as symbols."""

from entropy_core.symbolic.interventions import covariance_terms

__all__ = ["covariance_terms"]
