"""Entropy of a softmax policy and how an update changes it, in symbols, float64 and torch.

Everything here is a moment of a softmax: entropy, varentropy, score, Fisher matrix and the covariance
that drives entropy are expectations, under π = softmax(z), of a few numbers per action.

Three layers say the same things under the same names, and none imports another, so that agreement is
evidence:

- `entropy_core.symbolic` (extra `symbolic`): SymPy. What is true for every number of actions; each line
  checked.
- `entropy_core.reference` (NumPy alone): float64, formula by formula, with the error that each docstring
  promises.
- `entropy_core.batched` (extra `torch`): any device, differentiable to any order, closed-form gradients.

Beside them, `entropy_core.simulators` (extra `simulators`) makes the random instances that the chapters
confront theory with, and `entropy_core.plotting` (extra `book`) is the only module that draws. Importing
`entropy_core` loads none of these and neither torch, SymPy nor matplotlib; import the layer you need.

Conventions. The last axis runs over actions, for `tabular` the last two over states and actions;
leading axes are a batch and broadcast. Functions of batches of responses take one value a token, [batch,
tokens], and a `response_mask`, and ignore what stands where it is False. Logits, log-probabilities and
entropies are in nats. A logit of −inf forbids its action: whatever else is given there, NaN included,
is ignored, and steps and gradients there are 0. Logits count only up to a constant. `step_size` is η in
logit space; an optimiser's learning rate is another number. Bad input raises a `ValueError` or
`TypeError` that says what was required, what came and what to do; where `batched` could only see it by
waiting for the device, `check_logits`, `check_delta_logits` and `check_transitions` look when asked.

    >>> import numpy as np
    >>> from entropy_core import reference
    >>> logits, delta_logits = np.log([0.7, 0.2, 0.1]), np.array([0.0, 0.1, 0.0])
    >>> round(float(reference.entropy_change(logits, delta_logits)), 4)  # up
    0.0158
"""
