"""Which carriers a master document is bound to: the list, the filing, the prefix, in this order and on their days."""

from __future__ import annotations

import numpy as np
import pytest

from libs.columns import Strings
from libs.customs.time import MICROS_PER_DAY
from services.clearance.carriage.binding import (
    Arrival,
    ArrivalVerdict,
    Binding,
    BindingKind,
    Register,
    bound,
    effective,
    keys_of,
)

DOC = "02012345675"
DAY = 20_000
LIST = Binding(BindingKind.DOCUMENT, DOC, "listed")
NAME = Binding(BindingKind.IDENTIFIER, "EORI1", "named")
PREFIX = Binding(BindingKind.PREFIX, "020", "prefixed")
LONGER = Binding(BindingKind.PREFIX, "0201", "longer")


@pytest.mark.parametrize(
    ("bindings", "named", "carriers"),
    [
        ([], "", set()),
        ([], "wings", {"wings"}),
        ([NAME], "EORI1", {"named"}),
        ([NAME], "EORI2", {"EORI2"}),
        # Ids are case sensitive: these are three carriers.
        ([], "Wings", {"Wings"}),
        ([], "WINGS", {"WINGS"}),
        # Registered names are not: they are written in capitals.
        ([NAME], "Eori1", {"named"}),
        ([NAME, PREFIX], "", {"prefixed"}),
        ([NAME, PREFIX], "EORI1", {"named"}),
        ([PREFIX], "wings", {"wings"}),
        ([PREFIX, LONGER], "", {"longer"}),
        ([LIST, NAME, PREFIX], "EORI1", {"listed"}),
        ([LIST, NAME, PREFIX], "wings", {"listed"}),
        ([LIST, Binding(BindingKind.DOCUMENT, DOC, "other")], "", {"listed", "other"}),
        ([Binding(BindingKind.DOCUMENT, "02012345676", "listed"), Binding(BindingKind.PREFIX, "021", "x")], "", set()),
        ([Binding(BindingKind.PREFIX, DOC, "whole")], "", {"whole"}),
        (
            [
                Binding(BindingKind.IDENTIFIER, DOC, "x"),
                Binding(BindingKind.PREFIX, "EO", "x"),
                Binding(BindingKind.DOCUMENT, "020", "x"),
            ],
            "",
            set(),
        ),
    ],
)
def test_the_first_source_that_says_anything_decides(bindings: list[Binding], named: str, carriers: set[str]) -> None:
    register = Register(bindings)
    everybody = {
        "listed",
        "other",
        "named",
        "EORI1",
        "EORI2",
        "prefixed",
        "longer",
        "whole",
        "x",
        "wings",
        "Wings",
        "WINGS",
        "thief",
        "",
    }
    assert {each for each in everybody if register.binds(each, DOC, named, DAY)} == carriers


@pytest.mark.parametrize("kind", list(BindingKind))
@pytest.mark.parametrize(("day", "holds"), [(99, False), (100, True), (101, True), (200, True), (201, False)])
def test_a_binding_holds_from_its_first_day_to_its_last(kind: BindingKind, day: int, *, holds: bool) -> None:
    value = {BindingKind.DOCUMENT: DOC, BindingKind.IDENTIFIER: "EORI1", BindingKind.PREFIX: "020"}[kind]
    register = Register([Binding(kind, value, "wings", 100, 200)])
    named = "EORI1" if kind is BindingKind.IDENTIFIER else ""
    assert register.binds("wings", DOC, named, day) is holds


@pytest.mark.parametrize(
    ("bindings", "names", "verdict"),
    [
        ([], [], ArrivalVerdict.AWAITS_FILINGS),
        ([], [""], ArrivalVerdict.REFUSED),
        ([], ["other"], ArrivalVerdict.REFUSED),
        ([], ["other", "wings"], ArrivalVerdict.BOUND),
        ([], ["wings"], ArrivalVerdict.BOUND),
        ([Binding(BindingKind.PREFIX, "020", "wings")], [], ArrivalVerdict.BOUND),
        ([Binding(BindingKind.PREFIX, "020", "other")], [], ArrivalVerdict.REFUSED),
        ([Binding(BindingKind.PREFIX, "020", "wings")], [""], ArrivalVerdict.BOUND),
        ([Binding(BindingKind.PREFIX, "020", "wings")], ["other"], ArrivalVerdict.REFUSED),
        ([Binding(BindingKind.PREFIX, "020", "wings")], ["other", ""], ArrivalVerdict.BOUND),
        ([Binding(BindingKind.PREFIX, "020", "other")], ["wings"], ArrivalVerdict.BOUND),
        ([Binding(BindingKind.DOCUMENT, DOC, "wings")], [], ArrivalVerdict.BOUND),
        ([Binding(BindingKind.DOCUMENT, DOC, "wings")], ["other"], ArrivalVerdict.BOUND),
        ([Binding(BindingKind.DOCUMENT, DOC, "other")], [], ArrivalVerdict.REFUSED),
        ([Binding(BindingKind.DOCUMENT, DOC, "other")], ["wings"], ArrivalVerdict.REFUSED),
        ([Binding(BindingKind.IDENTIFIER, "E", "wings")], ["E"], ArrivalVerdict.BOUND),
        ([Binding(BindingKind.IDENTIFIER, "E", "other")], ["E"], ArrivalVerdict.REFUSED),
    ],
)
def test_an_arrival_is_judged_by_what_is_known(
    bindings: list[Binding], names: list[str], verdict: ArrivalVerdict
) -> None:
    assert Register(bindings).verdict(DOC, "wings", names, DAY) is verdict


