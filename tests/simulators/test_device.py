"""The same run wherever it is computed: on an accelerator if there is one, on a pretended device anywhere."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from entropy_core.simulators import (
    aligned_bandits,
    exact_clipped_ascent,
    exact_gradient_ascent,
    extreme_band_changes,
    extreme_curvatures,
    natural_gradient_flow,
    policy_gradient_flow,
    random_mdps,
    return_times,
    rollouts,
    sampled_clipped_ascent,
    sampled_gradient_ascent,
    sampled_policy_gradient,
    sampled_return_gradient,
)
from tests.simulators.elsewhere import ELSEWHERE, run_elsewhere

BANDITS = aligned_bandits(np.random.default_rng(0), 40, 12, alignment=0.2)
TIMES = np.append(0, np.geomspace(0.1, 100, 5))
PROCESSES = random_mdps(np.random.default_rng(1), 5, 6, 3)
POLICIES = np.random.default_rng(2).normal(size=(5, 6, 3))
ADAM = partial(torch.optim.Adam, lr=0.05)
MIXING = np.random.default_rng(6).normal(size=(12, 12))
PRIORS = np.random.default_rng(4).normal(size=(40, 6))  # flattened, they rise first and come back as −z at 2


def sample(device):
    """Run the sampled policy gradient from a seed of its own."""
    return sampled_policy_gradient(
        np.random.default_rng(3), *BANDITS, 0.1, 9, 4, reward_noise=0.5, record_every=3, device=device
    )


def play(device):
    """Sample episodes from a seed of its own."""
    return rollouts(np.random.default_rng(5), PROCESSES, POLICIES, episodes=20, steps=15, device=device)


def ascend(device):
    """Hand sampled gradients to an optimiser, from a seed of its own."""
    return sampled_gradient_ascent(np.random.default_rng(7), *BANDITS, ADAM, [0, 5], 3, device=device)


def clip(device, ascent, *tokens):
    """Take rounds of clipped ascent, from a seed of its own."""
    numbers = 2, 3, 0.2, 0.28, *tokens
    return ascent(np.random.default_rng(8), *BANDITS, ADAM, *numbers, reward_noise=0.5, device=device)


EPISODES = play("cpu")
RUNS = {
    "natural_gradient_flow": lambda device: natural_gradient_flow(*BANDITS, TIMES, device=device),
    "policy_gradient_flow": lambda device: policy_gradient_flow(*BANDITS, TIMES, device=device),
    "sampled_policy_gradient": sample,
    "rollouts": play,
    "sampled_return_gradient": lambda device: sampled_return_gradient(EPISODES, POLICIES, 0.9, device=device),
    "extreme_band_changes": lambda device: extreme_band_changes(0, 4, 5, 0.2, 0.28, 20, device),
    "extreme_curvatures": lambda device: extreme_curvatures(0, 4, 5, iterations=20, device=device),
    "exact_gradient_ascent": lambda device: exact_gradient_ascent(*BANDITS, ADAM, [0, 5], MIXING, device),
    "sampled_gradient_ascent": ascend,
    "exact_clipped_ascent": lambda device: clip(device, exact_clipped_ascent),
    "sampled_clipped_ascent": lambda device: clip(device, sampled_clipped_ascent, 3),
    "return_times": lambda device: return_times(PRIORS, -PRIORS, device=device),
}


def arrays(record):
    """Return the arrays of a record, or the one array that came."""
    return [record] if isinstance(record, np.ndarray) else list(dataclasses.asdict(record).values())


def assert_same(found, expected):
    """Compare records array by array; adaptive steps may round to different widths."""
    pairs = list(zip(arrays(found), arrays(expected), strict=True))
    assert all(type(x) is np.ndarray and x.dtype == y.dtype for x, y in pairs)
    for x, y in pairs:
        np.testing.assert_allclose(x, y, rtol=1e-7, atol=1e-7)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("name", RUNS)
def test_agrees_with_the_processor(name):
    assert_same(RUNS[name]("cuda"), RUNS[name]("cpu"))


@pytest.mark.parametrize("name", RUNS)
def test_everything_follows_the_device(name):
    found, operations = run_elsewhere(RUNS[name])
    assert operations > 20
    assert_same(found, RUNS[name]("cpu"))


def test_a_stray_tensor_is_seen():
    with pytest.raises(AssertionError, match="meets tensors of the host"):
        run_elsewhere(lambda device: torch.from_numpy(np.ones(3)).to(device) + torch.ones(3))
    assert run_elsewhere(lambda device: torch.ones(3, device=device).device) == (ELSEWHERE, 1)
    assert run_elsewhere(lambda device: torch.ones(3).device) == (torch.device("cpu"), 0)
