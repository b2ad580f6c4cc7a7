"""The tables of law versions: nothing of them is ever deleted."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any, Final

from libs.store.database import Database, Transaction
from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.law.verification.reviews import ReviewedValue

# Whoever changes what is in force, or will be, stands in a queue. Replicas read the schedule under the shared lock, so that no activation that was
# confirmed before their reading by the database's clock is missing in it, however long its COMMIT took.
_LOCK: Final = "select pg_advisory_xact_lock(hashtext('law_version'))"
_LOCK_SHARED: Final = "select pg_advisory_xact_lock_shared(hashtext('law_version'))"
_VERSION: Final = "version, folder, note, what_ifs, proposed_by, proposed_at, number, reviewed_by, reviewed_at, withdrawn_by, withdrawn_at"
_ACTIVATION: Final = "number, version, folder, effective_at, confirmed_by, confirmed_at, cancelled_by, cancelled_at"
_REVIEW: Final = "number, version, file, place, content, day, passage, source, counts_from, expires_on, reviewer"
_ADD_TEXTS: Final = """
insert into law_text (digest, packed) select * from unnest($1::bytea[], $2::bytea[]) on conflict do nothing
"""
_SCHEDULE: Final = f"""
select {_ACTIVATION} from law_activation a where cancelled_at is null and (effective_at > $1 or number = (
    select number from law_activation b where b.folder = a.folder and b.cancelled_at is null
    and b.effective_at <= $1 order by effective_at desc, number desc limit 1))
order by effective_at, number
"""  # noqa: S608  # names of our own


@dataclass(frozen=True, slots=True)
class StoredActivation:
    """A moment at which a version comes into force in the place of the one before of its folder."""

    number: int
    version: str
    folder: str
    effective_at: datetime
    confirmed_by: str
    confirmed_at: datetime
    cancelled_by: str | None
    cancelled_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredLaw:
    """A stored version, without its texts."""

    version: str
    folder: str
    note: str
    what_ifs: tuple[int, ...]
    proposed_by: str
    proposed_at: datetime
    number: int
    """Its number among proposals, in their order."""
    reviewed_by: str | None
    reviewed_at: datetime | None
    withdrawn_by: str | None
    withdrawn_at: datetime | None
    activations: tuple[StoredActivation, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredReview:
    """A person's comparison of a value or reference with the text of the law."""

    number: int
    version: str
    file: str
    place: str
    content: bytes
    """Digest of the value as it was written (services.revenue.law.verification.reviews)."""
    day: date
    passage: str
    source: bytes
    counts_from: datetime
    expires_on: date
    reviewer: str


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """What is in force and what will be, at one moment."""

    now: datetime
    """By the database's clock, read after the lock and before the rows."""
    activations: tuple[StoredActivation, ...]
    """Of each folder the one in force, and all that take effect later, in the order of their moments."""
    reviews: tuple[ReviewedValue, ...]


