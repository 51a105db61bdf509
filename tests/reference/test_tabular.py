"""Tables against sums written out in time, difference quotients of those, and what must be refused."""

import numpy as np
import pytest

from entropy_core import reference

LAYER = {name: getattr(reference, name) for name in ("state_values", "action_values", "advantages")}


def process(seed=0, states=4, actions=3, discount=0.8):
    """One random process, small enough for loops."""
    rng = np.random.default_rng(seed)
    logits, rewards = rng.normal(size=(2, states, actions))
    transitions = rng.dirichlet(np.ones(states), size=(states, actions))
    return logits, transitions, rewards, discount, rng.dirichlet(np.ones(states))


def policy_of(logits):
    """Textbook softmax."""
    return np.array([[np.exp(z) / sum(np.exp(row)) for z in row] for row in logits])


def walked(logits, transitions, rewards, discount, start, steps=400):
    """Follow the distribution over states in time; return J and the occupancy. 0.8^400 is 2e-39."""
    policy, here, total, occupancy = policy_of(logits), np.array(start), 0.0, np.zeros(len(start))
    for t in range(steps):
        occupancy += (1 - discount) * discount**t * here
        after = np.zeros(len(start))
        for s in range(len(start)):
            for a in range(policy.shape[1]):
                total += discount**t * here[s] * policy[s, a] * rewards[s, a]
                after += here[s] * policy[s, a] * transitions[s, a]
        here = after
    return total, occupancy


def test_return_and_occupancy_are_sums_over_time():
    logits, transitions, rewards, discount, start = process()
    total, occupancy = walked(logits, transitions, rewards, discount, start)
    assert reference.expected_return(logits, transitions, rewards, discount, start) == pytest.approx(
        total, rel=1e-12
    )
    assert reference.state_occupancy(logits, transitions, discount, start) == pytest.approx(
        occupancy, rel=1e-12
    )


def test_values_are_returns_from_a_state_after_an_action():
    logits, transitions, rewards, discount, _ = process(1)
    values = [walked(logits, transitions, rewards, discount, row)[0] for row in np.eye(4)]
    after = [[rewards[s, a] + discount * (transitions[s, a] @ values) for a in range(3)] for s in range(4)]
    found = [call(logits, transitions, rewards, discount) for call in LAYER.values()]
    assert found[0] == pytest.approx(np.array(values), rel=1e-12)
    assert found[1] == pytest.approx(np.array(after), rel=1e-12)
    assert found[2] == pytest.approx(np.array(after) - np.array(values)[:, None], rel=1e-10)


@pytest.mark.claim("policy-gradient-theorem")
def test_gradient_is_the_difference_quotient_of_the_walked_return(record_property):
    logits, transitions, rewards, discount, start = process(2)
    quotients = np.empty_like(logits)
    for s, a in np.ndindex(logits.shape):
        moved = [logits.copy(), logits.copy()]
        moved[0][s, a] += 1e-5
        moved[1][s, a] -= 1e-5
        up, down = (walked(z, transitions, rewards, discount, start, 150)[0] for z in moved)
        quotients[s, a] = (up - down) / 2e-5
    found = reference.return_gradient(logits, transitions, rewards, discount, start)
    error = abs(found - quotients).max() / abs(quotients).max()
    record_property("largest error against difference quotients", f"{error:.0e}")
    assert error < 1e-8


def test_batches_broadcast_and_one_process_needs_no_batch():
    logits, transitions, rewards, discount, start = process()
    many = np.stack([logits, logits + 1.0, -logits])[:, None]
    shifted = np.stack([rewards, 2 * rewards])
    gradient = reference.return_gradient(many, transitions, shifted, discount, start)
    assert gradient.shape == (3, 2, 4, 3)
    alone = reference.return_gradient(-logits, transitions, 2 * rewards, discount, start)
    assert gradient[2, 1] == pytest.approx(alone, rel=1e-12)
    assert gradient[1] == pytest.approx(gradient[0], rel=1e-10)


def test_forbidden_actions_are_as_if_absent():
    logits, transitions, rewards, discount, start = process()
    wide = [
        np.concatenate([x, np.full((4, 1), fill)], axis=1)
        for x, fill in ((logits, -np.inf), (rewards, np.nan))
    ]
    led = np.concatenate([transitions, np.full((4, 1, 4), np.nan)], axis=1)
    gradient = reference.return_gradient(wide[0], led, wide[1], discount, start)
    assert gradient[:, :3] == pytest.approx(
        reference.return_gradient(logits, transitions, rewards, discount, start), rel=1e-12
    )
    assert (gradient[:, 3] == 0).all()


def test_an_offset_of_the_rewards_costs_no_digit():
    logits, transitions, _, _, start = process()
    rewards = np.arange(12.0).reshape(4, 3) ** 2
    plain, offset = (
        reference.return_gradient(logits, transitions, rewards + c, 0.99, start) for c in (0.0, 2.0**40)
    )
    assert (plain == offset).all()


def test_gradients_of_a_state_sum_to_zero_and_unreached_states_have_none():
    logits, transitions, rewards, discount, _ = process()
    transitions = transitions.copy()
    transitions[..., 3] = 0
    transitions /= transitions.sum(-1, keepdims=True)
    gradient = reference.return_gradient(logits, transitions, rewards, discount, np.array([1.0, 0, 0, 0]))
    assert abs(gradient.sum(-1)).max() < 1e-14
    assert (gradient[3] == 0).all()
    assert (abs(gradient[:3]) > 1e-6).all()


def broken(name, change):
    """The arguments of a gradient with one of them spoilt."""
    names = ("logits", "transitions", "rewards", "discount", "start_distribution")
    arguments = dict(zip(names, process(), strict=True))
    return arguments | {name: change(arguments[name])}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("discount", lambda x: 1.0, r"discount must lie in \[0, 1\); 1.0 came"),
        ("discount", lambda x: -0.1, r"discount must lie in \[0, 1\); -0.1 came"),
        ("discount", lambda x: np.nan, "discount must be finite"),
        ("transitions", lambda x: 2 * x, r"row \(0, 0\) sums to 2.*Divide each row by its sum"),
        ("transitions", lambda x: 1 - 2 * x, "none negative or NaN"),
        ("transitions", lambda x: x * np.nan, "none negative or NaN"),
        ("transitions", lambda x: x[:, :2], r"must have axes .* end in \(4, 3, 4\)"),
        ("transitions", lambda x: np.stack([x] * 2)[:, None].repeat(3, 1)[..., :3], "end in"),
        ("rewards", lambda x: x.T, r"rewards must have axes \[..., states, actions\]"),
        ("rewards", lambda x: x * np.inf, "rewards must be finite"),
        ("logits", lambda x: x[0], r"logits must have axes \[..., states, actions\]"),
        ("start_distribution", lambda x: x / 2, "start_distribution must sum to 1"),
        ("start_distribution", lambda x: -x, "none negative"),
        ("start_distribution", lambda x: x[:2], "start_distribution must have axes"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_what_is_no_process_is_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        reference.return_gradient(**broken(name, change))


@pytest.mark.usefixtures("without_shape_checks")
def test_batches_that_do_not_fit_and_wrong_types_are_refused():
    logits, transitions, rewards, discount, start = process()
    with pytest.raises(ValueError, match="leading axes must broadcast"):
        reference.state_values(np.stack([logits] * 2), np.stack([transitions] * 3), rewards, discount)
    with pytest.raises(TypeError, match="transitions must be a NumPy array of real numbers"):
        reference.state_values(logits, transitions.astype(complex), rewards, discount)
