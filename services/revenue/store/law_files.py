"""The law as it is stored: files of rulebooks, tariffs and exchange rates, read at start and compiled to one program."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

from services.revenue.config import RATES, RULEBOOKS
from services.revenue.law.program.compiler.law_files import read_law
from services.revenue.law.program.program import Program
from services.revenue.law.source.yaml_source import LawFileError, LawFileErrors


def law_files(rulebooks: Path = RULEBOOKS, rates: Path = RATES) -> dict[str, str]:
    """Return the text of all law files: `<jurisdiction>/{rulebook,tariff}*.yaml` and lines of tariffs beside them, then
    `rates/*.yaml`, by that name; files of lines may be compressed (`.csv.gz`) and have the name without `.gz`.

    Raises LawFileError for a file that is there twice, or cannot be read.
    """
    found = dict[str, str]()
    for file in sorted([*rulebooks.glob("*/*.yaml"), *rulebooks.glob("*/*.csv"), *rulebooks.glob("*/*.csv.gz")]):
        name = f"{file.parent.name}/{file.name.removesuffix('.gz')}"
        if name in found:
            raise LawFileError(name, 0, "", "is there as it is and compressed; remove one")
        found[name] = _text(file, name)
    exchange = {f"rates/{file.name}": file.read_text(encoding="utf-8") for file in sorted(rates.glob("*.yaml"))}
    for place, files in ((rulebooks, found), (rates, exchange)):
        if not files:
            raise LawFileError(str(place), 0, "", "holds no file to apply; check the directory")
    return found | exchange


def _text(file: Path, name: str) -> str:
    data = file.read_bytes()
    try:
        return (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise LawFileError(name, 0, "", f"cannot be read: {error}; replace the file") from None


def program_of(files: Mapping[str, str], written: Mapping[str, str] | None = None) -> Program:
    """Compile the program of law files as `law_files` gives them; versions go by the texts as they were `written`.

    Raises LawFileError with file, line and rule where a file cannot be applied, ProgramError where files do not fit.
    """
    law = read_law(files, written)
    if law.errors:
        raise LawFileErrors(law.errors)
    return law.compile()


def load_program(rulebooks: Path = RULEBOOKS, rates: Path = RATES) -> Program:
    """Read `rulebooks/<jurisdiction>/{rulebook,tariff}*.yaml` and `rates/*.yaml` and compile them.

    Raises LawFileError with file, line and rule where a file cannot be applied, ProgramError where files do not fit.
    """
    return program_of(law_files(rulebooks, rates))
