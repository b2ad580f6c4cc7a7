"""Compiles charges: the slots of a regime, their ways of collection, and what their places hold, as rows and columns."""

from collections.abc import Iterable, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np

from services.revenue.law.batch.arithmetic import LARGEST, Flags, Rounding
from services.revenue.law.program.compiler.rates import RateCompiler, rates_on
from services.revenue.law.program.conditions import ConditionTable
from services.revenue.law.program.exchange import ExchangeTables
from services.revenue.law.program.program import (
    COLLECTORS,
    DEBTORS,
    KINDS,
    SCHEMES,
    ChargeFacts,
    Outcomes,
    Place,
    ProgramError,
    Slots,
)
from services.revenue.law.source import rulebook as law
from services.revenue.law.source.checks import active_entry, applies
from services.revenue.law.source.rates import CONSIGNMENT_LEVEL, METHODS, parse_amount, parse_share
from services.revenue.law.source.rulebook import COMPONENTS, PPM, Charge, Collection, Rulebook, positions
from services.revenue.law.source.tariff import Tariff


class SlotCompiler:
    """Makes rows of slots and outcomes; gathers charges, references and tariff tables as it meets them."""

    def __init__(self, tariffs: dict[str, Tariff], exchange: ExchangeTables, conditions: ConditionTable) -> None:
        self.exchange, self.tariffs, self.conditions = exchange, tariffs, conditions
        self.rates = RateCompiler(tariffs, exchange, conditions)
        self.charges: dict[str, int] = {}
        self.facts: list[ChargeFacts] = []

    def reference(self, book: Rulebook, name: str) -> int:
        """Number a reference of a rulebook."""
        return self.rates.reference(book, name)

    def slot(
        self, book: Rulebook, area: str, day: date, charge: Charge | None, charges: list[Charge]
    ) -> dict[str, Any]:
        """Make the row of one slot among the regime's charges; an empty one where there is no charge."""
        if charge is None:
            self.rates.nothing()
            return dict.fromkeys(Slots.__slots__, 0) | {
                "line_digits": [0] * len(SCHEMES), "limit": -1, "condition": -1, "over_only": -1, "minimum_currency": -1,
            }  # fmt: skip
        base = active_entry(book.customs_value, day)
        assert base is not None
        customs_value = mask_of(base.base, 0)
        variants = self.rates.slot(book, charge, rates_on(charge, day, area), day)
        minimum = active_entry(charge.minimum, day, area)
        other = book.charge(charge.also_when_unless_of) if charge.also_when_unless_of else None
        also = other.unless if other and applies(other, day) else None
        line = charge.tariff_line
        name = f"{book.jurisdiction}.{charge.id}"
        if name not in self.charges:
            self.charges[name] = len(self.facts)
            self.facts.append(ChargeFacts(name, charge.name, book.jurisdiction))
        limits = list(book.limits)
        first, *more = positions(charge.when) or (None,)
        uplift = Fraction(parse_share(charge.uplift.percent), PPM) if charge.uplift else Fraction(0)
        share = Fraction(parse_share(charge.share), PPM) if charge.share else Fraction(1)
        places = {each.id: place for place, each in enumerate(charges)}
        amount, currency = parse_amount(minimum.amount) if minimum else (0, book.currency)
        return {
            "exists": True,
            "charge": self.charges[name],
            "kind": KINDS.index(charge.kind),
            "variants": variants[0],
            "variant_count": len(variants) - 1,
            "base": mask_of(charge.base, customs_value),
            "uplift_of": mask_of(charge.uplift.components, customs_value) if charge.uplift else 0,
            "uplift_numerator": uplift.numerator,
            "uplift_denominator": uplift.denominator,
            "limit": limits.index(first.limit) if first else -1,
            "over": bool(first and first.position == "over"),
            "more_within": sum(1 << limits.index(each.limit) for each in more if each.position == "within"),
            "more_over": sum(1 << limits.index(each.limit) for each in more if each.position == "over"),
            "condition": self.conditions.number(charge.condition),
            "relieved_by": sum(1 << list(book.reliefs).index(name) for name in charge.relieved_by),
            "unless_digits": _digits(charge.unless),
            "unless_without": SCHEMES.index(charge.unless.without_scheme) if charge.unless else 0,
            "also_digits": _digits(also),
            "also_without": SCHEMES.index(also.without_scheme) if also else 0,
            "over_only": limits.index(charge.over_only) if charge.over_only else -1,
            "inside": sum(1 << places[name] for name in charge.inside if name in places),
            "share_numerator": share.numerator,
            "share_denominator": share.denominator,
            "line_digits": [line.digits_under.get(scheme, line.digits) if line else 0 for scheme in SCHEMES],
            "unverified": book.doubted(
                minimum,
                charge.uplift.reference if charge.uplift else None,
                charge.unless.reference if charge.unless else None,
                line.reference if line else None,
            ),
            "mass_unit": charge.mass_unit_grams * 1000,
            "net_mass": charge.mass == "net",
            "minimum": amount,
            "minimum_currency": self.rates.currency(book, charge, currency),
            "minimum_above": bool(minimum and minimum.collected == "above"),
            "waived_below": 0
            if minimum is None
            else _bound(amount, foreign=currency != book.currency) + (minimum.collected == "above"),
            "tested_with": sum(1 << places[name] for name in minimum.together_with if name in places) if minimum else 0,
        }

    def outcome(
        self, book: Rulebook, area: str, day: date, charge: Charge | None, way: Collection | None
    ) -> dict[str, Any]:
        """Make the row of one way of collection of a slot."""
        if charge is None or way is None:
            return dict.fromkeys(Outcomes.__slots__, 0) | {
                "limit": -1,
                "condition": -1,
                "unit": 1,
                "base_unit": 1,
                "sum_unit": 0,
                "total_unit": 1,
            }
        rounding = active_entry(charge.rounding, day, area, way.scheme)
        base_unit = parse_amount(rounding.base_unit)[0] if rounding and rounding.base_unit else 1
        together = rounding is not None and rounding.base_of == "sum"
        return {
            "exists": True,
            "scheme": SCHEMES.index(way.scheme),
            "limit": list(book.limits).index(way.when.limit) if way.when else -1,
            "over": bool(way.when and way.when.position == "over"),
            "condition": self.conditions.number(way.condition),
            "collector": COLLECTORS.index(way.collector),
            "debtor": DEBTORS.index(way.debtor),
            "mode": Rounding[rounding.mode.upper()] if rounding else Rounding.DOWN,
            "unit": parse_amount(rounding.unit)[0] if rounding else 1,
            "base_unit": 1 if together else base_unit,
            "sum_unit": base_unit if together else 0,
            "total_unit": parse_amount(rounding.total_unit)[0] if rounding and rounding.total_unit else 1,
            "unverified": book.doubted(
                way, rounding, book.schemes[way.scheme].reference if way.scheme in book.schemes else None
            ),
            "reference": self.reference(book, way.reference),
            "rounding_reference": self.reference(book, rounding.reference) if rounding else -1,
        }


