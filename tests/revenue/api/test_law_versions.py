"""The life of a version of law over real gRPC and PostgreSQL: proposed, reviewed, confirmed by a second person, in force at its moment."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from libs.store.database import Database
from luxor.revenue.v1 import law_pb2 as pb
from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.store.law.versions import LawStore
from tests.revenue.law_versions import (
    RATES,
    SECONDS,
    confirmed,
    files,
    listed,
    proposal,
    proposed,
    reviewed,
    serving,
    stub,
    value_review,
)
from tests.revenue.service_client import refused
from tests.support.services import Running


@pytest_asyncio.fixture
async def utopia(database_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(database_url, tmp_path, files("1", 10)) as service:
        yield service


async def test_an_empty_store_begins_with_the_installed_law_and_a_changed_directory_becomes_a_draft(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path, files("1", 10)) as house:
        (first,) = (await listed(house)).items()
        assert (first[0][:5], first[1]) == ("XX/1/", "ACTIVE")
    async with serving(database_url, tmp_path, files("2", 20)) as house:
        states = await listed(house)
        assert [(version[:5], state) for version, state in states.items()] == [
            ("XX/2/", "DRAFT"),
            ("XX/1/", "ACTIVE"),
        ]
        newest = next(iter(states))
        found = await (await stub(house)).GetLawVersion(pb.GetLawVersionRequest(version="XX/2"), timeout=SECONDS)
        assert (found.version.version, found.version.proposed_by) == (newest, "service/revenue")
        assert {each.name: each.text for each in found.files} == files("2", 20)
    # The same directory again changes nothing.
    async with serving(database_url, tmp_path, files("2", 20)) as house:
        assert await listed(house) == states


async def test_one_person_proposes_and_reviews_and_another_one_confirms(utopia: Running) -> None:
    version = await proposed(utopia, files("2", 20, "20.00"))
    assert (await listed(utopia))[version] == "DRAFT"
    assert (await refused(confirmed(utopia, version)))[0] == "LAW_STATE_WRONG"
    changed = await reviewed(utopia, version)
    assert (changed.state, changed.reviewed_by) == (pb.LAW_VERSION_STATE_REVIEWED, "analyst/anna")
    for ident, role in (("anna", "analyst"), ("anna", "officer"), ("ANNA", "officer")):
        assert (await refused(confirmed(utopia, version, ident, role)))[0] == "LAW_OWN"
    done = await confirmed(utopia, version)
    assert (done.cases, done.version.activations[0].confirmed_by) == (1, "officer/olga")
    ahead = (
        done.version.activations[0].effective_at.ToMicroseconds()
        - done.version.activations[0].confirmed_at.ToMicroseconds()
    )
    assert ahead == 60_000_000
    assert list((await listed(utopia)).values()) == ["SCHEDULED", "ACTIVE"]
    assert (await refused(confirmed(utopia, version)))[0] == "LAW_STATE_WRONG"


async def test_a_draft_of_the_directory_needs_a_reviewer_and_another_person(database_url: str, tmp_path: Path) -> None:
    async with serving(database_url, tmp_path, files("1", 10)):
        pass
    async with serving(database_url, tmp_path, files("2", 20)) as house:
        version = next(iter(await listed(house)))
        await reviewed(house, version, ident="bert")
        assert (await refused(confirmed(house, version, "bert", "officer")))[0] == "LAW_OWN"
        await confirmed(house, version)
        # The law with which the store began was reviewed by nobody: one person alone does not bring it back.
        first = list(await listed(house))[1]
        assert (await refused(confirmed(house, first)))[0] == "LAW_STATE_WRONG"


async def test_failing_cases_prevent_a_proposal_and_name_what_differs(utopia: Running) -> None:
    reason, details = await refused(proposed(utopia, files("2", 20, "19.00")))
    assert reason == "LAW_CASES_FAILED"
    assert "XX-01: tax is 2000, the source has 1900" in details
    assert len(await listed(utopia)) == 1


async def test_cases_are_run_again_by_the_law_of_the_moment_at_which_the_version_comes_into_force(
    database_url: str, tmp_path: Path
) -> None:
    in_dollars = {
        name: text.replace("currency: EUR, destination", "currency: USD, destination")
        for name, text in files("2", 20, "16.00").items()
    }
    async with serving(database_url, tmp_path, files("1", 10)) as house:
        version = await proposed(house, in_dollars)
        await reviewed(house, version)
    async with serving(database_url, tmp_path, files("1", 10), rates=RATES.replace("1.25", "2.00")) as house:
        results = await (await stub(house)).RunLawCases(pb.RunLawCasesRequest(version=version), timeout=SECONDS)
        assert [(each.id, list(each.differences)) for each in results.cases] == [
            ("XX-01", ["tax is 1000, the source has 1600"])
        ]
        assert (await refused(confirmed(house, version)))[0] == "LAW_CASES_FAILED"
        assert (await listed(house))[version] == "REVIEWED"


async def test_a_text_that_was_altered_in_the_store_is_not_read_as_law(utopia: Running, database: Database) -> None:
    version = await proposed(utopia, files("2", 20))
    async with database.transaction() as tx:
        await tx.raw.execute(
            "update law_text set packed = $1 where digest = (select digests[1] from law_version where version = $2)",
            zlib.compress(files("2", 2)["xx/rulebook.yaml"].encode()),
            version,
        )
    with pytest.raises(LawFileError, match=f"xx/rulebook.yaml: of {version} was altered in the store"):
        await LawStore(database).texts([version])


@pytest.mark.parametrize(
    ("texts", "reason", "what"),
    [
        ({"xx/rulebook.yaml": "format: 1\n"}, "RULEBOOK_REFUSED", "xx/rulebook.yaml"),
        ({"xx/tariff.yaml": "x"}, "LAW_FILES_MALFORMED", "has no rulebook*.yaml"),
        ({}, "LAW_FILES_MALFORMED", "has 0 files"),
        (files("2", 20) | {"yy/rulebook.yaml": "x"}, "LAW_FILES_MALFORMED", "propose each jurisdiction by itself"),
        (files("2", 20) | {"xx/../etc.yaml": "x"}, "LAW_FILES_MALFORMED", "is no law file of a jurisdiction"),
        (files("2", 20) | {"rates/x.yaml": "x"}, "LAW_FILES_MALFORMED", "is no law file of a jurisdiction"),
        (files("2", 20) | {"xx/cases.yaml": "- {id: A}"}, "RULEBOOK_REFUSED", "xx/cases.yaml"),
        (files("1", 10), "LAW_VERSION_KNOWN", "XX/1/"),
    ],
)
async def test_what_is_no_version_of_law_is_not_stored(
    utopia: Running, texts: dict[str, str], reason: str, what: str
) -> None:
    found, details = await refused((await stub(utopia)).ProposeLaw(proposal(texts), timeout=SECONDS))
    assert found == reason
    assert what in details
    assert len(await listed(utopia)) == 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"place": "xx/rulebook.yaml: charges[vat].rates[1]"}, "reviews[0].place"),
        ({"place": "xx/rulebook.yaml: charges[vat]"}, "reviews[0].place"),
        ({"place": "yy/rulebook.yaml: references.act"}, "reviews[0].place"),
        ({"place": "references.act"}, "reviews[0].place"),
        ({"day": "1 August"}, "reviews[0].day"),
        ({"day": "2199-01-01", "expires_on": "2199-01-02"}, "reviews[0].day"),
        ({"day": "1899-12-31"}, "reviews[0].day"),
        ({"expires_on": "2026-07-31"}, "reviews[0].expires_on"),
        ({"expires_on": "2036-08-02"}, "reviews[0].expires_on"),
        ({"passage": " "}, "reviews[0].passage"),
        ({"passage": "x" * 2_001}, "reviews[0].passage"),
        ({"source_sha256": "AB"}, "reviews[0].source_sha256"),
    ],
)
async def test_a_review_that_states_less_than_all_is_refused(
    utopia: Running, change: dict[str, str], path: str
) -> None:
    (version,) = await listed(utopia)
    reason, details = await refused(reviewed(utopia, version, value_review(**change)))
    assert reason in ("LAW_REVIEW_MALFORMED", "TEXT_TOO_LONG", "ELEMENT_TOO_LONG")
    assert path in details
    # On both sides of each bound.
    for good in (
        {"expires_on": "2036-08-01"},
        {"expires_on": "2026-08-01"},
        {"passage": "x" * 2_000},
        {"passage": "x"},
    ):
        await reviewed(utopia, version, value_review(**good))


async def test_a_version_is_found_without_its_digest_where_only_one_begins_so(utopia: Running) -> None:
    await proposed(utopia, files("2", 20))
    anna = await stub(utopia)
    one = await anna.GetLawVersion(pb.GetLawVersionRequest(version="XX/2", file="xx/rulebook.yaml"), timeout=SECONDS)
    assert [each.name for each in one.files] == ["xx/rulebook.yaml"]
    await proposed(utopia, files("2", 21))
    ask = lambda **what: refused(anna.GetLawVersion(pb.GetLawVersionRequest(**what), timeout=SECONDS))  # noqa: E731
    assert (await ask(version="XX/2"))[0] == "LAW_VERSION_AMBIGUOUS"
    assert (await ask(version="XX/3"))[0] == "LAW_VERSION_UNKNOWN"
    assert (await ask(version="XX"))[0] == "LAW_VERSION_UNKNOWN"
    assert (await ask(version=one.version.version, file="xx/tariff.yaml"))[0] == "LAW_FILE_UNKNOWN"


async def test_a_version_is_withdrawn_before_and_cancelled_after_its_confirmation(utopia: Running) -> None:
    olga = await stub(utopia, "olga", "officer")
    draft, other = await proposed(utopia, files("2", 20)), await proposed(utopia, files("3", 30))
    done = await olga.CancelLaw(pb.CancelLawRequest(request_id="w", version=draft), timeout=SECONDS)
    assert (done.version.state, done.version.withdrawn_by) == (pb.LAW_VERSION_STATE_WITHDRAWN, "officer/olga")
    for again in (reviewed(utopia, draft), confirmed(utopia, draft)):
        assert (await refused(again))[0] == "LAW_STATE_WRONG"
    asked = pb.CancelLawRequest(request_id="x", version=draft)
    assert (await refused(olga.CancelLaw(asked, timeout=SECONDS)))[0] == "LAW_STATE_WRONG"
    await reviewed(utopia, other)
    await confirmed(utopia, other)
    # It takes effect in less than 60 seconds: some replica might not hear of the cancellation.
    late = pb.CancelLawRequest(request_id="y", version=other)
    assert (await refused(olga.CancelLaw(late, timeout=SECONDS)))[0] == "LAW_MOMENT_OUT_OF_BOUNDS"
    third = await proposed(utopia, files("4", 40))
    await reviewed(utopia, third)
    far = pb.ConfirmLawRequest(request_id="far", version=third)
    far.effective_at.FromSeconds(
        (await olga.ListLawVersions(pb.ListLawVersionsRequest(), timeout=SECONDS)).versions[0].proposed_at.seconds + 600
    )
    await olga.ConfirmLaw(far, timeout=SECONDS)
    cancelled = await olga.CancelLaw(pb.CancelLawRequest(request_id="z", version=third), timeout=SECONDS)
    assert cancelled.version.activations[0].cancelled_by == "officer/olga"
    assert cancelled.version.state == pb.LAW_VERSION_STATE_REVIEWED
    # What was cancelled can be confirmed again.
    await confirmed(utopia, third)


async def test_repeats_of_a_call_return_its_first_answer(utopia: Running) -> None:
    anna, olga = await stub(utopia), await stub(utopia, "olga", "officer")
    asked = proposal(files("2", 20))
    first = await anna.ProposeLaw(asked, timeout=SECONDS)
    assert await anna.ProposeLaw(asked, timeout=SECONDS) == first
    await reviewed(utopia, first.version.version)
    confirm = pb.ConfirmLawRequest(request_id="once", version=first.version.version)
    done = await olga.ConfirmLaw(confirm, timeout=SECONDS)
    assert await olga.ConfirmLaw(confirm, timeout=SECONDS) == done
    found = await anna.GetLawVersion(pb.GetLawVersionRequest(version="XX/2"), timeout=SECONDS)
    assert len(found.version.activations) == 1


async def test_pages_list_the_newest_version_first(utopia: Running) -> None:
    made = [await proposed(utopia, files(str(number), number)) for number in (2, 3)]
    anna, token, seen = await stub(utopia), "", []
    for _ in range(3):
        page = await anna.ListLawVersions(pb.ListLawVersionsRequest(page_size=1, page_token=token), timeout=SECONDS)
        seen += [each.version for each in page.versions]
        token = page.next_page_token
    assert (seen[:2], token) == (made[::-1], "")
    none = await anna.ListLawVersions(pb.ListLawVersionsRequest(jurisdiction="YY"), timeout=SECONDS)
    assert not none.versions
