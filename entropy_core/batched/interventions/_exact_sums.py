"""Exact sums of float64 numbers and of their products, as integers that any order adds up to.

A finite float64 is m 2^e with a whole number m of at most 53 bits. Cut into two halves of at most 27 bits it
is a sum of two small integers times powers of two. A sum keeps one int64 counter for each power: adding is
integer addition, which knows no rounding and no order, on threads, devices and processes alike. A product is
four products of halves, cut again. The counters hold 2³³ tokens and any finite float64.

The last counter counts numbers that are NaN or infinite: what was summed is then refused.
"""

import torch

__all__: list[str] = []

HALF = 27  # bits; a product of halves has at most 54
LOWEST = -2 * 1126  # exponent of the smallest product of two mantissas: frexp gives −1073 at least, less 53
WIDTH = 2 * (1126 + 971) + 3 * HALF + 2  # up to the largest, and one for numbers that are not finite


def exact_sum(values: torch.Tensor) -> torch.Tensor:
    """Return the counters of a sum of float64 numbers."""
    mantissas, exponents, finite = _taken_apart(values)
    return _marked(_counted(mantissas, exponents), finite)


def exact_dot(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the counters of Σ x y; a factor that is not finite marks them."""
    (m_x, e_x, finite_x), (m_y, e_y, finite_y) = _taken_apart(x), _taken_apart(y)
    counters = torch.zeros(WIDTH, dtype=torch.int64, device=x.device)
    for half_x, up_x in _halves(m_x):
        for half_y, up_y in _halves(m_y):
            counters += _counted(half_x * half_y, e_x + e_y + up_x + up_y)
    return _marked(counters, finite_x & finite_y)


def numerator(counters: torch.Tensor) -> int:
    """Return the sum times 2^−LOWEST, a whole number; makes the host wait for the device."""
    powers = counters.nonzero().flatten()
    counts = dict(zip(powers.tolist(), counters[powers].tolist(), strict=True))
    broken = counts.pop(WIDTH - 1, 0)
    if broken:
        raise ValueError(
            f"token_log_probs and advantages must be finite where a token counts; {broken} are not. Find the "
            "step that produced them, or take the tokens out of response_mask."
        )
    return sum(count << power for power, count in counts.items())


def _taken_apart(values):
    """Return whole mantissas and exponents, 0 for what is not finite, and what is finite."""
    finite = values.isfinite()
    fractions, exponents = torch.frexp(torch.where(finite, values, 0.0))
    return (fractions * 2.0**53).long(), exponents.long() - 53, finite


def _halves(mantissas):
    """Return the upper bits, of the number's sign, and the lower ones, and the power each is short of."""
    return (mantissas >> HALF, HALF), (mantissas & (2**HALF - 1), 0)


def _counted(mantissas, exponents):
    """Return counters of integers times powers of two."""
    counters = torch.zeros(WIDTH, dtype=torch.int64, device=mantissas.device)
    for half, up in _halves(mantissas):
        counters.index_add_(0, (exponents - LOWEST + up).flatten(), half.flatten())
    return counters


def _marked(counters, finite):
    """Return counters with the number of broken summands in the last."""
    counters[-1] += (~finite).sum()
    return counters
