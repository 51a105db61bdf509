"""The step that reinforces one sampled token and what it does to entropy to first order, batched in torch."""

import torch

from entropy_core._shapes import Bool, Float, Int
from entropy_core.batched._primitives import CentredLogProbs, CentreTransposed, Entropy, Probs
from entropy_core.batched._tokens import over_tokens
from entropy_core.batched._validation import one_a_row, over_actions, step_size_over_batch

__all__ = [
    "entropy_neutral_probability",
    "sampled_token_delta_logits",
    "sampled_token_first_order_entropy_change",
    "token_entropy_scores",
]

NEWTON_STEPS = 12


def sampled_token_delta_logits(
    logits: Float[torch.Tensor, "*batch actions"],
    tokens: Int[torch.Tensor, "*batch"],
    advantages: Float[torch.Tensor, "*batch"],
    step_size: float | int | Float[torch.Tensor, "*#batch"],
    response_mask: Bool[torch.Tensor, "*batch"] | None = None,
) -> Float[torch.Tensor, "*batch actions"]:
    """Change of the logits in one step of the policy gradient of one sampled token in each row.

    Δz_b = η A (δ_ab − π_b)

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.
        tokens: a, index of the token sampled in each row, an allowed action, int64 or int32; the step is NaN
            if it is forbidden.
        advantages: A, one value a row, of either sign; not centred here. Multiply it by the importance ratio
            where the token was sampled from another policy.
        step_size: η in nats per unit of advantage: a number, or a tensor of one value a row.
        response_mask: True where a row counts; elsewhere the step is 0 and no gradient flows, whatever stands
            there. None counts every row.

    Returns:
        Δz in nats, the shape of logits, summing to 0; 0 at forbidden actions.

    Raises:
        TypeError: logits or advantages are not floating-point tensors, tokens not integers, response_mask not
            boolean, or step_size neither a number nor a tensor.
        ValueError: there is no action, step_size is not finite, or devices or shapes do not fit.

    Numerics:
        Relative error ≤ 1e-12 (float64, gaps to 700) or 1e-5 (float32, gaps to 80), also where π_a rounds
        to 1. Differentiable. tests/agreement/test_sampled_token.py.

    Source: claim `sampled-token-rate`, chapter one-sampled-token; [williams1992simple].

    Example:
        >>> z, advantages = torch.tensor([[0.0, 0.0]]), torch.tensor([1.0])
        >>> sampled_token_delta_logits(z, torch.tensor([1]), advantages, 0.1)
        tensor([[-0.0500,  0.0500]])
    """
    logits, score, advantages = _read(logits, tokens, advantages, response_mask)
    return step_size_over_batch(step_size, logits) * (advantages.unsqueeze(-1) * score)


def sampled_token_first_order_entropy_change(
    logits: Float[torch.Tensor, "*batch actions"],
    tokens: Int[torch.Tensor, "*batch"],
    advantages: Float[torch.Tensor, "*batch"],
    step_size: float | int | Float[torch.Tensor, "*#batch"],
    response_mask: Bool[torch.Tensor, "*batch"] | None = None,
) -> Float[torch.Tensor, "*batch"]:
    """First-order change of the entropy when one sampled token is reinforced in each row.

    ΔH ≈ −η A (S_a − Cov(π, log π)), S_a = π_a (log π_a + H)

    Args:
        logits: z before the step, in nats; −inf forbids an action; a common constant cancels.
        tokens: a, index of the token sampled in each row, an allowed action, int64 or int32; the change is
            NaN if it is forbidden.
        advantages: A, one value a row, of either sign.
        step_size: η in nats per unit of advantage: a number, or a tensor of one value a row.
        response_mask: True where a row counts; elsewhere the change is 0 and no gradient flows, whatever
            stands there. None counts every row.

    Returns:
        Predicted ΔH in nats, one value a row; for A > 0 negative where the token is likelier than
        `entropy_neutral_probability`, positive where it is rarer; 0 at the uniform policy.

    Raises:
        TypeError: logits or advantages are not floating-point tensors, tokens not integers, response_mask not
            boolean, or step_size neither a number nor a tensor.
        ValueError: there is no action, step_size is not finite, or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-12 (float64, gaps to 700) or 1e-5 (float32, gaps to 80) of
        |ηA| Σ_b π_b |log π_b + H| |δ_ab − π_b|. Differentiable. tests/agreement/test_sampled_token.py.

    Source: claim `sampled-token-rate`, chapter one-sampled-token; [wang2026entropy].

    Example:
        >>> z, tokens = torch.tensor([[0.5, 0.4, 0.1]] * 2).log(), torch.tensor([0, 1])
        >>> sampled_token_first_order_entropy_change(z, tokens, torch.ones(2), 0.1)
        tensor([-0.0072,  0.0042])
    """
    logits, score, advantages = _read(logits, tokens, advantages, response_mask)
    rate = (Probs.apply(logits) * CentredLogProbs.apply(logits) * score).sum(dim=-1, keepdim=True)
    return -(step_size_over_batch(step_size, logits) * advantages.unsqueeze(-1) * rate).squeeze(-1)


