"""Write docs/lifecycle.md from the table of transitions. `--check` only reports whether it is current."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from services.clearance.consignment.lifecycle.table import (
    EFFECTS,
    REFUSAL_NOTICES,
    TABLE,
    Condition,
    Effect,
    Transition,
    refusal_without_row,
)
from services.clearance.consignment.lifecycle.texts import EVENTS, LOADING, WAITING, Waiting
from services.clearance.consignment.transitions import FINAL, Event, State
from tools.picture_lifecycle import columns

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "lifecycle.md"
COMMAND: Final = "python -m tools.lifecycle_table"
_HEAD: Final = f"""# The states of a consignment

This page is written from `services/clearance/consignment/lifecycle/` by `{COMMAND}`; `make check` compares them.
[The life of a consignment after its decision](clearance.md) explains what the table does not show.

![The states of a consignment and the events between them](pictures/lifecycle.svg)

## Who acts in each state

A consignment is in one state at a time. `luxor clearance check` replays all stored consignments with the table below.

"""
_LOADING: Final = """
## Before loading

A filing also has a stage of the assessment before loading ([how](preloading.md)), which follows from its referrals. A referral is a control: its
state is DOCUMENTS_REQUESTED, or EXAMINATION while a scan or an examination is open too, and its events are those of controls. Goods with an open
referral or a do-not-load are not released if they arrive.
"""
_TABLE: Final = """
## The table

The rows of an event are read from the top: the first row with the state and all conditions counts. "no change" stands for the same state. A hold
by the debt also ends in every state but HELD. The notice is the one that the filer receives; the carrier receives it of goods that arrived, unless
it is about charges, debts or amendments. "hidden" stands for a version that filers and carriers do not read. A debt event without new content is
hidden as well.
"""

Key = tuple[object, ...]
_C = Condition


def page() -> str:
    """Return the whole page."""
    lines = [_HEAD.rstrip(), "", *_states(), _LOADING.rstrip(), "", *_stages(), _TABLE.rstrip()]
    for event in Event:
        lines += ["", f"### {_sentence(EVENTS[event])} ({event.name})", ""]
        lines += _event(event)
    return "\n".join(lines) + "\n"


def _states() -> list[str]:
    lines = ["| state | who acts | work list | timer |", "| --- | --- | --- | --- |"]
    for state in columns():
        if state in FINAL:
            continue
        lines.append(_waiting(state.name, WAITING[state]))
    final = _words([state.name for state in columns() if state in FINAL])
    return [*lines, "", f"Final: {final}."]


def _stages() -> list[str]:
    lines = ["| stage | who acts | work list | timer |", "| --- | --- | --- | --- |"]
    return lines + [_waiting(stage.name, waiting) for stage, waiting in LOADING.items()]


def _waiting(name: str, waiting: Waiting) -> str:
    lists = ", ".join(f"`{each}`" for each in waiting.work_lists)
    timers = ", ".join(EVENTS[event] for event in waiting.timers)
    return f"| {name} | {waiting.actor} | {lists} | {timers} |"


def _event(event: Event) -> list[str]:
    lines = ["| state | if | then | effects | notice |", "| --- | --- | --- | --- | --- |"]
    rows = [row for row in TABLE if row.event == event]
    for states, row in _merged(rows):
        conditions = "; ".join(condition.value for condition in row.when)
        lines.append(_row(states, conditions, _result(row), "; ".join(_effects(row.effects)), _notice(row)))
    rest: dict[str, list[State]] = {}
    always = {row.state for row in rows if not row.when} | _in_each_case(rows)
    for state in (State.ACCEPTED, *columns()):
        if state not in always and state not in rest.get(refusal_without_row(event, state), []):
            rest.setdefault(refusal_without_row(event, state), []).append(state)
    refused = REFUSAL_NOTICES.get(event)
    for reason, states in rest.items():
        lines.append(_row(states, "otherwise", f"refused: `{reason}`", "", refused.name if refused else ""))
    return lines


def _in_each_case(rows: Sequence[Transition]) -> set[State]:
    """Return the states in which either of two opposite conditions leads to a row."""
    opposite = ((_C.ARRIVED, _C.NOT_ARRIVED), (_C.PRESENTED, _C.NOT_PRESENTED))
    pairs = [[{row.state for row in rows if row.when == (each,)} for each in pair] for pair in opposite]
    return set().union(*(first & second for first, second in pairs))


def _merged(rows: Sequence[Transition]) -> Iterable[tuple[list[State], Transition]]:
    """Yield the rows of an event; rows that differ only by the state are one, as far as the order of the rows of each state allows."""
    queues: dict[State, list[Transition]] = {}
    for row in rows:
        queues.setdefault(row.state, []).append(row)
    while queues:
        heads: dict[Key, list[State]] = {}
        for state, queue in queues.items():
            heads.setdefault(_key(queue[0]), []).append(state)
        # A row that others have further down waits for them.
        later = {_key(row) for queue in queues.values() for row in queue[1:]}
        key = next((each for each in heads if each not in later), next(iter(heads)))
        states = heads[key]
        yield states, queues[states[0]][0]
        for state in states:
            queues[state].pop(0)
            if not queues[state]:
                del queues[state]


def _key(row: Transition) -> Key:
    return row.when, None if row.next == row.state else row.next, row.effects, row.refusal, row.notice


def _result(row: Transition) -> str:
    if row.refusal:
        return f"refused: `{row.refusal}`"
    return "no change" if row.next == row.state else row.next.name


def _effects(effects: Effect) -> list[str]:
    return [sentence for effect, sentence in EFFECTS.items() if effects & effect]


def _notice(row: Transition) -> str:
    if row.notice is None:
        return "" if row.refusal else "hidden"
    return row.notice.name


def _row(states: Sequence[State], *cells: str) -> str:
    final = {state for state in columns() if state in FINAL}
    names = [state.name for state in states if state not in FINAL or not final <= set(states)]
    names += ["every final state"] if final <= set(states) else []
    return f"| {' | '.join([', '.join(names), *cells])} |".replace("|  |", "| |").replace("|  |", "| |")


def _words(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def main() -> int:
    """Write the page, or report with --check whether it is current."""
    made = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text("utf-8") == made:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is not what the table of transitions says; run: {COMMAND}", file=sys.stderr)
        return 1
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
