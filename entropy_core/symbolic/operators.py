r"""Point-free operators: what an expectation or a derivative makes of functions of the action.

A `Field` is a real function of the action; products of fields are pointwise. An aggregate (`E`, `Cov`, `Var`,
`Kappa`, `Total`) turns fields into a number. `Dt`, `Grad`, `DBeta` are unevaluated derivatives along a path
of logits, `Partial` is the one in a single logit, `field.at(i)` is the value at one action. Nothing here
computes: `realisation` maps these objects to sums over n actions, `walk` maps them to numbers, each in its
own way.
"""

from sympy import Expr, KroneckerDelta, S, Symbol, Tuple, sympify
from sympy.printing.precedence import PRECEDENCE

__all__ = [
    "Aggregate",
    "At",
    "Cov",
    "DBeta",
    "Dt",
    "E",
    "Entry",
    "Field",
    "Grad",
    "Indicator",
    "Kappa",
    "Named",
    "Partial",
    "PointFree",
    "Quantity",
    "Scalar",
    "Total",
    "Var",
    "action_index",
    "is_field",
    "named_matrix",
]


class Named(Symbol):
    """A symbol with a code name, a LaTeX form, a place in products and possibly a definition.

    Args:
        name: name in code and in error messages.
        latex: printed form; the name if omitted.
        definition: point-free expression it stands for, or None for a primitive.
        order: smaller numbers print further left in a product.
    """

    def __new__(cls, name, latex=None, definition=None, order=50):
        """Create the symbol; equality is by class and name."""
        self = Symbol.__xnew__(cls, name, real=True)
        self.latex_form = latex or name
        self.definition = None if definition is None else sympify(definition)
        self.order = order
        compound = self.latex_form.startswith((r"\log", r"\Delta"))
        self.precedence = PRECEDENCE["Mul"] + 1 if compound else PRECEDENCE["Atom"]
        return self

    def sort_key(self, order=None):
        """Sort by the chosen place, then by name: the same in every process."""
        return self.class_key(), (1, (f"{self.order:02d}{self.name}",)), S.One.sort_key(), S.One

    def _latex(self, printer):
        return self.latex_form

    def _sympystr(self, printer):
        return self.name


class Field(Named):
    """A real function of the action, used without its argument."""

    def at(self, index):
        """Return the value of this field at one action: `probs.at(i)` prints as π_i."""
        return At(self, index)


class Scalar(Named):
    """A number that belongs to no action, such as the step size."""


class Quantity(Named):
    """A named number, such as the entropy H, that stands for its definition."""


class PointFree(Expr):
    """Base of the unevaluated operators; they are real and commute."""

    is_commutative = True
    is_extended_real = True

    def __new__(cls, *args):
        """Build the operator on sympified arguments, unevaluated."""
        return Expr.__new__(cls, *map(sympify, args))

    def _sympystr(self, printer):
        return f"{type(self).__name__}({', '.join(map(printer._print, self.args))})"


class Aggregate(PointFree):
    """An operator whose value is one number for all actions."""

    def __new__(cls, *args):
        """Refuse arguments that no action can be put into."""
        args = [sympify(arg) for arg in args]
        for arg in args:
            if not isinstance(arg, Expr):
                raise TypeError(f"{cls.__name__} needs expressions in fields, got {arg!r}")
        return Expr.__new__(cls, *args)


class E(Aggregate):
    """Expectation under π. Formula: E f = Σ_a π_a f_a."""

    def __new__(cls, field):
        """Return E f; a number is its own expectation."""
        return Aggregate.__new__(cls, field) if is_field(field) else sympify(field)

    def _latex(self, printer):
        return rf"\mathbb{{E}}\left[{printer._print(self.args[0])}\right]"


class Cov(Aggregate):
    """Covariance over actions under π. Formula: Cov(f, g) = E[f g] − E f · E g."""

    def __new__(cls, first, second):
        """Return Cov(f, g); Var f if both are f, 0 if either is the same number at every action."""
        if first == second:
            return Var(first)
        return Aggregate.__new__(cls, first, second) if is_field(first) and is_field(second) else S.Zero

    def _latex(self, printer):
        first, second = map(printer._print, self.args)
        return rf"\operatorname{{Cov}}\left({first},\, {second}\right)"


class Var(Aggregate):
    """Variance over actions under π. Formula: Var f = E[f²] − (E f)²."""

    def __new__(cls, field):
        """Return Var f; the variance of a number is 0."""
        return Aggregate.__new__(cls, field) if is_field(field) else S.Zero

    def _latex(self, printer):
        return rf"\operatorname{{Var}}\left({printer._print(self.args[0])}\right)"


class Kappa(Aggregate):
    """Joint cumulant under π. Formula: κ = Σ over set partitions of (−1)^(m−1) (m−1)! Π_blocks E Π f."""

    def __new__(cls, *fields):
        """Return κ(f, g, …) of at least one field; with two or more, a constant argument makes it 0."""
        if not fields:
            raise TypeError("Kappa needs at least one field, got none")
        if len(fields) > 1 and not all(map(is_field, fields)):
            return S.Zero
        return Aggregate.__new__(cls, *fields)

    def _latex(self, printer):
        fields = r",\, ".join(map(printer._print, self.args))
        return rf"\kappa\left({fields}\right)"


