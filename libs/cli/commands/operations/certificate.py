"""`luxor certificate issue`: certificates from the local certificate authority."""

import os
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from libs.cli.common import Context, command

if TYPE_CHECKING:
    from libs.server.transport.tls import Party


@click.group("certificate", short_help="Issue certificates from the local certificate authority.")
def certificate() -> None:
    """A certificate identifies the caller: spiffe://luxor/<role>/<id>. Other programs need the three files that `issue` prints."""


@command("issue", group=certificate)
@click.argument(
    "role", type=click.Choice(["filer", "carrier", "officer", "analyst", "agency", "gateway", "operator", "treasury"])
)
@click.argument("ident", metavar="ID")
@click.option("--renew", is_flag=True, help="Issue a new one even if a valid one exists.")
@click.option("--tar", "as_tar", is_flag=True, help="Write the three files to standard output, as a tar archive.")
def issue(context: Context, role: str, ident: str, renew: bool, as_tar: bool) -> None:
    """Issue a certificate for a party, and print its path.

    Use --tar to get the certificate out of a container: unpack the archive into a directory and set LUXOR_TLS_DIR to
    that directory.
    """
    from libs.server.transport.tls import LocalCA

    directory = Path(os.environ.get("LUXOR_TLS_DIR") or context.data_dir / "tls")
    party = LocalCA(directory, os.environ.get("LUXOR_DEPLOYMENT") or "luxor").issue(role, ident, renew=renew)
    if as_tar:
        _archive(party, f"{role}/{ident}")
        return
    files = {
        "identity": f"spiffe://{os.environ.get('LUXOR_DEPLOYMENT') or 'luxor'}/{role}/{ident}",
        "certificate": str(party.directory / "tls.crt"),
        "key": str(party.directory / "tls.key"),
        "roots": str(party.roots),
    }
    text = "\n".join(f"{name:<12} {value}" for name, value in files.items())
    context.emit(files, lambda terminal: terminal.print(text, soft_wrap=True))


def _archive(party: "Party", name: str) -> None:
    """Write a party's TLS directory to standard output; the files belong to the account that unpacks them."""
    if sys.stdout.isatty():
        raise click.UsageError("Standard output is a terminal: pipe the archive into `tar -x -C DIRECTORY`.")

    def closed(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o600
        return member

    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        archive.add(party.roots, "ca.crt", filter=closed)
        for file in ("tls.crt", "tls.key"):
            archive.add(party.directory / file, f"{name}/{file}", filter=closed)
