"""`luxor prepare`: certificates and passwords of a deployment in containers."""

from pathlib import Path

import click

from libs.cli.common import Context, command


@command("prepare", short_help="Write the certificates and passwords that containers start with.")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--deployment", default="luxor", show_default=True, envvar="LUXOR_DEPLOYMENT", help="Trust domain.")
@click.option(
    "--public-hosts",
    default="",
    envvar="LUXOR_PUBLIC_HOSTS",
    metavar="NAMES",
    help="Public names and addresses of this host for the services' certificates, separated by commas.",
)
@click.option(
    "--every",
    "hours",
    type=click.FloatRange(0, 720, min_open=True),
    metavar="HOURS",
    help="Keep running, and repeat it after this many hours.",
)
@click.option(
    "--heartbeat",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --every: update this file after each successful run, for a health check.",
)
def prepare(
    context: Context, directory: Path, deployment: str, public_hosts: str, hours: float | None, heartbeat: Path | None
) -> None:
    """Write the files of each container into a directory of its own below DIRECTORY.

    Existing files stay; certificates that end within a month are replaced. It can be run at any time. The public names
    are stored for later runs without --public-hosts.
    """
    from libs.cli.preparation import prepare as work
    from libs.cli.preparation import prepare_regularly

    hosts = [name.strip() for name in public_hosts.split(",") if name.strip()]
    if hours is not None:
        from libs.telemetry.logs import install

        install("renew", "info")
        prepare_regularly(directory, deployment=deployment, public_hosts=hosts, hours=hours, heartbeat=heartbeat)
    done = work(directory, deployment=deployment, public_hosts=hosts)
    result = {"written": done.written, "kept": done.unchanged}
    context.emit(
        result, lambda terminal: terminal.print(f"{len(done.written)} files written, {done.unchanged} unchanged.")
    )
