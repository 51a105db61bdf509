"""Random steps have the length that they promise, and refuse what has none."""

import numpy as np
import pytest

from entropy_core.simulators import random_steps


@pytest.mark.parametrize("actions", [2, 3, 1000])
def test_directions_have_unit_standard_deviation(actions):
    logits, directions = random_steps(np.random.default_rng(3), 50, actions)
    probs = np.exp(logits - logits.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    mean = (probs * directions).sum(-1, keepdims=True)
    assert (probs * (directions - mean) ** 2).sum(-1) == pytest.approx(np.ones((50, 1)), rel=1e-12)


def test_equal_seeds_give_equal_steps_and_the_scale_is_kept():
    first = random_steps(np.random.default_rng(5), 400, 100, logit_scale=3.0)
    again = random_steps(np.random.default_rng(5), 400, 100, logit_scale=3.0)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    # 40 000 normal logits: the standard error of their standard deviation is 3/√80000 ≈ .011.
    assert abs(first[0].std() - 3.0) < 0.05


@pytest.mark.parametrize(
    ("instances", "actions", "scale"), [(0, 3, 1.0), (5, 1, 1.0), (5, 3, 0.0), (5, 3, np.nan)]
)
def test_what_has_no_length_is_refused(instances, actions, scale):
    with pytest.raises(ValueError, match=r"needs instances ≥ 1.*got instances"):
        random_steps(np.random.default_rng(0), instances, actions, logit_scale=scale)
