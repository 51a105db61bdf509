"""Controllers of the entropy coefficient: pure updates of a state of plain numbers, beside a run in torch.

Feed in the mean entropy of the batch that was just measured; each update returns the controller for the next
one. Clamping is to the bounds of the state and works on α itself, so a coefficient that waits at a bound
leaves it with the first error of the other sign (nothing winds up).

Units. α is reward per nat. The rate κ is per nat of error in `integral_update` and `proportional_coefficient`
(log α moves), reward per nat squared in `additive_update` (α moves), and reward per nat in `sign_update`.
Close to rest, an integral controller of steps is stable exactly if κ times the varentropy of the policy is
below 1 (`integral_rate_limit`).
"""

import math

import torch

from entropy_core._controller import EntropyController
from entropy_core._shapes import Float

__all__ = [
    "additive_update",
    "gated_coefficient",
    "integral_rate_limit",
    "integral_update",
    "proportional_coefficient",
    "sign_update",
]


def integral_update(
    controller: EntropyController, entropy: float | int | Float[torch.Tensor, ""]
) -> EntropyController:
    """Controller after one entropy was measured: log α integrates the error.

    log α ← log α − κ (H − H*), clamped

    Args:
        controller: the state; its rate κ is per nat, its lowest coefficient positive.
        entropy: H in nats; a tensor of one value makes the host wait for it. Errors within
            half_width count as 0, larger ones from its edge.

    Returns:
        The controller with the next coefficient.

    Raises:
        ValueError: entropy is not finite, or the lowest coefficient is 0, from which log α cannot return.

    Numerics: Float64; relative error of the factor ≤ 4 eps times the error in nats.
        tests/batched/test_controllers.py.

    Source: claim `integral-controller`, chapter regularisers-and-controllers; [haarnoja2018applications].

    Example:
        >>> start = EntropyController(0.1, target_entropy=2.0, rate=0.5, lowest=1e-4, highest=1.0)
        >>> round(integral_update(start, 1.0).coefficient, 4)
        0.1649
    """
    _check_positive(controller)
    error = _error(controller, entropy)
    return controller.with_coefficient(math.exp(math.log(controller.coefficient) - controller.rate * error))


def proportional_coefficient(
    controller: EntropyController, entropy: float | int | Float[torch.Tensor, ""]
) -> float:
    """Coefficient that answers the error of now and remembers nothing.

    α = α_0 e^(−κ (H − H*)), clamped; α_0 is the coefficient of the state, which stays as it is

    Args:
        controller: the state; its rate κ is per nat, its lowest coefficient positive.
        entropy: H in nats; a tensor of one value makes the host wait for it. Errors within
            half_width count as 0, larger ones from its edge.

    Returns:
        α, in units of reward per nat.

    Raises:
        ValueError: entropy is not finite, or the lowest coefficient is 0.

    Numerics: Float64; relative error of the factor ≤ 4 eps times the error in nats.
        tests/batched/test_controllers.py.

    Source: claim `proportional-controller`, chapter regularisers-and-controllers.

    Example:
        >>> start = EntropyController(0.1, target_entropy=2.0, rate=0.5, lowest=1e-4, highest=1.0)
        >>> round(proportional_coefficient(start, 1.0), 4)
        0.1649
    """
    return integral_update(controller, entropy).coefficient


def additive_update(
    controller: EntropyController, entropy: float | int | Float[torch.Tensor, ""]
) -> EntropyController:
    """Controller after one entropy was measured: α itself integrates the error outside a band.

    α ← α − κ (min(0, H − low) + max(0, H − high)), clamped; low and high are H* ∓ half_width

    Args:
        controller: the state; its rate κ is in units of reward per nat squared.
        entropy: H in nats; a tensor of one value makes the host wait for it.

    Returns:
        The controller with the next coefficient.

    Raises:
        ValueError: entropy is not finite.

    Numerics: Float64, a few eps of α.
        tests/batched/test_controllers.py.

    Source: chapter regularisers-and-controllers; the rule of the program of [shen2025entropy].

    Example:
        >>> start = EntropyController(0.1, 2.0, rate=0.05, lowest=0.0, highest=1.0, half_width=0.5)
        >>> round(additive_update(start, 1.0).coefficient, 4)
        0.125
    """
    return controller.with_coefficient(controller.coefficient - controller.rate * _error(controller, entropy))


