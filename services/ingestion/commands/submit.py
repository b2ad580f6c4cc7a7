"""Submit a batch of consignments: valid ones are accepted in one transaction, which also stores the request. Amendments follow new filings.

A repeated request gets its first answer; with other content it is refused (RequestReused).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from libs.columns import Table, digests, table_digest
from libs.customs.codes import tidy_code
from libs.customs.partitions import partitions_of
from libs.customs.time import date_of_day, day_of
from libs.feed.publish.backlog import Backlog
from libs.filing_stages.direction import exports, of_rows
from libs.release_law.law import included
from libs.store.database import Transaction
from services.ingestion.commands.admission import FilerAdmission, NotAdmitted
from services.ingestion.commands.amend import Amend
from services.ingestion.commands.parts.linking import Linking
from services.ingestion.commands.submitted import Submitted
from services.ingestion.filers.register import Declarants
from services.ingestion.filing import check_rules, validation
from services.ingestion.filing.amendment import CHANGED_DAYS
from services.ingestion.filing.check_rules import CheckRules
from services.ingestion.filing.findings import ElementError
from services.ingestion.filing.validation import ENVELOPE
from services.ingestion.quality.scorecards import Card, Key, examples_of, measured
from services.ingestion.schemes.register import SchemeRegister
from services.ingestion.store.amendments import Amendments, VersionStored
from services.ingestion.store.filings import NO_DIGEST, Filing, PriorReference, Store, Taken, Uncompared
from services.ingestion.store.scorecards import Scorecards


@dataclass(frozen=True, slots=True)
class _Request:
    """What a transaction needs beside the filing."""

    filer: str
    id: str
    table: Table
    stored: Sequence[bytes] | None
    """Digests of all rows while the release before may run; None afterwards."""
    trace: str
    encode: Callable[[Submitted], bytes]

    def digest(self) -> bytes:
        """Return what stands for the content of the request, refused rows included."""
        return table_digest(self.table, ENVELOPE) if self.stored is None else _of_rows(self.stored)

    def other_digest(self) -> bytes:
        """Return the same in the form of the other release."""
        return _of_rows(digests(self.table, ENVELOPE)) if self.stored is None else table_digest(self.table, ENVELOPE)


def _of_rows(stored: Sequence[bytes]) -> bytes:
    """Return the digest of a request as the release before computes it, from those of its rows."""
    return sha256(b"".join(stored)).digest()


class Submit:
    """Submits batches."""

    def __init__(
        self,
        store: Store,
        *,
        shift_micros: int = 0,
        backlog: Backlog | None = None,
        rules: CheckRules | None = None,
        admission: FilerAdmission | None = None,
        linking: Linking | None = None,
        schemes: Callable[[], SchemeRegister | None] = lambda: None,
    ) -> None:
        """Write to `store`; `shift_micros` moves the time of acceptance (for tests of other days), `backlog` counts accepted filings.

        `rules` are checked beside the forms of elements; None: those that are included. `admission` admits filers;
        None: by the register, open to all. `linking` links consignments to parts; None: they have none.
        `schemes` returns the register of scheme numbers, None while it is not known.
        Documents are accepted by the law of release categories of this release. Raises ReleaseLawError.
        """
        self._release_law = included()
        self._rules = check_rules.included() if rules is None else rules
        self._store = store
        self._admission = FilerAdmission(store.filers) if admission is None else admission
        self._scorecards = Scorecards(store.database)
        self._amend = Amend(Amendments(store), self._scorecards)
        self._calls = itertools.count()
        self._linking = linking
        self._schemes = schemes
        self._shift_micros = shift_micros
        self._backlog = backlog
        self._digests_until: float | None = None

    def today(self) -> int:
        """Return the day in UTC by which filings are checked, days since 1970-01-01."""
        return day_of(self.now())

    def now(self) -> int:
        """Return the time by which filings are checked, microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000 + self._shift_micros

    def check(self, table: Table, not_entrusted: frozenset[str] = frozenset()) -> validation.Checked:
        """Check a batch (ConsignmentColumns) by the law and the rules of now; `not_entrusted` declarants are not its filer's to name."""
        now = self.now()
        day = day_of(now)
        # The year that it is somewhere on earth: it may begin a day before it does in UTC.
        year = date_of_day(day + 1).year
        return validation.check(
            table,
            year,
            law=self._release_law,
            day=day,
            rules=self._rules,
            now=now,
            not_entrusted=not_entrusted,
            schemes=self._schemes(),
        )

    async def run(
        self,
        filer: str,
        request_id: str,
        table: Table,
        *,
        trace: str,
        request_bytes: int,
        encode: Callable[[Submitted], bytes],
    ) -> Submitted:
        """Check a batch (ConsignmentColumns) and accept its valid consignments.

        `encode` serialises the response that is stored in the same transaction. Raises RequestReused.
        """
        declarants, day = await self._admission.declarants(), self.today()
        checked = await self._checked(filer, table, declarants, day)
        if self._linking is not None:
            own = dict.fromkeys(checked.new(), filer) if checked.table.may_have("missing_roles") else {}
            checked = replace(checked, table=await self._linking.with_awaited_parts(checked.table, own))
        stored = digests(checked.table, ENVELOPE) if await self._stores_digests() else None
        request = _Request(filer, request_id, checked.table, stored, trace, encode)
        submitted = _filing(filer, checked, stored, declarants, day)
        later = checked.later()
        equal: dict[str, bool] = {}
        keys = await self._linking.keys(checked.table) if self._linking is not None else {}
        # Each turn compares at least one more reference or finds a further version, so there are at most as many turns as both.
        while True:
            if len(later):
                oldest = day - CHANGED_DAYS
                amended = await self._amend.decide(
                    filer, checked.table, later, submitted.filing, oldest=oldest, scored=checked.quality
                )
                if self._linking is not None:
                    # Parts are for the filer of the first version, whoever amends it.
                    filers = {row: each.filing.filer for row, each in amended.new.items() if each.filing is not None}
                    amended = replace(amended, table=await self._linking.with_awaited_parts(amended.table, filers))
                submitted = replace(submitted, amended=replace(amended, declarants=declarants, day=day))
            try:
                if keys and self._linking is not None:
                    await self._linking.make_days({day, *submitted.amended_days})
                submitted = await self._accept(request, submitted, equal, keys)
                break
            except VersionStored:
                continue
            except Uncompared as found:
                assert submitted.filing is not None
                # Outside of the transaction, which would hold back all feeds. Each turn is for references that were accepted meanwhile.
                same = await self._compare(submitted.filing.table, found.prior)
                equal |= {found.prior[place].mrn: same[place] for place in same}
                numbers = [each.mrn for each in found.prior.values()]
                stored_quality = await self._scorecards.qualities([(number, 1) for number in numbers])
                quality = {**submitted.prior_quality, **dict(zip(numbers, stored_quality, strict=True))}
                submitted = replace(submitted, prior_quality=quality)
                places, differing = submitted.places, submitted.differing
                others = {row: found.prior[places[row]] for row in differing if places[row] in found.prior}
                if others:
                    repeating = {
                        row for row, is_same in (await self._compare(checked.table, others)).items() if is_same
                    }
                    submitted = replace(submitted, repeating=submitted.repeating | repeating)
        if submitted.accepted and self._backlog is not None:
            self._backlog.accepted(submitted.xid, submitted.accepted, request_bytes)
        return submitted

    async def preview(self, filer: str, table: Table) -> Submitted:
        """Check a batch and return what `run` would do with it; nothing is stored, so new filings have no MRN."""
        declarants, day = await self._admission.declarants(), self.today()
        checked = await self._checked(filer, table, declarants, day)
        submitted = _filing(filer, checked, None, declarants, day)
        if (filing := submitted.filing) is not None:
            found = await self._store.by_reference(filer, filing.references, filing.partitions)
            prior = {at: PriorReference(each.mrn, NO_DIGEST) for at, each in enumerate(found) if each is not None}
            same = await self._compare(filing.table, prior) if prior else {}
            others = {row: prior[at] for row in submitted.differing if (at := submitted.places[row]) in prior}
            repeating = await self._compare(checked.table, others) if others else {}
            numbers = [each.mrn for each in prior.values()]
            quality = await self._scorecards.qualities([(number, 1) for number in numbers])
            rows = filing.table.rows
            taken = Taken(
                ["" if each is None else each.mrn for each in found],
                np.zeros(rows, np.int64),
                np.array([at in prior and not same[at] for at in range(rows)], np.bool_),
                np.array([at not in prior for at in range(rows)], np.bool_),
                0,
            )
            submitted = replace(
                submitted,
                taken=taken,
                repeating=frozenset(row for row, is_same in repeating.items() if is_same),
                prior_quality=dict(zip(numbers, quality, strict=True)),
            )
        if later := checked.later():
            oldest = self.today() - CHANGED_DAYS
            amended = await self._amend.decide(
                filer, checked.table, later, submitted.filing, oldest=oldest, scored=checked.quality
            )
            mrns = () if submitted.taken is None else submitted.taken.mrns
            submitted = replace(submitted, amended=replace(amended, mrns=mrns))
        return submitted

    async def _checked(self, filer: str, table: Table, declarants: Declarants, day: int) -> validation.Checked:
        """Check a batch of a filer by the law, the rules and the register."""
        named = map(tidy_code, table.strings("declarant_identifier").dictionary) if declarants else ()
        checked = self.check(table, declarants.not_entrusted(filer, named, day))
        checked = await self._with_repeats(filer, checked)
        if (refusal := await self._admission.refusal(filer)) is not None:
            checked = await self._refuse_new(filer, checked, refusal)
        return checked

    async def _refuse_new(self, filer: str, checked: validation.Checked, refusal: NotAdmitted) -> validation.Checked:
        """Refuse the new filings of a filer that is not admitted. What it filed before has its receipt again."""
        rows = checked.new()
        names = [checked.table.strings("local_reference")[row] for row in rows]
        found = await self._store.by_reference(filer, names, partitions_of(filer, names)) if rows else []
        refused, errors = checked.refused.copy(), dict(checked.errors)
        for row in (row for row, prior in zip(rows, found, strict=True) if prior is None):
            facts: dict[str, object] = {"cause": refusal.cause} if refusal.cause else {}
            error = ElementError(refusal.reason, f"consignments[{row}]", filer, facts=facts)
            refused[row] = True
            errors[row] = [error, *errors.get(row, ())]
        return replace(checked, refused=refused, errors=errors)

    async def _accept(
        self,
        request: _Request,
        submitted: Submitted,
        equal: Mapping[str, bool],
        keys: Mapping[int, Sequence[bytes]],
    ) -> Submitted:
        """Accept a batch in one transaction, or return the answer of a repeated request; `keys` link its rows to parts.

        Raises RequestReused, Uncompared or VersionStored.
        """
        log, digest = self._store.requests, request.digest()
        async with self._store.database.transaction() as tx:
            before = await log.recall(tx, request.filer, request.id, digest, other_form=request.other_digest)
            if before:
                return replace(submitted, answer=before, is_repeated=True)
            if submitted.filing is not None:
                taken = await self._store.accept(
                    tx, submitted.filing, equal, trace=request.trace, shift_micros=self._shift_micros
                )
                submitted = replace(submitted, taken=taken)
            if submitted.amended is not None:
                amended = await self._amend.add(
                    tx, submitted.amended, submitted.taken, trace=request.trace, shift_micros=self._shift_micros
                )
                submitted = replace(submitted, amended=amended)
            if self._linking is not None and (keys or submitted.amended is not None):
                await self._linking.add(tx, submitted.by_mrn(keys), submitted.amended_mrns)
            if before is None:
                # An acceptance is rebuilt from its reference. A refusal may differ later, so its response is stored.
                if submitted.is_refused_in_part:
                    submitted = replace(submitted, answer=request.encode(submitted))
                await log.remember(tx, request.filer, request.id, digest, submitted.answer)
            # Last, because another call of the filer may wait for this one.
            if cards := await self._cards(tx, request.filer, submitted):
                await self._scorecards.add(tx, cards, next(self._calls))
        return submitted

    async def _cards(self, tx: Transaction, filer: str, submitted: Submitted) -> dict[Key, Card]:
        """Return what a batch changes of scorecards."""
        cards = {} if submitted.amended is None else dict(submitted.amended.cards)
        filing, taken = submitted.filing, submitted.taken
        refused = submitted.refused if submitted.is_refused_in_part else 0
        places = np.flatnonzero(taken.fresh) if taken is not None else np.zeros(0, np.int64)
        quality = filing.quality[places] if filing is not None and filing.quality is not None else None
        if refused or (quality is not None and len(quality)):
            # By the clock that makes the days of the tables.
            if taken is not None and len(places):
                day = day_of(int(taken.accepted_at[places[0]]))
            else:
                day = day_of(await tx.now() + self._shift_micros)
            card = cards.setdefault(Key(day, filer), Card())
            card.refused += refused
            card.refusals = submitted.refusals() if refused else {}
            if quality is not None and taken is not None:
                numbers = measured(quality)
                card.first, card.newest = card.first + numbers, card.newest + numbers
                if reasons := self._scorecards.without_example(Key(day, filer), quality):
                    rows = {place: row for row, place in reversed(submitted.places.items())}
                    findings = [submitted.checked.errors.get(rows[place], ()) for place in places.tolist()]
                    card.examples += examples_of(quality, [taken.mrns[place] for place in places], findings, reasons)
        return cards

    async def _stores_digests(self) -> bool:
        """Return whether the release before may still run beside this one: it compares digests, which are stored for it."""
        if self._digests_until is None:
            self._digests_until = time.monotonic() + await self._store.digest_seconds()
        return time.monotonic() < self._digests_until

    async def _with_repeats(self, filer: str, checked: validation.Checked) -> validation.Checked:
        """Accept those refused rows that repeat what was accepted on another day, or by other rules: a repeat gets its first receipt."""
        if not checked.refused.any():
            return checked
        table, rows, repeats = checked.table, checked.refused_new(), set[int]()
        if rows:
            references = table.strings("local_reference")
            names = [references[row] for row in rows]
            receipts = await self._store.by_reference(filer, names, partitions_of(filer, names))
            found = zip(rows, receipts, strict=True)
            prior = {row: PriorReference(each.mrn, NO_DIGEST) for row, each in found if each is not None}
            repeats = {row for row, same in (await self._compare(table, prior)).items() if same} if prior else repeats
        if rows := checked.refused_later():
            amended = await self._amend.decide(filer, table, rows, None, oldest=self.today() - CHANGED_DAYS)
            repeats |= amended.stored
        return checked.accepting(repeats)

    async def _compare(self, table: Table, prior: Mapping[int, PriorReference]) -> dict[int, bool]:
        """Return by row whether the stored consignment of its reference has the content that the row has."""
        own = digests(table.take(np.fromiter(prior, np.int64, len(prior))), ENVELOPE)
        stored = {each.mrn: each.digest for each in prior.values()}
        async for batch in self._store.stored([number for number, digest in stored.items() if digest == NO_DIGEST]):
            rows = batch.table.take(np.fromiter(batch.rows.values(), np.int64, len(batch.rows)))
            stored |= zip(batch.rows, digests(rows, ENVELOPE), strict=True)
        # A consignment that is stored no longer equals none.
        return {row: stored[each.mrn] == digest for (row, each), digest in zip(prior.items(), own, strict=True)}


