"""Ageing of open items: amounts by currency and days overdue beside the balance of the account, and the list of overdue items."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from libs.client.client import Client
from libs.client.revenue import ledger
from libs.customs.time import day_text, parse_day

LAST_DAYS: Final = (0, 30, 60, 90)
"""Largest number of days overdue of each band except the last, which has no limit."""
BANDS: Final = ("not_due", "days_1_to_30", "days_31_to_60", "days_61_to_90", "over_90_days")
"""Names of the bands, in the order of LAST_DAYS."""


def age_open_items(
    items: Iterable[Mapping[str, Any]], balances: Mapping[str, int], on_day: int, due_days: int
) -> list[dict[str, Any]]:
    """Return the open amounts by currency and band, in the order of the currencies.

    An item is due `due_days` days after its day of acceptance, and overdue from the day after that. `balances` are minor units by currency. The
    amount by which the open items exceed the balance is the account's credit; it is negative only if the two were read at different states.
    """
    bands: dict[str, list[int]] = {currency: [0] * len(BANDS) for currency, balance in balances.items() if balance}
    counts: dict[str, int] = {}
    for each in items:
        currency = each["currency"]
        days_overdue = on_day - parse_day(each["day"]) - due_days
        bands.setdefault(currency, [0] * len(BANDS))[bisect_left(LAST_DAYS, days_overdue)] += each["amount_minor"]
        counts[currency] = counts.get(currency, 0) + 1
    return [
        _row(currency, bands[currency], counts.get(currency, 0), balances.get(currency, 0))
        for currency in sorted(bands)
    ]


def _row(currency: str, amounts: Sequence[int], items: int, balance: int) -> dict[str, Any]:
    total = sum(amounts)
    return {
        "currency": currency,
        "items": items,
        **{f"{band}_minor": amount for band, amount in zip(BANDS, amounts, strict=True)},
        "open_minor": total,
        "credit_minor": total - balance,
        "balance_minor": balance,
    }


async def ageing(client: Client, account: str, on_day: int, due_days: int) -> list[dict[str, Any]]:
    """Return the ageing of the open items of an account as they are now, with its balance, by currency."""
    items = [each async for each in ledger.open_consignments(client, account)]
    balances = {
        each["currency"]: each["balance_minor"]
        for each in await ledger.balances(client, prefix=account)
        if each["account"] == account
    }
    return age_open_items(items, balances, on_day, due_days)


def overdue_items(
    items: Iterable[Mapping[str, Any]], on_day: int, due_days: int, minimum_minor: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return the overdue items with due day, days overdue and level, the longest overdue first.

    Items are due as in `age_open_items`; the level is the number of the band, from 1 (1 to 30 days) to 4 (more than 90). `minimum_minor` are the
    smallest listed amounts by currency, in minor units; where it names currencies, items in other currencies are left out.
    """
    found = []
    for each in items:
        due_day = parse_day(each["day"]) + due_days
        is_wanted = not minimum_minor or each["amount_minor"] >= minimum_minor.get(
            each["currency"], each["amount_minor"] + 1
        )
        if on_day > due_day and is_wanted:
            days = on_day - due_day
            found.append(
                {
                    "level": bisect_left(LAST_DAYS, days),
                    "days_overdue": days,
                    "due_day": day_text(due_day),
                    "mrn": each["mrn"],
                    "currency": each["currency"],
                    "amount_minor": each["amount_minor"],
                }
            )
    return sorted(found, key=lambda row: (-row["days_overdue"], row["currency"], row["mrn"]))
