r"""Values, occupancy and the gradient of the return of a tabular softmax policy, as symbols.

Conventions. m states, n actions; π(a|s) = softmax of z(s, ·) at each state; transitions P(v|s,a), rewards
r(s,a), discount γ, start distribution ρ. V is the state value, Q = r + γ P V, A = Q − V, d the normalised
discounted occupancy, J = Σ_s ρ(s) V(s). V and d are not solved for: the equations that define them, Bellman's
and that of the flow, are hypotheses of a `Certificate`, so no inverse occurs and m, n stay symbolic.
Differentiability of V in the logits is assumed here: it is the solution of a linear system with a smooth
matrix that is invertible for 0 ≤ γ < 1.

Same names as in `entropy_core.reference.tabular`.
"""

from sympy import exp

from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Statement
from entropy_core.symbolic.operators import Dt, Quantity, Scalar, action_index
from entropy_core.symbolic.tables import (
    ByLogit,
    OverActions,
    OverStates,
    Table,
    path_parameter,
    state_index,
    states,
)

__all__ = [
    "action_values",
    "advantages",
    "average_entropy_along_a_step",
    "average_entropy_is_a_return",
    "bellman_equation",
    "bellman_residual",
    "delta_logits",
    "discount",
    "entropy_action_values",
    "entropy_advantages",
    "entropy_residual",
    "entropy_values",
    "expected_return",
    "flow_equation",
    "flow_residual",
    "logits",
    "policy_gradient_along_a_step",
    "policy_gradient_theorem",
    "probs",
    "return_gradient",
    "rewards",
    "start_distribution",
    "state_entropy",
    "state_occupancy",
    "state_values",
    "transitions",
]

_s, _v, _a, _b = state_index("s"), state_index("s'"), action_index("a"), action_index("b")
_other_state, _other_action = state_index("x"), action_index("c")

discount = Scalar("discount", r"\gamma", order=1)
logits = Table("logits", lambda s, a: f"z({s}, {a})")
delta_logits = Table("delta_logits", lambda s, a: rf"\Delta z({s}, {a})", order=20)
rewards = Table("rewards", lambda s, a: f"r({s}, {a})", order=40)
transitions = Table("transitions", lambda s, a, v: rf"P({v} \mid {s}, {a})", order=15)
start_distribution = Table("start_distribution", lambda s: rf"\rho({s})", order=3)
state_occupancy = Table("state_occupancy", lambda s: f"d({s})", order=5)
state_values = Table("state_values", lambda s: f"V({s})", moves=True, order=60)

_weight = Table(
    "weight",
    lambda s, a: f"w({s}, {a})",
    lambda s, a: exp(logits(s, a) + path_parameter * delta_logits(s, a)),
)
probs = Table(
    "probs",
    lambda s, a: rf"\pi({a} \mid {s})",
    lambda s, a: _weight(s, a) / OverActions(_weight(s, _b), _b),
    order=10,
)
action_values = Table(
    "action_values",
    lambda s, a: f"Q({s}, {a})",
    lambda s, a: rewards(s, a) + discount * OverStates(transitions(s, a, _v) * state_values(_v), _v),
    order=61,
)
advantages = Table(
    "advantages", lambda s, a: f"A({s}, {a})", lambda s, a: action_values(s, a) - state_values(s), order=62
)
bellman_residual = Table(
    "bellman_residual",
    lambda s: f"B({s})",
    lambda s: state_values(s) - OverActions(probs(s, _b) * action_values(s, _b), _b),
    order=70,
)
flow_residual = Table(
    "flow_residual",
    lambda v: f"F({v})",
    lambda v: (
        state_occupancy(v)
        - (1 - discount) * start_distribution(v)
        - discount
        * OverStates(
            state_occupancy(_other_state)
            * OverActions(probs(_other_state, _b) * transitions(_other_state, _b, v), _b),
            _other_state,
        )
    ),
    order=71,
)
expected_return = Quantity("expected_return", "J", OverStates(start_distribution(_s) * state_values(_s), _s))
return_gradient = Table(
    "return_gradient",
    lambda s, a: rf"\frac{{\partial J}}{{\partial z({s}, {a})}}",
    lambda s, a: state_occupancy(s) * probs(s, a) * advantages(s, a) / (1 - discount),
)
state_entropy = Table("state_entropy", lambda s: f"H({s})", moves=True, order=63)
entropy_values = Table("entropy_values", lambda s: f"V_H({s})", moves=True, order=60)
entropy_action_values = Table(
    "entropy_action_values",
    lambda s, a: f"Q_H({s}, {a})",
    lambda s, a: state_entropy(s) + discount * OverStates(transitions(s, a, _v) * entropy_values(_v), _v),
    order=61,
)
entropy_advantages = Table(
    "entropy_advantages",
    lambda s, a: f"A_H({s}, {a})",
    lambda s, a: entropy_action_values(s, a) - entropy_values(s),
    order=62,
)
entropy_residual = Table(
    "entropy_residual",
    lambda s: f"B_H({s})",
    lambda s: entropy_values(s) - OverActions(probs(s, _b) * entropy_action_values(s, _b), _b),
    order=70,
)


