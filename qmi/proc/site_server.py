"""The server of a site on this computer: how it is configured, started, watched and stopped.

Its files are in ``<store_dir>/<host>-<port>``: ``server.conf``, ``server.log``, and ``data`` with what it keeps. It is
started as a program of its own, which outlives whoever has started it; which process it is stands beside that folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from msgspec import Struct

from qmi.config.files import make_private_dirs, open_private
from qmi.config.loader import completed
from qmi.config.paths import Places
from qmi.config.schema import CfgQmi, CfgSecurity
from qmi.config.validators import printable
from qmi.errors import QMI_ConfigurationException, QMI_RuntimeException, QMI_UsageException
from qmi.names import HostPort
from qmi.net.loopback import is_loopback
from qmi.proc.child import Child
from qmi.proc.local_hosts import local_hosts
from qmi.proc.output import last_lines
from qmi.proc.pidfiles import Record, Records
from qmi.proc.process import ProcessIdentity, identify, is_alive, port_holder, send_signal, wait_gone
from qmi.site.blocking import Talk, conversation
from qmi.site.server_config import SERVER_NAME, cluster_address, server_config, streams

COMMAND: Final = "nats-server"
_POLL: Final = 0.05
_ANSWER: Final = 3.0
_START: Final = 60.0
"""A server first reads what it keeps; of many gigabytes that takes a while."""
_TERMINATE: Final = 20.0
_KILL: Final = 5.0
_AGREE: Final = 8.0
_RETRY: Final = 0.5
_LAST_LINES: Final = 5
_FATAL: Final = "[FTL]"
_RELOADED: Final = "Reloaded server configuration"
_NOT_RELOADED: Final = "Failed to reload server configuration"


class PortTakenError(QMI_UsageException, QMI_RuntimeException):
    """A port that a server of a site was to have belongs to another program, or is none of this computer's."""


class Started(Struct, frozen=True):
    """A server that runs.

    Attributes:
        pid: Its process.
        new: Whether it was started only now.
        reloaded: Whether it has read its configuration again, since that has changed.
    """

    pid: int
    new: bool
    reloaded: bool = False


def server_program() -> str:
    """The program of the server.

    Raises:
        QMI_ConfigurationException: If it is not installed.
    """
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        for name in (COMMAND, f"{COMMAND}.exe"):
            if os.access(path := folder / name, os.X_OK):
                return str(path)
    found = shutil.which(COMMAND)
    if found is None:
        raise QMI_ConfigurationException(f"{COMMAND} is not installed: pip install 'qmi-trio[site]'")
    return found


def servers_here(config: CfgQmi, chosen: str = "") -> list[HostPort]:
    """Which servers of the site are those of this computer.

    Args:
        config: The configuration.
        chosen: Take the one of this address, "host:port" or "host", and look no further; empty: all.

    Raises:
        QMI_ConfigurationException: If there is no site.
        QMI_UsageException: If none of its servers is meant.
    """
    known = known_servers(config)
    shown = ", ".join(map(str, known))
    if chosen:
        found = [server for server in known if chosen in (str(server), server.host, f"nats://{server}")]
        if not found:
            raise QMI_UsageException(f"{chosen!r} is no server of the site: 'site.servers' has {shown}")
        return found
    here = local_hosts(server.host for server in known)
    found = [server for server in known if server.host.lower() in here]
    if not found:
        raise QMI_UsageException(
            f"no server of the site is this computer ({socket.gethostname()}): 'site.servers' has {shown}. If one is, "
            "give it: 'qmi site start HOST:PORT'"
        )
    return found


def known_servers(config: CfgQmi) -> list[HostPort]:
    """The servers of the site.

    Raises:
        QMI_ConfigurationException: If there is no site.
    """
    if not config.site.enabled:
        where = config.config_file or "the configuration"
        raise QMI_ConfigurationException(
            f'{where} has no servers of a site: write "site": {{"servers": ["nats://{socket.gethostname()}:4222"]}}'
        )
    return config.site.addresses


