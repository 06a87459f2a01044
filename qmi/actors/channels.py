"""The base class of channels, whose parameters and methods are published by their instrument."""

from __future__ import annotations

from typing import Any

from qmi.actors.interface import properties_of
from qmi.actors.parameters import declare
from qmi.actors.pubsub.signal import declared_signals
from qmi.errors import QMI_UsageException
from qmi.parameters.channels import MARK, BaseChannel
from qmi.parameters.lost import check_lost


class Channel(BaseChannel):
    """Base class of the channels of an instrument: parameters and published methods, once for each number.

    A channel is part of its instrument: it has the instrument's lock, and a call of a channel is a call of the
    instrument. ``{n}`` in the commands of its parameters is its number.

    Args:
        instrument: The instrument.
        number: The number of the channel.
        path: Where the instrument has it: ``"channels[1]"``.

    Attributes:
        instrument: The instrument.
        number: The number of the channel.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_lost(cls)
        for name in (*properties_of(cls), *(signal.name for signal in declared_signals(cls))):
            raise QMI_UsageException(
                f"Channel {cls.__qualname__} publishes {name}: channels publish parameters and methods. Declare it as "
                "a parameter, or let the instrument publish it"
            )
        if hasattr(cls, MARK):
            declare(cls)


Channel.__module__ = "qmi.core.driver"
