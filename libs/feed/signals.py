"""The feed's metrics."""

from typing import Final

from libs.telemetry import counter, gauge

HORIZON_AGE: Final = gauge(
    "luxor_feed_horizon_age_seconds", "How long open transactions have held the horizon", ["feed"]
)
DAYS_DROPPED: Final = counter(
    "luxor_feed_days_dropped_total", "Days dropped; forced: a consumer had not passed them", ["feed", "forced"]
)
EVENTS: Final = counter("luxor_feed_events_total", "Events that took effect", ["consumer", "source"])
LAG: Final = gauge(
    "luxor_feed_lag_seconds", "Age of the last event of the last page when it was committed", ["consumer", "source"]
)
PARTITIONS_HELD: Final = gauge(
    "luxor_feed_partitions_held", "Partitions that this replica holds", ["consumer", "source"]
)
DEAD_LETTERS: Final = counter("luxor_feed_dead_letters_total", "Events set aside", ["consumer", "source", "reason"])
RETRIES: Final = counter(
    "luxor_feed_retries_total", "Pages tried again, by kind of trouble", ["consumer", "source", "kind"]
)
LEASES_LOST: Final = counter(
    "luxor_feed_leases_lost_total", "Commits rolled back since a lease was lost", ["consumer", "source"]
)
SNAPSHOTS: Final = counter("luxor_feed_snapshots_total", "Snapshots begun, by cause", ["consumer", "source", "cause"])
