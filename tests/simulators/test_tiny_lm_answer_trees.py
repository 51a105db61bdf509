"""The tree of all answers: against teacher forcing, answer by answer, and against a run's own records."""

import numpy as np
import pytest
import torch

from entropy_core import batched, reference
from entropy_core.simulators.tiny_lm import (
    ADDITION,
    CARRIED_ADDITION,
    DIGIT_SUM,
    Settings,
    advance,
    advance_with_trees,
    answer_logits,
    answer_probs,
    answer_token_log_probs,
    decode,
    draw_prompts,
    every_prompt,
    measure_trees,
    read_prefix_tree,
    sample_answers,
    sample_proxy,
    start_run,
    sum_by_position,
)
from tests.simulators.tiny_models import lively_model, schooled_model, weights_of

EVERY = torch.cartesian_prod(*[torch.arange(12)] * 3)
FEW = Settings(prompts=4, samples=4, held_out=8)


def told_apart(model, prompt):
    """Return π of every token of every answer to a prompt, by teacher forcing, shape [1728, 3, 12]."""
    with torch.no_grad():
        return answer_logits(model, prompt.expand(len(EVERY), -1), EVERY).softmax(-1).numpy()


def is_right_by_text(prompt, answer):
    """Judge one answer by its text."""
    operands, text = [int(x) for x in decode(prompt).rstrip("=").split("+")], decode(answer)
    counted = int(text) if len(operands) == 2 else sum(map(int, text)) if text.isdigit() else -1
    return counted == sum(operands)


@pytest.mark.parametrize("task", [CARRIED_ADDITION, DIGIT_SUM], ids=lambda task: task.name)
def test_the_tree_is_that_of_every_answer_written_out(task):
    """Probabilities, values and covariances by explicit sums over 1728 answers."""
    model = lively_model()
    prompts = draw_prompts(np.random.default_rng(1), task, 2)
    tree = read_prefix_tree(model, task, prompts)
    for k, prompt in enumerate(prompts):
        by_token = told_apart(model, prompt)
        taken = np.take_along_axis(by_token, EVERY.numpy()[..., None], -1)[..., 0]
        p, answers = taken.prod(-1), EVERY.tolist()
        right = np.array(
            [a[0] < 10 > a[1] and a[2] < 10 and is_right_by_text(prompt, torch.tensor(a)) for a in answers]
        )
        assert answer_probs(tree)[k].numpy() == pytest.approx(p, abs=1e-12)
        assert answer_token_log_probs(tree)[k].numpy() == pytest.approx(np.log(taken), abs=1e-10)
        assert right.sum() > 0
        entropies, covariances = np.zeros(3), np.zeros(3)
        for position in range(3):
            heads = EVERY[:, :position].numpy()
            for head in np.unique(heads, axis=0):
                here = (heads == head).all(-1)
                policy = by_token[here][0, position]
                gains = np.array(
                    [
                        p[here & (EVERY[:, position].numpy() == a)]
                        @ right[here & (EVERY[:, position].numpy() == a)]
                        for a in range(12)
                    ]
                )
                visit = p[here].sum()
                index = int("".join("0123456789ab"[x] for x in head), 12) if position else 0
                index += sum(12**earlier for earlier in range(position))
                assert tree.visits[k, index].item() == pytest.approx(visit, rel=1e-9)
                assert tree.state_values[k, index].item() == pytest.approx(gains.sum() / visit, rel=1e-9)
                quality = gains / visit / policy
                quality -= policy @ quality
                ell = np.log(policy)
                entropies[position] -= visit * policy @ ell
                covariances[position] += visit * policy @ (ell * quality)
        step = measure_trees(tree, tree)
        assert step.expected_reward[k] == pytest.approx(p @ right, rel=1e-10)
        assert step.entropy[k] == pytest.approx(entropies, rel=1e-10)
        assert step.natural_covariance[k] == pytest.approx(covariances, rel=1e-8, abs=1e-14)
        assert abs(step.natural_covariance[k]).min() > 1e-9, "a covariance to be wrong about"


