"""A small language model that learns a verifiable task by reinforcement, measured against the theory.

Tasks with their verifier, a transformer of some 58 thousand parameters, priors made by imitation, GRPO and
the interventions of the package, and runs that stop and go on. Imported by name: it needs seconds to do
anything, and `entropy_core.simulators` does not load it.

A prior for `DIGIT_SUM` takes some eight seconds on one core, a run of 60 steps some four.
"""

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
from entropy_core.simulators.tiny_lm.tasks import (
    ADDITION,
    CARRIED_ADDITION,
    DEMONSTRATIONS,
    DIGIT_SUM,
    Task,
    decode,
    demonstrations,
    draw_prompts,
    encode,
    every_prompt,
    is_right,
    right_answers,
    wanted_numbers,
)
from entropy_core.simulators.tiny_lm.training import (
    ARMS,
    Run,
    Settings,
    StepRecord,
    advance,
    start_run,
    write_csv,
)

__all__ = [
    "ADDITION",
    "ARMS",
    "CARRIED_ADDITION",
    "DEMONSTRATIONS",
    "DIGIT_SUM",
    "Evaluation",
    "ModelSize",
    "Phase",
    "PhaseRecord",
    "PrefixTree",
    "Prior",
    "Run",
    "SampledAnswers",
    "SampledProxy",
    "Settings",
    "StepMeasurement",
    "StepRecord",
    "Task",
    "TinyLM",
    "TreeStep",
    "advance",
    "advance_with_trees",
    "answer_log_probs",
    "answer_logits",
    "answer_probs",
    "decode",
    "demonstrations",
    "distinct_right",
    "draw_prompts",
    "encode",
    "evaluate",
    "every_prompt",
    "imitate",
    "is_right",
    "load_run",
    "make_model",
    "make_prior",
    "measure_step",
    "measure_trees",
    "read_prefix_tree",
    "right_answers",
    "sample_answers",
    "sample_proxy",
    "save_run",
    "start_run",
    "state_labels",
    "sum_by_position",
    "wanted_numbers",
    "write_csv",
]
