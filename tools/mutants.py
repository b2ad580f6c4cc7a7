"""The small faults that `make mutation-test` plants: one changed comparison, operator, constant, condition, refusal or lock.

Two kinds of constants stay as they are, since no behaviour depends on them: options of class decorators (`frozen`, `slots`), and the keyword
arguments `strict` of zip (an assertion) and `maxsize` of a cache. Assertions, docstrings and annotations stay too.
"""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

_COMPARED: Final = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_COMPUTED: Final = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_SQL: Final = ((" for update", ""), (" <= ", " < "), (" >= ", " > "), (" and ", " or "), (" < ", " <= "))
_UNCHANGED_ARGUMENTS: Final = frozenset({"strict", "maxsize"})
_LINE_CHARACTERS_MAX: Final = 100
MODULE: Final = "<module>"
Change = tuple[str, Callable[[], None]]
"""What is changed, and what changes it in the tree."""


@dataclass(frozen=True)
class Mutant:
    """One planted fault."""

    area: str
    path: str
    function: str
    """Qualified name of the function, as Python has it; `<module>` outside of functions."""
    line: int
    text: str
    """The line of the source where it is planted."""
    change_text: str
    number: int
    """Which of the equal faults on equal lines of the function, from 1."""
    place: int
    """Which of the faults of its module."""

    @property
    def name(self) -> str:
        """Return where it is and what it is; the same when other lines or functions of the module change."""
        ordinal = f" ({self.number})" if self.number > 1 else ""
        return f"{self.path} {self.function} | {self.text} | {self.change_text}{ordinal}"


def mutants_of(area: str, path: str, text: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its source."""
    lines = text.splitlines()
    count: Counter[tuple[str, str, str]] = Counter()
    for place, (node, function, (change_text, _)) in enumerate(_module_changes(ast.parse(text))):
        line = getattr(node, "lineno", 1)
        shown = " ".join(lines[line - 1].split())[:_LINE_CHARACTERS_MAX]
        count[function, shown, change_text] += 1
        yield Mutant(area, path, function, line, shown, change_text, count[function, shown, change_text], place)


def planted(text: str, mutant: Mutant) -> str:
    """Return the source of a module with the fault of a mutant."""
    tree = ast.parse(text)
    _, _, (_, change) = next(itertools.islice(_module_changes(tree), mutant.place, None))
    change()
    return ast.unparse(tree)


def _module_changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, Change]]:
    for node, function in _nodes(tree, MODULE, ""):
        for change in _changes(node):
            yield node, function, change


def _nodes(node: ast.AST, function: str, prefix: str) -> Iterator[tuple[ast.AST, str]]:
    """Yield nodes with the function that they are in; not those whose change changes nothing."""
    yield node, function
    skipped = _skipped(node)
    for child in ast.iter_child_nodes(node):
        if id(child) in skipped:
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            name = prefix + child.name
            yield from _nodes(child, name, f"{name}.<locals>.")
        elif isinstance(child, ast.ClassDef):
            yield from _nodes(child, function, f"{prefix}{child.name}.")
        elif not isinstance(child, ast.Assert):
            yield from _nodes(child, function, prefix)


def _skipped(node: ast.AST) -> set[int]:
    found = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        found.append(node.value)
    elif isinstance(node, ast.ClassDef):
        found += node.decorator_list
    elif isinstance(node, ast.keyword) and node.arg in _UNCHANGED_ARGUMENTS:
        found.append(node.value)
    return {id(each) for each in found if each is not None}


def _changes(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = _COMPARED.get(type(operator))
            if other is not None:
                yield _set_item(f"{_words(operator)} becomes {_words(other())}", node.ops, place, other())
    elif isinstance(node, ast.BoolOp):
        other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield _set_field(f"{_words(node.op)} becomes {_words(other_op)}", node, "op", other_op)
        for place, value in enumerate(node.values):
            without = [each for each in node.values if each is not value]
            yield _set_field(f"without the part {place + 1} of {_words(node.op)}", node, "values", without)
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _COMPUTED:
        other_kind = _COMPUTED[type(node.op)]()
        yield _set_field(f"{_words(node.op)} becomes {_words(other_kind)}", node, "op", other_kind)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        yield _negated(node)
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield from _opposite(node)
    if isinstance(node, ast.If):
        for place, statement in enumerate(node.body):
            if isinstance(statement, ast.Raise):
                yield _set_item("a refusal is left out", node.body, place, ast.Pass())


def _opposite(node: ast.If | ast.IfExp | ast.While) -> Iterator[Change]:
    """Turn a condition round that no other fault turns round."""
    turned = isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)
    single = isinstance(node.test, ast.Compare) and len(node.test.ops) == 1 and type(node.test.ops[0]) not in _ORDERED
    if not turned and not single and not isinstance(node.test, ast.Constant):
        yield _set_field("the condition becomes its opposite", node, "test", ast.UnaryOp(ast.Not(), node.test))


_ORDERED: Final = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def _constants(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield _set_field(f"{value} becomes {not value}", node, "value", not value)
    elif isinstance(value, int):
        yield _set_field(f"{value} becomes {value + 1}", node, "value", value + 1)
    elif isinstance(value, str) and any(word in value for word in ("select ", "update ", "insert ", "delete ")):
        for old, new in _SQL:
            if old in value:
                yield _set_field(f"SQL: '{old}' becomes '{new}'", node, "value", value.replace(old, new, 1))


def _negated(node: ast.UnaryOp) -> Change:
    # Twice not, twice inverted: the same as without it, for what is asked for its truth and for masks.
    twice = ast.UnaryOp(node.op, node.operand)
    return f"{_words(node.op)} is left out", lambda: setattr(node, "operand", twice)


def _set_field(change_text: str, node: ast.AST, name: str, value: object) -> Change:
    return change_text, lambda: setattr(node, name, value)


def _set_item(change_text: str, values: list[Any], place: int, value: object) -> Change:
    return change_text, lambda: values.__setitem__(place, value)


def _words(operator: ast.AST) -> str:
    return type(operator).__name__.lower()
