"""States as row messages for people: status, history, notices; each caller is told what its role may know."""

from typing import Final

from libs.columns import Kind, Schema, Strings, Table, schema_of
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance import notices
from services.clearance.explanation import sentence
from services.clearance.states import AUTOMATIC

OFFICER = "officer"
"""Stands for an officer's id where the caller is not told it."""


_STATE: Final = schema_of(ClearanceColumns)
_STATUS: Final = Schema(
    _STATE.name, {**_STATE.columns, "history": Kind.CHILD}, {**_STATE.children, "history": _STATE}, has_rows=True
)
"""States with room for the versions before them, which no state holds: they are asked for apart."""


def statuses(table: Table, *, insight: bool) -> list[pb.ConsignmentStatus]:
    """Give the status of each state; without `insight` no rules, scores and notes."""
    messages = Table(_STATUS, table.rows, table.columns).to_messages(pb.ConsignmentStatus)
    for message in messages:
        for charge in message.charges:
            charge.explanation = sentence(
                charge.explanation,
                message.revenue_currency,
                charge.base_minor if charge.HasField("base_minor") else None,
                charge.rate_ppm if charge.HasField("rate_ppm") else None,
                charge.specific_minor if charge.HasField("specific_minor") else None,
                charge.amount_minor if charge.HasField("amount_minor") else None,
            )
        if not insight:
            _withhold(message)
    return messages


def _withhold(message: pb.ConsignmentStatus) -> None:
    message.ClearField("risk_score")
    message.ClearField("rule_set_version")
    message.ClearField("note")
    message.decided_by = _decider(message.decided_by)
    for finding in message.findings:
        for name in ("rule", "rule_version", "points"):
            finding.ClearField(name)


def _decider(decided_by: str) -> str:
    return decided_by if decided_by in ("", AUTOMATIC) else OFFICER


def history(table: Table, *, insight: bool) -> list[pb.HistoryEntry]:
    """Give each state as one version of a history."""
    entries = table.to_messages(pb.HistoryEntry)
    if not insight:
        for entry in entries:
            entry.ClearField("note")
            entry.decided_by = _decider(entry.decided_by)
    return entries


def previous(table: Table) -> list[tuple[int, int, int] | None]:
    """Tell for each state where the version before it is stored: day and id of its batch, and the row."""
    days = table.ints("previous_batch_day")
    places = zip(
        days.values.tolist(),
        table.ints("previous_batch_id").values.tolist(),
        table.ints("previous_batch_row").values.tolist(),
        strict=True,
    )
    return [place if there else None for place, there in zip(places, days.valid.tolist(), strict=True)]


def told(table: Table, *, carrier: bool) -> list[pb.Notice]:
    """Give the notices that states are, in their order; carriers are not told the filer's reference and the debt."""
    names = ["mrn", "house_document_number", "master_document_number"]
    if not carrier:
        names += ["local_reference", "revenue_currency", "debt_account"]
    texts = {name: table.strings(name).tolist() for name in names}
    numbers = {name: table.ints(name).values.tolist() for name in ("version", "state", "lane")}
    if not carrier:
        numbers["debt_status"] = table.ints("debt_status").values.tolist()
    numbers["kind"] = notices.kinds(table).tolist()
    changed = table.ints("changed_at").values.tolist()
    payable = table.ints("payable_minor").tolist()
    reasons = table.ragged("reasons")
    assert isinstance(reasons.values, Strings)
    flat = reasons.values.tolist()
    out: list[pb.Notice] = []
    for row in range(table.rows):
        facts = {name: values[row] for name, values in (*texts.items(), *numbers.items())}
        notice = pb.Notice(reasons=flat[reasons.span(row)], **facts)
        notice.time.FromMicroseconds(changed[row])
        amount = payable[row]
        if not carrier and amount is not None:
            notice.payable_minor = amount
        out.append(notice)
    return out
