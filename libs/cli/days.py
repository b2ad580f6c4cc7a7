"""Days as people write them on the command line."""

import datetime as dt

import click


def day_of(text: str | None, default: dt.date, option: str) -> int:
    """Return a day written as 2026-07-01 as days since 1970-01-01 UTC; the default where none is given."""
    from libs.customs.time import day_of_date, parse_day

    if text is None:
        return day_of_date(default)
    try:
        return parse_day(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def days_of(from_text: str | None, to_text: str | None, *, days: int = 7) -> tuple[int, int]:
    """Return the days of --from and --to, by default the last `days` days and today."""
    today = dt.datetime.now(dt.UTC).date()
    return (
        day_of(from_text, today - dt.timedelta(days=days), "--from"),
        day_of(to_text, today, "--to"),
    )
