"""Hits of the screening that come after the decision, and the state that they lead to. Pure."""

from collections.abc import Container
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Ints, Ragged, Strings, Table
from luxor.risk.v1 import risk_pb2
from services.clearance.decision import CUSTOMS_CHECK, only
from services.clearance.lifecycle import State

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_LISTED: Final = risk_pb2.FINDING_KIND_LISTED_PARTY


def with_hits(findings: Ragged, more: Ragged) -> tuple[Ragged, IntArray]:
    """Add to the findings of n consignments the hits that are not among them; gives the findings, and how many of each are new, shape (n,).

    A hit is known by party, list and entry, whatever the version of the list: the same hit told again, by a replay or of a newer list, adds nothing.
    One that advises a higher lane than before is new, and takes the place of the weaker: who released that one has not seen it.
    """
    found, fresh = findings.values, more.values
    assert isinstance(found, Table)
    assert isinstance(fresh, Table)
    keys = _keys(found) + _keys(fresh)
    lanes = [*found.ints("lane").filled(0).tolist(), *fresh.ints("lane").filled(0).tolist()]
    rows = len(findings.lengths)
    order: list[int] = []
    lengths, new = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    for row in range(rows):
        kept = list(range(*findings.span(row).indices(found.rows)))
        at = {keys[place]: number for number, place in enumerate(kept)}
        for place in range(found.rows, found.rows + fresh.rows)[more.span(row)]:
            number = at.get(keys[place])
            if number is None:
                at[keys[place]] = len(kept)
                kept.append(place)
            elif keys[place][0] == "listed" and lanes[place] > lanes[kept[number]]:
                kept[number] = place
            else:
                continue
            new[row] += 1
        order += kept
        lengths[row] = len(kept)
    if not new.any():
        return findings, new
    both = Table.concat([found, fresh])
    return Ragged.of_lengths(lengths, both.take(np.array(order, np.int64))), new


def only_listed(findings: Ragged, rows: BoolArray) -> Ragged:
    """Keep of the findings of some rows the hits of the screening; the others keep none."""
    found = findings.values
    assert isinstance(found, Table)
    owners = findings.owners()
    kept = (found.ints("kind").filled(0) == _LISTED) & rows[owners]
    lengths = np.bincount(owners[kept], minlength=len(rows))
    return Ragged.of_lengths(lengths, found.take(np.flatnonzero(kept)))


def screened(states: Table, findings: Ragged, hits: Table) -> Table:
    """Give states that know new hits (ScreeningColumns, row by row), before these have their effect.

    The lane rises to that of the gravest hit; filers and carriers are told the lane of before, or it told them of the hit. What was released keeps
    its lane, and is to be audited.
    """
    told = hits.ragged("findings")
    asked = np.zeros(states.rows, np.int64)
    np.maximum.at(asked, told.owners(), hits.child("findings").ints("lane").filled(0))
    released = states.ints("state").values == State.RELEASED
    lane, audit, before = states.ints("lane"), states.bools("audit"), states.ints("told_lane")
    raised = Ints.of(np.where(released, lane.values, np.maximum(lane.values, asked)), lane.valid | ~released)
    return states.with_columns(
        {
            "findings": findings,
            "screened_lists": hits.strings("lists"),
            "lane": raised,
            "told_lane": Ints.of(
                np.where(before.valid, before.values, lane.values), before.valid | (raised.values > lane.values)
            ),
            "audit": Bools.of(audit.values | released, audit.valid | released),
        }
    )


def held_by_hits(states: Table, rows: BoolArray) -> Table:
    """Give states that a hit holds in some rows before they are decided: then no decision releases them."""
    held = states.bools("listed_hold").values | rows
    check = Strings.constant(CUSTOMS_CHECK, states.rows)
    return states.with_columns(
        {
            "listed_hold": Bools.of(held, held),
            "listed_early": Bools.of(held, held),
            # Nobody was told another lane yet: it reads as a check that the assessment led to.
            "told_lane": Ints.absent(states.rows),
            "reasons": with_reason(states.ragged("reasons"), check, rows),
        }
    )


def held_unseen(states: Table, seen: Container[str]) -> list[bool]:
    """Tell which states a hit holds that an officer need not have looked at: she names the version of those alone in `seen`, by MRN."""
    holds = states.bools("listed_hold").values.tolist()
    return [held and mrn not in seen for held, mrn in zip(holds, states.strings("mrn").tolist(), strict=True)]


def with_reason(reasons: Ragged, more: Strings, rows: BoolArray) -> Ragged:
    """Add a reason to the lists of some rows, where they do not have it."""
    assert isinstance(reasons.values, Strings)
    flat = reasons.values.tolist()
    lists = []
    for row, reason in enumerate(only(more, rows).tolist()):
        told = flat[reasons.span(row)]
        lists.append([*told, reason] if reason and reason not in told else told)
    return Ragged.of_lengths([len(each) for each in lists], Strings.of([text for each in lists for text in each]))


def _keys(findings: Table) -> list[tuple[str, ...]]:
    """Tell findings apart: hits by party, list and entry; what rules found by rule and item."""
    lists = findings.strings("list").translate(lambda version: version.partition(":")[0]).tolist()
    columns = (findings.strings(name).tolist() for name in ("party", "list_entry", "rule"))
    items = [str(number) for number in findings.ints("item_number").tolist()]
    kinds = (findings.ints("kind").filled(0) == _LISTED).tolist()
    return [
        ("listed", party, name, entry) if listed else ("rule", rule, item)
        for listed, name, (party, entry, rule), item in zip(
            kinds, lists, zip(*columns, strict=True), items, strict=True
        )
    ]
