"""Pulls of all pages of a feed, from its beginning."""

from libs.feed.types import BEGINNING, Cursor
from tests.feed.conftest import ALL, DirectPort, Event, events_of


async def pull_all(
    port: DirectPort, after: dict[int, Cursor], max_events: int = 5_000
) -> tuple[list[Event], dict[int, Cursor]]:
    """Pull until a page has no event."""
    events: list[Event] = []
    while True:
        page = await port.pull(after, max_events, 0)
        after = dict(page.next)
        if not page.batches:
            return events, after
        events += events_of(page.batches)


def beginning() -> dict[int, Cursor]:
    return dict.fromkeys(ALL, BEGINNING)
