"""A secret is every byte of its file; only the end of a line of text is none of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.server.config.server_config import ConfigError
from services.risk.config import check_mark, read_secret
from services.risk.files.secret_file import SecretFileError, secret_of

HEX = b"00112233445566778899aabbccddeeff"


@given(st.binary(min_size=16, max_size=64))
def test_random_bytes_are_taken_as_they_are(content: bytes) -> None:
    line_of_text = content.endswith(b"\n") and content.rstrip(b"\r\n").isascii() and content[:-1].isalnum()
    if not line_of_text:
        assert secret_of(content) == content


@pytest.mark.parametrize(
    "content", [b" \t\n" + bytes(20) + b"\n", b"\x0b" * 32, b"\n" * 16, b" " + HEX + b"\n", HEX + b"\n\n", HEX + b" \n"]
)
def test_blanks_at_either_end_of_bytes_belong_to_the_secret(content: bytes) -> None:
    assert secret_of(content) == content


@pytest.mark.parametrize("line", [HEX, HEX * 2, b"q83vEjRWeJCrze8SNFZ4kA==", b"q83vEjRWeJCrze8SNFZ4kA-_"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_of_hex_or_base64_is_the_same_with_and_without_its_end(line: bytes, end: bytes) -> None:
    assert secret_of(line + end) == line


@pytest.mark.parametrize("content", [b"", b"short", b"0123456789abcde\n", bytes(65)])
def test_a_secret_of_another_length_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match="a secret has 16 to 64"):
        secret_of(content)
    (file := tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match=r"LUXOR_RISK_SECRET_FILE.*16 to 64.*openssl rand -hex 32"):
        read_secret(file)
    assert read_secret(None) is None


def test_a_mark_has_its_form() -> None:
    assert check_mark("0123456789abcdef") == ""
    for mark in ("", "0123456789ABCDEF", "0123456789abcdef0", "mark"):
        assert "16 hex digits" in check_mark(mark)
