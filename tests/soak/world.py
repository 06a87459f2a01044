"""The programs of a soak and the proxies between them, what can be done to them, and how large they are."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.support.chaos import ChaosProxy
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]


class Size(NamedTuple):
    """What a process takes."""

    memory: int
    threads: int
    descriptors: int


class Program:
    """A process of the soak that can be killed and started again.

    Args:
        name: What reports call it.
        arguments: What it runs.
        directory: Where its output goes.
        ledger: Its ledger.
    """

    def __init__(self, name: str, arguments: list[str], directory: Path, ledger: Path) -> None:
        self.name = name
        self.ledger = ledger
        self.log = directory / f"{name}.log"
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True,
            )  # fmt: skip

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process of now."""
        assert self._process is not None
        return self._process

    def say(self, word: str) -> None:
        """Write a line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hear(self, word: str, timeout: float = 60.0) -> None:
        """Wait for a line from it."""
        assert self.process.stdout is not None
        timer = threading.Timer(timeout, self.process.kill)
        timer.start()
        line = self.process.stdout.readline().strip()
        timer.cancel()
        if line != word:
            raise RuntimeError(f"{self.name} said {line!r} instead of {word!r}; see {self.log}")

    def kill(self) -> int:
        """Kill it and return its process id."""
        self.process.kill()
        return self._ended()

    def end(self, timeout: float) -> bool:
        """Let it end; False if it has to be killed."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self._ended()
        return True

    def _ended(self) -> int:
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()
        return self.process.pid

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP for the length of a block."""
        process = self.process  # it may be killed and started again meanwhile
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def size(self) -> Size:
        """What it takes now."""
        process = psutil.Process(self.process.pid)
        return Size(process.memory_info().rss, process.num_threads(), process.num_fds())


class World:
    """All programs: a server that may be killed, one that lives, and the same with programs full of clients.

    Args:
        directory: Where ledgers and output go.
        clients: How many clients in all.
    """

    def __init__(self, directory: Path, clients: int) -> None:
        self._stack = contextlib.ExitStack()
        self.killed: set[int] = set()
        self.ports = {name: free_port() for name in ("mortal", "steady")}
        self.servers = {name: self._server(directory, name) for name in self.ports}
        self.proxies = {name: self._stack.enter_context(ChaosProxy(port)) for name, port in self.ports.items()}
        groups = max(2, min(5, clients // 4))
        counts = [clients // groups + (index < clients % groups) for index in range(groups)]
        self.clients = [self._client(directory, f"group{index}", count) for index, count in enumerate(counts)]

    def _server(self, directory: Path, name: str) -> Program:
        ledger = directory / f"{name}.ledger"
        arguments = ["tests.soak.server", name, str(self.ports[name]), str(ledger)]
        program = Program(name, arguments, directory, ledger)
        program.hear("ready")
        return program

    def _client(self, directory: Path, name: str, count: int) -> Program:
        ledger = directory / f"{name}.ledger"
        places = [f"{server}={proxy.port}" for server, proxy in self.proxies.items()]
        return Program(name, ["tests.soak.client", name, str(count), str(ledger), *places], directory, ledger)

    def steady(self) -> list[Program]:
        """The programs that are never killed."""
        return [self.servers["steady"], self.clients[0]]

    def pause(self) -> None:
        """Return when no client does anything any more."""
        for client in self.clients:
            client.say("pause")
        for client in self.clients:
            client.hear("paused")

    def go(self) -> None:
        """Let all clients work again."""
        for client in self.clients:
            client.say("go")

    def close(self) -> list[str]:
        """End everything; return what did not end by itself."""
        stuck = [client.name for client in self.clients if not client.end(40)]
        stuck += [server.name for server in self.servers.values() if not server.end(20)]
        self._stack.close()
        return stuck

    # Faults

    def kill_server(self) -> None:
        """Kill a server and start it again."""
        server = self.servers["mortal"]
        self.killed.add(server.kill())
        server.start()
        server.hear("ready")

    def kill_client(self) -> None:
        """Kill a program full of clients and start it again."""
        client = self.clients[-1]
        self.killed.add(client.kill())
        client.start()

    def reset(self, name: str) -> None:
        """Reset every connection to a server."""
        self.proxies[name].reset()

    def stall(self, name: str, wait: Callable[[float], object]) -> None:
        """Let nothing through to a server for two seconds."""
        way = self.proxies[name].there
        way.stall()
        wait(2.0)
        way.go_on()

    def damage(self, name: str, wait: Callable[[float], object]) -> None:
        """Turn over bits of what comes back from a server, on every connection made meanwhile."""
        way = self.proxies[name].back
        way.flip = {*range(700, 720)}
        self.reset(name)
        wait(1.0)
        way.flip = set()

    def freeze(self, program: Program, seconds: float, wait: Callable[[float], object]) -> None:
        """Stop a program for a while and continue it."""
        with program.frozen():
            wait(seconds)

    def forge(self, data: bytes) -> None:
        """Send something that makes no sense to both servers."""
        for port in self.ports.values():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                sock.settimeout(8)
                sock.sendall(data)
                sock.recv(4096)


JUNK = {
    "junk": b"GET / HTTP/1.1\r\n\r\n",
    "oversize frame": struct.pack(">3sBBIIQ", b"QMI", 1, 0, 2**31, 0, 0),
    "frame of random bytes": struct.pack(">3sBBIIQ", b"QMI", 1, 0, 64, 0, 0) + os.urandom(64),
    "silence": b"Q",
}
