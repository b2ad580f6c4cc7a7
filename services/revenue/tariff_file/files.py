"""An import written as law: `tariff.yaml`, its lines and the report, which replace earlier files or change nothing."""

import csv
import gzip
import io
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

from services.revenue.law.source.tariff import read_tariff
from services.revenue.tariff_file.imported import Imported, ImportedLine, Refusal

LINES = "tariff_lines.csv"
PACKED = f"{LINES}.gz"
REPORT = "tariff_report.csv"


@dataclass(frozen=True, slots=True)
class Edition:
    """The published tariff that a file shows."""

    tariff: str
    """Id, as rulebooks name it: the jurisdiction in small letters."""
    name: str
    start: date
    """First day on which its rates apply."""
    law: str
    address: str
    source: str
    """Publisher and file."""
    day: date
    """Day of the edition."""
    licence: str
    default: str = ""
    """Rate of a code without a line; none = such goods cannot be assessed."""


def written(imported: Imported, edition: Edition) -> dict[str, str]:
    """Return an import as law files: text by name. Nothing of it is verified, because an import compares nothing with the law.

    Raises LawFileError for what cannot be applied.
    """
    version: dict[str, object] = {
        "from": edition.start,
        "reference": "published",
        "verified": False,
        "source": edition.source,
        "edition": edition.day,
        "licence": edition.licence,
        "lines": LINES,
    }
    if edition.default:
        version["default"] = edition.default
    head = {
        "format": 1,
        "tariff": edition.tariff,
        "name": edition.name,
        "references": {"published": {"law": edition.law, "address": edition.address, "verified": False}},
        "versions": [version],
    }
    files = {
        "tariff.yaml": yaml.safe_dump(head, sort_keys=False, allow_unicode=True),
        LINES: lines_text(imported, edition),
    }
    read_tariff("tariff.yaml", files["tariff.yaml"], files.get)
    return files


def lines_text(imported: Imported, edition: Edition) -> str:
    """Return the lines as CSV, by code, below the source, its date and its licence; columns without any value are left out.

    A code without an imported rate has an empty one.
    """
    unknown = (ImportedLine(0, code, "") for code in imported.without_rate)
    lines = sorted([*imported.lines, *unknown], key=lambda line: (line.code, line.preferences, line.start or date.min))
    columns = {
        "code": [line.code for line in lines],
        "rate": [line.rate for line in lines],
        "from": [line.start.isoformat() if line.start else "" for line in lines],
        "to": [line.to.isoformat() if line.to else "" for line in lines],
        "preferences": [" ".join(line.preferences) for line in lines],
    }
    kept = {name: values for name, values in columns.items() if name in ("code", "rate") or any(values)}
    head = f"# {edition.source}, edition of {edition.day}; {edition.licence}\n"
    return head + _csv(list(kept), zip(*kept.values(), strict=True))


def report_text(imported: Imported) -> str:
    """Return the report as CSV: every line and preferential rate that is not imported, with code, value and reason."""
    refused: list[Refusal] = sorted([*imported.refused, *imported.refused_preferences], key=lambda each: each.line)
    rows = ((each.line, each.code, each.text, each.reason, each.detail) for each in refused)
    return _csv(("line", "code", "value", "reason", "detail"), rows)


def packed(text: str) -> bytes:
    """Compress a text; the same text gives the same bytes."""
    return gzip.compress(text.encode("utf-8"), mtime=0)


def replace_files(directory: Path, files: dict[str, bytes]) -> None:
    """Write all files beside the directory's, then replace those of the same names; what fails before changes none of them.

    `tariff.yaml` is last, so that a reader finds the lines that it names.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=directory) as temporary:
        for name, data in files.items():
            (Path(temporary) / name).write_bytes(data)
        for name in sorted(files, key="tariff.yaml".__eq__):
            os.replace(Path(temporary) / name, directory / name)


def _csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