class SiteServer:
    """A server on this computer.

    Args:
        config: The configuration.
        address: Which of ``site.servers`` it is.

    Attributes:
        address: The same.
        folder: Where its files are.
        log: Its log.
        security: The files for TLS that it shows.

    Raises:
        QMI_ConfigurationException: If a file for TLS is not there.
    """

    def __init__(self, config: CfgQmi, address: HostPort) -> None:
        self._config = config
        self.address: HostPort = address
        site = Path(Places(config, SERVER_NAME).site_dir())
        # With the host, since the home directories of several computers may be the same.
        self._name = re.sub(r"[^-\w.]", "_", f"{address.host}-{address.port}")
        self.folder: Path = site / self._name
        self.log: Path = self.folder / "server.log"
        self.security: CfgSecurity = completed(config, SERVER_NAME).security
        self._conf = self.folder / "server.conf"
        self._records = Records(site)

    # Looking

    def process(self) -> ProcessIdentity | None:
        """Its process, if it was started here and runs."""
        record = self._records.read(self._name)
        return record.identity if record is not None and is_alive(record.identity) else None

    def warnings(self) -> list[str]:
        """What is to be said about its address and its certificate before it starts."""
        found = []
        if not self.security.enabled:
            if not is_loopback(self.address.host):
                found.append(
                    f"The server at {self.address} is not protected: everybody in the network can read and change what "
                    "is published. Add a section 'security', or use 127.0.0.1"
                )
            return found
        from qmi.net.io.own_certificate import certificate_warnings

        security = self.security
        found += certificate_warnings(
            ca_file=str(security.ca), cert_file=str(security.certificate), key_file=str(security.key),
            context=SERVER_NAME, workgroup=self._config.workgroup,
        )  # fmt: skip
        return found

    # Starting

    def prepare(self) -> bool:
        """Write its configuration; returns whether that is another one than before.

        Raises:
            QMI_ConfigurationException: If its certificate is not one of a server, or the list of those that are
                revoked cannot be read.
            QMI_RuntimeException: If that cannot be written, or the server does not understand it.
        """
        check_certificate(self.security, self._config.workgroup)
        data = str(self.folder / "data")
        text = server_config(self._config, self.address, self.security, data, self._revoked()).encode()
        if self._written() == text:
            return False
        self._write(text)
        return True

    def _revoked(self) -> Collection[int]:
        if self.security.revoked is None:
            return ()
        from qmi.net.io.revocation import RevocationList

        return RevocationList(self.security.revoked).serials()

    def _written(self) -> bytes:
        try:
            return self._conf.read_bytes()
        except OSError:
            return b""

    def _write(self, text: bytes) -> None:
        try:
            make_private_dirs(self.folder)
            with os.fdopen(open_private(self._conf, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
                file.write(text)
        except OSError as error:
            raise QMI_RuntimeException(f"Cannot write {self._conf}: {error.strerror}") from error

    def command(self, *, log: bool) -> list[str]:
        """The command line of the server.

        Args:
            log: Whether it writes its log into a file; else to standard error.
        """
        return [server_program(), "--config", str(self._conf), *(["--log", str(self.log)] if log else [])]

    def start(self) -> Started:
        """Start it, unless it runs, and wait until it is up.

        Raises:
            QMI_ConfigurationException: If it is not installed, or its certificate is not one of a server.
            QMI_RuntimeException: If its port is taken, or it does not come up.
        """
        with self._records.guard(self._name):
            known = self.process()
            if known is None:
                self.check_ports()
            before = self._written()
            changed = self.prepare()
            if known is None:
                return Started(self._launch(self.command(log=True)).pid, new=True)
            if changed:
                try:
                    self._reload(known)
                except QMI_RuntimeException:
                    self._write(before)  # what it runs with, so that the next start tries again
                    raise
            return Started(known.pid, new=False, reloaded=changed)

    def run(self, say: Callable[[str], object]) -> int:
        """Run it until it ends, as a part of this program; SIGTERM ends it. From the main thread.

        Args:
            say: Told what has happened.

        Returns:
            Its exit code.

        Raises:
            QMI_ConfigurationException: If it is not installed, or its certificate is not one of a server.
            QMI_RuntimeException: If it runs already, or its port is taken.
        """
        with self._records.guard(self._name):
            if (known := self.process()) is not None:
                raise QMI_RuntimeException(f"the server at {self.address} runs already, as process {known.pid}")
            command = self.command(log=False)
            self.check_ports()
            self.prepare()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=self.folder)
            identity = identify(process.pid) or ProcessIdentity(process.pid, "ended")
            self._records.write(self._name, Record(identity.pid, identity.born, COMMAND, ""))
        asked_to_end = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, lambda *_: process.terminate()) for number in asked_to_end}
        try:
            kept = False
            while process.poll() is None:
                if not kept:
                    with contextlib.suppress(QMI_RuntimeException):  # it is not up yet
                        kept = self.make_streams(0.0)
                    if kept:
                        say(f"the server at {self.address} is ready")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(None if kept else _RETRY)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if process.poll() is None:
                process.kill()
                process.wait()
            self._records.forget(self._name)
        return process.returncode

    def _reload(self, identity: ProcessIdentity) -> None:
        if _HANG_UP is None:
            raise QMI_RuntimeException(
                f"the configuration of the server at {self.address} has changed, and takes effect when it is stopped "
                "and started: 'qmi site stop', 'qmi site start'"
            )
        size = self.log.stat().st_size if self.log.exists() else 0
        send_signal(identity, _HANG_UP)
        deadline = time.monotonic() + _ANSWER
        while time.monotonic() < deadline and is_alive(identity):
            lines = read_from(self.log, size)
            if any(_RELOADED in line for line in lines):
                return
            if failed := [line for line in lines if _NOT_RELOADED in line]:
                reason = failed[0].partition(_NOT_RELOADED)[2].strip(" :")
                raise QMI_RuntimeException(
                    f"the server at {self.address} cannot change its configuration while it runs ({reason}): "
                    "'qmi site stop', 'qmi site start'"
                )
            time.sleep(_POLL)
        raise QMI_RuntimeException(f"the server at {self.address} does not say that it has read its configuration")

    def _launch(self, command: list[str]) -> ProcessIdentity:
        output = self.folder / "start.log"
        try:
            with os.fdopen(open_private(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=self.folder,
                    start_new_session=True, creationflags=_APART,
                )  # fmt: skip
        except OSError as error:
            raise QMI_RuntimeException(f"cannot run {command[0]}: {error.strerror}") from error
        identity = identify(process.pid) or ProcessIdentity(process.pid, "ended")
        try:
            self._records.write(self._name, Record(identity.pid, identity.born, COMMAND, str(self.log)))
        except QMI_RuntimeException:
            process.kill()
            raise
        self._wait_until_up(Child(process, output))
        return identity

    def _wait_until_up(self, child: Child) -> None:
        deadline = time.monotonic() + _START
        while not child.ended_within(_POLL):
            try:
                with socket.create_connection(self.address, _ANSWER) as probe:
                    probe.settimeout(_ANSWER)
                    if probe.recv(5) == b"INFO ":
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise QMI_RuntimeException(
                    f"the server at {self.address} runs as process {child.pid}, and does not answer within "
                    f"{_START:g} s; its log is {self.log}"
                )
        self._records.forget(self._name)
        said = [line for file in (child.output, self.log) for line in last_lines(file, _LAST_LINES).splitlines()]
        words = next((line.partition(_FATAL)[2].strip() for line in reversed(said) if _FATAL in line), "\n".join(said))
        raise QMI_RuntimeException(
            f"the server at {self.address} {child.how_it_ended()} at its start: {words}. Its log is {self.log}"
        )

    def check_ports(self) -> None:
        """Refuse to start where somebody else listens.

        Raises:
            PortTakenError: If a port is taken.
        """
        ports = [self.address]
        if len(self._config.site.addresses) > 1:
            ports.append(cluster_address(self.address))
        for port in ports:
            if reason := _cannot_bind(port):
                holder = port_holder(port)
                by = f" by {holder}" if holder else ""
                remedy = "stop what has it, or choose another port in 'site.servers'"
                raise PortTakenError(f"{port} cannot be listened at: {reason}{by}; {remedy}")

    # What it keeps

    def make_streams(self, seconds: float = _AGREE) -> bool:
        """Have the servers keep what the configuration says.

        Args:
            seconds: How long to wait until there are enough servers for that.

        Returns:
            Whether they do; not if too few of several servers run.

        Raises:
            QMI_RuntimeException: If the server refuses.
        """
        deadline = time.monotonic() + seconds
        alone = len(self._config.site.addresses) == 1
        while True:
            try:
                with self.talk() as talk:
                    for stream in streams(self._config):
                        _make_stream(talk, stream)
                return True
            except QMI_RuntimeException:
                # Servers that are several agree first on who of them decides.
                if alone or self.process() is None:
                    raise
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL * 4)

    def talk(self) -> AbstractContextManager[Talk]:
        """Talk with it, as a server; errors as of :func:`~qmi.site.blocking.conversation`."""
        return conversation(self._config, self.security, self.address, SERVER_NAME, timeout=_ANSWER)

    # Stopping

    def stop(self) -> str | None:
        """Stop it.

        Returns:
            How it ended, empty if it did so as asked; None if it does not run, or was not started here.

        Raises:
            QMI_RuntimeException: If it does not end, or may not be signalled.
        """
        with self._records.guard(self._name):
            identity = self.process()
            if identity is None:
                self._records.forget(self._name)
                return None
            how = _end(identity)
            self.wait_free(_KILL)
            self._records.forget(self._name)
            return how

    def wait_free(self, seconds: float) -> bool:
        """Wait until its port is free: a process that has ended may have it for a moment more.

        Args:
            seconds: How long to wait at most.

        Returns:
            Whether it is.
        """
        deadline = time.monotonic() + seconds
        while _cannot_bind(self.address):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True


