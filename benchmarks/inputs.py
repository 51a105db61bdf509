"""Logits to measure on, all from one seed."""

import torch

SHAPES = ((1024, 32_000), (256, 151_936))
QUICK_SHAPES = ((256, 32_000),)
DTYPES = (torch.float32, torch.bfloat16)
KINDS = ("ordinary", "peaked", "offset 1e4", "half forbidden", "entropy 1e-6")
MASKED_KINDS = ("first half forbidden", "last half forbidden", "two actions left")


def logits_of(shape, dtype, device, scale=2.0, seed=0):
    """Return normal logits of standard deviation 2: about 8 nats of entropy in 32 000 actions."""
    generator = torch.Generator(device).manual_seed(seed)
    z = torch.empty(shape, dtype=dtype, device=device)
    for rows in z.split(64):
        rows.copy_(torch.empty(rows.shape, device=device).normal_(0, scale, generator=generator))
    return z


def step_of(shape, dtype, device):
    """Return a step of standard deviation .1."""
    return logits_of(shape, dtype, device, scale=0.1, seed=1)


def tokens_of(shape, device):
    """Return tokens drawn at random."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, shape[1], shape[:1], generator=generator).to(device)


def hard_logits(kind, actions, dtype, device, rows=32):
    """Return rows of one kind on which formulas lose digits, or their minds."""
    z = logits_of((rows, actions), torch.float32, "cpu", seed=3)
    if kind == "peaked":
        z = 6 * z
    elif kind == "offset 1e4":
        z = z + 1e4
    elif kind == "half forbidden":
        z[:, ::2] = -torch.inf
    elif kind == "first half forbidden":
        z[:, : actions // 2] = -torch.inf
    elif kind == "last half forbidden":
        z[:, actions // 2 :] = -torch.inf
    elif kind == "two actions left":
        z[:, 1:-1] = -torch.inf
    elif kind == "entropy 1e-6":
        z = z / 2
        z[:, 7] = torch.linspace(18, 30, rows) + torch.log(torch.tensor(float(actions))) - 7
    return z.to(dtype).to(device)


def hidden_states(rows, actions, features, dtype, device, seed=0):
    """Return final hidden states and an output matrix whose logits have standard deviation 2."""
    states = logits_of((rows, features), dtype, device, scale=1.0, seed=seed)
    return states, logits_of((actions, features), dtype, device, scale=2 / features**0.5, seed=seed + 10)
