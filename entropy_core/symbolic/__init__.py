r"""SymPy layer: what is true, for every number of actions.

Conventions. z are the logits, π = softmax(z), ℓ = log π, H = −E ℓ in nats; E, Var, Cov and κ are under π. A
`Field` (`probs`, `log_probs`, `logits`, `delta_logits`, `rewards`, `advantages`, or your own) is a function
of the action and is written without its argument; `field.at(i)` is its value at action i, any of 1..n.
`Dt` is the derivative in a parameter t of the policy, Δz = dz/dt; `Grad` is the same in a coordinate of θ,
`DBeta` in the inverse temperature, `Partial` in one logit. By default z(a, t) is any differentiable function
(`any_path`); second and higher orders of the straight line z + tΔz need `along=straight_path`.

    lemma = Derivation(Dt(entropy)).by(product_rule).by(score).by(score_has_mean_zero)
    lemma.to(-Cov(log_probs, delta_logits), "definition of the covariance")

Three checks stand behind every line, and a line that fails one raises `WrongLine`:

1. for every n ≥ 1: both sides become sums over a symbolic n (`realise`), SymPy differentiates, and the
   difference must have canonical form 0 (`canonical`, `is_zero`);
2. exactly, for n = 2..6: both sides are evaluated from their definitions at random points of a finite field,
   with derivatives by dual numbers; no code is shared with check 1;
3. to 50 digits, for n = 2..6: in mpmath, with difference quotients for derivatives.

`evaluate` gives the same expressions a value to 50 digits at given logits: the oracle of the numeric layers.
No numeric code is ever generated from symbols.

Not machine-checked: inequalities (Jensen, Popoviciu), monotonicity, existence and smoothness of what is
differentiated, limits, the order of a remainder, and the words beside a line. Only equalities are checked,
for finite logits; −inf is covered by dropping the action.

The subjects `softmax`, `dynamics`, `updates`, `tabular` and `trajectories` carry the names of the numeric
layers, and functions that return what they have proved (`dynamics.entropy_lemma()`,
`tabular.policy_gradient_theorem()`).
`tabular` speaks of states too: its entries carry their indices, as in `tabular.advantages(s, a)`.
`approximation` adds parameters that the logits share; `merging` has the sums that the batched layer keeps of
a row, and proves that they merge.
"""

from entropy_core.symbolic import (
    approximation,
    dynamics,
    interventions,
    merging,
    outcomes,
    rules,
    softmax,
    tabular,
    ties,
    trajectories,
    updates,
)
from entropy_core.symbolic.certificate import Certificate, Hypothesis, WrongCertificate
from entropy_core.symbolic.derivation import Derivation, Line, Statement, WrongLine
from entropy_core.symbolic.dynamics import (
    entropy_change,
    entropy_gradient,
    first_order_entropy_change,
    new_entropy,
    probs_ratio,
    reverse_kl_divergence,
    second_order_entropy_change,
    third_order_entropy_change,
)
from entropy_core.symbolic.evaluation import evaluate
from entropy_core.symbolic.fields import (
    advantages,
    any_path,
    delta_logits,
    inverse_temperature,
    log_probs,
    logits,
    new_log_probs,
    new_probs,
    probs,
    rewards,
    step_size,
    straight_path,
    temperature_path,
)
from entropy_core.symbolic.operators import (
    At,
    Cov,
    DBeta,
    Dt,
    E,
    Entry,
    Field,
    Grad,
    Indicator,
    Kappa,
    Partial,
    Quantity,
    Scalar,
    Total,
    Var,
    action_index,
    named_matrix,
)
from entropy_core.symbolic.outcomes import (
    correct,
    entropy_of_correct,
    entropy_of_wrong,
    success_probability,
)
from entropy_core.symbolic.printing import latex
from entropy_core.symbolic.realisation import realise
from entropy_core.symbolic.rules import (
    Rule,
    as_expectation,
    as_sum,
    chain_rule,
    definition,
    derivative_of_expectation,
    fold,
    indicator_picks,
    linearity,
    log_derivative,
    log_softmax,
    normalisation,
    product_rule,
    score,
    score_has_mean_zero,
    score_trick,
    softmax_weights,
    substitute,
)
from entropy_core.symbolic.softmax import (
    covariance_over_actions,
    entropy,
    fisher,
    fisher_pseudo_inverse,
    number_of_actions,
    varentropy,
)
from entropy_core.symbolic.sums import canonical, is_zero
from entropy_core.symbolic.updates import natural_gradient_delta_logits, policy_gradient_delta_logits
from entropy_core.symbolic.verification import Verdict, check

__all__ = [
    "At",
    "Certificate",
    "Cov",
    "DBeta",
    "Derivation",
    "Dt",
    "E",
    "Entry",
    "Field",
    "Grad",
    "Hypothesis",
    "Indicator",
    "Kappa",
    "Line",
    "Partial",
    "Quantity",
    "Rule",
    "Scalar",
    "Statement",
    "Total",
    "Var",
    "Verdict",
    "WrongCertificate",
    "WrongLine",
    "action_index",
    "advantages",
    "any_path",
    "approximation",
    "as_expectation",
    "as_sum",
    "canonical",
    "chain_rule",
    "check",
    "correct",
    "covariance_over_actions",
    "definition",
    "delta_logits",
    "derivative_of_expectation",
    "dynamics",
    "entropy",
    "entropy_change",
    "entropy_gradient",
    "entropy_of_correct",
    "entropy_of_wrong",
    "evaluate",
    "first_order_entropy_change",
    "fisher",
    "fisher_pseudo_inverse",
    "fold",
    "indicator_picks",
    "interventions",
    "inverse_temperature",
    "is_zero",
    "reverse_kl_divergence",
    "latex",
    "linearity",
    "log_derivative",
    "log_probs",
    "log_softmax",
    "logits",
    "merging",
    "named_matrix",
    "natural_gradient_delta_logits",
    "new_entropy",
    "new_log_probs",
    "new_probs",
    "normalisation",
    "number_of_actions",
    "outcomes",
    "policy_gradient_delta_logits",
    "probs",
    "probs_ratio",
    "product_rule",
    "realise",
    "rewards",
    "rules",
    "score",
    "score_has_mean_zero",
    "score_trick",
    "second_order_entropy_change",
    "softmax",
    "softmax_weights",
    "step_size",
    "straight_path",
    "substitute",
    "success_probability",
    "tabular",
    "temperature_path",
    "third_order_entropy_change",
    "ties",
    "trajectories",
    "updates",
    "varentropy",
]
