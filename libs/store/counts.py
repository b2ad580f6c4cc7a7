"""Counts of a database: its transactions, and the durability of its commits."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Durability:
    """The settings that decide whether a commit outlives a power cut; benchmarks print them."""

    server: str
    fsync: str
    synchronous_commit: str
    full_page_writes: str

    def __str__(self) -> str:
        return (
            f"PostgreSQL {self.server}: fsync={self.fsync} synchronous_commit={self.synchronous_commit} "
            f"full_page_writes={self.full_page_writes}"
        )


@dataclass(slots=True)
class Counts:
    """What this process did to this database since it opened it; telemetry reads it."""

    transactions: int = 0
    """Write transactions that committed."""
    rolled_back: int = 0
    slow: int = 0
    """Write transactions that lasted over `HORIZON_MILLIS_MAX`, however they ended."""
    slowest_millis: float = 0.0
    unavailable: int = 0
    """Failures that a repetition may cure."""
    unavailable_by: dict[str, int] = field(default_factory=dict)
    """The same by the reason of `StoreUnavailable`."""
    waiting: int = 0
    """Who waits for a connection of the pool now."""
