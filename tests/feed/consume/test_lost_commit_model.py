"""Every state that two consumers of one partition can reach, in a model of the protocol by which pages take effect.

The model is written from the protocol, not from the code: leases with fencing tokens, transactions with row locks at the level "read
committed", and a network that loses answers. Two consumers take leases, pull pages, apply them and commit; leases end at any moment, processes
crash or stand still at any step, and connections break with a COMMIT under way, which the server then carries out at any later moment. An
event has taken effect as often as committed transactions applied it.

Three rules can be switched off, to show that the model finds what each of them prevents:

- `position`: a cursor moves only from where the page began, not by the token alone;
- `cursor_first`: the cursor moves, and is locked, before the handler reads;
- `dedupe`: the handler leaves out what the committed rows say was applied. It reads them without a lock, as a join on rows that may not exist
  does. The first reading of a snapshot needs it whatever the feed does, since a snapshot is read again from its beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

EVENTS = 2
"""Events of the partition; both are announced when the model begins, and a page holds one or both."""
CRASHES = 1
CUTS = 2
LEASES = 2
"""How often, over a whole run, a process crashes, a connection breaks, and a lease is taken."""


@dataclass(frozen=True)
class Rules:
    """Which guards the protocol has."""

    position: bool = True
    cursor_first: bool = True
    dedupe: bool = False
    snapshot: bool = False
    """Whether the partition begins with a snapshot of two pages, during which the cursor stays in place."""


@dataclass(frozen=True)
class Page:
    """What a consumer applies in one transaction: events `begin` to `end`, then the cursor stands at `to`."""

    begin: int
    end: int
    at: tuple[bool, int]
    """The cursor from which it was asked for: whether the partition is ready, and its position."""
    to: tuple[bool, int]
    token: int


@dataclass(frozen=True)
class Work:
    """A transaction on the server."""

    owner: int
    """The consumer at the other end of the connection; -1 once the connection is broken."""
    page: Page
    locked: bool = False
    effects: frozenset[int] | None = None
    """The events that it applied; None before its handler has read."""
    committing: bool = False


@dataclass(frozen=True)
class Consumer:
    """What a process knows: nothing of it survives a crash."""

    token: int = 0
    """The token of its lease; 0 for none."""
    cursor: tuple[bool, int] = (True, 0)
    page: Page | None = None
    waiting: bool = False
    """Whether a transaction of its own is open."""


@dataclass(frozen=True)
class Model:
    """The store and both processes."""

    cursor: tuple[bool, int]
    token: int = 0
    leased: bool = False
    effects: tuple[int, ...] = (0,) * EVENTS
    works: frozenset[Work] = frozenset()
    consumers: tuple[Consumer, ...] = (Consumer(), Consumer())
    crashes: int = 0
    cuts: int = 0
    leases: int = 0

    def seen(self, which: int, **change: object) -> Model:
        """Return the model with another consumer in the place of one."""
        consumers = list(self.consumers)
        consumers[which] = replace(consumers[which], **change)  # type: ignore[arg-type]
        return replace(self, consumers=tuple(consumers))

    def without(self, work: Work, *then: Work) -> Model:
        """Return the model with other transactions in the place of one."""
        return replace(self, works=(self.works - {work}) | set(then))


Step = tuple[str, Model]


def steps(model: Model, rules: Rules) -> Iterator[Step]:
    """Yield everything that may happen next."""
    locked = any(work.locked for work in model.works)
    if model.leased:
        yield "the lease ends", replace(model, leased=False)
    for which, consumer in enumerate(model.consumers):
        name = f"consumer {which + 1}"
        if not model.leased and not locked and model.leases < LEASES + model.crashes:
            took = replace(model, leased=True, token=model.token + 1, leases=model.leases + 1)
            fresh = Consumer(token=took.token, cursor=model.cursor)
            if not consumer.waiting:
                yield f"{name} takes the lease", took.seen(which, **vars_of(fresh))
        if consumer.token and consumer.page is None:
            for page in pages(consumer, rules):
                yield f"{name} pulls {page.begin}..{page.end}", model.seen(which, page=page)
        if consumer.page is not None and not consumer.waiting:
            preparation = replace(model, works=model.works | {Work(which, consumer.page)})
            yield f"{name} begins", preparation.seen(which, waiting=True)
        if consumer.token and model.crashes < CRASHES:
            crashed = replace(broken(model, which), crashes=model.crashes + 1)
            yield f"{name} crashes", crashed.seen(which, **vars_of(Consumer()))
    for work in model.works:
        yield from steps_of(model, work, rules, locked)


def pages(consumer: Consumer, rules: Rules) -> Iterator[Page]:
    """Yield what a pull may answer: any number of the next events, or the next part of a snapshot."""
    ready, position = consumer.cursor
    if not ready:
        # A snapshot begins from its beginning whenever it is asked for; its pages leave the cursor in place, its end moves it.
        yield Page(0, 1, consumer.cursor, consumer.cursor, consumer.token)
        yield Page(0, EVENTS, consumer.cursor, (True, EVENTS), consumer.token)
        return
    for end in range(position + 1, EVENTS + 1):
        yield Page(position, end, consumer.cursor, (True, end), consumer.token)


def steps_of(model: Model, work: Work, rules: Rules, locked: bool) -> Iterator[Step]:
    """Yield what may happen next to a transaction: its own statements in their order, or the end of its connection."""
    who = f"consumer {work.owner + 1}" if work.owner >= 0 else "the server, for nobody"
    move_is_next = not work.locked and (rules.cursor_first or work.effects is not None)
    if work.committing:
        yield from committed(model, work, who)
        if work.owner >= 0 and model.cuts < CUTS:
            cut = replace(model.without(work, replace(work, owner=-1)), cuts=model.cuts + 1)
            yield f"{who} loses the answer to COMMIT", reloaded(cut, work.owner)
        return
    if move_is_next:
        if not locked:
            fits = model.token == work.page.token and (not rules.position or model.cursor == work.page.at)
            if fits:
                yield f"{who} moves the cursor", model.without(work, replace(work, locked=True))
            else:
                yield f"{who} finds the cursor moved", reloaded(model.without(work), work.owner)
        return
    if work.effects is None:
        events = frozenset(range(work.page.begin, work.page.end))
        if rules.dedupe:
            events = frozenset(event for event in events if not model.effects[event])
        yield f"{who} applies {sorted(events)}", model.without(work, replace(work, effects=events))
        return
    yield f"{who} sends COMMIT", model.without(work, replace(work, committing=True))


def committed(model: Model, work: Work, who: str) -> Iterator[Step]:
    """Carry a COMMIT out, and let its answer arrive where somebody waits for it."""
    assert work.effects is not None
    effects = tuple(count + (event in work.effects) for event, count in enumerate(model.effects))
    done = replace(model.without(work), effects=effects, cursor=work.page.to)
    if work.owner >= 0:
        done = done.seen(work.owner, cursor=work.page.to, page=None, waiting=False)
    yield f"{who} has committed", done


def broken(model: Model, which: int) -> Model:
    """Break the connections of a process: what has not sent its COMMIT is rolled back, what has is carried out."""
    works = frozenset(
        replace(work, owner=-1) if work.owner == which else work
        for work in model.works
        if work.owner != which or work.committing
    )
    return replace(model, works=works)


def reloaded(model: Model, which: int) -> Model:
    """Let a process read its cursors again after a failure; its page is dropped, and so is a lease that another took."""
    mine = model.token == model.consumers[which].token
    token = model.token if mine else 0
    return model.seen(which, token=token, cursor=model.cursor, page=None, waiting=False)


def vars_of(consumer: Consumer) -> dict[str, object]:
    """Return the fields of a consumer, to set all of them."""
    return {name: getattr(consumer, name) for name in ("token", "cursor", "page", "waiting")}


def explore(rules: Rules) -> tuple[int, list[str] | None]:
    """Return how many states can be reached, and the shortest way to one in which an event took effect twice."""
    start = Model(cursor=(not rules.snapshot, 0))
    before: dict[Model, tuple[Model, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        model = waiting.popleft()
        if max(model.effects) > 1:
            return len(before), path_to(model, before)
        for name, following in steps(model, rules):
            if following not in before:
                before[following] = (model, name)
                waiting.append(following)
    stuck = [model for model in before if not finishes(model, rules)]
    assert not stuck, f"an event is lost for good: {path_to(stuck[0], before)}"
    return len(before), None


def finishes(model: Model, rules: Rules) -> bool:
    """Tell whether every event has taken effect, wherever the cursor has passed it and no transaction is open."""
    ready, position = model.cursor
    return bool(model.works) or not ready or all(model.effects[:position])


def path_to(model: Model, before: dict[Model, tuple[Model, str] | None]) -> list[str]:
    """Return the steps that led to a state."""
    names: list[str] = []
    at = before[model]
    while at is not None:
        names.append(at[1])
        at = before[at[0]]
    return names[::-1]


def test_without_the_position_the_holder_itself_applies_its_page_twice() -> None:
    _, path = explore(Rules(position=False))
    assert path is not None
    assert "consumer 1 loses the answer to COMMIT" in path
    assert "consumer 2 takes the lease" not in path, "one consumer is enough"


def test_with_the_position_no_event_takes_effect_twice_or_never_in_the_whole_state_space() -> None:
    states, path = explore(Rules())
    assert path is None
    assert states > 1_000


def test_a_handler_that_reads_before_the_cursor_is_locked_counts_a_page_of_a_snapshot_twice() -> None:
    _, path = explore(Rules(cursor_first=False, dedupe=True, snapshot=True))
    assert path is not None
    assert "consumer 1 loses the answer to COMMIT" in path


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_handler_that_reads_behind_the_lock_counts_snapshots_and_pages_once(snapshot: bool) -> None:
    states, path = explore(Rules(dedupe=True, snapshot=snapshot))
    assert path is None
    assert states > 1_000
