"""The variables that the supervisor gives to the process of a service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from libs.cli.local.state import SERVICES, Ports, endpoints_of, service_of


def stores_of(service: str) -> tuple[str, str]:
    """Return the variables that name a service's store."""
    name = f"LUXOR_{service.upper()}_DATABASE_URL"
    return name, f"{name}_FILE"


_STORES: Final = frozenset(key for service in SERVICES for key in stores_of(service))


def variables_of(
    process: str, ports: Mapping[str, Ports], environ: Mapping[str, str], data_dir: Path, embedded_url: str
) -> dict[str, str]:
    """Return the environment of a process: its ports, its neighbours, its store (`embedded_url` where none is named), its directories.

    Each service gets only the credentials of its own store.
    """
    service = service_of(process)
    prefix = f"LUXOR_{service.upper()}"
    # All replicas of a service share its database; their neighbours call them in turn.
    targets = {f"LUXOR_{each.upper()}_TARGET": target for each, target in endpoints_of(ports).items()}
    shared = {key: value for key, value in environ.items() if key not in _STORES}
    own = {
        f"{prefix}_PORT": str(ports[process].main),
        f"{prefix}_HEALTH_PORT": str(ports[process].health),
        f"{prefix}_METRICS_PORT": str(ports[process].metrics),
    }
    stores = {key: environ[key] for key in stores_of(service) if environ.get(key)}
    stores = stores or {f"{prefix}_DATABASE_URL": embedded_url}
    directories = {} if process == service else _directories(process, prefix, environ, data_dir)
    return {**targets, **shared, **own, **stores, **directories}


def _directories(process: str, prefix: str, environ: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    """Return the directories of a further replica: its files are its own, the certificates are shared."""
    data = Path(environ.get(f"{prefix}_DATA_DIR") or data_dir)
    tls = environ.get(f"{prefix}_TLS_DIR") or environ.get("LUXOR_TLS_DIR") or data / "tls"
    return {f"{prefix}_DATA_DIR": str(data / "replicas" / process), f"{prefix}_TLS_DIR": str(tls)}
