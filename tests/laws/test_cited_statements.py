"""What can be decided by computing about statements in the papers and programs that the book cites."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch

from entropy_core.batched import log_probs
from entropy_core.reference import covariance_over_actions
from entropy_core.reference import log_probs as reference_log_probs

torch.set_num_threads(1)


def penalty_gradients(old, new):
    """Gradients at the logits `new` of three penalties meant to hold a policy to `old`; action 0 is taken."""
    ell_old, gradients = log_probs(old), []
    for penalty in (
        lambda ell: (ell[..., 0] - ell_old[..., 0]).abs(),
        lambda ell: (ell_old.exp() * (ell_old - ell)).sum(-1),
        lambda ell: ell_old[..., 0] - ell[..., 0],
    ):
        leaf = new.clone().requires_grad_()
        gradients.append(torch.autograd.grad(penalty(log_probs(leaf)).sum(), leaf)[0])
    return gradients


@pytest.mark.claim("penalty-first-step")
def test_two_of_three_penalties_are_flat_where_training_starts(record_property):
    largest = []
    for n in (2, 10, 1000):
        old = 2 * torch.randn(200, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
        absolute, exact, sampled = penalty_gradients(old, old)
        assert not absolute.any()
        assert exact.abs().max() < 1e-15
        assert sampled[:, 1:].min() > 0, "it is π less the taken action"
        assert sampled[:, 0].max() < 0
        largest.append(float(max(absolute.abs().max(), exact.abs().max())))
        moved = penalty_gradients(old, old + 0.1 * torch.roll(old, 1, -1))
        assert min(gradient.abs().max() for gradient in moved) > 1e-3, "away from the start all three pull"
    record_property("largest entry of the two gradients", f"{max(largest):.0e}")


@pytest.mark.claim("batch-covariance")
@pytest.mark.parametrize(("actions", "tokens"), [(2, 2), (2, 3), (2, 4), (3, 2), (3, 3)])
def test_mean_over_all_samples_is_short_by_one_token(actions, tokens):
    pi, x, y = (sympy.symbols(f"{name}:{actions}") for name in ("p", "x", "y"))
    mean = lambda values: sum(values) / sympy.Integer(tokens)  # noqa: E731
    expected = 0
    for drawn in itertools.product(range(actions), repeat=tokens):
        chance = sympy.prod(pi[a] for a in drawn)
        centre_x, centre_y = mean([x[a] for a in drawn]), mean([y[a] for a in drawn])
        expected += chance * mean([(x[a] - centre_x) * (y[a] - centre_y) for a in drawn])
    moment = lambda values: sum(p * v for p, v in zip(pi, values, strict=True))  # noqa: E731
    covariance = moment([a * b for a, b in zip(x, y, strict=True)]) - moment(x) * moment(y)
    short = sympy.Rational(tokens - 1, tokens) * covariance
    last = {pi[-1]: 1 - sum(pi[:-1])}
    assert sympy.expand((expected - short).subs(last)) == 0
    assert sympy.expand((expected - covariance).subs(last)) != 0


@pytest.mark.claim("batch-covariance")
def test_pooling_states_can_turn_the_sign(record_property):
    policies = np.array([[0.9, 0.1], [0.6, 0.4]])
    ell, advantages = np.log(policies), np.array([[-0.9, -1.1], [1.1, 0.9]])
    within = covariance_over_actions(ell, advantages, ell)
    tokens = policies / 2
    pooled = (tokens * ell * advantages).sum() - (tokens * ell).sum() * (tokens * advantages).sum()
    assert within.min() > 0 > pooled
    centred = advantages - (policies * advantages).sum(-1, keepdims=True)
    assert (tokens * ell * centred).sum() == pytest.approx(within.mean(), rel=1e-12)
    record_property("mean within states", f"{within.mean():+.3f}")
    record_property("pooled", f"{pooled:+.3f}")


@pytest.mark.claim("covariance-table")
def test_bottom_half_of_the_printed_table_is_negative(record_property):
    half_digit = Fraction(5, 10_000)
    half, everything = Fraction("0.152"), Fraction("0.003")
    bottom = [2 * (everything + s * half_digit) - (half - s * half_digit) for s in (-1, 0, 1)]
    multiple = [1 / (everything - s * half_digit) for s in (-1, 0, 1)]
    assert bottom[2] < 0
    assert multiple[2] < 500
    record_property("mean of the lower half", f"{float(bottom[1]):.3f}")
    record_property("from rounding", f"{float(bottom[0]):.4f} to {float(bottom[2]):.4f}")
    record_property("lower bound 1 over the mean", f"{float(multiple[0]):.0f} to {float(multiple[2]):.0f}")


@pytest.mark.claim("rare-tokens-of-failures")
def test_tokens_of_good_responses_have_bounded_covariance(record_property):
    rng, ratios, of_failures = np.random.default_rng(0), [], []
    for _ in range(2000):
        logits = 3 * rng.normal(size=(300, 8))
        taken = (logits + rng.gumbel(size=logits.shape)).argmax(-1)
        ell = reference_log_probs(logits)[np.arange(300), taken]
        advantages = 1.0 * (rng.random(300) < rng.uniform(0.1, 0.9))
        above = advantages > advantages.mean()
        terms = (ell - ell.mean()) * (advantages - advantages.mean())
        ratios.append(terms[above].max() / (-ell.mean() * (1 - advantages.mean())))
        of_failures.append(not above[terms.argmax()])
    assert max(ratios) <= 1
    assert np.mean(of_failures) > 0.9
    record_property("largest share of the bound reached", f"{max(ratios):.2f}")
    record_property("batches led by a failed response", f"{np.mean(of_failures):.1%}")
    outcomes = np.arange(8) < np.arange(1, 8)[:, None]
    standardised = (outcomes - outcomes.mean(1, keepdims=True)) / outcomes.std(1, keepdims=True)
    needed = 5.654 / np.ptp([standardised.min(), standardised.max()])
    assert needed > 1
    record_property("surprisal needed for 5.654", f"{needed:.2f} nats a token")
