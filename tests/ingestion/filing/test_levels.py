"""Each check of a filing has its level in the data: an administration lowers or raises it, except where a consignment could not be accepted."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from libs.bounds import messages as bounds_messages
from libs.columns import Table
from libs.customs import codes
from libs.files.yaml_file import YamlError
from libs.server import catalogue
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services import ingestion
from services.ingestion.filing import check_rules, validation
from services.ingestion.filing.check_rules import CheckRules
from services.ingestion.schemes.register import OPEN_END, SchemeNumber, SchemeRegister
from tests.ingestion.consignments import clear, consignment, put

INGESTION = Path(str(ingestion.__file__)).parent
INCLUDED = yaml.safe_load(check_rules.INCLUDED.read_text(encoding="utf-8"))
FIXED = {reason: level for level, reasons in INCLUDED["fixed"].items() for reason in reasons}
DAY = 20_788
"""2026-12-01 in days since 1970-01-01."""
NOON = DAY * 86_400 + 43_200
REGISTER = SchemeRegister([SchemeNumber(pb.SCHEME_IOSS, "IM2760000014", DAY - 100, OPEN_END)])
OF_CALLS = {"column_reader.py"}
"""Files of the package of filings whose reasons refuse a call and not a consignment."""


def check(*rows: Consignment, rules: CheckRules | None = None) -> validation.Checked:
    table = Table.from_messages(rows, ConsignmentColumns, Consignment)
    return validation.check(
        table, rules=rules or check_rules.included(), day=DAY, now=NOON * 1_000_000,
        not_entrusted=frozenset({"DE77"}), schemes=REGISTER,
    )  # fmt: skip


def ruled(tmp_path: Path, text: str) -> CheckRules:
    file = tmp_path / "checks.yaml"
    file.write_text(text, encoding="utf-8")
    return check_rules.read(file)


def reasons_of(source: str) -> Iterator[str]:
    """Yield the texts of a source that are reasons of the catalogue."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in catalogue.reasons():
            yield node.value


def reasons_of_filings() -> set[str]:
    """Return each reason that a consignment can get when it is filed, from the code that checks and accepts it."""
    files = [each for folder in ("filing", "schemes") for each in (INGESTION / folder).glob("*.py")]
    files = [each for each in files if each.name not in OF_CALLS]
    files += [INGESTION / name for name in ("api/messages.py", "commands/submit.py", "commands/amend.py", "commands/admission.py")]  # fmt: skip
    sources = [each.read_text(encoding="utf-8") for each in files]
    sources += [inspect.getsource(each) for each in (bounds_messages.text_excess, codes)]
    return {reason for source in sources for reason in reasons_of(source)}


def test_the_data_have_a_level_for_each_reason_of_a_filing_and_for_no_other() -> None:
    found = reasons_of_filings()
    assert {"ELEMENT_MISSING", "REFERENCE_REUSED", "FILER_SUSPENDED", "COUNTRY_UNKNOWN", "TEXT_TOO_LONG"} <= found
    stated = [*INCLUDED["levels"], *INCLUDED["bounds"], *FIXED]
    assert sorted(stated) == sorted(found), "each once"


def test_levels_and_bounds_are_read_as_the_data_state_them() -> None:
    assert {each.encode_name for each in msgspec.structs.fields(check_rules.Levels)} == set(INCLUDED["levels"])
    assert {each.encode_name for each in msgspec.structs.fields(check_rules.Bounds)} == set(INCLUDED["bounds"])
    assert check_rules.included().levels == INCLUDED["levels"] | FIXED


Spoil = Callable[[Consignment], Any]


def export(made: Consignment) -> Consignment:
    made.direction, made.dispatch_country, made.destination_country = pb.DIRECTION_EXPORT, "DE", "US"
    made.consignee.address.country = "US"
    return clear(made, "fiscal_references")


def late(made: Consignment) -> None:
    made.transport.departure_time.seconds, made.transport.arrival_time.seconds = NOON - 36_000, NOON + 239 * 60


def eori(made: Consignment) -> None:
    made.declarant.identifier, made.declarant.identifier_type = "ZZ1", pb.IDENTIFIER_TYPE_EORI


