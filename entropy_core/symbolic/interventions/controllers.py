r"""A controller of the entropy, close to where it comes to rest, as symbols.

The loop: the natural gradient of E r + αH moves the logits, z' = r − αz up to a constant, and a controller
moves log α at the rate −κ (H − H_target). It rests at z = r/α with H = H_target. Let δz and δa be the small
distances of the logits and of log α from there; `coefficient_shift` prints δa, Δz stands for δz, and
expectations are under the policy at rest, where log π = r/α − log Z.

Only w = Cov(log π, δz), which is −δH to first order, meets δa: the loop closes over two numbers for every
number of actions and every reward. What is orthogonal to log π decays at the rate α alone.

The functions below return what they have proved. That the eigenvalues of the linear loop decide about small
distances, and Jury's conditions, are by hand.
"""

from sympy import Matrix, Symbol, discriminant, expand, eye, solve, symbols, zeros

from entropy_core.symbolic.derivation import Derivation
from entropy_core.symbolic.fields import delta_logits, log_probs
from entropy_core.symbolic.interventions.regularisers import entropy_coefficient
from entropy_core.symbolic.operators import Cov, E, Scalar, Var

__all__ = [
    "coefficient_shift",
    "discrete_loop",
    "eigenvalue",
    "gain",
    "loop_polynomial",
    "noise_in_the_loop",
    "overshoot_discriminant",
    "pull",
    "shift_of_the_velocity",
    "stability_margins",
]

coefficient_shift = Scalar("coefficient_shift", r"\delta a", order=50)
pull = Symbol("epsilon", positive=True)
"""ε = ηα, the share of its way to rest that a logit goes in one step."""
gain = Symbol("q", positive=True)
"""q = κ Var(log π), how far the controller answers a change of its own making."""
eigenvalue = Symbol("lambda")


def shift_of_the_velocity():
    """How w moves: the covariance of log π with the shifted velocity −α δz − α δa z*.

    Formula: Cov(log π, −α δz − α δa (log π − E log π)) = −α Cov(log π, δz) − α δa Var(log π).

    Returns:
        the proved derivation; z* equals log π up to a constant, which no covariance sees.
    """
    alpha = entropy_coefficient
    velocity = -alpha * delta_logits - alpha * coefficient_shift * (log_probs - E(log_probs))
    return Derivation(Cov(log_probs, velocity)).to(
        -alpha * Cov(log_probs, delta_logits) - alpha * coefficient_shift * Var(log_probs),
        "linearity",
    )


def discrete_loop():
    """Matrix of the loop in steps, acting on (w/V, δa).

    Formula: w ← (1 − ε) w − ε V δa and δa ← δa + κ w, with ε = ηα and q = κV.

    Returns:
        SymPy matrix in ε and q.
    """
    return Matrix([[1 - pull, -pull], [gain, 1]])


def loop_polynomial(delay=0):
    """Characteristic polynomial if the controller reads an entropy that is `delay` steps old.

    Formula: λ^d (λ − 1)(λ − 1 + ε) + εq.

    Args:
        delay: d, a number of steps, 0 or more.

    Returns:
        SymPy polynomial in λ, expanded; derived from the matrix of the loop with d stored values.
    """
    size = 2 + delay
    matrix = zeros(size)
    matrix[0, 0], matrix[0, 1], matrix[1, 1] = 1 - pull, -pull, 1
    matrix[1, 0 if delay == 0 else size - 1] = gain
    for k in range(2, size):
        matrix[k, 0 if k == 2 else k - 1] = 1
    return expand((eye(size) * eigenvalue - matrix).det())


def overshoot_discriminant():
    """Discriminant of the undelayed loop in steps; negative where the loop oscillates.

    Formula: ε² − 4εq, negative for q > ε/4.

    Returns:
        SymPy expression.
    """
    return expand(discriminant(loop_polynomial(), eigenvalue))


def stability_margins():
    """What Jury's conditions ask to be positive for the undelayed loop in steps.

    Formula: 1 − det, 1 − trace + det, 1 + trace + det = ε(1 − q), εq, 4 − 2ε + εq.

    Returns:
        three SymPy expressions; for 0 < ε < 2 and q > 0 the last two are positive.
    """
    loop = discrete_loop()
    trace, det = loop.trace(), loop.det()
    return tuple(expand(margin) for margin in (1 - det, 1 - trace + det, 1 + trace + det))


def noise_in_the_loop():
    """Stationary variances of w/V and of δa if each reading of the entropy has noise of variance σ².

    Formula: S = M S Mᵀ + diag(0, 1), in units of κ²σ²; M the matrix of the loop in steps.

    Returns:
        the two variances, SymPy expressions in ε and q.
    """
    loop, (a, b, c) = discrete_loop(), symbols("a b c")
    covariance = Matrix([[a, b], [b, c]])
    equations = covariance - loop * covariance * loop.T - Matrix([[0, 0], [0, 1]])
    solution = solve(list(equations), [a, b, c], dict=True)[0]
    return solution[a].factor(), solution[c].factor()
