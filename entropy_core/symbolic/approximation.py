r"""Policies whose logits share parameters: tangent kernel, projection of the advantage, what survives of it.

Conventions. m states, n actions, q parameters; ∂_k z(s,a) is the derivative of a logit in parameter k and
g_k(s,a) = ∂_k log π(a|s) the score; d(s) is any weight of the states, A any table. Where Σ_a π A = 0 is
needed it is a hypothesis, M(s) = 0. A step of size η is taken to first order, Δz = Σ_k ∂_k z Δθ_k; for logits
that are linear in θ this is no approximation. Compatible weights are not solved for: their normal equations
N(k) = 0 are hypotheses of a `Certificate`, so no inverse occurs, and a singular Fisher matrix does no harm.
The kernel of a single state is written over its actions alone.
"""

from sympy import KroneckerDelta, Rational, exp, log

from entropy_core.symbolic import fields, rules
from entropy_core.symbolic.certificate import Certificate, Hypothesis
from entropy_core.symbolic.derivation import Derivation, Statement
from entropy_core.symbolic.fields import step_size
from entropy_core.symbolic.operators import (
    Cov,
    E,
    Field,
    Quantity,
    Scalar,
    Total,
    Var,
    action_index,
    named_matrix,
)
from entropy_core.symbolic.tables import (
    OverActions,
    OverParameters,
    OverStates,
    Table,
    actions,
    parameters,
    state_index,
    states,
)
from entropy_core.symbolic.tabular import logits, state_occupancy

__all__ = [
    "advantage_residual",
    "advantages",
    "advantages_misfit",
    "any_field",
    "any_weights",
    "average_covariance",
    "average_covariance_of_homogeneous_logits",
    "compatible_direction",
    "compatible_weights_are_best",
    "constant_added",
    "covariance_with_advantage",
    "covariance_with_lost_step",
    "covariance_with_step",
    "degree",
    "fisher",
    "gradient_residual",
    "homogeneity_residual",
    "kernel",
    "kernel_field",
    "kernel_form",
    "kernel_form_of_field",
    "kernel_of_the_advantage",
    "kernel_quadratic_form",
    "kernel_residual",
    "kernel_step",
    "kernel_that_gives_the_advantage",
    "kernel_weight",
    "least_misfit",
    "log_probs",
    "log_probs_misfit",
    "logit_gradient",
    "lost_step",
    "misfit_of_any_weights",
    "natural_step",
    "normal_residual",
    "paired_advantage",
    "parameter_step",
    "parameter_values",
    "positive_probs",
    "probs",
    "product_of_misfits",
    "residual_equations",
    "scale",
    "score",
    "squared_difference",
    "symmetry_residual",
    "tangent_kernel",
    "weights",
]

_s, _v = state_index("s"), state_index("s'")
_a, _b, _c, _x, _k, _l = map(action_index, "abcxkl")

degree = Scalar("degree", r"\kappa", order=1)
scale = Scalar("scale", r"\lambda", order=2)

# Tables are equal if their names are: these must not be called as those of `tabular` are.
advantages = Table("any_advantages", lambda s, a: f"A({s}, {a})", order=62)
logit_gradient = Table("logit_gradient", lambda s, a, k: rf"\partial_{{{k}}} z({s}, {a})", order=61)
parameter_values = Table("parameter_values", lambda k: rf"\theta_{{{k}}}", order=30)
parameter_step = Table("parameter_step", lambda k: rf"\Delta\theta_{{{k}}}", order=30)
weights = Table("weights", lambda k: f"w_{{{k}}}", order=30)
any_weights = Table("any_weights", lambda k: f"u_{{{k}}}", order=30)
probs = Table(
    "shared_probs",
    lambda s, a: rf"\pi({a} \mid {s})",
    lambda s, a: exp(logits(s, a)) / OverActions(exp(logits(s, _b)), _b),
    order=10,
)
log_probs = Table(
    "shared_log_probs",
    lambda s, a: rf"\log\pi({a} \mid {s})",
    lambda s, a: logits(s, a) - log(OverActions(exp(logits(s, _b)), _b)),
    order=60,
)


def _mean(of, s):
    """Σ_b π(b|s) f(b)."""
    return OverActions(probs(s, _b) * of(_b), _b)


def _average(of):
    """Σ_s d(s) Σ_a π(a|s) f(s,a)."""
    return OverStates(state_occupancy(_s) * OverActions(probs(_s, _a) * of, _a), _s)


