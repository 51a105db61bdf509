"""Both layers against the defining equations solved at 50 digits, within the errors that they promise."""

import mpmath
import numpy as np
import pytest
import torch

from entropy_core import batched, reference

STATES, ACTIONS = 5, 3
ARGUMENTS = {
    "state_values": "ztrg",
    "action_values": "ztrg",
    "advantages": "ztrg",
    "state_occupancy": "ztgs",
    "expected_return": "ztrgs",
    "return_gradient": "ztrgs",
}
POWER = dict.fromkeys(ARGUMENTS, 2) | {"state_occupancy": 1, "return_gradient": 3}


def process(discount, scale):
    """A process with rare and likely actions; its numbers are exact in both worlds."""
    rng = np.random.default_rng(7)
    logits = scale * rng.normal(size=(STATES, ACTIONS))
    transitions = rng.dirichlet(np.full(STATES, 0.5), size=(STATES, ACTIONS))
    return {
        "z": logits,
        "t": transitions,
        "r": rng.normal(size=(STATES, ACTIONS)),
        "g": discount,
        "s": rng.dirichlet(np.ones(STATES)),
    }


def exact(values):
    """Everything at 50 digits: solve V = Σ π Q and d = (1 − γ) ρ + γ d P_π with mpmath."""
    with mpmath.workdps(50):
        z, t, r, s = (values[k].tolist() for k in "ztrs")
        g, states, actions = mpmath.mpf(values["g"]), range(STATES), range(ACTIONS)
        weights = [[mpmath.exp(x) for x in row] for row in z]
        pi = [[w / mpmath.fsum(row) for w in row] for row in weights]
        led = [[mpmath.fsum(pi[x][a] * t[x][a][v] for a in actions) for v in states] for x in states]
        system = mpmath.matrix([[(x == v) - g * led[x][v] for v in states] for x in states])
        paid = mpmath.matrix([mpmath.fsum(pi[x][a] * r[x][a] for a in actions) for x in states])
        value = mpmath.lu_solve(system, paid)
        d = mpmath.lu_solve(system.T, (1 - g) * mpmath.matrix(s))
        q = [
            [r[x][a] + g * mpmath.fsum(t[x][a][v] * value[v] for v in states) for a in actions]
            for x in states
        ]
        gain = [[q[x][a] - value[x] for a in actions] for x in states]
        slope = [[d[x] * pi[x][a] * gain[x][a] / (1 - g) for a in actions] for x in states]
        out = {
            "state_values": list(value),
            "action_values": q,
            "advantages": gain,
            "state_occupancy": list(d),
            "expected_return": mpmath.fsum(s[x] * value[x] for x in states),
            "return_gradient": slope,
        }
        return {name: np.array(x, dtype=np.float64) for name, x in out.items()}


@pytest.mark.parametrize("scale", [1.0, 20.0])
@pytest.mark.parametrize("discount", [0.0, 0.9, 0.999])
def test_errors_are_as_promised(discount, scale):
    values = process(discount, scale)
    truth, size = exact(values), abs(values["r"]).max()
    tensors = {k: x if k == "g" else torch.as_tensor(x) for k, x in values.items()}
    for name, keys in ARGUMENTS.items():
        bound = 1e-14 * STATES * (1 if name == "state_occupancy" else size) / (1 - discount) ** POWER[name]
        numpy_error = abs(getattr(reference, name)(*(values[k] for k in keys)) - truth[name]).max()
        torch_error = abs(getattr(batched, name)(*(tensors[k] for k in keys)).numpy() - truth[name]).max()
        assert numpy_error <= bound, name
        assert torch_error <= bound, name


def test_single_precision_error_is_as_promised():
    values = process(0.9, 1.0)
    truth, size = exact(values), abs(values["r"]).max()
    tensors = {k: x if k == "g" else torch.as_tensor(x, dtype=torch.float32) for k, x in values.items()}
    for name, keys in ARGUMENTS.items():
        bound = 2e-6 * STATES * (1 if name == "state_occupancy" else size) / 0.1 ** POWER[name]
        found = getattr(batched, name)(*(tensors[k] for k in keys))
        assert found.dtype == torch.float32
        assert abs(found.double().numpy() - truth[name]).max() <= bound, name
