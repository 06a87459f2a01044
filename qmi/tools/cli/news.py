"""What comes from objects: signals, published readings, parameters that are asked for, and what is missing of them.

Everything arrives in one receiver, so that one wait is woken by all of it: answers to questions, too, put a mark into
it when they come, in whichever thread that is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final, NamedTuple, Self

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Interface
from qmi.actors.parameter_values import SIG_CHANGED
from qmi.actors.properties import GET
from qmi.actors.proxy import QMI_RpcProxy
from qmi.actors.pubsub.receiver import QMI_SignalReceiver, ReceivedSignal
from qmi.actors.pubsub.subscriptions import Topic
from qmi.errors import QMI_Exception, QMI_SignalSubscriptionException, QMI_TimeoutException
from qmi.names import Address, nearest
from qmi.presenting.places import Place, find_places
from qmi.presenting.published import publishing
from qmi.presenting.value_text import json_of, text_of
from qmi.tools.cli.errors import CommandError
from qmi.tools.cli.results import cell_of

_GAPS: Final = {
    "lost": "link lost",
    "resumed": "link restored; signals may be missing",
    "restarted": "its program was started again; signals are missing",
    "dropped": "too many signals; some are missing",
    "ended": "it is gone; nothing more will come",
}
_ANSWERED: Final = Topic("", "", "")
"""A mark in the receiver: there are answers to questions."""


class News(NamedTuple):
    """One thing that came.

    Attributes:
        name: The signal or parameter: ``"lab.psu.voltage"``.
        time: When, in seconds since the epoch.
        value: The value of a parameter, or the arguments of a signal.
        unit: The unit of a parameter.
        what: What this is: "value", "signal", "gap" or "error".
        seqnr: The number of a signal.
    """

    name: str
    time: float
    value: object
    unit: str = ""
    what: str = "value"
    seqnr: int = 0

    @property
    def is_value(self) -> bool:
        """Whether it is no message about what is missing."""
        return self.what in ("value", "signal")

    def text(self) -> str:
        """What it says, on a line."""
        if self.what == "gap":
            return f"({_GAPS.get(str(self.value), str(self.value))})"
        if self.what == "error":
            return f"({self.value})"
        if self.what == "signal" and isinstance(self.value, tuple):
            return ", ".join(map(cell_of, self.value))
        text = cell_of(self.value) if self.value is not None else text_of(None)
        return f"{text} {self.unit}" if self.unit else text

    def as_json(self) -> dict[str, object]:
        """The same for programs."""
        told: dict[str, object] = {"time": datetime.fromtimestamp(self.time, UTC).isoformat(), "name": self.name}
        if self.what == "signal" and isinstance(self.value, tuple):
            return {**told, "args": [json_of(value) for value in self.value], "seqnr": self.seqnr}
        if self.what != "value":
            return {**told, self.what: str(self.value)}
        return {**told, "value": json_of(self.value), **({"unit": self.unit} if self.unit else {})}


@dataclass(eq=False)
class _Question:
    """A parameter that is asked for again and again.

    Attributes:
        place: The parameter.
        interval: Seconds from one question to the next.
        due: When it is asked next, by the monotonic clock.
        future: The answer that is awaited; None if none is.
        failed: What went wrong the last time; empty if nothing did.
    """

    place: Place
    interval: float
    due: float = field(default_factory=time.monotonic)
    future: QMI_RpcFuture[object] | None = None
    failed: str = ""


class _Wanted(NamedTuple):
    """What is wanted of a signal: all of it, or one parameter that it tells of.

    Attributes:
        name: What it is called.
        unit: The unit of the parameter.
        keys: What the arguments of the signal begin with, where they tell of that parameter; None for a signal that is
            wanted itself.
    """

    name: str
    unit: str = ""
    keys: tuple[object, ...] | None = None


class NewsStream:
    """What comes from objects of a laboratory: iterate over it. ``with`` it.

    Args:
        proxy: Gives a proxy of an object by its address.
        interval: Seconds from one question for a parameter to the next; None takes what is published, where it is.
        otherwise: Seconds where it is not published.
        last: Whether what was published last comes first, where a site keeps it.

    Attributes:
        names: What comes.
        columns: The units of all values that come, by their names; a signal with several arguments has a name for each,
            such as ``"lab.reg.sig_state[1]"``.
    """

    def __init__(
        self, proxy: Callable[[str], QMI_RpcProxy], interval: float | None, otherwise: float, *, last: bool = False
    ) -> None:
        self.names: list[str] = []
        self.columns: dict[str, str] = {}
        self._proxy = proxy
        self._interval, self._otherwise = interval, otherwise
        self._last = last
        self._receiver = QMI_SignalReceiver(report_gaps=True)
        self._wanted: dict[Topic, list[_Wanted]] = {}
        self._questions: list[_Question] = []
        self._answered: deque[_Question] = deque()
        self._dropped = 0

    def __enter__(self) -> Self:
        """Nothing is asked before something is added."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Wait for no more answers."""
        for question in self._questions:
            if question.future is not None:
                question.future.cancel()

    # What is wanted

    def add(self, address: Address, pattern: str) -> None:
        """Take in a signal or a parameter, or all whose names a pattern fits.

        Raises:
            CommandError: If there are none; says what there is.
        """
        proxy = self._proxy(str(address))
        interface: Interface = proxy.__rpc_interface__
        signals = [signal.name for signal in interface.signals]
        fitting = [name for name in signals if name == pattern or fnmatchcase(name, pattern)]
        if pattern.startswith("sig_"):
            if not fitting:
                near = nearest(pattern, signals)
                hint = f"Did you mean {near!r}?" if near else f"It has {', '.join(signals) or 'none'}"
                raise CommandError(f"{address} has no signal {pattern!r}. {hint}")
            for name in fitting:
                self.names.append(f"{address}.{name}")
                count = next(len(signal.arg_types) for signal in interface.signals if signal.name == name)
                numbered = [f"{address}.{name}[{index}]" for index in range(count)]
                self.columns |= dict.fromkeys([f"{address}.{name}"] if count == 1 else numbered, "")
                self._subscribe(proxy, address, name, _Wanted(f"{address}.{name}"))
            return
        for place in find_places(proxy, address, pattern):
            self._add_parameter(place, signals)

    def _add_parameter(self, place: Place, signals: list[str]) -> None:
        if not place.gettable:
            raise CommandError(f"{place.where} can only be set")
        self.names.append(place.where)
        self.columns[place.where] = place.unit
        is_polled = False
        for name, keys in publishing(place, signals).items():
            if name == SIG_CHANGED or self._interval is None:
                self._subscribe(place.proxy, place.address, name, _Wanted(place.where, place.unit, keys))
                is_polled |= name != SIG_CHANGED
        if not is_polled:
            self._questions.append(_Question(place, self._interval or self._otherwise))

    def _subscribe(self, proxy: QMI_RpcProxy, address: Address, name: str, wanted: _Wanted) -> None:
        topic = Topic(address.context, address.object, name)
        if topic not in self._wanted:
            signal = getattr(proxy, name)
            try:
                signal.subscribe(self._receiver, last=self._last)
            except QMI_SignalSubscriptionException:
                if not self._last:
                    raise
                signal.subscribe(self._receiver)  # it does not come by the site, which has no last value of it
        self._wanted.setdefault(topic, []).append(wanted)

    # What comes

    def __iter__(self) -> Iterator[News]:
        """What comes, until nothing can come any more."""
        while True:
            yield from self._take_answers()
            wait = self._ask()
            try:
                signal = self._receiver.get_next_signal(wait)
            except QMI_TimeoutException:
                continue
            except QMI_SignalSubscriptionException:
                if not self._questions:
                    return
                # Only answers can come. A mark that was put into the old receiver is not missed: its answer is there,
                # and is taken before the next wait.
                self._receiver, self._dropped = QMI_SignalReceiver(report_gaps=True), 0
                continue
            if signal.publisher_context:
                yield from self._news_of(signal)

    def _news_of(self, signal: ReceivedSignal) -> Iterator[News]:
        topic = Topic(signal.publisher_context, signal.publisher_name, signal.signal_name)
        dropped, self._dropped = self._receiver.dropped - self._dropped, self._receiver.dropped
        for wanted in self._wanted.get(topic, ()):
            if dropped:
                yield News(wanted.name, signal.timestamp, "dropped", what="gap")
            if signal.is_gap:
                if topic.signal != SIG_CHANGED or self._is_asked(wanted.name) or wanted.keys is None:
                    yield News(wanted.name, signal.timestamp, signal.gap, what="gap")
            elif wanted.keys is None:
                yield News(wanted.name, signal.timestamp, signal.args, what="signal", seqnr=signal.seqnr)
            elif signal.args[: len(wanted.keys)] == wanted.keys and len(signal.args) > len(wanted.keys):
                yield News(wanted.name, signal.timestamp, signal.args[len(wanted.keys)], wanted.unit)

    def _is_asked(self, name: str) -> bool:
        return any(question.place.where == name for question in self._questions)

    # Questions

    def _ask(self) -> float | None:
        """Ask what is due; gives the seconds until the next question, None if there is none to be asked."""
        now = time.monotonic()
        for question in self._questions:
            if question.future is None and question.due <= now:
                question.due = max(question.due + question.interval, now)
                self._begin(question)
        due = [question.due for question in self._questions if question.future is None]
        return max(min(due) - now, 0.0) if due else None

    def _begin(self, question: _Question) -> None:
        place = question.place
        future: QMI_RpcFuture[object] = place.proxy.__rpc__.call_nonblocking(GET, (place.path,), {})
        question.future = future
        # Called by any thread, and at once if the answer is there; the mark comes after the answer, so that who is
        # woken by it finds the answer.
        future.add_done_callback(lambda: self._note(question))

    def _note(self, question: _Question) -> None:
        self._answered.append(question)
        self._receiver.mark_gap(_ANSWERED, "answered")

    def _take_answers(self) -> Iterator[News]:
        while self._answered:
            question = self._answered.popleft()
            future, question.future = question.future, None
            if future is None:  # it was there before it had a name
                continue
            place, now = question.place, time.time()
            try:
                value = future.wait()
            except QMI_Exception as error:
                failed = str(error)
            except Exception as error:  # noqa: BLE001 - of a driver; it is told, and asked again
                failed = f"{type(error).__name__}: {error}"
            else:
                question.failed = ""
                yield News(place.where, now, value, place.unit)
                continue
            if failed != question.failed:
                question.failed = failed
                yield News(place.where, now, failed, what="error")
