"""`luxor certificate`: certificates of the local certificate authority, and those that it revoked."""

import os
import re
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from libs.cli.common import Context, command

if TYPE_CHECKING:
    from libs.server.transport.tls import LocalCA, Party


ROLES = ("filer", "carrier", "officer", "analyst", "agency", "gateway", "operator", "treasury")


@click.group("certificate", short_help="Issue and revoke certificates of the local certificate authority.")
def certificate() -> None:
    """A certificate identifies the caller: spiffe://luxor/<role>/<id>. Other programs need the three files that `issue` prints."""


@command("issue", group=certificate)
@click.argument("role", type=click.Choice(ROLES))
@click.argument("ident", metavar="ID")
@click.option("--renew", is_flag=True, help="Issue a new one even if a valid one exists.")
@click.option("--tar", "as_tar", is_flag=True, help="Write the three files to standard output, as a tar archive.")
def issue(context: Context, role: str, ident: str, renew: bool, as_tar: bool) -> None:
    """Issue a certificate for a party, and print its path.

    Use --tar to get the certificate out of a container: unpack the archive into a directory and set LUXOR_TLS_DIR to
    that directory.
    """
    from libs.server.transport.revocation_lists import serial_text
    from libs.server.transport.tls import certificate_of

    party = _authority(context).issue(role, ident, renew=renew)
    if as_tar:
        _archive(party, f"{role}/{ident}")
        return
    files = {
        "identity": f"spiffe://{os.environ.get('LUXOR_DEPLOYMENT') or 'luxor'}/{role}/{ident}",
        "certificate": str(party.directory / "tls.crt"),
        "key": str(party.directory / "tls.key"),
        "roots": str(party.roots),
        "serial": serial_text(certificate_of(party.directory / "tls.crt").serial_number),
    }
    _print(context, files)


@command("revoke", group=certificate)
@click.argument("role", type=click.Choice([*ROLES, "service"]), required=False)
@click.argument("ident", metavar="ID", required=False)
@click.option(
    "--serial", "serials", multiple=True, help="Serial number, as `openssl x509 -noout -serial` prints it; repeatable."
)
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of the certificate, PEM; repeatable.",
)
def revoke(
    context: Context, role: str | None, ident: str | None, serials: tuple[str, ...], files: tuple[Path, ...]
) -> None:
    """Revoke certificates: by the file or serial number, or by ROLE and ID the one that this machine has of that party.

    Services refuse them from their next call on; other certificates of the same party stay valid. Issue a new one with `luxor certificate issue
    ROLE ID --renew`. There is no way back.
    """
    from libs.server.transport.revocation_lists import revoke as add_to_list
    from libs.server.transport.revocation_lists import serial_text
    from libs.server.transport.tls import TlsError, certificate_of

    authority = _authority(context)
    if role is not None and ident is None:
        raise click.UsageError("Name the party: ROLE and ID.")
    if not (role or serials or files):
        raise click.UsageError("Name what to revoke: ROLE and ID, --serial or --file.")
    numbers = [_serial(each) for each in serials]
    paths = list(files)
    if role is not None and ident is not None:
        paths.append(authority.party(role, ident).directory / "tls.crt")
    for each in paths:
        found = certificate_of(each)
        if found.issuer != authority.signer()[0].subject:
            # A list counts for the certificates of its own authority alone.
            raise TlsError(
                f"{each} was issued by {found.issuer.rfc4514_string()}, and not by the authority of {authority.directory}. "
                "Use the directory of the issuer, or ask it for its list."
            )
        numbers.append(found.serial_number)
    path = add_to_list(authority, numbers)
    _print(context, {"revoked": ", ".join(map(serial_text, numbers)), "list": str(path)})


def _serial(text: str) -> int:
    """Return a serial number; raise BadParameter if the text is none."""
    digits = text.removeprefix("serial=").replace(":", "")
    if not re.fullmatch("[0-9A-Fa-f]{1,40}", digits) or not int(digits, 16):
        raise click.BadParameter(f"{text} is not a serial number: 1 to 40 digits of base 16.", param_hint="--serial")
    return int(digits, 16)


def _authority(context: Context) -> "LocalCA":
    from libs.server.transport.tls import LocalCA

    directory = Path(os.environ.get("LUXOR_TLS_DIR") or context.data_dir / "tls")
    return LocalCA(directory, os.environ.get("LUXOR_DEPLOYMENT") or "luxor")


def _print(context: Context, lines: dict[str, str]) -> None:
    text = "\n".join(f"{name:<12} {value}" for name, value in lines.items())
    context.emit(lines, lambda terminal: terminal.print(text, soft_wrap=True))


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
