"""Links of pages lead to files and headings, and docs/README.md leads to every page."""

from pathlib import Path

import pytest

from tools import doc_links


def write(root: Path, pages: dict[str, str]) -> Path:
    for name, text in pages.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


def test_all_links_of_the_project_lead_somewhere_and_the_map_leads_to_every_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert doc_links.main() == 0, capsys.readouterr().err
    found = {page.relative_to(doc_links.ROOT).as_posix() for page in doc_links.pages()}
    assert {"README.md", "docs/README.md", "docs/operating/runbooks/README.md", "deploy/chart/README.md"} <= found


def test_links_to_no_file_and_to_no_heading_are_found(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "docs/README.md": "# Map\n\n[a](a.md#first-one) [b](a.md#second) ![p](p.svg) [x](https://x.example)\n\n```\n[c](c.md)\n```\n",
            "docs/a.md": "# First `one`\n\n[map](README.md) [down](#first-one)\n",
        },
    )
    page = root / "docs/README.md"
    assert doc_links.broken_links(page, "map") == [
        "map: a.md#second leads to no heading",
        "map: p.svg leads to no file",
    ]
    assert doc_links.broken_links(root / "docs/a.md", "a") == []


def test_paths_to_no_file_are_found(tmp_path: Path) -> None:
    text = "`tools/there.py` `tools/gone.py` `tools/` `deploy/compose/.env` `there.py`\n\n```\n`tools/fenced.py`\n```\n"
    root = write(tmp_path, {"README.md": text, "tools/there.py": ""})
    assert doc_links.missing_paths(root / "README.md", "README.md", root) == ["README.md: there is no tools/gone.py"]


def test_a_page_that_the_map_does_not_lead_to_is_found(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "docs/README.md": "[a](a.md) [b](part/README.md)",
            "docs/a.md": "[d](d.md)",
            "docs/d.md": "",
            "docs/part/README.md": "[c](c.md)",
            "docs/part/c.md": "",
        },
    )
    docs = sorted((root / "docs").rglob("*.md"))
    assert doc_links.unreachable(root / doc_links.START, docs) == [root / "docs/d.md"], "only overviews lead further"


def test_the_check_names_each_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path, {"README.md": "[gone](docs/gone.md)\n", "docs/README.md": "", "docs/alone.md": ""})
    assert doc_links.main(root) == 1
    assert capsys.readouterr().err.splitlines() == [
        "README.md: docs/gone.md leads to no file",
        "docs/README.md does not lead to docs/alone.md",
    ]
    write(tmp_path, {"README.md": "", "docs/README.md": "[alone](alone.md)"})
    assert doc_links.main(root) == 0


def test_headings_with_the_same_words_have_anchors_of_their_own() -> None:
    assert doc_links.anchors("# One `two`, three\n\n## [A](b.md)\n## A\n\n```\n# no\n```\n") == {
        "one-two-three",
        "a",
        "a-1",
    }
