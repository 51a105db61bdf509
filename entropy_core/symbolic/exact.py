r"""Exact arithmetic for testing identities at random points (Schwartz and Zippel).

A rational identity in e^z, log Z, Δz, … that holds at a random point of a field with 2⁶¹ − 1 elements is
false with probability below 10⁻¹⁵. The exponential is k ↦ g^k, which turns sums into products as it should;
the logarithm is a random function, for no law of it is used. Derivatives are those of dual numbers, nested as
deep as needed.
"""

from itertools import count
from random import Random

__all__ = ["PRIME", "Dual", "ExactArithmetic", "Residue"]

PRIME = 2**61 - 1


class Residue:
    """An element of the field; also its residue as an exponent, while it is a polynomial in the inputs.

    Args:
        value: modulo the prime.
        exponent: modulo prime − 1, or None after a division, exponential or logarithm.
    """

    __slots__ = ("exponent", "value")

    def __init__(self, value, exponent=None):
        self.value = value % PRIME
        self.exponent = None if exponent is None else exponent % (PRIME - 1)

    @classmethod
    def integer(cls, number):
        """The image of an integer; an element is returned as it is."""
        return number if isinstance(number, cls) else cls(number, number)

    def _combine(self, other, operation):
        if isinstance(other, Dual):
            return NotImplemented
        other = Residue.integer(other)
        lost = self.exponent is None or other.exponent is None
        exponent = None if lost else operation(self.exponent, other.exponent)
        return Residue(operation(self.value, other.value), exponent)

    def __add__(self, other):
        return self._combine(other, lambda a, b: a + b)

    def __sub__(self, other):
        return self._combine(other, lambda a, b: a - b)

    def __mul__(self, other):
        return self._combine(other, lambda a, b: a * b)

    def __truediv__(self, other):
        return NotImplemented if isinstance(other, Dual) else self * Residue.integer(other).inverse()

    def __neg__(self):
        return Residue(0, 0) - self

    def inverse(self):
        """1/x; the residue as an exponent is lost."""
        return Residue(pow(self.value, -1, PRIME))

    __radd__ = __add__
    __rmul__ = __mul__


class Dual:
    """value + slope·ε with ε² = 0; the tag tells nested infinitesimals apart, the newest outermost."""

    __slots__ = ("slope", "tag", "value")

    def __init__(self, value, slope, tag):
        self.value, self.slope, self.tag = value, slope, tag

    def _parts(self, other):
        """Both operands as (value, slope) over the newer of the two infinitesimals."""
        tag = max(self.tag, other.tag if isinstance(other, Dual) else 0)
        split = [
            (x.value, x.slope) if isinstance(x, Dual) and x.tag == tag else (x, 0) for x in (self, other)
        ]
        return *split[0], *split[1], tag

    def __add__(self, other):
        a, da, b, db, tag = self._parts(other)
        return Dual(a + b, da + db, tag)

    def __mul__(self, other):
        a, da, b, db, tag = self._parts(other)
        return Dual(a * b, a * db + da * b, tag)

    def __neg__(self):
        return Dual(-self.value, -self.slope, self.tag)

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * ExactArithmetic.reciprocal(other)

    def __rtruediv__(self, other):
        return ExactArithmetic.reciprocal(self) * other

    __radd__ = __add__
    __rmul__ = __mul__


class ExactArithmetic:
    """The numbers of one random trial.

    Args:
        seed: fixes the base of the exponential and the values of the logarithm.
    """

    _tags = count(1)

    def __init__(self, seed):
        self.random = Random(seed)
        self.base = self.random.randrange(2, PRIME - 1)
        self.logarithms = {}

    def draw(self):
        """A random input, usable as a number and as an exponent."""
        return Residue.integer(self.random.randrange(1, 2**120))

    @staticmethod
    def anchor(values):
        """Nothing is subtracted before exponentials: they cannot overflow."""
        return Residue.integer(0)

    @staticmethod
    def rational(number):
        """The image of p/q; as an exponent only if it is an integer."""
        p = Residue.integer(int(number.p))
        return p if number.q == 1 else p / int(number.q)

    @staticmethod
    def total(values):
        """Sum of an iterable."""
        return sum(values, Residue.integer(0))

    @staticmethod
    def reciprocal(x):
        """1/x, of dual numbers too."""
        if not isinstance(x, Dual):
            return Residue.integer(x).inverse()
        inverse = ExactArithmetic.reciprocal(x.value)
        return Dual(inverse, -(x.slope * inverse * inverse), x.tag)

    @staticmethod
    def power(base, exponent):
        """An integer power."""
        if exponent < 0:
            return ExactArithmetic.power(ExactArithmetic.reciprocal(base), -exponent)
        out = Residue.integer(1)
        for _ in range(exponent):
            out = out * base
        return out

    def exp(self, x):
        """g^x, and e^(x + ε) = e^x (1 + ε)."""
        if isinstance(x, Dual):
            value = self.exp(x.value)
            return Dual(value, value * x.slope, x.tag)
        x = Residue.integer(x)
        if x.exponent is None:
            raise ValueError("the exact check can exponentiate polynomials of the inputs only")
        return Residue(pow(self.base, x.exponent, PRIME))

    def log(self, x):
        """A random function with the derivative of a logarithm."""
        if isinstance(x, Dual):
            return Dual(self.log(x.value), x.slope * self.reciprocal(x.value), x.tag)
        key = Residue.integer(x).value
        if key not in self.logarithms:
            self.logarithms[key] = Residue(self.random.randrange(PRIME))
        return self.logarithms[key]

    def derivative(self, function):
        """The slope of a function at 0."""
        tag = next(self._tags)
        result = function(Dual(Residue.integer(0), Residue.integer(1), tag))
        return result.slope if isinstance(result, Dual) and result.tag == tag else Residue.integer(0)

    @classmethod
    def vanishes(cls, x):
        """Whether a number is 0, all its infinitesimal parts included."""
        if isinstance(x, Dual):
            return cls.vanishes(x.value) and cls.vanishes(x.slope)
        return Residue.integer(x).value == 0
