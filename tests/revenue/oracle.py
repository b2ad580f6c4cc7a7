"""The law in plain numbers: one consignment at a time, fractions and whole numbers, no columns.

Written from the rulebook's words alone, so that the vectorised evaluator has something to be compared with.
"""

from fractions import Fraction

from services.revenue.law.checks import holds, in_force
from services.revenue.law.program import Program
from services.revenue.law.rulebook import Rulebook, parse_amount, parse_rate
from tests.revenue.oracle_charges import EDGE, LARGEST, Charging, Consignment, Item, Refused, Result, rounded, shared


class Scalar:
    """Assesses one consignment by the rulebooks of a program."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def assess(self, filed: Consignment) -> Result:
        book = next((b.rulebook for b in self.program.books if filed.destination in b.rulebook.areas), None)
        if book is None or not holds(book.period, filed.accepted):
            return Result("NO_RULEBOOK")
        try:
            return _One(self.program, book, filed).run()
        except Refused as reason:
            return Result(str(reason))


class _One(Charging):
    def __init__(self, program: Program, book: Rulebook, filed: Consignment) -> None:
        super().__init__(program, book, filed)
        self.exchange_day = (filed.exported or filed.accepted) if book.exchange.date == "export" else filed.accepted

    def run(self) -> Result:
        filed, book = self.filed, self.book
        if not filed.items or any(i.price is None or not i.currency for i in filed.items):
            raise Refused("UNVALUED")
        if any(not 0 <= (i.price or 0) <= EDGE for i in filed.items):
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        nets = [self.net(item) for item in filed.items]
        for item in filed.items:
            self.rate(item.currency)
        goods = [self.converted(net, item.currency) for net, item in zip(nets, filed.items, strict=True)]
        if sum(goods) > LARGEST:
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        self.parts = {"goods": goods}
        for name, money in (("freight", filed.freight), ("insurance", filed.insurance)):
            if money and not 0 <= money[0] <= EDGE:
                raise Refused("AMOUNT_OUT_OF_BOUNDS")
            amount = self.converted(*money) if money and money[0] else 0
            self.parts[name] = shared(amount, goods)
        base = in_force(book.customs_value, self.day)
        assert base is not None
        self.customs_base = set(base.base)
        customs = sum(sum(self.parts.get(name, [])) for name in self.customs_base)
        if customs > LARGEST:
            raise Refused("AMOUNT_OUT_OF_BOUNDS")
        self.within = {}
        for name, values in book.limits.items():
            limit = in_force(values, self.day)
            if limit is None or limit.amount == "none":
                self.within[name] = [False] * len(goods)
                continue
            most = parse_amount(limit.amount)[0]
            measured = self.base(limit.measure)
            keeps = (lambda v, m=most: v < m) if limit.at_the_limit == "over" else (lambda v, m=most: v <= m)
            whole = keeps(sum(measured))
            self.within[name] = [keeps(v) for v in measured] if limit.test == "item" else [whole] * len(goods)
        self.states = {name: any(self.matches(name, n) for s, n in filed.schemes if s == name) for name in book.schemes}
        charges = []
        for charge in book.charges:
            if holds(charge, self.day) and (not charge.areas or self.area in charge.areas):
                charges += self.charge(charge)
        return Result("NONE", sum(goods), customs, charges)

    def matches(self, scheme: str, number: str) -> bool:
        import re

        return re.fullmatch(self.book.schemes[scheme].number, number) is not None

    def net(self, item: Item) -> int:
        price = item.price or 0
        if not self.filed.includes_tax:
            return price
        if item.tax_charged is not None:
            if not 0 <= item.tax_charged <= price:
                raise Refused("AMOUNT_OUT_OF_BOUNDS")
            return price - item.tax_charged
        ppm = item.tax_rate_ppm
        if ppm is None:
            ppm = 0
            for charge in self.book.charges:
                if charge.kind == "tax" and holds(charge, self.day) and (not charge.areas or self.area in charge.areas):
                    rate = in_force(charge.rates, self.day, self.area)
                    ppm = ppm or (parse_rate(rate.rate).ppm if rate else 0)
        return rounded(Fraction(price * 1_000_000, 1_000_000 + ppm), "half_up", 1)
