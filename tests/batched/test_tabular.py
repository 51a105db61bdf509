"""Gradients through the Bellman solve, forbidden actions, shapes, and what must be refused."""

import pytest
import torch

from entropy_core import batched

torch.set_num_threads(1)


def process(batch=(3,), states=5, actions=4, seed=0):
    """Random processes and policies."""
    draw = torch.Generator().manual_seed(seed)
    normal = [torch.randn(*batch, states, actions, generator=draw, dtype=torch.float64) for _ in range(2)]
    led = torch.rand(*batch, states, actions, states, generator=draw, dtype=torch.float64)
    start = torch.rand(*batch, states, generator=draw, dtype=torch.float64)
    return normal[0], led / led.sum(-1, keepdim=True), normal[1], 0.9, start / start.sum(-1, keepdim=True)


def autograd(logits, *rest):
    """The gradient of the return that torch finds through the linear solve."""
    leaf = logits.detach().clone().requires_grad_()
    return torch.autograd.grad(batched.expected_return(leaf, *rest).sum(), leaf)[0]


@pytest.mark.claim("policy-gradient-autograd")
def test_autograd_through_the_bellman_solve_finds_the_closed_gradient(record_property):
    arguments = process((50,), 8, 4)
    closed, found = batched.return_gradient(*arguments), autograd(*arguments)
    error = ((closed - found).abs().amax((-2, -1)) / closed.abs().amax((-2, -1))).max().item()
    record_property("largest relative error", f"{error:.0e}")
    assert error < 1e-12
    logits, transitions, rewards, discount, _ = arguments
    control = batched.advantages(logits, transitions, rewards, discount) / (1 - discount)
    assert ((control - found).abs() > 0.1 * found.abs()).float().mean() > 0.9


def test_second_derivatives_agree_with_difference_quotients():
    logits, transitions, rewards, discount, start = process((), 3, 2)
    inputs = [x.requires_grad_() for x in (logits, transitions, rewards, start)]

    def gradient(z, t, r, s):
        return batched.return_gradient(z, t, r, discount, s)

    assert torch.autograd.gradcheck(gradient, inputs)


def test_forbidden_actions_are_as_if_absent():
    logits, transitions, rewards, discount, start = process()
    wide = torch.nn.functional.pad(logits, (0, 1), value=-torch.inf)
    paid = torch.nn.functional.pad(rewards, (0, 1), value=torch.nan)
    led = torch.nn.functional.pad(transitions, (0, 0, 0, 1), value=torch.nan)
    closed = batched.return_gradient(wide, led, paid, discount, start)
    expected = batched.return_gradient(logits, transitions, rewards, discount, start)
    for found in (closed, autograd(wide, led, paid, discount, start)):
        assert (found[..., -1] == 0).all()
        torch.testing.assert_close(found[..., :-1], expected, rtol=1e-10, atol=1e-12)


def test_shapes_and_types():
    logits, transitions, rewards, discount, start = process((2, 1))
    many = rewards.expand(2, 6, 5, 4)
    assert batched.return_gradient(logits, transitions, many, discount, start).shape == (2, 6, 5, 4)
    assert (
        batched.expected_return(logits[0, 0], transitions[0, 0], rewards[0, 0], discount, start[0, 0]).ndim
        == 0
    )
    meta = [x.to("meta") for x in (logits, transitions, many)]
    assert batched.advantages(*meta, discount).shape == (2, 6, 5, 4)


@pytest.mark.parametrize(
    ("index", "change", "error", "message"),
    [
        (3, lambda x: 1.0, ValueError, r"discount must lie in \[0, 1\); got 1.0"),
        (3, lambda x: -0.5, ValueError, r"discount must lie in \[0, 1\)"),
        (3, lambda x: torch.tensor(0.5), TypeError, "discount must be a number"),
        (1, lambda x: x[..., :2], ValueError, "transitions must have axes"),
        (1, lambda x: x.long(), TypeError, "transitions must be a floating-point tensor"),
        (1, lambda x: torch.stack([x[0]] * 2), ValueError, "Leading axes must broadcast"),
        (0, lambda x: x[0, 0], ValueError, "logits must have axes"),
        (2, lambda x: x[:, :1], ValueError, "rewards must have axes"),
        (4, lambda x: x[..., :2], ValueError, "start_distribution must have axes"),
        (4, lambda x: x.to("meta"), ValueError, "on one device"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_what_is_no_process_is_refused(index, change, error, message):
    arguments = list(process())
    arguments[index] = change(arguments[index])
    with pytest.raises(error, match=message):
        batched.return_gradient(*arguments)


def test_rows_are_looked_at_on_request():
    transitions = process()[1]
    assert batched.check_transitions(transitions) is None
    with pytest.raises(ValueError, match=r"row \(0, 0, 0\) is .* Divide each row by its sum"):
        batched.check_transitions(2 * transitions)
    with pytest.raises(ValueError, match="non-negative"):
        batched.check_transitions(transitions * torch.nan)
