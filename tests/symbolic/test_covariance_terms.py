"""What a token's covariance term says of entropy: proved again, and false if changed."""

import pytest

from entropy_core.symbolic import (
    Cov,
    E,
    Partial,
    Total,
    action_index,
    advantages,
    check,
    entropy,
    interventions,
    log_probs,
    logits,
    probs,
    step_size,
)
from entropy_core.symbolic.interventions.covariance_terms import old_probs, selected
from entropy_core.symbolic.outcomes import entropy_weight

terms, j = interventions.covariance_terms, action_index("j")
kept = (1 - selected) * advantages
natural = -Cov(log_probs, step_size * kept) + Cov(log_probs, step_size * advantages)
plain_step = step_size * probs * (kept - E(kept))
plain = -Cov(log_probs, plain_step) + Cov(log_probs, step_size * probs * advantages)

# name of the derivation: left side, right side, a false right side
STATEMENTS = {
    "removal_under_natural_gradient": (
        natural,
        step_size * E(selected * (log_probs + entropy) * advantages),
        step_size * E(selected * (log_probs - entropy) * advantages),
    ),
    "removal_under_policy_gradient": (
        plain,
        step_size * E((entropy_weight - E(entropy_weight)) * selected * advantages),
        step_size * E(entropy_weight * selected * advantages),
    ),
    "pull_to_the_old_policy": (
        Partial(-Total(old_probs * log_probs), logits.at(j)),
        probs.at(j) * Total(old_probs) - old_probs.at(j),
        probs.at(j) - old_probs.at(j),
    ),
}


@pytest.mark.claim("removed-covariance")
@pytest.mark.claim("pull-to-the-old-policy")
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statement_is_proved_and_its_variant_refused(name):
    left, right, wrong = STATEMENTS[name]
    statement = getattr(terms, name)().statement
    assert statement.left == left
    assert check(statement.right, right).holds
    assert not check(left, wrong).holds


@pytest.mark.claim("removed-covariance")
def test_a_removed_push_under_one_gradient_is_not_that_of_the_other():
    assert not check(natural, plain).holds
    assert not check(plain, step_size * E(selected * (log_probs + entropy) * advantages)).holds


@pytest.mark.claim("pooled-credit")
def test_pooled_and_own_centring_differ_by_the_excess_of_the_state():
    statement = terms.pooled_credit().statement
    own = E(selected * (log_probs + entropy) * advantages)
    assert not check(statement.left, own).holds
    (mean,) = [s for s in statement.left.free_symbols if s.name == "pooled_mean"]
    assert check(statement.left.subs(mean, -entropy), own).holds, "with one state nothing is added"
    assert not check(statement.left, own + (entropy + mean) * E(selected * advantages)).holds


@pytest.mark.claim("likely-tokens-bounded")
def test_the_bound_of_a_token_is_reached_by_a_certain_token_of_the_best_response():
    statement = terms.bound_of_a_token().statement
    by_name = {s.name: s for s in statement.left.free_symbols | statement.right.free_symbols}
    certain = {by_name["token_log_prob"]: 0, by_name["token_advantage"]: by_name["largest_advantage"]}
    bound = -by_name["mean_log_prob"] * (by_name["largest_advantage"] - by_name["mean_advantage"])
    assert (statement.left.subs(certain) - bound).expand() == 0
    assert (statement.left - statement.right).expand() == 0
    assert (statement.left - bound).expand() != 0
