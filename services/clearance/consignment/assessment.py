"""The answers of risk and revenue, as columns of clearance's states and as the input of the decision.

`risk` is a table of luxor.risk.v1.AssessmentColumns, `revenue` one of luxor.revenue.v1.AssessmentColumns, both aligned with the filings.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table, among
from libs.columns.schema import schema_of
from libs.customs.money_columns import add_columns
from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from services.clearance.consignment.columns import values_in_rows
from services.clearance.consignment.decision import Assessment, Lane

_SCHEMA: Final = schema_of(ClearanceColumns)
_FINDINGS: Final = (
    "rule", "rule_version", "lane", "reason", "sentence", "item_number", "points", "confidential", "kind", "party", "list", "list_entry",
    "match_score", "explanation", "second_person",
)  # fmt: skip
_UNDISCLOSED: Final = (
    common_pb2.SELECTION_CAUSE_SCORE,
    common_pb2.SELECTION_CAUSE_MINIMUM,
    common_pb2.SELECTION_CAUSE_MODEL,
    common_pb2.SELECTION_CAUSE_UNCERTAINTY,
    common_pb2.SELECTION_CAUSE_EXPECTED,
)
"""Causes of selection that filers may not see, because they could avoid what is drawn and what scores high."""
_BINDING: Final = (common_pb2.FINDING_KIND_GOODS_CONTROL, common_pb2.FINDING_KIND_SCREENING_MATCH)
"""Kinds of findings whose yellow lane does not become blue automatically."""
_MICROS_PER_MINUTE: Final = 60_000_000
_CHARGES: Final = {
    "item_number": "item_number",
    "kind": "kind",
    "charge": "charge",
    "basis": "basis",
    "rate_ppm": "rate_ppm",
    "amount": "amount",
    "collector": "collector",
    "reference": "reference",
    "sentence": "sentence",
    "specific_minor": "specific_minor",
    "debtor": "debtor",
    "scheme": "scheme",
    "collection_reference": "collection_reference",
    "rounding": "rounding",
    "rounding_unit": "rounding_unit",
    "rounding_reference": "rounding_reference",
    "account": "account",
    "rate": "rate",
    "quantity": "quantity",
    "unit": "unit",
    "unverified": "unverified",
    "forgone": "forgone",
}
_ITEMS: Final = {
    "number": "number",
    "commodity_code": "commodity_code",
    "origin_country": "origin_country",
    "net_mass_mg": "net_mass_mg",
    "quantity_milli": "quantity_milli",
    "quantity_unit": "quantity_unit",
    "price_minor": "price_minor",
    "price_currency": "price_currency",
    "picture_url": "picture_url",
    "picture_sha256": "picture_sha256",
}
_COLLECTS: Final = "carrier:"
_BORDER: Final = ("collected_by_customs", "collected_by_carrier", "collected_by_postal_operator")


class Misaligned(Exception):  # the name states the condition
    """An answer does not match its request; the message has the service and the reason. The error is the service's, not the event's."""


def check(filings: Table, risk: Table, revenue: Table) -> None:
    """Raise Misaligned if an answer has another number of rows, or lacks a required column."""
    for name, answer in (("risk", risk), ("revenue", revenue)):
        if answer.rows != filings.rows:
            raise Misaligned(f"{name} answered {answer.rows} rows to {filings.rows} consignments")
    if not risk.ints("lane").valid.all():
        raise Misaligned("risk answered a consignment without a lane")
    lengths = revenue.ragged("item_customs_values").lengths
    if ((lengths > 0) & (lengths != filings.ragged("items").lengths)).any():
        raise Misaligned("revenue valued another number of items than a consignment has")
    silent = ~revenue.ints("duty").valid & ~revenue.strings("reason").present
    if silent.any():
        raise Misaligned("revenue answered a consignment with neither figures nor a reason")


def assessment_of(risk: Table, revenue: Table) -> Assessment:
    """Return what the decision depends on."""
    findings = risk.ragged("findings")
    found = risk.child("findings")
    confidential = found.bools("confidential").values
    reasons = found.strings("reason")
    undisclosed = among(risk.ints("selection_cause").filled(0), _UNDISCLOSED)
    if confidential.any():
        reasons = values_in_rows(reasons, ~confidential)
        undisclosed[findings.owners()[confidential]] = True
    return Assessment(
        lane=risk.ints("lane").filled(0),
        reasons=Ragged(findings.offsets, reasons),
        undisclosed=undisclosed,
        unvalued=revenue.strings("reason"),
        payable=_payable(revenue),
        vendor_collected=revenue.ints("collected_by_vendor"),
        account=account_of(revenue, _payable(revenue)),
    )


def columns_of(filings: Table, risk: Table, revenue: Table) -> dict[str, Column]:
    """Return the columns of the state that come from the assessments, and the goods with their values."""
    return {
        **_selection(risk),
        "lane": risk.ints("lane"),
        "risk_score": risk.ints("score"),
        "risk_unjudged": risk.ints("unjudged"),
        "rule_set_version": risk.strings("rule_set"),
        "findings": findings_of(risk),
        **owed_columns(revenue),
        "items": _items(filings, revenue),
    }


def owed_columns(revenue: Table) -> dict[str, Column]:
    """Return the columns of the state that come from revenue's assessment, except the debt and the values of the goods."""
    generation = revenue.ints("generation")
    again = generation.valid & (generation.values > 0)
    more: dict[str, Column] = {"assessment_generation": Ints.of(generation.values, again)} if again.any() else {}
    return more | {
        "rulebook_version": revenue.strings("rulebook_version"),
        "revenue_currency": revenue.strings("currency"),
        "intrinsic_value_minor": revenue.ints("intrinsic_value"),
        "customs_value_minor": revenue.ints("customs_value"),
        "duty_minor": revenue.ints("duty"),
        "tax_minor": revenue.ints("tax"),
        "fee_minor": revenue.ints("fee"),
        "vendor_collected_minor": revenue.ints("collected_by_vendor"),
        "payable_minor": _payable(revenue),
        "revenue_notes": revenue.ragged("notes"),
        "reviewed_minor": revenue.ints("reviewed"),
        "not_covered": revenue.ragged("not_covered"),
        "exchange_day": revenue.ints("exchange_day"),
        "charges": _child(revenue, "charges", "charges", _CHARGES),
    }


