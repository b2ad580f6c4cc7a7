"""`luxor trace`: the path of a consignment through the services, with times, from the records of the services."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, fail, run

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.traces import Story


@command("trace", short_help="Show how long each service took for a consignment.")
@click.argument("reference", metavar="MRN")
@click.option("--all", "everything", is_flag=True, help="Show short spans too.")
@click.option(
    "--slow-millis",
    type=click.IntRange(1, 3_600_000),
    default=1000,
    show_default=True,
    help="Duration from which on spans are marked as slow.",
)
@acting("operator")
def trace(context: Context, reference: str, everything: bool, slow_millis: int, ident: str) -> None:
    """Show the work of each service for the consignment MRN, with its time and duration.

    A trace id (32 hexadecimal digits, as in log lines) may replace the MRN.
    """
    from libs.client.errors import LuxorError
    from libs.client.traces import find_story, is_trace_id

    is_id = is_trace_id(reference)

    async def work() -> "Story":
        async with context.client("operator", ident) as client:
            if is_id:
                return await find_story(client, trace_ids=[reference])
            return await find_story(client, mrn=reference.upper())

    story = run(work())
    if not story.is_known and not story.silent:
        error = LuxorError.from_reason("TRACE_NOT_FOUND", value=reference)
        fail(error.reason, error.sentence, error.hint, code=REFUSED, as_json=context.as_json)

    def draw(terminal: "Console") -> None:
        from libs.cli.views.trace import show

        show(terminal, reference, story, everything=everything, slow_micros=slow_millis * 1000)

    context.emit(_plain(reference, story), draw)
    if not story.is_known:
        raise click.exceptions.Exit(REFUSED)


def _plain(reference: str, story: "Story") -> dict[str, Any]:
    from libs.client.plain import plain
    from libs.telemetry.context import span_of

    return {
        "reference": reference,
        "facts": [
            {"service": service, **plain(fact), "span_kept": span_of(fact.traceparent) in story.spans}
            for service, fact in story.facts
        ],
        "spans": [
            {"service": span.service, **plain(span.span)}
            for span in sorted(
                story.spans.values(), key=lambda each: (each.span.started_at_micros, -each.span.ended_at_micros)
            )
        ],
        "not_answered": {service: error.reason for service, error in story.silent.items()},
        "oldest_span_at_micros": story.oldest_span_at_micros,
        "spans_left_out": story.left_out,
        "records_left_out": story.records_left_out,
        "days_left_out": story.days_left_out,
        "traces_left_out": story.traces_left_out,
    }