def test_the_tree_is_a_table_of_responses():
    """The functions of the chapter on sequences, which know any tree, find the same visits and advantages."""
    tree = read_prefix_tree(lively_model(), DIGIT_SUM, every_prompt(DIGIT_SUM)[:3])
    following = torch.full((157, 12), -1)
    following[:13] = torch.arange(1, 157).view(13, 12)
    assert (tree.visits - batched.expected_visits(tree.logits, following, 3)).abs().max() < 1e-14
    gains = batched.sequence_advantages(tree.logits, tree.rewards, following, 3)
    assert (tree.advantages - gains).abs().max() < 1e-14 < gains.abs().max()
    entropies = measure_trees(tree, tree).entropy.sum(-1)
    assert entropies == pytest.approx(batched.sequence_entropy(tree.logits, following, 3).numpy())


def test_a_natural_step_on_the_tree_keeps_the_promise():
    """Move the tree's own logits by η A: the covariance is that with A, and the alignment is 1."""
    model = schooled_model()
    before = read_prefix_tree(model, DIGIT_SUM, every_prompt(DIGIT_SUM))
    size = 1e-4
    for name, push in {
        "natural": before.advantages,
        "plain": before.visits[..., None] * before.logits.softmax(-1) * before.advantages,
    }.items():
        step = measure_trees(before, before._replace(logits=before.logits + size * push + 3.0))
        promised = getattr(step, f"{name}_covariance")
        assert step.realised_covariance == pytest.approx(size * promised, rel=1e-6, abs=1e-14)
        assert step.entropy_change == pytest.approx(-size * promised, rel=1e-2, abs=1e-9)
        assert getattr(step, f"{name}_alignment") == pytest.approx(1.0, abs=1e-9)
    assert step.natural_alignment < 0.95, "the two steps differ"


def test_a_measured_step_is_that_of_the_reference():
    """The exact change at each prefix, weighted by hand with the visits of before."""
    run = start_run(2, schooled_model(), DIGIT_SUM, FEW._replace(learning_rate=5e-3))
    prompts = every_prompt(DIGIT_SUM)
    before = read_prefix_tree(run.model, DIGIT_SUM, prompts)
    after = read_prefix_tree(advance(run, 1).model, DIGIT_SUM, prompts)
    z, moved = before.logits.numpy(), (after.logits - before.logits).numpy()
    change = reference.entropy_change(z, moved) * before.visits.numpy()
    ends = np.cumsum([0, 1, 12, 144])
    by_hand = np.stack([change[:, a:b].sum(-1) for a, b in zip(ends[:-1], ends[1:], strict=True)], -1)
    step = measure_trees(before, after)
    assert step.entropy_change == pytest.approx(by_hand, rel=1e-9, abs=1e-14)
    first = -reference.covariance_over_actions(reference.log_probs(z), moved, z)
    assert -step.realised_covariance.sum() == pytest.approx((first * before.visits.numpy()).sum())
    policy, gains = np.exp(reference.log_probs(z)), before.advantages.numpy()
    came, wished = (x - (policy * x).sum(-1, keepdims=True) for x in (moved, gains))
    mean = lambda x: (before.visits.numpy()[..., None] * policy * x).sum()  # noqa: E731
    aligned = mean(came * wished) / np.sqrt(mean(came**2) * mean(wished**2))
    assert step.natural_alignment == pytest.approx(aligned, rel=1e-9)
    ones = sum_by_position(before, torch.ones_like(before.visits))
    assert ones.numpy() == pytest.approx(np.ones((14, 3)))


def test_following_a_run_does_not_disturb_it():
    alone = advance(start_run(3, schooled_model(), DIGIT_SUM, FEW), 3)
    watched = start_run(3, schooled_model(), DIGIT_SUM, FEW)
    steps = advance_with_trees(watched, every_prompt(DIGIT_SUM)[:3], 3)
    assert (weights_of(watched.model) == weights_of(alone.model)).all()
    assert watched.records == alone.records
    assert [step.entropy.shape for step in steps] == [(3, 3)] * 3
    gains = [
        later.entropy.sum(-1) - earlier.entropy.sum(-1)
        for earlier, later in zip(steps, steps[1:], strict=False)
    ]
    assert all(np.abs(gain).min() > 0 for gain in gains), "each step moves every prompt"


def test_sampled_rewards_are_those_of_the_tree():
    """Four thousand answers of a run agree with the exact success, within four standard errors."""
    run = advance(
        start_run(4, schooled_model(), DIGIT_SUM, Settings(samples=256, minibatches=1, held_out=1)), 1
    )
    tree = read_prefix_tree(schooled_model(), DIGIT_SUM, every_prompt(DIGIT_SUM))
    success = measure_trees(tree, tree).expected_reward
    drawn = draw_prompts(np.random.default_rng(4).spawn(2)[0], DIGIT_SUM, 16)
    expected = success[(10 * drawn[:, 0] + drawn[:, 1] - 7).numpy()]
    error = np.sqrt((expected * (1 - expected)).sum() / 256) / 16
    assert abs(run.records[0].reward - expected.mean()) < 4 * error


