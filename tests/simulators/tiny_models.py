"""Tiny language models with weights that are nowhere 0, so that no test passes because nothing moves."""

import numpy as np
import torch

from entropy_core.simulators.tiny_lm import DIGIT_SUM, ModelSize, Phase, imitate, make_model

SMALL = ModelSize(width=16, layers=2, heads=2)


def lively_model(seed=0, size=SMALL, dtype=torch.float64, spread=0.3):
    """Return a model whose every weight is moved from where it starts."""
    generator = np.random.default_rng(seed)
    model = make_model(generator, size, dtype=dtype)
    with torch.no_grad():
        for weight in model.parameters():
            weight += torch.from_numpy(spread * generator.normal(size=tuple(weight.shape)))
    return model


def schooled_model():
    """Return a model that answers digit sums rightly now and then."""
    generator = np.random.default_rng(0)
    model = make_model(generator, SMALL, dtype=torch.float64)
    imitate(generator, model, DIGIT_SUM, Phase("clean", 60, 1e-2, 64))
    return model


def weights_of(model):
    """Return all weights in one row."""
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])
