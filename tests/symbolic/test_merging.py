"""Sums about an origin move, merge and give the moments; what is changed is refused.

The truth is the definition of each moment, not another formula for it.
"""

import pytest
from sympy import exp

from entropy_core.symbolic import (
    Cov,
    E,
    Statement,
    Total,
    Var,
    WrongCertificate,
    WrongLine,
    check,
    delta_logits,
    entropy,
    entropy_change,
    is_zero,
    log_probs,
    merging,
    new_log_probs,
    probs,
    realise,
    second_order_entropy_change,
)
from entropy_core.symbolic.certificate import Certificate
from entropy_core.symbolic.merging import MERGED_SUMS, gap, shift

S = MERGED_SUMS
FIELDS = S._fields
LAWS = [
    merging.moving_adds,
    merging.moving_by_nothing,
    merging.merge_is_commutative,
    merging.merge_is_associative,
    merging.merge_has_a_unit,
]
MOMENTS = {
    merging.entropy_from_sums: entropy,
    merging.varentropy_from_sums: Var(log_probs),
    merging.mean_step_from_sums: E(delta_logits),
    merging.variance_of_step_from_sums: Var(delta_logits),
    merging.covariance_from_sums: Cov(log_probs, delta_logits),
    merging.second_order_from_sums: second_order_entropy_change,
    merging.exact_change_from_sums: entropy_change,
    merging.divergence_from_sums: Total(probs * (log_probs - new_log_probs)),
}


@pytest.mark.claim("moments-merge")
def test_every_sum_moves_with_the_origin():
    delta, epsilon = merging.delta, merging.epsilon
    x, v = gap + delta, shift + epsilon
    powers = [1, x, x**2, v, x * v, v**2, x * v**2]
    grown = exp(v) - 1
    factors = [*powers, grown - v, x * grown, v * grown]
    for factor, moved in zip(factors, merging.moving_the_origin(), strict=True):
        assert check(moved.start, Total(factor * exp(x))).holds
        assert moved.last.free_symbols <= {*S, delta, epsilon}


@pytest.mark.claim("moments-merge")
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_states_form_a_commutative_monoid(law):
    proved = law()
    assert proved._fields == FIELDS
    assert all(isinstance(equality, Certificate) and not equality.terms for equality in proved)


@pytest.mark.claim("moments-merge")
@pytest.mark.parametrize("derivation", MOMENTS, ids=lambda derivation: derivation.__name__)
def test_sums_give_the_moment(derivation):
    proved = derivation()
    assert proved.start == MOMENTS[derivation]
    allowed = {merging.peak, merging.origin, merging.log_normaliser, merging.log_growth}
    allowed |= {*S, merging.mean_gap, merging.mean_shift, merging.relative_growth}
    assert proved.last.free_symbols <= allowed


@pytest.mark.claim("moments-merge")
def test_growth_of_the_normaliser_is_the_mean_exponential_step():
    proved = merging.growth_from_sums()
    assert check(proved.last * exp(merging.origin), E(exp(delta_logits))).holds


def mutants(moved):
    """Every way to forget what another sum, the origin's δ or its ε brings."""
    for quantity in moved.free_symbols - {merging.delta, merging.epsilon}:
        yield moved.xreplace({quantity: 0})
    for number in (merging.delta, merging.epsilon):
        if moved.has(number):
            yield moved.xreplace({number: 0})
            yield moved.xreplace({number: -number})


def test_no_part_of_a_move_can_be_left_out():
    for proved in merging.moving_the_origin():
        accepted = [is_zero(realise(proved.start - mutant)) for mutant in mutants(proved.last)]
        assert accepted
        assert not any(accepted)


@pytest.mark.parametrize("derivation", MOMENTS, ids=lambda derivation: derivation.__name__)
def test_no_sum_can_be_left_out_of_a_moment(derivation):
    proved = derivation()
    for quantity in sorted(proved.last.free_symbols - {S.total}, key=str):
        if quantity in S:
            doubled = proved.last.xreplace({quantity: 2 * quantity})
            assert not is_zero(realise(proved.start - doubled)), quantity
    with pytest.raises(WrongLine):
        proved.to(proved.last + S.gap / S.total, "one mean too many")


def test_a_merge_that_forgets_to_move_is_refused():
    """Without the move, or with the origins exchanged, the order of merging would matter."""
    x, y = (merging._located(name) for name in "xy")
    at = merging._pair("o")
    right = merging.merge(x, y, at)[0]
    added = [a + b for a, b in zip(x[0], y[0], strict=True)]
    exchanged = merging.merge((x[0], y[1]), (y[0], x[1]), at)[0]
    for wrong in (added, exchanged):
        for a, b in zip(right, wrong, strict=True):
            with pytest.raises(WrongCertificate):
                Certificate(Statement(a, b), ())


def test_moments_do_not_depend_on_the_origin():
    """The formulas give the same on the moved state, with e^δ and e^ε as they stand."""
    delta, epsilon = merging.delta, merging.epsilon
    moved = dict(zip(S, merging.move(S, delta, epsilon), strict=True))
    variance = S.gap_gap / S.total - S.gap**2 / S.total**2
    covariance = S.gap_shift / S.total - S.gap * S.shift / S.total**2
    for moment in (variance, covariance):
        assert check(moment.xreplace(moved), moment).holds
    mean = S.gap / S.total
    assert check(mean.xreplace(moved), mean + delta).holds
    assert not check(mean.xreplace(moved), mean).holds
