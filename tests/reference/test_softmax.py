"""Exact values of the softmax module, and the shapes that its annotations promise (every test enforces)."""

import numpy as np
import pytest

from entropy_core import reference

NEVER = -np.inf


@pytest.mark.parametrize("logit", [0.0, 1e4, -700.0])
def test_one_allowed_action_is_certain(logit):
    z = np.array([NEVER, logit, NEVER])
    assert reference.probs(z).tolist() == [0.0, 1.0, 0.0]
    assert reference.log_probs(z).tolist() == [NEVER, 0.0, NEVER]
    assert reference.entropy(z) == 0.0
    assert reference.varentropy(z) == 0.0
    assert not reference.entropy_gradient(z).any()
    assert not reference.fisher(z).any()


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
@pytest.mark.parametrize("level", [0.0, 0.1, -1e4])
def test_uniform_policy(n, level):
    z = np.full(n, level)
    assert reference.entropy(z) == np.log1p(n - 1)
    assert reference.varentropy(z) == 0.0
    assert not reference.entropy_gradient(z).any()
    assert reference.first_order_entropy_change(z, np.arange(n, dtype=float)) == 0.0


def test_covariance_with_a_constant_is_exactly_zero():
    z = np.random.default_rng(0).standard_normal((5, 11))
    assert not reference.covariance_over_actions(np.full(11, 0.1), z, z).any()


def test_covariance_by_explicit_loops():
    probs, x, y = np.array([0.5, 0.25, 0.25]), np.array([1.0, 2.0, 4.0]), np.array([0.0, -1.0, 3.0])
    mean_x, mean_y = sum(probs * x), sum(probs * y)
    expected = sum(p * (a - mean_x) * (b - mean_y) for p, a, b in zip(probs, x, y, strict=True))
    assert expected == 1.5
    assert abs(reference.covariance_over_actions(x, y, np.log(probs)) - expected) < 1e-15


def test_gap_of_700_leaves_an_entropy_of_1e_301():
    z = np.array([0.0, -700.0])
    expected = 701 * np.exp(-700.0)  # s + 700 s with s = e^-700, to relative order s
    assert abs(reference.entropy(z) / expected - 1) < 1e-14
    assert reference.entropy_gradient(z)[0] < 0 < reference.entropy_gradient(z)[1]


@pytest.mark.parametrize("shape", [(4,), (2, 4), (3, 1, 4), (0, 4)])
def test_shapes(shape):
    z = np.zeros(shape)
    for function in (reference.entropy, reference.varentropy):
        assert function(z).shape == shape[:-1]
    for function in (reference.probs, reference.log_probs, reference.entropy_gradient):
        assert function(z).shape == shape
    assert reference.fisher(z).shape == (*shape, 4)


def test_leading_axes_broadcast():
    z, x, y = np.zeros((3, 1, 4)), np.ones((2, 4)), np.ones(4)
    assert reference.covariance_over_actions(x, y, z).shape == (3, 2)
    assert reference.entropy_change(z, x).shape == (3, 2)
    assert reference.policy_gradient_delta_logits(z, x, 0.1).shape == (3, 2, 4)
    assert reference.entropy_change_bound(z, x)[1].shape == (3, 2)


def test_memory_order_does_not_change_the_result():
    z = np.random.default_rng(1).standard_normal((50, 300))
    turned = np.asfortranarray(z)
    assert reference.entropy(turned).tolist() == reference.entropy(z).tolist()
    assert reference.varentropy(z[::-1, ::-1][::-1, ::-1]).tolist() == reference.varentropy(z).tolist()


def test_no_value_is_minus_zero():
    z = np.array([0.0, 0.0, NEVER])
    signs = [
        np.signbit(f(z)).any() for f in (reference.entropy, reference.varentropy, reference.entropy_gradient)
    ]
    assert not any(signs)
    assert not np.signbit(reference.first_order_entropy_change(z, np.ones(3)))
    assert not np.signbit(reference.policy_gradient_delta_logits(z, np.ones(3), -1.0)).any()
