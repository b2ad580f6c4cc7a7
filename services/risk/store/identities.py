"""Who did what is kept as role/id, as certificates tell it."""

from __future__ import annotations


def person_of(identity: str) -> str:
    """The person of a role/id: who has certificates of several roles, or with an id in other capitals, stays one person."""
    return identity.partition("/")[2].lower()
