"""Keys of page tokens: shared by replicas, there after a restart, replaced in time."""

from __future__ import annotations

import pytest
import pytest_asyncio

from libs.server.errors import Refusal
from libs.server.page_tokens import KEY_DAYS, KEY_RETENTION_DAYS, PageTokens, rotate_page_keys
from libs.store.database import Database
from libs.store.tables import schema
from luxor.feed.v1.dead_letters_pb2 import ListDeadLettersRequest
from tests.support.databases import create_tables

FORM = ("", 0)


@pytest_asyncio.fixture
async def store(database: Database) -> Database:
    await create_tables(database, schema.create_page_keys)
    return database


async def keys(store: Database) -> list[int]:
    async with store.connection() as reading:
        rows = await reading.raw.fetch("select number from page_key order by number")
    return [row["number"] for row in rows]


async def age(store: Database, days: int) -> None:
    async with store.transaction() as tx:
        await tx.raw.execute("update page_key set made_on = made_on - $1::integer", days)


async def test_every_replica_opens_it_also_after_a_restart_and_under_newer_keys(store: Database) -> None:
    one, other = PageTokens(store), PageTokens(store)
    query = ListDeadLettersRequest(source="risk")
    token = await one.token(query, "ä", 7)
    assert await other.opened(query, token, FORM) == ("ä", 7)
    await age(store, KEY_DAYS)
    await rotate_page_keys(store)
    await rotate_page_keys(store)
    assert await keys(store) == [1, 2]
    # A key of today opens and does not seal yet: a replica that read the keys yesterday could not open what it seals.
    assert (await PageTokens(store).token(query, "b", 8))[:4] == token[:4]
    await age(store, 1)
    newer = await PageTokens(store).token(query, "c", 9)
    assert newer[:4] != token[:4]
    for reader in (one, other, PageTokens(store)):
        reader.read_at = float("-inf")
        assert await reader.opened(query, token, FORM) == ("ä", 7)
        assert await reader.opened(query, newer, FORM) == ("c", 9)


async def test_a_key_that_is_older_than_all_that_tokens_lead_to_is_forgotten(store: Database) -> None:
    pages, query = PageTokens(store), ListDeadLettersRequest()
    token = await pages.token(query, "a", 1)
    await age(store, KEY_RETENTION_DAYS + 1)
    await rotate_page_keys(store)
    assert await keys(store) == [2]
    with pytest.raises(Refusal, match="PAGE_TOKEN_MALFORMED"):
        await PageTokens(store).opened(query, token, FORM)


async def test_the_size_of_a_page_may_change_from_page_to_page(store: Database) -> None:
    pages = PageTokens(store)
    token = await pages.token(ListDeadLettersRequest(page_size=5), "a", 1)
    assert await pages.place(ListDeadLettersRequest(page_size=9, page_token=token), FORM) == ("a", 1)
    assert await pages.place(ListDeadLettersRequest(), ("first", 0)) == ("first", 0)


async def test_every_changed_byte_is_refused(store: Database) -> None:
    pages, query = PageTokens(store), ListDeadLettersRequest()
    token = await pages.token(query, "a", 1)
    for at, character in enumerate(token):
        bad = token[:at] + ("A" if character != "A" else "Q") + token[at + 1 :]
        with pytest.raises(Refusal, match="PAGE_TOKEN_MALFORMED"):
            await pages.opened(query, bad, FORM)
    for bad in (token[:-1], token + "A", token + "=", " " + token, ""):
        with pytest.raises(Refusal, match="PAGE_TOKEN_MALFORMED"):
            await pages.opened(query, bad, FORM)
