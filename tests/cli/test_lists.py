"""The officers' lists in a narrow terminal: each MRN, reference and day can be copied, and each limit names itself."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from libs.cli.common import Context
from libs.cli.main import luxor
from libs.cli.views.consignment import render
from libs.cli.views.text import print_words, table
from tests.cli.console_lines import lines_of

MRN, HOUSE, MASTER, SEAL = "26DE1633400000RUR7", "HAWB-2026-000123456", "020-12345675", "SEAL-DE-0000000017"
TIME, MINUTE = "2026-11-30T08:15:42Z", ("2026-11-30", "08:15Z")
REASON = "SECURITY_SCREENING_ALARM"
GOODS: dict[str, Any] = {
    "mrn": MRN, "house_document_number": HOUSE, "master_document_number": MASTER, "lane": "LANE_YELLOW", "state": "STATE_HELD",
    "version": 12,
}  # fmt: skip
WORK = GOODS | {
    "cause": "HOLD_CAUSE_OFFICER", "reasons": [REASON, "VALUE_LOW"], "accepted_at": TIME, "arrived_at": TIME, "storage_ends_at": TIME,
    "claimed_by": "olga.example-17", "claim_note": "[seen] by the second shift",
}  # fmt: skip
PROPOSAL = {
    "kind": "PROPOSAL_KIND_RELEASE", "reason": "CHECKED_AND_IN_ORDER", "proposed_by": "olga.example-17", "proposed_at": TIME, "due_at": TIME,
    "note": "The invoice and the picture of the listing agree with the goods.",
}  # fmt: skip
TRANSIT = {
    "departure_office": "DE004600", "destination_office": "DE003302", "started_at": TIME, "due_at": TIME, "seal": SEAL,
    "document_number": "T1-26DE0046-77", "guarantee_reference": "26DE000000012345G1",
}  # fmt: skip
DIFFERING = [
    {
        "path": "payment.payer", "consignment_value": "Bob [B] Example", "stated_by": "shop", "part_value": "Ada Example", "part_filer": "bank",
        "part_role": "PARTY_ROLE_PAYMENT_PROVIDER",
    },
]  # fmt: skip
CONTROL = {
    "number": 1,
    "form": "CONTROL_FORM_EXAMINATION",
    "authority": "agency-food",
    "reason": REASON,
    "due_at": TIME,
}
LICENCE = {
    "type": "C400", "number": "DE-2026-0000-1234567", "authority": "agency-plants", "holder": "DE123456789012345", "goods": ["0603110000"],
    "from_day": "2026-01-01", "to_day": "2026-12-31", "quantity_millionths": 1_000_000, "unit": "KGM", "version": 3,
}  # fmt: skip
ORDER = {
    "order_id": "RETURN-2026-00000017", "status": "RETURN_ORDER_STATUS_ORDERED", "reason": "RETURN_REASON_WITHDRAWAL",
    "transport_document_number": MASTER, "valid_until": TIME, "ordered_by": "filer/shop-17", "departed_at": TIME, "obstacle": "NOT_RELEASED",
}  # fmt: skip
ARRIVAL = {
    "carrier": "wings-of-europe",
    "arrived_at": TIME,
    "recorded_at": TIME,
    "reversed_at": TIME,
    "reversed_by": "officer/olga",
}
ERROR = {
    "error": {"reason": "TRANSIT_LIMIT_OUT_OF_BOUNDS", "message": f"The time limit for {MRN} is beyond the longest."}
}
# By command: the function of the client, what it returns, and what stands whole on a line.
LISTS: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "work list": ("work.work_list", WORK, (MRN, HOUSE, REASON, "VALUE_LOW", "olga.example-17", "[seen]", *MINUTE)),
    "work storage": ("work.storage_list", WORK, (MRN, HOUSE, REASON, *MINUTE)),
    "work proposals": (
        "work.proposals", GOODS | {"proposal": PROPOSAL}, (MRN, "(CHECKED_AND_IN_ORDER)", "olga.example-17", *MINUTE),
    ),
    "work unjudged": (
        "work.unjudged_list", WORK | {"office": "DE004851", "unjudged_rules": 3}, (MRN, HOUSE, "DE004851", "3", "olga.example-17", *MINUTE),
    ),
    "work contradicted": (
        "work.contradicted_list", GOODS | {"accepted_at": TIME, "contradictions": DIFFERING, "contradiction_count": 23},
        (MRN, HOUSE, "payment.payer:", "Example", "(shop);", "provider)", "ones", *MINUTE),
    ),
    "transit list": (
        "goods.transit.transit_list", GOODS | {"transit": TRANSIT}, (MRN, MASTER, "DE004600", "DE003302", "T1-26DE0046-77", SEAL, *MINUTE),
    ),
    "control list": ("controls.open_controls", GOODS | {"control": CONTROL}, (MRN, HOUSE, REASON, "agency-food", *MINUTE)),
    "returns list": ("returns.return_orders", ORDER, ("RETURN-2026-00000017", MASTER, "filer/shop-17", "NOT_RELEASED", *MINUTE)),
    "licence list": (
        "goods.licences.licences", LICENCE, ("DE-2026-0000-1234567", "agency-plants", "DE123456789012345", "0603110000", "2026-12-31"),
    ),
    "licence uses C400 L-1": ("goods.licences.uses", {"mrn": MRN, "item_number": 1, "used_at": TIME}, (MRN, *MINUTE)),
    "case list": (
        "cases.case_files.case_list",
        {"number": 17, "state": "CASE_STATE_OPEN", "officer": "olga.example-17", "opened_at": TIME, "title": f"Boxes of flight {MASTER}"},
        ("olga.example-17", "2026-11-30", MASTER),
    ),
    "carriers list": (
        "carriers.bindings", {"carrier": "wings-of-europe", "kind": "BINDING_KIND_DOCUMENT", "value": MASTER}, ("wings-of-europe", MASTER),
    ),
    "carriers refused": (
        "carriers.refused", {"carrier": "wings-of-europe", "master_document_number": MASTER, "refused_at": TIME},
        ("wings-of-europe", MASTER, *MINUTE),
    ),
    f"carriers arrivals {MASTER}": ("carriers.arrivals", ARRIVAL, ("wings-of-europe", "officer/olga", *MINUTE)),
    f"carriers released {MASTER} w": ("carriers.released", GOODS | {"released_at": TIME}, (MRN, HOUSE, *MINUTE)),
    f"carriers reverse {MASTER}": ("carriers.reverse", {"master_document_number": MASTER} | ERROR, (MASTER, ERROR["error"]["reason"])),
    f"hold {MRN}": ("officers.act", GOODS | ERROR, (MRN, ERROR["error"]["reason"])),
}  # fmt: skip


@pytest.mark.parametrize("width", ["60", "100"])
@pytest.mark.parametrize("command", LISTS)
def test_mrns_references_and_days_stand_whole_on_one_line(
    command: str, width: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, item, whole = LISTS[command]

    @asynccontextmanager
    async def client(*_: Any) -> AsyncIterator[None]:
        yield None

    async def answer(*_: Any, **__: Any) -> list[Any]:
        return [item]

    monkeypatch.setattr(Context, "client", client)
    monkeypatch.setattr(f"libs.client.clearance.{name}", answer)
    result = CliRunner(env={"COLUMNS": width}).invoke(luxor, [*command.split(), "--data-dir", str(tmp_path)])
    assert result.exit_code == (1 if "error" in item else 0), result.output
    tokens = {token for line in result.output.splitlines() for token in line.split()}
    assert set(whole) <= tokens, result.output
    assert TIME not in result.output


@pytest.mark.parametrize("width", [67, 70, 90])
def test_a_table_does_not_exceed_a_terminal_into_which_its_longest_words_fit(width: int) -> None:
    # 19, 7, 24 and 8 places, with 9 between and around them.
    shown = table("MRN, house document", "held by", "reason", "accepted", right=(3,))
    shown.add_row(f"{MRN}\n{HOUSE}", "an officer of another office", f"[red]{REASON}[/]", "1,234")
    out = io.StringIO()
    print_words(Console(file=out, width=width), shown)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert {MRN, HOUSE, REASON, "1,234"} <= {token for line in lines for token in line.split()}


def test_an_empty_list_says_so() -> None:
    assert lines_of(lambda out: print_words(out, table("MRN"))) == ["No entries."]


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"storage_ends_at": TIME}, "storage until 2026-11-30 08:15Z"),
        ({"presentation_due_at": TIME}, "present by 2026-11-30 08:15Z"),
        ({}, "–"),
    ],
)
def test_the_list_of_storage_says_which_time_limit_it_is(
    limits: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @asynccontextmanager
    async def client(*_: Any) -> AsyncIterator[None]:
        yield None

    async def answer(*_: Any, **__: Any) -> list[Any]:
        return [GOODS | limits]

    monkeypatch.setattr(Context, "client", client)
    monkeypatch.setattr("libs.client.clearance.work.storage_list", answer)
    result = CliRunner(env={"COLUMNS": "300"}).invoke(luxor, ["work", "storage", "--data-dir", str(tmp_path)])
    assert text in result.output


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ({}, "in transit to DE003302 until 2026-11-30 08:15:42Z"),
        ({"ended_at": TIME, "outcome": "TRANSIT_OUTCOME_ARRIVED"}, "arrived at DE003302 2026-11-30 08:15:42Z"),
        (
            {"ended_at": TIME, "outcome": "TRANSIT_OUTCOME_ARRIVED", "difference": "TRANSIT_DIFFERENCE_SEAL"},
            "arrived at DE003302 2026-11-30 08:15:42Z difference: seal",
        ),
        ({"ended_at": TIME, "outcome": "TRANSIT_OUTCOME_ENDED"}, "movement to DE003302 ended by an officer 2026-11-30 08:15:42Z from DE004600"),
        ({"ended_at": TIME, "outcome": "TRANSIT_OUTCOME_LOST"}, "movement to DE003302 ended by an officer 2026-11-30 08:15:42Z goods lost"),
    ],
)  # fmt: skip
def test_a_consignment_names_what_the_office_compares_with_goods_that_move(end: dict[str, str], text: str) -> None:
    shown = " ".join(lines_of(lambda out: out.print(render({"mrn": MRN, "transit": TRANSIT | end})), width=300))
    assert text in shown
    assert f"from DE004600 seal {SEAL} document T1-26DE0046-77 guarantee 26DE000000012345G1" in shown
    # A caller without the guarantee reads the rest.
    public = {name: value for name, value in TRANSIT.items() if name != "guarantee_reference"}
    assert "guarantee" not in " ".join(lines_of(lambda out: out.print(render({"mrn": MRN, "transit": public})), 300))


@pytest.mark.parametrize(
    ("movement", "text"),
    [
        ({"presentation_due_at": TIME}, "to be presented by 2026-11-30 08:15:42Z"),
        ({"presentation_due_at": TIME, "presentation_overdue_at": TIME}, "to be presented by 2026-11-30 08:15:42Z overdue"),
        ({"presentation_due_at": "2026-12-01T00:00:00Z", "presented_at": TIME}, "presented 2026-11-30 08:15:42Z"),
        (
            {"presentation_due_at": "2026-11-29T00:00:00Z", "presentation_overdue_at": "2026-11-29T00:00:01Z", "presented_at": TIME},
            "presented 2026-11-30 08:15:42Z after the deadline 2026-11-29 00:00:00Z",
        ),
    ],
)  # fmt: skip
def test_a_consignment_says_when_it_was_presented_and_that_it_was_late(movement: dict[str, str], text: str) -> None:
    movement |= {"storage_limit": "STORAGE_LIMIT_KNOWN", "storage_ends_at": TIME} if "presented_at" in movement else {}
    shown = " ".join(lines_of(lambda out: out.print(render({"mrn": MRN, "movement": movement})), width=300))
    assert text in shown
    assert ("after the deadline" in shown, "overdue" in shown) == ("after" in text, "overdue" in text)
    assert ("temporary storage ends" in shown) == ("presented_at" in movement)


def test_who_does_not_read_debts_reads_nothing_of_them_and_an_unknown_debt_is_called_unknown() -> None:
    for debt, said in (({}, False), ({"debt": {"status": "DEBT_STATUS_UNKNOWN"}}, True)):
        shown = " ".join(lines_of(lambda out, debt=debt: out.print(render(GOODS | debt))))
        assert ("The amount owed is unknown" in shown) == said
