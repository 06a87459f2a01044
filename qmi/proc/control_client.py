"""Asks a running context for its identity, or to stop: over a link that lasts for one request."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qmi._version import __version__
from qmi.config.loader import completed
from qmi.config.schema import CfgQmi, CfgSecurity
from qmi.errors import (
    QMI_ConnectionException,
    QMI_Exception,
    QMI_InvalidOperationException,
    QMI_RuntimeException,
    QMI_UnknownRpcException,
)
from qmi.messages import Call, Failure, Request
from qmi.names import ASKER_PREFIX, CONTEXT_OBJECT_NAME, HostPort, Relay
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import Connected, Event, PeerLost, ReplyReceived
from qmi.net.protocol.handshake import Hello, Identity
from qmi.net.protocol.link_ends import Role
from qmi.proc.control_protocol import Absent, Answer, Present, StopRefusedError, Stranger

if TYPE_CHECKING:
    import ssl

_CHUNK = 65536
_PATIENCE = 3.0
"""How long an address may say nothing before a context is asked through the site, in seconds."""


class SocketLink:
    """Asks running contexts, each time over a connection of its own; from any number of threads.

    Args:
        config: Tells the workgroup, and the certificate to show where links are protected. That one must be for any
            context (``*``): two of one name do not talk with each other.

    Attributes:
        certified_name: The name that the certificate is for; empty without one, or if it is for any.
    """

    def __init__(self, config: CfgQmi) -> None:
        self._config = config
        self._workgroup = config.workgroup
        security = completed(config, "qmi_proc").security
        self._tls = _tls_of(security)
        self.certified_name: str = _name_in(security)
        self._revoked = security.revoked

    def ask(self, name: str, address: HostPort, *, timeout: float) -> Answer:
        """Return which program runs there as the context of that name; see `qmi.proc.control_protocol.PeerLink`."""
        deadline = time.monotonic() + timeout
        try:
            with self._talk(name, address, deadline) as talk:
                return Present(talk.hello.pid, talk.hello.library)
        except _NobodyError as exc:
            return Absent(str(exc))
        except TimeoutError:
            return Stranger(f"no answer within {timeout:g} s")
        except (OSError, _LostError) as exc:
            return Stranger(str(exc) if self._tls is None else _explained(exc))

    def request_stop(self, name: str, address: HostPort, *, hard: bool, timeout: float) -> bool:
        """Ask the context to stop; see `qmi.proc.control_protocol.PeerLink`."""
        try:
            self.call(name, address, "shutdown_context", timeout=timeout, hard=hard)
        except QMI_RuntimeException as exc:
            if isinstance(exc.__cause__, QMI_InvalidOperationException):
                raise StopRefusedError("it does not let others stop it (allow_remote_shutdown)") from exc
            return False
        return True

    def call(self, name: str, address: HostPort, method: str, *, timeout: float, **kwargs: object) -> object:
        """Call a method of a context itself and return its result.

        Raises:
            QMI_ConnectionException: If nobody is there.
            QMI_UnknownRpcException: If it has no such method: it is of an older version.
            QMI_RuntimeException: If it does not answer within so many seconds, or fails.
        """
        try:
            with self._talk(name, address, time.monotonic() + timeout) as talk:
                try:
                    return talk.request(Call(CONTEXT_OBJECT_NAME, method, kwargs=kwargs))
                except QMI_RuntimeException as exc:
                    if isinstance(exc.__cause__, QMI_UnknownRpcException):
                        raise exc.__cause__ from None
                    raise
        except _NobodyError as exc:
            raise QMI_ConnectionException(f"Context {name!r} at {address} did not answer: {exc}") from exc
        except (OSError, _LostError) as exc:
            raise QMI_RuntimeException(f"Context {name!r} at {address} did not answer: {exc}") from exc

    @contextlib.contextmanager
    def conversation(self, name: str, address: HostPort, *, timeout: float) -> Iterator[Conversation]:
        """Ask a context several things, over one connection.

        Raises:
            QMI_ConnectionException: If nobody is there.
            QMI_RuntimeException: If it has not answered all of it within so many seconds, or ends the link.
        """
        try:
            with self._talk(name, address, time.monotonic() + timeout) as talk:
                yield talk
        except _NobodyError as exc:
            raise QMI_ConnectionException(f"Context {name!r} at {address} did not answer: {exc}") from exc
        except TimeoutError as exc:
            raise QMI_RuntimeException(f"Context {name!r} at {address} gave no answer within {timeout:g} s") from exc
        except (OSError, _LostError) as exc:
            raise QMI_RuntimeException(str(exc) if self._tls is None else _explained(exc)) from exc

    @property
    def protected(self) -> bool:
        """Whether all connections are protected by TLS."""
        return self._tls is not None

    @contextlib.contextmanager
    def _talk(self, name: str, address: HostPort, deadline: float) -> Iterator[Conversation]:
        with contextlib.ExitStack() as stack:
            plain, where = self._connection(stack, name, address, deadline)
            if self._tls is None:
                yield from self._over(plain, None, name, where, deadline)
                return
            from qmi.net.io.tls import peer_identity

            plain.settimeout(_left(deadline))
            with self._tls.wrap_socket(plain) as protected:
                certificate = protected.getpeercert()
                identity = peer_identity(certificate)
                if self._revoked is not None:
                    from qmi.net.io.revocation import RevocationList

                    RevocationList(self._revoked).check(certificate)
                yield from self._over(protected, identity, name, where, deadline)

    def _connection(
        self, stack: contextlib.ExitStack, name: str, address: HostPort, deadline: float
    ) -> tuple[socket.socket, HostPort]:
        """Connect, directly or else through the site; closed with the stack."""
        site = self._config.site
        fault = "no context of that name is at the site"
        if not isinstance(address, Relay):
            try:
                first = min(deadline, time.monotonic() + _PATIENCE) if site.relay else deadline
                return stack.enter_context(_connection(address, first)), address
            except _NobodyError as exc:
                if not (site.enabled and site.relay):
                    raise
                fault = str(exc)
        from qmi.proc.site_status import asker
        from qmi.site.blocking_relay import relayed

        own, security = asker(self._config)
        try:
            found = stack.enter_context(relayed(self._config, security, own, name, timeout=_left(deadline)))
        except OSError as exc:
            more = "" if isinstance(address, Relay) else f"{fault}; nor through the site: "
            raise _NobodyError(f"{more}{exc.strerror or exc}") from exc
        if found is None:
            raise _NobodyError(fault)
        return found

    def _over(
        self, connection: socket.socket, identity: Identity | None, name: str, address: HostPort, deadline: float
    ) -> Iterator[Conversation]:
        # Contexts refuse two peers of one name, so each question has its own where the certificate allows it.
        hello = Hello(
            context=self.certified_name or f"{ASKER_PREFIX}{os.urandom(6).hex()}",
            incarnation=os.urandom(8).hex(),
            workgroup=self._workgroup,
            library=__version__,
            pid=os.getpid(),
            wanted=name,
            server=False,
        )
        now = time.monotonic()
        peer = Connection(
            Role.CONNECTING,
            hello,
            now=now,
            expected=name,
            certified=identity,
            restore=_restored,
            where=str(address),
        )
        talk = Conversation(connection, peer, deadline, address)
        talk.connect()
        try:
            yield talk
        finally:
            talk.close()


class _NobodyError(Exception):
    """There is nothing to talk with."""


class _LostError(Exception):
    """The other side ended the link, or what it sent is no link."""


class Conversation:
    """One connection and the protocol on it, driven by a blocking caller.

    Attributes:
        hello: What the context has said of itself.
        where: Where it is, or through which server it is reached.
    """

    def __init__(self, connection: socket.socket, peer: Connection, deadline: float, where: HostPort) -> None:
        self.where: HostPort = where
        self._connection = connection
        self._peer = peer
        self._deadline = deadline
        self.hello: Hello

    def connect(self) -> None:
        """Wait until both sides have introduced themselves."""
        event = self._wait_for(lambda event: isinstance(event, Connected))
        assert isinstance(event, Connected)
        self.hello = event.hello

    def call(self, method: str, *args: object, **kwargs: object) -> object:
        """Call a method of the context itself.

        Raises:
            QMI_Exception: What it raises; :class:`.QMI_RuntimeException` for an error of another kind.
        """
        return self.call_object(CONTEXT_OBJECT_NAME, method, *args, **kwargs)

    def call_object(self, name: str, method: str, /, *args: object, **kwargs: object) -> object:
        """Call a method of an object of the context; errors as for :meth:`call`."""
        try:
            return self.request(Call(name, method, args, kwargs))
        except QMI_RuntimeException as exc:
            if isinstance(exc.__cause__, QMI_Exception):
                raise exc.__cause__ from None
            raise

    def request(self, message: Request) -> object:
        """Send a request and wait for its answer.

        Raises:
            QMI_RuntimeException: If it fails there.
        """
        number, buffers = self._peer.send_request(message)
        self._peer.handed_over(number)
        for buffer in buffers:
            self._connection.sendall(buffer)
        event = self._wait_for(lambda event: isinstance(event, ReplyReceived) and event.number == number)
        assert isinstance(event, ReplyReceived)
        if isinstance(event.reply, Failure):
            raise QMI_RuntimeException(f"It failed there: {event.reply.error}") from event.reply.error
        return event.reply.value

    def close(self) -> None:
        """Say goodbye."""
        self._peer.close("qmi_proc has its answer")
        with contextlib.suppress(OSError):
            self._flush()

    def _wait_for(self, wanted: Callable[[Event], bool]) -> Event:
        while True:
            self._flush()
            self._connection.settimeout(_left(self._deadline))
            data = self._connection.recv(_CHUNK)
            now = time.monotonic()
            for event in self._peer.receive_data(data, now) if data else self._peer.receive_eof(now):
                if isinstance(event, PeerLost):
                    with contextlib.suppress(OSError):
                        self._flush()
                    raise _LostError(event.reason)
                if wanted(event):
                    return event

    def _flush(self) -> None:
        for buffer in self._peer.data_to_send():
            self._connection.settimeout(_left(self._deadline))
            self._connection.sendall(buffer)


def _connection(address: HostPort, deadline: float) -> socket.socket:
    """Connect; whatever keeps us from it means that nobody is there."""
    try:
        return socket.create_connection(address, _left(deadline))
    except TimeoutError:
        raise _NobodyError("the host does not answer") from None
    except ConnectionRefusedError:
        raise _NobodyError("nothing listens there") from None
    except OSError as exc:
        raise _NobodyError(f"the host cannot be reached: {exc.strerror or exc}") from exc


def _restored(plain: object) -> object:
    """Make an interface again that is among the answers; a proxy would lead nowhere, and nobody uses one here."""
    if type(plain) is list and len(plain) == 2 and plain[0] == "interface":
        from qmi.actors.interface_plain import interface_from_plain  # without trio: a shell waits for it after TAB

        return interface_from_plain(plain[1])
    # Here, because actors need trio and most questions are answered without either.
    from qmi.peers.references import References

    return References(None).restore(plain)


def _explained(exc: Exception) -> str:
    import ssl

    from qmi.net.io.tls import explain

    return explain(exc) if isinstance(exc, ssl.SSLError) else str(exc)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left


def _tls_of(security: CfgSecurity) -> ssl.SSLContext | None:
    if security.ca is None or security.certificate is None or security.key is None:
        return None
    from qmi.net.io.tls import client_context

    return client_context(ca_file=security.ca, cert_file=security.certificate, key_file=security.key)


def _name_in(security: CfgSecurity) -> str:
    """The context that our certificate is for; empty without one, or if it is for any."""
    if security.certificate is None:
        return ""
    from cryptography import x509

    subject = x509.load_pem_x509_certificate(Path(security.certificate).read_bytes()).subject
    names = [str(entry.value) for entry in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    return "" if names in ([], ["*"]) else names[0]
