"""Drivers of devices that speak SCPI: what all of them can do, and how declared parameters are sent and asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from qmi.actors.channels import Channel
from qmi.actors.instrument import QMI_InstrumentIdentification
from qmi.actors.interface import rpc_method
from qmi.actors.parameter_values import forget_values
from qmi.devices.async_scpi import AsyncScpiProtocol
from qmi.devices.async_transport import AsyncTransport
from qmi.devices.instrument import AsyncTransportInstrument, TransportInstrument
from qmi.devices.reconnect import Reconnect
from qmi.devices.scpi import MOST_ERRORS, ScpiProtocol
from qmi.devices.scpi_errors import is_no_error
from qmi.devices.transport import QMI_Transport
from qmi.errors import QMI_InstrumentException, QMI_UsageException
from qmi.parameters.blocks import array_block
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
_DECODER = "latin-1"  # what is no ASCII is shown with the parameter that it is no value of


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
        declared = declared_of(cls)
        for owner in (declared, *(declared_of(channels.channel_class) for channels in declared.channels.values())):
            for parameter in owner.parameters.values():
                if parameter.ask is not None or parameter.write is not None:
                    _check_binding(cls, parameter)

    def _begin_rules(self) -> None:
        self._settings: dict[str, tuple[str, ...]] = {}
        self._bindings: dict[DeclaredParameter, ScpiBinding] = {}

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


class ScpiInstrument(ScpiRules, TransportInstrument):
    """Any instrument that speaks SCPI; the base of drivers whose parameters are declared.

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
        self._begin_rules()
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

    @rpc_method
    def open(self) -> None:
        """Open the connection to the instrument, and forget errors of before.

        Raises:
            QMI_InvalidOperationException: If it is open already.
            OSError: If it cannot be reached.
        """
        self._check_is_closed()
        self._forget_settings()
        super().open()
        try:
            if self.clear_command is not None:
                self._scpi.write(self.clear_command)
        except BaseException:
            super().close()
            raise

    @rpc_method
    def get_idn(self) -> QMI_InstrumentIdentification:
        """What the instrument says that it is.

        Raises:
            QMI_InstrumentException: If it is not vendor, model, serial number and version.
        """
        return identification_of(self._ask("*IDN?"))

    @rpc_method
    def reset(self) -> None:
        """Bring the instrument back to the settings that it has when it is switched on."""
        self._write("*RST")
        self._forget_settings()

    @rpc_method
    def get_errors(self) -> list[str]:
        """What the instrument reports, the oldest first, such as ``-113,"Undefined header"``; it forgets them."""
        self._check_is_open()
        errors: list[str] = []
        while len(errors) < MOST_ERRORS and not is_no_error(entry := self._scpi.ask(self.error_query).strip()):
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
        self._keep(setting, commands)

    def _write_array(self, command: str, values: object, dtype: str) -> None:
        """Send numbers as a block behind a command. Needs numpy.

        Args:
            command: What stands before the block, with the blank or comma between them.
            values: The numbers, in one row.
            dtype: Type of the items, with their byte order: ``">i2"``, ``"<f4"``.

        Raises:
            ValueError: If they do not fit the type.
        """
        self._check_is_open()
        self._scpi.write_raw(command.encode("ascii") + array_block(values, dtype))

    def _ask(self, question: str) -> str:
        self._check_is_open()
        return self._scpi.ask(question).strip()

    def _ask_number(self, question: str) -> float:
        return self._number(self._ask(question), question)

    def _ask_numbers(self, question: str, count: int) -> list[float]:
        """Ask for numbers, with commas between them.

        Args:
            question: Without a terminator.
            count: How many there must be.

        Raises:
            QMI_InstrumentException: If there are not so many, or they are none.
        """
        return self._numbers(self._ask(question), question, count)

    def _ask_flag(self, question: str) -> bool:
        return self._flag(self._ask(question), question)

    # For parameters, and for a connection that is made again.

    def _read_parameter(self, parameter: DeclaredParameter, channel: ParameterOfChannel | None) -> object:
        self._check_is_open()
        binding = self._binding(parameter)
        for command in self._channel_commands(channel):
            self._scpi.write(command)
        question = binding.question(channel)
        if binding.block is not None:
            return binding.array(self._scpi.ask_array(question, binding.block.dtype))
        return binding.value(self._scpi.ask(question, decoder=_DECODER), channel, self._name)

    def _write_parameter(
        self, parameter: DeclaredParameter, value: object, channel: ParameterOfChannel | None
    ) -> object:
        self._check_is_open()
        binding = self._binding(parameter)
        text = binding.command(value, channel, self._name)
        before = self._channel_commands(channel)
        for command in before:
            self._scpi.write(command)
        if isinstance(text, bytes):
            self._scpi.write_raw(text)
        else:
            self._scpi.write(text)
            self._keep_parameter(parameter, binding.path(channel), text, before)
        return None

    def _identify_device(self) -> object:
        return None if self.IDENTITY_QUERY is None else self._scpi.ask(self.IDENTITY_QUERY)

    def _restore_settings(self) -> None:
        self._device_was_lost()
        for commands in self._settings.values():
            for command in commands:
                self._scpi.write(command)


