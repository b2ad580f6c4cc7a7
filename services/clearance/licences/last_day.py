"""The last day of a licence: when its agency is notified of it, and these notices as rows. Pure."""

from collections.abc import Sequence
from typing import Final

from libs.columns import Column, Ints, Table
from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.notice_kinds import NoticeKind
from services.clearance.licences.licence import Licence
from services.clearance.licences.need import Need, column_of

REMIND_DAYS: Final = 30
"""How many days before the end an agency is reminded, so that it can decide on an application for the next licence: a practice, not law.

It is the longest time for an application that is considered as it is received (WTO Agreement on Import Licensing Procedures, article 3.5(f)).
"""


def ends_at(licence: Licence) -> int:
    """Return the first microsecond after the last day (UTC)."""
    return (licence.to_day + 1) * MICROS_PER_DAY


def next_notice_at(licence: Licence, at: int) -> int | None:
    """Return when the next notice about the last day follows after an instant; None where none does.

    Who sets a last day knows it: a reminder or an end whose time had come then does not follow. Customs has no notices, and who revokes a licence
    ends it before.
    """
    if not licence.authority or licence.revoked_at is not None:
        return None
    return next((each for each in (_reminds_at(licence), ends_at(licence)) if at < each), None)


def is_notified(licence: Licence, at: int) -> bool:
    """Return whether the agency is notified at an instant at which a notice is due: a part of the licence is left, or it has no limit.

    A replica that does not know the time of the next notice leaves it as it was, also where the last day is later or the licence is revoked.
    """
    return licence.revoked_at is None and at >= _reminds_at(licence) and licence.left_millionths != 0


def _reminds_at(licence: Licence) -> int:
    return ends_at(licence) - REMIND_DAYS * MICROS_PER_DAY


def notices(licences: Sequence[Licence], at: int) -> Table:
    """Return notices about the last days of licences at an instant, a row each: the licence, and what is left of it."""
    lists = [
        [
            Need(
                item_number=0,
                authority=each.authority,
                type=each.type,
                jurisdiction=each.jurisdiction,
                number=each.number,
                quantity_millionths=each.left_millionths,
                unit=each.unit,
            )
        ]
        for each in licences
    ]
    columns: dict[str, Column] = {
        "changed_at": Ints.constant(at, len(licences)),
        "licence_ends_at": Ints.of([ends_at(each) for each in licences]),
        "licences": column_of(lists),
    }
    return Table.of(ClearanceColumns, len(licences), columns)


def is_about_last_days(table: Table) -> bool:
    """Return whether rows of stored notices are about the last days of licences, and not versions of states."""
    return table.may_have("licence_ends_at")


def kind_at(at: int, end: int) -> NoticeKind:
    """Return the kind of a notice that was written at an instant about a licence with this end."""
    return NoticeKind.LICENCE_ENDED if at >= end else NoticeKind.LICENCE_REMINDED
