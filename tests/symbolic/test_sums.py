"""The canonicaliser against sums written out: its truth is a loop over 1..n in exact arithmetic."""

from random import Random

import pytest
from sympy import Dummy, Function, IndexedBase, Integer, KroneckerDelta, Sum, Symbol, exp, log, symbols

from entropy_core.symbolic import canonical, is_zero
from entropy_core.symbolic.exact import ExactArithmetic
from entropy_core.symbolic.unrolled import Unrolled

n, m = symbols("n m", integer=True, positive=True)
i, j = symbols("i j", integer=True, positive=True)
c = Symbol("c", real=True)
z, x, k = IndexedBase("z", real=True), IndexedBase("x", real=True), IndexedBase("K", real=True)

# Numbers of actions, and what the free indices are there: equal, then different.
POINTS = ((2, {i: 1, j: 1}), (3, {i: 1, j: 2}))


def total(term, size=n):
    """Σ over a fresh index."""
    b = Dummy("b", integer=True, positive=True)
    return Sum(term(b), (b, 1, size))


def differs(left, right, seed):
    """Whether two expressions differ at a random point for n = 2 or n = 3, by writing every sum out."""
    for size, free in POINTS:
        numbers = ExactArithmetic(f"{seed} {size}")
        walk = Unrolled(numbers, {n: size, m: size + 1}, numbers.draw)
        if not numbers.vanishes(walk(left, free) - walk(right, free)):
            return True
    return False


def random_leaf(rng, scope):
    a, b = rng.choice(scope), rng.choice(scope)
    leaves = [
        z[a],
        x[a],
        exp(z[a]),
        c,
        KroneckerDelta(a, b),
        k[a, b],
        Integer(rng.randint(1, 3)),
        exp(z[a] + c * x[b]),
    ]
    return rng.choice(leaves)


def random_expression(rng, scope, depth):
    """A nest of sums, products, powers and deltas over bound and free indices, denominators included."""
    roll = rng.random()
    if depth == 0 or roll < 0.25:
        return random_leaf(rng, scope)
    if roll < 0.5:
        return random_expression(rng, scope, depth - 1) + random_expression(rng, scope, depth - 1)
    if roll < 0.7:
        return random_expression(rng, scope, depth - 1) * random_expression(rng, scope, depth - 1)
    if roll < 0.75:
        return random_expression(rng, scope, depth - 1) ** 2
    b = Dummy("b", integer=True, positive=True)
    if roll < 0.95:
        return Sum(random_expression(rng, [*scope, b], depth - 1), (b, 1, n))
    return 1 / (1 + Sum(exp(z[b]) * (1 + x[rng.choice([*scope, b])] ** 2), (b, 1, n)))


def fuzz_cases(count, seed=0):
    """Seeded expressions that have a sum in them."""
    found = 0
    while found < count:
        expression = random_expression(Random(seed), [i, j], 4)
        if isinstance(expression, Sum) or getattr(expression, "has", lambda *_: False)(Sum):
            found += 1
            yield seed, expression
        seed += 1


@pytest.mark.parametrize("part", range(4))
def test_canonical_form_keeps_the_value(part, record_property):
    wrong = [seed for seed, e in fuzz_cases(255, 10_000 * part) if differs(e, canonical(e), seed)]
    record_property("expressions compared with sums written out", 255)
    assert wrong == []


def test_canonical_form_is_its_own_canonical_form():
    unstable = [seed for seed, e in fuzz_cases(100) if canonical(canonical(e)) != canonical(e)]
    assert unstable == []


def test_zero_test_agrees_with_sums_written_out():
    rng = Random(7)
    for seed, e in fuzz_cases(100):
        changed = e + rng.choice([0, 1, x[i], total(lambda b: x[b] * z[b]), KroneckerDelta(i, j)])
        assert is_zero(e - changed) == (not differs(e, changed, seed)), f"seed {seed}: {e} against {changed}"


def test_bound_names_do_not_matter():
    left = total(lambda a: z[a] * total(lambda b: k[a, b] * x[b]))
    right = total(lambda b: x[b] * total(lambda a: k[a, b] * z[a]))
    assert is_zero(left - right)
    assert not is_zero(left - total(lambda a: z[a] * total(lambda b: k[b, a] * x[b])))


