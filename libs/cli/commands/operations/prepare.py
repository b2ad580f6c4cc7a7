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
    help="What the world calls this host: names and addresses for the services' certificates, separated by commas.",
)
@click.option(
    "--every",
    "hours",
    type=click.FloatRange(0, 720, min_open=True),
    metavar="HOURS",
    help="Stay, and do it again after so many hours.",
)
@click.option(
    "--mark",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --every: a file to touch after each run that did its work, for a health check.",
)
def prepare(
    context: Context, directory: Path, deployment: str, public_hosts: str, hours: float | None, mark: Path | None
) -> None:
    """Write what each container needs into a directory of its own below DIRECTORY.

    What is there stays; certificates with less than a month to go are made anew. Run it at any time. The public names are
    kept for the runs that are told none.
    """
    from libs.cli.preparation import keep_prepared
    from libs.cli.preparation import prepare as work

    hosts = [name.strip() for name in public_hosts.split(",") if name.strip()]
    if hours is not None:
        from libs.telemetry.logs import install

        install("renew", "info")
        keep_prepared(directory, deployment=deployment, public_hosts=hosts, hours=hours, mark=mark)
    done = work(directory, deployment=deployment, public_hosts=hosts)
    told = {"written": done.written, "kept": done.kept}
    context.emit(told, lambda out: out.print(f"{len(done.written)} files written, {done.kept} unchanged."))
