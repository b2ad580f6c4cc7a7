"""View of a consignment's status: state, reasons, charges and law; and of what a bulk release did with many."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from libs.cli.views.clearance.contradictions import contradiction_lines
from libs.cli.views.clearance.proposals import second_person
from libs.cli.views.clearance.scans import scan_words
from libs.cli.views.law_review import at_least, not_covered_text, review_text
from libs.cli.views.revenue_notes import note_texts
from libs.cli.views.text import (
    LANES,
    STATES,
    coloured,
    counted,
    duration,
    kilograms,
    minute,
    money,
    safe,
    short,
    stacked,
    table,
    when,
    words,
)
from libs.customs.time import parse_instant

SHOWN_MAX: int = 20
"""Held consignments that are shown one by one; --json has all of the answer."""
_LOADING = {
    "REFERRED": "referred before loading: an answer is awaited",
    "DO_NOT_LOAD": "do not load",
    "COMPLETE": "assessment complete: the goods may be loaded",
    "INCOMPLETE": "not assessed: the filing lacks an element of the minimum set",
    "UNJUDGED": "not complete: risk could not judge all of its rules by the filing",
    "DEPARTED": "not assessed: the goods had departed when the filing was accepted",
}
"""What each stage of the assessment before loading means."""
_BULK_NUMBERS = {
    "released": "released now",
    "awaiting_arrival": "released when they arrive",
    "released_before": "released before",
    "waiting_before": "decided for release before, and waiting",
    "final_before": "final before",
}
_SUMMARY_NUMBERS = {"released": "released", "awaiting_arrival": "decided for release, and waiting", "final": "final"}


def render(each: dict[str, Any]) -> RenderableType:
    """Draw one consignment, as `plain` gives it."""
    decision, findings = each.get("decision", {}), each.get("findings", {})
    state, lane = short(each.get("state", ""), "STATE_"), short(decision.get("lane", ""), "LANE_")
    parts: list[RenderableType] = [_facts(each), _goods(each)]
    if findings.get("risk"):
        parts += [Text("Findings", style="bold"), _findings(each)]
    parts += _charges(each)
    if each.get("controls"):
        parts += [Text("Controls", style="bold"), _controls(each)]
    if each.get("history"):
        parts += [Text("History", style="bold"), _history(each)]
    title = f"[bold]{each.get('mrn', '')}[/]  {coloured(state, STATES)}  ·  lane {coloured(lane, LANES)}  ·  version {each.get('version', '–')}"
    return Panel(Group(*parts), title=title, title_align="left", border_style="dim", padding=(1, 2))


def render_many(consignments: Sequence[dict[str, Any]]) -> Table:
    """Draw many consignments, a line each."""
    shown = table("MRN", "house document", "to", "state", "lane", "payable", "reasons", right=(5,))
    for each in consignments:
        debt, decision, filing = each.get("debt", {}), each.get("decision", {}), each.get("filing", {})
        shown.add_row(
            each.get("mrn", ""), safe(filing.get("house_document", {}).get("number", "")), filing.get("destination_country", ""),
            coloured(short(each.get("state", ""), "STATE_"), STATES), coloured(short(decision.get("lane", ""), "LANE_"), LANES),
            at_least(debt) + money(debt.get("payable_minor"), debt.get("currency", "")), "\n".join(decision.get("reasons", ())),
        )  # fmt: skip
    return shown


def _facts(each: dict[str, Any]) -> RenderableType:
    decision, filing, movement = each.get("decision", {}), each.get("filing", {}), each.get("movement", {})
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")

    def row(name: str, *values: str) -> None:
        text = "  ".join(value for value in values if value)
        if text:
            grid.add_row(name, text)

    decided_by = decision.get("decided_by", "")
    waiting = sum(not control.get("concluded_at") for control in each.get("controls", ()))
    row(
        "why",
        ", ".join(decision.get("reasons", ())) or ("" if waiting else "no reason to hold"),
        counted(waiting, "open control") if waiting else "",
        _decider(decided_by),
    )
    row("loading", _LOADING.get(short(each.get("pre_loading", ""), "PRE_LOADING_"), ""))
    row("check code", each.get("check_code", ""))
    row("release", *_release(each.get("release", {})))
    row("stages", "\n".join(_incomplete(each.get("incomplete_stages", ()))))
    missing = [words(short(role, "PARTY_ROLE_")) for role in each.get("missing_roles", ())]
    row("missing parts", ", ".join(missing))
    row("contradictions", "\n".join(contradiction_lines(each)))
    row("audit", "to be audited after its release" if decision.get("audit") else "")
    row("note", safe(each.get("note", "")))
    row(
        "filed by",
        safe(filing.get("filer", "")),
        f"as {safe(filing['local_reference'])}" if filing.get("local_reference") else "",
    )
    row("travels under", safe(_document(filing, "house_document")), _under(each))
    row("split", *_split(filing))
    nature = short(filing.get("nature", ""), "NATURE_")
    mass = filing.get("gross_mass_mg")
    exported = filing.get("direction") == "DIRECTION_EXPORT"
    row(
        "goods", "export" if exported else "", f"{filing.get('dispatch_country', '?')} → {filing.get('destination_country', '?')}",
        words(nature) if nature != "–" else "", kilograms(mass) if mass is not None else "", safe(filing.get("platform", "")),
    )  # fmt: skip
    row(
        "accepted",
        when(filing.get("accepted_at", "")),
        "[yellow]after its deadline[/]" if filing.get("late") else "",
        _later("decided", filing.get("accepted_at"), decision.get("decided_at")),
    )
    row(
        "arrived",
        when(movement.get("arrived_at", "")),
        _later("released", movement.get("arrived_at"), movement.get("released_at")),
    )
    row("left", when(movement.get("exited_at", "")) if exported and movement.get("exited_at") else "")
    row("presentation", *_presentation(movement))
    row("storage", *_storage(movement))
    row("transit", *_transit(each.get("transit", {})))
    score = decision.get("risk_score")
    rules = safe(decision.get("rule_set_version", ""))
    row("risk", f"score {score}" if score is not None else "", f"[dim]{rules}[/]" if rules else "")
    _selection(each, row)
    _since(each, row)
    return grid


_CATEGORIES = {
    "DOCUMENTS": "category 1, correspondence and documents",
    "LOW_VALUE": "category 2, low value without duty and tax",
    "SIMPLIFIED": "category 3, low value with a simplified declaration",
    "FULL": "category 4, full declaration",
}
_UNKNOWN_CATEGORIES = {
    "NO_LAW": "category not known: the data of the jurisdiction do not state it",
    "NOT_VALUED": "category not known: the value could not be computed",
    "CURRENCY": "category not known: the value is in another currency than the threshold",
}


_FILING_STAGES = {
    "PRE_LOADING": "the assessment before loading",
    "PRE_ARRIVAL": "the entry summary declaration",
    "SIMPLIFIED": "a simplified declaration",
    "FULL": "a full declaration",
}


def _release(release: dict[str, Any]) -> tuple[str, ...]:
    """Return in words the category of immediate release, its data and what the filing lacks."""
    category = _CATEGORIES.get(short(release.get("category", ""), "RELEASE_CATEGORY_"), "")
    unknown = _UNKNOWN_CATEGORIES.get(short(release.get("unknown_because", ""), "RELEASE_CATEGORY_UNKNOWN_"), "")
    lacks = ", ".join(release.get("missing_elements", ()))
    version = safe(release.get("law_version", ""))
    return category or unknown, f"[yellow]without {lacks}[/]" if lacks else "", f"[dim]{version}[/]" if version else ""


def _incomplete(stages: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return in words for which stages a filing made before the declaration is not complete, with what it lacks."""
    return tuple(
        f"not complete for {_FILING_STAGES.get(short(each.get('stage', ''), 'FILING_STAGE_'), 'a later stage')}: "
        f"[yellow]without {', '.join(each.get('missing_elements', ()))}[/]"
        for each in stages
    )


