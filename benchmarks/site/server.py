"""The server of a site for a measure: a child of the process that measures, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.systems.qmi_script import free_port

_READY = 30.0


class BenchServer:
    """A server as ``qmi site start`` configures it.

    Args:
        folder: Where its files and the configuration are put.
        history: The section ``site.history``.

    Attributes:
        port: Where it listens.
        config: The file that contexts start with.
    """

    def __init__(self, folder: Path, **history: int) -> None:
        from qmi.config.loader import load_config
        from qmi.proc.site_server import SiteServer

        self.port: int = free_port()
        self.config: Path = folder / "site.conf"
        plain = {
            "qmi_home": str(folder),
            "logging": {"console_loglevel": "ERROR", "logfile": None},
            "discovery": {"enabled": False},
            "site": {"servers": [f"nats://127.0.0.1:{self.port}"], "history": history},
        }
        self.config.write_text(json.dumps(plain))
        loaded = load_config(self.config)
        self._server = SiteServer(loaded, loaded.site.addresses[0])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._server.prepare()
        self._process = subprocess.Popen(self._server.command(log=True), stdin=subprocess.DEVNULL)
        for _ in range(int(_READY / 0.01)):
            try:
                with socket.create_connection(("127.0.0.1", self.port), _READY) as probe:
                    if probe.recv(5) == b"INFO ":
                        return
            except OSError:
                if self._process.poll() is not None:
                    raise RuntimeError("the server of the site has ended") from None
            time.sleep(0.01)
        raise RuntimeError("the server of the site does not come up")

    def make_streams(self) -> None:
        """Have it keep what contexts publish."""
        self._server.make_streams()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def bench_server(**history: int) -> Iterator[BenchServer]:
    """A server for the length of a block, in the folder of this process."""
    server = BenchServer(Path.cwd(), **history)
    server.start()
    try:
        server.make_streams()
        yield server
    finally:
        server.kill()


@contextmanager
def site_context(server: BenchServer, name: str = "bench", **settings: Any) -> Iterator[Any]:
    """A blocking program at the site."""
    import qmi

    qmi.start(name, str(server.config), context_cfg={name: settings})
    try:
        yield qmi.context()
    finally:
        qmi.stop()
