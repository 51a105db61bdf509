"""The three checks: what is false must be refused by all of them, and each must be able to refuse alone."""

from random import Random

import pytest
from sympy import Integer, Rational, Symbol, preorder_traversal

from entropy_core.symbolic import (
    Cov,
    Dt,
    E,
    Field,
    Kappa,
    Partial,
    Total,
    Var,
    action_index,
    advantages,
    check,
    delta_logits,
    entropy,
    log_probs,
    logits,
    new_probs,
    probs,
    rewards,
    straight_path,
    verification,
)
from entropy_core.symbolic.exact import PRIME, ExactArithmetic, Residue

j, k = action_index("j"), action_index("k")
u, score = delta_logits, delta_logits - E(delta_logits)

IDENTITIES = [
    (Dt(entropy), -Cov(log_probs, u)),
    (Dt(entropy), -E(score * log_probs)),
    (Dt(entropy), E(log_probs) * E(u) - E(log_probs * u)),
    (Cov(log_probs, u), E((log_probs - E(log_probs)) * score)),
    (Dt(log_probs), score),
    (Dt(probs), probs * score),
    (Partial(entropy, logits.at(j)), -probs.at(j) * (log_probs.at(j) + entropy)),
    (E(advantages), Integer(0)),
    (Cov(log_probs, advantages), Cov(log_probs, rewards)),
    (Total(new_probs), Integer(1)),
    (Kappa(log_probs, u, u), E((log_probs + entropy) * score**2)),
]


# Changes that leave a true identity: a constant added to what is centred anyway.
TRUE_AFTER_ALL = {
    "Dt(entropy) = -Cov(log_probs + 1, delta_logits)",
    "Dt(entropy) = E(log_probs)*E(delta_logits + 1) - E(log_probs*(delta_logits + 1))",
    "Dt(entropy) = E(delta_logits)*E(log_probs + 1) - E(delta_logits*(log_probs + 1))",
    "Cov(log_probs, delta_logits) = E((log_probs - E(log_probs))*(delta_logits - E(delta_logits) + 1))",
    "Cov(log_probs, delta_logits) = E((delta_logits - E(delta_logits))*(log_probs - E(log_probs + 1) + 1))",
    "Cov(log_probs, delta_logits) = E((log_probs - E(log_probs))*(delta_logits - E(delta_logits + 1) + 1))",
    "Dt(log_probs) = delta_logits - E(delta_logits + 1) + 1",
    "Cov(log_probs, advantages) = Cov(log_probs, rewards + 1)",
    "Cov(log_probs, advantages) = Cov(log_probs + 1, rewards)",
}


def mutants(expression, rng, count):
    """Changed copies: a node doubled, negated, squared, shifted, a field swapped, a term added."""
    nodes = [e for e in preorder_traversal(expression) if not isinstance(e, Symbol) or isinstance(e, Field)]
    changes = [
        lambda e, node: e.xreplace({node: 2 * node}),
        lambda e, node: e.xreplace({node: -node}),
        lambda e, node: e.xreplace({node: node + 1}),
        lambda e, node: e.xreplace({log_probs: u}),
        lambda e, node: e + rng.choice([Var(u), E(u), Cov(log_probs, u), Integer(1)]),
    ]
    found = []
    while len(found) < count:
        changed = rng.choice(changes)(expression, rng.choice(nodes))
        if changed != expression:
            found.append(changed)
    return found


@pytest.mark.parametrize(("left", "right"), IDENTITIES, ids=[f"{a} = {b}" for a, b in IDENTITIES])
def test_identities_pass_all_three_checks(left, right):
    assert check(left, right).holds


