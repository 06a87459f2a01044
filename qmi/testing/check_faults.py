"""What a driver does when things go wrong: no answer, a late one, a cable that is unplugged."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from enum import Enum
from functools import partial
from itertools import islice
from typing import NamedTuple

from qmi.actors.interface import Kind, method_kind
from qmi.parameters.declaration import Parameter
from qmi.testing.check_docs import own_methods
from qmi.testing.check_subject import CLEAR, Laboratory, Outcome, Subject, Wanted
from qmi.testing.check_values import accepted, is_same
from qmi.testing.findings import DriverReport

_MANY = 1000
"""More answers than a driver asks for in vain before it gives up."""
_MOST = 8
"""How many questions are asked: those of parameters are all asked in the same way."""
_HOUR = 3600.0
_SETTLED = 86400.0
"""Seconds after which a value that settles stays where it is."""
_LATER = _HOUR + math.pi
"""Seconds until a question is asked again: whole periods of few things that go up and down."""
FAULT_RULES = ("silence", "garbage", "late answers", "lost connection")


class Question(NamedTuple):
    """What is asked while something goes wrong: a parameter or a method, and what the answer should be.

    Attributes:
        what: What it is called, for messages.
        ask: Asks.
        answer: What the device answers when all is well.
    """

    what: str
    ask: Callable[[], Outcome]
    answer: object

    def is_answered(self) -> Outcome | None:
        """Ask, and return what came if it is not the answer."""
        outcome = self.ask()
        return None if outcome.error is None and is_same(outcome.value, self.answer) else outcome


def check_faults(laboratory: Laboratory, wanted: Wanted, report: DriverReport) -> bool:
    """Check what a driver does when its device does not answer, or cannot be reached.

    Args:
        laboratory: Where instruments are made.
        wanted: What to make.
        report: Where findings go.

    Returns:
        Whether it goes on: a driver that waits for ever cannot be checked any more.
    """
    checks: dict[str, Callable[[Subject, list[Question], DriverReport], None]] = {
        "silence": _check_silence,
        "garbage": _check_garbage,
        "late answers": _check_late,
        "lost connection": _check_cut,
    }
    for rule, check in checks.items():
        with laboratory.subject(wanted, report, "opening") as subject:
            if subject is None:
                return False
            why = _why_not(subject)
            questions = [] if why else _questions(subject)
            if not questions:
                report.not_checked[rule] = why or "there is no parameter or get_...() that always reads the same"
                continue
            try:
                check(subject, questions, report)
            except _WaitsForEver as error:
                report.find(rule, str(error), "it waits for ever for an answer; give the protocol a default_timeout")
                subject.fault("disconnected")  # which ends that wait
                return False
    if "lost connection" not in report.not_checked and _takes_reconnect(wanted.cls):
        with laboratory.subject(wanted, report, "lost connection", reconnect=True) as subject:
            if subject is not None:
                _check_reconnect(subject, _questions(subject), report)
    return True


def _takes_reconnect(cls: type) -> bool:
    """Whether a driver can be told to make a lost connection again, also where it hands on what it does not know."""
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters
            if "reconnect" in parameters:
                return True
            if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
                return False
    return False


class _WaitsForEver(Exception):
    """A question is asked without a time limit."""


def _why_not(subject: Subject) -> str:
    if not subject.has_device:
        return "no device is simulated that the driver speaks to: its parameters are kept for it, or it has no device"
    return ""


def _questions(subject: Subject) -> list[Question]:
    """What can be asked of a driver, and is answered in the same way each time: what its author has written first."""
    cls = subject.wanted.cls
    parameters = subject.parameters()
    own = [name for name, function in own_methods(cls) if _is_question(name) and _takes_nothing(function)]
    asked = {name: Question(f"{cls.__name__}.{name}()", partial(subject.call, name), None) for name in own}
    # A setting stays as it is; a reading may have noise.
    for path in sorted(parameters, key=lambda path: not parameters[path].settable):
        if parameters[path].gettable and parameters[path].block is None and f"get_{path}" not in asked:
            asked[path] = Question(subject.where(path), partial(subject.get, path), None)
    return list(islice((question for one in asked.values() if (question := _steady(subject, one))), _MOST))


def _is_question(method: str) -> bool:
    # What asks for errors takes them out of their queue.
    return method.startswith("get_") and "error" not in method


def _takes_nothing(function: Callable[..., object]) -> bool:
    if method_kind(function) not in (Kind.PLAIN, Kind.ASYNC):
        return False
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return all(one.default is not one.empty or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters)


def _steady(subject: Subject, question: Question) -> Question | None:
    """The question with its answer; None if the device is not asked, or its answer depends on when it is asked."""
    before = subject.received()
    question.ask()
    # The waits of the checks let time pass. What settles has come to rest by then, and what drifts is another value.
    subject.pass_time(_SETTLED)
    first = question.ask()
    subject.pass_time(_LATER)
    second = question.ask()
    if first.error is not None or second.error is not None or subject.received() < before + 3:
        return None
    try:
        return question._replace(answer=first.value) if is_same(second.value, first.value) else None
    except (TypeError, ValueError):  # of arrays and the like
        return None


def _check_silence(subject: Subject, questions: list[Question], report: DriverReport) -> None:
    for question in questions:
        report.count("silence")
        subject.fault("no_answer", times=_MANY)
        outcome = _asked(question)
        if outcome.error is None:
            report.find("silence", question.what, f"the device did not answer at all, and {outcome}")
        elif not isinstance(outcome.error, CLEAR):
            report.find("silence", question.what, f"without an answer it must raise QMI_TimeoutException; {outcome}")
        subject.fault("none")
        if wrong := question.is_answered():
            report.find("silence", question.what, f"{_expected(question)} when the device answers again; {wrong}")


def _check_garbage(subject: Subject, questions: list[Question], report: DriverReport) -> None:
    for question in questions:
        report.count("garbage")
        subject.fault("garbage", times=_MANY)
        outcome = _asked(question)
        if outcome.error is None and isinstance(
            question.answer, int | float | Enum
        ):  # others may have any text in them
            report.find("garbage", question.what, f"the device answered what makes no sense, and {outcome}")
        elif outcome.error is not None and not isinstance(outcome.error, (*CLEAR, ValueError)):
            what = f"where the answer makes no sense it must raise QMI_InstrumentException; {outcome}"
            report.find("garbage", question.what, what)
        subject.fault("none")
        if wrong := question.is_answered():
            report.find("garbage", question.what, f"{_expected(question)} behind an answer that made no sense; {wrong}")


def _asked(question: Question) -> Outcome:
    outcome = question.ask()
    if outcome.waits_for_ever:
        raise _WaitsForEver(question.what)
    return outcome


def _expected(question: Question) -> str:
    return f"expected {question.answer!r}"


def _check_late(subject: Subject, questions: list[Question], report: DriverReport) -> None:
    wait = 0.0
    for question in questions:
        subject.fault("no_answer", times=_MANY)
        wait = _asked(question).seconds
        subject.fault("none")
        question.ask()
        others = [other for other in questions if not is_same(other.answer, question.answer)][:1]
        for late in (wait + 0.25, wait + _HOUR):
            for other in others:
                _check_one_late(subject, late, question.ask, other, report)
    for path, parameter in subject.parameters().items():
        if parameter.settable and parameter.gettable and (pair := _two_values(subject, path, parameter)):
            behind = Question(subject.where(path), partial(subject.get, path), pair[1])
            for late in (wait + 0.25, wait + _HOUR):
                _check_one_late(subject, late, _asked_then_set(subject, path, *pair), behind, report)
            break
    if not report.checked["late answers"]:
        report.not_checked["late answers"] = "that needs two parameters, or one that can be set, with different values"


def _check_one_late(
    subject: Subject, seconds: float, ask_late: Callable[[], Outcome], other: Question, report: DriverReport
) -> None:
    """Ask something whose answer comes so late, and then something else."""
    report.count("late answers")
    subject.fault("late", seconds=seconds)
    first = ask_late()
    subject.fault("none")
    if first.error is not None and not isinstance(first.error, CLEAR):
        report.find("late answers", other.what, f"where an answer is late it must time out; {first}")
    if wrong := other.is_answered():
        what = f"{_expected(other)}; {wrong}: is that the answer to the question before, which came late?"
        report.find("late answers", other.what, what)


def _two_values(subject: Subject, path: str, parameter: Parameter[object]) -> tuple[object, object] | None:
    values = [
        value
        for value in accepted(parameter, subject.limits(path))
        # Not one that takes time to be there.
        if subject.set(path, value).error is None and is_same(subject.get(path).value, value)
    ]
    return (values[0], values[1]) if len(values) > 1 and not is_same(values[0], values[1]) else None


def _asked_then_set(subject: Subject, path: str, first: object, second: object) -> Callable[[], Outcome]:
    subject.set(path, first)

    def ask() -> Outcome:
        outcome = subject.get(path)
        subject.fault("none")
        subject.set(path, second)
        return outcome

    return ask


def _check_cut(subject: Subject, questions: list[Question], report: DriverReport) -> None:
    """Without being told to make it again, a driver says that the connection is lost; close and open mend it."""
    for question in questions:
        report.count("lost connection")
        subject.fault("disconnected")
        _check_error_is_clear(question, question.ask(), report)
        second = question.ask()
        if second.error is not None:
            _check_error_is_clear(question, second, report)
            if not _check_reopening(subject, question, report):
                return
        elif not is_same(second.value, question.answer):
            what = f"{_expected(question)} when the connection is made again; {second}"
            report.find("lost connection", question.what, what)


def _check_error_is_clear(question: Question, outcome: Outcome, report: DriverReport) -> None:
    if outcome.waits_for_ever:
        report.find("lost connection", question.what, "it waits for ever when the connection is lost")
    elif outcome.error is None and not is_same(outcome.value, question.answer):
        report.find("lost connection", question.what, f"the connection was lost, and {outcome}")
    elif outcome.error is not None and not isinstance(outcome.error, CLEAR):
        what = f"when the connection is lost it must raise QMI_TransportLostException or its like; {outcome}"
        report.find("lost connection", question.what, what)


def _check_reopening(subject: Subject, question: Question, report: DriverReport) -> bool:
    for name in ("close", "open"):
        report.count("lost connection")
        done = subject.do(getattr(subject.proxy, name))
        if done.error is not None:
            where = f"{subject.wanted.cls.__name__}.{name}()"
            report.find("lost connection", where, f"it fails behind a lost connection: {done}")
            return False
    if wrong := question.is_answered():
        what = f"{_expected(question)} when it was closed and opened behind a lost connection; {wrong}"
        report.find("lost connection", question.what, what)
    return True


def _check_reconnect(subject: Subject, questions: list[Question], report: DriverReport) -> None:
    """With reconnect=True, the call behind the loss works; a device that is away for a while is an error until then."""
    for question in questions[:1]:
        for times in (1, 100):
            report.count("lost connection")
            subject.fault("disconnected", times=times)
            _check_error_is_clear(question, question.ask(), report)
            if times > 1:
                _check_error_is_clear(question, question.ask(), report)
                subject.fault("none")
            if wrong := question.is_answered():
                what = f"{_expected(question)} when the device is there again, with reconnect=True; {wrong}"
                report.find("lost connection", question.what, what)
                return
