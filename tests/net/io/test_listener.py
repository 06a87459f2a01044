from __future__ import annotations

import errno
import logging
import socket
from typing import Any

import pytest
import trio
import trio.testing

from qmi.errors import QMI_ConfigurationException, QMI_UsageException
from qmi.names import HostPort
from qmi.net.io.listener import Listener, listen
from tests.support.waiting import until


async def test_a_free_port_is_taken_and_connections_are_handed_on() -> None:
    got: list[tuple[socket.socket, HostPort]] = []

    async def accepted(sock: socket.socket, where: HostPort) -> None:
        got.append((sock, where))
        if len(got) == 2:
            both.set()

    both = trio.Event()
    listener = Listener(listen("127.0.0.1", 0), accepted)
    assert listener.address.port > 0
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.run)
            clients = [await trio.open_tcp_stream(*listener.address) for _ in range(2)]
            await both.wait()
            for client in clients:
                await client.aclose()
            nursery.cancel_scope.cancel()
    assert [where.host for _, where in got] == ["127.0.0.1"] * 2
    for sock, _ in got:
        sock.close()


def test_a_port_in_use_is_named_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(QMI_UsageException, match=f"TCP port {port} on 127.0.0.1 is in use by nc"):
            listen("127.0.0.1", port, lambda found: f"nc (pid {found})")
        with pytest.raises(QMI_UsageException, match=f"TCP port {port} on 127.0.0.1 is in use$"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_a_host_that_is_not_of_this_machine_is_a_configuration_error(host: str) -> None:
    with pytest.raises(QMI_ConfigurationException, match=host):
        listen(host, 0)


def test_an_empty_host_is_every_address() -> None:
    with listen("", 0) as sock:
        assert sock.getsockname()[0] in ("0.0.0.0", "::")


async def test_closing_ends_the_listener_in_order() -> None:
    async def accepted(sock: socket.socket, where: HostPort) -> None:
        raise AssertionError

    listener = Listener(listen("127.0.0.1", 0), accepted)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.run)
            await trio.testing.wait_all_tasks_blocked()
            listener.close()
            listener.close()


class Failing:
    """A listening socket that fails for a while."""

    def __init__(self, sock: socket.socket, *errors: OSError) -> None:
        self._sock = sock
        self._errors = list(errors)

    def accept(self) -> Any:
        if self._errors:
            raise self._errors.pop(0)
        return self._sock.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


async def test_a_lack_of_descriptors_is_complained_of_once_and_waited_out(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    full = [OSError(errno.EMFILE, "Too many open files")] * 3
    aborted = OSError(errno.ECONNABORTED, "gone before it was accepted")
    reached: list[float] = []

    async def accepted(sock: socket.socket, where: HostPort) -> None:
        raise AssertionError

    failing: Any = Failing(listen("127.0.0.1", 0), *full, aborted)
    listener = Listener(failing, accepted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.run)
        await until(lambda: not failing._errors)
        reached.append(trio.current_time())
        nursery.cancel_scope.cancel()
    assert 0.25 < reached[0] < 1
    assert caplog.text.count("No new connections can be accepted") == 1


async def test_a_connection_that_waits_for_a_place_is_closed_at_the_end() -> None:
    waiting: list[socket.socket] = []

    async def accepted(sock: socket.socket, where: HostPort) -> None:
        waiting.append(sock)
        await trio.sleep_forever()

    listener = Listener(listen("127.0.0.1", 0), accepted)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.run)
            client = await trio.open_tcp_stream(*listener.address)
            await until(lambda: waiting)
            nursery.cancel_scope.cancel()
        assert waiting[0].fileno() == -1
        await client.aclose()
