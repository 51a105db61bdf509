"""What a sample is worth: proved again and false if changed, and every sample of a few draws gone through."""

from fractions import Fraction
from itertools import product
from math import comb, prod

import numpy as np
import pytest
from sympy import KroneckerDelta, Rational
from sympy.utilities.iterables import multiset_partitions

from entropy_core import reference
from entropy_core.symbolic import (
    Certificate,
    Cov,
    E,
    Field,
    Kappa,
    Statement,
    WrongCertificate,
    check,
    delta_logits,
    entropy,
    log_probs,
    outcomes,
    samples,
)
from entropy_core.symbolic.dynamics import entropy_change, second_order_entropy_change
from entropy_core.symbolic.interventions import normalisation
from entropy_core.symbolic.samples import change_of_log_probs, cumulant, divergence, draws

EVERY_CHECK = "every size, exact, sizes 2..4, 50 digits"
FIELDS = {"x": Field("x"), "y": Field("y")}
SAMPLES = [(2, 2), (2, 5), (3, 2), (3, 4), (5, 3)]  # (actions, draws)


def every_sample(pi, number):
    """Yield each sample of this many draws with its probability."""
    for drawn in product(range(len(pi)), repeat=number):
        yield drawn, prod(pi[a] for a in drawn)


def fractions(seed, actions):
    """Return a policy and two functions of the action, in rational numbers."""
    rng = np.random.default_rng(seed)
    weights, x, y = ([Fraction(int(v)) for v in rng.integers(1, 20, actions)] for _ in range(3))
    return [w / sum(weights) for w in weights], x, y


def mean(pi, *functions):
    """Return E of a product of functions of one action."""
    return sum(p * prod(values) for p, *values in zip(pi, *functions, strict=True))


def sample_covariance(x, y, drawn):
    """Return the covariance of a sample, centred at its own means, divided by the number of draws."""
    number = len(drawn)
    x_mean, y_mean = (sum(f[a] for a in drawn) / number for f in (x, y))
    return sum((x[a] - x_mean) * (y[a] - y_mean) for a in drawn) / number


@pytest.mark.claim("batch-covariance")
@pytest.mark.parametrize("letters", ["xy", "xyxy"])
def test_product_of_draws_is_what_independence_says(letters):
    # For every pattern of coinciding draws: the product of the means of the factors of each draw.
    factors = range(len(letters))
    named = {
        cumulant("".join(sorted(letters[k] for k in block))): E(FIELDS[letters[block[0]]])
        if len(block) == 1
        else Kappa(*[FIELDS[letters[k]] for k in block])
        for partition in multiset_partitions(list(factors))
        for block in partition
    }
    for pattern in multiset_partitions(list(factors)):
        draw = {k: number for number, block in enumerate(pattern) for k in block}
        claimed = samples.product_of_draws(letters, [draw[k] for k in factors]).xreplace(named)
        independent = prod(E(prod(FIELDS[letters[k]] for k in block)) for block in pattern)
        assert check(claimed, independent).holds
    assert not check(claimed, E(prod(FIELDS[letter] for letter in letters))).holds, "the draws differ here"


@pytest.mark.claim("batch-covariance")
def test_mean_of_sample_covariance_for_every_number_of_draws():
    proved = samples.mean_of_sample_covariance()
    assert proved.statement.right == (1 - 1 / draws) * cumulant("xy")
    for wrong in (cumulant("xy"), (1 + 1 / draws) * cumulant("xy")):
        with pytest.raises(WrongCertificate, match=EVERY_CHECK):
            Certificate(Statement(proved.statement.left, wrong), proved.terms)
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(proved.goal, ())


@pytest.mark.claim("sample-covariance-variance")
def test_variance_of_sample_covariance_for_every_number_of_draws():
    proved = samples.variance_of_sample_covariance()
    left, right = proved.statement.left, proved.statement.right
    wrong = right - cumulant("xy") ** 2
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(Statement(left, wrong), proved.terms)


