"""Who is at the other end, and whether the two may talk: the hello, and what makes it refused.

::

    CONNECTING   sends its hello ─────────────▶ LISTENING  judges it; its context decides (is the name free?)
    judges it  ◀───────────────────── hello, or a refusal with the reason
    READY                                       READY

The side that connects speaks first. A refusal is a sentence for a person; the other side gets it and shows it. A major
version is compared in the frame header, so that nothing of an unknown layout is decoded; a newer minor version works,
and what it adds to the hello is ignored.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from qmi.config.validators import printable
from qmi.net.limits import ProtocolError
from qmi.net.protocol.bounds import HELLO, OutOfBounds, describe_value
from qmi.net.protocol.link_ends import Role
from qmi.net.protocol.packets import MAJOR, MINOR
from qmi.records import asdict


class Stage(Enum):
    """How far the handshake is."""

    AWAIT_HELLO = auto()
    DECIDE = auto()
    READY = auto()
    REFUSED = auto()


class Identity(NamedTuple):
    """What a certificate proves about the other side; an empty context name stands for any."""

    context: str
    workgroup: str


class Hello(Struct, frozen=True, kw_only=True):
    """What a side says of itself.

    Attributes:
        context: Name of the context.
        incarnation: Changes each time that a context of this name is started.
        workgroup: Only contexts of one workgroup talk with each other.
        library: Version of this library.
        pid: Process id.
        address: "host:port" where the context listens, empty if it does not.
        minor: Minor version of the protocol that it speaks.
        wanted: The context that the connecting side means to reach, empty for any.
        server: Whether others connect to it by its name; of those that say nothing, that is assumed.
    """

    context: str
    incarnation: str
    workgroup: str
    library: str = ""
    pid: int = 0
    address: str = ""
    minor: int = MINOR
    wanted: str = ""
    server: bool = True

    def to_wire(self) -> dict[str, object]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_wire(cls, found: object) -> Hello:
        """Read a hello; fields that this version does not know are ignored.

        Raises:
            ProtocolError: If it is none.
        """
        if type(found) is not dict:
            raise ProtocolError(f"a hello is a map of fields, got {describe_value(found)}")
        try:
            fields = {field.name: field.read(found.get(field.name)) for field in HELLO}
            return cls(**fields, server=found.get("server") is not False)
        except OutOfBounds as error:
            raise ProtocolError(f"hello.{error}") from None

    def __str__(self) -> str:
        where = f" at {self.address}" if self.address else ""
        return f"context '{self.context}'{where} (workgroup '{self.workgroup}', QMI {self.library}, pid {self.pid})"


def find_fault(
    ours: Hello, theirs: Hello, *, role: Role, expected: str | None = None, certified: Identity | None = None
) -> str | None:
    """Say why this side does not talk with the other, or None if it does.

    Args:
        ours: What this side says of itself.
        theirs: What the other side said.
        role: The role of this side.
        expected: The context that this side meant to reach.
        certified: What the certificate of the other side says, if there is one.
    """
    if certified is not None:
        if certified.workgroup != theirs.workgroup:
            return (
                f"context '{theirs.context}' says that it belongs to workgroup '{theirs.workgroup}', "
                f"but its certificate is for workgroup '{certified.workgroup}'"
            )
        if certified.context and certified.context != theirs.context:
            return (
                f"the other side calls itself context '{theirs.context}', "
                f"but its certificate is for context '{certified.context}'"
            )
    if theirs.workgroup != ours.workgroup:
        return (
            f"context '{theirs.context}' belongs to workgroup '{theirs.workgroup}', "
            f"context '{ours.context}' to workgroup '{ours.workgroup}'; only contexts of one workgroup connect"
        )
    if theirs.incarnation == ours.incarnation and theirs.context == ours.context:
        return f"context '{ours.context}' tried to connect to itself"
    if theirs.context == ours.context:
        return f"both sides are called '{ours.context}'; the names of connected contexts differ"
    if role is Role.CONNECTING and expected and theirs.context != expected:
        return f"expected context '{expected}' there, but found context '{theirs.context}'"
    if role is Role.LISTENING and theirs.wanted and theirs.wanted != ours.context:
        return f"expected context '{theirs.wanted}' here, but this is context '{ours.context}'"
    return None


class Handshake:
    """The state of one handshake.

    Args:
        role: Which side this is.
        hello: What this side says of itself.
        expected: For the connecting side: the context that it means to reach.
        certified: What the certificate of the other side says.

    Attributes:
        stage: How far it is.
        theirs: The hello of the other side, once it came.
        fault: Why it was refused, by this side or by the other.
    """

    def __init__(
        self, role: Role, hello: Hello, *, expected: str | None = None, certified: Identity | None = None
    ) -> None:
        self.role = role
        self.ours: Hello = replace(hello, wanted=expected or "")
        self.stage: Stage = Stage.AWAIT_HELLO
        self.theirs: Hello | None = None
        self.fault: str = ""
        self._expected = expected
        self._certified = certified

    def receive_hello(self, found: object) -> Stage:
        """Judge the other side's hello: READY, DECIDE (call :meth:`accept` or :meth:`refuse`) or REFUSED.

        Raises:
            ProtocolError: If it is no hello, or the second one.
        """
        if self.stage is not Stage.AWAIT_HELLO:
            raise ProtocolError("a second hello came")
        theirs = self.theirs = Hello.from_wire(found)
        fault = find_fault(self.ours, theirs, role=self.role, expected=self._expected, certified=self._certified)
        if fault is not None:
            return self.refuse(fault)
        self.stage = Stage.READY if self.role is Role.CONNECTING else Stage.DECIDE
        return self.stage

    def receive_refusal(self, reason: object) -> Stage:
        """Take note that the other side refused.

        Raises:
            ProtocolError: If there is no reason in it.
        """
        if type(reason) is not str:
            raise ProtocolError("a refusal has no reason")
        # It goes into logs and onto terminals, which a stranger must not get to write to.
        return self.refuse(printable(reason[:1000]))

    def accept(self) -> Stage:
        """The context of the listening side agrees.

        Raises:
            RuntimeError: If there is nothing to agree to.
        """
        if self.stage is not Stage.DECIDE:
            raise RuntimeError(f"nothing to accept: the handshake is in stage {self.stage.name}")
        self.stage = Stage.READY
        return self.stage

    def refuse(self, reason: str) -> Stage:
        """Refuse the other side."""
        self.fault = reason
        self.stage = Stage.REFUSED
        return self.stage


__all__ = ["MAJOR", "MINOR", "Handshake", "Hello", "Identity", "Stage", "find_fault"]
