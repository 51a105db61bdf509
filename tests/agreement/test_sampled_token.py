"""One sampled token: reference against the oracle, batched against reference, both against a loop."""

import math

import mpmath
import numpy as np
import pytest
import torch

from entropy_core import batched, reference, symbolic
from tests.agreement.cases import SIZES, hard_policies, policies
from tests.agreement.oracle import DIGITS, SCORE, X, error_ratio, scale, truth

torch.set_num_threads(1)

POLICIES = {f"{n} {name}": z for n in SIZES for name, z in policies(n)} | dict(hard_policies())
FEW = ("1000 offset -1e4", "1000 every third forbidden")
FEWER = {name: z for name, z in POLICIES.items() if z.size <= 17 or name in FEW}
every_policy = pytest.mark.parametrize("z", POLICIES.values(), ids=POLICIES.keys())
most_policies = pytest.mark.parametrize("z", FEWER.values(), ids=FEWER.keys())
NAN, NEVER = np.nan, -np.inf


def places(z):
    """The most and the least likely allowed action and one between."""
    allowed = np.flatnonzero(np.isfinite(z))
    ordered = allowed[z[allowed].argsort()]
    return sorted({int(ordered[0]), int(ordered[len(ordered) // 2]), int(ordered[-1])})


@most_policies
def test_step_and_rate_are_as_accurate_as_promised(record_property, z):
    worst = 0.0
    for token in places(z):
        chosen = np.where(np.arange(z.size) == token, 1.0, 0.0)
        step = truth(X - symbolic.probs, logits=z, x=chosen)
        change = -truth(symbolic.Cov(symbolic.log_probs, X - symbolic.probs), logits=z, x=chosen)
        terms = scale(SCORE, X - symbolic.probs, logits=z, x=chosen)
        args = (z, np.array(token), np.array(1.0), 1.0)
        worst = max(
            worst,
            error_ratio(reference.sampled_token_delta_logits(*args), step, 1e-12 * abs(step)),
            error_ratio(reference.sampled_token_first_order_entropy_change(*args), change, 1e-12 * terms),
        )
    record_property("largest error, in units of what is promised", f"{worst:.1e}")
    assert worst <= 1


@pytest.mark.claim("neutral-probability")
@every_policy
def test_neutral_probability_is_lamberts(z):
    covariance = symbolic.Cov(symbolic.probs, symbolic.log_probs)
    with mpmath.workdps(DIGITS):
        nats = truth(symbolic.entropy, logits=z)
        exact = mpmath.exp(mpmath.lambertw(truth(covariance, logits=z) * mpmath.exp(nats)).real - nats)
    neutral = reference.entropy_neutral_probability(z)
    assert error_ratio(neutral, exact, 1e-12 * exact) <= 1
    assert math.exp(-reference.entropy(z)) <= neutral * (1 + 1e-12)
    assert neutral <= reference.probs(z).max() * (1 + 1e-12)


@every_policy
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_layers_agree(dtype, z):
    if dtype == torch.float32 and np.ptp(z[np.isfinite(z)]) > 80:
        return
    promised = 1e-12 if dtype == torch.float64 else 1e-5
    tensor = torch.tensor(z).to(dtype)
    z = tensor.double().numpy()
    tokens = np.array(places(z))
    rows, advantages = np.tile(z, (len(tokens), 1)), np.linspace(-1.5, 2.0, len(tokens))
    advantages = torch.tensor(advantages).to(dtype).double().numpy()
    ours = (rows, tokens, advantages, 0.5)
    theirs = (tensor.expand(len(tokens), -1), torch.tensor(tokens), torch.tensor(advantages).to(dtype), 0.5)
    step = reference.sampled_token_delta_logits(*ours)
    other = batched.sampled_token_delta_logits(*theirs).double().numpy()
    np.testing.assert_array_less(abs(other - step), promised * abs(step) + 1e-300)
    p, log_pi = reference.probs(z), np.where(np.isfinite(z), reference.log_probs(z), 0.0)
    terms = (p * abs(log_pi + reference.entropy(z)) * abs(step)).sum(-1)
    change = reference.sampled_token_first_order_entropy_change(*ours)
    other = batched.sampled_token_first_order_entropy_change(*theirs).double().numpy()
    np.testing.assert_array_less(abs(other - change), 2 * promised * terms + promised * abs(change) + 1e-300)
    neutral = batched.entropy_neutral_probability(tensor).double().numpy()
    np.testing.assert_allclose(neutral, reference.entropy_neutral_probability(z), rtol=promised)


def token_batch():
    """Two responses of three tokens over four actions; what does not count is NaN."""
    rng = np.random.default_rng(5)
    logits, advantages = 2 * rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3))
    tokens, mask = rng.integers(0, 4, (2, 3)), np.array([[True, True, False], [True, False, False]])
    logits[~mask], advantages[~mask] = NAN, NAN
    return logits, tokens, advantages, mask


def naive(logits, token, advantage, step_size):
    """ΔH to first order of one token, written out action by action."""
    total = sum(math.exp(x) for x in logits)
    p = [math.exp(x) / total for x in logits]
    nats = -sum(x * math.log(x) for x in p)
    mean = sum(x * x * (math.log(x) + nats) for x in p)
    return -step_size * advantage * (p[token] * (math.log(p[token]) + nats) - mean)


def test_tokens_of_a_batch_are_those_of_a_loop_and_masked_ones_give_zero():
    logits, tokens, advantages, mask = token_batch()
    change = reference.sampled_token_first_order_entropy_change(logits, tokens, advantages, 0.1, mask)
    for place in np.ndindex(mask.shape):
        expected = naive(logits[place], tokens[place], advantages[place], 0.1) if mask[place] else 0.0
        assert change[place] == pytest.approx(expected, rel=1e-12)
    tensors = [torch.tensor(x) for x in (logits, tokens, advantages)]
    other = batched.sampled_token_first_order_entropy_change(*tensors, 0.1, torch.tensor(mask))
    np.testing.assert_allclose(other, change, rtol=1e-12)
    step = batched.sampled_token_delta_logits(*tensors, 0.1, torch.tensor(mask))
    np.testing.assert_allclose(
        step, reference.sampled_token_delta_logits(logits, tokens, advantages, 0.1, mask), rtol=1e-12
    )
    assert not step[~torch.tensor(mask)].any()


def test_nothing_flows_back_from_a_masked_token():
    logits, tokens, advantages, mask = token_batch()
    leaves = [torch.tensor(x, requires_grad=True) for x in (logits, advantages)]
    counted = torch.tensor(mask)
    args = (leaves[0], torch.tensor(tokens), leaves[1], 0.1, counted)
    batched.sampled_token_first_order_entropy_change(*args).sum().backward()
    for leaf in leaves:
        assert not leaf.grad[~counted].any()
        assert leaf.grad[counted].isfinite().all()
        assert leaf.grad[counted].any()


@pytest.mark.parametrize("name", ["sampled_token_delta_logits", "sampled_token_first_order_entropy_change"])
def test_gradients_are_those_of_difference_quotients(name):
    torch.manual_seed(0)
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    advantages = torch.randn(3, dtype=torch.float64, requires_grad=True)
    tokens = torch.tensor([0, 4, 2])
    function = getattr(batched, name)
    assert torch.autograd.gradcheck(lambda z, A: function(z, tokens, A, 0.3), (logits, advantages))


def test_scores_are_the_negative_gradient_of_entropy_and_masked_ones_are_zero():
    logits, tokens, _, mask = token_batch()
    kept = np.where(mask[..., None], logits, 0.0)
    chosen = np.take_along_axis(reference.log_probs(kept), tokens[..., None], -1)[..., 0]
    entropy = np.where(mask, reference.entropy(kept), NAN)
    gradient = np.take_along_axis(reference.entropy_gradient(kept), tokens[..., None], -1)[..., 0]
    score = reference.token_entropy_scores(np.where(mask, chosen, NAN), entropy, mask)
    np.testing.assert_allclose(score, np.where(mask, -gradient, 0.0), rtol=1e-12)
    leaf = torch.tensor(np.where(mask, chosen, NAN), requires_grad=True)
    other = batched.token_entropy_scores(leaf, torch.tensor(entropy), torch.tensor(mask))
    np.testing.assert_allclose(other.detach(), score, rtol=1e-12)
    other.sum().backward()
    assert not leaf.grad[~torch.tensor(mask)].any()


@pytest.mark.claim("neutral-probability-bounds")
def test_neutral_probability_turns_the_sign_and_lies_within_its_bounds(record_property):
    rng, nearest = np.random.default_rng(11), np.inf
    for n in (2, 3, 10, 1000):
        z = rng.normal(size=(500, n)) * rng.uniform(0, 8, (500, 1))
        p, nats, neutral = reference.probs(z), reference.entropy(z), reference.entropy_neutral_probability(z)
        baseline = reference.covariance_over_actions(p, reference.log_probs(z), z)
        change = np.stack(
            [
                reference.sampled_token_first_order_entropy_change(z, np.full(500, k), np.ones(500), 1.0)
                for k in range(min(n, 10))
            ],
            axis=-1,
        )
        away = abs(p[:, :10] / neutral[:, None] - 1) > 1e-9
        assert ((change < 0) == (p[:, :10] > neutral[:, None]))[away].all()
        low, high = baseline / (1 + baseline * np.exp(nats)), baseline
        excess = neutral - np.exp(-nats)
        assert (low * (1 - 1e-9) - 1e-15 <= excess).all()
        assert (excess <= high * (1 + 1e-9) + 1e-15).all()
        nearest = min(nearest, (excess / high).min())
    record_property("least share of the upper bound", f"{nearest:.2f}")


@pytest.mark.claim("promised-falls-are-kept")
def test_no_promised_fall_becomes_a_rise_at_any_step_size(record_property):
    rng, falls, broken_rises = np.random.default_rng(12), 0, 0
    for n in (2, 3, 10, 100):
        z = rng.normal(size=(5000, n)) * rng.uniform(0.2, 8, (5000, 1))
        tokens = np.where(rng.random(5000) < 0.5, z.argmax(-1), rng.integers(0, n, 5000))
        for sign in (1.0, -1.0):
            promised = reference.sampled_token_first_order_entropy_change(
                z, tokens, sign * np.ones(5000), 1.0
            )
            for size in (0.1, 1.0, 10.0, 100.0):
                step = reference.sampled_token_delta_logits(z, tokens, sign * np.ones(5000), size)
                change = reference.entropy_change(z, step)
                falls += (promised < 0).sum()
                broken_rises += ((promised > 0) & (change < 0)).sum()
                assert change[promised < 0].max() <= 1e-12
    record_property("promised falls, all kept", f"{falls}")
    assert broken_rises > 0.2 * falls, "rises are broken by the same steps"


def test_reference_explains_what_is_wrong(without_shape_checks):
    z, one = np.log([[0.5, 0.5]]), np.ones(1)
    with pytest.raises(ValueError, match="allowed action"):
        reference.sampled_token_delta_logits(np.array([[0.0, NEVER]]), np.array([1]), one, 1.0)
    with pytest.raises(ValueError, match="advantages must be finite"):
        reference.sampled_token_delta_logits(z, np.array([1]), np.array([NAN]), 1.0)
    with pytest.raises(ValueError, match="step_size must be finite"):
        reference.sampled_token_delta_logits(z, np.array([1]), one, np.inf)
    with pytest.raises(ValueError, match="tokens must lie in"):
        reference.sampled_token_delta_logits(z, np.array([2]), one, 1.0)


def test_batched_marks_a_forbidden_token_and_leaves_other_rows_alone():
    z = torch.tensor([[0.0, float("-inf"), 1.0], [0.0, 1.0, 2.0]])
    tokens, ones = torch.tensor([1, 1]), torch.ones(2)
    change = batched.sampled_token_first_order_entropy_change(z, tokens, ones, 1.0)
    assert change.isnan().tolist() == [True, False]
    step = batched.sampled_token_delta_logits(z, tokens, ones, 1.0)
    assert step[1].isfinite().all()
    assert not step[1].isnan().any()
    assert step[0].isnan().any()
