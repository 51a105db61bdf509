r"""The standard fields and numbers, named as in the numeric layers, and the paths that logits move on.

E, Var, Cov and κ are under π = softmax(z). Entropies are in nats.
"""

from dataclasses import dataclass

from sympy import exp, log

from entropy_core.symbolic.operators import DBeta, E, Field, Grad, Indicator, Partial, Scalar

__all__ = [
    "Path",
    "advantages",
    "any_path",
    "delta_logits",
    "inverse_temperature",
    "log_probs",
    "logits",
    "new_log_probs",
    "new_probs",
    "policy_logits",
    "probs",
    "rewards",
    "step_size",
    "straight_path",
    "temperature_path",
    "velocity",
]

logits = Field("logits", "z", order=60)
policy_logits = Field("policy_logits", r"\beta z", order=61)
"""What π is the softmax of, where that is not z: βz on the temperature path."""
delta_logits = Field("delta_logits", r"\Delta z", order=70)
probs = Field("probs", r"\pi", order=10)
log_probs = Field("log_probs", r"\log\pi", order=90)
rewards = Field("rewards", "r", order=40)
advantages = Field("advantages", "A", definition=rewards - E(rewards), order=45)
new_probs = Field("new_probs", r"\pi'", definition=probs * exp(delta_logits) / E(exp(delta_logits)), order=11)
new_log_probs = Field(
    "new_log_probs",
    r"\log\pi'",
    definition=log_probs + delta_logits - log(E(exp(delta_logits))),
    order=91,
)
step_size = Scalar("step_size", r"\eta", order=1)
inverse_temperature = Scalar("inverse_temperature", r"\beta", order=2)


@dataclass(frozen=True)
class Path:
    """A family of logits through which a derivative is taken: its name and how the logits move on it."""

    name: str
    law: str


any_path = Path("any_path", "z(a, t) is any differentiable function of t, and Δz = dz/dt")
straight_path = Path("straight_path", "the logits are z + tΔz with Δz fixed")
temperature_path = Path("temperature_path", "the logits are βz with z fixed, and the derivative is d/dβ")


def velocity(derivative):
    """How the derivative of the logits is written: Δz, ∇_θ z, z under `DBeta`, e_j under ∂/∂z_j."""
    if isinstance(derivative, Partial):
        return Indicator(derivative.args[1].args[1])
    if isinstance(derivative, Grad):
        return Grad(logits)
    return logits if isinstance(derivative, DBeta) else delta_logits
