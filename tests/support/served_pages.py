"""A program that measures and has its pages served beside it, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from qmi.core.task import QMI_LoopTask
from tests.support.ports import free_port
from tests.support.proc import ROOT
from tests.support.served import configure

PERIOD = 0.05
SILENCE = 8.0

PROGRAM = f"""
import sys
from dataclasses import replace
from qmi.tools import serve
from qmi.web import pages_process
pages_process.PROGRAM = "tests.support.beating_pages"
pages_process.SILENCE = {SILENCE}
pages_process.RESTARTS = replace(pages_process.RESTARTS, first_delay=0.1)
sys.exit(serve.main(["lab", "--config", sys.argv[1]]))
"""
"""Serves a context, and does not wait for half a minute until a server that is frozen is killed."""


class Counter(QMI_LoopTask[None, int]):
    """What measures."""

    count = 0

    def loop_iteration(self) -> None:
        """Count."""
        self.count += 1
        self.status = self.count


@dataclass
class Served:
    """A context and its pages.

    Attributes:
        client: Asks the pages.
        pid: The program that measures.
    """

    client: httpx.Client
    pid: int

    def pages(self) -> int:
        """The process that serves the pages."""
        (found,) = psutil.Process(self.pid).children()
        return int(found.pid)

    def status(self) -> Any:
        """What the context tells of itself."""
        return self.client.get("api/contexts/lab").raise_for_status().json()["status"]


def iterations(status: Any) -> int:
    """How often the loop of the task has run, in all since it was started."""
    (found,) = [entry for entry in status["objects"] if entry["name"] == "counter"]
    assert found["task"]["state"] == "running", found
    return int(found["task"]["iterations"])


@contextmanager
def served(home: Path) -> Iterator[tuple[Served, Any]]:
    """A context with a task and pages, in programs of their own, and what it prints."""
    port = free_port()
    tasks = {"counter": {"task": f"{__name__}:Counter", "kwargs": {"loop_period": PERIOD}}}
    path = configure(home, lab={"tasks": tasks, "web": {"bind": f"127.0.0.1:{port}"}})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QMI_HOME": str(home)}
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert program.stdout is not None
    try:
        with (
            program.stdout as out,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client,
        ):
            yield Served(client, program.pid), out
            program.terminate()
            out.read()
            assert program.wait(30) == 128 + signal.SIGTERM
    finally:
        program.kill()
        program.wait()


def until_said(out: Any, *words: str) -> str:
    """The next line with all of these words."""
    for line in out:
        if all(word in line for word in words):
            return str(line)
    raise AssertionError(f"the program has ended, and has not said {words}")
