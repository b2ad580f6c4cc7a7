"""Amend and invalidate filings: decide which versions a batch adds, before its transaction, and add them in it.

What is decided stands on what was committed before the transaction began, so the versions of a consignment are announced in their order. A version
that another call stores meanwhile makes the caller decide again (VersionStored).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from libs.columns import Ints, Ragged, Strings, Table
from libs.customs.identifiers import mrn
from libs.customs.partitions import partitions_of
from libs.store.database import Transaction
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_INVALIDATE
from services.ingestion.filers.register import Declarants
from services.ingestion.filing.amendment import (
    Content,
    Outcome,
    Versions,
    differing,
    outcome_of,
    replaced_before,
    unknown_filing,
)
from services.ingestion.filing.completion import VERSIONS_MAX, completes, declares, incomplete
from services.ingestion.filing.findings import ElementError
from services.ingestion.filing.stages import with_awaited_parts, with_missing_roles
from services.ingestion.parts.contradictions import without_contradictions
from services.ingestion.quality.scorecards import Card, Key
from services.ingestion.quality.scores import Array, later_version
from services.ingestion.store.amendments import Amendments
from services.ingestion.store.filings import Filing, Taken
from services.ingestion.store.scorecards import Scorecards


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt of a version."""

    mrn: str
    version: int
    local_reference: str
    accepted_at: int
    """Microseconds since 1970-01-01 UTC."""
    changed_by: str
    """Who filed the version; empty: the filer of the first one."""
    quality: Array | None
    """None for an invalidation, and where it was not scored."""


