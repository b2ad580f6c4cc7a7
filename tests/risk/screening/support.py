"""What the tests of screening share: invented lists, and where the public ones are."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from services.risk.screening.lists.ofac import load_ofac
from services.risk.screening.lists.party_list import EntryKind, EntryName, ListEntry, ListVersion, PartyList, Quality
from services.risk.screening.lists.un import load_un
from services.risk.screening.matching.index import Index
from services.risk.screening.matching.list_changes import ChangedEntries, Delta

NAMES = Path(__file__).resolve().parents[4] / "shared" / "data" / "names"
public = pytest.mark.skipif(not NAMES.exists(), reason="the public lists (../shared/data/names) are not here")

UN_FILE = NAMES / "un_consolidated_2026-02-27.xml"
SDN_FILE = NAMES / "ofac_sdn_2021.csv"
ALT_FILE = NAMES / "ofac_alt_2021.csv"


def un() -> PartyList:
    return load_un(UN_FILE.read_bytes())


def ofac() -> PartyList:
    return load_ofac(SDN_FILE.read_bytes(), ALT_FILE.read_bytes(), published=date(2021, 11, 1))


def entry(number: str, *names: str, kind: EntryKind = EntryKind.PERSON) -> ListEntry:
    """An entry whose first name is the primary one."""
    qualities = [Quality.PRIMARY, *[Quality.STRONG] * (len(names) - 1)]
    return ListEntry(
        number, kind, tuple(EntryName(text, quality) for text, quality in zip(names, qualities, strict=True))
    )


def again(index: Index, delta: Delta) -> ChangedEntries:
    """What screens names again against what has come with a delta; `index` is the one after it."""
    return ChangedEntries(index, {delta.version.source: frozenset(each.id for each in delta.added_or_changed)})


def version(source: str = "OWN", entries: int = 1, digest: str = "0" * 64) -> ListVersion:
    return ListVersion(source, date(2026, 11, 1), digest, entries)
