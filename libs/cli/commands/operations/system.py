"""`luxor up`, `down`, `status`: start, stop and check the local system."""

import contextlib
import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from libs.cli.common import UNREACHABLE, Context, command, console
from libs.cli.local.state import (
    CONNECTIONS_A_REPLICA,
    REPLICAS_MAX,
    SERVICES,
    Ports,
    State,
    free_ports,
    is_locked,
    process_names,
    read_state,
    running_state,
    service_of,
    taken,
)

if TYPE_CHECKING:
    from rich.console import Console

STOP_SECONDS: Final = 120.0
START_SECONDS: Final = 120.0
PORTS_BETWEEN_REPLICAS: Final = 10
"""Difference between the ports of a replica and of the next one of its service."""
INVALID_SETTING: Final = 2
"""Exit code of a service with an invalid setting."""
_PORT_MAX: Final = 65_535
_DIGITS_MAX: Final = 9
_METRICS_SECONDS: Final = 2.0
_LOG_BYTES: Final = 64 * 1024
_WARNINGS: Final = {
    "luxor_risk_sample_list": "Risk screens parties against a sample list of INVENTED names: no party that is really listed is stopped. Name "
    "your own lists in LUXOR_RISK_LISTS and withdraw the sample (docs/operating/install.md).",
}
"""Warnings by the metric that is 1 while their cause lasts."""


def _ports(choice: str, replicas: Mapping[str, int]) -> dict[str, Ports]:
    """Return the ports of each process: free ones, or those of its service, for each further replica 10 more."""
    from libs.client.errors import LuxorError
    from libs.server.config.server_config import PORTS

    names = process_names(replicas)
    if choice == "free":
        return free_ports(names)
    chosen = {}
    for name in names:
        service, _, number = name.partition("-")
        first = _first_ports(service, PORTS[service])
        step = PORTS_BETWEEN_REPLICAS * (int(number or 1) - 1)
        chosen[name] = Ports(first.main + step, first.health + step, first.metrics + step)
    numbers = Counter(sorted(number for each in chosen.values() for number in (each.main, each.health, each.metrics)))
    if outside := [number for number in numbers if not 1 <= number <= _PORT_MAX]:
        _refuse_ports(outside, f"A port is a number from 1 to {_PORT_MAX}.")
    if repeated := [number for number, times in numbers.items() if times > 1]:
        _refuse_ports(repeated, "Two processes, or two ports of one, would have the same number.")
    if busy := taken(numbers):
        raise LuxorError.from_reason("PORTS_TAKEN", ports=", ".join(map(str, busy)))
    return chosen


def _first_ports(service: str, default: int) -> Ports:
    """Return the ports of the first replica of a service: from its variables, otherwise the defaults."""
    own = {}
    for kind in ("PORT", "HEALTH_PORT", "METRICS_PORT"):
        variable = f"LUXOR_{service.upper()}_{kind}"
        text = os.environ.get(variable, "")
        if text and not re.fullmatch("[0-9]{1,9}", text):
            _refuse_ports([text], f"{variable} must be a whole number.")
        own[kind] = int(text or 0)
    main = own["PORT"] or default
    return Ports(main, own["HEALTH_PORT"] or main + 100, own["METRICS_PORT"] or main + 200)


def _refuse_ports(ports: Iterable[int | str], cause: str) -> NoReturn:
    from libs.client.errors import LuxorError

    raise LuxorError.from_reason("PORTS_UNUSABLE", ports=", ".join(map(str, ports)), cause=cause)


