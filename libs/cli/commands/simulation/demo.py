"""`luxor demo`: starts the whole system, shows it with simulated traffic, and stops it."""

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import command, console, run

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from libs.cli.common import Context
    from libs.cli.local.supervisor import LocalSystem


@click.option("--count", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True, help="Consignments.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same traffic."
)
@click.option("--scenario", default="everyday", show_default=True, help="A scenario's name, or a YAML file.")
@click.option("--keep", "retain", is_flag=True, help="Do not delete the data; continue with `luxor up --data-dir`.")
def _demo(context: "Context", count: int, seed: int, scenario: str, retain: bool) -> None:
    """Start everything in a temporary directory, file simulated traffic, and show the results.

    All processes are stopped at the end, also after an error, and nothing else on this machine is changed.
    """
    from libs.cli.demo import demonstration
    from libs.cli.local.supervisor import LocalSystem
    from libs.simulator import ScenarioError

    terminal, progress_terminal = console(), console(errors=True)
    signal.signal(signal.SIGTERM, _interrupt)
    directory = _directory()
    try:
        with _started(LocalSystem(directory), progress_terminal) as system, _bars() as (bars, progress):
            try:
                outcome = run(demonstration.run(system, count=count, seed=seed, scenario=scenario, progress=progress))
            except ScenarioError as error:
                raise click.BadParameter(str(error), param_hint="--scenario") from None
            bars.stop()
            if not context.as_json:
                from libs.cli.demo.report import show

                show(terminal, outcome)
    finally:
        if not retain:
            shutil.rmtree(directory, ignore_errors=True)
    result = demonstration.as_plain(outcome, count=count, seed=seed, scenario=scenario)
    if retain:
        result["data_dir"] = str(directory)

    def end(terminal_at_end: Any) -> None:
        from libs.cli.demo.report import go_on

        go_on(terminal_at_end, directory if retain else None)

    context.emit(result, end)


demo = command("demo", short_help="Show the whole system with simulated traffic, then stop it.")(_demo)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _directory() -> Path:
    """Create a temporary directory that another account may enter: as root, PostgreSQL runs under another account."""
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    place = next((each for each in places if os.geteuid() or _is_open(each)), places[0])
    directory = Path(tempfile.mkdtemp(prefix="luxor-demo-", dir=place))
    directory.chmod(0o711)
    return directory


def _is_open(place: Path) -> bool:
    try:
        resolved = place.resolve()
        return all(each.stat().st_mode & stat.S_IXOTH for each in (resolved, *resolved.parents))
    except OSError:
        return False


@contextmanager
def _started(system: "LocalSystem", terminal: Any) -> "Iterator[LocalSystem]":
    """Start the system with a message, and stop it in any case; a second ^C does not interrupt the stop."""
    from libs.cli.local.readiness import Unready
    from libs.client.errors import LuxorError

    try:
        with terminal.status("Starting PostgreSQL and the five services …") as shown:

            def progress(ready: dict[str, bool]) -> None:
                marks = "  ".join(f"{'[green]✓' if each else '[dim]…'} {name}[/]" for name, each in ready.items())
                shown.update(f"Starting PostgreSQL and the five services  {marks}")

            try:
                system.start(wait=False)
                system.wait_ready(progress=progress)
            except Unready as error:
                tails = "\n".join(f"{name}: {tail[-600:]}" for name, tail in error.tails.items())
                missing = ", ".join(error.missing)
                raise LuxorError.from_reason(
                    "NOT_STARTED", missing=f"{missing}\n{tails}", logs="the text above"
                ) from None
        yield system
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        with terminal.status("Stopping …"):
            system.stop()
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bars() -> "Iterator[tuple[Progress, Bars]]":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<17}"), BarColumn(bar_width=40), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("[dim]{task.fields[note]}[/]"),
    )  # fmt: skip
    with Progress(*columns, console=console(errors=True)) as bars:
        yield bars, Bars(bars)


class Bars:
    """Progress bars of the stages of the demo."""

    def __init__(self, bars: "Progress") -> None:
        """Draw in a progress display."""
        self._bars = bars
        self._task: TaskID | None = None

    def stage(self, name: str, total: int) -> None:
        """Begin the bar of a stage; the previous one is complete."""
        if self._task is not None:
            self._bars.stop_task(self._task)
        self._task = self._bars.add_task(name, total=max(1, total), note="")

    def step(self, done: int, note: str = "") -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.update(self._task, completed=done, note=note)
