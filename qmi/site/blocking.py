"""A conversation with one server of a site, for blocking programs that have no event loop: commands, and shells."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from qmi._version import __version__
from qmi.config.schema import CfgQmi, CfgSecurity
from qmi.errors import QMI_ConnectionException, QMI_RuntimeException
from qmi.names import HostPort
from qmi.site import wire
from qmi.site.presence import Present, Question, ask_who_is_there
from qmi.site.subjects import inbox_subject
from qmi.site.wire import Event, Message, Ping, Pong, ServerError, ServerInfo, SiteProtocolError

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

_CHUNK: Final = 1 << 16
_BREATH: Final = 0.2
"""How long to wait for more servers to answer, in seconds, when one has."""


class Talk:
    """One connection to a server, driven by a blocking caller; made by :func:`conversation`.

    Attributes:
        info: What the server says of itself.
    """

    def __init__(self, connection: socket.socket, where: HostPort, deadline: float) -> None:
        self._connection = connection
        self._where = where
        self._deadline = deadline
        self._parser = wire.Parser()
        self._events: list[Event] = []
        self._sid = 0
        self._inbox = ""
        self.info: ServerInfo

    def greet(self) -> None:
        """Read what the server says of itself."""
        event = self._next()
        if not isinstance(event, ServerInfo):
            raise SiteProtocolError("it does not say what it is")
        self.info = event

    def protect(self, tls: ssl.SSLContext, check: Callable[[dict[str, Any] | None], str | None]) -> None:
        """Let both sides prove themselves."""
        protected = tls.wrap_socket(self._connection)
        self._connection = protected
        if fault := check(protected.getpeercert()):
            raise QMI_RuntimeException(f"{self._where}: {fault}")

    def introduce(self, name: str, workgroup: str) -> None:
        """Say who this is, and wait until the server takes it."""
        self._send(wire.connect(name, __version__) + wire.PING)
        while not isinstance(event := self._next(), Pong):
            if isinstance(event, ServerError):
                raise QMI_RuntimeException(f"{self._where} refuses {name!r}: {event.text}")
        self._sid += 1
        self._inbox = inbox_subject(workgroup, name, f"{random.getrandbits(48):012x}", "")[:-1]
        self._send(wire.subscribe(self._inbox + "*", self._sid))

    def request(self, subject: str, payload: object = b"") -> Message:
        """Ask, and wait for the answer.

        Args:
            subject: Whom.
            payload: What; anything but bytes is sent as JSON.

        Raises:
            QMI_RuntimeException: If nobody is there to be asked, or this may not ask.
        """
        return next(self._answers(subject, payload))

    def ask_plain(self, subject: str, payload: object = b"") -> dict[str, Any]:
        """Ask for an object of JSON.

        Raises:
            QMI_RuntimeException: If nobody is there to be asked, this may not ask, or the answer is an error.
        """
        found = _plain(self.request(subject, payload))
        if isinstance(error := found.get("error"), dict):
            raise QMI_RuntimeException(f"{self._where} refuses {subject}: {error.get('description', error)}")
        return found

    def ask_each(self, subject: str, payload: object = b"", *, expected: int = 0) -> list[dict[str, Any]]:
        """Ask all servers for an object of JSON each.

        Args:
            subject: Whom.
            payload: What.
            expected: Wait no longer when so many have answered; 0: until none comes any more.
        """
        return [_plain(answer) for answer in self._ask_servers(subject, payload, expected)]

    def _ask_servers(self, subject: str, payload: object, expected: int) -> list[Message]:
        found: list[Message] = []
        deadline = self._deadline
        try:
            for answer in self._answers(subject, payload):
                found.append(answer)
                if len(found) == expected:
                    break
                self._deadline = min(deadline, time.monotonic() + _BREATH)
        except TimeoutError:
            if not found:
                raise
        finally:
            self._deadline = deadline
        return found

    def collect(self, subject: str, payload: object) -> list[Message]:
        """Ask for a batch of messages; without what ends it."""
        found: list[Message] = []
        for answer in self._answers(subject, payload):
            if answer.status:
                break
            found.append(answer)
        return found

    def who_is_there(self, config: CfgQmi, pattern: str = "*") -> list[Present]:
        """Ask who is there, and with which objects.

        Args:
            config: The configuration.
            pattern: Which names are wanted, with ``*``, ``?`` and ``[...]``.

        Returns:
            By name; several of one name if there are.
        """
        return self.carry_out(ask_who_is_there(config, pattern))

    def carry_out(self, asking: Generator[Question, list[Message], T]) -> T:
        """Put questions to the servers, and return what comes of the answers."""
        try:
            question = next(asking)
            while True:
                question = asking.send(
                    self._ask_servers(question.subject, question.payload, question.servers) if question.servers
                    else self.collect(question.subject, question.payload)
                )  # fmt: skip
        except StopIteration as end:
            result: T = end.value
            return result

    def _answers(self, subject: str, payload: object) -> Iterator[Message]:
        self._sid += 1  # a number of its own for each request, as part of its inbox
        reply = f"{self._inbox}{self._sid}"
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._send(wire.publish(subject.encode(), data, reply.encode()))
        while True:
            event = self._next()
            if isinstance(event, ServerError):
                raise QMI_RuntimeException(f"{self._where} refuses {subject}: {event.text}")
            if isinstance(event, Message) and event.subject == reply:
                if event.status == 503:
                    raise QMI_RuntimeException(f"{self._where}: nobody answers {subject}")
                yield event

    def _next(self) -> Event:
        while True:
            while not self._events:
                self._connection.settimeout(_left(self._deadline))
                data = self._connection.recv(_CHUNK)
                if not data:
                    raise ConnectionError("the server hung up")
                self._events = self._parser.feed(data)
            event = self._events.pop(0)
            if isinstance(event, Ping):
                self._send(wire.PONG)
                continue
            return event

    def _send(self, data: bytes) -> None:
        self._connection.settimeout(_left(self._deadline))
        self._connection.sendall(data)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@contextmanager
def conversation(
    config: CfgQmi, security: CfgSecurity, where: HostPort, name: str, *, timeout: float
) -> Iterator[Talk]:
    """Talk with one server.

    Args:
        config: The configuration.
        security: The files for TLS, with full names.
        where: The server.
        name: Who talks.
        timeout: For all of it, in seconds.

    Raises:
        QMI_ConnectionException: If the server cannot be reached.
        QMI_RuntimeException: If it is none, does not answer in time, or refuses this program.
    """
    try:
        with closing(_connected(config, security, where, name, time.monotonic() + timeout)) as talk:
            yield talk
    except QMI_RuntimeException:
        raise
    except TimeoutError as error:
        raise QMI_RuntimeException(f"{where} does not answer within {timeout:g} s") from error
    except SiteProtocolError as error:
        raise QMI_RuntimeException(f"{where} is no server of a site: {error}") from error
    except OSError as error:  # of TLS, too
        raise QMI_RuntimeException(f"The connection to {where} broke: {_explained(error, security)}") from error


def _connected(config: CfgQmi, security: CfgSecurity, where: HostPort, name: str, deadline: float) -> Talk:
    talk = Talk(_connection(where, deadline), where, deadline)
    try:
        talk.greet()
        if talk.info.tls != security.enabled:
            raise QMI_RuntimeException(
                f"{where} demands TLS, and this configuration has no section 'security'" if talk.info.tls else
                f"{where} does not use TLS, and this configuration has a section 'security': start it again with that"
            )  # fmt: skip
        if security.enabled:
            from qmi.site.trust import protection  # with trio, which questions without TLS do without

            if (protected := protection(security, config.workgroup)) is not None:
                talk.protect(*protected)
        try:
            talk.introduce(name, config.workgroup)
        except QMI_RuntimeException as error:
            raise _refused(error, config, security, where) from error
    except BaseException:
        talk.close()
        raise
    return talk


def _refused(error: Exception, config: CfgQmi, security: CfgSecurity, where: HostPort) -> Exception:
    if not security.enabled or "authorization" not in str(error).lower():
        return error
    return QMI_RuntimeException(
        f"{where} refuses the certificate {security.certificate}: it lets in those of workgroup {config.workgroup!r} "
        "for '*', and for the contexts that its configuration has in 'contexts' or 'site.names', unless they are "
        "revoked ('security.revoked'). After a change there, 'qmi site start' makes the server read it again"
    )


def _connection(where: HostPort, deadline: float) -> socket.socket:
    try:
        connection = socket.create_connection(where, _left(deadline))
        # Else each question after something that has no answer waits for the system to confirm that: 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    except OSError as error:
        why = (
            "nothing listens there" if isinstance(error, ConnectionRefusedError)
            else "the host does not answer" if isinstance(error, TimeoutError)
            else error.strerror or str(error)
        )  # fmt: skip
        raise QMI_ConnectionException(
            f"The server of the site at {where} cannot be reached: {why}. 'qmi site start' starts it, on its computer"
        ) from error


def _explained(error: OSError, security: CfgSecurity) -> str:
    if not security.enabled:
        return error.strerror or str(error)
    from qmi.net.io.tls import explain  # with trio, which questions do without

    return explain(error)


def _plain(message: Message) -> dict[str, Any]:
    try:
        found = json.loads(message.payload)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SiteProtocolError("it answers with something else than JSON")
    return found


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left
