r"""Batches of tokens whose covariances look like those of a language model at its first step.

A prompt is solved with a probability drawn from Beta(a, a). It gets a group of responses, right or wrong,
with advantages standardised within the group; a group that is all right or all wrong has none. A token is
certain, log π = 0, or uncertain with surprisal −log π = λ (1 ± δ) E^κ, E exponential of mean one, + in
failed responses. Tokens are independent given the outcome of their response.

It is a model with few parameters that reproduces the shape of a printed table. It is not data.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.special import gamma, gammaincc
from scipy.stats import betabinom

from entropy_core._shapes import Bool, Float, Real
from entropy_core.reference import group_normalised_advantages

__all__ = [
    "PopulationFit",
    "TokenPopulation",
    "TopTokens",
    "fit_token_population",
    "mean_surprisal",
    "sample_population",
    "top_tokens",
]


@dataclass(frozen=True)
class TokenPopulation:
    """What the tokens of a batch are drawn from.

    Args:
        difficulty_shape: a > 0. Small: most prompts are always or never solved, and their groups have no
            advantage; large: all are solved half of the time.
        uncertain_share: share of tokens that are uncertain, in (0, 1].
        surprisal_scale: λ > 0, in nats; for κ = 1 the mean surprisal of an uncertain token.
        dependence: δ in (−1, 1). Surprisals are multiplied by 1 − δ in right responses, 1 + δ in wrong ones.
        tail_exponent: κ > 0. Near 0 all uncertain tokens are equally surprising; 1 is an exponential tail,
            more is heavier.
        group_size: responses to a prompt, at least 2.

    Raises:
        ValueError: if a number is out of its range.
    """

    difficulty_shape: float
    uncertain_share: float
    surprisal_scale: float
    dependence: float
    tail_exponent: float = 1.0
    group_size: int = 8

    def __post_init__(self) -> None:
        positive = min(self.difficulty_shape, self.surprisal_scale, self.tail_exponent) > 0
        if not (positive and 0 < self.uncertain_share <= 1 and abs(self.dependence) < 1 < self.group_size):
            raise ValueError(
                "TokenPopulation needs positive difficulty_shape, surprisal_scale and tail_exponent, "
                "0 < uncertain_share ≤ 1, −1 < dependence < 1 and group_size ≥ 2, got "
                f"{astuple(self)}; for a population without dependence pass 0"
            )


@dataclass(frozen=True)
class TopTokens:
    """The tokens with the largest covariance terms, for each share of all tokens.

    Args:
        covariances: mean of the terms (log π − mean)(A − mean) over the top share, in nats.
        failures: share of failed responses among the tokens above the threshold; nan where none is.
        thresholds: the term of the least of the top tokens, in nats.
    """

    covariances: np.ndarray
    failures: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True)
class PopulationFit:
    """A population fitted to a table.

    Args:
        population: the fitted parameters.
        covariances: what it gives for the shares of the table, in nats.
        relative_errors: those over the table's, less 1.
    """

    population: TokenPopulation
    covariances: np.ndarray
    relative_errors: np.ndarray


def mean_surprisal(population: TokenPopulation) -> float:
    """Mean of −log π over all tokens, in nats: on policy and at temperature 1, the mean entropy.

    Args:
        population: what the tokens are drawn from.

    Returns:
        The mean, positive; half of the responses are right.
    """
    p = population
    return float(p.uncertain_share * p.surprisal_scale * gamma(1 + p.tail_exponent))


def top_tokens(population: TokenPopulation, shares: Real[np.ndarray, " shares"]) -> TopTokens:
    """Find the mean covariance term and the outcome of the top tokens, exactly, for infinitely many tokens.

    mean of the top share q = t + E max(C − t, 0) / q, t the upper q-quantile of C

    Args:
        population: what the tokens are drawn from.
        shares: q in (0, 1]; 1 is all tokens.

    Returns:
        One value for each share.

    Raises:
        ValueError: if a share is out of its range.

    Numerics:
        Closed forms and a bisection; agrees with sampled batches within their standard error,
        tests/simulators/test_token_population.py.
    """
    shares = np.asarray(shares, float)
    if not ((shares > 0) & (shares <= 1)).all():
        raise ValueError(f"shares must lie in (0, 1], got {shares}; .02 % is 2e-4")
    cells = _cells(population)
    reach = 1 + (1 + abs(cells[0]).max()) * cells[2].max() * 60**population.tail_exponent  # beyond it e⁻⁶⁰
    lowest, highest = np.full(shares.shape, -reach), np.full(shares.shape, reach)
    for _ in range(52):
        middle = (lowest + highest) / 2
        above = _above(population, cells, middle)[0] > shares
        lowest, highest = np.where(above, middle, lowest), np.where(above, highest, middle)
    exceeding, excess, failed = _above(population, cells, highest)
    with np.errstate(invalid="ignore"):
        return TopTokens(highest + excess / shares, failed / exceeding, highest)


def sample_population(
    generator: np.random.Generator, population: TokenPopulation, prompts: int, tokens: int
) -> tuple[
    Float[np.ndarray, "batch tokens"], Float[np.ndarray, "batch tokens"], Bool[np.ndarray, "batch tokens"]
]:
    """Draw a batch of responses of equal length.

    Args:
        generator: source of randomness; its state is advanced.
        population: what the tokens are drawn from.
        prompts: number of prompts, at least 1; each has `group_size` responses.
        tokens: tokens of each response, at least 1.

    Returns:
        (token_log_probs in nats, advantages, whether the response is right), one value a token.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> population = TokenPopulation(1.0, 0.5, 1.0, 0.0)
        >>> log_probs, advantages, right = sample_population(np.random.default_rng(0), population, 2, 3)
        >>> log_probs.shape, bool((log_probs <= 0).all())
        ((16, 3), True)
    """
    if min(prompts, tokens) < 1:
        raise ValueError(
            f"sample_population needs prompts and tokens ≥ 1, got {prompts} and {tokens}; "
            "one prompt makes one group"
        )
    p, shape = population, (prompts * population.group_size, tokens)
    solved = generator.beta(p.difficulty_shape, p.difficulty_shape, size=(prompts, 1))
    right = generator.random((prompts, p.group_size)) < solved
    advantages = group_normalised_advantages(right.astype(float), epsilon=0)
    surprisals = p.surprisal_scale * generator.exponential(size=shape) ** p.tail_exponent
    surprisals *= generator.random(shape) < p.uncertain_share
    over_tokens = lambda of_response: of_response.reshape(-1, 1).repeat(tokens, axis=1)  # noqa: E731
    scale = over_tokens(np.where(right, 1 - p.dependence, 1 + p.dependence))
    return -scale * surprisals, over_tokens(advantages), over_tokens(right)


def fit_token_population(
    shares: Real[np.ndarray, " shares"],
    covariances: Real[np.ndarray, " shares"],
    start: TokenPopulation,
    free: Sequence[str] = ("difficulty_shape", "uncertain_share", "surprisal_scale", "dependence"),
) -> PopulationFit:
    """Fit some parameters of a population to printed means of top shares by least squares.

    minimise Σ (model / table − 1)²

    Args:
        shares: q in (0, 1]; 1 is all tokens.
        covariances: the table's mean of the top share, in nats, not 0.
        start: where the search starts, and the value of every parameter that is not free.
        free: names of the parameters to fit.

    Returns:
        The fit. Different starts may end at different populations that fit equally well.

    Raises:
        ValueError: if a name is not that of a parameter, or the table does not fit the shares.
    """
    shares, covariances = np.asarray(shares, float), np.asarray(covariances, float)
    names = [field.name for field in fields(TokenPopulation) if field.name != "group_size"]
    if shares.shape != covariances.shape or not covariances.all() or not set(free) <= set(names):
        raise ValueError(
            f"fit_token_population needs one covariance, not 0, for each share and free names among {names}, "
            f"got shares {shares}, covariances {covariances} and free = {tuple(free)}"
        )
    bounds = np.array([_BOUNDS[name] for name in free])

    def population_at(point):
        inside = np.clip(point, *bounds.T)
        return replace(start, **{n: float(_RAISED[n](x)) for n, x in zip(free, inside, strict=True)})

    def misses(point):
        return top_tokens(population_at(point), shares).covariances / covariances - 1

    first = [_LOWERED[name](getattr(start, name)) for name in free]
    found = least_squares(misses, np.clip(first, *bounds.T), bounds=bounds.T, x_scale=0.1, diff_step=1e-4)
    population = population_at(found.x)
    return PopulationFit(population, (1 + misses(found.x)) * covariances, misses(found.x))


_BOUNDS = {
    "difficulty_shape": np.log([0.02, 1e3]),
    "uncertain_share": np.log([0.01, 1.0]),
    "surprisal_scale": np.log([0.01, 20.0]),
    "tail_exponent": np.log([0.02, 5.0]),
    "dependence": np.array([-0.9, 0.9]),
}
_LOWERED = dict.fromkeys(_BOUNDS, np.log) | {"dependence": float}
_RAISED = dict.fromkeys(_BOUNDS, np.exp) | {"dependence": float}


def _cells(population):
    """Kinds of responses: advantage, probability and scale of surprisal of each, and which have failed."""
    size, right = population.group_size, np.arange(population.group_size + 1)
    chance = betabinom(size, population.difficulty_shape, population.difficulty_shape).pmf(right)
    advantages = group_normalised_advantages(1.0 * (np.arange(size) < right[:, None]), epsilon=0)
    failed = np.repeat([False, True], size + 1)
    weights = np.concatenate([chance * right, chance * (size - right)]) / size
    scales = population.surprisal_scale * np.where(
        failed, 1 + population.dependence, 1 - population.dependence
    )
    return np.concatenate([advantages[:, 0], advantages[:, -1]]), weights, scales, failed


def _above(population, cells, thresholds):
    """P(C > t), E max(C − t, 0) and P(C > t, failed) of the covariance term C at each threshold t."""
    level, (advantages, weights, scales, failed) = thresholds[..., None], cells
    uncertain, kappa = population.uncertain_share, population.tail_exponent
    means = uncertain * scales * gamma(1 + kappa)
    average = (weights * means).sum()
    silent = advantages == 0
    border = average - level / np.where(silent, 1, advantages)  # C > t where A (average − surprisal) > t
    with np.errstate(over="ignore"):
        reduced = (np.maximum(border, 0) / scales) ** (1 / kappa)
    beyond = np.where(border < 0, 1.0, uncertain * np.exp(-reduced))  # P(surprisal > border) and its part
    beyond_mean = np.where(border < 0, means, means * gammaincc(1 + kappa, reduced))
    mass = np.where(advantages < 0, beyond, np.where(silent, level < 0, 1 - beyond))
    surprisal = np.where(advantages < 0, beyond_mean, means - beyond_mean)
    gain = mass * (average * advantages - level) - surprisal * advantages
    return (weights * mass).sum(-1), (weights * gain).sum(-1), (weights * failed * mass).sum(-1)