score = Table(
    "shared_score",
    lambda s, a, k: f"g_{{{k}}}({s}, {a})",
    lambda s, a, k: logit_gradient(s, a, k) - _mean(lambda b: logit_gradient(s, b, k), s),
    order=61,
)
fisher = Table(
    "parameter_fisher",
    lambda k, j: f"F_{{{k} {j}}}",
    lambda k, j: _average(score(_s, _a, k) * score(_s, _a, j)),
    order=9,
)
tangent_kernel = Table(
    "tangent_kernel",
    lambda s, a, v, b: f"K({s}, {a};\\, {v}, {b})",
    lambda s, a, v, b: OverParameters(logit_gradient(s, a, _k) * logit_gradient(v, b, _k), _k),
    order=8,
)
kernel_step = Table(
    "kernel_step",
    lambda s, a: rf"\Delta z({s}, {a})",
    lambda s, a: OverParameters(logit_gradient(s, a, _k) * parameter_step(_k), _k),
    order=70,
)
natural_step = Table(
    "natural_step",
    lambda s, a: rf"\Delta z({s}, {a})",
    lambda s, a: step_size * OverParameters(weights(_k) * logit_gradient(s, a, _k), _k),
    order=70,
)
advantages_misfit = Table(
    "advantages_misfit",
    lambda s, a: rf"\varepsilon_{{A}}({s}, {a})",
    lambda s, a: advantages(s, a) - OverParameters(weights(_k) * score(s, a, _k), _k),
    order=64,
)
log_probs_misfit = Table(
    "log_probs_misfit",
    lambda s, a: rf"\varepsilon_{{\log\pi}}({s}, {a})",
    lambda s, a: (
        log_probs(s, a)
        - _mean(lambda b: log_probs(s, b), s)
        - OverParameters(any_weights(_k) * score(s, a, _k), _k)
    ),
    order=63,
)
least_misfit = Quantity("least_misfit", "L(w)", _average(advantages_misfit(_s, _a) ** 2), order=2)
misfit_of_any_weights = Quantity(
    "misfit_of_any_weights",
    "L(u)",
    _average((advantages(_s, _a) - OverParameters(any_weights(_k) * score(_s, _a, _k), _k)) ** 2),
    order=1,
)
squared_difference = Table(
    "squared_difference",
    lambda s: rf"\mathbb{{E}}_{{{s}}}\Bigl[\bigl(\textstyle\sum_k (u_k - w_k)\,g_k\bigr)^2\Bigr]",
    lambda s: OverActions(
        probs(s, _a) * OverParameters((any_weights(_k) - weights(_k)) * score(s, _a, _k), _k) ** 2, _a
    ),
    order=81,
)


def _covariance_with_log_probs(name, form, table):
    """A covariance over the actions of one state, as a table over the states that prints as Cov_s."""
    return Table(
        name,
        lambda s: rf"\operatorname{{Cov}}_{{{s}}}\left(\log\pi,\, {form}\right)",
        lambda s: _mean(lambda a: log_probs(s, a) * (table(s, a) - _mean_again(table, s)), s),
        order=80,
    )


def _mean_again(table, s):
    return OverActions(probs(s, _a) * table(s, _a), _a)


covariance_with_step = _covariance_with_log_probs("covariance_with_step", r"\Delta z", natural_step)
covariance_with_advantage = _covariance_with_log_probs("covariance_with_advantage", "A", advantages)
lost_step = Table(
    "lost_step",
    lambda s, a: rf"(\eta A - \Delta z)({s}, {a})",
    lambda s, a: step_size * advantages(s, a) - natural_step(s, a),
)
covariance_with_lost_step = _covariance_with_log_probs(
    "covariance_with_lost_step", r"\eta A - \Delta z", lost_step
)
product_of_misfits = Table(
    "product_of_misfits",
    lambda s: rf"\mathbb{{E}}_{{{s}}}\left[\varepsilon_{{\log\pi}}\,\varepsilon_{{A}}\right]",
    lambda s: OverActions(probs(s, _a) * log_probs_misfit(s, _a) * advantages_misfit(s, _a), _a),
    order=81,
)

