"""Laws that the reference layer obeys whatever the numbers: symmetries, gauges, inequalities, bounds."""

import mpmath
import numpy as np
import pytest

from entropy_core import reference
from entropy_core.reference import _remainder

NEVER = -np.inf
RNG = np.random.default_rng(11)
LOGITS = 4 * RNG.standard_normal((40, 9))
STEPS, X, Y = RNG.standard_normal((3, 40, 9))
OF_LOGITS = [reference.log_probs, reference.probs, reference.entropy, reference.varentropy]
OF_LOGITS += [reference.entropy_gradient, reference.fisher, reference.fisher_pseudo_inverse]
OF_STEPS = [
    reference.entropy_change,
    reference.first_order_entropy_change,
    reference.second_order_entropy_change,
]
near = {"rtol": 1e-13, "atol": 1e-14}


def binary(x):
    """Round to multiples of 2^-20: then a moderate offset is added without rounding."""
    return np.round(x * 2**20) / 2**20


@pytest.mark.parametrize("offset", [1.0, -512.0, 8192.0])
@pytest.mark.parametrize("function", OF_LOGITS)
def test_offset_of_logits_cancels(function, offset):
    z = binary(LOGITS)
    np.testing.assert_allclose(function(z + offset), function(z), **near)


@pytest.mark.parametrize("offset", [1.0, 8192.0])
@pytest.mark.parametrize("function", OF_STEPS)
def test_offset_of_the_step_cancels(function, offset):
    u = binary(STEPS)
    np.testing.assert_allclose(function(LOGITS, u + offset), function(LOGITS, u), **near)


@pytest.mark.parametrize("function", OF_LOGITS[:5])
def test_permuting_actions_permutes_the_result(function):
    order = np.random.default_rng(0).permutation(9)
    plain, permuted = function(LOGITS), function(LOGITS[:, order])
    expected = plain[:, order] if plain.ndim == 2 else plain
    np.testing.assert_allclose(permuted, expected, **near)


@pytest.mark.parametrize("function", OF_LOGITS)
def test_deleting_a_forbidden_action_changes_nothing(function):
    z = np.insert(LOGITS, 4, NEVER, axis=-1)
    result, expected = function(z), function(LOGITS)
    for axis in range(1, result.ndim):
        result = np.delete(result, 4, axis=axis)
    cancelling = function is reference.fisher_pseudo_inverse
    atol = 2e-15 * abs(expected).max() if cancelling else 1e-16
    np.testing.assert_allclose(result, expected, rtol=2e-15, atol=atol)


@pytest.mark.parametrize("function", OF_STEPS)
def test_step_of_a_forbidden_action_changes_nothing(function):
    z, u = np.insert(LOGITS, 4, NEVER, axis=-1), np.insert(STEPS, 4, np.nan, axis=-1)
    np.testing.assert_allclose(function(z, u), function(LOGITS, STEPS), **near)


def test_covariance_is_bilinear_symmetric_and_blind_to_constants():
    cov = reference.covariance_over_actions
    np.testing.assert_allclose(
        cov(2 * X + STEPS, Y, LOGITS), 2 * cov(X, Y, LOGITS) + cov(STEPS, Y, LOGITS), **near
    )
    np.testing.assert_allclose(cov(X, Y, LOGITS), cov(Y, X, LOGITS), rtol=1e-15)
    np.testing.assert_allclose(cov(binary(X) + 4096.0, Y, LOGITS), cov(binary(X), Y, LOGITS), **near)


def test_covariance_of_log_probs_with_themselves_is_the_varentropy():
    cov = reference.covariance_over_actions(reference.log_probs(LOGITS), LOGITS, LOGITS)
    np.testing.assert_allclose(cov, reference.varentropy(LOGITS), rtol=1e-13)


def test_entropy_lies_between_zero_and_log_n():
    h = reference.entropy(LOGITS)
    assert (h > 0).all()
    assert (h < np.log(9)).all()


