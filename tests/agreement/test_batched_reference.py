"""Two derivations of one number: batched torch against the NumPy reference, itself held to mpmath elsewhere.

The reference sees exactly what torch saw: inputs are rounded to torch's type first. float64 agrees to 1e-12
of the size that each promise names; float32, bfloat16 and float16 to 1e-5 of it, for logits within 80 nats
of the largest, beyond which float32 has no probabilities.
"""

import numpy as np
import pytest
import torch

from entropy_core import batched, reference
from tests.agreement.cases import SIZES, hard_policies, large_steps, policies, quantities, steps

torch.set_num_threads(1)

POLICIES = {f"{n} {name}": z for n in SIZES for name, z in policies(n)} | dict(hard_policies())
PROMISED = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-5, torch.float16: 1e-5}
HALVES = (torch.bfloat16, torch.float16)


def cases():
    """Yield each policy with each type that promises something for it; the halves see one size only."""
    for dtype in PROMISED:
        for name, z in POLICIES.items():
            is_narrow = np.ptp(z[np.isfinite(z)]) <= 80
            if dtype == torch.float64 or (
                is_narrow and (dtype not in HALVES or z.size <= 17 and z.size != 3)
            ):
                yield pytest.param(dtype, z, id=f"{str(dtype).removeprefix('torch.')} {name}")


every_case = pytest.mark.parametrize(("dtype", "z"), list(cases()))


def rounded(dtype, *arrays):
    """Return the arrays as torch sees them, and the same numbers in float64."""
    tensors = [torch.tensor(array).to(dtype) for array in arrays]
    return tensors, [tensor.double().numpy() for tensor in tensors]


def errs_by(result, expected, scale):
    """Return the largest |result − expected| / scale; 0 where they are equal, infinite where scale is 0."""
    result, expected, scale = np.broadcast_arrays(result.double().numpy(), expected, scale)
    differs = (result != expected) & ~(np.isnan(result) & np.isnan(expected))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.max(abs(result - expected)[differs] / scale[differs], initial=0.0))


def absolute_terms(z, *fields):
    """Return Σ π |f g …| for fields that are centred here, written out action by action."""
    p = reference.probs(z)
    total = p.copy()
    for field in fields:
        total = total * abs(field)
    return total.sum()


def centred(x, z):
    """Return x − E x over allowed actions, 0 elsewhere, in extended precision."""
    p, mode = reference.probs(z), z.argmax()
    shifted = np.where(np.isfinite(z), np.where(np.isfinite(z), x, 0) - x[mode], 0).astype(np.longdouble)
    return np.where(np.isfinite(z), shifted - (p * shifted).sum(), 0).astype(float)


@every_case
def test_moments_of_one_policy(record_property, dtype, z):
    (tensor,), (z,) = rounded(dtype, z)
    gradient = reference.entropy_gradient(z)
    worst = max(
        errs_by(batched.probs(tensor), reference.probs(z), reference.probs(z)),
        errs_by(batched.log_probs(tensor), reference.log_probs(z), abs(reference.log_probs(z))),
        errs_by(batched.entropy(tensor), reference.entropy(z), reference.entropy(z)),
        errs_by(batched.varentropy(tensor), reference.varentropy(z), reference.varentropy(z)),
        errs_by(batched.entropy_gradient(tensor), gradient, abs(gradient).max()),
    )
    record_property("largest relative error", f"{worst:.1e}")
    assert worst <= PROMISED[dtype]


@every_case
def test_fisher(dtype, z):
    z = z[-17:]
    (tensor,), (z,) = rounded(dtype, z)
    expected = reference.fisher(z)
    smallest = 0 if dtype == torch.float64 else torch.finfo(torch.float32).tiny / PROMISED[dtype]
    assert errs_by(batched.fisher(tensor), expected, abs(expected) + smallest) <= PROMISED[dtype]


@every_case
def test_pseudo_inverse_of_fisher(dtype, z):
    (tensor,), (z,) = rounded(dtype, z[-17:])
    allowed = np.isfinite(z)
    reciprocals = np.divide(1.0, reference.probs(z), out=np.zeros(z.size), where=allowed)
    shares = reciprocals / allowed.sum()
    terms = np.diag(reciprocals) + shares[:, None] + shares + (shares / allowed.sum()).sum()
    expected = reference.fisher_pseudo_inverse(z)
    assert errs_by(batched.fisher_pseudo_inverse(tensor), expected, terms) <= PROMISED[dtype]


