"""Random instances and small worlds in which the chapters confront theory with simulation.

Everything here is seeded by the generator that the caller passes, in float64, batched over instances.
"""

from entropy_core.simulators.instances import random_steps
from entropy_core.simulators.tabular_mdp import (
    GradientEstimate,
    Rollouts,
    TabularMDP,
    random_mdps,
    rollouts,
    sampled_return_gradient,
)

__all__ = [
    "GradientEstimate",
    "Rollouts",
    "TabularMDP",
    "random_mdps",
    "random_steps",
    "rollouts",
    "sampled_return_gradient",
]