def test_mutated_identities_are_refused_by_all_three_checks(record_property):
    rng, accepted, split, refused = Random(5), [], [], 0
    for left, right in IDENTITIES[:5] + IDENTITIES[8:9]:
        for changed in mutants(right, rng, 8):
            try:
                verdict = check(left, changed)
            except (
                TypeError,
                ValueError,
            ):  # an expression that has no value, such as an expectation squared away
                continue
            answers = {verdict.general, not verdict.exact, not verdict.numeric}
            split += [(left, changed)] if len(answers) > 1 else []
            accepted += [(left, changed)] if verdict.holds else []
            refused += not verdict.holds
    record_property("mutated identities refused", refused)
    assert split == []
    assert {f"{a} = {b}" for a, b in accepted} <= TRUE_AFTER_ALL
    assert refused >= 35


def test_true_for_two_actions_only_is_refused_from_three_on():
    verdict = check(2 * Total(probs**3), 3 * Total(probs**2) - 1)
    assert (verdict.general, verdict.exact, verdict.numeric) == (False, (3, 4, 5, 6), (3, 4, 5, 6))


def test_third_cumulant_of_two_points_vanishes_only_for_equal_weights():
    assert not check(Kappa(u, u, u), Integer(0)).holds


def test_curvature_needs_the_straight_path():
    claim = -Var(u) - Kappa(log_probs, u, u)
    assert check(Dt(Dt(entropy)), claim, straight_path).holds
    assert check(Dt(Dt(entropy)), claim).failed != []
    assert check(Dt(Dt(entropy)), claim - Cov(log_probs, Dt(u))).holds


def test_indices_are_tried_equal_and_different():
    jacobian = Partial(probs.at(j), logits.at(k))
    assert not check(jacobian, -probs.at(j) * probs.at(k)).holds
    assert not check(jacobian, probs.at(j) * (1 - probs.at(k))).holds


def test_counterexample_names_the_point_and_both_sides():
    verdict = check(Dt(entropy), Cov(log_probs, u))
    assert verdict.failed == ["every n", "exact n = 2..6", "50 digits, n = 2..6"]
    assert "logits = (" in verdict.counterexample
    assert "left side is" in verdict.counterexample


def test_a_sign_wrong_in_the_realisation_alone_is_caught(monkeypatch):
    check.cache_clear()
    right = verification.realise
    monkeypatch.setattr(verification, "realise", lambda e, *rest: right(e, *rest) + 1)
    verdict = check(Dt(entropy), -Cov(log_probs, u))
    check.cache_clear()
    assert (verdict.general, verdict.exact, verdict.numeric) == (False, (), ())


def test_a_field_outside_an_aggregate_is_explained():
    from entropy_core.symbolic import realise

    with pytest.raises(ValueError, match="differs from action to action"):
        realise(log_probs * u)


def test_derivative_that_does_not_fit_the_path_is_explained():
    from entropy_core.symbolic import DBeta

    with pytest.raises(ValueError, match="does not fit any_path"):
        check(DBeta(entropy), Integer(0))


def test_exponential_turns_sums_into_products():
    numbers = ExactArithmetic("exp")
    a, b = numbers.draw(), numbers.draw()
    assert numbers.vanishes(numbers.exp(a + b) - numbers.exp(a) * numbers.exp(b))
    assert not numbers.vanishes(numbers.exp(a + b) - numbers.exp(a) - numbers.exp(b))


def test_nested_derivatives_are_those_of_calculus():
    numbers = ExactArithmetic("dual")
    point = numbers.draw()
    second = numbers.derivative(lambda s: numbers.derivative(lambda r: numbers.power(point + s + r, 4)))
    assert numbers.vanishes(second - 12 * point * point)
    slope = numbers.derivative(lambda s: numbers.log(numbers.exp(point + s) / (1 + numbers.exp(point + s))))
    assert numbers.vanishes(slope - numbers.reciprocal(1 + numbers.exp(point)))


def test_exact_check_refuses_what_it_cannot_exponentiate():
    numbers = ExactArithmetic("refusal")
    with pytest.raises(ValueError, match="polynomials of the inputs"):
        numbers.exp(numbers.draw() / numbers.draw())


def test_rationals_are_inverted_in_the_field():
    third = ExactArithmetic.rational(Rational(1, 3))
    assert (3 * third).value == 1
    assert Residue.integer(PRIME).value == 0