@every_case
def test_covariance(dtype, z):
    for name, x, y in quantities(z):
        if max(abs(x).max(), abs(y).max()) > torch.finfo(dtype).max or (
            dtype != torch.float64 and "outlier" in name
        ):
            continue
        (tensors), (x, y, z_seen) = rounded(dtype, x, y, z)
        scale = absolute_terms(z_seen, centred(x, z_seen), centred(y, z_seen))
        error = errs_by(
            batched.covariance_over_actions(*tensors), reference.covariance_over_actions(x, y, z_seen), scale
        )
        assert error <= PROMISED[dtype], name


@every_case
def test_predicted_and_exact_changes(record_property, dtype, z):
    worst = 0.0
    for _, u in [*steps(z), *large_steps(z)]:
        if dtype != torch.float64 and abs(u).max() > 6e4:
            continue
        (logits, delta), (z_seen, u) = rounded(dtype, z, u)
        score, step = centred(z_seen, z_seen), centred(u, z_seen)
        first = absolute_terms(z_seen, score, step)
        second = first + absolute_terms(z_seen, 1 + score, step, step) / 2
        product = absolute_terms(z_seen, score, step) * absolute_terms(z_seen, step, step)
        allowed = np.isfinite(z_seen)
        is_small = np.ptp(u[allowed]) <= 1
        change = reference.entropy_change(z_seen, u)
        both = 2 * reference.entropy(z_seen) + change
        worst = max(
            worst,
            errs_by(
                batched.first_order_entropy_change(logits, delta),
                reference.first_order_entropy_change(z_seen, u),
                first,
            ),
            errs_by(
                batched.second_order_entropy_change(logits, delta),
                reference.second_order_entropy_change(z_seen, u),
                second,
            ),
            errs_by(
                batched.third_order_entropy_change(logits, delta),
                reference.third_order_entropy_change(z_seen, u),
                second + (absolute_terms(z_seen, 2 + score, step, step, step) + 3 * product) / 6,
            ),
            errs_by(batched.entropy_change(logits, delta), change, second if is_small else both),
        )
    record_property("largest error of a change", f"{worst:.1e}")
    assert worst <= PROMISED[dtype]


@every_case
def test_divergence(dtype, z):
    for name, u in [*steps(z), *large_steps(z)]:
        if dtype != torch.float64 and abs(u).max() > 6e4:
            continue
        (logits, delta), (z_seen, u) = rounded(dtype, z, u)
        allowed = np.isfinite(z_seen)
        farthest, width = abs(u - u[z_seen.argmax()])[allowed].max(), np.ptp(u[allowed])
        scale = width**2 if width <= 1 else farthest
        expected = reference.kl_divergence(z_seen, u)
        assert errs_by(batched.kl_divergence(logits, delta), expected, scale) <= PROMISED[dtype], name


@every_case
def test_bounds(dtype, z):
    for _, u in [*steps(z), *large_steps(z)]:
        if abs(u).max() > torch.finfo(dtype).max / 8 or np.ptp(u[np.isfinite(z)]) == 0:
            continue
        (logits, delta), (z_seen, u) = rounded(dtype, np.where(np.isfinite(z), 0.0, z), u)
        for side, expected in zip(
            batched.entropy_change_bound(logits, delta),
            reference.entropy_change_bound(z_seen, u),
            strict=True,
        ):
            assert errs_by(side, expected, abs(expected)) <= PROMISED[dtype]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 10, 100, 10**4, 10**6])
def test_bounds_for_every_size_and_range(n):
    delta = np.zeros((40, n))
    delta[:, 0] = np.geomspace(1e-9, 1e4, 40)
    logits = np.zeros(n)
    if n > 10**4:
        delta = delta[::13]
    results = batched.entropy_change_bound(torch.tensor(logits), torch.tensor(delta))
    for side, expected in zip(results, reference.entropy_change_bound(logits, delta), strict=True):
        assert errs_by(side, expected, abs(expected)) <= 1e-12


@pytest.mark.parametrize("name", ["policy_gradient_delta_logits", "natural_gradient_delta_logits"])
@every_case
def test_updates(dtype, name, z):
    for offset in (0.0, 1e3):
        rewards = offset + np.random.default_rng(3).standard_normal(z.size)
        (logits, values), (z_seen, rewards) = rounded(dtype, z, rewards)
        expected = getattr(reference, name)(z_seen, rewards, 0.7)
        scale = abs(centred(rewards, z_seen)).max()
        if name.startswith("policy"):
            scale = scale * reference.probs(z_seen)
        assert errs_by(getattr(batched, name)(logits, values, 0.7), expected, scale) <= PROMISED[dtype]
