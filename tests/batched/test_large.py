"""Large logits are read once: against the simple formulas in float64, at the edges, and what is kept.

The threshold is lowered so that small arrays take the way of large ones, by kernels and by torch alone.
"""

import mpmath
import numpy as np
import pytest
import torch

from entropy_core import batched, reference
from entropy_core.batched import _large, _one_read, _simple, _sums
from entropy_core.batched.kernels import _rows as kernels
from tests.batched.calls import NAN, NEVER

NATS = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-6, torch.float16: 2e-6}


def without_kernels(monkeypatch):
    """Read large logits as where there is no compiler."""
    monkeypatch.setattr(kernels, "serve", lambda *tensors: False)


@pytest.fixture(params=["kernels", "torch"])
def read_once(request, monkeypatch):
    """Make every input large, for the compiled kernels and for torch without a compiler."""
    monkeypatch.setattr(_one_read, "LARGE", 1)
    if request.param == "torch":
        without_kernels(monkeypatch)
    elif kernels.library() is None:
        pytest.skip("there is no C++ compiler here")


def policies(rows, actions, dtype=torch.float32, seed=0):
    """Return logits: ordinary, peaked, nearly collapsed, offset, two ways half forbidden, tied."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, actions, generator=generator, dtype=torch.float64)
    kinds = [
        2 * z,
        8 * z,
        torch.where(torch.arange(actions) == actions // 2, 25.0, z),
        2 * z + (1e4 if dtype in (torch.float32, torch.float64) else 0.0),
        torch.where(torch.arange(actions) % 2 == 0, NEVER, 2 * z),
        torch.where(torch.arange(actions) < actions // 2, NEVER, 2 * z),
        z.round(),
    ]
    return torch.cat(kinds).to(dtype)


def rows_of(dtype, actions, seed=0):
    """Return logits and steps: ordinary, peaked, half forbidden in two ways, tied, offset, equal, none."""
    generator = torch.Generator().manual_seed(seed)
    z, u = torch.randn(2, 9, actions, generator=generator, dtype=torch.float64)
    z[1] *= 8
    z[2, ::2] = NEVER
    z[3, : actions // 2] = NEVER
    z[4, actions // 2 :] = NEVER
    z[5] = z[5].round()
    z[6] += 200.0
    z[7] = 0.0
    z[8] = NEVER
    u *= torch.tensor([0.01, 0.5, 0.1, 1e-4, 0.1, 0.1, 0.5, 0.1, 0.1])[:, None]
    u[z == NEVER] = NAN
    return z.to(dtype), u.to(dtype)


def steps(logits, seed=1):
    """Return one step a row, of range below 1 and above 1 in turn; NaN at forbidden actions."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(logits.shape, generator=generator, dtype=torch.float64)
    sizes = torch.tensor([1e-6, 0.05, 3.0, 0.05])[torch.arange(len(logits)) % 4]
    return torch.where(logits == NEVER, NAN, (u * sizes[:, None]).to(logits.dtype))