def _storage(movement: dict[str, Any]) -> tuple[str, ...]:
    """Return in words until when the goods may lie in temporary storage; nothing where they do not."""
    if short(movement.get("storage_limit", ""), "STORAGE_LIMIT_") == "UNKNOWN":
        return ("temporary storage; its time limit is not known",)
    if not movement.get("storage_ends_at"):
        return ("",)
    state = "[yellow]ended: an officer decides[/]" if movement.get("storage_ended_at") else ""
    return f"temporary storage ends {when(movement['storage_ends_at'])}", state


def _presentation(movement: dict[str, Any]) -> tuple[str, ...]:
    """Return in words when the goods were presented or are to be, and a missed deadline; nothing where their arrival is the presentation."""
    due, presented = movement.get("presentation_due_at", ""), movement.get("presented_at", "")
    missed = "[yellow]overdue[/]" if movement.get("presentation_overdue_at") else ""
    if not presented:
        return (f"to be presented by {when(due)}", missed) if due else ("",)
    return f"presented {when(presented)}", f"[yellow]after the deadline {when(due)}[/]" if missed else ""


def _transit(transit: dict[str, Any]) -> tuple[str, ...]:
    """Return in words where the last movement to another office leads, and how it ended; nothing without one."""
    if not transit:
        return ("",)
    office = safe(transit.get("departure_office", ""))
    names = (f"from {office}" if office else "", *_named(transit))
    to, outcome = safe(transit.get("destination_office", "")), short(transit.get("outcome", ""), "TRANSIT_OUTCOME_")
    if not transit.get("ended_at"):
        state = "[yellow]overdue[/]" if transit.get("overdue_at") else ""
        return f"in transit to {to} until {when(transit.get('due_at', ''))}", state, *names
    if outcome in ("ENDED", "LOST"):
        lost = "[yellow]goods lost[/]" if outcome == "LOST" else ""
        return f"movement to {to} ended by an officer {when(transit['ended_at'])}", lost, *names
    difference = words(short(transit.get("difference", ""), "TRANSIT_DIFFERENCE_")) if transit.get("difference") else ""
    return (
        f"arrived at {to} {when(transit['ended_at'])}",
        f"[yellow]difference: {difference}[/]" if difference else "",
        *names,
    )


