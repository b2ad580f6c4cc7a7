"""`luxor notices`: the notices of a filer, a carrier or a partner agency."""

from typing import Any

import click

from libs.cli.common import Context, caller_of, caller_option, command, run

_PAGE_MAX = 1000
"""The largest page of notices that clearance returns."""
_KIND_WIDTH = len("amendment refused")
"""Width of the column of kinds: the longest kind of notice."""


@command("notices", short_help="Read the notices of a filer, carrier or agency.")
@caller_option("The filer, carrier or partner agency that reads its notices.", "filer")
@click.option(
    "--after",
    default="",
    metavar="CURSOR",
    help="Continue after a cursor of an earlier call (default: from the first notice).",
)
@click.option("--follow", is_flag=True, help="Wait for further notices until ^C.")
@click.option("--language", default="en", metavar="TAG", show_default=True, help="Language of the texts, such as de.")
@click.option("--limit", type=click.IntRange(1), help="Maximum number of notices.")
@click.option(
    "--of", "filer", default="", metavar="ID", help="Those of another filer that are entrusted to the caller."
)
def notices(
    context: Context, caller: str, after: str, follow: bool, language: str, limit: int | None, filer: str
) -> None:
    """Print notices, oldest first; they can be read again from any cursor. --json prints a line for each."""
    role, ident = caller_of(caller, ("filer", "carrier", "agency"))
    cursor, count, repeated = after, 0, 0

    async def work() -> None:
        from libs.client.plain import plain

        nonlocal cursor, count, repeated
        async with context.client(role, ident) as client:
            size = min(limit or 0, _PAGE_MAX)
            pages = client.notices(after, follow=follow, language=language, page_size=size, filer=filer)
            async for following, page in pages:
                for each in page[: None if limit is None else limit - count]:
                    notice = plain(each)
                    context.emit_line(notice, notice_text(notice))
                    count, repeated = count + 1, repeated + 1
                # The notices of one transaction have one cursor: those that were printed are printed again, and none is left out.
                if repeated == len(page):
                    cursor, repeated = following, 0
                if count == limit:
                    return

    try:
        run(work())
    finally:
        if context.as_json:
            context.emit_line({"next": cursor, "notices": count}, "")
        else:
            click.echo(_end(count, cursor, repeated), err=True)


def _end(count: int, cursor: str, repeated: int) -> str:
    """Return where to continue after `count` notices, of which the last `repeated` are printed again there."""
    from libs.cli.views.text import counted

    if not count and not cursor:
        return "There are no notices."
    start = f"with --after {cursor}" if cursor else "without --after"
    return f"{counted(count, 'notice')}. Continue {start}{f', which repeats the last {repeated:,}' if repeated else ''}"


def notice_text(each: dict[str, Any]) -> str:
    """Return the lines of one notice."""
    from libs.cli.views.law_review import at_least
    from libs.cli.views.text import money, short, when, words

    currency = each.get("currency", "")
    sums = [
        f"{name} {at_least(each) if name == 'payable' else ''}{money(each[f'{name}_minor'], currency)}"
        for name in ("payable", "paid", "refunded")
        if f"{name}_minor" in each and (name == "payable" or each[f"{name}_minor"])
    ]
    version = each.get("filing_version", 0)
    subject = each.get("mrn", "") or _part_link(each.get("awaited_part", {}))
    parts = [
        when(each.get("time", "")), subject, f"{words(short(each.get('kind', ''), 'NOTICE_KIND_')):<{_KIND_WIDTH}}",
        f"{short(each.get('lane', ''), 'LANE_').lower():<6}", each.get("local_reference", "") or each.get("house_document_number", ""),
        f"version {version}" if version > 1 else "", ", ".join(sums), ", ".join(each.get("reasons", ())),
    ]  # fmt: skip
    line = "  ".join(part for part in parts if part)
    return f"{line}\n    {each['text']}" if each.get("text") else line


def _part_link(part: dict[str, Any]) -> str:
    """Return by what an awaited part is linked; "" in notices about other matters."""
    link = part.get("order", {}) or part.get("house_document", {})
    return " ".join(
        filter(None, (link.get("platform", ""), link.get("carrier_identifier", ""), link.get("number", "")))
    )
