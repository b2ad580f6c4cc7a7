"""Settings of ingestion."""

from dataclasses import dataclass

from libs.server.config.server_config import Settings, setting


@dataclass(frozen=True, kw_only=True, repr=False)
class IngestionConfig(Settings, service="ingestion"):
    """The settings of ingestion only."""

    clock_shift_seconds: int = setting("CLOCK_SHIFT_SECONDS", default=0, low=-80_000, high=500_000, example="0")
    """Seconds that are added to the time of acceptance, for staging: filings are then assessed by the law of another day."""