ADJUSTABLE: dict[str, Spoil] = {
    "DESCRIPTION_VAGUE": lambda made: put(made, "items[0].description", "gift"),
    "PRICE_NOMINAL": lambda made: put(made, "items[0].price.minor", 0),
    "CONSIGNOR_IS_CONSIGNEE": lambda made: put(made, "consignee.name", made.consignor.name),
    "EORI_MALFORMED": eori,
    "ADDRESS_WITHOUT_LETTERS": lambda made: put(made, "consignee.address.city", "12"),
    "POSTCODE_MALFORMED": lambda made: put(made, "consignee.address.postcode", "1"),
    "LOCODE_MALFORMED": lambda made: put(made, "transport.loading_place", "ZZHAM"),
    "STAGE_ELEMENT_MISSING": lambda made: clear(made, "items[0].merchant_product_id"),
    "DECLARANT_NOT_ENTRUSTED": lambda made: put(made, "declarant.identifier", "de 77"),
    "FILED_LATE": late,
    "SCHEME_NUMBER_MALFORMED": lambda made: put(made, "fiscal_references[0].number", "IM1"),
    "SCHEME_NUMBER_UNKNOWN": lambda made: put(made, "fiscal_references[0].number", "IM2760000025"),
    "IMEI_MALFORMED": lambda made: put(made, "items[0].imeis[0]", "123"),
    "UNIT_UNKNOWN": lambda made: put(made, "items[0].quantity_unit", "QQQ"),
    "PACKAGE_TYPE_UNKNOWN": lambda made: put(made, "packages[0].type", "??"),
    "RETURN_REFERENCE_UNUSED": lambda made: put(made, "returned_document.number", "H1"),
    "RETURN_DOCUMENT_UNUSED": lambda made: put(made, "return_document.number", "H1"),
    "RETURN_WITHOUT_REFERENCE": lambda made: put(made, "nature", pb.NATURE_RETURN),
    "IMPORT_ELEMENT_UNUSED": lambda made: put(export(made), "fiscal_references[0].scheme", pb.SCHEME_IOSS).fiscal_references[0].MergeFrom(
        pb.FiscalReference(number="IM2760000014")
    ),
    "COMMODITY_CODE_UNKNOWN": lambda made: put(made, "items[0].commodity_code", "610998"),
    "COMMODITY_CODE_WITHDRAWN": lambda made: put(made, "items[0].commodity_code", "851712"),
    "S10_MALFORMED": lambda made: put(made, "house_document.number", "RR123456784TR"),
    "GTIN_MALFORMED": lambda made: put(made, "items[0].gtin", "4006381333932"),
    "VALUATION_METHOD_UNKNOWN": lambda made: put(made, "items[0].valuation_method", "7"),
    "ITEM_NUMBER_WRONG": lambda made: put(made, "items[0].number", 2),
    "SCHEME_REPEATED": lambda made: made.fiscal_references.append(made.fiscal_references[0]),
    "EXPORT_WITHIN_COUNTRY": lambda made: put(export(made), "destination_country", "DE"),
}  # fmt: skip
"""By reason, what spoils a good consignment so that it has this reason alone."""

BOUNDED: dict[str, tuple[str, Spoil]] = {
    "NET_MASS_ABOVE_GROSS": ("0", lambda made: put(made, "gross_mass_mg", 399_999)),
    "PRICE_PER_KG_IMPLAUSIBLE": ("{EUR: [10, 5000000000]}", lambda made: put(made, "items[0].price.minor", 3)),
    "TIME_IN_FUTURE": ("{order_time: 1}", lambda made: put(made, "order.time.seconds", NOON + 2 * 86_400)),
    "TIME_LONG_PAST": ("{order_time: 1100}", lambda made: put(made, "order.time.seconds", NOON - 1_101 * 86_400)),
}
"""By reason, a bound, and what spoils a good consignment so that it is beyond it."""


def test_each_adjustable_check_of_the_data_is_tried_here() -> None:
    assert set(ADJUSTABLE) == set(INCLUDED["levels"])
    assert set(BOUNDED) == set(INCLUDED["bounds"])


@pytest.mark.parametrize("reason", INCLUDED["levels"])
def test_the_same_consignment_is_accepted_at_warn_and_refused_at_reject(tmp_path: Path, reason: str) -> None:
    bad = consignment()
    ADJUSTABLE[reason](bad)
    for level, expected in (("none", []), ("warn", [True]), ("reject", [False])):
        checked = check(bad, consignment(1), rules=ruled(tmp_path, f"levels: {{{reason}: {level}}}"))
        found = checked.errors.get(0, [])
        assert [(each.reason, each.warns) for each in found] == [(reason, warns) for warns in expected], level
        assert checked.refused.tolist() == [level == "reject", False]
        assert all(each.path.startswith("consignments[0]") for each in found)


