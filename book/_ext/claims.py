"""The claim ledger: what the book asserts, which test or cell decides it, and what this build measured.

``{claim}`` states a claim and names its deciding check, the role of the same name refers to it, and
``{claim-ledger}`` lists all claims by chapter. Outcomes and numbers come from the JUnit file of the test run
that this build renders. Whatever is unchecked is a warning, so a build with ``-W`` cannot end on it.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.domains import Domain, ObjType
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import junit

logger = logging.getLogger(__name__)

STATUSES = {
    "proved-for-all-n": "proved for all n",
    "proved-for-listed-n": "proved for listed n",
    "bounded": "bounded",
    "measured": "measured",
    "counterexample": "counterexample",
}
MUST_BE_CLAIMED = {"theorem", "lemma", "proposition", "corollary"}


@dataclass
class Claim:
    """One declared claim; ``statement`` holds the body for the ledger page."""

    name: str
    title: str
    status: str
    checks: list[str]
    theorems: list[str]
    values: list[str]
    docname: str
    line: int
    statement: list[nodes.Node] = field(default_factory=list, repr=False)

    @property
    def anchor(self) -> str:
        """The id of the claim's box on its page."""
        return f"claim-{self.name}"


class ClaimResult(nodes.General, nodes.Element):
    """Place of the outcome line in a box; filled when the page is written."""


class LedgerTables(nodes.General, nodes.Element):
    """Place of the ledger's tables; filled when the page is written."""


class RunTable(nodes.General, nodes.Element):
    """Place of the table of what ran and for how long; filled when the page is written."""


# ---------------------------------------------------------------------------------------------- outcome


def deciding_checks(claim: Claim, run: junit.TestRun) -> list[str]:
    """The checks the page names, then the other tests that carry the claim's mark."""
    named = {*claim.checks, *map(_bare, claim.checks)}
    return claim.checks + sorted(run.marked().get(claim.name, set()) - named)


def deciding_cases(claim: Claim, run: junit.TestRun) -> list[junit.Case]:
    """Every test case on which the claim stands."""
    return [case for check in deciding_checks(claim, run) for case in run.of_check(check)]


def outcome(claim: Claim, run: junit.TestRun) -> str:
    """One word: the worst outcome among the claim's checks."""
    words = [junit.outcome(run.of_check(check)) for check in deciding_checks(claim, run)]
    order = (junit.FAILED, junit.SKIPPED, junit.NOT_RUN, junit.PASSED)
    return min(words or [junit.NOT_RUN], key=order.index)


def measured(claim: Claim, run: junit.TestRun) -> dict[str, str]:
    """The numbers to print: those asked for, else all that the deciding checks recorded."""
    recorded = junit.measured(deciding_cases(claim, run))
    if not claim.values:
        return recorded
    known = run.glued(f"{claim.docname}.ipynb") | recorded
    return {key: known[key] for key in claim.values if key in known}


def _bare(check: str) -> str:
    file, _, name = check.partition("::")
    return f"{file}::{name.split('[', 1)[0].replace('::', '.')}"


# -------------------------------------------------------------------------------------- domain and rules


