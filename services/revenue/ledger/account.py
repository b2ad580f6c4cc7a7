"""Accounts: how they are named, what they are for, and which one a charge is owed by where clearance's feed tells none.

A name is a kind, a colon and an id: `deferred:carrier-7`, `vendor:IM2760000014`, `treasury:EU:duty`. Debits are
positive: what stands on the side of debtors is owed, what stands on a treasury's is revenue.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Self

from libs.customs.identifiers import mrn as mrns_of
from libs.customs.partitions import PARTITIONS, partition_of
from luxor.common.v1.common_pb2 import (
    COLLECTOR_CARRIER,
    COLLECTOR_POSTAL_OPERATOR,
    COLLECTOR_VENDOR,
    DEBT_STATUS_DEFERRED,
    DEBT_STATUS_SECURED,
    DEBTOR_CONSIGNEE,
)
from luxor.revenue.v1 import ledger_pb2 as pb

NAME_CHARACTERS_MAX: Final = 80
KINDS: Final = {
    "treasury": pb.ACCOUNT_KIND_TREASURY,
    "deferred": pb.ACCOUNT_KIND_DEFERRED,
    "vendor": pb.ACCOUNT_KIND_VENDOR,
    "carrier": pb.ACCOUNT_KIND_CARRIER,
    "declarant": pb.ACCOUNT_KIND_DECLARANT,
    "guarantee": pb.ACCOUNT_KIND_GUARANTEE,
    "border": pb.ACCOUNT_KIND_BORDER,
    "bank": pb.ACCOUNT_KIND_BANK,
    "unmatched": pb.ACCOUNT_KIND_UNMATCHED,
}
OPENED: Final = ("deferred", "guarantee")
"""Kinds that an officer opens and limits; the others are there as soon as something is booked on them."""
SECURING: Final = OPENED
COLLECTING: Final = ("vendor", "carrier")
MONTHLY: Final = (*OPENED, *COLLECTING)
"""Kinds that pay by the month."""
LAST_OF_MONTH: Final = 31
DUE_DAYS: Final = "deferred 16; vendor last; carrier 16"
"""In the European Union: deferred amounts of a month until the 16th of the next one (Regulation (EU) No 952/2013, article 111(6)), the import scheme
until its last day, and special arrangements until the day on which import duty is paid (Directive 2006/112/EC, articles 369s, 369v and 369zb).
A guarantee secures what others pay, and has none."""
AT_ONCE: Final = ("declarant", "border")
"""Kinds that pay consignment by consignment, so that a payment settles some of them."""
PAYABLE: Final = (*SECURING, *COLLECTING, *AT_ONCE)
"""Kinds that a payment may name as its reference."""
TREASURY: Final = "treasury"
PAYEES: Final = (*PAYABLE, TREASURY)
"""Kinds that a payout may name as its reference: revenue leaves the bank account that received it for its treasury."""
FILERS_MAX: Final = 100
"""So many filers and carriers may draw on one account beside its holder."""
CHARGE_KINDS: Final = ("", "duty", "tax", "fee")
"""Names of luxor.revenue.v1.Kind by number."""
UNNAMED: Final = "unnamed"
"""Id of an account whose holder nobody told: what it owes must be asked for by hand."""


def prefix_of(name: str) -> str:
    """Return the part before the first colon."""
    return name.partition(":")[0]


def kind_of(name: str) -> int:
    """Return a number of luxor.revenue.v1.AccountKind; 0 for a name of an unknown kind or without an id."""
    prefix, _, rest = name.partition(":")
    return KINDS.get(prefix, 0) if rest else 0


def account_name_error(name: str, kinds: Collection[str] = tuple(KINDS)) -> str:
    """Return what is wrong with the name of an account, or ""."""
    prefix, _, rest = name.partition(":")
    if prefix not in kinds:
        return f"must begin with one of {', '.join(f'{kind}:' for kind in kinds)}"
    if not rest or rest != rest.strip() or not rest.isprintable():
        return "must have an id behind the colon, printable and without spaces around it"
    if len(name) > NAME_CHARACTERS_MAX:
        return f"has {len(name)} characters; at most {NAME_CHARACTERS_MAX} are taken"
    return ""


def treasury(code: str, kind: int) -> str:
    """Name the account of a treasury's revenue of one kind of charge (luxor.revenue.v1.Kind, 1 to 3): of a state, or of a jurisdiction."""
    return f"{TREASURY}:{code}:{CHARGE_KINDS[kind]}"


