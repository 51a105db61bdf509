"""Optimisers get the gradient they are promised, keep or lose the odds as proved, and refuse bad input."""

from functools import partial

import numpy as np
import pytest
import torch

from entropy_core.reference import entropy, policy_gradient_delta_logits
from entropy_core.simulators import exact_gradient_ascent, policy_gradient_flow, sampled_gradient_ascent

START = np.array([[0.5, 0.0, -1.0, 0.3], [2.0, -1.0, 0.0, 1.0]])
REWARDS = np.array([[1.0, 1.0, 0.0, 0.0], [0.5, 2.0, 2.0, 0.0]])
BEST = np.array([[0, 1], [1, 2]])
plain = partial(torch.optim.SGD, lr=0.1)
scale_free = [
    partial(torch.optim.Adam, lr=0.05, eps=0.0),
    partial(torch.optim.Adam, lr=0.01, betas=(0.5, 0.7), eps=0.0),
    partial(torch.optim.RMSprop, lr=0.05, eps=0.0),
    partial(torch.optim.Adagrad, lr=0.1, eps=0.0),
]


def log_odds(logits):
    """Difference of the logits of the two best actions of each instance."""
    pair = np.take_along_axis(logits, BEST, axis=1)
    return pair[:, 0] - pair[:, 1]


def test_one_step_is_the_policy_gradient():
    run = exact_gradient_ascent(START, REWARDS, plain, [0, 1])
    expected = policy_gradient_delta_logits(START, REWARDS, 0.1)
    assert run.final_logits - START == pytest.approx(expected, abs=1e-15)


def test_gradient_is_that_of_autograd_through_the_mixing():
    mixing = np.random.default_rng(0).normal(size=(4, 4))
    run = exact_gradient_ascent(START, REWARDS, plain, [1], mixing=mixing)
    parameters = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    moved = torch.tensor(START) + parameters @ torch.tensor(mixing).T
    (torch.softmax(moved, -1) * torch.tensor(REWARDS)).sum().backward()
    expected = START + 0.1 * parameters.grad.numpy() @ mixing.T
    assert run.final_logits == pytest.approx(expected, abs=1e-14)


def test_many_small_steps_follow_the_flow():
    run = exact_gradient_ascent(START, REWARDS, partial(torch.optim.SGD, lr=1e-3), [0, 5000])
    flow = policy_gradient_flow(START, REWARDS, np.array([0.0, 5.0]))
    assert run.entropies == pytest.approx(flow.entropies, abs=1e-3)
    assert run.expected_returns == pytest.approx(flow.expected_returns, abs=1e-3)


@pytest.mark.claim("scale-free-keeps-odds")
@pytest.mark.parametrize("optimiser", scale_free, ids=["Adam", "Adam, other betas", "RMSprop", "Adagrad"])
def test_scale_free_optimisers_keep_the_odds_of_equals(optimiser, record_property):
    run = exact_gradient_ascent(START, REWARDS, optimiser, [0, 300])
    drift = abs(log_odds(run.final_logits) - log_odds(START)).max()
    record_property("largest drift of log odds", f"{drift:.0e}")
    assert drift < 1e-11
    wrong = run.final_logits[0, 2] - run.final_logits[0, 3]
    assert wrong == pytest.approx(START[0, 2] - START[0, 3], abs=1e-11), "equally wrong actions too"
    assert (run.expected_returns[:, 1] > run.expected_returns[:, 0] + 0.2).all(), "it must have learned"
    assert run.entropies_among_best[:, 1] == pytest.approx(run.entropies_among_best[:, 0], abs=1e-11)


@pytest.mark.claim("scale-free-keeps-odds")
@pytest.mark.parametrize(
    "optimiser", [plain, partial(torch.optim.SGD, lr=0.1, momentum=0.9), partial(torch.optim.Adam, eps=1e-2)]
)
def test_others_pull_equals_apart(optimiser):
    run = exact_gradient_ascent(START, REWARDS, optimiser, [0, 300])
    apart = abs(log_odds(run.final_logits)) - abs(log_odds(START))
    assert (apart > 1e-3).all()


def test_entropy_among_best_ignores_the_rest():
    run = exact_gradient_ascent(START, REWARDS, plain, [0])
    assert run.entropies_among_best[:, 0] == pytest.approx(entropy(np.take_along_axis(START, BEST, axis=1)))
    assert run.entropies[:, 0] == pytest.approx(entropy(START))
    assert run.final_logits == pytest.approx(START)


def test_mean_sampled_step_is_the_exact_one():
    many, rewards = START[:1].repeat(40_000, axis=0), REWARDS[:1].repeat(40_000, axis=0)
    run = sampled_gradient_ascent(
        np.random.default_rng(1), many, rewards, partial(torch.optim.SGD, lr=1.0), [1], batch_size=2
    )
    steps = run.final_logits - many
    exact = policy_gradient_delta_logits(START[0], REWARDS[0], 1.0)
    deviations = (steps.mean(axis=0) - exact) / (steps.std(axis=0) / 200)
    assert abs(deviations).max() < 4
    assert abs(steps.sum(axis=1)).max() < 1e-12, "every score sums to zero"


def test_equal_seeds_give_equal_runs():
    first, again, other = (
        sampled_gradient_ascent(np.random.default_rng(s), START, REWARDS, plain, [3], 2).final_logits
        for s in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.usefixtures("without_shape_checks")
def test_bad_requests_are_told_what_to_do():
    with pytest.raises(ValueError, match=r"record_at must increase.*\[0, 10, 100\]"):
        exact_gradient_ascent(START, REWARDS, plain, [5, 5])
    with pytest.raises(ValueError, match=r"logits\[None\]"):
        exact_gradient_ascent(START[0], REWARDS[0], plain, [1])
    with pytest.raises(ValueError, match="must be finite"):
        exact_gradient_ascent(START, np.full_like(REWARDS, np.nan), plain, [1])
    with pytest.raises(ValueError, match="exact_gradient_ascent draws nothing"):
        sampled_gradient_ascent(np.random.default_rng(0), START, REWARDS, plain, [1], batch_size=0)
