"""Write docs/operating/configuration.md from the code: every variable with type, unit, default, bounds and meaning."""

import importlib
import sys
from pathlib import Path

from libs.server.config.server_config import PORTS
from libs.server.config.variables import Variable, variables

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operating" / "configuration.md"

HEAD = """\
# Configuration

Services and the command `luxor` read their settings from environment variables, once, at their start. This page is made from the code
(`python -m tools.configuration --write`); a test fails when it is not current.

- `<SERVICE>` stands for INGESTION, RISK, REVENUE, CLEARANCE or STATISTICS. If a row has two names, the first is for one service and
  overrides the second, which is for all services.
- An invalid or missing value stops the service at its start, with exit code 2 and one line in its log: the name, the reason, and an example.
- A service warns of unknown variables that begin with LUXOR_ (`VARIABLE_UNKNOWN`) and suggests the most similar name. It ignores
  variables of other services, unless the name is similar to one that it reads itself.
- At its start a service logs all its settings (`STARTED`). Passwords are masked there and appear in no other line.
- True is written true, yes, on or 1; false is false, no, off or 0. Lists are separated by commas.

"""

COLUMNS = ("variable", "service", "type", "unit", "default", "bounds", "example", "meaning")


def load() -> None:
    """Import everything that declares variables."""
    importlib.import_module("libs.telemetry.setup")
    for service in PORTS:
        importlib.import_module(f"services.{service}.__main__")


def rows() -> list[Variable]:
    """Return the variables: those of every service first, then each service's own."""
    load()
    order = ("every", *PORTS)
    return sorted(variables(), key=lambda row: order.index(row.service))


def page() -> str:
    """Return the whole page."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| " + " | ".join("---" for _ in COLUMNS) + " |"]
    for row in rows():
        names = " or ".join(f"`{name}`" for name in row.names)
        cells = [names, row.service, _type(row.type), row.unit, _code(row.default), row.bounds, _code(row.example)]
        lines.append(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in [*cells, row.meaning.replace("\n", " ")]) + " |"
        )
    return HEAD + "\n".join(lines) + "\n"


def _type(name: str) -> str:
    known = {
        "str": "text",
        "bool": "true or false",
        "int": "whole number",
        "float": "number",
        "tuple[str, ...]": "list",
    }
    return known.get(name, name.lower())


def _code(text: str) -> str:
    text = text.replace(f"{ROOT}/", "")
    return f"`{text}`" if text and " " not in text else text


def main() -> int:
    """Write the page with --write, otherwise report whether it is current."""
    if "--write" in sys.argv[1:]:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    print(f"{PAGE.relative_to(ROOT)} is not current: python -m tools.configuration --write", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
