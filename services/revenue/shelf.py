"""The shelf: reads all rulebooks, tariffs and exchange tables of a directory at start and makes the program of them."""

from pathlib import Path

from services.revenue.law.compiler import compile_program
from services.revenue.law.exchange import Exchange, ExchangeRate, read_exchange
from services.revenue.law.program import Program
from services.revenue.law.reader import read_rulebook
from services.revenue.law.tariff import read_tariff
from services.revenue.law.yaml_source import LawFileError

RULEBOOKS = Path(__file__).parent / "rulebooks"
RATES = Path(__file__).parent / "rates"


def load_program(rulebooks: Path = RULEBOOKS, rates: Path = RATES) -> Program:
    """Read `rulebooks/<jurisdiction>/{rulebook,tariff}*.yaml` and `rates/*.yaml` and compile them.

    Raises LawFileError with file, line and rule where a file cannot be applied, ProgramError where files do not fit.
    """
    books, tariffs = [], []
    found: list[ExchangeRate] = []
    for file in sorted(rulebooks.glob("*/*.yaml")):
        name, text = f"{file.parent.name}/{file.name}", file.read_text(encoding="utf-8")
        if file.name.startswith("rulebook"):
            books.append(read_rulebook(name, text))
        elif file.name.startswith("tariff"):
            tariffs.append(read_tariff(name, text))
        else:
            raise LawFileError(name, 0, "", "is neither rulebook*.yaml nor tariff*.yaml; rename or remove it")
    for file in sorted(rates.glob("*.yaml")):
        found += read_exchange(f"{rates.name}/{file.name}", file.read_text(encoding="utf-8"))
    if not books or not found:
        raise LawFileError(str(rulebooks if not books else rates), 0, "", "holds no file to apply; check the directory")
    return compile_program(books, tariffs, Exchange(found))
