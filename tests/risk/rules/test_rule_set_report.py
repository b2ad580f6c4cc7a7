"""What checking a rule set tells that does not refuse it: alike rules, constant conditions, what rules do on a sample."""

from __future__ import annotations

import numpy as np
import pytest

from services.risk.elements.computed import Facts
from services.risk.rules.report import ROWS_LEAST, Report, report_of
from services.risk.rules.rule_set import read_rule_set
from services.risk.rules.sources import SentFiles
from tests.risk.filings import first_light, table
from tests.risk.rules.rule_files import files, read, rule, typology


def told(report: Report) -> list[tuple[int, str, str]]:
    return [(each.line, each.rule, each.message) for each in report.warnings]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("consignment.nature == Nature.NATURE_GIFT", "Nature.NATURE_GIFT==consignment.nature"),
        ("consignment.gross_mass_mg > 5 && has(consignment.order_number)", "has(consignment.order_number) && (consignment.gross_mass_mg > 5)"),
        ("consignment.items.exists(a, a.gift == true)", "consignment.items.exists(line, true == line.gift)"),
        (
            "has(consignment.mrn) || has(consignment.order_number) || has(consignment.filer)",
            "has(consignment.filer) || (has(consignment.mrn) || has(consignment.order_number))",
        ),
        ("'!(consignment.nature in [1, 2])'", '"!( consignment.nature in [ 1,2 ] )"'),
    ],
)  # fmt: skip
def test_rules_that_say_the_same_in_other_words_are_told(one: str, other: str) -> None:
    rules = read(rule("FIRST", one), rule("THIRD", "consignment.gross_mass_mg > 7"), rule("SECOND", other))
    ((line, name, message),) = told(report_of(rules))
    assert (line, name) == (28, "rule SECOND")
    assert message.startswith("its condition says the same as that of FIRST at profile.yaml:6")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("consignment.gross_mass_mg > 5", "consignment.gross_mass_mg > 6"),
        ("consignment.gross_mass_mg > 5", "5 > consignment.gross_mass_mg"),
        ("consignment.nature == 1", "consignment.nature != 1"),
        ("consignment.items.exists(a, a.gift == true)", "consignment.items.all(a, a.gift == true)"),
        ("has(consignment.mrn) && has(consignment.filer)", "has(consignment.mrn) || has(consignment.filer)"),
        (
            "consignment.items.exists(a, consignment.items.exists(b, a.gift == true))",
            "consignment.items.exists(a, consignment.items.exists(b, b.gift == true))",
        ),
    ],
)
def test_rules_that_differ_are_not_called_alike(one: str, other: str) -> None:
    assert told(report_of(read(rule("FIRST", one), rule("SECOND", other)))) == []


@pytest.mark.parametrize(
    "more", ["jurisdictions: [DE]", "stages: [clearance]", "valid_until: 2026-12-31", "life: retired"]
)
def test_the_same_condition_for_other_goods_or_days_is_no_duplicate(more: str) -> None:
    assert told(report_of(read(rule("FIRST"), rule("SECOND", more=more)))) == []


def test_a_condition_that_asks_nothing_is_told_without_any_sample() -> None:
    ((line, name, message),) = told(report_of(read(rule("FIRST"), rule("ALWAYS", "1 + 1 == 2"))))
    assert (line, name) == (17, "rule ALWAYS")
    assert "holds for all or for none" in message


def test_conditions_that_hold_always_or_never_on_the_sample_are_told_and_the_others_counted() -> None:
    rows = table([{"nature": "NATURE_GIFT"} if row % 3 == 0 else {} for row in range(ROWS_LEAST)])
    rules = read(
        rule("SOME"),
        rule("NONE", "consignment.gross_mass_mg < 0"),
        rule("ALL", "item.price_minor >= 0", judges="item"),
        rule("BLIND", "consignment.freight_minor > 5"),
        rule("ELSEWHERE", "consignment.gross_mass_mg < 0 && true", more="jurisdictions: [AU]"),
        rule("GONE", "consignment.gross_mass_mg < -1", more="life: retired"),
    )
    report = report_of(rules, [(rows, None)])
    by_rule = {each.rule: (each.judged, each.matched, each.unjudged) for each in report.rules}
    gifts = -(-ROWS_LEAST // 3)
    assert by_rule["SOME"] == (ROWS_LEAST, gifts, 0)
    assert by_rule["BLIND"] == (ROWS_LEAST, 0, ROWS_LEAST)
    assert by_rule["ELSEWHERE"] == (0, 0, 0)
    assert report.consignments == ROWS_LEAST
    assert {name: message.partition(":")[0] for _, name, message in told(report)} == {
        "rule NONE": f"its condition holds for none of the sample's {ROWS_LEAST} consignments",
        "rule ALL": f"its condition holds for every one of the sample's {ROWS_LEAST} items",
        "rule BLIND": f"it could be judged for none of the sample's {ROWS_LEAST} consignments",
    }


def test_of_few_consignments_nothing_is_concluded() -> None:
    report = report_of(read(rule("NONE", "consignment.gross_mass_mg < 0")), [(table([{}] * (ROWS_LEAST - 1)), None)])
    assert told(report) == []
    assert report.rules[0].judged == ROWS_LEAST - 1


def test_the_sample_counts_as_an_assessment_does_whatever_its_batches() -> None:
    rows = table([{"nature": "NATURE_GIFT"}, {}, {"items": [{}, {"description": "Gift"}]}] * 40)
    whole = report_of(first_light(), [(rows, None)])
    parts = report_of(first_light(), [(rows.take(np.arange(start, start + 30)), None) for start in range(0, 120, 30)])
    assert whole.rules == parts.rules
    held = {each.rule: each.matched for each in whole.rules}
    assert (held["GIFT_FROM_FIRM"], held["DESCRIPTION_VAGUE"]) == (40, 40)
    assert sum(each.unjudged for each in whole.rules) == 0
    assert Facts(rows, first_light().rates).items.rows == 160


def test_what_is_evaluated_row_by_row_is_told_with_the_reason() -> None:
    rules = read(rule("QUICK"), rule("SLOW", 'consignment.items[0].description == "Gift"'))
    report = report_of(rules, [(table([{"items": [{"description": "Gift"}]}, {}]), None)])
    assert report.rules[0].fallback == ""
    assert report.rules[1].fallback
    assert (report.rules[1].judged, report.rules[1].matched) == (2, 1)
    ((_, name, message),) = told(report)
    assert name == "rule SLOW"
    assert report.rules[1].fallback in message


def test_rules_that_a_typology_never_counts_and_files_that_nobody_names_are_told() -> None:
    signs = typology("SIGNS", "{FIRST: 50, TRIED: 50}", 50)
    rules = read(rule("FIRST"), rule("TRIED", "has(consignment.mrn)", more="life: shadow"), typologies=signs)
    ((_, name, message),) = told(report_of(rules))
    assert (name, message.rpartition(": ")[2]) == ("typology SIGNS", "TRIED")
    source = SentFiles({**files(rule("FIRST")), "spare.yaml": b"words: []"})
    read_rule_set(source, "profile.yaml")
    assert source.used == {"profile.yaml", "rates.yaml"}
    ((warning),) = report_of(read(rule("FIRST")), unused=["spare.yaml"]).warnings
    assert str(warning) == "spare.yaml: nobody names this file"


def test_the_first_profile_has_no_warning() -> None:
    assert report_of(first_light()).warnings == ()
