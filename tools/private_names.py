"""Where tests use private names (`_x`) of the code that they test.

`python -m tools.structure --check` prints them. A private name is one that code defines: a function, a class, an attribute of `self`,
or a name of a module. A test uses it where it imports it, reads it of an object, or names it in a text for `setattr`. Names that a
test module defines for its own classes are its own, and so are names of modules from elsewhere (`os._exit`).
"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

CODE: Final = ("libs", "services", "tools")
_NAMED_TUPLE: Final = frozenset({"_asdict", "_fields", "_make", "_replace"})
"""Public methods of named tuples, with an underscore so that they do not collide with fields."""
_PATCHERS: Final = ("delattr", "getattr", "object", "patch", "setattr")
_PRIVATE: Final = re.compile(r"(?<!\w)_[A-Za-z]\w*")
_TEXT: Final = re.compile(r"(?:[A-Za-z_]\w*\.)*(_[A-Za-z]\w*)")


def uses(root: Path) -> list[tuple[str, str]]:
    """Return the uses of private names in tests: for each the directory, and a sentence that names it."""
    private = {
        name for part in CODE for path in sorted((root / part).rglob("*.py")) for name in _defined(_tree(path))
    } - _NAMED_TUPLE
    found = []
    for path in sorted((root / "tests").rglob("*.py")):
        place = path.relative_to(root)
        if private.isdisjoint(_PRIVATE.findall(path.read_text("utf-8"))):
            continue
        for line, name in sorted(_used(_tree(path), private)):
            sentence = f"{place}:{line} uses the private name {name}: test what a caller sees, or make the name public"
            found.append((".".join(place.parts[:2]), sentence))
    return found


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _defined(tree: ast.Module) -> set[str]:
    """Return the private names that a module defines."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return {name for name in found if _is_private(name)}


def _is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _used(tree: ast.Module, private: set[str]) -> Iterator[tuple[int, str]]:
    own, foreign = _defined(tree), _foreign(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in CODE:
            yield from ((node.lineno, each.name) for each in node.names if each.name in private)
        elif isinstance(node, ast.Attribute) and node.attr in private:
            base = _base(node)
            if not (base in ("self", "cls") and node.attr in own) and base not in foreign:
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and _called(node.func) in _PATCHERS:
            yield from ((node.lineno, name) for name in _texts(node.args) if name in private)


def _foreign(tree: ast.Module) -> set[str]:
    """Return the names of modules, and of what is in them, that are not ours."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {
                (each.asname or each.name).split(".")[0] for each in node.names if each.name.split(".")[0] not in CODE
            }
    return found


def _base(node: ast.expr) -> str:
    """Return the name that a chain of attributes, calls and indices begins with, or ""."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _called(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _texts(arguments: Iterable[ast.expr]) -> Iterator[str]:
    for each in arguments:
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and (match := _TEXT.fullmatch(each.value)):
            yield match[1]
