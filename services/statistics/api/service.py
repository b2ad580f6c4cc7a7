"""The gRPC service of statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc.aio
import sqlalchemy as sa

from libs.customs.time import day_text
from libs.feed.consume.restart import RestartUnderWay
from libs.server.errors import Refusal
from libs.server.requests import day_of_text, recalled
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT, DIRECTION_IMPORT, DIRECTION_UNSPECIFIED
from luxor.statistics.v1 import statistics_pb2 as pb
from luxor.statistics.v1.statistics_pb2_grpc import StatisticsServiceServicer
from services.statistics.commands.recount import Recount
from services.statistics.counting.cells import BOUNDS_MICROS, EXPORT_MARK
from services.statistics.store.cells import COUNT_CELL, INSPECTION_CELL, REVENUE_CELL, TIME_CELL, Store

DAYS_MAX = 3_660
ROWS_MAX = 10_000
ROWS_DEFAULT = 1_000
VALUES_MAX = 500

_COLUMNS = {
    pb.DIMENSION_DAY: "day",
    pb.DIMENSION_ORIGIN: "origin",
    pb.DIMENSION_HS_CHAPTER: "chapter",
    pb.DIMENSION_LANE: "lane",
    pb.DIMENSION_DESTINATION: "destination",
    pb.DIMENSION_STATE: "state",
    pb.DIMENSION_CHARGE_KIND: "kind",
    pb.DIMENSION_COLLECTOR: "collector",
    pb.DIMENSION_CURRENCY: "currency",
    pb.DIMENSION_SELECTION_CAUSE: "cause",
}


class StatisticsService(StatisticsServiceServicer):
    """Answers from the daily cells."""

    def __init__(self, store: Store, recount: Recount) -> None:
        """Answer from a store; `recount` clears what can be counted again."""
        self._store = store
        self._recount = recount

    async def RecountStatistics(
        self, request: pb.RecountStatisticsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecountStatisticsResponse:
        """Delete the figures of the days that clearance still stores, and count them again from clearance's snapshot."""
        before = await recalled(self._store.database, pb.RecountStatisticsResponse, request)
        if before is not None:
            return before
        try:
            return await self._recount.request(request, _recounted)
        except RestartUnderWay:
            raise Refusal("RECOUNT_UNDER_WAY") from None

    async def QueryStatistics(
        self, request: pb.QueryStatisticsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.QueryStatisticsResponse:
        """Return the sums of cells by the requested dimensions."""
        period = first, last = day_of_text(request.from_day, "from_day"), day_of_text(request.to_day, "to_day")
        if not 0 <= last - first <= DAYS_MAX:
            raise Refusal("PERIOD_MALFORMED", path="to_day", value=request.to_day, days_max=DAYS_MAX)
        rows_max = request.max_rows or ROWS_DEFAULT
        if not 1 <= rows_max <= ROWS_MAX:
            raise Refusal("ROWS_MALFORMED", path="max_rows", value=request.max_rows, rows_max=ROWS_MAX)
        group_by = _columns([(dimension, f"group_by[{place}]") for place, dimension in enumerate(request.group_by)])
        named = [(each.dimension, f"filters[{place}].dimension") for place, each in enumerate(request.filters)]
        filters = dict(
            zip(_columns(named), (_values(each, place) for place, each in enumerate(request.filters)), strict=True)
        )
        exports = _is_export(request)
        if exports and "destination" in filters:
            filters["destination"] = [EXPORT_MARK + value for value in filters["destination"]]
        response = pb.QueryStatisticsResponse(incomplete=await self._store.is_incomplete())

        async def ask(
            table: sa.Table, always: tuple[str, ...], add: Callable[[list[str], Sequence[Any]], None]
        ) -> None:
            """Fill one table of the response, unless it lacks a dimension of the filters."""
            if any(name not in table.c for name in filters):
                return
            known = [name for name in group_by if name in table.c]
            extra = [name for name in always if name not in known]
            rows = await self._store.query(table, [*known, *extra], filters, period, rows_max, exports=exports)
            if len(rows) > rows_max:
                raise Refusal("TOO_MANY_ROWS", rows_max=rows_max)
            for row in rows:
                found = dict(zip(known, row, strict=False))
                add([_key(name, found[name]) if name in found else "" for name in group_by], row)

        def add_count(keys: list[str], row: Any) -> None:
            added = response.counts.add(
                keys=keys,
                consignments=row.consignments,
                items=row.items,
                currency=row.currency,
                items_returned=row.items_returned,
            )
            for name in ("value_minor", "net_mass_mg", "paid_minor", "refunded_minor"):
                _set_sum(added, name, getattr(row, name))

        def add_revenue(keys: list[str], row: Any) -> None:
            added = response.revenue.add(keys=keys, charges=row.charges, currency=row.currency)
            _set_sum(added, "amount_minor", row.amount_minor)

        micros: list[int] = []

        def add_time(keys: list[str], row: Any) -> None:
            last = response.times[-1] if response.times else None
            if last is None or list(last.keys) != keys or last.interval != row.stretch:
                last = response.times.add(keys=keys, interval=row.stretch, bounds_micros=BOUNDS_MICROS)
                last.buckets.extend([0] * (len(BOUNDS_MICROS) + 1))
                micros.append(0)
            micros[-1] += int(row.sum_micros)
            last.count += row.consignments
            last.clamped += row.clamped
            last.buckets[row.bucket] += row.consignments

        def add_inspections(keys: list[str], row: Any) -> None:
            response.inspections.add(
                keys=keys,
                inspected=row.inspected,
                violations=row.found,
                items_inspected=row.items_inspected,
                item_violations=row.items_found,
            )

        await ask(COUNT_CELL, ("currency",), add_count)
        await ask(REVENUE_CELL, ("currency",), add_revenue)
        await ask(TIME_CELL, ("stretch", "bucket"), add_time)
        for each, total in zip(response.times, micros, strict=True):
            _set_sum(each, "sum_micros", total)
        await ask(INSPECTION_CELL, (), add_inspections)
        return response


def _set_sum(row: pb.CountRow | pb.RevenueRow | pb.TimeRow, name: str, total: int) -> None:
    """Set a sum of an answer's row; one of more than 64 bits is the largest or smallest number, and `exceeding` names it."""
    bounded = max(-(2**63), min(int(total), 2**63 - 1))
    setattr(row, name, bounded)
    if bounded != total and name not in row.exceeding:
        row.exceeding.append(name)


def _recounted(days: Sequence[int]) -> pb.RecountStatisticsResponse:
    answer = pb.RecountStatisticsResponse(days=len(days))
    if days:
        answer.from_day, answer.to_day = day_text(days[0]), day_text(days[-1])
    return answer


def _columns(dimensions: Sequence[tuple[int, str]]) -> list[str]:
    found: list[str] = []
    for dimension, path in dimensions:
        name = _COLUMNS.get(dimension)  # type: ignore[call-overload]  # an open enum: any number may come
        if name is None or name in found:
            raise Refusal("GROUPING_MALFORMED", path=path, value=dimension)
        found.append(name)
    return found


def _values(filter_: pb.Filter, place: int) -> list[Any]:
    path = f"filters[{place}].values"
    if not 1 <= len(filter_.values) <= VALUES_MAX:
        raise Refusal("FILTER_MALFORMED", path=path, value=len(filter_.values), values_max=VALUES_MAX)
    if filter_.dimension != pb.DIMENSION_DAY:
        return list(filter_.values)
    return [day_of_text(value, f"{path}[{number}]") for number, value in enumerate(filter_.values)]


def _is_export(request: pb.QueryStatisticsRequest) -> bool:
    """Return whether the figures of exports are asked for. Raises Refusal."""
    if request.direction not in (DIRECTION_UNSPECIFIED, DIRECTION_IMPORT, DIRECTION_EXPORT):
        raise Refusal("CHOICE_UNKNOWN", path="direction", value=request.direction)
    return request.direction == DIRECTION_EXPORT


def _key(name: str, value: Any) -> str:
    return (
        day_text(value)
        if name == "day"
        else str(value).removeprefix(EXPORT_MARK)
        if name == "destination"
        else str(value)
    )
