"""What a check of a driver has found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

DRIVER_RULES: Mapping[str, str] = {
    "docs": "The class, its methods and its parameters are documented.",
    "units": "A parameter that is a float has a unit, '1' for a number without one; or its doc says which.",
    "opening": "The instrument opens and closes, twice, and says so where it is done at the wrong time.",
    "reading": "Each parameter can be read, and is of its type.",
    "limits": "Each limit, allowed value and step is taken at its edge; beyond it nothing is sent.",
    "read back": "Each setting reads back as it was set.",
    "silence": "An answer that does not come is an error, after a time, and the next question is answered.",
    "garbage": "An answer that makes no sense is an error, and the next question is answered.",
    "late answers": "An answer that comes too late is not taken for the next one.",
    "lost connection": "A cut connection is an error that says so, and is made again, by itself or by close and open.",
    "leftovers": "Nothing is left behind: no threads, tasks of the event loop, files, sockets.",
}
"""What is checked of a driver, by the name of the rule."""


class Finding(NamedTuple):
    """Something that is wrong with a driver.

    Attributes:
        rule: Which rule of ``DRIVER_RULES`` it breaks.
        where: The class, the method or the parameter: ``"Supply.voltage"``.
        what: What is wrong, and what to do.
    """

    rule: str
    where: str
    what: str


@dataclass
class DriverReport:
    """What a check has found; a text for people when it is printed.

    Attributes:
        driver: Name of the class.
        findings: What is wrong, in the order of the rules.
        checked: How many things were looked at, by rule.
        not_checked: Why a rule was not applied, by rule.
    """

    driver: str
    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    not_checked: dict[str, str] = field(default_factory=dict)

    def find(self, rule: str, where: str, what: str) -> None:
        """Note that something is wrong."""
        self.findings.append(Finding(rule, where, what))

    def count(self, rule: str, number: int = 1) -> None:
        """Note that something was looked at."""
        self.checked[rule] += number

    def __str__(self) -> str:
        found = len(self.findings)
        lines = [f"{self.driver}: {found or 'no'} finding{'' if found == 1 else 's'}"]
        width = max((len(finding.rule) for finding in self.findings), default=0)
        lines += [f"  {finding.rule:<{width}}  {finding.where}: {finding.what}" for finding in self.findings]
        counts = [f"{rule} ({self.checked[rule]})" for rule in DRIVER_RULES if self.checked[rule]]
        lines.append(f"checked: {', '.join(counts) or 'nothing'}")
        reasons: dict[str, list[str]] = {}
        for rule in DRIVER_RULES:
            if rule in self.not_checked:
                reasons.setdefault(self.not_checked[rule], []).append(rule)
        lines += [f"not checked: {', '.join(rules)}: {why}" for why, rules in reasons.items()]
        return "\n".join(lines)


class DriverCheckError(AssertionError):
    """A driver has not passed :func:`check_driver`; the message has all that was found.

    Attributes:
        report: The report.
    """

    def __init__(self, report: DriverReport) -> None:
        super().__init__(str(report))
        self.report = report
