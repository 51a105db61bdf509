"""One step of the exact policy gradient and of the natural gradient in logit space, batched in torch."""

import torch

from entropy_core._shapes import Float
from entropy_core.batched._primitives import Centre, Probs
from entropy_core.batched._validation import over_actions, step_size_over_batch

__all__ = ["natural_gradient_delta_logits", "policy_gradient_delta_logits"]


def policy_gradient_delta_logits(
    logits: Float[torch.Tensor, "*#batch actions"],
    rewards: Float[torch.Tensor, "*#batch actions"],
    step_size: float | int | Float[torch.Tensor, "*#batch"],
) -> Float[torch.Tensor, "*batch actions"]:
    """Change of the logits in one step of the exact policy gradient at one state.

    Δz_a = η π_a (r_a − E_π r)

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.
        rewards: r per action, finite at allowed actions, ignored (NaN included) at forbidden ones; centred
            inside, so a constant cancels.
        step_size: η in nats per unit of reward: a number, or a tensor of one value a row.

    Returns:
        Δz in nats, the broadcast shape, of either sign, summing to 0; 0 at forbidden actions.

    Raises:
        TypeError: an argument has a type that is not named above.
        ValueError: there is no action, step_size is not finite, or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-12 (float64) or 1e-5 (float32) of η π_a max |r − E r|. Differentiable in every tensor.
        tests/agreement/test_batched_reference.py, tests/batched/test_gradients.py.

    Source: claim `score`, chapter entropy-covariance-identity; [williams1992simple], [sutton2000policy].

    Example:
        >>> policy_gradient_delta_logits(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]), 0.1)
        tensor([ 0.0250, -0.0250])
    """
    logits, rewards = over_actions(logits=logits, rewards=rewards)
    advantages = Centre.apply(rewards, logits)
    return step_size_over_batch(step_size, logits) * (Probs.apply(logits) * advantages)


def natural_gradient_delta_logits(
    logits: Float[torch.Tensor, "*#batch actions"],
    rewards: Float[torch.Tensor, "*#batch actions"],
    step_size: float | int | Float[torch.Tensor, "*#batch"],
) -> Float[torch.Tensor, "*batch actions"]:
    """Change of the logits in one step of the natural policy gradient at one state.

    Δz_a = η (r_a − E_π r)

    Any other constant than −E_π r gives the same policy; this one makes E_π Δz = 0.

    Args:
        logits: z in nats; −inf forbids an action; a common constant cancels.
        rewards: r per action, finite at allowed actions, ignored (NaN included) at forbidden ones; a constant
            cancels.
        step_size: η in nats per unit of reward: a number, or a tensor of one value a row.

    Returns:
        Δz in nats, the broadcast shape, of either sign; 0 at forbidden actions.

    Raises:
        TypeError: an argument has a type that is not named above.
        ValueError: there is no action, step_size is not finite, or devices or shapes do not fit.

    Numerics:
        Error ≤ 1e-12 (float64) or 1e-5 (float32) of η max |r − E r|. Differentiable in every tensor.
        tests/agreement/test_batched_reference.py, tests/batched/test_gradients.py.

    Source: claim `entropy-natural-gradient`, chapter softmax-geometry; [kakade2001natural],
        [agarwal2021theory, Lemma 15].

    Example:
        >>> natural_gradient_delta_logits(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]), 0.1)
        tensor([ 0.0500, -0.0500])
    """
    logits, rewards = over_actions(logits=logits, rewards=rewards)
    return step_size_over_batch(step_size, logits) * Centre.apply(rewards, logits)
