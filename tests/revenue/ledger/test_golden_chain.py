"""Golden vectors of chain and seals, made from the documented definition byte by byte and not by the code that they test."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from libs.chain.hashing import START, link, seal, text_bytes
from services.revenue.ledger.entry import Entries
from services.revenue.ledger.hash_chain import canonical, chained
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.chain_checks import one_entry
from tests.revenue.ledger.states import State, mrn


def number(value: int, size: int) -> bytes:
    """Little-endian, two's complement."""
    return (value % 2 ** (8 * size)).to_bytes(size, "little")


def text(value: str) -> bytes:
    encoded = value.encode("utf-8")
    return number(len(encoded), 2) + encoded


def defined_entry(before: bytes, entry: dict[str, object], postings: list[tuple[str, int, int]]) -> bytes:
    """The hash of an entry as docs/revenue/ledger.md defines it."""
    head = b"".join(
        number(int(str(entry[name])), size)
        for name, size in (
            ("partition", 1),
            ("number", 8),
            ("kind", 1),
            ("reverses", 1),
            ("booked_at", 8),
            ("version", 8),
        )
    )
    texts = b"".join(text(str(entry[name])) for name in ("mrn", "reference", "currency", "destination"))
    lines = b"".join(text(account) + number(kind, 1) + number(amount, 8) for account, kind, amount in postings)
    return hashlib.sha256(before + b"\x01" + head + number(len(postings), 2) + texts + lines).digest()


def defined_seal(before: bytes, seal_number: int, sealed_at: int, heads: list[tuple[int, bytes]]) -> bytes:
    """The hash of a seal as docs/revenue/ledger.md defines it."""
    parts = b"".join(number(last, 8) + digest for last, digest in heads)
    return hashlib.sha256(
        before + b"\x01" + number(seal_number, 8) + number(sealed_at, 8) + number(len(heads), 8) + parts
    ).digest()


ENTRY: dict[str, object] = {
    "partition": 3, "number": 1, "kind": 1, "reverses": 0, "booked_at": 1_795_651_200_000_000, "version": 2,
    "mrn": "26DE0302C1000001R4", "reference": "Überweisung 7", "currency": "EUR", "destination": "DE",
}  # fmt: skip
POSTINGS = [("deferred:carrier-7", 1, 300), ("treasury:EU:duty", 1, -300)]
HEADS = [(place * 3, bytes([place]) * 32) for place in range(64)]
FIRST_ENTRY = "5906db474955cfc14c8c6cd6785f0a16f8dce7a020093b72e729f3da13e6b372"


def computed(before: bytes = START, postings: list[tuple[str, int, int]] | None = None, **change: object) -> bytes:
    entry = ENTRY | change
    texts = b"".join(text_bytes(str(entry[name])) for name in ("mrn", "reference", "currency", "destination"))
    lines = [
        (text_bytes(account), kind, amount) for account, kind, amount in (POSTINGS if postings is None else postings)
    ]
    numbers = (int(str(entry[name])) for name in ("partition", "number", "kind", "reverses", "booked_at", "version"))
    return link(before, canonical(*numbers, texts, lines))


def test_an_entry_has_the_hash_that_the_documentation_defines() -> None:
    assert computed() == defined_entry(bytes(32), ENTRY, POSTINGS)
    assert computed().hex() == FIRST_ENTRY
    assert computed(b"\x07" * 32) == defined_entry(b"\x07" * 32, ENTRY, POSTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"partition": 4}, {"number": 2}, {"kind": 2}, {"reverses": 1}, {"booked_at": 1}, {"version": 3}, {"mrn": "x"},
        {"reference": ""}, {"currency": "GBP"}, {"destination": "FR"},
        # The border between two texts is part of what is hashed.
        {"currency": "EURD", "destination": "E"},
    ],
)  # fmt: skip
def test_every_part_of_an_entry_and_the_hash_before_it_are_bound(change: dict[str, object]) -> None:
    assert computed(**change) == defined_entry(bytes(32), ENTRY | change, POSTINGS)
    assert computed(**change) != computed()
    assert computed(b"\x01" + bytes(31)) != computed()


@pytest.mark.parametrize(
    "postings",
    [
        [("deferred:carrier-8", 1, 300), POSTINGS[1]], [("deferred:carrier-7", 2, 300), POSTINGS[1]],
        [("deferred:carrier-7", 1, 301), POSTINGS[1]], POSTINGS[:1], POSTINGS[::-1], [*POSTINGS, ("x", 0, 0)],
    ],
)  # fmt: skip
def test_every_posting_and_their_order_are_bound(postings: list[tuple[str, int, int]]) -> None:
    assert computed(postings=postings) == defined_entry(bytes(32), ENTRY, postings) != computed()


