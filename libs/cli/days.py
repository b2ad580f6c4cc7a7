"""Days as people write them on the command line."""

import datetime as dt

import click

ASSESSMENT_DAYS_MAX = 400


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


def day_of_law(text: str, option: str) -> int:
    """Return a day of the years of which services have law and assessments, as days since 1970-01-01 UTC."""
    day = day_asked(text, option)
    if not 2000 <= int(text[:4]) < 2100:
        raise click.BadParameter(f"{text} lies outside the years 2000 to 2099", param_hint=option)
    return day


def assessment_days(first: str, last: str) -> tuple[int, int]:
    """Return the days of assessment that a job reads, from its --from and --to."""
    days = day_of_law(first, "--from"), day_of_law(last, "--to")
    if not 0 <= days[1] - days[0] < ASSESSMENT_DAYS_MAX:
        where = "before" if days[1] < days[0] else "too far after"
        raise click.UsageError(f"--to {last} is {where} --from {first}; a job reads up to {ASSESSMENT_DAYS_MAX} days.")
    return days