def test_entropy_of_independent_choices_adds():
    both = (LOGITS[:, :, None] + STEPS[:, None, :]).reshape(40, 81)
    np.testing.assert_allclose(
        reference.entropy(both), reference.entropy(LOGITS) + reference.entropy(STEPS), **near
    )


def test_probabilities_and_gradients_have_their_sums():
    np.testing.assert_allclose(reference.probs(LOGITS).sum(-1), 1.0, rtol=1e-15)
    np.testing.assert_allclose(reference.entropy_gradient(LOGITS).sum(-1), 0.0, atol=1e-15)
    np.testing.assert_allclose(reference.fisher(LOGITS).sum(-1), 0.0, atol=1e-16)


def test_fisher_is_symmetric_and_never_negative():
    f = reference.fisher(LOGITS)
    np.testing.assert_array_equal(f, f.swapaxes(-1, -2))
    assert (np.linalg.eigvalsh(f) > -1e-16).all()


@pytest.mark.claim("fisher-pseudo-inverse")
def test_pseudo_inverse_meets_the_four_penrose_conditions(record_property):
    z = np.where(STEPS > 1.5, NEVER, LOGITS / 4)
    f, g = reference.fisher(z), reference.fisher_pseudo_inverse(z)
    assert np.isneginf(z).any()
    for product in (f @ g, g @ f):
        np.testing.assert_allclose(product, product.swapaxes(-1, -2), atol=1e-12)
    np.testing.assert_allclose(f @ g @ f, f, atol=1e-13)
    np.testing.assert_allclose(g @ f @ g, g, rtol=1e-10, atol=1e-10)
    brute_force = np.linalg.pinv(f, rcond=1e-10, hermitian=True)
    worst = (abs(g - brute_force).max((-1, -2)) / abs(g).max((-1, -2))).max()
    record_property("largest distance from a numerical pseudo-inverse", f"{worst:.1e}")
    assert worst < 1e-10


def test_pseudo_inverse_takes_the_policy_gradient_to_the_centred_natural_gradient():
    z = LOGITS / 4
    vanilla = reference.policy_gradient_delta_logits(z, X, 0.3)
    natural = reference.natural_gradient_delta_logits(z, X, 0.3)
    direction = (reference.fisher_pseudo_inverse(z) @ vanilla[..., None])[..., 0]
    np.testing.assert_allclose(direction, natural - natural.mean(-1, keepdims=True), rtol=0, atol=1e-12)


def test_first_order_is_the_gradient_along_the_step():
    along = (reference.entropy_gradient(LOGITS) * STEPS).sum(-1)
    np.testing.assert_allclose(reference.first_order_entropy_change(LOGITS, STEPS), along, **near)


def test_exact_change_there_and_back_is_zero():
    u = 0.2 * STEPS
    forth = reference.entropy_change(LOGITS, u)
    back = reference.entropy_change(LOGITS + u, -u)
    np.testing.assert_allclose(forth, -back, **near)


def test_exact_change_adds_along_a_path():
    halves = reference.entropy_change(LOGITS, STEPS / 8) + reference.entropy_change(
        LOGITS + STEPS / 8, STEPS / 8
    )
    np.testing.assert_allclose(reference.entropy_change(LOGITS, STEPS / 4), halves, **near)


def test_exact_change_is_the_difference_of_entropies():
    difference = reference.entropy(LOGITS + STEPS / 8) - reference.entropy(LOGITS)
    np.testing.assert_allclose(reference.entropy_change(LOGITS, STEPS / 8), difference, rtol=0, atol=2e-14)


