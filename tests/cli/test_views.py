"""What commands tell people, without a system: quotes, notices, notes of revenue, law files."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from libs.cli.commands.filing import notices, quote
from libs.cli.commands.operations import system
from libs.cli.commands.revenue import ledger, payouts, reconcile, rulebooks
from libs.cli.common import console
from libs.cli.law_files import files_of
from libs.cli.local.state import State, lock, write_state
from libs.cli.main import luxor
from libs.cli.views import revenue_notes
from libs.cli.views.consignment import render, render_many
from services.revenue.law.batch.reasons import Note
from tests.cli.console_lines import lines_of

CHAINS: dict[str, Any] = {"entries": 1, "postings": 2, "partitions": 64, "seals": 1, "newest_seal": None, "faults": []}
QUOTED: dict[str, Any] = {
    "currency": "EUR",
    "price_minor": 5000,
    "duty_minor": 300,
    "landed_cost_minor": 5300,
    "payable_minor": 300,
}
REFUSED: dict[str, Any] = {
    "reason": "NO_RULEBOOK", "explanation": ["No law is loaded for this destination and day."],
    "hint": "Ask ListRulebooks.",
}  # fmt: skip


def test_a_quote_of_a_file_refuses_what_describes_goods(tmp_path: Path) -> None:
    path = tmp_path / "parcels.csv"
    path.write_text("", encoding="utf-8")
    done = CliRunner().invoke(
        luxor, ["quote", str(path), "--to", "AU", "--currency", "EUR", "--data-dir", str(tmp_path)]
    )
    assert done.exit_code == 2
    assert "--to, --currency cannot be used with it" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--item", "620630:31,98"], "The amount 31,98 in --item is no number."),
        (["--item", "620630:9", "--freight", "1.999"], "The amount 1.999 in --freight has more decimal places"),
        (["--item", "620630:9", "--scheme", "IOS"], "IOS is not a possible value of --scheme."),
        (["--item", "620630:9", "--scheme-number", "IM2760000014"], "--scheme-number needs --scheme"),
    ],
)
def test_what_is_wrong_with_the_options_of_a_quote_is_told_by_their_names(
    options: list[str], told: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(luxor, ["quote", "--to", "DE", "--from", "CN", *options, "--data-dir", str(tmp_path)])
    assert done.exit_code in (1, 2)
    assert told in " ".join(done.output.split())


def test_quotes_are_readable_at_80_columns_reasons_and_figures_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    withdrawn = {
        "reason": "COMMODITY_CODE_WITHDRAWN",
        "explanation": ["The commodity code 851712 was withdrawn."],
        "hint": "Ask.",
    }
    text = "kept, by the limit of the law for consignments " * 4
    many = {
        **QUOTED,
        "currency": "IDR",
        "landed_cost_minor": 123_456_789_00,
        "explanation": [text],
        "references": ["EU:a"],
    }
    told = {
        "quotes": [many, withdrawn, REFUSED],
        "references": [{"id": "EU:a", "law": "Regulation " * 12, "article": "Article 1", "verified": True}],
    }
    monkeypatch.setenv("COLUMNS", "80")
    quote.show_quotes(console(), told, [("SHOP-1", "ID"), ("SHOP-2", "DE"), ("", "AQ")])
    lines = capsys.readouterr().out.splitlines()
    summary = [line.split() for line in lines[lines.index("Not quoted:") + 1 :]]
    assert summary == [["2", "SHOP-2", "DE", "COMMODITY_CODE_WITHDRAWN"], ["3", "AQ", "NO_RULEBOOK"]]
    assert sum("123,456,789.00 IDR" in line for line in lines) == 2
    for begin in ("kept,", "EU:a:"):  # ":a:" is no picture
        first = next(place for place, line in enumerate(lines) if line.startswith(f"  {begin}"))
        assert lines[first + 1].startswith("  ")
        assert lines[first + 1].strip()
    assert "References:" in lines
    # Where the code is wrong, the destination is not what is missing.
    assert [line for line in lines if "Destination:" in line] == [
        "NO_RULEBOOK  No law is loaded for this destination and day. Destination: AQ."
    ]


def test_quotes_of_a_file_are_named_and_summed_up() -> None:
    told = {"quotes": [QUOTED, REFUSED]}
    lines = lines_of(lambda out: quote.show_quotes(out, told, [("SHOP-1", "DE"), ("SHOP-2", "AQ")]))
    assert "Consignment 1 SHOP-1 to DE" in lines
    assert "NO_RULEBOOK No law is loaded for this destination and day. Destination: AQ." in lines
    assert any("→ `luxor revenue rulebooks` lists the destinations" in line for line in lines)
    assert "1 SHOP-1 DE 3.00 EUR 0.00 EUR 0.00 EUR 53.00 EUR 3.00 EUR" in lines
    assert "2 SHOP-2 AQ NO_RULEBOOK" in lines


def test_one_quote_has_no_summary() -> None:
    lines = lines_of(lambda out: quote.show_quotes(out, {"quotes": [QUOTED]}, [("", "DE")]))
    assert not any("reference" in line or "Consignment" in line for line in lines)


def test_a_notice_tells_what_was_paid_and_refunded_in_one_column() -> None:
    each = {"mrn": "M", "lane": "LANE_GREEN", "currency": "EUR", "payable_minor": 0}
    opened = notices.notice_text({**each, "kind": "NOTICE_KIND_DEBT_OPENED", "paid_minor": 1250, "refunded_minor": 50})
    late = notices.notice_text({**each, "kind": "NOTICE_KIND_AMENDMENT_REFUSED", "paid_minor": 0, "refunded_minor": 0})
    assert opened.endswith("payable 0.00 EUR, paid 12.50 EUR, refunded 0.50 EUR")
    assert late.endswith("payable 0.00 EUR")
    assert opened.index("green") == late.index("green")
    written = notices.notice_text({**each, "kind": "NOTICE_KIND_DEBT_OPENED", "text": "The debt is open."})
    assert written.splitlines()[1:] == ["    The debt is open."]
    # A notice about the last day of a licence has neither consignment nor lane.
    ended = notices.notice_text({"kind": "NOTICE_KIND_LICENCE_ENDED", "text": "The licence ended."})
    assert [line.strip() for line in ended.splitlines()] == ["licence ended      –", "The licence ended."]
    part = {"role": "PARTY_ROLE_CARRIER", "house_document": {"carrier_identifier": "AIR-1", "number": "H-1"}}
    missing = notices.notice_text({"kind": "NOTICE_KIND_PART_MISSING", "awaited_part": part})
    assert [each.strip() for each in missing.split("  ") if each.strip()] == ["AIR-1 H-1", "part missing", "–"]
    order = {"order": {"platform": "bazaar.example", "number": "O-1"}}
    assert "bazaar.example O-1  part missing" in notices.notice_text(
        {"kind": "NOTICE_KIND_PART_MISSING", "awaited_part": order}
    )


def test_the_card_shows_both_values_of_a_contradiction_or_that_one_is_not_shown() -> None:
    both = {
        "path": "payment.payer", "consignment_value": "Bob [B] Example", "stated_by": "shop", "part_value": "Ada Example", "part_filer": "bank",
        "part_role": "PARTY_ROLE_PAYMENT_PROVIDER",
    }  # fmt: skip
    own = {name: value for name, value in both.items() if name not in ("stated_by", "part_value")}
    neither = {name: value for name, value in own.items() if name != "consignment_value"}
    lines = " ".join(
        lines_of(
            lambda out: out.print(render({"contradictions": [both, own, neither], "contradiction_count": 25})), 300
        )
    )
    assert "payment.payer: Bob [B] Example (shop); part Ada Example (bank, payment provider)" in lines
    assert "payment.payer: Bob [B] Example; part not shown (bank, payment provider)" in lines
    assert "payment.payer: not shown; part not shown (bank, payment provider)" in lines
    assert "and 22 further ones" in lines
    assert "contradictions" not in " ".join(lines_of(lambda out: out.print(render({})), 300))


def test_every_note_of_revenue_has_words_and_the_card_tells_them() -> None:
    assert set(revenue_notes.WORDS) | revenue_notes.SILENT == {note.name for note in Note if note.value}
    card = {"debt": {"currency": "EUR", "notes": ["WITHIN_LIMIT", "SCHEME_NUMBER_UNCHECKED", "BELOW_MINIMUM"]}}
    text = " ".join(lines_of(lambda out: out.print(render(card)), 300))
    assert f"notes: {revenue_notes.WORDS['SCHEME_NUMBER_UNCHECKED']}; {revenue_notes.WORDS['BELOW_MINIMUM']}" in text


CHARGE = {"kind": "CHARGE_KIND_DUTY", "amount": 300, "reference": "EU:a", "sentence": "3.00 EUR.", "unverified": True}
OWED: dict[str, Any] = {
    "currency": "EUR",
    "duty_minor": 300,
    "tax_minor": 600,
    "payable_minor": 900,
    "charges": [CHARGE, CHARGE],
}


def test_a_consignment_says_once_how_much_rests_on_reviewed_law_and_not_at_each_charge() -> None:
    text = " ".join(lines_of(lambda out: out.print(render({"debt": {**OWED, "reviewed_minor": 300}})), 300))
    assert text.count("3.00 EUR of 9.00 EUR (33.3 %) rest on reviewed law.") == 1
    assert "verified" not in text
    assert "at least" not in text
    old = " ".join(lines_of(lambda out: out.print(render({"debt": OWED})), 300))
    assert old.count("is not recorded") == 1


def test_what_a_consignment_owes_at_least_is_marked_with_the_reason() -> None:
    least = {**OWED, "lower_bound": True, "not_covered": ["excise duty"]}
    text = " ".join(lines_of(lambda out: out.print(render({"debt": least})), 300))
    assert "payable at least 9.00 EUR" in text
    assert "Perhaps also owed, and not computed: excise duty." in text
    old = " ".join(lines_of(lambda out: out.print(render({"debt": {**least, "not_covered": []}})), 300))
    assert "charges that the included law does not cover" in old
    assert any(
        "at least 9.00 EUR" in line for line in lines_of(lambda out: out.print(render_many([{"debt": least}])), 300)
    )


def test_a_quote_says_once_how_much_was_reviewed_and_marks_what_is_owed_at_least() -> None:
    least = {**QUOTED, "lower_bound": True, "not_covered": ["excise duty on 22030001"],
             "assumptions": ["Not covered by the loaded law: excise duty on 22030001.", "No freight."]}  # fmt: skip
    amounts = [{"currency": "EUR", "charged_minor": 600, "reviewed_minor": 150}]
    told = {"quotes": [least, QUOTED], "review": {"references": 2, "reviewed_references": 1, "amounts": amounts}}
    text = " ".join(lines_of(lambda out: quote.show_quotes(out, told, [("A", "DE"), ("B", "DE")]), 200))
    assert text.count("1.50 EUR of 6.00 EUR (25.0 %) rest on reviewed law. 1 of 2 references are reviewed.") == 1
    assert "verified" not in text
    assert text.count("at least 53.00 EUR") == 2
    assert text.count("excise duty on 22030001") == 1
    assert "assumed: No freight." in text


def test_one_is_told_as_one() -> None:
    text = " ".join(lines_of(lambda out: reconcile.show_chains(out, CHAINS)))
    assert "1 entry with 2 postings in 64 chains, 1 seal compared" in text


def test_payments_of_a_statement_count_no_consignments() -> None:
    told: dict[str, Any] = {"account": "deferred:x", "month": "2026-11", "currency": "EUR", "lines": []}
    told |= {f"{name}_minor": 0 for name in ("opening", "debit", "credit", "closing")}
    told["totals"] = [
        {"amount_minor": -500},
        {"destination": "DE", "kind": "CHARGE_KIND_DUTY", "consignments": 2, "amount_minor": 500},
    ]
    lines = lines_of(lambda out: ledger.show_statement(out, told, False))
    assert "payments and transfers -5.00 EUR" in lines
    assert "DE duty 2 5.00 EUR" in lines


def test_an_entry_tells_what_it_undoes_and_the_banks_id() -> None:
    postings = [{"account": "bank:EU", "amount_minor": 700}, {"account": "border:DE", "amount_minor": -700}]
    assessed = {
        "mrn": "M",
        "kind": "ENTRY_KIND_ASSESSED",
        "currency": "EUR",
        "booked_at": "2026-11-25T10:00:00Z",
        "postings": postings,
    }
    told = {**assessed, "kind": "ENTRY_KIND_REVERSED", "reverses": "ENTRY_KIND_PAID_OUT", "reference": "out-7"}
    lines = lines_of(lambda out: ledger.show_entries(out, [told, assessed]), width=200)
    assert any("10:00:00Z reversed paid out out-7 M bank:EU 7.00 EUR" in line for line in lines), lines
    assert any("10:00:00Z assessed M bank:EU" in line for line in lines), lines


def test_accounts_and_numbers_stand_whole_on_a_narrow_terminal() -> None:
    postings = [{"account": "declarant:HU4171623395", "amount_minor": 700, "kind": "CHARGE_KIND_DUTY"},
                {"account": "treasury:EU:duty", "amount_minor": -700, "kind": "CHARGE_KIND_DUTY"}]  # fmt: skip
    told = {"mrn": "26NL40331000009MR2", "kind": "ENTRY_KIND_ASSESSED", "currency": "EUR", "booked_at": "2026-11-25T10:00:00Z",
            "postings": postings}  # fmt: skip
    text = " ".join(lines_of(lambda out: ledger.show_entries(out, [told]), width=80))
    assert {"26NL40331000009MR2", "declarant:HU4171623395", "treasury:EU:duty", "2026-11-25"} <= set(text.split())
    payment = {"id": "2026-11-25/0004711", "outcome": "OVERPAID", "account": "declarant:HU4171623395", "currency": "EUR", "jurisdiction": "EU",
               "amount_minor": 1_000_000_00, "matched_minor": 999_999_00, "unapplied_minor": 1_00, "booked_at": "2026-11-25T10:00:00Z",
               "reference": "declarant:HU4171623395"}  # fmt: skip
    for tell in (
        ledger.show_payments,
        ledger.show_unmatched,
        payouts.show_payouts,
        payouts.show_payout_list,
    ):
        text = " ".join(lines_of(lambda out, tell=tell: tell(out, [payment]), width=60))
        assert {"2026-11-25/0004711", "declarant:HU4171623395", "1,000,000.00"} <= set(text.split()), tell


def test_payouts_tell_what_is_left_why_one_is_refused_and_what_the_bank_returned() -> None:
    paid = {"id": "o1", "reference": "declarant:D", "currency": "EUR", "amount_minor": 500, "outcome": "BOOKED",
            "account": "declarant:D", "credit_minor": 30, "jurisdiction": "EU", "booked_at": "2026-11-25T10:00:00Z"}  # fmt: skip
    error = {"reason": "PAYOUT_EXCEEDS_CREDIT", "message": "It is more.", "hint": "Pay less."}
    text = " ".join(lines_of(lambda out: payouts.show_payouts(out, [paid, {**paid, "id": "o2", "error": error}])))
    assert "o1 booked declarant:D 5.00 EUR 0.30 EUR" in text
    assert "PAYOUT_EXCEEDS_CREDIT o2: It is more. → Pay less." in text
    back = {**paid, "id": "o3", "reverses_id": "o1", "outcome": "TAKEN_BACK"}
    told = " ".join(
        lines_of(lambda out: payouts.show_payout_list(out, [{**paid, "reversed_by": "o3"}, back]), width=200)
    )
    assert "2026-11-25 10:00:00Z EU o1 declarant:D 5.00 EUR returned by o3" in told
    assert "5.00 EUR returned o1" in told


@pytest.mark.parametrize("width", [60, 80, 120])
def test_names_days_and_versions_of_rulebooks_are_not_broken(width: int) -> None:
    numbers = dict.fromkeys(("values", "unverified_values", "tariff_lines", "unverified_tariff_lines"), 12_345)
    references = [
        {
            "id": "GB:act",
            "law": "Act " * 40,
            "article": "1",
            "verified": False,
            "note": "",
            "address": "https://law.example/" + "x" * 90,
        }
    ]
    book = {"jurisdiction": "GB", "name": "United Kingdom of Great Britain and Northern Ireland", "areas": ["GB", "IM", "XI", "JE"],
            "from_day": "2021-01-01", "to_day": "2028-12-31", "version": "GB/2026.1/1f0c9a2b", "charges": ["duty", "tax, CBEC"], "currency": "GBP",
            "references": references, **numbers}  # fmt: skip
    lines = lines_of(lambda out: rulebooks.show_rulebooks(out, {"rulebooks": [book], "totals": numbers}, "GB"), width)
    assert "Charges: duty; tax, CBEC." in lines
    first = next(line for line in lines if "GB/2026.1/1f0c9a2b" in line)
    for told in ("2021-01-01", "12,345 of 12,345"):
        assert told in first
    words = " ".join(lines).split()
    assert {"2028-12-31", "Kingdom", "Northern", "Ireland", "countries", "https://law.example/" + "x" * 90} <= set(
        words
    )


def test_all_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    good = tmp_path / "rulebook.yaml"
    good.write_text("format: 1", encoding="utf-8")
    with pytest.raises(click.UsageError) as refused:
        files_of([f"{tmp_path}/absent.yaml", str(good), str(good), "eu/rulebook.yaml=nowhere.yaml"])
    told = refused.value.message
    assert "absent.yaml cannot be read" in told
    assert "is given twice" in told
    assert "NAME=FILE" in told
    assert "nowhere.yaml cannot be read" in told


def test_a_wrong_setting_is_told_with_its_reason_and_ends_the_wait(tmp_path: Path) -> None:
    def refuses(restarts: int, last_exit: int | None, pid: int | None) -> bool:
        process = {"pid": pid, "restarts": restarts, "since": "", "last_exit": last_exit}
        write_state(State(1, "", str(tmp_path), {}, {"revenue": process}))
        return system.refuses_settings(tmp_path)

    with lock(tmp_path):
        assert refuses(1, 2, None)
        assert refuses(2, 2, 7)
        assert not refuses(0, 2, None)
        assert not refuses(1, 1, None)
        assert not refuses(0, None, 7)
    log = tmp_path / "revenue.log"
    assert system.start_error(log, "2026-11-25T10:00:00.5+00:00") == ""
    told = {"time": "2026-11-25T10:00:01.000+00:00", "reason": "NOT_STARTED", "why": "LUXOR_X must be a whole number."}
    log.write_text(f"{json.dumps(told)}\nTraceback\n[1]\n", encoding="utf-8")
    assert system.start_error(log, "2026-11-25T10:00:00.5+00:00") == told["why"]
    assert system.start_error(log, "2026-11-25T10:00:02.5+00:00") == ""


def test_days_that_are_turned_are_refused_and_not_taken_for_none(tmp_path: Path) -> None:
    for command in (["revenue", "reconcile"], ["revenue", "entries", "vendor:x"], ["stats"]):
        arguments = [*command, "--from", "2026-11-05", "--to", "2026-11-01", "--data-dir", str(tmp_path)]
        done = CliRunner().invoke(luxor, arguments)
        assert done.exit_code == 2, done.output
        assert "2026-11-01 lies before 2026-11-05" in done.output


@pytest.mark.parametrize(
    "movement",
    [
        {"return_document_number": "AWB-9"},
        {"return_document_number": "AWB-9", "arrived_at": "2026-07-15T08:00:00Z"},
    ],
)
def test_a_re_export_by_customs_names_its_document_and_claims_nothing_of_a_release(movement: dict[str, Any]) -> None:
    # The state does not say whether the goods were released before an officer held them again.
    lines = " ".join(lines_of(lambda out: out.print(render({"state": "STATE_RE_EXPORTED", "movement": movement}))))
    assert "re-exported" in lines
    assert "under AWB-9" in lines
    assert "before release" not in lines


@pytest.mark.parametrize(
    ("filing", "text"),
    [
        ({"split": True}, "split a share of its house document"),
        (
            {"split": True, "previous_part_mrn": "26DE07329000001XR8"},
            "split a share of its house document after 26DE07329000001XR8",
        ),
        ({}, ""),
    ],
)
def test_a_share_of_a_split_shipment_names_the_share_before(filing: dict[str, Any], text: str) -> None:
    lines = lines_of(lambda out: out.print(render({"state": "STATE_HELD", "filing": filing})))
    assert [" ".join(each.replace("│", "").split()) for each in lines if "split" in each] == ([text] if text else [])