@pytest.mark.parametrize("reason", INCLUDED["bounds"])
def test_the_same_consignment_is_accepted_beyond_the_bound_of_warn_and_refused_beyond_that_of_reject(
    tmp_path: Path, reason: str
) -> None:
    bound, spoil = BOUNDED[reason]
    bad = consignment()
    spoil(bad)
    for level, expected in (("", []), ("warn", [True]), ("reject", [False])):
        rules = ruled(tmp_path, f"bounds: {{{reason}: {{{f'{level}: {bound}' if level else ''}}}}}")
        checked = check(bad, consignment(1), rules=rules)
        found = [each for each in checked.errors.get(0, []) if each.reason == reason]
        assert [each.warns for each in found] == expected, level
        assert checked.refused.tolist() == [level == "reject", False]


@pytest.mark.parametrize("level", ["none", "warn", "reject"])
@pytest.mark.parametrize(("reason", "fixed"), FIXED.items())
def test_a_file_that_changes_a_fixed_level_is_refused_with_a_sentence(
    tmp_path: Path, reason: str, fixed: str, level: str
) -> None:
    with pytest.raises(YamlError) as error:
        ruled(tmp_path, f"levels:\n  PRICE_NOMINAL: none\n  {reason}: {level}\n")
    does = "refuses" if fixed == "reject" else "warns"
    assert f":3: {reason} always {does}" in str(error.value)
    assert str(error.value).endswith("remove this entry")


def test_a_file_states_no_list_of_fixed_checks(tmp_path: Path) -> None:
    with pytest.raises(YamlError, match=":1: fixed lists the checks whose level no file changes"):
        ruled(tmp_path, "fixed: {reject: []}")


def test_a_check_that_is_lowered_leaves_the_stored_content_in_order(tmp_path: Path) -> None:
    rules = ruled(tmp_path, "levels: {ITEM_NUMBER_WRONG: warn, GTIN_MALFORMED: warn}")
    bad = put(put(consignment(), "items[0].number", 7), "items[0].gtin", "12")
    checked = check(bad, rules=rules)
    items = checked.table.child("items")
    assert (items.ints("number").tolist(), items.strings("gtin").tolist()) == ([1], ["12"])
    assert [(each.reason, each.path, each.value) for each in checked.errors[0]] == [
        ("GTIN_MALFORMED", "consignments[0].items[0].gtin", "12"),
        ("ITEM_NUMBER_WRONG", "consignments[0].items[0].number", "7"),
    ]


def test_a_lowered_check_takes_its_points_of_quality(tmp_path: Path) -> None:
    lowered = check(
        put(consignment(), "items[0].gtin", "12"), consignment(1), rules=ruled(tmp_path, "levels: {GTIN_MALFORMED: warn}")
    )  # fmt: skip
    assert lowered.quality is not None
    (bad, good) = lowered.quality["scores"].tolist()
    assert good[1] - bad[1] == INCLUDED["quality"]["GTIN_MALFORMED"]["points"]


@pytest.mark.parametrize("level", ["none", "warn", "reject"])
def test_entries_of_a_list_follow_the_level_each_by_itself(tmp_path: Path, level: str) -> None:
    bad = consignment()
    bad.items[0].imeis.extend(["123", "490154203237518", "124"])
    checked = check(bad, rules=ruled(tmp_path, f"levels: {{IMEI_MALFORMED: {level}}}"))
    assert [each.path for each in checked.errors.get(0, [])] == [
        f"consignments[0].items[0].imeis[{place}]" for place in (0, 2) if level != "none"
    ]
    assert checked.refused.tolist() == [level == "reject"]


@pytest.mark.parametrize("level", ["none", "warn", "reject"])
def test_parts_have_the_levels_of_filings(tmp_path: Path, level: str) -> None:
    part = Consignment()
    part.items.add(gtin="12", quantity_unit="H87")
    table = Table.from_messages([part], ConsignmentColumns, Consignment)
    checked = validation.check_stated(table, ruled(tmp_path, f"levels: {{GTIN_MALFORMED: {level}}}"))
    assert [each.reason for each in checked.errors.get(0, [])] == ["GTIN_MALFORMED"] * (level != "none")
    assert checked.refused.tolist() == [level == "reject"]
