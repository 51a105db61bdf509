"""Bad input: the sentence names the requirement, what came, and what to do."""

import numpy as np
import pytest

from entropy_core import reference
from entropy_core.reference import interventions, sampled_token, samples, sequences, tabular, trajectories

pytestmark = pytest.mark.usefixtures("without_shape_checks")

OF_LOGITS = [
    reference.log_probs,
    reference.probs,
    reference.entropy,
    reference.varentropy,
    reference.entropy_gradient,
    reference.fisher,
    reference.fisher_pseudo_inverse,
]
OF_STEPS = [
    reference.entropy_change,
    reference.first_order_entropy_change,
    reference.second_order_entropy_change,
    reference.third_order_entropy_change,
    reference.entropy_change_bound,
    reference.kl_divergence,
    reference.step_moments,
]
OF_REWARDS = [reference.policy_gradient_delta_logits, reference.natural_gradient_delta_logits]
ALL = {
    **{f.__name__: f for f in OF_LOGITS},
    **{f.__name__: lambda z, f=f: f(z, np.zeros(np.shape(z))) for f in OF_STEPS},
    **{f.__name__: lambda z, f=f: f(z, np.zeros(np.shape(z)), 0.1) for f in OF_REWARDS},
    "policy_moments": lambda z: reference.policy_moments(z, np.zeros(np.shape(z)[:-1], int)),
    "covariance_over_actions": lambda z: reference.covariance_over_actions(
        np.zeros(np.shape(z)), np.zeros(np.shape(z)), z
    ),
}
VALUES = {
    **{f"delta_logits of {f.__name__}": f for f in OF_STEPS},
    **{f"rewards of {f.__name__}": lambda z, r, f=f: f(z, r, 0.1) for f in OF_REWARDS},
    "x of covariance_over_actions": lambda z, x: reference.covariance_over_actions(x, np.zeros(z.shape), z),
    "y of covariance_over_actions": lambda z, y: reference.covariance_over_actions(np.zeros(z.shape), y, z),
}
NAN, NEVER = np.nan, -np.inf

every_function = pytest.mark.parametrize("function", ALL.values(), ids=ALL.keys())
every_value = pytest.mark.parametrize("label", VALUES)


def test_every_public_function_of_one_state_is_tried():
    others = (interventions, sampled_token, samples, sequences, tabular, trajectories)
    elsewhere = {name for module in others for name in module.__all__} | {"PolicyMoments", "StepMoments"}
    assert set(ALL) == set(reference.__all__) - elsewhere


@every_function
@pytest.mark.parametrize(
    ("logits", "says"),
    [
        (np.array([0.0, NAN]), r"must not be NaN; NaN came at index \(1,\).*-inf to forbid"),
        (
            np.array([[0.0, 1.0], [np.inf, 0.0]]),
            r"finite or -inf; \+inf came at index \(1, 0\).*large finite",
        ),
        (
            np.array([[0.0], [NEVER]]),
            r"at least one action; every logit is -inf in row \(1,\).*leave the row out",
        ),
        (np.array([NEVER, NEVER]), "at least one action; every logit is -inf in it.*finite logit"),
        (np.zeros((3, 0)), r"at least one action on the last axis; shape \(3, 0\) came.*slice"),
        (np.array(1.0), r"a last axis of actions; a single number came.*shape \[actions\]"),
    ],
    ids=["nan", "+inf", "a row forbidden", "all forbidden", "no action", "a number"],
)
def test_logits_that_are_no_policy(function, logits, says):
    with pytest.raises(ValueError, match=says):
        function(logits)


@every_function
@pytest.mark.parametrize("dtype", [bool, complex, object, str, np.longdouble])
def test_wrong_dtype(function, dtype):
    with pytest.raises(
        TypeError, match=r"logits must be.*ndarray of dtype.*came. Convert it first.*np\.asarray"
    ):
        function(np.zeros(2).astype(dtype))


@every_value
@pytest.mark.parametrize("bad", [NAN, np.inf, NEVER])
def test_values_at_allowed_actions_must_be_finite(label, bad):
    says = rf"{label.split()[0]} must be finite wherever logits are; {bad} came at index \(0, 1\). To forbid"
    with pytest.raises(ValueError, match=says):
        VALUES[label](np.zeros((1, 2)), np.array([0.0, bad]))


@every_value
def test_values_must_have_one_entry_per_action(label):
    says = rf"{label.split()[0]} must have one value per action: last axis 3.*\(2, 1\) came. Put the actions"
    with pytest.raises(ValueError, match=says):
        VALUES[label](np.zeros(3), np.zeros((2, 1)))


@every_value
def test_leading_axes_must_broadcast(label):
    with pytest.raises(
        ValueError, match=r"must broadcast together; logits \(2, 3\).*\(4, 3\).* came. Insert axes"
    ):
        VALUES[label](np.zeros((2, 3)), np.zeros((4, 3)))


@every_value
def test_values_of_wrong_dtype(label):
    with pytest.raises(
        TypeError, match=rf"{label.split()[0]} must be a NumPy array.*complex128 came. Convert"
    ):
        VALUES[label](np.zeros(3), np.zeros(3, dtype=complex))


@pytest.mark.parametrize("function", OF_REWARDS)
@pytest.mark.parametrize(
    ("step_size", "error", "says"),
    [
        (NAN, ValueError, "step_size must be finite; nan came. Pass"),
        (np.ones(2), ValueError, r"step_size must be one number; shape \(2,\) came.*multiply the rewards"),
        ("fast", TypeError, "step_size must be a real number; str of dtype <U4 came. Pass a float"),
        (True, TypeError, "step_size must be a real number; bool of dtype bool came"),
    ],
)
def test_step_size(function, step_size, error, says):
    with pytest.raises(error, match=says):
        function(np.zeros(2), np.zeros(2), step_size)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.uint8])
def test_other_real_dtypes_are_converted_exactly(dtype):
    logits = np.array([3, 0, 1], dtype=dtype)
    got = reference.entropy(logits)
    assert got.dtype == np.float64
    assert got == reference.entropy(np.array([3.0, 0.0, 1.0]))


@every_value
@pytest.mark.parametrize("rubbish", [NAN, np.inf, NEVER, 1e300])
def test_values_at_forbidden_actions_are_ignored(label, rubbish):
    logits, clean = (
        np.array([[0.3, NEVER, -1.0], [0.0, 0.5, 1.0]]),
        np.array([[0.5, 0.0, 0.25], [1.0, 2.0, 0.0]]),
    )
    dirty = np.where(np.isfinite(logits), clean, rubbish)
    np.testing.assert_array_equal(VALUES[label](logits, dirty), VALUES[label](logits, clean))


def test_inputs_are_left_as_they_were():
    logits, delta_logits = np.array([0.3, NEVER, -1.0]), np.array([0.5, NAN, 0.25])
    before = logits.copy(), delta_logits.copy()
    for function in OF_STEPS:
        function(logits, delta_logits)
    np.testing.assert_array_equal((logits, delta_logits), before)


def test_a_pseudo_inverse_beyond_float64_is_refused():
    reference.fisher_pseudo_inverse(np.array([[0.0, -700.0, NEVER]]))
    with pytest.raises(
        ValueError, match=r"within 700 nats; a gap of 800 came.*natural_gradient_delta_logits"
    ):
        reference.fisher_pseudo_inverse(np.array([[0.0, 1.0, 2.0], [0.0, NEVER, -800.0]]))
