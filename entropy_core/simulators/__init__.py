"""Random instances and small worlds in which the chapters confront theory with simulation.

Everything here is seeded by the generator or the seed that the caller passes, in float64, batched over
instances.
"""

from entropy_core.simulators.bandit import (
    BanditRun,
    aligned_bandits,
    natural_gradient_flow,
    policy_gradient_flow,
    sampled_policy_gradient,
)
from entropy_core.simulators.controlled import ControlledRun, controlled_ascent, entropy_coefficient_at
from entropy_core.simulators.exchange import (
    ExchangeFit,
    corrected_akaike,
    exponential_feature,
    extrapolation_errors,
    fit_exchange_law,
    misfit_of_the_line,
)
from entropy_core.simulators.extremes import extreme_band_changes, extreme_curvatures, return_times
from entropy_core.simulators.flows import escape_times, integrate_flow
from entropy_core.simulators.instances import random_steps
from entropy_core.simulators.late_times import LateLaw, late_law
from entropy_core.simulators.optimisation import OptimiserRun, exact_gradient_ascent, sampled_gradient_ascent
from entropy_core.simulators.ppo import (
    ClippedRun,
    exact_clipped_ascent,
    matched_entropies,
    sampled_clipped_ascent,
    values_at_progress,
)
from entropy_core.simulators.response_groups import (
    ResponseBatch,
    ResponseRun,
    absolute_penalty,
    aligned_responses,
    clip_cov_objective,
    divergence_penalty,
    draw_responses,
    group_ascent,
    group_objective,
    kl_cov_objective,
    sampled_penalty,
)
from entropy_core.simulators.responses import SampledResponses, prefix_tree, sample_responses, token_chain
from entropy_core.simulators.tabular_mdp import (
    GradientEstimate,
    Rollouts,
    TabularMDP,
    random_mdps,
    rollouts,
    sampled_return_gradient,
)
from entropy_core.simulators.token_population import (
    PopulationFit,
    TokenPopulation,
    TopTokens,
    fit_token_population,
    mean_surprisal,
    sample_population,
    top_tokens,
)
from entropy_core.simulators.writing import (
    CovarianceParts,
    Writing,
    WrittenResponses,
    covariance_parts_of_responses,
    wandering_writing,
    write_responses,
)

__all__ = [
    "BanditRun",
    "ClippedRun",
    "ControlledRun",
    "CovarianceParts",
    "ExchangeFit",
    "GradientEstimate",
    "LateLaw",
    "OptimiserRun",
    "PopulationFit",
    "ResponseBatch",
    "ResponseRun",
    "Rollouts",
    "SampledResponses",
    "TabularMDP",
    "TokenPopulation",
    "TopTokens",
    "Writing",
    "WrittenResponses",
    "absolute_penalty",
    "aligned_bandits",
    "aligned_responses",
    "clip_cov_objective",
    "controlled_ascent",
    "corrected_akaike",
    "covariance_parts_of_responses",
    "divergence_penalty",
    "draw_responses",
    "entropy_coefficient_at",
    "escape_times",
    "exact_clipped_ascent",
    "exact_gradient_ascent",
    "exponential_feature",
    "extrapolation_errors",
    "extreme_band_changes",
    "extreme_curvatures",
    "fit_exchange_law",
    "fit_token_population",
    "group_ascent",
    "group_objective",
    "integrate_flow",
    "kl_cov_objective",
    "late_law",
    "matched_entropies",
    "mean_surprisal",
    "misfit_of_the_line",
    "natural_gradient_flow",
    "policy_gradient_flow",
    "prefix_tree",
    "random_mdps",
    "random_steps",
    "return_times",
    "rollouts",
    "sample_population",
    "sample_responses",
    "sampled_clipped_ascent",
    "sampled_gradient_ascent",
    "sampled_penalty",
    "sampled_policy_gradient",
    "sampled_return_gradient",
    "token_chain",
    "top_tokens",
    "values_at_progress",
    "wandering_writing",
    "write_responses",
]
