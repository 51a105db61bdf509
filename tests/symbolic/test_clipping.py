"""What the clip does to a step and to entropy: proved again, and false if changed."""

import mpmath
import pytest

from entropy_core.symbolic import (
    Certificate,
    Cov,
    E,
    Indicator,
    Partial,
    Total,
    WrongCertificate,
    action_index,
    check,
    log_probs,
    logits,
    probs,
    step_size,
)
from entropy_core.symbolic.interventions import clipping
from entropy_core.symbolic.interventions.clipping import clipped, old_advantages
from entropy_core.symbolic.outcomes import entropy_weight

j = action_index("j")
kept = (1 - clipped) * old_advantages
kept_at = (1 - clipped.at(j)) * old_advantages.at(j)
apart = entropy_weight - E(entropy_weight)
removed = step_size * E(apart * clipped * old_advantages)

# name of the derivation: left side, right side, a false right side
STATEMENTS = {
    "clipped_gradient": (
        Partial(Total(probs * kept), logits.at(j)),
        probs.at(j) * (kept_at - E(kept)),
        probs.at(j) * (kept_at - E(old_advantages)),  # the baseline forgets what was clipped
    ),
    "clipped_entropy_rate": (
        -Cov(log_probs, step_size * probs * (kept - E(kept))),
        -step_size * E(apart * old_advantages) + removed,
        -step_size * E(apart * old_advantages) - removed,
    ),
    "sampled_log_ratio_velocity": (
        1 - probs.at(j) - E(Indicator(j) - probs),
        1 - 2 * probs.at(j) + Total(probs**2),
        1 - 2 * probs.at(j) + Total(probs),
    ),
}


@pytest.mark.claim("clipped-gradient")
@pytest.mark.claim("clip-entropy-split")
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statement_is_proved_and_its_variant_refused(name):
    left, right, wrong = STATEMENTS[name]
    statement = getattr(clipping, name)().statement
    assert statement.left == left
    assert check(statement.right, right).holds
    assert not check(left, wrong).holds


def test_the_clipped_part_by_hand():
    # π = (1/2, 1/4, 1/4), Â = (1, 1, −2) and the first action clipped: S = (2, −1, −1) (log 2)/8.
    from entropy_core.symbolic import evaluate

    values = {
        logits: [mpmath.log(2), 0, 0],
        old_advantages: [1, 1, -2],
        clipped: [1, 0, 0],
        step_size: 1,
    }
    with mpmath.workdps(30):
        assert abs(evaluate(removed, values) - 3 * mpmath.log(2) / 32) < 1e-15


@pytest.mark.claim("ratio-band-bounds")
def test_both_sums_are_needed_for_the_mixture():
    certificate = clipping.mixture_of_the_band()
    assert len(certificate.terms) == 2
    for term in certificate.terms:
        with pytest.raises(WrongCertificate):
            Certificate(certificate.goal, (term,))
