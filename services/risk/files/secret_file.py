"""The deployment's secret as a file holds it."""

from __future__ import annotations

import re
from typing import Final

from libs.columns.party_keys import KEY_BYTES_MAX, KEY_BYTES_MIN

_TEXT: Final = re.compile(rb"([A-Za-z0-9+/=_-]+)\r?\n")


class SecretFileError(ValueError):
    """A file that holds no secret: why."""


def secret_of(content: bytes) -> bytes:
    """The secret: every byte of the file, whatever it is. Only where it is one line of hex or Base64 its end of line is none of it.

    Raises SecretFileError.

    >>> secret_of(b"0123456789abcdef0123456789abcdef\\n")
    b'0123456789abcdef0123456789abcdef'
    """
    line = _TEXT.fullmatch(content)
    secret = line.group(1) if line else content
    if not KEY_BYTES_MIN <= len(secret) <= KEY_BYTES_MAX:
        raise SecretFileError(
            f"holds {len(secret)} bytes; a secret has {KEY_BYTES_MIN} to {KEY_BYTES_MAX}, as `openssl rand -hex 32` makes"
        )
    return secret
