"""Laws that hold for every policy and step: invariances, identities, and the bounds under attack."""

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from entropy_core import batched

torch.set_num_threads(1)


@st.composite
def policies_and_steps(draw, max_actions=9):
    """Draw logits with some actions forbidden, a step of any size, and two quantities per action."""
    n = draw(st.integers(1, max_actions))
    seed = draw(st.integers(0, 2**32 - 1))
    sharpness, size = draw(st.floats(-6, 2)), draw(st.floats(-6, 1.5))
    generator = torch.Generator().manual_seed(seed)
    z, u, x, y = torch.randn(4, n, dtype=torch.float64, generator=generator)
    z = z * 10**sharpness
    if draw(st.booleans()):
        z[torch.randperm(n, generator=generator)[: n // 3]] = -torch.inf
    return z, u * 10**size, x, y


def slack(*values):
    """Return what rounding may cost on numbers of this size."""
    return 1e-12 * max(float(torch.as_tensor(v).abs().max()) for v in values)


@hypothesis.given(policies_and_steps())
def test_order_of_actions_does_not_matter(drawn):
    z, u, x, y = drawn
    order = torch.argsort(x)
    for call in (
        batched.entropy_change,
        batched.first_order_entropy_change,
        batched.second_order_entropy_change,
    ):
        assert abs(call(z[order], u[order]) - call(z, u)) <= slack(1 + u.abs().max() ** 2)
    assert abs(batched.entropy(z[order]) - batched.entropy(z)) <= slack(batched.entropy(z))
    assert torch.allclose(batched.probs(z[order]), batched.probs(z)[order], rtol=1e-13, atol=0)


@hypothesis.given(policies_and_steps(), st.sampled_from([-64.0, 1.0, 1024.0]))
def test_a_common_constant_cancels(drawn, constant):
    z, u, x, y = drawn
    rounding = 1e-13 * abs(constant) * (1 + u.abs().max() ** 2) * (1 + x.abs().max() * y.abs().max())
    for call in (
        batched.entropy_change,
        batched.first_order_entropy_change,
        batched.second_order_entropy_change,
    ):
        assert abs(call(z + constant, u - constant) - call(z, u)) <= 10 * rounding
    moved = batched.covariance_over_actions(x + constant, y - constant, z + constant)
    assert abs(moved - batched.covariance_over_actions(x, y, z)) <= 10 * rounding
    assert abs(batched.entropy(z + constant) - batched.entropy(z)) <= 10 * rounding


@hypothesis.given(policies_and_steps())
def test_entropy_lies_between_zero_and_log_n_and_changes_by_no_more(drawn):
    z, u, _, _ = drawn
    most = np.log(torch.isfinite(z).sum().item())
    assert 0 <= batched.entropy(z) <= most * (1 + 1e-14)
    assert abs(batched.entropy_change(z, u)) <= most * (1 + 1e-14)
    assert batched.varentropy(z) >= 0


@hypothesis.given(policies_and_steps())
def test_there_and_back_is_no_change(drawn):
    z, u, _, _ = drawn
    there, back = batched.entropy_change(z, u), batched.entropy_change(z + u, -u)
    assert abs(there + back) <= slack(batched.entropy(z), u.abs().max() * (1 + z[z.isfinite()].abs().max()))


@hypothesis.given(policies_and_steps())
def test_covariance_is_symmetric_bilinear_and_bounded(drawn):
    z, u, x, y = drawn
    cov = batched.covariance_over_actions
    size = slack((x.abs().max() + u.abs().max()) * (1 + y.abs().max()))
    assert abs(cov(x, y, z) - cov(y, x, z)) <= size
    assert abs(cov(x + 2 * u, y, z) - cov(x, y, z) - 2 * cov(u, y, z)) <= 4 * size
    assert cov(x, y, z) ** 2 <= cov(x, x, z) * cov(y, y, z) * (1 + 1e-9) + 1e-300


@hypothesis.given(policies_and_steps())
def test_steps_gradients_and_fisher_rows_sum_to_zero(drawn):
    z, _, r, _ = drawn
    for vector in (batched.entropy_gradient(z), batched.policy_gradient_delta_logits(z, r, 0.5)):
        assert abs(vector.sum()) <= slack(vector)
    assert abs((batched.probs(z) * batched.natural_gradient_delta_logits(z, r, 0.5)).sum()) <= slack(r)
    fisher = batched.fisher(z)
    assert fisher.sum(-1).abs().max() <= slack(fisher)
    assert (fisher - fisher.T).abs().max() <= slack(fisher)


@pytest.mark.claim("entropy-lemma")
@hypothesis.given(policies_and_steps())
def test_the_lemma_is_the_slope_of_the_exact_change(drawn):
    z, u, _, _ = drawn
    step = 1e-6 * u / max(float(u.abs().max()), 1e-300)
    exact, first = batched.entropy_change(z, step), batched.first_order_entropy_change(z, step)
    n = torch.isfinite(z).sum().item()
    assert abs(exact - first) <= (0.2 + 0.05 * np.log(n)) * (2e-6) ** 2
    spread = (batched.probs(z) * (1 + (z - z.max()).clamp(min=-800).abs())).sum()
    assert abs(exact - batched.second_order_entropy_change(z, step)) <= 10 * (1 + spread) * (2e-6) ** 3


@hypothesis.given(policies_and_steps())
def test_natural_step_is_the_policy_step_over_the_probabilities(drawn):
    z, _, r, _ = drawn
    policy, natural = (
        f(z, r, 0.3) for f in (batched.policy_gradient_delta_logits, batched.natural_gradient_delta_logits)
    )
    assert (policy - batched.probs(z) * natural).abs().max() <= slack(r)


def worst_of_two_actions(step_range, points=20001):
    """Return the extreme residuals of the first order over every policy on two actions."""
    s = torch.linspace(-60, 60, points, dtype=torch.float64)
    z = torch.stack([s, torch.zeros_like(s)], dim=-1)
    u = torch.tensor([step_range, 0.0], dtype=torch.float64)
    residual = batched.entropy_change(z, u) - batched.first_order_entropy_change(z, u)
    return residual.min(), residual.max()


@pytest.mark.claim("entropy-change-bound")
@pytest.mark.parametrize("step_range", [1e-3, 0.1, 1.0, 3.0, 5.0, 10.0, 40.0])
def test_bound_holds_for_every_policy_on_two_actions(record_property, step_range):
    lowest, highest = worst_of_two_actions(step_range)
    lower, upper = batched.entropy_change_bound(
        torch.zeros(2, dtype=torch.float64), torch.tensor([step_range, 0.0], dtype=torch.float64)
    )
    used = max(lowest / lower, highest / upper).item()
    record_property("largest share of the bound reached", f"{used:.3f}")
    assert used <= 1
    if step_range <= 0.1:
        assert used >= 0.98


@pytest.mark.claim("entropy-change-bound")
@pytest.mark.parametrize("n", [3, 5, 20, 100])
def test_bound_holds_under_attack(record_property, n):
    generator = torch.Generator().manual_seed(n)
    best = 0.0
    for _ in range(3):
        z = (5 * torch.randn(50, n, dtype=torch.float64, generator=generator)).requires_grad_()
        u = torch.randn(50, n, dtype=torch.float64, generator=generator).mul_(2).requires_grad_()
        for _ in range(25):
            residual = batched.entropy_change(z, u) - batched.first_order_entropy_change(z, u)
            lower, upper = batched.entropy_change_bound(z, u)
            share = torch.maximum(residual / lower, residual / upper)
            best = max(best, share.max().item())
            in_z, in_u = torch.autograd.grad(share.sum(), (z, u))
            with torch.no_grad():
                z += 0.3 * in_z / in_z.norm(dim=-1, keepdim=True).clamp(min=1e-30)
                u += 0.3 * in_u / in_u.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    record_property("largest share of the bound reached", f"{best:.3f}")
    assert best <= 1