def test_a_seal_has_the_hash_that_the_documentation_defines_and_binds_all_that_it_names() -> None:
    first = seal(1, 1_795_651_260_000_000, START, HEADS, chains=64)
    assert first == defined_seal(bytes(32), 1, 1_795_651_260_000_000, HEADS)
    second = seal(2, 1_795_651_320_000_000, first, HEADS, chains=64)
    assert second == defined_seal(first, 2, 1_795_651_320_000_000, HEADS)
    # It binds its predecessor, its number, its time, and of each partition number and hash.
    assert second != seal(2, 1_795_651_320_000_000, bytes(32), HEADS, chains=64)
    assert second != seal(2, 1_795_651_320_000_000, bytes([first[0] ^ 1]) + first[1:], HEADS, chains=64)
    assert second != seal(3, 1_795_651_320_000_000, first, HEADS, chains=64)
    assert second != seal(2, 1_795_651_320_000_001, first, HEADS, chains=64)
    for place in (0, 31, 63):
        for head in ((HEADS[place][0] + 1, HEADS[place][1]), (HEADS[place][0], b"\xff" * 32)):
            assert second != seal(
                2, 1_795_651_320_000_000, first, [*HEADS[:place], head, *HEADS[place + 1 :]], chains=64
            )
    for heads in (HEADS[:-1], [*HEADS, (1, bytes(32))]):
        with pytest.raises(ValueError, match="all 64 partitions"):
            seal(1, 1, START, heads, chains=64)


async def test_what_is_stored_has_the_defined_hashes_and_each_seal_binds_the_one_before(books: Books) -> None:
    for serial in (1, 2):
        await books.take(State(mrn(serial, 3)))
        async with books.database.transaction() as tx:
            await Seals(books.database).make(tx)
    async with books.database.connection() as reader:
        entries = await reader.raw.fetch("select * from ledger_entry where partition = 3 order by number")
        rows = await reader.raw.fetch(
            "select p.number, n.name, p.kind, p.amount from ledger_posting p join ledger_name n on n.id = p.account "
            "where partition = 3 order by number, place"
        )
        seals = await reader.raw.fetch("select * from ledger_seal order by number")
    before = bytes(32)
    for entry in entries:
        postings = [(row["name"], row["kind"], row["amount"]) for row in rows if row["number"] == entry["number"]]
        assert entry["hash"] == defined_entry(before, dict(entry), postings)
        before = entry["hash"]
    before = bytes(32)
    for each in seals:
        hashes = [each["hashes"][place * 32 : place * 32 + 32] for place in range(64)]
        assert each["hash"] == defined_seal(
            before, each["number"], each["sealed_at"], list(zip(each["numbers"], hashes, strict=True))
        )
        before = each["hash"]
    assert len(seals) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 256},
        {"kind": -1},
        {"reverses": 256},
        {"reverses": -1},
        {"partition": 256},
        {"charge_kind": 256},
        {"charge_kind": -1},
    ],
)
def test_a_number_that_has_no_place_in_what_is_hashed_is_refused_and_not_wrapped(change: dict[str, int]) -> None:
    entries = one_entry(3, 1, 2, 5)
    (name, value), names = next(iter(change.items())), {1: "deferred:a", 2: "treasury:EU:tax"}
    broken = replace(entries, **{name: np.full_like(getattr(entries, name), value)})
    partition = int(broken.partition[0])
    with pytest.raises(ValueError, match="of an entry is not within"):
        chained(broken, {partition: (0, START)}, {partition: 1}, names)


def test_columns_of_entries_are_hashed_as_each_entry_is() -> None:
    """Entries of two partitions, of which one follows itself."""
    parts = [one_entry(partition, 1, 2, amount) for partition, amount in ((3, 300), (63, 2**40), (3, -7))]
    entries = replace(
        Entries.concat(parts), mrn=["", "ü" * 40, "m"], reference=["r", "", "r"], version=np.array([0, 2**40, 1])
    )
    heads = {3: (11, b"\x07" * 32), 63: (0, START)}
    numbers, hashes = chained(entries, heads, {3: 5, 63: 6}, {1: "deferred:ä", 2: "treasury:EU:tax"})
    befores: dict[int, bytes] = {3: b"\x07" * 32, 63: bytes(32)}
    for place, partition in enumerate((3, 63, 3)):
        amount = int(entries.amount[2 * place])
        entry: dict[str, object] = {
            "partition": partition, "number": (12, 1, 13)[place], "kind": 1, "reverses": 0, "booked_at": {3: 5, 63: 6}[partition],
            "version": int(entries.version[place]), "mrn": entries.mrn[place], "reference": entries.reference[place],
            "currency": "EUR", "destination": "DE",
        }  # fmt: skip
        befores[partition] = defined_entry(
            befores[partition], entry, [("deferred:ä", 2, amount), ("treasury:EU:tax", 2, -amount)]
        )
        assert (numbers[place], hashes[place]) == ((12, 1, 13)[place], befores[partition])
    assert heads == {3: (13, hashes[2]), 63: (1, hashes[1])}
