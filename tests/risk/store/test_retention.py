"""How long rule sets and models are kept, and how many: never shorter than the answers that name them, and never for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.jobs.running import JobRefused, Running
from libs.jobs.store import Jobs
from libs.store.database import Database
from luxor.risk.v1.models_pb2 import StartTrainingRequest
from services.risk.commands.change_model import write_file
from services.risk.commands.housekeeping import purge_models, purge_rule_sets
from services.risk.jobs import training
from services.risk.store.assessment_log import ASSESSMENT_DAYS
from services.risk.store.job_kinds import JobKind
from services.risk.store.models import (
    CODES,
    MODELS_MAX,
    UNUSED_DAYS,
    WITHDRAWN_DAYS,
    InvalidModelState,
    ModelState,
    ModelStore,
    ModelUnknown,
    SecondPersonNeeded,
    TooManyModels,
)
from services.risk.store.rule_sets import DRAFTS_MAX, RuleSetStore, TooManyDrafts

ANNA, OTHER_ANNA, OLGA = "analyst/anna", "officer/anna", "officer/olga"


@pytest_asyncio.fixture
async def store(database: Database) -> AsyncIterator[Database]:
    yield database


async def put_model(models: ModelStore, version: str, by: str = ANNA) -> None:
    await write_file(models, version, version.encode())
    async with models.database.transaction() as tx:
        await models.add(tx, version, b"", "", by)


async def age(database: Database, table: str, version: str, days: float) -> None:
    """Have all that is told of one have happened so many days earlier."""
    times = ["proposed_at", "activated_at", "retired_at", *(["challenged_at"] if table != "rule_set" else [])]
    async with database.transaction() as tx:
        await tx.raw.execute(
            f"update {table} set {', '.join(f'{name} = {name} - make_interval(secs => $2)' for name in times)} "
            "where version = $1",
            version,
            days * 86_400,
        )


async def versions(database: Database, table: str) -> set[str]:
    async with database.connection() as reader:
        rows = await reader.raw.fetch(f"select version from {table}")  # a name of our own
    return {row["version"] for row in rows}


async def test_models_go_when_no_answer_names_them_any_more(store: Database) -> None:
    models = ModelStore(store)
    ages = {
        "untried": UNUSED_DAYS + 1, "tried lately": UNUSED_DAYS - 1, "withdrawn": WITHDRAWN_DAYS + 1,
        "withdrawn lately": WITHDRAWN_DAYS - 1, "old champion": ASSESSMENT_DAYS + 2, "champion lately": ASSESSMENT_DAYS,
        "old challenger": ASSESSMENT_DAYS + 2, "challenger lately": ASSESSMENT_DAYS,
        "champion": 3 * ASSESSMENT_DAYS, "challenger": 3 * ASSESSMENT_DAYS,
    }  # fmt: skip
    for version in ages:
        await put_model(models, version)
    async with store.transaction() as tx:
        for version in ("withdrawn", "withdrawn lately"):
            await models.retire(tx, version, ANNA)
        for version in ("old challenger", "challenger lately"):
            await models.challenge(tx, version, ANNA)
        for version in ("old champion", "champion lately", "champion"):
            await models.challenge(tx, version, ANNA)
            await models.activate(tx, version, OLGA)
        await models.challenge(tx, "challenger", ANNA)
    for version, days in ages.items():
        await age(store, "model", version, days)
    await purge_models(ASSESSMENT_DAYS)(store)
    left = set(ages) - {"untried", "withdrawn", "old champion", "old challenger"}
    assert await versions(store, "model") == left
    assert await models.active_versions() == {ModelState.CHAMPION: "champion", ModelState.CHALLENGER: "challenger"}
    # Their files follow once nobody can be about to name them.
    assert await versions(store, "model_file") == set(ages)
    async with store.transaction() as tx:
        await tx.raw.execute("update model_file set written_at = written_at - interval '2 days'")
    await purge_models(ASSESSMENT_DAYS)(store)
    assert await versions(store, "model_file") == left
    with pytest.raises(ModelUnknown):
        await models.content("untried")


async def test_models_of_codes_are_activated_without_a_challenger_and_go_by_the_same_days(store: Database) -> None:
    scoring, models = ModelStore(store), ModelStore(store, CODES, challenged=False)
    ages = {
        "codes:untried": UNUSED_DAYS + 1, "codes:tried lately": UNUSED_DAYS - 1, "codes:old champion": ASSESSMENT_DAYS + 2,
        "codes:champion lately": ASSESSMENT_DAYS, "codes:champion": 3 * ASSESSMENT_DAYS,
    }  # fmt: skip
    for version in ages:
        await put_model(models, version)
    await put_model(scoring, "scoring")
    async with store.transaction() as tx:
        with pytest.raises(InvalidModelState):
            await models.challenge(tx, "codes:untried", ANNA)
        with pytest.raises(SecondPersonNeeded):
            await models.activate(tx, "codes:champion", ANNA)
        for version in ("codes:old champion", "codes:champion lately", "codes:champion"):
            await models.activate(tx, version, OLGA)
        with pytest.raises(InvalidModelState):
            await models.activate(tx, "codes:champion", OLGA)
        with pytest.raises(ModelUnknown):
            await scoring.activate(tx, "codes:champion", OLGA)
    for version, days in ages.items():
        await age(store, CODES, version, days)
    await purge_models(ASSESSMENT_DAYS)(store)
    left = set(ages) - {"codes:untried", "codes:old champion"}
    assert await versions(store, CODES) == left
    assert await models.active_versions() == {ModelState.CHAMPION: "codes:champion"}
    assert await scoring.active_versions() == {}
    async with store.transaction() as tx:
        await tx.raw.execute("update code_model_file set written_at = written_at - interval '2 days'")
    await purge_models(ASSESSMENT_DAYS)(store)
    assert await versions(store, "code_model_file") == left
    assert await versions(store, "model_file") == {"scoring"}
    assert await models.content("codes:champion") == b"codes:champion"


async def test_a_former_challenger_is_kept_from_when_another_took_its_place(store: Database) -> None:
    models = ModelStore(store)
    await put_model(models, "first")
    await put_model(models, "second")
    async with store.transaction() as tx:
        await models.challenge(tx, "first", ANNA)
    await age(store, "model", "first", 2 * ASSESSMENT_DAYS)
    async with store.transaction() as tx:
        await models.challenge(tx, "second", ANNA)
    await purge_models(ASSESSMENT_DAYS)(store)
    assert await versions(store, "model") == {"first", "second"}


async def test_rule_sets_go_when_no_answer_names_them_any_more(store: Database) -> None:
    sets = RuleSetStore(store)
    ages = {
        "draft": UNUSED_DAYS + 1, "draft lately": UNUSED_DAYS - 1, "withdrawn": WITHDRAWN_DAYS + 1,
        "withdrawn lately": WITHDRAWN_DAYS - 1, "old": ASSESSMENT_DAYS + 2, "lately": ASSESSMENT_DAYS,
        "in force": 3 * ASSESSMENT_DAYS,
    }  # fmt: skip
    async with store.transaction() as tx:
        for version in ages:
            await sets.add(tx, version, b"", b"", "", ANNA)
        for version in ("withdrawn", "withdrawn lately"):
            await sets.retire(tx, version, ANNA)
        for version in ("old", "lately", "in force"):
            await sets.activate(tx, version, OLGA)
    for version, days in ages.items():
        await age(store, "rule_set", version, days)
    await purge_rule_sets(ASSESSMENT_DAYS)(store)
    assert await versions(store, "rule_set") == set(ages) - {"draft", "withdrawn", "old"}
    assert await sets.active_version() == "in force"


async def test_one_person_has_so_many_drafts_and_no_more_in_whatever_role(store: Database) -> None:
    sets = RuleSetStore(store)
    async with store.transaction() as tx:
        for number in range(DRAFTS_MAX):
            await sets.add(tx, f"v{number}", b"", b"", "", (ANNA, OTHER_ANNA)[number % 2])
        with pytest.raises(TooManyDrafts):
            await sets.add(tx, "more", b"", b"", "", ANNA)
        await sets.add(tx, "of another", b"", b"", "", OLGA)
        await sets.retire(tx, "v0", ANNA)
        await sets.add(tx, "more", b"", b"", "", ANNA)


async def test_a_file_is_written_before_models_are_locked_and_is_seen_with_its_model_alone(store: Database) -> None:
    models = ModelStore(store)
    async with store.transaction() as tx:
        # Whoever changes models holds this; writing a file waits for nobody.
        await tx.raw.execute("lock table model in share row exclusive mode")
        await write_file(models, "one", b"content")
    assert await versions(store, "model") == set()
    async with store.transaction() as tx:
        await models.add(tx, "one", b"", "", ANNA)
    assert await models.content("one") == b"content"


async def test_there_is_room_for_so_many_models_those_that_are_coming_counted(store: Database) -> None:
    models = ModelStore(store)
    async with store.transaction() as tx:
        await tx.raw.execute(
            "insert into model_file select 'v' || each, 'x' from generate_series(1, $1::integer) each", MODELS_MAX - 1
        )
        await tx.raw.execute(
            "insert into model (version, state, summary, note, proposed_by) select version, 1, '', '', $1 from model_file",
            ANNA,
        )
        await models.check_room(tx)
        with pytest.raises(TooManyModels):
            await models.check_room(tx, 1)
    await put_model(models, "the last")
    with pytest.raises(TooManyModels):
        await put_model(models, "one too many")
    await put_model(models, "the last")  # it is there
    # A training is told at its begin, not when all its work is done.
    jobs = Jobs(store)
    asked = StartTrainingRequest(from_day="2026-09-04", to_day="2026-09-05")
    async with store.transaction() as tx:
        await jobs.add(tx, JobKind.TRAINING, asked.SerializeToString(), ANNA)
        job = await jobs.take(tx)
    assert job is not None
    with pytest.raises(JobRefused, match="the most that is possible; retire candidates"):
        await training.run(Running(job, store, {}))


async def test_pages_of_models_tell_each_once(store: Database) -> None:
    models = ModelStore(store)
    async with store.transaction() as tx:  # all at one moment, so that versions alone order them
        await tx.raw.execute("insert into model_file select 'v' || each, 'x' from generate_series(1, 7) each")
        await tx.raw.execute(
            "insert into model (version, state, summary, note, proposed_by, proposed_at) "
            "select version, 1, '', '', $1, now() from model_file",
            ANNA,
        )
    found: list[str] = []
    before = None
    while page := await models.page(3, before):
        found += [each.version for each in page]
        before = page[-1].proposed_at, page[-1].version
    assert found == [f"v{number}" for number in range(7, 0, -1)]
    assert await models.page(3, None, ModelState.CHAMPION) == []