def test_exact_change_and_gradient_of_one_hundred_thousand_actions():
    noise, u = np.random.default_rng(5).standard_normal((2, 100_000))
    z, u = 1e4 + 3 * noise, u / np.ptp(u)
    difference = reference.entropy(z + u) - reference.entropy(z)  # each to 1e-12 by the oracle
    assert abs(reference.entropy_change(z, u) - difference) < 2e-12 * reference.entropy(z)
    p, ell = reference.probs(z), reference.log_probs(z)
    expected = -p * (ell + reference.entropy(z))
    gradient = reference.entropy_gradient(z)
    assert np.abs(gradient - expected).max() < 1e-12 * np.abs(expected).max()
    first = reference.first_order_entropy_change(z, u)
    assert abs(first - (gradient * u).sum()) < 1e-12 * np.abs(gradient * u).sum()


def test_policy_gradient_step_is_the_fisher_matrix_times_rewards():
    vanilla = reference.policy_gradient_delta_logits(LOGITS, X, 0.3)
    expected = 0.3 * (reference.fisher(LOGITS) @ X[..., None])[..., 0]
    np.testing.assert_allclose(vanilla, expected, rtol=1e-11, atol=1e-16)


def test_fisher_takes_the_natural_step_to_the_policy_gradient_step():
    natural = reference.natural_gradient_delta_logits(LOGITS, X, 0.3)
    vanilla = reference.policy_gradient_delta_logits(LOGITS, X, 0.3)
    np.testing.assert_allclose(
        (reference.fisher(LOGITS) @ natural[..., None])[..., 0], vanilla, atol=1e-16, rtol=1e-11
    )


@pytest.mark.parametrize(
    "update", [reference.policy_gradient_delta_logits, reference.natural_gradient_delta_logits]
)
def test_constant_reward_moves_nothing_and_cancels(update):
    assert not update(LOGITS, np.full(9, 0.1), 5.0).any()
    np.testing.assert_allclose(
        update(LOGITS, binary(X) + 1024.0, 0.3), update(LOGITS, binary(X), 0.3), **near
    )


def test_natural_step_along_rewards_themselves_gives_the_same_policy():
    natural = reference.natural_gradient_delta_logits(LOGITS, X, 0.7)
    np.testing.assert_allclose(
        reference.probs(LOGITS + natural), reference.probs(LOGITS + 0.7 * X), rtol=1e-13
    )


def test_first_order_is_what_the_second_order_and_the_exact_change_approach():
    ratios = []
    for size in (1e-2, 1e-3, 1e-4):
        exact = reference.entropy_change(LOGITS, size * STEPS)
        first = reference.first_order_entropy_change(LOGITS, size * STEPS)
        second = reference.second_order_entropy_change(LOGITS, size * STEPS)
        ratios.append((np.abs(exact - first).max() / size**2, np.abs(exact - second).max() / size**3))
    ratios = np.array(ratios)
    assert (ratios > 1e-3).all()
    np.testing.assert_allclose(ratios[1:], ratios[:-1], rtol=0.05)