def _end(identity: ProcessIdentity) -> str:
    for number, seconds in ((signal.SIGTERM, _TERMINATE), (_HARD, _KILL)):
        try:
            if not send_signal(identity, number) or wait_gone(identity, seconds):
                return "" if number == signal.SIGTERM else "ended by SIGKILL, since it did not end when asked"
        except PermissionError as error:
            raise QMI_RuntimeException(f"process {identity.pid} may not be signalled: {error}") from error
    raise QMI_RuntimeException(f"process {identity.pid} is still there {_KILL:g} s after SIGKILL")


_APART: Final[int] = getattr(subprocess, "DETACHED_PROCESS", 0)
"""What ``start_new_session`` is elsewhere, on Windows: the end of this terminal does not reach the server."""
_HARD: Final[signal.Signals] = getattr(signal, "SIGKILL", signal.SIGTERM)
_HANG_UP: Final[signal.Signals | None] = getattr(signal, "SIGHUP", None)
"""What makes a server read its configuration again; Windows has no such signal."""


def _make_stream(talk: Talk, stream: Mapping[str, object]) -> None:
    name = stream["name"]
    try:
        talk.ask_plain(f"$JS.API.STREAM.CREATE.{name}", stream)
    except QMI_RuntimeException:
        # It is there, with other settings.
        talk.ask_plain(f"$JS.API.STREAM.UPDATE.{name}", stream)


