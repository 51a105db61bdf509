"""The searches find what two actions are known to do, and refuse what has no answer."""

import numpy as np
import pytest

from entropy_core.reference import entropy, ratio_band_extremes
from entropy_core.simulators import extreme_band_changes, extreme_curvatures, return_times


def test_two_actions_bend_by_a_quarter_down_and_by_their_own_maximum_up():
    x = np.linspace(0.5, 0.999, 5000)
    up = (x * (1 - x) * ((2 * x - 1) * np.log(x / (1 - x)) - 1)).max()
    highest, lowest = extreme_curvatures(0, instances=6, actions=2)
    assert 0.99 * up < highest.max() <= up * (1 + 1e-6)
    assert -0.25 - 1e-12 <= lowest.min() < -0.2475


def test_same_seed_same_search_and_another_seed_another():
    first, again, other = (extreme_curvatures(seed, 2, 5, iterations=3) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_two_actions_return_where_they_have_changed_places():
    odds = np.array([-0.5, -2.0, -4.0])
    logits, directions = np.stack([odds, 0 * odds], -1), np.tile([1.0, 0.0], (3, 1))
    np.testing.assert_allclose(return_times(logits, directions), -2 * odds, rtol=1e-8)


def test_entropy_that_stays_up_returns_never():
    logits, directions = np.array([[5.0, 0.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 1.0, 1.0]])
    assert return_times(logits, directions).tolist() == [np.inf]  # ends at log 3, above the start


def test_requests_without_an_answer_are_refused():
    with pytest.raises(ValueError, match="instances ≥ 1, actions ≥ 2"):
        extreme_curvatures(0, instances=4, actions=1)
    with pytest.raises(ValueError, match="a rise to undo"):
        return_times(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]))
    with pytest.raises(ValueError, match="must be finite"):
        return_times(np.array([[1.0, 0.0]]), np.array([[np.inf, 0.0]]))


def test_two_actions_move_as_far_in_a_band_as_on_a_grid():
    logits = np.stack([np.linspace(0, 12, 20_001), np.zeros(20_001)], axis=1)
    found, start = ratio_band_extremes(logits, 0.2, 0.28), entropy(logits)
    falls, rises = extreme_band_changes(0, 5, 2, 0.2, 0.28)
    assert falls.max() == pytest.approx((start - found.lowest).max(), abs=1e-6)
    assert rises.max() == pytest.approx((found.highest - start).max(), abs=1e-6)
    assert rises.max() > falls.max() > 0.05, "the upper edge is the wider one"
    assert (extreme_band_changes(1, 3, 4, 0.2, 0.2, 5) == extreme_band_changes(1, 3, 4, 0.2, 0.2, 5)).all()


@pytest.mark.usefixtures("without_shape_checks")
def test_bad_band_searches_are_told_what_to_do():
    with pytest.raises(ValueError, match="with one action entropy stays 0"):
        extreme_band_changes(0, 1, 1, 0.2, 0.2)
    with pytest.raises(ValueError, match="distances from 1"):
        extreme_band_changes(0, 1, 2, 1.2, 0.2)
