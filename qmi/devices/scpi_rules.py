"""What drivers of devices that speak SCPI have in common, be they awaited or not."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, ClassVar

from qmi.actors.channels import Channel
from qmi.actors.instrument import QMI_InstrumentIdentification
from qmi.actors.parameter_values import forget_values
from qmi.errors import QMI_InstrumentException, QMI_UsageException
from qmi.names import nearest
from qmi.parameters.command_checks import check_channel_commands
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import declared_of
from qmi.parameters.scpi_binding import DeclaredParameter, ParameterOfChannel, ScpiBinding, wrong_answer
from qmi.parameters.scpi_text import ScpiText, scpi_text

if TYPE_CHECKING:
    from qmi.actors.proxy_parameters import ProxyParameters
    from qmi.actors.pubsub.signal import QMI_Signal
    from qmi.parameters.snapshot import Change, Snapshot

_NUMBER = scpi_text(float)
_FLAG = scpi_text(bool)
DECODER = "latin-1"  # what is no ASCII is shown with the parameter that it is no value of

_KINDS_OF_OPTIONS = (str, bytes, bool, int, float, tuple, list, dict, type(None))
"""What the options of a driver are; parameters, signals and methods are none of these."""

_CLOSE = 0.8
"""How much a name resembles another that it is taken for a slip: a driver may well have a ``reset_command``."""


class ScpiRules:
    """What drivers of both kinds have in common: what devices differ in, and which settings they are given again."""

    TRANSPORT_DEFAULTS: ClassVar[Mapping[str, object]] = {"port": 5025, "baudrate": 9600}
    IDENTITY_QUERY: ClassVar[str | None] = "*IDN?"
    NOT_RESTORED: ClassVar[tuple[str, ...]] = ()
    """Names of parameters that a new connection is not given again, such as what heats; outputs (``OUTP``) are not."""
    error_query: ClassVar[str] = "SYST:ERR?"
    """The question for the oldest error."""
    completion_query: ClassVar[str | None] = None
    """The question that is asked after each command and answered when that is done, such as ``*OPC?``."""
    command_terminator: str = "\n"
    """What a command ends in."""
    response_terminator: str = "\n"
    """What an answer ends in."""
    clear_command: ClassVar[str | None] = "*CLS"
    """What a device is sent when it is opened, to forget errors of before; None if it knows no such command."""
    echo: ClassVar[bool] = False
    """Whether the instrument sends each command back."""
    command_delay: ClassVar[float] = 0.0
    """Least time between two commands, in seconds."""

    if TYPE_CHECKING:
        # What an object has whose class declares parameters (qmi.actors.parameters).

        sig_changed: ClassVar[QMI_Signal]

        @property
        def parameters(self) -> ProxyParameters:
            """What can be set and read; here is a handle of each parameter."""

        def snapshot(self, update: bool = False, names: Collection[str] | None = None) -> Snapshot:
            """The values of all parameters at one time."""

        def restore(self, snapshot: Mapping[str, object], dry_run: bool = False) -> list[Change]:
            """Set what differs from a snapshot."""

    _name: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_attributes(cls)
        declared = declared_of(cls)
        for owner in (declared, *(declared_of(channels.channel_class) for channels in declared.channels.values())):
            for parameter in owner.parameters.values():
                if parameter.ask is not None or parameter.write is not None:
                    _check_binding(cls, parameter)
        # A driver that sends and asks by itself may put the number of a channel where it likes.
        if cls._channel_commands is ScpiRules._channel_commands and _sends_as_the_library(cls):
            check_channel_commands(cls, declared)
        _check_options(cls)

    def _begin_rules(self) -> None:
        self._settings: dict[str, tuple[str, ...]] = {}
        self._bindings: dict[DeclaredParameter, ScpiBinding] = {}

    def _protocol_options(self, timeout: float, check_errors: bool) -> dict[str, Any]:
        """How the protocol speaks to this device."""
        return {
            "command_terminator": self.command_terminator,
            "response_terminator": self.response_terminator,
            "default_timeout": timeout,
            "error_query": self.error_query if check_errors else None,
            "completion_query": self.completion_query,
            "echo": self.echo,
            "command_delay": self.command_delay,
        }

    def _channel_commands(self, channel: ParameterOfChannel | None) -> tuple[str, ...]:
        """The commands that are sent before those of a channel, for devices where it is chosen first.

        A driver overrides this where the number of the channel does not stand in the commands.

        Args:
            channel: The channel; None for a parameter of the instrument itself.
        """
        return ()

    @staticmethod
    def _number(answer: str, question: str) -> float:
        """The number that a device sent; infinite if it is out of range, NaN if there is none.

        Args:
            answer: What it sent.
            question: What it was asked, for the message.

        Raises:
            QMI_InstrumentException: If it is no number.
        """
        value = _read(_NUMBER, answer, question)
        assert isinstance(value, float)
        return value

    @classmethod
    def _numbers(cls, answer: str, question: str, count: int) -> list[float]:
        texts = answer.split(",")
        if len(texts) != count:
            raise QMI_InstrumentException(wrong_answer(question, answer, f"{count} numbers"))
        return [cls._number(text, question) for text in texts]

    @staticmethod
    def _flag(answer: str, question: str) -> bool:
        """Whether a device says 1 or ON.

        Raises:
            QMI_InstrumentException: If it says neither that, nor 0 or OFF.
        """
        return _read(_FLAG, answer, question) is True

    def _binding(self, parameter: DeclaredParameter) -> ScpiBinding:
        found = self._bindings.get(parameter)
        if found is None:
            found = self._bindings[parameter] = ScpiBinding(parameter)
        return found

    def _forget_settings(self) -> None:
        """The device has been reset, or may have other settings than when it was open before."""
        self._settings.clear()
        forget_values(self)

    def _device_was_lost(self) -> None:
        """The device may have been without power: only what it is given again is known of it."""
        forget_values(self, self._settings)

    def _keep(self, setting: str, commands: tuple[str, ...]) -> None:
        """Remember the commands of a setting for a new connection."""
        # Those that were set last come last: a range is one of the function that was chosen before.
        self._settings.pop(setting, None)
        self._settings[setting] = commands

    def _keep_parameter(self, parameter: DeclaredParameter, path: str, command: str, before: tuple[str, ...]) -> None:
        if parameter.name not in self.NOT_RESTORED and not is_output(command):
            self._keep(path, (*before, command))


def _sends_as_the_library(cls: type) -> bool:
    methods = (getattr(cls, name, None) for name in ("_read_parameter", "_write_parameter"))
    return all(getattr(method, "__module__", "").startswith("qmi.devices.") for method in methods)


def _check_options(cls: type) -> None:
    """Refuse an attribute of a driver that is nearly one of those in which devices differ: it would do nothing."""
    options = {
        name.lower(): name
        for base in ScpiRules.__mro__
        for name in (*vars(base), *vars(base).get("__annotations__", ()))
        if not name.startswith("_") and not callable(getattr(ScpiRules, name, None))
    }
    for name, value in vars(cls).items():
        is_new = not any(name in vars(base) for base in cls.__mro__[1:])
        if name.startswith("_") or not is_new or not isinstance(value, _KINDS_OF_OPTIONS):
            continue
        near = nearest(name.lower(), options)
        if near is not None and SequenceMatcher(None, name.lower(), near).ratio() >= _CLOSE:
            raise QMI_UsageException(
                f"{cls.__qualname__}.{name} does nothing: did you mean {options[near]}? If it is something else, give "
                "it a name that resembles none of the options of a ScpiInstrument, or one with an underscore before it"
            )


_TEXTS = ("command_terminator", "response_terminator", "error_query")
_TEXTS_OR_NONE = ("completion_query", "clear_command", "IDENTITY_QUERY")


def _check_attributes(cls: type) -> None:
    """Refuse what a class says of its device that cannot be used.

    Raises:
        QMI_UsageException: Saying which class and attribute, what was found and what to do.
    """
    for name in (*_TEXTS, *_TEXTS_OR_NONE):
        value: object = inspect.getattr_static(cls, name, None)
        may_be_none = name in _TEXTS_OR_NONE
        if isinstance(value, str) or (value is None and may_be_none) or hasattr(value, "__get__"):
            continue
        fault = f"{cls.__qualname__}.{name} must be a text{' or None' if may_be_none else ''}, got {value!r}"
        if isinstance(value, bytes | bytearray):
            fault += f": write {bytes(value).decode('latin-1')!r}, without the b"
        raise QMI_UsageException(fault)
    delay: object = inspect.getattr_static(cls, "command_delay", 0.0)
    if hasattr(delay, "__get__"):
        return
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay < math.inf:
        raise QMI_UsageException(f"{cls.__qualname__}.command_delay must be a number of seconds >= 0, got {delay!r}")


def _check_binding(cls: type, parameter: Parameter[Any]) -> None:
    try:
        ScpiBinding(parameter)
    except ValueError as error:
        owner = parameter.owner or cls
        raise QMI_UsageException(f"Parameter {owner.__qualname__}.{parameter.name}: {error}") from None


def is_output(command: str) -> bool:
    """Whether a command is one of the outputs of a device, which nobody else switches on: ``OUTP2:STAT 1``."""
    header = command.rpartition(";")[2].strip().lstrip(":").upper()
    return header.startswith("OUTP") and header.partition(":")[2].partition(" ")[0] in ("", "STAT", "STATE")


def identification_of(answer: str) -> QMI_InstrumentIdentification:
    """What a device says that it is.

    Raises:
        QMI_InstrumentException: If it is not vendor, model, serial number and version.
    """
    words = [word.strip() for word in answer.split(",", 3)]
    if len(words) != 4:
        raise QMI_InstrumentException(wrong_answer("*IDN?", answer, "'vendor,model,serial number,version'"))
    return QMI_InstrumentIdentification(*words)


def _read(rules: ScpiText, answer: str, question: str) -> object:
    try:
        value: object = rules.read(answer)
    except ValueError:
        raise QMI_InstrumentException(wrong_answer(question, answer, rules.expected)) from None
    return value


def numbered(channel: Channel, text: str) -> str:
    """A command of a channel, with its number in place of ``{n}``."""
    return text.replace("{n}", str(channel.number))