@pytest.mark.claim("sample-covariance-variance")
@pytest.mark.parametrize(("actions", "number"), SAMPLES)
def test_going_through_every_sample_gives_mean_and_variance(actions, number):
    pi, x, y = fractions(actions * number, actions)
    found = [(chance, sample_covariance(x, y, drawn)) for drawn, chance in every_sample(pi, number)]
    first, second = (sum(chance * value**k for chance, value in found) for k in (1, 2))
    x, y = ([v - mean(pi, f) for v in f] for f in (x, y))
    covariance, variances = mean(pi, x, y), mean(pi, x, x) * mean(pi, y, y)
    fourth = mean(pi, x, x, y, y) - variances - 2 * covariance**2
    short = 1 - Fraction(1, number)
    scatter = fourth / number + (variances + covariance**2) / (number - 1)
    assert first == short * covariance
    assert second - first**2 == short**2 * scatter


@pytest.mark.claim("group-normalised-mean")
def test_mean_by_outcome_rests_on_zero_or_one():
    for proved in (normalisation.mean_by_outcome(), normalisation.spread_of_group()):
        with pytest.raises(WrongCertificate, match=EVERY_CHECK):
            Certificate(proved.goal, ())
        with pytest.raises(WrongCertificate, match=EVERY_CHECK):
            Certificate(Statement(proved.statement.left, -proved.statement.right), proved.terms)


@pytest.mark.claim("group-normalised-mean")
@pytest.mark.parametrize(
    ("number", "ddof", "epsilon"), [(2, 0, 0), (2, 1, 0), (5, 0, 0), (5, 1, 0.1), (4, 0, 1)]
)
def test_going_through_every_group_gives_the_mean_of_the_normalised_product(number, ddof, epsilon):
    rng = np.random.default_rng(number)
    pi, f, correct = rng.dirichlet(np.ones(4)), rng.normal(size=4), np.array([1.0, 0, 0, 1])
    total = 0.0
    for drawn, chance in every_sample(pi, number):
        rewards = correct[list(drawn)]
        advantages = reference.group_normalised_advantages(rewards, epsilon, ddof)
        total += chance * (advantages * f[list(drawn)]).mean()
    rate = pi @ correct
    gap = (pi * correct) @ f / rate - (pi * (1 - correct)) @ f / (1 - rate)
    factor = 0.0
    for hits in range(1, number):
        spread = np.sqrt(hits * (number - hits) / number / (number - ddof))
        share = hits / number
        chance = comb(number, hits) * rate**hits * (1 - rate) ** (number - hits)
        factor += chance * share * (1 - share) / (spread + epsilon)
    assert total == pytest.approx(factor * gap, rel=1e-12)
    assert total != pytest.approx((1 - 1 / number) * rate * (1 - rate) * gap, rel=1e-2)


@pytest.mark.claim("total-covariance")
def test_total_covariance_has_two_parts():
    proved = samples.covariance_over_states()
    within, between = proved.statement.right.args
    for wrong in (within, within - between):
        with pytest.raises(WrongCertificate, match=EVERY_CHECK):
            Certificate(Statement(proved.statement.left, wrong), ())
    assert r"\operatorname{Cov}_{s, a}" in proved._repr_latex_()


@pytest.mark.claim("covariance-on-own-tokens")
def test_own_tokens_mix_the_two_covariances_in_general():
    proved = samples.covariance_on_own_tokens()
    left, right = proved.statement.left, proved.statement.right
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(Statement(left, right.xreplace({draws: 2 * draws})), proved.terms)


@pytest.mark.claim("covariance-on-own-tokens")
@pytest.mark.parametrize(("actions", "number"), [(2, 2), (3, 4), (5, 3)])
def test_going_through_every_sample_gives_the_covariance_on_own_tokens(actions, number):
    rng = np.random.default_rng(number)
    logits, rewards = rng.normal(size=(2, actions))
    pi, ell = reference.probs(logits), reference.log_probs(logits)
    advantages, excess = rewards - pi @ rewards, ell + reference.entropy(logits)
    total = 0.0
    for drawn, chance in every_sample(pi, number):
        drawn = list(drawn)
        step = sum(advantages[a] * (np.eye(actions)[a] - pi) for a in drawn) / number
        total += chance * (excess[drawn] * step[drawn]).mean()
    plain, natural = (
        reference.covariance_over_actions(ell, u, logits) for u in (pi * advantages, advantages)
    )
    assert total == pytest.approx((1 - 2 / number) * plain + natural / number, rel=1e-11)