class ClaimDomain(Domain):
    """Declared claims and the references to them, kept with the Sphinx environment."""

    name = "claim"
    label = "Claims"
    object_types = {"claim": ObjType("claim", "claim")}
    initial_data = {"claims": {}, "references": [], "ledgers": []}
    data_version = 1

    @property
    def claims(self) -> dict[str, Claim]:
        """Claim id to claim, over the whole book."""
        return self.data["claims"]

    def add(self, claim: Claim) -> None:
        """Declare a claim; a second one with the same id is a warning."""
        other = self.claims.get(claim.name)
        if other:
            warn(f"claim {claim.name!r} is declared twice, first in {other.docname}; rename one", claim)
        self.claims[claim.name] = claim

    def clear_doc(self, docname: str) -> None:
        """Forget what a page declared, before it is read again."""
        self.data["claims"] = {k: c for k, c in self.claims.items() if c.docname != docname}
        self.data["references"] = [r for r in self.data["references"] if r[1] != docname]
        self.data["ledgers"] = [d for d in self.data["ledgers"] if d != docname]

    def merge_domaindata(self, docnames: list[str], otherdata: dict) -> None:
        """Take over what a parallel reader found."""
        for claim in otherdata["claims"].values():
            if claim.docname in docnames:
                self.add(claim)
        self.data["references"] += [r for r in otherdata["references"] if r[1] in docnames]
        self.data["ledgers"] += [d for d in otherdata["ledgers"] if d in docnames]

    def resolve_xref(self, env, fromdocname, builder, typ, target, node, contnode):
        """Link a reference to its box; an unknown id is always a warning, with or without ``-n``."""
        claim = self.claims.get(target)
        if claim is None:
            logger.warning(f"unknown claim {target!r}: no page declares it", location=node, type="claims")
            return contnode
        if not node["refexplicit"]:
            contnode = nodes.inline("", claim.title, classes=["claim-ref"])
        return make_refnode(builder, fromdocname, claim.docname, claim.anchor, contnode)

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        """Make the claims searchable."""
        for claim in self.claims.values():
            yield claim.name, claim.title, "claim", claim.docname, claim.anchor, 1

    def check_consistency(self) -> None:
        """Warn of every claim and theorem that this build does not bear out."""
        run, theorems = self.env.claims_run, getattr(self.env, "proof_list", {})
        for claim in self.claims.values():
            for complaint in complaints(claim, run, theorems):
                warn(f"claim {claim.name!r}: {complaint}", claim)
            if claim.name not in {name for name, _ in self.data["references"]}:
                warn(
                    f"claim {claim.name!r} is never referred to; write {{claim}}`{claim.name}` in the text",
                    claim,
                )
        for name in sorted(run.marked().keys() - self.claims.keys()):
            tests = ", ".join(sorted(run.marked()[name]))
            logger.warning(f"no page declares the claim {name!r} that {tests} is marked with", type="claims")
        for label, theorem in sorted(_uncovered(theorems, self.claims).items()):
            message = f"{theorem['realtype']} {label!r} has no claim; name it in the `:theorem:` of one"
            logger.warning(message, location=theorem["docname"], type="claims")


def complaints(claim: Claim, run: junit.TestRun, theorems: dict) -> Iterator[str]:
    """What keeps a claim from standing, in words; nothing if it stands."""
    for check in deciding_checks(claim, run):
        word = junit.outcome(run.of_check(check))
        if word != junit.PASSED:
            yield f"its check {check} is {word}"
        elif "#" not in check and any(claim.name not in c.values("claim") for c in run.of_check(check)):
            yield f'its check {check} is not marked @pytest.mark.claim("{claim.name}")'
    for label in claim.theorems:
        if label not in theorems:
            yield f"there is no theorem labelled {label!r}"
    for key in claim.values:
        if key not in measured(claim, run):
            yield f"this build recorded no value named {key!r}"


def warn(message: str, claim: Claim) -> None:
    """Report a defect at the claim's own line."""
    logger.warning(message, location=(claim.docname, claim.line), type="claims")


def _uncovered(theorems: dict, claims: dict[str, Claim]) -> dict:
    covered = {label for claim in claims.values() for label in claim.theorems}
    return {
        label: theorem
        for label, theorem in theorems.items()
        if theorem["realtype"] in MUST_BE_CLAIMED and not theorem["nonumber"] and label not in covered
    }


# ------------------------------------------------------------------------------------ directives and role


def _words(argument: str | None) -> list[str]:
    return directives.unchanged_required(argument).split()


def _names(argument: str | None) -> list[str]:
    return [name.strip() for name in directives.unchanged_required(argument).split(",")]


