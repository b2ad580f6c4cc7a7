"""Values as text: money, times, durations, names of choices, tables, paragraphs."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LANES: Final = {"GREEN": "green", "BLUE": "blue", "YELLOW": "yellow", "RED": "red"}
STATES: Final = {
    "RELEASED": "green", "HELD": "red", "DOCUMENTS_REQUESTED": "red", "EXAMINATION": "red", "SEIZED": "red", "AWAITING_ARRIVAL": "cyan",
    "ACCEPTED": "dim",
}  # fmt: skip
_CONTROLS: Final = dict.fromkeys((each for each in (*range(32), *range(127, 160)) if chr(each) not in "\t\n"), "\ufffd")


def money(minor: int | None, currency: str) -> str:
    """Return an amount such as 1,234.50 EUR; a dash if it is unknown."""
    if minor is None:
        return "–"
    # Imported here: the table of ISO 4217 would take a tenth of the start of every command.
    from libs.customs.currencies import is_currency, minor_units

    places = minor_units(currency) if is_currency(currency) else 2
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).rjust(places + 1, "0")
    whole, fraction = (digits[:-places], digits[-places:]) if places else (digits, "")
    return f"{sign}{int(whole):,}{'.' if fraction else ''}{fraction} {currency}".rstrip()


def short(name: str, prefix: str) -> str:
    """Return a choice without its prefix; a dash for UNSPECIFIED."""
    bare = name.removeprefix(prefix)
    return "–" if bare in ("UNSPECIFIED", "") else bare


def words(name: str) -> str:
    """Return a choice in small letters with blanks."""
    return name.replace("_", " ").lower()


def coloured(value: str, colours: dict[str, str]) -> str:
    """Return a choice in words in its colour, as rich's markup."""
    colour = colours.get(value, "")
    return f"[{colour}]{words(value)}[/]" if colour else words(value)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 warning, 2 warnings."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(micros: float) -> str:
    """Return a duration in the unit that suits it."""
    if micros < 1_000_000:
        return f"{micros / 1000:,.0f} ms"
    if micros < 120_000_000:
        return f"{micros / 1_000_000:,.1f} s"
    if micros < 7_200_000_000:
        return f"{micros / 60_000_000:,.1f} min"
    return f"{micros / 3_600_000_000:,.1f} h"


def when(text: str) -> str:
    """Return an instant of `--json` to the second, with a blank in the middle."""
    return text.replace("T", " ")[:19] + ("Z" if text else "")


def minute(text: str) -> str:
    """Return an instant of `--json` to the minute, as lists print it: `2026-11-01 12:00Z`."""
    return when(text)[:16] + ("Z" if text else "")


def refusal(result: dict[str, Any]) -> str:
    """Return why something was refused and what to do about it, with colours; "" where it was not."""
    from libs.server.catalogue import command_hint

    error = result.get("error")
    if not error:
        return ""
    hint = command_hint(error["reason"], error.get("hint", ""))
    return f"[red]{error['reason']}[/] {safe(error.get('message', ''))}\n[dim]→ {safe(hint)}[/]"


def stacked(*lines: str) -> str:
    """Return a cell of several lines, without those that are empty."""
    return "\n".join(filter(None, lines))


def kilograms(milligrams: int) -> str:
    """Return a mass."""
    return f"{milligrams / 1_000_000:,.3f}".rstrip("0").rstrip(".") + " kg"


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of the sorted values do not exceed (nearest rank)."""
    return ordered[max(0, min(len(ordered) - 1, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def table(*columns: str, title: str = "", right: Iterable[int] = ()) -> "Table":
    """Return an empty table; `right` are the columns that are aligned to the right, from 0."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    aligned = set(right)
    for place, name in enumerate(columns):
        # No word of a heading is broken.
        least = max(map(len, name.split()), default=0)
        made.add_column(name, justify="right" if place in aligned else "left", overflow="fold", min_width=least)
    return made


def print_whole(terminal: "Console", shown: "Table") -> None:
    """Print a table without cutting figures and columns that do not wrap; other columns become narrower, then the table exceeds the terminal."""
    from rich.measure import Measurement

    width = terminal.width
    shown.padding = (0, 1, 0, 0)
    for column in shown.columns:
        if column.justify == "right" or column.no_wrap:
            lines = (line for cell in column.cells for line in _plain(cell).splitlines())
            column.min_width = max(map(len, lines), default=0)
    terminal.width = max(width, Measurement.get(terminal, terminal.options.update(width=1_000), shown).minimum)
    try:
        terminal.print(shown, crop=False)
    finally:
        terminal.width = width


def print_words(terminal: "Console", shown: "Table") -> None:
    """Print a table without cutting figures, and with line breaks only between words, so that they can be copied; say so if it is empty."""
    if not shown.rows:
        terminal.print("[dim]No entries.[/]")
        return
    least, need = [], []
    for column in shown.columns:
        heading, cells = _plain(column.header), [_plain(cell) for cell in column.cells]
        lines = max(_width(line) for text in (heading, *cells) for line in ("", *text.splitlines()))
        figures = cells if column.justify == "right" else ()
        parts = [
            *heading.split(),
            *(line for text in figures for line in text.splitlines()),
            *(word for text in cells for word in text.split()),
        ]
        least.append(max(map(_width, parts), default=0))
        need.append(lines - least[-1])
    # rich narrows the widest columns first, whether or not they can be narrower, and so exceeds a terminal into which the table fits.
    spare = terminal.width - sum(least) - 2 * len(least) - 1
    for left, place in zip(range(len(need), 0, -1), sorted(range(len(need)), key=need.__getitem__), strict=True):
        share = max(0, min(need[place], spare // left))
        shown.columns[place].width, spare = least[place] + share, spare - share
    print_whole(terminal, shown)


def _width(text: str) -> int:
    """Return how many places of a terminal a text takes; some scripts take two for a character."""
    from rich.cells import cell_len

    return cell_len(text)


def _plain(cell: object) -> str:
    """Return the text of a cell without rich's markup."""
    from rich.text import Text

    text = str(cell)
    return Text.from_markup(text).plain if "[" in text else text


def paragraph(terminal: "Console", markup: str, indent: int) -> None:
    """Print a text with all lines indented by `indent` characters."""
    from rich.padding import Padding

    terminal.print(Padding(markup, (0, 0, 0, indent), expand=False))


def safe(value: Any) -> str:
    """Return text from a file or a service, escaped so that rich reads no markup in it and a terminal obeys none of it."""
    from rich.markup import escape

    return escape(visible(str(value)))


def visible(text: str) -> str:
    """Return a text with a sign in the place of each control character but tabulators and ends of lines.

    >>> visible("H-1" + chr(27) + "[2J")
    'H-1\ufffd[2J'
    """
    return text.translate(_CONTROLS)
