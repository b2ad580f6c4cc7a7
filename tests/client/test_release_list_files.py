"""The files of release lists without the system, against their definition in docs/outage.md: what is written here is written by that page alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.client.clearance.release_lists import ReleaseList, intact_marks, mark, read_list, read_marks
from libs.client.errors import LuxorError
from libs.customs.release_list import public_key_of

SEED = bytes(range(32))
MINUTE, HOUR = 60_000_000, 3_600_000_000
MADE = 1_790_000_000_000_000
ARRIVES, UNTIL = MADE + 3 * HOUR, MADE + 27 * HOUR
MRN = "26DE07329000001XR"
LINES = [("H-1", "RELEASE"), ("H-2", "STAY"), ("", "RELEASE"), ("H-4", "RELEASE"), ("H-4", "STAY")]


def text(micros: int) -> str:
    return (
        datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{micros // 1_000 % 1_000:03}Z"
    )


def rows_of(lines: Sequence[tuple[str, str]] = LINES, page: int = 2) -> list[str]:
    """Write the rows of a list as docs/outage.md defines them."""
    header = f"LUXOR-RELEASE-LIST-1,RL-1,LX0188,{text(MADE)},{text(ARRIVES)},{text(UNTIL)},olga,1,{public_key_of(SEED).hex()}"
    digest = begin = before = sha256(header.encode()).digest()
    rows = [f"{header},{digest.hex()[:8]}"]
    for line, (house, decision) in enumerate(lines, 1):
        row = f"{line},{house},{MRN}{line},1,{decision}"
        digest = sha256(digest + row.encode()).digest()
        rows.append(f"{row},{digest.hex()[:8]}")
        if line % page == 0 or line == len(lines):
            number, last = (line - 1) // page + 1, line == len(lines)
            place = f"{number},{(number - 1) * page + 1},{line},{last}"
            signed = f"LUXOR-RELEASE-LIST-1\0{place}\0".encode() + begin + before + digest
            signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(signed)
            rows.append(f"PAGE,{number},{line},{'LAST' if last else 'MORE'},{signature.hex()}")
            before = digest
    return rows


def listed(folder: Path, rows: Sequence[str] | None = None) -> ReleaseList:
    path = folder / "list.csv"
    path.write_text("".join(f"{row}\n" for row in (rows_of() if rows is None else rows)))
    return read_list(path, public_key_of(SEED))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(LuxorError) as caught:
        call()
    return caught.value.reason


def test_a_list_that_is_written_as_defined_verifies(tmp_path: Path) -> None:
    signed = listed(tmp_path)
    assert [(each.house_document, each.release) for each in signed.entries] == [
        (house, decision == "RELEASE") for house, decision in LINES
    ]
    assert [len(page.entries) for page in signed.pages] == [2, 2, 1]
    assert refusal(lambda: read_list(signed.path, public_key_of(bytes(32)))) == "RELEASE_LIST_DAMAGED"


def test_a_change_of_a_list_is_found_where_it_is(tmp_path: Path) -> None:
    rows = rows_of(LINES[:3])
    assert len(rows) == 6, "a header, two lines, a signature, one line, a signature"
    last = rows[5][:-2] + ("00" if rows[5][-2:] != "00" else "11")
    changes: list[tuple[list[str], int]] = [
        ([rows[0].replace("LX0188", "LX0189"), *rows[1:]], 1),
        ([*rows[:2], rows[2].replace("STAY", "RELEASE"), *rows[3:]], 3),
        ([*rows[:2], rows[2].replace("H-2", "H-3"), *rows[3:]], 3),
        ([*rows[:2], *rows[3:]], 3),
        ([*rows[:2], rows[1], *rows[2:]], 3),
        ([rows[0], rows[2], rows[1], *rows[3:]], 2),
        ([*rows[:3], *rows[4:]], 5),
        ([*rows[:3], rows[3].replace("MORE", "LAST")], 4),
        (rows[:4], 4),
        ([*rows, rows[1]], 7),
        ([*rows[:5], last], 6),
    ]
    for changed, row in changes:
        with pytest.raises(LuxorError, match=f"row {row} ") as error:
            listed(tmp_path, changed)
        assert error.value.reason == "RELEASE_LIST_DAMAGED"


def test_a_signature_covers_where_its_page_begins_and_ends(tmp_path: Path) -> None:
    signed = listed(tmp_path)
    page, key = signed.pages[1], public_key_of(SEED)
    assert page.is_signed_by(key)
    cut = replace(page, entries=page.entries[1:], previous=page.entries[0].digest(page.previous))
    assert cut.digest == page.digest, "the digest alone does not show it"
    for other in (
        cut,
        replace(page, entries=page.entries[:1]),
        replace(page, previous=bytes(32)),
        replace(page, number=1),
        replace(page, last=True),
        replace(page, header=replace(page.header, serial="RL-2")),
    ):
        assert not other.is_signed_by(key)


def test_at_the_door_only_goods_that_may_leave_in_time_are_marked_as_released(tmp_path: Path) -> None:
    signed, path, clock = listed(tmp_path), tmp_path / "marks.csv", 5 * MINUTE
    for house, at, reason in (
        ("H-2", ARRIVES, "RELEASE_LIST_STAYS"),
        # The time for an inspection may last until the arrival for which the list was made; clocks differ by five minutes.
        ("H-1", ARRIVES - clock - 1, "RELEASE_LIST_EARLY"),
        ("H-1", MADE - clock - 1, "RELEASE_LIST_EXPIRED"),
        ("H-1", UNTIL + clock + 1, "RELEASE_LIST_EXPIRED"),
        ("H-9", ARRIVES, "RELEASE_LIST_HOUSE_UNCLEAR"),
        ("H-4", ARRIVES, "RELEASE_LIST_HOUSE_UNCLEAR"),
        ("", ARRIVES, "RELEASE_LIST_MALFORMED"),
        ("H" * 71, ARRIVES, "RELEASE_LIST_MALFORMED"),
        ("H-1\x1b[2J", ARRIVES, "RELEASE_LIST_MALFORMED"),
    ):
        made = refusal(lambda: mark(signed, path, house=house, decision="RELEASED", at=at, by="dora"))  # noqa: B023  # called now
        assert (house, at, made) == (house, at, reason)
    assert not path.exists()
    for place, at in enumerate((ARRIVES - clock, ARRIVES, UNTIL + clock)):
        mark(signed, tmp_path / f"{place}.csv", house="H-1", decision="RELEASED", at=at, by="dora")
    mark(signed, path, house="H-1", decision="RELEASED", at=MADE - HOUR, by="dora", anyway=True)
    mark(signed, path, house="H-2", decision="HELD", at=UNTIL + 24 * HOUR, by="dora")
    assert [(each.line, each.decision) for each in read_marks(path, signed)] == [(1, "RELEASED"), (2, "HELD")]
    signed.check_valid(MADE)
    assert refusal(lambda: signed.check_valid(UNTIL + clock + 1)) == "RELEASE_LIST_EXPIRED"


def test_goods_are_named_by_house_document_mrn_or_line(tmp_path: Path) -> None:
    signed, path = listed(tmp_path), tmp_path / "marks.csv"
    assert mark(signed, path, mrn=f"{MRN}3", decision="RELEASED", at=ARRIVES, by="dora").line == 3
    assert mark(signed, path, line=4, decision="RELEASED", at=ARRIVES, by="dora").mrn == f"{MRN}4"
    assert mark(signed, path, house="H-4", mrn=f"{MRN}5", decision="HELD", at=ARRIVES, by="dora").line == 5
    for other in ({"line": 6}, {"line": 1, "house": "H-2"}, {"mrn": f"{MRN}9"}):
        assert (
            refusal(lambda: mark(signed, path, **other, decision="HELD", at=ARRIVES, by="dora"))  # noqa: B023
            == "RELEASE_LIST_HOUSE_UNCLEAR"
        )
    # What is not listed keeps its MRN, so that two MRNs with one house document are two marks.
    for mrn in (f"{MRN}8", f"{MRN}9"):
        mark(signed, path, house="H-8", mrn=mrn, decision="RELEASED", at=ARRIVES, by="dora", anyway=True)
    assert [each.goods for each in read_marks(path, signed)][-2:] == [(0, "H-8", f"{MRN}8"), (0, "H-8", f"{MRN}9")]


def test_a_second_decision_that_contradicts_the_first_is_recorded_only_if_that_is_wanted(tmp_path: Path) -> None:
    signed, path = listed(tmp_path), tmp_path / "marks.csv"
    mark(signed, path, house="H-1", decision="HELD", at=ARRIVES, by="dora")
    mark(signed, path, house="H-1", decision="HELD", at=ARRIVES + 1_000, by="emil")
    with pytest.raises(LuxorError, match="HELD already, by dora") as error:
        mark(signed, path, house="H-1", decision="RELEASED", at=ARRIVES, by="emil")
    assert error.value.reason == "RELEASE_LIST_MARKED"
    mark(signed, path, house="H-1", decision="RELEASED", at=ARRIVES, by="emil", anyway=True)
    assert [each.decision for each in read_marks(path, signed)] == ["HELD", "HELD", "RELEASED"]


def test_marks_belong_to_one_list_and_a_change_of_them_is_found(tmp_path: Path) -> None:
    signed, path = listed(tmp_path), tmp_path / "marks.csv"
    for house, decision in (("H-1", "RELEASED"), ("H-2", "HELD")):
        mark(signed, path, house=house, decision=decision, at=ARRIVES, by="dora")
    first, second = read_marks(path, signed)
    rows = path.read_text().splitlines()
    for changed, row, intact in (
        ([rows[0], rows[1].replace("RELEASED", "HELD"), rows[2]], 2, []),
        ([rows[0], rows[2]], 2, []),
        ([rows[0], rows[2], rows[1]], 2, []),
        ([*rows, rows[1]], 4, [first, second]),
    ):
        path.write_text("".join(f"{each}\n" for each in changed))
        with pytest.raises(LuxorError, match=f"row {row} "):
            read_marks(path, signed)
        assert intact_marks(path, signed)[0] == intact
    path.write_text("".join(f"{each}\n" for each in rows))
    other = listed(tmp_path, rows_of(LINES[:2]))
    for read in (read_marks, intact_marks):
        with pytest.raises(LuxorError, match="row 1 "):
            read(path, other)


def test_of_a_file_whose_end_is_torn_the_marks_before_it_are_read_if_that_is_wanted(tmp_path: Path) -> None:
    signed, path = listed(tmp_path), tmp_path / "marks.csv"
    for house in ("H-1", "H-2"):
        mark(signed, path, house=house, decision="HELD", at=ARRIVES, by="dora")
    first, _ = read_marks(path, signed)
    whole = path.read_bytes()
    begin = len(whole) - len(whole.splitlines(keepends=True)[-1])
    for torn in (whole[:-1], whole[:-5], whole[: begin + 1], whole[:-5] + b"\xff\x00", whole[:-5] + b"\xff\n"):
        path.write_bytes(torn)
        marks, error = intact_marks(path, signed)
        assert (marks, error is not None and "row 3 " in error.sentence) == ([first], True)
        assert refusal(lambda: read_marks(path, signed)) == "RELEASE_LIST_DAMAGED"
        assert (
            refusal(lambda: mark(signed, path, house="H-1", decision="HELD", at=ARRIVES, by="dora"))
            == "RELEASE_LIST_DAMAGED"
        )
        assert path.read_bytes() == torn, "what is damaged is not written over"
    path.write_bytes(whole)
    assert intact_marks(path, signed) == (read_marks(path, signed), None)


def test_two_officers_mark_one_file_at_once(tmp_path: Path) -> None:
    signed, path = listed(tmp_path), tmp_path / "marks.csv"

    def several(name: str) -> None:
        for _ in range(10):
            mark(signed, path, house="H-1", decision="HELD", at=ARRIVES, by=name)

    threads = [threading.Thread(target=several, args=(name,)) for name in ("dora", "emil", "fred")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    by = [each.by for each in read_marks(path, signed)]
    assert {name: by.count(name) for name in ("dora", "emil", "fred")} == {"dora": 10, "emil": 10, "fred": 10}