class ClaimDirective(SphinxDirective):
    """A claim's box: statement, status and, once the page is written, the outcome of its check."""

    required_arguments = 1
    has_content = True
    option_spec = {
        "title": directives.unchanged_required,
        "status": lambda argument: directives.choice(argument, tuple(STATUSES)),
        "check": _words,
        "theorem": _words,
        "value": _names,
    }

    def run(self) -> list[nodes.Node]:
        """Parse the statement and declare the claim."""
        for option in ("status", "check"):
            if option not in self.options:
                raise self.error(f"claim {self.arguments[0]!r} needs the option :{option}:")
        self.assert_has_content()
        claim = self._claim()
        claim.statement = self._statement(claim.name)
        self.env.get_domain("claim").add(claim)
        return [self._box(claim)]

    def _claim(self) -> Claim:
        name, options = self.arguments[0], self.options
        title = options.get("title", name.replace("-", " ").capitalize())
        lists = [options.get(key, []) for key in ("check", "theorem", "value")]
        return Claim(name, title, options["status"], *lists, self.env.docname, self.lineno)

    def _statement(self, name: str) -> list[nodes.Node]:
        holder = nodes.Element()
        holder.document = self.state.document
        self.env.temp_data["claims:inside"] = name
        self.state.nested_parse(self.content, self.content_offset, holder)
        self.env.temp_data.pop("claims:inside")
        return holder.children

    def _box(self, claim: Claim) -> nodes.Node:
        box = nodes.container(ids=[claim.anchor], classes=["claim", f"claim-{claim.status}"])
        self.set_source_info(box)
        head = nodes.paragraph(classes=["claim-head"])
        head += nodes.inline("", f"Claim: {claim.title}", classes=["claim-title"])
        head += nodes.Text(" ")
        head += nodes.inline("", STATUSES[claim.status], classes=["claim-status"])
        box += [head, *claim.statement, ClaimResult(claim=claim.name)]
        claim.statement = [child.deepcopy() for child in claim.statement]
        return box


class ClaimRole(XRefRole):
    """A reference to a claim; its own box and the docstrings do not count as one."""

    def process_link(self, env: BuildEnvironment, refnode, has_explicit_title, title, target):
        """Record the reference, unless the claim refers to itself or the package to it."""
        refnode["refdomain"], refnode["reftype"] = "claim", "claim"
        in_docstring = "docstring of" in self.get_source_info()[0]
        if env.temp_data.get("claims:inside") != target and not in_docstring:
            env.get_domain("claim").data["references"].append((target, env.docname))
        return title, target


class LedgerDirective(SphinxDirective):
    """The counts by status, and every claim by chapter."""

    def run(self) -> list[nodes.Node]:
        """Leave the place that is filled when all pages are read."""
        self.env.get_domain("claim").data["ledgers"].append(self.env.docname)
        return [LedgerTables()]


class RunDirective(SphinxDirective):
    """Every file of the test run, its cases and its seconds."""

    def run(self) -> list[nodes.Node]:
        """Leave the place that is filled when all pages are read."""
        self.env.get_domain("claim").data["ledgers"].append(self.env.docname)
        return [RunTable()]


# --------------------------------------------------------------------------------------------- rendering