def tokens_of(logits, seed=2):
    """Return allowed tokens, the mode in every third row."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial((logits != NEVER).float(), 1, generator=generator).squeeze(-1)
    return torch.where(torch.arange(len(logits)) % 3 == 0, logits.argmax(-1), drawn)


def worst(found, expected, scale=1.0):
    """Return the largest error relative to a scale."""
    return ((found.double() - expected).abs() / scale).max().item()


def assert_policy_within(found, z, tokens):
    """Hold the four values to the reference."""
    exact = reference.policy_moments(z.double().numpy(), tokens.numpy())
    nats = NATS[z.dtype]
    for name, value in zip(found._fields, found, strict=True):
        expected = torch.from_numpy(getattr(exact, name))
        half_ulp = torch.finfo(value.dtype).eps / 2 * expected.abs()
        allowed = torch.clamp(half_ulp * (1 + 1e-3), min=nats)
        assert worst(value, expected, allowed * (10 if name == "varentropy" else 1)) <= 1, name
    entropy = torch.from_numpy(exact.entropy)
    slips = (found.entropy.double() - entropy).abs()[entropy >= 1e-6]
    assert (slips <= 1e-3 * entropy[entropy >= 1e-6]).all()


@pytest.mark.usefixtures("read_once")
@pytest.mark.claim("one-read-accuracy")
@pytest.mark.parametrize("actions", [1, 2, 7, 1000, 2048, 2049, 5003])
@pytest.mark.parametrize("dtype", NATS)
def test_values_of_a_policy(record_property, dtype, actions):
    z = policies(2, actions, dtype)
    z = z[(z != NEVER).any(dim=-1)]
    tokens = tokens_of(z)
    found = batched.policy_moments(z, tokens)
    assert_policy_within(found, z, tokens)
    if dtype != torch.float64:
        exact = torch.from_numpy(reference.entropy(z.double().numpy()))
        record_property("largest error of an entropy in nats", f"{worst(found.entropy, exact):.0e}")


def step_scale(z, u):
    """Return the scale, one number a row, on which the errors of a step's values are promised."""
    allowed, log_actions = torch.where(z == NEVER, 0.0, u).double(), np.log(z.shape[-1])
    size = (allowed - allowed.gather(-1, z.argmax(-1, keepdim=True))).abs().amax(-1)
    return torch.where(size <= 0.5, size * (1 + log_actions), (size + 1) * (size + log_actions))


def assert_step_within(found, z, u):
    """Hold the seven values of a step to the reference."""
    exact = reference.step_moments(z.double().numpy(), u.double().nan_to_num(0).numpy())
    scale = step_scale(z, u).clamp(min=1e-300)
    for name, value in zip(found._fields, found, strict=True):
        at = torch.ones(()) if name == "entropy" else scale
        at = at + torch.from_numpy(np.abs(exact.mean)) if name == "mean" else at
        expected = torch.from_numpy(np.asarray(getattr(exact, name)))
        assert worst(value, expected, at) <= NATS[z.dtype], name


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("actions", [2, 7, 2049, 5003])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_values_of_a_step(dtype, actions):
    z = policies(4, actions, dtype)
    z = z[(z != NEVER).any(dim=-1)]
    u = steps(z)
    assert_step_within(batched.step_moments(z, u), z, u)


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gradients_of_a_policy(dtype):
    z = policies(2, 1500, dtype)
    tokens, counted = tokens_of(z), torch.arange(len(z)) % 5 != 1
    weights = torch.randn(4, len(z), dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def gradient(values_of, logits):
        logits = logits.detach().requires_grad_()
        values = values_of(logits)
        total = sum((w * v.double()).sum() for w, v in zip(weights, values, strict=True))
        return torch.autograd.grad(total, logits)[0]

    found = gradient(lambda x: batched.policy_moments(x, tokens, 0.5, counted), z).double()
    exact = gradient(lambda x: _simple.policy_values(x, tokens, counted, 2.0), z.double())
    largest = exact.abs().amax(dim=-1, keepdim=True)
    rounding = 0.0 if dtype == torch.float64 else torch.finfo(dtype).eps / 2 * exact.abs()
    error = (found - exact).abs() - rounding
    assert (error <= (1e-12 if dtype == torch.float64 else 1e-5) * largest).all()
    visible = exact.abs() > 1e-3 * largest
    assert (error[visible] <= 1e-3 * exact.abs()[visible]).all()
    assert not found[~counted].any()
    assert not found[z == NEVER].any()


@pytest.mark.usefixtures("read_once")
def test_entropy_gradient_of_a_nearly_collapsed_row_keeps_its_digits():
    z = torch.full((3, 4000), -30.0, dtype=torch.float32)
    z[:, 5] = torch.tensor([0.0, -8.0, -15.0])
    z.requires_grad_()
    entropy = batched.entropy(z)
    (found,) = torch.autograd.grad(entropy.sum(), z)
    exact = torch.from_numpy(reference.entropy_gradient(z.detach().double().numpy()))
    assert (exact.abs().amax(-1)[0] < 1e-6).item()
    assert worst(found, exact, exact.abs().amax(-1, keepdim=True)) <= 1e-5


@pytest.mark.usefixtures("read_once")
def test_gradients_of_a_step_are_those_of_the_simple_formulas():
    z = policies(1, 300, torch.float64)
    u = steps(z)
    for index, formula in enumerate(_simple.STEP_VALUES[:-1]):
        leaves = [x.detach().clone().requires_grad_() for x in (z, u)]
        found = torch.autograd.grad(batched.step_moments(*leaves)[index].sum(), leaves)
        expected = torch.autograd.grad(formula(*leaves).sum(), leaves)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.usefixtures("read_once")
def test_the_gradient_has_a_gradient():
    z = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).requires_grad_()
    u = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_()
    tokens = torch.tensor([0, 4, 2])
    assert torch.autograd.gradcheck(lambda x: batched.policy_moments(x, tokens), (z,))
    assert torch.autograd.gradgradcheck(lambda x: batched.policy_moments(x, tokens), (z,))
    assert torch.autograd.gradcheck(lambda x, y: tuple(batched.step_moments(x, y)), (z, u))
    assert torch.autograd.gradgradcheck(batched.entropy_change, (z, u))


