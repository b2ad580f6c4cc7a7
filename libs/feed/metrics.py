"""The feed's metrics."""

import time
from collections.abc import Callable
from typing import Final

from libs.store.database import Database
from libs.store.monitoring.gauges import COUNTED_MAX, Look
from libs.telemetry import counter, gauge

HORIZON_AGE: Final = gauge(
    "luxor_feed_horizon_age_seconds", "How long open transactions have held back the horizon", ["feed"]
)
DAYS_DROPPED: Final = counter(
    "luxor_feed_days_dropped_total", "Dropped days; forced: a consumer had not read all of them", ["feed", "forced"]
)
EVENTS: Final = counter("luxor_feed_events_total", "Events that took effect", ["consumer", "source"])
LAG: Final = gauge(
    "luxor_feed_lag_seconds",
    "Lag of the consumer: age of the last event of the last page when it was committed, 0 after an empty page, "
    "growing while no page succeeds",
    ["consumer", "source"],
)
SKEW: Final = counter(
    "luxor_clock_skew_total",
    "Negative ages and waits of events, counted as zero; a store's clock was set back",
    ["where"],
)
for _where in ("feed", "wait", "decision"):
    SKEW.labels(_where)  # present from the start: a rise needs a zero before it
LEASED_PARTITIONS: Final = gauge(
    "luxor_feed_partitions_held", "Partitions that this replica holds", ["consumer", "source"]
)
PREFETCHED: Final = gauge(
    "luxor_feed_prefetched_events",
    "Events that were fetched in advance and wait for the page before them",
    ["consumer", "source"],
)
DEAD_LETTERS: Final = counter(
    "luxor_feed_dead_letters_total", "Events that became dead letters", ["consumer", "source", "reason"]
)
DEAD_LETTERS_WAITING: Final = gauge(
    "luxor_feed_dead_letters_waiting", "Dead letters that wait for a replay", ["consumer", "source"]
)
BACKLOG: Final = gauge(
    "luxor_feed_backlog_events",
    f"Events of the feed that a consumer has not committed, by its last report; counting ends at {COUNTED_MAX:,}",
    ["feed", "consumer"],
)
UNCONFIRMED: Final = gauge(
    "luxor_feed_unconfirmed_events", "Events accepted by this process that the consumer has not confirmed", ["consumer"]
)
UNCONFIRMED_MAX: Final = gauge(
    "luxor_feed_unconfirmed_events_max", "Unconfirmed events beyond which calls are refused", ["consumer"]
)
RETRIES: Final = counter(
    "luxor_feed_retries_total", "Pages tried again, by kind of error", ["consumer", "source", "kind"]
)
LEASES_LOST: Final = counter(
    "luxor_feed_leases_lost_total", "Commits that were rolled back because a lease was lost", ["consumer", "source"]
)
SNAPSHOTS: Final = counter("luxor_feed_snapshots_total", "Snapshots begun, by cause", ["consumer", "source", "cause"])
EPOCHS_ENDED: Final = counter(
    "luxor_feed_epochs_ended_total",
    "Times that a feed's store had lost events that this consumer had read: an older copy, or a standby without the end of the log",
    ["consumer", "source"],
)
COMPLETED: Final = counter(
    "luxor_feed_completed_total",
    "Events that took effect only after a comparison with the producer found them missing",
    ["consumer", "source"],
)

_GRACE_SECONDS: Final = 5.0
_ROWS_MAX: Final = 100_000
_CONSUMERS_MAX: Final = 50
"""Consumers that are told apart: who pulls names itself, and a label must not grow with what callers say."""

_LETTERS: Final = f"""
    select source, count(*) as letters from (select source from dead_letter limit {COUNTED_MAX}) as part group by source
"""  # noqa: S608  # a number of our own
# The positions are told every few seconds, so what was committed since is still counted.
_BEHIND: Final = f"""
    select c.consumer, coalesce(sum(o.count), 0)::bigint as events
    from feed_consumer c
    left join lateral (
        select count from outbox o
        where o.partition = c.partition and (o.epoch, o.xid, o.seq) > (c.epoch, c.xid, c.seq) and o.day >= c.day - 1
        order by o.epoch, o.xid, o.seq limit {_ROWS_MAX // 64}
    ) o on true
    group by c.consumer order by c.consumer limit {_CONSUMERS_MAX}
"""  # noqa: S608  # numbers of our own


class Lag:
    """How far one consumer is behind, at the moment that the metric is read."""

    def __init__(
        self, consumer: str, source: str, *, wait_seconds: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Report it under these labels; an empty page may take `wait_seconds`."""
        self._clock = clock
        self.grace_seconds = wait_seconds + _GRACE_SECONDS
        self.age, self._noted_at = 0.0, clock()
        self.idle = False
        """Whether this replica has nothing to follow, since others hold all partitions."""
        LAG.labels(consumer, source).set_function(self.seconds)

    def note(self, age: float) -> None:
        """Take the age of a page that was committed; an empty one has none."""
        if age < 0:
            SKEW.labels("feed").inc()
        self.age, self._noted_at, self.idle = max(0.0, age), self._clock(), False

    def seconds(self) -> float:
        """Return the lag now."""
        if self.idle:
            return 0.0
        return self.age + max(0.0, self._clock() - self._noted_at - self.grace_seconds)


def letters_waiting(consumer: str, *sources: str) -> Look:
    """Return a look at how many dead letters of each source wait."""

    async def look(database: Database) -> None:
        async with database.connection(timeout_millis=5_000) as reading:
            found = {row["source"]: row["letters"] for row in await reading.raw.fetch(_LETTERS)}
        for source in sources:
            DEAD_LETTERS_WAITING.labels(consumer, source).set(found.get(source, 0))

    return look


def backlog(feed: str) -> Look:
    """Return a look at how far each registered consumer of the own feed is behind."""

    told: set[str] = set()

    async def look(database: Database) -> None:
        async with database.connection(timeout_millis=5_000) as reading:
            found = {row["consumer"]: row["events"] for row in await reading.raw.fetch(_BEHIND)}
        for consumer, events in found.items():
            BACKLOG.labels(feed, consumer).set(min(events, COUNTED_MAX))
        for gone in told - set(found):
            BACKLOG.remove(feed, gone)
        told.clear()
        told.update(found)

    return look
