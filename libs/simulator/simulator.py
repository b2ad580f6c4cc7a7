"""The simulator: seeded traffic of a scenario, the same for the same seed on every machine and in every batch size."""

import datetime as dt
from collections.abc import Iterator
from itertools import islice

from libs.simulator.build import Builder, SimulatedConsignment
from libs.simulator.catalogue import catalogue
from libs.simulator.draws import BLOCK_ROWS, DayDraws
from libs.simulator.misbehaviour import Misbehaviour
from libs.simulator.scenario import Scenario, load_scenario
from libs.simulator.world import World
from luxor.consignment.v1 import consignment_pb2 as pb

_EPOCH = dt.date(1970, 1, 1)


class Simulator:
    """Traffic of one seed and scenario. Nothing is shared between instances, and no clock is read.

    A day is drawn in blocks of 4,096 consignments, each from a generator of its own, so that memory stays flat, any day
    can be had without those before it, and how many are taken at a time changes nothing.
    """

    def __init__(self, seed: int, scenario: Scenario | str, *, start: dt.date | None = None) -> None:
        """Take a seed (0 and up), a scenario or its name, and another first day than the scenario's where given."""
        self.seed = seed
        self.scenario = load_scenario(scenario) if isinstance(scenario, str) else scenario
        self.start = self.scenario.start if start is None else start
        self._world = World(seed, self.scenario, catalogue())

    def carrier_identifiers(self) -> list[str]:
        """Return how filings name the carriers."""
        return [carrier.party.identifier for carrier in self._world.carriers]

    def filers(self) -> list[str]:
        """Return the ids of all who file, those of the carriers."""
        return [carrier.filer for carrier in self._world.carriers]

    def declarants(self) -> list[str]:
        """Return the identifiers of all declarants: carriers, and platforms that declare as deemed importers."""
        parties = [carrier.party for carrier in self._world.carriers]
        parties += [platform.party for platform in self._world.platforms]
        return sorted({party.identifier for party in parties})

    def manifest(self, count: int) -> Iterator[SimulatedConsignment]:
        """Yield `count` consignments of the first day, in the order of their filing."""
        return self.day(0, volume=count)

    def day(self, day: int, *, volume: int | None = None) -> Iterator[SimulatedConsignment]:
        """Yield the traffic of a day (from 0), all filed on it; as many as the scenario says, or `volume`."""
        if day < 0:
            raise ValueError(f"days count from 0; got {day}")
        rows = self.scenario.daily_volume if volume is None else volume
        if rows < 0:
            raise ValueError(f"a volume is 0 or more; got {rows}")
        return self._day(day, rows)

    def days(self, *, volume: int | None = None) -> Iterator[SimulatedConsignment]:
        """Yield the traffic of all days of the scenario, `volume` a day where given."""
        for day in range(self.scenario.days):
            yield from self.day(day, volume=volume)

    def batches(self, count: int, size: int = 500) -> Iterator[list[pb.Consignment]]:
        """Yield the messages of `manifest(count)` in lists of `size`, the last one shorter: what a load generator files."""
        if size < 1:
            raise ValueError(f"a batch has 1 consignment or more; got {size}")
        messages = (consignment.message for consignment in self.manifest(count))
        while batch := list(islice(messages, size)):
            yield batch

    def _day(self, day: int, volume: int) -> Iterator[SimulatedConsignment]:
        data, world, scenario = catalogue(), self._world, self.scenario
        start_micros = (self.start - _EPOCH).days * 86_400_000_000
        draws = DayDraws(world, scenario, data, day, start_micros)
        sellers = world.sellers(day)
        misbehaviour = Misbehaviour(world, scenario, data, day, volume, sellers)
        builder = Builder(world, scenario, data, self.seed, self.start, volume)
        blocks = -(-volume // BLOCK_ROWS)
        for index in range(blocks):
            first = index * BLOCK_ROWS
            block = draws.block(index, blocks, min(BLOCK_ROWS, volume - first))
            violates, stand_ins, watchlist_parties = misbehaviour.add(block, index)
            yield from builder.build(
                block,
                day=day,
                index=index,
                first_row=first,
                blocks=blocks,
                sellers=sellers + stand_ins,
                violates=violates,
                watchlist_parties=watchlist_parties,
            )
