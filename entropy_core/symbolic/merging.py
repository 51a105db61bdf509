r"""Sums over actions about an origin: how they move with it, why they merge, what moments they give.

Over a set of actions, with the origin (m, c), the gap x = z − m and the shift v = Δz − c, the state is

    S_jk = Σ x^j v^k e^x,   G = Σ (e^v − 1 − v) e^x,   G_x = Σ x (e^v − 1) e^x,   G_v = Σ v (e^v − 1) e^x.

`move` says what the state is about the origin (m − δ, c − ε), where every gap has grown by δ and every shift
by ε; `merge` moves two states to one origin and adds them. Two states are the same where moving takes one to
the other: this is what "merging is associative" means below, and why it does not matter whose origin a merge
takes. The fields carry the names of the batched layer's states.

The layer knows no law of the logarithm. Where log Z − m or log(Z'/Z) − c stands below, the numeric layers
have log S_00 and log(1 + g): that these are equal, by log(e^−m Z) = log Z − m, is the step by hand.
"""

from typing import NamedTuple

from sympy import Expr, Rational, Symbol, exp, log

from entropy_core.symbolic.certificate import Certificate
from entropy_core.symbolic.derivation import Derivation, Statement
from entropy_core.symbolic.dynamics import entropy_change, second_order_entropy_change
from entropy_core.symbolic.fields import delta_logits, log_probs, logits, new_log_probs, probs
from entropy_core.symbolic.operators import Cov, E, Field, Quantity, Scalar, Total, Var
from entropy_core.symbolic.softmax import entropy

__all__ = [
    "MERGED_SUMS",
    "Sums",
    "covariance_from_sums",
    "delta",
    "divergence_from_sums",
    "entropy_from_sums",
    "epsilon",
    "exact_change_from_sums",
    "gap",
    "growth_from_sums",
    "log_growth",
    "log_normaliser",
    "mean_gap",
    "mean_shift",
    "mean_step_from_sums",
    "merge",
    "merge_has_a_unit",
    "merge_is_associative",
    "merge_is_commutative",
    "move",
    "moving_adds",
    "moving_by_nothing",
    "moving_the_origin",
    "origin",
    "peak",
    "relative_growth",
    "second_order_from_sums",
    "shift",
    "variance_of_step_from_sums",
    "varentropy_from_sums",
]

peak, origin = Scalar("peak", "m", order=5), Scalar("origin", "c", order=5)
gap = Field("gap", "x", definition=logits - peak, order=50)
shift = Field("shift", "v", definition=delta_logits - origin, order=55)
log_normaliser = Quantity("log_normaliser", r"\log Z", log(Total(exp(logits))), order=20)
delta, epsilon = Scalar("delta", r"\delta", order=3), Scalar("epsilon", r"\varepsilon", order=4)


class Sums(NamedTuple):
    """Sums of a set of actions about one origin: S_00, S_10, S_20, S_01, S_11, S_02, S_12, G, G_x, G_v."""

    total: Expr
    gap: Expr
    gap_gap: Expr
    shift: Expr
    gap_shift: Expr
    shift_shift: Expr
    gap_shift_shift: Expr
    growth: Expr
    gap_growth: Expr
    shift_growth: Expr


def _summands(x, v):
    """What is added for one action, in the order of the fields."""
    grown = exp(v) - 1
    powers = (1, x, x**2, v, x * v, v**2, x * v**2, grown - v, x * grown, v * grown)
    return Sums(*(power * exp(x) for power in powers))


_PRINTED = ("S_{00}", "S_{10}", "S_{20}", "S_{01}", "S_{11}", "S_{02}", "S_{12}", "G", "G_{x}", "G_{v}")
MERGED_SUMS = Sums(
    *(
        Quantity(f"{name}_sum", printed, Total(summand), order=40 + k)
        for k, (name, printed, summand) in enumerate(
            zip(Sums._fields, _PRINTED, _summands(gap, shift), strict=True)
        )
    )
)
"""The sums of all actions, as named numbers."""


