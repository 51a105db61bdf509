"""What is refused unseen, what an explicit look refuses, and what unseen garbage yields."""

import pytest
import torch

from entropy_core import batched
from tests.batched.calls import CALLS, NAN, NEVER, SMOOTH

INF = float("inf")
TWO = torch.zeros(2)


@pytest.mark.parametrize(
    ("logits", "error", "message"),
    [
        ([0.0, 1.0], TypeError, r"logits must be a torch.Tensor; got list. Use torch.as_tensor\(logits\)"),
        (
            torch.tensor([0, 1]),
            TypeError,
            r"logits must be float64.*got torch.int64. Convert it: logits.float",
        ),
        (torch.tensor([0j, 1j]), TypeError, "got torch.complex64"),
        (torch.tensor(0.0), ValueError, r"at least one action on its last axis; got shape \(\)"),
        (torch.zeros(3, 0), ValueError, r"at least one action on its last axis; got shape \(3, 0\)"),
    ],
)
@pytest.mark.parametrize(
    "name",
    ["log_probs", "probs", "entropy", "varentropy", "entropy_gradient", "fisher", "fisher_pseudo_inverse"],
)
def test_logits_that_are_no_policy_are_refused(without_shape_checks, name, logits, error, message):
    with pytest.raises(error, match=message):
        getattr(batched, name)(logits)


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (torch.zeros(3), ValueError, r"same number of actions on their last axis; got .*\(3,\)"),
        (torch.zeros(1), ValueError, "Leading axes broadcast, the action axis does not"),
        (torch.zeros(3, 2), ValueError, r"Leading axes must broadcast; got .*\(3, 2\)"),
        (torch.zeros(2, device="meta"), ValueError, "on one device; got .* on meta"),
        (torch.tensor([0, 1]), TypeError, "got torch.int64"),
        (0.5, TypeError, "got float"),
    ],
)
@pytest.mark.parametrize("name", [n for n in CALLS if "change" in n or "covariance" in n or "delta" in n])
def test_arguments_that_do_not_fit_are_refused(without_shape_checks, name, other, error, message):
    logits = torch.zeros(4, 2) if isinstance(other, torch.Tensor) and other.ndim == 2 else TWO
    with pytest.raises(error, match=message):
        CALLS[name](logits, other, other)


@pytest.mark.parametrize(
    ("step_size", "error", "message"),
    [
        (INF, ValueError, "step_size must be finite; got inf"),
        (NAN, ValueError, "step_size must be finite; got nan"),
        (True, TypeError, "got bool"),
        ("fast", TypeError, "got str"),
        (torch.tensor(1), TypeError, "got torch.int64"),
        (torch.ones(3), ValueError, r"Leading axes must broadcast; got step_size \(3,\), logits \(5, 2\)"),
    ],
)
@pytest.mark.parametrize("name", ["policy_gradient_delta_logits", "natural_gradient_delta_logits"])
def test_step_sizes_that_are_no_number_are_refused(without_shape_checks, name, step_size, error, message):
    with pytest.raises(error, match=message):
        getattr(batched, name)(torch.zeros(5, 2), torch.zeros(5, 2), step_size)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([NAN, 0.0], r"every logit must be a number; got NaN in row \(0, 1\) \(1 such rows\)"),
        ([INF, 0.0], r"logits must be below \+inf; got \+inf in row \(0, 1\)"),
        ([NEVER, NEVER], r"at least one allowed action; got only −inf in row \(0, 1\)"),
    ],
)
def test_check_logits_names_the_row(bad, message):
    with pytest.raises(ValueError, match=message):
        batched.check_logits(torch.tensor([[[0.0, NEVER], bad]]))


@pytest.mark.parametrize("bad", [NAN, INF, NEVER])
def test_check_delta_logits_looks_at_allowed_actions_only(bad):
    logits = torch.tensor([[0.0, NEVER], [0.0, 1.0]])
    assert batched.check_delta_logits(logits, torch.tensor([0.0, 0.0])) is None
    assert batched.check_delta_logits(logits[0], torch.tensor([0.0, bad])) is None
    with pytest.raises(ValueError, match=r"finite at allowed actions; .* in row \(1,\) \(1 such rows\)"):
        batched.check_delta_logits(logits, torch.tensor([0.0, bad]))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("bad", [[INF, 0.0, 1.0], [NAN, 0.0, 1.0], [NEVER] * 3, [INF, NAN, NEVER]])
def test_a_row_that_is_no_policy_gives_nan_and_touches_no_other(name, bad):
    logits = torch.tensor([bad, [0.0, 1.0, 2.0]])
    values = torch.tensor([[0.0, 0.3, 0.1]] * 2)
    result = CALLS[name](logits, values, values)
    assert result[0].isnan().all()
    assert torch.equal(result[1:], CALLS[name](logits[1:], values[1:], values[1:]))
    assert not result[1].isnan().any()


@pytest.mark.parametrize("name", [n for n in CALLS if "change" in n or "covariance" in n])
@pytest.mark.parametrize("bad", [INF, NEVER, NAN])
def test_a_step_that_is_not_finite_gives_nan(name, bad):
    values = torch.tensor([0.0, bad, 0.2])
    assert CALLS[name](torch.tensor([0.0, 1.0, 2.0]), values, values).isnan()


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_results_have_the_accumulating_type_and_gradients_that_of_their_tensor(name, dtype):
    z = torch.tensor([[0.0, 1.0, NEVER]], dtype=dtype, requires_grad=True)
    values = torch.tensor([0.0, 0.5, NAN], dtype=dtype)
    result = CALLS[name](z, values, values)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.autograd.grad(result[..., 0].sum(), z)[0].dtype == dtype


def test_mixed_types_accumulate_in_the_widest():
    z, u = torch.zeros(2, dtype=torch.bfloat16), torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert batched.entropy_change(z, u).dtype == torch.float64
    assert batched.entropy_change(z, u.half()).dtype == torch.float32
