"""Page tokens and cursors that leave the deployment: encrypted, authenticated, bound to the caller and the query.

A token holds the place where the next page begins. AES-256-GCM hides it and detects every changed byte; the caller and the query are
authenticated with it, so a token of another caller or another query is refused. The keys are rows of the service's own store (`page_key`),
so all replicas share them, they survive a restart, and they follow a restored copy. See docs/decisions/page-tokens.md.
Keys for other purposes are derived from them, so that one rotation serves all.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import Message

from libs.server import call
from libs.server.errors import Refusal
from libs.store.database import Database
from libs.store.tables.schema import today

KEY_BYTES: Final = 32
KEY_DAYS: Final = 30
"""Days after which a new key is made for new tokens."""
KEY_RETENTION_DAYS: Final = 430
"""Days for which a key opens tokens: longer than anything that a cursor leads to is stored, also for a token of the key's last day."""
CHARACTERS_MAX: Final = 1_024
REFRESH_SECONDS: Final = 600.0
"""Age of the keys in memory from which they are read again before a token is made."""
MISS_SECONDS: Final = 1.0
"""An unknown key is looked for in the store once in so many seconds: anybody can invent key numbers."""

_VERSION: Final = 1
_HEADER_BYTES: Final = 3
_NONCE_BYTES: Final = 12
_NOT_OF_THE_QUERY: Final = ("page_token", "page_size")
"""The place itself, and how much of the answer is wanted, which may change from page to page."""

Place = TypeVar("Place", bound=tuple[Any, ...])


class PageTokens:
    """Makes and opens the tokens of one service."""

    def __init__(self, database: Database) -> None:
        """Use the keys in the service's own store; they are read with the first token."""
        self._database = database
        self._keys: dict[int, AESGCM] = {}
        self._values: dict[int, bytes] = {}
        self._newest = 0
        self.read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def token(self, query: Message, *place: int | str) -> str:
        """Return the token of the page of `query` that begins after `place`."""
        await self._read(REFRESH_SECONDS)
        header = bytes([_VERSION]) + self._newest.to_bytes(2, "big")
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = json.dumps(place, ensure_ascii=False, separators=(",", ":")).encode()
        sealed = self._keys[self._newest].encrypt(nonce, plain, header + _bound_to(query))
        return urlsafe_b64encode(header + nonce + sealed).decode().rstrip("=")

    async def place(self, query: Any, first: Place) -> Place:
        """Return the place that `query.page_token` holds, `first` where it is empty; its form is that of `first`. Raise Refusal."""
        token: str = query.page_token
        return await self.opened(query, token, first) if token else first

    async def opened(self, query: Message, token: str, form: Place, *, path: str = "page_token") -> Place:
        """Return the place that a token holds. Raise Refusal PAGE_TOKEN_MALFORMED for one that was not made for this caller and query."""
        found = await self._open(query, token)
        if found is None or [type(part) for part in found] != [type(part) for part in form]:
            raise Refusal("PAGE_TOKEN_MALFORMED", path=path)
        return tuple(found)  # type: ignore[return-value]  # its parts were compared with the form's

    async def newest_key(self, purpose: bytes) -> tuple[int, bytes]:
        """Return the number of the key for new tokens, and a key that is derived from it for another purpose."""
        await self._read(REFRESH_SECONDS)
        return self._newest, _derived(self._values[self._newest], purpose)

    async def former_keys(self, purpose: bytes, remainder: int, modulus: int) -> list[bytes]:
        """Return what is derived for another purpose from the keys whose number has this remainder."""
        if not any(number % modulus == remainder for number in self._values):
            await self._read(MISS_SECONDS)
        return [_derived(value, purpose) for number, value in self._values.items() if number % modulus == remainder]

    async def derived_keys(self, purpose: bytes, number: int = 0) -> dict[int, bytes]:
        """Return what is derived for another purpose from each key, by number; the keys are read again if `number` is not among them."""
        await self._read(MISS_SECONDS if number and number not in self._values else REFRESH_SECONDS)
        return {each: _derived(value, purpose) for each, value in self._values.items()}

    async def _open(self, query: Message, token: str) -> list[Any] | None:
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except ValueError:
            return None
        canonical = urlsafe_b64encode(raw).decode().rstrip("=")
        if len(token) > CHARACTERS_MAX or token != canonical or len(raw) <= _HEADER_BYTES + _NONCE_BYTES:
            return None
        header, nonce, sealed = raw[:3], raw[3:15], raw[15:]
        if header[0] != _VERSION:
            return None
        number = int.from_bytes(header[1:], "big")
        if number not in self._keys:
            await self._read(MISS_SECONDS)
        key = self._keys.get(number)
        if key is None:
            return None
        try:
            place: list[Any] = json.loads(key.decrypt(nonce, sealed, header + _bound_to(query)))
        except InvalidTag:
            return None
        return place

    async def _read(self, age_seconds_max: float) -> None:
        """Read the keys, unless they were read less than so many seconds ago; make the first one where there is none."""
        clock = asyncio.get_running_loop().time
        async with self._reading:
            if self._keys and clock() - self.read_at < age_seconds_max:
                return
            rows = await self._rows()
            if not rows:
                await _make(self._database, 1)
                rows = await self._rows()
            self._values = {row["number"]: row["value"] for row in rows}
            self._keys = {number: AESGCM(value) for number, value in self._values.items()}
            # A key of today is not used yet: by tomorrow every replica can open what it seals.
            self._newest = max((row["number"] for row in rows if row["settled"]), default=max(self._keys))
            self.read_at = clock()

    async def _rows(self) -> list[Any]:
        async with self._database.connection() as reading:
            rows: list[Any] = await reading.raw.fetch(
                "select number, value, made_on < $1 as settled from page_key", await today(reading)
            )
        return rows


async def rotate_page_keys(database: Database) -> None:
    """Make a new key when the newest is KEY_DAYS old, and delete keys older than KEY_RETENTION_DAYS: a step of housekeeping."""
    async with database.connection() as reading:
        day = await today(reading)
        newest = await reading.raw.fetchrow("select number, made_on from page_key order by number desc limit 1")
    if newest is None or day - newest["made_on"] < KEY_DAYS:
        return
    await _make(database, newest["number"] + 1)
    async with database.transaction() as tx:
        await tx.raw.execute("delete from page_key where made_on < $1", day - KEY_RETENTION_DAYS)


async def _make(database: Database, number: int) -> None:
    async with database.transaction() as tx:
        # Replicas that make it at once agree on the one that came first.
        await tx.raw.execute(
            "insert into page_key (number, value, made_on) values ($1, $2, $3) on conflict do nothing",
            number,
            secrets.token_bytes(KEY_BYTES),
            await today(tx),
        )


def _derived(value: bytes, purpose: bytes) -> bytes:
    return hmac.digest(value, purpose, "sha256")


def _bound_to(query: Message) -> bytes:
    """Digest of the caller, the kind of query and the query without its place."""
    content = type(query)()
    content.CopyFrom(query)
    for name in _NOT_OF_THE_QUERY:
        if name in query.DESCRIPTOR.fields_by_name:
            content.ClearField(name)
    served = call.current_or_none()
    caller = "local" if served is None else str(served.identity)
    parts = (caller.encode(), query.DESCRIPTOR.full_name.encode(), content.SerializeToString(deterministic=True))
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
