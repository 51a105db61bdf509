r"""Tables: quantities indexed by states and actions, for symbolic numbers of both.

A `Table` is called with its indices, as in `rewards(s, a)`; `OverStates`, `OverActions` and `OverParameters`
sum it. It is a primitive, or it has a definition in other tables. `unfold` replaces definitions until only
indexed symbols and sums over 1..m (states), 1..n (actions) and 1..q (parameters) are left, which `sums` and
`unrolled` understand. The parameter t moves the tables that depend on the policy; `Dt` and `ByLogit` are
derivatives along that motion.
"""

from sympy import (
    Derivative,
    Dummy,
    Function,
    Indexed,
    IndexedBase,
    KroneckerDelta,
    Sum,
    Symbol,
    exp,
    sympify,
)

from entropy_core.symbolic.operators import At, Dt, Named, PointFree, Quantity, Total

__all__ = [
    "ByLogit",
    "Entry",
    "OverActions",
    "OverParameters",
    "OverStates",
    "Table",
    "actions",
    "parameters",
    "path_parameter",
    "state_index",
    "states",
    "unfold",
]

states = Symbol("m", integer=True, positive=True)
actions = Symbol("n", integer=True, positive=True)
parameters = Symbol("q", integer=True, positive=True)
path_parameter = Symbol("t", real=True)
_direction = IndexedBase("delta_logits", real=True)


class Table(Named):
    """A quantity with one value for each state, or each state and action (and next state).

    Args:
        name: name in code.
        form: gives the LaTeX of one entry from the LaTeX of its indices.
        rule: gives the definition from the indices, or None for a primitive.
        moves: whether a primitive depends on the parameter t of the path.
        order: smaller numbers print further left in a product.
    """

    def __new__(cls, name, form, rule=None, moves=False, order=50):
        """Create the table; equality is by name."""
        self = Named.__new__(cls, name, order=order)
        self.form, self.rule, self.moves = form, rule, moves
        return self

    def __call__(self, *indices):
        """Return the entry at these indices."""
        return Entry(self, *indices)


class Entry(At):
    """The value of a table at a state, or a state and an action (and a next state)."""

    def __new__(cls, table, *indices):
        """Build the entry; no definition is looked up yet."""
        return PointFree.__new__(cls, table, *indices)

    def _latex(self, printer):
        return self.args[0].form(*map(printer._print, self.args[1:]))

    def _sympystr(self, printer):
        return f"{self.args[0].name}({', '.join(map(printer._print, self.args[1:]))})"


class OverStates(Total):
    """Sum over the states. Formula: Σ_s f(s), s = 1..m."""

    size = states


class OverActions(Total):
    """Sum over the actions. Formula: Σ_a f(a), a = 1..n."""

    size = actions


class OverParameters(Total):
    """Sum over the parameters of the policy. Formula: Σ_k f(k), k = 1..q."""

    size = parameters


class ByLogit(Dt):
    """Unevaluated partial derivative in the logit of one action in one state."""

    def _latex(self, printer):
        body, s, a = map(printer._print, self.args)
        return rf"\frac{{\partial {body}}}{{\partial z({s}, {a})}}"


def state_index(name):
    """Return an index that runs over the states 1..m.

    Args:
        name: how it prints.

    Returns:
        a positive integer symbol.
    """
    return Symbol(name, integer=True, positive=True)


def unfold(expression):
    """Return an expression in tables as sums over indexed symbols; anything else is returned as it is.

    Args:
        expression: built from entries of tables, `OverStates`, `OverActions`, `Dt`, `ByLogit` and numbers.

    Returns:
        an equal expression without definitions; bound indices are Dummies.
    """
    e = sympify(expression)
    if isinstance(e, Entry):
        return _unfold_entry(*e.args)
    if isinstance(e, (OverStates, OverActions, OverParameters)):
        bound = Dummy(e.index.name, integer=True, positive=True)
        return Sum(unfold(e.args[0].xreplace({e.index: bound})), (bound, 1, e.size))
    if isinstance(e, Quantity):
        return unfold(e.definition)
    if isinstance(e, ByLogit):
        return _along_one_logit(unfold(e.args[0]).diff(path_parameter), *e.args[1:])
    if isinstance(e, Dt):
        return unfold(e.args[0]).diff(path_parameter)
    return e.func(*map(unfold, e.args)) if e.has(Entry, Quantity) else e


def _unfold_entry(table, *indices):
    if table.rule:
        # Through Dummies: an index named like one that the rule sums over would be captured.
        fresh = [Dummy(integer=True, positive=True) for _ in indices]
        return unfold(table.rule(*fresh)).xreplace(dict(zip(fresh, indices, strict=True)))
    if table.moves:
        return Function(table.name, real=True)(*indices, path_parameter)
    return IndexedBase(table.name, real=True)[indices]


def _along_one_logit(slope, s, a):
    """Put the velocity e_(s, a) where Δz is: a slope is linear in the velocity, whatever the position."""
    position = {e: Dummy() for e in slope.atoms(exp)}
    velocity = {e: _one_logit(e, s, a) for e in slope.atoms(Indexed) if e.base == _direction}
    unknown = {
        d: Function(f"{d.expr.func}_by_logit", real=True)(*d.expr.args, s, a) for d in slope.atoms(Derivative)
    }
    held = slope.xreplace(position).xreplace(velocity | unknown)
    return held.xreplace({dummy: e for e, dummy in position.items()})


def _one_logit(entry, s, a):
    state, action = entry.indices
    return KroneckerDelta(state, s) * KroneckerDelta(action, a)