gradient_residual = Table(
    "gradient_residual",
    lambda k: f"G({k})",
    lambda k: parameter_step(k) - step_size * _average(advantages(_s, _a) * logit_gradient(_s, _a, k)),
    order=71,
)
normal_residual = Table(
    "normal_residual",
    lambda k: f"N({k})",
    lambda k: _average(score(_s, _a, k) * advantages_misfit(_s, _a)),
    order=71,
)
advantage_residual = Table(
    "advantage_residual", lambda s: f"M({s})", lambda s: _mean_again(advantages, s), order=71
)
homogeneity_residual = Table(
    "homogeneity_residual",
    lambda s, a: f"Z({s}, {a})",
    lambda s, a: degree * logits(s, a) - OverParameters(parameter_values(_k) * logit_gradient(s, a, _k), _k),
    order=71,
)

kernel = Table("kernel", lambda a, b: f"K_{{{a} {b}}}", order=8)
positive_probs = Table("positive_probs", lambda a: rf"\pi_{{{a}}}", order=10)
constant_added = Table("constant_added", lambda b: f"h_{{{b}}}", order=30)
kernel_field, any_field = Field("kernel_field", "w", order=30), Field("any_field", "f", order=40)
_kernel_of_advantage = named_matrix(
    "K",
    "K",
    lambda i, j: (
        scale * (KroneckerDelta(i, j) / fields.probs.at(i) + kernel_field.at(i) + kernel_field.at(j))
    ),
)
_i, _j = action_index("i"), action_index("j")
kernel_form_of_field = Quantity(
    "kernel_form_of_field",
    r"x^{\top} K x",
    Total(
        Total(
            fields.probs.at(_i)
            * any_field.at(_i)
            * _kernel_of_advantage(_i, _j)
            * fields.probs.at(_j)
            * any_field.at(_j),
            _j,
        ),
        _i,
    ),
)
paired_advantage = Table(
    "paired_advantage",
    lambda x, b: rf"A^{{({b})}}_{{{x}}}",
    lambda x, b: KroneckerDelta(x, b) / positive_probs(b) - KroneckerDelta(x, _c) / positive_probs(_c),
    order=62,
)
kernel_residual = Table(
    "kernel_residual",
    lambda a, b: f"R({a}, {b})",
    lambda a, b: (
        OverActions(kernel(a, _x) * positive_probs(_x) * paired_advantage(_x, b), _x)
        - scale * paired_advantage(a, b)
        - constant_added(b)
    ),
    order=71,
)
symmetry_residual = Table(
    "symmetry_residual", lambda a, b: f"S({a}, {b})", lambda a, b: kernel(a, b) - kernel(b, a), order=71
)
kernel_weight = Table(
    "kernel_weight",
    lambda a: f"w_{{{a}}}",
    lambda a: (
        (kernel(a, _c) / scale - KroneckerDelta(a, _c) / positive_probs(_c) + constant_added(a) / scale) / 2
    ),
    order=31,
)


def residual_equations():
    """What is assumed to vanish, spelled out.

    Returns:
        {name: `Statement`} of the residuals: gradient step, normal equations, advantage, homogeneity, kernel,
        symmetry.
    """
    spelled = {
        "gradient": (gradient_residual, (_k,)),
        "normal": (normal_residual, (_k,)),
        "advantage": (advantage_residual, (_s,)),
        "homogeneity": (homogeneity_residual, (_s, _a)),
        "kernel": (kernel_residual, (_a, _b)),
        "symmetry": (symmetry_residual, (_a, _b)),
    }
    return {
        name: Statement(table(*indices), table.rule(*indices)) for name, (table, indices) in spelled.items()
    }


def kernel_form():
    """One gradient step through the kernel. Formula: Δz(s,a) = η Σ_v d(v) Σ_b K(s,a;v,b) π(b|v) A(v,b)."""
    pulled = OverActions(tangent_kernel(_s, _a, _v, _b) * probs(_v, _b) * advantages(_v, _b), _b)
    return Certificate(
        Statement(kernel_step(_s, _a), step_size * OverStates(state_occupancy(_v) * pulled, _v)),
        ((logit_gradient(_s, _a, _k), _vanishing(gradient_residual(_k), _k, parameters)),),
    )


def kernel_that_gives_the_advantage():
    """In one state, K_ij = λ(δ_ij/π_i + w_i + w_j) does. Formula: Σ_j K_ij π_j A_j = λ(A_i + Cov(w, A))."""
    A, K, w = fields.advantages, _kernel_of_advantage, kernel_field
    i, j = action_index("i"), action_index("j")
    return (
        Derivation(Total(K(i, j) * fields.probs.at(j) * A.at(j), j))
        .to(scale * (A.at(i) + w.at(i) * E(A) + E(w * A)), "the entries of $K$")
        .to(scale * (A.at(i) + Cov(w, A)), r"$\mathbb{E}[A] = 0$")
    )


