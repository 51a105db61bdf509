"""Both layers against responses written out at 50 digits, within the errors that they promise."""

import mpmath
import numpy as np
import pytest
import torch

from entropy_core import batched, reference

torch.set_num_threads(1)

TREE = np.array([[1, 2, -1], [3, -1, 1], [-1, 3, 0], [-1, -1, 2]])
HORIZON, (STATES, ACTIONS) = 6, TREE.shape


def numbers(scale):
    """Logits, a step and rewards, exact in both worlds; one token is forbidden."""
    logits, step, rewards = np.random.default_rng(7).normal(size=(3, *TREE.shape))
    logits *= scale
    logits[1, 1] = -np.inf
    return logits, step, rewards


def exact(logits, step, rewards):
    """Every response at 50 digits, and from them all quantities; derivatives by the score of a response."""
    with mpmath.workdps(50):
        policy = []
        for row in logits.tolist():
            weights = [mpmath.mpf(0) if z == -np.inf else mpmath.exp(z) for z in row]
            policy.append([w / mpmath.fsum(weights) for w in weights])
        entropies = [-mpmath.fsum(p * mpmath.log(p) for p in row if p) for row in policy]
        found = []

        def walk(state, written, p, known, reward, path):
            for token, q in enumerate(policy[state]):
                if not q:
                    continue
                here = [*path, (state, token)]
                after = (p * q, known + entropies[state], reward + mpmath.mpf(rewards[state, token]))
                if TREE[state, token] < 0 or written + 1 == HORIZON:
                    found.append((*after, here))
                else:
                    walk(int(TREE[state, token]), written + 1, *after, here)

        walk(0, 0, mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(0), [])
        mean = lambda f: mpmath.fsum(y[0] * f(y) for y in found)  # noqa: E731
        surprisal, length = (lambda y: -mpmath.log(y[0])), (lambda y: len(y[3]))
        entropy = mean(surprisal)

        def score(y, s, a):
            visits = [token for state, token in y[3] if state == s]
            return visits.count(a) - len(visits) * policy[s][a]

        def table(f):
            return np.array([[float(f(s, a)) for a in range(ACTIONS)] for s in range(STATES)])

        visits = [mean(lambda y: sum(state == s for state, _ in y[3])) for s in range(STATES)]  # noqa: B023
        gradient = table(lambda s, a: mean(lambda y: surprisal(y) * score(y, s, a)))
        gain = table(
            lambda s, a: (
                mean(lambda y: y[2] * score(y, s, a)) / (visits[s] * policy[s][a]) if policy[s][a] else 0
            )
        )
        lemma = mpmath.fsum(
            visits[s] * p * -(mpmath.log(p) + entropies[s]) * mpmath.mpf(step[s, a])
            for s in range(STATES)
            for a, p in enumerate(policy[s])
            if p
        )
        known = lambda y: y[1]  # noqa: E731
        averages = (
            entropy,
            entropy / mean(length),
            mean(lambda y: known(y) / length(y)),
            mean(lambda y: surprisal(y) / length(y)),
            mean(length),
        )
        variances = [mean(lambda y: (f(y) - entropy) ** 2) for f in (surprisal, known)]  # noqa: B023
        return {
            "sequence_entropy": float(entropy),
            "expected_visits": np.array([float(d) for d in visits]),
            "sequence_entropy_gradient": gradient,
            "first_order_sequence_entropy_change": np.array(
                [float(lemma), float((gradient * step).sum() - float(lemma))]
            ),
            "sequence_advantages": gain,
            "entropy_averages": np.array([float(x) for x in averages]),
            "estimator_variances": np.array([float(x) for x in variances]),
        }


def given(name, logits, step, rewards):
    """The tables that a function takes besides the world."""
    more = {"first_order_sequence_entropy_change": (step,), "sequence_advantages": (rewards,)}
    return (logits, *more.get(name, ()))


def promised(truth, step, rewards, relative, absolute):
    """The errors that the docstrings promise, for the two constants of a precision."""
    size, nats, visits = STATES + HORIZON, HORIZON * np.log(ACTIONS), truth["expected_visits"].max()
    return {
        "sequence_entropy": relative * size * truth["sequence_entropy"],
        "expected_visits": relative * size * truth["expected_visits"],
        "entropy_averages": relative * size * truth["entropy_averages"],
        "sequence_entropy_gradient": absolute * size * nats * visits,
        "first_order_sequence_entropy_change": absolute * size * nats * visits * np.ptp(step),
        "sequence_advantages": absolute * size * HORIZON * abs(rewards).max(),
        "estimator_variances": absolute * size * nats**2,
    }


def errs_over(bound, found, expected):
    """Largest error over the promise."""
    found = [float(x) for x in found] if isinstance(found, tuple) else np.asarray(found, dtype=float)
    return float((abs(found - expected) / bound).max())


@pytest.mark.parametrize("scale", [0.5, 5.0, 40.0])
def test_errors_are_as_promised(scale, record_property):
    tables = numbers(scale)
    truth, tensors, world = exact(*tables), [torch.as_tensor(x) for x in tables], torch.as_tensor(TREE)
    bound, worst = promised(truth, *tables[1:], 1e-15, 1e-14), {}
    for name, expected in truth.items():
        found = getattr(reference, name)(*given(name, *tables), TREE, HORIZON)
        worst[f"reference {name}"] = errs_over(bound[name], found, expected)
        found = getattr(batched, name)(*given(name, *tensors), world, HORIZON)
        worst[f"batched {name}"] = errs_over(bound[name], found, expected)
    record_property("largest error over promise", f"{max(worst.values()):.2f}")
    assert max(worst.values()) <= 1, worst


def test_single_precision_errors_are_as_promised():
    tables = [x.astype(np.float32) for x in numbers(1.0)]
    truth = exact(*(x.astype(float) for x in tables))
    bound, world = promised(truth, *tables[1:], 1e-6, 1e-5), torch.as_tensor(TREE)
    for name, expected in truth.items():
        found = getattr(batched, name)(*given(name, *map(torch.as_tensor, tables)), world, HORIZON)
        assert (found[0] if isinstance(found, tuple) else found).dtype == torch.float32
        assert errs_over(bound[name], found, expected) <= 1, name


def test_layers_agree_on_a_batch_of_chains():
    rng = np.random.default_rng(1)
    logits, step = rng.normal(size=(2, 3, 40, 40))
    chain = np.tile(np.append(np.arange(1, 40), -1), (40, 1))
    world = torch.as_tensor(chain)
    for name in ("sequence_entropy", "expected_visits", "sequence_entropy_gradient", "estimator_variances"):
        found = getattr(batched, name)(torch.as_tensor(logits), world, 60)
        expected = getattr(reference, name)(logits, chain, 60)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    parts = batched.first_order_sequence_entropy_change(*map(torch.as_tensor, (logits, step)), world, 60)
    np.testing.assert_allclose(
        parts, reference.first_order_sequence_entropy_change(logits, step, chain, 60), rtol=1e-11, atol=1e-12
    )
