"""The transformer: its cache against teacher forcing, causality, and answers drawn as the softmax says."""

import numpy as np
import pytest
import torch

from entropy_core.simulators.tiny_lm import (
    ADDITION,
    DIGIT_SUM,
    ModelSize,
    Phase,
    answer_logits,
    draw_prompts,
    evaluate,
    imitate,
    make_model,
    make_prior,
    sample_answers,
)
from tests.simulators.tiny_models import SMALL, lively_model, weights_of


@pytest.mark.parametrize("task", [ADDITION, DIGIT_SUM], ids=lambda task: task.name)
def test_logits_with_the_cache_are_those_of_teacher_forcing(task):
    model = lively_model(size=ModelSize())
    prompts = draw_prompts(np.random.default_rng(1), task, 20)
    sampled = sample_answers(np.random.default_rng(2), model, prompts)
    forced = answer_logits(model, prompts, sampled.tokens)
    assert (sampled.logits - forced).abs().max() < 1e-12
    assert forced.std() > 0.5, "logits that differ"


def test_attention_is_that_of_a_loop_over_positions():
    model = lively_model()
    block, x = model.blocks[0], torch.randn(7, 16, dtype=torch.float64, generator=torch.manual_seed(0))
    query, key, value = block.attention_in(block.before_attention(x)).unflatten(-1, (3, 2, 8)).unbind(1)
    seen = torch.zeros(7, 2, 8, dtype=torch.float64)
    for position in range(7):
        for head in range(2):
            scores = key[: position + 1, head] @ query[position, head] / 8**0.5
            seen[position, head] = scores.softmax(0) @ value[: position + 1, head]
    y = x + block.attention_out(seen.flatten(1))
    y = y + block.hidden_out(torch.nn.functional.gelu(block.hidden_in(block.before_hidden(y))))
    assert (block(x[None])[0][0] - y).abs().max() < 1e-12


def test_no_position_sees_a_later_one():
    model, prompts = lively_model(), draw_prompts(np.random.default_rng(3), ADDITION, 5)
    logits, _ = model(prompts)
    for position in range(1, 6):
        other = prompts.clone()
        other[:, position] = (other[:, position] + 1) % 12
        moved = (model(other)[0] - logits).abs().amax((0, 2))
        assert (moved[:position] == 0).all()
        assert (moved[position:] > 1e-6).all()


def test_answers_are_drawn_as_the_softmax_says():
    model, count = lively_model(), 20_000
    prompts = draw_prompts(np.random.default_rng(4), DIGIT_SUM, 1).expand(count, -1)
    sampled = sample_answers(np.random.default_rng(5), model, prompts)
    for position in range(3):
        probs = sampled.logits[:, position].softmax(-1)
        shares = torch.nn.functional.one_hot(sampled.tokens[:, position], 12).double().mean(0)
        spread = (probs * (1 - probs)).mean(0).sqrt() / count**0.5
        assert ((shares - probs.mean(0)).abs() < 4 * spread).all()
    again = sample_answers(np.random.default_rng(5), model, prompts)
    assert (again.tokens == sampled.tokens).all()


def test_a_new_model_is_uniform_and_follows_its_seed():
    model = make_model(np.random.default_rng(0))
    assert 58_000 < weights_of(model).numel() < 60_000
    assert evaluate(np.random.default_rng(1), model, DIGIT_SUM, 64).entropy == pytest.approx(np.log(12))
    assert (weights_of(model) == weights_of(make_model(np.random.default_rng(0)))).all()
    assert (weights_of(model) != weights_of(make_model(np.random.default_rng(1)))).any()


def test_imitation_lowers_the_loss_and_noise_raises_entropy():
    prior = make_prior(0, DIGIT_SUM, "flat", clean_steps=200, noisy_steps=60, size=SMALL)
    clean, noisy = prior.records
    assert clean.first_loss == pytest.approx(np.log(12), rel=1e-5)
    assert clean.last_loss < 1.9
    assert clean.evaluation.accuracy > 2 * noisy.evaluation.accuracy
    assert noisy.evaluation.entropy > clean.evaluation.entropy
    assert noisy.first_loss > noisy.last_loss


def test_a_model_that_diverged_says_so(without_shape_checks):
    model = lively_model()
    with torch.no_grad():
        model.last.weight[0] = torch.nan
    with pytest.raises(FloatingPointError, match="smaller learning rate"):
        sample_answers(np.random.default_rng(0), model, draw_prompts(np.random.default_rng(0), ADDITION, 2))


def test_errors_teach(without_shape_checks):
    with pytest.raises(ValueError, match="5 heads and width 48. Try width 45"):
        make_model(np.random.default_rng(0), ModelSize(heads=5))
    with pytest.raises(ValueError, match="steps=0"):
        imitate(np.random.default_rng(0), lively_model(), DIGIT_SUM, Phase("clean", 0, 1e-3))