class ExpandClaims(SphinxPostTransform):
    """Fill boxes and ledger; runs before references are resolved, so statements keep their links."""

    default_priority = 3

    def run(self, **kwargs) -> None:
        """Replace every placeholder on this page."""
        domain = self.env.get_domain("claim")
        for place in list(self.document.findall(ClaimResult)):
            place.replace_self(self._result(domain.claims[place["claim"]]))
        for place in list(self.document.findall(LedgerTables)):
            place.replace_self(self._ledger(list(domain.claims.values())))
        for place in list(self.document.findall(RunTable)):
            place.replace_self(_run_table(self.env.claims_run))

    def _result(self, claim: Claim) -> nodes.paragraph:
        run, word = self.env.claims_run, outcome(claim, self.env.claims_run)
        line = nodes.paragraph(classes=["claim-result"])
        line += _outcome_node(word)
        line += nodes.Text(f" in this build{_measured_text(claim, run)}; decided by ")
        return _join(line, self._check_nodes(claim))

    def _check_nodes(self, claim: Claim) -> list[nodes.Node]:
        return [self._check_node(check) for check in deciding_checks(claim, self.env.claims_run)]

    def _check_node(self, check: str) -> nodes.Node:
        file, _, cell = check.partition("#")
        docname = file.removesuffix(".ipynb")
        if not cell or docname not in self.env.all_docs:
            return nodes.literal("", check, classes=["claim-check"])
        text = nodes.literal("", f"{docname.split('/')[-1]}#{cell}", classes=["claim-check"])
        return make_refnode(self.app.builder, self.env.docname, docname, f"cell-{cell}", text)

    def _ledger(self, claims: list[Claim]) -> list[nodes.Node]:
        out: list[nodes.Node] = [_summary(claims, self.env.claims_run)]
        for docname in _reading_order(self.env):
            here = sorted((c for c in claims if c.docname == docname), key=lambda c: c.line)
            if here:
                out += [self._chapter_heading(docname), self._table(here)]
        return out

    def _chapter_heading(self, docname: str) -> nodes.Node:
        title = nodes.Text(self.env.titles[docname].astext())
        link = make_refnode(self.app.builder, self.env.docname, docname, "", title)
        return nodes.rubric("", "", link, classes=["claim-chapter"])

    def _table(self, claims: list[Claim]) -> nodes.table:
        rows = [self._row(claim) for claim in claims]
        return _table([("Claim", 44), ("Status and outcome", 26), ("Decided by", 30)], rows, "claim-ledger")

    def _row(self, claim: Claim) -> list[list[nodes.Node]]:
        title = nodes.inline("", claim.title, classes=["claim-title"])
        link = make_refnode(self.app.builder, self.env.docname, claim.docname, claim.anchor, title)
        word = nodes.paragraph("", "", nodes.Text(f"{STATUSES[claim.status]}: "))
        word += _outcome_node(outcome(claim, self.env.claims_run))
        numbers = measured(claim, self.env.claims_run).items()
        measured_lines = [nodes.paragraph("", f"{k} = {v}", classes=["claim-measured"]) for k, v in numbers]
        checks = [nodes.paragraph("", "", check) for check in self._check_nodes(claim)]
        return [
            [nodes.paragraph("", "", link), *self._statement_copy(claim)],
            [word, *measured_lines],
            checks,
        ]

    def _statement_copy(self, claim: Claim) -> list[nodes.Node]:
        copies = [node.deepcopy() for node in claim.statement]
        for node in (n for copy in copies for n in copy.findall(nodes.Element)):
            node["ids"], node["names"] = [], []
            if "refdoc" in node:
                node["refdoc"] = self.env.docname
            if isinstance(node, nodes.math_block):
                node["number"] = node["label"] = None
        return copies


def _summary(claims: list[Claim], run: junit.TestRun) -> nodes.paragraph:
    by_status = Counter(claim.status for claim in claims)
    passed = sum(outcome(claim, run) == junit.PASSED for claim in claims)
    cells = sum(case.is_cell for case in run.cases)
    counts = ", ".join(f"{by_status[slug]} {words}" for slug, words in STATUSES.items() if by_status[slug])
    text = (
        f"{len(claims)} claims: {counts}. {passed} of {len(claims)} passed in this build, "
        f"which ran {len(run.cases) - cells} tests and {cells} notebook cells."
    )
    return nodes.paragraph("", text, classes=["claim-summary"])


def _run_table(run: junit.TestRun) -> nodes.table:
    by_file: dict[str, list[junit.Case]] = {}
    for case in run.cases:
        by_file.setdefault(case.file, []).append(case)
    files = sorted(by_file.items(), key=lambda item: (not item[0].endswith(".ipynb"), item[0]))
    rows = [[file, str(len(cases)), f"{sum(case.seconds for case in cases):.1f}"] for file, cases in files]
    columns = [("Notebook or test file", 64), ("Cells or tests", 18), ("Seconds", 18)]
    return _table(columns, [[[nodes.paragraph("", text)] for text in row] for row in rows], "run-table")


def _outcome_node(word: str) -> nodes.inline:
    return nodes.inline("", word, classes=["claim-outcome", f"claim-{word.replace(' ', '-')}"])


def _measured_text(claim: Claim, run: junit.TestRun) -> str:
    return "".join(f", {key} = {value}" for key, value in measured(claim, run).items())