def _named(transit: dict[str, Any]) -> tuple[str, ...]:
    """Return what an office compares with the goods that arrive: seal, document and guarantee, as far as the caller reads them."""
    names = {"seal": "seal", "document_number": "document", "guarantee_reference": "guarantee"}
    return tuple(f"{name} {safe(transit[field])}" for field, name in names.items() if transit.get(field))


def _decider(decided_by: str) -> str:
    """Return in words who decided: no one, the system, or an officer by id."""
    if decided_by == "automatic":
        return "[dim]decided automatically[/]"
    return f"[dim]decided by {safe(decided_by)}[/]" if decided_by else ""


def _since(each: dict[str, Any], row: Callable[..., None]) -> None:
    """Add rows for adjustments, returns, re-exports and goods that are sent back after the decision."""
    debt, movement = each.get("debt", {}), each.get("movement", {})
    if debt.get("adjusted_at"):
        row("adjusted", when(debt["adjusted_at"]), f"by {safe(debt['adjusted_by'])}" if debt.get("adjusted_by") else "")
    if movement.get("returned_at"):
        returned = [str(item.get("number", "")) for item in each.get("items", ()) if item.get("returned")]
        whole = len(returned) == len(each.get("items", ()))
        row(
            "returned", when(movement["returned_at"]), words(short(movement.get("return_reason", ""), "RETURN_REASON_")),
            f"under {safe(movement['return_document_number'])}" if movement.get("return_document_number") else "",
            "" if whole else f"items {', '.join(returned)}",
        )  # fmt: skip
    elif movement.get("return_document_number"):
        # The filer of an invalidated declaration names the document under which the goods go back.
        event = "sent back" if each.get("state") == "STATE_INVALIDATED" else "re-exported"
        row(event, f"under {safe(movement['return_document_number'])}")


