"""Who calls: the SPIFFE id of the client's certificate, never anything from metadata."""

import enum
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from libs.server.errors import Refusal


class Role(enum.StrEnum):
    """What a party is to customs; the first part of a SPIFFE path."""

    FILER = "filer"
    CARRIER = "carrier"
    OFFICER = "officer"
    ANALYST = "analyst"
    AGENCY = "agency"
    SERVICE = "service"
    GATEWAY = "gateway"
    OPERATOR = "operator"
    TREASURY = "treasury"

    # Enum's own hash is Python code; equal members have equal values, so the text's hash serves.
    __hash__ = str.__hash__


ID_CHARACTERS_MAX = 64
ID_FORM = f"1 to {ID_CHARACTERS_MAX} letters, digits, '.', '_' and '-', the first a letter or digit"
"""The form of an id in words, for errors and help."""
_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{ID_CHARACTERS_MAX - 1}}}")

_ROLES = frozenset(member.value for member in Role)


class Identity(NamedTuple):
    """A caller: `role` and `id` of spiffe://<deployment>/<role>/<id>. A tuple, since it is hashed with every call."""

    role: Role
    id: str

    @property
    def agency(self) -> str:
        """The id of a partner agency, "" for all other roles."""
        return self.id if self.role is Role.AGENCY else ""

    def __str__(self) -> str:
        """Return `role/id`, as keys and logs have it."""
        return f"{self.role}/{self.id}"


def is_id(text: str) -> bool:
    """Return whether a text may be the id of a party, wherever ids are issued, presented or named.

    Source: SPIFFE ID, section 2.2 (characters of a path segment); the length is ours.
    """
    return _ID.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def parse(spiffe: str, deployment: str) -> Identity:
    """Return the identity of a SPIFFE id; raise Refusal IDENTITY_MISSING, IDENTITY_FOREIGN or IDENTITY_MALFORMED."""
    scheme, _, rest = spiffe.partition("://")
    domain, _, path = rest.partition("/")
    if scheme != "spiffe":
        raise Refusal("IDENTITY_MISSING")
    if domain != deployment:
        raise Refusal("IDENTITY_FOREIGN", deployment=deployment, found=domain)
    role, _, ident = path.partition("/")
    if role not in _ROLES or not is_id(ident):
        shown = "".join(each if each.isprintable() else "?" for each in path)
        raise Refusal("IDENTITY_MALFORMED", identity=shown, roles=", ".join(Role), form=ID_FORM)
    return Identity(Role(role), ident)


def from_auth_context(auth_context: Mapping[str, Iterable[bytes]], deployment: str) -> Identity:
    """Return the identity in a call's authentication context; raise Refusal where it has none of this deployment."""
    ids = auth_context.get("peer_spiffe_id")
    spiffe = next(iter(ids), b"") if ids is not None else b""
    return parse(spiffe.decode("utf-8", "replace"), deployment)