class ScpiChannel(Channel):
    """Base class of the channels of a :class:`ScpiInstrument` that have methods of their own.

    What it sends and asks has the number of the channel in place of ``{n}``, as the commands of its parameters do.
    """

    def _write(self, command: str) -> None:
        """Send a command.

        Args:
            command: Without a terminator.
        """
        self.instrument._write(_numbered(self, command))

    def _set(self, setting: str, *commands: str) -> None:
        """Send the commands for a setting, which are sent again when the connection was lost and made again.

        Args:
            setting: What it is; a new value takes the place of the one before.
            commands: The commands.
        """
        self.instrument._set(f"{self.path}.{setting}", *(_numbered(self, command) for command in commands))

    def _write_array(self, command: str, values: object, dtype: str) -> None:
        """Send numbers as a block behind a command. Needs numpy.

        Args:
            command: What stands before the block, with the blank or comma between them.
            values: The numbers, in one row.
            dtype: Type of the items, with their byte order.

        Raises:
            ValueError: If they do not fit the type.
        """
        self.instrument._write_array(_numbered(self, command), values, dtype)

    def _ask(self, question: str) -> str:
        """Ask a question, and return the answer.

        Args:
            question: Without a terminator.
        """
        answer: str = self.instrument._ask(_numbered(self, question))
        return answer

    def _ask_number(self, question: str) -> float:
        number: float = self.instrument._ask_number(_numbered(self, question))
        return number

    def _ask_numbers(self, question: str, count: int) -> list[float]:
        numbers: list[float] = self.instrument._ask_numbers(_numbered(self, question), count)
        return numbers

    def _ask_flag(self, question: str) -> bool:
        flag: bool = self.instrument._ask_flag(_numbered(self, question))
        return flag


