"""Chain rule and slope of the entropy of a response for symbolic sizes; wrong ones are refused."""

from functools import cache

import pytest

from entropy_core.symbolic import (
    Certificate,
    Cov,
    Derivation,
    Dt,
    E,
    Statement,
    WrongCertificate,
    WrongLine,
    delta_logits,
    entropy,
    evaluate,
    first_order_sequence_entropy_change,
    future_entropy,
    log_probs,
    logits,
    sequences,
)
from entropy_core.symbolic.operators import action_index
from entropy_core.symbolic.tables import OverActions, OverStates, state_index
from entropy_core.symbolic.tabular import delta_logits as step
from entropy_core.symbolic.tabular import probs, start_distribution, state_entropy

s, a = state_index("s"), action_index("a")
EVERY_CHECK = "every size, exact, sizes 2..4, 50 digits"
chain_rule_of_two_tokens = cache(sequences.chain_rule_of_two_tokens)
sequence_entropy_is_a_return = cache(sequences.sequence_entropy_is_a_return)
proved_along_a_step = cache(sequences.sequence_entropy_along_a_step)
entropies_to_come = OverStates(start_distribution(s) * sequences.continuation_entropy(s), s)


@pytest.mark.claim("sequence-chain-rule")
def test_chain_rule_of_two_tokens_and_of_all_prefixes():
    step_of_induction, over_prefixes = chain_rule_of_two_tokens(), sequence_entropy_is_a_return()
    assert r"\log p(a)" in step_of_induction.latex
    assert over_prefixes.statement == Statement(
        entropies_to_come, OverStates(sequences.prefix_probs(s) * state_entropy(s), s)
    )
    assert sequences.payments_add_up().statement.left == entropies_to_come


def test_wrong_chain_rules_are_refused():
    two, all_prefixes = chain_rule_of_two_tokens(), sequence_entropy_is_a_return()
    first = OverStates(sequences.first_probs(s) * sequences.first_log_probs(s), s)
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(Statement(two.statement.left, two.statement.right - first), two.terms)
    unweighted = OverStates(start_distribution(s) * state_entropy(s), s)
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(Statement(entropies_to_come, unweighted), all_prefixes.terms)
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(all_prefixes.goal, all_prefixes.terms[:1])


@pytest.mark.claim("sequence-entropy-slope")
def test_slope_along_the_first_token_and_along_all():
    first = sequences.first_token_slope()
    assert first.statement.right == -Cov(log_probs - future_entropy, delta_logits)
    everywhere = proved_along_a_step()
    assert everywhere.statement.left == Dt(entropies_to_come)
    assert r"H_{\mathrm{fut}}(s, a)" in everywhere._repr_latex_()


@pytest.mark.parametrize(
    "wrong",
    [
        -Cov(log_probs, delta_logits),
        -Cov(log_probs + future_entropy, delta_logits),
        -Cov(log_probs, delta_logits) + E(future_entropy * delta_logits),
    ],
    ids=["the lemma alone", "sign", "not centred"],
)
def test_wrong_slopes_of_the_first_token_are_refused(wrong):
    with pytest.raises(WrongLine):
        Derivation(Dt(entropy + E(future_entropy))).to(wrong, "wrong")


def test_wrong_slopes_along_all_tokens_are_refused():
    proved = proved_along_a_step()
    lemma_alone = OverStates(sequences.prefix_probs(s) * Dt(state_entropy(s)), s)
    future = OverActions(probs(s, a) * step(s, a) * sequences.future_entropy_of_prefixes(s, a), a)
    not_centred = OverStates(sequences.prefix_probs(s) * (Dt(state_entropy(s)) + future), s)
    for wrong in (lemma_alone, not_centred):
        with pytest.raises(WrongCertificate, match=EVERY_CHECK):
            Certificate(Statement(proved.statement.left, wrong), proved.terms)


@pytest.mark.claim("response-estimator-variances")
def test_what_one_token_adds_to_the_gap_of_the_variances():
    proved = sequences.estimator_variance_gap()
    assert proved.statement.right.coeff(Cov(log_probs, future_entropy)) == -2


def test_the_slope_has_a_value():
    values = {logits: [0, 0], delta_logits: [1, 0], future_entropy: [1, 0]}
    assert evaluate(first_order_sequence_entropy_change, values) == pytest.approx(0.25)
