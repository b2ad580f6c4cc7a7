"""`luxor explain`: prints what the catalogue says about a reason; no system needs to run."""

from typing import TYPE_CHECKING

import click

from libs.cli.common import Context, command

if TYPE_CHECKING:
    from rich.console import Console


@command("explain", short_help="Explain the reason of an error, a warning, a decision or a notice.")
@click.argument("reason")
def explain(context: Context, reason: str) -> None:
    """Print the sentence of a REASON, such as ELEMENT_MISSING or CUSTOMS_CHECK, and what to do about it. The system need not run.

    Names in braces stand for the facts of a case, such as {value} for the rejected value and {path} for its element.
    """
    from libs.cli.views.text import safe
    from libs.client.errors import LuxorError
    from libs.client.plain import nearest
    from libs.server.catalogue import command_hint, reasons

    name = reason.strip().upper().replace("-", "_")
    entry = reasons().get(name)
    if entry is None:
        near = nearest(name, reasons())
        raise LuxorError.from_reason("REASON_UNKNOWN", value=reason, near=near if near.startswith("Did") else "")

    def show(terminal: "Console") -> None:
        kind = f"{entry.area}, {entry.code.name}" if entry.refuses else f"{entry.area}, {entry.path or 'consignment'}"
        terminal.print(f"[bold]{name}[/]  [dim]{kind}[/]", soft_wrap=True)
        terminal.print(safe(entry.sentence), soft_wrap=True)
        terminal.print(f"[dim]→[/] {safe(command_hint(name, entry.hint))}", soft_wrap=True)
        if entry.command:
            terminal.print(f"[dim]→ in programs:[/] {safe(entry.hint)}", soft_wrap=True)

    value = {
        "reason": name, "area": entry.area, "code": entry.code.name if entry.refuses else "", "sentence": entry.sentence,
        "hint": entry.hint, "command": entry.command, "path": entry.path, "facts": sorted(entry.placeholders()),
    }  # fmt: skip
    context.emit(value, show)