def place_of(
    slots: list[dict[str, Any]], outcomes: list[dict[str, Any]], at: int, slots_per_regime: int, ways: int,
    rates: RateCompiler, regimes: Sequence[int],
) -> Place:  # fmt: skip
    """Return the features that any of the regimes has at one place of its charges, so that the others are skipped."""
    here = [regime * slots_per_regime + at for regime in regimes]
    there = [slots[place] for place in here if slots[place]["exists"]]
    possible = [rate for place in here if slots[place]["exists"] for rate in rates.possible(place, slots[place])]
    methods = {METHODS[rate["method"]] for rate in possible}
    of_place = [
        outcome
        for place in here
        for outcome in outcomes[place * ways : (place + 1) * ways]
        if slots[place]["exists"] and outcome["exists"]
    ]

    def any_of(*names: str, nothing: int = 0) -> bool:
        return any(slot[name] != nothing for slot in there for name in names)

    return Place(
        on_rows=bool(methods & CONSIGNMENT_LEVEL),
        on_items=bool(methods - CONSIGNMENT_LEVEL),
        tariff_line="tariff_line" in methods,
        variants=max((slot["variant_count"] for slot in there), default=0),
        tariff="tariff" in methods,
        seasons="seasonal" in methods,
        specific=bool(methods & {"tariff_line", "item"}),
        exact="expression" in methods
        or any_of("uplift_of", "inside")
        or any_of("share_denominator", nothing=1)
        or any_of("share_numerator", nothing=1),
        foreign=any(rate["currency"] >= 0 for rate in possible),
        several=any_of("more_within", "more_over"),
        has_condition=any_of("condition", nothing=-1),
        relieved=any_of("relieved_by"),
        preference=any_of("unless_digits", "also_digits"),
        over_only=any_of("over_only", nothing=-1),
        inside=any_of("inside"),
        less=any(rate["less"] for rate in possible),
        rounds_totals=any(outcome["sum_unit"] != 0 for outcome in of_place),
        total=any(outcome["total_unit"] != 1 for outcome in of_place),
        minimum=any_of("minimum"),
        joint_minimum=any_of("tested_with"),
        ways=tuple(way for way in range(ways - 1) if any(outcomes[place * ways + way]["exists"] for place in here)),
    )