@dataclass(frozen=True, slots=True)
class Amended:
    """The amendments and invalidations of a batch."""

    filer: str
    """Who files them."""
    table: Table
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By row of the batch."""
    mrns: Sequence[str] = ()
    """Of the new filings of the batch, once they are stored."""
    now: int = 0
    """When the new versions were accepted."""
    declarants: Declarants = field(default_factory=Declarants)
    """The register on `day`, which states the status of trusted operators."""
    day: int = 0
    xid: int = 0
    """The number of the transaction that added versions; 0 if none was added."""
    quality: Mapping[tuple[str | int, int], Array | None] = field(default_factory=dict)
    """By number of a filing, as in Versions, and version: of repeated and new versions, and of the first and the newest of filings that change."""
    cards: Mapping[Key, Card] = field(default_factory=dict)
    """What the new versions change of scorecards."""
    completed: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """The earlier versions that new ones complete, by row of the batch."""
    declared: frozenset[int] = frozenset()
    """The rows whose new versions are the declaration of what was filed before it."""

    def error(self, row: int) -> ElementError | None:
        """Return why a row was refused, None if it was not."""
        return self.outcomes[row].error

    def receipt(self, row: int) -> Receipt:
        """Return the receipt of a row that was not refused."""
        outcome = self.outcomes[row]
        assert outcome.filing is not None
        at = self.now if outcome.is_new else outcome.filing.times.get(outcome.version, self.now)
        by = outcome.filing.changed_by.get(outcome.version, "")
        if outcome.is_new:
            by = self.changed_by(outcome.filing)
        quality = self.quality.get((outcome.filing.number, outcome.version))
        return Receipt(self.number(outcome.filing), outcome.version, outcome.filing.reference, at, by, quality)

    def changed_by(self, filing: Versions) -> str:
        """Return who files the new versions of a filing, "" where it is the filer of the first one."""
        return "" if filing.filer == self.filer else self.filer

    def number(self, filing: Versions) -> str:
        """Return the MRN of a filing."""
        return filing.number if isinstance(filing.number, str) else self.mrns[filing.number]

    @property
    def new(self) -> dict[int, Outcome]:
        """Return the outcomes that add versions, by row."""
        return {row: each for row, each in self.outcomes.items() if each.is_new}

    @property
    def filers(self) -> set[str]:
        """Return who filed the first versions of what changes."""
        return {each.filing.filer for each in self.new.values() if each.filing is not None}

    @property
    def stored(self) -> set[int]:
        """Return the rows whose version is stored, with the same content."""
        some = ((row, each.filing, each) for row, each in self.outcomes.items() if each.error is None)
        return {row for row, filing, each in some if filing is not None and each.version in filing.times}

    @property
    def any_refused(self) -> bool:
        """Return whether any of them was refused."""
        return any(each.error is not None for each in self.outcomes.values())


class Amend:
    """Amends and invalidates filings: a filer's own, and those entrusted to it by a representation."""

    def __init__(self, amendments: Amendments, scorecards: Scorecards) -> None:
        """Read and write versions, and the quality of each."""
        self._amendments = amendments
        self._scorecards = scorecards

    async def decide(
        self,
        filer: str,
        table: Table,
        rows: Sequence[int],
        filing: Filing | None,
        *,
        oldest: int,
        scored: Array | None = None,
    ) -> Amended:
        """Return what these rows of a batch do; `filing` has the new filings of the same batch, which they may change.

        `scored` has the quality of each row of the batch, None where they are not scored.
        Filings that were accepted before the day `oldest` are not changed any more.
        """
        filings = await self._filings(filer, table, rows, filing, oldest)
        outcomes: dict[int, Outcome] = {}
        for row, versions in zip(rows, filings, strict=True):
            own = Content(table, row)
            outcomes[row] = Outcome(unknown_filing(own)) if versions is None else outcome_of(own, versions)
        repeats = [
            (row, each.filing, each.version) for row, each in outcomes.items() if each.filing and not each.is_new
        ]
        pairs = [(Content(table, row), versions, version) for row, versions, version in repeats]
        for (row, versions, _), differs in zip(repeats, differing(pairs), strict=True):
            if differs:
                outcomes[row] = Outcome(replaced_before(Content(table, row), versions))
        changed = [each.filing for each in outcomes.values() if each.filing is not None]
        numbers = {each.number for each in changed if isinstance(each.number, str)}
        if days := self._amendments.missing_days(numbers):
            async with self._amendments.store.database.transaction() as tx:
                await self._amendments.add_days(tx, days)
        return await self.scored(await self.completing(Amended(filer, table, outcomes)), filing, scored)

    async def completing(self, amended: Amended) -> Amended:
        """Return the same with the earlier versions that its new ones complete: clearance applies such a version although the goods were presented.

        Nobody knows here which version clearance applied last: those between the first and the newest are read where these lack anything.
        """
        table, new = amended.table, amended.new
        filings = {
            row: each.filing
            for row, each in new.items()
            if each.filing is not None and not Content(table, row).is_withdrawn()
        }

        def earlier(row: int, contents: Mapping[int, Content]) -> dict[tuple[int, int], Content]:
            ended, version = filings[row].withdrawals, new[row].version
            return {(row, each): content for each, content in contents.items() if each < version and each not in ended}

        found = _incomplete(earlier(row, filing.contents) for row, filing in filings.items())
        unread = {
            (filing.number, version): row
            for row in dict.fromkeys(row for row, _ in found)
            if isinstance((filing := filings[row]).number, str)
            for version in range(max(2, new[row].version - VERSIONS_MAX), new[row].version)
            if version not in filing.contents
        }
        if unread:
            stored = await self._amendments.filings(None, [(str(number), version) for number, version in unread])
            found |= _incomplete(
                earlier(row, {version: Content(each.table, each.row)})
                for (number, version), row in unread.items()
                if (each := stored[str(number)].versions.get(version)) is not None
            )
        completed: dict[int, list[int]] = {}
        pairs = [(content, Content(table, row)) for (row, _), content in found.items()]
        for (row, version), fits in zip(found, completes(pairs), strict=True):
            if fits:
                completed.setdefault(row, []).append(version)
        return replace(amended, completed=completed)

    async def scored(self, amended: Amended, filing: Filing | None, scored: Array | None) -> Amended:
        """Return the same with the quality of its versions; `scored` has that of each row of the batch, None where they are not scored."""
        outcomes, table = amended.outcomes, amended.table
        quality = await self._quality(outcomes.values(), filing)
        declared: set[int] = set()
        if scored is not None:
            new = sorted((row for row, each in outcomes.items() if each.is_new), key=lambda row: outcomes[row].version)
            filings = {row: each for row in new if (each := outcomes[row].filing) is not None}
            pairs = [(filings[row].contents[outcomes[row].version - 1], Content(table, row)) for row in new]
            declared = {row for row, is_declaration in zip(new, declares(pairs), strict=True) if is_declaration}
            for row in new:
                number, version, filed = filings[row].number, outcomes[row].version, scored[row : row + 1]
                prior = quality.get((number, version - 1))
                prior = quality.get((number, 1)) if prior is None else prior
                withdrawn = Content(table, row).is_withdrawn()
                later = filed if prior is None else later_version(filed, prior, declares=row in declared)
                quality[number, version] = None if withdrawn else later
        return replace(amended, quality=quality, declared=frozenset(declared))

    async def _quality(
        self, outcomes: Iterable[Outcome], filing: Filing | None
    ) -> dict[tuple[str | int, int], Array | None]:
        """Return the quality of stored versions: those that are repeated, and the first and the newest of filings that change."""
        quality: dict[tuple[str | int, int], Array | None] = {}
        stored: dict[tuple[str, int], None] = {}
        for each in outcomes:
            if each.filing is None:
                continue
            number = each.filing.number
            if isinstance(number, str):
                versions = (1, max(each.filing.times)) if each.is_new else (each.version,)
                stored |= dict.fromkeys((number, version) for version in versions)
            elif filing is not None and filing.quality is not None:
                quality[number, 1] = filing.quality[number : number + 1]
        if stored:
            quality |= zip(stored, await self._scorecards.qualities(list(stored)), strict=True)
        return quality

    async def _filings(
        self, filer: str, table: Table, rows: Sequence[int], filing: Filing | None, oldest: int
    ) -> list[Versions | None]:
        """Return the filing that each row names, None where the filer has no such filing and none is entrusted to it."""
        numbers = [table.strings("amended_mrn")[row] for row in rows]
        names = [table.strings("local_reference")[row] for row in rows]
        by_name = [place for place, number in enumerate(numbers) if not number]
        if by_name:
            some = [names[place] for place in by_name]
            found = await self._amendments.store.by_reference(filer, some, partitions_of(filer, some))
            for place, receipt in zip(by_name, found, strict=True):
                numbers[place] = receipt.mrn if receipt is not None else ""
        replaced = table.ints("amended_version").values
        requested = [
            (number, int(replaced[row]) + 1)
            for number, row in zip(numbers, rows, strict=True)
            if _day_of(number) >= oldest
        ]
        stored = await self._amendments.filings(filer, requested) if requested else {}
        new = {name: place for place, name in enumerate(filing.references)} if filing is not None else {}
        own: dict[str | int, Versions | None] = {}
        for number, each in stored.items():
            first = each.versions[1]
            reference = first.table.strings("local_reference")[first.row]
            contents = {version: Content(row.table, row.row) for version, row in each.versions.items()}
            times = {version: row.accepted_at for version, row in each.versions.items()}
            own[number] = Versions(reference, number, each.filer, each.current, contents, times, each.changed_by)
        results: list[Versions | None] = []
        for number, name in zip(numbers, names, strict=True):
            if not number and filing is not None and name in new:
                content = {1: Content(filing.table, new[name])}
                own.setdefault(new[name], Versions(name, new[name], filer, contents=content))
                results.append(own[new[name]])
                continue
            versions = own.get(number)
            results.append(versions if versions is not None and name in ("", versions.reference) else None)
        return results

    async def add(
        self,
        tx: Transaction,
        amended: Amended,
        taken: Taken | None,
        *,
        trace: str,
        shift_micros: int,
        is_joined: bool = False,
    ) -> Amended:
        """Add the new versions in the caller's transaction, after its new filings; `is_joined`: they add parts. Raises VersionStored."""
        amended = replace(amended, mrns=taken.mrns if taken is not None else ())
        new = amended.new
        if not new:
            return amended
        table, rows = _contents(amended.table, new)
        # Later versions behind earlier ones, also of what a consumer sets aside and applies one after the other.
        order = sorted(range(len(rows)), key=lambda place: new[rows[place]].version)
        table, rows = table.take(np.array(order, np.int64)), [rows[place] for place in order]
        filings = [each for row in rows if (each := new[row].filing) is not None]
        numbers = [amended.number(each) for each in filings]
        partitions = np.array([mrn.parse(each).partition for each in numbers], np.int64)
        table = table.with_columns(
            {
                "mrn": Strings.of(numbers),
                "amended_mrn": Strings.of(numbers),
                "local_reference": Strings.of([each.reference for each in filings]),
                "version": Ints.of([new[row].version for row in rows]),
                # Whoever changes it: the filing, its reference and its notices stay those of its filer.
                "filer": Strings.of([each.filer for each in filings]),
                "partition": Ints.of(partitions),
            }
        )
        # By the filer of the filing, whoever changes it.
        until = amended.declarants.trusted_until(
            [each.filer for each in filings], table.strings("declarant_identifier"), amended.day
        )
        if until.valid.any() or "filer_trusted_until" in table.names:
            table = table.with_columns({"filer_trusted_until": until})
        completed = [sorted(amended.completed.get(row, ())) for row in rows]
        if any(completed) or "completed_versions" in table.names:
            numbered = Ints.of([version for each in completed for version in each])
            table = table.with_columns(
                {"completed_versions": Ragged.of_lengths([len(each) for each in completed], numbered)}
            )
        changed_by = [amended.changed_by(each) for each in filings]
        qualities = [
            amended.quality.get((each.number, new[row].version)) for each, row in zip(filings, rows, strict=True)
        ]
        stored = [None if each is None else each.tobytes() for each in qualities]
        now, xid = await self._amendments.add(
            tx, table, partitions, changed_by, stored, trace=trace, shift_micros=shift_micros, is_joined=is_joined
        )
        return replace(amended, now=now, xid=xid, cards=_cards(amended))


