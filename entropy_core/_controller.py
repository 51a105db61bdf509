"""The state of a controller of the entropy: plain numbers, for both numeric layers and any checkpoint."""

from dataclasses import dataclass, replace

import numpy as np

from entropy_core._shapes import Real

__all__ = ["EntropyController"]

Numbers = float | int | np.floating | Real[np.ndarray, "..."]


@dataclass(frozen=True)
class EntropyController:
    """What a controller of the entropy coefficient remembers and how it is set; it never changes in place.

    `dataclasses.asdict` makes a dictionary of plain numbers of it, `EntropyController(**saved)` reads it
    back. Arrays in place of numbers are as many controllers, side by side.

    Args:
        coefficient: α, the coefficient of now, in units of reward per nat.
        target_entropy: H*, in nats, the same mean over tokens as the entropy that is fed in.
        rate: κ > 0; what it is counted in depends on the update.
        lowest: least α, not negative; positive for updates of log α.
        highest: largest α.
        half_width: entropies within H* ± half_width, in nats, count as on target.

    Raises:
        ValueError: if a number is not finite, rate is not positive, half_width is negative, or the
            coefficient does not lie between lowest ≥ 0 and highest.
    """

    coefficient: Numbers
    target_entropy: Numbers
    rate: Numbers
    lowest: Numbers
    highest: Numbers
    half_width: Numbers = 0.0

    def __post_init__(self):
        """Refuse settings that no run should start from."""
        for name, value in vars(self).items():
            if not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite; {value} came. Give a finite number.")
        inside = (np.asarray(self.lowest) <= self.coefficient) & (
            self.coefficient <= np.asarray(self.highest)
        )
        if not (np.all(inside) and np.all(np.asarray(self.lowest) >= 0)):
            raise ValueError(
                "coefficient must lie between lowest ≥ 0 and highest; "
                f"{self.lowest}, {self.coefficient}, {self.highest} came. Widen the bounds or move the start."
            )
        if not (np.all(np.asarray(self.rate) > 0) and np.all(np.asarray(self.half_width) >= 0)):
            raise ValueError(
                f"rate must be positive and half_width not negative; {self.rate} and {self.half_width} came. "
                "A controller that never moves is a fixed coefficient."
            )

    def with_coefficient(self, coefficient) -> "EntropyController":
        """Return the same controller at another coefficient, brought back between its bounds.

        Args:
            coefficient: α before it is clamped.

        Returns:
            A new controller.
        """
        clamped = np.clip(coefficient, self.lowest, self.highest)
        return replace(self, coefficient=float(clamped) if np.ndim(clamped) == 0 else clamped)
