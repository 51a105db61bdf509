r"""Estimates from N sampled actions: what they are worth on average, and how far they scatter.

Draws i, j, … run over 1..N; each is an action a_i, drawn from π independently of the others. A mean over all
samples is never written out as a sum over n^N of them. What a certificate rests on instead is independence, a
hypothesis with one residual for every choice of draws: a product of values of draws has the mean

    E[x_i y_j] = E x E y + δ_ij Cov(x, y),

and in general the sum, over the ways to part the factors into blocks of one draw each, of the product of the
blocks' cumulants. Sums over draws and deltas do the rest, for every N. Cumulants are numbers about which
nothing is assumed, so that these results hold for every policy and every number of actions.

Where one token a state is drawn, no draws are needed: `centred_product` and what follows it are expectations
over one action.
"""

from sympy import KroneckerDelta, Mul, Rational, S, Symbol, exp, log
from sympy.utilities.iterables import multiset_partitions

from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Derivation, Statement
from entropy_core.symbolic.dynamics import entropy_change, probs_ratio, second_order_entropy_change
from entropy_core.symbolic.fields import delta_logits, log_probs, new_log_probs
from entropy_core.symbolic.operators import Cov, E, Field, Quantity, Scalar, action_index
from entropy_core.symbolic.softmax import entropy
from entropy_core.symbolic.tables import OverActions, OverStates, Table, state_index

__all__ = [
    "OverDraws",
    "centred_product",
    "change_of_log_probs",
    "covariance_on_own_tokens",
    "covariance_over_states",
    "cumulant",
    "divergence",
    "draw_index",
    "draws",
    "drift_by_advantages",
    "entropy_change_from_ratios",
    "first_order_from_log_probs",
    "independence_of_four",
    "independence_of_two",
    "mean_of_sample_covariance",
    "product_of_draws",
    "second_order_from_log_probs",
    "variance_of_sample_covariance",
]

draws = Symbol("N", integer=True, positive=True)


class OverDraws(OverActions):
    """Sum over the draws. Formula: Σ_i f(i), i = 1..N."""

    size = draws


def draw_index(name):
    """Return an index that runs over the draws 1..N.

    Args:
        name: how it prints.

    Returns:
        a positive integer symbol.
    """
    return Symbol(name, integer=True, positive=True)


_i, _j, _k, _l = map(draw_index, "ijkl")
_a, _b, _c = map(action_index, "abc")
_s, _v = state_index("s"), state_index("v")
_shortfall = 1 - 1 / draws


def cumulant(letters):
    """Joint cumulant under π of functions x and y, as a named number.

    Formula: `cumulant("xxyy")` prints κ(x, x, y, y); up to the second they print as E, Var and Cov.

    Args:
        letters: the functions, x before y.

    Returns:
        `Scalar`; nothing is assumed of it.
    """
    listed = r",\, ".join(letters)
    forms = {"x": r"\mathbb{E}[x]", "y": r"\mathbb{E}[y]", "xx": r"\operatorname{Var}(x)"}
    forms |= {"yy": r"\operatorname{Var}(y)", "xy": r"\operatorname{Cov}(x,\, y)"}
    return Scalar(f"cumulant_{letters}", forms.get(letters, rf"\kappa({listed})"), order=60 + len(letters))


def product_of_draws(letters, indices):
    """Mean of a product of values of independent draws.

    Formula: Σ over partitions of the factors of Π over blocks of κ(block) [the block is one draw].

    Args:
        letters: the functions, as in "xyxy".
        indices: the draw of each.

    Returns:
        expression in cumulants and deltas of the indices.
    """
    total = S.Zero
    for partition in multiset_partitions(list(range(len(letters)))):
        blocks = [
            _one_draw([indices[k] for k in block]) * cumulant("".join(sorted(letters[k] for k in block)))
            for block in partition
        ]
        total += Mul(*blocks)
    return total


def _one_draw(indices):
    """1 where all these draws are one draw."""
    return Mul(*[KroneckerDelta(indices[0], other) for other in indices[1:]])


def _over_draws(term, *indices):
    for index in indices:
        term = OverDraws(term, index)
    return term


_pair = Table("pair", lambda i, j: rf"\mathbb{{E}}[x_{{{i}}} y_{{{j}}}]", order=50)
_quadruple = Table(
    "quadruple", lambda i, j, k, m: rf"\mathbb{{E}}[x_{{{i}}} y_{{{j}}} x_{{{k}}} y_{{{m}}}]", order=51
)
_independence = Table(
    "independence",
    lambda i, j: f"I_{{{i} {j}}}",
    lambda i, j: _pair(i, j) - product_of_draws("xy", (i, j)),
    order=90,
)
_independence_four = Table(
    "independence_four",
    lambda i, j, k, m: f"I_{{{i} {j} {k} {m}}}",
    lambda i, j, k, m: _quadruple(i, j, k, m) - product_of_draws("xyxy", (i, j, k, m)),
    order=90,
)


