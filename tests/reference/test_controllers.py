"""Controllers against their published rules, written out; what they remember, and what they refuse."""

import dataclasses
import json
import math

import numpy as np
import pytest

from entropy_core import reference as ref

START = ref.EntropyController(0.1, target_entropy=1.0, rate=0.5, lowest=0.01, highest=0.4, half_width=0.2)


def outside(entropy, low, high):
    """Distance from a band, as two comparisons."""
    return entropy - low if entropy < low else entropy - high if entropy > high else 0.0


@pytest.mark.claim("integral-controller")
def test_rules_are_the_published_ones():
    rng = np.random.default_rng(0)
    for _ in range(300):
        alpha, entropy = rng.uniform(0.01, 0.4), rng.uniform(0.0, 2.0)
        state = dataclasses.replace(START, coefficient=alpha)
        error, clip = outside(entropy, 0.8, 1.2), lambda x: min(max(x, 0.01), 0.4)
        assert ref.integral_update(state, entropy).coefficient == pytest.approx(
            clip(alpha * math.exp(-0.5 * error))
        )
        assert ref.proportional_coefficient(state, entropy) == ref.integral_update(state, entropy).coefficient
        assert ref.additive_update(state, entropy).coefficient == pytest.approx(clip(alpha - 0.5 * error))
        notch = 0.5 if entropy < 1.0 else -0.5
        assert ref.sign_update(state, entropy).coefficient == pytest.approx(clip(alpha + notch))
        assert ref.gated_coefficient(state, entropy) == (alpha if entropy < 1.0 else 0.0)


def test_too_little_entropy_raises_the_coefficient():
    assert (
        ref.integral_update(START, 0.3).coefficient
        > START.coefficient
        > ref.integral_update(START, 2.0).coefficient
    )
    assert START.coefficient == 0.1, "the state does not change in place"


def test_at_a_bound_the_first_opposite_error_moves_it_off():
    state = START
    for _ in range(1000):
        state = ref.integral_update(state, 0.0)
    assert state.coefficient == 0.4
    assert ref.integral_update(state, 1.5).coefficient < 0.4


def test_state_survives_a_checkpoint():
    moved = ref.integral_update(START, 0.5)
    saved = json.loads(json.dumps(dataclasses.asdict(moved)))
    assert ref.EntropyController(**saved) == moved


def test_arrays_are_as_many_controllers():
    alpha, entropy = np.array([0.1, 0.2]), np.array([0.5, 1.9])
    many = ref.integral_update(dataclasses.replace(START, coefficient=alpha), entropy).coefficient
    each = [
        ref.integral_update(dataclasses.replace(START, coefficient=a), h)
        for a, h in zip(alpha, entropy, strict=True)
    ]
    np.testing.assert_allclose(many, [c.coefficient for c in each], rtol=1e-15)


def test_limit_of_the_rate():
    assert ref.integral_rate_limit(4.0) == 0.25
    assert ref.integral_rate_limit(4.0, delay=1) == 0.125
    assert ref.integral_rate_limit(0.0) == math.inf


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ref.integral_update(START, float("nan")), "entropy must be finite"),
        (lambda: ref.integral_update(dataclasses.replace(START, lowest=0.0), 1.0), "lowest must be positive"),
        (lambda: dataclasses.replace(START, coefficient=0.5), "between lowest"),
        (lambda: dataclasses.replace(START, rate=0.0), "rate must be positive"),
        (lambda: dataclasses.replace(START, rate=float("inf")), "rate must be finite"),
        (lambda: ref.integral_rate_limit(-1.0), "must not be negative"),
    ],
)
def test_errors_teach(call, words):
    with pytest.raises(ValueError, match=words):
        call()
