"""Values at the edges: one action, forbidden actions, equal logits, collapse, the change of form."""

import mpmath
import numpy as np
import pytest
import torch

from entropy_core import batched
from entropy_core.batched import _primitives, _remainder
from tests.batched.calls import CALLS, NAN, NEVER, SMOOTH, gradients, rows

ALONE = torch.tensor([NEVER, -3.0, NEVER], dtype=torch.float64)


@pytest.mark.parametrize("name", [n for n in CALLS if n not in ("log_probs", "probs")])
def test_one_allowed_action_gives_zero(name):
    values = torch.tensor([NAN, 2.0, NAN], dtype=torch.float64)
    assert not CALLS[name](ALONE, values, values).any()
    assert not CALLS[name](ALONE[1:2], values[1:2], values[1:2]).any()


def test_one_allowed_action_has_probability_one():
    assert batched.probs(ALONE).tolist() == [0.0, 1.0, 0.0]
    assert batched.log_probs(ALONE).tolist() == [NEVER, 0.0, NEVER]


@pytest.mark.parametrize("name", CALLS)
def test_what_stands_at_forbidden_actions_is_ignored(name):
    z, u, r = rows(6, 7)
    expected = CALLS[name](z, u, r)
    for anything in (0.0, 1e300, float("inf"), NEVER):
        assert torch.equal(CALLS[name](z, u.nan_to_num(anything), r.nan_to_num(anything)), expected)


@pytest.mark.parametrize(
    "name", ["probs", "entropy_gradient", *(n for n in SMOOTH if n.endswith("delta_logits"))]
)
def test_forbidden_actions_get_zero(name):
    z, u, r = rows(6, 7)
    assert not CALLS[name](z, u, r)[z == NEVER].any()


@pytest.mark.parametrize(
    "name", [n for n in CALLS if n not in ("log_probs", "fisher", "fisher_pseudo_inverse")]
)
def test_forbidding_an_action_is_leaving_it_out(name):
    z, u, r = rows(1, 7)
    allowed = z[0] != NEVER
    result, without = CALLS[name](z[0], u[0], r[0]), CALLS[name](z[0, allowed], u[0, allowed], r[0, allowed])
    torch.testing.assert_close(result[allowed] if result.ndim else result, without, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n", [2, 3, 7, 1000])
def test_equal_logits_have_no_varentropy_no_gradient_and_log_n_nats(n, dtype):
    z = torch.full((n,), 0.3, dtype=dtype)
    assert batched.varentropy(z) == 0
    assert not batched.entropy_gradient(z).any()
    assert abs(batched.entropy(z).item() - np.log(n)) <= 4 * torch.finfo(dtype).eps * np.log(n)


@pytest.mark.parametrize("gap", [1.0, 40.0, 300.0, 700.0])
def test_two_actions_far_apart_against_their_closed_form(gap):
    z = torch.tensor([0.0, -gap], dtype=torch.float64)
    with mpmath.workdps(700):
        q = 1 / (1 + mpmath.exp(gap))
        entropy = -q * mpmath.log(q) - (1 - q) * mpmath.log(1 - q)
        varentropy = q * (1 - q) * mpmath.mpf(gap) ** 2
        gradient = -q * (1 - q) * gap
        for value, exact in (
            (batched.entropy(z), entropy),
            (batched.varentropy(z), varentropy),
            (batched.entropy_gradient(z)[0], gradient),
            (gradients(batched.entropy, z)[0][0], gradient),
        ):
            assert abs(mpmath.mpf(value.item()) / exact - 1) <= 1e-12


@pytest.mark.parametrize("gap", [1.0, 20.0, 80.0])
def test_a_collapsed_policy_in_float32(record_property, gap):
    z = torch.tensor([0.0, -gap], dtype=torch.float32)
    worst = max(
        abs(call(z).double().sub(call(z.double())).div(call(z.double()))).max().item()
        for call in (batched.entropy, batched.varentropy, batched.entropy_gradient)
    )
    record_property("largest relative error", f"{worst:.1e}")
    assert worst <= 1e-5


def test_value_and_gradient_pass_the_change_of_form_without_a_step():
    z = torch.tensor([0.3, -1.0, 0.2, NEVER], dtype=torch.float64)
    direction = torch.tensor([1.0, 0.0, 0.4, NAN], dtype=torch.float64)
    below, above = direction, direction * (1 + 1e-15)
    assert torch.nextafter(direction[0], direction[0] + 1) <= above[0]
    change = [batched.entropy_change(z, u) for u in (below, above)]
    torch.testing.assert_close(*change, rtol=1e-13, atol=0)
    for side_below, side_above in zip(
        *(gradients(batched.entropy_change, z, u) for u in (below, above)), strict=True
    ):
        torch.testing.assert_close(side_below, side_above, rtol=1e-13, atol=1e-16)


def test_power_series_of_the_excess():
    t = torch.linspace(-1, 1, 401, dtype=torch.float64)
    result = _primitives.RatioExcess.apply(t).tolist()
    with mpmath.workdps(60):
        exact = [x * mpmath.exp(x) - mpmath.expm1(x) for x in map(mpmath.mpf, t.tolist())]
        assert max(abs(a - b) / b for a, b in zip(result, exact, strict=True) if b) <= 1e-15
    assert _primitives.RatioExcess.apply(torch.zeros(1)).tolist() == [0.0]


def test_rise_of_two_actions_is_the_largest_curvature():
    def curvature(s):
        return (s * mpmath.tanh(s / 2) - 1) / mpmath.cosh(s / 2) ** 2 / 4

    rise = float(_remainder._rise(torch.tensor(2.0, dtype=torch.float64)))
    with mpmath.workdps(40):
        top = mpmath.findroot(lambda s: mpmath.diff(curvature, s), 2.7)
        assert abs(curvature(top) - rise) <= 1e-16
    scanned = torch.linspace(0, 40, 100001, dtype=torch.float64)
    values = (scanned * torch.tanh(scanned / 2) - 1) / torch.cosh(scanned / 2) ** 2 / 4
    assert values.max() <= rise * (1 + 1e-15)
    assert values.min() >= -0.25


@pytest.mark.parametrize("n", [2, 3, 10, 1000, 152000])
def test_largest_covariance_is_the_maximum_over_a_grid(n):
    x = torch.linspace(1e-6, 1 - 1e-6, 1000001, dtype=torch.float64)
    on_grid = (x * (1 - x) * torch.log(x * (n - 1) / (1 - x))).max()
    found = _remainder._largest_covariance(torch.tensor(float(n), dtype=torch.float64))
    assert on_grid <= found * (1 + 1e-14)
    assert found <= on_grid * (1 + 1e-9)


@pytest.mark.parametrize("name", ["policy_gradient_delta_logits", "natural_gradient_delta_logits"])
def test_a_step_size_a_row(name):
    z, _, r = rows(3, 5)
    sizes = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    update = getattr(batched, name)
    expected = torch.stack([update(z[i], r[i], size) for i, size in enumerate(sizes.tolist())])
    assert torch.equal(update(z, r, sizes), expected)
    assert torch.equal(update(z, r, sizes[1]), update(z, r, 0.2))
