"""How a link proves both its ends: TLS 1.3 with a certificate on each side, made by one authority.

A certificate made by ``python -m qmi.tools.certs`` names a context and its workgroup (as organization and common name).
TLS itself checks that the authority signed it; which context and workgroup it is for is checked after the TLS
handshake, before any application byte is handled.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from qmi.errors import QMI_ConfigurationException
from qmi.net.io.transport import PlainWire, Unsent
from qmi.net.protocol.handshake import Identity

_CHUNK = 1 << 16


def server_context(*, ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """Return what a listening side uses: it demands a certificate of everybody.

    Raises:
        QMI_ConfigurationException: If a file is not there or does not fit.
    """
    return _context(ssl.PROTOCOL_TLS_SERVER, ca_file, cert_file, key_file)


def client_context(*, ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """Return what a connecting side uses.

    The name in the certificate is that of a context, not of a host: hosts in a laboratory come by many names. The
    workgroup and the context are compared by :func:`peer_identity` and the hello.

    Raises:
        QMI_ConfigurationException: If a file is not there or does not fit.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, ca_file, cert_file, key_file)


def _context(protocol: int, ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    for what, name in (("CA certificate", ca_file), ("certificate", cert_file), ("key", key_file)):
        if not Path(name).is_file():
            raise QMI_ConfigurationException(
                f"The {what} file {name!r} is not there; `python -m qmi.tools.certs` makes one"
            )
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cafile=ca_file)
        context.load_cert_chain(cert_file, key_file)
    except (ssl.SSLError, OSError) as error:
        raise QMI_ConfigurationException(
            f"The files {ca_file!r}, {cert_file!r} and {key_file!r} cannot be used: {error}"
        ) from error
    return context


def peer_identity(certificate: Mapping[str, Any] | None) -> Identity:
    """Return which context and workgroup a certificate is for.

    Args:
        certificate: What ``SSLObject.getpeercert()`` returned, after the TLS handshake.

    Raises:
        PermissionError: If there is no certificate, or it is not for a context.
    """
    if not certificate:
        raise PermissionError("The other side showed no certificate")
    names = {key: value for part in certificate.get("subject", ()) for key, value in part}
    context, workgroup = names.get("commonName", ""), names.get("organizationName", "")
    if not context or not workgroup:
        raise PermissionError("The certificate of the other side names no context and workgroup")
    return Identity("" if context == "*" else context, workgroup)


def explain(error: ssl.SSLError | OSError) -> str:
    """Return in words why a TLS handshake failed."""
    text = str(getattr(error, "verify_message", "") or getattr(error, "reason", "") or error)
    upper = text.upper().replace(" ", "_")
    if "CERTIFICATE_REQUIRED" in upper or "PEER_DID_NOT_RETURN" in upper:
        return "no certificate was shown; both sides need one that the same CA made"
    if "WRONG_VERSION" in upper or "HTTP_REQUEST" in upper or "UNSUPPORTED_PROTOCOL" in upper:
        return "the other side does not speak TLS 1.3; both sides need a security section, or neither"
    if "UNKNOWN_CA" in upper or "SELF" in upper or "LOCAL_ISSUER" in upper or "SIGNATURE" in upper:
        return "the certificate was made by another CA"
    if "EXPIRED" in upper:
        return "the certificate has expired"
    return text


def check_workgroup(identity: Identity, workgroup: str, *, expected: str | None = None) -> str | None:
    """Say why a certificate is not good enough, or None if it is; to be asked before any byte is handled.

    Args:
        identity: What the certificate of the other side says.
        workgroup: The workgroup of this side.
        expected: The context that this side means to reach, if it connects.
    """
    if identity.workgroup != workgroup:
        return (
            f"the other side has a certificate of workgroup '{identity.workgroup}', this side is of '{workgroup}'; "
            "only contexts of one workgroup connect"
        )
    if expected and identity.context and identity.context != expected:
        return f"expected context '{expected}' there, but found the certificate of context '{identity.context}'"
    return None


class TlsWire:
    """A TCP connection inside TLS.

    TLS runs in memory, so that any thread can encrypt what it writes; the caller keeps them apart.

    Args:
        sock: A connected socket.
        context: What is demanded of the other side.
        server: Whether this side listened.
    """

    __slots__ = ("_cipher", "_inbound", "_outbound", "_tls", "plain", "sock")

    may_hold_more = True
    put_one = None

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server: bool) -> None:
        self.plain: PlainWire = PlainWire(sock)
        self.sock: socket.socket = self.plain.sock
        self._inbound = ssl.MemoryBIO()
        self._outbound = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._inbound, self._outbound, server_side=server)
        self._cipher = Unsent([])

    async def handshake(self) -> Mapping[str, Any] | None:
        """Let both sides prove themselves, and return the other side's certificate.

        Raises:
            ConnectionError: If that fails; the message says why.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_all()
                await self._feed()
            except ssl.SSLError as error:
                await self._flush_all()  # the other side gets to know the reason
                raise ConnectionError(explain(error)) from error
            else:
                await self._flush_all()
                return self._tls.getpeercert()

    async def _feed(self) -> None:
        while True:
            try:
                data = self.sock.recv(_CHUNK)
                break
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.sock)
        if not data:
            raise ConnectionError("the connection was closed during the TLS handshake")
        self._inbound.write(data)

    async def _flush_all(self) -> None:
        while self.flush():
            await trio.lowlevel.wait_writable(self.sock)

    def flush(self) -> bool:
        """Send the encrypted bytes that wait; True if some of them still do."""
        while True:
            if not self._cipher.rest():
                if not self._outbound.pending:
                    return False
                self._cipher = Unsent([])
                # In one step, as everything that moves bytes.
                self._cipher.buffers.extend(map(self._outbound.read, (-1,)))
            try:
                self.plain.put(self._cipher)
            except BlockingIOError:
                return True

    def put(self, unsent: Unsent) -> None:
        """Encrypt some of the rest, and count it; the socket gets of that what it takes."""
        if self.flush():
            raise BlockingIOError
        data = memoryview(unsent.rest()[0])
        try:
            unsent.counts.extend(map(self._tls.write, (data[:_CHUNK],)))
        except ssl.SSLError as error:
            raise ConnectionError(explain(error)) from error
        self.flush()

    def read_into(self, memory: memoryview) -> int:
        """Read what is there; 0 at the end of the connection."""
        size = self._decrypt(memory)
        while size is None:
            data = self.sock.recv(_CHUNK)
            if not data:
                return 0
            self._inbound.write(data)
            size = self._decrypt(memory)
        return size

    def _decrypt(self, memory: memoryview) -> int | None:
        try:
            return int(self._tls.read(len(memory), memory))
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return 0
        except ssl.SSLError as error:
            raise ConnectionError(explain(error)) from error

    def is_writable(self, patience: float) -> bool:
        """Wait in a thread until something can be written."""
        return self.plain.is_writable(patience)

    def shut(self) -> None:
        """End the connection, and wake whoever waits for it."""
        self.plain.shut()

    def close(self) -> None:
        """Give the descriptor back."""
        self.plain.close()
