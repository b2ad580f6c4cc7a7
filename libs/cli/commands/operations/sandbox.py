"""`luxor sandbox` and `luxor conformance`: a system in which local references select what happens, and conversations with it."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import IDS, REFUSED, Context, caller_of, caller_option, command, console, run

if TYPE_CHECKING:
    from libs.sandbox.conformance import Conversation as Result
    from libs.sandbox.conversations import Conversation

ROLES = ("filer", "carrier")


@click.group("sandbox", short_help="Start a sandbox with scripted cases, and show what its accounts did.")
def sandbox() -> None:
    """A system of its own, with its own stores and certificates, in which the local reference of a consignment selects what happens to it."""


@command("start", group=sandbox, short_help="Start the sandbox and serve until ^C.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address on which accounts call.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=None,
    help="Port on which accounts call (default: 7410; 0: a free one).",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    help="A further name or address of this machine, by which accounts call it; repeatable.",
)
def start(context: Context, host: str, port: int | None, names: tuple[str, ...]) -> None:
    """Start PostgreSQL, the five services and the sandbox in front of them, and serve until ^C.

    No setting of another system is used. Data and certificates are in the directory `sandbox` of the data directory.
    """
    from libs.cli.local.readiness import Unready
    from libs.cli.local.supervisor import AlreadyRunning, LocalSystem
    from libs.client.errors import LuxorError
    from libs.sandbox import environment

    ignored = environment.separate(os.environ)
    directory = context.data_dir / environment.DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    system = LocalSystem(directory, env=environment.SETTINGS)
    try:
        with console(errors=True).status("Starting PostgreSQL and the five services of the sandbox …"):
            system.start()
    except AlreadyRunning:
        raise LuxorError.from_reason("SANDBOX_RUNNING", value=str(directory)) from None
    except Unready as error:
        missing = ", ".join(error.missing)
        raise LuxorError.from_reason("NOT_STARTED", missing=missing, logs=directory / "logs") from None
    try:
        run(_serve(context, system.endpoints, ignored, host, environment.PORT if port is None else port, names))
    finally:
        system.stop()


async def _serve(
    context: Context, endpoints: Mapping[str, str], ignored: Sequence[str], host: str, port: int, names: Sequence[str]
) -> None:
    from libs.client.client import Client
    from libs.client.errors import LuxorError
    from libs.sandbox import environment
    from libs.sandbox.conversations import Log
    from libs.sandbox.proxy import Proxy, serve_on
    from libs.sandbox.script import CARRIER, OFFICER, Script, ScriptFailed

    authority = environment.authority(context.data_dir)
    log = Log(context.data_dir / environment.DIRECTORY / environment.EVENTS)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        Client(endpoints, authority.issue("officer", OFFICER)) as officer,
        Client(endpoints, authority.issue("carrier", CARRIER)) as carrier,
    ):
        script = Script(officer, carrier)
        try:
            await script.register()
        except ScriptFailed as error:
            missing, logs = f"sandbox ({error})", context.data_dir / environment.DIRECTORY / "logs"
            raise LuxorError.from_reason("NOT_STARTED", missing=missing, logs=logs) from None
        proxy = Proxy(endpoints, authority, script, log.append)
        try:
            server, port = serve_on(proxy, authority, host, port, names)
        except RuntimeError:
            raise LuxorError.from_reason("PORTS_TAKEN", ports=port) from None
        await server.start()
        address = f"{host}:{port}"
        context.emit_line(
            {"address": address, "data_dir": str(log.path.parent), "ignored_settings": list(ignored)},
            f"The sandbox serves {address} until ^C. Certificates: luxor sandbox account filer ID"
            + (f"\nNot used here: {', '.join(ignored)}" if ignored else ""),
        )
        await stop.wait()
        await server.stop(1.0)
        await proxy.close()


@command("account", group=sandbox, short_help="Issue the certificate of an account of the sandbox.")
@click.argument("role", type=click.Choice(ROLES))
@click.argument("ident", metavar="ID")
@click.option("--renew", is_flag=True, help="Issue a new one even if a valid one exists.")
def account(context: Context, role: str, ident: str, renew: bool) -> None:
    """Issue a certificate of an account, and print its files."""
    from libs.sandbox import environment

    party = environment.authority(context.data_dir).issue(role, ident, renew=renew)
    files = {
        "identity": f"spiffe://{environment.DEPLOYMENT}/{role}/{ident}",
        "certificate": str(party.directory / "tls.crt"),
        "key": str(party.directory / "tls.key"),
        "roots": str(party.roots),
    }

    def show(terminal: Any) -> None:
        for name, text in files.items():
            terminal.print(f"{name:12}{text}", soft_wrap=True)

    context.emit(files, show)


@command("report", group=sandbox, short_help="Show which cases an account went through, and what was wrong.")
@click.argument("caller", metavar="ID or ROLE/ID")
@click.option("--all", "show_all", is_flag=True, help="Also print what is right.")
def report(context: Context, caller: str, show_all: bool) -> None:
    """Show for each case whether the newest conversation of an account was right (acme is filer/acme), on the machine of the sandbox.

    Exits with 1 if a conversation was wrong. A case that the account has not begun is not wrong.
    """
    from libs.sandbox import environment
    from libs.sandbox.conversations import Log, conversations

    role, ident = caller_of(caller, ROLES)
    events = Log(context.data_dir / environment.DIRECTORY / environment.EVENTS).read()
    found = conversations(events, f"{role}/{ident}")
    result = [_plain(name, each) for name, each in found.items()]
    context.emit(result, lambda terminal: _show(terminal, result, show_all=show_all))
    if any(each["result"] == "failed" for each in result):
        raise click.exceptions.Exit(REFUSED)


def _plain(name: str, conversation: "Conversation | None") -> dict[str, Any]:
    if conversation is None:
        return {"case": name, "result": "not begun", "checks": []}
    checks = [{"rule": each.rule, "passed": each.passed, "found": each.evidence} for each in conversation.checks]
    result = "passed" if conversation.passed else "failed"
    return {"case": name, "result": result, "local_reference": conversation.reference, "checks": checks}


def _show(terminal: Any, result: Sequence[Mapping[str, Any]], *, show_all: bool) -> None:
    for each in result:
        terminal.print(
            f"{_mark(each['result'])} {each['case']:9}{each.get('local_reference', '')}", soft_wrap=True, markup=True
        )
        for check in each["checks"]:
            if show_all or not check["passed"]:
                terminal.print(
                    f"            {'' if check['passed'] else 'WRONG: '}{check['rule']}. Found: {check['found']}.",
                    soft_wrap=True,
                )
    passed = sum(each["result"] == "passed" for each in result)
    terminal.print(f"{passed} of {len(result)} cases passed.")


def _mark(result: str) -> str:
    return {"passed": "[green]passed   [/]", "failed": "[red]failed   [/]", "not begun": "[dim]not begun[/]"}[result]


@command(
    "conformance", short_help="Go through the cases of a sandbox as a filer or a carrier, and report what differs."
)
@click.argument("address", metavar="HOST:PORT")
@click.argument("cases", nargs=-1, metavar="[CASE]...")
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), default=60.0, show_default=True, help="Longest wait for notices."
)
@caller_option(
    "Who calls, a filer or a carrier, such as acme or carrier/acme; the cases are those of its role.", "filer"
)
def conformance(context: Context, address: str, cases: tuple[str, ...], seconds: float, caller: str) -> None:
    """Go through cases of the sandbox at HOST:PORT (without names: all of the role), each with goods of its own, and report each.

    The certificate is that of the account in LUXOR_TLS_DIR, or of the sandbox on this machine; one of another deployment is refused, so nothing
    real is filed. Exits with 1 if a case failed.
    """
    from libs.sandbox import environment
    from libs.sandbox.cases import cases_of
    from libs.sandbox.conformance import run as converse
    from libs.server.identity import Role

    role, ident = caller_of(caller, ROLES)
    ident = ident or IDS[role]
    known = cases_of(Role(role))
    for name in cases:
        if name not in known:
            raise click.BadParameter(f"{name} is none of {', '.join(known)}", param_hint="CASE")
    party = environment.party_of(context.data_dir, role, ident)
    found = run(converse(address, party, cases, role=Role(role), seconds=seconds))
    result = [
        {"case": each.case.name, "passed": each.passed, "mrn": each.mrn, "notices": each.notices, "errors": each.errors}
        for each in found
    ]
    context.emit(result, lambda terminal: _show_run(terminal, found))
    if not all(each.passed for each in found):
        raise click.exceptions.Exit(REFUSED)


def _show_run(terminal: Any, conversations: "Sequence[Result]") -> None:
    for each in conversations:
        terminal.print(f"{_mark('passed' if each.passed else 'failed')} {each.case.name:9}{each.mrn}", soft_wrap=True)
        for error in each.errors:
            terminal.print(f"            {error}", soft_wrap=True)
    terminal.print(f"{sum(each.passed for each in conversations)} of {len(conversations)} cases passed.")
