"""What process management needs to ask of running contexts, and in which words they answer.

The commands are written against these protocols. The real thing speaks over peer links; tests speak something simpler.
All calls block, come from several threads at once, and answer within their timeout (plus a little).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from qmi.errors import QMI_RuntimeException
from qmi.names import HostPort


class Present(Struct):
    """The context that was asked for answers.

    Attributes:
        pid: Its process, on its own machine.
        version: Version of this library over there.
    """

    pid: int
    version: str


class Absent(Struct):
    """Nothing listens there."""

    reason: str = "nothing listens there"


class Stranger(Struct):
    """Something listens there, but it is not the context that was asked for, or it does not speak.

    Attributes:
        what: What is known of it: "context 'other' of workgroup 'default'", "no answer within 2 s".
    """

    what: str


Answer: TypeAlias = Present | Absent | Stranger


class StopRefusedError(QMI_RuntimeException):
    """The context does not let others stop it."""


class PeerLink(Protocol):
    """The things that process management wants from a running context."""

    def ask(self, name: str, address: HostPort, *, timeout: float) -> Answer:
        """Return which program runs at the address as the context of that name.

        Never raises for anything that a network or a peer can do: that is what the three answers are for.

        Args:
            name: The context that should run there.
            address: Where it should listen.
            timeout: Seconds after which something that listens in silence is a `Stranger`.
        """
        ...

    def request_stop(self, name: str, address: HostPort, *, hard: bool, timeout: float) -> bool:
        """Ask the context to stop, and return whether it took the request (not: whether it has stopped).

        Args:
            name: The context that should stop.
            address: Where it listens.
            hard: Whether its process should end at once, instead of finishing what it does.
            timeout: Seconds to wait for the confirmation.

        Raises:
            StopRefusedError: If its configuration does not allow others to stop it.
        """
        ...

    def call(self, name: str, address: HostPort, method: str, *, timeout: float, **kwargs: object) -> object:
        """Call a method of the context itself and return its result.

        Args:
            name: The context.
            address: Where it listens.
            method: The method of ``$context``.
            timeout: Seconds to wait for the result.
            kwargs: Arguments of the method.

        Raises:
            QMI_RuntimeException: If it cannot be reached, does not answer in time, or fails; then what it raised is
                the cause.
        """
        ...


class FoundContext(Struct):
    """A context that discovery found.

    Attributes:
        name: Its name.
        address: Where it listens.
        pid: Its process, if it told.
        version: Its version of this library, if it told.
        objects: What is in it: pairs of object name and class name; None if it could not be asked.
    """

    name: str
    address: HostPort
    pid: int | None = None
    version: str = ""
    objects: tuple[tuple[str, str], ...] | None = None


class Discovery(Protocol):
    """Finds the contexts that run on the network."""

    def find(self, workgroup: str, *, timeout: float) -> Sequence[FoundContext]:
        """Return the contexts of the workgroup that answered within so many seconds."""
        ...
