"""Settings of ingestion."""

from dataclasses import dataclass

from libs.server.config.server_config import Settings, setting


@dataclass(frozen=True, kw_only=True, repr=False)
class IngestionConfig(Settings, service="ingestion"):
    """What ingestion alone reads."""

    clock_shift_seconds: int = setting("CLOCK_SHIFT_SECONDS", default=0, low=-80_000, high=500_000, example="0")
    """Moves the time of acceptance away from the database's clock, for staging: to see the law of another day."""
