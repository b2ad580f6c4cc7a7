"""Join parts with their consignments: what is due is decided from all that is committed, so the order of filings and parts plays no role.

What a consignment is follows from the newest version that a filer stated as a whole and from all parts that are linked to it. If it differs from the
current version, ingestion files the next one. A consignment that is decided again without a change gets no version.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from libs.columns import Ints, Table
from libs.customs.identifiers import mrn
from libs.customs.time import day_of
from libs.feed.publish.backlog import Backlog
from libs.server.errors import item_error
from libs.store.errors import StoreError, StoreUnavailable
from libs.store.tables.leases import LeaseLost, release_lease, require_lease, try_lease
from libs.tasks.stop import unless_stopped
from libs.telemetry import get_logger
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, MESSAGE_FUNCTION_INVALIDATE, Consignment
from luxor.errors.v1.errors_pb2 import SEVERITY_ERROR
from luxor.ingestion.v1 import parts_pb2 as pb
from services.ingestion import metrics
from services.ingestion.commands.admission import FilerAdmission
from services.ingestion.commands.amend import Amend, Amended
from services.ingestion.commands.parts.linking import CurrentParties, make_days
from services.ingestion.filing.amendment import CHANGED_DAYS, Content, Outcome, Versions
from services.ingestion.filing.completion import VERSIONS_MAX
from services.ingestion.filing.findings import ElementError
from services.ingestion.filing.stages import missing_roles, required_roles, with_awaited_parts, with_missing_roles
from services.ingestion.filing.validation import CARRIER_ID, Checked
from services.ingestion.parts.contradictions import (
    NONE,
    Contradictions,
    contradictions_of,
    first_versions,
    stated_in,
    with_contradictions,
)
from services.ingestion.parts.joining import Part, PartResult, acceptable, join
from services.ingestion.parts.parties import keys_of
from services.ingestion.store.amendments import Amendments, StoredFiling, StoredRow, VersionStored
from services.ingestion.store.parts import LinkedPart, PartStore
from services.ingestion.store.scorecards import Scorecards

PARTS_MAX: Final = 20
"""Parts that are joined with one consignment: the first ones."""
PARTS_BYTES_MAX: Final = 1_000_000
"""Bytes of these parts together. Where one is refused they are joined some forty times, in which others wait."""
DUE_AT_ONCE: Final = 200
INTERVAL_SECONDS: Final = 1.0
_LEASE: Final = "parts"
_LEASE_SECONDS: Final = 30.0
_ERRORS_MAX: Final = 50
_NAMES_OF_FILING: Final = ("local_reference", "function", "amended_mrn", "amended_version")


@dataclass(frozen=True, slots=True)
class _Joined:
    """What a consignment is with its parts."""

    checked: Checked
    """One row: the consignment as it is filed."""
    content: Consignment
    results: Sequence[PartResult]
    """Of each part that was joined."""
    not_added: dict[int, list[ElementError]]
    """By part, why it is not in the filing."""
    missing: tuple[int, ...] = ()
    """The roles of which a required part is missing."""


class JoinParts:
    """Joins parts with consignments that are due."""

    def __init__(
        self,
        store: PartStore,
        amendments: Amendments,
        parties: CurrentParties,
        admission: FilerAdmission,
        check: Callable[[Table], Checked],
        today: Callable[[], int],
        *,
        due: asyncio.Event,
        replica: str,
        shift_micros: int = 0,
        backlog: Backlog | None = None,
    ) -> None:
        """Join by the register of `parties`; `check` checks filings, `today` returns the day in UTC, `due` is set when there is work.

        `replica` names this process; `shift_micros` moves the time of acceptance; `backlog` counts accepted versions.
        """
        self._store = store
        self._amendments = amendments
        self._scorecards = Scorecards(amendments.store.database)
        self._amend = Amend(amendments, self._scorecards)
        self._parties = parties
        self._admission = admission
        self._check = check
        self._today = today
        self._due = due
        self._replica = replica
        self._shift_micros = shift_micros
        self._backlog = backlog

    async def run(self, stop: asyncio.Event) -> None:
        """Join what is due, at once and every second, until `stop`; failures are tried again."""
        while not stop.is_set():
            self._due.clear()
            try:
                while await self.step() and not stop.is_set():
                    pass
            except StoreError as error:
                get_logger().warning("PARTS_POSTPONED", error=type(error).__name__)
            except Exception as error:
                get_logger().error("PARTS_FAILED", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_SECONDS):
                    await unless_stopped(stop, self._due.wait())

    async def step(self) -> int:
        """Join the consignments that are due, and return how many were joined."""
        if not await self._store.has_due():
            return 0
        async with self._store.database.transaction() as tx:
            # One replica joins at a time: an older view of a consignment must not be stored over a newer one.
            token = await try_lease(tx, _LEASE, self._replica, _LEASE_SECONDS)
            if token is None:
                return 0
            await self._store.resolve(tx, DUE_AT_ONCE)
        done = await self._join_due(token)
        async with self._store.database.transaction() as tx:
            await release_lease(tx, _LEASE, token)
        return done

    async def _join_due(self, token: int) -> int:
        due, done = await self._store.due(DUE_AT_ONCE), 0
        for number, ids in due.items():
            try:
                await self._join_until_stored(number, ids, token)
                done += 1
            except (StoreUnavailable, LeaseLost):
                raise
            except Exception as error:  # one consignment that cannot be joined must not delay the others
                get_logger().error("PARTS_NOT_JOINED", error, mrn=number)
                async with self._store.database.transaction() as tx:
                    await self._store.postpone(tx, ids)
        return done

    async def _join_until_stored(self, number: str, ids: Sequence[int], token: int) -> None:
        while True:
            try:
                await self.join(number, ids, token)
                return
            except VersionStored:
                continue

    async def join(self, number: str, ids: Sequence[int], token: int) -> None:
        """Join a consignment with its parts, and remove the entries that say that it is due. Raises VersionStored or LeaseLost."""
        newest, filed_version = await self._amendments.newest(number)
        filing = (await self._amendments.filings(None, [(number, filed_version)])).get(number)
        if filing is not None and filing.current != newest:
            # The filer changed it between the two reads: what it stated before must not replace that.
            raise VersionStored
        # An old declaration is as it was: whoever files a part for its order changes nothing of it.
        is_old = mrn.parse(number).day < self._today() - CHANGED_DAYS
        parts = [] if filing is None or is_old else await self._parts(number, filing, filed_version)
        if filing is None or is_old or not (parts or await self._store.has_joined(number)):
            async with self._store.database.transaction() as tx:
                await self._store.remove_due(tx, ids)
            return
        # With many parts of many items, of which one is refused, this takes seconds.
        joined = await asyncio.to_thread(self._joined, number, filing, filed_version, parts)
        joined = await self._with_missing(joined, parts, filing.versions[filed_version])
        found = contradictions_of(
            [(part.filer, part.role) for place, part in enumerate(parts) if place not in joined.not_added],
            joined.results,
        )
        earlier = await self._earlier(number, filing, filed_version, found)
        # Without parts the filer stated the current version, or withdrew it.
        adds = bool(parts) and not _is_same(joined, earlier[filing.current])
        is_changed = adds or _differ(found, earlier, filing.current, filed_version)
        version = filing.current + is_changed
        if is_changed:
            table = await asyncio.to_thread(_stating, joined, found, earlier, filing, parts)
            table = table if adds else _unchanged(table, joined, earlier, filing.current)
            joined = replace(joined, checked=replace(joined.checked, table=table))
        results = iter(joined.results)
        stored = [
            (
                part,
                version,
                _message(
                    number, version, joined.not_added.get(place), None if place in joined.not_added else next(results)
                ),
            )
            for place, part in enumerate(parts)
        ]
        await make_days(self._store, {mrn.parse(number).day})
        amended = await self._amended(number, filing, joined, parts) if is_changed else None
        async with self._store.database.transaction() as tx:
            await require_lease(tx, _LEASE, token)
            if amended is not None:
                amended = await self._amend.add(
                    tx, amended, None, trace="", shift_micros=self._shift_micros, is_joined=True
                )
            await self._store.add_joined(tx, number, stored)
            await self._store.remove_due(tx, ids)
            if amended is not None:
                await self._scorecards.add(tx, amended.cards, mrn.parse(number).sequence)
        if amended is not None:
            metrics.late.inc(len(amended.declared & joined.checked.late))
        if amended is not None and self._backlog is not None:
            self._backlog.accepted(amended.xid, 1, joined.content.ByteSize())

    async def _earlier(
        self, number: str, filing: StoredFiling, filed_version: int, contradictions: Contradictions
    ) -> dict[int, StoredRow]:
        """Return the versions that may contradict the same parts, or state contradictions that ended: the first one and the last ones.

        They are read only where there are contradictions, or where the filer amended the filing since the last version of ingestion.
        """
        versions = dict(filing.versions)
        if contradictions.count or filing.current == filed_version > 1:
            last = range(max(2, filing.current - VERSIONS_MAX), filing.current)
            unread = [(number, version) for version in last if version not in versions]
            stored = (await self._amendments.filings(None, unread)).get(number) if unread else None
            versions |= stored.versions if stored is not None else {}
        return {version: each for version, each in versions.items() if version <= filing.current}

    async def _parts(self, number: str, filing: StoredFiling, filed_version: int) -> list[LinkedPart]:
        """Return the parts that may be added to a consignment, in the order of filing; none to a declaration that was withdrawn."""
        filed = filing.versions[filed_version]
        if filed.table.ints("function").values[filed.row] == MESSAGE_FUNCTION_INVALIDATE:
            return []
        parties = await self._parties.read()
        found: list[LinkedPart] = []
        size = 0
        for part in await self._store.linked(number, keys_of(filed.table, [filed.row]).get(filed.row, ())):
            # What was joined stays, also when the register changes: a declaration loses nothing that it had.
            may_add = part.is_joined or part.has_linking_key
            may_add = may_add or parties.may_add(part.filer, part.role, filed.table, filed.row)
            # Whoever names an order of somebody else gets nothing of its parts: the party states whose consignments it means.
            means_it = part.consignment_filer == filing.filer or (part.has_linking_key and not part.consignment_filer)
            if not may_add or not (part.is_joined or means_it):
                continue
            if len(found) == PARTS_MAX or size + len(part.content) > PARTS_BYTES_MAX:
                break
            # Who is suspended adds nothing more, whoever it acts for and whatever keys it has.
            if part.is_joined or await self._admission.refusal(part.filer) is None:
                found.append(part)
                size += len(part.content)
        return found

    def _joined(self, number: str, filing: StoredFiling, filed_version: int, parts: Sequence[LinkedPart]) -> _Joined:
        """Return a consignment with all of its parts; or, if it were refused with them, with those that it is not refused with."""
        row = filing.versions[filed_version]
        filed = _content(row.table, row.row)
        stated = [Part(part.filer, Consignment.FromString(part.content)) for part in parts]

        def check(content: Consignment) -> tuple[Checked, dict[tuple[str, str], ElementError]]:
            content.function, content.amended_mrn, content.amended_version = (
                MESSAGE_FUNCTION_AMEND,
                number,
                filing.current,
            )
            checked = self._check(Table.from_messages([content], ConsignmentColumns, Consignment))
            return checked, {(each.reason, each.path): each for each in checked.errors.get(0, ()) if not each.warns}

        def attempt(places: Iterable[int]) -> tuple[Checked, list[PartResult], dict[tuple[str, str], ElementError]]:
            content, results = join(filed, filing.filer, [stated[place] for place in places])
            checked, errors = check(content)
            return checked, results, errors

        checked, results, errors = attempt(range(len(parts)))
        not_added: dict[int, list[ElementError]] = {}
        if errors:
            # What was accepted stays accepted, whatever is refused of it today: what the filer stated, and the current version with what parts added.
            current = filing.versions[filing.current]
            joined_before = check(_content(current.table, current.row))[1] if filing.current > filed_version else {}
            known = attempt(())[2].keys() | joined_before.keys()

            def refused(places: Sequence[int]) -> dict[tuple[str, str], ElementError]:
                return {key: error for key, error in attempt(places)[2].items() if key not in known}

            places, not_added = acceptable(len(parts), refused)
            checked, results, _ = attempt(places)
        return _Joined(checked, _content(checked.table, 0), results, not_added)

    async def _with_missing(self, joined: _Joined, parts: Sequence[LinkedPart], filed: StoredRow) -> _Joined:
        """Return the same with the roles of which it lacks a required part, by the law of the day of the filer's version, and the parties in them.

        Whoever has a linking key may state anything: only a registered party that this version names files the part that a law requires, or who
        represents it, and only a part that is added counts.
        """
        required = required_roles(joined.checked.table, day_of(filed.accepted_at)).get(0, ())
        if not required:
            return replace(joined, checked=replace(joined.checked, table=with_missing_roles(joined.checked.table, {})))
        parties = await self._parties.read()
        added = [part for place, part in enumerate(parts) if place not in joined.not_added]
        roles = {
            pb.PartyRole.Name(each.role)  # type: ignore[arg-type]
            for each in added
            if parties.may_add(
                each.filer, each.role, filed.table, filed.row, joined_day=each.day if each.is_joined else None
            )
        }
        names = [each for each in required if f"PARTY_ROLE_{each}" not in roles]
        table = with_missing_roles(joined.checked.table, {0: names})
        missing = missing_roles(table, 0)
        # Whom a part names is not notified: only what the filer states entitles a party. Nor is one whose part cannot be added yet.
        there = {each.role for each in parts if parties.may_add(each.filer, each.role, filed.table, filed.row)}
        if awaited := parties.awaited(filed.table, filed.row, [each for each in missing if each not in there]):
            table = with_awaited_parts(table, {0: awaited})
        return replace(joined, checked=replace(joined.checked, table=table), missing=missing)

    async def _amended(
        self, number: str, filing: StoredFiling, joined: _Joined, parts: Sequence[LinkedPart]
    ) -> Amended:
        """Return the next version of a filing, filed by the party of the last part that adds anything."""
        first = filing.versions[1]
        reference = first.table.strings("local_reference")[first.row]
        versions = Versions(reference, number, filing.filer, filing.current)
        versions.contents = {version: Content(each.table, each.row) for version, each in filing.versions.items()}
        versions.times = {version: each.accepted_at for version, each in filing.versions.items()}
        outcome = Outcome(filing=versions, version=filing.current + 1, is_new=True)
        added = [part.filer for place, part in enumerate(parts) if place not in joined.not_added]
        adding = (by for by, each in zip(reversed(added), reversed(joined.results), strict=True) if each.added)
        by = next(adding, added[-1] if added else filing.filer)
        declarants = await self._admission.declarants()
        if days := self._amendments.missing_days([number]):
            async with self._store.database.transaction() as tx:
                await self._amendments.add_days(tx, days)
        amended = Amended(by, joined.checked.table, {0: outcome}, declarants=declarants, day=self._today())
        return await self._amend.scored(await self._amend.completing(amended), None, joined.checked.quality)


def _is_withdrawn(version: StoredRow) -> bool:
    return version.table.ints("function")[version.row] == MESSAGE_FUNCTION_INVALIDATE


def _is_same(joined: _Joined, version: StoredRow) -> bool:
    """Return whether a version has all elements of a consignment with its parts, and lacks the same roles."""
    return joined.content == _content(version.table, version.row) and joined.missing == missing_roles(
        version.table, version.row
    )


def _differ(contradictions: Contradictions, earlier: Mapping[int, StoredRow], current: int, filed_version: int) -> bool:
    """Return whether the current version does not state the contradictions that were found.

    A version of the filer states none, so they are stated again after it; where there are none, only if an earlier version stated any.
    """
    if _is_withdrawn(earlier[current]):
        return False
    if current == filed_version:
        return bool(contradictions.count or _last_stated(earlier).count)
    return contradictions != (stated_in(earlier[current].table, earlier[current].row) or NONE)


def _last_stated(earlier: Mapping[int, StoredRow]) -> Contradictions:
    """Return the contradictions that the last version states which states any, or that there are none."""
    statements = (stated_in(each.table, each.row) for _, each in sorted(earlier.items(), reverse=True))
    return next((each for each in statements if each is not None), NONE)


def _stating(
    joined: _Joined,
    contradictions: Contradictions,
    earlier: Mapping[int, StoredRow],
    filing: StoredFiling,
    parts: Sequence[LinkedPart],
) -> Table:
    """Return the next version with the contradictions that it states: none where it has none and ends none."""
    current = filing.current
    if not contradictions.count and not _last_stated(earlier).count:
        return joined.checked.table
    added = [
        Part(part.filer, Consignment.FromString(part.content))
        for place, part in enumerate(parts)
        if place not in joined.not_added
    ]
    contents = {version: _content(each.table, each.row) for version, each in earlier.items() if not _is_withdrawn(each)}
    first = first_versions(contradictions, contents, current, filing.filer, added)
    return with_contradictions(joined.checked.table, contradictions, first, current + 1)


def _unchanged(table: Table, joined: _Joined, earlier: Mapping[int, StoredRow], current: int) -> Table:
    """Return a version that changes no element and no missing role, with the first version since which nobody did."""
    since = current
    while since - 1 in earlier and _is_same(joined, earlier[since - 1]):
        since -= 1
    return table.with_columns({"unchanged_since": Ints.of([since])})


def _content(table: Table, row: int) -> Consignment:
    """Return what a stored version states, without what names the filing; the carrier as it was filed."""
    taken = table.take(np.array([row], np.int64))
    content = taken.to_messages(Consignment)[0]
    content.carrier_identifier = taken.strings(CARRIER_ID)[0] or content.carrier_identifier
    for name in _NAMES_OF_FILING:
        content.ClearField(name)
    return content


def _message(number: str, version: int, not_added: Sequence[ElementError] | None, result: PartResult | None) -> bytes:
    """Return the message of what became of a part in a consignment, as officers see it."""
    message = pb.JoinedConsignment(mrn=number, filing_version=0 if not_added else version)
    for error in (not_added or ())[:_ERRORS_MAX]:
        # Without the value: another party may have stated it.
        path = error.path.removeprefix("consignments[0].")
        message.not_added.append(item_error(error.reason, path, "", SEVERITY_ERROR, **error.facts))
    if result is not None:
        message.added_elements.extend(result.added)
        for each in result.contradictions:
            message.contradictions.add(
                path=each.path,
                consignment_value=each.consignment_value,
                part_value=each.part_value,
                stated_by=each.stated_by,
            )
    return message.SerializeToString()
