r"""Entropy of a whole response, as symbols: one token at the front, and prefixes in any number.

Two languages. At one prefix, fields over the next token: the lemma's, with one field more, `future_entropy`,
the entropy of all that follows the token. Over all prefixes, tables and certificates: d(s) is the probability
to reach prefix s (or the expected number of visits of a state), G(s) the entropy of what is still to be
written there. d and G are not solved for: the equations that define them are hypotheses, so that the number
of prefixes m, of tokens n, and with them depth and shape of the tree stay symbolic. A response ends where the
transitions out of (s, a) do not sum to 1.

By hand: that G at the start is the entropy of the response, by induction over the tokens with
`chain_rule_of_two_tokens` as its step; that the equations have one solution where every response ends.
"""

from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Derivation, Statement
from entropy_core.symbolic.fields import delta_logits, log_probs
from entropy_core.symbolic.operators import Cov, Dt, E, Field, Var, action_index
from entropy_core.symbolic.softmax import entropy
from entropy_core.symbolic.tables import OverActions, OverStates, Table, state_index, states
from entropy_core.symbolic.tabular import delta_logits as delta_logits_of_states
from entropy_core.symbolic.tabular import probs, start_distribution, state_entropy, transitions

__all__ = [
    "chain_rule_of_two_tokens",
    "continuation_entropy",
    "continuation_residual",
    "estimator_variance_gap",
    "first_log_probs",
    "first_order_sequence_entropy_change",
    "first_probs",
    "first_token_slope",
    "flow_residual",
    "future_entropy",
    "future_entropy_of_prefixes",
    "normalisation_residual",
    "payments_add_up",
    "prefix_probs",
    "second_log_probs",
    "second_probs",
    "sequence_entropy_along_a_step",
    "sequence_entropy_is_a_return",
    "state_payment",
]

_s, _v, _a, _b = state_index("s"), state_index("s'"), action_index("a"), action_index("b")
_other = state_index("x")
_first, _second = state_index("a"), action_index("b")

future_entropy = Field("future_entropy", r"H_{\mathrm{fut}}", order=91)
first_order_sequence_entropy_change = -Cov(log_probs, delta_logits) + Cov(future_entropy, delta_logits)

first_probs = Table("first_probs", lambda a: f"p({a})", order=8)
first_log_probs = Table("first_log_probs", lambda a: rf"\log p({a})", order=90)
second_probs = Table("second_probs", lambda a, b: rf"\pi({b} \mid {a})", order=10)
second_log_probs = Table("second_log_probs", lambda a, b: rf"\log \pi({b} \mid {a})", order=91)
normalisation_residual = Table(
    "normalisation_residual",
    lambda a: f"N({a})",
    lambda a: OverActions(second_probs(a, _b), _b) - 1,
    order=70,
)

prefix_probs = Table("prefix_probs", lambda s: f"d({s})", order=5)
state_payment = Table("state_payment", lambda s: f"h({s})", moves=True, order=63)
continuation_entropy = Table("continuation_entropy", lambda s: f"G({s})", moves=True, order=60)
future_entropy_of_prefixes = Table(
    "future_entropy_of_prefixes",
    lambda s, a: rf"H_{{\mathrm{{fut}}}}({s}, {a})",
    lambda s, a: OverStates(transitions(s, a, _v) * continuation_entropy(_v), _v),
    order=61,
)
flow_residual = Table(
    "flow_residual_of_prefixes",
    lambda v: f"F({v})",
    lambda v: (
        prefix_probs(v)
        - start_distribution(v)
        - OverStates(
            prefix_probs(_other) * OverActions(probs(_other, _b) * transitions(_other, _b, v), _b), _other
        )
    ),
    order=71,
)
continuation_residual = Table(
    "continuation_residual",
    lambda s: f"B({s})",
    lambda s: (
        continuation_entropy(s)
        - state_entropy(s)
        - OverActions(probs(s, _b) * future_entropy_of_prefixes(s, _b), _b)
    ),
    order=70,
)
_payment_residual = Table(
    "payment_residual",
    lambda s: f"B({s})",
    lambda s: (
        continuation_entropy(s)
        - state_payment(s)
        - OverActions(probs(s, _b) * future_entropy_of_prefixes(s, _b), _b)
    ),
    order=70,
)


