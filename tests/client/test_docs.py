"""What the guides for filers say is what the software does."""

import re
from pathlib import Path

from libs.cli.main import COMMANDS
from libs.client.filing import files
from libs.client.filing.columns import columns
from libs.server import catalogue

ROOT = Path(__file__).resolve().parents[2]
FILING = (ROOT / "docs" / "filing.md").read_text(encoding="utf-8")


def _first_cells(text: str) -> str:
    return "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))


def test_the_guide_names_every_column_of_the_template_and_none_that_does_not_exist() -> None:
    template = FILING.partition("\n## CSV\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([a-z_]+)`", _first_cells(template))) == set(files.TEMPLATE)
    # Other tables have other columns, which exist too.
    assert set(re.findall(r"`([a-z_]+)`", _first_cells(FILING))) <= set(columns())


def test_the_guide_marks_what_is_required() -> None:
    assert set(re.findall(r"`([a-z_]+)` \*", _first_cells(FILING))) == set(files.REQUIRED)


def test_every_reason_of_the_guide_is_in_the_catalogue() -> None:
    told = set(re.findall(r"^\| `([A-Z_]+)`", FILING, flags=re.MULTILINE))
    assert told
    assert told <= set(catalogue.reasons())


def test_the_guides_name_only_commands_that_there_are_and_leave_none_out() -> None:
    guide = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = set(re.findall(r"(?:`|^    )luxor ([a-z][a-z-]+)", guide + readme + FILING, flags=re.MULTILINE))
    assert told == set(COMMANDS)


def test_links_of_the_guides_lead_to_files() -> None:
    for guide in (ROOT / "README.md", ROOT / "docs" / "filing.md", ROOT / "docs" / "command-line.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", guide.read_text(encoding="utf-8")):
            assert (guide.parent / target).exists(), (guide.name, target)
