"""Checks all pages: links lead to files and headings, paths in code spans exist, docs/README.md leads to every page of the docs.

Usage: python -m tools.doc_links
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
START: Final = "docs/README.md"
PLACES: Final = ("README.md", "deploy", "docs", "services", "tests/revenue")
"""Where pages are."""
_PATH = re.compile(r"`((?:deploy|docs|libs|protos|services|tests|tools)/[\w./-]*\w\.\w+)`")
WRITTEN_BY_OPERATORS: Final = frozenset({"deploy/compose/.env"})
"""Paths that pages name and a checkout does not have."""


def pages(root: Path = ROOT) -> list[Path]:
    """Return all pages."""
    found = [root / place for place in PLACES if (root / place).is_file()]
    return found + [page for place in PLACES for page in sorted((root / place).rglob("*.md"))]


def prose(text: str) -> str:
    """Return a page without its fenced blocks, with the same numbers of lines."""
    inside = False
    lines = []
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        lines.append("" if inside or fence else line)
        inside ^= fence
    return "\n".join(lines)


def anchors(text: str) -> set[str]:
    """Return the anchors that a page's headings make, as the usual renderers do."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", prose(text), flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", lambda match: match[1] or "", heading).lower()
        made = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (chosen := made if not number else f"{made}-{number}") in found:
            number += 1
        found.add(chosen)
    return found


def links(page: Path) -> list[str]:
    """Return the relative links of a page, pictures among them, with their anchors."""
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page.read_text("utf-8")))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def broken_links(page: Path, name: str) -> list[str]:
    """Return the relative links of a page that lead to no file or to no heading, in sentences that name the page."""
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        leads_to = (page.parent / path).resolve() if path else page
        if not leads_to.exists():
            broken.append(f"{name}: {target} leads to no file")
        elif anchor and anchor not in anchors(leads_to.read_text("utf-8")):
            broken.append(f"{name}: {target} leads to no heading")
    return broken


def missing_paths(page: Path, name: str, root: Path = ROOT) -> list[str]:
    """Return the files of the project that a page names in code spans and that do not exist, in sentences that name the page."""
    paths = dict.fromkeys(_PATH.findall(prose(page.read_text("utf-8"))))
    return [
        f"{name}: there is no {path}"
        for path in paths
        if path not in WRITTEN_BY_OPERATORS and not (root / path).exists()
    ]


def unreachable(start: Path, required: Iterable[Path]) -> list[Path]:
    """Return the pages that the map does not lead to: it links each itself, or an overview (README.md) that it links does."""
    named = _linked(start)
    for page in sorted(named):
        if page.name == "README.md" and page.exists():
            named |= _linked(page)
    return sorted(page for page in required if page.resolve() not in named and page.resolve() != start.resolve())


def _linked(page: Path) -> set[Path]:
    return {(page.parent / target.partition("#")[0]).resolve() for target in links(page)}


def main(root: Path = ROOT) -> int:
    """Check all pages; return 1 if a link or a path leads nowhere or a page is unreachable."""
    found = pages(root)
    errors = []
    for page in found:
        name = page.relative_to(root).as_posix()
        errors += broken_links(page, name) + missing_paths(page, name, root)
    docs = [page for page in found if page.is_relative_to(root / "docs")]
    errors += [
        f"{START} does not lead to {page.relative_to(root).as_posix()}" for page in unreachable(root / START, docs)
    ]
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