def sign_update(
    controller: EntropyController, entropy: float | int | Float[torch.Tensor, ""]
) -> EntropyController:
    """Controller after one entropy was measured: α goes one notch up below the target, else one down.

    α ← α + κ if H < H*, else α − κ, clamped

    Args:
        controller: the state; its rate κ is the notch, in units of reward per nat; half_width is not used.
        entropy: H in nats; a tensor of one value makes the host wait for it.

    Returns:
        The controller with the next coefficient.

    Raises:
        ValueError: entropy is not finite.

    Numerics: Float64, one rounding.
        tests/batched/test_controllers.py.

    Source: chapter regularisers-and-controllers; the rule of the program of [he2025skywork], which applies
        the bonus only below the target as well (`gated_coefficient`).

    Example:
        >>> start = EntropyController(0.0, target_entropy=0.2, rate=1e-4, lowest=0.0, highest=0.005)
        >>> sign_update(start, 0.1).coefficient
        0.0001
    """
    notch = controller.rate if _finite(entropy) < controller.target_entropy else -controller.rate
    return controller.with_coefficient(controller.coefficient + notch)


def gated_coefficient(controller: EntropyController, entropy: float | int | Float[torch.Tensor, ""]) -> float:
    """Coefficient that applies: that of the controller below the target, 0 at it and above.

    α if H < H*, else 0

    Args:
        controller: the state.
        entropy: H in nats; a tensor of one value makes the host wait for it.

    Returns:
        The coefficient to use, in units of reward per nat.

    Raises:
        ValueError: entropy is not finite.

    Numerics: No rounding: a comparison. tests/batched/test_controllers.py.

    Source: chapter regularisers-and-controllers; [he2025skywork].

    Example:
        >>> start = EntropyController(0.1, target_entropy=2.0, rate=0.5, lowest=0.0, highest=1.0)
        >>> gated_coefficient(start, 2.5)
        0.0
    """
    return controller.coefficient if _finite(entropy) < controller.target_entropy else 0.0


def integral_rate_limit(varentropy: float | int | Float[torch.Tensor, ""], delay: int = 0) -> float:
    """Rate of an integral controller above which small errors grow, for small steps.

    κ < 1 / ((1 + d) Var(log π)), exact without delay, the limit of small steps with one

    Args:
        varentropy: Var(log π) in nats², of the policy at the target; the mean over states of a batch is what
            `policy_moments` gives.
        delay: d, how many steps old the entropy is that the controller reads.

    Returns:
        The largest κ, per nat; infinite where the varentropy is 0.

    Raises:
        ValueError: varentropy is negative or NaN, or delay is negative.

    Numerics: Float64, one rounding. tests/batched/test_controllers.py.

    Source: claims `integral-controller`, `controller-delay`, chapter regularisers-and-controllers.

    Example:
        >>> integral_rate_limit(4.0)
        0.25
    """
    spread = float(varentropy)
    if not (spread >= 0 and delay >= 0):
        raise ValueError(
            f"varentropy and delay must not be negative; {varentropy} and {delay} came. "
            "Find where the varentropy was made."
        )
    return 1 / ((1 + delay) * spread) if spread > 0 else math.inf


def _error(controller, entropy):
    """Return the distance of the entropy from the band about the target, with its sign."""
    value, low = _finite(entropy), controller.target_entropy - controller.half_width
    return min(0.0, value - low) + max(0.0, value - low - 2 * controller.half_width)


def _finite(entropy):
    value = float(entropy)
    if not math.isfinite(value):
        raise ValueError(
            f"entropy must be finite; {value} came. Skip the update after a batch without tokens."
        )
    return value


def _check_positive(controller):
    if not controller.lowest > 0:
        raise ValueError(
            f"lowest must be positive where log α moves; {controller.lowest} came. "
            "Set it to the least coefficient that still matters, or use additive_update."
        )
