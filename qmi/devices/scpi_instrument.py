"""Base classes of drivers of devices that speak SCPI: the usual methods, and how declared parameters are exchanged."""

from __future__ import annotations

import trio

from qmi.actors.channels import Channel
from qmi.actors.instrument import QMI_InstrumentIdentification
from qmi.actors.interface import rpc_method
from qmi.devices.async_scpi import AsyncScpiProtocol
from qmi.devices.async_transport import AsyncTransport
from qmi.devices.instrument import AsyncTransportInstrument, TransportInstrument
from qmi.devices.reconnect import Reconnect
from qmi.devices.scpi import MOST_ERRORS, ScpiProtocol
from qmi.devices.scpi_errors import is_no_error
from qmi.devices.scpi_rules import DECODER, ScpiRules, identification_of, numbered
from qmi.devices.transport import QMI_Transport
from qmi.parameters.blocks import array_block
from qmi.parameters.scpi_binding import DeclaredParameter, ParameterOfChannel


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
        self._scpi = ScpiProtocol(self._transport, **self._protocol_options(timeout, check_errors))

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
        return binding.value(self._scpi.ask(question, decoder=DECODER), channel, self._name)

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
        self.instrument._write(numbered(self, command))

    def _set(self, setting: str, *commands: str) -> None:
        """Send the commands for a setting, which are sent again when the connection was lost and made again.

        Args:
            setting: What it is; a new value takes the place of the one before.
            commands: The commands.
        """
        self.instrument._set(f"{self.path}.{setting}", *(numbered(self, command) for command in commands))

    def _write_array(self, command: str, values: object, dtype: str) -> None:
        """Send numbers as a block behind a command. Needs numpy.

        Args:
            command: What stands before the block, with the blank or comma between them.
            values: The numbers, in one row.
            dtype: Type of the items, with their byte order.

        Raises:
            ValueError: If they do not fit the type.
        """
        self.instrument._write_array(numbered(self, command), values, dtype)

    def _ask(self, question: str) -> str:
        """Ask a question, and return the answer.

        Args:
            question: Without a terminator.
        """
        answer: str = self.instrument._ask(numbered(self, question))
        return answer

    def _ask_number(self, question: str) -> float:
        number: float = self.instrument._ask_number(numbered(self, question))
        return number

    def _ask_numbers(self, question: str, count: int) -> list[float]:
        numbers: list[float] = self.instrument._ask_numbers(numbered(self, question), count)
        return numbers

    def _ask_flag(self, question: str) -> bool:
        flag: bool = self.instrument._ask_flag(numbered(self, question))
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
        self._scpi = AsyncScpiProtocol(self._transport, **self._protocol_options(timeout, check_errors))

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
        return binding.value(await self._scpi.ask(question, decoder=DECODER), channel, self._name)

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
        await self.instrument._write(numbered(self, command))

    async def _set(self, setting: str, *commands: str) -> None:
        """Send the commands for a setting, which are sent again when the connection was lost and made again.

        Args:
            setting: What it is; a new value takes the place of the one before.
            commands: The commands.
        """
        await self.instrument._set(f"{self.path}.{setting}", *(numbered(self, command) for command in commands))

    async def _write_array(self, command: str, values: object, dtype: str) -> None:
        """Send numbers as a block behind a command; see :meth:`ScpiChannel._write_array`."""
        await self.instrument._write_array(numbered(self, command), values, dtype)

    async def _ask(self, question: str) -> str:
        answer: str = await self.instrument._ask(numbered(self, question))
        return answer

    async def _ask_number(self, question: str) -> float:
        number: float = await self.instrument._ask_number(numbered(self, question))
        return number

    async def _ask_numbers(self, question: str, count: int) -> list[float]:
        numbers: list[float] = await self.instrument._ask_numbers(numbered(self, question), count)
        return numbers

    async def _ask_flag(self, question: str) -> bool:
        flag: bool = await self.instrument._ask_flag(numbered(self, question))
        return flag


for _public in (ScpiInstrument, ScpiChannel, AsyncScpiInstrument, AsyncScpiChannel):
    _public.__module__ = "qmi.core.driver"