class LawStore:
    """The tables law_text, law_version, law_activation and law_review."""

    def __init__(self, database: Database) -> None:
        """Store versions in a database."""
        self.database = database

    async def lock_shared(self, tx: Transaction) -> None:
        """Wait until no change is being committed, and hold up those that follow until the transaction ends."""
        await tx.raw.execute(_LOCK_SHARED)

    async def schedule(self, tx: Transaction) -> StoredSchedule:
        """Return what is in force and what will be, in a transaction that has either lock."""
        now = await tx.raw.fetchval("select clock_timestamp()")
        activations = [_activation(row) for row in await tx.raw.fetch(_SCHEDULE, now)]
        rows = await tx.raw.fetch("select distinct file, content, counts_from, expires_on from law_review")
        reviews = tuple(ReviewedValue(**dict(row)) for row in rows)
        return StoredSchedule(now, tuple(activations), reviews)

    async def lock(self, tx: Transaction) -> None:
        """Hold up all other changes and all reading of the schedule until the transaction ends."""
        await tx.raw.execute(_LOCK)

    async def add(
        self, tx: Transaction, version: str, files: Mapping[str, str], note: str, identity: str, what_ifs: Sequence[int]
    ) -> bool:
        """Store a version under the lock; return False where it is stored already."""
        if await tx.raw.fetchval("select true from law_version where version = $1", version):
            return False
        texts = {name: text.encode() for name, text in sorted(files.items())}
        digests = [sha256(text).digest() for text in texts.values()]
        stored = set(
            await tx.raw.fetchval(
                "select coalesce(array_agg(digest), '{}') from law_text where digest = any($1)", digests
            )
        )
        new = {digest: text for digest, text in zip(digests, texts.values(), strict=True) if digest not in stored}
        await tx.raw.execute(_ADD_TEXTS, list(new), [zlib.compress(text, 1) for text in new.values()])
        await tx.raw.execute(
            "insert into law_version (version, folder, names, digests, note, proposed_by, what_ifs) "
            "values ($1, $2, $3, $4, $5, $6, $7)",
            version,
            next(iter(texts)).partition("/")[0],
            list(texts),
            digests,
            note,
            identity,
            list(what_ifs),
        )
        return True

    async def find(self, tx: Transaction, version: str) -> StoredLaw | None:
        """Return a version with its activations; None where it is not stored."""
        found = await self._versions(tx, "version = $1", version)
        return found[0] if found else None

    async def beginning(self, prefix: str) -> list[str]:
        """Return the versions that are this one, or that begin so up to their digest."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                "select version from law_version where version = $1 or "
                "left(version, length(version) - 9) = $1 order by number",
                prefix,
            )
        return [row["version"] for row in rows]

    async def page(self, limit: int, before: int, jurisdiction: str) -> list[StoredLaw]:
        """Return versions, the newest first, behind a number (0: from the newest); of one jurisdiction ("": all)."""
        async with self.database.connection() as reader:
            return await self._versions(
                reader,
                "($1 = 0::bigint or number < $1) and ($2 = '' or split_part(version, '/', 1) = $2) "
                "order by number desc limit $3",
                before,
                jurisdiction,
                limit,
            )

    async def _versions(self, reader: Transaction, where: str, *values: Any) -> list[StoredLaw]:
        rows = await reader.raw.fetch(f"select {_VERSION} from law_version where {where}", *values)  # noqa: S608
        activations: dict[str, list[StoredActivation]] = {row["version"]: [] for row in rows}
        for row in await reader.raw.fetch(
            f"select {_ACTIVATION} from law_activation where version = any($1) order by number",  # noqa: S608
            list(activations),
        ):
            activations[row["version"]].append(_activation(row))
        return [
            StoredLaw(
                **{**dict(row), "what_ifs": tuple(row["what_ifs"])}, activations=tuple(activations[row["version"]])
            )
            for row in rows
        ]

    async def texts(self, versions: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the files of versions; what is not stored is left out. Raises LawFileError for a text that was altered."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                "select v.version, n.name, n.digest, t.packed from law_version v, "
                "unnest(v.names, v.digests) as n(name, digest) join law_text t on t.digest = n.digest "
                "where v.version = any($1) order by v.version, n.name",
                list(versions),
            )
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            text = zlib.decompress(row["packed"])
            if sha256(text).digest() != row["digest"]:
                raise LawFileError(
                    row["name"], 0, "", f"of {row['version']} was altered in the store; restore the table law_text"
                )
            found.setdefault(row["version"], {})[row["name"]] = text.decode()
        return found

    async def activate(
        self, tx: Transaction, version: str, folder: str, effective_at: datetime, identity: str, now: datetime
    ) -> None:
        """Store an activation under the lock."""
        await tx.raw.execute(
            "insert into law_activation (number, version, folder, effective_at, confirmed_by, confirmed_at) "
            "values (nextval('law_change'), $1, $2, $3, $4, $5)",
            version,
            folder,
            effective_at,
            identity,
            now,
        )

    async def cancel(self, tx: Transaction, number: int, identity: str) -> None:
        """Cancel an activation that has not taken effect."""
        await tx.raw.execute(
            "update law_activation set cancelled_by = $2, cancelled_at = clock_timestamp() where number = $1",
            number,
            identity,
        )

    async def withdraw(self, tx: Transaction, version: str, identity: str) -> None:
        """Withdraw a version that was never confirmed."""
        await tx.raw.execute(
            "update law_version set withdrawn_by = $2, withdrawn_at = clock_timestamp() where version = $1",
            version,
            identity,
        )

    async def review(
        self, tx: Transaction, version: str, reviews: Sequence[StoredReview], identity: str, what_ifs: Sequence[int]
    ) -> None:
        """Store reviews of values of a version under the lock; the first reviewer and the time of the first review stay."""
        for each in reviews:
            await tx.raw.execute(
                f"insert into law_review ({_REVIEW}) values (nextval('law_change'), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",  # noqa: S608
                version,
                each.file,
                each.place,
                each.content,
                each.day,
                each.passage,
                each.source,
                each.counts_from,
                each.expires_on,
                identity,
            )
        await tx.raw.execute(
            "update law_version set reviewed_by = coalesce(reviewed_by, $2), "
            "reviewed_at = coalesce(reviewed_at, clock_timestamp()), "
            "what_ifs = what_ifs || (select coalesce(array_agg(id), '{}') from unnest($3::bigint[]) as id where id <> all(what_ifs)) "
            "where version = $1",
            version,
            identity,
            list(what_ifs),
        )

    async def reviews(self, folder: str) -> list[StoredReview]:
        """Return all reviews of values of a folder's files, the oldest first."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                f"select {_REVIEW} from law_review where split_part(file, '/', 1) = $1 order by number",  # noqa: S608
                folder,
            )
        return [StoredReview(**dict(row)) for row in rows]


def _activation(row: Any) -> StoredActivation:
    return StoredActivation(**dict(row))
