"""What `luxor check-notice` prints: amounts that are not known are not printed as zero."""

from __future__ import annotations

from typing import Any

from libs.cli.commands.clearance.check_notice import show_check
from tests.cli.console_lines import lines_of

GENUINE: dict[str, Any] = {
    "outcome": "CHECK_OUTCOME_GENUINE",
    "state": "STATE_HELD",
    "changed_day": "2026-11-01",
    "currency": "EUR",
    "charges": [
        {"kind": "CHARGE_KIND_DUTY", "collector": "COLLECTOR_CUSTOMS", "debtor": "DEBTOR_DECLARANT", "amount_minor": 300},
        {"kind": "CHARGE_KIND_TAX", "collector": "COLLECTOR_VENDOR", "debtor": "DEBTOR_PLATFORM", "scheme": "SCHEME_IOSS"},
    ],
    "payable_minor": 300,
    "debt_status": "DEBT_STATUS_OPEN",
    "vendor_collected_minor": 0,
}  # fmt: skip


def printed(result: dict[str, Any]) -> list[str]:
    return [line for line in lines_of(lambda terminal: show_check(terminal, result)) if line]


def test_a_genuine_notice_shows_charges_and_payments() -> None:
    assert printed(GENUINE) == [
        "Genuine. Compare the amounts with those on the notice.",
        "State held (not released), since 2026-11-01",
        "charge collected by owed by scheme amount",
        "─" * len(lines_of(lambda terminal: show_check(terminal, GENUINE))[4]),
        "duty customs declarant – 3.00 EUR",
        "tax vendor platform ioss 0.00 EUR",
        "0.00 EUR collected by the vendor at the sale",
        "3.00 EUR to be paid at the border",
        "not known paid at the border",
        "not known refunded",
        "Debt at the border: open",
    ]
    paid = GENUINE | {
        "paid_minor": 300,
        "refunded_minor": 0,
        "released": True,
        "state": "STATE_RELEASED",
        "lower_bound": True,
    }
    assert printed(paid)[1] == "State released (released), since 2026-11-01"
    assert printed(paid)[-4:-1] == [
        "at least 3.00 EUR to be paid at the border",
        "3.00 EUR paid at the border",
        "0.00 EUR refunded",
    ]


def test_a_notice_that_is_not_genuine_shows_nothing_else() -> None:
    assert printed({"outcome": "CHECK_OUTCOME_NOT_GENUINE"}) == [
        "Not genuine. Customs did not issue this code for this MRN."
    ]
    assert printed({"outcome": "CHECK_OUTCOME_NO_LONGER_STORED"}) == [
        "Customs issued this code, but no longer stores the consignment."
    ]
