"""A connection through the servers of a site, for blocking programs: an event loop in a thread while it lasts."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace

import trio

from qmi.config.schema import CfgQmi, CfgSecurity
from qmi.messages import Origin
from qmi.names import HostPort, Relay
from qmi.runtime.wakeup import Loop
from qmi.site.attendance import Attendance
from qmi.site.client import ClientOptions, Server, SiteClient
from qmi.site.relay import LinkRelay
from qmi.site.subjects import inbox_prefix
from qmi.site.trust import protection


class _Asker:
    """What stands for a context, of which there is none."""

    def __init__(self, config: CfgQmi, name: str) -> None:
        self.name = name
        self.config = config
        self.origin = Origin(name, secrets.token_hex(8))
        self.started = time.time()
        self.loop = Loop()
        self.nursery: trio.Nursery

    def listening(self) -> tuple[Sequence[str], int]:
        """Nowhere."""
        return [], 0

    def objects_listed(self) -> Sequence[tuple[str, str]]:
        """None."""
        return []

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task that lives as long as the connection."""
        self.nursery.start_soon(function, *args)
        return True

    async def accept(self, connection: socket.socket, where: HostPort) -> None:
        """Nobody is to connect to this."""
        connection.close()


@contextmanager
def relayed(
    config: CfgQmi, security: CfgSecurity, name: str, context: str, *, timeout: float
) -> Iterator[tuple[socket.socket, Relay] | None]:
    """Connect to a context through the site for a block.

    Args:
        config: The configuration.
        security: The files for TLS, with full names.
        name: Who connects; the name of the certificate, if that has one.
        context: To whom.
        timeout: Within which time, in seconds.

    Yields:
        The connection, closed at the end, and what it goes through; None if no context of that name is at the site.

    Raises:
        OSError: If that is not possible.
        QMI_ConfigurationException: If a file for TLS is not there or does not fit.
    """
    opened: Future[tuple[socket.socket, Relay] | None] = Future()
    ends: Future[Callable[[], object]] = Future()

    def run() -> None:
        try:
            trio.run(_carry, config, security, name, context, timeout, opened, ends)
        except BaseException as error:  # noqa: BLE001 - for whoever waits
            if not opened.done():
                opened.set_exception(error)

    thread = threading.Thread(target=run, name="qmi-relay", daemon=True)
    thread.start()
    found = opened.result()
    try:
        yield found
    finally:
        if found is not None:
            found[0].close()
        with suppress(trio.RunFinishedError):
            ends.result()()
        thread.join()


async def _carry(
    config: CfgQmi,
    security: CfgSecurity,
    name: str,
    context: str,
    timeout: float,
    opened: Future[tuple[socket.socket, Relay] | None],
    ends: Future[Callable[[], object]],
) -> None:
    asker, is_over = _Asker(config, name), trio.Event()
    token = trio.lowlevel.current_trio_token()
    ends.set_result(lambda: token.run_sync_soon(is_over.set))
    options = ClientOptions(
        [Server(address) for address in config.site.addresses], name, inbox_prefix(config.workgroup, name)
    )
    if (protected := protection(security, config.workgroup)) is not None:
        options = replace(options, tls=protected[0], check_server=protected[1])
    client = SiteClient(options, asker.loop)
    relay = LinkRelay(client, Attendance(client, asker), asker)
    relay.start()
    async with trio.open_nursery() as nursery:
        asker.nursery = nursery
        nursery.start_soon(client.run)
        try:
            with trio.fail_after(timeout):
                await _until_up(client, nursery)
                found = await relay.open(context)
        except (OSError, trio.TooSlowError) as error:
            late = TimeoutError(f"the site does not answer within {timeout:g} s")
            opened.set_exception(late if isinstance(error, trio.TooSlowError) else error)
        else:
            opened.set_result(found)
            if found is not None:
                await is_over.wait()
                await relay.stop()
        nursery.cancel_scope.cancel()


async def _until_up(client: SiteClient, nursery: trio.Nursery) -> None:
    async def give_up() -> None:
        await client.failed.wait()
        scope.cancel()

    with trio.CancelScope() as scope:
        nursery.start_soon(give_up)
        await client.up.wait()
    if not client.is_up:
        raise ConnectionError(client.fault)