class Total(Aggregate):
    """Plain sum. Formula: `Total(f)` = Σ_a f_a; `Total(expr, i)` sums an index expression over i."""

    precedence = PRECEDENCE["Mul"] - 1

    @property
    def index(self):
        """The summation index of an index-level sum, or None for a point-free one."""
        return self.args[1] if len(self.args) == 2 else None

    def _latex(self, printer):
        body = printer._print(self.args[0])
        body = rf"\left({body}\right)" if self.args[0].is_Add else body
        return rf"\sum_{{{printer._print(self.index) if self.index else 'a'}}} {body}"


class At(PointFree):
    """The value of a field at one action."""

    def __new__(cls, field, index):
        """Return f_i for a field (or a derivative of one) and an index i in 1..n."""
        if not is_field(field):
            raise TypeError(f"only a field has a value at an action; {field} is a number already")
        return PointFree.__new__(cls, field, index)

    @property
    def precedence(self):
        """Bind as loosely as the field does: log π_i is bracketed in a power."""
        return getattr(self.args[0], "precedence", PRECEDENCE["Atom"])

    def _latex(self, printer):
        return rf"{printer._print(self.args[0])}_{{{printer._print(self.args[1])}}}"

    def _sympystr(self, printer):
        return f"{printer._print(self.args[0])}[{printer._print(self.args[1])}]"


class Indicator(PointFree):
    """The field that is 1 at one action and 0 elsewhere; prints as e_j."""

    def _latex(self, printer):
        return rf"e_{{{printer._print(self.args[0])}}}"


class Dt(PointFree):
    """Unevaluated derivative d/dt along a path of logits whose velocity dz/dt is `delta_logits`."""

    symbol_latex = r"\frac{d}{dt}"
    symbol_latex_twice = r"\frac{d^{2}}{dt^{2}}"

    def _latex(self, printer):
        inner, symbol = self.args[0], self.symbol_latex
        if type(inner) is type(self):
            inner, symbol = inner.args[0], self.symbol_latex_twice
        body = printer._print(inner)
        return symbol + (rf"\left({body}\right)" if inner.is_Add or inner.is_Mul else f" {body}")


class Grad(Dt):
    """The same derivative in one coordinate of any parameter vector θ, written ∇_θ; its velocity is ∇_θ z."""

    symbol_latex = r"\nabla_{\theta}"
    symbol_latex_twice = r"\nabla_{\theta}^{2}"


class DBeta(Dt):
    """Unevaluated derivative in the inverse temperature β, where π = softmax(βz); its velocity is z."""

    symbol_latex = r"\frac{d}{d\beta}"
    symbol_latex_twice = r"\frac{d^{2}}{d\beta^{2}}"


class Partial(PointFree):
    """Unevaluated derivative in one logit: `Partial(f, logits.at(j))` is ∂f/∂z_j."""

    def __new__(cls, expression, coordinate):
        """Refuse any coordinate but a logit."""
        if not (isinstance(coordinate, At) and str(coordinate.args[0]) == "logits"):
            raise TypeError(f"Partial differentiates in logits.at(j); got {coordinate}")
        return PointFree.__new__(cls, expression, coordinate)

    def _latex(self, printer):
        body, coordinate = self.args[0], printer._print(self.args[1])
        if isinstance(body, (Named, At)):
            return rf"\frac{{\partial {printer._print(body)}}}{{\partial {coordinate}}}"
        loose = body.is_Add or body.is_Mul
        inner = rf"\left({printer._print(body)}\right)" if loose else printer._print(body)
        return rf"\frac{{\partial}}{{\partial {coordinate}}} {inner}"


def is_field(expression):
    """Whether an expression still varies with the action, so that an expectation of it means something."""
    expression = sympify(expression)
    if isinstance(expression, (Field, Indicator)):
        return True
    if isinstance(expression, (Aggregate, At, KroneckerDelta, Tuple)):
        return False
    if isinstance(expression, (Dt, Partial)):
        return is_field(expression.args[0])
    return any(map(is_field, expression.args))


def action_index(name):
    """Return an index that runs over the actions 1..n.

    Args:
        name: how it prints.

    Returns:
        a positive integer symbol.
    """
    return Symbol(name, integer=True, positive=True)


class Entry(PointFree):
    """Entry of a named matrix over the actions: prints as F_ij and stands for its definition."""

    latex_form = ""

    @property
    def definition(self):
        """The expression in the two indices that this entry stands for."""
        return type(self).entry(*self.args)

    def _latex(self, printer):
        row, column = map(printer._print, self.args)
        return rf"{self.latex_form}_{{{row} {column}}}"


def named_matrix(name, latex_form, entry):
    """Return a matrix whose entries print by name.

    Args:
        name: name in code and in error messages.
        latex_form: how it prints, without the indices.
        entry: function of two action indices that gives the entry.

    Returns:
        subclass of `Entry`; called with two indices, it gives the entry.
    """
    return type(name, (Entry,), {"latex_form": latex_form, "entry": staticmethod(entry)})
