"""Derivations: a wrong line stops the chain and names itself; what is printed is what was proved."""

import re
import subprocess
import sys
from html import unescape

import pytest

from entropy_core.symbolic import (
    Cov,
    Derivation,
    Dt,
    E,
    Field,
    Grad,
    Indicator,
    Kappa,
    Partial,
    Rule,
    Total,
    Var,
    WrongLine,
    action_index,
    definition,
    delta_logits,
    dynamics,
    entropy,
    fold,
    indicator_picks,
    latex,
    linearity,
    log_probs,
    logits,
    normalisation,
    probs,
    product_rule,
    rewards,
    score,
    score_has_mean_zero,
    step_size,
    straight_path,
    substitute,
)
from entropy_core.symbolic.page import derivation_html

LEMMA = r"\frac{d}{dt} H = - \operatorname{Cov}\left(\log\pi,\, \Delta z\right)"


def lemma():
    """The lemma in four lines."""
    chain = Derivation(Dt(entropy)).by(product_rule).by(score).by(score_has_mean_zero)
    return chain.to(-Cov(log_probs, delta_logits), "definition of the covariance")


def test_chain_of_rules_reaches_the_lemma():
    assert lemma().statement.latex == LEMMA
    assert [line.reason for line in lemma().lines][0::2] == ["product rule", "the score has mean zero"]


def test_wrong_line_names_its_number_both_sides_checks_and_a_counterexample():
    with pytest.raises(WrongLine) as caught:
        lemma().to(Cov(log_probs, delta_logits), "a slip of the sign")
    error, message = caught.value, str(caught.value)
    assert error.number == 5
    assert (error.left, error.right) == (-Cov(log_probs, delta_logits), Cov(log_probs, delta_logits))
    for part in (
        "line 5 (a slip of the sign)",
        "every n, exact n = 2..6, 50 digits, n = 2..6",
        "at logits = (",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        (Rule("wrong score", "", lambda e: e.xreplace({Dt(log_probs): delta_logits})), 2),
        (Rule("no normalisation", "", lambda e: e.xreplace({Dt(probs): 0})), 2),
        (substitute(log_probs, 2 * log_probs, "forgotten factor"), 2),
    ],
)
def test_a_wrong_rule_is_stopped_at_its_line(rule, number):
    with pytest.raises(WrongLine, match=f"line {number} "):
        Derivation(Dt(entropy)).by(product_rule).by(rule)


def test_a_rule_with_its_sign_flipped_is_stopped(monkeypatch):
    flipped = Rule("score", "score", lambda e: score(e).xreplace({E(delta_logits): -E(delta_logits)}))
    with pytest.raises(WrongLine, match="line 2 "):
        Derivation(Dt(entropy)).by(product_rule).by(flipped)


def test_a_rule_that_changes_nothing_says_so():
    with pytest.raises(ValueError, match="normalisation changes nothing in line 0"):
        Derivation(Cov(log_probs, delta_logits)).by(normalisation)


def test_fold_solves_for_the_coefficients():
    start = Derivation(-E(delta_logits**2) + E(delta_logits) ** 2)
    assert start.by(fold(Var(delta_logits))).last == -Var(delta_logits)
    with pytest.raises(ValueError, match="no combination"):
        start.by(fold(Kappa(delta_logits, delta_logits, delta_logits)))


def test_fold_finds_the_cumulants_of_the_third_derivative():
    u = delta_logits
    start = Derivation(-Kappa(log_probs, u, u, u) - 2 * Kappa(u, u, u))
    expanded = start.by(linearity)
    assert expanded.last != start.last
    assert expanded.by(fold(Kappa(log_probs, u, u, u), Kappa(u, u, u))).last == start.last


def test_indicator_picks_its_own_action_only():
    j, x = action_index("j"), Field("x")
    assert indicator_picks(E(Indicator(j) * x)) == probs.at(j) * x.at(j)
    assert indicator_picks(E(x)) == E(x)


def test_definition_prints_the_symbol_it_resolves():
    line = Derivation(Grad(entropy)).by(definition(entropy)).lines[0]
    assert line.reason == "definition of $H$"
    assert latex(line.expression) == r"\nabla_{\theta}\left(- \sum_{a} \pi \, \log\pi\right)"


def test_reasons_are_spelled_with_the_derivative_of_the_line():
    assert (
        score.reason_for(Dt(log_probs)) == r"score: $\tfrac{d}{dt} \log\pi = \Delta z - \mathbb{E}[\Delta z]$"
    )
    assert r"\nabla_{\theta} z" in score.reason_for(Grad(log_probs))
    assert r"e_{j}" in score.reason_for(Partial(log_probs, logits.at(action_index("j"))))


