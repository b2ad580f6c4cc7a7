"""The scalar law's words: consignments as filed, what is owed, and its arithmetic in fractions and whole numbers."""

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from math import floor

from tests.revenue.law.oracle_rates import Plain

SCHEME_NAMES = [
    "none", "ioss", "special_arrangements", "voec", "ovr", "gst_lvg", "uk_supply_vat", "prc", "import_vat",
    "ch_mail_order", "cbec", "qualified_party", "clvs",
]  # fmt: skip
LARGEST = 10**15
EDGE = 10**12


@dataclass
class Item:
    price: int | None = 0
    currency: str = "EUR"
    code: str = ""
    preference: str = ""
    tax_charged: int | None = None
    tax_rate_ppm: int | None = None
    origin: str = ""
    gift: bool | None = None
    net_mass_mg: int | None = None
    quantity_milli: int | None = None
    unit: str = ""
    supplementary_milli: int | None = None
    supplementary_unit: str = ""
    procedures: tuple[str, ...] = ()
    """Additional procedures."""


@dataclass
class Consignment:
    destination: str
    accepted: date
    items: list[Item]
    sold: date | None = None
    exported: date | None = None
    shipped: date | None = None
    """Day of direct shipment."""
    freight: tuple[int, str] | None = None
    insurance: tuple[int, str] | None = None
    clearance_fee: tuple[int, str] | None = None
    includes_tax: bool | None = None
    mass_mg: int | None = None
    schemes: list[tuple[str, str]] = field(default_factory=list)
    dispatch: str = ""
    direct_shipment_place: str = ""
    mode: str = ""
    service: str = ""
    declarant_role: str = ""
    nature: str = ""
    consignor: str = ""
    consignee: str = ""
    region: str = ""
    procedures: tuple[str, ...] = ()
    first_mrn: str = ""
    """MRN under which returned goods went first."""


@dataclass
class Charged:
    charge: str
    item: int | None
    basis: int
    ppm: int
    amount: int
    collector: str
    debtor: str
    scheme: str
    waived: bool
    rate: str = ""
    """As the law writes it."""
    quantity: int = 0
    reference: str = ""
    """Of the rate: jurisdiction or tariff, and name."""
    forgone: int = 0
    """What it would be if it were not waived."""


@dataclass
class Result:
    problem: str = "NONE"
    intrinsic: int = 0
    customs_value: int = 0
    charges: list[Charged] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    item_values: list[int] = field(default_factory=list)
    """Customs value of each item; none where the consignment could not be assessed."""


@dataclass
class Leaf:
    """A rate that an item or a consignment comes to."""

    text: str
    plain: Plain
    reference: str
    doubted: bool
    preferential: bool = False


class Refused(Exception):
    pass


def rounded(value: Fraction, mode: str, unit: int) -> int:
    steps = value / unit
    down = floor(steps)
    rest = steps - down
    half = Fraction(1, 2)
    up = (
        (mode == "up" and rest > 0)
        or (mode == "half_up" and rest >= half)
        or (mode == "half_even" and (rest > half or (rest == half and down % 2 == 1)))
    )
    result = (down + up) * unit
    if result > LARGEST:
        raise Refused("AMOUNT_OUT_OF_BOUNDS")
    return result


def shared(total: int, weights: list[int]) -> list[int]:
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    reached, shares, upto = 0, [], 0
    for weight in weights:
        upto += weight
        now = total * upto // whole
        shares.append(now - reached)
        reached = now
    return shares