def arrival(carrier: str, day: int = DAY, document: str = DOC) -> Arrival:
    return Arrival(document, carrier, f"F-{carrier}", day, "DEFRA", day * MICROS_PER_DAY)


def test_each_consignment_takes_the_first_arrival_of_a_carrier_that_it_is_bound_to() -> None:
    masters = Strings.of([DOC, DOC, DOC, "160", "", DOC])
    named = Strings.of(["wings", "", "other", "wings", "wings", "nobody"])
    register = Register([Binding(BindingKind.PREFIX, "02", "prefixed", 0, DAY)])
    arrivals = {DOC: [arrival("thief"), arrival("other"), arrival("prefixed"), arrival("wings"), arrival("other", 1)]}
    found = effective(masters, named, Strings.absent(6), arrivals, register)
    columns = found.columns()
    assert columns.carrier.tolist() == ["wings", "prefixed", "other", "", "", ""]
    assert columns.arrived_at.tolist() == [DAY, DAY, DAY, None, None, None]
    assert columns.conveyance_reference.tolist() == ["F-wings", "F-prefixed", "F-other", "", "", ""]
    assert found.unbound == {DOC}
    # The day on which it was recorded counts, and not the one of arrival that the carrier reports.
    late = effective(masters, named, Strings.absent(6), {DOC: [arrival("prefixed", DAY + 1)]}, register)
    assert not late.present.any()
    assert np.array_equal(
        bound(masters, named, Strings.absent(6), register, "wings", DAY), [True, False, False, True, True, False]
    )


BAG = "CNSHAADEFRAAAUN10001001000010"


@pytest.mark.parametrize(
    ("bindings", "named", "binds"),
    [
        ([], "", False),
        ([], "wings", True),
        ([], "other", False),
        ([Binding(BindingKind.PREFIX, "CNSHA", "wings")], "", True),
        ([Binding(BindingKind.PREFIX, "CNSHA", "wings")], "other", False),
        ([Binding(BindingKind.PREFIX, "020", "wings")], "", False),
        ([Binding(BindingKind.DOCUMENT, BAG, "wings")], "other", True),
        ([Binding(BindingKind.DOCUMENT, BAG, "other")], "wings", False),
        # The list of the master document lets nobody else report the receptacle, and gives it to nobody.
        ([Binding(BindingKind.DOCUMENT, DOC, "other")], "wings", False),
        ([Binding(BindingKind.DOCUMENT, DOC, "wings")], "wings", True),
        ([Binding(BindingKind.DOCUMENT, DOC, "wings")], "", False),
        ([Binding(BindingKind.DOCUMENT, DOC, "other"), Binding(BindingKind.PREFIX, "CNSHA", "wings")], "", False),
        ([Binding(BindingKind.DOCUMENT, DOC, "other"), Binding(BindingKind.DOCUMENT, BAG, "wings")], "", True),
        # On the day before, the entry of the master document did not hold.
        ([Binding(BindingKind.DOCUMENT, DOC, "other", DAY + 1)], "wings", True),
    ],
)
def test_a_receptacle_is_bound_as_a_document_within_the_list_of_its_master_document(
    bindings: list[Binding], named: str, binds: bool
) -> None:
    register = Register(bindings)
    assert ("wings" in register.receptacle_carriers(BAG, DOC, named, DAY)) is binds
    found = effective(
        Strings.of([DOC]), Strings.of([named]), Strings.of([BAG]), {BAG: [arrival("wings", document=BAG)]}, register
    )
    assert found.present.tolist() == [binds]
    assert found.unbound == (frozenset() if binds else {BAG})


def test_the_arrival_of_the_master_document_comes_before_that_of_the_receptacle() -> None:
    masters, receptacles = Strings.of([DOC, "160", DOC, "160"]), Strings.of([BAG, BAG, "", ""])
    arrivals = {DOC: [arrival("wings")], BAG: [arrival("thief", document=BAG), arrival("wings", document=BAG)]}
    found = effective(masters, Strings.constant("wings", 4), receptacles, arrivals, Register([]))
    columns = found.columns()
    assert columns.by_receptacle is not None
    assert columns.by_receptacle.values.tolist() == [False, True, False, False]
    assert columns.carrier.tolist() == ["wings", "wings", "wings", ""]
    only_masters = effective(masters, Strings.constant("wings", 4), receptacles, {DOC: arrivals[DOC]}, Register([]))
    assert only_masters.columns().by_receptacle is None


def test_registered_names_are_looked_up_in_capitals() -> None:
    assert (BindingKind.IDENTIFIER, "EORI1") in keys_of([DOC], ["Eori1"])
