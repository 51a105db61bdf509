"""A small language model that learns a verifiable task by reinforcement, measured against the theory.

Tasks with their verifier, a transformer of some 58 thousand parameters, priors made by imitation, GRPO and
the interventions of the package, and runs that stop and go on. Imported by name: it needs seconds to do
anything, and `entropy_core.simulators` does not load it.

A prior for `DIGIT_SUM` takes some eight seconds on one core, a run of 60 steps some four.
"""

from entropy_core.simulators.tiny_lm.checkpoints import load_run, save_run
from entropy_core.simulators.tiny_lm.comparison import (
    ArmCurves,
    ArmRecord,
    EntropyExcess,
    ExactEvaluation,
    Interval,
    arm_records,
    entropy_excess,
    evaluate_exactly,
    run_arms,
    student_interval,
    value_at_reward,
)
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
from entropy_core.simulators.tiny_lm.tasks import (
    ADDITION,
    DEMONSTRATIONS,
    DIGIT_SUM,
    Task,
    decode,
    demonstrations,
    draw_prompts,
    encode,
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
    "DEMONSTRATIONS",
    "DIGIT_SUM",
    "ArmCurves",
    "ArmRecord",
    "EntropyExcess",
    "Evaluation",
    "ExactEvaluation",
    "Interval",
    "ModelSize",
    "Phase",
    "PhaseRecord",
    "Prior",
    "Run",
    "SampledAnswers",
    "Settings",
    "StepMeasurement",
    "StepRecord",
    "Task",
    "TinyLM",
    "advance",
    "answer_logits",
    "arm_records",
    "decode",
    "demonstrations",
    "distinct_right",
    "draw_prompts",
    "encode",
    "entropy_excess",
    "evaluate",
    "evaluate_exactly",
    "imitate",
    "is_right",
    "load_run",
    "make_model",
    "make_prior",
    "measure_step",
    "right_answers",
    "run_arms",
    "sample_answers",
    "save_run",
    "start_run",
    "state_labels",
    "student_interval",
    "value_at_reward",
    "wanted_numbers",
    "write_csv",
]
