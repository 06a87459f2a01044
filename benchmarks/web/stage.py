"""The processes of a measurement, and how much processor time each of them takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.systems.qmi_script import free_port
from benchmarks.web.lab import OBJECTS, VALUES

_CHILD = Path(__file__).parents[1] / "child.py"


class Helper:
    """A process that does what lines of its input say.

    Args:
        module: What it runs.
        arguments: Of its ``main``.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD), "ours", "--run", module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def tell(self, line: str) -> None:
        """Have it do something."""
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        """What it says when that is done.

        Raises:
            RuntimeError: If it has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} has ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, line: str) -> dict[str, Any]:
        """Have it do something, and wait until that is done."""
        self.tell(line)
        return self.answer()

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def helper(module: str, *arguments: str) -> Iterator[Helper]:
    """A process that does what lines of its input say, for the length of the block."""
    made = Helper(module, *arguments)
    try:
        yield made
    finally:
        made.end()


@contextmanager
def laboratory(kind: str, *, rate: float = 10.0) -> Iterator[tuple[Helper, int]]:
    """The measuring program and its port, for the length of the block."""
    port = free_port()
    with helper("benchmarks.web.lab", str(port), kind, str(rate)) as lab:
        lab.answer()
        yield lab, port


class Pages:
    """The server of the pages.

    Args:
        process: Its process.
        url: Where it is.
    """

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.pid: int = process.pid
        self.url = url


@contextmanager
def pages(port: int, silent: int | None = None) -> Iterator[Pages]:
    """The command ``qmi web`` for that measuring program, for the length of the block.

    Args:
        port: Where the measuring program is.
        silent: Port of one that never says anything, if there is one.
    """
    config = Path.cwd() / "web.conf"
    ports = {"lab": port, **({"silent": silent} if silent else {})}
    contexts = {name: {"host": "127.0.0.1", "tcp_server_port": where} for name, where in ports.items()}
    config.write_text(json.dumps({"contexts": contexts, "discovery": {"enabled": False}}))
    command = [sys.executable, "-P", "-m", "qmi", "--config", str(config), "web", "--bind", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "shown at" in line:
                yield Pages(process, line.split()[-1])
                return
        raise RuntimeError("the server of the pages has ended")
    finally:
        process.kill()
        process.communicate()


def topics(kind: str) -> list[str]:
    """The topics of the measuring program's values."""
    form = "value:lab.meter{}.v{}" if kind == "values" else "signal:lab.meter{}.sig_v{}"
    return [form.format(place, number) for place in range(OBJECTS) for number in range(VALUES)]


def processor_time(pid: int) -> float:
    """Seconds of a processor that a process has taken, with all its threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


class Meter:
    """How much of a processor some processes take.

    Args:
        pids: Their numbers.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._begin = time.monotonic()
        self._before = [processor_time(pid) for pid in pids]

    def shares(self) -> list[float]:
        """Per cent of one processor since this was made, of each."""
        lasted = time.monotonic() - self._begin
        used = [processor_time(pid) - before for pid, before in zip(self._pids, self._before, strict=True)]
        return [100.0 * each / lasted for each in used]