def test_delta_picks_the_free_index():
    assert canonical(total(lambda a: KroneckerDelta(a, j) * exp(z[a]) * x[a])) == exp(z[j]) * x[j]


def test_squared_sums_are_not_sums_of_squares():
    assert not is_zero(total(lambda a: x[a]) ** 2 - total(lambda a: x[a] ** 2))
    assert is_zero(total(lambda a: x[a]) ** 2 - total(lambda a: x[a] * total(lambda b: x[b])))


def test_free_delta_ties_its_indices_everywhere():
    assert is_zero(KroneckerDelta(i, j) * (exp(z[i]) - exp(z[j])))
    assert not is_zero((1 - KroneckerDelta(i, j)) * (exp(z[i]) - exp(z[j])))


def test_sum_of_one_is_the_size_of_its_own_index_set():
    assert canonical(total(lambda a: Integer(1))) == n
    assert canonical(total(lambda a: Integer(1), m)) == m


def test_sums_over_different_sets_stay_different():
    assert not is_zero(total(lambda a: x[a], n) - total(lambda a: x[a], m))
    assert is_zero(
        total(lambda s: z[s] * total(lambda a: k[s, a], n), m)
        - total(lambda a: total(lambda s: k[s, a] * z[s], m), n)
    )


def test_constraint_is_used_and_only_where_given():
    normalised = {canonical(total(lambda a: x[a])): 1}
    assert is_zero(c * total(lambda a: x[a]) - c, normalised)
    assert not is_zero(c * total(lambda a: x[a]) - c)


def test_user_index_is_never_captured():
    a0 = Symbol("a0", integer=True, positive=True)
    assert canonical(total(lambda b: x[b] * z[a0])) == z[a0] * canonical(total(lambda b: x[b]))


def test_nested_denominators_keep_their_own_index():
    ratio = total(lambda a: exp(z[a]) / (1 + total(lambda b: exp(k[a, b]))))
    assert canonical(ratio) == canonical(canonical(ratio))
    assert not is_zero(ratio - total(exp_of_z) / (1 + total(lambda b: exp(k[i, b]))))


def exp_of_z(a):
    return exp(z[a])


def test_logarithm_is_opaque():
    partition = total(exp_of_z)
    assert is_zero(log(partition) - log(total(exp_of_z)))
    assert not is_zero(log(partition**2) - 3 * log(partition))


def test_function_values_and_derivatives_are_atoms():
    f, t = Function("f", real=True), Symbol("t", real=True)
    partition = total(lambda a: exp(f(a, t)))
    moving = total(lambda a: exp(f(a, t)) * f(a, t).diff(t))
    assert is_zero(partition.diff(t) - moving)
    assert not is_zero(partition.diff(t) + moving)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        (Sum(x[i], (i, 0, n)), "from 1 to a symbol"),
        (Sum(x[i], (i, 1, 3)), "from 1 to a symbol"),
        (Sum(x[i] * KroneckerDelta(i, j + 1), (i, 1, n)), "may lie outside"),
        (Sum(x[i] * KroneckerDelta(i, 2), (i, 1, n)), "may lie outside"),
        (Sum(Sum(KroneckerDelta(i, j), (i, 1, n)), (j, 1, m)), "may lie outside"),
    ],
)
def test_sums_that_it_cannot_treat_soundly_are_refused(expression, complaint):
    with pytest.raises(ValueError, match=complaint):
        canonical(expression)


def test_unrolled_is_a_loop():
    numbers = ExactArithmetic("loop")
    walk = Unrolled(numbers, {n: 3}, numbers.draw)
    by_hand = sum(
        (walk(x[a]) * walk(x[a]) * walk(z[b]) for a in (1, 2, 3) for b in (1, 2, 3)), walk(Integer(0))
    )
    assert numbers.vanishes(walk(total(lambda a: x[a] ** 2) * total(lambda b: z[b])) - by_hand)
    assert not numbers.vanishes(by_hand)
