"""A simulated device: commands in, answers out."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from numbers import Number
from typing import Any, NamedTuple

from qmi.errors import QMI_InvalidValueException, QMI_UsageException
from qmi.names import parse_parameter_path
from qmi.parameters.blocks import block_of
from qmi.parameters.rules import plain_scalar
from qmi.simulation.faults import GARBAGE, Fault, Faults, checked_fault
from qmi.simulation.framing import message_end, split, stripped
from qmi.simulation.headers import Match, Pattern, Unit, keywords, unit_of
from qmi.simulation.simulator import SimulatedChannels, SimulatedError, Simulator, commands_of
from qmi.simulation.sources import Source

_MOST_KNOWN = 1000
_MOST_RECEIVED = 10_000
_UNKNOWN = (-113, -114)
_ERROR_QUERIES = ("SYST:ERR?", "SYST:ERR:NEXT?")
_NUMBERS = frozenset({"MIN", "MINIMUM", "MAX", "MAXIMUM"})


def _no_limits(simulator: Simulator) -> tuple[float | None, float | None]:
    return None, None


@dataclass(frozen=True)
class SimulatedParameter:
    """What a simulated device needs to know of a parameter.

    Attributes:
        name: Its name, which is that of the simulator's attribute.
        ask: The command that asks for it; None if it cannot be asked for.
        write: The command that sets it, with ``{value}`` in it; None for a reading.
        parse: Makes the text behind the command into a value; raises :class:`SimulatedError` if it is none.
        format: Makes a value into the text of an answer, or into the bytes of one.
        check: Raises :class:`SimulatedError` if the simulated device refuses a value.
        limits: The lowest and the highest value, as they are now.
        is_number: Whether ``MIN`` and ``MAX`` stand for values.
        is_setting: Whether it keeps what was set.
        first: Its value when the device is switched on, as the declaration says; None if it says none.
        initial: Gives that value where neither the declaration nor the class of the simulator says it.
        source: What is read: where a reading comes from; None for a setting that reads as it was set.
        convert: Makes what the code of the simulator gives a setting, here under the name in the second argument, into
            a value of its type; raises :class:`QMI_InvalidValueException` if it is none.
        admit: The same for a value that it begins with, which has to be one that can be set.
    """

    name: str
    ask: str | None
    write: str | None
    parse: Callable[[str], object]
    format: Callable[[object], str | bytes]
    check: Callable[[Simulator, object], None]
    limits: Callable[[Simulator], tuple[float | None, float | None]] = _no_limits
    is_number: bool = False
    is_setting: bool = True
    first: object = None
    initial: Callable[[Simulator], object] = lambda _: None
    source: object = None
    convert: Callable[[object, str], object] = lambda value, _: value
    admit: Callable[[Simulator, object, str], object] = lambda _, value, __: value


class SimulatedGroup(NamedTuple):
    """Channels of a simulated device.

    Attributes:
        name: What the driver calls them.
        numbers: Their numbers.
        parameters: The parameters of each, with ``{n}`` in their commands.
        simulator: The class of the simulator of each.
        choosing: The commands that choose a channel, by its number, where that does not stand in the commands of the
            parameters: ``"INST:NSEL 2"``.
    """

    name: str
    numbers: Sequence[int]
    parameters: Sequence[SimulatedParameter]
    simulator: type[Simulator] = Simulator
    choosing: Mapping[int, Sequence[str]] = {}


class Handler(NamedTuple):
    """What answers one command.

    Attributes:
        pattern: The command.
        answer: Gives the answer.
        number: The channel that must have been chosen; None where that does not matter.
    """

    pattern: Pattern
    answer: Callable[[Match], object]
    number: int | None = None


class SimulatedDevice:
    """A device made from the declaration of a driver.

    It understands what a SCPI device does: headers in short and long form, several commands in one message, ``*IDN?``,
    ``*RST``, ``*CLS``, ``*OPC?`` and the like, and an error queue. A value beyond its limits is refused with -222, an
    unknown command with -113 and no answer.

    Args:
        simulator: The class of its inside.
        parameters: The parameters of the driver.
        groups: Its channels.
        driver: Name of the driver, for ``*IDN?``.
        command_terminator: What a command ends in; "" takes whatever comes as one.
        response_terminator: What an answer ends in.
        echo: Whether each command is sent back first.
        error_query: The question for the oldest error; no other one is answered.
        clear_command: The command to forget errors; no other one is understood. None if there is none.
        identity_query: The question what it is; no other one is answered. None if there is none.
        completion_query: A question that is answered 1 when all is done, beside ``*OPC?``.

    Attributes:
        faults: What goes wrong.
        not_understood: The command of the last message that the device does not know; empty if it knew all.
    """

    def __init__(
        self,
        simulator: type[Simulator],
        parameters: Sequence[SimulatedParameter] = (),
        groups: Sequence[SimulatedGroup] = (),
        *,
        driver: str = "Device",
        command_terminator: str = "\n",
        response_terminator: str = "\n",
        echo: bool = False,
        error_query: str = "SYST:ERR?",
        clear_command: str | None = "*CLS",
        identity_query: str | None = "*IDN?",
        completion_query: str | None = None,
    ) -> None:
        self.faults: Faults = Faults()
        self._received: deque[str] = deque(maxlen=_MOST_RECEIVED)
        self.not_understood: str = ""
        self._known: dict[tuple[tuple[str, ...], str], list[Handler]] = {}
        self._chosen: int | None = None
        self._driver = driver
        self._terminator = _first(simulator.command_terminator, command_terminator).encode("latin-1")
        self._response_terminator = _first(simulator.response_terminator, response_terminator).encode("latin-1")
        self._echo = echo
        self._nodes: list[tuple[Simulator, Sequence[SimulatedParameter]]] = []
        self._handlers: list[Handler] = []
        self.simulator: Simulator = self._add(simulator, parameters)
        self._add_groups(groups)
        self._handlers += self._common()
        self._handlers += self._of_driver(error_query, clear_command, identity_query, completion_query)
        for made, _ in self._nodes:
            made.__node__.check_names()
        self._reset()

    @property
    def received(self) -> list[str]:
        """The messages that came, oldest first, for tests; of many, the last 10000."""
        return list(self._received)

    # How it is made.

    def _add(
        self,
        cls: type[Simulator],
        parameters: Sequence[SimulatedParameter],
        root: Simulator | None = None,
        number: int | None = None,
        is_chosen: bool = False,
    ) -> Simulator:
        made = cls()
        if "__node__" not in vars(made):
            raise QMI_UsageException(f"{cls.__name__}.__init__() must call super().__init__() first")
        node = made.__node__
        node.root, node.number = (node if root is None else root.__node__), number
        if root is not None:
            node.root.channels.append(node)
        self._nodes.append((made, parameters))
        for pattern, name in commands_of(cls).items():
            self._handlers.append(Handler(Pattern(pattern, number), _own_command(made, name, "{n}" in pattern)))
        for parameter in parameters:
            own = node.declared(parameter.name)
            if parameter.is_setting:
                node.take_setting(parameter.name, parameter.convert)
            source = own if isinstance(own, Source) else parameter.source
            if source is not None or not parameter.is_setting:
                node.sources[parameter.name] = source
            if inspect.isfunction(own):
                _check_method(cls, parameter, own)
            for command, make in ((parameter.ask, _asking), (parameter.write, _setting)):
                if command is not None:
                    which = number if is_chosen and "{n}" not in command else None
                    self._handlers.append(Handler(Pattern(command, number), make(made, parameter), which))
        return made

    def _add_groups(self, groups: Sequence[SimulatedGroup]) -> None:
        for group in groups:
            own = getattr(type(self.simulator), group.name, None)
            cls = own if isinstance(own, type) and issubclass(own, Simulator) else group.simulator
            channels = {
                number: self._add(cls, group.parameters, self.simulator, number, bool(group.choosing))
                for number in group.numbers
            }
            vars(self.simulator)[group.name] = SimulatedChannels(channels)
            for number, commands in group.choosing.items():
                self._handlers += [Handler(Pattern(command), self._choosing(number)) for command in commands]

    def _choosing(self, number: int) -> Callable[[Match], None]:
        def choose(_: Match) -> None:
            self._chosen = number

        return choose

    def _common(self) -> Iterator[Handler]:
        errors = self.simulator.__node__.errors
        answers: Mapping[str, Callable[[Match], Any]] = {
            "*RST": lambda _: self._reset(),
            "*OPC?": lambda _: 1,
            "*OPC": lambda _: _set_status(errors, 1),
            "*WAI": lambda _: None,
            "*TRG": lambda _: None,
            "*ESE": lambda _: None,
            "*SRE": lambda _: None,
            "*ESE?": lambda _: 0,
            "*SRE?": lambda _: 0,
            "*STB?": lambda _: 4 if len(errors) else 0,
            "*ESR?": lambda _: errors.take_status(),
            "*TST?": lambda _: 0,
            "SYST:VERS?": lambda _: "1999.0",
        }
        for text, answer in answers.items():
            yield Handler(Pattern(text), answer)

    def _of_driver(
        self, error_query: str, clear_command: str | None, identity_query: str | None, completion_query: str | None
    ) -> Iterator[Handler]:
        """What the driver names is understood, and nothing else in its place: the real device knows no more."""
        errors = self.simulator.__node__.errors
        for text in _ERROR_QUERIES if _is_standard(error_query) else (error_query,):
            yield Handler(Pattern(text), lambda _: errors.pop())
        if _is_standard(error_query):
            yield Handler(Pattern("SYST:ERR:COUN?"), lambda _: len(errors))
        if clear_command is not None:
            yield Handler(Pattern(clear_command), lambda _: errors.clear())
        if identity_query is not None:
            yield Handler(Pattern(identity_query), lambda _: self._identity())
        if completion_query is not None:
            yield Handler(Pattern(completion_query), lambda _: 1)

    def _identity(self) -> str:
        return type(self.simulator).identity or f"qmi,{self._driver},simulated,1"

    def _reset(self) -> None:
        with _switching_on():
            for simulator, parameters in self._nodes:
                for parameter in parameters:
                    if parameter.is_setting:
                        _begin_setting(simulator, parameter)
            # Limits may be other settings, which have their values now.
            for simulator, parameters in self._nodes:
                for parameter in parameters:
                    if parameter.is_setting:
                        _check_first_value(simulator, parameter)
        self.simulator.__node__.changed()
        for simulator, _ in self._nodes:
            type(simulator).switched_on(simulator)

    def begin(self, now: float) -> None:
        """Begin with a time, if it is not 0: what settles begins to do so then.

        Args:
            now: The time.
        """
        self.simulator.__node__.now = now
        for simulator, _ in self._nodes:
            simulator.__node__.forget()
        self.simulator.__node__.changed()

    # What it does.

    def set_fault(self, kind: str, times: int = 1, seconds: float | None = None, *, now: float = 0.0) -> None:
        """Have something go wrong; see :func:`~qmi.simulation.faults.checked_fault`.

        Args:
            kind: ``"no_answer"``, ``"late"``, ``"garbage"``, ``"disconnected"`` or ``"none"``.
            times: How often.
            seconds: How late an answer is, or how long the device cannot be reached.
            now: The time.
        """
        self.faults.add(checked_fault(kind, times, seconds), now)

    def take_message(self, data: bytearray) -> bytes | None:
        """Take the first message from what has come; None if it has not come whole."""
        if not data:
            return None
        try:
            end = type(self.simulator).split(self.simulator, bytes(data))
        except NotImplementedError:
            end = message_end(data, self._terminator) if self._terminator else len(data)
        if end is None:
            return None
        message = bytes(data[:end])
        del data[:end]
        return message

    def respond(self, message: bytes, now: float) -> list[tuple[float, bytes]]:
        """What the device sends because of a message, and how many seconds later; also the echo of it.

        Args:
            message: One message, with its terminator.
            now: The time.
        """
        self.simulator.__node__.now = now
        sent: list[tuple[float, bytes]] = [(0.0, message)] if self._echo else []
        answer = self._answer_bytes(message)
        if answer is None:
            answer = self._answer_text(message)
        if answer and (made := self._with_fault(answer, self.faults.take())) is not None:
            sent.append(made)
        return sent

    def _answer_bytes(self, message: bytes) -> bytes | None:
        """The answer of a simulator that speaks in bytes; None if it does not."""
        try:
            answer = type(self.simulator).reply(self.simulator, message)
        except NotImplementedError:  # what else goes wrong has nothing to do with this, and is raised apart from it
            return None
        self._received.append(message.decode("latin-1"))
        return answer

    def _answer_text(self, message: bytes) -> bytes:
        commands = stripped(message.removesuffix(self._terminator))
        self._received.append(commands.decode("latin-1"))
        self.not_understood = ""
        answers: list[bytes] = []
        path: tuple[str, ...] = ()
        for part in split(commands, b";"):
            unit = unit_of(part.decode("latin-1"))
            if not unit.header:
                continue
            is_common = unit.header.startswith("*")
            if unit.header.startswith(":"):
                path = ()
            answer = _as_bytes(self._answer_unit(() if is_common else path, unit), unit.text)
            if answer is not None:
                answers.append(answer)
            if not is_common:
                path = (*path, *keywords(unit.header)[:-1])
        return b";".join(answers) + self._response_terminator if answers else b""

    def _answer_unit(self, path: tuple[str, ...], unit: Unit) -> Any:
        try:
            if (found := self._find(path, unit)) is not None:
                return found[0].answer(found[1])
            if any(handler.pattern.has_header(path, unit) for handler in self._handlers):
                raise SimulatedError(-224)
            if any(handler.pattern.differs_in_number(path, unit) for handler in self._handlers):
                raise SimulatedError(-114)
            return type(self.simulator).answer(self.simulator, unit.text)
        except SimulatedError as error:
            if error.number in _UNKNOWN:
                self.not_understood = unit.text
            self.simulator.__node__.errors.push(error.number, error.text)
            return None

    def _find(self, path: tuple[str, ...], unit: Unit) -> tuple[Handler, Match] | None:
        """What answers a command: what names all of it, such as ``MEAS:VOLT? (@2)``, or else only its header.

        A header that is declared as it was sent goes before one that could be short for it: ``RAMPST?``, ``RAMP?``.
        """
        best: tuple[Handler, Match] | None = None
        best_rank = 4
        for handler in self._candidates(path, unit):
            if handler.number not in (None, self._chosen):
                continue
            found = handler.pattern.match(path, unit)
            if found is None:
                continue
            is_general = handler.pattern.takes_anything and bool(unit.rest)
            rank = 2 * (not handler.pattern.is_written_so(unit)) + is_general
            if rank < best_rank:
                best, best_rank = (handler, found), rank
        return best

    def _candidates(self, path: tuple[str, ...], unit: Unit) -> list[Handler]:
        """What has this header; drivers ask the same again and again."""
        key = (path, unit.header)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = [handler for handler in self._handlers if handler.pattern.may_be(path, unit)]
            self._known[key] = found
        return found

    def _with_fault(self, answer: bytes, fault: Fault | None) -> tuple[float, bytes] | None:
        delay = type(self.simulator).answer_time
        if fault is None:
            return delay, answer
        if fault.kind == "no_answer":
            return None
        if fault.kind == "late":
            return delay + fault.seconds, answer
        return delay, GARBAGE + self._response_terminator

    # For drivers without a transport, whose parameters it keeps.

    def get(self, path: str, now: float) -> Any:
        """The value of a parameter."""
        self.simulator.__node__.now = now
        simulator, name = self._find_parameter(path)
        try:
            return simulator.__node__.measure(name)
        except Exception as error:
            _tell_where(error, simulator, name, f"which is what is read of {name}")
            raise

    def set(self, path: str, value: object, now: float) -> None:
        """Give a parameter another value."""
        self.simulator.__node__.now = now
        simulator, name = self._find_parameter(path)
        setattr(simulator, name, value)
        simulator.__node__.changed()

    def _find_parameter(self, path: str) -> tuple[Simulator, str]:
        parts = parse_parameter_path(path)
        assert parts is not None
        found: Simulator = vars(self.simulator)[parts.group][parts.number] if parts.group else self.simulator
        return found, parts.name


def _asking(simulator: Simulator, parameter: SimulatedParameter) -> Callable[[Match], Any]:
    def answer(found: Match) -> Any:
        if found.value and parameter.is_number and found.value.upper() in _NUMBERS:
            return parameter.format(_extreme(simulator, parameter, found.value))
        if found.value:
            raise SimulatedError(-108)
        try:
            return _Ready(parameter.format(simulator.__node__.measure(parameter.name)))
        except Exception as error:
            _tell_where(error, simulator, parameter.name, f"which is what is read of {parameter.name}")
            raise

    return answer


def _tell_where(error: Exception, simulator: Simulator, name: str, what: str) -> None:
    """Say whose code it was that failed, and what it was to give."""
    if not isinstance(error, SimulatedError):
        error.add_note(f"In the simulator: {type(simulator).__name__}.{name}, {what}")


def _check_method(cls: type[Simulator], parameter: SimulatedParameter, function: Callable[..., object]) -> None:
    if parameter.is_setting:
        raise _is_a_method(cls, parameter.name)
    signature = inspect.signature(function)
    try:
        signature.bind("self")
    except TypeError:
        raise QMI_UsageException(
            f"{cls.__name__}.{parameter.name}{signature} is what is read of {parameter.name}, and must be called with "
            f"self alone: write def {parameter.name}(self)"
        ) from None


def _setting(simulator: Simulator, parameter: SimulatedParameter) -> Callable[[Match], None]:
    def answer(found: Match) -> None:
        if not found.value:
            raise SimulatedError(-109)
        if parameter.is_number and found.value.upper() in _NUMBERS:
            value = _extreme(simulator, parameter, found.value)
        else:
            value = parameter.parse(found.value)
            parameter.check(simulator, value)
        setattr(simulator, parameter.name, value)
        simulator.__node__.changed()

    return answer


def _extreme(simulator: Simulator, parameter: SimulatedParameter, word: str) -> Any:
    limit = parameter.limits(simulator)[word.upper().startswith("MAX")]
    if limit is None:
        raise SimulatedError(-224)
    return limit


def _own_command(simulator: Simulator, name: str, has_number: bool) -> Callable[[Match], Any]:
    method = getattr(simulator, name)
    signature = inspect.signature(method)
    is_channel = simulator.__node__.number is not None

    def answer(found: Match) -> Any:
        numbers = [found.number] if has_number and not is_channel else []
        values = [stripped(part).decode("latin-1") for part in split(found.value.encode("latin-1"), b",")]
        arguments: list[object] = [*numbers, *(values if found.value else [])]
        try:
            signature.bind(*arguments)
        except TypeError:
            try:
                signature.bind_partial(*arguments)
            except TypeError:
                raise SimulatedError(-108) from None
            raise SimulatedError(-109) from None
        try:
            result = method(*arguments)
        except Exception as error:
            _tell_where(error, simulator, name, "which answers a command")
            raise
        simulator.__node__.changed()
        return result

    return answer


class _Ready(NamedTuple):
    """An answer as it is sent: bytes in it are no block that is still to be made."""

    data: str | bytes


def _as_bytes(answer: Any, command: str) -> bytes | None:
    if answer is None:
        return None
    if isinstance(answer, _Ready):
        return answer.data if isinstance(answer.data, bytes) else _as_text(answer.data, command)
    if isinstance(answer, Enum):
        answer = answer.value
    answer = plain_scalar(answer)
    if isinstance(answer, bool):
        return b"1" if answer else b"0"
    if isinstance(answer, bytes | bytearray):
        return block_of(bytes(answer))
    if hasattr(answer, "tobytes") and hasattr(answer, "ndim") and answer.ndim:
        return block_of(answer.tobytes())
    if not isinstance(answer, str | Number):
        raise TypeError(
            f"A simulator answers {command!r} with a text, a number, a bool, bytes, an array or None, got {answer!r}"
        )
    return _as_text(str(answer), command)


def _as_text(answer: str, command: str) -> bytes:
    try:
        return answer.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"No device sends {answer!r}, with which a simulator answers {command!r}") from None


def _is_standard(error_query: str) -> bool:
    """Whether a question for errors is that of SCPI, in whatever form: ``SYSTem:ERRor:NEXT?``."""
    unit = unit_of(error_query)
    return any(Pattern(text).match((), unit) is not None for text in _ERROR_QUERIES)


def _first(own: str | None, other: str) -> str:
    return other if own is None else own


@contextmanager
def _switching_on() -> Iterator[None]:
    try:
        yield
    except QMI_InvalidValueException as error:
        raise QMI_UsageException(f"The simulated device cannot be switched on: {error}") from None


def _first_value(simulator: Simulator, parameter: SimulatedParameter) -> tuple[object, str]:
    """What somebody has written as the value after switching on, and where; None if nobody has."""
    node, name = simulator.__node__, parameter.name
    own = node.begun.get(name, node.declared(name))
    if own is None or isinstance(own, property | Source):
        return parameter.first, f"simulate= of the parameter {name}"
    return own, f"{type(simulator).__name__}.{name}"


def _begin_setting(simulator: Simulator, parameter: SimulatedParameter) -> None:
    value, where = _first_value(simulator, parameter)
    value = parameter.initial(simulator) if value is None else parameter.convert(value, where)
    setattr(simulator, parameter.name, value)


def _check_first_value(simulator: Simulator, parameter: SimulatedParameter) -> None:
    value, where = _first_value(simulator, parameter)
    if value is not None and parameter.name in vars(simulator):
        vars(simulator)[parameter.name] = parameter.admit(simulator, value, where)


def _is_a_method(cls: type[Simulator], name: str) -> QMI_UsageException:
    return QMI_UsageException(
        f"{cls.__name__}.{name} is a method, but {name} is a setting, which keeps what was set: give its first "
        f"value ({name} = 1.0), or make it a property with a setter"
    )


def _set_status(errors: Any, bit: int) -> None:
    errors.status |= bit
