"""What makes the sandbox a deployment of its own: its trust domain, its stores and its rules."""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from cryptography import x509

from libs.client.errors import LuxorError
from libs.server.transport.tls import LocalCA, Material, Party

DEPLOYMENT: Final = "luxor-sandbox"
"""Trust domain of its certificates: services of other deployments refuse them, and it refuses theirs."""
RULES: Final = Path(__file__).with_name("rules.yaml")
FILING_CHECKS: Final = Path(__file__).with_name("filing_checks.yaml")
SETTINGS: Final = {
    "LUXOR_DEPLOYMENT": DEPLOYMENT,
    "LUXOR_RISK_PROFILE": str(RULES),
    "LUXOR_INGESTION_FILING_CHECKS": str(FILING_CHECKS),
}
"""Settings of its services."""
PORT: Final = 7410
DIRECTORY: Final = "sandbox"
"""Its data directory, in that of the account."""
EVENTS: Final = "conversations.jsonl"


def separate(environ: MutableMapping[str, str]) -> list[str]:
    """Remove all settings of another system, such as addresses of its stores, and return their names."""
    names = sorted(name for name in environ if name.startswith(("LUXOR_", "OTEL_")))
    for name in names:
        del environ[name]
    return names


def authority(data_dir: Path) -> LocalCA:
    """Return the certificate authority of the sandbox in the data directory of an account."""
    return LocalCA(data_dir / DIRECTORY / "tls", DEPLOYMENT)


def party_of(data_dir: Path, role: str, ident: str) -> Party:
    """Return the certificate of an account: from LUXOR_TLS_DIR, or of the sandbox on this machine; raise TlsError if there is none.

    Raise LuxorError SANDBOX_ONLY for a certificate of another deployment.
    """
    directory = os.environ.get("LUXOR_TLS_DIR")
    # Nothing is issued in a directory that somebody names: it may be that of the authority of another deployment.
    party = (
        LocalCA(Path(directory), DEPLOYMENT).party(role, ident) if directory else authority(data_dir).issue(role, ident)
    )
    check_deployment(party.load())
    return party


def check_deployment(material: Material) -> None:
    """Raise LuxorError SANDBOX_ONLY if a certificate is not one of a sandbox: what is filed with it would be real."""
    certificate = x509.load_pem_x509_certificate(material.certificates)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        found = []
    if not any(each.startswith(f"spiffe://{DEPLOYMENT}/") for each in found):
        raise LuxorError.from_reason("SANDBOX_ONLY", value=", ".join(found) or "nobody")
