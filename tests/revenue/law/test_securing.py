"""What secures a debt to customs: accounts of the filing's own filer alone, as far as their limits go; without a database."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from libs.columns import Strings, Table
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.law.assess.securities import EVERYONE, Opened, Room, Securities
from tests.revenue.bundles import ALONE, AREA_OF
from tests.revenue.law.guaranteed_filings import OWED, Filing, answer_to

NOTE = "ACCOUNT_NOT_ALLOWED"


def opened(accounts: Mapping[str, Opened]) -> Securities:
    return Securities(everyone=False, opened=accounts)


def told_of(answer: Table) -> list[tuple[str, bool]]:
    """What secures each consignment, and whether an account was passed over because it is not for its filer."""
    notes, words = answer.ragged("notes"), answer.ragged("notes").values
    assert isinstance(words, Strings)
    each = words.tolist()
    noted = [NOTE in each[notes.span(row)] for row in range(answer.rows)]
    return list(zip(answer.strings("deferred_account").tolist(), noted, strict=True))


FOR_BROKER = Opened(frozenset({"broker"}))
HOUSE = {"deferred:importer": FOR_BROKER, "guarantee:G1": FOR_BROKER, "deferred:stranger": Opened()}
REFUSED, SECURED, NOTHING = ("", True), ("deferred:importer", False), ("", False)


@pytest.mark.parametrize(
    ("filing", "told"),
    [
        (Filing("broker", "importer"), SECURED),
        (Filing("importer", "importer"), SECURED),
        (Filing("importer"), SECURED),
        (Filing("stranger", "importer"), REFUSED),
        (Filing("Broker", "importer"), REFUSED),
        (Filing("", "importer"), REFUSED),
        # Who is nobody's filer does not get its own account for another's debt.
        (Filing("stranger", "other"), NOTHING),
        (Filing("stranger"), ("deferred:stranger", False)),
        (Filing("broker", "other", ["G1"]), ("guarantee:G1", False)),
        (Filing("stranger", "other", ["G1"]), REFUSED),
        (Filing("G1", "other", ["G1"]), REFUSED),
        (Filing("stranger", "stranger", ["G1"]), ("deferred:stranger", True)),
        (Filing("stranger", "importer", ["G1"]), REFUSED),
        # A guarantee that was never opened is told as another's is.
        (Filing("stranger", "other", ["G2"]), REFUSED),
        (Filing("broker", "other", ["G2", "G1"]), ("guarantee:G1", True)),
        (Filing("stranger", "importer", ["G1"], price=9), NOTHING),
    ],
)
def test_a_debt_is_secured_by_an_account_of_the_filer_alone(filing: Filing, told: tuple[str, bool]) -> None:
    answer = answer_to(opened(HOUSE), filing)
    assert told_of(answer) == [told]
    if filing.price == OWED:
        stands = answer.child("charges").strings("account").tolist()
        owner = filing.declarant or filing.filer
        assert stands == ([told[0]] * 2 if told[0] else [f"border:{ALONE}", f"declarant:{owner}"])


def test_who_is_no_longer_a_filer_of_an_account_draws_on_it_no_more() -> None:
    broker = [Filing("broker", "importer"), Filing("broker", "other", ["G1"])]
    assert told_of(answer_to(opened(HOUSE), *broker)) == [SECURED, ("guarantee:G1", False)]
    left = {name: replace(each, filers=frozenset({"broker-2"})) for name, each in HOUSE.items()}
    assert told_of(answer_to(opened(left), *broker)) == [REFUSED, REFUSED]
    assert told_of(answer_to(opened(left), Filing("importer"))) == [SECURED]
    assert told_of(answer_to(EVERYONE, *broker)) == [SECURED, ("deferred:other", False)]


def test_a_stranger_learns_nothing_of_an_accounts_limit_balance_or_state() -> None:
    room = Room("EUR", 10**9)
    states = [
        FOR_BROKER, replace(FOR_BROKER, room=room), replace(FOR_BROKER, room=Room("EUR", 1)),
        replace(FOR_BROKER, usable=False), replace(FOR_BROKER, usable=False, room=Room("EUR", 0)),
    ]  # fmt: skip
    stranger = [Filing("stranger", "importer", ["G1"]), Filing("stranger", "other", ["G1"])]
    answers = {
        answer_to(opened({"deferred:importer": each, "guarantee:G1": each}), *stranger)
        .encode(AssessmentColumns)
        .SerializeToString(deterministic=True)
        for each in states
    }
    assert len(answers) == 1
    # And a guarantee that another has is not told from one that nobody has.
    unknown = answer_to(opened({"deferred:importer": FOR_BROKER}), *stranger)
    assert unknown.encode(AssessmentColumns).SerializeToString(deterministic=True) in answers


def test_a_limit_secures_no_more_than_is_left_of_it_and_in_its_own_currency_alone() -> None:
    one = answer_to(EVERYONE, Filing("a", "a")).child("charges")
    debt, currency = int(one.ints("amount").values.sum()), one.strings("currency")[0]
    assert debt > 1
    for room, rows in (
        (Room(currency, 3 * debt), ["deferred:a"] * 3),
        (Room(currency, 3 * debt - 1), ["deferred:a", "deferred:a", ""]),
        (Room(currency, 2 * debt - 1), ["deferred:a", "", ""]),
        (Room(currency, debt - 1), ["", "", ""]),
        (Room("XAF", 10**9), ["", "", ""]),
        (Room("USD", 10**9), ["", "", ""]),
    ):
        answer = answer_to(opened({"deferred:a": Opened(room=room)}), *[Filing("a", "a")] * 3)
        assert told_of(answer) == [(row, False) for row in rows]
        # Nothing that an account does not secure stands on it.
        stands = [name == "deferred:a" for name in answer.child("charges").strings("account").tolist()]
        assert stands == [bool(row) for row in rows for _ in range(2)]
    # What the first has no room for, a guarantee of the filer may secure.
    who = frozenset({"a"})
    accounts = {
        "deferred:a": Opened(who, room=Room(currency, debt - 1)),
        "guarantee:G1": Opened(who, room=Room(currency, debt)),
    }
    answer = answer_to(opened(accounts), *[Filing("a", "a", ["G1"])] * 2)
    assert told_of(answer) == [("guarantee:G1", False), NOTHING]


def oracle(securities: Securities, filings: Sequence[Filing], debts: Sequence[int]) -> list[tuple[str, bool]]:
    """The same, consignment by consignment."""
    left = {name: each.room.minor for name, each in securities.opened.items() if each.room}
    told = []
    for filing, debt in zip(filings, debts, strict=True):
        owner = filing.declarant or filing.filer
        chosen, refused = "", False
        for name in (f"deferred:{owner}", *(f"guarantee:{each}" for each in filing.guarantees)):
            account = securities.opened.get(name)
            mine = account is not None and (filing.filer in account.filers or name == f"deferred:{filing.filer}")
            refused |= not mine and (account is not None or name.startswith("guarantee:")) and debt > 0
            if chosen or not mine or account is None or not account.usable:
                continue
            if account.room is None or not debt or (account.room.currency == "EUR" and debt <= left[name]):
                chosen = name
                left[name] = left.get(name, 0) - debt
        told.append((chosen if debt else "", refused))
    return told


@pytest.mark.parametrize("seed", range(12))
def test_batches_are_secured_as_each_consignment_alone_in_their_order(seed: int) -> None:
    draw = random.Random(seed)
    parties = [f"p{number}" for number in range(6)]
    names = [f"deferred:{each}" for each in parties[:4]] + [f"guarantee:{each}" for each in "GHI"]
    accounts = {
        name: Opened(
            frozenset(draw.sample(parties, draw.randint(0, 4))),
            draw.random() < 0.85,
            draw.choice((None, Room("EUR", draw.randint(1, 30_000)), Room("EUR", 10**12), Room("USD", 10**12))),
        )
        for name in draw.sample(names, draw.randint(0, len(names)))
    }
    filings = [
        Filing(
            draw.choice(parties),
            draw.choice(["", *parties]),
            draw.sample("GHIJ", draw.choice((0, 0, 1, 2, 3))),
            draw.choice((ALONE, AREA_OF["person_day"])),
            draw.choice((9, 5_000, OWED)),
        )
        for _ in range(60)
    ]
    answer = answer_to(opened(accounts), *filings)
    debts = answer.ints("collected_by_customs").values.tolist()
    assert 0 in debts
    assert told_of(answer) == oracle(opened(accounts), filings, debts)
