"""What a scripted device expects to be written, and what it answers, in order: the rules, without a transport.

A script is a list of steps. Bytes that are written are compared with it as they come, however they are cut into writes;
what is read is what the steps so far have answered. Time is given by whoever asks.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, NoReturn, TypeAlias

from qmi.devices.traffic import quoted
from qmi.errors import QMI_InvalidValueException, QMI_TransportLostException
from qmi.parameters.blocks import block_of

SHOWN = 72
"""How many characters of what was written or is answered a message shows."""
AROUND = 3
"""How many steps before and behind a position a message shows."""


class ScriptMismatchError(AssertionError):
    """What a driver did is not what the script of its transport says."""


class Mark(Enum):
    """A step, or an answer, that is no text."""

    NO_ANSWER = "no answer"
    LOST = "the connection is lost"
    REFUSED = "an attempt to connect is refused"
    CLOSED = "the driver closes the transport"


NO_ANSWER: Final = Mark.NO_ANSWER
"""The answer of a step to which nothing comes, so the read times out. One without an answer must not be read."""
LOST: Final = Mark.LOST
"""The answer of a step in whose place the connection is lost; as a step, it is lost before the next command."""
REFUSED: Final = Mark.REFUSED
"""A step in which an attempt to connect, the first one or a later one, comes to nothing."""
CLOSED: Final = Mark.CLOSED
"""A step in which the driver closes the transport, and opens it again if steps follow."""


@dataclass(frozen=True)
class Late:
    """An answer that comes too late.

    Attributes:
        answer: What comes then.
        seconds: How long after the question it comes; None: as soon as the driver has waited in vain once.
    """

    answer: str | bytes
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 <= self.seconds < math.inf:
            raise QMI_InvalidValueException(f"seconds must be a number >= 0, got {self.seconds!r}")


@dataclass(frozen=True)
class Unasked:
    """A step: the device sends this by itself, when the step before is done.

    Attributes:
        answer: What it sends: a text, bytes, or several in a list.
    """

    answer: object


def block(data: object, terminator: bytes = b"\n") -> bytes:
    """An answer of binary data: an IEEE 488.2 block.

    Args:
        data: The data: bytes, or a numpy array, of which the memory is taken.
        terminator: What stands behind the block.

    Returns:
        The block with its header.
    """
    return block_of(memoryview(data).tobytes()) + terminator  # type: ignore[arg-type]


class _Silence(NamedTuple):
    """Nothing comes: until a time after the question, until one wait was in vain, or for ever."""

    seconds: float | None


_Part: TypeAlias = bytes | _Silence | Mark
_Written: TypeAlias = str | bytes | re.Pattern[str]


@dataclass
class _Parsed:
    """A step as it is compared."""

    mark: Mark | None = None
    expected: bytes | re.Pattern[str] | None = None
    parts: list[_Part] = field(default_factory=list)
    origin: str = ""

    def __str__(self) -> str:
        if self.mark is not None:
            return f"({self.mark.value})"
        answers = ", ".join(_shown_part(part) for part in self.parts)
        if self.expected is None:
            return f"(unasked) -> {answers}"
        return _shown(self.expected) + (f" -> {answers}" if answers else "")


class Script:
    """A script and how far a driver has come in it.

    Args:
        steps: The steps.
        terminator: What stands behind a text that is written.
        answer_terminator: What stands behind a text that is answered.
        name: Where the script is from, for messages.
        origins: For each step where it is from, for messages.
    """

    def __init__(
        self,
        steps: Iterable[object],
        terminator: bytes,
        answer_terminator: bytes,
        *,
        name: str = "",
        origins: Sequence[str] = (),
    ) -> None:
        self._name = name
        self._terminator = terminator
        self._steps = [_parse(step, number, terminator, answer_terminator) for number, step in enumerate(steps, 1)]
        for step, origin in zip(self._steps, origins, strict=False):
            step.origin = origin
        self._at = 0
        self._partly = b""  # what was written of the step that is next
        self._parts: deque[tuple[_Part, float]] = deque()  # what is still to come, each with when it was asked for
        self._is_silent = False  # the last answer was none
        self._is_lost = False
        self._failure = ""
        self._begin_step(0.0)

    # What the driver does.

    def connect(self) -> None:
        """The driver opens the connection, for the first time or again.

        Raises:
            ConnectionRefusedError: If the script says so.
        """
        self.check()
        if self._mark() is REFUSED:
            self._next(0.0)
            raise ConnectionRefusedError("the script refuses this connection")
        if self._is_lost:
            self._parts.clear()
        self._is_lost = self._is_silent = False

    def close(self, *, is_checked: bool) -> None:
        """The driver closes the transport for good.

        Args:
            is_checked: Whether steps that are left are raised here, and not only by :meth:`check_done`.

        Raises:
            ScriptMismatchError: If there are steps left that do not begin with ``CLOSED``.
        """
        self._parts.clear()
        self._is_silent = self._is_lost = False
        if self._failure:
            return
        if self._mark() is CLOSED:
            self._next(0.0)
        elif self._at < len(self._steps) or self._partly:
            error = self._mismatch(
                f"The driver closed the transport, and {self._left()} not used",
                self._expected(),
                "close; where the driver closes the transport and opens it again, put CLOSED into the script",
                label="done",
            )
            if is_checked:
                raise error

    def write(self, data: bytes, now: float) -> None:
        """The driver writes.

        Raises:
            ScriptMismatchError: If something else is to be written, or nothing.
            QMI_TransportLostException: If the script says so.
        """
        self.check()
        self._lose_if_next(now)
        if self._is_lost:
            raise QMI_TransportLostException("the connection is lost, as the script says")
        self._is_silent = False
        # What is late without a time is there by now, and what never came never comes.
        self._parts = deque(entry for entry in self._parts if not _is_timeless(entry[0]))
        self._partly += data
        while self._partly:
            step = self._step()
            used = (
                None if step is None or step.expected is None else _match(step.expected, self._partly, self._terminator)
            )
            if used is None:
                self._fail("The driver wrote something else than the script has", self._expected(), self._partly)
            if not used:
                return  # the rest of it may come by another write
            assert step is not None
            self._partly = self._partly[used:]
            self._parts += [(part, now) for part in step.parts]
            self._next(now)

    def wait(self, timeout: float | None, now: float, *, may_be_silent: bool = False) -> float:
        """For how long nothing comes now, if the driver waits so long.

        Args:
            timeout: For how long the driver waits, in seconds; None for ever.
            now: The time.
            may_be_silent: Whether the driver takes what comes, so that nothing is an answer, too.

        Raises:
            ScriptMismatchError: If the driver waits for what the script does not have.
            QMI_TransportLostException: If the script says so.
        """
        self.check()
        if not self._parts:
            self._lose_if_next(now)
        if self._is_lost:
            raise QMI_TransportLostException("the connection is lost, as the script says")
        if timeout is not None and timeout <= 0:
            return 0.0
        if not self._parts:
            return self._nothing_comes(timeout, may_be_silent)
        part, asked = self._parts[0]
        if isinstance(part, _Silence):
            if part.seconds is None:
                return timeout or 0.0
            rest = max(0.0, asked + part.seconds - now)
            return rest if timeout is None else min(timeout, rest)
        if part is NO_ANSWER:
            self._parts.popleft()
            self._is_silent = True
            return self.wait(timeout, now, may_be_silent=may_be_silent)
        return 0.0

    def receive(self, size: int, timeout: float | None, now: float) -> bytes:
        """What the driver receives when it has waited: at most so many bytes; none if nothing has come.

        Raises:
            QMI_TransportLostException: If the script says so.
        """
        while self._parts:
            part, asked = self._parts[0]
            if isinstance(part, bytes):
                data, rest = part[:size], part[size:]
                self._parts.popleft()
                if rest:
                    self._parts.appendleft((rest, asked))
                return data
            if isinstance(part, _Silence):
                if part.seconds is not None and now < asked + part.seconds - 1e-9:
                    return b""
                if part.seconds is None and timeout is not None:
                    if timeout > 0:
                        self._parts.popleft()
                    return b""
            if part is NO_ANSWER:
                return b""
            self._parts.popleft()
            if part is LOST:
                self._is_lost = True
                raise QMI_TransportLostException("the connection is lost, as the script says")
        return b""

    # What the test asks.

    def check(self) -> None:
        """Raise the first mismatch again, if there was one.

        Raises:
            ScriptMismatchError: If there was one.
        """
        __tracebackhide__ = True
        if self._failure:
            raise ScriptMismatchError(self._failure)

    def check_done(self) -> None:
        """See to it that all went by the script, to its end.

        Raises:
            ScriptMismatchError: If there was a mismatch, or there are steps left.
        """
        __tracebackhide__ = True
        self.check()
        if self._mark() is CLOSED and self._at == len(self._steps) - 1:
            return  # whether it was closed behind the last exchange does not matter
        if self._at < len(self._steps) or self._partly:
            self._fail(
                f"The script is over too early: {self._left()} not used", self._expected(), self._partly or "nothing"
            )

    # Steps.

    def _step(self) -> _Parsed | None:
        return self._steps[self._at] if self._at < len(self._steps) else None

    def _mark(self) -> Mark | None:
        step = self._step()
        return None if step is None else step.mark

    def _next(self, now: float) -> None:
        self._at += 1
        self._begin_step(now)

    def _begin_step(self, now: float) -> None:
        while (step := self._step()) is not None and step.mark is None and step.expected is None:
            self._parts += [(part, now) for part in step.parts]
            self._at += 1

    def _lose_if_next(self, now: float) -> None:
        if self._mark() is LOST and not self._partly and not self._is_lost:
            self._is_lost = True
            self._next(now)

    def _nothing_comes(self, timeout: float | None, may_be_silent: bool) -> float:
        if self._partly:
            self._fail(
                "The driver reads where it has written only a part of what the script has",
                self._expected(),
                self._partly,
            )
        if timeout is None and (self._is_silent or may_be_silent):
            self._fail(
                "The driver waits without a time limit for an answer that never comes",
                "a timeout, which the driver gives to the read or to its protocol",
                "timeout None",
            )
        if timeout is None or not (self._is_silent or may_be_silent):
            self._fail(
                "The driver reads where the script has no answer (more)",
                "nothing is read here; where a device does not answer, the script says so: (question, NO_ANSWER)",
                f"a read {'without a time limit' if timeout is None else f'that waits for {timeout:g} s'}",
                label="done",
            )
        return timeout

    # Messages.

    def _expected(self) -> str | bytes | re.Pattern[str]:
        step = self._step()
        if step is None:
            return "nothing more"
        return step.mark.value if step.mark is not None else step.expected or ""

    def _left(self) -> str:
        left = len(self._steps) - self._at
        return f"{left} of {_counted(len(self._steps))} {'was' if left == 1 else 'were'}"

    def _fail(self, what: str, expected: _Written, found: str | bytes, *, label: str = "written") -> NoReturn:
        __tracebackhide__ = True  # pytest shows the driver, not this
        raise self._mismatch(what, expected, found, label=label)

    def _mismatch(self, what: str, expected: _Written, found: str | bytes, *, label: str) -> ScriptMismatchError:
        """Note the first mismatch."""
        place = (
            f"step {self._at + 1} of {len(self._steps)}"
            if self._step()
            else f"the end, behind {_counted(len(self._steps))}"
        )
        step = self._step()
        if step is not None and step.origin:
            place += f", {step.origin}"
        lines = [f"{what}, at {place}{f' of {self._name}' if self._name else ''}:"]
        lines += [f"  {'expected:':<10}{_shown(expected)}", f"  {label + ':':<10}{_shown(found)}"]
        if isinstance(expected, bytes) and isinstance(found, bytes):
            lines += _pointer(expected, found)
        self._failure = "\n".join([*lines, "the script around it:", *self._around()])
        return ScriptMismatchError(self._failure)

    def _around(self) -> list[str]:
        first, last = max(0, self._at - AROUND), min(len(self._steps), self._at + AROUND + 1)
        width = len(str(last))
        lines = ["    ..."] if first else []
        for number in range(first, last):
            lines.append(f"  {'>' if number == self._at else ' '} {number + 1:>{width}}  {self._steps[number]}")
        if last < len(self._steps):
            lines.append("    ...")
        if self._at >= len(self._steps):
            lines.append(f"  > {' ' * width}  (end of the script)")
        return lines


def _parse(step: object, number: int, terminator: bytes, answer_terminator: bytes) -> _Parsed:
    if isinstance(step, Mark) and step is not NO_ANSWER:
        return _Parsed(mark=step)
    if isinstance(step, Unasked):
        return _Parsed(parts=_parts(step.answer, number, answer_terminator))
    if isinstance(step, str | bytes | re.Pattern):
        return _Parsed(expected=_bytes(step, number, terminator))
    if isinstance(step, tuple) and len(step) in (1, 2) and isinstance(step[0], str | bytes | re.Pattern):
        return _Parsed(expected=_bytes(step[0], number, terminator), parts=_parts(step[1:], number, answer_terminator))
    raise QMI_InvalidValueException(
        f"step {number} of the script must be what is written, or a pair of that and the answer, got {step!r}"
    )


def _bytes(text: str | bytes | re.Pattern[str], number: int, terminator: bytes) -> bytes | re.Pattern[str]:
    if isinstance(text, re.Pattern) and not terminator:
        raise QMI_InvalidValueException(
            f"step {number} of the script is a pattern, which needs a terminator to know where what is written ends"
        )
    if isinstance(text, str):
        text = text.encode("utf-8") + terminator
    if text == b"":
        raise QMI_InvalidValueException(f"step {number} of the script must say what is written, got an empty text")
    return text


def _parts(answer: object, number: int, terminator: bytes) -> list[_Part]:
    if answer is None:
        return []
    if isinstance(answer, str):
        return [data] if (data := answer.encode("utf-8") + terminator) else []
    if isinstance(answer, bytes | bytearray | memoryview):
        return [bytes(answer)] if answer else []
    if isinstance(answer, Late):
        return [_Silence(answer.seconds), *_parts(answer.answer, number, terminator)]
    if answer in (NO_ANSWER, LOST):
        return [answer]
    if isinstance(answer, tuple | list):
        if any(one in (NO_ANSWER, LOST) for one in answer[:-1]):
            raise QMI_InvalidValueException(f"step {number} of the script answers behind NO_ANSWER or LOST: {answer!r}")
        return [part for one in answer for part in _parts(one, number, terminator)]
    raise QMI_InvalidValueException(
        f"the answer of step {number} of the script must be a text, bytes, Late(...), NO_ANSWER or LOST, got {answer!r}"
    )


def _counted(steps: int) -> str:
    return f"{steps} step{'' if steps == 1 else 's'}"


def _is_timeless(part: _Part) -> bool:
    return part is NO_ANSWER or (isinstance(part, _Silence) and part.seconds is None)


def _match(expected: bytes | re.Pattern[str], written: bytes, terminator: bytes) -> int | None:
    """How many of the bytes are what is expected; 0 if there may be more to come, None if they are something else."""
    if isinstance(expected, bytes):
        if written.startswith(expected):
            return len(expected)
        return 0 if expected.startswith(written) else None
    end = written.find(terminator)
    if end < 0:
        return 0
    return end + len(terminator) if expected.fullmatch(written[:end].decode("latin-1")) else None


def _shown(data: str | bytes | re.Pattern[str]) -> str:
    if isinstance(data, str):
        return data
    if isinstance(data, re.Pattern):
        return f"a text like /{data.pattern}/"
    text = quoted(data)
    return text if len(text) <= SHOWN else f'{text[:SHOWN]}..." ({len(data)} bytes)'


def _shown_part(part: _Part) -> str:
    if isinstance(part, bytes):
        return _shown(part)
    if isinstance(part, _Silence):
        return "late:" if part.seconds is None else f"{part.seconds:g} s late:"
    return part.value


def _pointer(expected: bytes, found: bytes) -> list[str]:
    """A line that points to the first difference, where it is shown."""
    same = next(
        (i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), min(len(expected), len(found))
    )
    column = len(quoted(found[:same])) - 1
    return [" " * (12 + column) + "^"] if column <= SHOWN else [f"            they differ from byte {same} on"]
