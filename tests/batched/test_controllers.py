"""The controllers beside torch agree with those of the reference, fed with numbers or tensors."""

import dataclasses

import pytest
import torch

from entropy_core import batched
from entropy_core import reference as ref

START = ref.EntropyController(0.1, target_entropy=1.0, rate=0.5, lowest=0.01, highest=0.4, half_width=0.2)
UPDATES = ["integral_update", "additive_update", "sign_update"]


@pytest.mark.parametrize("entropy", [0.0, 0.79, 0.8, 0.9, 1.0, 1.2, 1.21, 3.0])
def test_layers_agree(entropy):
    for given in (entropy, torch.tensor(entropy, dtype=torch.float64)):
        for name in UPDATES:
            found = getattr(batched, name)(START, given).coefficient
            assert found == pytest.approx(getattr(ref, name)(START, entropy).coefficient, rel=1e-14)
        for name in ("proportional_coefficient", "gated_coefficient"):
            assert getattr(batched, name)(START, given) == pytest.approx(getattr(ref, name)(START, entropy))
    assert batched.integral_rate_limit(torch.tensor(2.0), 1) == ref.integral_rate_limit(2.0, 1)
    assert batched.integral_rate_limit(0.0) == float("inf")


def test_state_is_plain_numbers_whatever_is_fed_in():
    moved = batched.integral_update(START, torch.tensor(0.3))
    assert all(type(value) is float for value in dataclasses.asdict(moved).values())
    assert batched.EntropyController is ref.EntropyController


@pytest.mark.parametrize("name", UPDATES)
def test_nan_is_refused(name):
    with pytest.raises(ValueError, match="entropy must be finite"):
        getattr(batched, name)(START, torch.tensor(float("nan")))


def test_zero_cannot_grow():
    with pytest.raises(ValueError, match="lowest must be positive"):
        batched.integral_update(dataclasses.replace(START, lowest=0.0), 1.0)
    with pytest.raises(ValueError, match="must not be negative"):
        batched.integral_rate_limit(-1.0)