def _incomplete(versions: Iterable[Mapping[tuple[int, int], Content]]) -> dict[tuple[int, int], Content]:
    """Return the versions that lack a required part or were filed before the declaration, by row of the batch and version."""
    whole = {key: content for each in versions for key, content in each.items()}
    return {key: whole[key] for key, lacks in zip(whole, incomplete(list(whole.values())), strict=True) if lacks}


def _contents(table: Table, new: dict[int, Outcome]) -> tuple[Table, list[int]]:
    """Return the content of the new versions, and the row of the batch that each of them is from."""
    withdrawn = [row for row in new if Content(table, row).is_withdrawn()]
    amending = [row for row in new if row not in set(withdrawn)]
    parts = [table.take(np.array(amending, np.int64))] if amending else []
    rows = list(amending)
    sources: dict[int, list[tuple[int, Content]]] = {}
    for row in withdrawn:
        filing, version = new[row].filing, new[row].version
        assert filing is not None
        content = filing.contents[version]
        sources.setdefault(id(content.table), []).append((row, content))
    for group in sources.values():
        own = table.take(np.array([row for row, _ in group], np.int64))
        former = group[0][1].table.take(np.array([each.row for _, each in group], np.int64))
        if "missing_roles" in former.names:
            former = with_missing_roles(former, {})
        if "awaited_parts" in former.names:
            former = with_awaited_parts(former, {})
        parts.append(
            without_contradictions(former).with_columns(
                {
                    "function": Ints.constant(MESSAGE_FUNCTION_INVALIDATE, former.rows),
                    "amended_version": own.ints("amended_version"),
                    "return_document_number": own.strings("return_document_number"),
                    "return_document_type": own.strings("return_document_type"),
                }
            )
        )
        rows += [row for row, _ in group]
    return Table.concat(parts), rows


def _cards(amended: Amended) -> dict[Key, Card]:
    """Return what new versions change of scorecards: those of the day and the filer of the first versions, if these were scored."""
    cards: dict[Key, Card] = {}
    for each in sorted(amended.new.values(), key=lambda each: each.version):
        filing = each.filing
        assert filing is not None
        first = amended.quality.get((filing.number, 1))
        if first is None:
            continue
        prior = amended.quality.get((filing.number, each.version - 1))
        if (
            prior is None
            and not filing.contents[each.version - 1].is_withdrawn()
            and each.version - 1 not in filing.withdrawals
        ):
            prior = first  # a version of a release without scores left the card as it was
        key = Key(mrn.parse(amended.number(filing)).day, filing.filer)
        cards.setdefault(key, Card()).replace(prior, amended.quality.get((filing.number, each.version)))
    return cards


def _day_of(number: str) -> int:
    """Return the day in an MRN that Luxor gives, -1 for any other text."""
    try:
        return mrn.parse(number).day
    except mrn.MrnError:
        return -1