def account_of(revenue: Table, payable: Ints) -> Strings:
    """Return the account that secures what is to be paid at the border, "" where there is none.

    What a carrier or postal operator collects from the consignee, their account stands for.
    """
    account = revenue.strings("deferred_account")
    bare = (payable.filled(0) > 0) & ~account.present & (revenue.ints("collected_by_customs").filled(0) == 0)
    if not bare.any():
        return account
    charges, lines = revenue.ragged("charges"), revenue.child("charges").strings("account").tolist()
    values = account.tolist()
    for row in np.flatnonzero(bare).tolist():
        named = [each for each in lines[charges.span(row)] if each.startswith(_COLLECTS)]
        values[row] = named[0] if named else ""
    return Strings.of(values)


def findings_of(risk: Table) -> Ragged:
    """Return risk's findings, of an assessment or of a later screening, as findings of the state."""
    return _child(risk, "findings", "findings", {name: name for name in _FINDINGS})


def _selection(risk: Table) -> dict[str, Column]:
    """Return how risk selected, and the resulting delays, which count from the decision (see `new_states`)."""
    lane, days, minutes = risk.ints("lane"), risk.ints("yellow_to_blue_days"), risk.ints("green_delay_minutes")
    delayed = minutes.valid & (minutes.values > 0) & (lane.values == Lane.GREEN)
    reroutes = days.valid & (days.values > 0) & (lane.values == Lane.YELLOW) & ~_binding(risk)
    columns: dict[str, Column] = {
        "selection_cause": risk.ints("selection_cause"),
        "selection_reason": risk.strings("selection_reason"),
        "chance_ppm": risk.ints("chance_ppm"),
        "inclusion_ppm": risk.ints("inclusion_ppm"),
        "model_score_ppm": risk.ints("model_score_ppm"),
        "model": risk.strings("model"),
        "office": risk.strings("office"),
    }
    if delayed.any():
        columns["release_not_before"] = Ints.of(minutes.values * _MICROS_PER_MINUTE, delayed)
    if reroutes.any():
        columns["reroute_at"] = Ints.of(days.values * MICROS_PER_DAY, reroutes)
    return columns


def _binding(risk: Table) -> NDArray[np.bool_]:
    """Return where a screening match, a control of goods or a rule with a second person requires an officer: no delay releases these consignments."""
    found = risk.child("findings")
    binds = among(found.ints("kind").filled(0), _BINDING) & (found.ints("lane").filled(0) >= Lane.YELLOW)
    if found.may_have("second_person"):
        binds |= found.bools("second_person").values
    bound = np.zeros(risk.rows, np.bool_)
    bound[risk.ragged("findings").owners()[binds]] = True
    return bound


def _payable(revenue: Table) -> Ints:
    parts = [revenue.ints(name) for name in _BORDER]
    known = revenue.ints("duty").valid & ~revenue.strings("reason").present
    return Ints.of(add_columns(*(part.values for part in parts)), known)


def _child(table: Table, source: str, target: str, names: dict[str, str]) -> Ragged:
    rows = table.ragged(source)
    inner = table.child(source)
    there = frozenset(inner.names)
    columns = {new: inner.column(old) for new, old in names.items() if old in there}
    return Ragged(rows.offsets, Table(_SCHEMA.children[target], inner.rows, columns))


def _items(filings: Table, revenue: Table) -> Ragged:
    items = _child(filings, "items", "items", _ITEMS)
    return Ragged(items.offsets, revalued(items, revenue))


def revalued(items: Ragged, revenue: Table) -> Table:
    """Return goods with the customs values on which revenue computed their charges; absent where revenue states none for these items."""
    inner = items.values
    assert isinstance(inner, Table)
    stated = revenue.ragged("item_customs_values")
    there = (stated.lengths == items.lengths) & revenue.ints("customs_value").valid
    values = stated.values
    assert isinstance(values, Ints)
    of_item = there[items.owners()]
    spread = np.zeros(len(of_item), np.int64)
    spread[of_item] = values.values[there[stated.owners()]]
    return inner.with_columns({"customs_value_minor": Ints.of(spread, of_item)})
