"""Rules for Python source, each a function from the source to the places that break it."""

import ast
import re

COMPARISONS = {
    "allclose",
    "array_equal",
    "array_equiv",
    "isclose",
    "equal",
    "equals",
    "all",
    "any",
    "is_close",
}
CHECKER = re.compile(r"(^|_)(assert|check|verify|prove|raises|warns|expect|fail|must)", re.ASCII)
SAME = ast.Eq | ast.LtE | ast.GtE | ast.Is
SKIPS = {"skip", "skipif", "xfail"}


def called_name(node: ast.AST) -> str:
    """Return the last part of the name that a call calls: of `np.testing.assert_equal(…)`, `assert_equal`."""
    target = node.func if isinstance(node, ast.Call) else node
    return getattr(target, "attr", getattr(target, "id", ""))


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    """Return every function of the source, methods included."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def thrown_away_comparisons(source: str) -> list[str]:
    """Find statements that compare and let the answer fall."""

    def is_thrown_away(value: ast.expr) -> bool:
        return isinstance(value, ast.Compare) or (
            isinstance(value, ast.Call) and called_name(value) in COMPARISONS
        )

    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    return [f"line {s.lineno}: {ast.unparse(s)}" for s in statements if is_thrown_away(s.value)]


def is_vacuous(test: ast.expr) -> bool:
    """Whether an assert of this expression cannot fail, whatever the code does."""
    if isinstance(test, ast.Tuple | ast.List):
        return bool(test.elts)
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], SAME):
        calls = any(
            isinstance(node, ast.Call) for node in ast.walk(test)
        )  # two calls may well give two answers
        return not calls and ast.dump(test.left) == ast.dump(test.comparators[0])
    return isinstance(test, ast.Constant | ast.JoinedStr | ast.Lambda) and bool(getattr(test, "value", True))


def vacuous_asserts(source: str) -> list[str]:
    """Find asserts of a constant, of a non-empty tuple, or of a thing's equality with itself."""
    asserts = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    return [f"line {a.lineno}: {ast.unparse(a)}" for a in asserts if is_vacuous(a.test)]


def tests_that_cannot_fail(source: str) -> list[str]:
    """Find tests that neither assert, nor expect an error, nor call a helper that does."""
    tree = ast.parse(source)
    checkers: set[str] = set()

    def checks(function: ast.FunctionDef) -> bool:
        return any(
            isinstance(node, ast.Assert)
            or (
                isinstance(node, ast.Call)
                and (called_name(node) in checkers or CHECKER.search(called_name(node)))
            )
            for node in ast.walk(function)
        )

    for _ in functions(
        tree
    ):  # a helper may check through a helper: as many rounds as there are functions suffice
        checkers |= {function.name for function in functions(tree) if checks(function)}
    tests = [f for f in functions(tree) if f.name.startswith("test_")]
    return [f"line {f.lineno}: {f.name}" for f in tests if f.name not in checkers]


def skips_without_reason(source: str) -> list[str]:
    """Find skip, skipif and xfail that do not say why."""
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called_name(node) in SKIPS]
    silent = [c for c in calls if not any(k.arg in ("reason", "msg") for k in c.keywords) and not says_why(c)]
    bare = [
        d
        for f in functions(tree)
        for d in f.decorator_list
        if isinstance(d, ast.Attribute) and d.attr in SKIPS
    ]
    return [f"line {node.lineno}: {ast.unparse(node)}" for node in [*silent, *bare]]


def says_why(call: ast.Call) -> bool:
    """Whether `pytest.skip("…")` has its reason as first argument; a mark's first is the condition."""
    return called_name(call) == "skip" and bool(call.args)


def imports_of(source: str, module: str) -> list[str]:
    """Find the places that import this top-level module."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [getattr(node, "module", None) or ""]
        )
        if isinstance(node, ast.Import | ast.ImportFrom) and any(n.split(".")[0] == module for n in names):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found
