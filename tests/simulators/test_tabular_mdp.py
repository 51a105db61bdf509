"""Random processes have the shape that they promise; sampled episodes agree with exact values."""

import numpy as np
import pytest

from entropy_core import reference
from entropy_core.simulators import TabularMDP, random_mdps, rollouts, sampled_return_gradient


def test_each_action_leads_to_the_promised_number_of_states():
    mdp = random_mdps(np.random.default_rng(0), 20, 7, 3, branching=2, discount=0.5)
    assert ((mdp.transitions > 0).sum(-1) == 2).all()
    assert mdp.transitions.sum(-1) == pytest.approx(np.ones((20, 7, 3)), abs=1e-12)
    assert mdp.start_distribution.sum(-1) == pytest.approx(np.ones(20), abs=1e-12)
    # 420 rewards: the standard error of their mean is 0.05.
    assert abs(mdp.rewards.mean()) < 0.2


def test_equal_seeds_give_equal_episodes():
    mdp = random_mdps(np.random.default_rng(0), 3, 4, 2)
    one, two, other = (
        rollouts(np.random.default_rng(k), mdp, np.zeros((3, 4, 2)), 5, 9).states for k in (1, 1, 2)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_what_cannot_happen_does_not_happen():
    mdp = random_mdps(np.random.default_rng(0), 4, 5, 3)
    logits = np.zeros((4, 5, 3))
    logits[..., 2] = -np.inf
    episodes = rollouts(np.random.default_rng(1), mdp, logits, 50, 20)
    assert episodes.actions.max() == 1
    before, after = episodes.states[..., :-1], episodes.states[..., 1:]
    led = mdp.transitions[np.arange(4)[:, None, None], before, episodes.actions[..., :-1], after]
    assert (led > 0).all()
    paid = mdp.rewards[np.arange(4)[:, None, None], episodes.states, episodes.actions]
    assert np.array_equal(episodes.rewards, paid)


def test_discounted_visits_are_the_occupancy():
    rng = np.random.default_rng(2)
    mdp, logits = random_mdps(rng, 6, 5, 3, discount=0.8), rng.normal(size=(6, 5, 3))
    visits = rollouts(rng, mdp, logits, 3000, 80).states[..., None] == np.arange(5)
    shares = 0.2 * (0.8 ** np.arange(80)[:, None] * visits).sum(axis=2)
    exact = reference.state_occupancy(logits, mdp.transitions, 0.8, mdp.start_distribution)
    scores = (shares.mean(1) - exact) / (shares.std(1) / np.sqrt(3000))
    assert 0.5 < (scores**2).mean() < 1.8
    undiscounted = (visits.mean(axis=(1, 2)) - exact) / (shares.std(1) / np.sqrt(3000))
    assert (undiscounted**2).mean() > 20


@pytest.mark.claim("policy-gradient-rollouts")
def test_sampled_gradients_scatter_about_the_exact_one(record_property):
    rng = np.random.default_rng(3)
    mdp, logits = random_mdps(rng, 15, 6, 3, discount=0.8), rng.normal(size=(15, 6, 3))
    estimate = sampled_return_gradient(rollouts(rng, mdp, logits, 1500, 80), logits, 0.8)
    exact = reference.return_gradient(logits, mdp.transitions, mdp.rewards, 0.8, mdp.start_distribution)
    scores = (estimate.mean - exact) / estimate.standard_error
    record_property("mean squared z-score of 270 components", f"{(scores**2).mean():.2f}")
    assert 0.7 < (scores**2).mean() < 1.4
    assert abs(scores).max() < 5


def test_estimator_by_hand():
    mdp = TabularMDP(np.ones((1, 1, 2, 1)), np.array([[[1.0, 0.0]]]), 0.5, np.ones((1, 1)))
    logits = np.log([[[0.75, 0.25]]])
    episodes = rollouts(np.random.default_rng(0), mdp, logits, 2, 2)
    by_hand = []
    for actions in episodes.actions[0]:
        paid = [float(a == 0) * 0.5**t for t, a in enumerate(actions)]
        scores = [np.eye(2)[a] - [0.75, 0.25] for a in actions]
        by_hand.append(scores[0] * (paid[0] + paid[1]) + scores[1] * paid[1])
    estimate = sampled_return_gradient(episodes, logits, 0.5)
    assert estimate.mean[0, 0] == pytest.approx(np.mean(by_hand, axis=0), abs=1e-14)
    assert estimate.standard_error[0, 0] == pytest.approx(
        np.std(by_hand, axis=0, ddof=1) / np.sqrt(2), abs=1e-14
    )


@pytest.mark.usefixtures("without_shape_checks")
def test_bad_input_is_refused_with_a_lesson():
    rng = np.random.default_rng(0)
    mdp = random_mdps(rng, 2, 3, 2)
    episodes = rollouts(rng, mdp, np.zeros((2, 3, 2)), 2, 2)
    refused = {
        "1 ≤ branching ≤ states": lambda: random_mdps(rng, 2, 3, 2, branching=4),
        r"discount in \[0, 1\)": lambda: random_mdps(rng, 2, 3, 2, discount=1.0),
        "Divide each row by its sum": lambda: TabularMDP(
            2 * mdp.transitions, mdp.rewards, 0.9, mdp.start_distribution
        ),
        r"discount must lie in \[0, 1\)": lambda: TabularMDP(
            mdp.transitions, mdp.rewards, 1, mdp.start_distribution
        ),
        "Use np.broadcast_to": lambda: rollouts(rng, mdp, np.zeros((3, 2)), 2, 2),
        "episodes ≥ 2 and steps ≥ 1": lambda: rollouts(rng, mdp, np.zeros((2, 3, 2)), 1, 2),
        "use that of the process": lambda: sampled_return_gradient(episodes, np.zeros((2, 3, 2)), 1.0),
        "a number; got NaN": lambda: rollouts(rng, mdp, np.full((2, 3, 2), np.nan), 2, 2),
        "allowed action": lambda: sampled_return_gradient(episodes, np.full((2, 3, 2), -np.inf), 0.9),
        "sampled with": lambda: sampled_return_gradient(episodes, np.zeros((3, 3, 2)), 0.9),
    }
    for message, call in refused.items():
        with pytest.raises(ValueError, match=message):
            call()
