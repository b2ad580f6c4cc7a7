"""A request counts once, by caller and request_id: its repeat gets the first answer, and other content under the id is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from google.protobuf.message import Message

from libs.columns import Ints, Strings, Table
from libs.server.call import Call, enter
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from libs.server.requests import check_identified, check_request_id, once, page_size_of, recalled, store_answer
from libs.store.database import Database, Transaction
from libs.store.tables import schema
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.support.databases import create_tables

Answer = pb.RecordArrivalsResponse


@pytest.fixture
async def requests(database: Database) -> Database:
    await create_tables(database, schema.create_request_log)
    by("acme")
    return database


def by(caller: str, role: Role = Role.CARRIER) -> None:
    enter(Call(Identity(role, caller), "", "", "", float("inf")))


def arrival(request_id: str = "r1", master: str = "M-1") -> pb.RecordArrivalsRequest:
    return pb.RecordArrivalsRequest(request_id=request_id, arrivals=[pb.Arrival(master_document_number=master)])


def answer(outcome: int) -> Answer:
    return Answer(results=[pb.ArrivalResult(outcome=outcome)])  # type: ignore[arg-type]  # any number


def work_of(outcome: int, done: list[int]) -> Callable[[Transaction], Awaitable[Answer]]:
    async def work(_: Transaction) -> Answer:
        done.append(outcome)
        return answer(outcome)

    return work


@pytest.mark.parametrize("request_id", ["a", "x" * 64, "a b", "é"])
def test_an_id_of_1_to_64_printable_characters_is_accepted(request_id: str) -> None:
    check_request_id(request_id)


@pytest.mark.parametrize(
    ("request_id", "reason"),
    [
        ("", "REQUEST_ID_MISSING"),
        ("x" * 65, "REQUEST_ID_MALFORMED"),
        ("a\nb", "REQUEST_ID_MALFORMED"),
        ("a\x00", "REQUEST_ID_MALFORMED"),
    ],
)
async def test_any_other_id_is_refused_by_each_call(requests: Database, request_id: str, reason: str) -> None:
    done: list[int] = []
    for call in (
        recalled(requests, Answer, arrival(request_id)),
        store_answer(requests, arrival(request_id), answer(1)),
        once(requests, Answer, arrival(request_id), work_of(1, done)),
    ):
        with pytest.raises(Refusal) as caught:
            await call
        assert (caught.value.reason, caught.value.path) == (reason, "request_id")
    assert not done


async def test_work_is_done_once_and_a_repeat_gets_the_first_answer(requests: Database) -> None:
    done: list[int] = []
    assert await recalled(requests, Answer, arrival()) is None
    for outcome in (1, 2, 3):
        assert await once(requests, Answer, arrival(), work_of(outcome, done)) == answer(1)
    assert done == [1]
    assert await recalled(requests, Answer, arrival()) == answer(1)
    assert await store_answer(requests, arrival(), answer(4)) == answer(1)


async def test_the_answer_to_work_done_elsewhere_is_recorded(requests: Database) -> None:
    assert await store_answer(requests, arrival(), answer(1)) == answer(1)
    assert await recalled(requests, Answer, arrival()) == answer(1)


async def test_work_that_fails_leaves_the_id_free(requests: Database) -> None:
    async def fails(_: Transaction) -> Answer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await once(requests, Answer, arrival(), fails)
    done: list[int] = []
    assert await once(requests, Answer, arrival(), work_of(2, done)) == answer(2)
    assert done == [2]


OTHERS: dict[str, Message] = {
    "other content": arrival(master="M-2"),
    "less content": pb.RecordArrivalsRequest(request_id="r1"),
    "another kind of request": pb.RecordReturnsRequest(request_id="r1"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_other_content_under_the_id_is_refused_by_each_call(requests: Database, other: Message) -> None:
    done: list[int] = []
    await once(requests, Answer, arrival(), work_of(1, done))
    for call in (
        recalled(requests, Answer, other),
        store_answer(requests, other, answer(2)),
        once(requests, Answer, other, work_of(2, done)),
    ):
        with pytest.raises(Refusal) as caught:
            await call
        assert (caught.value.reason, caught.value.path) == ("REQUEST_REUSED", "request_id")
        assert caught.value.value == "r1"
    assert done == [1]


async def test_two_kinds_of_request_with_the_same_bytes_are_told_apart(requests: Database) -> None:
    await store_answer(requests, pb.RecordArrivalsRequest(request_id="r1"), answer(1))
    with pytest.raises(Refusal, match="REQUEST_REUSED"):
        await recalled(requests, Answer, pb.RecordReturnsRequest(request_id="r1"))


@pytest.mark.parametrize(("caller", "role"), [("other", Role.CARRIER), ("acme", Role.OFFICER)])
async def test_an_id_belongs_to_its_caller_alone(requests: Database, caller: str, role: Role) -> None:
    done: list[int] = []
    await once(requests, Answer, arrival(), work_of(1, done))
    by(caller, role)
    assert await recalled(requests, Answer, arrival()) is None
    assert await once(requests, Answer, arrival(), work_of(2, done)) == answer(2)
    assert await recalled(requests, Answer, arrival()) == answer(2)
    by("acme")
    assert await recalled(requests, Answer, arrival()) == answer(1)
    assert done == [1, 2]


async def test_the_same_content_under_another_id_is_another_request(requests: Database) -> None:
    done: list[int] = []
    await once(requests, Answer, arrival("r1"), work_of(1, done))
    assert await once(requests, Answer, arrival("r2"), work_of(2, done)) == answer(2)
    assert done == [1, 2]


@pytest.mark.parametrize(("size", "found"), [(0, 50), (1, 1), (99, 99), (100, 100), (101, 100), (2**31 - 1, 100)])
def test_a_page_has_the_size_of_the_request_or_the_default_and_is_cut_to_the_most(size: int, found: int) -> None:
    assert page_size_of(size, 50, 100) == found


@pytest.mark.parametrize("path", ["page_size", "max_entries"])
def test_a_negative_page_size_is_refused(path: str) -> None:
    with pytest.raises(Refusal) as caught:
        page_size_of(-1, 50, 100, path)
    assert (caught.value.reason, caught.value.path) == ("NUMBER_NEGATIVE", path)


@pytest.mark.parametrize(
    ("mrns", "versions", "path"),
    [
        (["A", "B"], [1, 2**31 - 1], None),
        (["A", ""], [1, 1], "consignments.mrn[1]"),
        (["A", "B"], [0, 1], "consignments.version[0]"),
        (["A", "B"], [1, 2**31], "consignments.version[1]"),
        (["A", "B"], [1, None], "consignments.version[1]"),
    ],
)
def test_consignments_without_an_mrn_or_a_version_are_refused(
    mrns: list[str], versions: list[int | None], path: str | None
) -> None:
    version = Ints.of([each or 0 for each in versions], [each is not None for each in versions])
    table = Table.of(ConsignmentColumns, 2, {"mrn": Strings.of(mrns), "version": version})
    if path is None:
        check_identified(table)
        return
    with pytest.raises(Refusal) as caught:
        check_identified(table)
    assert (caught.value.reason, caught.value.path) == ("CONSIGNMENT_UNIDENTIFIED", path)
