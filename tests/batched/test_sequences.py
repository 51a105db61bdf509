"""Gradients through the sweeps, masked tokens that must not leak, shapes, and what must be refused."""

import pytest
import torch

from entropy_core import batched
from tests.tokens import means_by_loop

torch.set_num_threads(1)

TREE = torch.tensor([[1, 2, -1], [3, -1, 3], [-1, 3, 0], [-1, -1, -1]])
HORIZON = 4
MEANS = {
    "token_mean": batched.token_mean,
    "mean_of_response_means": batched.mean_of_response_means,
    "mean_of_response_sums": batched.mean_of_response_sums,
    "from_entropies": lambda x, mask: batched.sequence_entropy_from_entropies(x, mask).estimate,
    "its error": lambda x, mask: batched.sequence_entropy_from_entropies(x, mask).standard_error,
    "from_log_probs": lambda x, mask: -batched.sequence_entropy_from_log_probs(x, mask).estimate,
}


def table(batch=(3,), dtype=torch.float64):
    """Random logits."""
    draw = torch.Generator().manual_seed(0)
    return 1.5 * torch.randn(*batch, *TREE.shape, generator=draw, dtype=torch.float64).to(dtype)


@pytest.mark.claim("sequence-entropy-slope")
def test_autograd_through_the_sweeps_finds_the_closed_gradient(record_property):
    logits = table((20,)).requires_grad_()
    entropy = batched.sequence_entropy(logits, TREE, HORIZON)
    (found,) = torch.autograd.grad(entropy.sum(), logits)
    closed = batched.sequence_entropy_gradient(logits, TREE, HORIZON)
    error = (found - closed).abs().max().item()
    record_property("largest difference", f"{error:.0e}")
    assert error < 1e-13
    visits = batched.expected_visits(logits, TREE, HORIZON).unsqueeze(-1)
    lemma_alone = visits * batched.entropy_gradient(logits)
    assert (lemma_alone - found).abs().max() > 0.1, "the negative control must differ"


def test_every_quantity_has_the_gradient_of_its_difference_quotients():
    logits = table(()).requires_grad_()
    payment = table((), torch.float64).flip(0).requires_grad_()
    for call in (
        lambda z, r: batched.sequence_entropy(z, TREE, HORIZON),
        lambda z, r: batched.expected_visits(z, TREE, HORIZON),
        lambda z, r: batched.sequence_entropy_gradient(z, TREE, HORIZON),
        lambda z, r: batched.sequence_advantages(z, r, TREE, HORIZON),
        lambda z, r: batched.first_order_sequence_entropy_change(z, r, TREE, HORIZON),
        lambda z, r: batched.entropy_averages(z, TREE, HORIZON),
        lambda z, r: batched.estimator_variances(z, TREE, HORIZON),
    ):
        assert torch.autograd.gradcheck(call, (logits, payment))


def test_forbidden_tokens_are_as_if_absent():
    logits, payment = table(), table().flip(0)
    wide, tree = (
        torch.nn.functional.pad(logits, (0, 1), value=-torch.inf),
        torch.nn.functional.pad(TREE, (0, 1)),
    )
    paid = torch.nn.functional.pad(payment, (0, 1), value=torch.nan)
    for name in ("sequence_entropy", "expected_visits", "entropy_averages", "estimator_variances"):
        call = getattr(batched, name)
        torch.testing.assert_close(call(wide, tree, HORIZON), call(logits, TREE, HORIZON))
    leaf = wide.clone().requires_grad_()
    batched.sequence_entropy(leaf, tree, HORIZON).sum().backward()
    gradient = batched.sequence_entropy_gradient(logits, TREE, HORIZON)
    gain = batched.sequence_advantages(logits, payment, TREE, HORIZON)
    for found, expected in (
        (leaf.grad, gradient),
        (batched.sequence_entropy_gradient(wide, tree, HORIZON), gradient),
        (batched.sequence_advantages(wide, paid, tree, HORIZON), gain),
    ):
        assert (found[..., -1] == 0).all()
        torch.testing.assert_close(found[..., :-1], expected)
    parts = batched.first_order_sequence_entropy_change(wide, paid, tree, HORIZON)
    torch.testing.assert_close(
        parts, batched.first_order_sequence_entropy_change(logits, payment, TREE, HORIZON)
    )


