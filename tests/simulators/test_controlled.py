"""The loop against one step written out, where it rests, and the linear theory of small errors."""

import numpy as np
import pytest

from entropy_core import reference as ref
from entropy_core.simulators import controlled_ascent, entropy_coefficient_at
from entropy_core.symbolic.interventions import controllers


def small_loop(answer, share, steps=60, delay=0, noise=0.0, seed=0, n=50):
    """A loop that starts close to rest, with q and ε given."""
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=(4, n))
    target = np.linspace(0.3, 0.6, 4) * np.log(n)
    alpha, spread = entropy_coefficient_at(rewards, target)
    state = ref.EntropyController(alpha * 1.001, target, answer / spread, alpha / 3, alpha * 3)
    start = rewards / alpha[:, None]
    run = controlled_ascent(rng, start, rewards, state, share / alpha, steps, delay, noise)
    return np.log(run.coefficients / alpha[:, None]), run, target, spread


def test_one_step_is_the_regularised_natural_gradient_then_the_controller():
    rng = np.random.default_rng(1)
    logits, rewards = rng.normal(size=(2, 3, 8))
    state = ref.EntropyController(0.4, 1.5, 0.3, 1e-3, 5.0)
    run = controlled_ascent(rng, logits, rewards, state, 0.2, 1)
    step = ref.natural_gradient_delta_logits(logits, rewards - 0.4 * ref.log_probs(logits), 0.2)
    np.testing.assert_allclose(run.entropies[:, 0], ref.entropy(logits), rtol=1e-12)
    np.testing.assert_allclose(run.entropies[:, 1], ref.entropy(logits + step), rtol=1e-12)
    np.testing.assert_allclose(run.coefficients[:, 1], 0.4 * np.exp(-0.3 * (run.entropies[:, 0] - 1.5)))
    np.testing.assert_allclose(run.expected_returns[:, 0], (ref.probs(logits) * rewards).sum(axis=1))


def test_rest_has_the_target_entropy():
    rewards = np.random.default_rng(2).normal(size=(5, 200))
    target = np.linspace(0.5, 5.0, 5)
    alpha, spread = entropy_coefficient_at(rewards, target)
    np.testing.assert_allclose(ref.entropy(rewards / alpha[:, None]), target, rtol=1e-9)
    np.testing.assert_allclose(spread, ref.varentropy(rewards / alpha[:, None]))


@pytest.mark.claim("integral-controller")
@pytest.mark.parametrize(("answer", "share"), [(0.02, 0.2), (0.3, 0.1), (0.8, 0.5)])
def test_small_errors_follow_the_linear_loop(answer, share):
    measured, *_ = small_loop(answer, share)
    matrix = np.array(
        controllers.discrete_loop().subs({controllers.pull: share, controllers.gain: answer}), float
    )
    state, predicted = np.array([0.0, np.log(1.001)]), []
    for _ in range(61):
        predicted.append(state[1])
        state = matrix @ state
    assert abs(measured - predicted).max() < 2e-2 * np.log(1.001)


def test_delay_and_noise_reach_the_controller():
    late, run, target, spread = small_loop(0.3, 0.1, steps=4, delay=2)
    assert abs(late[:, :3] - late[:, :1]).max() < 1e-8, "the entropy of the start is on target"
    noisy, *_ = small_loop(0.3, 0.1, steps=4, noise=0.1)
    assert abs(noisy[:, 1] - noisy[:, 0]).min() > 1e-4


@pytest.mark.parametrize(
    ("change", "words"),
    [({"steps": 0}, "steps ≥ 1"), ({"delay": -1}, "delay ≥ 0"), ({"step_size": 0.0}, "step_size > 0")],
)
def test_errors_teach(change, words, without_shape_checks):
    state = ref.EntropyController(0.4, 1.0, 0.3, 1e-3, 5.0)
    given = {"step_size": 0.1, "steps": 2} | change
    with pytest.raises(ValueError, match=words):
        controlled_ascent(np.random.default_rng(0), np.zeros((1, 3)), np.ones((1, 3)), state, **given)
    with pytest.raises(ValueError, match="target_entropy must lie"):
        entropy_coefficient_at(np.array([[1.0, 0.0]]), np.array([0.8]))
    with pytest.raises(ValueError, match="must both have shape"):
        controlled_ascent(np.random.default_rng(0), np.zeros((1, 3)), np.ones((1, 2)), state, 0.1, 2)
    with pytest.raises(ValueError, match="must be finite"):
        controlled_ascent(np.random.default_rng(0), np.full((1, 3), np.inf), np.ones((1, 3)), state, 0.1, 2)