def _selection(each: dict[str, Any], row: Callable[..., None]) -> None:
    """Add rows for selection, waits and inspections; only the status for officers has them."""
    decision, findings = each.get("decision", {}), each.get("findings", {})
    cause = short(decision.get("selection_cause", ""), "SELECTION_CAUSE_")
    chance, model_score = decision.get("chance_ppm"), decision.get("model_score_ppm")
    row(
        "selected",
        f"by {words(cause)}" if cause != "–" else "",
        decision.get("selection_reason", ""),
        f"probability {chance / 10_000:g} %" if chance is not None else "",
        f"at {safe(decision['office'])}" if decision.get("office") else "",
    )
    row(
        "model",
        f"{model_score / 10_000:g} %" if model_score is not None else "",
        f"[dim]{safe(decision['model_version'])}[/]" if decision.get("model_version") else "",
    )
    row(
        "waits",
        f"not released before {when(decision['release_not_before'])}" if decision.get("release_not_before") else "",
    )
    claim = each.get("claim", {})
    row("claimed", f"by {safe(claim['officer'])}" if claim else "", safe(claim.get("note", "")))
    row("second person", *second_person(each))
    row("cases", ", ".join(map(str, each.get("cases", ()))))
    row("re-routed", f"to blue at {when(decision['reroute_at'])}" if decision.get("reroute_at") else "")
    row(
        "screening",
        f"held by a match on {safe(decision.get('screened_lists', ''))}" if decision.get("screening_hold") else "",
    )
    if findings.get("inspected_at"):
        violations = [
            f"item {item.get('number')}: {words(short(item['violation'], 'VIOLATION_'))}"
            for item in each.get("items", ())
            if item.get("violation")
        ]
        method = words(short(findings.get("inspection_method", ""), "INSPECTION_METHOD_"))
        result = words(short(findings.get("inspection_result", ""), "INSPECTION_RESULT_"))
        by = f"by {safe(findings['inspected_by'])}" if findings.get("inspected_by") else ""
        row("inspected", when(findings["inspected_at"]), by, f"{method}: {result}", ", ".join(violations))


def _later(event: str, since: str | None, at: str | None) -> str:
    """Return the time of an event, as the duration since the previous step."""
    if not at:
        return ""
    if not since:
        return f"{event} {when(at)}"
    return f"{event} {duration(max(0, parse_instant(at) - parse_instant(since)))} later"


def _document(each: dict[str, Any], name: str) -> str:
    return str(each.get(name, {}).get("number", ""))


def _under(each: dict[str, Any]) -> str:
    filing, movement = each.get("filing", {}), each.get("movement", {})
    master = _document(filing, "master_document")
    flight = movement.get("conveyance_reference", "")
    place = movement.get("place", "")
    text = f"in {safe(master)}" if master else ""
    receptacles = filing.get("receptacles", [])
    if receptacles:
        others = f" and {len(receptacles) - 1} other{'s' if len(receptacles) > 2 else ''}"
        text += f"{', ' if text else 'in '}receptacle {safe(receptacles[0])}{others if len(receptacles) > 1 else ''}"
    return " ".join(filter(None, [text, f"on {safe(flight)}" if flight else "", f"at {safe(place)}" if place else ""]))


def _split(filing: dict[str, Any]) -> tuple[str, ...]:
    """Return whether the goods are a share of a split shipment, and which share was filed before."""
    if not filing.get("split"):
        return ()
    before = filing.get("previous_part_mrn", "")
    return "a share of its house document", f"after {safe(before)}" if before else ""


def _goods(each: dict[str, Any]) -> RenderableType:
    shown = table("item", "code", "origin", "quantity", "net mass", "price", "customs value", right=(0, 3, 4, 5, 6))
    currency = each.get("debt", {}).get("currency", "")
    for item in each.get("items", ()):
        quantity = item.get("quantity_milli")
        price = item.get("price", {})
        shown.add_row(
            str(item.get("number", "")), item.get("commodity_code", ""), item.get("origin_country", ""),
            f"{quantity / 1000:g}" if quantity is not None else "–",
            kilograms(item["net_mass_mg"]) if "net_mass_mg" in item else "–",
            money(price.get("minor", 0), price.get("currency", "")) if price else "–",
            money(item.get("customs_value_minor"), currency),
        )  # fmt: skip
    return shown


