"""What is sent for a declared parameter of a device that speaks SCPI, and what its answers mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from qmi.errors import QMI_InstrumentException, QMI_InvalidValueException
from qmi.parameters.blocks import Block, array_block, import_numpy
from qmi.parameters.scpi_text import ScpiText, scpi_commands, scpi_text

_LONGEST_SHOWN = 200


class DeclaredParameter(Protocol):
    """What is needed of the declaration of a parameter here; see :func:`qmi.core.driver.parameter`."""

    name: str
    ask: str | None
    write: str | None
    type: type
    block: Block | None
    texts: Mapping[object, str] | None
    scale: float | None
    format: str | Callable[..., str] | None
    parse: Callable[..., object] | None


class ParameterOfChannel(Protocol):
    """The channel that a parameter belongs to."""

    number: int

    @property
    def path(self) -> str:
        """Where the instrument has it: ``"channels[1]"``."""


class ScpiBinding:
    """The commands and the texts of one parameter.

    Args:
        parameter: Its declaration.

    Raises:
        ValueError: If there are no such commands, or no such texts.
    """

    def __init__(self, parameter: DeclaredParameter) -> None:
        self._name = parameter.name
        self._commands = scpi_commands(parameter.ask, parameter.write)
        self._text: ScpiText | None = None
        self._parse = parameter.parse
        self._scale = parameter.scale
        self.block: Block | None = parameter.block
        if self.block is None:
            self._text = scpi_text(
                parameter.type,
                values=parameter.texts,
                scale=parameter.scale,
                format=parameter.format,
                parse=parameter.parse,
            )

    def path(self, channel: ParameterOfChannel | None) -> str:
        """The name of the parameter, with that of its channel."""
        return self._name if channel is None else f"{channel.path}.{self._name}"

    def question(self, channel: ParameterOfChannel | None) -> str:
        """What is asked to read it."""
        return self._commands.question(None if channel is None else channel.number)

    def value(self, answer: str, channel: ParameterOfChannel | None, owner: str) -> object:
        """The value of an answer.

        Args:
            answer: What the device sent.
            channel: The channel, if it is a parameter of one.
            owner: Name of the instrument, for messages.

        Raises:
            QMI_InstrumentException: If it is no value of this parameter.
        """
        assert self._text is not None
        try:
            value: object = self._text.read(answer)
        except ValueError:
            raise QMI_InstrumentException(
                wrong_answer(self.question(channel), answer, self._text.expected, f"{self.path(channel)} of {owner}")
            ) from None
        return value

    def array(self, numbers: Any) -> object:
        """The value of a block."""
        if self._scale is not None:
            numbers = numbers * self._scale
        return numbers if self._parse is None else self._parse(numbers)

    def command(self, value: object, channel: ParameterOfChannel | None, owner: str) -> str | bytes:
        """What is sent to set it; bytes if there is a block in it.

        Raises:
            QMI_InvalidValueException: If the value cannot be sent.
        """
        number = None if channel is None else channel.number
        try:
            if self.block is not None:
                before, _, after = self._commands.template(number).partition("{value}")
                return before.encode("ascii") + self._block_of(self.block, value) + after.encode("ascii")
            assert self._text is not None
            return self._commands.command(self._text.write(value), number)
        except ValueError as error:
            raise QMI_InvalidValueException(f"{self.path(channel)} of {owner} {error}") from None

    def _block_of(self, block: Block, value: Any) -> bytes:
        if self._scale is not None:
            numpy: Any = import_numpy()

            value = numpy.asarray(value) / self._scale
            if numpy.dtype(block.dtype).kind in "iu":
                value = numpy.rint(value)  # the steps of a converter
        return array_block(value, block.dtype)


def wrong_answer(question: str, answer: str, expected: str, what: str = "") -> str:
    """The message about an answer that is not what was expected.

    Args:
        question: What was asked.
        answer: What came.
        expected: What should have come: ``"a number"``.
        what: Which parameter of which instrument it was for.
    """
    shown = answer if len(answer) <= _LONGEST_SHOWN else f"{answer[:_LONGEST_SHOWN]}..."
    return f"Expected {expected} in answer to {question!r}, got {shown!r}" + (f", for {what}" if what else "")