def treasury_of(name: str) -> str:
    """Return the code of the treasury whose account a name is; empty for other names."""
    prefix, _, rest = name.partition(":")
    return rest.partition(":")[0] if prefix == TREASURY else ""


def bank(jurisdiction: str) -> str:
    """Name the account of money received."""
    return f"bank:{jurisdiction}"


def unmatched(jurisdiction: str) -> str:
    """Name the account of money received that nothing is owed for yet."""
    return f"unmatched:{jurisdiction}"


def is_mrn(reference: str) -> bool:
    """Return whether a payment's reference is an MRN."""
    return mrns_of.is_valid(reference)


def partition_of_mrn(mrn: str) -> int:
    """Return the partition that an MRN names; for an MRN that Luxor did not assign, one that is always the same."""
    told = mrn[4:6]
    return int(told) if told.isascii() and told.isdigit() and int(told) < PARTITIONS else partition_of("", mrn)


def partition_of_account(name: str) -> int:
    """Return the partition in which payments of an account are posted."""
    return partition_of("", name)


class DueDaysMalformed(ValueError):
    """A text that states no due days; the message says why."""


@dataclass(frozen=True, slots=True)
class DueDays:
    """Until which day of the following month accounts pay what a month owes, by their kinds."""

    days: Mapping[str, int]
    """LAST_OF_MONTH stands for the last day."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "deferred 16; vendor last". Raises DueDaysMalformed."""
        days: dict[str, int] = {}
        for part in text.split(";"):
            kind, _, day = part.strip().partition(" ")
            day = day.strip()
            number = LAST_OF_MONTH if day == "last" else int(day) if day.isascii() and day.isdigit() else 0
            if kind not in MONTHLY or not 1 <= number <= LAST_OF_MONTH or (number == LAST_OF_MONTH and day != "last"):
                raise DueDaysMalformed(
                    f"has {part.strip()!r}, which is no kind ({', '.join(MONTHLY)}) with a day of the month (1 to 30, or last)"
                )
            if kind in days:
                raise DueDaysMalformed(f"has {kind} twice")
            days[kind] = number
        return cls(days)

    def due_day(self, name: str, month_end: date) -> date | None:
        """Return the day until which an account pays what it owes at the end of a month; None where it has none."""
        day = self.days.get(prefix_of(name))
        if day is None:
            return None
        first = month_end + timedelta(days=1)
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        return min(last, first + timedelta(days=day - 1))


@dataclass(frozen=True, slots=True)
class ChargeAccounts:
    """Which accounts a charge concerns: who owes it, and who stands for it (the same where nobody else does)."""

    debtor: str
    account: str


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What tells whose account a charge is on."""

    account: str
    """As the charge tells it; empty where it does not."""
    collector: int
    debtor: int
    destination: str
    declarant: str
    platform: str
    debt_account: str
    debt_status: int


def accounts_of_charge(facts: AccountFacts) -> ChargeAccounts:
    """Return the accounts of a charge.

    Vendors and carriers owe what they collect. All else is owed by the declarant, or by the buyer who pays by the MRN;
    a deferred account or a guarantee stands for it only while the state says so.
    """
    told = prefix_of(facts.account)
    if told in COLLECTING:
        return ChargeAccounts(facts.account, facts.account)
    if not told:
        if facts.collector == COLLECTOR_VENDOR:
            name = f"vendor:{facts.platform or UNNAMED}"
            return ChargeAccounts(name, name)
        if facts.collector in (COLLECTOR_CARRIER, COLLECTOR_POSTAL_OPERATOR):
            name = f"carrier:{facts.declarant or UNNAMED}"
            return ChargeAccounts(name, name)
    if told in AT_ONCE:
        debtor = facts.account
    elif facts.debtor == DEBTOR_CONSIGNEE or not facts.declarant:
        debtor = f"border:{facts.destination or UNNAMED}"
    else:
        debtor = f"declarant:{facts.declarant}"
    securing = facts.account if told in SECURING else facts.debt_account
    secured = facts.debt_status in (DEBT_STATUS_DEFERRED, DEBT_STATUS_SECURED) and prefix_of(securing) in SECURING
    return ChargeAccounts(debtor, securing if secured else debtor)
