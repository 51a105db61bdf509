"""The batched layer merges as the symbolic layer proves: same states in, same state out.

The truth is `symbolic.merging.merge`, whose laws are proved; here its symbols are given numbers.
"""

import numpy as np
import pytest
import torch
from sympy import lambdify

from entropy_core.batched import _sums
from entropy_core.symbolic import merging

FIELDS = merging.Sums._fields


def states(seed, origins):
    """Return the state of one block of actions about each origin, as the layer makes it."""
    generator = torch.Generator().manual_seed(seed)
    z, u = torch.randn(2, len(origins), 7, generator=generator, dtype=torch.float64)
    peaks, shifts = torch.tensor(origins, dtype=torch.float64).unbind(-1)
    u = u.clamp(-1, 1) / 10
    return _sums.step_state(_sums.step_terms(z + peaks[:, None], u + shifts[:, None]))


def sums_of(state, k):
    """Return the ten sums and the origin of the k-th state."""
    total = 1 + state.policy.rest
    own = [total, *state.policy[2:], *(getattr(state, name) for name in FIELDS[3:])]
    return [x[k].item() for x in own], [state.policy.peak[k].item(), state.origin[k].item()]


@pytest.mark.claim("moments-merge")
@pytest.mark.parametrize(
    "origins", [[(0.0, 0.0), (0.0, 0.3)], [(3.0, 0.1), (-1.0, -0.2)], [(-40.0, 0.5), (2.0, 0.0)]]
)
def test_merging_by_torch_is_the_proved_merging(record_property, origins):
    x, y, at = merging._located("x"), merging._located("y"), merging._pair("o")
    merged, _ = merging.merge(x, y, at)
    symbols = [*x[0], *x[1], *y[0], *y[1], *at]
    proved = lambdify(symbols, list(merged), "mpmath")
    both = states(0, origins)
    found = _sums.merge_step(both)
    numbers = [n for k in range(2) for part in sums_of(both, k) for n in part]
    own, at = sums_of(found, ())
    expected = [float(n) for n in proved(*numbers, *at)]
    error = np.max(np.abs(np.subtract(own, expected)) / np.maximum(1e-3, np.abs(expected)))
    record_property("largest relative difference of merged sums", f"{error:.0e}")
    assert error < 1e-12
    assert at[0] == max(both.policy.peak).item()
