"""Checks that every driver should pass, made from its declaration and its simulator."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from qmi.actors.rpc_object import check_class
from qmi.core.exceptions import QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.names import nearest
from qmi.runtime.wakeup import refuse_on_loop
from qmi.testing.check_docs import check_docs
from qmi.testing.check_faults import FAULT_RULES, check_faults
from qmi.testing.check_leftovers import check_leftovers
from qmi.testing.check_live import check_opening, check_parameters
from qmi.testing.check_subject import Laboratory, Wanted, open_laboratory
from qmi.testing.findings import DRIVER_RULES, DriverCheckError, DriverReport

_LIVE = ("opening", "reading", "limits", "read back", *FAULT_RULES, "leftovers")


def check_driver(
    driver: type[QMI_Instrument],
    *args: object,
    simulate: object = True,
    skip: Collection[str] = (),
    **kwargs: object,
) -> DriverReport:
    """Check all that can be checked of a driver without its device; a test of one line.

    The driver's own code runs on a simulated device, in a context of its own, in simulated time: no wait takes any. It
    is made, opened and closed several times; what is checked is in ``qmi.testing.DRIVER_RULES``::

        def test_supply():
            check_driver(Supply)

    A driver that cannot be simulated is checked for its documentation alone.

    Args:
        driver: The class of the driver.
        args: Arguments of its constructor; the transport may be left out.
        simulate: True for the simulator of the driver, or the class of another one.
        skip: Names of rules that are not applied.
        kwargs: Further arguments of the constructor.

    Returns:
        What was checked, if nothing was found; it can be printed.

    Raises:
        DriverCheckError: If something is wrong; its message has everything, not only the first thing.
        QMI_UsageException: If the class is no driver, or there is no such rule.
    """
    __tracebackhide__ = True
    report = inspect_driver(driver, *args, simulate=simulate, skip=skip, **kwargs)
    if report.findings:
        raise DriverCheckError(report)
    return report


def inspect_driver(
    driver: type[QMI_Instrument],
    *args: object,
    simulate: object = True,
    skip: Collection[str] = (),
    **kwargs: object,
) -> DriverReport:
    """Do what :func:`check_driver` does, and return what was found in place of raising it.

    Args:
        driver: The class of the driver.
        args: Arguments of its constructor; the transport may be left out.
        simulate: True for the simulator of the driver, or the class of another one.
        skip: Names of rules that are not applied.
        kwargs: Further arguments of the constructor.
    """
    refuse_on_loop("check_driver()", "def test_driver(): check_driver(...)")
    check_class(driver, QMI_Instrument, "A check of a driver")
    for rule in skip:
        if rule not in DRIVER_RULES:
            near = nearest(str(rule), DRIVER_RULES)
            hint = f"; did you mean {near!r}?" if near else ""
            raise QMI_UsageException(f"There is no rule {rule!r} to skip{hint}; there are {', '.join(DRIVER_RULES)}")
    report = DriverReport(driver.__name__)
    check_docs(driver, report)
    with open_laboratory() as laboratory:
        _check_live(laboratory, Wanted(driver, args, kwargs, simulate), report, skip)
    order = list(DRIVER_RULES)
    report.findings = sorted(
        (finding for finding in dict.fromkeys(report.findings) if finding.rule not in skip),
        key=lambda finding: order.index(finding.rule),
    )
    for rule in skip:
        report.checked.pop(rule, None)
        report.not_checked[rule] = "it was skipped"
    for rule in order:
        if not report.checked[rule]:
            report.not_checked.setdefault(rule, "there is nothing of the kind")
    return report


def _check_live(laboratory: Laboratory, wanted: Wanted, report: DriverReport, skip: Collection[str]) -> None:
    """All that needs an instrument."""
    try:
        wanted.simulated  # noqa: B018 - whether there is one
    except QMI_UsageException as error:
        report.not_checked |= dict.fromkeys(_LIVE, str(error))
        return
    checks: dict[str, Callable[[], bool]] = {
        "opening": partial(_check_opened, laboratory, wanted, report),
        "lost connection": partial(check_faults, laboratory, wanted, report),
        "leftovers": partial(check_leftovers, laboratory, wanted, report),
    }
    for rule, check in checks.items():
        if (rule == "lost connection" and set(FAULT_RULES) <= set(skip)) or (rule == "leftovers" and rule in skip):
            continue
        try:
            if not check():
                rest = [rule for rule in _LIVE if not report.checked[rule]]
                report.not_checked |= dict.fromkeys(rest, "the check ended before, by one of the findings")
                return
        except Exception as error:  # noqa: BLE001 - of a driver that does what nobody has thought of
            what = f"the check has come to an end by {type(error).__name__}: {error}"
            report.find(rule, wanted.cls.__name__, what)


def _check_opened(laboratory: Laboratory, wanted: Wanted, report: DriverReport) -> bool:
    """Check all that is checked of an instrument while all goes well; False if it cannot be opened."""
    with laboratory.subject(wanted, report, "opening") as subject:
        if subject is None:
            return False
        if not check_opening(subject, report):
            return False
        parameters = subject.parameters().values()
        if not parameters:
            report.not_checked |= dict.fromkeys(("reading", "limits", "read back"), "it declares no parameters")
        elif not any(parameter.settable for parameter in parameters):
            report.not_checked |= dict.fromkeys(("limits", "read back"), "its parameters can only be read")
        check_parameters(subject, report)
        for rule in ("limits", "read back"):
            if not report.checked[rule]:
                report.not_checked.setdefault(rule, "no parameter that can be set can be read")
        return True
