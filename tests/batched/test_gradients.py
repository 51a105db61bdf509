"""Gradients: against finite differences, against derivatives of the symbolic result in mpmath, at −inf."""

import numpy as np
import pytest
import torch

from entropy_core import batched, symbolic
from entropy_core.symbolic import E, Partial, Total, dynamics, log_probs, logits, probs
from tests.agreement.oracle import SCORE, STEP, X, Y, error_ratio, truth
from tests.batched.calls import CALLS, NAN, NEVER, SMOOTH, gradients, rows

POLICIES = {
    "moderate": [0.3, -1.2, 0.7, 0.1],
    "near uniform": [1e-9, 0.0, -3e-9, 2e-9],
    "a tie at the top": [0.0, -600.0, 0.0, -601.0],
    "37 below": [0.0, -37.0, -38.5, -36.2],
    "700 below": [-700.0, 0.0, -699.5, -650.0],
    "700 below, offset 1e4": [1e4 - 700.0, 1e4, 1e4 - 699.5, 1e4 - 650.0],
    "one against the rest": [30.0, 0.0, 0.1, -0.1],
    "one forbidden": [NEVER, 0.2, -1.0, 0.5],
    "700 below, one forbidden": [0.0, -700.0, NEVER, -699.5],
    "one allowed": [NEVER, NEVER, 3.0, NEVER],
}
SMALL, LARGE = [0.11, -0.23, 0.35, 0.02], [3.0, -2.0, 9.0, 0.5]
WEIGHTS = [0.7, -1.3, 0.4, 2.1]
TURNED = dynamics.new_entropy + symbolic.new_log_probs  # log π' + H'
BEND = (1 + SCORE) * STEP
LEVEL = 1 / symbolic.number_of_actions
RECIPROCAL_TERM = (X - LEVEL * Total(X)) * (Y - LEVEL * Total(Y)) / probs

# What the weighted sum Σ X f of each function is; Partial differentiates it in the logits.
IN_LOGITS = {
    "log_probs": Total(X * log_probs),
    "probs": E(X),
    "entropy": symbolic.entropy,
    "varentropy": symbolic.varentropy,
    "entropy_gradient": Total(X * symbolic.entropy_gradient),
    "fisher": symbolic.Cov(X, Y),
    "fisher_pseudo_inverse": Total(RECIPROCAL_TERM),
    "covariance_over_actions": symbolic.Cov(X, Y),
    "first_order_entropy_change": symbolic.first_order_entropy_change,
    "second_order_entropy_change": symbolic.second_order_entropy_change,
    "entropy_change": symbolic.entropy_change,
    "policy_gradient_delta_logits": E(X * (Y - E(Y))),
    "natural_gradient_delta_logits": Total(X * (Y - E(Y))),
}
IN_VALUES = {
    "first_order_entropy_change": symbolic.entropy_gradient,
    "second_order_entropy_change": symbolic.entropy_gradient - probs * (BEND - E(BEND)),
    "entropy_change": -symbolic.new_probs * TURNED,
    "policy_gradient_delta_logits": probs * (X - E(X)),
    "natural_gradient_delta_logits": X - probs * Total(X),
    "covariance_over_actions": probs * (Y - E(Y)),
}


def weighted_sum(name, z, values, x, y):
    """Return the scalar that IN_LOGITS[name] denotes, from the batched layer."""
    if name.startswith("fisher"):
        return x @ getattr(batched, name)(z) @ y
    if name == "covariance_over_actions":
        return batched.covariance_over_actions(values, y, z)
    if name.endswith("delta_logits"):
        return x @ getattr(batched, name)(z, values, 1.0)
    result = getattr(batched, name)(z, values) if "change" in name else getattr(batched, name)(z)
    return torch.where(z == NEVER, 0.0, x) @ torch.where(z == NEVER, 0.0, result) if result.ndim else result


def symbolic_values(name, z, values):
    """Return the oracle's inputs: delta_logits the step, x the weights or first values, y the second."""
    stepped = {"delta_logits": values} if "change" in name else {}
    x = values if name == "covariance_over_actions" else WEIGHTS
    y = values if name.endswith("delta_logits") else list(reversed(WEIGHTS))
    return {
        "logits": np.array(z),
        **{k: np.array(v) for k, v in stepped.items()},
        "x": np.array(x),
        "y": np.array(y),
    }


def gradient_scale(name, exact, oracle):
    """Return the largest entry; for products, at least the largest term that entries are differences of."""
    products = ("fisher", "covariance_over_actions", "policy_gradient_delta_logits")
    terms = truth(probs * (X - E(X)) * (Y - E(Y)), **oracle) if name in products else []
    reciprocal_terms = truth(RECIPROCAL_TERM, **oracle) if name == "fisher_pseudo_inverse" else []
    return max(map(abs, [*exact, *terms, *reciprocal_terms]))


