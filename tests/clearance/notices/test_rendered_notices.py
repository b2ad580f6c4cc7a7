"""Each notice in words, for filers and for carriers; and that no text of a carrier contains what carriers may not read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf import timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Bools, Ints, Ragged, Strings, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2, licence_pb2
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_CARRIER, PARTY_ROLE_PAYMENT_PROVIDER, OrderLink
from services.clearance.api.messages import notices_of
from services.clearance.consignment.controls.control import Control, column_of
from services.clearance.consignment.transitions import FINAL, Change, Debt, State
from services.clearance.notices.rendering import key_of, render
from services.clearance.notices.texts import AGENCY, CARRIER, FILER, KEYS, load_texts

TEXTS = load_texts()
MRN = "26DE07329000001XR8"
AT = 1_793_491_200_000_000 + 86_399_999_999
"""The last microsecond of 2026-11-01."""
REFERENCES = "Your reference: SHOP-1. House document: H-1."
DOCUMENTS = "House document: H-1. Master document: 020-12345675."
CODE = "Anybody can check this notice by its MRN and the code 35VWC-4HD7R-RGW0P."
OWED = {"payable_minor": 123_456, "currency": "EUR"}
PAID = OWED | {"paid_minor": 100_000, "refunded_minor": 5}
OPEN, DEFERRED = common_pb2.DEBT_STATUS_OPEN, common_pb2.DEBT_STATUS_DEFERRED
_DUE = timestamp_pb2.Timestamp(seconds=1_793_534_400)
"""2026-11-01, noon."""
CONTROLS = {
    "controls": [
        control_pb2.Control(number=1, form=control_pb2.CONTROL_FORM_DOCUMENTS, text="Send the invoice.", reason="INVOICE_MISSING", due_at=_DUE),
        control_pb2.Control(number=2, form=control_pb2.CONTROL_FORM_SCAN, reason="XRAY"),
    ]
}  # fmt: skip
SCREEN = {"controls": [control_pb2.Control(number=3, text="Screen it.", due_at=_DUE)]}
_FORBIDDEN = control_pb2.CONTROL_FORM_DO_NOT_LOAD
_REQUEST = control_pb2.Control(number=1, form=control_pb2.CONTROL_FORM_INFORMATION, text="Name the goods.", due_at=_DUE)
LOADING: dict[str, dict[str, Any]] = {
    "REFERRED": {"pre_loading": control_pb2.PRE_LOADING_REFERRED, "controls": [_REQUEST]},
    "DO_NOT_LOAD": {
        "pre_loading": control_pb2.PRE_LOADING_DO_NOT_LOAD,
        "controls": [control_pb2.Control(number=2, form=_FORBIDDEN, reason="BOMB_ALERT")],
    },
    "DO_NOT_LOAD_LIFTED": {
        "pre_loading": control_pb2.PRE_LOADING_REFERRED,
        "controls": [control_pb2.Control(number=2, form=_FORBIDDEN, reason="BOMB_ALERT", concluded_at=_DUE)],
    },
    "PRE_LOADING_COMPLETE": {"pre_loading": control_pb2.PRE_LOADING_COMPLETE},
    "PRE_LOADING_COMPLETE_HELD": {"pre_loading": control_pb2.PRE_LOADING_COMPLETE},
    "PRE_LOADING_INCOMPLETE": {"pre_loading": control_pb2.PRE_LOADING_INCOMPLETE},
    "REFERRAL_ENDED": {
        "controls": [control_pb2.Control(number=2, form=_FORBIDDEN, reason="BOMB_ALERT", concluded_at=_DUE)]
    },
}
"""By key, what a notice about loading has for both readers."""
STORED: dict[str, Any] = {"reasons": ["A"], "storage_ends_at": timestamp_pb2.Timestamp(seconds=1_794_700_800)}
"""The first moment of 2026-11-15."""
MOVED: dict[str, Any] = {
    "reasons": ["A"],
    "transit": pb.TransitStatus(destination_office="DE004600", due_at=timestamp_pb2.Timestamp(seconds=1_794_700_800)),
}
"""A movement whose limit ends with 2026-11-14."""
LOST = MOVED | {
    "transit": pb.TransitStatus(destination_office="DE004600", outcome=pb.TRANSIT_OUTCOME_LOST),
}
DUE = {"presentation_due_at": _DUE}
AWAITED = pb.AwaitedPart(
    role=PARTY_ROLE_PAYMENT_PROVIDER,
    order=OrderLink(platform="bazaar.example", number="O-1"),
    consignment_filer="shop",
    last_day="2027-05-20",
)
DIFFERING = [
    pb.Contradiction(path="payment.payer", consignment_value="Bob Example", part_filer="bank"),
    pb.Contradiction(path="buyer.name", part_filer="bazaar.example"),
]
AMOUNTS = "To be paid at the border: 1234.56 EUR. Paid: 1000.00 EUR. Refunded: 0.05 EUR."

# By key: kind, state, further values, title and text.
FILERS: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    "DECIDED": (
        "DECIDED", "AWAITING_ARRIVAL", OWED, "Release decided",
        f"Customs decided that consignment {MRN} can be released. It is not released yet: another notice announces the release. "
        f"{REFERENCES} To be paid at the border: 1234.56 EUR.",
    ),
    "HELD": (
        "HELD", "HELD", {"reasons": ["CUSTOMS_CHECK", "VALUE_LOW"], "currency": "EUR"}, "Consignment held",
        f"Customs holds consignment {MRN}. Reasons: CUSTOMS_CHECK, VALUE_LOW. {REFERENCES} To be paid at the border: not known.",
    ),
    "HELD_DEBT": (
        "HELD", "HELD", OWED | {"reasons": ["DEBT_OPEN"], "debt_status": OPEN, "lower_bound": True},
        "Consignment held, debt not settled",
        f"Customs holds consignment {MRN}. Its debt at the border is not settled. To be paid at the border: at least 1234.56 EUR. "
        f"Paid: not known. Reasons for the hold: DEBT_OPEN. {REFERENCES} {CODE}",
    ),
    "ARRIVED": (
        "ARRIVED", "HELD", {"payable_minor": 0, "currency": "JPY"}, "Goods arrived, not released",
        f"The goods of consignment {MRN} arrived. They are not released yet. {REFERENCES} To be paid at the border: 0 JPY.",
    ),
    "ARRIVED_UNPRESENTED": (
        "ARRIVED", "AWAITING_ARRIVAL", OWED | DUE, "Goods arrived, to be presented",
        f"The goods of consignment {MRN} arrived. They are to be presented to customs by 2026-11-01 12:00 UTC, and are not released until "
        f"they are presented. {REFERENCES} To be paid at the border: 1234.56 EUR.",
    ),
    "HELD_UNPRESENTED": (
        "HELD", "HELD", {"reasons": ["CUSTOMS_CHECK"]} | DUE, "Consignment held, goods to be presented",
        f"Customs holds consignment {MRN}. Its goods arrived, and are to be presented to customs by 2026-11-01 12:00 UTC. Reasons: CUSTOMS_CHECK. "
        f"{REFERENCES} To be paid at the border: not known.",
    ),
    "HELD_DEBT_UNPRESENTED": (
        "HELD", "HELD", OWED | {"reasons": ["DEBT_OPEN"], "debt_status": OPEN} | DUE, "Consignment held, debt not settled, goods to be presented",
        f"Customs holds consignment {MRN}. Its goods arrived, and are to be presented to customs by 2026-11-01 12:00 UTC. Its debt at the border is "
        f"not settled. To be paid at the border: 1234.56 EUR. Paid: not known. Reasons for the hold: DEBT_OPEN. {REFERENCES} {CODE}",
    ),
    "PRESENTED": (
        "PRESENTED", "HELD", {"reasons": ["A"]}, "Goods presented, not released",
        f"The goods of consignment {MRN} were presented to customs on 2026-11-01. They are not released yet. The declaration can no longer be "
        f"amended or withdrawn; an incomplete one can still be completed. Reasons: A. {REFERENCES}",
    ),
    "PRESENTATION_OVERDUE": (
        "PRESENTATION_OVERDUE", "AWAITING_ARRIVAL", DUE, "Goods not presented in time",
        f"The goods of consignment {MRN} were to be presented to customs by 2026-11-01 12:00 UTC, and were not. They are not released until "
        f"they are presented. Ask the carrier. {REFERENCES}",
    ),
    "PART_MISSING": (
        "PART_MISSING", "UNSPECIFIED", {"awaited_part": AWAITED}, "Part of a filing missing",
        "A consignment names you, and lacks the part that you file as payment provider. Customs holds the goods until it is filed. File it for "
        "bazaar.example O-1, consignment filer shop. It may come too late once the goods are presented to customs. If they do not arrive, the "
        "last day is 2027-05-20.",
    ),
    "CONTRADICTED": (
        "CONTRADICTED", "RELEASED", {"filing_version": 2, "contradictions": DIFFERING}, "Parts contradict the filing",
        f"Parts of other parties state other values than consignment {MRN}, version 2 of its filing. Elements: payment.payer (Bob Example); "
        "buyer.name. An officer sees both values. If your value is wrong, amend the filing. If it is right, nothing is required of you. "
        f"{REFERENCES}",
    ),
    "CONTRADICTED_ENDED": (
        "CONTRADICTED", "RELEASED", {}, "Parts agree with the filing",
        f"No part of another party contradicts consignment {MRN} any more. {REFERENCES}",
    ),
    "HOLD_LIFTED": (
        "HOLD_LIFTED", "EXAMINATION", {}, "Hold lifted, controls open",
        f"Customs lifted a hold of consignment {MRN} on 2026-11-01. It is not released before the controls that are open are concluded, and "
        f"its debt at the border is settled. {REFERENCES} To be paid at the border: not known.",
    ),
    "RETURN_ORDER_ENDED": (
        "RETURN_ORDER_ENDED", "RELEASED", {}, "Return order ended",
        f"The order to return the goods of consignment {MRN} ended on 2026-11-01 without a return: it expired, or customs cancelled it. If the "
        f"goods still leave, order the return once more or report it. {REFERENCES}",
    ),
    "ARRIVED_ENDED": (
        "ARRIVED", "EXPIRED", {}, "Goods arrived without a valid declaration",
        f"The arrival of the goods of consignment {MRN} was reported on 2026-11-01. Its declaration expired or was invalidated before, so it does "
        f"not release them. File a new declaration under a new reference. {REFERENCES}",
    ),
    "RELEASED": (
        "RELEASED", "RELEASED", {"payable_minor": 12_345, "paid_minor": 12_345, "currency": "KWD"}, "Consignment released",
        f"Customs released consignment {MRN} on 2026-11-01. {REFERENCES} To be paid at the border: 12.345 KWD. Paid: 12.345 KWD. {CODE}",
    ),
    "RELEASED_ON_ACCOUNT": (
        "RELEASED", "RELEASED", OWED | {"debt_status": DEFERRED, "debt_account": "deferred:acme"},
        "Consignment released, debt on an account",
        f"Customs released consignment {MRN} on 2026-11-01. The account deferred:acme secures its debt. To be paid at the border: "
        f"1234.56 EUR. Paid: not known. {REFERENCES} {CODE}",
    ),
    "AMENDMENT_REFUSED": (
        "AMENDMENT_REFUSED", "HELD", {"filing_version": 3}, "Amendment came too late",
        f"The amendment or withdrawal of consignment {MRN}, version 3 of its filing, came too late and has no effect. An incomplete "
        f"filing can still be completed, without other changes. Otherwise ask an officer, who can correct the data or invalidate the declaration. "
        f"{REFERENCES}",
    ),
    "INVALIDATED": (
        "INVALIDATED", "INVALIDATED", PAID, "Declaration invalidated",
        f"The declaration of consignment {MRN} is invalidated. If the goods still need a declaration, file a new one under a new reference. "
        f"{REFERENCES} Paid: 1000.00 EUR. Refunded: 0.05 EUR.",
    ),
    "EXPIRED": (
        "EXPIRED", "EXPIRED", PAID, "Declaration expired",
        f"The goods of consignment {MRN} did not arrive in time, so its declaration expired on 2026-11-01. Nothing is owed. If the goods still "
        f"come, file a new declaration under a new reference. {REFERENCES} Paid: 1000.00 EUR. Refunded: 0.05 EUR.",
    ),
    "CHARGES_CHANGED": (
        "CHARGES_CHANGED", "RELEASED", PAID, "Charges changed",
        f"The charges of consignment {MRN} were assessed again. {AMOUNTS} {REFERENCES} {CODE}",
    ),
    "DEBT_SETTLED": (
        "DEBT_SETTLED", "HELD", PAID, "Debt settled",
        f"The debt of consignment {MRN} at the border is settled. {AMOUNTS} {REFERENCES} {CODE}",
    ),
    "DEBT_OPENED": (
        "DEBT_OPENED", "RELEASED", PAID | {"debt_status": OPEN}, "Debt open",
        f"The debt of consignment {MRN} at the border is open. {AMOUNTS} {REFERENCES} {CODE}",
    ),
    "RETURNED": (
        "RETURNED", "RELEASED", PAID, "Goods returned",
        f"A return of goods of consignment {MRN} was recorded on 2026-11-01. {REFERENCES} Refunded: 0.05 EUR.",
    ),
    "RETURNED_WHOLE": (
        "RETURNED", "RE_EXPORTED", OWED, "All goods returned",
        f"The return of all goods of consignment {MRN} was recorded on 2026-11-01. {REFERENCES} Refunded: not known.",
    ),
    "RETURNED_DESTROYED": (
        "RETURNED", "DESTROYED", PAID, "Goods destroyed after release",
        f"The destruction of all goods of consignment {MRN} was recorded on 2026-11-01. {REFERENCES} Refunded: 0.05 EUR.",
    ),
    "ARRIVAL_REVERSED": (
        "ARRIVAL_REVERSED", "HELD", {}, "Arrival reversed",
        f"The arrival of the goods of consignment {MRN} was recorded by mistake and is reversed: the goods have not arrived. {REFERENCES}",
    ),
    "SEIZED": (
        "SEIZED", "SEIZED", {"reasons": ["PROHIBITED_GOODS"]}, "Goods seized",
        f"Customs seized the goods of consignment {MRN} on 2026-11-01. Reasons: PROHIBITED_GOODS. {REFERENCES}",
    ),
    "DISPOSED_CONFISCATED": (
        "DISPOSED", "CONFISCATED", {"reasons": ["PROHIBITED_GOODS"]}, "Goods confiscated",
        f"Customs confiscated the goods of consignment {MRN} on 2026-11-01. Reasons: PROHIBITED_GOODS. {REFERENCES}",
    ),
    "DISPOSED_DESTROYED": (
        "DISPOSED", "DESTROYED", {}, "Goods destroyed",
        f"The goods of consignment {MRN} were destroyed under supervision of customs, as recorded on 2026-11-01. Reasons: none. {REFERENCES}",
    ),
    "DISPOSED_RE_EXPORTED": (
        "DISPOSED", "RE_EXPORTED", {"reasons": ["A"]}, "Goods re-exported",
        f"The goods of consignment {MRN} are re-exported, as recorded on 2026-11-01. Reasons: A. {REFERENCES}",
    ),
    "DISPOSED_ABANDONED": (
        "DISPOSED", "ABANDONED", {"reasons": ["A"]}, "Goods abandoned to the State",
        f"The goods of consignment {MRN} are abandoned to the State, as recorded on 2026-11-01. Reasons: A. {REFERENCES}",
    ),
    "CONTROL_ORDERED": (
        "CONTROL_ORDERED", "EXAMINATION", CONTROLS, "Control of the goods ordered",
        f"Customs or a partner agency ordered a control of consignment {MRN}, and the goods are not released before it is concluded. What is "
        f"requested or controlled: Send the invoice; XRAY. To be answered until: 2026-11-01 12:00 UTC. {REFERENCES}",
    ),
    "CONTROL_ANSWERED": (
        "CONTROL_ANSWERED", "DOCUMENTS_REQUESTED", CONTROLS, "Answer received",
        f"An answer to a request on consignment {MRN} was received on 2026-11-01. The request: Send the invoice; XRAY. {REFERENCES}",
    ),
    "CONTROL_REMINDED": (
        "CONTROL_REMINDED", "DOCUMENTS_REQUESTED", {}, "Answer due",
        f"An answer to a request on consignment {MRN} is due or late. The request: none. To be answered until: none. {REFERENCES}",
    ),
    "CONTROL_CONCLUDED": (
        "CONTROL_CONCLUDED", "HELD", CONTROLS, "Control concluded",
        f"A control of consignment {MRN} was concluded on 2026-11-01. The goods are not released yet. {REFERENCES} To be paid at the border: not "
        "known.",
    ),
    "REFERRED": (
        "CONTROL_ORDERED", "DOCUMENTS_REQUESTED", LOADING["REFERRED"], "Request before loading",
        f"Customs requests information or a screening of consignment {MRN} before it is loaded. The request: Name the goods. To be answered until: "
        f"2026-11-01 12:00 UTC. Your reference: SHOP-1. {DOCUMENTS}",
    ),
    "DO_NOT_LOAD": (
        "CONTROL_ORDERED", "DOCUMENTS_REQUESTED", LOADING["DO_NOT_LOAD"], "Do not load",
        f"The goods of consignment {MRN} may not be loaded. Another notice announces it if customs permits the loading. The reason: BOMB_ALERT. "
        f"Your reference: SHOP-1. {DOCUMENTS}",
    ),
    "DO_NOT_LOAD_LIFTED": (
        "CONTROL_CONCLUDED", "DOCUMENTS_REQUESTED", LOADING["DO_NOT_LOAD_LIFTED"], "Do-not-load lifted, request open",
        f"Customs lifted the do-not-load of consignment {MRN} on 2026-11-01. A request before loading is still open. Your reference: SHOP-1. "
        f"{DOCUMENTS}",
    ),
    "PRE_LOADING_COMPLETE": (
        "DECIDED", "AWAITING_ARRIVAL", LOADING["PRE_LOADING_COMPLETE"], "Assessment complete, goods may be loaded",
        f"The assessment of consignment {MRN} before loading is complete, and its goods may be loaded. Its release is decided and follows on "
        f"arrival. Your reference: SHOP-1. {DOCUMENTS}",
    ),
    "PRE_LOADING_COMPLETE_HELD": (
        "CONTROL_CONCLUDED", "HELD", LOADING["PRE_LOADING_COMPLETE_HELD"] | {"reasons": ["A"]},
        "Assessment complete, goods may be loaded and are held",
        f"The assessment of consignment {MRN} before loading is complete, and its goods may be loaded. Customs holds them: they are not released on "
        f"arrival. Reasons: A. Your reference: SHOP-1. {DOCUMENTS}",
    ),
    "PRE_LOADING_INCOMPLETE": (
        "HELD", "HELD", LOADING["PRE_LOADING_INCOMPLETE"] | {"reasons": ["A"]}, "Not assessed before loading, filing incomplete",
        f"Consignment {MRN} was not assessed before loading: its filing lacks an element of the minimum set (name and address of consignor and "
        "consignee, number of packages, gross mass, description of the goods, house document). Its goods are not released yet. "
        f"Reasons: A. Your reference: SHOP-1. {DOCUMENTS}",
    ),
    "REFERRAL_ENDED": (
        "DECIDED", "AWAITING_ARRIVAL", LOADING["REFERRAL_ENDED"], "Request before loading ended",
        f"The last request or do-not-load of customs for consignment {MRN} before loading ended on 2026-11-01. The consignment was not assessed "
        f"before loading, and its goods are not released yet. Your reference: SHOP-1. {DOCUMENTS}",
    ),
    "STORAGE_REMINDED": (
        "STORAGE_REMINDED", "HELD", STORED, "Temporary storage ends soon",
        f"The goods of consignment {MRN} are held and may lie in temporary storage until 2026-11-14. After that day customs decides on them. "
        f"Settle what holds them. Reasons: A. {REFERENCES}",
    ),
    "STORAGE_ENDED": (
        "STORAGE_ENDED", "HELD", STORED, "Temporary storage ended",
        f"The time limit of temporary storage of consignment {MRN} ended on 2026-11-14. The goods stay held, and customs decides on them. "
        f"Reasons: A. {REFERENCES}",
    ),
    "TRANSIT_STARTED": (
        "TRANSIT_STARTED", "AWAITING_ARRIVAL", MOVED, "Goods in transit to another office",
        f"On 2026-11-01 a movement of the goods of consignment {MRN} to the customs office DE004600 began. They have to arrive "
        f"there by 2026-11-14, with their seals and documents, and are not released before. Reasons: A. {REFERENCES}",
    ),
    "TRANSIT_ARRIVED": (
        "TRANSIT_ARRIVED", "HELD", MOVED, "Arrived at the office of destination",
        f"The goods of consignment {MRN} arrived at the customs office DE004600 on 2026-11-01, which handles them from now on. "
        f"They are not released yet. Reasons: A. {REFERENCES}",
    ),
    "TRANSIT_OVERDUE": (
        "TRANSIT_OVERDUE", "HELD", MOVED, "Goods in transit are overdue",
        f"The goods of consignment {MRN} did not arrive at the customs office DE004600 by 2026-11-14. Present them there without "
        f"delay, or inform customs where they are: a debt may be incurred. Reasons: A. {REFERENCES}",
    ),
    "TRANSIT_ENDED": (
        "TRANSIT_ENDED", "HELD", MOVED, "Movement ended by customs",
        f"Customs ended the movement of the goods of consignment {MRN} to the customs office DE004600 on 2026-11-01. The goods did "
        f"not arrive there, and customs holds them. Reasons: A. {REFERENCES}",
    ),
    "TRANSIT_LOST": (
        "TRANSIT_ENDED", "HELD", LOST | PAID, "Goods lost in transit",
        f"Customs ended the movement of the goods of consignment {MRN} to the customs office DE004600 on 2026-11-01, because they are lost or were "
        f"taken out of customs supervision. What is owed stays due. Reasons: A. {REFERENCES} To be paid at the border: 1234.56 EUR. "
        "Paid: 1000.00 EUR.",
    ),
    "DISPOSED_LOST": (
        "DISPOSED", "DESTROYED", LOST | PAID, "Lost goods, declaration ended",
        f"The goods of consignment {MRN} were lost in a movement, and its declaration ended on 2026-11-01. What is owed stays due. Reasons: A. "
        f"{REFERENCES} To be paid at the border: 1234.56 EUR. Paid: 1000.00 EUR.",
    ),
    "EXITED": (
        "EXITED", "EXITED", {"reasons": ["A"], "direction": DIRECTION_EXPORT}, "Exit confirmed",
        f"The goods of consignment {MRN} left, as was confirmed on 2026-11-01. The export is complete. {REFERENCES}",
    ),
    "DECIDED_EXPORT": (
        "DECIDED", "AWAITING_ARRIVAL", {"reasons": ["A"], "direction": DIRECTION_EXPORT}, "Release for export decided",
        f"Customs decided that consignment {MRN} can be released for export. It is not released yet: present its goods at the office of "
        f"exit. Another notice announces the release. {REFERENCES}",
    ),
    "HELD_EXPORT": (
        "HELD", "HELD", {"reasons": ["A"], "direction": DIRECTION_EXPORT}, "Export held",
        f"Customs holds consignment {MRN}, which is declared for export. Its goods may not leave. Reasons: A. {REFERENCES}",
    ),
    "ARRIVED_EXPORT": (
        "ARRIVED", "HELD", {"reasons": ["A"], "direction": DIRECTION_EXPORT}, "Goods at the office of exit, not released",
        f"The goods of consignment {MRN} arrived at the office of exit. They are not released for export yet, and may not leave. "
        f"{REFERENCES}",
    ),
    "RELEASED_EXPORT": (
        "RELEASED", "RELEASED", {"reasons": ["A"], "direction": DIRECTION_EXPORT}, "Released for export",
        f"Customs released consignment {MRN} for export on 2026-11-01. The carrier confirms the exit. Without a confirmation in time "
        f"the declaration is invalidated. {CODE} {REFERENCES}",
    ),
    "INVALIDATED_EXPORT": (
        "INVALIDATED", "INVALIDATED", {"reasons": ["A"], "direction": DIRECTION_EXPORT}, "Export declaration invalidated",
        f"The export declaration of consignment {MRN} is invalidated. Reasons: A. If the goods still leave, file a new one under a new "
        f"reference. {REFERENCES}",
    ),
    "EXPIRED_EXPORT": (
        "EXPIRED", "EXPIRED", {"reasons": ["A"], "direction": DIRECTION_EXPORT}, "Export declaration expired",
        f"The goods of consignment {MRN} were not presented at the office of exit in time, so its export declaration expired on "
        f"2026-11-01. If they still leave, file a new one under a new reference. {REFERENCES}",
    ),
    "CONTROL_CONCLUDED_EXPORT": (
        "CONTROL_CONCLUDED", "HELD", {"reasons": ["A"], "direction": DIRECTION_EXPORT}, "Control concluded",
        f"A control of consignment {MRN}, which is declared for export, was concluded on 2026-11-01. The goods are not released yet. "
        f"{REFERENCES}",
    ),
    "HOLD_LIFTED_EXPORT": (
        "HOLD_LIFTED", "EXAMINATION", {"reasons": ["A"], "direction": DIRECTION_EXPORT}, "Hold lifted, controls open",
        f"Customs lifted a hold of consignment {MRN}, which is declared for export, on 2026-11-01. It is not released before the "
        f"controls that are open are concluded. {REFERENCES}",
    ),
}  # fmt: skip
# By key: kind, state, title and text.
CARRIERS: dict[str, tuple[str, str, str, str]] = {
    "REFERRED": (
        "CONTROL_ORDERED", "DOCUMENTS_REQUESTED", "Request before loading",
        f"Customs requests information or a screening of consignment {MRN} before it is loaded. Requested of you: Name the goods. "
        f"Deadline of the answer: 2026-11-01 12:00 UTC. {DOCUMENTS}",
    ),
    "DO_NOT_LOAD": (
        "CONTROL_ORDERED", "DOCUMENTS_REQUESTED", "Do not load",
        f"The goods of consignment {MRN} may not be loaded. Another notice announces it if customs permits the loading. The reason: BOMB_ALERT. "
        f"{DOCUMENTS}",
    ),
    "DO_NOT_LOAD_LIFTED": (
        "CONTROL_CONCLUDED", "DOCUMENTS_REQUESTED", "Do-not-load lifted, request open",
        f"Customs lifted the do-not-load of consignment {MRN} on 2026-11-01. A request before loading is still open. {DOCUMENTS}",
    ),
    "PRE_LOADING_COMPLETE": (
        "DECIDED", "AWAITING_ARRIVAL", "Assessment complete, goods may be loaded",
        f"The assessment of consignment {MRN} before loading is complete, and its goods may be loaded. Its release is decided and follows on "
        f"arrival. {DOCUMENTS}",
    ),
    "PRE_LOADING_COMPLETE_HELD": (
        "CONTROL_CONCLUDED", "HELD", "Assessment complete, goods may be loaded and are held",
        f"The assessment of consignment {MRN} before loading is complete, and its goods may be loaded. Customs holds them: they are not released on "
        f"arrival. {DOCUMENTS}",
    ),
    "PRE_LOADING_INCOMPLETE": (
        "DECIDED", "AWAITING_ARRIVAL", "Not assessed before loading, filing incomplete",
        f"Consignment {MRN} was not assessed before loading: its filing lacks an element of the minimum set (name and address of consignor and "
        "consignee, number of packages, gross mass, description of the goods, house document). Its goods are not released yet. "
        f"{DOCUMENTS}",
    ),
    "REFERRAL_ENDED": (
        "CONTROL_CONCLUDED", "HELD", "Request before loading ended",
        f"The last request or do-not-load of customs for consignment {MRN} before loading ended on 2026-11-01. The consignment was not assessed "
        f"before loading, and its goods are not released yet. {DOCUMENTS}",
    ),
    "CONTROL_ORDERED": (
        "CONTROL_ORDERED", "EXAMINATION", "Control of the goods ordered",
        f"Customs or a partner agency ordered a control of consignment {MRN}. Do not deliver it. What is requested of you or controlled: "
        f"Screen it. To be answered until: 2026-11-01 12:00 UTC. {DOCUMENTS}",
    ),
    "CONTROL_ANSWERED": (
        "CONTROL_ANSWERED", "DOCUMENTS_REQUESTED", "Answer received",
        f"An answer to a request on consignment {MRN} was received on 2026-11-01. {DOCUMENTS}",
    ),
    "CONTROL_REMINDED": (
        "CONTROL_REMINDED", "DOCUMENTS_REQUESTED", "Answer due",
        f"An answer to a request on consignment {MRN} is due or late. Requested of you: Screen it. Deadline of the answer: "
        f"2026-11-01 12:00 UTC. {DOCUMENTS}",
    ),
    "CONTROL_CONCLUDED": (
        "CONTROL_CONCLUDED", "HELD", "Control concluded",
        f"A control of consignment {MRN} was concluded on 2026-11-01. It is not released yet: do not deliver it. {DOCUMENTS}",
    ),
    "STORAGE_REMINDED": (
        "STORAGE_REMINDED", "HELD", "Temporary storage ends soon",
        f"The goods of consignment {MRN} are held and may lie in temporary storage until 2026-11-14. After that day customs decides on them. "
        f"{DOCUMENTS}",
    ),
    "STORAGE_ENDED": (
        "STORAGE_ENDED", "HELD", "Temporary storage ended",
        f"The time limit of temporary storage of consignment {MRN} ended on 2026-11-14. The goods stay held: do not deliver them. {DOCUMENTS}",
    ),
    "TRANSIT_STARTED": (
        "TRANSIT_STARTED", "AWAITING_ARRIVAL", "Goods in transit to another office",
        f"On 2026-11-01 a movement of the goods of consignment {MRN} to the customs office DE004600 began. They have to arrive "
        f"there by 2026-11-14, with their seals and documents, and are not released before. {DOCUMENTS}",
    ),
    "TRANSIT_ARRIVED": (
        "TRANSIT_ARRIVED", "HELD", "Arrived at the office of destination",
        f"The goods of consignment {MRN} arrived at the customs office DE004600 on 2026-11-01, which handles them from now on. "
        f"They are not released yet. {DOCUMENTS}",
    ),
    "TRANSIT_OVERDUE": (
        "TRANSIT_OVERDUE", "HELD", "Goods in transit are overdue",
        f"The goods of consignment {MRN} did not arrive at the customs office DE004600 by 2026-11-14. Present them there without "
        f"delay, or inform customs where they are: otherwise duty may become due. {DOCUMENTS}",
    ),
    "TRANSIT_ENDED": (
        "TRANSIT_ENDED", "HELD", "Movement ended by customs",
        f"Customs ended the movement of the goods of consignment {MRN} to the customs office DE004600 on 2026-11-01. The goods did "
        f"not arrive there, and customs holds them. {DOCUMENTS}",
    ),
    "TRANSIT_LOST": (
        "TRANSIT_ENDED", "HELD", "Goods lost in transit",
        f"Customs ended the movement of the goods of consignment {MRN} to the customs office DE004600 on 2026-11-01, because they are lost or were "
        f"taken out of customs supervision. If they turn up, inform customs without delay. {DOCUMENTS}",
    ),
    "DISPOSED_LOST": (
        "DISPOSED", "DESTROYED", "Lost goods, declaration ended",
        f"The goods of consignment {MRN} were lost in a movement, and its declaration ended on 2026-11-01. {DOCUMENTS}",
    ),
    "DECIDED": (
        "DECIDED", "AWAITING_ARRIVAL", "Release decided",
        f"Customs decided that consignment {MRN} can be released. It is not released yet: another notice announces the release. {DOCUMENTS}",
    ),
    "HELD": ("HELD", "HELD", "Consignment held", f"Customs holds consignment {MRN}. Do not deliver it. {DOCUMENTS}"),
    "ARRIVED": (
        "ARRIVED", "HELD", "Arrival recorded, not released",
        f"The arrival of consignment {MRN} is recorded. It is not released yet: do not deliver it. {DOCUMENTS}",
    ),
    "ARRIVED_UNPRESENTED": (
        "DECIDED", "AWAITING_ARRIVAL", "Arrival recorded, present the goods",
        f"The arrival of consignment {MRN} is recorded. Present its goods to customs by 2026-11-01 12:00 UTC. It is not released until they are "
        f"presented: do not deliver it. {DOCUMENTS}",
    ),
    "HELD_UNPRESENTED": (
        "HELD", "HELD", "Consignment held, present the goods",
        f"Customs holds consignment {MRN}. Present its goods to customs by 2026-11-01 12:00 UTC. Do not deliver it. {DOCUMENTS}",
    ),
    "PRESENTED": (
        "PRESENTED", "HELD", "Presentation recorded, not released",
        f"The presentation of consignment {MRN} is recorded. It is not released yet: do not deliver it. {DOCUMENTS}",
    ),
    "PRESENTATION_OVERDUE": (
        "PRESENTATION_OVERDUE", "AWAITING_ARRIVAL", "Goods not presented in time",
        f"The goods of consignment {MRN} were to be presented to customs by 2026-11-01 12:00 UTC, and were not. Present them at once: they are not "
        f"released until they are presented. {DOCUMENTS}",
    ),
    "HOLD_LIFTED": (
        "HOLD_LIFTED", "EXAMINATION", "Hold lifted, controls open",
        f"Customs lifted a hold of consignment {MRN} on 2026-11-01. Only controls that are open hold it now: do not deliver it. {DOCUMENTS}",
    ),
    "RELEASED": (
        "RELEASED", "RELEASED", "Consignment released", f"Customs released consignment {MRN} on 2026-11-01. {DOCUMENTS}",
    ),
    "INVALIDATED": (
        "INVALIDATED", "INVALIDATED", "Declaration invalidated",
        f"The declaration of consignment {MRN} is invalidated, so the goods may not be delivered. {DOCUMENTS}",
    ),
    "EXPIRED": (
        "EXPIRED", "EXPIRED", "Declaration expired",
        f"The declaration of consignment {MRN} expired before its goods arrived, so the goods may not be delivered. {DOCUMENTS}",
    ),
    "RETURNED": (
        "RETURNED", "RELEASED", "Goods returned",
        f"A return of goods of consignment {MRN} was recorded on 2026-11-01. {DOCUMENTS}",
    ),
    "RETURNED_WHOLE": (
        "RETURNED", "RE_EXPORTED", "All goods returned",
        f"The return of all goods of consignment {MRN} was recorded on 2026-11-01. {DOCUMENTS}",
    ),
    "RETURNED_DESTROYED": (
        "RETURNED", "DESTROYED", "Goods destroyed after release",
        f"The destruction of all goods of consignment {MRN} was recorded on 2026-11-01. {DOCUMENTS}",
    ),
    "ARRIVAL_REVERSED": (
        "ARRIVAL_REVERSED", "AWAITING_ARRIVAL", "Arrival reversed",
        f"The arrival of consignment {MRN} was recorded by mistake and is reversed: the goods have not arrived. {DOCUMENTS}",
    ),
    "SEIZED": (
        "SEIZED", "SEIZED", "Goods seized",
        f"Customs seized the goods of consignment {MRN} on 2026-11-01. Do not deliver them. {DOCUMENTS}",
    ),
    "DISPOSED_CONFISCATED": (
        "DISPOSED", "CONFISCATED", "Goods confiscated",
        f"Customs confiscated the goods of consignment {MRN} on 2026-11-01. {DOCUMENTS}",
    ),
    "DISPOSED_DESTROYED": (
        "DISPOSED", "DESTROYED", "Goods destroyed",
        f"The goods of consignment {MRN} were destroyed under supervision of customs, as recorded on 2026-11-01. {DOCUMENTS}",
    ),
    "DISPOSED_RE_EXPORTED": (
        "DISPOSED", "RE_EXPORTED", "Goods re-exported",
        f"The goods of consignment {MRN} are re-exported, as recorded on 2026-11-01. {DOCUMENTS}",
    ),
    "DISPOSED_ABANDONED": (
        "DISPOSED", "ABANDONED", "Goods abandoned to the State",
        f"The goods of consignment {MRN} are abandoned to the State, as recorded on 2026-11-01. {DOCUMENTS}",
    ),
    "EXITED": (
        "EXITED", "EXITED", "Exit confirmed",
        f"The exit of consignment {MRN} is confirmed, as recorded on 2026-11-01. {DOCUMENTS}",
    ),
    "DECIDED_EXPORT": (
        "DECIDED", "AWAITING_ARRIVAL", "Release for export decided",
        f"Customs decided that consignment {MRN} can be released for export. It is not released yet: report its arrival at the office "
        f"of exit. Another notice announces the release. {DOCUMENTS}",
    ),
    "HELD_EXPORT": (
        "HELD", "HELD", "Export held",
        f"Customs holds consignment {MRN}, which is declared for export. Do not take it out of the country. {DOCUMENTS}",
    ),
    "ARRIVED_EXPORT": (
        "ARRIVED", "HELD", "Arrival recorded, not released",
        f"The arrival of consignment {MRN} at the office of exit is recorded. It is not released for export yet: do not take it out of "
        f"the country. {DOCUMENTS}",
    ),
    "RELEASED_EXPORT": (
        "RELEASED", "RELEASED", "Released for export",
        f"Customs released consignment {MRN} for export on 2026-11-01. Report its departure, which confirms the exit. {DOCUMENTS}",
    ),
    "INVALIDATED_EXPORT": (
        "INVALIDATED", "INVALIDATED", "Export declaration invalidated",
        f"The export declaration of consignment {MRN} is invalidated, so the goods may not leave. {DOCUMENTS}",
    ),
    "EXPIRED_EXPORT": (
        "EXPIRED", "EXPIRED", "Export declaration expired",
        f"The export declaration of consignment {MRN} expired before its goods were presented at the office of exit, so they may not "
        f"leave. {DOCUMENTS}",
    ),
    "CONTROL_CONCLUDED_EXPORT": (
        "CONTROL_CONCLUDED", "HELD", "Control concluded",
        f"A control of consignment {MRN}, which is declared for export, was concluded on 2026-11-01. The goods are not released yet: do "
        f"not take them out of the country. {DOCUMENTS}",
    ),
    "HOLD_LIFTED_EXPORT": (
        "HOLD_LIFTED", "EXAMINATION", "Hold lifted, controls open",
        f"Customs lifted a hold of consignment {MRN}, which is declared for export, on 2026-11-01. Controls are open: do not take it "
        f"out of the country. {DOCUMENTS}",
    ),
}  # fmt: skip


_CONTROL: dict[str, Any] = {
    "number": 1,
    "form": control_pb2.CONTROL_FORM_EXAMINATION,
    "reason": "FOOD_EXAMINED",
    "due_at": _DUE,
}
_LICENCES = [
    licence_pb2.LicenceNeed(item_number=2, type="C400", number="L1", quantity_millionths=1_250_000, unit="KGM"),
    licence_pb2.LicenceNeed(item_number=3, type="N851", number="P7"),
]
_ENDING: dict[str, Any] = {
    "licences": [licence_pb2.LicenceNeed(type="C400", number="L1", quantity_millionths=1_250_000, unit="KGM")],
    "licence_ends_at": timestamp_pb2.Timestamp(seconds=1_793_577_600),
}
_LISTED = "C400 L1 (item 2): 1.25 KGM; N851 P7 (item 3)"
HOUSE = "House document: H-1."

# By key: kind, fields of the control or of a notice about a last day, title and text; what is about licences alone has neither state nor documents.
AGENCIES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "CONTROL_ORDERED": (
        "CONTROL_ORDERED", {}, "Control ordered for your agency",
        f"Your agency is to control the goods of consignment {MRN}: FOOD_EXAMINED. Deadline: 2026-11-01 12:00 UTC. {DOCUMENTS}",
    ),
    "CONTROL_REQUESTED": (
        "CONTROL_ORDERED", {"addressee": control_pb2.CONTROL_ADDRESSEE_FILER}, "Request of your agency sent",
        f"An answer to the request of your agency about consignment {MRN} is awaited: FOOD_EXAMINED. Deadline: 2026-11-01 12:00 UTC. {DOCUMENTS}",
    ),
    "CONTROL_ANSWERED": (
        "CONTROL_ANSWERED", {"answered_at": _DUE}, "Request answered",
        f"The request of your agency about consignment {MRN} was answered on 2026-11-01: FOOD_EXAMINED. Conclude the control. {HOUSE}",
    ),
    "CONTROL_REMINDED": (
        "CONTROL_REMINDED", {"reminded_at": _DUE}, "Control due soon",
        f"The deadline of a control by your agency is 2026-11-01 12:00 UTC. Consignment: {MRN}. Control: FOOD_EXAMINED. {HOUSE}",
    ),
    "CONTROL_OVERDUE": (
        "CONTROL_REMINDED", {"overdue_at": _DUE}, "Control overdue",
        f"The deadline of a control by your agency has passed: 2026-11-01 12:00 UTC. Consignment: {MRN}. Control: FOOD_EXAMINED. {HOUSE}",
    ),
    "CONTROL_CONCLUDED": (
        "CONTROL_CONCLUDED", {"concluded_at": _DUE, "result": control_pb2.CONTROL_RESULT_CONFORM}, "Control concluded",
        f"A control by your agency of consignment {MRN} was concluded on 2026-11-01: FOOD_EXAMINED. {HOUSE}",
    ),
    "CONTROL_ENDED": (
        "CONTROL_CONCLUDED", {"concluded_at": _DUE, "result": control_pb2.CONTROL_RESULT_ENDED}, "Control ended, nothing left to do",
        f"A control by your agency of consignment {MRN} ended on 2026-11-01, because the goods were seized or their declaration or the goods ended: "
        f"FOOD_EXAMINED. {HOUSE}",
    ),
    "CONTROL_WITHDRAWN": (
        "CONTROL_CONCLUDED", {"concluded_at": _DUE, "result": control_pb2.CONTROL_RESULT_WITHDRAWN}, "Control withdrawn",
        f"A control by your agency of consignment {MRN} was withdrawn on 2026-11-01: FOOD_EXAMINED. {HOUSE}",
    ),
    "ARRIVED": (
        "ARRIVED", {}, "Goods arrived for your control",
        f"The goods of consignment {MRN} arrived. A control by your agency is open. {DOCUMENTS}",
    ),
    "ARRIVAL_REVERSED": (
        "ARRIVAL_REVERSED", {}, "Arrival reversed",
        f"The arrival of the goods of consignment {MRN} was recorded in error: they have not arrived. A control by your agency stays open. {HOUSE}",
    ),
    "LICENCE_USED": (
        "LICENCE_USED", {}, "Licence used",
        f"For consignment {MRN} licences of your register were written off or checked on 2026-11-01: {_LISTED}.",
    ),
    "LICENCE_RESTORED": (
        "LICENCE_RESTORED", {}, "Licence restored", f"Of consignment {MRN} licences of your register were restored on 2026-11-01: {_LISTED}.",
    ),
    "LICENCE_USED_UP": (
        "LICENCE_USED_UP", {}, "Less left of a licence than needed",
        f"Consignment {MRN} needs more than is left of licences of your register: {_LISTED}. The goods are held until another licence fits or your "
        f"agency concludes the control.",
    ),
    "LICENCE_REMINDED": (
        "LICENCE_REMINDED", _ENDING, "Licence ends soon",
        "A licence of your register is valid until 2026-11-01 and not all of it is used: C400 L1: 1.25 KGM. Filings that are accepted after "
        "that day need another licence.",
    ),
    "LICENCE_ENDED": (
        "LICENCE_ENDED", _ENDING, "Licence ended",
        "A licence of your register was valid until 2026-11-01 and not all of it is used: C400 L1: 1.25 KGM. Filings that were accepted "
        "until that day may still be written off.",
    ),
}  # fmt: skip


def notice(kind: str, state: str, **values: Any) -> pb.Notice:
    made = pb.Notice(
        mrn=MRN,
        house_document_number="H-1",
        master_document_number="020-12345675",
        kind=pb.NoticeKind.Value(f"NOTICE_KIND_{kind}"),
        state=pb.State.Value(f"STATE_{state}"),
        **values,
    )
    made.time.FromMicroseconds(AT)
    return made


def test_the_part_of_a_carrier_is_linked_by_its_document_and_other_notices_have_no_part() -> None:
    made = notice("PART_MISSING", "UNSPECIFIED", awaited_part=pb.AwaitedPart(role=PARTY_ROLE_CARRIER))
    made.awaited_part.house_document.carrier_identifier, made.awaited_part.house_document.number = "AIR-1", "H-9"
    render(made, TEXTS, TEXTS.choose("en"), reader=FILER)
    assert "that you file as carrier." in made.text
    assert "File it for AIR-1 H-9, consignment filer none." in made.text


def test_every_notice_of_every_reader_has_a_case() -> None:
    assert set(FILERS) == set(KEYS["filer"])
    assert set(CARRIERS) == set(KEYS["carrier"])
    kinds = {name.removeprefix("NOTICE_KIND_") for name in pb.NoticeKind.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert {case[0] for case in (*FILERS.values(), *AGENCIES.values())} == kinds
    assert set(AGENCIES) == set(KEYS["agency"])


@pytest.mark.parametrize("key", FILERS)
def test_a_filers_notice_in_words(key: str) -> None:
    kind, state, values, title, text = FILERS[key]
    made = notice(kind, state, local_reference="SHOP-1", check_code="35VWC-4HD7R-RGW0P", **values)
    assert key_of(made) == key
    render(made, TEXTS, TEXTS.choose("en-GB"), reader=FILER)
    assert (made.title, made.text, made.language) == (title, text, "en")


@pytest.mark.parametrize("key", CARRIERS)
def test_a_carriers_notice_in_words(key: str) -> None:
    kind, state, title, text = CARRIERS[key]
    until = {"storage_ends_at": STORED["storage_ends_at"]} if kind.startswith("STORAGE") else {}
    until = {"transit": MOVED["transit"]} if kind.startswith("TRANSIT") else until
    until = {"transit": LOST["transit"]} if key.endswith("_LOST") else until
    until |= {"direction": DIRECTION_EXPORT} if key.endswith("_EXPORT") else {}
    until |= DUE if key in ("ARRIVED_UNPRESENTED", "HELD_UNPRESENTED", "PRESENTATION_OVERDUE") else {}
    made = notice(kind, state, **LOADING.get(key, until | (SCREEN if kind.startswith("CONTROL") else {})))
    assert key_of(made) == key
    render(made, TEXTS, TEXTS.choose("en"), reader=CARRIER)
    assert (made.title, made.text, made.language) == (title, text, "en")


@pytest.mark.parametrize("key", AGENCIES)
def test_an_agencys_notice_in_words(key: str) -> None:
    kind, fields, title, text = AGENCIES[key]
    about = (
        fields or {"licences": _LICENCES}
        if kind.startswith("LICENCE")
        else {"controls": [control_pb2.Control(**_CONTROL | fields)]}
    )
    made = notice(kind, "EXAMINATION", **about)
    render(made, TEXTS, TEXTS.choose("en"), reader=AGENCY)
    assert (made.title, made.text, made.language) == (title, text, "en")


def test_what_owes_nothing_has_nothing_paid_and_a_debt_that_is_not_known_stays_not_known() -> None:
    """Documents of category 1 owe nothing without an assessment: their debt is NONE without an amount; a reassessment may name a currency."""
    amounts = "To be paid at the border: {0}. Paid: {1}."
    for values, payable, paid in (
        ({"debt_status": common_pb2.DEBT_STATUS_NONE}, "nothing", "nothing"),
        ({"debt_status": common_pb2.DEBT_STATUS_NONE, "currency": "EUR"}, "nothing", "nothing"),
        ({"debt_status": common_pb2.DEBT_STATUS_NONE, "payable_minor": 0}, "nothing", "nothing"),
        ({}, "not known", "not known"),
        ({"currency": "EUR"}, "not known", "not known"),
        ({"debt_status": OPEN}, "not known", "not known"),
        ({"debt_status": common_pb2.DEBT_STATUS_NONE, "payable_minor": 0, "currency": "EUR"}, "0.00 EUR", "not known"),
    ):
        made = notice("RELEASED", "RELEASED", **values)
        render(made, TEXTS, TEXTS.choose("en"), reader=FILER)
        assert amounts.format(payable, paid) in made.text


def test_an_agency_that_controls_and_requests_at_once_reads_that_it_is_to_control() -> None:
    made = notice("CONTROL_ORDERED", "EXAMINATION", controls=[control_pb2.Control(**_CONTROL), _REQUEST])
    made.controls[1].addressee = control_pb2.CONTROL_ADDRESSEE_FILER
    render(made, TEXTS, TEXTS.choose("en"), reader=AGENCY)
    assert f"Your agency is to control the goods of consignment {MRN}: FOOD_EXAMINED; Name the goods." in made.text


def test_references_that_a_filing_does_not_have_are_none() -> None:
    made = notice("ARRIVED", "HELD")
    made.ClearField("house_document_number")
    render(made, TEXTS, TEXTS.choose("en"), reader=FILER)
    assert "Your reference: none. House document: none. To be paid at the border: not known." in made.text
    # Notices about a licence's last day concern no consignment; an administration's texts of them may name one.
    with_mrn = made.text
    made.ClearField("mrn")
    render(made, TEXTS, TEXTS.choose("en"), reader=FILER)
    assert made.text == with_mrn.replace(MRN, "none") != with_mrn


_SECRET = st.text("qwzjkvx", min_size=12, max_size=12)
_MINOR = st.integers(7_000_001, 7_999_999)
_READABLE = ("mrn", "house_document_number", "master_document_number", "transit_destination_office")


@given(data=st.data(), state=st.sampled_from(State), change=st.sampled_from(Change), debt=st.sampled_from(Debt))
def test_no_text_of_a_carrier_contains_a_value_that_carriers_may_not_read(
    data: st.DataObject, state: State, change: Change, debt: Debt
) -> None:
    kinds = Table.of(ClearanceColumns, 1, {}).schema.columns
    texts = {name: data.draw(_SECRET) for name in kinds if kinds[name].name == "STRINGS" and name not in _READABLE}
    numbers = {name: data.draw(_MINOR) for name in kinds if name.endswith("_minor")}
    columns: dict[str, Any] = {name: Strings.of([text]) for name, text in texts.items()}
    columns |= {name: Ints.of([number]) for name, number in numbers.items()}
    columns |= {
        "mrn": Strings.of([MRN]),
        "house_document_number": Strings.of(["H-1"]),
        "master_document_number": Strings.of(["020-12345675"]),
        "transit_destination_office": Strings.of(["DE004600"]),
        "transit_started_at": Ints.of([AT]),
        "revenue_currency": Strings.of(["EUR"]),
        "version": Ints.of([3]),
        "state": Ints.of([state]),
        "change": Ints.of([change]),
        "lane": Ints.of([data.draw(st.integers(1, 4))]),
        "debt_status": Ints.of([debt]),
        "changed_at": Ints.of([AT]),
        "released_at": Ints.of([AT], np.array([data.draw(st.booleans())])),
        "debt_hold": Bools.of(np.array([data.draw(st.booleans())])),
    }
    reasons = data.draw(st.lists(_SECRET | st.just("DEBT_OPEN") | st.just("CUSTOMS_CHECK"), max_size=3))
    columns["reasons"] = Ragged.of_lengths([len(reasons)], Strings.of(reasons))
    notes = data.draw(st.lists(_SECRET | st.just("NOT_COVERED"), max_size=2))
    secrets = data.draw(st.lists(_SECRET, min_size=3, max_size=3))
    # A request to the filer is none of the carrier's.
    requested = Control(
        number=1, form=control_pb2.CONTROL_FORM_DOCUMENTS, addressee=control_pb2.CONTROL_ADDRESSEE_FILER, ordered_at=AT, due_at=AT,
        text=secrets[0], reason=secrets[1], answer=secrets[2], answered_at=AT, concluded_at=AT,
    )  # fmt: skip
    columns["controls"] = column_of([[requested]])
    columns["revenue_notes"] = Ragged.of_lengths([len(notes)], Strings.of(notes))
    table = Table.of(ClearanceColumns, 1, columns)
    for made in notices_of(table, carrier=True):
        if made.kind in (0, pb.NOTICE_KIND_AMENDMENT_REFUSED, pb.NOTICE_KIND_RETURN_ORDER_ENDED):
            continue  # none is ever a carrier's: no notice at all, and those that are written for filers alone
        if key_of(made) == "ARRIVED_ENDED":
            continue  # nor is the arrival of goods whose declaration ended: the carrier's notice is about that
        render(made, TEXTS, TEXTS.choose("en"), reader=CARRIER)
        shown = f"{made.title} {made.text}"
        assert MRN in shown
        forbidden = [
            *texts.values(),
            *secrets,
            *reasons,
            *notes,
            "EUR",
            "DEBT",
            "CUSTOMS_CHECK",
            "paid",
            "debt",
            "amount",
        ]
        for number in numbers.values():
            forbidden += [str(number), f"{number // 100}.{number % 100:02}", f"{number:,}", f"{number / 100:,.2f}"]
        assert not [value for value in forbidden if value in shown], shown
        # What the debt and the reasons are changes nothing: the same text without them.
        bare = pb.Notice(kind=made.kind, state=made.state, mrn=MRN, house_document_number="H-1")
        bare.master_document_number = "020-12345675"
        bare.time.CopyFrom(made.time)
        bare.transit.CopyFrom(made.transit)
        render(bare, TEXTS, TEXTS.choose("en"), reader=CARRIER)
        assert (bare.title, bare.text) == (made.title, made.text)


def test_each_final_state_has_the_text_of_its_end() -> None:
    ends = {State(pb.State.Value(f"STATE_{case[1]}")) for key, case in CARRIERS.items() if key.startswith("DISPOSED_")}
    # Goods expire, leave as declared, and declarations are invalidated without a disposal.
    assert ends == FINAL - {State.INVALIDATED, State.EXPIRED, State.EXITED}
