"""docs/README.md leads to every page, and every page's links lead to files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
START = DOCS / "README.md"


def linked(page: Path) -> set[Path]:
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    return {(page.parent / target).resolve() for target in targets}


def unreachable(start: Path, pages: set[Path]) -> set[Path]:
    """Return the pages that no chain of links leads to: the map names each itself, or an overview of its directory does."""
    named = linked(start)
    for page in sorted(named):
        if page.name == "README.md":
            named |= linked(page)
    return pages - named - {start}


def test_the_map_leads_to_every_page() -> None:
    assert unreachable(START, {page.resolve() for page in DOCS.rglob("*.md")}) == set()


def test_a_page_that_the_map_does_not_have_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    for name, text in {
        "README.md": "[a](a.md) [b](part/README.md)",
        "a.md": "[d](d.md)",
        "d.md": "",
        "part/README.md": "[c](c.md)",
        "part/c.md": "",
    }.items():
        (tmp_path / name).write_text(text)
    pages = set(tmp_path.rglob("*.md"))
    assert unreachable(tmp_path / "README.md", pages) == {tmp_path / "d.md"}


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(page.relative_to(ROOT).as_posix() for page in DOCS.rglob("*.md"))]
)
def test_links_of_pages_lead_to_files(page: str) -> None:
    assert [str(target) for target in linked(ROOT / page) if not target.exists()] == []
