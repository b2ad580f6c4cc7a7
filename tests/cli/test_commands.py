"""The commands against a whole running system."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf import json_format

from libs.cli.local.supervisor import LocalSystem
from libs.cli.main import COMMANDS, luxor
from libs.client.filing import files
from libs.simulator import Simulator
from tests.cli.decisions import await_counted, await_decided, counted
from tests.ingestion.consignments import consignment

pytestmark = pytest.mark.long


def notices_of(cli: Any) -> list[dict[str, Any]]:
    """Read from cursor to cursor until there are no more: some are made while others are read."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        *told, end = map(json.loads, cli.run("notices", "--after", cursor, "--json").stdout.splitlines())
        cursor = end["next"]
        if not told:
            assert cli.run("notices", "--after", cursor).stdout.strip() == ""
            return found
        found += told


@pytest.fixture(scope="module")
def before(system: LocalSystem, cli_on: Any) -> int:
    """The consignments that other files of tests had filed."""
    return counted(cli_on(system.data_dir))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "traffic.jsonl"
    result = CliRunner().invoke(luxor, ["simulate", str(path), "--count", "400", "--seed", "5", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["consignments"] == 400
    return path


def test_a_manifest_is_filed_and_filing_it_again_files_nothing_twice(cli: Any, before: int, manifest: Path) -> None:
    first = cli.json("file", str(manifest), "--batch", "100")
    assert (first["consignments"], first["accepted"], first["refused"]) == (400, 400, 0)
    again = cli.json("file", str(manifest), "--batch", "100", "--packed")
    assert again["accepted"] == 400
    for row in (399, 0):  # batches are filed at once, so either may be decided first
        await_decided(cli, _reference(manifest, row))
    assert len(cli.json("show", _reference(manifest, 0))) == 1


def test_arrivals_of_a_manifest_release_what_waits_and_are_known_the_second_time(
    cli: Any, before: int, manifest: Path
) -> None:
    cli.run("file", str(manifest), "--batch", "100")
    await_counted(cli, before + 400)
    told = cli.json("arrive", "--manifest", str(manifest))
    assert {each["outcome"] for each in told} == {"ARRIVAL_OUTCOME_RECORDED"}
    assert sum(each["consignments"] for each in told) == 400
    assert all(each.get("released", 0) + each.get("held", 0) == each["consignments"] for each in told)
    again = cli.json("arrive", told[0]["master_document_number"])
    assert again[0]["outcome"] == "ARRIVAL_OUTCOME_ALREADY_RECORDED"
    assert "already recorded" in cli.run("arrive", "--manifest", str(manifest)).output


def test_the_receptacles_of_a_manifest_arrive_and_the_carrier_reads_what_waits_for_its_master_document(
    cli: Any, tmp_path: Path
) -> None:
    path, bags = tmp_path / "bags.csv", [f"CNSHAADEFRAAAUN6007700{number}000010" for number in (1, 2)]
    row, *_ = csv.DictReader(io.StringIO(files.template()))
    rows = [
        row
        | {"local_reference": f"BAG-{number}", "house_document_number": f"HBAG{number}", "receptacles": ";".join(own)}
        for number, own in enumerate([bags[:1], bags, []])
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(each | {"master_document_number": "777-BAGS"} for each in rows)
    cli.run("file", str(path))
    for number in range(3):
        await_decided(cli, f"BAG-{number}")
    cli.run("arrive", bags[0], "--receptacles", code=2)
    answers = cli.json("arrive", "--manifest", str(path), "--receptacles")
    assert [(each["master_document_number"], each["consignments"], each["not_arrived"]) for each in answers[1:]] == [
        (bags[1], 1, 1)
    ]
    assert (answers[0]["consignments"], answers[0]["not_arrived"]) == (2, 1)
    output = " ".join(cli.run("arrive", bags[0]).output.split())
    assert f"1 in {bags[0]} did not arrive by it" in output
    assert "did not arrive" not in cli.run("arrive", "777-BAGS").output
    assert [len(cli.json("show", bag)) for bag in bags] == [2, 1]
    assert f"receptacle {bags[0]} and 1 other" in " ".join(cli.run("show", bags[1]).output.replace("│", "").split())


def test_a_template_of_the_cli_is_filed_as_it_stands(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "parcels.csv"
    path.write_text(cli.run("file", "--template").stdout, encoding="utf-8")
    lines = path.with_suffix(".jsonl")
    lines.write_text(cli.run("file", "--template", "--format", "jsonl").stdout, encoding="utf-8")
    assert len(lines.read_text(encoding="utf-8").splitlines()) == 1
    assert cli.json("file", str(lines), "--check")["accepted"] == 1
    assert cli.json("file", str(path))["accepted"] == 1
    found = await_decided(cli, "SHOP-2026-0000123")
    assert found["filing"]["destination_country"] == "DE"
    assert [item["commodity_code"] for item in found["items"]] == ["620630", "420330"]
    for reference in (found["mrn"], found["filing"]["local_reference"], "HAWB-0000123", "020-12345675"):
        assert cli.json("show", reference)[0]["mrn"] == found["mrn"]
    drawn = cli.run("show", found["mrn"]).output
    assert found["mrn"] in drawn
    assert "Charges" in drawn
    assert "EUR" in drawn


def test_a_return_that_cites_its_first_mrn_is_filed_decided_and_owes_nothing(cli: Any, tmp_path: Path) -> None:
    rows = list(csv.DictReader(files.template().splitlines()))
    for reference, first in (("RETURN-PROVEN", "26DE123456789012A0"), ("RETURN-BARE", "")):
        path = tmp_path / f"{reference}.csv"
        with path.open("w", encoding="utf-8", newline="") as out:
            more = {"local_reference": reference, "house_document_number": reference, "nature": "RETURN",
                    "returned_mrn": first, "additional_procedures": "F05"}  # fmt: skip
            writer = csv.DictWriter(out, list(rows[0] | more))
            writer.writeheader()
            writer.writerows(row | more for row in rows)
        assert cli.json("file", str(path))["accepted"] == 1
    proven, bare = (await_decided(cli, each) for each in ("RETURN-PROVEN", "RETURN-BARE"))
    assert (proven["debt"]["status"], proven["debt"]["payable_minor"]) == ("DEBT_STATUS_NONE", 0)
    forgone = [(each["charge"], each["amount_minor"], each["forgone_minor"]) for each in proven["debt"]["charges"]]
    # 12 % of 34.84, 9 % of 13.63, and 19 % of both values without the duty that is not levied.
    assert forgone == [
        ("EU.customs_duty", 0, 418), ("EU.customs_duty", 0, 123), ("EU.vat", 0, 662), ("EU.vat", 0, 259),
    ]  # fmt: skip
    assert "SCHEME_NOT_OPEN" in proven["debt"]["notes"]
    # 19 % of 39.02 and of 14.86.
    assert (bare["debt"]["duty_minor"], bare["debt"]["tax_minor"]) == (541, 741 + 282)
    assert "RETURN_NOT_PROVEN" in bare["debt"]["notes"]
    drawn = " ".join(cli.run("show", bare["mrn"]).output.split())
    assert "the return cites no MRN that proves that the goods left" in drawn


def test_a_quote_takes_the_facts_of_a_return(cli: Any) -> None:
    shirt = ["--to", "DE", "--from", "US", "--item", "620630:200", "--on", "2026-06-01", "--nature", "RETURN"]
    first = ["--returned-mrn", "26DE123456789012A0"]
    [plain] = cli.json("quote", *shirt)["quotes"]
    # 12 % of 200.00 and 19 % of 224.00; without the duty 19 % of 200.00.
    assert (plain["duty_minor"], plain["tax_minor"]) == (2_400, 4_256)
    [duty_free] = cli.json("quote", *shirt, *first)["quotes"]
    assert (duty_free.get("duty_minor", 0), duty_free["tax_minor"]) == (0, 3_800)
    [free] = cli.json("quote", *shirt, *first, "--additional-procedure", "F05")["quotes"]
    assert (free.get("duty_minor", 0), free.get("tax_minor", 0)) == (0, 0)


def test_an_officer_binds_a_carrier_and_sees_what_was_refused_and_released(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "bound.csv"
    text = files.template().replace("SHOP-2026-0000123", "BOUND-1").replace("020-12345675", "777-BOUND")
    path.write_text(text.replace("carrier-1", "EORI-OF-WINGS"), encoding="utf-8")
    cli.run("file", str(path))
    await_decided(cli, "BOUND-1")
    [refused] = cli.json("arrive", "777-BOUND", "--as", "wings", code=1)
    assert refused["errors"][0]["reason"] == "ARRIVAL_CARRIER_UNBOUND"
    assert "luxor carriers bind" in cli.run("arrive", "777-BOUND", "--as", "wings", code=1).output
    [listed] = cli.json("carriers", "refused", "--carrier", "wings")
    assert (listed["master_document_number"], listed["times"]) == ("777-BOUND", 2)
    assert "777-BOUND" in cli.run("carriers", "refused").output
    cli.run("carriers", "bind", "wings", code=2)
    cli.run("carriers", "bind", "wings", "--prefix", "7", code=1)
    [bound] = cli.json("carriers", "bind", "wings", "--identifier", "eori-of-wings", "--from", "2026-01-01")
    assert "error" not in bound
    assert "EORI-OF-WINGS" in cli.run("carriers", "list", "--carrier", "wings").output
    [arrived] = cli.json("arrive", "777-BOUND", "--as", "wings")
    assert (arrived["outcome"], arrived["consignments"]) == ("ARRIVAL_OUTCOME_RECORDED", 1)
    [known] = cli.json("carriers", "arrivals", "777-BOUND")
    released = cli.json("carriers", "released", "777-BOUND", "wings")
    assert (known["carrier"], int(known.get("released", 0))) == ("wings", len(released))
    cli.run("carriers", "reverse", "777-BOUND", "--as", "officer", code=2)
    [reversed_] = cli.json(
        "carriers", "reverse", "777-BOUND", "--carrier", "wings", "--as", "officer", code=1 if released else 0
    )
    assert reversed_.get("error", {}).get("reason") == ("ARRIVAL_HAS_RELEASED" if released else None)


def test_refused_rows_are_told_with_line_column_reason_and_hint(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    rows = list(csv.DictReader(files.template().splitlines()))
    rows = [rows[0] | {"local_reference": f"BAD-{number}", "item_number": "1"} for number in range(4)]
    rows[1]["item_commodity_code"] = "000000"
    rows[2]["item_price"] = "19,99"
    rows[3]["item_origin_country"] = "QQ"
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    told = cli.json("file", str(path), code=1)
    assert (told["accepted"], told["refused"]) == (1, 3)
    report = list(csv.DictReader(Path(told["report"]).read_text(encoding="utf-8").splitlines()))
    places = {(each["line"], each["reference"], each["element"]) for each in report}
    assert places >= {
        ("3", "BAD-1", "item_commodity_code"),
        ("4", "BAD-2", "item_price"),
        ("5", "BAD-3", "item_origin_country"),
    }
    assert all(each["hint"] and each["sentence"] and each["reason"] for each in report)
    drawn = cli.run("file", str(path), code=1).output
    assert "line 4" in drawn
    assert "→" in drawn


def test_check_reads_a_file_and_files_nothing(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "checked.csv"
    path.write_text(files.template().replace("SHOP-2026-0000123", "ONLY-CHECKED"), encoding="utf-8")
    assert cli.json("file", str(path), "--check")["accepted"] == 1
    assert cli.error("show", "ONLY-CHECKED", code=1)["reason"] == "NOTHING_FOUND"


def test_a_file_with_an_unknown_column_is_refused_with_the_one_that_was_meant(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "typo.csv"
    path.write_text(files.template().replace("item_description", "item_descripton"), encoding="utf-8")
    told = cli.error("file", str(path), code=1)
    assert told["reason"] == "COLUMN_UNKNOWN"
    assert "item_description" in told["hint"]


def test_an_officer_holds_and_releases_and_the_filer_reads_it_in_the_notices(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text(
        files.template().replace("SHOP-2026-0000123", "OFFICER-1").replace("020-12345675", "020-OFFICER"),
        encoding="utf-8",
    )
    cli.run("file", str(path), "--as", "filer/filer-1")
    number = await_decided(cli, "OFFICER-1")["mrn"]
    [held] = cli.json("hold", number, "--reason", "INTELLIGENCE_RECEIVED", "--note", "see file 7")
    assert held["state"] == "STATE_HELD"
    found = cli.json("show", number, "--history")[0]
    assert "INTELLIGENCE_RECEIVED" in found["decision"]["reasons"]
    assert found["note"] == "see file 7"
    assert len(found["history"]) >= 2
    assert "note" not in cli.json("show", number, "--as", "filer/filer-1")[0]
    checked = cli.json("check-notice", found["check_code"].lower(), number)
    assert (checked["outcome"], checked["state"]) == ("CHECK_OUTCOME_GENUINE", "STATE_HELD")
    assert "Genuine." in cli.run("check-notice", found["check_code"], number, "--as", "gateway").output
    assert cli.json("check-notice", found["check_code"], "26DE07329000001XR8", code=1) == {
        "outcome": "CHECK_OUTCOME_NOT_GENUINE"
    }
    assert cli.error("check-notice", "00000-00000-00001", number, code=1)["reason"] == "NOTICE_CODE_MALFORMED"
    [answer] = cli.json("assessment", number)["assessments"]
    assert answer["purpose"] == "PURPOSE_CLEARANCE"
    assert answer["lane"].startswith("LANE_")
    shown = cli.run("assessment", number).output
    for name in ("rule_set", "lists", "controls", "selection"):
        assert answer[name] in shown.replace("\n", "")
    assert cli.json("assessment", "26DE999999999999R1", code=1)["assessments"] == []
    [inspected] = cli.json(
        "inspect", number, "--item", "1=counterfeit", "--method", "laboratory", "--note", "label of another"
    )
    assert (inspected["state"], inspected.get("error")) == ("STATE_HELD", None)
    found = cli.json("show", number)[0]
    assert (found["findings"]["inspection_method"], found["findings"]["inspection_result"]) == (
        "INSPECTION_METHOD_LABORATORY", "INSPECTION_RESULT_VIOLATION",
    )  # fmt: skip
    assert found["items"][0]["violation"] == "VIOLATION_COUNTERFEIT"
    assert "counterfeit" in cli.run("show", number).output
    assert "inspection_result" not in cli.json("show", number, "--as", "filer/filer-1")[0]
    for wrong in (
        ["--item", "1=pretty"],
        ["--item", "x=conform"],
        [],
        ["--result", "violation"],
        ["--method", "smell", "--result", "conform"],
    ):
        cli.run("inspect", number, *wrong, code=2)
    # Who found the violation does not release it; a second officer may.
    [refused] = cli.json("release", number, code=1)
    assert refused["error"]["reason"] == "VIOLATION_OPEN"
    # Then nothing but its arrival is missing: its account defers what is owed.
    [released] = cli.json("release", number, "--as", "officer/otto")
    assert (released["state"], released.get("error")) == ("STATE_AWAITING_ARRIVAL", None)
    notices = notices_of(cli)
    assert "NOTICE_KIND_HELD" in [each["kind"] for each in notices if each["mrn"] == number]
    assert len({json.dumps(each) for each in notices}) == len(notices), "after a cursor nothing is told again"
    # A limit leaves no notice out: where one transaction wrote more, the cursor leads back to its first.
    *head, end = map(json.loads, cli.run("notices", "--limit", "3", "--json").stdout.splitlines())
    *rest, _ = map(json.loads, cli.run("notices", "--after", end["next"], "--json").stdout.splitlines())
    assert len(head) == 3
    assert {json.dumps(each) for each in head + rest} >= {json.dumps(each) for each in notices}
    line, text = cli.run("notices", "--limit", "1").stdout.splitlines()
    assert text.startswith("    Customs ")
    assert line.split()[2] in text


def test_an_officer_is_told_what_is_wrong_with_a_number(cli: Any) -> None:
    [told] = cli.json("release", "26DE00000000000000", code=1)
    assert told["error"]["reason"]
    assert told["error"]["hint"]


def test_a_quote_explains_each_charge_and_names_the_law(cli: Any) -> None:
    arguments = [
        "quote",
        "--to",
        "DE",
        "--from",
        "CN",
        "--item",
        "620630:31.98",
        "--item",
        "420330:12.50",
        "--on",
        "2026-08-01",
    ]
    [told] = cli.json(*arguments)["quotes"]
    assert told["currency"] == "EUR"
    assert told["duty_minor"] == 600
    assert told["landed_cost_minor"] == told["price_minor"] + told["duty_minor"] + told["tax_minor"] + told.get(
        "fee_minor", 0
    )
    drawn = cli.run(*arguments).output
    assert "landed cost" in drawn
    assert "Regulation" in drawn
    before = cli.json(*arguments[:-1], "2026-06-30")["quotes"][0]
    assert before.get("duty_minor", 0) == 0


def test_a_quote_says_once_how_much_was_reviewed_and_marks_what_is_owed_at_least(cli: Any) -> None:
    goods = ["--item", "620630:31.98", "--item", "420330:12.50", "--from", "CN"]
    told = cli.json("quote", "--to", "DE", *goods)
    assert [each["currency"] for each in told["review"]["amounts"]] == ["EUR"]
    drawn = " ".join(cli.run("quote", "--to", "DE", *goods).output.split())
    assert drawn.count("rest on reviewed law") == 1
    assert "verified" not in drawn
    [least] = cli.json("quote", "--to", "US", "--currency", "USD", *goods)["quotes"]
    assert least["lower_bound"]
    exclusions = "exclusions from the duty of section 301, or the duty itself if the origin is not declared"
    assert f"{exclusions} on 620630, 420330" in least["not_covered"]
    drawn = " ".join(cli.run("quote", "--to", "US", "--currency", "USD", *goods).output.split())
    assert drawn.count("at least") >= 2
    assert "section 301" in drawn


def test_a_quote_may_say_region_kind_of_persons_service_and_mass(cli: Any) -> None:
    def tax(*options: str) -> int:
        [told] = cli.json("quote", "--to", "CA", "--currency", "CAD", "--item", "847130:100", *options)["quotes"]
        return int(told["tax_minor"])

    assert tax("--region", "ON", "--consignee", "NATURAL", "--service", "EXPRESS") == 1_300
    assert tax("--region", "AB", "--consignee", "NATURAL", "--service", "EXPRESS") == 500
    # A gift between private persons, and a levy by mass that needs one.
    gift = [
        "quote",
        "--to",
        "DE",
        "--item",
        "620630:30",
        "--nature",
        "GIFT",
        "--consignor",
        "NATURAL",
        "--on",
        "2026-06-01",
    ]
    assert cli.json(*gift)["quotes"][0].get("tax_minor", 0) == 0
    mail = ["quote", "--to", "NZ", "--currency", "NZD", "--item", "620630:30", "--service", "POST"]
    assert cli.json(*mail, code=1)["quotes"][0]["reason"] == "MASS_MISSING"
    assert cli.json(*mail, "--mass", "0.5")["quotes"][0]["fee_minor"] == 64


def test_goods_are_told_free_or_with_the_documents_that_they_need(cli: Any) -> None:
    free = ["goods", "--to", "de", "--from", "CN", "--item", "620630:Blouse of cotton"]
    assert [each["verdict"] for each in cli.json(*free)["answers"]] == ["GOODS_VERDICT_FREE"]
    assert "no goods control names such goods; rules, lists and prices" in " ".join(cli.run(*free).output.split())
    rifle = ["goods", "--to", "DE", "--from", "CN", "--item", "930630:Hunting rifle ammunition"]
    [told] = cli.json(*rifle, code=1)["answers"]
    assert told["verdict"] == "GOODS_VERDICT_DOCUMENTS_MISSING"
    assert [document["type"] for each in told["controls"] for document in each.get("missing", ())] == ["FIREARM"]
    assert [each["verdict"] for each in cli.json(*rifle, "--document", "firearm")["answers"]] == [
        "GOODS_VERDICT_LIFTED"
    ]
    shown = cli.run(*rifle, "--item", ":Thumb cuffs of steel", "--item", "1:x", code=1).output
    for part in ("documents are missing", "FIREARM", "may not be sent", "GOODS_ELEMENT_MALFORMED", "not verified"):
        assert part in shown
    before_any_law = cli.json(*rifle, "--on", "2001-01-01")["answers"][0]
    assert before_any_law["verdict"] == "GOODS_VERDICT_FREE"


def test_a_quote_for_a_file_and_for_a_country_without_law(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "ask.csv"
    path.write_text(files.template(), encoding="utf-8")
    assert len(cli.json("quote", str(path))["quotes"]) == 1
    told = cli.json("quote", "--to", "AQ", "--item", "620630:31.98", code=1)["quotes"][0]
    assert told["reason"] == "NO_RULEBOOK"
    assert told["hint"]
    assert cli.error("quote", "--to", "DE", "--item", "620630:1.999", code=1)["reason"] == "AMOUNT_TOO_FINE"


def test_statistics_count_what_was_filed(cli: Any, before: int, manifest: Path) -> None:
    cli.run("file", str(manifest), "--batch", "100")
    await_counted(cli, before + 400)
    drawn = cli.run("stats", "--by", "day", "--by", "lane").output
    assert "Goods" in drawn
    assert "Revenue" in drawn
    assert "Times" in drawn
    only = cli.json("stats", "--by", "destination", "--where", "destination=DE")
    assert {each["keys"][0] for each in only["counts"]} == {"DE"}
    assert "Nothing was counted" in cli.run("stats", "--from", "2001-01-01", "--to", "2001-01-02").output


def test_a_recount_ends_with_the_figures_of_before(cli: Any, before: int, manifest: Path) -> None:
    cli.run("file", str(manifest), "--batch", "100")
    await_counted(cli, before + 400)
    told = cli.json("stats", "--by", "lane", "--by", "origin")
    recount = cli.json("recount")
    assert recount["days"] >= 1
    assert recount["consignments"] == recount["consignments_before"] >= 400
    assert cli.json("stats", "--by", "lane", "--by", "origin") == told


def test_dead_letters_of_consumers_are_listed_and_replayed(cli: Any) -> None:
    assert cli.json("dead-letters", "list", "--service", "clearance")["clearance"]["total"] == 0
    assert cli.json("dead-letters", "replay", "clearance", "--all") == {"letters": 0, "keys": 0}
    assert "There are no dead letters" in cli.run("dead-letters", "list", "--service", "clearance").output


def test_status_tells_each_process_with_its_port(cli: Any, system: LocalSystem) -> None:
    told = cli.json("status")
    found = {each["name"]: each for each in told["processes"]}
    assert set(found) == {"postgres", "ingestion", "risk", "revenue", "clearance", "statistics"}
    assert all(each["ready"] for each in found.values())
    assert found["clearance"]["ports"]["main"] == system.ports["clearance"].main
    assert "clearance" in cli.run("status").output


def test_a_certificate_is_issued_and_told(cli: Any) -> None:
    told = cli.json("certificate", "issue", "carrier", "swift-9")
    assert told["identity"] == "spiffe://luxor/carrier/swift-9"
    assert Path(told["certificate"]).is_file()
    assert Path(told["key"]).stat().st_mode & 0o077 == 0


def test_a_filer_is_registered_represented_suspended_and_reinstated(cli: Any) -> None:
    issued = cli.json("certificate", "issue", "filer", "registered")
    assert cli.error("filer", "suspend", "registered", "--reason", "x", code=1)["reason"] == "FILER_UNKNOWN"
    put = ("filer", "put", "registered", "--name", "Registered Ltd", "--identifier", "DE1", "--identifier", "DE2")
    assert cli.json(*put)["version"] == 1
    # An empty ID, as of a shell variable that is not set, changes no other entry.
    assert cli.error("filer", "suspend", "", "--reason", "x", code=1)["reason"] == "FILER_UNKNOWN"
    assert cli.json("filer", "put", "", "--name", "x", code=1)["error"]["reason"] == "FILER_MALFORMED"
    assert cli.json("filer", "put", "registered", "--certificate", issued["certificate"])["version"] == 2
    period = ("--from-day", "2026-01-01", "--to-day", "2026-12-31")
    assert cli.json("filer", "represent", "registered", "broker", *period)["version"] == 3
    assert cli.json("filer", "represent", "registered", "broker", "--from-day", "2026-02-01")["version"] == 4
    assert cli.json("filer", "suspend", "registered", "--reason", "Debts")["version"] == 5
    assert "version 6" in cli.run("filer", "reinstate", "registered").stdout
    trusted = {"authorisation": "AEOC 17", "from_day": "2026-01-01", "to_day": "2026-12-31"}
    assert cli.json("filer", "trust", "registered", "--authorisation", "AEOC 17", *period)["version"] == 7
    put = ("filer", "put", "registered", "--party-role", "platform", "--party-role", "payment_provider")
    assert cli.json(*put)["version"] == 8
    assert "files parts as  platform payment_provider" in cli.run("filer", "show", "registered").stdout
    assert cli.json("filer", "put", "registered", "--party-role", "none")["version"] == 9
    refused = cli.json("filer", "represent", "registered", "registered", "--from-day", "2026-02-01", code=1)
    assert refused["error"]["reason"] == "FILER_MALFORMED"
    newest, roles, _, _, suspended, *_ = cli.json("filer", "show", "registered")
    assert (newest["version"], newest.get("suspension_reason", ""), suspended["suspension_reason"]) == (9, "", "Debts")
    assert newest["trusted"] == trusted
    assert roles["party_roles"] == ["PARTY_ROLE_PLATFORM", "PARTY_ROLE_PAYMENT_PROVIDER"]
    assert "party_roles" not in newest
    assert newest["identifiers"] == ["DE1", "DE2"]
    assert newest["representatives"] == [{"id": "broker", "from_day": "2026-02-01"}]
    assert [each["serial_number"] for each in newest["certificates"]] == [issued["serial"]]
    assert [each["version"] for each in cli.json("filer", "list") if each["id"] == "registered"] == [9]
    assert "trusted" in cli.run("filer", "list").stdout
    shown = cli.run("filer", "show", "registered").stdout
    assert "broker 2026-02-01 to further notice" in shown
    assert "AEOC 17 2026-01-01 to 2026-12-31" in shown
    assert "Debts" in shown
    assert cli.error("filer", "show", "nobody", code=1)["reason"] == "FILER_UNKNOWN"


def test_a_file_is_checked_before_it_is_filed(cli: Any, tmp_path: Path) -> None:
    good, bad = consignment(71), consignment(72)
    good.items[0].description, bad.gross_mass_mg = "Gift", -1
    file = tmp_path / "checked.jsonl"
    lines = [json.dumps(json_format.MessageToDict(row, preserving_proto_field_name=True)) for row in (good, bad)]
    file.write_text("\n".join(lines), encoding="utf-8")
    answer = cli.json("check", str(file), "--as", "filer/checker", code=1)
    assert [each["status"] for each in answer["checks"]] == ["SUBMISSION_STATUS_ACCEPTED", "SUBMISSION_STATUS_REFUSED"]
    assert answer["checks"][0]["quality"]["accuracy"] == 70
    assert answer["checks"][0]["landed_cost"]["landed_cost_minor"] > 0
    assert answer["checks"][0]["goods_controls"][0]["verdict"].startswith("GOODS_VERDICT_")
    file.write_text(lines[0], encoding="utf-8")
    shown = cli.run("check", str(file), "--as", "filer/checker").stdout
    for text in (
        "accepted",
        "timeliness not judged",
        "DESCRIPTION_VAGUE",
        "full lacks",
        "landed cost",
        "CODE_MODEL_MISSING",
    ):
        assert text in shown
    item = tmp_path / "item.csv"
    item.write_text("item_id,detailed_description_of_contents\nLX123456785ES,Wooden toy train\n", encoding="utf-8")
    (row,) = cli.json("check", str(item), "--format", "itmatt", "--as", "filer/checker", code=1)["checks"]
    assert {each["path"] for each in row["errors"]} >= {"consignments[0].consignee.name"}
    assert cli.json("filer", "scorecard", "checker") == []


def test_a_filer_reads_its_scorecard(cli: Any, tmp_path: Path) -> None:
    row = consignment(1)
    row.items[0].description = "[red]"
    file = tmp_path / "scored.jsonl"
    file.write_text(json.dumps(json_format.MessageToDict(row, preserving_proto_field_name=True)), encoding="utf-8")
    cli.run("file", str(file), "--as", "filer/scored")
    row.local_reference, row.items[0].commodity_code = "REF-2", "[bold]"
    file.write_text(json.dumps(json_format.MessageToDict(row, preserving_proto_field_name=True)), encoding="utf-8")
    cli.run("file", str(file), "--as", "filer/scored", code=1)
    (card,) = cli.json("filer", "scorecard", "--as", "filer/scored")
    assert (card["filer"], card["first"]["accuracy"]) == ("scored", {"judged": 1, "total": 70})
    assert cli.json("filer", "scorecard", "scored") == [card]
    shown = cli.run("filer", "scorecard", "scored").stdout
    assert "not judged" in shown
    assert "DESCRIPTION_VAGUE" in shown
    assert "items[0].description [red]" in shown
    assert "REF-2 items[0].commodity_code [BOLD]" in shown
    assert "Nothing was filed" in cli.run("filer", "scorecard", "nobody").stdout


def test_another_authoritys_certificate_is_refused_with_a_hint(
    cli: Any, system: LocalSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUXOR_TLS_DIR", str(tmp_path / "other"))
    told = cli.error("notices", code=3)
    assert told["reason"] == "TLS_REFUSED"
    assert told["hint"]


def test_where_nothing_runs_each_command_says_how_to_start(cli_on: Any, tmp_path: Path) -> None:
    nowhere = cli_on(tmp_path)
    for arguments in (
        ["status"],
        ["show", "X"],
        ["notices"],
        ["stats"],
        ["arrive", "X"],
        ["hold", "X"],
        ["dead-letters", "list"],
    ):
        told = nowhere.error(*arguments, code=3)
        assert told["reason"] == "NOT_RUNNING"
        assert "luxor up" in told["hint"]
    assert "→" in nowhere.run("show", "X", code=3).output
    assert nowhere.json("down") == {"stopped": False}


def test_wrong_use_is_told_with_exit_code_2(cli: Any, tmp_path: Path) -> None:
    assert "Did you mean simulate" in cli.run("simulat", code=2).output
    cli.run("file", code=2)
    cli.run("file", str(tmp_path / "absent.csv"), code=2)
    cli.run("arrive", code=2)
    cli.run("stats", "--where", "colour=red", code=2)
    cli.run("stats", "--from", "yesterday", code=2)
    cli.run("quote", code=2)
    cli.run("simulate", str(tmp_path / "x"), "--scenario", "nowhere", code=2)
    cli.run("show", "X", "--as", "king/x", code=2)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(luxor, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    if name not in ("dead-letters", "certificate", "sandbox"):
        assert "--json" in result.output


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from libs.cli.main import luxor

luxor(["--help"], standalone_mode=False)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"grpc", "numpy", "rich", "asyncpg", "google"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip().endswith("[]")


def _reference(manifest: Path, row: int) -> str:
    with manifest.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number == row:
                return str(json.loads(line)["local_reference"])
    raise AssertionError("the manifest is shorter")


def test_simulated_traffic_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        assert (
            CliRunner()
            .invoke(luxor, ["simulate", str(tmp_path / name), "--count", "50", "--seed", "9", "--carrier", ""])
            .exit_code
            == 0
        )
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    traffic = [each.message for each in Simulator(9, "everyday").manifest(50)]
    with (tmp_path / "a.jsonl").open("rb") as opened:
        assert [each.message for each in files.read_jsonl(opened) if isinstance(each, files.Read)] == traffic