@pytest.mark.usefixtures("read_once")
def test_rows_that_do_not_count_may_hold_anything():
    z = policies(1, 50).requires_grad_()
    tokens, counted = torch.zeros(len(z), dtype=torch.int64), torch.arange(len(z)) > 1
    with torch.no_grad():
        z[0], z[1] = NAN, NEVER
    moments = batched.policy_moments(z, tokens, response_mask=counted)
    assert all(not value[:2].any() for value in moments)
    assert not torch.autograd.grad(moments.entropy.sum(), z)[0][:2].any()


@pytest.mark.parametrize("large", [1, _one_read.LARGE])
@pytest.mark.parametrize("dtype", NATS)
def test_the_lowest_number_of_a_type_forbids_as_well(monkeypatch, dtype, large):
    """Masks are often written with it; it overflows when squared."""
    monkeypatch.setattr(_one_read, "LARGE", large)
    z, u = policies(1, 5000, dtype), torch.ones(7, 5000, dtype=dtype)
    u[:, :2000:3] = 3.0
    lowest = z.clone()
    z[:, 3000:], lowest[:, 3000:] = NEVER, torch.finfo(dtype).min
    tokens = tokens_of(z)
    z, lowest = z.requires_grad_(), lowest.requires_grad_()
    for of in (lambda x: batched.policy_moments(x, tokens), lambda x: batched.step_moments(x, u)):
        for a, b in zip(of(lowest), of(z), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    total = [sum(x.sum() for x in batched.policy_moments(logits, tokens)) for logits in (lowest, z)]
    gradients = torch.autograd.grad(sum(total), (lowest, z))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("bad", [NAN, float("inf"), NEVER])
def test_a_row_that_is_no_policy_gives_nan_and_touches_no_other(bad):
    z = torch.zeros(3, 3000)
    z[1] = bad if bad == NEVER else z[1]
    z[1, 2500] = bad
    moments = batched.policy_moments(z, torch.zeros(3, dtype=torch.int64))
    assert moments.entropy[1].isnan()
    torch.testing.assert_close(moments.entropy[[0, 2]], torch.full((2,), np.log(3000), dtype=torch.float32))


@pytest.mark.usefixtures("read_once")
def test_a_given_buffer_receives_the_gradient_and_nothing_else_is_kept():
    z = policies(2, 3000).requires_grad_()
    buffer, kept = torch.full_like(z, NAN), []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        moments = batched.policy_moments(z * 1.0, tokens_of(z.detach()), gradient_buffer=buffer)
    beside = [t for t in kept if t.shape != z.shape]
    assert sum(t.numel() for t in beside) <= 8 * len(z)
    assert len(kept) == len(beside) + 1
    moments.entropy.sum().backward()
    expected = torch.autograd.grad(batched.entropy(z).sum(), z)[0]
    torch.testing.assert_close(buffer, expected, rtol=1e-6, atol=1e-9)
    assert torch.equal(z.grad, buffer)


BAD = {
    "tokens of floats": ({"tokens": torch.zeros(2)}, TypeError, "integer|int64"),
    "tokens of another shape": ({"tokens": torch.zeros(3, dtype=torch.int64)}, ValueError, "one value a row"),
    "a mask of numbers": ({"response_mask": torch.ones(2)}, TypeError, "must be boolean"),
    "a mask of another shape": ({"response_mask": torch.ones(1, 2) > 0}, ValueError, "one value a row"),
    "temperature 0": ({"temperature": 0.0}, ValueError, "positive and finite"),
    "temperature below 0": ({"temperature": -1.0}, ValueError, "positive and finite"),
    "temperature without end": ({"temperature": float("inf")}, ValueError, "positive and finite"),
    "temperature with no reciprocal": ({"temperature": 1e-300}, ValueError, "positive and finite"),
    "a truth as temperature": ({"temperature": True}, TypeError, "must be a number"),
    "a buffer of another shape": ({"gradient_buffer": torch.zeros(2, 4)}, ValueError, "like logits"),
    "a buffer of another type": ({"gradient_buffer": torch.zeros(2, 3).double()}, ValueError, "like logits"),
    "a buffer with strides": ({"gradient_buffer": torch.zeros(3, 2).t()}, ValueError, "contiguous"),
}


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_are_refused(what):
    changed, kind, says = BAD[what]
    arguments = {"logits": torch.zeros(2, 3), "tokens": torch.zeros(2, dtype=torch.int64)} | changed
    with pytest.raises(kind, match=says):
        batched.policy_moments(**arguments)


@pytest.mark.usefixtures("without_shape_checks")
def test_a_buffer_that_shares_memory_is_refused():
    z = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="share memory"):
        batched.policy_moments(z, torch.zeros(2, dtype=torch.int64), gradient_buffer=z.view(2, 3))


