"""Checks of what valid consignments say: they warn, and the rules that an administration may change."""

from pathlib import Path

import pytest

from libs.columns import Table
from libs.files.yaml_file import YamlError
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing import check_rules, validation
from services.ingestion.filing.check_rules import CheckRules
from tests.ingestion.consignments import consignment


def check(*rows: Consignment, rules: CheckRules | None = None) -> validation.Checked:
    table = Table.from_messages(rows, ConsignmentColumns, Consignment)
    return validation.check(table, rules=rules or check_rules.included())


def warned(*rows: Consignment, rules: CheckRules | None = None) -> list[tuple[str, str, str]]:
    """Return reason, path and value of each warning; nothing is refused."""
    checked = check(*rows, rules=rules)
    assert not checked.refused.any()
    found = [each for errors in checked.errors.values() for each in errors]
    assert all(each.warns for each in found)
    return [(each.reason, each.path, each.value) for each in found]


def described(*texts: str, number: int = 0) -> Consignment:
    made = consignment(number)
    made.items.extend([made.items[0]] * (len(texts) - 1))
    for item, text in zip(made.items, texts, strict=True):
        item.description = text
    return made


def test_a_good_consignment_has_no_warning() -> None:
    assert warned(consignment(0), consignment(1)) == []


def test_each_description_that_names_no_goods_is_warned_of_with_its_place_and_cause() -> None:
    rows = [
        described("Leather belt", "Gift"),
        described("Leather belt", number=1),
        described("12", "black, l", number=2),
    ]
    assert warned(*rows) == [
        ("DESCRIPTION_VAGUE", "consignments[0].items[1].description", "Gift"),
        ("DESCRIPTION_VAGUE", "consignments[2].items[0].description", "12"),
        ("DESCRIPTION_VAGUE", "consignments[2].items[1].description", "black, l"),
    ]
    causes = [each.facts["cause"] for errors in check(*rows).errors.values() for each in errors]
    assert causes == [
        "it has only general words",
        "it has no word",
        "it has only a size, a colour, a count or an article number",
    ]


@pytest.mark.parametrize(("text", "reason"), [("", "ELEMENT_MISSING"), ("a\nb", "TEXT_UNPRINTABLE")])
def test_a_description_that_is_refused_is_not_called_vague(text: str, reason: str) -> None:
    assert [each.reason for each in check(described(text)).errors[0]] == [reason]


@pytest.mark.parametrize(("nature", "count"), [(pb.NATURE_DOCUMENT, 0), (pb.NATURE_SALE, 1), (pb.NATURE_GIFT, 1)])
def test_documents_may_be_described_as_such(nature: pb.Nature, count: int) -> None:
    made = described("documents")
    made.nature = nature
    assert len(warned(made, described("Leather belt", number=1))) == count


def test_a_consignment_without_items_is_refused_for_that_alone() -> None:
    made = consignment()
    made.ClearField("items")
    assert [each.reason for each in check(made).errors[0]] == ["ELEMENT_MISSING"]


def test_terms_of_the_administration_join_the_included_ones(tmp_path: Path) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text("vague_terms: [gewoehnliche Ware, widget]", encoding="utf-8")
    rules = check_rules.read(file)
    rows = [described("Widget, gift"), described("Gewoehnliche Ware", number=1), described("Leather belt", number=2)]
    assert [path for _, path, _ in warned(*rows, rules=rules)] == [
        f"consignments[{row}].items[0].description" for row in (0, 1)
    ]
    assert warned(*rows) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vague_terms: [gift, '12']", ":1: the term '12' has no word"),
        ("vague_terms: ['']", "length >= 1"),
        (f"vague_terms: [{'x' * 101}]", "length <= 100"),
        ("vague_terms: gift", "Expected `array`"),
        ("vague_term: []", "vague_term"),
        ("", "Expected `object`"),
        ("vague_terms: [", "not YAML"),
    ],
)
def test_a_file_of_checks_that_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(YamlError, match=message):
        check_rules.read(file)


@pytest.mark.parametrize("excess", [0, 1])
def test_the_number_of_terms_is_bounded(tmp_path: Path, excess: int) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(f"vague_terms: [{', '.join(['term'] * (check_rules.TERMS_MAX + excess))}]", encoding="utf-8")
    if excess:
        with pytest.raises(YamlError, match="length <= 20000"):
            check_rules.read(file)
    else:
        check_rules.read(file)