def replicas_of(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> dict[str, int]:
    """Return the number of replicas by service, from texts like clearance=2. Raises BadParameter."""
    found: dict[str, int] = {}
    for value in values:
        service, _, text = value.partition("=")
        if service not in SERVICES:
            raise click.BadParameter(
                f"{value}: there is no service {service!r}. Write SERVICE=NUMBER, such as clearance=2; "
                f"the services are {', '.join(SERVICES)}."
            )
        if service in found:
            raise click.BadParameter(f"{value}: {service} is named twice. Name each service once.")
        if not re.fullmatch("-?[0-9]+", text):
            raise click.BadParameter(f"{value}: {text!r} is not a whole number. Give 1 to {REPLICAS_MAX} replicas.")
        if text.startswith("-") or not text.strip("0"):
            raise click.BadParameter(f"{value}: a service has at least one process. Give 1 to {REPLICAS_MAX} replicas.")
        if len(text) > _DIGITS_MAX or int(text) > REPLICAS_MAX:
            raise click.BadParameter(
                f"{value}: one machine runs at most {REPLICAS_MAX} replicas of a service, because each replica holds up to "
                f"{CONNECTIONS_A_REPLICA} connections to the database. Give 1 to {REPLICAS_MAX}."
            )
        found[service] = int(text)
    return found


@command("up", short_help="Start the whole system and leave it running.")
@click.option("--foreground", is_flag=True, help="Do not return; stop everything at ^C.")
@click.option(
    "--ports",
    type=click.Choice(["default", "free"]),
    default="default",
    help="7401 to 7405 with their health and metrics ports, or free ones.",
)
@click.option(
    "--replicas",
    multiple=True,
    metavar="SERVICE=NUMBER",
    callback=replicas_of,
    help=f"Processes of a service that share its work, such as clearance=2: 1 to {REPLICAS_MAX}, by default 1. Repeat it for each service.",
)
@click.option("--wait", "seconds", type=float, default=START_SECONDS, help="Seconds within which all must be ready.")
def up(context: Context, foreground: bool, ports: str, replicas: dict[str, int], seconds: float) -> None:
    """Start PostgreSQL and the five services, wait until all are ready, and leave them running.

    A process that dies is started again, after a growing pause. A second `up` starts nothing.
    """
    running = running_state(context.data_dir)
    if running is not None:
        _refuse_other_replicas(running, replicas)
        context.emit(
            _plain(running) | {"already_running": True}, lambda terminal: _show_running(terminal, running, already=True)
        )
        return
    chosen = _ports(ports, replicas)
    context.data_dir.mkdir(parents=True, exist_ok=True)
    logs = context.data_dir / "logs"
    logs.mkdir(exist_ok=True)
    process = _spawn(context.data_dir, chosen, logs / "supervisor.log", detached=not foreground)
    try:
        _await_ready(context, chosen, process, seconds)
    except BaseException:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        raise
    state = running_state(context.data_dir)
    assert state is not None, "its processes were ready a moment ago"
    system = _plain(state) | {"warnings": warnings_of(state)}

    def show(terminal: "Console") -> None:
        _show_running(terminal, state, already=False)
        _show_warnings(terminal, system["warnings"])

    context.emit(system, show)
    if foreground:
        _stay(process)


def _refuse_other_replicas(running: State, replicas: Mapping[str, int]) -> None:
    """Raise LuxorError if a running system has other numbers of replicas than are asked for."""
    from libs.client.errors import LuxorError

    counts = Counter(service_of(name) for name in running.ports)
    if any(counts[service] != count for service, count in replicas.items()):
        shown = ", ".join(f"{service}={count}" for service, count in counts.items())
        raise LuxorError.from_reason("REPLICAS_DIFFERENT", running=shown)


def _spawn(data_dir: Path, ports: dict[str, Ports], log: Path, *, detached: bool) -> "subprocess.Popen[bytes]":
    from libs.cli.local.processes import ROOT

    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environ = os.environ | {"LUXOR_DATA_DIR": str(data_dir), "PYTHONPATH": path}
    shown = json.dumps({name: asdict(each) for name, each in ports.items()})
    with log.open("ab") as terminal:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "libs.cli.local.supervisor", shown],
            stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env=environ, start_new_session=True,
            cwd="/" if detached else None,
        )  # fmt: skip


