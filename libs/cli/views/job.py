"""How a job is shown: its name, its state, its title and its progress."""

from typing import TYPE_CHECKING, Any

from libs.cli.views.text import counted, safe, short, words

if TYPE_CHECKING:
    from rich.console import Console


def show_job(terminal: "Console", job: dict[str, Any]) -> None:
    """Print a job without its results."""
    state = words(short(job["state"], "JOB_STATE_"))
    terminal.print(f"[bold]{safe(job['job'])}[/] {state}: {safe(job['title'])}", soft_wrap=True)
    total = (
        f"{job['done']:,} of {counted(job['total'], 'consignment')}" if job["total"] else "consignments not counted yet"
    )
    terminal.print(f"  {total}, started by {safe(job['started_by'])}", soft_wrap=True)
    if job["error"]:
        terminal.print(f"  {safe(job['error'])}", soft_wrap=True)
