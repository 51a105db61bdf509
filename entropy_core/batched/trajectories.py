"""Paths of a policy in closed form, batched in torch: two actions, and any number under regularisation.

x + sinh x grows at a constant rate for two actions under the policy gradient; its inverse is found by a fixed
number of Newton steps and differentiated in closed form, dx/ds = 1/(1 + cosh x).
"""

import math

import torch
from torch.autograd import Function

from entropy_core._shapes import Float
from entropy_core.batched._validation import over_actions, over_batch

__all__ = ["policy_gradient_escape_time", "policy_gradient_gap", "regularised_gradient_logits"]

NEWTON_STEPS = 6


class _GapOfLevel(Function):
    """The x with x + sinh x = s."""

    generate_vmap_rule = True

    @staticmethod
    def forward(level):
        """Return x by Newton's method from above, where convexity keeps it from overshooting."""
        size = level.abs()
        # Both are upper bounds: sinh x ≥ x gives x ≤ s/2, and sinh(log(2 + 2s)) ≥ s.
        x = torch.minimum(size / 2, math.log(2) + torch.log1p(size))
        for _ in range(NEWTON_STEPS):
            x = x - (x + torch.sinh(x) - size) / (1 + torch.cosh(x))
        return torch.copysign(x, level)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the gap."""
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, gradient):
        """Return g / (1 + cosh x)."""
        (x,) = ctx.saved_tensors
        return gradient / (1 + torch.cosh(x))


def policy_gradient_gap(
    gap: float | int | Float[torch.Tensor, "*#batch"],
    reward_gap: float | int | Float[torch.Tensor, "*#batch"],
    time: float | int | Float[torch.Tensor, "*#batch"],
) -> Float[torch.Tensor, "*batch"]:
    """Gap of the two logits after following the exact policy gradient of two actions.

    x + sinh x = x_0 + sinh x_0 + Δ t

    Args:
        gap: x_0 = z_1 − z_2 at time 0, in nats, within ±700 in float64 and ±80 in float32; beyond, NaN.
        reward_gap: Δ = r_1 − r_2, in units of reward, of either sign.
        time: t, step size × steps, in nats per unit of reward; negative looks back.

    Returns:
        x = z_1 − z_2 at time t, in nats, the broadcast shape; the probability of action 1 is 1/(1 + e^−x).

    Raises:
        TypeError: an argument is neither a number nor a floating-point tensor.
        ValueError: devices or shapes do not fit, or a number is not finite.

    Numerics:
        Error ≤ 16 eps (|x| + (|x_0 + sinh x_0| + |Δ t|)/(1 + cosh x)) for |Δ t| up to 1e300 (float32: 1e34).
        Differentiable in every tensor, any number of times: dx = ((1 + cosh x_0) dx_0 + d(Δt))/(1 + cosh x).
        tests/batched/test_trajectories.py.

    Source: claim `two-action-law`, chapter closed-form-trajectories; [mei2020global].

    Example:
        >>> policy_gradient_gap(-4.0, 1.0, torch.tensor([0.0, 31.29, 1e6]))
        tensor([-4.0000e+00, ..., 1.4509e+01])
    """
    gap, reward_gap, time = over_batch(gap=gap, reward_gap=reward_gap, time=time)
    return _GapOfLevel.apply(gap + torch.sinh(gap) + reward_gap * time)


def policy_gradient_escape_time(
    gap: float | int | Float[torch.Tensor, "*#batch"],
    new_gap: float | int | Float[torch.Tensor, "*#batch"],
    reward_gap: float | int | Float[torch.Tensor, "*#batch"],
) -> Float[torch.Tensor, "*batch"]:
    """Time that the exact policy gradient of two actions takes from one gap of the logits to another.

    t = (x_1 + sinh x_1 − x_0 − sinh x_0) / Δ

    From a bad start x_0 = −L to even odds it is (L + sinh L)/Δ, exponential in the depth L; the natural
    gradient takes L/Δ.

    Args:
        gap: x_0 = z_1 − z_2 at the start, in nats; log(p/(1 − p)) for probability p of action 1.
        new_gap: x_1 = z_1 − z_2 to be reached, in nats.
        reward_gap: Δ = r_1 − r_2, in units of reward; where it is 0 the result is infinite or NaN.

    Returns:
        t, step size × steps, in nats per unit of reward, the broadcast shape; negative if the flow moves the
        other way and was there before; infinite where it overflows, at gaps of some 700 nats (float32: 88).

    Raises:
        TypeError: an argument is neither a number nor a floating-point tensor.
        ValueError: devices or shapes do not fit, or a number is not finite.

    Numerics:
        Relative error ≤ 1e-12 (float64) or 1e-4 (float32). Differentiable in every tensor.
        tests/batched/test_trajectories.py.

    Source: claim `two-action-law`, chapter closed-form-trajectories; [mei2020global].

    Example:
        >>> policy_gradient_escape_time(torch.tensor([-2.0, -4.0, -8.0]), 0.0, 1.0)
        tensor([   5.6269,   31.2899, 1498.4789])
    """
    gap, new_gap, reward_gap = over_batch(gap=gap, new_gap=new_gap, reward_gap=reward_gap)
    opened, middle = new_gap - gap, (gap + new_gap) / 2
    return (opened + 2 * torch.cosh(middle) * torch.sinh(opened / 2)) / reward_gap


def regularised_gradient_logits(
    logits: Float[torch.Tensor, "*#batch actions"],
    rewards: Float[torch.Tensor, "*#batch actions"],
    temperature: float | int,
    time: float | int,
) -> Float[torch.Tensor, "*batch actions"]:
    """Logits after following the natural gradient of the reward plus temperature × entropy.

    z(t) = e^(−τt) z + (1 − e^(−τt)) r / τ, and z + t r at τ = 0

    Args:
        logits: z at time 0, in nats; −inf forbids an action; a common constant cancels from the policy.
        rewards: r, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant cancels.
        temperature: τ ≥ 0, in units of reward per nat.
        time: t, step size × steps, in nats per unit of reward, not negative.

    Returns:
        z(t) in nats, one row per broadcast row, −inf at forbidden actions. The policy tends to softmax(r/τ).

    Raises:
        TypeError: an argument has a type that is not named above.
        ValueError: there is no action, devices or shapes do not fit, or temperature or time is negative or
            not finite.

    Numerics:
        Error ≤ 4 eps (|z| + t' |r|) with t' = (1 − e^(−τt))/τ, for every τ down to 0. Differentiable in
        logits and rewards; 0 at forbidden actions. tests/batched/test_trajectories.py.

    Source: claim `regularised-path`, chapter closed-form-trajectories; [cen2022fast].

    Example:
        >>> regularised_gradient_logits(torch.tensor([0.0, 4.0]), torch.tensor([1.0, 0.0]), 0.5, 2.0)
        tensor([1.2642, 1.4715])
    """
    for name, value in (("temperature", temperature), ("time", time)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number; got {type(value).__name__}. Give a float.")
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and not negative; got {value}. Give a number ≥ 0.")
    logits, rewards = over_actions(logits=logits, rewards=rewards)
    kept = math.exp(-temperature * time)
    worn = -math.expm1(-temperature * time) / temperature if temperature * time > 0 else time
    forbidden = logits == -torch.inf
    return (
        kept * logits.masked_fill(forbidden, 0.0) + worn * rewards.masked_fill(forbidden, 0.0)
    ).masked_fill(forbidden, -torch.inf)