def independence_of_two():
    """What two independent draws satisfy. Formula: I_ij = E[x_i y_j] − E x E y − δ_ij Cov(x, y) = 0."""
    return Statement(_independence(_i, _j), _independence.rule(_i, _j))


def independence_of_four():
    """The same for four: E[x_i y_j x_k y_l] less the sum over the 15 partitions of the factors."""
    four = _i, _j, _k, _l
    return Statement(_independence_four(*four), _independence_four.rule(*four))


def _weight(i, j):
    """What x_i y_j counts in the sample covariance: C_N = (1/N) Σ x_i y_i − (1/N²) Σ x_i y_j."""
    return KroneckerDelta(i, j) / draws - 1 / draws**2


_mean_of_estimate = Quantity(
    "mean_of_estimate", r"\mathbb{E}[C_N]", _over_draws(_weight(_i, _j) * _pair(_i, _j), _i, _j), order=50
)
_variance_of_estimate = Quantity(
    "variance_of_estimate",
    r"\operatorname{Var}(C_N)",
    _over_draws(_weight(_i, _j) * _weight(_k, _l) * _quadruple(_i, _j, _k, _l), _i, _j, _k, _l)
    - (_shortfall * cumulant("xy")) ** 2,
    order=50,
)


def mean_of_sample_covariance():
    """The covariance of a sample is short by one draw. Formula: E C_N = (1 − 1/N) Cov(x, y).

    C_N = (1/N) Σ_i x_i y_i − (1/N²) Σ_ij x_i y_j, with the means of the sample.

    Returns:
        the certificate; it rests on the independence of the draws.
    """
    return Certificate(
        Statement(_mean_of_estimate, _shortfall * cumulant("xy")),
        ((_weight(_i, _j), Hypothesis("", _independence(_i, _j), (_i, _j), (draws,) * 2)),),
    )


def variance_of_sample_covariance():
    """How far the covariance of a sample scatters.

    Formula: N²/(N − 1) Var C_N = (1 − 1/N) κ(x, x, y, y) + Var x Var y + Cov(x, y)², for N ≥ 2.

    Returns:
        the certificate; it rests on the independence of the draws, four at a time.
    """
    four, scale = (_i, _j, _k, _l), draws**2 / (draws - 1)
    scatter = cumulant("xx") * cumulant("yy") + cumulant("xy") ** 2
    residuals = Hypothesis("", _independence_four(*four), four, (draws,) * 4)
    return Certificate(
        Statement(scale * _variance_of_estimate, _shortfall * cumulant("xxyy") + scatter),
        ((scale * _weight(_i, _j) * _weight(_k, _l), residuals),),
    )


# One policy over actions, π = softmax(z), with the names of its numbers; sums run over actions.
_logits = Table("logits", lambda a: f"z({a})")
_partition = Quantity("partition", "Z", OverActions(exp(_logits(_c)), _c))
_probs = Table("probs", lambda a: rf"\pi({a})", lambda a: exp(_logits(a)) / _partition, order=10)
_log_probs = Table("log_probs", lambda a: rf"\log\pi({a})", lambda a: _logits(a) - log(_partition), order=30)
_rewards = Table("rewards", lambda a: f"r({a})", order=40)


def _mean(function):
    """Σ_a π(a) f(a)."""
    return OverActions(_probs(_a) * function(_a), _a)


def _covariance(first, second):
    return _mean(lambda a: first(a) * second(a)) - _mean(first) * _mean(second)


_entropy = Quantity("entropy", "H", -_mean(_log_probs), order=30)
_expected_reward = Quantity("expected_reward", r"\mathbb{E}[r]", _mean(_rewards), order=30)
_advantages = Table("advantages", lambda a: f"A({a})", lambda a: _rewards(a) - _expected_reward, order=45)
_natural = Quantity(
    "natural_covariance", r"\operatorname{Cov}(\log\pi,\, A)", _covariance(_log_probs, _advantages), order=62
)
_plain = Quantity(
    "plain_covariance",
    r"\operatorname{Cov}(\log\pi,\, \pi A)",
    _covariance(_log_probs, lambda a: _probs(a) * _advantages(a)),
    order=61,
)


