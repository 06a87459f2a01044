"""The channels of an instrument: objects within it that differ by their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import index
from typing import Any, Generic, SupportsIndex, TypeVar, overload

from qmi.errors import QMI_InvalidValueException, QMI_UsageException

MARK = "_rpc_declares"
"""Attribute that tells that a class declares parameters or channels: set where they get their names."""


class BaseChannel:
    """A channel of an instrument, without what its class needs when it is made; see :class:`qmi.core.driver.Channel`.

    Args:
        instrument: The instrument.
        number: The number of the channel.
        path: Where the instrument has it: ``"channels[1]"``.

    Attributes:
        instrument: The instrument.
        number: The number of the channel.
    """

    def __init__(self, instrument: Any = None, number: int = 0, path: str = "") -> None:
        if instrument is None and not path:
            name = type(self).__name__
            raise QMI_UsageException(
                f"{name} is made by its instrument, once for each number. To declare channels, give the class itself, "
                f"not {name}(): channels({name}, 1, 4)"
            )
        self.instrument = instrument
        self.number: int = number
        self._path: str = path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} of {self.instrument!r}>"

    @property
    def path(self) -> str:
        """Where the instrument has it: ``"channels[1]"``."""
        return self._path


C = TypeVar("C", bound=BaseChannel)


class ChannelList(Generic[C]):
    """The channels of one instrument: ``instrument.channels[1]``, ``len()``, iteration from the first to the last.

    Args:
        channels: The channels, in order.
        name: Name of the attribute, for messages.
        where: Name of the instrument, for messages.

    Attributes:
        numbers: Their numbers.
    """

    def __init__(self, channels: Sequence[C], name: str, where: str) -> None:
        self._channels = {channel.number: channel for channel in channels}
        self._name = name
        self._where = where
        self.numbers: range = range(channels[0].number, channels[-1].number + 1)

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[C]:
        return iter(self._channels.values())

    def __getitem__(self, number: int) -> C:
        found = self._channels.get(index_of(number))  # type: ignore[arg-type]
        if found is None:
            raise QMI_InvalidValueException(no_channel(self._name, self._where, list(self._channels), number))
        return found

    def __repr__(self) -> str:
        return f"<{self._name} {describe_numbers(list(self._channels))} of {self._where}>"


def index_of(number: object) -> int | None:
    """The number of a channel, also if it is a whole number of numpy; None if it is no number."""
    if isinstance(number, bool) or not isinstance(number, SupportsIndex):
        return None
    try:
        return index(number)
    except TypeError:  # an array of several
        return None


def describe_numbers(numbers: Sequence[int]) -> str:
    """The numbers of channels in words: ``"1 to 4"``."""
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def no_channel(name: str, where: str, numbers: Sequence[int], number: object) -> str:
    """The message for a number that no channel has."""
    return f"{name} of {where} has the numbers {describe_numbers(numbers)}; got {number!r}"


class Channels(Generic[C]):
    """The channels that a class declares; made by :func:`channels`, as an attribute of the class.

    On an instrument it is a list of its channels.

    Attributes:
        name: Name of the attribute.
        channel_class: What the channels are.
        numbers: Their numbers, as they were given.
        present: Gives the number of the last channel that an instrument has; None if all of them have all.
    """

    def __init__(
        self, channel_class: type[C], first: object, last: object, present: Callable[[Any], int] | None = None
    ) -> None:
        self.name: str = ""
        self.names: list[str] = []
        self.channel_class: type[C] = channel_class
        self.first: object = first
        self.last: object = last
        self.present: Callable[..., int] | None = present

    def __set_name__(self, owner: type, name: str) -> None:
        self.names.append(f"{owner.__qualname__}.{name}")
        self.name = self.name or name
        setattr(owner, MARK, True)

    def __repr__(self) -> str:
        return f"<channels {self.names[0] if self.names else 'without a name'}>"

    @property
    def numbers(self) -> range:
        """Their numbers."""
        assert isinstance(self.first, int)
        assert isinstance(self.last, int)
        return range(self.first, self.last + 1)

    def numbers_of(self, instance: object) -> range:
        """The numbers of the channels that an instrument has.

        Raises:
            QMI_UsageException: If what says how many there are does not give one of the declared numbers.
        """
        made = vars(instance).get(self.name)
        if isinstance(made, ChannelList):
            return made.numbers
        if self.present is None:
            return self.numbers
        last, numbers = self.present(instance), self.numbers
        if isinstance(last, bool) or not isinstance(last, int) or last not in numbers:
            raise QMI_UsageException(
                f"The last of the {self.name} of {getattr(instance, '_name', '')} must be one of the declared numbers "
                f"{describe_numbers(numbers)}; the function present= gave {last!r}"
            )
        return numbers[: numbers.index(last) + 1]

    @overload
    def __get__(self, instance: None, owner: type) -> Channels[C]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> ChannelList[C]: ...
    def __get__(self, instance: object | None, owner: type) -> Channels[C] | ChannelList[C]:
        if instance is None:
            return self
        # Without __set__, Python finds the list in the instance from now on.
        made = [self.channel_class(instance, number, f"{self.name}[{number}]") for number in self.numbers_of(instance)]
        found = ChannelList(made, self.name, str(getattr(instance, "_name", "")))
        vars(instance)[self.name] = found
        return found


def channels(
    channel_class: type[C],
    first: int,
    last: int | None = None,  # one that is forgotten is refused with the name of the class
    *,
    present: Callable[[Any], int] | None = None,
) -> Channels[C]:
    """Declare the channels of an instrument, as an attribute of its class.

    ::

        class Supply(ScpiInstrument):
            channels = channels(SupplyChannel, 1, 4)

    Args:
        channel_class: A class derived from :class:`~qmi.core.driver.Channel`.
        first: The number of the first channel.
        last: The number of the last one.
        present: Where some instruments have fewer, a function of the instrument that gives the number of its last
            channel. It is called once, when the constructor has ended.
    """
    return Channels(channel_class, first, last, present)


for _public in (ChannelList, Channels, channels):
    _public.__module__ = "qmi.core.driver"
