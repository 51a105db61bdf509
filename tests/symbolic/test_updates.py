"""The two steps as symbols: what centring does, and where the two updates differ."""

import pytest

from entropy_core.symbolic import (
    Cov,
    E,
    Partial,
    action_index,
    advantages,
    check,
    log_probs,
    logits,
    natural_gradient_delta_logits,
    policy_gradient_delta_logits,
    probs,
    rewards,
    step_size,
)

i = action_index("i")


def test_policy_gradient_step_is_the_gradient_of_the_expected_reward():
    step = policy_gradient_delta_logits.xreplace({probs: probs.at(i), advantages: rewards.at(i) - E(rewards)})
    assert check(step_size * Partial(E(rewards), logits.at(i)), step).holds


def test_natural_step_is_the_policy_gradient_step_without_the_weight():
    assert check(policy_gradient_delta_logits, probs * natural_gradient_delta_logits).holds
    assert not check(policy_gradient_delta_logits, natural_gradient_delta_logits).holds


@pytest.mark.parametrize("shift", [1, -3])
def test_constant_rewards_drop_out_of_both_steps(shift):
    moved = {rewards: rewards + shift}
    for step in (policy_gradient_delta_logits, natural_gradient_delta_logits):
        written_out = step.xreplace({advantages: advantages.definition})
        assert check(step, written_out.xreplace(moved)).holds


def test_without_centring_the_weighted_form_keeps_the_constant():
    assert not check(Cov(log_probs, probs * (rewards + 1)), Cov(log_probs, probs * rewards)).holds
    assert check(Cov(log_probs, rewards + 1), Cov(log_probs, rewards)).holds