def _findings(each: dict[str, Any]) -> RenderableType:
    shown = table("finding", "item", "lane", "points", "rule", right=(1, 3))
    for finding in each.get("findings", {}).get("risk", ()):
        version = finding.get("rule_version")
        texts = [f"[bold]{finding.get('reason', '')}[/]", safe(finding.get("sentence", ""))]
        if finding.get("list"):
            texts.append(
                f"[dim]{finding.get('party', '')}: {safe(finding['list'])} {safe(finding.get('list_entry', ''))}[/]"
            )
        shown.add_row(
            "\n".join(texts),
            str(finding.get("item_number", "all")), coloured(short(finding.get("lane", ""), "LANE_"), LANES),
            str(finding.get("points", "")), safe(f"{finding.get('rule', '')} v{version}" if version else finding.get("rule", "")),
        )  # fmt: skip
    return shown


def _charges(each: dict[str, Any]) -> list[RenderableType]:
    debt, decision = each.get("debt", {}), each.get("decision", {})
    currency = debt.get("currency", "")
    if not debt:
        # Carriers and partner agencies do not read what is owed.
        return []
    if not currency:
        documents = each.get("release", {}).get("category") == "RELEASE_CATEGORY_DOCUMENTS"
        if documents and debt.get("status") == "DEBT_STATUS_NONE":
            return [Text("Documents without a value (release category 1): nothing is owed.", style="dim")]
        return [Text("The amount owed is unknown: no rulebook covers it.", style="dim")]
    parts: list[RenderableType] = []
    if debt.get("charges"):
        shown = table("charge", "item", "calculation", "amount", "collected by", right=(1, 3))
        for charge in debt["charges"]:
            law = f"[dim]{safe(charge.get('reference', ''))}[/]"
            shown.add_row(
                words(short(charge.get("kind", ""), "CHARGE_KIND_")), str(charge.get("item_number", "all")),
                f"{safe(charge.get('sentence', ''))} {law}", money(charge.get("amount_minor"), currency),
                words(short(charge.get("collector", ""), "COLLECTOR_")),
            )  # fmt: skip
        parts += [Text("Charges", style="bold"), shown]
    status = words(short(debt.get("status", ""), "DEBT_STATUS_"))
    account = safe(debt.get("account", ""))
    sums = [
        f"value {money(debt.get('customs_value_minor'), currency)}", f"duty {money(debt.get('duty_minor'), currency)}",
        f"tax {money(debt.get('tax_minor'), currency)}",
    ]  # fmt: skip
    if debt.get("fee_minor"):
        sums.append(f"fees {money(debt['fee_minor'], currency)}")
    if debt.get("vendor_collected_minor"):
        sums.append(f"collected by the vendor {money(debt['vendor_collected_minor'], currency)}")
    sums.append(f"[bold]payable {at_least(debt)}{money(debt.get('payable_minor'), currency)}[/]")
    amounts = [name for name in ("paid", "refunded") if debt.get(f"{name}_minor")]
    sums += [f"{name} {money(debt[f'{name}_minor'], currency)}" for name in amounts]
    stands = (
        f"{f', {account}' if account else ''}{', the only reason of the hold' if decision.get('debt_hold') else ''}"
    )
    parts.append(Text.from_markup("  ·  ".join(sums)))
    if why := not_covered_text(debt):
        parts.append(Text.from_markup(f"[yellow]at least:[/] {safe(why)}"))
    if notes := note_texts(debt.get("notes", ())):
        parts.append(Text.from_markup(f"[yellow]notes:[/] {safe('; '.join(notes))}"))
    charged = sum(debt.get(f"{kind}_minor", 0) for kind in ("duty", "tax", "fee"))
    parts.append(Text(review_text(charged, debt.get("reviewed_minor"), currency), style="dim"))
    parts.append(Text.from_markup(f"[dim]debt: {status}{stands}  ·  law {safe(debt.get('rulebook_version', ''))}[/]"))
    return parts


