"""Compiles charges: the slots of a regime, their ways of collection, and what their places hold, as rows and columns."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np

from services.revenue.law import rulebook as law
from services.revenue.law.arithmetic import Flags, Rounding
from services.revenue.law.checks import holds, in_force
from services.revenue.law.conditions import ConditionTable
from services.revenue.law.exchange import Exchange
from services.revenue.law.program import (
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
from services.revenue.law.rulebook import (
    COMPONENTS,
    CONSIGNMENT_LEVEL,
    METHODS,
    Charge,
    Collection,
    Rulebook,
    parse_amount,
    parse_rate,
    positions,
)
from services.revenue.law.tariff import RateTable, Tariff


class SlotCompiler:
    """Makes rows of slots and outcomes; gathers charges, references and tariff tables as it meets them."""

    def __init__(self, tariffs: dict[str, Tariff], exchange: Exchange, conditions: ConditionTable) -> None:
        self.exchange, self.tariffs, self.conditions = exchange, tariffs, conditions
        self.tables: list[RateTable] = []
        self.references: dict[str, int] = {}
        self.charges: dict[str, int] = {}
        self.facts: list[ChargeFacts] = []

    def reference(self, book: Rulebook, name: str) -> int:
        """Number a reference of a rulebook."""
        return self.references.setdefault(f"{book.jurisdiction}:{name}", len(self.references))

    def slot(self, book: Rulebook, area: str, day: date, charge: Charge | None) -> dict[str, Any]:
        """Make the row of one slot; an empty one where there is no charge."""
        if charge is None:
            return dict.fromkeys(Slots.__slots__, 0) | {"line_digits": [0] * len(SCHEMES), "limit": -1, "currency": -1}
        base = in_force(book.customs_value, day)
        written = in_force(charge.rates, day, area)
        assert base is not None
        assert written is not None
        rate = parse_rate(written.rate)
        minimum = in_force(charge.minimum, day, area)
        other = book.charge(charge.also_when_unless_of) if charge.also_when_unless_of else None
        also = other.unless if other and holds(other, day) else None
        currency = -1
        if rate.currency and rate.currency != book.currency:
            currency = self.exchange.currency(rate.currency)
            if currency < 0:
                raise ProgramError(
                    f"{book.jurisdiction}: charges[{charge.id}]: no exchange table holds {rate.currency}"
                )
        tariff = -1
        reference, verified = written.reference, written.verified
        if rate.method == "tariff":
            table = self.tariffs[charge.tariff].on(day)
            if table is None:
                raise ProgramError(f"{book.jurisdiction}: charges[{charge.id}]: {charge.tariff} has no rates on {day}")
            if table not in self.tables:
                self.tables.append(table)
            tariff, verified = self.tables.index(table), verified and table.verified
        line = charge.tariff_line
        name = f"{book.jurisdiction}.{charge.id}"
        if name not in self.charges:
            self.charges[name] = len(self.facts)
            self.facts.append(ChargeFacts(name, charge.name, book.jurisdiction))
        when = next(iter(positions(charge.when)), None)
        return {
            "there": True,
            "charge": self.charges[name],
            "kind": KINDS.index(charge.kind),
            "method": METHODS.index(rate.method),
            "ppm": rate.ppm,
            "minor": rate.minor,
            "currency": currency,
            "base": mask_of(charge.base, mask_of(base.base, 0)),
            "limit": list(book.limits).index(when.limit) if when else -1,
            "over": bool(when and when.position == "over"),
            "unless_digits": _digits(charge.unless),
            "unless_without": SCHEMES.index(charge.unless.without_scheme) if charge.unless else 0,
            "also_digits": _digits(also),
            "also_without": SCHEMES.index(also.without_scheme) if also else 0,
            "tariff": tariff,
            "line_digits": [line.digits_under.get(scheme, line.digits) if line else 0 for scheme in SCHEMES],
            "mass_unit": charge.mass_unit_grams * 1000,
            "minimum": parse_amount(minimum.amount)[0] if minimum else 0,
            "minimum_above": bool(minimum and minimum.collected == "above"),
            "reference": self.reference(book, reference),
            "unverified": not (verified and book.references[reference].verified),
        }

    def outcome(
        self, book: Rulebook, area: str, day: date, charge: Charge | None, way: Collection | None
    ) -> dict[str, Any]:
        """Make the row of one way of collection of a slot."""
        if charge is None or way is None:
            return dict.fromkeys(Outcomes.__slots__, 0) | {"limit": -1, "only": -1, "unit": 1, "base_unit": 1}
        rounding = in_force(charge.rounding, day, area, way.scheme)
        return {
            "there": True,
            "scheme": SCHEMES.index(way.scheme),
            "limit": list(book.limits).index(way.when.limit) if way.when else -1,
            "over": bool(way.when and way.when.position == "over"),
            "only": self.conditions.number(way.only),
            "collector": COLLECTORS.index(way.collector),
            "debtor": DEBTORS.index(way.debtor),
            "mode": Rounding[rounding.mode.upper()] if rounding else Rounding.DOWN,
            "unit": parse_amount(rounding.unit)[0] if rounding else 1,
            "base_unit": parse_amount(rounding.base_unit)[0] if rounding and rounding.base_unit else 1,
            "reference": self.reference(book, way.reference),
            "rounding_reference": self.reference(book, rounding.reference) if rounding else -1,
        }


def place_of(
    slots: list[dict[str, Any]], outcomes: list[dict[str, Any]], at: int, slots_per_regime: int, ways: int
) -> Place:
    """Say what any regime has at one place of its charges, so that the rest need not be looked for."""
    there = [slot for slot in slots if slot["there"]]
    methods = {METHODS[slot["method"]] for slot in there}
    return Place(
        on_rows=bool(methods & CONSIGNMENT_LEVEL),
        on_items=bool(methods - CONSIGNMENT_LEVEL),
        tariff_line="tariff_line" in methods,
        tariff="tariff" in methods,
        specific=bool(methods - {"percent", "tariff"}),
        foreign=any(slot["currency"] >= 0 for slot in there),
        minimum=any(slot["minimum"] for slot in there),
        preference=any(slot["unless_digits"] or slot["also_digits"] for slot in there),
        ways=tuple(
            way
            for way in range(ways - 1)
            if any(outcome["there"] for outcome in outcomes[at * ways + way :: slots_per_regime * ways])
        ),
    )


def mask_of(base: Iterable[str], customs_value: int) -> int:
    """Make the bits of a base; those of the customs value stand for its name."""
    mask = 0
    for part in base:
        mask |= customs_value if part == "customs_value" else 1 << COMPONENTS.index(part)
    return mask


def _digits(unless: law.Unless | None) -> int:
    return sum(1 << int(digit) for digit in unless.preference) if unless else 0


def columns_of(kind: type[Any], rows: list[dict[str, Any]]) -> Any:
    """Make columns of rows; fields of the type Flags become booleans, all others int64."""
    columns = {}
    for name in kind.__slots__:
        flags = "Flags" in str(kind.__annotations__[name]) or kind.__annotations__[name] is Flags
        columns[name] = np.array([row[name] for row in rows], dtype=np.bool_ if flags else np.int64)
    return kind(**columns)
