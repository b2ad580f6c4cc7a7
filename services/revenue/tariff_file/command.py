"""The import of a published tariff as a command: arguments, the file, law files and the report; the result is JSON.

Each coded line is imported exactly or reported with its line, code, value and reason; nothing is guessed. A file with an error changes nothing.
"""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.tariff_file.files import (
    LINES,
    PACKED,
    REPORT,
    Edition,
    packed,
    replace_files,
    report_text,
    written,
)
from services.revenue.tariff_file.imported import Imported, TariffFileError, check_plausible, without_repetitions
from services.revenue.tariff_file.plain import UKGT, Columns, read_plain
from services.revenue.tariff_file.section_301 import read_section_301

RATE_MAX_PERCENT: Final = 500
"""The largest percentage that is plausible if nothing else is specified; the highest of the files that were read is 350."""

Read = Callable[[str, bytes, argparse.Namespace], Imported]


def _section_301(file: str, data: bytes, options: argparse.Namespace) -> Imported:
    if options.schedule is None:
        raise TariffFileError(
            [
                f"{file}: names only the listed lines; give --schedule, a file with all lines of the Harmonized Tariff Schedule"
            ]
        )
    return read_section_301(file, data, options.schedule.name, options.schedule.read_bytes())


FORMATS: Final[dict[str, Read]] = {
    "csv": lambda file, data, options: read_plain(file, data, Columns(options.code_column, options.rate_column)),
    "section301": _section_301,
    "uk": lambda file, data, _: read_plain(file, data, UKGT),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the import; the exit code is 1 if nothing was written because of errors in the file, which are printed one on a line."""
    options = _parser().parse_args(arguments)
    try:
        print(json.dumps(import_tariff(options), ensure_ascii=False, default=str))
    except (TariffFileError, LawFileError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def import_tariff(options: argparse.Namespace) -> dict[str, Any]:
    """Import a file and return the summary.

    Raises TariffFileError for a file that is refused, LawFileError if its law cannot be applied, OSError.
    """
    name = options.file.name
    imported = FORMATS[options.format](name, options.file.read_bytes(), options)
    without_repetitions(imported)
    check_plausible(name, imported, options.rate_max)
    if not imported.lines:
        raise TariffFileError([f"{name}: has no line that can be imported; check --format and the columns"])
    edition = Edition(
        options.jurisdiction.lower(),
        options.name or options.jurisdiction,
        options.start,
        options.law,
        options.address,
        options.source or name,
        options.edition or options.start,
        options.licence,
        options.default,
    )
    files = written(imported, edition)
    lines = files.pop(LINES)
    replace_files(
        options.out,
        {PACKED: packed(lines), REPORT: report_text(imported).encode()}
        | {name: text.encode() for name, text in files.items()},
    )
    return {
        "coded": imported.coded,
        "imported": len(imported.ordinary),
        "inherited": imported.inherited,
        "reported": len(imported.refused),
        "compound": imported.compound,
        "preferential": len(imported.lines) - len(imported.ordinary),
        "preferential_reported": len(imported.refused_preferences),
        "reasons": imported.reasons,
        "files": [str(options.out / name) for name in ("tariff.yaml", PACKED, REPORT)],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.revenue.tariff_file",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="the published tariff; may be compressed by gzip")
    parser.add_argument("--format", required=True, choices=sorted(FORMATS))
    parser.add_argument("--jurisdiction", required=True, help="id of the tariff, as rulebooks name it")
    parser.add_argument("--out", required=True, type=Path, help="directory of the law files")
    parser.add_argument("--from", dest="start", required=True, type=_day, help="first day, such as 2026-01-01")
    parser.add_argument("--law", required=True, help="the law that the file shows")
    parser.add_argument("--address", required=True, help="where the file was published")
    parser.add_argument("--name", default="", help="name of the tariff for people")
    parser.add_argument("--source", default="", help="publisher and file")
    parser.add_argument("--edition", type=_day, help="day of the edition (default: --from)")
    parser.add_argument("--licence", default="not stated", help="licence of the source")
    parser.add_argument("--default", default="", help="rate of a code without a line")
    parser.add_argument("--rate-max", type=int, default=RATE_MAX_PERCENT, help="largest plausible percentage")
    parser.add_argument("--schedule", type=Path, help="section301: the Harmonized Tariff Schedule, which has all lines")
    parser.add_argument("--code-column", default="code", help="csv: column of the commodity codes")
    parser.add_argument("--rate-column", default="rate", help="csv: column of the rates")
    return parser


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date: write it as year-month-day, such as 2026-07-01"
        ) from None
