"""What the experiments stand on: contexts on loopback, programs that serve and that lock, and a clock."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil

from qmi.core.config_defs import CfgContext, CfgQmi
from qmi.core.context import QMI_Context

HERE = os.path.dirname(os.path.abspath(__file__))


class Ended(NamedTuple):
    """How something ended, and after how many seconds."""

    what: str
    seconds: float

    @property
    def text(self) -> str:
        """For the table."""
        return f"{self.what} after {self.seconds:.1f} s"


def attempt(function: Callable[[], Any]) -> Ended:
    """Call a function; its value or the name of its exception, and how long it took."""
    began = time.monotonic()
    try:
        value = repr(function())
    except BaseException as error:  # noqa: BLE001 - what comes is what is looked for
        value = type(error).__name__
    return Ended(value, time.monotonic() - began)


class Program:
    """A process that runs one of the parts at the end of this file."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "parts.py"), *arguments], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().strip()

    @property
    def size(self) -> int:
        """Bytes of resident memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def kill(self) -> str:
        """Kill it and return what it wrote to stderr."""
        self.process.kill()
        return self.process.communicate()[1]


@contextmanager
def served() -> Iterator[tuple[Program, int]]:
    """A program with a context ``srv`` that has two devices, and its port."""
    port = free_port()
    program = Program("serve", str(port))
    try:
        yield program, port
    finally:
        program.kill()


@contextmanager
def client(name: str, port: int) -> Iterator[Any]:
    """A proxy of the first device, in a context of this process."""
    context = QMI_Context(name, CfgQmi())
    context.start()
    try:
        context.connect_to_peer("srv", f"127.0.0.1:{port}")
        yield context.get_rpc_object_by_name("srv.dev")
    finally:
        context.stop()


def server_config(port: int) -> CfgQmi:
    """A context ``srv`` that listens on loopback."""
    return CfgQmi(contexts={"srv": CfgContext(host="127.0.0.1", tcp_server_port=port)})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
