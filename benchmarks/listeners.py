"""Programs that listen to a signal, many in one process: each has its own link, and does no more than a link must.

A connection says hello and subscribes as a context does, and then counts what comes without decoding it. So the
publisher has as many links as with that many programs, and the processors have time for it. Or each has a connection
of its own to the server of a site.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_PROGRAM = """
import runpy
import sys

sys.path.insert(0, sys.argv[1])
runpy.run_module("benchmarks.listeners", run_name="__main__")
"""
_NAME = b"sig_tick"
_SUBJECT = "qmi.default.signal.bench.driver.sig_tick"
_CHUNK = 1 << 18
_BEAT = 0.5
"""How often each says that it is alive, in seconds."""


class Listener:
    """One connection to context "bench".

    Args:
        port: Where that listens.
        number: Makes its name.

    Attributes:
        count: How many signals have come.
    """

    def __init__(self, port: int, number: int) -> None:
        from qmi._version import __version__
        from qmi.messages import Subscribe
        from qmi.net.protocol.connection import Connection
        from qmi.net.protocol.events import Connected, ReplyReceived
        from qmi.net.protocol.handshake import Hello
        from qmi.net.protocol.link_ends import Role

        name = f"listener{number}"
        hello = Hello(
            context=name, incarnation=name, workgroup="default", library=__version__, pid=number, wanted="bench",
            server=False,
        )  # fmt: skip
        self.sock = socket.create_connection(("127.0.0.1", port))
        connection = Connection(Role.CONNECTING, hello, now=time.monotonic(), expected="bench")
        self._connection = connection
        self._wait_for(Connected)
        number, buffers = connection.send_request(Subscribe("driver", _NAME.decode()))
        connection.handed_over(number)
        self.sock.sendall(b"".join(buffers))
        self._wait_for(ReplyReceived)
        self.count = 0
        self._last = b""

    def _wait_for(self, kind: type) -> None:
        while True:
            self.sock.sendall(b"".join(self._connection.data_to_send()))
            events = self._connection.receive_data(self.sock.recv(_CHUNK), time.monotonic())
            if self._connection.lost is not None:
                raise RuntimeError(f"the link was lost: {self._connection.lost.reason}")
            if any(isinstance(event, kind) for event in events):
                return

    def read(self) -> None:
        """Count what has come."""
        data = self._last + self.sock.recv(_CHUNK)
        self.count += data.count(_NAME)
        self._last = data[-len(_NAME) + 1 :]

    def beat(self) -> None:
        """Give a sign of life."""
        from qmi.net.protocol.connection import HEARTBEAT

        self.sock.sendall(HEARTBEAT)


class SiteListener:
    """One connection to the server of a site.

    Args:
        port: Where that listens.
        number: Makes its name.

    Attributes:
        count: How many signals have come.
    """

    _MARK = b"MSG " + _SUBJECT.encode()

    def __init__(self, port: int, number: int) -> None:
        from qmi.site import wire
        from qmi.site.subjects import connection_name

        self.sock = socket.create_connection(("127.0.0.1", port))
        name = connection_name(f"listener{number}", f"{number:016x}")
        self.sock.sendall(wire.connect(name, "bench") + wire.subscribe(_SUBJECT, 1) + wire.PING)
        said = b""
        while wire.PONG not in said:
            more = self.sock.recv(_CHUNK)
            if not more or b"-ERR" in said:
                raise RuntimeError(f"the server refuses: {said[-200:]!r}")
            said += more
        self.count = 0
        self._last = b""

    def read(self) -> None:
        """Count what has come."""
        data = self._last + self.sock.recv(_CHUNK)
        self.count += data.count(self._MARK)
        self._last = data[-len(self._MARK) + 1 :]

    def beat(self) -> None:
        """Give a sign of life."""
        from qmi.site import wire

        self.sock.sendall(wire.PONG)


KINDS: dict[str, type[Listener] | type[SiteListener]] = {"links": Listener, "site": SiteListener}


def listen(kind: str, port: int, listeners: int, batches: IO[str], answers: IO[str]) -> None:
    """Tell each time when all have got as many signals as a line of ``batches`` says, until that ends."""
    selector = selectors.DefaultSelector()
    all_of_them = [KINDS[kind](port, number) for number in range(listeners)]
    for listener in all_of_them:
        selector.register(listener.sock, selectors.EVENT_READ, listener.read)
    print("ready", file=answers, flush=True)
    expected = 0
    beat = time.monotonic()
    for line in batches:
        expected += int(line)
        while min(listener.count for listener in all_of_them) < expected:
            for key, _ in selector.select(_BEAT):
                key.data()
            if time.monotonic() >= beat:
                beat = time.monotonic() + _BEAT
                for listener in all_of_them:
                    listener.beat()
        print("got", file=answers, flush=True)


class Listeners:
    """The process with the listeners, as the publisher sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def expect(self, count: int) -> None:
        """So many signals will be published."""
        assert self._process.stdin is not None
        print(count, file=self._process.stdin, flush=True)

    def wait(self) -> None:
        """Wait until every listener has them, or until it is there at all."""
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the process with the listeners has ended")


@contextmanager
def listening(port: int, count: int, kind: str = "links") -> Iterator[Listeners]:
    """Have so many programs listen to the driver of context "bench" for the length of a block.

    Args:
        port: Where that listens, or the server of its site.
        count: How many.
        kind: By "links", or by the "site".
    """
    command = [sys.executable, "-P", "-c", _PROGRAM, str(Path(__file__).parents[1]), kind, str(port), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            listeners = Listeners(process)
            listeners.wait()
            yield listeners
        finally:
            process.kill()


if __name__ == "__main__":
    listen(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.stdin, sys.stdout)
