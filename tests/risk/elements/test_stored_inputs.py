"""What batches were assessed on is kept beside their answers, and reads as it was."""

from __future__ import annotations

import numpy as np
import pytest

from libs.columns import Table
from libs.columns.stored import InputError
from libs.store.database import Database
from libs.store.tables.inputs import BatchPlace
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.elements.computed import Facts
from services.risk.elements.history_record import record_of
from services.risk.elements.stored_inputs import pack_input, read_answers, unpack_input
from services.risk.history import Hasher, History
from services.risk.history.columns import HistoryColumns as HistoryColumns
from services.risk.screening.parties import LEVELS, screened_by
from services.risk.store.assessment_inputs import stored_inputs
from tests.risk.filings import first_light, table
from tests.risk.service_client import request, stub
from tests.support.services import Running

NOW = 1_795_000_000_000_000
ITEMS = [
    {"description": "Cotton shirt", "commodity_code": "620520"},
    {"description": "Lamp", "commodity_code": "940510"},
]


def people(count: int, first: int = 0) -> Table:
    return table([{"items": ITEMS[: 1 + number % 2]} for number in range(count)], first_mrn=first)


def told(rows: Table) -> HistoryColumns:
    hasher = Hasher(b"0123456789abcdef0123456789abcdef")
    history = History(hasher.mark)
    facts = Facts(rows, first_light().rates)
    return history.read(record_of(rows, facts, hasher, NOW, counted=np.ones(rows.rows, np.bool_), thresholds={}))


@pytest.mark.parametrize("fresh", [np.arange(40), np.array([3, 4, 39])])
def test_what_is_packed_reads_the_same_and_holds_the_fresh_rows_alone(fresh: np.ndarray) -> None:  # type: ignore[type-arg]
    rows = people(40)
    history = told(rows)
    read = unpack_input(*pack_input(rows.serialize(ConsignmentColumns), rows, history, fresh))
    assert read.rows.tolist() == fresh.tolist()
    assert read.table.strings("mrn").tolist() == rows.take(fresh).strings("mrn").tolist()
    assert (
        read.table.child("items").strings("description").tolist()
        == rows.take(fresh).child("items").strings("description").tolist()
    )
    owners = rows.ragged("items").owners()
    assert read.history is not None
    assert {name: column.tolist() for name, column in read.history.consignments.items()} == {
        name: [column.tolist()[row] for row in fresh] for name, column in history.consignments.items()
    }
    assert {name: column.tolist() for name, column in read.history.items.items()} == {
        name: [column.tolist()[item] for item in np.flatnonzero(np.isin(owners, fresh))]
        for name, column in history.items.items()
    }


def test_without_a_past_nothing_is_said_of_history() -> None:
    rows = people(4)
    content = rows.serialize(ConsignmentColumns)
    without = unpack_input(*pack_input(content, rows, None, np.arange(4)))
    assert without.history is None


@pytest.mark.parametrize("broken", [b"", b"\x28\xb5\x2f\xfd", b"nothing that was packed"])
def test_a_batch_that_is_broken_says_so(broken: bytes) -> None:
    rows = people(2)
    columns, history = pack_input(rows.serialize(ConsignmentColumns), rows, told(rows), np.arange(2))
    with pytest.raises(InputError, match="stored batch cannot be read"):
        unpack_input(broken, history)
    with pytest.raises(InputError, match="stored batch cannot be read"):
        unpack_input(columns, history[:-5])


@pytest.mark.parametrize(
    ("payload", "told"),
    [(b"\xff\xff", "answers cannot be read: DecodeError"), (b"", "answers are 0, and the batch names number 4")],
)
def test_answers_that_are_broken_or_of_another_batch_say_so(payload: bytes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_answers(payload, np.array([0, 4]))


async def test_each_assessed_batch_is_kept_once_with_its_answers_in_line(
    risk: Running,
    database: Database,
) -> None:
    caller = await stub(risk)
    both = people(5)
    await caller.AssessConsignments(request(both.take(np.arange(3))), timeout=20)
    await caller.AssessConsignments(request(both), timeout=20)
    await caller.AssessConsignments(request(both), timeout=20)
    inputs = stored_inputs(database)
    kept = await inputs.read(BatchPlace(0, 0), 100_000, purpose=pb.PURPOSE_CLEARANCE, answers=True)
    assert [each.count for each in kept] == [3, 2]
    assert await inputs.count(0, 100_000, pb.PURPOSE_CLEARANCE) == 5
    assert [each.place for each in await inputs.newest(pb.PURPOSE_CLEARANCE, 1)] == [kept[1].place]
    assert await inputs.read(kept[1].place, 100_000) == []
    later = kept[1].unpack()
    assert later.table.strings("mrn").tolist() == both.strings("mrn").tolist()[3:]
    assert later.rows.tolist() == [3, 4]
    answers = kept[1].answered(later)
    assert answers.rows == 2
    assert kept[1].lists == screened_by(answers.strings("lists").tolist()[0], LEVELS)
