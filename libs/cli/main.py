"""The `luxor` command. Each command is a module of its own, imported when it is called, so that `--help` is quick."""

import sys
from typing import Final

import click

from libs.cli.lazy import LazyGroup

COMMANDS: Final = {
    "demo": ("simulation.demo", "Show the whole system with simulated traffic, then stop it."),
    "up": ("operations.system", "Start the whole system and leave it running."),
    "down": ("operations.system", "Stop what `up` started."),
    "status": ("operations.system", "Show which processes run and whether they are ready."),
    "file": ("filing.file", "File consignments from CSV, JSON Lines, or a declaration in XML."),
    "check": ("filing.check", "Check consignments of a file before they are filed."),
    "convert": ("filing.convert", "Convert declarations in XML, or a table, to a file to complete and file."),
    "arrive": ("filing.arrive", "Report that the goods under master documents have arrived."),
    "carriers": ("clearance.carriers", "Bind master documents to carriers; list and reverse arrivals."),
    "show": ("filing.show", "Show consignments: state, reasons, charges and law."),
    "assessment": ("risk.assessment", "Show the risk assessment of a consignment."),
    "explain": ("operations.explain", "Explain the reason of an error or a warning."),
    "trace": ("operations.trace", "Show how long each service took for a consignment."),
    "notices": ("filing.notices", "Read a filer's or carrier's notices."),
    "check-notice": ("clearance.check_notice", "Check whether a notice or a charge is genuine."),
    "filer": ("filing.filers", "Register, suspend and list filers, and who represents them."),
    "quote": ("filing.quote", "Compute the landed cost of goods."),
    "part": ("filing.part", "File parts of consignments that others file."),
    "sale": ("filing.sale", "File the sales of a platform, and show what they cost."),
    "goods": ("filing.goods", "Show whether goods may be sent, and with which documents."),
    "codes": ("risk.codes", "Suggest commodity codes for descriptions."),
    "learn": ("risk.codes", "Train a model of commodity codes on declarations."),
    "risk": ("risk.group", "For analysts: rule sets, models, backtests, seeds of draws."),
    "revenue": ("revenue.group", "For law and money: rulebooks, scheme numbers, ledger, what-if."),
    "jobs": ("operations.jobs", "List, show and cancel backtests, trainings and what-if runs."),
    "hold": ("clearance.officer", "Hold goods, as an officer."),
    "release": ("clearance.officer", "Lift holds, as an officer."),
    "release-list": ("clearance.release_lists", "Make signed release lists, and use them without the system."),
    "inspect": ("clearance.officer", "Record the result of an inspection, as an officer."),
    "work": ("clearance.work", "List, claim and hand over held goods, as an officer."),
    "case": ("clearance.cases.group", "Open, change and close cases of related consignments."),
    "control": ("clearance.controls", "Order, answer, conclude and list controls of goods."),
    "licence": ("clearance.goods.licences", "Register licences, list their uses, and write them off."),
    "rights": ("clearance.goods.rights", "Register applications of rights holders, as an officer."),
    "dispose": ("clearance.officer", "Seize goods, or decide what becomes of them, as an officer."),
    "audit": ("clearance.audit", "Prove the audit trail; export evidence of a consignment."),
    "return": ("clearance.corrections", "Report that released goods were returned or destroyed."),
    "transit": ("clearance.goods.transit", "Move goods to another office under customs control."),
    "returns": ("clearance.returns", "Return the goods of many consignments, or order it beforehand."),
    "adjust": ("clearance.corrections", "Correct value or goods, as an officer; they are assessed again."),
    "clearance": ("clearance.group", "For operators: check the stored consignments."),
    "stats": ("operations.stats", "Show goods, revenue, times and inspections."),
    "recount": ("operations.stats", "Count all consignments again that clearance still stores, as an operator."),
    "dead-letters": ("operations.dead_letters", "List events that could not be applied, and replay them."),
    "migrate": ("operations.migrate", "Migrate a service's database to the schema of this release."),
    "sandbox": ("operations.sandbox", "Start a sandbox with scripted cases; show what its accounts did."),
    "conformance": ("operations.sandbox", "Go through the cases of a sandbox, and report what differs."),
    "simulate": ("simulation.simulate", "Write a manifest of simulated consignments."),
    "load": ("simulation.load", "File simulated consignments at a limited rate, for a limited time."),
    "prepare": ("operations.prepare", "Write the certificates and passwords that containers start with."),
    "certificate": ("operations.certificate", "Issue and revoke certificates of the local certificate authority."),
}
"""Commands in the order of the help: module under libs.cli.commands and short help."""


class Commands(LazyGroup):
    """All commands."""

    modules = COMMANDS


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="luxor", prog_name="luxor")
def luxor() -> None:
    """Luxor clears cross-border parcels. Begin with `luxor demo`, or with `luxor up` and `luxor file`.

    Every command has --json, for programs. Exit codes: 0 done, 1 something was refused or not found, 2 incorrect
    command line, 3 the system cannot be reached or is not ready, 4 evidence that is not fully proven, 130 interrupted.
    """


def main() -> None:
    """Run the command line."""
    try:
        # Outside of its standalone mode click returns the code of an Exit, and None where a command just ends.
        sys.exit(luxor(prog_name="luxor", standalone_mode=False) or 0)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader has seen enough (head, less).
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
