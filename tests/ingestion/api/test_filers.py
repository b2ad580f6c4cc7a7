"""The register of filers: entries and their versions, suspension, required registration, and changes by representatives."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import grpc
import pytest

from libs.customs.partitions import partitions_of
from libs.customs.time import day_of_date, day_text
from libs.server.errors import reason_of
from libs.store.database import Database
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import filers_pb2 as pb
from luxor.ingestion.v1 import ingestion_pb2 as ingestion
from luxor.ingestion.v1.filers_pb2_grpc import FilerServiceStub
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from services.ingestion.__main__ import assemble
from services.ingestion.commands.admission import AGE_SECONDS_MAX, FilerAdmission, NotAdmitted
from services.ingestion.store.filers import Filers
from tests.ingestion.amendments import amendment, announced, announced_table, invalidation, reasons, version_of
from tests.ingestion.consignments import consignment, put
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support.services import Running, running

UNKNOWN = [["AMENDED_FILING_UNKNOWN"]]
TODAY_SQL = "select floor(extract(epoch from now()) / 86400)::integer"


def entry(ident: str, **values: Any) -> pb.Filer:
    return pb.Filer(id=ident, name=f"{ident} Ltd", **values)


class Register:
    """The register as a role uses it."""

    def __init__(self, stub: FilerServiceStub) -> None:
        self.stub = stub
        self.requests = 0

    async def put(self, *entries: pb.Filer, request_id: str = "") -> list[tuple[int, str, str]]:
        """Return version, reason and path of each result."""
        self.requests += 1
        request = pb.PutFilersRequest(request_id=request_id or f"p{self.requests}", filers=entries)
        answer = await self.stub.PutFilers(request, timeout=SECONDS)
        return [(each.version, each.error.reason, each.error.path) for each in answer.results]

    async def listed(self, **query: Any) -> list[pb.Filer]:
        found: list[pb.Filer] = []
        token = ""
        while True:
            request = pb.ListFilersRequest(page_size=1, page_token=token, **query)
            page = await self.stub.ListFilers(request, timeout=SECONDS)
            assert len(page.filers) <= 1
            found += page.filers
            token = page.next_page_token
            if not token:
                return found

    async def versions(self, ident: str) -> list[pb.Filer]:
        found: list[pb.Filer] = []
        token = ""
        while True:
            request = pb.ListFilerVersionsRequest(id=ident, page_size=2, page_token=token)
            page = await self.stub.ListFilerVersions(request, timeout=SECONDS)
            found += page.versions
            token = page.next_page_token
            if not token:
                return found


async def register_of(service: Running, role: str = "officer", ident: str = "otto") -> Register:
    return Register(FilerServiceStub(await service.channel(role, ident)))


async def read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingestion.commands.admission.AGE_SECONDS_MAX", 0.0)


def declared(number: int, declarant: str = "DE1", representative: str = "") -> Consignment:
    """Return the good consignment of a number that names declarant and representative."""
    row = consignment(number)
    for party, identifier in (("declarant", declarant), ("representative", representative)):
        if identifier:
            put(put(row, f"{party}.identifier", identifier), f"{party}.name", "Example")
    return row


def change(number: int, mrn: str, declarant: str = "DE1", representative: str = "", replaced: int = 1) -> Consignment:
    """Return an amendment by MRN of such a consignment."""
    row = amendment(number, replaced, 5, mrn=mrn)
    filed = declared(number, declarant, representative)
    for party in ("declarant", "representative"):
        if filed.HasField(party):
            getattr(row, party).CopyFrom(getattr(filed, party))
    return row


async def receipt_of(stub: IngestionServiceStub, mrn: str) -> ingestion.ReceiptResult:
    request = ingestion.GetReceiptsRequest(keys=[ingestion.ReceiptKey(mrn=mrn)])
    return (await stub.GetReceipts(request, timeout=SECONDS)).results[0]


async def test_entries_have_versions_and_change_as_a_whole_if_the_caller_saw_the_current_one(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        officer, analyst = await register_of(service), await register_of(service, "analyst", "ana")
        first = entry(
            "shop",
            identifiers=["DE2", "DE1"],
            certificates=[pb.FilerCertificate(serial_number="0A0B", from_day="2026-01-01", to_day="2026-03-31")],
            representatives=[pb.Representative(id="broker", from_day="2026-01-01")],
        )
        assert await officer.put(first, entry("broker"), request_id="r") == [(1, "", ""), (1, "", "")]
        # The same request, the same content, and other content without having seen the current version.
        assert await officer.put(first, entry("broker"), request_id="r") == [(1, "", ""), (1, "", "")]
        assert await officer.put(first) == [(1, "", "")]
        changed = entry("shop", identifiers=["DE1"])
        assert await officer.put(changed) == [(1, "FILER_VERSION_CHANGED", "filers[0].version")]
        changed.version = 2
        assert await officer.put(changed) == [(1, "FILER_VERSION_CHANGED", "filers[0].version")]
        assert await officer.put(entry("new", version=1)) == [(0, "FILER_VERSION_CHANGED", "filers[0].version")]
        changed.version = 1
        assert await officer.put(changed) == [(2, "", "")]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await officer.put(changed, request_id="r")
        assert reason_of(caught.value) == "REQUEST_REUSED"
        broker, shop = await analyst.listed()
        assert (broker.id, broker.version, shop.id, shop.version) == ("broker", 1, "shop", 2)
        assert (list(shop.identifiers), list(shop.representatives)) == (["DE1"], [])
        assert (shop.changed_by, shop.HasField("changed_at")) == ("officer/otto", True)
        assert [each.id for each in await analyst.listed(id="shop")] == ["shop"]
        newest, oldest = await analyst.versions("shop")
        assert newest == shop
        assert (list(oldest.identifiers), oldest.version) == (["DE1", "DE2"], 1)
        assert (oldest.certificates, oldest.representatives) == (first.certificates, first.representatives)
        assert await analyst.versions("nobody") == []


MALFORMED: list[tuple[dict[str, Any], str, str]] = [
    ({"id": ""}, "FILER_MALFORMED", "id"),
    ({"id": "a b"}, "FILER_MALFORMED", "id"),
    ({"name": ""}, "FILER_MALFORMED", "name"),
    ({"name": " x"}, "FILER_MALFORMED", "name"),
    ({"name": "a\tb"}, "FILER_MALFORMED", "name"),
    ({"suspension_reason": " "}, "FILER_MALFORMED", "suspension_reason"),
    ({"identifiers": ["de1"]}, "FILER_MALFORMED", "identifiers[0]"),
    ({"identifiers": ["DE1", ""]}, "FILER_MALFORMED", "identifiers[1]"),
    ({"certificates": [{"serial_number": "ABC", "from_day": "2026-01-01", "to_day": "2026-01-01"}]}, "FILER_MALFORMED",
     "certificates[0].serial_number"),
    ({"certificates": [{"serial_number": "AB", "from_day": "2026-01-01"}]}, "FILER_DAYS_MALFORMED", "certificates[0].to_day"),
    ({"certificates": [{"serial_number": "AB", "from_day": "2026-01-02", "to_day": "2026-01-01"}]}, "FILER_DAYS_MALFORMED",
     "certificates[0].to_day"),
    ({"trusted": {"from_day": "2026-01-01"}}, "FILER_MALFORMED", "trusted.authorisation"),
    ({"trusted": {"authorisation": "A" * 71, "from_day": "2026-01-01"}}, "FILER_MALFORMED", "trusted.authorisation"),
    ({"trusted": {"authorisation": "AEO"}}, "FILER_DAYS_MALFORMED", "trusted.from_day"),
    ({"trusted": {"authorisation": "AEO", "from_day": "2026-01-02", "to_day": "2026-01-01"}}, "FILER_DAYS_MALFORMED", "trusted.to_day"),
    ({"party_roles": [1, 1]}, "FILER_MALFORMED", "party_roles"),
    ({"party_roles": [0]}, "FILER_MALFORMED", "party_roles"),
    ({"representatives": [{"id": "shop", "from_day": "2026-01-01"}]}, "FILER_MALFORMED", "representatives[0].id"),
    ({"representatives": [{"id": "a", "from_day": "2026-01-01"}] * 2}, "FILER_MALFORMED", "representatives[1].id"),
    ({"representatives": [{"id": "a/b", "from_day": "2026-01-01"}]}, "FILER_MALFORMED", "representatives[0].id"),
    ({"representatives": [{"id": "a"}]}, "FILER_DAYS_MALFORMED", "representatives[0].from_day"),
]  # fmt: skip


async def test_each_malformed_element_is_refused_alone_and_bounds_are_accepted(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        officer = await register_of(service)
        entries = [pb.Filer(**({"id": "shop", "name": "Shop"} | values)) for values, _, _ in MALFORMED]
        good = pb.Filer(id="x" * 64, name="n" * 140, suspension_reason="s" * 140, identifiers=["D" * 35] * 20)
        good.trusted.authorisation, good.trusted.from_day = "A" * 70, "2026-01-01"
        good.certificates.add(serial_number="AB" * 20, from_day="2026-01-01", to_day="2026-01-01")
        results = await officer.put(*entries, good, good)
        wanted = [(0, reason, f"filers[{place}].{path}") for place, (_, reason, path) in enumerate(MALFORMED)]
        repeated = (0, "FILER_REPEATED", f"filers[{len(entries) + 1}].id")
        assert results == [*wanted, (1, "", ""), repeated]
        (stored,) = await officer.listed()
        assert (list(stored.identifiers), stored.trusted) == (["D" * 35], good.trusted)
        for request, reason in (
            (pb.PutFilersRequest(request_id="e"), "BATCH_EMPTY"),
            (pb.PutFilersRequest(filers=[entry("a")]), "REQUEST_ID_MISSING"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await officer.stub.PutFilers(request, timeout=SECONDS)
            assert reason_of(caught.value) == reason


async def test_a_filer_reads_its_own_entry_alone(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        officer = await register_of(service)
        await officer.put(entry("shop"), entry("thief"))
        thief = await register_of(service, "filer", "thief")
        assert [each.id for each in await thief.listed()] == ["thief"]
        assert [each.id for each in await thief.listed(id="thief")] == ["thief"]
        assert await thief.listed(id="shop") == await thief.listed(id="nobody") == []
        for call in (thief.put(entry("thief", version=1)), thief.versions("thief")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert reason_of(caught.value) == "ROLE_NOT_ALLOWED"


async def test_a_suspended_filer_files_nothing_new_and_changes_and_repeats_what_it_filed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read_at_once(monkeypatch)
    async with running("ingestion", assemble, database_url) as service:
        officer, shop, other = await register_of(service), await stub_of(service), await stub_of(service, ident="other")
        first = await submit(shop, [consignment(1)], "r1")
        await officer.put(entry("shop", suspension_reason="Unpaid debts since May."))
        rows = [consignment(2), consignment(1), amendment(1, 1, 5), amendment(2, 1), invalidation(1, 2)]
        answer = await submit(shop, rows, "r2")
        assert reasons(answer) == [["FILER_SUSPENDED"], [], [], ["AMENDED_FILING_UNKNOWN"], []]
        assert "Unpaid debts since May." in answer.results[0].errors[0].message
        assert answer.results[0].errors[0].path == "consignments[0]"
        assert answer.results[1] == first.results[0]
        assert [each.receipt.version for each in answer.results[2:]] == [2, 0, 3]
        assert await submit(shop, [consignment(1)], "r1") == first
        assert (await receipt_of(shop, first.results[0].receipt.mrn)).receipt.version == 3
        # Other content under a reference that exists is a reused one, as of every filer.
        reused = consignment(1)
        reused.gross_mass_mg += 1
        assert reasons(await submit(shop, [reused], "r3")) == [["REFERENCE_REUSED"]]
        assert reasons(await submit(other, [consignment(2)], "r1")) == [[]]
        await officer.put(entry("shop", version=1))
        assert reasons(await submit(shop, [consignment(2)], "r4")) == [[]]


async def test_only_registered_filers_file_where_the_administration_says_so(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read_at_once(monkeypatch)
    async with running("ingestion", assemble, database_url) as service:
        early = await submit(await stub_of(service), [consignment(1)], "r1")
        assert reasons(early) == [[]]
    environ = {"LUXOR_INGESTION_FILER_REGISTRATION_REQUIRED": "true"}
    async with running("ingestion", assemble, database_url, environ=environ) as service:
        officer, shop = await register_of(service), await stub_of(service)
        answer = await submit(shop, [consignment(2), consignment(1)], "r2")
        assert reasons(answer) == [["FILER_NOT_REGISTERED"], []]
        assert answer.results[1] == early.results[0]
        await officer.put(entry("shop"))
        assert reasons(await submit(shop, [consignment(2)], "r3")) == [[]]


async def test_an_entry_counts_for_two_seconds_and_is_then_read_again(database_url: str) -> None:
    now = 100.0
    async with Database(database_url, name="test") as database:
        admission = FilerAdmission(Filers(database), is_registration_required=True, clock=lambda: now)
        missing = NotAdmitted("FILER_NOT_REGISTERED")
        assert await admission.refusal("shop") == missing
        async with database.transaction() as tx:
            await tx.raw.execute("insert into filer values ('shop', 1, 'Shop', '', '', '', '', '', 0, 'officer/otto')")
        now += AGE_SECONDS_MAX - 0.01
        assert await admission.refusal("shop") == missing
        now += 0.02
        assert await admission.refusal("shop") is None


async def test_declarants_are_read_again_after_changes_also_of_a_store_that_was_set_back(database_url: str) -> None:
    now = 100.0
    add = "insert into filer values ('shop', $1, 'Shop', $2, '', '', '', '', $3, 'officer/otto')"
    async with Database(database_url, name="test") as database:
        admission = FilerAdmission(Filers(database), is_registration_required=False, clock=lambda: now)

        async def found() -> set[str]:
            return set((await admission.declarants()).not_entrusted("other", ["DE1", "DE2", "DE3"], 20_000))

        async def put(*values: Any) -> None:
            async with database.transaction() as tx:
                await tx.raw.execute(add, *values)

        assert await found() == set()
        await put(1, "DE1", 10)
        now += AGE_SECONDS_MAX - 0.01
        assert await found() == set()
        now += 0.02
        assert await found() == {"DE1"}
        await put(2, "DE2", 20)
        now += AGE_SECONDS_MAX
        assert await found() == {"DE2"}
        # A copy without the second version gets another one.
        async with database.transaction() as tx:
            await tx.raw.execute("delete from filer where version = 2")
        await put(2, "DE3", 30)
        now += AGE_SECONDS_MAX
        assert await found() == {"DE3"}


async def test_a_representative_changes_what_the_declarant_filed_and_the_other_way_round(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        officer = await register_of(service)
        since = pb.Representative(id="broker", from_day="2020-01-01")
        await officer.put(
            entry("shop", identifiers=["DE1"], representatives=[since]), entry("broker", identifiers=["DE9"])
        )
        shop, broker = await stub_of(service), await stub_of(service, ident="broker")
        by_shop = (await submit(shop, [declared(1)], "r1")).results[0].receipt
        by_broker = (await submit(broker, [declared(2, "DE1", "DE9")], "r1")).results[0].receipt
        changed = await submit(broker, [change(1, by_shop.mrn)], "r2")
        assert reasons(changed) == [[]]
        receipt = changed.results[0].receipt
        assert (receipt.version, receipt.changed_by, receipt.local_reference) == (2, "broker", "REF-1")
        # The owner sees who changed it; both get the same answer for the same change, and for what is read again.
        assert (await submit(shop, [change(1, by_shop.mrn)], "r2")).results[0].receipt == receipt
        assert (await submit(broker, [change(1, by_shop.mrn)], "r3")).results[0].receipt == receipt
        for stub in (shop, broker):
            assert (await receipt_of(stub, by_shop.mrn)).receipt == receipt
        other = change(1, by_shop.mrn)
        other.gross_mass_mg += 1
        assert reasons(await submit(shop, [other], "r4")) == [["VERSION_REPLACED"]]
        back = await submit(shop, [invalidation(1, 2, mrn=by_shop.mrn)], "r5")
        assert (back.results[0].receipt.version, back.results[0].receipt.changed_by) == (3, "")
        # The declarant withdraws what its representative filed.
        withdrawn = await submit(shop, [invalidation(2, 1, mrn=by_broker.mrn)], "r6")
        assert (withdrawn.results[0].receipt.version, withdrawn.results[0].receipt.changed_by) == (2, "shop")
        # A local reference is that of the caller's own filings.
        assert reasons(await submit(broker, [amendment(1, 3)], "r7")) == UNKNOWN
    rows = await announced(database_url)
    assert [(row.local_reference, version_of(row)) for row in rows] == [
        ("REF-1", 1), ("REF-1", 2), ("REF-1", 3), ("REF-2", 1), ("REF-2", 2),
    ]  # fmt: skip


async def test_a_filing_has_the_status_of_its_filer_when_each_version_was_accepted(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read_at_once(monkeypatch)
    async with running("ingestion", assemble, database_url) as service:
        officer = await register_of(service)
        status = pb.TrustedStatus(authorisation="AEOC 17", from_day="2020-01-01", to_day="2030-01-01")
        broker = pb.Representative(id="broker", from_day="2020-01-01")
        entries = [
            entry("shop", identifiers=["DE1"], representatives=[broker], trusted=status),
            entry(
                "broker", trusted=pb.TrustedStatus(authorisation="AEOC 18", from_day="2020-01-01", to_day="2031-01-01")
            ),
        ]
        await officer.put(*entries)
        shop, agent, other = [await stub_of(service, ident=each) for each in ("shop", "broker", "other")]
        mrn = (await submit(shop, [declared(1), consignment(2)], "r1")).results[0].receipt.mrn
        await submit(other, [consignment(3)], "r1")
        # By its representative: the status is that of the filer.
        await submit(agent, [change(1, mrn)], "r2")
        entries[0].ClearField("trusted")
        entries[0].version = 1
        await officer.put(entries[0])
        # An invalidation has the content of the version before it, and not its status.
        await submit(shop, [invalidation(1, 2), amendment(2, 1, 5)], "r3")
    table = await announced_table(database_url)
    until = day_of_date(date(2030, 1, 1))
    keys = zip(table.strings("local_reference").tolist(), table.ints("version").values.tolist(), strict=True)
    assert dict(zip(keys, table.ints("filer_trusted_until").tolist(), strict=True)) == {
        ("REF-1", 1): until, ("REF-2", 1): until, ("REF-3", 1): None,
        ("REF-1", 2): until, ("REF-1", 3): None, ("REF-2", 2): None,
    }  # fmt: skip


async def test_a_filing_stays_that_of_its_filer_whoever_changes_it(database_url: str) -> None:
    """Notices, references and statistics go by the filer: the feed names the owner, not who changed it."""
    async with running("ingestion", assemble, database_url) as service:
        officer = await register_of(service)
        since = pb.Representative(id="broker", from_day="2020-01-01")
        await officer.put(entry("shop", identifiers=["DE1"], representatives=[since]), entry("broker"))
        shop, broker = await stub_of(service), await stub_of(service, ident="broker")
        mrn = (await submit(shop, [declared(1)], "r1")).results[0].receipt.mrn
        await submit(broker, [change(1, mrn)], "r2")
    table = await announced_table(database_url)
    assert table.strings("filer").tolist() == ["shop", "shop"]
    assert table.ints("partition").values.tolist() == partitions_of("shop", ["REF-1"]).tolist() * 2


@pytest.mark.parametrize(
    ("shop", "broker", "declarant", "representative"),
    [
        # No representation; before it begins; after it ended; of somebody else.
        ({"identifiers": ["DE1"]}, {}, "DE1", ""),
        ({"identifiers": ["DE1"], "days": (1, 2)}, {}, "DE1", ""),
        ({"identifiers": ["DE1"], "days": (-2, -1)}, {}, "DE1", ""),
        ({"identifiers": ["DE1"], "days": (0, 0), "representative": "other"}, {}, "DE1", ""),
        # The declaration names no declarant, another one, or another representative.
        ({"identifiers": ["DE1"], "days": (0, 0)}, {"identifiers": ["DE9"]}, "", ""),
        ({"identifiers": ["DE1"], "days": (0, 0)}, {"identifiers": ["DE9"]}, "DE2", "DE9"),
        ({"identifiers": ["DE1"], "days": (0, 0)}, {"identifiers": ["DE9"]}, "DE1", "DE8"),
        # The representative is suspended, or not registered.
        ({"identifiers": ["DE1"], "days": (0, 0)}, {"suspension_reason": "fraud"}, "DE1", ""),
        ({"identifiers": ["DE1"], "days": (0, 0)}, None, "DE1", ""),
    ],
)
async def test_without_a_valid_representation_that_the_declaration_bears_out_a_filing_does_not_exist(
    database_url: str, shop: dict[str, Any], broker: dict[str, Any] | None, declarant: str, representative: str
) -> None:
    async with Database(database_url, name="test") as database, database.connection() as reader:
        today = int(await reader.raw.fetchval(TODAY_SQL))
    given = dict(shop)
    if "days" in given:
        first, last = given.pop("days")
        each = pb.Representative(from_day=day_text(today + first), to_day=day_text(today + last))
        each.id = given.pop("representative", "broker")
        given["representatives"] = [each]
    async with running("ingestion", assemble, database_url) as service:
        officer = await register_of(service)
        await officer.put(
            entry("shop", **given), entry("other"), *([entry("broker", **broker)] if broker is not None else [])
        )
        own, agent = await stub_of(service), await stub_of(service, ident="broker")
        mrn = (await submit(own, [declared(1, declarant, representative)], "r1")).results[0].receipt.mrn
        refused = reasons(await submit(agent, [change(1, mrn, declarant, representative)], "r2"))
        # Beside it is only the warning about what the agent itself states.
        assert [[each for each in found if each != "DECLARANT_NOT_ENTRUSTED"] for found in refused] == UNKNOWN
        assert reasons(await submit(agent, [invalidation(1, 1, mrn=mrn)], "r3")) == UNKNOWN
        assert (await receipt_of(agent, mrn)).error.reason == "RECEIPT_UNKNOWN"
        assert reasons(await submit(own, [change(1, mrn, declarant, representative)], "r4")) == [[]]
    assert [version_of(row) for row in await announced(database_url)] == [1, 2]


async def test_only_entries_that_name_one_of_the_two_are_read(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for receipts chooses the owners: their entries, of up to 1,000 representatives, cost it nothing."""
    from services.ingestion.store import filers

    since = "2020-01-01"
    async with running("ingestion", assemble, database_url) as service:
        officer = await register_of(service)
        others = [pb.Representative(id=name, from_day=since) for name in ("big.broker", "broker2", "b")]
        agent = pb.Representative(id="broker", from_day=since)
        await officer.put(
            entry("far", identifiers=["DE3"], representatives=others),
            entry("shop", identifiers=["DE1"], representatives=[*others, agent]),
            entry("broker", identifiers=["DE9"], representatives=[pb.Representative(id="sub", from_day=since)]),
            entry("sub", identifiers=["DE8"]),
        )
    read: list[str] = []
    parse = filers.filer_of

    def noted(row: Any) -> Any:
        read.append(row["id"])
        return parse(row)

    monkeypatch.setattr(filers, "filer_of", noted)
    async with Database(database_url, name="test") as database:
        register = Filers(database)
        assert set(await register.mandates("broker", ["far", "shop", "sub", "nobody"])) == {"shop", "sub"}
        assert sorted(read) == ["broker", "shop", "sub"]
        assert await register.mandates("nobody", ["far", "shop"]) == {}


