"""Servers of NATS for tests: on free ports of loopback, ended by their process ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.ports import free_port

PROGRAM = Path(sys.executable).with_name("nats-server")

CONFIGURATION = """
server_name: "{name}"
listen: "127.0.0.1:{port}"
no_fast_producer_stall: true
jetstream {{ store_dir: "{folder}", {store} }}
{more}
"""


class NatsServer:
    """One server. It keeps its port and its messages when it is started again.

    Args:
        folder: Where it keeps messages.
        more: Further lines of its configuration.
        name: Its name.
        port: Its port; None takes a free one.
        store: Further lines about what it keeps.
        prefix: What its command begins with.

    Attributes:
        log: What it has said.
    """

    def __init__(
        self,
        folder: Path,
        more: str = "",
        *,
        name: str = "server",
        port: int | None = None,
        store: str = "",
        prefix: Sequence[str] = (),
    ) -> None:
        self.port: int = port or free_port()
        self.log: list[str] = []
        self._configuration = folder / f"{name}.conf"
        text = CONFIGURATION.format(name=name, port=self.port, folder=folder / name, more=more, store=store)
        self._configuration.write_text(text)
        self._command: list[str | Path] = [*prefix, PROGRAM, "-c", self._configuration]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def begin(self) -> None:
        """Start it, without waiting for it."""
        assert self._process is None
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

    def wait_ready(self) -> None:
        """Wait until it accepts connections."""
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if "Server is ready" in line:
                break
        else:
            self.kill()
            raise AssertionError("".join(self.log))
        # Its pipe must not fill.
        self._reader = threading.Thread(target=self.log.extend, args=(self._process.stderr,), daemon=True)
        self._reader.start()

    def start(self) -> None:
        """Start it."""
        self.begin()
        self.wait_ready()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is None:
            return
        os.kill(self._process.pid, signal.SIGCONT)
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._reader is not None:
            self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process = self._reader = None

    def freeze(self) -> None:
        """Let it stand still."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


def cluster(folder: Path, count: int = 3) -> Sequence[NatsServer]:
    """Servers that know each other, not started."""
    routes = [free_port() for _ in range(count)]
    urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
    return [
        NatsServer(
            folder,
            f'cluster {{ name: "site", listen: "127.0.0.1:{route}", routes: [{urls}] }}',
            name=f"server{number}",
        )
        for number, route in enumerate(routes)
    ]
