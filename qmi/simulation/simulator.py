"""What a simulated device is inside: its settings, as attributes, and what it measures, as methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from qmi.errors import QMI_UsageException
from qmi.names import nearest
from qmi.simulation.node import Node
from qmi.simulation.sources import evaluate

F = TypeVar("F", bound=Callable[..., object])

_COMMANDS = "_simulated_commands"


class SimulatedError(Exception):
    """An error that a simulated device reports in its error queue.

    Args:
        number: Its number; those of SCPI are negative.
        text: What it says; that of SCPI if it is empty.
    """

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(number, text)
        self.number = number
        self.text = text


class SimulatedChannels:
    """The channels of a simulated device, by their numbers."""

    def __init__(self, channels: Mapping[int, Simulator]) -> None:
        self._channels = dict(channels)

    def __getitem__(self, number: int) -> Any:
        if number not in self._channels:
            raise QMI_UsageException(f"There is no channel {number!r}; there are {', '.join(map(str, self._channels))}")
        return self._channels[number]

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._channels.values())


class Simulator:
    """The inside of a simulated device: a subclass says what it measures, and how it differs from the declaration.

    Each setting of the driver is an attribute, which keeps what was set; its value in the class is the one that the
    device has when it is switched on. It is always of the type of the parameter: of an enumeration ``self.mode`` is a
    member, and the class or its methods may give it a member or the value of one. What the device measures is a method
    of the reading's name, or a value such as :class:`Noise` or :class:`Settling`::

        class SupplySimulator(Simulator):
            voltage = 12.0
            temperature = Settling("voltage", 30.0, start=20.0)

            def current(self):
                return self.voltage / 50.0 if self.output else 0.0

            @Simulator.command("CURV?")
            def curve(self):
                return bytes(100)

    A channel has a simulator of its own, ``self.channels[2]``; its class is that which the driver's channel names by
    ``simulator = ...``, or a class that stands here under the name of the channels.

    Attributes:
        identity: What the device answers to ``*IDN?``; None makes it from the name of the driver.
        answer_time: How long an answer takes, in seconds.
        command_terminator: What a command ends in; None goes by the driver.
        response_terminator: What an answer ends in; None goes by the driver.
    """

    identity: ClassVar[str | None] = None
    answer_time: ClassVar[float] = 0.0
    command_terminator: ClassVar[str | None] = None
    response_terminator: ClassVar[str | None] = None

    __node__: Node

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            code = value.__code__ if inspect.isfunction(value) else None
            if code is not None and not (code.co_argcount or code.co_flags & inspect.CO_VARARGS):
                raise QMI_UsageException(
                    f"{cls.__qualname__}.{name}() takes no argument for the simulator that it is called on. Write "
                    "'self' as its first one, or make it a @staticmethod"
                )

    def __init__(self) -> None:
        self.__node__ = Node(self, dict(vars(Simulator)))

    @staticmethod
    def command(*patterns: str) -> Callable[[F], F]:
        """Have a method answer a command that no parameter of the driver has.

        The method is called with the values behind the command, as texts; with the number in place of ``{n}`` before
        them. What it returns is the answer: a text, a number, a bool (1 or 0), or bytes or an array, which are sent as
        an IEEE 488.2 block. None answers nothing.

        Args:
            patterns: The commands: ``"CURV?"``, ``"SOUR{n}:FUNC"``, ``"DISP:TEXT {value}"``.

        Raises:
            QMI_UsageException: If a pattern is no text.
        """
        if not patterns or not all(isinstance(pattern, str) and pattern.strip() for pattern in patterns):
            raise QMI_UsageException(f'Simulator.command() takes commands such as "CURV?", got {patterns!r}')

        def mark(function: F) -> F:
            setattr(function, _COMMANDS, (*getattr(function, _COMMANDS, ()), *patterns))
            return function

        return mark

    def now(self) -> float:
        """The time of the device, in seconds; from where it counts is not said."""
        return self.__node__.root.now

    def number(self) -> int:
        """The number of the channel that this is; 0 for the instrument itself."""
        return self.__node__.number or 0

    def instrument(self) -> Any:
        """The simulator of the instrument that this channel belongs to; for an instrument, itself."""
        return self.__node__.root.simulator

    def push_error(self, number: int, text: str = "") -> None:
        """Put an error into the device's error queue.

        Args:
            number: Its number; those of SCPI are negative.
            text: What it says; that of SCPI if it is empty.
        """
        self.__node__.root.errors.push(number, text)

    def answer(self, command: str) -> Any:
        """Answer a command that no parameter of the driver and no method here takes; a subclass may override this.

        Args:
            command: The command, without what it ends in. Bytes beyond ASCII are characters of latin-1.

        Returns:
            The answer, as for :meth:`command`.

        Raises:
            SimulatedError: Here always: the device knows no such command (-113).
        """
        raise SimulatedError(-113)

    def split(self, data: bytes) -> int | None:
        """Where the first message in what has come ends; for devices whose messages end in no terminator.

        Args:
            data: What has come, not empty.

        Returns:
            Its length, or None if it has not come whole.

        Raises:
            NotImplementedError: Here always: messages end in the command terminator.
        """
        raise NotImplementedError

    def reply(self, message: bytes) -> bytes:
        """Answer a message as a whole, where commands are no texts; for devices with a :meth:`split` of their own.

        Args:
            message: The message.

        Returns:
            What is sent, as it is; it may be nothing.

        Raises:
            NotImplementedError: Here always: messages are texts.
        """
        raise NotImplementedError

    def switched_on(self) -> None:
        """Called when the device has been made, and after each ``*RST``, when all settings have their first values."""

    def __setattr__(self, name: str, value: Any) -> None:
        node = vars(self).get("__node__")
        object.__setattr__(self, name, value if node is None else node.converted(name, value))

    def __getattr__(self, name: str) -> Any:
        node = vars(self).get("__node__")
        if node is not None and not name.startswith("_"):
            if name in node.sources:
                return evaluate(node.sources[name], self)
            if name.startswith("get_") and node.has(name[4:]):
                return lambda: node.read(name[4:])
        known = [key for key in (*vars(self), *(node.sources if node is not None else ())) if not key.startswith("_")]
        near = nearest(name, known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise AttributeError(f"{type(self).__name__} simulates no {name!r}{hint}", name=name, obj=self)


def commands_of(cls: type[Simulator]) -> dict[str, str]:
    """The commands that methods of a simulator answer, and the names of the methods."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            for pattern in getattr(value, _COMMANDS, ()):
                found[pattern] = name
    return found


for _class in (Simulator, SimulatedError):
    _class.__module__ = "qmi.core.driver"
