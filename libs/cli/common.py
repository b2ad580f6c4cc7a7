"""Shared parts of commands: options, addresses of the system, the caller, output and errors."""

import asyncio
import functools
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from libs.cli.local.state import SERVICES, running_state

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.client import Client

REFUSED: Final = 1
"""Exit code: something was refused or not found."""
UNREACHABLE: Final = 3
"""Exit code: the system cannot be reached."""
NOT_PROVEN: Final = 4
"""Exit code: evidence has no error, and does not prove all that it contains."""
INTERRUPTED: Final = 130
"""Exit code: stopped by ^C."""
IDS: Final = {
    "filer": "filer-1", "carrier": "carrier-1", "officer": "officer-1", "analyst": "analyst-1", "operator": "operator-1",
    "gateway": "gateway-1",
    "agency": "agency-1",
}  # fmt: skip
"""The default caller of each role."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Context:
    """The options that all commands have."""

    data_dir: Path
    as_json: bool

    def endpoints(self) -> dict[str, str]:
        """Return the addresses of the services: from the environment, otherwise from the running system.

        Raises LuxorError if neither has them, or if the environment names only some of them.
        """
        named = {each: os.environ.get(f"LUXOR_{each.upper()}_TARGET", "") for each in SERVICES}
        if all(named.values()):
            return named
        from libs.client.errors import LuxorError

        if any(named.values()):
            # Services of two systems do not belong together, so the running system's do not stand in.
            missing = ", ".join(f"LUXOR_{each.upper()}_TARGET" for each in SERVICES if not named[each])
            raise LuxorError.from_reason("TARGETS_INCOMPLETE", missing=missing)
        state = running_state(self.data_dir)
        if state is None:
            raise LuxorError.from_reason("NOT_RUNNING", data_dir=self.data_dir)
        return dict(state.endpoints)

    def client(self, role: str, ident: str = "") -> "Client":
        """Return a client with the local certificate of a party."""
        from libs.client.client import Client
        from libs.server.transport.tls import LocalCA

        endpoints = self.endpoints()
        directory = Path(os.environ.get("LUXOR_TLS_DIR") or self.data_dir / "tls")
        deployment = os.environ.get("LUXOR_DEPLOYMENT") or "luxor"
        return Client(endpoints, LocalCA(directory, deployment).issue(role, ident or IDS[role]))

    def emit(self, value: Any, show: Callable[["Console"], None]) -> None:
        """Print the result: as JSON if requested, otherwise as `show` draws it."""
        if self.as_json:
            click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
        else:
            show(console())

    def emit_line(self, value: Any, text: str) -> None:
        """Print one of many results as it comes: a line of JSON, or of text."""
        click.echo(json.dumps(value, ensure_ascii=False, default=str) if self.as_json else text)


def console(*, errors: bool = False) -> "Console":
    """Return the console; progress and errors go to standard error."""
    from rich.console import Console

    # Texts come from services: ":id:" in them is not an emoji.
    return Console(stderr=errors, highlight=False, emoji=False)


def command(
    name: str | None = None, *, group: click.Group | None = None, **attributes: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command with the options that all commands have; the first argument of the function is a Context."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        def call(*, as_json: bool, data_dir: Path | None, **arguments: Any) -> Any:
            return guarded(lambda: function(Context(chosen(data_dir), as_json), **arguments), as_json)

        functools.update_wrapper(call, function)
        options: Any = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(call)
        options = click.option(
            "--data-dir",
            type=click.Path(file_okay=False, path_type=Path),
            help="Data directory of the system (default: $LUXOR_DATA_DIR, else that of the account).",
        )(options)
        made: click.Command = (
            group.command(name, **attributes) if group is not None else click.command(name, **attributes)
        )(options)
        return made

    return decorate


def acting(role: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare --as: the caller, in one role, as ID or ROLE/ID."""
    help_text = f"Id of the {role} that calls, such as acme or {role}/acme (default: {IDS[role]})."

    def ident_of(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
        return caller_of(value, (role,))[1]

    return click.option(
        "--as", "ident", default=IDS[role], metavar="ID", show_default=False, help=help_text, callback=ident_of
    )


def caller_option(help_text: str, default: str = "officer") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare --as for commands of several roles, one of which is the default; `caller_of` reads it."""
    return click.option(
        "--as", "caller", default=default, metavar="ROLE, ROLE/ID or ID", show_default=True, help=help_text
    )


def caller_of(caller: str, roles: Sequence[str]) -> tuple[str, str]:
    """Return role and id of the caller, from ROLE, ROLE/ID or ID; an id without a role has the first of `roles`. The id may be "".

    Raises BadParameter for a role that may not call.
    """
    role, slash, ident = caller.partition("/")
    if slash:
        if role not in roles:
            raise click.BadParameter(f"{role} is none of {', '.join(roles)}", param_hint="--as")
        return role, ident
    if caller in roles and len(roles) > 1:
        return caller, ""
    if caller in IDS and len(roles) > 1:
        raise click.BadParameter(f"{caller} is none of {', '.join(roles)}", param_hint="--as")
    return roles[0], caller


def chosen(data_dir: Path | None) -> Path:
    """Return the data directory: as given, else the default of the environment and the account."""
    from libs.store.embedded.data_dir import default_data_dir

    return Path(os.path.abspath(data_dir if data_dir is not None else default_data_dir(os.environ)))


def guarded(work: Callable[[], Result], as_json: bool) -> Result:
    """Do a command's work; report expected errors with a sentence, a remedy and an exit code."""
    try:
        return work()
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt:
        raise click.Abort from None
    except BrokenPipeError:
        raise
    except Exception as error:
        reason, sentence, hint, path, code = _error_parts(error)
        if not reason:
            raise
        fail(reason, sentence, hint, path=path, code=code, as_json=as_json)


def fail(
    reason: str, sentence: str, hint: str, *, path: str = "", code: int = REFUSED, as_json: bool = False
) -> NoReturn:
    """End the command with an error; a hint of the catalogue for command lines replaces the given hint."""
    from libs.server.catalogue import command_hint

    hint = command_hint(reason, hint)
    if as_json:
        body = {"error": {"reason": reason, "path": path, "sentence": sentence, "hint": hint}}
        click.echo(json.dumps(body, ensure_ascii=False), err=True)
    else:
        terminal = console(errors=True)
        terminal.print(
            f"[bold red]{reason}[/]{f'  [dim]{_safe(path)}[/]' if path else ''}\n{_safe(sentence)}", soft_wrap=True
        )
        if hint:
            terminal.print(f"[dim]→[/] {_safe(hint)}", soft_wrap=True)
    raise click.exceptions.Exit(code)


def _error_parts(error: Exception) -> tuple[str, str, str, str, int]:
    """Return reason, sentence, hint, path and exit code; an empty reason for a defect of the software."""
    from libs.client.errors import LuxorError
    from libs.server.config.error import ConfigError
    from libs.server.transport.tls import IdentityMalformed, TlsError

    # A module that was never imported raised nothing, so the driver of the database is not imported here.
    store_errors = sys.modules.get("libs.store.errors")
    if isinstance(error, LuxorError):
        code = UNREACHABLE if error.unreachable else INTERRUPTED if error.reason == "FILING_STOPPED" else REFUSED
        return error.reason, error.sentence, error.hint, error.path, code
    if isinstance(error, TlsError):
        return error.reason, str(error), "", "", REFUSED if isinstance(error, IdentityMalformed) else UNREACHABLE
    if isinstance(error, ConfigError):
        return "CONFIGURATION_WRONG", f"{error.variable} {error.reason}.", f"{error.variable}={error.example}", "", 2
    if store_errors is not None and isinstance(error, store_errors.StoreError):
        return "DATABASE_NOT_STARTED", str(error), "", "", UNREACHABLE
    if isinstance(error, OSError) and error.filename:
        return "FILE_UNREADABLE", f"{error.filename}: {error.strerror}.", "Check its name and your rights to it.", "", 1
    return "", "", "", "", 1


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's coroutine; ^C cancels it and ends the command."""
    return asyncio.run(work)


def _safe(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def is_terminal() -> bool:
    """Return whether standard error is a terminal."""
    return sys.stderr.isatty()