class AsyncScpiInstrument(ScpiRules, AsyncTransportInstrument):
    """The same for drivers in the event loop; all its methods are awaited.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached; see :class:`ScpiInstrument`.
        timeout: For how long an answer is waited for, in seconds.
        check_errors: Whether the instrument is asked for errors after each command.
        reconnect: Whether and how a lost connection is made again; see :class:`.Reconnect`.
    """

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | AsyncTransport,
        *,
        timeout: float = 5.0,
        check_errors: bool = False,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        super().__init__(context, name, transport, reconnect=reconnect)
        self._begin_rules()
        self._scpi = AsyncScpiProtocol(
            self._transport,
            self.command_terminator,
            self.response_terminator,
            timeout,
            error_query=self.error_query if check_errors else None,
            completion_query=self.completion_query,
            echo=self.echo,
            command_delay=self.command_delay,
        )

    @rpc_method
    async def open(self) -> None:  # type: ignore[override]
        """Open the connection to the instrument, and forget errors of before.

        Raises:
            QMI_InvalidOperationException: If it is open already.
            OSError: If it cannot be reached.
        """
        self._check_is_closed()
        self._forget_settings()
        await super().open()
        try:
            if self.clear_command is not None:
                await self._scpi.write(self.clear_command)
        except BaseException:
            with trio.CancelScope(shield=True):  # closing a transport does not wait for the device
                await super().close()
            raise

    @rpc_method
    async def get_idn(self) -> QMI_InstrumentIdentification:
        """What the instrument says that it is.

        Raises:
            QMI_InstrumentException: If it is not vendor, model, serial number and version.
        """
        return identification_of(await self._ask("*IDN?"))

    @rpc_method
    async def reset(self) -> None:
        """Bring the instrument back to the settings that it has when it is switched on."""
        await self._write("*RST")
        self._forget_settings()

    @rpc_method
    async def get_errors(self) -> list[str]:
        """What the instrument reports, the oldest first, such as ``-113,"Undefined header"``; it forgets them."""
        self._check_is_open()
        errors: list[str] = []
        while len(errors) < MOST_ERRORS and not is_no_error(entry := (await self._scpi.ask(self.error_query)).strip()):
            errors.append(entry)
        return errors

    @rpc_method
    async def write(self, command: str) -> None:
        """Send a command that this driver does not know.

        Args:
            command: Without a terminator.
        """
        await self._write(command)

    @rpc_method
    async def ask(self, question: str, timeout: float | None = None) -> str:
        """Ask a question that this driver does not know, and return the answer.

        Args:
            question: Without a terminator.
            timeout: For how long the answer is waited for, in seconds; None for the usual time.
        """
        self._check_is_open()
        return await self._scpi.ask(question, timeout)

    # For drivers.

    async def _write(self, command: str) -> None:
        self._check_is_open()
        await self._scpi.write(command)

    async def _set(self, setting: str, *commands: str) -> None:
        """Send the commands for a setting, which are sent again when the connection was lost and made again.

        Args:
            setting: What it is; a new value takes the place of the one before.
            commands: The commands.
        """
        for command in commands:
            await self._write(command)
        self._keep(setting, commands)

    async def _write_array(self, command: str, values: object, dtype: str) -> None:
        """Send numbers as a block behind a command. Needs numpy.

        Args:
            command: What stands before the block, with the blank or comma between them.
            values: The numbers, in one row.
            dtype: Type of the items, with their byte order.

        Raises:
            ValueError: If they do not fit the type.
        """
        self._check_is_open()
        await self._scpi.write_raw(command.encode("ascii") + array_block(values, dtype))

    async def _ask(self, question: str) -> str:
        self._check_is_open()
        return (await self._scpi.ask(question)).strip()

    async def _ask_number(self, question: str) -> float:
        return self._number(await self._ask(question), question)

    async def _ask_numbers(self, question: str, count: int) -> list[float]:
        """Ask for numbers, with commas between them.

        Args:
            question: Without a terminator.
            count: How many there must be.

        Raises:
            QMI_InstrumentException: If there are not so many, or they are none.
        """
        return self._numbers(await self._ask(question), question, count)

    async def _ask_flag(self, question: str) -> bool:
        return self._flag(await self._ask(question), question)

    # For parameters, and for a connection that is made again.

    async def _read_parameter(self, parameter: DeclaredParameter, channel: ParameterOfChannel | None) -> object:
        self._check_is_open()
        binding = self._binding(parameter)
        for command in self._channel_commands(channel):
            await self._scpi.write(command)
        question = binding.question(channel)
        if binding.block is not None:
            return binding.array(await self._scpi.ask_array(question, binding.block.dtype))
        return binding.value(await self._scpi.ask(question, decoder=_DECODER), channel, self._name)

    async def _write_parameter(
        self, parameter: DeclaredParameter, value: object, channel: ParameterOfChannel | None
    ) -> None:
        self._check_is_open()
        binding = self._binding(parameter)
        text = binding.command(value, channel, self._name)
        before = self._channel_commands(channel)
        for command in before:
            await self._scpi.write(command)
        if isinstance(text, bytes):
            await self._scpi.write_raw(text)
        else:
            await self._scpi.write(text)
            self._keep_parameter(parameter, binding.path(channel), text, before)

    async def _identify_device(self) -> object:
        return None if self.IDENTITY_QUERY is None else await self._scpi.ask(self.IDENTITY_QUERY)

    async def _restore_settings(self) -> None:
        self._device_was_lost()
        for commands in self._settings.values():
            for command in commands:
                await self._scpi.write(command)


class AsyncScpiChannel(Channel):
    """The same for channels of an :class:`AsyncScpiInstrument`: what they send and ask is awaited."""

    async def _write(self, command: str) -> None:
        await self.instrument._write(_numbered(self, command))

    async def _set(self, setting: str, *commands: str) -> None:
        """Send the commands for a setting, which are sent again when the connection was lost and made again.

        Args:
            setting: What it is; a new value takes the place of the one before.
            commands: The commands.
        """
        await self.instrument._set(f"{self.path}.{setting}", *(_numbered(self, command) for command in commands))

    async def _write_array(self, command: str, values: object, dtype: str) -> None:
        """Send numbers as a block behind a command; see :meth:`ScpiChannel._write_array`."""
        await self.instrument._write_array(_numbered(self, command), values, dtype)

    async def _ask(self, question: str) -> str:
        answer: str = await self.instrument._ask(_numbered(self, question))
        return answer

    async def _ask_number(self, question: str) -> float:
        number: float = await self.instrument._ask_number(_numbered(self, question))
        return number

    async def _ask_numbers(self, question: str, count: int) -> list[float]:
        numbers: list[float] = await self.instrument._ask_numbers(_numbered(self, question), count)
        return numbers

    async def _ask_flag(self, question: str) -> bool:
        flag: bool = await self.instrument._ask_flag(_numbered(self, question))
        return flag


def _numbered(channel: Channel, text: str) -> str:
    return text.replace("{n}", str(channel.number))


for _public in (ScpiInstrument, ScpiChannel, AsyncScpiInstrument, AsyncScpiChannel):
    _public.__module__ = "qmi.core.driver"