def scaled_remainders(n, count, seed):
    """Return policies, steps and R: random ones, and of the shapes in which the bounds are nearly met."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((count, n)) * rng.choice([0.1, 1, 4, 10], (count, 1))
    few = np.arange(n) < rng.integers(1, n, (count, 1))  # a group of k equal actions apart from the others
    z = np.where(rng.random((count, 1)) < 0.6, few * rng.uniform(-12, 12, (count, 1)), z)
    u = np.where(rng.random((count, 1)) < 0.5, few, rng.random((count, n)))
    u = np.where(rng.random((count, 1)) < 0.3, rng.integers(0, 2, (count, n)), u)
    u = u * rng.choice([1e-3, 0.1, 1, 5, 30, 300], (count, 1)) * rng.choice([-1, 1], (count, 1))
    remainder = reference.entropy_change(z, u) - reference.first_order_entropy_change(z, u)
    return z, u, remainder


@pytest.mark.claim("entropy-change-bound")
def test_no_policy_and_step_leave_the_bound(record_property):
    largest = [0.0, 0.0]
    for n in (2, 3, 4, 5, 8, 17, 100, 1000):
        z, u, remainder = scaled_remainders(n, 4000 if n <= 100 else 400, n)
        lower, upper = reference.entropy_change_bound(z, u)
        rounding = 1e-13 * (np.ptp(u, axis=-1) + 2 * np.log(n))
        assert (remainder >= lower - rounding).all(), n
        assert (remainder <= upper + rounding).all(), n
        moving = np.ptp(u, axis=-1) > 0.01
        largest[0] = max(largest[0], (remainder[moving] / lower[moving]).max())
        largest[1] = max(largest[1], (remainder[moving] / upper[moving]).max())
    record_property("largest share of the lower bound reached", f"{largest[0]:.3f}")
    record_property("largest share of the upper bound reached", f"{largest[1]:.3f}")
    assert min(largest) > 0.6


def test_both_sides_are_sharp_for_two_actions():
    u = np.array([1e-3, 0.0])
    lower, upper = reference.entropy_change_bound(np.zeros(2), u)
    x = 0.06278266982803229864
    for z, bound in ((np.zeros(2), lower), (np.log([x, 1 - x]), upper)):
        remainder = reference.entropy_change(z, u) - reference.first_order_entropy_change(z, u)
        assert 0.999 < remainder / bound <= 1


@pytest.mark.claim("curvature-up-sharp")
@pytest.mark.claim("curvature-down-bound")
@pytest.mark.parametrize("n", [2, 3, 17, 1000, 10**6])
def test_constants_of_the_bound_are_the_maxima_they_name(n):
    with mpmath.workdps(30):
        grid = [mpmath.mpf(k) / 4000 for k in range(1, 4000)]
        logs = [mpmath.log(x * (n - 1) / (1 - x)) for x in grid]
        covariance = max(x * (1 - x) * log for x, log in zip(grid, logs, strict=True))
        up = max(x * (1 - x) * ((2 * x - 1) * log - 1) for x, log in zip(grid, logs, strict=True))
        down = max((1 - y * y) / 4 * (1 + y * mpmath.log((n - 1) * (1 - y) / y)) for y in grid)
    size = np.array([float(n)])
    assert 0 <= float(_remainder.covariance_limit(size)[0] / covariance) - 1 < 1e-6
    assert 0 <= float(_remainder.curvature_up(size)[0] / up) - 1 < 2e-5
    assert n == 2 or 0 <= float(_remainder.curvature_down(size)[0] / down) - 1 < 1e-6


@pytest.mark.claim("curvature-up-sharp")
@pytest.mark.parametrize("n", [2, 3, 10, 1000, 10**4])
def test_upper_curvature_is_attained_by_one_action_against_equal_others(n):
    x = np.linspace(0.78, 0.95, 401)[:, None]
    z = np.where(np.arange(n) == 0, np.log(x * (n - 1) / (1 - x)), 0.0)
    u = np.where(np.arange(n) == 0, 1.0, 0.0)
    curvature = 2 * (reference.second_order_entropy_change(z, u) - reference.first_order_entropy_change(z, u))
    limit = _remainder.curvature_up(np.array([float(n)]))[0]
    assert 1 - 1e-4 < curvature.max() / limit <= 1 + 1e-13


def interval_maximum(f, low, high, cells):
    """Return an upper bound on f over [low, high] by interval arithmetic, cell by cell."""
    iv = mpmath.iv
    edges = [iv.mpf(low) + (iv.mpf(high) - low) * k / cells for k in range(cells + 1)]
    return max(f(iv.mpf([a.a, b.b])).b for a, b in zip(edges[:-1], edges[1:], strict=True))


@pytest.mark.claim("curvature-up-sharp")
@pytest.mark.claim("curvature-down-bound")
def test_one_variable_maxima_in_the_proof_hold_in_interval_arithmetic():
    iv = mpmath.iv
    k2 = lambda s: ((3 + s) / (4 + 4 * s)) ** 2  # noqa: E731
    slope = lambda s: k2(s) * s * (1 - s)  # noqa: E731
    at = lambda n: lambda s: k2(s) * s * ((1 - s) * iv.log((n - 1) * (1 - s) / s) - 1)  # noqa: E731
    line = lambda n: 0.1275 * (0.7 * np.log((n - 1) * 0.85 / 0.15) - 1)  # noqa: E731
    assert interval_maximum(slope, 0, 1, 2000) < 0.0888 < 0.1275 * 0.7
    # below s = .01 the bracket is at most K² s log((n − 1)/s), which increases there
    assert 9 / 16 * 0.01 * np.log(2 / 0.01) < 0.05
    assert interval_maximum(at(3), 0.01, 0.999, 4000) < 0.081 < line(3)
    assert interval_maximum(at(2), 0.01, 0.999, 4000) < 0.052 < _remainder.curvature_up(np.array([2.0]))[0]
    assert interval_maximum(lambda s: k2(s) * s, 0, 0.1754, 500) < 0.0801
    assert interval_maximum(lambda r: r * iv.log((1 - r) / r), 0.01, 0.99, 4000) < 0.28
    assert 4 * 0.1754**2 + 5 * 0.1754 - 1 > 0


@pytest.mark.parametrize("n", [2, 3, 17, 1000])
def test_covariance_limit_is_attained_and_never_passed(n):
    y = np.linspace(-4, 4, 2001)  # one action against n − 1 equal ones
    z = np.where(np.arange(n) == 0, (y + np.log(n - 1))[:, None], 0.0)
    u = np.where(np.arange(n) == 0, 1.0, 0.0)
    limit = float(_remainder.covariance_limit(np.array([float(n)]))[0])
    largest = np.abs(reference.first_order_entropy_change(z, u)).max()
    assert 1 - 1e-5 < largest / limit <= 1 + 1e-14
    random = np.random.default_rng(n).standard_normal((500, n)) * 4
    zero_one = np.random.default_rng(n + 1).integers(0, 2, (500, n)).astype(float)
    assert (np.abs(reference.first_order_entropy_change(random, zero_one)) <= limit).all()


@pytest.mark.claim("curvature-up-sharp")
@pytest.mark.claim("curvature-down-bound")
def test_excess_of_any_law_is_below_its_share():
    rng = np.random.default_rng(8)
    laws = rng.dirichlet(np.full(5, 0.3), 60_000)
    u = np.concatenate([rng.random((60_000, 3)), np.tile([0.0, 1.0], (60_000, 1))], axis=1)
    u[:20_000] = rng.integers(0, 2, (20_000, 5))
    mean = (laws * u).sum(-1, keepdims=True)
    squares = (u - mean) ** 2
    v = (laws * squares).sum(-1, keepdims=True)
    excess = (laws * np.maximum(squares - v, 0)).sum(-1)
    k = np.maximum(mean, 1 - mean)
    moving = v[:, 0] > 1e-6
    share = excess[moving] / (k**2 - v)[moving, 0]
    largest = _remainder.excess_share(v / k**2, k)[moving, 0]
    assert (share <= largest * (1 + 1e-9)).all()
    assert (share / largest)[v[moving, 0] > 0.01].max() > 0.999


def test_varentropy_form_of_the_bound_is_never_the_smaller_one():
    x = np.linspace(1e-6, 1 - 1e-6, 20_001)
    for n in (2, 3, 4, 10, 1000, 10**5):
        largest_varentropy = (x * (1 - x) * np.log(x * (n - 1) / (1 - x)) ** 2).max()
        form = 1 / 8 + np.sqrt(largest_varentropy) / 4
        size = np.array([float(n)])
        assert _remainder.curvature_down(size)[0] / 2 < form
        assert _remainder.curvature_up(size)[0] / 2 < form
        assert _remainder.covariance_limit(size)[0] < np.sqrt(largest_varentropy) / 2
