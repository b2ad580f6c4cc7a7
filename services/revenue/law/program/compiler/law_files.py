"""Law files read together, by name: `<jurisdiction>/rulebook*.yaml`, `<jurisdiction>/tariff*.yaml` and `rates/*.yaml`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeRate, ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import ReadRulebook, read_rulebook
from services.revenue.law.source.tariff import Tariff, read_tariff
from services.revenue.law.source.yaml_source import LawFileError


@dataclass(slots=True)
class ReadLaw:
    """What the files hold, and what is wrong with those that hold no law."""

    books: dict[str, ReadRulebook] = field(default_factory=dict)
    """By the file's name."""
    tariffs: list[Tariff] = field(default_factory=list)
    rates: list[ExchangeRate] = field(default_factory=list)
    errors: list[LawFileError] = field(default_factory=list)
    """All errors of the files."""

    def compile(self) -> Program:
        """Compile the program. Raises ProgramError if files do not fit together."""
        return compile_program(list(self.books.values()), self.tariffs, ExchangeTables(self.rates))


def read_law(files: Mapping[str, str], written: Mapping[str, str] | None = None) -> ReadLaw:
    """Read and check each file; errors are in `errors` and not raised.

    Versions go by the texts as they were `written`, where `files` are not those (services.revenue.law.verification.reviews).
    """
    law = ReadLaw()
    for name, text in files.items():
        folder, _, file = name.partition("/")
        try:
            if folder == "rates":
                law.rates += read_exchange(name, text)
            elif file.startswith("rulebook"):
                law.books[name] = read_rulebook(name, text, partial(_csv_text, files, folder, "goods"))
            elif file.startswith(("tariff", "goods")) and file.endswith(".csv"):
                # Lines of a tariff and lists of goods, read with the file that names them.
                continue
            elif file.startswith("cases") and file.endswith(".yaml"):
                # Calculations by which the law is tested; they are no law.
                continue
            elif file.startswith("tariff"):
                law.tariffs.append(read_tariff(name, text, partial(_csv_text, files, folder, "tariff")))
            else:
                raise LawFileError(
                    name,
                    0,
                    "",
                    "is neither rulebook*.yaml nor tariff*.yaml nor tariff*.csv nor goods*.csv nor cases*.yaml; rename or remove it",
                )
        except LawFileError as error:
            law.errors += error.errors
    law.books = {name: _versioned(read, written or files) for name, read in law.books.items()}
    return law


def _versioned(read: ReadRulebook, written: Mapping[str, str]) -> ReadRulebook:
    """Return the rulebook with a version that stands for all files of its directory, not for its own text alone."""
    folder = read.file.partition("/")[0]
    texts = {name: text for name, text in written.items() if name.partition("/")[0] == folder}
    listing = (
        next(iter(texts.values()))
        if len(texts) == 1
        else "".join(f"{name} {hashlib.sha256(text.encode()).hexdigest()}\n" for name, text in sorted(texts.items()))
    )
    digest = hashlib.sha256(listing.encode()).hexdigest()[:8]
    return replace(read, version=f"{read.rulebook.jurisdiction}/{read.rulebook.version}/{digest}")


def _csv_text(files: Mapping[str, str], folder: str, kind: str, name: str) -> str | None:
    return files.get(f"{folder}/{name}") if name.startswith(kind) and name.endswith(".csv") else None