def test_a_state_that_is_never_reached_has_no_advantage():
    logits = table(())
    logits[0, 1] = -torch.inf
    logits[1] = torch.tensor([-torch.inf, 0.0, -torch.inf])
    alone = torch.tensor([[1, 2, -1], [-1, -1, -1], [-1, 3, 0], [-1, -1, -1]])
    payment = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)
    found = batched.sequence_advantages(logits, payment, alone, HORIZON)
    assert (found[2:] == 0).all()
    assert (found[0, [0, 2]] != 0).all()


def responses():
    """Values with NaN behind the ends, a mask, and an empty row."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.tensor([3, 6, 0, 1, 4, 2])
    mask = torch.arange(6) < lengths[:, None]
    values = torch.randn(6, 6, generator=draw, dtype=torch.float64)
    return values.masked_fill(~mask, torch.nan), mask


@pytest.mark.parametrize("name", MEANS)
def test_masked_tokens_reach_neither_value_nor_gradient(name):
    values, mask = responses()
    leaf, looped = (values.clone().requires_grad_() for _ in range(2))
    expected = means_by_loop(looped, mask)
    found, expected = MEANS[name](leaf, mask), expected.get(name, expected["mean_of_response_sums"])
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
    found.backward()
    expected.backward()
    assert (leaf.grad[~mask] == 0).all()
    torch.testing.assert_close(leaf.grad[mask], looped.grad[mask], rtol=1e-12, atol=1e-15)


def test_nothing_counted_and_single_precision():
    values, mask = responses()
    assert batched.token_mean(values, torch.zeros_like(mask)) == 0
    assert batched.mean_of_response_means(values, torch.zeros_like(mask)) == 0
    alone = batched.sequence_entropy_from_entropies(values[:1], mask[:1])
    assert alone.standard_error.isnan()
    torch.testing.assert_close(alone.estimate, values[0, :3].sum())
    half = batched.mean_of_response_sums(values.bfloat16(), mask)
    assert half.dtype == torch.float32
    assert batched.sequence_entropy(table((2, 1), torch.bfloat16), TREE, HORIZON).dtype == torch.float32
    shape = batched.sequence_entropy_gradient(table((2, 1)).to("meta"), TREE.to("meta"), HORIZON).shape
    assert shape == (2, 1, *TREE.shape)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"horizon": 0}, ValueError, "horizon must be at least 1; got 0"),
        ({"horizon": 2.0}, TypeError, "horizon must be an integer; got float"),
        (
            {"next_states": TREE.float()},
            TypeError,
            "next_states must be a tensor of int64; got torch.float32",
        ),
        ({"next_states": TREE[:, :2]}, ValueError, r"next_states \[states, actions\]"),
        ({"next_states": TREE.to("meta")}, ValueError, "on one device"),
        ({"logits": TREE}, TypeError, "got torch.int64. Convert it: logits.float"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_what_is_no_world_is_refused(change, error, message):
    given = {"logits": table(), "next_states": TREE, "horizon": HORIZON} | change
    with pytest.raises(error, match=message):
        batched.sequence_entropy(**given)


@pytest.mark.usefixtures("without_shape_checks")
def test_masks_that_are_none_are_refused():
    values, mask = responses()
    with pytest.raises(TypeError, match="response_mask must be a boolean tensor"):
        batched.token_mean(values, mask.float())
    with pytest.raises(ValueError, match="entropy must have one value a token"):
        batched.sequence_entropy_from_entropies(values[:, :3], mask)