def test_aligned_block_has_one_row_per_line_and_reasons_in_words():
    rows = lemma().latex.split("\n")
    assert rows[0] == r"\begin{aligned}"
    assert len(rows) == 2 + len(lemma().lines)
    assert rows[1].startswith(r"\frac{d}{dt} H &= ")
    assert rows[1].endswith(r"&& \text{product rule} \\")
    assert r"\text{score: }\tfrac{d}{dt} \log\pi = " in rows[2]


def test_statement_is_display_latex_for_glue():
    assert lemma().statement._repr_latex_() == f"$$\n{LEMMA}\n$$"


def test_page_has_one_row_per_line_each_with_its_formula_and_reason_and_the_quiet_line_last():
    page, chain = lemma()._repr_html_(), lemma()
    formulas = re.findall(r"derivation-formula.*?= (.*?)\\\)</span>", page)
    assert [unescape(formula) for formula in formulas] == [latex(line.expression) for line in chain.lines]
    reasons = re.findall(r'derivation-reason">(.*?)</div>', page)
    assert reasons[0] == "product rule"
    assert reasons[1].startswith(r'score: <span class="math notranslate nohighlight">\(\tfrac{d}{dt} \log\pi')
    assert page.count(latex(chain.start)) == 1
    quiet = "proved for every number of actions · exact for n = 2…6 · 50 digits"
    assert page.endswith(f'<p class="how-checked"><em>{quiet}</em></p>')


def test_page_escapes_what_html_would_read():
    page = derivation_html("a < b", [("c & d", "since $a < b$ & so on")], "checked")
    assert r"\(\displaystyle a &lt; b\)" in page
    assert "c &amp; d" in page
    assert r"since <span" in page
    assert "&amp; so on" in page


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (delta_logits - E(delta_logits), r"\Delta z - \mathbb{E}\left[\Delta z\right]"),
        (-probs * (log_probs + entropy), r"- \pi \, \left(\log\pi + H\right)"),
        (log_probs**2, r"\left(\log\pi\right)^{2}"),
        (step_size * Cov(log_probs, probs), r"\eta \, \operatorname{Cov}\left(\log\pi,\, \pi\right)"),
        (Total(probs) * E(logits), r"\mathbb{E}\left[z\right] \, \sum_{a} \pi"),
        (Var(logits) / 2, r"\frac{1}{2} \operatorname{Var}\left(z\right)"),
        (Dt(Dt(entropy)), r"\frac{d^{2}}{dt^{2}} H"),
        (Dt(probs) * Dt(log_probs), r"\left(\frac{d}{dt} \log\pi\right) \, \frac{d}{dt} \pi"),
        (probs.at(action_index("i")), r"\pi_{i}"),
        (logits - 1, r"z - 1"),
        (
            (E(logits) + 1) / (E(rewards) - 1),
            r"\frac{\mathbb{E}\left[z\right] + 1}{\mathbb{E}\left[r\right] - 1}",
        ),
        (Partial(entropy, logits.at(action_index("j"))), r"\frac{\partial H}{\partial z_{j}}"),
    ],
)
def test_latex_reads_as_it_is_meant(expression, expected):
    assert latex(expression) == expected


def test_latex_is_the_same_in_every_process():
    program = (
        "from entropy_core.symbolic import dynamics, softmax\n"
        "for d in (dynamics.entropy_gradient_covariance(), softmax.fisher_is_jacobian(), softmax.score()):\n"
        "    print(d.latex, d.statement.latex, repr(d))\n"
    )
    seeds = ("0", "1", "4242")
    runs = [
        subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": s}, capture_output=True)
        for s in seeds
    ]
    assert runs[0].stdout.count(b"aligned") == 6
    assert {run.stdout for run in runs} == {runs[0].stdout}


def test_second_derivative_on_the_wrong_path_is_stopped():
    claim = -Var(delta_logits) - Kappa(log_probs, delta_logits, delta_logits)
    assert Derivation(Dt(Dt(entropy)), straight_path).to(claim).last == claim
    with pytest.raises(WrongLine):
        Derivation(Dt(Dt(entropy))).to(claim)


@pytest.mark.parametrize(
    ("misuse", "error", "complaint"),
    [
        (lambda: log_probs.at(1) + Partial(entropy, probs.at(1)), TypeError, r"logits\.at\(j\)"),
        (lambda: Kappa(), TypeError, "at least one field"),
        (lambda: dynamics.entropy.at(1), AttributeError, "at"),
    ],
)
def test_misuse_is_explained(misuse, error, complaint):
    with pytest.raises(error, match=complaint):
        misuse()
