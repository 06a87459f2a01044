"""What a link costs: a blocking call beside upstream QMI's, an echo of 8 MiB beside that of a plain socket.

Run it with ``python -m benchmarks.links``. Upstream QMI is installed from PyPI into ``build/upstream``, an environment
of its own, and is used as a user would: both libraries run the same two scripts. Everything is measured in turns in
one run, and of many small batches the tenth that was fastest counts: whatever else the machine does hits both alike.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
UPSTREAM = ROOT / "build" / "upstream"
CALL_GOAL = 0.6
ECHO_GOAL = 0.6
ROUNDS = 7
CALLS = 1500
SIZE = 8 << 20
ECHOES = 12

DRIVER = """
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method

class Echo(QMI_Instrument):
    @rpc_method
    def echo(self, value):
        return value
"""

SERVER = """
import sys, qmi
from bench_driver import Echo
qmi.start("bench_server", sys.argv[1])
qmi.make_instrument("echo", Echo)
print("ready", flush=True)
sys.stdin.readline()
qmi.stop()
"""

CLIENT = """
import sys, time, json, qmi
import numpy as np
qmi.start("bench_client", sys.argv[1])
qmi.context().connect_to_peer("bench_server")
echo = qmi.get_instrument("bench_server.echo")
array = np.zeros(int(sys.argv[3]), "u1")
for _ in range(200):
    echo.echo(1)
print("ready", flush=True)
for line in sys.stdin:
    what, count = line.split()
    value = 1 if what == "call" else array
    batch = 25 if what == "call" else 1
    times = []
    for _ in range(int(count) // batch):
        begun = time.perf_counter()
        for _ in range(batch):
            back = echo.echo(value)
        times.append((time.perf_counter() - begun) / batch)
    print(sorted(times)[len(times) // 10], flush=True)
qmi.stop()
"""

SOCKET_SERVER = """
import socket, sys
size = int(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sock = listener.accept()[0]
while True:
    memory = memoryview(bytearray(size))
    filled = 0
    while filled < size:
        got = sock.recv_into(memory[filled:])
        if not got:
            sys.exit()
        filled += got
    sock.sendall(memory)
"""


def upstream_python() -> str:
    """The interpreter of upstream's environment, which is made the first time."""
    python = UPSTREAM / "bin" / "python"
    if not (UPSTREAM / "complete").exists():
        print(f"Installing upstream QMI into {UPSTREAM} ...", flush=True)
        venv.create(UPSTREAM, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "qmi", "numpy"], check=True)
        (UPSTREAM / "complete").touch()
    return str(python)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Child:
    """A process that answers each line by one."""

    def __init__(self, *command: str, folder: str | None = None, **env: str) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **env}, cwd=folder,
        )  # fmt: skip
        self.first = self.read()

    def read(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} has ended; run it by hand to see why")
        return line.strip()

    def ask(self, text: str) -> float:
        """Give it a line and return the number that it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return float(self.read())

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def library(python: str, path: str) -> Iterator[Child]:
    """A client that is connected to a server, both run by this interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bench_driver.py").write_text(DRIVER)
        config = Path(folder, "qmi.conf")
        contexts = {"bench_server": {"host": "127.0.0.1", "tcp_server_port": free_port()}}
        config.write_text(json.dumps({"contexts": contexts, "qmi_home": folder}))
        env = {"PYTHONPATH": os.pathsep.join(filter(None, (folder, path))), "QMI_HOME": folder, "HOME": folder}
        server = Child(python, "-c", SERVER, str(config), folder=folder, **env)
        try:
            client = Child(python, "-c", CLIENT, str(config), "", str(SIZE), folder=folder, **env)
            try:
                yield client
            finally:
                client.end()
        finally:
            server.end()


class PlainEcho:
    """Two processes that echo 8 MiB over a socket, without any library."""

    def __init__(self) -> None:
        self._server = Child(sys.executable, "-c", SOCKET_SERVER, str(SIZE))
        self._sock = socket.create_connection(("127.0.0.1", int(self._server.first)))
        self._data = bytes(SIZE)

    def measure(self) -> float:
        """Seconds for one echo."""
        times = []
        for _ in range(ECHOES):
            begun = time.perf_counter()
            sender = threading.Thread(target=self._sock.sendall, args=(self._data,))
            sender.start()
            memory, filled = memoryview(bytearray(SIZE)), 0
            while filled < SIZE:
                filled += self._sock.recv_into(memory[filled:])
            sender.join()
            times.append(time.perf_counter() - begun)
        return sorted(times)[len(times) // 10]

    def end(self) -> None:
        """End it."""
        self._sock.close()
        self._server.end()


def main() -> int:
    """Measure, print, and return 1 if a goal is missed."""
    ours: list[float] = []
    theirs: list[float] = []
    echo: list[float] = []
    plain: list[float] = []
    socket_echo = PlainEcho()
    try:
        with library(sys.executable, str(ROOT)) as our, library(upstream_python(), "") as their:
            for _ in range(ROUNDS):
                ours.append(our.ask(f"call {CALLS}"))
                theirs.append(their.ask(f"call {CALLS}"))
                echo.append(our.ask(f"echo {ECHOES}"))
                plain.append(socket_echo.measure())
    finally:
        socket_echo.end()
    call_ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    echo_ratio = statistics.median(b / a for a, b in zip(echo, plain, strict=True))
    print(f"blocking call between two processes: {statistics.median(ours) * 1e6:6.0f} us")
    print(f"the same with upstream QMI:          {statistics.median(theirs) * 1e6:6.0f} us")
    print(f"ratio: {call_ratio:.2f} (goal: at most {CALL_GOAL})")
    print(f"echo of 8 MiB:                       {SIZE / statistics.median(echo) / 1e6:6.0f} MB/s each way")
    print(f"the same with a plain socket:        {SIZE / statistics.median(plain) / 1e6:6.0f} MB/s each way")
    print(f"ratio: {echo_ratio:.2f} (goal: at least {ECHO_GOAL})")
    return int(call_ratio > CALL_GOAL or echo_ratio < ECHO_GOAL)


if __name__ == "__main__":
    sys.exit(main())
