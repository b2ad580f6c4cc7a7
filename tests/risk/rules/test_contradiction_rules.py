"""Rules that select by the contradictions between a filing and parts of other parties, on assessments of what ingestion announces."""

from __future__ import annotations

from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_PAYMENT_PROVIDER
from services.risk.rules.scoring import assess
from tests.risk.filings import table
from tests.risk.rules.rule_files import read, rule
from tests.support.contradicting import BUYER, PAYER, contradicting

ANY = "has(consignment.contradiction_count) && consignment.contradiction_count > 0"
MANY = "has(consignment.contradiction_count) && consignment.contradiction_count >= 3"
OF_PAYER = 'consignment.contradictions.exists(c, c.path == "payment.payer")'
OF_PROVIDER = f"consignment.contradictions.exists(c, c.part_role == {PARTY_ROLE_PAYMENT_PROVIDER})"
OF_VALUES = (
    'consignment.contradictions.exists(c, c.consignment_value == "Bob Example" && c.part_value == "Ada Example")'
)


def announced() -> Table:
    """Return filings as read from the feed: the payer differs, the buyer, both with a further element that is not named, and nothing any more."""
    rows = contradicting(table([{}] * 4), [PAYER], [BUYER], [PAYER, BUYER], [])
    counts = rows.ints("contradiction_count")
    assert counts.tolist() == [1, 1, 2, 0]
    counts.values[2] = 3
    return Table.parse(ConsignmentColumns, rows.serialize(ConsignmentColumns))


def selected(condition: str, rows: Table) -> list[int]:
    """Return the filings that a rule with this condition finds, and assert that it judged all of them."""
    assessments = assess(read(rule("DIFFERS", condition)), rows)
    assert assessments.ints("unjudged").tolist() == [0] * rows.rows
    return [row for row, score in enumerate(assessments.ints("score").tolist()) if score]


def test_a_rule_selects_by_the_number_of_contradictions() -> None:
    assert selected(ANY, announced()) == [0, 1, 2]
    assert selected(MANY, announced()) == [2]


def test_a_rule_selects_by_element_role_and_values() -> None:
    assert selected(OF_PAYER, announced()) == [0, 2]
    assert selected(OF_PROVIDER, announced()) == [0, 2]
    assert selected(OF_VALUES, announced()) == [0, 2]


def test_a_filing_that_was_not_compared_with_parts_is_selected_by_none_of_them() -> None:
    for condition in (ANY, MANY, OF_PAYER, OF_PROVIDER, OF_VALUES):
        assert selected(condition, table([{}, {}])) == []
    # What is not compared is not 0 either: a rule that does not test this has no result.
    assessments = assess(read(rule("DIFFERS", "consignment.contradiction_count > 0")), table([{}]))
    assert assessments.ints("unjudged").tolist() == [1]