def chain_rule_of_two_tokens():
    """Chain rule for a first and a second token.

    Formula: −Σ_a Σ_b p(a) π(b|a) [log p(a) + log π(b|a)] = −Σ_a p log p + Σ_a p(a) [−Σ_b π log π].

    Returns:
        certificate; the one hypothesis is Σ_b π(b|a) = 1. That the bracket is the log of p π is by hand.
    """
    joint = second_probs(_first, _second) * (first_log_probs(_first) + second_log_probs(_first, _second))
    after = OverActions(second_probs(_first, _second) * second_log_probs(_first, _second), _second)
    return Certificate(
        Statement(
            -OverStates(first_probs(_first) * OverActions(joint, _second), _first),
            -OverStates(first_probs(_first) * first_log_probs(_first), _first)
            - OverStates(first_probs(_first) * after, _first),
        ),
        (
            (
                -first_probs(_first) * first_log_probs(_first),
                Hypothesis("", normalisation_residual(_first), _first, states),
            ),
        ),
    )


def first_token_slope():
    """Slope of the entropy of a response along the logits of its first token.

    Formula: d/dt (H + E H_fut) = −Cov(log π, Δz) + Cov(H_fut, Δz) = −Cov(log π − H_fut, Δz).

    Returns:
        the proved derivation; what follows each token is held fixed.
    """
    return (
        Derivation(Dt(entropy + E(future_entropy)))
        .to(Dt(entropy) + Dt(E(future_entropy)), "linearity")
        .to(-Cov(log_probs, delta_logits) + Dt(E(future_entropy)), "the lemma")
        .to(first_order_sequence_entropy_change, "derivative of an expectation")
        .to(-Cov(log_probs - future_entropy, delta_logits), "linearity of the covariance")
    )


def payments_add_up():
    """What is paid in each state until a response ends. Formula: Σ_s ρ(s) G(s) = Σ_s d(s) h(s)."""
    return _adds_up(state_payment, _payment_residual)


def sequence_entropy_is_a_return():
    """The chain rule over all prefixes. Formula: Σ_s ρ(s) G(s) = Σ_s d(s) H(s)."""
    return _adds_up(state_entropy, continuation_residual)


def sequence_entropy_along_a_step():
    """Slope of the entropy of a response along any step of all logits.

    Formula: d/dt Σ_s ρ G = Σ_s d(s) [dH(s)/dt + Σ_a π Δz (H_fut(s,a) − Σ_b π(b|s) H_fut(s,b))].

    Returns:
        certificate; the sum over a is Cov_s(H_fut, Δz), and dH(s)/dt is the lemma's.
    """
    at = (_s, _a)
    mean_future = OverActions(probs(_s, _b) * future_entropy_of_prefixes(_s, _b), _b)
    centred = future_entropy_of_prefixes(*at) - mean_future
    gain = OverActions(probs(*at) * delta_logits_of_states(*at) * centred, _a)
    value = OverStates(start_distribution(_s) * continuation_entropy(_s), _s)
    return Certificate(
        Statement(Dt(value), OverStates(prefix_probs(_s) * (Dt(state_entropy(_s)) + gain), _s)),
        (
            (prefix_probs(_s), _everywhere(Dt(continuation_residual(_s)))),
            (-Dt(continuation_entropy(_s)), _everywhere(flow_residual(_s))),
        ),
    )


def estimator_variance_gap():
    """What one token adds to the gap of the variances of two estimates of H_seq.

    Formula: Var(log π − H_fut) − Var H_fut = Var log π − 2 Cov(log π, H_fut).

    Returns:
        the proved derivation.
    """
    return Derivation(Var(log_probs - future_entropy) - Var(future_entropy)).to(
        Var(log_probs) - 2 * Cov(log_probs, future_entropy), "expand the square"
    )


def _adds_up(payment, residual):
    value = OverStates(start_distribution(_s) * continuation_entropy(_s), _s)
    return Certificate(
        Statement(value, OverStates(prefix_probs(_s) * payment(_s), _s)),
        (
            (prefix_probs(_s), _everywhere(residual(_s))),
            (-continuation_entropy(_s), _everywhere(flow_residual(_s))),
        ),
    )


def _everywhere(residual):
    return Hypothesis("", residual, _s, states)