def _await_ready(context: Context, ports: dict[str, Ports], process: "subprocess.Popen[bytes]", seconds: float) -> None:
    from libs.cli.local.readiness import Unready, wait_ready
    from libs.client.errors import LuxorError

    health = {name: f"127.0.0.1:{each.health}" for name, each in ports.items()}
    since = dt.datetime.now(dt.UTC).isoformat()
    with console(errors=True).status("Starting PostgreSQL and the services …") as shown:

        def progress(ready: dict[str, bool]) -> None:
            marks = "  ".join(f"{'[green]✓' if each else '[dim]…'} {name}[/]" for name, each in ready.items())
            shown.update(f"Starting …  {marks}")

        def alive() -> bool:
            return process.poll() is None and not refuses_settings(context.data_dir)

        try:
            wait_ready(health, seconds, progress=progress, alive=alive)
        except Unready as error:
            errors = [
                text
                for name in error.missing
                if (text := start_error(context.data_dir / "logs" / f"{name}.log", since))
            ]
            missing = "; ".join([", ".join(error.missing), *errors])
            raise LuxorError.from_reason("NOT_STARTED", missing=missing, logs=context.data_dir / "logs") from None


def refuses_settings(data_dir: Path) -> bool:
    """Return whether a service ended twice with the exit code of an invalid setting, so that restarting it is useless."""
    state = running_state(data_dir)
    return state is not None and any(
        each.get("last_exit") == INVALID_SETTING and each.get("restarts", 0) + (each.get("pid") is None) >= 2
        for name, each in state.processes.items()
        if service_of(name) in SERVICES
    )


def start_error(log: Path, since: str) -> str:
    """Return the reason of the last failed start in a service's log, not before `since`; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        with contextlib.suppress(ValueError, AttributeError):
            event = json.loads(line)
            if event.get("reason") == "NOT_STARTED" and event.get("time", "") >= since[:19]:
                return str(event.get("why", ""))
    return ""


def _stay(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the supervisor; ^C and SIGTERM stop it."""
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    console(errors=True).print("[dim]Serving until ^C.[/]")
    try:
        process.wait()
    except KeyboardInterrupt:
        process.terminate()
        with console(errors=True).status("Stopping …"):
            process.wait()


@command("down", short_help="Stop what `up` started.")
def down(context: Context) -> None:
    """Stop the services and PostgreSQL in order; no error if nothing runs."""
    state = read_state(context.data_dir)
    if not is_locked(context.data_dir):
        _stop_leftovers(context.data_dir)
        context.emit({"stopped": False}, lambda terminal: terminal.print(f"Nothing runs on {context.data_dir}."))
        return
    if state is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    with console(errors=True).status("Stopping …"):
        while is_locked(context.data_dir):
            if time.monotonic() > deadline:
                raise click.ClickException(f"It does not stop; look at the logs in {context.data_dir / 'logs'}.")
            time.sleep(0.05)
    context.emit({"stopped": True}, lambda terminal: terminal.print("Stopped."))


def _stop_leftovers(data_dir: Path) -> None:
    """Stop a PostgreSQL that continues because its supervisor and its parent process were killed together."""
    if (data_dir / "postgres").exists():
        from libs.store.embedded.server import EmbeddedPostgres

        EmbeddedPostgres(data_dir).stop()


@command("status", short_help="Show which processes run and whether they are ready.")
def status(context: Context) -> None:
    """Show the processes, whether they are ready, their ports, and the lag of consumers."""
    from libs.cli.local.readiness import are_ready

    state = running_state(context.data_dir)
    if state is None:
        from libs.client.errors import LuxorError

        raise LuxorError.from_reason("NOT_RUNNING", data_dir=context.data_dir)
    ready = are_ready({name: f"127.0.0.1:{each.health}" for name, each in state.ports.items()})
    system = _plain(state)
    for process in system["processes"]:
        name = process["name"]
        process["ready"] = ready.get(name, process["pid"] is not None)
        if name in state.ports:
            process |= metrics_of(state.ports[name].metrics)
    system["warnings"] = [each for process in system["processes"] for each in process.get("warnings", ())]
    context.emit(system, lambda terminal: show_status(terminal, system))
    if not all(ready.values()):
        raise click.exceptions.Exit(UNREACHABLE)


