"""The scores of filings, by their definition: each term has 100 points, each reason takes its own once, and what could not be judged has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.files.yaml_file import YamlError
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing import check_rules, validation
from services.ingestion.filing.check_rules import CheckRules
from services.ingestion.quality.scorecards import measured, read_measure
from services.ingestion.quality.scores import NOT_JUDGED, QUALITY, REASONS, REASONS_MAX, Term, later_version, overall
from tests.ingestion.consignments import clear, consignment, put

DAY = 20_788
NOW = DAY * MICROS_PER_DAY + MICROS_PER_DAY // 2
INCLUDED = yaml.safe_load(check_rules.INCLUDED.read_text(encoding="utf-8"))


def complete(number: int = 0, *, nature: int = pb.NATURE_SALE) -> Consignment:
    """Make a consignment that has all that the simplified declaration asks for, and came in time."""
    row = consignment(number)
    row.nature = nature  # type: ignore[assignment]
    row.consignor.person_type, row.consignee.person_type = pb.PERSON_TYPE_LEGAL, pb.PERSON_TYPE_NATURAL
    row.declarant.name, row.declarant_role = "Broker", pb.DECLARANT_ROLE_IMPORTER
    row.previous_documents.add(type="N355", reference="26DE1")
    row.freight.minor, row.freight.currency = 300, "EUR"
    row.goods_location, row.presentation_office = "DE004851", "DE004851"
    row.transport.departure_time.FromMicroseconds(NOW + 3_600_000_000)
    row.transport.arrival_time.FromMicroseconds(NOW + 2 * 3_600_000_000)
    return row


def quality(*rows: Consignment, rules: CheckRules | None = None) -> np.ndarray:  # type: ignore[type-arg]
    table = Table.from_messages(rows, ConsignmentColumns, Consignment)
    checked = validation.check(table, rules=rules or check_rules.included(), day=DAY, now=NOW)
    assert checked.quality is not None
    return checked.quality


def scores(row: Consignment) -> list[int]:
    (found,) = quality(row)["scores"].tolist()
    return list(found)


def test_a_filing_without_findings_has_full_scores() -> None:
    found = quality(complete(), complete(1))
    assert found["scores"].tolist() == [[100] * 4] * 2
    assert found["reasons"].tolist() == [0, 0]
    assert overall(found).tolist() == [100, 100]


SPOILED = [
    ("FILED_LATE", lambda row: row.transport.departure_time.FromMicroseconds(NOW - 1)),
    ("DESCRIPTION_VAGUE", lambda row: put(row, "items[0].description", "Gift")),
    ("PRICE_NOMINAL", lambda row: put(row, "items[0].price.minor", 100)),
    ("ADDRESS_WITHOUT_LETTERS", lambda row: put(row, "consignee.address.city", "12")),
    ("POSTCODE_MALFORMED", lambda row: put(row, "consignee.address.postcode", "1")),
    ("LOCODE_MALFORMED", lambda row: put(row, "transport.loading_place", "QQAAA")),
    ("SCHEME_NUMBER_MALFORMED", lambda row: put(row, "fiscal_references[0].number", "IM1")),
    ("IMEI_MALFORMED", lambda row: put(row, "items[0].imeis[0]", "123")),
    ("UNIT_UNKNOWN", lambda row: put(row, "items[0].quantity_unit", "QQQ")),
    ("PACKAGE_TYPE_UNKNOWN", lambda row: put(row, "packages[0].type", "??")),
    ("TIME_IN_FUTURE", lambda row: put(row, "order.time.seconds", (DAY + 2) * 86_400)),
    ("TIME_LONG_PAST", lambda row: put(row, "order.time.seconds", (DAY - 1101) * 86_400)),
    ("NET_MASS_ABOVE_GROSS", lambda row: put(row, "items[0].net_mass_mg", row.gross_mass_mg + 1)),
    ("PRICE_PER_KG_IMPLAUSIBLE", lambda row: put(put(row, "items[0].net_mass_mg", 1), "items[0].price.minor", 6000)),
    ("CONSIGNOR_IS_CONSIGNEE", lambda row: put(row, "consignee.name", "MEADOW Lane Trading")),
    ("RETURN_REFERENCE_UNUSED", lambda row: put(row, "returned_document.number", "H1")),
    ("RETURN_DOCUMENT_UNUSED", lambda row: put(row, "return_document.number", "H1")),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "spoil"), SPOILED, ids=[reason for reason, _ in SPOILED])
def test_each_reason_takes_its_points_from_its_term_alone(reason: str, spoil: object) -> None:
    row = complete()
    spoil(row)  # type: ignore[operator]
    weight = INCLUDED["quality"][reason]
    expected = {"timeliness": 100, "accuracy": 100, "completeness": 100, "consistency": 100}
    expected[weight["term"]] -= weight["points"]
    found = quality(row)
    assert found["reasons"].tolist() == [1 << REASONS.index(reason)]
    assert found["scores"].tolist() == [list(expected.values())]
    assert overall(found).tolist() == [sum(expected.values()) // 4]


def test_an_eori_number_of_another_form_takes_points_of_accuracy() -> None:
    row = complete()
    row.declarant.identifier, row.declarant.identifier_type = "123", pb.IDENTIFIER_TYPE_EORI
    assert scores(row) == [100, 80, 100, 100]


def test_a_reason_counts_once_and_no_term_falls_below_zero() -> None:
    row = complete()
    row.items.extend([row.items[0]] * 3)
    row.gross_mass_mg *= 4
    for item in row.items:
        item.description = "Gift"
    assert scores(row) == [100, 70, 100, 100]
    put(row, "consignee.address.city", "12")
    put(row, "consignee.address.postcode", "1")
    for item in row.items:
        item.price.minor = 100
    assert scores(row) == [100, 0, 100, 100]


def test_a_reason_beyond_those_that_are_described_counts_still() -> None:
    row = complete()
    row.items.extend([row.items[0]] * 60)
    row.gross_mass_mg *= 61
    for item in row.items:
        item.description = "Gift"
    row.items[0].imeis.append("1")
    row.return_document.number = "H1"
    assert scores(row) == [100, 60, 100, 80]


def test_each_element_that_the_stage_asks_for_takes_points() -> None:
    row = complete()
    for path, expected in (("goods_location", 95), ("previous_documents", 90), ("freight", 85)):
        clear(row, path)
        assert scores(row) == [100, 100, expected, 100]
    # What the jurisdiction of destination adds is warned of, and takes its points too.
    for item in row.items:
        item.ClearField("merchant_product_id")
    assert scores(row) == [100, 100, 85 - 5 - 10, 100]


def test_an_element_that_stage_and_jurisdiction_ask_for_counts_once() -> None:
    row = complete()
    row.prices_include_tax = True
    row.items[0].tax_charged.minor, row.items[0].tax_charged.currency = 10, "EUR"
    assert scores(row) == [100, 100, 100, 100]
    row.ClearField("fiscal_references")
    assert scores(row) == [100, 100, 100 - 5 - 10, 100]


def test_an_element_that_a_filing_may_omit_although_others_need_it_takes_nothing() -> None:
    later, documents = complete(), complete(1, nature=pb.NATURE_DOCUMENT)
    later.function, later.amended_version, later.amended_mrn = pb.MESSAGE_FUNCTION_AMEND, 1, "26DE07329000001XR8"
    later.ClearField("local_reference")
    for item in documents.items:
        item.ClearField("commodity_code")
        item.ClearField("price")
    assert quality(later, documents)["scores"][:, Term.COMPLETENESS].tolist() == [100, 100]


def test_a_return_without_its_first_way_is_incomplete() -> None:
    assert scores(complete(nature=pb.NATURE_RETURN)) == [100, 100, 100 - 20 - 5, 100]


def test_a_filing_before_the_declaration_is_judged_by_its_own_stage() -> None:
    row = complete()
    row.ClearField("nature")
    for item in row.items:
        item.ClearField("price")
        item.ClearField("commodity_code")
    row.ClearField("goods_location")
    assert scores(row) == [100] * 4
    row.consignee.person_type = pb.PERSON_TYPE_LEGAL  # a firm in the Union states its number
    assert scores(row) == [100, 100, 95, 100]


@pytest.mark.parametrize("spoil", ["transport.departure_time", "transport.arrival_time"])
def test_timeliness_is_not_judged_without_the_time_of_the_deadline(spoil: str) -> None:
    row = clear(complete(), spoil)
    (found,) = quality(row)
    assert found["scores"][Term.TIMELINESS] == NOT_JUDGED
    # No time to judge by is no point for timeliness: the mean is that of the other terms.
    assert overall(quality(row)).tolist() == [100]
    put(row, "items[0].description", "Gift")
    assert overall(quality(row)).tolist() == [90]


def test_timeliness_is_not_judged_where_no_deadline_applies() -> None:
    abroad = complete()
    abroad.destination_country = abroad.consignee.address.country = "NZ"
    assert scores(abroad)[0] == NOT_JUDGED


@pytest.mark.parametrize(
    ("prior", "own", "declares", "score"),
    [
        ("in time", "late", False, 100), ("late", "in time", False, 0), ("unknown", "late", False, NOT_JUDGED),
        ("in time", "late", True, 0), ("late", "in time", True, 0), ("in time", "in time", True, 100),
        ("unknown", "late", True, 0), ("late", "unknown", True, 0), ("unknown", "in time", True, 100),
        ("in time", "unknown", True, 100), ("unknown", "unknown", True, NOT_JUDGED), ("late", "late", True, 0),
    ],
)  # fmt: skip
def test_a_declaration_of_what_was_filed_before_it_is_late_if_either_was(
    prior: str, own: str, declares: bool, score: int
) -> None:
    def filed(when: str, function: int) -> pb.Consignment:
        row = complete()
        row.function, row.amended_version = function, int(function != pb.MESSAGE_FUNCTION_NEW)  # type: ignore[assignment]
        if when == "unknown":
            row.transport.ClearField("departure_time")
        if when == "late":
            row.transport.departure_time.FromMicroseconds(NOW - 1)
        return row

    first = quality(filed(prior, pb.MESSAGE_FUNCTION_NEW))
    later = later_version(quality(filed(own, pb.MESSAGE_FUNCTION_AMEND)), first, declares=declares)
    assert later["scores"][0, 0] == score
    assert bool(later["reasons"][0] & (1 << REASONS.index("FILED_LATE"))) == (score == 0)


def test_later_versions_have_the_timeliness_of_the_first() -> None:
    late, in_time = complete(), complete(1)
    late.transport.departure_time.FromMicroseconds(NOW - 1)
    first = quality(late, in_time)
    amended = [complete(), put(complete(1), "items[0].description", "Gift")]
    for row in amended:
        row.function, row.amended_version = pb.MESSAGE_FUNCTION_AMEND, 1
    later = later_version(quality(*amended), first)
    assert later["scores"].tolist() == [[0, 100, 100, 100], [100, 70, 100, 100]]
    assert later["reasons"].tolist() == [1 << REASONS.index("FILED_LATE"), 1 << REASONS.index("DESCRIPTION_VAGUE")]


def test_late_filings_count_at_any_level_and_other_rules_where_they_are_found(tmp_path: Path) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text("levels: {FILED_LATE: warn, DESCRIPTION_VAGUE: none}", encoding="utf-8")
    row = put(complete(), "items[0].description", "Gift")
    row.transport.departure_time.FromMicroseconds(NOW - 1)
    assert quality(row, rules=check_rules.read(file))["scores"].tolist() == [[0, 100, 100, 100]]
    assert scores(row) == [0, 70, 100, 100]


def test_the_administration_changes_points_and_terms(tmp_path: Path) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(
        "quality: {DESCRIPTION_VAGUE: {term: consistency, points: 7}}\nelement_points: 11", encoding="utf-8"
    )
    row = clear(put(put(complete(), "items[0].description", "Gift"), "items[0].price.minor", 100), "goods_location")
    assert quality(row, rules=check_rules.read(file))["scores"].tolist() == [[100, 70, 89, 93]]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("quality: {NO_REASON: {term: accuracy, points: 1}}", "NO_REASON"),
        ("quality: {PRICE_NOMINAL: {term: beauty, points: 1}}", "quality"),
        ("quality: {PRICE_NOMINAL: {term: accuracy, points: 101}}", "quality"),
        ("quality: {PRICE_NOMINAL: {term: accuracy, points: -1}}", "quality"),
        ("element_points: 101", "element_points"),
        ("element_points: -1", "element_points"),
    ],
)
def test_points_that_cannot_be_applied_are_refused(tmp_path: Path, text: str, place: str) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(YamlError) as raised:
        check_rules.read(file)
    assert place in str(raised.value)


def test_every_reason_that_warns_has_a_term_and_a_bit() -> None:
    assert set(INCLUDED["quality"]) == set(REASONS)
    assert len(REASONS) == len(set(REASONS)) <= REASONS_MAX
    # A field that this release does not read says nothing of the data.
    warning = {*INCLUDED["levels"], *INCLUDED["bounds"], *INCLUDED["fixed"]["warn"]} - {"UNKNOWN_FIELD"}
    assert warning == set(REASONS)


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 100), min_size=4, max_size=4), st.booleans(), st.integers(0, 2 ** len(REASONS) - 1)
        ),
        max_size=20,
    )
)
def test_a_measure_is_the_sum_of_its_filings(rows: list[tuple[list[int], bool, int]]) -> None:
    array = np.zeros(len(rows), QUALITY)
    for place, (terms, is_judged, bits) in enumerate(rows):
        array[place] = (terms if is_judged else [NOT_JUDGED, *terms[1:]], bits)
    found = read_measure(measured(array))
    assert found.filings == len(rows)
    assert found.score == sum(sum(terms if judged else terms[1:]) // (4 if judged else 3) for terms, judged, _ in rows)
    for term in Term:
        judged = [terms[term] for terms, is_judged, _ in rows if is_judged or term is not Term.TIMELINESS]
        assert found.terms[term] == (len(judged), sum(judged))
    counts = {reason: sum(bits >> place & 1 for _, _, bits in rows) for place, reason in enumerate(REASONS)}
    assert found.reasons == {reason: count for reason, count in counts.items() if count}
