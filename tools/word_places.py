"""Finds the names and the prose of the project: where a reader meets a word.

Names are those of files and directories, of classes, functions, parameters, fields and constants in Python, of messages, fields
and values in protos, and of tables and columns in migrations. Prose is what users read: pages in Markdown, comments of
protos, the catalogue of reasons, help of the command line, and every string of Python that is a text and not SQL.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

AREAS_OF_PARTS: Final = ("libs", "services")
"""Directories whose parts are areas of their own."""
AREAS: Final = ("deploy", "docs", "protos", "tools")
GLOSSARY: Final = "docs/glossary.md"
CATALOGUE: Final = "libs/server/catalogue.yaml"
COMMAND_LINE: Final = "libs/cli/"

_SQL = re.compile(
    r"\b(select|insert into|update \w+ (\w+ )?set|delete from|create (\w+ )?(table|index|function|extension)|alter table|order by|"
    r"on conflict|returning|language (sql|plpgsql)|primary key|not null|join \w+ \w+ on)\b"
)
_TYPES = "smallint|integer|bigint|text|bytea|boolean|real|double precision|numeric|jsonb?|uuid|timestamptz|date"
_COLUMN = re.compile(rf"\b([a-z][a-z0-9_]*)\s+(?:{_TYPES})\b|\brename column \w+ to (\w+)")
_TABLE = re.compile(r"\bcreate table (?:if not exists )?(\w+)|\balter table \w+ rename to (\w+)")
_FUNCTION = re.compile(r"\bcreate (?:or replace )?function\b")
_REMOVED = re.compile(
    r"\b(?:rename|drop) column (?:if exists )?([a-z0-9_]+)|\balter table ([a-z0-9_]+) rename to|\bdrop table (?:if exists )?([a-z0-9_]+)"
)
_PROTO = re.compile(
    r"^\s*(?:(?:message|enum|service|rpc|oneof)\s+(\w+)|(?:(?:optional|repeated)\s+)?[\w.]+(?:<[^>]*>)?\s+(\w+)\s*=\s*\d|([A-Z]\w*)\s*=\s*\d)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """One name, or one stretch of prose."""

    area: str
    path: str
    line: int
    text: str
    is_name: bool


def places(root: Path) -> Iterator[Place]:
    """Yield every name and every stretch of prose of the project at `root`, file by file."""
    removed: dict[str, Counter[str]] = {}
    for path in files(root):
        name = path.relative_to(root).as_posix()
        area = area_of(name)
        for line, text in _names(root, path, removed):
            yield Place(area, name, line, text, is_name=True)
        for line, text in _prose(name, path):
            yield Place(area, name, line, text, is_name=False)


def files(root: Path) -> list[Path]:
    """Return the checked files, in order of their names."""
    found = [root / "README.md"] if (root / "README.md").exists() else []
    for area in (*AREAS, *AREAS_OF_PARTS):
        found += [path for path in sorted((root / area).rglob("*")) if path.is_file() and not _is_hidden(path, root)]
    return found


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(root).parts)


def area_of(path: str) -> str:
    """Return the area of a file: a service, a lib, or a directory of the project; the README belongs to the docs."""
    parts = path.split("/")
    if len(parts) == 1:
        return "docs"
    return "/".join(parts[:2]) if parts[0] in AREAS_OF_PARTS and len(parts) > 2 else parts[0]


def _names(root: Path, path: Path, removed: dict[str, Counter[str]]) -> Iterator[tuple[int, str]]:
    yield 1, path.name.split(".")[0]
    first = next(each for each in sorted(path.parent.iterdir()) if each.is_file() and not each.name.startswith("."))
    if path == first and path.parent != root:
        yield 1, path.parent.name
    if path.suffix == ".proto":
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if match := _PROTO.match(line):
                yield number, next(filter(None, match.groups()))
    if path.suffix == ".py":
        tree = ast.parse(path.read_text("utf-8"))
        yield from _python_names(tree)
        if path.parent.name == "versions":
            service = area_of(path.relative_to(root).as_posix())
            if service not in removed:
                removed[service] = _removed(path.parent)
            yield from _columns(tree, removed[service])


def _python_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    yield from _assigned(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            listed = node.args
            extra = filter(None, (listed.vararg, listed.kwarg))
            for each in (*listed.posonlyargs, *listed.args, *listed.kwonlyargs, *extra):
                yield each.lineno, each.arg
        if isinstance(node, ast.ClassDef):
            yield from _assigned(node.body)
            yield from _attributes(node)


def _assigned(body: Iterable[ast.stmt]) -> Iterator[tuple[int, str]]:
    for node in body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        yield from ((each.lineno, each.id) for each in targets if isinstance(each, ast.Name))


def _attributes(class_: ast.ClassDef) -> Iterator[tuple[int, str]]:
    """Yield what methods assign to `self`, each name once."""
    known: set[str] = set()
    for node in ast.walk(class_):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
            and node.attr not in known
        ):
            known.add(node.attr)
            yield node.lineno, node.attr


def _columns(tree: ast.Module, removed: Counter[str]) -> Iterator[tuple[int, str]]:
    """Yield the tables and columns that a migration makes, without those that a migration removes or renames."""
    for line, text in _strings(tree):
        if _FUNCTION.search(text):
            continue
        for pattern in (_TABLE, _COLUMN):
            for match in pattern.finditer(text):
                name = match[1] or match[2]
                if removed[name]:
                    removed[name] -= 1
                else:
                    yield line + text.count("\n", 0, match.start()), name


def _removed(versions: Path) -> Counter[str]:
    """Count the names of columns and tables that the migrations of a service remove or rename."""
    found: Counter[str] = Counter()
    for path in versions.glob("*.py"):
        for _, text in _strings(ast.parse(path.read_text("utf-8"))):
            found.update(next(filter(None, match)) for match in _REMOVED.findall(text))
    return found


def _prose(name: str, path: Path) -> Iterator[tuple[int, str]]:
    if path.suffix == ".md":
        yield 1, markdown_prose(path.read_text("utf-8"), is_glossary=name == GLOSSARY)
    elif path.suffix == ".proto":
        yield 1, re.sub(r"^[^\n]*?(?://|$)", "", path.read_text("utf-8"), flags=re.MULTILINE)
    elif name == CATALOGUE:
        text = re.sub(r"^\s*#.*$|^\s*\w+:|\{\w+\}", "", path.read_text("utf-8"), flags=re.MULTILINE)
        yield 1, text
    elif path.suffix == ".py":
        tree = ast.parse(path.read_text("utf-8"))
        if "migrations" not in path.parts:
            yield from ((line, text) for line, text in _strings(tree) if is_prose(text))
        if name.startswith(COMMAND_LINE):
            yield from _help(tree)


def markdown_prose(text: str, *, is_glossary: bool = False) -> str:
    """Return a page without its code and the targets of its links, on the same lines; of the glossary also without first cells."""
    text = re.sub(r"^(```|~~~).*?^\1", lambda match: "\n" * match[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(?: {4}.*\n?)+", _blank_block, text, flags=re.MULTILINE)
    text = re.sub(r"`[^`\n]*`|\]\([^)\n]*\)", " ", text)
    return re.sub(r"^\|[^|]*\|", "", text, flags=re.MULTILINE) if is_glossary else text


def _blank_block(match: re.Match[str]) -> str:
    """Blank a block of code: what is indented behind an empty line; indented text of a list stays."""
    before = match.string[: match.start()].rstrip("\n").rpartition("\n")[2]
    is_list = re.match(r"\s*([-*]|\d+\.)\s|\s{2,}", before) is not None
    return match[0] if is_list or not match.string[: match.start()].endswith("\n\n") else "\n" * match[0].count("\n")


def is_prose(text: str) -> bool:
    """Return whether a string of Python is a text of words and not SQL."""
    return len(re.findall(r"[A-Za-z]{2,}", text)) > 1 and " " in text.strip() and not _SQL.search(text)


def _strings(tree: ast.Module) -> list[tuple[int, str]]:
    """Return the strings of a module with their lines, without docstrings; what an f-string inserts is a gap."""
    found: list[tuple[int, str]] = []

    class Strings(ast.NodeVisitor):
        def visit_Expr(self, node: ast.Expr) -> None:
            if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
                self.generic_visit(node)

        def visit_Constant(self, node: ast.Constant) -> None:
            if isinstance(node.value, str):
                found.append((node.lineno, node.value))

        def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
            parts = (str(each.value) if isinstance(each, ast.Constant) else " … " for each in node.values)
            found.append((node.lineno, "".join(parts)))
            for each in node.values:
                if isinstance(each, ast.FormattedValue):
                    self.visit(each.value)

    Strings().visit(tree)
    return found


def _help(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of commands: of functions with a decorator."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list:
            text = ast.get_docstring(node, clean=False)
            if text:
                yield node.body[0].lineno, text
