"""Write the lines of the shipped tariffs from the published files, by the importers of `luxor revenue import tariff`.

    python -m tools.shipped_tariffs DIRECTORY [--check]

DIRECTORY has the published files by the names below. `--check` writes nothing and exits with 1 if a shipped file differs in its text; the
compressed bytes depend on the library that compresses. The heads of the tariffs (`tariff*.yaml`) are written by hand.
"""

import argparse
import gzip
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from services.revenue.config import RULEBOOKS
from services.revenue.tariff_file.command import FORMATS, RATE_MAX_PERCENT
from services.revenue.tariff_file.files import Edition, lines_text, packed
from services.revenue.tariff_file.imported import Imported, check_plausible, without_repetitions


@dataclass(frozen=True, slots=True)
class Shipped:
    """The lines of one tariff and where they come from."""

    lines: str
    """File below services/revenue/rulebooks."""
    source: str
    """Published file below the directory."""
    file_format: str
    edition: Edition
    schedule: str = ""


SHIPPED: Final = (
    Shipped(
        "us/tariff_section_301_lines.csv.gz",
        "law/us_hts/section301_china.csv.gz",
        "section301",
        Edition(
            "us_section_301",
            "United States, section 301",
            date(2018, 7, 6),
            "",
            "",
            "U.S. notes 20 and 31 to chapter 99 of the Harmonized Tariff Schedule, lists as the Budget Lab at Yale restates them",
            date(2025, 1, 1),
            "MIT License, Copyright (c) 2025-2026 The Budget Lab at Yale; the notes are in the public domain",
        ),
        schedule="law/us_hts/hts_2025_basic.csv.gz",
    ),
)


def text_of(shipped: Shipped, directory: Path) -> str:
    """Import a published file and return the lines as they are shipped. Raises OSError, TariffFileError."""
    imported = imported_of(shipped, directory)
    return lines_text(imported, shipped.edition)


def imported_of(shipped: Shipped, directory: Path) -> Imported:
    """Import a published file. Raises OSError, TariffFileError."""
    source = directory / shipped.source
    options = argparse.Namespace(schedule=directory / shipped.schedule)
    imported = FORMATS[shipped.file_format](source.name, source.read_bytes(), options)
    without_repetitions(imported)
    check_plausible(source.name, imported, RATE_MAX_PERCENT)
    return imported


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(prog="python -m tools.shipped_tariffs", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    differing = list[str]()
    for shipped in SHIPPED:
        text, path = text_of(shipped, options.directory), RULEBOOKS / shipped.lines
        if path.exists() and gzip.decompress(path.read_bytes()).decode("utf-8") == text:
            continue
        differing.append(shipped.lines)
        if not options.check:
            path.write_bytes(packed(text))
    verb = "differ" if options.check else "written"
    print(
        f"shipped tariffs: {len(SHIPPED)} files, {len(differing)} {verb}{': ' if differing else ''}{', '.join(differing)}"
    )
    return 1 if options.check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
