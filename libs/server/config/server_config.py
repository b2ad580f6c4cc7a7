"""The settings that every service has, and where the services find each other. How settings are read: libs.server.config.settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from libs.server.config.checks import (
    database_url,
    wrong_deployment,
    wrong_directory,
    wrong_file,
    wrong_host,
    wrong_hosts,
    wrong_programs,
    wrong_target,
)
from libs.server.config.error import ConfigError
from libs.server.config.settings import (
    REGISTRY,
    Setting,
    Settings,
    bounds_of,
    given_kind,
    names_of,
    setting,
)

__all__ = [
    "PORTS",
    "REGISTRY",
    "ConfigError",
    "Neighbours",
    "ServerConfig",
    "Setting",
    "Settings",
    "bounds_of",
    "given_kind",
    "names_of",
    "setting",
]

PORTS: Mapping[str, int] = {"ingestion": 7401, "risk": 7402, "revenue": 7403, "clearance": 7404, "statistics": 7405}
"""The services and the port that each listens on unless told otherwise."""


def _default_port(service: str, _values: Mapping[str, Any], _environ: Mapping[str, str]) -> int:
    return PORTS.get(service, 0)


def _beside(step: int) -> Callable[[str, Mapping[str, Any], Mapping[str, str]], int]:
    return lambda _service, values, _environ: values["port"] + step if values["port"] else 0


_health_port, _metrics_port = _beside(100), _beside(200)


def _same_host(_service: str, values: Mapping[str, Any], _environ: Mapping[str, str]) -> str:
    return str(values["host"])


@dataclass(frozen=True, kw_only=True, repr=False)
class ServerConfig(Settings):
    """What every service reads at start."""

    service: str = ""
    """The service's name: ingestion, risk, revenue, clearance or statistics. Not read from the environment."""

    host: str = setting("HOST", default="127.0.0.1", shared=True, example="0.0.0.0", check=wrong_host)  # noqa: S104
    """Address that the service's port is bound to; several, separated by commas, where it has to listen on some of a host's."""

    health_host: str = setting(
        "HEALTH_HOST", derive=_same_host, derived="HOST", shared=True, example="127.0.0.1", check=wrong_host
    )
    """Address that the health port is bound to."""

    metrics_host: str = setting(
        "METRICS_HOST", derive=_same_host, derived="HOST", shared=True, example="10.0.3.7", check=wrong_host
    )
    """Address that the metrics port is bound to."""

    port: int = setting(
        "PORT", derive=_default_port, derived=", ".join(f"{port} {name}" for name, port in PORTS.items()),
        low=0, high=65535, example="7401",
    )  # fmt: skip
    """Port of the service, mutual TLS only. 0 takes a free one."""

    health_port: int = setting(
        "HEALTH_PORT", derive=_health_port, derived="PORT + 100", low=0, high=65535, example="7501"
    )
    """Plaintext port that serves health alone, for probes. 0 takes a free one."""

    metrics_port: int = setting(
        "METRICS_PORT", derive=_metrics_port, derived="PORT + 200", low=0, high=65535, example="7601"
    )
    """HTTP port of the Prometheus metrics. 0 takes a free one."""

    data_dir: Path = setting(
        "DATA_DIR", default=Path(".luxor"), shared=True, example="/var/lib/luxor", check=wrong_directory,
        derived="as root /var/lib/luxor, else $XDG_DATA_HOME/luxor or ~/.local/share/luxor",
    )  # fmt: skip
    """Directory of everything that is kept on this machine: certificates, the embedded database, logs."""

    tls_dir: Path = setting(
        "TLS_DIR", derive=lambda _s, values, _e: values["data_dir"] / "tls", derived="DATA_DIR/tls", shared=True,
        example="/etc/luxor/tls", check=wrong_directory,
    )  # fmt: skip
    """Directory of the CA's certificate and of the parties'. Without a CA in it the first start makes a local one."""

    tls_hosts: tuple[str, ...] = setting(
        "TLS_HOSTS", default=(), shared=True, example="ingestion.luxor.svc,10.0.0.7", check=wrong_hosts
    )
    """Further names and addresses for the server's certificate, beside localhost, the host's and the service's name."""

    deployment: str = setting("DEPLOYMENT", default="luxor", shared=True, example="luxor", check=wrong_deployment)
    """Trust domain of the SPIFFE ids; certificates of another deployment are refused."""

    database_url: str = setting(
        "DATABASE_URL", default="", secret=True, example="postgresql://luxor:…@db:5432/ingestion"
    )
    """The service's own database, PostgreSQL 15 or newer. Empty: the embedded one under the data directory."""

    database_url_file: Path | None = setting("DATABASE_URL_FILE", default=None, example="/run/secrets/ingestion-store")
    """File that holds the database's URL, in place of DATABASE_URL, so that the password is in no environment."""

    database_ca: Path | None = setting(
        "DATABASE_CA", default=None, shared=True, example="/etc/luxor/store-ca/ca.crt", check=wrong_file
    )
    """File of the CA that signed the database server's certificate. With it the connection is TLS and verified in full."""

    migrate: bool = setting("MIGRATE", default=True, shared=True, example="true")
    """Bring the schema up to date at start. False: wait until `luxor migrate` has done it."""

    postgres_bin: Path | None = setting(
        "POSTGRES_BIN", default=None, common=True, example="/usr/lib/postgresql/17/bin", check=wrong_programs,
        derived="where they are found: PATH, /usr/lib/postgresql",
    )  # fmt: skip
    """Directory of PostgreSQL's programs, for the embedded database. Only where DATABASE_URL is empty."""

    deadline_seconds_max: float = setting(
        "DEADLINE_SECONDS_MAX", default=30.0, shared=True, low=0.1, high=3600, example="30"
    )
    """Longest time that a call may take; a longer deadline is cut to it, and a call without one gets it."""

    message_bytes_max: int = setting(
        "MESSAGE_BYTES_MAX", default=8 * 1024 * 1024, shared=True, low=4096, high=512 * 1024 * 1024, example="8388608"
    )
    """Documented limit of one request in bytes. The transport takes twice that, so that the refusal between is ours."""

    in_flight_bytes_max: int = setting(
        "IN_FLIGHT_BYTES_MAX", default=32 * 1024 * 1024, shared=True, low=4096, high=8 * 1024**3, example="33554432"
    )
    """Bytes of requests received and decoded at once; more wait. Services have as much again. Decoded, a request takes five times its bytes."""

    connections_max: int = setting("CONNECTIONS_MAX", default=1_000, shared=True, low=10, high=100_000, example="1000")
    """Connections to the service's port at once; more are closed as they come. One has 100 calls at once at most."""

    in_flight_max: int = setting("IN_FLIGHT_MAX", default=64, shared=True, low=2, high=10_000, example="64")
    """Calls that may run at once; services have as many places of their own. Twice as many wait, fairly by caller; more are refused."""

    in_flight_per_caller_max: int = setting(
        "IN_FLIGHT_PER_CALLER_MAX", default=48, shared=True, low=1, high=10_000, example="48"
    )
    """Calls that one caller from outside may have running at once. From half full on the limit is shared by those who call."""

    long_polls_max: int = setting("LONG_POLLS_MAX", default=256, shared=True, low=1, high=100_000, example="256")
    """Long polls that may wait at once, counted apart because waiting costs nothing. Those of other services have as many places of their own."""

    long_polls_per_caller_max: int = setting(
        "LONG_POLLS_PER_CALLER_MAX", default=16, shared=True, low=1, high=10_000, example="16"
    )
    """Long polls of one caller from outside that may wait at once."""

    long_poll_seconds_max: float = setting(
        "LONG_POLL_SECONDS_MAX", default=60.0, shared=True, low=1, high=600, example="60"
    )
    """Longest deadline of a long poll, and that of one without a deadline; connections are given this long and five seconds to end when they age."""

    connection_age_seconds_max: float = setting(
        "CONNECTION_AGE_SECONDS_MAX", default=600.0, shared=True, low=5, high=86_400, example="600"
    )
    """Age at which a connection is closed gently, so that clients find new replicas and use new certificates."""

    drain_seconds: float = setting("DRAIN_SECONDS", default=10.0, shared=True, low=0, high=600, example="10")
    """How long running calls and background tasks are given to end at a stop."""

    drain_pause_seconds: float = setting("DRAIN_PAUSE_SECONDS", default=0.2, shared=True, low=0, high=60, example="2")
    """Pause between saying NOT_SERVING and closing the door, for load balancers to notice."""

    reflection: bool = setting("REFLECTION", default=True, shared=True, example="false")
    """Serve gRPC reflection, v1 and v1alpha, to callers whose certificate may call something here; each sees the services that it may use."""

    uvloop: bool = setting("UVLOOP", default=True, shared=True, example="true")
    """Run on uvloop, which is some percent faster under load."""

    @classmethod
    def from_environ(cls, service: str, environ: Mapping[str, str]) -> Self:
        """Read the service's configuration; raise ConfigError naming the variable, why it is wrong, and an example."""
        if service not in PORTS:
            raise ConfigError("service", f"must be one of {', '.join(PORTS)}, not {service!r}", "ingestion")
        read = super().from_environ(service, environ)
        values = {item.name: getattr(read, item.name) for item in fields(read)}
        values["database_url"] = database_url(service, read.database_url, read.database_url_file, read.database_ca)
        config = cls(**(values | {"service": service}))
        ports = [port for port in (config.port, config.health_port, config.metrics_port) if port]
        if max(ports, default=0) > 65535:
            raise ConfigError(
                f"LUXOR_{service.upper()}_PORT", "leaves no room: health is PORT + 100, metrics PORT + 200", "7401"
            )
        if len(set(ports)) != len(ports):
            raise ConfigError(f"LUXOR_{service.upper()}_PORT", f"uses a port twice: {ports}", "7401")
        return config


def _target(service: str) -> Any:
    def derive(_service: str, _values: Mapping[str, Any], environ: Mapping[str, str]) -> str:
        port = environ.get(f"LUXOR_{service.upper()}_PORT", "")
        return f"dns:///127.0.0.1:{port if port.isdigit() and port != '0' else PORTS[service]}"

    return setting(
        f"{service.upper()}_TARGET", derive=derive, derived=f"dns:///127.0.0.1:{PORTS[service]}", shared=True,
        example=f"dns:///{service}.luxor.svc:{PORTS[service]}", check=wrong_target,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, repr=False)
class Neighbours(Settings):
    """Where the services are found by those who dial them."""

    ingestion: str = _target("ingestion")
    """gRPC target of ingestion."""

    risk: str = _target("risk")
    """gRPC target of risk."""

    revenue: str = _target("revenue")
    """gRPC target of revenue."""

    clearance: str = _target("clearance")
    """gRPC target of clearance."""

    statistics: str = _target("statistics")
    """gRPC target of statistics."""
