"""Whole answers by enumeration: against draws, against loops over tokens, against counting by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from entropy_core.simulators.tiny_lm import (
    ADDITION,
    DEMONSTRATIONS,
    DIGIT_SUM,
    answer_log_probs,
    decode,
    demonstration_probs,
    demonstrations,
    digit_cross_entropies,
    digit_entropies,
    draw_prompts,
    encode,
    every_prompt,
    is_right,
    right_answers,
    slip_probs,
)
from tests.simulators.tiny_models import lively_model

TARGETS = every_prompt(DIGIT_SUM)
DIGITS = list(itertools.product(range(10), repeat=3))


def shannon(chances):
    """Return the entropy of some probabilities."""
    return -sum(p * math.log(p) for p in chances if p > 0)


def test_every_prompt_comes_once_as_it_is_drawn():
    assert [decode(prompt) for prompt in TARGETS] == [f"{n:02}=" for n in range(7, 21)]
    texts = [decode(prompt) for prompt in every_prompt(ADDITION)]
    assert texts[:2] == ["00+00=", "00+01="]
    assert len(set(texts)) == 10_000
    drawn = {decode(prompt) for prompt in draw_prompts(np.random.default_rng(0), ADDITION, 50)}
    assert drawn < set(texts)


@pytest.mark.parametrize("kind", DEMONSTRATIONS)
@pytest.mark.parametrize("prompt", ["07=", "13=", "01+02=", "27+85="])
def test_demonstrations_are_drawn_with_these_probabilities(prompt, kind):
    task, count = (DIGIT_SUM, ADDITION)["+" in prompt], 20_000
    prompts = torch.tensor([encode(prompt)])
    answers = demonstrations(np.random.default_rng(1), task, prompts.expand(count, -1), kind)
    shares = np.zeros((12, 12, 12))
    np.add.at(shares, tuple(answers.T.numpy()), 1 / count)
    (probs,) = demonstration_probs(task, prompts, kind)
    assert probs.sum() == pytest.approx(1)
    assert ((probs > 0) >= (shares > 0)).all()
    assert (abs(shares - probs) <= 5 * np.sqrt(probs * (1 - probs) / count) + 1e-9).all()
    assert shares.max() > 2 / count, "a comparison that could fail"


def test_log_probs_of_a_model_are_those_of_a_loop():
    model, prompt = lively_model(), TARGETS[3]
    (log_probs,) = answer_log_probs(model, prompt[None])
    assert np.exp(log_probs).sum() == pytest.approx(1)
    with torch.no_grad():
        for answer in [(0, 0, 0), (4, 11, 2), (9, 5, 10)]:
            written, total = prompt.tolist(), 0.0
            for token in answer:
                logits, _ = model(torch.tensor([written]))
                total += logits[0, -1].log_softmax(-1)[token].item()
                written.append(token)
            assert log_probs[answer] == pytest.approx(total, abs=1e-12)


@pytest.mark.claim("imitation-by-digit")
def test_cross_entropy_is_entropy_and_divergence_digit_by_digit(record_property):
    """Every sum is written out as a loop over what stands before the digit."""
    demonstrated = demonstration_probs(DIGIT_SUM, TARGETS[5:7], "aligned")
    imitated = answer_log_probs(lively_model(), TARGETS[5:7])
    found, entropies = digit_cross_entropies(demonstrated, imitated), digit_entropies(demonstrated)
    worst = 0.0
    for p, log_q, cross, own in zip(demonstrated, imitated, found, entropies, strict=True):
        q = np.exp(log_q)
        for place in range(3):
            h = kl = 0.0
            for prefix in itertools.product(range(10), repeat=place):
                ours, theirs = p[prefix].reshape(12, -1).sum(1), q[prefix].reshape(12, -1).sum(1)
                if not ours.sum():
                    continue
                chances, guesses = ours / ours.sum(), theirs / theirs.sum()
                h += ours.sum() * shannon(chances)
                kl += ours.sum() * sum(
                    a * math.log(a / b) for a, b in zip(chances, guesses, strict=True) if a
                )
            worst = max(worst, abs(own[place] - h), abs(cross[place] - own[place] - kl))
            assert kl > 0.01
    record_property("largest error", f"{worst:.0e} nats")
    assert worst < 1e-12


@pytest.mark.claim("digit-entropies")
def test_noise_of_the_number_and_choice_of_an_answer_add_up(record_property):
    """H₁ + H₂ + H₃ = H(slip) + E log #answers, for every target and kind, from counts by hand."""
    count = {n: sum(sum(d) == n for d in DIGITS) for n in range(28)}
    slips = {
        "clean": {0: 1.0},
        "aligned": {0: 0.5} | {s * sign: 0.05 for s in range(1, 6) for sign in (-1, 1)},
        "flat": dict.fromkeys(range(-5, 6), 1 / 11),
        "adversarial": {0: 0.1, 1: 0.9},
    }
    worst = 0.0
    for kind in DEMONSTRATIONS:
        found = digit_entropies(demonstration_probs(DIGIT_SUM, TARGETS, kind))
        for target, (first, second, third) in zip(range(7, 21), found, strict=True):
            noise = shannon(slips[kind].values())
            choice = sum(chance * math.log(count[target + slip]) for slip, chance in slips[kind].items())
            worst = max(worst, abs(first + second + third - noise - choice))
            assert third <= noise + 1e-12
            assert (third > 0.25) == (kind != "clean")
    record_property("largest error", f"{worst:.0e} nats")
    assert worst < 1e-12


def test_the_last_digit_of_a_right_answer_is_determined():
    for prompt in TARGETS:
        (probs,) = demonstration_probs(DIGIT_SUM, prompt[None], "clean")
        assert probs[probs > 0] == pytest.approx(1 / len(right_answers(DIGIT_SUM, prompt)))
        assert ((probs > 0).sum(-1) <= 1).all(), "at most one third digit behind any two"


def test_slips_are_counted_by_the_verifier():
    prompts = torch.tensor([encode("27+85="), encode("03+04=")])
    probs = np.exp(answer_log_probs(lively_model(), prompts))
    found = slip_probs(ADDITION, prompts, probs, [0, -10, 3])
    every = torch.cartesian_prod(*[torch.arange(12)] * 3)
    for prompt, p, (right, fewer, more) in zip(prompts, probs, found, strict=True):
        is_it = is_right(ADDITION, prompt.expand(len(every), -1), every).reshape(12, 12, 12).numpy()
        assert right == pytest.approx(p[is_it].sum(), rel=1e-12)
        number = int("".join(decode(prompt)[:2])) + int("".join(decode(prompt)[3:5]))
        for value, slip in ((fewer, -10), (more, 3)):
            digits = [int(d) for d in f"{number + slip:03}"] if number + slip >= 0 else None
            assert value == pytest.approx(p[tuple(digits)] if digits else 0.0, rel=1e-12)


def test_an_imitator_that_forbids_what_is_shown_is_refused():
    shown, clean = (demonstration_probs(DIGIT_SUM, TARGETS[:1], kind) for kind in ("aligned", "clean"))
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match="−inf is demonstrated"):
        digit_cross_entropies(shown, np.log(clean))
    with np.errstate(divide="ignore"):
        assert (digit_cross_entropies(clean, np.log(shown)) - digit_entropies(clean)).sum() == pytest.approx(
            math.log(2)
        ), "half of the demonstrations are right"


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="one of clean, aligned"):
        demonstration_probs(DIGIT_SUM, TARGETS, "noisy")
