"""Whether the commands of declared parameters tell them apart, and channels from each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qmi.errors import QMI_UsageException
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import Declared, declared_of, type_name


class _Sent:
    """A command, and the parameter that it is of."""

    def __init__(self, text: str, where: str, parameter: Parameter[object], *, is_question: bool) -> None:
        self.text = " ".join(text.split())
        self.where = where
        self.parameter = parameter
        self.is_question = is_question

    def of_channel(self, where: str, number: int) -> _Sent:
        """The same for one channel."""
        text, where = self.text.replace("{n}", str(number)), f"{where}.{self.parameter.name}"
        return _Sent(text, where, self.parameter, is_question=self.is_question)


def check_commands(cls: type, declared: Declared) -> None:
    """Refuse two parameters of a class that have one command.

    Args:
        cls: The class, of an instrument or of channels.
        declared: What it declares.

    Raises:
        QMI_UsageException: If there are such, and nothing tells their values apart.
    """
    _check_distinct(_sent(cls.__qualname__, declared))


def check_channel_commands(cls: type, declared: Declared) -> None:
    """Refuse commands that are the same for several channels, where a channel is not chosen before.

    Args:
        cls: The class of the instrument.
        declared: What it declares.

    Raises:
        QMI_UsageException: If there are such.
    """
    everything = list(_sent(cls.__qualname__, declared))
    for group in declared.channels.values():
        inner = list(_sent(group.channel_class.__qualname__, declared_of(group.channel_class)))
        for sent in inner:
            if "{n}" not in sent.text and len(group.numbers) > 1:
                raise QMI_UsageException(
                    f"Parameter {sent.where} has the command {_plain(sent.text)!r} without {{n}}: it would be the same "
                    f"one in all {group.name} of {cls.__qualname__}. Put {{n}} where the device expects the number of "
                    'the channel, as in "SOUR{n}:VOLT", or have the instrument override _channel_commands(self, '
                    "channel), which gives the commands that choose a channel first"
                )
        for number in group.numbers:
            where = f"{cls.__qualname__}.{group.name}[{number}]"
            everything += [sent.of_channel(where, number) for sent in inner]
    if declared.channels:
        _check_distinct(everything)


def _sent(where: str, declared: Declared) -> Iterator[_Sent]:
    for parameter in declared.parameters.values():
        for command in (parameter.ask, parameter.write):
            if command is not None:
                name = f"{where}.{parameter.name}"
                yield _Sent(command, name, parameter, is_question=command is parameter.ask)


def _check_distinct(everything: Iterable[_Sent]) -> None:
    seen: dict[str, list[_Sent]] = {}
    for sent in everything:
        for other in seen.setdefault(sent.text, []):
            both = f"Parameters {other.where} and {sent.where} have the same command {_plain(sent.text)!r}"
            first, second = other.parameter, sent.parameter
            if first.given.get("type") != second.given.get("type"):
                raise QMI_UsageException(f"{both}, but different types: {type_name(first)} and {type_name(second)}")
            if not _tells_apart(first, second, is_question=sent.is_question):
                raise QMI_UsageException(
                    f"{both}: {_consequence(first, second)}. Give one of them its own command. A second name for one "
                    "value is a method that is decorated with @parameter and returns the first; two parts of one "
                    "answer have a parse= each"
                )
        seen[sent.text].append(sent)


def _plain(text: str) -> str:
    return text.removesuffix("{value}").strip()


def _tells_apart(first: Parameter[object], second: Parameter[object], *, is_question: bool) -> bool:
    """Whether a command that two parameters have is for something else in each of them."""
    if not is_question:  # functions that write something else into it
        return callable(first.format) and callable(second.format) and first.format is not second.format
    if first.parse is not second.parse:
        return True
    return not first.settable and not second.settable and first.scale != second.scale


def _consequence(first: Parameter[object], second: Parameter[object]) -> str:
    if first.settable and second.settable:
        return "each would change the value of the other, whose limits may be different"
    return "they would always have the same value"