async def test_clearance_reads_of_the_register_what_states_representations_and_no_other_service_does(
    database_url: str,
) -> None:
    async with running("ingestion", assemble, database_url) as service:
        officer = await register_of(service)
        agents = [pb.Representative(id=each, from_day="2020-01-01") for each in ("broker", "nobody")]
        shop = entry("shop", identifiers=["DE1"], representatives=agents, party_roles=[1], suspension_reason="Fraud.")
        await officer.put(shop, entry("broker", identifiers=["DE9"]), entry("alone", identifiers=["DE5"]))
        found = await (await register_of(service, "service", "clearance")).listed()
        assert found == [
            pb.Filer(id="broker", identifiers=["DE9"], version=1),
            pb.Filer(id="shop", identifiers=["DE1"], representatives=agents, suspension_reason="Fraud.", version=1),
        ]
        whole = await officer.listed(in_representations=True)
        assert [(each.id, each.name != "") for each in whole] == [("broker", True), ("shop", True)]
        with pytest.raises(grpc.RpcError) as caught:
            await (await register_of(service, "service", "statistics")).listed()
        assert reason_of(caught.value) == "CONNECTION_NOT_ALLOWED"


@pytest.mark.parametrize("level", ["warn", "reject", "none"])
async def test_a_declarant_that_entrusted_nothing_is_found_at_the_level_of_the_administration(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    await read_at_once(monkeypatch)
    checks = tmp_path / "checks.yaml"
    checks.write_text(f"levels: {{DECLARANT_NOT_ENTRUSTED: {level}}}\n")
    environ = {"LUXOR_INGESTION_FILING_CHECKS": str(checks)}
    async with running("ingestion", assemble, database_url, environ=environ) as service:
        officer = await register_of(service)
        broker, other = await stub_of(service, ident="broker"), await stub_of(service, ident="other")
        free = await submit(other, [declared(1)], "r0")
        agents = [pb.Representative(id="broker", from_day="2020-01-01")]
        await officer.put(entry("shop", identifiers=["DE1"], representatives=agents))
        assert reasons(await submit(broker, [declared(1)], "r1")) == [[]]
        refused = await submit(other, [declared(1), declared(2), consignment(3)], "r2")
        expected = [] if level == "none" else ["DECLARANT_NOT_ENTRUSTED"]
        # What was accepted has its receipt again, whatever would refuse it now.
        assert reasons(refused) == [expected, expected, []]
        path = "consignments[1].declarant.identifier"
        assert [each.path for each in refused.results[1].errors] == [path] * len(expected)
        assert refused.results[1].receipt.HasField("accepted_at") == (level != "reject")
        assert free.results[0].receipt.mrn == refused.results[0].receipt.mrn
        withdrawn = await submit(other, [invalidation(1, 1)], "r3")
        assert reasons(withdrawn) == [[]]