def _seen(a, b):
    """What the token a sees of the step that the token b makes: (log π_a + H)(δ_ab − π_a) A_b."""
    return (_log_probs(a) + _entropy) * (KroneckerDelta(a, b) - _probs(a)) * _advantages(b)


_own = Table(
    "own",
    lambda i, j: (
        rf"\mathbb{{E}}[(\log\pi + H)_{{{i}}} (\delta_{{a_{{{i}}} a_{{{j}}}}} - \pi_{{{i}}}) A_{{{j}}}]"
    ),
    order=50,
)
_independence_of_own = Table(
    "independence_of_own",
    lambda i, j: f"I_{{{i} {j}}}",
    lambda i, j: _own(i, j) - _mean_of_pair(_seen, i, j),
    order=90,
)


def _mean_of_pair(function, i, j):
    """Mean of a function of two draws: over one action if they are one draw, over two if they are not."""
    apart = OverActions(_probs(_a) * OverActions(_probs(_b) * function(_a, _b), _b), _a)
    same = KroneckerDelta(i, j)
    return same * _mean(lambda a: function(a, a)) + (1 - same) * apart


def covariance_on_own_tokens():
    """The covariance that a policy gradient step of N tokens has with log π on those very tokens, on average.

    Formula: (1/N²) Σ_ij E[(log π + H)_i (δ − π)_i A_j] = (1 − 2/N) Cov(log π, πA) + (1/N) Cov(log π, A).

    Returns:
        the certificate, for η = 1; it rests on the independence of the draws.
    """
    return Certificate(
        Statement(_over_draws(_own(_i, _j), _i, _j) / draws**2, (1 - 2 / draws) * _plain + _natural / draws),
        ((1 / draws**2, Hypothesis("", _independence_of_own(_i, _j), (_i, _j), (draws,) * 2)),),
    )


def _curvature(a, b):
    """E[(1 + log π + H) u v] for the centred scores u, v of two tokens."""
    first, second = (lambda c, token=token: _centred_score(c, token) for token in (a, b))
    weight = 1 + _log_probs(_c) + _entropy
    return OverActions(_probs(_c) * weight * first(_c) * second(_c), _c)


def _centred_score(c, token):
    """Entry c of e_a − π, less its mean under π, π_a − Σ π²."""
    return KroneckerDelta(c, token) - _probs(c) - _probs(token) + _mean(_probs)


_drift = Quantity("drift", "D", OverActions(_probs(_a) * _curvature(_a, _a), _a), order=62)
_advantage_products = Table(
    "advantage_products",
    lambda i, j: rf"\mathbb{{E}}[A_{{{i}}}^2]" if i == j else rf"\mathbb{{E}}[A_{{{i}}} A_{{{j}}}]",
    order=40,
)
_curvatures = Table("curvatures", lambda i, j: rf"\mathbb{{E}}[q_{{{i} {j}}}]", order=50)
_independence_of_curvatures = Table(
    "independence_of_curvatures",
    lambda i, j: f"I_{{{i} {j}}}",
    lambda i, j: _curvatures(i, j) - _mean_of_pair(_curvature, i, j),
    order=90,
)


def drift_by_advantages():
    """Second-order drift of entropy by advantages that know nothing of the action, times −2/η².

    Formula: (1/N²) Σ_ij E[A_i A_j] E[q_ij] = (D/N²) Σ_i E[A_i²], q_ij = E[(1 + log π + H) u_i u_j] for the
    centred scores u of draws i and j, D = E[q_ii].

    Returns:
        the certificate; it rests on the independence of the draws. The advantages may depend on each other.
    """
    drift = _over_draws(_advantage_products(_i, _j) * _curvatures(_i, _j), _i, _j) / draws**2
    squares = OverDraws(_advantage_products(_i, _i), _i) / draws**2
    multiplier = _advantage_products(_i, _j) / draws**2
    return Certificate(
        Statement(drift, squares * _drift),
        ((multiplier, Hypothesis("", _independence_of_curvatures(_i, _j), (_i, _j), (draws,) * 2)),),
    )


# Many states, visited with weights d(s); at each a policy over actions.
_occupancy = Table("occupancy", lambda s: f"d({s})", order=5)
_policy = Table("policy", lambda s, a: rf"\pi({a} \mid {s})", order=10)
_first, _second = (Table(name, lambda s, a, name=name: f"{name}({s}, {a})", order=40) for name in ("x", "y"))


def _at_state(s, *tables):
    """Σ_a π(a|s) Π f(s, a)."""
    return OverActions(_policy(s, _a) * Mul(*[table(s, _a) for table in tables]), _a)


def _over_states(function):
    return OverStates(_occupancy(_s) * function(_s), _s)


