"""Actions spread over processes: against the same functions of the whole, and every rank told the same.

The processes run once for each number of them, `tests/batched/shards.py`; what they saved is looked at here.
"""

import pytest
import torch
import torch.multiprocessing

from entropy_core import batched
from entropy_core.batched import _simple, sharded
from tests.batched import shards
from tests.batched.test_large import NATS, NEVER, assert_policy_within, policies, step_scale, steps, worst

WORLDS = (2, 4)
POLICIES = tuple(shards.policy_cases(2))


@pytest.fixture(scope="module", params=WORLDS)
def found(request, tmp_path_factory):
    """Return what every rank found."""
    folder = tmp_path_factory.mktemp("ranks")
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.batched.shards"])  # imports torch once for all processes
    torch.multiprocessing.start_processes(
        shards.run, (request.param, str(folder)), nprocs=request.param, start_method="forkserver"
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def simple_gradient(z, tokens, counted, scale):
    """Return the gradient of the ranks' loss by the simple formulas in float64."""
    leaf = z.double().requires_grad_()
    return torch.autograd.grad(shards.loss_of(_simple.policy_values(leaf, tokens, counted, scale)), leaf)[0]


def assert_values_within(values, z, tokens, kept):
    """Hold the values of some rows to the reference; a forbidden token has log-probability −inf."""
    is_allowed = z.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) != NEVER
    assert (values.token_log_probs[kept & ~is_allowed] == NEVER).all()
    some = kept & is_allowed
    assert_policy_within(batched.PolicyMoments(*(v[some] for v in values)), z[some], tokens[some])


def assert_gradient_within(found, exact, dtype):
    """Hold a gradient to what `policy_moments` promises."""
    largest = exact.abs().amax(dim=-1, keepdim=True)
    rounding = 0.0 if dtype == torch.float64 else torch.finfo(dtype).eps / 2 * exact.abs()
    error = (found.double() - exact).abs() - rounding
    assert (error <= (1e-12 if dtype == torch.float64 else 1e-5) * largest).all()


@pytest.mark.claim("moments-merge")
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_that_of_the_whole(found, name):
    z, widths, temperature, mask = shards.policy_cases(len(found))[name]
    counted = torch.ones(len(z), dtype=torch.bool) if mask is None else mask
    tokens = shards.tokens_everywhere(z)
    values = batched.PolicyMoments(*found[0][name][:4])
    assert_values_within(values, z / temperature, tokens, counted)
    assert not any(v[~counted].any() for v in values)
    gradient = torch.cat([f[name][4] for f in found], dim=-1)
    assert [f[name][4].shape[-1] for f in found] == list(widths)
    assert gradient.dtype == z.dtype
    assert_gradient_within(gradient, simple_gradient(z, tokens, counted, 1 / temperature), z.dtype)
    assert not gradient[z == NEVER].any()
    assert not gradient[~counted].any()


def test_tokens_are_on_every_rank_that_has_actions(found):
    world = len(found)
    tokens = shards.tokens_everywhere(policies(2, 37))
    owners = torch.bucketize(tokens, torch.tensor(shards.WIDTHS[world]).cumsum(0), right=True)
    assert set(owners.tolist()) == {rank for rank, width in enumerate(shards.WIDTHS[world]) if width}


@pytest.mark.parametrize("name", [*POLICIES, "step torch.float32", "step blocks", "DTensor"])
def test_every_rank_has_the_same_bits(found, name):
    for other in found[1:]:
        values = slice(4) if name in POLICIES else slice(None)
        pairs = zip(found[0][name][values], other[name][values], strict=True)
        assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in pairs)


@pytest.mark.parametrize("name", ["step torch.float64", "step torch.float32", "step blocks"])
def test_a_step_is_that_of_the_whole(found, name):
    dtype = torch.float64 if "64" in name else torch.float32
    widths = (shards.WIDE if "blocks" in name else shards.WIDTHS)[len(found)]
    z = policies(4, sum(widths), dtype)
    exact = batched.step_moments(z.double(), steps(z).double())
    values = dict(zip(exact._fields, found[0][name], strict=True))
    assert {v.dtype for v in values.values()} == {dtype}
    scale = step_scale(z, steps(z)).clamp(min=1e-300)
    for key, value in values.items():
        at = 1 + exact.mean.abs() if key in ("mean", "entropy") else scale
        assert worst(value, getattr(exact, key), at) <= NATS[dtype], key


def test_a_given_buffer_receives_the_gradient_of_the_shard(found):
    for rank, each in enumerate(found):
        gradient, into = each["buffer"]
        assert torch.equal(gradient, into)
        assert torch.equal(gradient, each["float32"][4])
        assert gradient.shape[-1] == shards.WIDTHS[len(found)][rank]