def move(sums, delta, epsilon):
    """Return the sums of the same actions about another origin.

    Formula: S_jk → e^δ Σ_il binom(j, i) binom(k, l) δ^(j−i) ε^(k−l) S_il, and likewise with e^ε for the G.

    Args:
        sums: `Sums`, of named numbers or of symbols.
        delta: what every gap grows by, old peak minus new peak.
        epsilon: what every shift grows by.

    Returns:
        `Sums`; `moving_the_origin` proves that they are those of the moved gaps and shifts.
    """
    s, grown = sums, exp(epsilon) - 1
    grown_all = s.growth + s.shift  # Σ (e^v − 1) e^x
    shift = s.shift + epsilon * s.total
    gap_shift = s.gap_shift + epsilon * s.gap
    shift_shift = s.shift_shift + 2 * epsilon * s.shift + epsilon**2 * s.total
    gap_shift_shift = s.gap_shift_shift + 2 * epsilon * s.gap_shift + epsilon**2 * s.gap
    moved = Sums(
        s.total,
        s.gap + delta * s.total,
        s.gap_gap + 2 * delta * s.gap + delta**2 * s.total,
        shift,
        gap_shift + delta * shift,
        shift_shift,
        gap_shift_shift + delta * shift_shift,
        s.growth + grown * grown_all + (grown - epsilon) * s.total,
        exp(epsilon) * (s.gap_growth + delta * grown_all) + grown * (s.gap + delta * s.total),
        exp(epsilon) * (s.shift_growth + epsilon * grown_all) + grown * shift,
    )
    return Sums(*(exp(delta) * x for x in moved))


def moving_the_origin():
    """Every sum about a moved origin, from the sums about the old one.

    Formula: Σ (x + δ)^j (v + ε)^k e^(x + δ) and the three growth sums, each as `move` says.

    Returns:
        `Sums` of proved derivations.
    """
    starts = _summands(gap + delta, shift + epsilon)
    ends = move(MERGED_SUMS, delta, epsilon)
    derivations = [
        Derivation(Total(start)).to(end, "expand, $e^{x + \\delta} = e^{\\delta} e^{x}$")
        for start, end in zip(starts, ends, strict=True)
    ]
    return Sums(*derivations)


def merge(x, y, at):
    """Return the sums of two disjoint sets of actions together.

    Formula: move both to one origin and add.

    Args:
        x: pair of `Sums` and their origin, itself a pair (m, c).
        y: the same of the other set.
        at: the origin (m, c) to merge at, any.

    Returns:
        pair of the merged `Sums` and their origin.
    """
    moved = [move(sums, own[0] - at[0], own[1] - at[1]) for sums, own in (x, y)]
    return Sums(*(a + b for a, b in zip(*moved, strict=True))), at


def moving_adds():
    """Moving twice is moving once by the sum. Formula: move(move(s, δ, ε), δ', ε') = move(s, δ + δ', ε + ε').

    Returns:
        one `Certificate` a sum, as in all laws below; the state is ten symbols.
    """
    s, (d, e), (d2, e2) = _state("s"), _pair("d"), _pair("d2")
    return _laws(move(move(s, d, e), d2, e2), move(s, d + d2, e + e2))


def moving_by_nothing():
    """Moving by nothing leaves a state. Formula: move(s, 0, 0) = s."""
    return _laws(move(_state("s"), 0, 0), _state("s"))


def merge_is_commutative():
    """At any origin, x with y is y with x."""
    x, y = _located("x"), _located("y")
    return _laws(merge(x, y, _pair("o"))[0], merge(y, x, _pair("o"))[0])


def merge_is_associative():
    """Whatever origins the inner merges took, (x y) w and x (y w) are one state at any outer origin."""
    x, y, w = map(_located, "xyw")
    left = merge(merge(x, y, _pair("p")), w, _pair("o"))
    right = merge(x, merge(y, w, _pair("q")), _pair("o"))
    return _laws(left[0], right[0])


def merge_has_a_unit():
    """The state of no action, ten zeros about any origin, changes nothing but, at most, the origin."""
    x, nothing = _located("x"), (Sums(*[0] * len(Sums._fields)), _pair("q"))
    moved = move(x[0], *(own - new for own, new in zip(x[1], _pair("o"), strict=True)))
    return _laws(merge(x, nothing, _pair("o"))[0], moved)


def _state(name):
    return Sums(*(Symbol(f"{name}_{field}", real=True) for field in Sums._fields))


def _pair(name):
    return Symbol(f"{name}_peak", real=True), Symbol(f"{name}_origin", real=True)


def _located(name):
    return _state(name), _pair(name)


def _laws(left, right):
    return Sums(*(Certificate(Statement(a, b), ()) for a, b in zip(left, right, strict=True)))


_S = MERGED_SUMS
mean_gap = Quantity("mean_gap", r"\bar{x}", _S.gap / _S.total, order=35)
mean_shift = Quantity("mean_shift", r"\bar{v}", _S.shift / _S.total, order=36)
relative_growth = Quantity("relative_growth", "g", (_S.shift + _S.growth) / _S.total, order=34)
log_growth = Quantity("log_growth", r"\log(Z'/Z)", log(E(exp(delta_logits))), order=20)
_variance = _S.shift_shift / _S.total - mean_shift**2
_weights = r"$\pi = e^{x} / S_{00}$"