def token_entropy_scores(
    token_log_probs: Float[torch.Tensor, "*batch"],
    entropy: Float[torch.Tensor, "*batch"],
    response_mask: Bool[torch.Tensor, "*batch"],
) -> Float[torch.Tensor, "*batch"]:
    """Entropy scores of tokens: what entropy loses when the logit of the token alone is raised.

    S_a = π_a (log π_a + H)

    Args:
        token_log_probs: log π_a of each token, in nats.
        entropy: H of the policy that each token was sampled from, in nats.
        response_mask: True where a token counts; elsewhere the score is 0 and no gradient flows, whatever
            stands there.

    Returns:
        S, one value a token, in nats per nat; positive above the probability e^{−H}, negative below, at least
        −e^{−1−H}. Under the policy its mean is Cov(π, log π) ≥ 0, which a policy gradient step subtracts.

    Raises:
        TypeError: response_mask is not boolean, or the others are not floating-point tensors.
        ValueError: shapes or devices differ.

    Numerics:
        Error ≤ 1e-12 (float64) or 1e-5 (float32) of π_a (|log π_a| + H): near e^{−H} the two cancel.
        Differentiable. tests/agreement/test_sampled_token.py.

    Source: claim `entropy-gradient-logits`, chapter entropy-covariance-identity; [wang2026entropy].

    Example:
        >>> quarter, entropy = torch.tensor([0.5, 0.0625]).log(), torch.tensor([4.0, 4.0]).log()
        >>> token_entropy_scores(quarter, entropy, torch.ones(2, dtype=torch.bool))
        tensor([ 0.3466, -0.0866])
    """
    log_probs, entropy = over_tokens(response_mask, token_log_probs=token_log_probs, entropy=entropy)
    return torch.where(response_mask, torch.exp(log_probs) * (log_probs + entropy), 0.0)


def entropy_neutral_probability(
    logits: Float[torch.Tensor, "*batch actions"],
) -> Float[torch.Tensor, "*batch"]:
    """Probability of a sampled token at which reinforcing it leaves entropy alone, to first order.

    p* ≥ e^{−H} with p* (log p* + H) = Cov(π, log π); p* = e^{t − H}, t e^t = e^H Cov(π, log π)

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.

    Returns:
        p*, one value a row, in [e^{−H}, max π]; 1/n for n equally likely actions, 1 for one.

    Raises:
        TypeError: logits is not a floating-point tensor.
        ValueError: there is no action.

    Numerics:
        Relative error ≤ 1e-12 (float64, gaps to 700) or 1e-5 (float32, gaps to 80) for up to 1e6 actions. No
        gradient is kept. tests/agreement/test_sampled_token.py.

    Source: claims `neutral-probability` and `neutral-probability-bounds`, chapter one-sampled-token.

    Example:
        >>> entropy_neutral_probability(torch.tensor([0.5, 0.4, 0.1]).log())
        tensor(0.4395)
    """
    (logits,) = over_actions(logits=logits.detach() if isinstance(logits, torch.Tensor) else logits)
    pi, entropy = Probs.apply(logits), Entropy.apply(logits)
    baseline = (pi * pi * CentredLogProbs.apply(logits)).sum(dim=-1).clamp(min=0.0)
    target = torch.exp(entropy) * baseline
    t = torch.log1p(target)
    for _ in range(NEWTON_STEPS):
        t = t - (t - target * torch.exp(-t)) / (1.0 + t)
    return torch.exp(t.clamp(min=0.0) - entropy)


def _read(logits, tokens, advantages, response_mask):
    """Return logits, e_a − π and advantages; rows that do not count are uniform and have A = 0."""
    (logits,) = over_actions(logits=logits)
    tokens, counted = one_a_row(logits, tokens, response_mask)
    (advantages,) = over_tokens(counted, advantages=advantages)
    dtype = torch.promote_types(logits.dtype, advantages.dtype)
    logits = torch.where(counted.unsqueeze(-1), logits, 0.0).to(dtype)
    chosen = torch.where(counted, tokens, 0).unsqueeze(-1)
    forbidden = logits.gather(-1, chosen).squeeze(-1) == -torch.inf
    own = torch.zeros_like(logits).scatter(-1, chosen, 1.0)
    return (
        logits,
        CentreTransposed.apply(own, logits),
        torch.where(forbidden, torch.nan, advantages).to(dtype),
    )
