"""The settings that every service has, and where the services find each other. How settings are read: libs.server.config.settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from libs.server.config.checks import (
    check_deployment,
    check_directory,
    check_file,
    check_host,
    check_hosts,
    check_programs,
    check_target,
    database_url,
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
"""The services and the default port of each."""


def _default_port(service: str, _values: Mapping[str, Any], _environ: Mapping[str, str]) -> int:
    return PORTS.get(service, 0)


def _port_offset(step: int) -> Callable[[str, Mapping[str, Any], Mapping[str, str]], int]:
    return lambda _service, values, _environ: values["port"] + step if values["port"] else 0


_health_port, _metrics_port = _port_offset(100), _port_offset(200)


def _same_host(_service: str, values: Mapping[str, Any], _environ: Mapping[str, str]) -> str:
    return str(values["host"])


@dataclass(frozen=True, kw_only=True, repr=False)
class ServerConfig(Settings):
    """The settings of every service."""

    service: str = ""
    """The service's name: ingestion, risk, revenue, clearance or statistics. Not read from the environment."""

    host: str = setting("HOST", default="127.0.0.1", shared=True, example="0.0.0.0", check=check_host)  # noqa: S104
    """Address that the service's port is bound to, or several addresses separated by commas."""

    health_host: str = setting(
        "HEALTH_HOST", derive=_same_host, derived="HOST", shared=True, example="127.0.0.1", check=check_host
    )
    """Address that the health port is bound to."""

    metrics_host: str = setting(
        "METRICS_HOST", derive=_same_host, derived="HOST", shared=True, example="10.0.3.7", check=check_host
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
    """Plaintext port for health probes only. 0 takes a free one."""

    metrics_port: int = setting(
        "METRICS_PORT", derive=_metrics_port, derived="PORT + 200", low=0, high=65535, example="7601"
    )
    """HTTP port of the Prometheus metrics. 0 takes a free one."""

    data_dir: Path = setting(
        "DATA_DIR", default=Path(".luxor"), shared=True, example="/var/lib/luxor", check=check_directory,
        derived="as root /var/lib/luxor, else $XDG_DATA_HOME/luxor or ~/.local/share/luxor",
    )  # fmt: skip
    """Directory of all data on this machine: certificates, the embedded database, logs."""

    tls_dir: Path = setting(
        "TLS_DIR", derive=lambda _s, values, _e: values["data_dir"] / "tls", derived="DATA_DIR/tls", shared=True,
        example="/etc/luxor/tls", check=check_directory,
    )  # fmt: skip
    """Directory of the certificates of the CA and of the parties. If it has no CA, the first start creates a local one."""

    tls_hosts: tuple[str, ...] = setting(
        "TLS_HOSTS", default=(), shared=True, example="ingestion.luxor.svc,10.0.0.7", check=check_hosts
    )
    """Additional names and addresses in the server's certificate. It always has localhost, the name of the host and the name of the service."""

    deployment: str = setting("DEPLOYMENT", default="luxor", shared=True, example="luxor", check=check_deployment)
    """Trust domain of the SPIFFE ids; certificates of another deployment are refused."""

    database_url: str = setting(
        "DATABASE_URL", default="", secret=True, example="postgresql://luxor:…@db:5432/ingestion"
    )
    """The service's own database, PostgreSQL 15 or newer. Empty: the embedded one under the data directory."""

    database_url_file: Path | None = setting("DATABASE_URL_FILE", default=None, example="/run/secrets/ingestion-store")
    """File with the database's URL. Use it instead of DATABASE_URL to keep the password out of the environment."""

    database_ca: Path | None = setting(
        "DATABASE_CA", default=None, shared=True, example="/etc/luxor/store-ca/ca.crt", check=check_file
    )
    """File of the CA that signed the database server's certificate. If it is set, the connection uses TLS and the server's certificate and name are
    verified."""

    migrate: bool = setting("MIGRATE", default=True, shared=True, example="true")
    """Migrate the schema at start. If false, the service waits until `luxor migrate` has migrated it."""

    postgres_bin: Path | None = setting(
        "POSTGRES_BIN", default=None, common=True, example="/usr/lib/postgresql/17/bin", check=check_programs,
        derived="where they are found: PATH, /usr/lib/postgresql",
    )  # fmt: skip
    """Directory of PostgreSQL's programs for the embedded database. Used only if DATABASE_URL is empty."""

    deadline_seconds_max: float = setting(
        "DEADLINE_SECONDS_MAX", default=30.0, shared=True, low=0.1, high=3600, example="30"
    )
    """Longest deadline of a call. Longer deadlines are shortened to it, and it applies to calls without a deadline."""

    message_bytes_max: int = setting(
        "MESSAGE_BYTES_MAX", default=8 * 1024 * 1024, shared=True, low=4096, high=512 * 1024 * 1024, example="8388608"
    )
    """Documented limit of one request in bytes. The transport accepts up to twice as many; between the two limits, the service itself refuses the
    request."""

    in_flight_bytes_max: int = setting(
        "IN_FLIGHT_BYTES_MAX", default=32 * 1024 * 1024, shared=True, low=4096, high=8 * 1024**3, example="33554432"
    )
    """Bytes of requests that are received and decoded at once; further requests wait. Calls of other services have a limit of their own of the same
    size. A decoded request takes five times its bytes."""

    connections_max: int = setting("CONNECTIONS_MAX", default=1_000, shared=True, low=10, high=100_000, example="1000")
    """Connections to the service's port at once; further ones are closed immediately. A connection has at most 100 calls at once."""

    in_flight_max: int = setting("IN_FLIGHT_MAX", default=64, shared=True, low=2, high=10_000, example="64")
    """Calls that may run at once. Calls of other services have a limit of their own of the same size. Up to twice as many wait, with equal shares
    for the callers; further calls are refused."""

    in_flight_per_caller_max: int = setting(
        "IN_FLIGHT_PER_CALLER_MAX", default=48, shared=True, low=1, high=10_000, example="48"
    )
    """Calls that one external caller may have running at once. If half of the places are in use, active callers share the limit."""

    long_polls_max: int = setting("LONG_POLLS_MAX", default=256, shared=True, low=1, high=100_000, example="256")
    """Long polls that may wait at once. They have a limit of their own because a waiting call costs nothing. Long polls of other services have
    another limit of the same size."""

    long_polls_per_caller_max: int = setting(
        "LONG_POLLS_PER_CALLER_MAX", default=16, shared=True, low=1, high=10_000, example="16"
    )
    """Long polls of one external caller that may wait at once."""

    long_poll_seconds_max: float = setting(
        "LONG_POLL_SECONDS_MAX", default=60.0, shared=True, low=1, high=600, example="60"
    )
    """Longest deadline of a long poll. It applies also to long polls without a deadline. An aged connection has this time and five seconds to end."""

    connection_age_seconds_max: float = setting(
        "CONNECTION_AGE_SECONDS_MAX", default=600.0, shared=True, low=5, high=86_400, example="600"
    )
    """Age at which a connection is closed gently, so that clients find new replicas and use new certificates."""

    drain_seconds: float = setting("DRAIN_SECONDS", default=10.0, shared=True, low=0, high=600, example="10")
    """Time that running calls and background tasks have to end when the service stops."""

    drain_pause_seconds: float = setting("DRAIN_PAUSE_SECONDS", default=0.2, shared=True, low=0, high=60, example="2")
    """Pause between reporting NOT_SERVING and closing the port, so that load balancers react."""

    reflection: bool = setting("REFLECTION", default=True, shared=True, example="false")
    """Serve gRPC reflection, v1 and v1alpha, to callers that may call this service. Each caller sees only the gRPC services that it may use."""

    uvloop: bool = setting("UVLOOP", default=True, shared=True, example="true")
    """Use uvloop, which is some percent faster under load."""

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
        example=f"dns:///{service}.luxor.svc:{PORTS[service]}", check=check_target,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, repr=False)
class Neighbours(Settings):
    """The gRPC targets at which services find each other."""

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
