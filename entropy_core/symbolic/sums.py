r"""Canonical form of finite sums over a symbolic number of actions.

SymPy differentiates, but it cannot see that Σ_a f_a − Σ_b f_b is 0. `canonical` adds the four facts about
finite sums that this needs and no others: linearity, constants out, bound indices renamed, Kronecker deltas
contracted. `is_zero` then asks whether the canonical form is the zero rational function of its atoms.

Sound for every n ≥ 1: what it accepts is an identity, given that free indices lie in 1..n. Incomplete: it
knows no law of the logarithm, so log π is to be written z − log Z (which `realisation` does).
Sums run from 1 to a symbol; several index sets (actions, parameters, states) may occur together.
"""

from itertools import permutations

from sympy import (
    Add,
    Derivative,
    Dummy,
    Indexed,
    KroneckerDelta,
    Mul,
    S,
    Sum,
    default_sort_key,
    expand,
    fraction,
    sympify,
    together,
)

__all__ = ["canonical", "is_zero"]

# Fixed Dummies, so that no name a user can type is ever captured by a bound index.
_BOUND = [Dummy(f"a{k}", integer=True, positive=True) for k in range(12)]


def canonical(expression, constraints=None):
    """Return the canonical form of an expression in sums.

    Formula: linearity, constants out, bound indices renamed, Σ_a δ_aj f_a = f_j.

    Args:
        expression: built from +, ·, powers, exp, log, applied functions, Indexed, KroneckerDelta and Sum.
        constraints: {canonical sum: value} to use besides, such as {Σ_a p_a: 1}.

    Returns:
        an equal expression; sums in it have monomial summands that no constant can leave.

    Raises:
        ValueError: if a sum does not start at 1, or a delta ties an index to something that may leave 1..n.
    """
    form = _canonical(sympify(expression))
    for _ in range(3):
        reduced = _canonical(form.xreplace(constraints)) if constraints else form
        if reduced == form:
            return form
        form = reduced
    return form


def is_zero(expression, constraints=None):
    """Whether an expression in sums is 0 for every n, as far as the four facts reach.

    Formula: numerator of the canonical form, with every sum replaced by an independent symbol, expands to 0.

    Args:
        expression: as for `canonical`.
        constraints: as for `canonical`.

    Returns:
        True if it is 0 for all n ≥ 1; False if it is not, or if the four facts do not suffice.
    """
    form = canonical(expression, constraints)
    if form == 0:
        return True
    atoms = {}
    for total in sorted(form.atoms(Sum), key=lambda s: (-s.count_ops(), default_sort_key(s))):
        form = form.xreplace({total: atoms.setdefault(total, Dummy("S"))})
    return _reduce_deltas(_expand(fraction(together(form))[0])) == 0


def _expand(e):
    return expand(e, log=False, trig=False, func=False, complex=False)


def _canonical(e):
    if isinstance(e, Sum):
        bound = {index: Dummy(integer=True, positive=True) for index, *_ in e.limits}
        body = _expand(_canonical(e.function).xreplace(bound))
        sizes = {bound[limits[0]]: _size(limits) for limits in e.limits}
        return _expand(Add(*[_sum_of_monomial(term, sizes) for term in Add.make_args(body)]))
    if not e.args or isinstance(e, (Indexed, Derivative, KroneckerDelta)):
        return e
    return _reduce_deltas(_expand(e.func(*map(_canonical, e.args))))


def _size(limits):
    index, lower, upper = limits
    if lower != 1 or not upper.is_Symbol:
        raise ValueError(f"sums must run from 1 to a symbol; {index} runs from {lower} to {upper}")
    return upper


def _sum_of_monomial(term, sizes):
    """Σ of one product: merge inner sums that share an index, contract deltas, split what is independent."""
    factors, sizes = _merge_inner_sums(term, sizes)
    factors, sizes = _contract_deltas(Mul(*factors), sizes)
    product = S.One
    for group, members in _components(factors, sizes):
        product *= _named_sum(Mul(*members), group, sizes) if group else Mul(*members)
    return _reduce_deltas(product)


def _merge_inner_sums(term, sizes):
    """Σ_a f_a Σ_b g_ab becomes Σ_a,b f_a g_ab; a sum in a denominator stays, a factor that depends on a."""
    factors, merged = [], dict(sizes)
    for factor in Mul.make_args(term):
        base, exponent = factor.as_base_exp()
        depends = isinstance(base, Sum) and base.free_symbols & set(sizes)
        if not (depends and exponent.is_Integer and exponent > 0):
            factors.append(factor)
            continue
        for _ in range(int(exponent)):
            fresh = {index: Dummy(integer=True, positive=True) for index, *_ in base.limits}
            factors.append(base.function.xreplace(fresh))
            merged.update({fresh[limits[0]]: _size(limits) for limits in base.limits})
    return factors, merged


def _contract_deltas(term, sizes):
    """Σ_a δ_aj f_a = f_j for every bound index a that a factor δ_aj ties to another index."""
    sizes = dict(sizes)
    while True:
        deltas = [
            f for f in Mul.make_args(term) if isinstance(f, KroneckerDelta) and set(f.args) & set(sizes)
        ]
        if not deltas:
            return Mul.make_args(term), sizes
        first, second = deltas[0].args
        index, other = (first, second) if first in sizes else (second, first)
        if not other.is_Symbol or sizes.get(other, sizes[index]) != sizes[index]:
            raise ValueError(f"{deltas[0]}: {other} may lie outside the range of {index}, 1..{sizes[index]}")
        term = (term / deltas[0]).xreplace({index: other})
        del sizes[index]


def _components(factors, sizes):
    """Groups of factors tied together by common bound indices; the group without any index comes first."""
    groups = [(frozenset(), [])] + [(frozenset([index]), []) for index in sizes]
    for factor in factors:
        used = factor.free_symbols & set(sizes)
        touched = [g for g in groups if g[0] & used] or groups[:1]
        kept = [g for g in groups if all(g is not t for t in touched)]
        joined = (frozenset().union(*[g[0] for g in touched]), sum((g[1] for g in touched), []) + [factor])
        groups = kept + [joined] if used else [joined] + kept
    return groups


def _named_sum(body, group, sizes):
    """The sum over a group of indices, under the choice of standard names that sorts first."""
    if body == 1:
        return Mul(*[sizes[index] for index in group])
    # An inner sum that could not be merged may use standard names already.
    names = [name for name in _BOUND if name not in body.atoms(Dummy) - group][: len(group)]
    orders = permutations(sorted(group, key=default_sort_key))
    choices = [(body.xreplace(dict(zip(order, names, strict=True))), order) for order in orders]
    chosen, order = min(choices, key=lambda choice: default_sort_key(choice[0]))
    return Sum(chosen, *[(name, 1, sizes[index]) for name, index in zip(names, order, strict=True)])


def _reduce_deltas(e):
    """δ_ij f_j becomes δ_ij f_i in every term, i before j in sort order."""
    if not e.has(KroneckerDelta):
        return e
    return Add(*[_reduce_term(term) for term in Add.make_args(e)])


def _reduce_term(term):
    done = set()
    while True:
        open_deltas = [f for f in Mul.make_args(term) if isinstance(f, KroneckerDelta) and f not in done]
        if not open_deltas:
            return term
        delta = min(open_deltas, key=default_sort_key)
        kept, replaced = sorted(delta.args, key=default_sort_key)
        rest = term / delta
        term = delta * (rest.xreplace({replaced: kept}) if replaced.is_Symbol else rest)
        done.add(delta)