def _join(line: nodes.paragraph, parts: list[nodes.Node]) -> nodes.paragraph:
    for k, part in enumerate(parts):
        line += [nodes.Text(", "), part] if k else part
    return line


def _reading_order(env: BuildEnvironment) -> list[str]:
    """All pages as the table of contents lists them, each once."""
    found, todo = [], [env.config.root_doc]
    while todo:
        docname = todo.pop(0)
        if docname not in found:
            found.append(docname)
            todo = env.toctree_includes.get(docname, []) + todo
    return found + sorted(env.all_docs.keys() - set(found))


def _table(columns: list[tuple[str, int]], rows: list[list[list[nodes.Node]]], name: str) -> nodes.table:
    table = nodes.table(classes=[name, "colwidths-given"])
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for _, width in columns), cols=len(columns))
    header = [[nodes.paragraph("", name)] for name, _ in columns]
    group += nodes.thead("", _table_row(header))
    group += nodes.tbody("", *(_table_row(row) for row in rows))
    table += group
    return table


def _table_row(cells: list[list[nodes.Node]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", *cell) for cell in cells))


# ------------------------------------------------------------------------------------------------- events


def read_run(app: Sphinx, env: BuildEnvironment, *_) -> list[str]:
    """Read the test run; if it is not the one of the last build, every page with a claim is out of date."""
    path = Path(app.srcdir) / app.config.claims_junit
    digest = sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    stale = getattr(env, "claims_digest", digest) != digest
    env.claims_digest, env.claims_run = digest, junit.read(path)
    domain = env.get_domain("claim")
    return (
        list({claim.docname for claim in domain.claims.values()} | set(domain.data["ledgers"]))
        if stale
        else []
    )


def refresh_ledger(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The ledger depends on every page, so it is written anew each time; its statements hold formulas."""
    ledgers = env.get_domain("claim").data["ledgers"]
    env.get_domain("math").data["has_equations"].update(dict.fromkeys(ledgers, True))
    return ledgers


def name_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Give each code cell the anchor ``cell-ID``, so that a claim can link to the cell that decides it."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for node in doctree.findall(nodes.container):
        if node.get("nb_element") == "cell_code" and "id" in cells[node["cell_index"]]:
            node["ids"].append(f"cell-{cells[node['cell_index']]['id']}")


def write_json(app: Sphinx, exception: Exception | None) -> None:
    """Leave the ledger for programs beside the pages, as ``_static/claims.json``."""
    if exception or app.builder.format != "html":
        return
    run, domain = app.env.claims_run, app.env.get_domain("claim")
    target = Path(app.outdir) / "_static" / "claims.json"
    target.parent.mkdir(exist_ok=True)
    records = [_record(claim, run) for claim in domain.claims.values()]
    target.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _record(claim: Claim, run: junit.TestRun) -> dict:
    record = {k: v for k, v in asdict(_without_statement(claim)).items() if k not in ("statement", "line")}
    result = {"outcome": outcome(claim, run), "measured": measured(claim, run)}
    text = " ".join(node.astext() for node in claim.statement)
    return record | {"status": STATUSES[claim.status], "text": text} | result


def _without_statement(claim: Claim) -> Claim:
    return Claim(**{**vars(claim), "statement": []})


def setup(app: Sphinx) -> dict:
    """Register the ledger with Sphinx."""
    app.add_config_value("claims_junit", "_build/tests.xml", "env")
    app.add_node(ClaimResult)
    app.add_node(LedgerTables)
    app.add_node(RunTable)
    app.add_domain(ClaimDomain)
    app.add_directive("claim", ClaimDirective)
    app.add_directive("claim-ledger", LedgerDirective)
    app.add_directive("test-run", RunDirective)
    app.add_role("claim", ClaimRole(innernodeclass=nodes.inline))
    app.add_post_transform(ExpandClaims)
    app.connect("env-get-outdated", read_run)
    app.connect("env-updated", refresh_ledger)
    app.connect("doctree-read", name_cells)
    app.connect("build-finished", write_json)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
