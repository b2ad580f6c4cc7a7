"""Settings: bounds, names in errors, masked secrets, and the table of all variables."""

from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from libs.server.config import server_config
from libs.server.config.server_config import ConfigError, Neighbours, ServerConfig, Settings, setting
from libs.server.config.variables import unknown_variables, variables


def read(service: str = "ingestion", **variables: str) -> ServerConfig:
    return ServerConfig.from_environ(service, {f"LUXOR_{name}": value for name, value in variables.items()})


def test_without_variables_each_service_has_its_ports() -> None:
    ports = {service: read(service) for service in server_config.PORTS}
    assert {service: each.port for service, each in ports.items()} == dict(server_config.PORTS)
    assert (ports["risk"].health_port, ports["risk"].metrics_port) == (7502, 7602)
    assert ports["risk"].message_bytes_max == 8 * 1024 * 1024
    assert ports["risk"].tls_dir == Path(".luxor/tls")


def test_a_service_s_own_variable_wins_over_the_shared_one() -> None:
    found = read("risk", IN_FLIGHT_MAX="10", RISK_IN_FLIGHT_MAX="20")
    assert found.in_flight_max == 20
    assert read("revenue", IN_FLIGHT_MAX="10", RISK_IN_FLIGHT_MAX="20").in_flight_max == 10


def test_a_free_port_makes_the_others_free_too() -> None:
    found = read(INGESTION_PORT="0")
    assert (found.port, found.health_port, found.metrics_port) == (0, 0, 0)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"INGESTION_PORT": "x"}, "LUXOR_INGESTION_PORT must be a whole number, not 'x'. Example: LUXOR_INGESTION_PORT=7401"),
        ({"INGESTION_PORT": "70000"}, "LUXOR_INGESTION_PORT must be 0 to 65535, not 70000"),
        ({"INGESTION_PORT": "65500"}, "LUXOR_INGESTION_PORT leaves no room"),
        ({"INGESTION_PORT": "1000", "INGESTION_HEALTH_PORT": "1000"}, "LUXOR_INGESTION_PORT uses a port twice"),
        ({"DEADLINE_SECONDS_MAX": "nan"}, "LUXOR_DEADLINE_SECONDS_MAX must be 0.1 to 3600, not nan"),
        ({"REFLECTION": "maybe"}, "LUXOR_REFLECTION must be true or false, not 'maybe'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_variable_why_and_an_example(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**variables)
    assert message in str(caught.value)


def test_secrets_are_masked_wherever_the_configuration_is_printed() -> None:
    found = read(INGESTION_DATABASE_URL="postgresql://luxor:hunter2@db:5432/ingestion?password=hunter3")
    for text in (str(found), repr(found), str(found.shown())):
        assert "hunter" not in text
        assert "luxor:***@db:5432/ingestion" in text
    assert "hunter2" in found.database_url


def test_a_store_may_have_several_hosts() -> None:
    url = "postgresql://luxor:hunter2@one:5432,two:5433/ingestion?target_session_attrs=primary"
    found = read(INGESTION_DATABASE_URL=url)
    assert found.database_url == url
    assert found.shown()["database_url"] == "postgresql://luxor:***@one:5432,two:5433/ingestion?***"
    with pytest.raises(ConfigError, match="is no URL of PostgreSQL"):
        read(INGESTION_DATABASE_URL=url.replace("5433", "x"))


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        read().port = 1  # type: ignore[misc]


def test_a_misspelt_variable_is_noticed_and_those_of_other_services_are_not() -> None:
    environ = {"LUXOR_INGESTION_PROT": "1", "LUXOR_HOST": "::1", "LUXOR_RISK_RULES": "x", "LUXOR_RISK_TARGET": "y"}
    assert unknown_variables("ingestion", environ) == {"LUXOR_INGESTION_PROT": "LUXOR_INGESTION_PORT"}


def test_neighbours_follow_a_port_that_was_moved() -> None:
    found = Neighbours.from_environ("clearance", {"LUXOR_RISK_PORT": "9000", "LUXOR_REVENUE_TARGET": "dns:///rev:1"})
    assert (found.risk, found.revenue) == ("dns:///127.0.0.1:9000", "dns:///rev:1")
    assert found.ingestion == "dns:///127.0.0.1:7401"


def test_a_service_s_own_variables_are_in_the_same_table() -> None:
    @dataclass(frozen=True, kw_only=True, repr=False)
    class Own(Settings, service="statistics"):
        cells_max: int = setting("CELLS_MAX", default=5, low=1, high=9, example="7")
        """Cells that are held at once."""

        token: str = setting("TOKEN", secret=True, example="abc")
        """What opens the door."""

    try:
        rows = {row.names[0]: row for row in variables()}
        row = rows["LUXOR_STATISTICS_CELLS_MAX"]
        assert (row.default, row.bounds, row.meaning) == ("5", "1 to 9", "Cells that are held at once.")
        assert rows["LUXOR_STATISTICS_TOKEN"].default == "required"
        with pytest.raises(ConfigError, match="LUXOR_STATISTICS_TOKEN is not set"):
            Own.from_environ("statistics", {})
        own = Own.from_environ("statistics", {"LUXOR_STATISTICS_TOKEN": "s3cret"})
        assert (own.cells_max, own.token) == (5, "s3cret")
        assert "s3cret" not in str(own)
    finally:
        server_config.REGISTRY.remove(Own)


def test_every_variable_says_what_it_means() -> None:
    import libs.telemetry.setup  # noqa: F401  # declares variables too

    rows = variables()
    assert len(rows) > 20
    assert [row.names for row in rows if not row.meaning.endswith(".")] == []
    assert [
        row.names for row in rows if row.type not in ("int", "float", "bool", "str", "Path", "tuple[str, ...]")
    ] == []