def gradients_of(name, z, values):
    """Return the batched gradients in the logits and in the values."""
    z, values = (torch.tensor(t, dtype=torch.float64, requires_grad=True) for t in (z, values))
    x = torch.tensor(WEIGHTS, dtype=torch.float64)
    total = weighted_sum(name, z, values, x, x.flip(0))
    return torch.autograd.grad(total, (z, values), allow_unused=True)


@pytest.mark.claim("entropy-gradient-logits")
@pytest.mark.parametrize("values", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", IN_LOGITS)
def test_gradients_equal_the_symbolic_derivatives(record_property, name, policy, values):
    z = np.array(POLICIES[policy])
    allowed = np.isfinite(z)
    oracle = symbolic_values(name, z, values)
    in_logits, in_values = gradients_of(name, z, values)
    exact = [truth(Partial(IN_LOGITS[name], logits.at(a)), **oracle) for a in range(1, allowed.sum() + 1)]
    worst = error_ratio(in_logits[allowed].numpy(), exact, gradient_scale(name, exact, oracle))
    if name in IN_VALUES:
        exact = truth(IN_VALUES[name], **oracle)[allowed]
        worst = max(worst, error_ratio(in_values[allowed].numpy(), exact, max(abs(exact))))
        assert not in_values[~allowed].any()
    record_property("largest error of a gradient", f"{worst:.1e}")
    assert worst <= 1e-12
    assert not in_logits[~allowed].any()


@pytest.mark.parametrize("name", SMOOTH)
def test_first_and_second_derivatives_equal_finite_differences(name):
    z = torch.tensor([[0.3, -1.2, 0.7], [0.1, 0.0, 0.2]], dtype=torch.float64, requires_grad=True)
    u = torch.tensor([[0.2, -0.1, 0.3], [2.0, -0.4, 0.1]], dtype=torch.float64, requires_grad=True)
    r = torch.tensor([[1.0, 0.0, 0.5], [0.0, 0.2, -1.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(CALLS[name], (z, u, r))
    assert torch.autograd.gradgradcheck(CALLS[name], (z, u, r))


@pytest.mark.parametrize("name", ["policy_gradient_delta_logits", "natural_gradient_delta_logits"])
def test_updates_are_differentiable_in_the_step_size(name):
    z, r = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step_size = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: getattr(batched, name)(z, r, s), (step_size,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CALLS)
def test_forbidden_actions_get_the_gradient_zero_and_leak_no_nan(name, dtype):
    inputs = rows(6, 7, dtype)
    forbidden = inputs[0] == NEVER
    for gradient in gradients(CALLS[name], *inputs):
        if gradient is not None:
            assert gradient.isfinite().all()
            assert not gradient[forbidden].any()


@pytest.mark.parametrize("name", SMOOTH)
def test_forbidden_actions_leak_no_nan_into_second_derivatives(name):
    z, u, r = (x.requires_grad_() for x in rows(6, 7))
    result = CALLS[name](z, u, r)
    first = torch.autograd.grad(result.nan_to_num(neginf=0.0).sum() ** 2, (z,), create_graph=True)[0]
    for gradient in torch.autograd.grad(first.pow(2).sum(), (z, u, r), allow_unused=True):
        if gradient is not None:
            assert gradient.isfinite().all()
            assert not gradient[z == NEVER].any()


@pytest.mark.parametrize("name", SMOOTH)
def test_one_allowed_action_has_no_gradient_in_the_logits(name):
    z = torch.tensor([NEVER, 3.0, NEVER], dtype=torch.float64)
    values = torch.tensor([NAN, 2.0, NAN], dtype=torch.float64)
    assert not gradients(CALLS[name], z, values, values)[0].any()


@pytest.mark.parametrize("name", ["entropy", "varentropy", "entropy_gradient", "probs"])
def test_torch_func_transforms_agree_with_plain_autograd(name):
    z = rows(4, 5)[0]
    call = getattr(batched, name)
    together = torch.func.vmap(torch.func.grad(lambda row: call(row).sum()))(z)
    assert torch.equal(together, gradients(call, z)[0])


def test_the_jacobian_of_probs_is_fisher_and_of_entropy_its_gradient():
    z = torch.tensor([0.0, -700.0, NEVER, -1.0], dtype=torch.float64)
    torch.testing.assert_close(torch.func.jacrev(batched.probs)(z), batched.fisher(z), rtol=1e-14, atol=0)
    assert torch.equal(torch.func.jacrev(batched.entropy)(z), batched.entropy_gradient(z))
