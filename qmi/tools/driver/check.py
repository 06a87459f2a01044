"""``check TARGET``: tries on a driver what every driver has to get right, and shows what came out."""

from __future__ import annotations

import argparse
import logging
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qmi.core.instrument import QMI_Instrument
from qmi.errors import QMI_UsageException
from qmi.testing import DRIVER_RULES, DriverReport, inspect_driver
from qmi.tools.driver import target
from qmi.tools.driver.arguments import add_constructor_arguments, constructor_arguments

_SHORT = 40
"""A reason of so many characters is said again in each row."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("target", metavar="TARGET", nargs="?", help=f"{target.HELP}; here without :CLASS all of them")
    add_constructor_arguments(parser)
    parser.add_argument(
        "--skip", metavar="RULE", action="append", default=[], help="do not apply a rule; see --rules for their names"
    )
    parser.add_argument("--rules", action="store_true", help="print what is checked, and check nothing")


def run(given: argparse.Namespace) -> int:
    """Carry out the command.

    Returns:
        0, or 1 if anything was found.
    """
    console = Console(file=sys.stdout, highlight=False, soft_wrap=False)
    if given.rules:
        console.print(_rules())
        return 0
    if given.target is None:
        raise QMI_UsageException("Name the driver to check, such as acme_psu:AcmePsu")
    # Connections are cut on purpose: what is logged of that is no finding, and does not belong between the tables.
    logging.getLogger("qmi").addHandler(logging.NullHandler())
    found = 0
    for driver in target.find_drivers(given.target):
        if not issubclass(driver, QMI_Instrument):
            raise QMI_UsageException(f"{driver.__name__} is no instrument, and only those can be checked")
        arguments = constructor_arguments(given.arguments, driver)
        report = inspect_driver(driver, skip=given.skip, **arguments)
        console.print(table_of(report))
        found += len(report.findings)
    return 1 if found else 0


def table_of(report: DriverReport) -> Table:
    """A row for each rule: how much was looked at, and each finding."""
    count = len(report.findings)
    title = f"{report.driver}: {count or 'no'} finding{'' if count == 1 else 's'}"
    table = Table("rule", "result", "what was found", title=Text(title), title_justify="left", box=None, pad_edge=False)
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    before = ""
    for rule in DRIVER_RULES:
        findings = [finding for finding in report.findings if finding.rule == rule]
        if findings:
            what = "\n".join(f"{finding.where}: {finding.what}" for finding in findings)
            table.add_row(rule, Text(f"{len(findings)} found", "bold red"), Text(what))
        elif rule in report.not_checked:
            why = report.not_checked[rule]
            table.add_row(
                rule,
                Text("not checked", "yellow"),
                Text("as above" if why == before and len(why) > _SHORT else why, "dim"),
            )
            before = why
        elif report.checked[rule]:
            table.add_row(rule, Text(f"{report.checked[rule]} ok", "green"), "")
        else:
            table.add_row(rule, Text("nothing to check", "dim"), "")
    return table


def _rules() -> Table:
    table = Table("rule", "what is checked", box=None, pad_edge=False)
    for rule, what in DRIVER_RULES.items():
        table.add_row(rule, Text(what))
    return table