def mask_of(base: Iterable[str], customs_value: int) -> int:
    """Return the bits of a base; the bits of the customs value stand for its name."""
    mask = 0
    for part in base:
        mask |= customs_value if part == "customs_value" else 1 << COMPONENTS.index(part)
    return mask


def _bound(minimum: int, *, foreign: bool) -> int:
    return LARGEST + 1 if foreign else minimum


def _digits(unless: law.Unless | None) -> int:
    return sum(1 << int(digit) for digit in unless.preference) if unless else 0


def columns_of(kind: type[Any], rows: list[dict[str, Any]]) -> Any:
    """Return the columns of rows; fields of the type Flags become booleans, all others int64."""
    columns = {}
    for name in kind.__slots__:
        flags = "Flags" in str(kind.__annotations__[name]) or kind.__annotations__[name] is Flags
        columns[name] = np.array([row[name] for row in rows], dtype=np.bool_ if flags else np.int64)
    return kind(**columns)


def placed(slots: Slots, first_conditional: int) -> Slots:
    """Move the rates with conditions behind those of the slots."""
    slots.variants = slots.variants + first_conditional
    return slots


def check_inside(
    slots: list[dict[str, Any]], slots_per_regime: int, rates: RateCompiler, names: list[ChargeFacts]
) -> None:
    """Refuse bases that hold what is no percentage, or the whole; a tariff's rates are known only here."""
    highest: dict[int, int] = {}
    for place, slot in enumerate(slots):
        held = 0
        for other in range(slots_per_regime):
            if not slot["inside"] >> other & 1:
                continue
            at = place - place % slots_per_regime + other
            if at not in highest:
                possible = [rate for rate in rates.possible(at, slots[at]) if rate["season"] < 0 and rate["tariff"] < 0]
                if any(METHODS[rate["method"]] != "percent" for rate in possible):
                    raise ProgramError(
                        f"{names[slot['charge']].id}: its base holds {names[slots[at]['charge']].id}, whose tariff has rates "
                        "that are no percentages"
                    )
                highest[at] = max(rate["ppm"] for rate in possible)
            held += highest[at]
        if held >= PPM:
            raise ProgramError(
                f"{names[slot['charge']].id}: its base may hold the whole of itself; less than 100 % can"
            )