_total = Quantity(
    "total",
    r"\operatorname{Cov}_{s, a}(x,\, y)",
    _over_states(lambda s: _at_state(s, _first, _second))
    - _over_states(lambda s: _at_state(s, _first)) * _over_states(lambda s: _at_state(s, _second)),
    order=50,
)
_within = Quantity(
    "within_states",
    r"\mathbb{E}_s[\operatorname{Cov}_a(x,\, y)]",
    _over_states(lambda s: _at_state(s, _first, _second) - _at_state(s, _first) * _at_state(s, _second)),
    order=51,
)
_between = Quantity(
    "between_states",
    r"\operatorname{Cov}_s(\mathbb{E}_a[x],\, \mathbb{E}_a[y])",
    _over_states(lambda s: _at_state(s, _first) * _at_state(s, _second))
    - _over_states(lambda s: _at_state(s, _first)) * _over_states(lambda s: _at_state(s, _second)),
    order=52,
)


def covariance_over_states():
    """Total covariance over tokens of many states: the mean within them and the covariance between them.

    Formula: Cov_{s,a}(x, y) = E_s[Cov_a(x, y)] + Cov_s(E_a x, E_a y).

    Returns:
        the certificate, without a hypothesis, for every number of states and of actions.
    """
    return Certificate(Statement(_total, _within + _between), ())


_value = Field("value", "y", order=60)
_excess = log_probs + entropy
change_of_log_probs = Field("change_of_log_probs", r"\Delta\ell", new_log_probs - log_probs, order=71)
divergence = Quantity("divergence", r"\operatorname{KL}(\pi \| \pi')", E(log_probs - new_log_probs), order=80)


def centred_product():
    """One token a state needs no mean of y. Formula: E[(log π + H) y] = Cov(log π, y)."""
    return Derivation(E(_excess * _value)).to(Cov(log_probs, _value), r"$\mathbb{E}[\log\pi] = -H$")


def first_order_from_log_probs():
    """The log-probabilities of the drawn tokens will do for the logits.

    Formula: −E[(log π + H) Δℓ] = −E[(log π + H) Δz] = −Cov(log π, Δz), Δℓ = log π' − log π.

    Returns:
        the proved derivation; it holds for steps of any size.
    """
    return (
        Derivation(-E(_excess * change_of_log_probs))
        .to(
            -E(_excess * delta_logits),
            r"$\Delta\ell - \Delta z$ is a constant, $\mathbb{E}[\log\pi + H] = 0$",
        )
        .to(-Cov(log_probs, delta_logits), r"$\mathbb{E}[\log\pi] = -H$")
    )


_estimate = Quantity(
    "second_order_estimate",
    r"\mathbb{E}[\hat\Delta_2]",
    -E(_excess * change_of_log_probs) - E((1 + _excess) * change_of_log_probs**2) / 2,
    order=40,
)
_second_order = Quantity("second_order", r"\Delta_2", second_order_entropy_change, order=41)


def second_order_from_log_probs():
    """The second order from drawn tokens, and exactly what it misses.

    Formula: E Δ̂₂ = Δ₂ + KL(π‖π') Cov(log π, Δz) − ½ KL(π‖π')², with
    Δ̂₂ = −(log π + H) Δℓ − ½ (1 + log π + H) Δℓ² and Δ₂ = −Cov(log π, Δz) − ½ E[(1 + log π + H)(Δz − EΔz)²].

    Returns:
        the proved derivation; it holds for steps of any size.
    """
    half, centred = Rational(1, 2), delta_logits - E(delta_logits) - divergence
    covariance = Cov(log_probs, delta_logits)
    return (
        Derivation(_estimate)
        .to(
            -covariance - half * E((1 + _excess) * centred**2),
            r"$\Delta\ell = \Delta z - \mathbb{E}[\Delta z] - \operatorname{KL}(\pi \| \pi')$",
        )
        .to(
            _second_order + divergence * covariance - half * divergence**2,
            r"$\mathbb{E}[1 + \log\pi + H] = 1$",
        )
    )


def entropy_change_from_ratios():
    """The exact change from drawn tokens. Formula: ΔH = −E[w (log π' + H) − (log π + H) − (w − 1)], w = π'/π.

    Returns:
        the proved derivation; it holds for steps of any size.
    """
    weighted = probs_ratio * (new_log_probs + entropy)
    return (
        Derivation(entropy_change)
        .to(-E(weighted), r"$\sum_a \pi' f = \mathbb{E}[w f]$")
        .to(-E(weighted - _excess - (probs_ratio - 1)), r"$\mathbb{E}[\log\pi + H] = \mathbb{E}[w - 1] = 0$")
    )
