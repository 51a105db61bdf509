"""Groups of responses: drawn as the policy says, and moved by the losses as a loop over tokens would."""

import numpy as np
import pytest
import torch

from entropy_core.batched import entropy, log_probs
from entropy_core.simulators import (
    absolute_penalty,
    aligned_responses,
    clip_cov_objective,
    divergence_penalty,
    draw_responses,
    group_ascent,
    group_objective,
    kl_cov_objective,
    sampled_penalty,
)

torch.set_num_threads(1)


def world(seed=0, prompts=6, tokens=3, actions=7):
    """A small world, as tensors."""
    logits, right = aligned_responses(np.random.default_rng(seed), prompts, tokens, actions, 3, 0.5)
    return torch.tensor(logits), torch.tensor(right)


def policy(logits):
    """Probabilities, written out."""
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def moved_by_hand(batch, kept, step_size):
    """One plain policy gradient step, token by token."""
    logits = batch.old_logits.numpy().copy()
    group = len(batch.taken) // len(logits)
    for i, response in enumerate(batch.taken.numpy()):
        for t, action in enumerate(response):
            score = -policy(batch.old_logits[i // group, t].numpy())
            score[action] += 1
            logits[i // group, t] += step_size / group * kept[i, t] * batch.advantages[i, t].item() * score
    return logits


def test_responses_are_drawn_as_the_policy_says_and_judged_whole():
    logits, right = world(prompts=2, tokens=2, actions=4)
    batch = draw_responses(np.random.default_rng(1), logits, right, group_size=20_000)
    for prompt in range(2):
        rows = slice(prompt * 20_000, (prompt + 1) * 20_000)
        for token in range(2):
            counts = np.bincount(batch.taken[rows, token].numpy(), minlength=4) / 20_000
            assert counts == pytest.approx(policy(logits[prompt, token].numpy()), abs=0.02)
        ok = np.all([right[prompt, t].numpy()[batch.taken[rows, t].numpy()] for t in range(2)], axis=0)
        advantages = batch.advantages[rows, 0].numpy()
        assert advantages == pytest.approx((ok - ok.mean()) / ok.std(ddof=1))
    assert torch.equal(batch.advantages[:, 0], batch.advantages[:, 1])
    taken = np.take_along_axis(np.log(policy(logits[1, 0].numpy())), batch.taken[20_000:, 0].numpy(), 0)
    assert batch.old_log_probs[20_000:, 0].numpy() == pytest.approx(taken)


def test_a_step_is_that_of_a_loop_over_tokens_and_of_the_objective():
    logits, right = world()
    batch = draw_responses(np.random.default_rng(2), logits, right)
    kept = np.random.default_rng(3).random(batch.taken.shape) < 0.7
    by_hand = moved_by_hand(batch, kept, 0.3)
    assert batch.logits_after(torch.tensor(kept), 0.3).numpy() == pytest.approx(by_hand, abs=1e-14)
    everything = np.ones_like(kept)
    run = group_ascent(np.random.default_rng(2), logits.numpy(), right.numpy(), group_objective, 0.3, 1, 1)
    assert run.final_logits == pytest.approx(moved_by_hand(batch, everything, 0.3), abs=1e-14)


@pytest.mark.claim("worth-of-a-token")
def test_losses_of_tokens_are_the_slope_of_entropy():
    logits, right = world()
    batch = draw_responses(np.random.default_rng(2), logits, right)
    for kept in (torch.ones_like(batch.advantages), (batch.advantages < 0).double()):
        step = 1e-5
        ahead, behind = (entropy(batch.logits_after(kept, s)).mean() for s in (step, -step))
        predicted = -(kept * batch.entropy_losses()).mean()
        assert float((ahead - behind) / (2 * step)) == pytest.approx(float(predicted), rel=1e-6)


def test_dropped_tokens_push_nothing_and_are_drawn_anew():
    logits, right = world(prompts=16)
    batch = draw_responses(np.random.default_rng(4), logits, right)
    leaf = logits.clone().requires_grad_()
    ell, gain = batch.old_log_probs.numpy(), batch.advantages.numpy()
    terms = (ell - ell.mean()) * (gain - gain.mean())
    eligible = (terms > 0.3) & (terms < 9)
    assert 20 < eligible.sum() < terms.size / 2
    (gradient,) = torch.autograd.grad(clip_cov_objective(0.9, 0.3, 9.0)(batch, leaf, 0), leaf)
    by_hand = logits.numpy() - moved_by_hand(batch, ~eligible, 1.0)
    assert (48 * gradient).numpy() == pytest.approx(by_hand, abs=1e-12)
    some = [clip_cov_objective(0.05, 0.3, 9.0)(batch, leaf, number).item() for number in range(4)]
    assert len(set(some)) == 4


def test_penalties_pull_the_selected_tokens_only():
    logits, right = world(prompts=16)
    batch = draw_responses(np.random.default_rng(4), logits, right)
    moved = (logits + 0.1 * torch.roll(logits, 1, -1)).requires_grad_()
    ell, gain = batch.token_log_probs(moved).detach(), batch.advantages
    terms = ((ell - ell.mean()) * (gain - gain.mean())).flatten()
    chosen = torch.zeros_like(terms, dtype=torch.bool)
    chosen[terms.topk(int(0.1 * len(terms))).indices] = True
    old, new = batch.old_log_probs, batch.token_log_probs(moved)
    policies = batch.over_responses(log_probs(logits)), batch.over_responses(log_probs(moved))
    divergence = (policies[0].exp() * (policies[0] - policies[1])).sum(-1)
    paid = {absolute_penalty: (new - old).abs(), sampled_penalty: old - new, divergence_penalty: divergence}
    for penalty, expected in paid.items():
        loss = kl_cov_objective(0.1, penalty, 2.0)(batch, moved, 0)
        by_hand = group_objective(batch, moved, 0) + 2 * (expected.flatten() * chosen).mean()
        assert loss.item() == pytest.approx(by_hand.item(), rel=1e-12)
        pulls = [torch.autograd.grad(x, moved, retain_graph=True)[0] for x in (loss, by_hand)]
        assert pulls[0].numpy() == pytest.approx(pulls[1].numpy(), abs=1e-12)


def test_records_are_exact_and_training_succeeds():
    logits, right = (x.numpy() for x in world(prompts=8))
    run = group_ascent(np.random.default_rng(5), logits, right, group_objective, 1.0, 30, 2)
    assert run.entropies.shape == run.expected_returns.shape == (31,)
    solved = [
        np.prod([policy(z)[ok].sum() for z, ok in zip(prompt, oks, strict=True)])
        for prompt, oks in zip(logits, right, strict=True)
    ]
    assert run.expected_returns[0] == pytest.approx(np.mean(solved))
    assert run.entropies[0] == pytest.approx(
        np.mean([-(policy(z) * np.log(policy(z))).sum() for z in logits.reshape(-1, 7)])
    )
    assert run.expected_returns[-1] > 2 * run.expected_returns[0]
    again = group_ascent(np.random.default_rng(5), logits, right, group_objective, 1.0, 30, 2)
    assert np.array_equal(run.final_logits, again.final_logits)


def test_impossible_worlds_are_refused():
    rng, (logits, right) = np.random.default_rng(0), world()
    with pytest.raises(ValueError, match="right_actions must be from 1 to actions − 1.*nothing is learnt"):
        aligned_responses(rng, 2, 2, 3, 3, 0.5)
    with pytest.raises(ValueError, match="group_size ≥ 2.*see aligned_responses"):
        draw_responses(rng, logits, right, group_size=1)
    with pytest.raises(ValueError, match="step_size > 0.*use draw_responses"):
        group_ascent(rng, logits.numpy(), right.numpy(), group_objective, 0.0, 1, 1)