def drift_of(logits):
    """Return E[(1 + log π + H) u²] over one drawn score, written out action by action."""
    pi, excess = reference.probs(logits), reference.log_probs(logits) + reference.entropy(logits)
    scores = np.eye(pi.size) - pi
    scores = scores - (scores @ pi)[:, None]
    return sum(p * ((pi * (1 + excess)) @ u**2) for p, u in zip(pi, scores, strict=True))


@pytest.mark.claim("drift-by-advantages")
def test_drift_needs_the_squares_of_the_advantages_only():
    proved = samples.drift_by_advantages()
    with pytest.raises(WrongCertificate, match=EVERY_CHECK):
        Certificate(Statement(proved.statement.left, 2 * proved.statement.right), proved.terms)
    logits = np.array([0.3, -1.0, 0.7])
    pi, ell = reference.probs(logits), reference.log_probs(logits)
    excess, squared = ell + reference.entropy(logits), (pi**2).sum()
    first = pi**2 * (1 - pi + excess * (1 - 2 * pi))
    assert drift_of(logits) == pytest.approx((first - pi * (1 + excess) * (pi - squared) ** 2).sum())
    assert "noise_in_sampled_gradient" in outcomes.__all__


@pytest.mark.claim("drift-by-advantages")
@pytest.mark.parametrize("number", [2, 3])
def test_going_through_every_sample_and_outcome_gives_the_drift(number):
    # Rewards 0 or 1 by a coin that knows nothing of the action.
    logits = np.array([0.3, -1.0, 0.7])
    pi, coin = reference.probs(logits), np.array([0.7, 0.3])
    treatments = {
        "raw": lambda r: r,
        "centred": reference.group_centred_advantages,
        "normalised": lambda r: reference.group_normalised_advantages(r, 0, 0),
    }
    for treat in treatments.values():
        total = squares = 0.0
        for rewards, luck in every_sample(coin, number):
            advantages = treat(np.array(rewards, float))
            squares += luck * (advantages**2).mean()
            for drawn, chance in every_sample(pi, number):
                step = sum(A * (np.eye(3)[a] - pi) for A, a in zip(advantages, drawn, strict=True)) / number
                second = reference.second_order_entropy_change(logits, step)
                second -= reference.first_order_entropy_change(logits, step)
                total += luck * chance * second
        assert total == pytest.approx(-squares / (2 * number) * drift_of(logits), rel=1e-11)


one_token = Field("value", "y", order=60)
excess, half = log_probs + entropy, Rational(1, 2)
second = -E(excess * change_of_log_probs) - half * E((1 + excess) * change_of_log_probs**2)
missed = divergence * Cov(log_probs, delta_logits) - divergence**2 / 2

# name of the derivation: left side, right side, a false right side
STATEMENTS = {
    "centred_product": (E(excess * one_token), Cov(log_probs, one_token), E(log_probs * one_token)),
    "first_order_from_log_probs": (
        -E(excess * change_of_log_probs),
        -Cov(log_probs, delta_logits),
        -Cov(log_probs, delta_logits) - divergence,
    ),
    "second_order_from_log_probs": (
        second,
        second_order_entropy_change + missed,
        second_order_entropy_change,
    ),
    "entropy_change_from_ratios": (
        entropy_change,
        samples.entropy_change_from_ratios().last,
        samples.entropy_change_from_ratios().last + divergence,
    ),
}


@pytest.mark.claim("one-token-a-state")
@pytest.mark.claim("sampled-entropy-change")
@pytest.mark.parametrize("name", STATEMENTS)
def test_one_token_a_state_is_proved_and_its_variant_refused(name):
    left, right, wrong = STATEMENTS[name]
    statement = getattr(samples, name)().statement
    assert check(statement.left, left).holds
    assert check(statement.right, right).holds
    assert not check(left, wrong).holds


def test_independence_prints_its_residual():
    i, j = map(samples.draw_index, "ij")
    two, four = samples.independence_of_two(), samples.independence_of_four()
    assert two.right.has(KroneckerDelta(i, j))
    assert len(four.right.args) == 16, "the mean of the product, and one term for each of 15 partitions"
    assert two.latex.startswith("I_{i j} = ")
