"""Where a service finds its own database: by a variable or a file, and how its server is verified."""

from pathlib import Path

import pytest

from libs.server.config.server_config import ConfigError, ServerConfig

URL = "postgresql://luxor:secret@db:5432/risk"


def _read(**environ: str) -> ServerConfig:
    return ServerConfig.from_environ("risk", {f"LUXOR_{name}": value for name, value in environ.items()})


def test_the_url_may_stand_in_a_file_and_is_masked_where_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URL}\n")
    config = _read(RISK_DATABASE_URL_FILE=str(tmp_path / "url"))
    assert config.database_url == URL
    assert "secret" not in str(config)


def test_a_ca_makes_the_connection_verified_in_full(tmp_path: Path) -> None:
    ca = tmp_path / "ca of the store.crt"
    ca.write_text("PEM")
    config = _read(RISK_DATABASE_URL=f"{URL}?application_name=a", DATABASE_CA=str(ca))
    given = str(ca).replace("/", "%2F").replace(" ", "%20")
    assert config.database_url == f"{URL}?application_name=a&sslmode=verify-full&sslrootcert={given}"


@pytest.mark.parametrize(
    ("environ", "named", "why"),
    [
        ({"RISK_DATABASE_URL": URL, "RISK_DATABASE_URL_FILE": "/x"}, "LUXOR_RISK_DATABASE_URL_FILE", "set one of them"),
        ({"RISK_DATABASE_URL_FILE": "/absent/url"}, "LUXOR_RISK_DATABASE_URL_FILE", "cannot be read"),
        ({"RISK_DATABASE_URL_FILE": "/dev/null"}, "LUXOR_RISK_DATABASE_URL_FILE", "empty file"),
        ({"RISK_DATABASE_URL": "mysql://db/risk"}, "LUXOR_RISK_DATABASE_URL", "no URL of PostgreSQL"),
        ({"RISK_DATABASE_URL": "postgresql://db:port/risk"}, "LUXOR_RISK_DATABASE_URL", "no URL of PostgreSQL"),
        ({"RISK_DATABASE_URL": URL, "DATABASE_CA": "/absent/ca"}, "LUXOR_DATABASE_CA", "names no file"),
        (
            {"RISK_DATABASE_URL": f"{URL}?sslmode=disable", "DATABASE_CA": "/dev/null"},
            "LUXOR_DATABASE_CA",
            "names no file",
        ),
    ],
)
def test_what_cannot_be_a_database_is_named_with_why(environ: dict[str, str], named: str, why: str) -> None:
    with pytest.raises(ConfigError) as found:
        _read(**environ)
    assert found.value.variable == named
    assert why in str(found.value)


def test_a_url_that_weakens_the_verification_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("PEM")
    with pytest.raises(ConfigError, match="sslmode or sslrootcert of its own"):
        _read(RISK_DATABASE_URL=f"{URL}?sslmode=require", DATABASE_CA=str(tmp_path / "ca.crt"))
