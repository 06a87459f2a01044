"""Whether the transports that are made here lead to a simulated device."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

from qmi.devices.owner import owner_name

SIMULATED = "simulated"
"""The descriptor that a driver gets if nobody has given one, where it is simulated."""


class Plug(Protocol):
    """Makes transports to a simulated device.

    Attributes:
        name: Name of its instrument.
    """

    name: str

    def transport(self) -> Any:
        """A transport for plain drivers."""

    def async_transport(self) -> Any:
        """The same for drivers in the event loop."""


PLUGGED: ContextVar[Plug | None] = ContextVar("qmi_plugged", default=None)
"""What takes the place of transports while the constructor of a simulated driver runs."""


def plugged() -> Plug | None:
    """What takes the place of a transport that is made here; None where it is made as it is.

    The constructor of a simulated driver may make other instruments, whose transports are their own.
    """
    plug = PLUGGED.get()
    return plug if plug is None or owner_name() in (None, plug.name) else None
