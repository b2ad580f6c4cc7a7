"""What-if in plain numbers: one consignment at a time, by the scalar law, so that the counting of columns has something to be compared with."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.customs.currencies import minor_units
from tests.revenue.law.oracle_charges import Consignment, Result, shared

KINDS = ["", "duty", "tax", "fee"]
COLLECTORS = ["", "customs", "vendor", "carrier", "postal_operator"]


@dataclass
class Count:
    consignments: int = 0
    items: int = 0
    consignments_changed: int = 0
    items_changed: int = 0
    unassessed_by_draft: int = 0
    unassessed_before: int = 0
    revenue: dict[tuple[str, int, int, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    groups: dict[tuple[str, str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * 5))

    def add(
        self, filed: Consignment, then: Result, now: Result, goods: list[int], kinds: Mapping[str, str], law: tuple[str, str],
        ends: list[int],
    ) -> None:  # fmt: skip
        """Count a consignment; `goods` are its items' values, `kinds` the kind of each charge, `law` jurisdiction and currency."""
        self.consignments += 1
        self.items += len(filed.items)
        assessed = [result.problem == "NONE" for result in (then, now)]
        self.unassessed_by_draft += assessed == [True, False]
        self.unassessed_before += assessed == [False, True]
        for place, result in enumerate((then, now)):
            for charge in result.charges:
                if charge.amount:
                    key = (law[0], KINDS.index(kinds[charge.charge]), COLLECTORS.index(charge.collector), law[1])
                    self.revenue[key][place] += charge.amount
                    if place == 0 and not assessed[1]:
                        self.revenue[key][2] += charge.amount
        if not all(assessed):
            return
        differ = [owed(then, at, kinds) != owed(now, at, kinds) for at in [None, *range(len(filed.items))]]
        self.consignments_changed += any(differ)
        self.items_changed += len(filed.items) if differ[0] else sum(differ[1:])
        before, after = ([sum(parts) for parts in zip(*by_item(result, goods), strict=True)] for result in (then, now))
        worth = next((f"{low}-{high}" for low, high in zip([0, *ends], ends, strict=False)
                      if then.intrinsic <= high * 10 ** minor_units(law[1])), f"over {ends[-1]}")  # fmt: skip
        for at, item in enumerate(filed.items):
            for by, which in (
                ("origin", item.origin),
                ("hs_chapter", item.code[:2]),
                ("value_band", f"{worth} {law[1]}"),
            ):
                counts = self.groups[by, which, law[1]]
                counts[0] += 1
                counts[1] += after[at] < before[at]
                counts[2] += after[at] > before[at]
                counts[3] += before[at]
                counts[4] += after[at]


def owed(result: Result, item: int | None, kinds: Mapping[str, str]) -> dict[tuple[str, str, str], int]:
    """What is owed on an item, or on the whole: by kind, collector and debtor."""
    found: dict[tuple[str, str, str], int] = defaultdict(int)
    for charge in result.charges:
        if charge.item == item and charge.amount:
            found[kinds[charge.charge], charge.collector, charge.debtor] += charge.amount
    return dict(found)


def by_item(result: Result, goods: list[int]) -> list[list[int]]:
    """What each item owes itself, and its share of what is owed on the whole."""
    whole = sum(charge.amount for charge in result.charges if charge.item is None)
    own = [sum(charge.amount for charge in result.charges if charge.item == at) for at in range(len(goods))]
    return [own, shared(whole, goods)]
