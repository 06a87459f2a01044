"""What every SCPI instrument can do: say who it is, be reset, report its errors, take any command."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from qmi.core.exceptions import QMI_InstrumentException
from qmi.core.instrument import QMI_InstrumentIdentification, TransportInstrument
from qmi.core.rpc import rpc_method
from qmi.core.scpi_protocol import ScpiProtocol
from qmi.core.transport import QMI_Transport, Reconnect

# What SCPI instruments send in place of a value: no number, and too large a one.
_NOT_A_NUMBER = 9.91e37
_INFINITY = 9.9e37
_MOST_ERRORS = 100


class Scpi_Instrument(TransportInstrument):
    """Any instrument that speaks SCPI; the base of the other drivers here, and of your own.

    With ``reconnect``, a connection that was lost is made again by the next call, if the same instrument answers; it is
    given the settings that it had from this driver, but an output is not switched on by itself.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached: ``tcp:192.168.1.20:5025``, ``visa:TCPIP::192.168.1.20::hislip0``,
            ``usbtmc:vendorid=0x0957:productid=0x0407:serialnr=MY1234``, ``serial:/dev/ttyUSB0:baudrate=9600``.
        timeout: For how long an answer is waited for, in seconds.
        check_errors: Whether the instrument is asked for errors after each command, so that the call that caused one
            fails. It costs one more exchange a command.
        reconnect: Whether and how a lost connection is made again; see :class:`.Reconnect`.

    An instrument that differs from most in how it speaks has a class of its own, with other values of these attributes.
    """

    TRANSPORT_DEFAULTS: ClassVar[Mapping[str, object]] = {"port": 5025, "baudrate": 9600}
    IDENTITY_QUERY: ClassVar[str | None] = "*IDN?"
    error_query: ClassVar[str] = "SYST:ERR?"
    """The question for the oldest error."""
    completion_query: ClassVar[str | None] = None
    """The question that is asked after each command and answered when that is done, such as ``*OPC?``."""
    command_terminator: ClassVar[str] = "\n"
    """What a command ends in."""
    response_terminator: ClassVar[str] = "\n"
    """What an answer ends in."""
    echo: ClassVar[bool] = False
    """Whether the instrument sends each command back."""
    command_delay: ClassVar[float] = 0.0
    """Least time between two commands, in seconds."""

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | QMI_Transport,
        *,
        timeout: float = 5.0,
        check_errors: bool = False,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        super().__init__(context, name, transport, reconnect=reconnect)
        self._scpi = ScpiProtocol(
            self._transport,
            self.command_terminator,
            self.response_terminator,
            timeout,
            error_query=self.error_query if check_errors else None,
            completion_query=self.completion_query,
            echo=self.echo,
            command_delay=self.command_delay,
        )
        self._settings: dict[str, tuple[str, ...]] = {}

    @rpc_method
    def open(self) -> None:
        """Open the connection to the instrument, and forget errors of before.

        Raises:
            QMI_InvalidOperationException: If it is open already.
            OSError: If it cannot be reached.
        """
        self._check_is_closed()
        self._settings.clear()
        super().open()
        try:
            self._scpi.write("*CLS")
        except BaseException:
            super().close()
            raise

    @rpc_method
    def get_idn(self) -> QMI_InstrumentIdentification:
        """What the instrument says that it is.

        Raises:
            QMI_InstrumentException: If it is not vendor, model, serial number and version.
        """
        answer = self._ask("*IDN?")
        words = [word.strip() for word in answer.split(",", 3)]
        if len(words) != 4:
            raise QMI_InstrumentException(
                f"Expected 'vendor,model,serial number,version' in answer to '*IDN?', got {answer!r}"
            )
        return QMI_InstrumentIdentification(*words)

    @rpc_method
    def reset(self) -> None:
        """Bring the instrument back to the settings that it has when it is switched on."""
        self._write("*RST")
        self._settings.clear()

    @rpc_method
    def get_errors(self) -> list[str]:
        """What the instrument reports, the oldest first, such as ``-113,"Undefined header"``; it forgets them."""
        self._check_is_open()
        errors: list[str] = []
        while len(errors) < _MOST_ERRORS:
            entry = self._scpi.ask(self.error_query).strip()
            if not entry or entry.split(",")[0].strip().lstrip("+-0") == "":
                break
            errors.append(entry)
        return errors

    @rpc_method
    def write(self, command: str) -> None:
        """Send a command that this driver does not know.

        Args:
            command: Without a terminator.
        """
        self._write(command)

    @rpc_method
    def ask(self, question: str, timeout: float | None = None) -> str:
        """Ask a question that this driver does not know, and return the answer.

        Args:
            question: Without a terminator.
            timeout: For how long the answer is waited for, in seconds; None for the usual time.
        """
        self._check_is_open()
        return self._scpi.ask(question, timeout)

    # For drivers.

    def _write(self, command: str) -> None:
        self._check_is_open()
        self._scpi.write(command)

    def _set(self, setting: str, *commands: str) -> None:
        """Send the commands for a setting, which are sent again when the connection was lost and made again.

        Args:
            setting: What it is; a new value takes the place of the one before.
            commands: The commands.
        """
        for command in commands:
            self._write(command)
        # Those that were set last come last: a range is one of the function that was chosen before.
        self._settings.pop(setting, None)
        self._settings[setting] = commands

    def _identify_device(self) -> str:
        return self._scpi.ask("*IDN?")

    def _restore_settings(self) -> None:
        for commands in self._settings.values():
            for command in commands:
                self._scpi.write(command)

    def _ask(self, question: str) -> str:
        self._check_is_open()
        return self._scpi.ask(question).strip()

    def _ask_number(self, question: str) -> float:
        return as_number(self._ask(question), question)

    def _ask_flag(self, question: str) -> bool:
        answer = self._ask(question)
        flags = {"1": True, "ON": True, "0": False, "OFF": False}
        if answer.upper() not in flags:
            raise QMI_InstrumentException(f"Expected 0, 1, ON or OFF in answer to {question!r}, got {answer!r}")
        return flags[answer.upper()]


def as_number(answer: str, question: str) -> float:
    """The number that an instrument sent; infinite if it is out of range, NaN if there is none.

    Args:
        answer: What it sent.
        question: What it was asked, for the message.

    Raises:
        QMI_InstrumentException: If it is no number.
    """
    try:
        value = float(answer)
    except ValueError:
        raise QMI_InstrumentException(f"Expected a number in answer to {question!r}, got {answer!r}") from None
    if value == _NOT_A_NUMBER:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= _INFINITY else value


def setting(name: str, value: float, low: float = -math.inf, high: float = math.inf) -> str:
    """A number as instruments understand it.

    Args:
        name: What it is, for the message.
        value: The number.
        low: The least that will do.
        high: The most that will do.

    Raises:
        ValueError: If it is no finite number between both.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    if not low <= value <= high:
        bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
        raise ValueError(f"{name} must be {bounds}, got {value!r}")
    return f"{value:.9G}"


def number_of(name: str, value: int, most: int) -> int:
    """A number of a channel, or of items.

    Raises:
        ValueError: If it is no whole number from 1 to that many.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most}, got {value!r}")
    return value
