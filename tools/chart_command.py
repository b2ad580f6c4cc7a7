"""The Helm chart: `check` it as `make check` does, or `explain` what a values file would run.

    python -m tools.chart_command check
    python -m tools.chart_command explain country

`check` renders each shipped values file, as an install and as an upgrade, and validates every document.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.chart import CHART, SIZES, ChartError, lint, render, validate
from tools.chart_explain import explain
from tools.chart_rules import broken


def check(chart: Path = CHART, sizes: Sequence[str] = SIZES) -> list[str]:
    """Return all that is wrong with the chart, one line each; nothing where all is well."""
    wrong: list[str] = []
    for size in sizes:
        for upgrade in (False, True):
            title = f"values-{size}.yaml{' (upgrade)' if upgrade else ''}"
            try:
                if not upgrade:
                    lint(size, chart=chart)
                documents = render(size, chart=chart, upgrade=upgrade)
            except ChartError as error:
                wrong.append(f"{title}: {error}")
                continue
            if not documents:
                wrong.append(f"{title}: nothing was rendered")
            for document in documents:
                wrong.extend(f"{title}: {finding}" for finding in validate(document))
            wrong.extend(f"{title}: {finding}" for finding in broken(documents))
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="The Helm chart: check it, or explain what a values file would run.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="lint, render and validate each shipped values file")
    explain_parser = commands.add_parser("explain", help="print what a values file would run")
    explain_parser.add_argument("values", help=f"{', '.join(SIZES)}, or the path of a values file of your own")
    given = parser.parse_args(arguments)
    try:
        if given.command == "explain":
            explain(render(given.values), given.values)
            return 0
        wrong = check()
    except ChartError as error:
        print(error, file=sys.stderr)
        return 2
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
