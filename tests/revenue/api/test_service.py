"""Revenue over real gRPC, TLS and PostgreSQL."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from libs.columns import Ragged, Table
from libs.server.config.server_config import ConfigError
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment as ConsignmentMessage
from luxor.revenue.v1 import ledger_pb2
from luxor.revenue.v1 import revenue_pb2 as pb
from luxor.revenue.v1.ledger_pb2_grpc import LedgerServiceStub
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from services.revenue.__main__ import assemble
from tests.revenue.law.batches import message_of
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.published import cases, differences, request_of, shipped_law
from tests.revenue.service_client import DAY, FLAT, accepted, refused
from tests.support.services import Running, running

SECONDS = 30.0


async def stub(house: Running, role: str = "service", ident: str = "clearance") -> RevenueServiceStub:
    return RevenueServiceStub(await house.channel(role, ident))


def plain(table: Table, row: int) -> dict[str, object]:
    """Write one row out, whatever its dictionaries look like."""
    alone = table.take(np.array([row]))
    told: dict[str, object] = {}
    for name, column in alone.columns.items():
        if not isinstance(column, Ragged):
            told[name] = column[0]
        elif isinstance(column.values, Table):
            told[name] = [plain(column.values, place) for place in range(column.values.rows)]
        else:
            told[name] = column.values.tolist()
    return told


async def test_an_assessment_tells_charges_totals_collectors_and_account(house: Running) -> None:
    revenue = await stub(house)
    batch = [*FLAT, Consignment("AQ", date(2026, 8, 3), [Item(1)])]
    answer = Table.decode((await revenue.AssessConsignments(accepted(batch), timeout=SECONDS)).assessments)
    assert answer.strings("reason").tolist() == ["", "NO_RULEBOOK"]
    for name, amount in (("duty", 300), ("tax", 1007), ("fee", 0), ("collected_by_customs", 300),
                         ("collected_by_vendor", 1007), ("intrinsic_value", 5_000)):  # fmt: skip
        assert answer.ints(name).tolist() == [amount, None], name
    # Nobody has credit without an account that was opened.
    assert answer.strings("deferred_account").tolist() == ["", ""]
    assert answer.strings("currency").tolist() == ["EUR", ""]
    assert answer.strings("rulebook_version")[0].startswith("EU/")
    charges = answer.child("charges")
    assert charges.strings("charge").tolist() == ["EU.flat_duty", "EU.vat_at_sale"]
    assert charges.ints("basis").tolist() == [None, 5_300]
    assert charges.ints("rate_ppm").tolist() == [None, 190_000]
    assert charges.ints("specific_minor").tolist() == [300, None]
    assert charges.ints("item_number").tolist() == [1, 1]
    assert charges.ints("collector").tolist() == [common_pb2.COLLECTOR_CUSTOMS, common_pb2.COLLECTOR_VENDOR]
    assert charges.strings("reference").tolist() == ["EU:flat-duty", "EU:vat-rates"]
    assert charges.strings("sentence").tolist() == ["per_tariff_line", "percent"]
    assert charges.ints("rounding").tolist() == [0, common_pb2.ROUNDING_HALF_UP]


async def test_an_account_gives_credit_from_the_moment_it_is_opened_to_its_own_filers_alone(house: Running) -> None:
    revenue, ledger = await stub(house), LedgerServiceStub(await house.channel("officer", "officer-1"))
    account = ledger_pb2.Account(name="deferred:shop", currency="EUR")
    request = ledger_pb2.PutAccountsRequest(request_id="open", accounts=[account])
    opened = await ledger.PutAccounts(request, timeout=SECONDS)
    assert not opened.results[0].HasField("error")
    answer = Table.decode((await revenue.AssessConsignments(accepted(FLAT), timeout=SECONDS)).assessments)
    assert answer.strings("deferred_account").tolist() == ["deferred:shop"]
    assert answer.child("charges").strings("account").tolist()[0] == "deferred:shop"


async def test_the_first_answer_is_kept_whatever_is_asked_later(house: Running) -> None:
    revenue = await stub(house)
    dear = [Consignment("DE", date(2026, 8, 3), [Item(9_000, code="620630")])]
    first = await revenue.AssessConsignments(accepted(FLAT), timeout=SECONDS)
    again = await revenue.AssessConsignments(accepted([*dear, *dear]), timeout=SECONDS)
    mixed = Table.decode(again.assessments)
    assert plain(mixed, 0) == plain(Table.decode(first.assessments), 0)
    assert mixed.ints("tax").tolist() == [1007, 1767]
    newer = await revenue.AssessConsignments(accepted(dear, version=2), timeout=SECONDS)
    assert Table.decode(newer.assessments).ints("tax").tolist() == [1767]


async def test_published_cases_come_out_of_the_running_service(house: Running) -> None:
    revenue = await stub(house, "filer", "shop")
    wrong = []
    # Cases with rates or values of their own have a law of their own, which the service does not run.
    for case in (each for each in cases() if not (each.exchange or each.changes)):
        answer = await revenue.QuoteConsignments(request_of(case), timeout=SECONDS)
        wrong += differences(case, list(answer.quotes))
        assert {line.reference for line in answer.quotes[0].lines} <= {each.id for each in answer.references}
    assert not wrong, "\n".join(wrong)


async def test_a_quote_that_cannot_be_made_says_why_and_what_to_do(house: Running) -> None:
    revenue = await stub(house, "officer", "ann")
    request = pb.QuoteConsignmentsRequest(
        consignments=[message_of(FLAT[0]), ConsignmentMessage(destination_country="AQ")]
    )
    request.as_of.FromSeconds(DAY * 86_400)
    good, bad = (await revenue.QuoteConsignments(request, timeout=SECONDS)).quotes
    assert (good.reason, good.landed_cost_minor, good.payable_minor) == ("", 6_307, 300)
    assert (bad.reason, len(bad.lines)) == ("NO_RULEBOOK", 0)
    assert "ListRulebooks" in bad.hint


async def test_what_is_asked_wrongly_is_refused_with_a_reason(house: Running) -> None:
    revenue, filer = await stub(house), await stub(house, "filer", "shop")
    good = accepted(FLAT)
    unnamed = pb.AssessConsignmentsRequest()
    unnamed.CopyFrom(good)
    unnamed.purpose = pb.PURPOSE_UNSPECIFIED
    nameless = pb.AssessConsignmentsRequest()
    nameless.CopyFrom(good)
    nameless.consignments.ClearField("mrn")
    torn = pb.AssessConsignmentsRequest()
    torn.CopyFrom(good)
    torn.consignments.items.price_minor.values.append(1)
    many = pb.QuoteConsignmentsRequest(consignments=[message_of(FLAT[0])] * 1_001)
    many.as_of.FromSeconds(1_790_000_000)
    early = pb.QuoteConsignmentsRequest(consignments=[message_of(FLAT[0])])
    early.as_of.FromSeconds(0)
    timeless = pb.QuoteConsignmentsRequest(consignments=[message_of(FLAT[0])])
    for call, reason in (
        (revenue.AssessConsignments(unnamed, timeout=SECONDS), "ASSESSMENT_PURPOSE_UNKNOWN"),
        (revenue.AssessConsignments(nameless, timeout=SECONDS), "CONSIGNMENT_UNIDENTIFIED"),
        (revenue.AssessConsignments(torn, timeout=SECONDS), "CONSIGNMENT_COLUMNS_MALFORMED"),
        (
            revenue.AssessConsignments(pb.AssessConsignmentsRequest(purpose=pb.PURPOSE_CLEARANCE), timeout=SECONDS),
            "BATCH_EMPTY",
        ),
        (filer.AssessConsignments(good, timeout=SECONDS), "ROLE_NOT_ALLOWED"),
        (revenue.QuoteConsignments(timeless, timeout=SECONDS), "CONNECTION_NOT_ALLOWED"),
        (filer.QuoteConsignments(many, timeout=SECONDS), "BATCH_TOO_LARGE"),
        (filer.QuoteConsignments(early, timeout=SECONDS), "AS_OF_OUT_OF_BOUNDS"),
        (filer.QuoteConsignments(timeless, timeout=SECONDS), "AS_OF_MISSING"),
        (filer.QuoteConsignments(pb.QuoteConsignmentsRequest(), timeout=SECONDS), "BATCH_EMPTY"),
    ):
        told, sentence = await refused(call)
        assert told == reason, sentence


async def test_the_rulebooks_are_told_with_what_nobody_verified(house: Running) -> None:
    revenue = await stub(house, "analyst", "ann")
    books = (await revenue.ListRulebooks(pb.ListRulebooksRequest(), timeout=SECONDS)).rulebooks
    told = {book.jurisdiction: book for book in books}
    assert list(told) == sorted(read.rulebook.jurisdiction for read in shipped_law().books)
    references = {reference.id: reference for reference in told["EU"].references}
    assert references["EU:relief-23"].verified
    assert not references["EU:vat-food"].verified
    assert all(reference.address for reference in references.values())


async def test_a_bad_rulebook_keeps_the_service_from_starting(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "xx").mkdir()
    (tmp_path / "xx" / "rulebook.yaml").write_text("format: 1\njurisdiction: XX\n")
    with pytest.raises(ConfigError, match=r"xx/rulebook\.yaml.*has no 'name'"):
        async with running("revenue", assemble, database_url, environ={"LUXOR_REVENUE_RULEBOOKS": str(tmp_path)}):
            raise AssertionError("it started")
