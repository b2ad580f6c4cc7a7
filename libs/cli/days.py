"""Days as people write them on the command line."""

import datetime as dt

import click


def day_of(text: str | None, default: dt.date, option: str) -> int:
    """Return a day written as 2026-07-01 as days since 1970-01-01 UTC; the default where none is given."""
    from libs.customs.time import day_of_date

    return day_of_date(default) if text is None else day_asked(text, option)


def day_asked(text: str, option: str) -> int:
    """Return a day written as 2026-07-01 as days since 1970-01-01 UTC."""
    from libs.customs.time import parse_day

    try:
        return parse_day(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def days_of(from_text: str | None, to_text: str | None, *, days: int = 7) -> tuple[int, int]:
    """Return the days of --from and --to, by default the last `days` days and today, in their order."""
    from libs.customs.time import day_text

    today = dt.datetime.now(dt.UTC).date()
    first = day_of(from_text, today - dt.timedelta(days=days), "--from")
    last = day_of(to_text, today, "--to")
    if last < first:
        # What is asked of no day at all would find nothing, and look as if there were nothing.
        raise click.BadParameter(f"{day_text(last)} lies before {day_text(first)}", param_hint="--to")
    return first, last