@pytest.mark.claim("proxy-in-a-tree")
def test_the_logged_covariance_is_that_of_the_tree():
    """Means over batches against sums over all answers, with the weight of a normalised group."""
    model, generator = schooled_model(), np.random.default_rng(7)
    tree = read_prefix_tree(model, DIGIT_SUM, every_prompt(DIGIT_SUM))
    step = measure_trees(tree, tree)
    gained = tree.state_values - tree.state_values[:, :1]
    between = -sum_by_position(tree, batched.entropy(tree.logits) * gained).numpy()
    assert abs(between[:, 0]).max() < 1e-12 < abs(between[:, 1:]).min(), "none at the first token"
    ell, p = answer_token_log_probs(tree), answer_probs(tree)[..., None]
    advantages = tree.rewards[:, 13:].flatten(1) - tree.state_values[:, :1]
    total = (p * ell * advantages[..., None]).sum(1).numpy()
    assert total == pytest.approx(step.natural_covariance + between, abs=1e-12)
    weight = reference.group_weight(step.expected_reward, 16)[:, None]
    expected = [(weight * part).mean() for part in (total, step.natural_covariance)]
    rows = np.array([sample_proxy(generator, model, DIGIT_SUM) for _ in range(120)])
    score = lambda x, truth: abs(x.mean() - truth) / (x.std() / np.sqrt(len(x)))  # noqa: E731
    assert score(rows[:, 3], expected[1]) < 4
    assert score(rows[:, 0], expected[0]) < 4
    assert score(rows[:, 1], expected[1]) > 4, "states with one token hide what is within"
    assert rows[:, 0] == pytest.approx(rows[:, 1] + rows[:, 2])


def test_a_batch_is_logged_as_by_hand():
    """The same draws, judged and multiplied token by token."""
    model, generator = schooled_model(), np.random.default_rng(8)
    proxy = sample_proxy(np.random.default_rng(8), model, DIGIT_SUM, 4, 6)
    asked = draw_prompts(generator, DIGIT_SUM, 4).repeat_interleave(6, 0)
    drawn = sample_answers(generator, model, asked)
    right = [is_right_by_text(p, a) for p, a in zip(asked, drawn.tokens, strict=True)]
    rewards = np.array(right, float).reshape(4, 6)
    assert rewards.sum() > 0
    gains = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, ddof=1, keepdims=True) + 1e-6)
    p = drawn.logits.softmax(-1).numpy()
    ell = np.log(np.take_along_axis(p, drawn.tokens.numpy()[..., None], -1)[..., 0])
    centred = ell - (p * np.log(p)).sum(-1)
    assert proxy.total == pytest.approx((ell * gains.reshape(-1, 1)).mean())
    assert proxy.within_by_entropy == pytest.approx((centred * gains.reshape(-1, 1)).mean())
    assert proxy.total != pytest.approx(proxy.within_by_entropy, rel=1e-3)


def test_prompts_with_a_carry():
    prompts = every_prompt(CARRIED_ADDITION)
    assert len(prompts) == 4500
    assert len(every_prompt(ADDITION)) == 10_000
    assert [decode(p) for p in every_prompt(DIGIT_SUM)] == [f"{n:02}=" for n in range(7, 21)]
    drawn = draw_prompts(np.random.default_rng(5), CARRIED_ADDITION, 45_000)
    assert (drawn[:, 1] + drawn[:, 4]).min() == 10
    label = 1000 * drawn[:, 0] + 100 * drawn[:, 1] + 10 * drawn[:, 3] + drawn[:, 4]
    counts = label.bincount()[1000 * prompts[:, 0] + 100 * prompts[:, 1] + 10 * prompts[:, 3] + prompts[:, 4]]
    assert ((counts - 10.0) ** 2 / 10).sum() < 4500 + 5 * 95, "each alike: χ² of 4499 degrees"
    with pytest.raises(ValueError, match="has no prompt"):
        every_prompt(DIGIT_SUM._replace(smallest_ones=10))
    with pytest.raises(ValueError, match="has no prompt"):
        draw_prompts(np.random.default_rng(0), DIGIT_SUM._replace(smallest_ones=10), 3)
