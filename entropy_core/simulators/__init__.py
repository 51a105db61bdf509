"""Random instances and small worlds in which the chapters confront theory with simulation.

Everything here is seeded by the generator that the caller passes, in float64, batched over instances.
"""

from entropy_core.simulators.instances import random_steps

__all__ = ["random_steps"]
