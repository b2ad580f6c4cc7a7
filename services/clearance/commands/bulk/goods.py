"""Commands on the goods that a request names, in one transaction, or on all under a master document, in chunks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeVar

import msgspec

from libs.columns import Table
from libs.server.identity import Identity
from libs.store.database import Transaction
from services.clearance.commands.act import UNKNOWN, Acted, Commands, ExpectedVersions, Request
from services.clearance.commands.arrivals.transport import Transport
from services.clearance.commands.bulk.chunks import CHUNK_ROWS, ChunkProgress, run_in_chunks
from services.clearance.commands.visibility import Viewer
from services.clearance.consignment.state.transport_numbers import travels_under
from services.clearance.store import Store

REFUSALS_MAX: Final = 100
"""Refused consignments under a master document that an answer names, unless the caller states another number."""


class GoodsProgress(ChunkProgress, frozen=True):
    """What a request did so far; each command adds its own counts."""

    refused: int = 0
    refusals: tuple[tuple[str, int, int, str], ...] = ()
    """The first refused consignments under a master document: MRN, state, version and reason."""


P = TypeVar("P", bound=GoodsProgress)


@dataclass(frozen=True, slots=True)
class SelectedGoods:
    """The consignments of one transaction."""

    expected_versions: ExpectedVersions
    master: str = ""
    """The master document or receptacle by which they were found; "" for goods that are named."""

    def reasons(self, states: Table, unfit: Sequence[str]) -> list[str]:
        """Return why the command is refused for each state: what an amendment moved to another document is unknown under the former one."""
        if not self.master:
            return list(unfit)
        there = travels_under(states, {self.master}).tolist()
        return [reason if under else UNKNOWN for reason, under in zip(unfit, there, strict=True)]


class GoodsCommand(ABC, Generic[P]):
    """Carries out one command; a subclass has its step and its counts."""

    first: P
    """The progress before any consignment."""
    idle: ClassVar[frozenset[str]] = frozenset()
    """The refusals of goods for which nothing was left to do: they do not count as refused."""

    def __init__(self, store: Store, *, chunk_rows: int = CHUNK_ROWS) -> None:
        """Work in a store, under a master document in transactions of at most `chunk_rows` consignments."""
        self._store = store
        self._chunk_rows = chunk_rows
        self._commands = Commands(store)

    @abstractmethod
    async def carry_out(self, tx: Transaction, goods: SelectedGoods, caller: Identity, trace: str) -> dict[str, Acted]:
        """Take the step of consignments; return the result of each that the caller reaches."""

    async def reached(self, tx: Transaction, viewer: Viewer, mrns: Sequence[str]) -> Collection[str]:
        """Return which consignments under a master document the caller reaches: those that it sees."""
        return await viewer.visible(tx, mrns)

    @abstractmethod
    def counts(self, results: Sequence[Acted]) -> Mapping[str, int]:
        """Return the command's own counts of some results by their names in its progress; none of the consignments is unknown."""

    async def named(
        self,
        goods: ExpectedVersions,
        *,
        caller: Identity,
        request: Request,
        encode: Callable[[P, Sequence[Acted]], bytes],
    ) -> bytes:
        """Take the step of named consignments in one transaction, once per request.

        Return what `encode` made of the counts and of the result of each consignment, in their order. Raises RequestReused.
        """

        async def answer(tx: Transaction) -> bytes:
            acted = await self.carry_out(tx, SelectedGoods(goods), caller, request.trace)
            results = [acted.get(mrn) or Acted(mrn, 0, 0, UNKNOWN) for mrn, _ in goods]
            return encode(self._counted(self.first, results, 0), results)

        return await self._commands.once([mrn for mrn, _ in goods], request, answer)

    async def under(
        self,
        master: str,
        *,
        caller: Identity,
        request: Request,
        encode: Callable[[P], bytes],
        refusals_max: int = REFUSALS_MAX,
    ) -> bytes:
        """Take the step of all consignments under a master document that the caller reaches, of a filer its own alone, once per request.

        Return what `encode` made of the counts. Raises RequestReused.
        """
        # A filer that means its own goods must not end those that are entrusted to it: it names them one by one.
        viewer = Viewer(self._store, caller, own_alone=True)

        async def chunk(tx: Transaction, documents: Mapping[str, str], progress: P) -> P:
            # Consignments of others are not even locked.
            visible = set(await self.reached(tx, viewer, list(documents)))
            goods = SelectedGoods([(mrn, None) for mrn in documents if mrn in visible], master)
            acted = await self.carry_out(tx, goods, caller, request.trace)
            return self._counted(progress, [each for each in acted.values() if each.state], refusals_max)

        return await run_in_chunks(
            self._store,
            Transport((master,)),
            chunk,
            first=self.first,
            request=request,
            encode=encode,
            chunk_rows=self._chunk_rows,
            filer=viewer.filer,
        )

    def _counted(self, progress: P, results: Sequence[Acted], refusals_max: int) -> P:
        """Return the progress with these results counted."""
        known = [each for each in results if each.refusal != UNKNOWN]
        refused = [each for each in results if each.refusal and each.refusal not in self.idle]
        counts = {"consignments": len(known), "refused": len(refused), **self.counts(known)}
        listed = refused[: max(0, refusals_max - len(progress.refusals))]
        return msgspec.structs.replace(
            progress,
            **{name: getattr(progress, name) + count for name, count in counts.items()},
            refusals=(*progress.refusals, *((each.mrn, each.state, each.version, each.refusal) for each in listed)),
        )