def _filing(
    filer: str, checked: validation.Checked, stored: Sequence[bytes] | None, declarants: Declarants, day: int
) -> Submitted:
    """Return what is filed of a batch: its valid new rows, each reference once, with the digests that are stored, if any."""
    references = checked.table.strings("local_reference").tolist()
    first: dict[str, int] = {}
    places: dict[int, int] = {}
    rows: list[int] = []
    repeats: list[int] = []
    for row in checked.new():
        place = first.setdefault(references[row], len(rows))
        (rows if place == len(rows) else repeats).append(row)
        places[row] = place
    if not rows:
        return Submitted(checked)
    names = [references[row] for row in rows]
    whole = len(rows) == checked.table.rows
    table = checked.table if whole else checked.table.take(np.asarray(rows, np.int64))
    filing = Filing(
        filer=filer,
        table=table,
        digests=[NO_DIGEST] * len(rows) if stored is None else [stored[row] for row in rows],
        references=names,
        partitions=partitions_of(filer, names),
        countries=of_rows(
            table.strings("destination_country"), table.strings("dispatch_country"), exports(table)
        ).tolist(),
        quality=None if checked.quality is None else checked.quality[rows],
        trusted_until=declarants.trusted_until([filer] * len(rows), table.strings("declarant_identifier"), day)
        if declarants
        else None,
    )
    return Submitted(checked, filing, places, _differing(checked.table, [(row, rows[places[row]]) for row in repeats]))


def _differing(table: Table, pairs: Sequence[tuple[int, int]]) -> frozenset[int]:
    """Return the first rows of pairs whose second row has other content."""
    if not pairs:
        return frozenset()
    rows, firsts = (digests(table.take(np.asarray(each, np.int64)), ENVELOPE) for each in zip(*pairs, strict=True))
    return frozenset(row for (row, _), own, first in zip(pairs, rows, firsts, strict=True) if own != first)
