"""How commands reach the programs of other machines: over SSH, one connection for each host, a few helpers on each."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from qmi.config.schema import CfgProcessHost
from qmi.errors import QMI_UsageException
from qmi.names import HostPort, parse_host_port
from qmi.proc.helper_protocol import BadLineError, Command, Cursor, Err, Read, Reply, piece_of
from qmi.proc.ssh.errors import ErrorSource, RemoteError, host_key_error, login_error
from qmi.proc.ssh.helper import Helper

if TYPE_CHECKING:
    import asyncssh
    from asyncssh.known_hosts import KnownHostsArg

T = TypeVar("T")

DEFAULT_SERVER_COMMAND = "qmi_proc server"
_GOODBYE = 2.0


@dataclass(frozen=True)
class SshLimits:
    """What we allow ourselves and others.

    Attributes:
        login: Seconds for reaching a host and logging in.
        ready: Seconds for the helper to get ready.
        answer: Seconds for the answer to a command; more than starting or stopping a program may take (see `Times`).
        keepalive: Seconds of silence after which a sign of life is asked for; three unanswered ones end the connection.
        channels: Helpers on one host at a time. OpenSSH allows 10.
    """

    login: float = 10.0
    ready: float = 10.0
    answer: float = 90.0
    keepalive: float = 3.0
    channels: int = 8


class RemoteHosts:
    """Carries commands to other machines; for use in a ``with`` statement, from any number of threads.

    Logging in follows ``~/.ssh/config``, the agent and the default keys, as ``ssh`` does; host keys are checked against
    ``known_hosts`` whatever the configuration says. asyncssh runs in a thread of its own, which starts with the first
    command.

    Args:
        hosts: ``process_management.hosts``.
        limits: Time limits.
    """

    def __init__(self, hosts: Mapping[str, CfgProcessHost], *, limits: SshLimits | None = None) -> None:
        self._hosts = hosts
        self._limits = limits or SshLimits()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._requests: set[asyncio.Task[Reply]] = set()
        self._connections: dict[str, _Host] = {}

    def __enter__(self) -> Self:
        """Nothing happens before the first command."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections; the helpers at their ends finish what they do and end."""
        with self._lock:
            self._closed = True
        if self._loop is None or self._thread is None:
            return
        self._call(self._loop, self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def request(self, host: str, command: Command) -> Reply:
        """Have a command carried out on a host and return the helper's answer.

        Raises:
            RemoteError: If it does not get there or no answer comes back; the text says why.
        """
        try:
            reply: Reply = self._call(self._running_loop(), self._request(host, command))
        except concurrent.futures.CancelledError:
            text = f"host: interrupted before {host} answered, state unknown"
            raise RemoteError(ErrorSource.LOST, text) from None
        return reply

    def read_output(self, host: str, name: str, place: Cursor | None) -> tuple[Cursor, bytes]:
        """Read a piece of the output of a host's context; see `qmi.proc.output.read_output`.

        Raises:
            RemoteError: If that fails; the text says why.
        """
        reply = self.request(host, Read(name, place))
        if isinstance(reply, Err):
            raise RemoteError(ErrorSource.COMMAND, f"{host}: {reply.message}")
        try:
            return piece_of(reply)
        except BadLineError as exc:
            raise RemoteError(ErrorSource.COMMAND, f"{host}: {exc}") from exc

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise RemoteError(ErrorSource.HOST, "host: not asked, since qmi_proc is ending")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: Ctrl-C must be able to end the program while a host keeps silent.
                self._thread = threading.Thread(target=self._loop.run_forever, name="ssh", daemon=True)
                self._thread.start()
            return self._loop

    @staticmethod
    def _call(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    async def _request(self, host: str, command: Command) -> Reply:
        task = asyncio.current_task()
        assert task is not None, "this runs as a task of its own"
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        if host not in self._connections:
            settings = self._hosts.get(host) or CfgProcessHost()
            self._connections[host] = _Host(host, settings, self._limits)
        return await self._connections[host].request(command)

    async def _close(self) -> None:
        await _cancel(self._requests)
        await asyncio.gather(*(host.close() for host in self._connections.values()))
        # asyncssh leaves short-lived tasks behind a closed connection; they end now, not with the loop.
        await _cancel(task for task in asyncio.all_tasks() if task is not asyncio.current_task())


class _Host:
    """One connection and its helpers; everything runs in the loop's thread."""

    def __init__(self, name: str, settings: CfgProcessHost, limits: SshLimits) -> None:
        self._name = name
        self._limits = limits
        self._user = settings.ssh_user or ""
        self._endpoint = ssh_endpoint(settings.ssh_host or name)
        self._server_command = settings.server_command or DEFAULT_SERVER_COMMAND
        self._connecting = asyncio.Lock()
        self._channels = asyncio.Semaphore(limits.channels)
        self._connection: asyncssh.SSHClientConnection | None = None
        self._refusal: RemoteError | None = None
        self._refused_until = 0.0
        self._idle: list[Helper] = []

    async def request(self, command: Command) -> Reply:
        async with self._channels:
            helper = self._idle.pop() if self._idle else await self._new_helper()
            async with self._closed_when_failed(helper):
                reply = await helper.ask(command, self._limits.answer)
            self._idle.append(helper)
            return reply

    async def close(self) -> None:
        for helper in self._idle:
            await helper.close()
        if self._connection is not None:
            self._connection.close()
            try:
                async with asyncio.timeout(_GOODBYE):
                    await self._connection.wait_closed()
            except TimeoutError:
                self._connection.abort()

    async def _new_helper(self) -> Helper:
        import asyncssh

        connection = await self._connected()
        try:
            async with asyncio.timeout(self._limits.ready):
                process = await connection.create_process(self._server_command, encoding=None)
        except (asyncssh.Error, OSError, TimeoutError) as exc:
            reason = "no answer" if isinstance(exc, TimeoutError) else str(exc)
            text = f"command: {self._name} does not run {self._server_command!r}: {reason}"
            raise self._lost(exc) or RemoteError(ErrorSource.COMMAND, text) from exc
        helper = Helper(self._name, self._server_command, process)
        async with self._closed_when_failed(helper):
            await helper.get_ready(self._limits.ready)
        return helper

    @contextlib.asynccontextmanager
    async def _closed_when_failed(self, helper: Helper) -> AsyncIterator[None]:
        try:
            yield
        except BaseException as exc:
            await helper.close()
            error = self._lost(exc)
            if error is None:
                raise
            raise error from exc

    def _lost(self, exc: BaseException) -> RemoteError | None:
        """The error to show when the reason of another one is that the connection is gone."""
        import asyncssh

        connection = self._connection
        gone = connection is not None and connection.is_closed()
        # Two that can happen on a connection that is fine: a session is refused, and time runs out.
        harmless = isinstance(exc, asyncssh.ChannelOpenError | TimeoutError)
        if not (gone or (isinstance(exc, asyncssh.Error | OSError) and not harmless)):
            return None
        if gone:
            # The helpers went with it; the next command connects again.
            self._connection = None
            self._idle.clear()
        return RemoteError(ErrorSource.LOST, f"host: connection to {self._place()} lost, state unknown")

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._connecting:
            if self._refusal is not None and time.monotonic() < self._refused_until:
                # All contexts of a host share its fate: none waits once more for the same refusal. But who watches
                # for hours sees the host come back.
                raise self._refusal
            if self._connection is None or self._connection.is_closed():
                self._idle.clear()
                try:
                    self._connection = await self._connect()
                except RemoteError as exc:
                    self._refusal = exc
                    self._refused_until = time.monotonic() + self._limits.login
                    raise
            return self._connection

    async def _connect(self) -> asyncssh.SSHClientConnection:
        import asyncssh

        seen: list[asyncssh.SSHKey] = []
        user = self._user
        known_hosts: KnownHostsArg = b""

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                # Called for keys that are not in known_hosts: remembered for the message, and refused.
                seen.append(key)
                return False

        try:
            options = self._options()
            user = options.username
            # "UserKnownHostsFile none" would switch the check off.
            known_hosts = options.known_hosts if options.known_hosts is not None else b""
            async with asyncio.timeout(self._limits.login):
                return await asyncssh.connect(
                    self._endpoint.host,
                    self._endpoint.port or (),
                    options=options,
                    client_factory=Client,
                    known_hosts=known_hosts,
                )
        except asyncssh.HostKeyNotVerifiable as exc:
            known = _is_known(known_hosts, options)
            raise host_key_error(self._place(), seen[-1] if seen else None, known=known) from exc
        except Exception as exc:
            # Whatever a network and a user's SSH settings can do becomes one line; anything else is ours and stays.
            error = login_error(exc, self._place(), user, self._limits.login)
            if error is None:
                raise
            raise error from exc

    def _options(self) -> asyncssh.SSHClientConnectionOptions:
        import asyncssh

        return asyncssh.SSHClientConnectionOptions(
            host=self._endpoint.host,
            port=self._endpoint.port or (),
            username=self._user or (),
            keepalive_interval=self._limits.keepalive,
            keepalive_count_max=3,
            connect_timeout=None,
        )

    def _place(self) -> str:
        where = str(self._endpoint) if self._endpoint.port else self._endpoint.host
        return self._name if where == self._name else f"{self._name} ({where})"


async def _cancel(tasks: Iterable[asyncio.Task[object]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def ssh_endpoint(ssh_host: str) -> HostPort:
    """Read ``ssh_host``: a host, or ``host:port``; port 0 means that of ``~/.ssh/config``, else 22."""
    try:
        return parse_host_port(ssh_host)
    except QMI_UsageException:
        return HostPort(ssh_host.removeprefix("[").removesuffix("]"), 0)


def _is_known(known_hosts: KnownHostsArg, options: asyncssh.SSHClientConnectionOptions) -> bool:
    """Whether any key of the host is in the files."""
    import asyncssh

    named = known_hosts if isinstance(known_hosts, str | list | tuple) else ()
    files = named or [os.path.expanduser("~/.ssh/known_hosts")]
    host = options.host_key_alias or options.host
    port = options.port if options.port != 22 else None
    try:
        return any(asyncssh.match_known_hosts(asyncssh.read_known_hosts(files), host, "", port)[:2])
    except (OSError, ValueError):
        return False
