"""The process that the supervisor starts: it ends with the supervisor.

    python -m libs.cli.local.child <pid of the supervisor> service <name>
    python -m libs.cli.local.child <pid of the supervisor> postgres <data directory> <connections>

The kernel ends the process when the supervisor's thread that started it ends (PR_SET_PDEATHSIG). A service gets SIGKILL,
and must not depend on a gentle end. The process of PostgreSQL gets SIGTERM and stops its server.
"""

import ctypes
import gc
import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from typing import Final, NoReturn

PR_SET_PDEATHSIG: Final = 1
LOOK_SECONDS: Final = 0.2
"""Time between two checks that the server runs."""
DIED: Final = 70
"""Exit code if the server died: the supervisor then starts this process again."""


def die_with(parent: int, number: signal.Signals) -> None:
    """Make the kernel send the signal `number` when the parent ends; exit immediately if it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def run_service(name: str) -> NoReturn:
    """Run the service as `python -m services.<name>` does, and end the process with its exit code.

    The collector would look through all modules again and again while they are imported and the service is assembled; `launch`
    has it work afterwards. At the end `launch` has closed and written everything, so the modules are not taken apart.
    """
    sys.argv = [f"services.{name}"]
    gc.disable()
    try:
        runpy.run_module(f"services.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code)
    sys.exit(0)


def run_postgres(data_dir: Path, connections: str) -> int:
    """Start or adopt PostgreSQL, which accepts so many connections, and stop it at SIGTERM; return DIED if it dies first."""
    from libs.store.embedded.server import EmbeddedPostgres

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = EmbeddedPostgres(data_dir, settings={"max_connections": connections})
    try:
        server.start()
        while not stop.wait(LOOK_SECONDS):
            if not server.running:
                return DIED
    finally:
        server.stop()
    return 0


def main() -> int:
    """Read the arguments above."""
    parent, kind, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    if kind == "postgres":
        die_with(parent, signal.SIGTERM)
        return run_postgres(Path(what), sys.argv[4])
    die_with(parent, signal.SIGKILL)
    run_service(what)


if __name__ == "__main__":
    sys.exit(main())
