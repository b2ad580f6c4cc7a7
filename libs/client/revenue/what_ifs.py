"""What-if runs and drafts of law for an analyst's program, as plain values; libs.client.jobs lists and cancels runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from libs.client.client import Answer, Client
from libs.client.jobs import PlainJob, plain_job
from libs.customs.time import day_text
from luxor.common.v1.common_pb2 import ChargeKind, Collector
from luxor.revenue.v1 import what_if_pb2 as pb
from luxor.revenue.v1.what_if_pb2_grpc import WhatIfServiceStub

BEHAVIOUR: Final = (
    "Behaviour is assumed constant: nobody sells, buys, splits or files differently because of the draft. Aggregates have the values of the "
    "original assessment; bundles (orders, recipients' days, crafts) have their final total; under a limit without stored aggregates each "
    "consignment counts alone. Before and after are assessed amounts, also of consignments that were withdrawn, returned or adjusted later."
)
"""The assumptions that are printed with every result."""
ASSUMED_BEHAVIOUR: Final = (
    "With behaviour is an assumption and no measurement: the quantity of each item follows its price with all charges by the stated elasticity, "
    "linearly and never below zero; of several that apply the first counts, and goods without one are bought as before. In all other figures: "
    + BEHAVIOUR
)
"""The assumptions that are printed with a result with elasticities."""


async def check(
    client: Client,
    files: Mapping[str, str],
    changes: Sequence[tuple[str, str]] = (),
    law_day: str = "",
    of_run: int = 0,
) -> list[dict[str, Any]]:
    """Return the mistakes of a draft: texts by the name of the file ("eu/rulebook.yaml"), values by path; none where it can be applied."""
    request = pb.CheckRulebookRequest(draft=_draft(files, changes, law_day, of_run))
    answer = await _ask(client, "CheckRulebook", request, pb.CheckRulebookResponse)
    return [
        {"file": each.file, "line": each.line, "where": each.element, "sentence": each.message}
        for each in answer.errors
    ]


async def start(
    client: Client,
    from_day: int,
    to_day: int,
    *,
    files: Mapping[str, str],
    changes: Sequence[tuple[str, str]],
    law_day: str = "",
    name: str = "",
    of_run: int = 0,
    against: int = 0,
    elasticities: Sequence[tuple[str, str]] = (),
    request_id: str = "",
) -> PlainJob:
    """Start a run of a draft on the assessments of some days; return its job.

    Days are days since 1970-01-01 UTC, both included. `of_run` is the run from whose draft this one starts, `against` the run whose draft gives the
    amounts before. Elasticities are an origin ("CN"), a chapter ("61") or "" for all goods, each with a number such as "-1.2"; the first that applies
    counts. Raise LuxorError if it is refused.
    """
    request = pb.StartWhatIfRequest(
        request_id=request_id,
        draft=_draft(files, changes, law_day, of_run),
        from_day=day_text(from_day),
        to_day=day_text(to_day),
        name=name,
        against=against,
        elasticities=[
            pb.Elasticity(
                origin=key if key.isalpha() else "", hs_chapter="" if key.isalpha() else key, elasticity=elasticity
            )
            for key, elasticity in elasticities
        ],
    )
    return plain_job((await _ask(client, "StartWhatIf", request, pb.StartWhatIfResponse)).job)


async def get(client: Client, number: int) -> PlainJob:
    """Return a run with its progress and its results so far (`result`, None before its first step)."""
    answer = await _ask(client, "GetWhatIf", pb.GetWhatIfRequest(id=number), pb.GetWhatIfResponse)
    absent = {
        "name": "", "law_day": "", "files": [], "changes": [], "rulebook_versions": [], "of_run": 0, "against": 0,
    }  # fmt: skip
    assumed = [
        {"origin": each.origin, "hs_chapter": each.hs_chapter, "elasticity": each.elasticity}
        for each in answer.what_if.elasticities
    ]
    result = _result(answer.result) if answer.HasField("result") else None
    if result is not None and assumed:
        result["behaviour"] = ASSUMED_BEHAVIOUR
    return {**absent, **plain_job(answer.job, answer.what_if), "elasticities": assumed, "result": result}


async def draft(client: Client, number: int) -> dict[str, Any]:
    """Return the draft of a run: the texts of the law files in which it differs, by name, and its day of law."""
    answer = await _ask(client, "GetDraft", pb.GetDraftRequest(id=number), pb.GetDraftResponse)
    return {"files": {each.name: each.text for each in answer.files}, "law_day": answer.law_day}


def _draft(files: Mapping[str, str], changes: Sequence[tuple[str, str]], law_day: str, of_run: int) -> pb.Draft:
    return pb.Draft(
        files=[pb.LawFile(name=name, text=text) for name, text in files.items()],
        changes=[pb.LawChange(path=path, value=value) for path, value in changes],
        law_day=law_day,
        of_run=of_run,
    )


def _result(message: pb.WhatIfResult) -> dict[str, Any]:
    """A result with its counts also where they are 0, differences, and the sentence on behaviour."""
    counts = {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields if not field.is_repeated}
    return {
        **counts,
        "behaviour": BEHAVIOUR,
        "after_reviewed": [
            {"currency": each.currency, "charged_minor": each.charged_minor, "reviewed_minor": each.reviewed_minor}
            for each in message.after_reviewed
        ],
        "revenue": [
            {
                "jurisdiction": each.jurisdiction,
                "kind": ChargeKind.Name(each.kind).removeprefix("CHARGE_KIND_").lower(),
                "collector": Collector.Name(each.collector).removeprefix("COLLECTOR_").lower(),
                "currency": each.currency,
                "before_minor": each.before_minor,
                "after_minor": each.after_minor,
                "difference_minor": each.after_minor - each.before_minor,
                "unassessed_minor": each.unassessed_minor,
                "after_with_behaviour_minor": each.after_with_behaviour_minor,
            }
            for each in message.revenue
        ],
        "groups": [
            {
                "by": each.by,
                "key": each.key,
                "currency": each.currency,
                "items": each.items,
                "winners": each.winners,
                "losers": each.losers,
                "before_minor": each.before_minor,
                "after_minor": each.after_minor,
                "difference_minor": each.after_minor - each.before_minor,
                "quantity_ppm": each.quantity_ppm,
                "after_with_behaviour_minor": each.after_with_behaviour_minor,
            }
            for each in message.groups
        ],
    }


async def _ask(client: Client, method: str, request: Any, kind: type[Answer]) -> Answer:
    return await client.ask("revenue", WhatIfServiceStub, method, request, kind)
