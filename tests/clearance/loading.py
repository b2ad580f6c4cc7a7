"""What risk recommends before loading in tests, and parameters by which it is asked."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Final

from libs.columns import Bools, Ints, Ragged, Strings, Table, schema_of
from libs.customs.time import day_of_date
from luxor.consignment.v1 import consignment_pb2
from luxor.risk.v1 import risk_pb2
from services.clearance.pre_loading.parameters import Office, Parameters, Terms

NONE, INFORMATION, SCREENING, FORBIDDEN, SCORED = 0, 1, 2, 3, 9
"""What risk recommends: the numbers of luxor.risk.v1.Referral, and a screening by the score alone."""
REASONS: Final = {
    NONE: "",
    INFORMATION: "DESCRIPTION_TOO_VAGUE",
    SCREENING: "GOODS_DANGEROUS",
    FORBIDDEN: "DO_NOT_LOAD_ORDER",
    SCORED: "SCORE_HIGH",
}


def terms(missing: Any, hours: int = 24, addressee: Any = "filer") -> Terms:
    """Make the terms of a request, with a reminder at half of its time."""
    return Terms(addressee=addressee, answer_minutes=hours * 60, reminder_minutes=hours * 30, missing=missing)


def parameters() -> Parameters:
    """Make parameters by which all air traffic to Germany is assessed; one office forbids what nobody answers for."""
    from_day = {("DE", int(consignment_pb2.TRANSPORT_MODE_AIR)): day_of_date(datetime.date(2026, 1, 1))}
    usual = Office(office="*", information=terms("escalate"), screening=terms("escalate", addressee="carrier"))
    strict = Office(office="DE004851", information=terms("hold", 2), screening=terms("do_not_load", 4, "carrier"))
    return Parameters(from_day, {each.office: each for each in (usual, strict)})


def recommending(
    number: Callable[[str, int], int], asked: list[list[str]], *, secret: bool = False, unjudged: int = 0
) -> Callable[[Table], Table]:
    """Answer as risk does before loading: a recommendation by local reference and version, of a finding on item 1; note what is `asked`."""

    def answer_to(table: Table) -> Table:
        references = table.strings("local_reference").tolist()
        asked.append(references)
        versions = table.ints("version").values.tolist()
        chosen = [number(each, version) for each, version in zip(references, versions, strict=True)]
        reasons = [REASONS[each] for each in chosen]
        numbers = [SCREENING if each == SCORED else each for each in chosen]
        found = [each for each in reasons if each]
        findings = Table(
            schema_of(risk_pb2.AssessmentColumns).children["findings"],
            len(found),
            {"reason": Strings.of(found), "item_number": Ints.constant(1, len(found))},
        )
        columns: dict[str, Any] = {
            "lane": Ints.constant(1, table.rows),
            "findings": Ragged.of_lengths([int(bool(each)) for each in reasons], findings),
            "referral": Ints.of(numbers),
            "unjudged": Ints.constant(unjudged, table.rows),
            "referral_reason": Strings.of(reasons),
            "referral_confidential": Bools.of([secret] * table.rows, [each > 0 for each in numbers]),
        }
        return Table.of(risk_pb2.AssessmentColumns, table.rows, columns)

    return answer_to
