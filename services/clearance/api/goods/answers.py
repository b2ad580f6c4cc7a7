"""Answers to requests on goods: named ones with a result each, all under a master document with their counts and the first that were refused."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from libs.server import call
from libs.server.errors import Refusal
from libs.server.requests import check_request_id, page_size_of
from luxor.clearance.v1 import transit_pb2
from luxor.clearance.v1.carriers_pb2 import PresentConsignmentsResponse
from luxor.clearance.v1.clearance_pb2 import OfficerResult
from luxor.clearance.v1.returns_pb2 import BulkReturnResponse
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog
from services.clearance.api.goods.named import NamedGoods
from services.clearance.commands.act import Acted
from services.clearance.commands.bulk.goods import REFUSALS_MAX, GoodsCommand, GoodsProgress
from services.clearance.commands.presentation.present import PRESENTED_BEFORE
from services.clearance.store import Store

_RESULTS: Final = "results"
P = TypeVar("P", bound=GoodsProgress)
R = TypeVar(
    "R",
    PresentConsignmentsResponse,
    BulkReturnResponse,
    transit_pb2.StartTransitResponse,
    transit_pb2.RecordTransitArrivalsResponse,
    transit_pb2.EndTransitResponse,
)


class GoodsAnswers:
    """Carries out commands on goods and answers them."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._goods = NamedGoods(store)
        self._accesses = AccessLog(store)

    async def answer(
        self, request: Any, command: GoodsCommand[P], response: type[R], *, method: str, page_size: int = 0
    ) -> R:
        """Carry out a command on the goods that a request names, once per request, and return its counts and results.

        `method` is a part of what identifies the request's content. Under a master document `page_size` refused consignments are named at most.
        Raises Refusal.
        """
        check_request_id(request.request_id)
        identity, master = call.current().identity, request.master_document_number
        if bool(master) == bool(request.consignments):
            raise Refusal("GOODS_NOT_NAMED", path="master_document_number")
        identified = requests.command_request(request, method)
        if master:
            requests.check_master_document(master)

            def counted(progress: P) -> bytes:
                refused = [_result("master_document_number", Acted(*each)) for each in progress.refusals]
                return _encoded(response, progress, refused)

            limit = page_size_of(page_size, REFUSALS_MAX, requests.PAGE_MAX)
            work = command.under(master, caller=identity, request=identified, encode=counted, refusals_max=limit)
        else:
            requests.check_size(len(request.consignments))
            goods = await self._goods.named(request.consignments, identity)
            known = [each for each in goods if not isinstance(each, ItemError)]

            def encode(progress: P, acted: Sequence[Acted]) -> bytes:
                outcomes = iter(acted)
                results = [
                    OfficerResult(error=each)
                    if isinstance(each, ItemError)
                    else _result(f"consignments[{place}]", next(outcomes))
                    for place, each in enumerate(goods)
                ]
                return _encoded(response, progress, results, len(goods) - len(known))

            work = command.named(known, caller=identity, request=identified, encode=encode)
        answer = response.FromString(await requests.unreused(request.request_id, work))
        seen = [each.mrn for each in answer.results if each.state]
        await self._accesses.record(seen, about=master if answer.consignments else "")
        return answer


def _result(path: str, acted: Acted) -> OfficerResult:
    # A repeated presentation changes nothing and is no error.
    return requests.act_result(path, replace(acted, refusal="") if acted.refusal == PRESENTED_BEFORE else acted)


def _encoded(response: type[R], progress: GoodsProgress, results: Sequence[OfficerResult], unread: int = 0) -> bytes:
    """Return an answer with the counts of a command, which have the same names in its progress; goods that were not found are refused, too."""
    counts: dict[str, Any] = {
        field.name: getattr(progress, field.name) for field in response.DESCRIPTOR.fields if field.name != _RESULTS
    }
    counts["refused"] += unread
    return response(**counts, results=results).SerializeToString()