@pytest.mark.usefixtures("read_once")
def test_strides_do_not_matter():
    z = policies(2, 2100)
    tokens = tokens_of(z)
    expected = batched.policy_moments(z, tokens)
    for strided in (z.t().contiguous().t(), torch.stack([z, z], -1).flatten(-2)[:, ::2]):
        assert not strided.is_contiguous()
        for a, b in zip(batched.policy_moments(strided, tokens), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    shaped = batched.policy_moments(z.reshape(2, -1, 2100), tokens.reshape(2, -1))
    assert torch.equal(shaped.entropy.flatten(), expected.entropy)


@pytest.mark.usefixtures("read_once")
def test_the_gradient_of_permuted_rows_is_the_permuted_gradient():
    z = policies(2, 2100).reshape(2, 7, 2100)
    permuted = z.transpose(0, 1).requires_grad_()
    assert not permuted.is_contiguous()
    (found,) = torch.autograd.grad(batched.entropy(permuted).sum(), permuted)
    (expected,) = torch.autograd.grad(batched.entropy(z.requires_grad_()).sum(), z)
    assert torch.equal(found.transpose(0, 1), expected)


@pytest.mark.usefixtures("read_once")
@pytest.mark.claim("moments-merge")
@pytest.mark.parametrize("cuts", [1, 2, 5, 40])
def test_states_merge_in_any_order_and_grouping(record_property, cuts):
    """Cut rows at random, merge by twos in a random order; states of no action stand among them."""
    rng = np.random.default_rng(cuts)
    z = policies(2, 400, torch.float64)
    u = steps(z)
    whole = _large.step_moments_of(_one_read.step_sums(z, u))
    edges = np.sort(rng.choice(np.arange(401), cuts + 1))
    edges[[0, -1]] = 0, 400
    states = [
        _sums.step_state([t.unsqueeze(-1) for t in _sums.step_terms(z[:, a:b], u[:, a:b])])
        if b > a
        else _nothing(len(z))
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    while len(states) > 1:
        x, y = (states.pop(rng.integers(len(states))) for _ in range(2))
        states.append(_map(lambda t: t.unsqueeze(-1), _sums.merge_step(_map(torch.cat, x, y))))
    merged = _large.step_moments_of(_map(lambda t: t.squeeze(-1), states[0]))
    error = np.max([worst(a, b, 1 + b.abs()) for a, b in zip(merged, whole, strict=True)])
    record_property("largest error after merging", f"{error:.1e}")
    assert error <= 1e-12


def _nothing(rows):
    """Return the state of forbidden actions only."""
    z = torch.full((rows, 1), NEVER, dtype=torch.float64)
    return _sums.step_state([t.unsqueeze(-1) for t in _sums.step_terms(z, torch.full_like(z, NAN))])


def _map(function, *states):
    """Apply a function to every field; with two states to the list of both, along the last axis."""
    if isinstance(states[0], tuple):
        return type(states[0])(*(_map(function, *fields) for fields in zip(*states, strict=True)))
    return function(list(states), dim=-1) if len(states) > 1 else function(states[0])


@pytest.mark.claim("one-read-accuracy")
@pytest.mark.parametrize("by", ["kernels", "torch"])
def test_at_vocabulary_size(monkeypatch, by):
    if by == "torch":
        without_kernels(monkeypatch)
    z = policies(6, 100_003).requires_grad_()
    assert _one_read.is_large(z)
    tokens = tokens_of(z.detach())
    moments = batched.policy_moments(z, tokens)
    every_sixth = _map(lambda x: x.detach()[::6], moments)
    assert_policy_within(every_sixth, z.detach()[::6], tokens[::6])
    (found,) = torch.autograd.grad(moments.entropy.sum(), z)
    exact = torch.from_numpy(reference.entropy_gradient(z.detach()[::6].double().numpy()))
    assert worst(found[::6], exact, exact.abs().amax(-1, keepdim=True)) <= 1e-5


def test_where_torch_does_not_compile_it_is_said_once_and_done_without(monkeypatch):
    def refuse(*arguments):
        raise torch._inductor.exc.InductorError(RuntimeError("no compiler"), None)

    without_kernels(monkeypatch)
    monkeypatch.setattr(_one_read, "_compiles", lambda *tensors: _one_read._compiler.works)
    monkeypatch.setattr(_one_read._compiler, "works", True)
    monkeypatch.setattr(_one_read, "_compiled", lambda function: refuse)
    monkeypatch.setattr(_one_read, "LARGE", 1)
    z = torch.zeros(2, _one_read.CACHED)
    with pytest.warns(RuntimeWarning, match="torch.compile does not work here"):
        entropy = batched.entropy(z)
    torch.testing.assert_close(entropy, torch.full((2,), np.log(z.shape[-1]), dtype=torch.float32))
    assert not _one_read._compiler.works


@pytest.mark.parametrize("actions", [1, 1000, 2048, 2049, 32000, 50257, 128256, 151936])
def test_blocks_leave_a_short_rest(actions):
    length = _one_read.block_length(actions)
    assert length <= _one_read.LONGEST_BLOCK
    assert actions % length <= actions // 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exponentials_by_powers_of_two_keep_their_bound(dtype):
    """e^a to (1 + |a|) ulp of itself, truth from mpmath; 1 at a mode, 0 at a forbidden action."""
    a = -torch.cat(
        [torch.logspace(-9, 0, 300), torch.linspace(1, 87 if dtype == torch.float32 else 700, 700)]
    )
    a = a.to(dtype)
    with mpmath.workdps(40):
        truth = torch.tensor([float(mpmath.exp(mpmath.mpf(v))) for v in a.tolist()], dtype=torch.float64)
    slip = (_sums.exponentials(a).double() - truth).abs() / truth
    assert (slip <= torch.finfo(dtype).eps * (1 + a.abs())).all()
    assert _sums.exponentials(
        torch.tensor([0.0, -200.0 if dtype == torch.float32 else -800.0], dtype=dtype)
    ).tolist() == [1, 0]
