"""What commands about long work do alike: days from and to, a bar while somebody waits, and ^C that leaves the work running."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from libs.cli.common import Context, console, fail, is_terminal, run
from libs.cli.days import day_asked
from libs.cli.views.backtest import day_text

if TYPE_CHECKING:
    from libs.client.client import Client

DAYS_MAX: Final = 400
Found = dict[str, Any]
Following = Callable[["Client", int, Callable[[Found], None]], Awaitable[Found]]


class StartsByDefault(click.Group):
    """A group that begins work where no other command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `start` before options."""
        if args and args[0].startswith("-") and args[0] not in ("--help", "-h"):
            args = ["start", *args]
        return super().parse_args(ctx, args)


def day_of_law(text: str, option: str) -> int:
    """Return a day of the years that services know law and assessments of, as days since 1970-01-01."""
    day = day_asked(text, option)
    if not 2000 <= int(text[:4]) < 2100:
        raise click.BadParameter(f"{text} lies outside the years 2000 to 2099", param_hint=option)
    return day


@dataclass(frozen=True)
class Work:
    """A kind of long work as people call it."""

    name: str
    """In the middle of a sentence: "run"."""
    command: str
    """The group's command: "luxor revenue what-if"."""
    states: str
    """What its states begin with: "WHAT_IF_STATE_"."""

    def days(self, first: str, last: str) -> tuple[int, int]:
        """Read --from and --to."""
        days = day_of_law(first, "--from"), day_of_law(last, "--to")
        if not 0 <= days[1] - days[0] < DAYS_MAX:
            how = "before" if days[1] < days[0] else "too far behind"
            raise click.UsageError(
                f"--to {day_text(days[1])} lies {how} --from {day_text(days[0])}; a {self.name} reads up to {DAYS_MAX} days."
            )
        return days

    def look_again(self, number: int) -> str:
        """Say how to look at it later."""
        return f"`{self.command} show {number} --follow` tells how far it is, `{self.command} cancel {number}` ends it."

    def begun(self, context: Context, number: int) -> None:
        """Tell its id to who does not wait."""
        told = f"{self.name.capitalize()} {number} is begun. {self.look_again(number)}"
        context.emit({"id": number}, lambda out: out.print(told))

    def follow(self, context: Context, number: int, ident: str, following: Following) -> Found:
        """Wait for it with a bar; ^C tells how to look again."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

        async def work() -> Found:
            with Progress(*columns, console=console(errors=True), disable=not is_terminal(), transient=True) as bar:
                task = bar.add_task(f"{self.name} {number}", total=None)

                def progress(found: Found) -> None:
                    waits = found["state"] == f"{self.states}WAITING"
                    what = f"{self.name} {number} {'waits for those before it' if waits else 'reads assessments'}"
                    bar.update(task, description=what, completed=found["done"], total=found["total"] or None)

                async with context.client("analyst", ident) as client:
                    return await following(client, number, progress)

        try:
            return run(work())
        except KeyboardInterrupt:
            click.echo(f"{self.name.capitalize()} {number} goes on. {self.look_again(number)}", err=True)
            raise click.Abort from None

    def check_done(self, context: Context, found: Found, reason: str) -> None:
        """End the command where the work failed or was ended."""
        if found["state"] != f"{self.states}DONE":
            self._failed(context, found, reason)

    def _failed(self, context: Context, found: Found, reason: str) -> NoReturn:
        hint = "Correct that and begin it again." if found["error"] else "Somebody ended it."
        fail(reason, found["error"] or f"the {self.name} was ended", hint, as_json=context.as_json)
