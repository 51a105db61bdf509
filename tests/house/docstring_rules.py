"""Rules for the package's public face, each a function from the source to the places that break it."""

import ast
import re

SECTIONS = ("Args", "Returns", "Yields", "Raises", "Numerics", "Source", "Example", "Examples")
CLAIM = re.compile(r"claims?\s+`([a-z0-9-]+)`(?:\s*(?:,|and)\s*`([a-z0-9-]+)`)*")
NAMED = re.compile(r"`([a-z0-9-]+)`")


def is_public(name: str) -> bool:
    """Whether a name is promised to users."""
    return not name.startswith("_")


def public_functions(tree: ast.Module) -> list[tuple[str, ast.FunctionDef]]:
    """Return the public functions of a module and the public methods of its public classes, by name."""
    found = [(node.name, node) for node in tree.body if isinstance(node, ast.FunctionDef)]
    for holder in (node for node in tree.body if isinstance(node, ast.ClassDef) and is_public(node.name)):
        found += [
            (f"{holder.name}.{node.name}", node) for node in holder.body if isinstance(node, ast.FunctionDef)
        ]
    return [(name, node) for name, node in found if is_public(node.name)]


def sections(docstring: str) -> dict[str, str]:
    """Return the text of each section of a Google docstring, by its title."""
    pieces = re.split(rf"^({'|'.join(SECTIONS)}):", docstring, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def parameters(function: ast.FunctionDef) -> list[str]:
    """Return the names of the parameters that a caller gives."""
    a = function.args
    named = [
        *a.posonlyargs,
        *a.args,
        *a.kwonlyargs,
        *([a.vararg] if a.vararg else []),
        *([a.kwarg] if a.kwarg else []),
    ]
    return [p.arg for p in named if p.arg not in ("self", "cls") and is_public(p.arg)]


def decorators(function: ast.FunctionDef) -> set[str]:
    """Return the last part of each decorator's name."""
    return {ast.unparse(d).split("(")[0].split(".")[-1] for d in function.decorator_list}


def missing_sections(function: ast.FunctionDef, required: tuple[str, ...] = ()) -> list[str]:
    """Return what the docstring of a public function owes its reader.

    Args:
        function: the function, as parsed.
        required: sections that it must have besides those that its own code asks for.

    Returns:
        What is missing, in words; nothing if the docstring is complete. A property needs its sentence only.
    """
    docstring = ast.get_docstring(function)
    if not docstring:
        return ["a docstring"]
    if decorators(function) & {"property", "cached_property", "overload", "setter"}:
        return []
    have = sections(docstring)
    described = re.findall(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?:", have.get("Args", ""), re.MULTILINE)
    missing = [f"argument `{name}`" for name in parameters(function) if name not in described]
    returns_nothing = function.returns is None or ast.unparse(function.returns) in ("None", "NoReturn")
    raises = any(isinstance(node, ast.Raise) and node.exc for node in ast.walk(function))
    owed = (*(() if returns_nothing else ("Returns",)), *(("Raises",) if raises else ()), *required)
    return missing + [f"section {title}" for title in owed if not have.get(title, "").strip()]


def incomplete_docstrings(source: str, exported: set[str], required: tuple[str, ...] = ()) -> list[str]:
    """Find public functions whose docstring lacks something.

    Args:
        source: the source of a module.
        exported: the names that users import; these owe everything. To the others one sentence may do.
        required: sections that the exported functions owe besides those that their own code asks for.

    Returns:
        One line for each thing that is missing.
    """
    found = []
    for name, function in public_functions(ast.parse(source)):
        docstring = ast.get_docstring(function) or ""
        if name in exported:
            found += [f"{name} lacks {what}" for what in missing_sections(function, required)]
        elif "\n" in docstring or not docstring:
            found += [f"{name} lacks {what}" for what in missing_sections(function)]
    return found


def defined_names(tree: ast.Module) -> set[str]:
    """Return the public names that a module defines; constants in capitals are not among them."""
    names = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {leaf.id for t in targets if t for leaf in ast.walk(t) if isinstance(leaf, ast.Name)}
    return {name for name in names if is_public(name) and not name.isupper()}


def gathered_names(tree: ast.Module) -> set[str]:
    """Return the public names that a module takes from other modules of the package."""
    ours = [
        n
        for n in tree.body
        if isinstance(n, ast.ImportFrom) and (n.level or n.module.startswith("entropy_core"))
    ]
    return {a.asname or a.name for node in ours for a in node.names if is_public(a.asname or a.name)}


def wrong_all(source: str, is_top: bool = False) -> list[str]:
    """Find names that `__all__` forgets or invents.

    Args:
        source: the source of a module.
        is_top: whether it is the top of a layer, where users import what is gathered there from below.

    Returns:
        One line for each name.
    """
    tree = ast.parse(source)
    lists = [
        n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
    ]
    promised = set(ast.literal_eval(lists[0])) if lists else set()
    defined, gathered = defined_names(tree), gathered_names(tree)
    forgotten = (defined | gathered if is_top else defined) - promised
    invented = {name for name in promised - defined - gathered if not name.isupper()}
    return [f"{name} is public and not in __all__" for name in sorted(forgotten)] + [
        f"{name} is in __all__ and not there" for name in sorted(invented)
    ]


def claims_named(source: str) -> set[str]:
    """Return the ids of the claims that the docstrings of this source name."""
    holders = [
        n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    texts = [ast.get_docstring(node) or "" for node in holders]
    return {
        name for text in texts for match in CLAIM.finditer(text) for name in NAMED.findall(match.group(0))
    }