def kernel_of_the_advantage():
    """In one state nothing else will do, for symmetric K. Formula: K_ab = λ(δ_ab/π_a + w_a + w_b)."""
    needed = scale * (KroneckerDelta(_a, _b) / positive_probs(_a) + kernel_weight(_a) + kernel_weight(_b))
    half = Rational(1, 2)
    return Certificate(
        Statement(kernel(_a, _b), needed),
        (
            (half, _vanishing(kernel_residual(_a, _b))),
            (half, _vanishing(kernel_residual(_b, _a))),
            (half, _vanishing(symmetry_residual(_a, _b))),
        ),
    )


def kernel_quadratic_form():
    """When that kernel can be a Gram matrix.

    Formula: Σ_ij π_i f_i K_ij π_j f_j = λ (Var(f + w E f) + (E f)² (1 + 2 E w − Var w)).

    Returns:
        the proved derivation.
    """
    f, w = any_field, kernel_field
    square = Var(f + E(f) * w) + E(f) ** 2 * (1 + 2 * E(w) - Var(w))
    return (
        Derivation(kernel_form_of_field)
        .by(rules.definition(kernel_form_of_field))
        .to(scale * (E(f**2) + 2 * E(f) * E(w * f)), "the entries of $K$")
        .to(scale * square, "completing the square")
    )


def compatible_weights_are_best():
    """Normal equations give the least misfit. Formula: L(u) = L(w) + Σ d E_s[(Σ_k (u_k − w_k) g_k)²]."""
    excess = OverStates(state_occupancy(_s) * squared_difference(_s), _s)
    return Certificate(
        Statement(misfit_of_any_weights, least_misfit + excess),
        ((-2 * (any_weights(_k) - weights(_k)), _vanishing(normal_residual(_k), _k, parameters)),),
    )


def compatible_direction():
    """The best weights are a natural gradient. Formula: Σ_l F_kl w_l = Σ_s d(s) Σ_a π A ∂_k z."""
    mean_gradient = OverActions(probs(_s, _b) * logit_gradient(_s, _b, _k), _b)
    return Certificate(
        Statement(
            OverParameters(fisher(_k, _l) * weights(_l), _l),
            _average(advantages(_s, _a) * logit_gradient(_s, _a, _k)),
        ),
        (
            (-1, _vanishing(normal_residual(_k))),
            (-state_occupancy(_s) * mean_gradient, _vanishing(advantage_residual(_s), _s, states)),
        ),
    )


def average_covariance():
    """What a natural step loses on average, with any weights u in the misfit of log π.

    Formula: Σ_s d(s) Cov_s(log π, ηA − Δz) = η Σ_s d(s) E_s[ε_logπ ε_A].

    Returns:
        the proved certificate.
    """
    lost = OverStates(state_occupancy(_s) * covariance_with_lost_step(_s), _s)
    return Certificate(
        Statement(lost, step_size * OverStates(state_occupancy(_s) * product_of_misfits(_s), _s)),
        ((step_size * any_weights(_k), _vanishing(normal_residual(_k), _k, parameters)),),
    )


def average_covariance_of_homogeneous_logits():
    """Where Σ_k θ_k ∂_k z = κz nothing is lost. Formula: κ Σ d Cov_s(log π, Δz) = κη Σ d Cov_s(log π, A)."""
    left, right = _average_covariances()
    here = state_occupancy(_s) * probs(_s, _a) * advantages_misfit(_s, _a)
    mean_residual = OverActions(probs(_s, _a) * homogeneity_residual(_s, _a), _a)
    return Certificate(
        Statement(degree * left, degree * step_size * right),
        (
            (-step_size * parameter_values(_k), _vanishing(normal_residual(_k), _k, parameters)),
            (
                -step_size * here,
                _vanishing(homogeneity_residual(_s, _a), (_s, _a), (states, actions)),
            ),
            (
                step_size * state_occupancy(_s) * mean_residual,
                _vanishing(advantage_residual(_s), _s, states),
            ),
        ),
    )


def _average_covariances():
    """Σ_s d(s) Cov_s(log π, ·) of the natural step and of the advantage."""
    return tuple(
        OverStates(state_occupancy(_s) * table(_s), _s)
        for table in (covariance_with_step, covariance_with_advantage)
    )


def _vanishing(residual, index=None, size=None):
    """An assumed equation, at every value of its index if it has one."""
    return Hypothesis("", residual, index, size)
