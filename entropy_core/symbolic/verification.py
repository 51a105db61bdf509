r"""Three checks of one equality between point-free expressions.

1. general: the canonicaliser reduces the difference of the two sums to 0, for every number of actions n.
2. exact: at random points of a finite field the two sides agree for n = 2..6; definitions and derivatives are
   evaluated by `walk`, which shares no code with the canonicaliser.
3. numeric: at random real points the two sides agree to 50 digits in mpmath for n = 2..6; derivatives here
   are difference quotients of the definitions.

An index in the equality is tried at one action of every pattern of coincidence (i = j, i ≠ j, …).
"""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import mpmath
from sympy import Symbol, Tuple, sympify

from entropy_core.symbolic.evaluation import MpmathArithmetic
from entropy_core.symbolic.exact import ExactArithmetic
from entropy_core.symbolic.fields import (
    any_path,
    delta_logits,
    inverse_temperature,
    logits,
    policy_logits,
    straight_path,
    temperature_path,
)
from entropy_core.symbolic.operators import Dt, Entry, Field, Named, Total, is_field
from entropy_core.symbolic.realisation import realise
from entropy_core.symbolic.sums import is_zero
from entropy_core.symbolic.walk import Walk

__all__ = ["SIZES", "Verdict", "check"]

SIZES = range(2, 7)
DIGITS = 50


@dataclass(frozen=True)
class Verdict:
    """What the three checks said about one equality.

    Args:
        general: whether it was proved for every number of actions.
        exact: numbers of actions at which the exact check failed.
        numeric: numbers of actions at which the 50-digit check failed.
        counterexample: the two sides at a point where they differ, in words; empty if there is none.
    """

    general: bool
    exact: tuple
    numeric: tuple
    counterexample: str = ""

    @property
    def holds(self):
        """Whether all three checks agree that it is an identity."""
        return self.general and not self.exact and not self.numeric

    @property
    def failed(self):
        """Names of the checks that failed."""
        named = {
            "every n": not self.general,
            f"exact n = {_listed(self.exact)}": self.exact,
            f"{DIGITS} digits, n = {_listed(self.numeric)}": self.numeric,
        }
        return [name for name, failed in named.items() if failed]


@lru_cache(maxsize=4096)
def check(left, right, path=any_path):
    """Return the verdict of the three checks on left = right.

    Args:
        left: point-free expression, a number or a field; a number equals a field if it does at every action.
        right: as left.
        path: how the logits move under a derivative.

    Returns:
        `Verdict`; equal arguments give an equal verdict in every process.
    """
    left, right = sympify(left), sympify(right)
    exact = tuple(size for size in SIZES if not _agree_exactly(left, right, path, size))
    differing = {size: found for size in SIZES if (found := _disagreement(left, right, path, size))}
    counterexample = next(iter(differing.values()), "")
    return Verdict(_proved_in_general(left, right, path), exact, tuple(differing), counterexample)


def _proved_in_general(left, right, path):
    difference = left - right
    action = Symbol("a_any", integer=True, positive=True) if is_field(difference) else None
    return bool(is_zero(realise(difference, path, action)))


def _agree_exactly(left, right, path, size):
    both = Tuple(left, right)
    for assignment in _assignments(both, size):
        numbers = ExactArithmetic(f"exact {size}")
        walk = Walk(numbers, _law(path, both, size, numbers.draw), indices=assignment)
        if not all(map(numbers.vanishes, _as_list(walk(left - right)))):
            return False
    return True


def _disagreement(left, right, path, size):
    """Both sides at a point where they differ by more than 10^-50 of their size, in words; empty if none."""
    both = Tuple(left, right)
    for assignment in _assignments(both, size):
        with mpmath.workdps(DIGITS + 20):
            law = _law(path, both, size, _real_inputs(f"numeric {size}"))
            walk = Walk(MpmathArithmetic, law, indices=assignment)
            sides = [_as_list(walk(side), size) for side in (left, right)]
            for a, b in zip(*sides, strict=True):
                if abs(a - b) > mpmath.mpf(10) ** (-DIGITS) * max(1, abs(a), abs(b)):
                    return _in_words(law(0), both, assignment, a, b)
    return ""


def _real_inputs(seed):
    """A source of random reals in [−1.5, 1.5]."""
    random = Random(seed)
    return lambda: mpmath.mpf(random.randint(-1500, 1500)) / 1000


def _law(path, expression, size, draw):
    """Random values on a path: a function of the path parameter that gives a value to every symbol."""
    symbols = sorted(_primitives(expression) - {logits, delta_logits}, key=str)
    fixed = {s: [draw() for _ in range(size)] if isinstance(s, Field) else draw() for s in symbols}
    # Degree 5 in t: generic up to the fifth derivative.
    coefficients = [[draw() for _ in range(size)] for _ in range(2 if path == straight_path else 6)]

    def polynomial(t):
        z, velocity = [0] * size, [0] * size
        for column in reversed(coefficients):
            velocity = [v * t + x for v, x in zip(velocity, z, strict=True)]
            z = [x * t + c for x, c in zip(z, column, strict=True)]
        return {**fixed, logits: z, delta_logits: velocity}

    # Drawn even if β is not named: at β = 1 too much is true.
    start = fixed.get(inverse_temperature) or draw()

    def tempered(t):
        beta = start + t
        z = coefficients[0]
        return {**fixed, inverse_temperature: beta, logits: z, policy_logits: [beta * x for x in z]}

    return tempered if path == temperature_path else polynomial


def _primitives(expression):
    """Fields and numbers that need a value: those without a definition, probs and log_probs excepted."""
    found = set().union(*[_primitives(entry.definition) for entry in expression.atoms(Entry)])
    for symbol in expression.atoms(Named):
        if symbol.definition is not None:
            found |= _primitives(symbol.definition)
        elif symbol.name not in ("probs", "log_probs"):
            found.add(symbol)
    return found | (expression.free_symbols - expression.atoms(Named) - _indices(expression))


def _indices(expression):
    """Action indices, free or summed over."""
    return {s for s in expression.free_symbols if s.is_integer} | {
        t.index for t in expression.atoms(Total) if t.index
    }


def _assignments(expression, size):
    """One choice of actions for every pattern of coincidence of the free indices."""
    bound = {total.index for total in expression.atoms(Total)}
    free = sorted(_indices(expression) - bound, key=str)
    patterns = [()]
    for _ in free:
        patterns = [p + (a,) for p in patterns for a in range(1, min(size, max(p, default=0) + 1) + 1)]
    return [dict(zip(free, pattern, strict=True)) for pattern in patterns]


def _as_list(value, size=1):
    return value if isinstance(value, list) else [value] * size


def _listed(sizes):
    return f"{sizes[0]}..{sizes[-1]}" if len(sizes) > 1 else "".join(map(str, sizes))


def _in_words(values, expression, assignment, a, b):
    """The point at which two sides differ: the indices, the logits and what else the sides mention."""
    mentioned = _primitives(expression) | {logits} | ({delta_logits} if expression.has(Dt) else set())
    named = sorted(mentioned & values.keys(), key=lambda s: (s != logits, str(s)))
    shown = {**assignment, **{s: values[s] for s in named}}
    point = ", ".join(f"{s} = {_short(v)}" for s, v in shown.items())
    return f"at {point} the left side is {mpmath.nstr(a, 8)} and the right side {mpmath.nstr(b, 8)}"


def _short(value):
    if isinstance(value, list):
        return f"({', '.join(map(_short, value))})"
    return str(value) if isinstance(value, int) else mpmath.nstr(mpmath.mpf(value), 5)