def bellman_equation():
    """What state values solve. Formula: B(s) = V(s) − Σ_b π(b|s) Q(s,b) = 0."""
    return Statement(bellman_residual(_s), bellman_residual.rule(_s))


def flow_equation():
    """What the occupancy solves. Formula: F(s) = d(s) − (1−γ)ρ(s) − γ Σ_x d(x) Σ_b π(b|x) P(s|x,b) = 0."""
    return Statement(flow_residual(_s), flow_residual.rule(_s))


def policy_gradient_along_a_step():
    """Slope of the return along any direction. Formula: (1−γ) dJ/dt = Σ_s d(s) Σ_a π(a|s) A(s,a) Δz(s,a)."""
    gain = OverActions(probs(_s, _a) * advantages(_s, _a) * delta_logits(_s, _a), _a)
    claim = Statement((1 - discount) * Dt(expected_return), OverStates(state_occupancy(_s) * gain, _s))
    mean_step = OverActions(probs(_s, _a) * delta_logits(_s, _a), _a)
    return Certificate(
        claim,
        (
            (state_occupancy(_s), _vanishing(Dt(bellman_residual(_s)), _s)),
            (-Dt(state_values(_s)), _vanishing(flow_residual(_s), _s)),
            (state_occupancy(_s) * mean_step, _vanishing(bellman_residual(_s), _s)),
        ),
    )


def policy_gradient_theorem():
    """Gradient of the return in one logit. Formula: (1−γ) ∂J/∂z(s,a) = d(s) π(a|s) A(s,a)."""
    raised = (_s, _a)

    def slope(of):
        return ByLogit(of, *raised)

    gain = state_occupancy(_s) * probs(*raised) * advantages(*raised)
    return Certificate(
        Statement((1 - discount) * slope(expected_return), gain),
        (
            (state_occupancy(_v), _vanishing(slope(bellman_residual(_v)), _v)),
            (-slope(state_values(_v)), _vanishing(flow_residual(_v), _v)),
            (state_occupancy(_s) * probs(*raised), _vanishing(bellman_residual(_s))),
        ),
    )


def average_entropy_is_a_return():
    """Average of the entropy over the occupancy. Formula: Σ_s d(s) H(s) = (1−γ) Σ_s ρ(s) V_H(s)."""
    average = OverStates(state_occupancy(_s) * state_entropy(_s), _s)
    value = (1 - discount) * OverStates(start_distribution(_s) * entropy_values(_s), _s)
    return Certificate(
        Statement(average, value),
        (
            (entropy_values(_s), _vanishing(flow_residual(_s), _s)),
            (-state_occupancy(_s), _vanishing(entropy_residual(_s), _s)),
        ),
    )


def average_entropy_along_a_step():
    """Slope of average entropy. Formula: (1−γ) d/dt Σ ρ V_H = Σ d dH/dt + Σ d Σ_a π Δz A_H."""
    gain = OverActions(probs(_s, _a) * delta_logits(_s, _a) * entropy_advantages(_s, _a), _a)
    mean_step = OverActions(probs(_s, _a) * delta_logits(_s, _a), _a)
    value = OverStates(start_distribution(_s) * entropy_values(_s), _s)
    by_state = OverStates(state_occupancy(_s) * Dt(state_entropy(_s)), _s)
    return Certificate(
        Statement((1 - discount) * Dt(value), by_state + OverStates(state_occupancy(_s) * gain, _s)),
        (
            (state_occupancy(_s), _vanishing(Dt(entropy_residual(_s)), _s)),
            (-Dt(entropy_values(_s)), _vanishing(flow_residual(_s), _s)),
            (state_occupancy(_s) * mean_step, _vanishing(entropy_residual(_s), _s)),
        ),
    )


def _vanishing(residual, index=None):
    """An assumed equation, at every state if it has an index."""
    return Hypothesis("", residual, index, states if index else None)
