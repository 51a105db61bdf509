r"""Group-normalised advantages as symbols: a group of N responses of which some are correct.

c_i is 1 if response i is correct and 0 if not, c̄ the share of correct ones in the group. Every way of
normalising divides c_i − c̄ by a number that depends on c̄ only, so the mean of a product with it is found in
two steps: first over the actions, given which responses are correct, then over how many are.
"""

from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Statement
from entropy_core.symbolic.operators import Quantity, Scalar
from entropy_core.symbolic.samples import OverDraws, draw_index, draws
from entropy_core.symbolic.tables import Table

__all__ = ["mean_by_outcome", "spread_of_group"]

_i = draw_index("i")
_label = Table("label", lambda i: f"c_{{{i}}}", order=40)
_in_correct = Scalar("mean_in_correct", r"\mathbb{E}[f \mid C]", order=60)
_in_wrong = Scalar("mean_in_wrong", r"\mathbb{E}[f \mid W]", order=61)
_share = Quantity("share", r"\bar{c}", OverDraws(_label(_i), _i) / draws, order=30)
_gap = _in_correct - _in_wrong
_value = _label(_i) * _in_correct + (1 - _label(_i)) * _in_wrong
_mean_given_outcomes = Quantity(
    "mean_given_outcomes",
    r"\mathbb{E}[\overline{(c - \bar{c}) f} \mid c_1 \ldots c_N]",
    OverDraws((_label(_i) - _share) * _value, _i) / draws,
    order=50,
)


def mean_by_outcome():
    """Mean of (c_i − c̄) f_i over a group whose outcomes are known, each f_i having the mean of its outcome.

    Formula: (1/N) Σ_i (c_i − c̄) (c_i E[f|C] + (1 − c_i) E[f|W]) = c̄ (1 − c̄) (E[f|C] − E[f|W]).

    Returns:
        the certificate; it rests on c_i² = c_i.
    """
    return Certificate(
        Statement(_mean_given_outcomes, _share * (1 - _share) * _gap), ((_gap / draws, _zero_or_one()),)
    )


def spread_of_group():
    """Variance of the outcomes of a group. Formula: (1/N) Σ_i (c_i − c̄)² = c̄ (1 − c̄), for c_i² = c_i."""
    variance = OverDraws((_label(_i) - _share) ** 2, _i) / draws
    return Certificate(Statement(variance, _share * (1 - _share)), ((1 / draws, _zero_or_one()),))


def _zero_or_one():
    return Hypothesis("", _label(_i) ** 2 - _label(_i), _i, draws)
