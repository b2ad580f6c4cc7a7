"""An audit trail, what its definition says of each stored row, and what the checks say: both as places that are wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeVar

from libs.store.database import Database, Transaction
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.commands.audit.check import CheckBatches, CheckRecords, Place
from services.clearance.store.audit.trail import Origin
from tests.clearance.desk import Desk, filings, mrns
from tests.clearance.put_back import put_back

Wrong = set[tuple[Any, ...]]
Case = TypeVar("Case")
TIMES = 4
STORED = ("batch", "audit_pending", "audit_record", "audit_head", "audit_seal")


async def note(desk: Desk, numbers: Sequence[str], actor: str = "officer/otto", about: str = "") -> None:
    """Note an access."""
    async with desk.store.database.transaction() as tx:
        await desk.store.audit.note_access(tx, Origin(actor, "GetStatus", ""), about, numbers)


async def made(desk: Desk) -> list[str]:
    """Decide and look TIMES times; seal after the second and the last time. Then decide and look once more, chained and not sealed.

    Record 1 begins the trail; even numbers are decisions, odd ones accesses; 11 in all, of which 9 are sealed by two seals.
    """
    chain = ChainRecords(desk.store)
    all_mrns: list[str] = []
    for time in range(TIMES + 1):
        filed = filings([f"GREEN-{time}", f"RED-{time}", f"YELLOW-{time}"])
        await desk.consume(filed)
        await note(desk, mrns(filed)[:2])
        all_mrns += mrns(filed)
        await chain.chain_all()
        if time in (1, TIMES - 1):
            await chain.seal()
    return all_mrns


# ---------------------------------------------------------------------------------------------- the definition
def number(value: int, size: int) -> bytes:
    """Little-endian, two's complement."""
    return int(value % 2 ** (8 * size)).to_bytes(size, "little")


def text(value: str) -> bytes:
    encoded = value.encode()
    return number(len(encoded), 2) + encoded


def sized(value: bytes) -> bytes:
    return number(len(value), 2) + value


def sha(value: bytes) -> bytes:
    digest: bytes = hashlib.sha256(value).digest()
    return digest


def defined_root(digests: Sequence[bytes]) -> bytes:
    groups = [sha(b"".join(digests[start : start + 64])) for start in range(0, len(digests), 64)]
    return sha(b"".join(groups))


def defined_content(row: Any) -> bytes:
    """The content digest of a stored record as docs/clearance-audit.md defines it."""
    if row["salt"] is None:
        former = defined_root([sha(each.encode()) for each in row["subjects"]])
        return stated_content(row, len(row["subjects"]), former, row["about"])
    texts = [row["about"], *row["subjects"]]
    salted = [sha(sha(row["salt"] + number(place, 4)) + each.encode()) for place, each in enumerate(texts)]
    return stated_content(row, len(row["subjects"]), defined_root(salted))


def stated_content(row: Any, subjects: int, subject_digest: bytes, *cause: str) -> bytes:
    """The same of a record that states the number and the root of its consignments; one of the former form states a cause as well."""
    parts = [
        b"\x01", number(row["day"], 4), number(row["number"], 8), number(row["kind"], 1), number(row["at"], 8),
        number(row["batch_day"], 4), number(row["batch_id"], 8), number(row["rows"], 4),
        text(row["actor"]), text(row["method"]), text(row["reason"]), *map(text, cause),
        sized(row["digest"]), sized(row["row_digest"]), sized(subject_digest), number(subjects, 4),
    ]  # fmt: skip
    return sha(b"".join(parts))


def defined_seal(row: Any, before: bytes) -> bytes:
    heads = b"".join(
        number(last, 8) + row["hashes"][32 * place : 32 * place + 32] for place, last in enumerate(row["numbers"])
    )
    head = b"\x01" + number(row["number"], 8) + number(row["sealed_at"], 8) + number(len(row["numbers"]), 8)
    hashed: bytes = before + head + heads
    return sha(hashed)


def defined_batch(row: Any) -> bytes:
    names = ("day", "id", "created_at", "row_count", "schema_version", "schema", "traceparent")
    return sha("".join(f"{row[name]} " for name in names).encode() + bytes(row["payload"]))


def defined_rows(payload: bytes) -> list[bytes]:
    """The digests of the rows of a batch, value by value from the message."""
    message = ClearanceColumns.FromString(payload)
    return [sha(_rows(message, [place])) for place in range(message.rows)]


