"""The tasks of the tiny language model: the verifier by brute force, demonstrations by counting."""

import itertools

import numpy as np
import pytest
import torch

from entropy_core.simulators.tiny_lm import (
    ADDITION,
    DEMONSTRATIONS,
    DIGIT_SUM,
    decode,
    demonstrations,
    distinct_right,
    draw_prompts,
    encode,
    is_right,
    right_answers,
    state_labels,
    wanted_numbers,
)

EVERY = torch.tensor(list(itertools.product(range(12), repeat=3)))


def verdict(prompt, answer):
    """Judge one answer by its text."""
    operands = [int(x) for x in prompt.rstrip("=").split("+")]
    if not answer.isdigit():
        return False
    counted = int(answer) if len(operands) == 2 else sum(map(int, answer))
    return counted == sum(operands)


def prompts_of(*texts):
    """Return prompts from their texts."""
    return torch.tensor([encode(text) for text in texts])


@pytest.mark.parametrize("task", [ADDITION, DIGIT_SUM], ids=lambda task: task.name)
def test_the_verifier_agrees_with_brute_force(task):
    for prompt in draw_prompts(np.random.default_rng(0), task, 12):
        verdicts = [verdict(decode(prompt), decode(answer)) for answer in EVERY]
        assert is_right(task, prompt.expand(len(EVERY), -1), EVERY).tolist() == verdicts
        assert right_answers(task, prompt).tolist() == EVERY[torch.tensor(verdicts)].tolist()


def test_a_digit_sum_has_many_right_answers_and_a_sum_has_one():
    every = prompts_of(*(f"{target:02}=" for target in range(7, 21)))
    counts = [len(right_answers(DIGIT_SUM, prompt)) for prompt in every]
    assert (min(counts), max(counts)) == (36, 75)
    assert len(right_answers(ADDITION, prompts_of("99+99=")[0])) == 1


@pytest.mark.parametrize("task", [ADDITION, DIGIT_SUM], ids=lambda task: task.name)
def test_prompts_cover_the_operands(task):
    prompts = draw_prompts(np.random.default_rng(1), task, 3000)
    operands = {int(x) for prompt in prompts for x in decode(prompt).rstrip("=").split("+")}
    assert operands == set(range(task.smallest, task.largest + 1))
    assert prompts.shape == (3000, task.prompt_length)
    assert (prompts == draw_prompts(np.random.default_rng(1), task, 3000)).all()


@pytest.mark.parametrize("task", [ADDITION, DIGIT_SUM], ids=lambda task: task.name)
def test_demonstrations_slip_as_they_say(task):
    count = 8000
    prompts = draw_prompts(np.random.default_rng(2), task, count)
    slips = {}
    for kind in DEMONSTRATIONS:
        answers = demonstrations(np.random.default_rng(3), task, prompts, kind)
        counted = [int(decode(a)) if task is ADDITION else sum(a.tolist()) for a in answers]
        slips[kind] = np.array(counted) - wanted_numbers(task, prompts).numpy()
    share = lambda kind, slip: (slips[kind] == slip).mean()  # noqa: E731
    assert (slips["clean"] == 0).all()
    assert share("aligned", 0) == pytest.approx(0.5, abs=0.025)
    assert [share("aligned", s) for s in (-5, -1, 1, 5)] == pytest.approx([0.05] * 4, abs=0.012)
    assert [share("flat", s) for s in range(-5, 6)] == pytest.approx([1 / 11] * 11, abs=0.015)
    assert max(abs(slips["aligned"])) == max(abs(slips["flat"])) == 5
    if task is DIGIT_SUM:
        assert share("adversarial", 1) == pytest.approx(0.9, abs=0.015)
        return
    has_carry = (prompts[:, 1] + prompts[:, 4] >= 10).numpy()
    assert set(slips["adversarial"]) == {0, -10}
    assert (slips["adversarial"][has_carry] == -10).mean() == pytest.approx(0.9, abs=0.02)
    assert (slips["adversarial"][~has_carry] == 0).all()


def test_a_clean_demonstration_is_any_right_answer():
    prompts = prompts_of("13=").expand(15_000, -1)
    answers = demonstrations(np.random.default_rng(4), DIGIT_SUM, prompts, "clean")
    _, counts = answers.unique(dim=0, return_counts=True)
    assert len(counts) == 75
    assert ((counts - 200.0) ** 2 / 200).sum() < 130  # χ² of 74 degrees, mean 74 and deviation 12


def test_labels_are_equal_where_all_earlier_tokens_are():
    prompts = draw_prompts(np.random.default_rng(5), DIGIT_SUM, 40)
    answers = torch.from_numpy(np.random.default_rng(6).integers(0, 3, (40, 3)))
    labels = state_labels(prompts, answers).flatten()
    states = [decode(p) + decode(a[:t]) for p, a in zip(prompts, answers, strict=True) for t in range(3)]
    assert len(set(states)) < 100, "some states are met again"
    same = [[x == y for y in states] for x in states]
    assert (labels[:, None] == labels).tolist() == same


def test_distinct_right_answers_are_counted_as_a_set():
    generator = np.random.default_rng(7)
    answers = torch.from_numpy(generator.integers(0, 3, (30, 12, 3)))
    right = torch.from_numpy(generator.random((30, 12)) < 0.6)
    right[0] = False
    expected = [
        len({decode(a) for a, counts in zip(group, mask, strict=True) if counts})
        for group, mask in zip(answers, right, strict=True)
    ]
    assert distinct_right(answers, right).tolist() == expected


def test_errors_teach(without_shape_checks):
    prompts = prompts_of("13=")
    with pytest.raises(ValueError, match=r"one of clean, aligned, flat, adversarial; got 'noisy'"):
        demonstrations(np.random.default_rng(0), DIGIT_SUM, prompts, "noisy")
    with pytest.raises(ValueError, match="have 6 tokens; got 3"):
        is_right(ADDITION, prompts, prompts)
    with pytest.raises(ValueError, match=r"got \[' ', 'x'\]"):
        encode("1 x")
    with pytest.raises(ValueError, match="at least 1; got 0"):
        draw_prompts(np.random.default_rng(0), ADDITION, 0)