def _history(each: dict[str, Any]) -> RenderableType:
    shown = table("version", "when", "what", "state", "reasons", right=(0,))
    for entry in each["history"]:
        shown.add_row(
            str(entry.get("version", "")), when(entry.get("changed_at", "")),
            words(short(entry.get("change", ""), "CHANGE_")),
            coloured(short(entry.get("state", ""), "STATE_"), STATES), ", ".join(entry.get("reasons", ())),
        )  # fmt: skip
    return shown


def render_bulk_release(answer: dict[str, Any], *, summary: bool = False) -> RenderableType:
    """Draw the answer to a bulk release, or the summary of a master document, as `plain` gives it."""
    shown = table("consignments", "", right=(0,))
    if not answer.get("consignments"):
        return "[dim]No consignment is known of this transport.[/]"
    for name, text in (_SUMMARY_NUMBERS if summary else _BULK_NUMBERS).items():
        if answer.get(name):
            shown.add_row(str(answer[name]), text)
    for each in answer.get("hold_counts", ()):
        shown.add_row(
            str(each.get("consignments", 0)), f"[yellow]{'held' if summary else 'stay held'}:[/] {_cause(each)}"
        )
    if answer.get("incomplete"):
        shown.add_row("", "[yellow]and more that were not counted[/]")
    held = answer.get("held_consignments", ())
    if not held:
        return shown
    listed = table("MRN", "stays held for")
    for each in held[:SHOWN_MAX]:
        listed.add_row(each.get("mrn", ""), _cause(each))
    return Group(shown, listed)


def _cause(each: dict[str, Any]) -> str:
    return words(short(each.get("cause", ""), "HOLD_CAUSE_"))


def open_controls(controls: Sequence[dict[str, Any]]) -> Table:
    """Draw open controls, a line each."""
    shown = table("MRN, house document", "no.", "control", "authority", "reason", "due", "stage", "office", right=(1,))
    for each in controls:
        control = each.get("control", {})
        shown.add_row(
            stacked(each.get("mrn", ""), safe(each.get("house_document_number", ""))), *_control(control),
            minute(control.get("due_at", "")) or "–", _stage(control), safe(each.get("office", "")),
        )  # fmt: skip
    return shown


def _controls(each: dict[str, Any]) -> RenderableType:
    """Draw the controls of one consignment."""
    shown = table("no.", "control", "authority", "reason", "due", "stage", "request and answer", right=(0,))
    for control in each.get("controls", ()):
        texts = [
            control.get("pointer", ""), control.get("text", ""), control.get("answer", ""), ", ".join(control.get("documents", ())),
            f"answered by {control['answered_by']}" if control.get("answered_by") else "", _screening(control), control.get("note", ""),
            *scan_words(control.get("scan", {}), each.get("items", ())),
        ]  # fmt: skip
        shown.add_row(
            *_control(control),
            when(control.get("due_at", "")) or "–",
            _stage(control),
            safe("\n".join(filter(None, texts))),
        )
    return shown


def _screening(control: dict[str, Any]) -> str:
    result = short(control.get("screening_result", ""), "SCREENING_RESULT_")
    return "" if result == "–" else f"screening: {words(result)}"


def _control(control: dict[str, Any]) -> tuple[str, str, str, str]:
    form = words(short(control.get("form", ""), "CONTROL_FORM_"))
    return (
        str(control.get("number", "")),
        form,
        safe(control.get("authority", "") or "customs"),
        "\n".join(filter(None, (control.get("reason", ""), control.get("confidential_reason", "")))),
    )


def _stage(control: dict[str, Any]) -> str:
    """Return how far a control is, in words."""
    if control.get("concluded_at"):
        result = short(control.get("result", ""), "CONTROL_RESULT_")
        return "concluded" if result == "–" else words(result)
    if control.get("answered_at"):
        return "answered"
    return "overdue" if control.get("overdue_at") else "reminded" if control.get("reminded_at") else "open"
