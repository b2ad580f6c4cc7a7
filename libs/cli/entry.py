"""What a container runs: a service by its name, or any command of `luxor`.

    python -m libs.cli.entry ingestion
    python -m libs.cli.entry migrate risk

A container's first process is not ended by a signal that it does not handle, so that a stop during the imports would
last until the kill. Hence the handler that comes first; a service puts its drain in its place.
"""

import signal
import sys
from typing import Final

SERVICES: Final = ("ingestion", "risk", "revenue", "clearance", "statistics")


def main() -> None:
    """Become the service, or run the command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if len(sys.argv) > 1 and sys.argv[1] in SERVICES:
        import runpy

        name = sys.argv[1]
        if len(sys.argv) > 2:
            print(f"luxor {name} takes no arguments; its settings are variables (LUXOR_…).", file=sys.stderr)
            sys.exit(2)
        sys.argv = [f"services.{name}"]
        runpy.run_module(f"services.{name}", run_name="__main__", alter_sys=True)
        return
    from libs.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