def _rows(message: Any, places: Sequence[int]) -> bytes:
    """Rows, each as its names and its values, and behind them what their lists hold, list by list."""
    fields = [
        each
        for each in message.DESCRIPTOR.fields
        if each.name not in ("rows", "offsets") and message.HasField(each.name)
    ]
    # Texts come last.
    in_order = sorted(fields, key=lambda each: (each.message_type.name == "Strings", each.name))
    columns = {each.name: getattr(message, each.name) for each in in_order}
    out = []
    for place in places:
        values = {name: found for name, column in columns.items() if (found := _value(column, place))}
        out += [sha(",".join(values).encode()), *values.values()]
    for column in columns.values():
        kind = column.DESCRIPTOR.name
        if kind in ("Strings", "Ints", "Bools"):
            continue
        inner = [at for place in places for at in range(column.offsets[place], column.offsets[place + 1])]
        if kind == "StringLists":
            out += [_text(_string(column, at)) for at in inner]
        elif kind == "IntLists":
            out += [number(column.values.values[at], 8) for at in inner]
        elif inner:
            out.append(_rows(column, inner))
    return b"".join(out)


def _value(column: Any, place: int) -> bytes:
    """A number, a text, or the length of a list; nothing where it is absent."""
    kind = column.DESCRIPTOR.name
    if kind == "Strings":
        found = _string(column, place)
        return _text(found) if found else b""
    if kind in ("Ints", "Bools"):
        found_number = column.values[place] if kind == "Ints" else column.values[place // 8] >> (place % 8) & 1
        return number(found_number, 8) if _valid(column, place) else b""
    length = column.offsets[place + 1] - column.offsets[place]
    return number(length, 8) if length else b""


def _text(found: str) -> bytes:
    """A text behind its number of bytes, up to a multiple of 8 bytes; a longer one as the end of its digest."""
    data = found.encode()
    if len(data) > 31:
        return number(255, 1) + sha(data)[-31:]
    return (number(len(data), 1) + data).ljust((len(data) + 8) // 8 * 8, b"\0")


def _string(column: Any, place: int) -> str:
    column = column.values if column.DESCRIPTOR.name == "StringLists" else column
    found: str = column.dictionary[column.indices[place]] if column.indices else column.dictionary[0]
    return found


def _valid(column: Any, place: int) -> bool:
    return not column.validity or bool(column.validity[place // 8] >> (place % 8) & 1)


# ---------------------------------------------------------------------------------------------- what is wrong, by the definition
async def wrong_by_definition(database: Database) -> Wrong:
    """Every place that is wrong, from all rows at once."""
    async with database.connection(snapshot=True) as reader:
        fetch = reader.raw.fetch
        records = await fetch("select * from audit_record order by day, number")
        pending = await fetch("select * from audit_pending")
        batches = {(row["day"], row["id"]): row for row in await fetch("select * from batch order by day, id")}
        seals = await fetch("select * from audit_seal order by number")
        (head,) = await fetch("select * from audit_head")
    found: Wrong = set()
    last, before, stated = head["dropped_number"], head["dropped_hash"], (0, bytes(32), head["since"])
    dropped = 0
    chained = {}
    for row in records:
        if row["number"] <= last:
            found.add(("record", row["number"]))
            continue
        if row["number"] > last + 1:
            found.add(("missing", last + 1, row["number"] - 1))
        elif sha(before + defined_content(row)) != row["hash"]:
            found.add(("record", row["number"]))
        if row["kind"] not in (1, 2, 3, 4) or (row["kind"] == 4) != (row["number"] == 1):
            found.add(("record", row["number"]))
        if row["kind"] == 1:
            batch = batches.get((row["batch_day"], row["batch_id"]))
            if batch is None or not _is_of(batch, row):
                found.add(("batch", row["batch_id"]))
        if row["number"] == 1 and not dropped:
            stated = (0, bytes(32), row["batch_id"])
        if row["kind"] == 3:
            dropped, stated = row["number"], (row["batch_id"], row["digest"], 0)
        last, before = row["number"], row["hash"]
        chained[row["number"]] = row["hash"]
    if (head["number"], head["hash"]) != (last, before):
        found.add(("end",))
    if (head["dropped_number"], head["dropped_hash"], head["since"], head["dropped_record"]) != (*stated, dropped):
        found.add(("beginning",))
    places = [(row["batch_day"], row["batch_id"]) for row in [*records, *pending] if row["kind"] == 1]
    found |= {
        ("batch", each[1])
        for each in batches
        if places.count(each) > 1 or (not places.count(each) and each[1] > head["since"])
    }
    return found | _wrong_seals(seals, chained, last)


def _is_of(batch: Any, record: Any) -> bool:
    """Whether a stored batch is the one that a record names."""
    same: bool = (batch["created_at"], batch["row_count"]) == (record["at"], record["rows"])
    if not same or defined_batch(batch) != record["digest"]:
        return False
    rows: bytes = record["row_digest"]
    return record["salt"] is None or defined_root(defined_rows(batch["payload"])) == rows


def _wrong_seals(seals: Sequence[Any], chained: dict[int, bytes], last: int) -> Wrong:
    found: Wrong = set()
    by_number = {row["number"]: row for row in seals}
    if len(seals) != max(by_number, default=0):
        found.add(("seals",))
    beyond = [row["number"] for row in seals if row["numbers"][0] > last]
    if beyond:
        found.add(("seal", min(beyond)))
    for row in seals:
        former = by_number.get(row["number"] - 1)
        before = bytes(32) if row["number"] == 1 else None if former is None else former["hash"]
        sealed = row["numbers"][0]
        if sealed > last:
            continue
        if before is None or defined_seal(row, before) != row["hash"] or chained.get(sealed) != row["hashes"]:
            found.add(("seal", row["number"]))
        if former is not None and sealed < former["numbers"][0]:
            found.add(("seal", row["number"]))
    return found


# ---------------------------------------------------------------------------------------------- what the checks say
_FORMS = (
    (r"records (\d+) to (\d+) are missing before record \d+ of \S+", "missing"),
    (r"record (\d+) is missing before record \d+ of \S+", "missing"),
    (r"record (\d+) of \S+ was altered, or what stands before it: its hash does not follow", "record"),
    (r"record (\d+) of \S+ was inserted or moved: record \d+ stands before it", "record"),
    (r"record (\d+) of \S+ has the kind -?\d+, which it cannot have", "record"),
    (r"record (\d+) of \S+ states that records up to \S+ were dropped before their time", "record"),
    (r"batch (\d+) of \S+ \(record -?\d+\) (?:is missing|was altered|has other versions than those under its root)", "batch"),
    (r"batch (\d+) of \S+ has (?:no record|\d+ records)", "batch"),
    (r"seal (\d+) was altered: .*", "seal"),
    (r"seal (\d+) has another hash of record \d+ than is stored", "seal"),
    (r"seal (\d+) seals .*", "seal"),
    (r"\d+ of the \d+ seals are missing", "seals"),
    (r"the chain ends with record .*", "end"),
    (r"the chain begins behind record .*", "beginning"),
)  # fmt: skip


def places(errors: Sequence[str]) -> Wrong:
    """The places that sentences name; a sentence of an unknown form is a failure."""
    found: Wrong = set()
    for error in errors:
        for form, kind in _FORMS:
            match = re.fullmatch(form, error)
            if match:
                numbers = tuple(map(int, match.groups()))
                found.add((kind, *(numbers * 2 if kind == "missing" and len(numbers) == 1 else numbers)))
                break
        else:
            raise AssertionError(error)
    return found


async def errors_of(
    desk: Desk, *, records: int = 1_000, batches: int = 5_000, late_seconds: float = 1_800
) -> list[str]:
    """What both checks say, in parts of so many records and batches."""
    check, errors = CheckRecords(desk.store, late_seconds=late_seconds), []
    place, end = Place(), False
    while not end:
        checked = await check.run(place, records)
        errors += checked.errors
        place, end = checked.place, checked.end
    day, last, end = -(2**31), 0, False
    while not end:
        found = await CheckBatches(desk.store).run(day, last, batches)
        errors += found.errors
        day, last, end = found.day, found.last, found.end
    return errors


def each(desk: Desk, cases: Iterable[Case]) -> AsyncIterator[Case]:
    """Each case, with everything of the trail and its batches as it is now."""
    return put_back(desk.store.database, STORED, cases)


async def tamper(tx: Transaction, statement: str, *values: Any) -> None:
    """Run a statement as somebody who can write everything: neither triggers nor privileges are in the way."""
    await tx.raw.execute("set local session_replication_role = replica")
    await tx.raw.execute(statement, *values)