@pytest.mark.parametrize("name", ["DTensor", "DTensor, two copies"])
def test_a_dtensor_brings_its_shard_its_group_and_its_place(found, name):
    if name not in found[0]:
        assert len(found) == 2, "two copies of two shards need four processes"
        return
    gradient = found[0][name][4]
    z = policies(2, gradient.shape[-1], torch.float64)
    tokens, counted = shards.tokens_everywhere(z), torch.ones(len(z), dtype=torch.bool)
    is_policy = (z != NEVER).any(-1)
    assert_values_within(batched.PolicyMoments(*found[0][name][:4]), z, tokens, is_policy)
    exact = simple_gradient(z, tokens, counted, 1.0)
    assert_gradient_within(gradient[is_policy], exact[is_policy], torch.float64)
    happened = batched.step_moments(z, steps(z))
    for ours, theirs in zip(found[0][name][5:], happened, strict=True):
        assert worst(ours[is_policy], theirs[is_policy], 1 + theirs[is_policy].abs()) <= 1e-12


NCCL = pytest.param(
    "nccl",
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")],
)


@pytest.mark.parametrize(("backend", "device"), [("gloo", "cpu"), NCCL])
def test_a_backend_and_a_device_give_the_whole(backend, device, tmp_path):
    world = max(1, torch.cuda.device_count()) if device == "cuda" else 2
    arguments = world, str(tmp_path), backend, device
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.batched.shards"])
    torch.multiprocessing.start_processes(
        shards.on_device, arguments, nprocs=world, start_method="forkserver"
    )
    for rank in range(world):
        for name, (ours, whole) in torch.load(tmp_path / f"{rank}.pt").items():
            for value, expected in zip(ours, whole, strict=True):
                assert value.dtype == expected.dtype
                close = 1e-5 if expected.dtype == torch.float32 else torch.finfo(expected.dtype).eps
                torch.testing.assert_close(value, expected, rtol=close, atol=close, equal_nan=True, msg=name)


def test_a_token_that_no_rank_has_is_nan(found):
    log_probs = found[0]["token of no rank"][3]
    assert log_probs.isnan().tolist() == [True, False, True]
    assert log_probs[1].item() == pytest.approx(-torch.tensor(4.0 * len(found)).log().item())


def test_one_exchange_of_facts_and_one_of_states(found):
    rows = len(policies(2, 37))
    assert all(each["exchanges"] == [len(sharded.FACTS), 5 * rows] for each in found)


@pytest.mark.parametrize(
    ("name", "at_fault"),
    [
        ("tokens of one rank", "TypeError: tokens must be a tensor of int64"),
        ("logits of one rank", "TypeError: logits_shard must be float64, float32"),
        ("no tensor on one rank", "TypeError: logits_shard must be a torch.Tensor"),
        ("temperature of one rank", "ValueError: temperature must be positive"),
    ],
)
def test_a_refusal_on_one_rank_reaches_all(found, name, at_fault):
    assert found[1][name].startswith(at_fault)
    for rank, each in enumerate(found):
        assert rank == 1 or each[name].startswith("RuntimeError: Ranks [1] of the group refused")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("temperatures", "RuntimeError: All ranks must agree on the 1/temperature; got [1.0, 0.5"),
        ("rows", "RuntimeError: All ranks must agree on the number of rows; got [3.0, 2.0"),
        ("types", "RuntimeError: All ranks must agree on the type; got [torch.float32, torch.float64"),
        ("wrong buffer", "ValueError: gradient_buffer must be like logits"),
        ("placement", "ValueError: A DTensor must be sharded on its last axis, the actions"),
        ("group of a DTensor", "TypeError: A DTensor brings its own group"),
        ("one DTensor", "TypeError: logits_shard and delta_logits_shard must both be DTensors"),
        ("gradient of a step", "ValueError: Gradients of a step over shards are not offered"),
        ("second derivative", "RuntimeError: Over shards a gradient cannot be differentiated again"),
    ],
)
def test_every_rank_is_told(found, name, says):
    assert all(each[name].startswith(says) for each in found)


def test_only_the_group_may_call(found):
    assert found[0]["not in the group"] == "nothing"
    assert all(e["not in the group"].startswith("RuntimeError: This process is not in") for e in found[1:])


def test_without_processes_the_error_says_what_to_use():
    with pytest.raises(RuntimeError, match=r"batched\.policy_moments"):
        sharded.sharded_policy_moments(torch.zeros(1, 2), torch.tensor([0]))
