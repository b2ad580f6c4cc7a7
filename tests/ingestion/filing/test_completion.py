"""A version completes an earlier one if it has all of its elements unchanged. The oracle compares the messages, field by field."""

from __future__ import annotations

from typing import Any, Final

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing.amendment import Content
from services.ingestion.filing.completion import completes, incomplete
from services.ingestion.filing.stages import with_missing_roles
from tests.ingestion.consignments import clear, consignment, put

OTHER_VALUES: Final[dict[str, Any]] = {
    "nature": 2,
    "gross_mass_mg": 7,
    "consignee.name": "Somebody else",
    "consignee.address.city": "Elsewhere",
    "items[0].price.minor": 7,
    "items[0].commodity_code": "950300",
    "items[0].description": "Toy",
    "transport.conveyance_reference": "XX9",
}
"""Elements, with a value that the good consignment does not have."""


def contents(*rows: Consignment) -> list[Content]:
    table = Table.from_messages(rows, ConsignmentColumns, Consignment)
    return [Content(table, row) for row in range(table.rows)]


def has_all(later: Message, earlier: Message) -> bool:
    """Return whether each value of the earlier message is that of the later one; items may have more."""
    for each, value in earlier.ListFields():
        other = getattr(later, each.name)
        if each.name == "items" and each.is_repeated:
            if len(other) != len(value) or not all(map(has_all, other, value)):
                return False
        elif each.is_repeated or each.message_type is None:
            if list(other) != list(value) if each.is_repeated else other != value:
                return False
        elif not has_all(other, value):
            return False
    return True


@given(st.sets(st.sampled_from(sorted(OTHER_VALUES))), st.sets(st.sampled_from(sorted(OTHER_VALUES)), max_size=2))
def test_what_is_absent_may_be_added_and_nothing_else_changes(absent: set[str], changed: set[str]) -> None:
    earlier, later = consignment(0), consignment(0)
    for path in absent:
        clear(earlier, path)
    for path in changed:
        put(later, path, OTHER_VALUES[path])
    found = completes([tuple(contents(earlier, later)), tuple(contents(later, earlier))])  # type: ignore[list-item]
    assert found == [has_all(later, earlier), has_all(earlier, later)]
    assert found[0] == (changed <= absent)


def test_versions_of_several_tables_are_compared_each_with_its_own() -> None:
    whole = [consignment(number) for number in range(4)]
    least = [clear(consignment(number), "nature") for number in range(4)]
    (early, late), (first, *others) = contents(least[2], whole[3]), contents(*whole)
    pairs = [(early, others[1]), (first, late), (late, others[2]), (early, early), (others[1], early)]
    assert completes(pairs) == [True, False, True, True, False]
    assert completes([]) == []
    assert incomplete([]) == []


@pytest.mark.parametrize("function", [1, 2])
def test_the_names_of_the_filing_are_none_of_its_elements(function: int) -> None:
    earlier, later = consignment(0), consignment(0)
    later.function, later.amended_version, later.amended_mrn = function, 1, "26DE"  # type: ignore[assignment]
    later.ClearField("local_reference")
    assert completes([tuple(contents(earlier, later))]) == [True]  # type: ignore[list-item]


def test_lists_but_for_items_are_elements_as_a_whole() -> None:
    def more(change: Any) -> bool:
        earlier, later = consignment(0), consignment(0)
        earlier.supporting_documents.add(type="N380", reference="A")
        later.supporting_documents.add(type="N380", reference="A")
        change(earlier, later)
        return completes([tuple(contents(earlier, later))])[0]  # type: ignore[list-item]

    assert more(lambda _, later: None)
    assert not more(lambda _, later: later.supporting_documents.add(type="N935", reference="B"))
    assert more(lambda earlier, _: earlier.ClearField("supporting_documents"))
    assert not more(lambda _, later: later.ClearField("supporting_documents"))
    assert not more(lambda earlier, _: earlier.supporting_documents[0].ClearField("type"))
    assert not more(lambda _, later: later.items.append(later.items[0]))
    assert more(lambda _, later: later.items[0].supporting_documents.add(type="N935", reference="B"))


def test_a_filing_is_incomplete_before_the_declaration_or_without_a_required_part() -> None:
    early = clear(clear(consignment(1), "nature"), "items[0].price")
    withdrawn = clear(clear(consignment(2), "nature"), "items[0].price")
    withdrawn.function = 3  # type: ignore[assignment]
    table = Table.from_messages([consignment(0), early, withdrawn, consignment(3)], ConsignmentColumns, Consignment)
    table = with_missing_roles(table, {3: ["CARRIER"]})
    assert incomplete([Content(table, row) for row in range(4)]) == [False, True, False, True]
