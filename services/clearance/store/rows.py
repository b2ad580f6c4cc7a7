"""Rows of the table of states, the day in an MRN, and the keys of notices."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

import asyncpg

from libs.customs.identifiers.mrn import check_digit, parse
from libs.feed.types import BatchRef

STATE_DAYS: Final = 390
"""Days after acceptance for which a consignment is stored; the batches of its states are stored somewhat longer."""

_FILER, _CARRIER, _AGENCY = "filer:", "carrier:", "agency:"
# Many rows refer to one batch: they share its object.
_batch = lru_cache(maxsize=1024)(BatchRef)


class Row(NamedTuple):
    """One consignment in the table of states."""

    mrn: str
    day: int
    partition: int
    filer: str
    version: int
    filing_version: int
    state: int
    lane: int
    ref: BatchRef
    row: int


def day_of(mrn: str) -> int:
    """Return the day of acceptance in an MRN; raise MrnError if it is not one of Luxor. The api checks the check digit."""
    return _day(mrn[:2] + mrn[4:9])


def days_of(mrns: Iterable[str]) -> list[int]:
    """Return the day of acceptance in each MRN, as `day_of` does; few days occur in many MRNs. Raises MrnError."""
    # Without the country, which says nothing of the day: so the distinct ones are a third.
    heads = [mrn[:2] + mrn[4:9] for mrn in mrns]
    days = {head: _day(head) for head in set(heads)}
    return list(map(days.__getitem__, heads))


@lru_cache(maxsize=4096)
def _day(head: str) -> int:
    # Every MRN of that day contains it, so one with a correct check digit is composed.
    first = f"{head[:2]}XX{head[2:]}0000000R"
    return parse(f"{first}{check_digit(first)}").day


def filer_key(filer: str) -> str:
    """The key of a filer's notices."""
    return _FILER + filer


def carrier_key(carrier: str) -> str:
    """The key of a carrier's notices; of no one if there is no carrier."""
    return _CARRIER + carrier if carrier else ""


def agency_key(agency: str) -> str:
    """The key of a partner agency's notices."""
    return _AGENCY + agency


def row_of(record: asyncpg.Record, mrn: str, day: int) -> Row:
    """Read what the table of states says of `mrn`: after the first column of `record`, those of the table from `partition` on."""
    _, partition, filer, version, filing_version, state, lane, batch_day, batch_id, row = record
    return Row(mrn, day, partition, filer, version, filing_version, state, lane, _batch(batch_day, batch_id), row)
