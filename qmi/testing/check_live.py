"""What a driver does while all goes well: it opens and closes, is read and set, and keeps to its limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from qmi.core.exceptions import QMI_InvalidOperationException
from qmi.parameters.declaration import Parameter
from qmi.testing.check_subject import Outcome, Subject
from qmi.testing.check_values import accepted, is_of_type, is_same, refused
from qmi.testing.findings import DriverReport


def check_opening(subject: Subject, report: DriverReport) -> bool:
    """Check that an open instrument closes and opens, twice, and refuses what is done at the wrong time.

    Returns:
        Whether it is open again.
    """
    name = subject.wanted.cls.__name__

    def expect(what: str, outcome: Outcome, *, is_open: bool) -> bool:
        report.count("opening")
        if outcome.error is not None:
            report.find("opening", name, f"{what} fails: {outcome}")
        elif subject.proxy.is_open() is not is_open:
            report.find(
                "opening", name, f"behind {what}, is_open() says {not is_open}; call super().open() and close()"
            )
        else:
            return True
        return False

    def expect_refusal(what: str, action: Callable[[], object]) -> None:
        report.count("opening")
        outcome = subject.do(action)
        if not isinstance(outcome.error, QMI_InvalidOperationException):
            report.find("opening", name, f"{what} must raise QMI_InvalidOperationException; {outcome}")

    proxy = subject.proxy
    expect_refusal("opening it when it is open", proxy.open)
    for _ in range(2):
        if not expect("close()", subject.do(proxy.close), is_open=False):
            return False
        expect_refusal("closing it when it is closed", proxy.close)
        path = next((path for path, parameter in subject.parameters().items() if parameter.gettable), None)
        if path is not None and subject.has_device:
            expect_refusal(f"reading {path} when it is closed", partial(_read, subject, path))
        if not expect("open() behind close()", subject.do(proxy.open), is_open=True):
            return False
    return True


def _read(subject: Subject, path: str) -> object:
    outcome = subject.get(path)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def check_parameters(subject: Subject, report: DriverReport) -> None:
    """Check each parameter: that it is read, that its settings read back, and that its limits hold."""
    for path, parameter in subject.parameters().items():
        where = subject.where(path)
        before = Outcome()
        if parameter.gettable:
            before = _check_reading(subject, path, parameter, report)
            if before.error is not None:
                continue
        if parameter.settable:
            with _wide_limits(subject, path, parameter):
                _check_settings(subject, path, parameter, report)
                _check_refusals(subject, path, parameter, report)
            if parameter.block is None and before.value not in (None, ""):
                subject.set(path, before.value)
        if errors := subject.device_errors():
            report.find("reading", where, f"the simulated device has an error in its queue: {', '.join(errors)}")


@contextmanager
def _wide_limits(subject: Subject, path: str, parameter: Parameter[object]) -> Iterator[None]:
    """Give the parameters that limit another one values that leave it room: theirs may be 0 at first."""
    before: list[tuple[str, object]] = []
    parameters = subject.parameters()
    for other, is_upper in subject.limiting(path, parameter):
        old = subject.get(other) if parameters[other].gettable else Outcome()
        values = accepted(parameters[other], subject.limits(other))
        numbers = sorted(value for value in values if isinstance(value, int | float))
        if numbers and subject.set(other, numbers[-1 if is_upper else 0]).error is None and old.value is not None:
            before.append((other, old.value))
    try:
        yield
    finally:
        for other, value in reversed(before):
            subject.set(other, value)


def _check_reading(subject: Subject, path: str, parameter: Parameter[object], report: DriverReport) -> Outcome:
    report.count("reading")
    read = subject.get(path)
    if read.error is not None:
        report.find("reading", subject.where(path), f"it cannot be read on the simulator: {read}{_queued(subject)}")
    elif not is_of_type(read.value, parameter):
        report.find(
            "reading", subject.where(path), f"it is a {parameter.type.__name__}, and was read as {read.value!r}"
        )
    return read


def _check_settings(subject: Subject, path: str, parameter: Parameter[object], report: DriverReport) -> None:
    low, high = subject.limits(path) or (None, None)
    if low is not None and high is not None and low > high:
        what = f"no value fits between its limits, which are {low!r} and {high!r} on the simulator"
        report.find("limits", subject.where(path), what)
        return
    for value in accepted(parameter, (low, high)):
        report.count("limits")
        done = subject.set(path, value)
        if done.error is not None:
            report.find(
                "limits", subject.where(path), f"{value!r} is allowed, and cannot be set: {done}{_queued(subject)}"
            )
            continue
        if not parameter.gettable:
            continue
        report.count("read back")
        read = subject.get_settled(path, value)
        if read.error is not None:
            report.find("read back", subject.where(path), f"it cannot be read when it was set to {value!r}: {read}")
        elif not is_same(read.value, value):
            report.find("read back", subject.where(path), f"it was set to {value!r} and reads back as {read.value!r}")


def _check_refusals(subject: Subject, path: str, parameter: Parameter[object], report: DriverReport) -> None:
    for value, why in refused(parameter, subject.limits(path)):
        for set_it in (subject.set, subject.assign):
            report.count("limits")
            wrong = _not_refused(subject, path, parameter, partial(set_it, path, value))
            if wrong:
                report.find("limits", subject.where(path), f"{value!r}, {why}, {wrong}")
                break
    subject.device_errors()


def _not_refused(
    subject: Subject, path: str, parameter: Parameter[object], set_it: Callable[[], Outcome]
) -> str | None:
    """What is wrong with how a value is refused; None if nothing is."""
    before = len(subject.commands())
    old = subject.get(path) if parameter.gettable else Outcome()
    done = set_it()
    if parameter.write is not None and (sent := subject.commands()[before:]):
        behind = "" if done.error is None else f"; then {done}"
        return f"was sent to the device: {sent[0].strip()!r}{behind}"
    if done.error is None:
        return "was not refused"
    if not isinstance(done.error, ValueError | TypeError):
        return f"must be refused by a QMI_InvalidValueException, which says what is allowed; {done}"
    if parameter.gettable and old.error is None:
        now = subject.get_settled(path, old.value)
        if now.error is not None or not is_same(now.value, old.value):
            return f"was refused and changed something all the same: it was {old.value!r}; then {now}"
    return None


def _queued(subject: Subject) -> str:
    errors = subject.device_errors()
    return f"; the device reports {', '.join(errors)}" if errors else ""
