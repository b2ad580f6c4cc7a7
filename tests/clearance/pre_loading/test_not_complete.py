"""The assessment before loading is not complete where something is unknown: rules without a result, a list that changed, an arrival that was none.

The definition is docs/preloading.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pytest

from libs.columns import Ints, Table
from luxor.clearance.v1 import carriers_pb2, control_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.consignment.v1 import consignment_pb2
from tests.clearance import loading
from tests.clearance.controls import (
    CONFORM,
    FILER,
    NOT_CONFORM,
    WITHDRAWN,
    answer,
    answered,
    arrive,
    concluded,
    conclusion,
    notices,
    order,
    ordered,
    state,
)
from tests.clearance.desk import MASTER, filings, mrns
from tests.clearance.inspections import status
from tests.clearance.loading import FORBIDDEN, INFORMATION, NONE, SCREENING, parameters, recommending
from tests.clearance.risk_answers import SECRET, answering, screening
from tests.clearance.screening_matches import clearing, hear
from tests.clearance.service_client import SECONDS, House

REFERRED: Final = control_pb2.PRE_LOADING_REFERRED
DO_NOT_LOAD: Final = control_pb2.PRE_LOADING_DO_NOT_LOAD
COMPLETE: Final = control_pb2.PRE_LOADING_COMPLETE
UNJUDGED: Final = control_pb2.PRE_LOADING_UNJUDGED
ABOUT: Final = control_pb2.CONTROL_FORM_INFORMATION
SCREENED: Final = control_pb2.CONTROL_FORM_SCREENING
CLEAR: Final = consignment_pb2.SCREENING_RESULT_CLEAR


async def file(house: House, recommended: Mapping[str, int], **fields: Any) -> Table:
    """File consignments of which risk recommends this."""
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda reference, _: recommended[reference], [], **fields)
    table = filings(list(recommended))
    await house.desk.consume(table)
    return table


async def stage(house: House, mrn: str) -> int:
    return (await status(house, mrn)).pre_loading


async def stages(house: House, role: str, ident: str) -> list[int]:
    return [each.pre_loading for each in await notices(house, role, ident) if each.pre_loading]


async def reverse(house: House, request_id: str = "v1") -> None:
    request = carriers_pb2.ReverseArrivalsRequest(request_id=request_id)
    request.arrivals.add(master_document_number=MASTER)
    await CarrierServiceStub(await house.service.channel("carrier", "wings")).ReverseArrivals(request, timeout=SECONDS)


async def test_what_risk_cannot_judge_is_not_taken_for_nothing_until_an_officer_judged_it(house: House) -> None:
    (mrn,) = mrns(await file(house, {"GREEN-1": NONE}, unjudged=1))
    assert await stage(house, mrn) == UNJUDGED
    # What confidential rules read is shown to nobody else: neither as a stage nor as a notice.
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        assert await stages(house, role, ident) == []
    assert (await status(house, mrn, "filer", "shop")).pre_loading == 0
    assert await notices(house, "carrier", "wings") == []
    for number, (result, expected) in enumerate([(WITHDRAWN, UNJUDGED), (CONFORM, COMPLETE)], 1):
        await ordered(house, order(mrn, ABOUT, addressee=1, text="Which fabric?"), request_id=f"o{number}")
        assert await stage(house, mrn) == REFERRED
        await concluded(house, conclusion(mrn, number, result), request_id=f"c{number}")
        assert await stage(house, mrn) == expected
    assert COMPLETE in await stages(house, "filer", "shop")


async def test_a_clear_screening_judges_no_data(house: House) -> None:
    unknown, known = [
        (await file(house, {name: SCREENING}, unjudged=count)) for name, count in (("GREEN-1", 2), ("GREEN-2", 0))
    ]
    for number, table in enumerate((unknown, known)):
        (mrn,) = mrns(table)
        await answered(house, answer(mrn, screening_result=CLEAR), role="carrier", by="wings", request_id=f"w{number}")
    assert [await stage(house, mrns(table)[0]) for table in (unknown, known)] == [UNJUDGED, COMPLETE]


async def test_an_officer_judges_the_data_by_a_request_of_an_officer_alone(house: House) -> None:
    filed = await file(house, {"GREEN-1": NONE}, unjudged=1)
    (mrn,) = mrns(filed)
    await hear(house.desk, screening(filed))
    await concluded(house, conclusion(mrn, 1), request_id="c1")
    assert await stage(house, mrn) == UNJUDGED, "the request by the match is about the list"
    await ordered(house, order(mrn, SCREENED, addressee=1, text="Screen it."), request_id="o2")
    await concluded(house, conclusion(mrn, 2), request_id="c2")
    assert await stage(house, mrn) == UNJUDGED, "a screening is about the goods"


async def test_what_risk_does_not_assess_is_not_what_it_could_not_judge(house: House) -> None:
    house.desk.decide.parameters = parameters()
    answer_to = recommending(lambda *_: NONE, [], unjudged=1)

    def without_selection(table: Table) -> Table:
        return answer_to(table).with_columns({"referral": Ints.absent(table.rows)})

    house.desk.neighbours.loading = without_selection
    table = filings(["GREEN-1"])
    await house.desk.consume(table)
    assert await stage(house, mrns(table)[0]) == 0


async def test_goods_that_were_not_judged_are_released_on_arrival_as_others(house: House) -> None:
    (mrn,) = mrns(await file(house, {"GREEN-1": NONE}, unjudged=1))
    await arrive(house)
    assert (await stage(house, mrn), await state(house, mrn)) == (0, "RELEASED")


async def test_a_match_after_the_assessment_was_complete_reopens_it(house: House) -> None:
    filed = await file(house, {"GREEN-1": NONE, "GREEN-2": INFORMATION})
    complete, referred = mrns(filed)
    assert await stage(house, complete) == COMPLETE
    await hear(house.desk, screening(filed))
    await hear(house.desk, screening(filed))
    # What risk requested is another matter: its end completes nothing.
    for mrn, count in ((complete, 1), (referred, 2)):
        seen = await status(house, mrn)
        assert (seen.pre_loading, [(each.form, each.ordered_by) for each in seen.controls]) == (
            REFERRED,
            [(ABOUT, "automatic")] * count,
        )
    await concluded(house, conclusion(referred), request_id="c0")
    assert await stage(house, referred) == REFERRED
    # Nobody outside learns of the list.
    (request,) = (await status(house, complete, "filer", "shop")).controls
    assert (request.reason, request.pointer) == ("CUSTOMS_CHECK", "")
    assert REFERRED in await stages(house, "carrier", "wings")
    # Neither an answer nor the end of the match completes it, but an officer.
    await answered(house, answer(complete))
    await hear(house.desk, clearing(filed))
    assert await stage(house, complete) == REFERRED
    await concluded(house, conclusion(complete))
    assert await stage(house, complete) == COMPLETE


async def test_neither_a_deadline_nor_a_new_version_ends_the_request_for_a_match(house: House) -> None:
    house.desk.neighbours.risk = answering({})
    await hear(house.desk, screening(filings(["GREEN-1"])))
    (mrn,) = mrns(await file(house, {"GREEN-1": INFORMATION}))
    own, by_match = (await status(house, mrn)).controls
    overdue = (control_pb2.CONTROL_OVERDUE_CONCLUDE, control_pb2.CONTROL_OVERDUE_ESCALATE)
    assert (own.when_overdue, by_match.when_overdue) == overdue
    house.desk.neighbours.loading = recommending(lambda *_: NONE, [])
    await house.desk.consume(filings(["GREEN-1"], version=2))
    seen = (await status(house, mrn)).controls
    assert [(each.number, each.result_reason) for each in seen] == [(own.number, "REASSESSED"), (by_match.number, "")]
    assert await stage(house, mrn) == REFERRED


async def test_a_match_before_the_decision_is_no_complete_assessment(house: House) -> None:
    await hear(house.desk, screening(filings(["GREEN-1"])))
    (mrn,) = mrns(await file(house, {"GREEN-1": NONE}))
    seen = await status(house, mrn)
    assert (seen.pre_loading, [each.form for each in seen.controls]) == (REFERRED, [ABOUT])
    assert COMPLETE not in await stages(house, "filer", "shop")


async def test_a_match_before_the_decision_is_requested_beside_what_risk_recommends(house: House) -> None:
    await hear(house.desk, screening(filings(["GREEN-1"])))
    (mrn,) = mrns(await file(house, {"GREEN-1": SCREENING}))
    assert [each.form for each in (await status(house, mrn)).controls] == [SCREENED, ABOUT]
    await answered(house, answer(mrn, screening_result=CLEAR), role="carrier", by="wings")
    assert await stage(house, mrn) == REFERRED
    await concluded(house, conclusion(mrn, 2))
    assert await stage(house, mrn) == COMPLETE


async def test_a_match_while_the_goods_counted_as_arrived_is_requested_with_the_reversal(house: House) -> None:
    before = await file(house, {"RED-1": NONE})
    await arrive(house)
    after = await file(house, {"RED-2": NONE, "RED-3": SCREENING})
    for table in (before, after):
        await hear(house.desk, screening(table))
    await reverse(house)
    numbers = dict(zip(mrns(before) + mrns(after), (1, 1, 2), strict=True))
    for mrn, number in numbers.items():
        seen = await status(house, mrn)
        assert (seen.pre_loading, len(seen.controls), seen.controls[-1].form) == (REFERRED, number, ABOUT)
        await concluded(house, conclusion(mrn, number), request_id=f"c{mrn}")
    assert [await stage(house, mrn) for mrn in numbers] == [COMPLETE, COMPLETE, REFERRED]
    # What an officer ended is not asked again.
    await arrive(house, "a2")
    await reverse(house, "v2")
    assert [len((await status(house, mrn)).controls) for mrn in numbers] == [*numbers.values()]


async def test_a_match_refers_no_goods_that_arrived_or_were_not_assessed(house: House) -> None:
    filed = await file(house, {"GREEN-1": NONE})
    await arrive(house)
    await hear(house.desk, screening(filed))
    house.desk.neighbours.loading = None
    house.desk.decide.parameters = type(parameters())({}, parameters().offices)
    other = filings(["GREEN-2"], master="020-9")
    await house.desk.consume(other)
    await hear(house.desk, screening(other))
    for table in (filed, other):
        assert not (await status(house, mrns(table)[0])).controls
    assert await state(house, mrns(other)[0]) == "HELD"


async def test_goods_whose_arrival_is_reversed_are_referred_as_they_would_have_been(house: House) -> None:
    await arrive(house)
    table = await file(house, {"RED-1": FORBIDDEN, "RED-2": SCREENING, "RED-3": NONE})
    assert [await stage(house, mrn) for mrn in mrns(table)] == [0, 0, 0]
    await reverse(house)
    forbidden, screened, free = mrns(table)
    assert [await stage(house, mrn) for mrn in mrns(table)] == [DO_NOT_LOAD, REFERRED, COMPLETE]
    assert [len((await status(house, mrn)).controls) for mrn in (forbidden, screened, free)] == [1, 1, 0]
    assert {DO_NOT_LOAD, REFERRED} <= set(await stages(house, "carrier", "wings"))
    # Reported again and reversed again, nothing is ordered twice.
    await arrive(house, "a2")
    await reverse(house, "v2")
    assert [len((await status(house, mrn)).controls) for mrn in (forbidden, screened, free)] == [1, 1, 0]


@pytest.mark.parametrize("result", [CONFORM, NOT_CONFORM, WITHDRAWN])
async def test_what_an_officer_judged_before_is_not_asked_again(house: House, result: int) -> None:
    (mrn,) = mrns(await file(house, {"RED-1": INFORMATION}))
    await concluded(house, conclusion(mrn, 1, result))
    await arrive(house)
    await reverse(house)
    assert len((await status(house, mrn)).controls) == 1
    assert await state(house, mrn) == pb.State.Name(pb.STATE_HELD).removeprefix("STATE_")


async def test_officers_read_a_confidential_reason_and_nobody_else_does(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mrn,) = mrns(await file(house, {"GREEN-1": FORBIDDEN}, secret=True))
    # Another confidential reason has a do-not-load of its own, the same one has not.
    for version, reason in ((2, "PARTY_ON_LIST"), (3, "PARTY_ON_LIST")):
        monkeypatch.setitem(loading.REASONS, FORBIDDEN, reason)
        house.desk.neighbours.loading = recommending(lambda *_: FORBIDDEN, [], secret=True)
        await house.desk.consume(filings(["GREEN-1"], version=version))
    reasons = ["DO_NOT_LOAD_ORDER", "PARTY_ON_LIST"]
    for role, ident in (("officer", "olga"), ("analyst", "anna")):
        found = (await status(house, mrn, role, ident)).controls
        assert [(each.reason, each.confidential_reason) for each in found] == [
            ("CUSTOMS_CHECK", each) for each in reasons
        ]
    shown = str(await status(house, mrn, "filer", "shop"))
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        shown += "".join(map(str, await notices(house, role, ident)))
    assert "CUSTOMS_CHECK" in shown
    assert not [each for each in (*reasons, "confidential") if each in shown]
    # Both are to be lifted.
    await concluded(house, conclusion(mrn, 1, WITHDRAWN), request_id="c1")
    assert await stage(house, mrn) == DO_NOT_LOAD
    await concluded(house, conclusion(mrn, 2, WITHDRAWN), request_id="c2")
    assert await stage(house, mrn) == COMPLETE


async def test_a_request_that_follows_from_a_list_says_so_to_officers(house: House) -> None:
    filed = await file(house, {"GREEN-1": NONE})
    await hear(house.desk, screening(filed))
    (mrn,) = mrns(filed)
    assert [each.confidential_reason for each in (await status(house, mrn)).controls] == ["LIST_MATCH"]
    assert "LIST_MATCH" not in str(await status(house, mrn, "filer", "shop"))


async def test_no_order_of_an_officer_tells_filer_and_carrier_that_a_list_matched(house: House) -> None:
    filed = await file(house, {"GREEN-1": NONE, "GREEN-2": NONE, "GREEN-3": NONE})
    await hear(house.desk, screening(filed.take(np.array([0, 1])), ("6908555",)))
    hit, other, free = mrns(filed)
    requests: dict[str, Any] = {"form": ABOUT, "addressee": FILER}
    revealed: tuple[dict[str, Any], ...] = (
        {"reason": "LIST_MATCH", "text": "There is a list match; send the date of birth."},
        {"reason": "LIST_MATCH", "text": "Send proof that the consignee is not 6908555."},
        # Whatever reason is stated.
        {"reason": "DATA_UNCLEAR", "text": "Send proof that the consignee is not 6908555."},
        {"reason": "DATA_UNCLEAR", "text": f"Is it {SECRET.replace('_', ' ').lower()}?"},
        {"reason": "VIP_GOODS", "text": "Why VIP goods?", "confidential": True},
        {"reason": "VIP_GOODS", "text": "Why?", "pointer": "vip_goods", "confidential": True},
    )
    for number, fields in enumerate(revealed):
        (result,) = await ordered(house, order(hit, **requests | fields), request_id=f"r{number}")
        assert result.error.reason == "CONTROL_TEXT_REVEALS_REASON", fields
    orders = (
        order(hit, **requests | {"reason": "LIST_MATCH", "text": ""}),
        # The reason of a confidential finding of these goods.
        order(other, **requests | {"reason": SECRET, "text": "Send the date of birth."}),
        order(free, **requests | {"reason": "VIP_GOODS", "text": "State the UN number.", "confidential": True}),
    )
    assert [each.error.reason for each in await ordered(house, *orders)] == [""] * 3
    for mrn, reason, text in (
        (hit, "LIST_MATCH", "State the data of this consignment more exactly, by an answer."),
        (other, SECRET, "Send the date of birth."),
        (free, "VIP_GOODS", "State the UN number."),
    ):
        control = (await status(house, mrn)).controls[-1]
        assert (control.reason, control.confidential_reason, control.text) == ("CUSTOMS_CHECK", reason, text)
        assert reason not in str(await status(house, mrn, "filer", "shop"))
    read = "".join([str(await notices(house, *reader)) for reader in (("filer", "shop"), ("carrier", "wings"))])
    assert "CUSTOMS_CHECK" in read
    assert not [each for each in ("LIST_MATCH", SECRET, "VIP_GOODS") if each in read]
    # What no finding of these goods says is not confidential.
    await ordered(house, order(free, **requests | {"reason": SECRET, "text": "Send it."}), request_id="p")
    assert (await status(house, free, "filer", "shop")).controls[-1].reason == SECRET
    # Each confidential reason has a do-not-load of its own.
    forms = [
        order(free, control_pb2.CONTROL_FORM_DO_NOT_LOAD, reason=each, confidential=True) for each in ("A", "B", "A")
    ]
    reasons = [(await ordered(house, each, request_id=f"d{n}"))[0].error.reason for n, each in enumerate(forms)]
    assert reasons == ["", "", "DO_NOT_LOAD_STANDS"]
