"""`luxor certificate issue`: certificates from the local certificate authority."""

import os
from pathlib import Path

import click

from libs.cli.common import Context, command


@click.group("certificate", short_help="Issue certificates from the local certificate authority.")
def certificate() -> None:
    """Certificates say who calls: spiffe://luxor/<role>/<id>. Other programs need the three files that `issue` names."""


@command("issue", group=certificate)
@click.argument("role", type=click.Choice(["filer", "carrier", "officer", "analyst", "agency", "gateway", "operator"]))
@click.argument("ident", metavar="ID")
@click.option("--renew", is_flag=True, help="Issue anew even where a good one is there.")
def issue(context: Context, role: str, ident: str, renew: bool) -> None:
    """Issue a certificate for a party, and tell where it is."""
    from libs.server.tls import LocalCA

    directory = Path(os.environ.get("LUXOR_TLS_DIR") or context.data_dir / "tls")
    party = LocalCA(directory).issue(role, ident, renew=renew)
    told = {
        "identity": f"spiffe://luxor/{role}/{ident}",
        "certificate": str(party.directory / "tls.crt"),
        "key": str(party.directory / "tls.key"),
        "roots": str(party.roots),
    }
    text = "\n".join(f"{name:<12} {value}" for name, value in told.items())
    context.emit(told, lambda out: out.print(text, soft_wrap=True))