def check_certificate(security: CfgSecurity, workgroup: str) -> None:
    """Refuse what no client would take for a server.

    Raises:
        QMI_ConfigurationException: If the certificate is for somebody else, cannot be read, or has no such key.
    """
    if not security.enabled:
        return
    from cryptography import x509

    from qmi.net.io.tls import server_context

    server_context(ca_file=str(security.ca), cert_file=str(security.certificate), key_file=str(security.key))
    certificate = x509.load_pem_x509_certificate(Path(str(security.certificate)).read_bytes())
    names = {entry.oid: str(entry.value) for entry in certificate.subject}
    name, group = names.get(x509.NameOID.COMMON_NAME, ""), names.get(x509.NameOID.ORGANIZATION_NAME, "")
    if (name, group) == (SERVER_NAME, workgroup):
        return
    raise QMI_ConfigurationException(
        f"{security.certificate} is the certificate of {printable(name)!r} of workgroup {printable(group)!r}; a server "
        f"of the site has one of its own: make it with 'qmi certs cert {SERVER_NAME} --workgroup {workgroup}', and "
        'write "${context}.pem" and "${context}.key" into the section \'security\''
    )


def read_from(path: Path, size: int) -> list[str]:
    """The whole lines of a text file that come after so many bytes."""
    try:
        with open(path, "rb") as file:
            file.seek(size)
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _cannot_bind(address: HostPort) -> str:
    """Why a server cannot listen there; empty if it can."""
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, proto, _, where in found[:1]:
            with socket.socket(family, kind, proto) as probe:
                if os.name != "nt":
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
                probe.listen(1)
    except OSError as error:
        return "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return ""
