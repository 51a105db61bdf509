"""A small language model that learns a verifiable task by reinforcement, measured against the theory.

Tasks with their verifier, a transformer of some 58 thousand parameters, priors made by imitation, GRPO and
the interventions of the package, and runs that stop and go on. Imported by name: it needs seconds to do
anything, and `entropy_core.simulators` does not load it.

A prior for `DIGIT_SUM` takes some eight seconds on one core, a run of 60 steps some four. From a shell,
`python -m entropy_core.simulators.tiny_lm --help` explains how to make both and keep them.
"""

from entropy_core.simulators.tiny_lm.answers import answer_log_probs, demonstration_probs, digit_cross_entropies, digit_entropies, slip_probs
from entropy_core.simulators.tiny_lm.checkpoints import advance_and_save, load_run, save_run
from entropy_core.simulators.tiny_lm.comparison import ArmCurves, ArmRecord, EntropyExcess, ExactEvaluation, Interval, arm_records, entropy_excess, evaluate_exactly, run_arms, student_interval, value_at_reward
from entropy_core.simulators.tiny_lm.measurement import AverageChange, Evaluation, StateComparison, StepMeasurement, VisitedStates, average_entropy_change, compare_states, distinct_right, evaluate, mean_by_prompt, measure_step, state_labels, visited_states
from entropy_core.simulators.tiny_lm.model import ModelSize, SampledAnswers, TinyLM, answer_logits, make_model, sample_answers
from entropy_core.simulators.tiny_lm.paths import PathResiduals, Rollout, WatchedStep, linear_logit_change, moved_model, next_rollout, parameter_step, path_residuals, policy_gradient, random_parameter_step, votes_between_groups, watch_steps
from entropy_core.simulators.tiny_lm.prefix_tree import PrefixTree, TreeStep, advance_with_trees, answer_probs, answer_token_log_probs, measure_trees, read_prefix_tree, sum_by_position
from entropy_core.simulators.tiny_lm.prefixes import joint_log_probs, prefix_logits, prefix_visits
from entropy_core.simulators.tiny_lm.answer_trees import (
    PrefixTree,
    TreeStep,
    advance_with_trees,
    answer_log_probs,
    answer_probs,
    measure_trees,
    read_prefix_tree,
    sum_by_position,
)
from entropy_core.simulators.tiny_lm.checkpoints import load_run, save_run
from entropy_core.simulators.tiny_lm.measurement import (
    Evaluation,
    StepMeasurement,
    distinct_right,
    evaluate,
    measure_step,
    state_labels,
)
from entropy_core.simulators.tiny_lm.model import (
    ModelSize,
    SampledAnswers,
    TinyLM,
    answer_logits,
    make_model,
    sample_answers,
)
from entropy_core.simulators.tiny_lm.pretraining import Phase, PhaseRecord, Prior, imitate, make_prior
from entropy_core.simulators.tiny_lm.proxy import SampledProxy, sample_proxy
from entropy_core.simulators.tiny_lm.tasks import ADDITION, CARRIED_ADDITION, DEMONSTRATIONS, DIGIT_SUM, Task, decode, demonstrations, draw_prompts, encode, every_prompt, is_right, right_answers, wanted_numbers
from entropy_core.simulators.tiny_lm.training import ARMS, Run, Settings, StepRecord, advance, stacked_records, start_run, write_csv

__all__ = ["ADDITION", "ARMS", "CARRIED_ADDITION", "DEMONSTRATIONS", "DIGIT_SUM", "ArmCurves", "ArmRecord", "AverageChange", "EntropyExcess", "Evaluation", "ExactEvaluation", "Interval", "ModelSize", "PathResiduals", "Phase", "PhaseRecord", "PrefixTree", "Prior", "Rollout", "Run", "SampledAnswers", "SampledProxy", "Settings", "StateComparison", "StepMeasurement", "StepRecord", "Task", "TinyLM", "TreeStep", "VisitedStates", "WatchedStep", "advance", "advance_and_save", "advance_with_trees", "answer_log_probs", "answer_logits", "answer_probs", "answer_token_log_probs", "arm_records", "average_entropy_change", "compare_states", "decode", "demonstration_probs", "demonstrations", "digit_cross_entropies", "digit_entropies", "distinct_right", "draw_prompts", "encode", "entropy_excess", "evaluate", "evaluate_exactly", "every_prompt", "imitate", "is_right", "joint_log_probs", "linear_logit_change", "load_run", "make_model", "make_prior", "mean_by_prompt", "measure_step", "measure_trees", "moved_model", "next_rollout", "parameter_step", "path_residuals", "policy_gradient", "prefix_logits", "prefix_visits", "random_parameter_step", "read_prefix_tree", "right_answers", "run_arms", "sample_answers", "sample_proxy", "save_run", "slip_probs", "stacked_records", "start_run", "state_labels", "student_interval", "sum_by_position", "value_at_reward", "visited_states", "votes_between_groups", "wanted_numbers", "watch_steps", "write_csv"]