def _plain(state: State) -> dict[str, Any]:
    processes: list[dict[str, Any]] = []
    for name, each in state.processes.items():
        ports = state.ports.get(name)
        processes.append({"name": name, **each, "ports": asdict(ports) if ports is not None else None})
    return {
        "pid": state.pid, "started": state.started, "data_dir": state.data_dir,
        "endpoints": state.endpoints, "processes": processes,
    }  # fmt: skip


def metrics_of(port: int) -> dict[str, Any]:
    """Return lag, memory and warnings from a service's metrics; nothing if it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_METRICS_SECONDS) as answer:
            lines = answer.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    values: dict[str, float | None] = {"luxor_feed_lag_seconds": None, "process_resident_memory_bytes": None}
    warnings = []
    for line in lines:
        name = line.partition("{")[0].partition(" ")[0]
        if name in _WARNINGS and float(line.rpartition(" ")[2]):
            warnings.append(_WARNINGS[name])
        if name in values:
            value = float(line.rpartition(" ")[2])
            before = values[name]
            values[name] = value if before is None else max(before, value) if "lag" in name else before + value
    return {
        "lag_seconds": values["luxor_feed_lag_seconds"],
        "memory_bytes": values["process_resident_memory_bytes"],
        "warnings": warnings,
    }


def warnings_of(state: State) -> list[str]:
    """Return the warnings of all services."""
    return [each for ports in state.ports.values() for each in metrics_of(ports.metrics).get("warnings", ())]


def _show_warnings(terminal: "Console", warnings: list[str]) -> None:
    for each in warnings:
        terminal.print(f"[bold red]WARNING[/] [red]{each}[/]", soft_wrap=True)


def _show_running(terminal: "Console", state: State, *, already: bool) -> None:
    from libs.cli.views.text import table

    terminal.print("[bold]Luxor is already running.[/]" if already else "[bold green]Luxor is ready.[/]")
    shown = table("service", "address (mutual TLS)", "health", "metrics")
    for name, each in state.ports.items():
        shown.add_row(name, f"127.0.0.1:{each.main}", f":{each.health}", f":{each.metrics}/metrics")
    terminal.print(shown)
    terminal.print(f"Data and logs: {state.data_dir}", soft_wrap=True)
    if not already:
        terminal.print("\nNext:  [bold]luxor file --template > parcels.csv[/]  then  [bold]luxor file parcels.csv[/]")
        terminal.print(
            "       [bold]luxor simulate traffic.jsonl --count 1000[/]  writes simulated traffic;  [bold]luxor down[/]  stops it"
        )


def show_status(terminal: "Console", system: dict[str, Any]) -> None:
    """Print which processes run, and what they need."""
    from libs.cli.views.text import table

    shown = table("process", "state", "pid", "restarts", "port", "behind", "memory", right=(2, 3, 4, 5, 6))
    for each in system["processes"]:
        state = "[green]ready[/]" if each["ready"] else "[red]down[/]" if each["pid"] is None else "[yellow]starting[/]"
        lag, memory = each.get("lag_seconds"), each.get("memory_bytes")
        shown.add_row(
            each["name"], state, str(each["pid"] or "–"), str(each["restarts"]),
            str(each["ports"]["main"]) if each["ports"] else "–",
            f"{lag:.2f} s" if lag is not None else "", f"{memory / 2**20:.0f} MiB" if memory else "",
        )  # fmt: skip
    terminal.print(shown)
    terminal.print(f"Since {system['started']} on {system['data_dir']}", soft_wrap=True)
    _show_warnings(terminal, system["warnings"])
