"""What the operator's pages say: their commands with what should be seen, their queries, their links and headings.

A block fenced as `console` has commands on lines that begin with `$ ` and, below each, some of what it prints. A block fenced as `sh`
has commands alone. A line that ends with a backslash goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import doc_links
from tools.doc_links import prose

ROOT = Path(__file__).resolve().parents[2]
OPERATING = ROOT / "docs" / "operating"
TRACING = ROOT / "docs" / "tracing.md"
PROGRAMS = ("luxor", "make", "docker", "kubectl", "helm", "curl", "jq", "openssl", "promtool", "psql", "python")
"""A span of code in running text that begins with one of these names a command."""


@dataclass(frozen=True)
class Command:
    """One command of a page, as it is written there, with the lines that are shown below it."""

    page: str
    line: int
    text: str
    shown: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return where it stands and what it is."""
        return f"{self.page}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Block:
    """A fenced block: the word behind the fence, the number of its first line, its lines."""

    kind: str
    line: int
    lines: tuple[str, ...]


def pages() -> list[Path]:
    """Return the operator's pages."""
    return [*sorted(OPERATING.rglob("*.md")), TRACING]


def name(page: Path) -> str:
    """Return how a page is called in messages."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks; raise ValueError for one that does not end."""
    opened: tuple[str, int, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"^( *)```(\w*)\s*$", line)
        if found and opened is None:
            opened, lines = (found[2], number + 1, len(found[1])), []
        elif found and opened is not None:
            yield Block(opened[0], opened[1], tuple(lines))
            opened = None
        elif opened is not None:
            lines.append(line[opened[2] :] if not line[: opened[2]].strip() else line)
    if opened is not None:
        raise ValueError(f"the block that begins in line {opened[1]} does not end")


def commands(page: Path) -> list[Command]:
    """Return the commands of a page in their order."""
    found: list[Command] = []
    for block in blocks(page.read_text("utf-8")):
        if block.kind in ("console", "sh"):
            found.extend(_commands(name(page), block))
    return found


def _commands(page: str, block: Block) -> Iterator[Command]:
    lines = list(enumerate(block.lines, block.line))
    at = 0
    while at < len(lines):
        number, line = lines[at]
        at += 1
        if block.kind == "console" and not line.startswith("$ "):
            raise ValueError(f"{page}:{number}: a console block begins with a line `$ command`, not with: {line}")
        if not line.strip() or (block.kind == "sh" and line.lstrip().startswith("#")):
            continue
        text = line.removeprefix("$ ") if block.kind == "console" else line
        # A quotation, a loop or a function goes on until it is closed; a backslash joins lines.
        while at < len(lines) and (text.endswith("\\") or _is_open(text)):
            text += "\n" + lines[at][1]
            at += 1
        shown = []
        while block.kind == "console" and at < len(lines) and not lines[at][1].startswith("$ "):
            shown.append(lines[at][1])
            at += 1
        yield Command(page, number, text, tuple(each for each in shown if each.strip()))


def _is_open(text: str) -> bool:
    words = re.findall(r"(?<![\w-])(for|while|do|done|if|fi)(?![\w-])", re.sub(r"'[^']*'|\"[^\"]*\"", "", text))
    loops = words.count("do") > words.count("done") or words.count("if") > words.count("fi")
    return text.count("'") % 2 == 1 or loops


def spans(page: Path) -> list[Command]:
    """Return the commands that running text names in spans of code."""
    found = []
    for number, line in enumerate(prose(page.read_text("utf-8")).splitlines(), 1):
        for text in re.findall(r"`([^`]+)`", line):
            if text.split()[0] in PROGRAMS and " " in text:
                found += [Command(name(page), number, text)]
    return found


def queries(page: Path) -> list[Command]:
    """Return the blocks of PromQL."""
    text = page.read_text("utf-8")
    return [Command(name(page), each.line, "\n".join(each.lines)) for each in blocks(text) if each.kind == "promql"]


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead to no file or to no heading."""
    return doc_links.broken_links(page, name(page))


def not_shown(shown: tuple[str, ...], printed: str) -> list[str]:
    """Return the lines below a command that do not fit what it printed.

    Numbers, dates and what stands for something left out (`…`) may differ: what counts are the words of a line, in any
    one line that was printed or, where lines were wrapped, in the whole.
    """
    words_printed = set(_words(printed))
    return [line for line in shown if line.strip() != "…" and not set(_words(line)) <= words_printed]


def _words(text: str) -> list[str]:
    """Return the words of letters alone; what stands beside a digit is part of a number, an id or a version."""
    found = re.findall(r"(?<!\d)[A-Za-z][A-Za-z_]+(?!\d)", " ".join(each for each in text.split() if "…" not in each))
    return [word for word in found if word]