def entropy_from_sums():
    """Entropy from S_00 and S_10. Formula: H = log Z − m − S_10/S_00, where log Z − m = log S_00."""
    return (
        Derivation(entropy)
        .to(-E(logits - log_normaliser), r"$\log\pi = z - \log Z$")
        .to(log_normaliser - peak - E(gap), "$z = x + m$")
        .to(log_normaliser - peak - _S.gap / _S.total, _weights)
    )


def varentropy_from_sums():
    """Varentropy from S_00, S_10 and S_20. Formula: Var(log π) = S_20/S_00 − (S_10/S_00)²."""
    return (
        Derivation(Var(log_probs))
        .to(Var(gap), "a constant has no variance")
        .to(_S.gap_gap / _S.total - mean_gap**2, _weights)
    )


def mean_step_from_sums():
    """Mean step from S_00 and S_01. Formula: E Δz = c + S_01/S_00."""
    return (
        Derivation(E(delta_logits))
        .to(origin + E(shift), r"$\Delta z = v + c$")
        .to(origin + _S.shift / _S.total, _weights)
    )


def variance_of_step_from_sums():
    """Variance of the step. Formula: Var Δz = S_02/S_00 − (S_01/S_00)²."""
    return Derivation(Var(delta_logits)).to(Var(shift), "a constant has no variance").to(_variance, _weights)


def covariance_from_sums():
    """Covariance of the entropy lemma. Formula: Cov(log π, Δz) = S_11/S_00 − (S_10/S_00)(S_01/S_00)."""
    return (
        Derivation(Cov(log_probs, delta_logits))
        .to(Cov(gap, shift), "a constant has no covariance")
        .to(_S.gap_shift / _S.total - mean_gap * mean_shift, _weights)
    )


def second_order_from_sums():
    """Second-order prediction of ΔH from S_00, S_10, S_01, S_11, S_02 and S_12.

    Formula: −Cov(x, v) − ½ (Var v + E[(x − E x)(v − E v)²]).

    Returns:
        the proved derivation.
    """
    centred = (gap - E(gap)) * (shift - E(shift)) ** 2
    bend = (1 - mean_gap) * _variance + _S.gap_shift_shift / _S.total
    bend += mean_gap * mean_shift**2 - 2 * mean_shift * _S.gap_shift / _S.total
    return (
        Derivation(second_order_entropy_change)
        .to(
            -Cov(gap, shift) - Rational(1, 2) * (Var(shift) + E(centred)),
            r"$\log\pi + H = x - \mathbb{E}[x]$",
        )
        .to(-(_S.gap_shift / _S.total - mean_gap * mean_shift) - Rational(1, 2) * bend, _weights)
    )


def growth_from_sums():
    """What the normaliser grows by. Formula: 1 + g = e^−c E e^Δz with g = (S_01 + G)/S_00 = E[e^v − 1]."""
    return (
        Derivation(1 + relative_growth)
        .to(1 + E(exp(shift) - 1), _weights)
        .to(exp(-origin) * E(exp(delta_logits)), r"$v = \Delta z - c$")
    )


def exact_change_from_sums():
    """Exact entropy change without a difference of entropies.

    Formula: ΔH = log(1 + g) − (S_01 + G_x + G_v − g S_10)/((1 + g) S_00), log(1 + g) = log(Z'/Z) − c.

    Returns:
        the proved derivation.
    """
    mean_new_shift = E((gap - E(gap) + shift) * exp(shift)) / E(exp(shift))
    sums = _S.shift + _S.gap_growth + _S.shift_growth - relative_growth * _S.gap
    return (
        Derivation(entropy_change)
        .to(log_growth - origin - mean_new_shift, r"$\pi' = \pi \, e^{v} / \mathbb{E}[e^{v}]$")
        .to(log_growth - origin - sums / (_S.total * (1 + relative_growth)), _weights)
    )


def divergence_from_sums():
    """Divergence from the policy before to the policy after. Formula: KL(π‖π') = log(1 + g) − S_01/S_00."""
    return (
        Derivation(Total(probs * (log_probs - new_log_probs)))
        .to(log_growth - origin - E(shift), r"$\log\pi' = \log\pi + \Delta z - \log(Z'/Z)$")
        .to(log_growth - origin - _S.shift / _S.total, _weights)
    )
