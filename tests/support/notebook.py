"""A real ipykernel, and a person in front of it; skips the tests where that is not installed."""

from __future__ import annotations

import os
import queue
import select
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ipykernel")
jupyter_client = pytest.importorskip("jupyter_client")

LIMIT = 30.0
"""How long anything may take, in seconds."""


def _picture_of(found: dict[str, Any]) -> str:
    if found["msg_type"] not in ("display_data", "update_display_data"):
        return ""
    return str(found["content"]["data"].get("image/png", ""))


class Notebook:
    """A kernel, and a person in front of it."""

    def __init__(self, directory: Path) -> None:
        self._manager = jupyter_client.KernelManager()
        # The kernel of the Python that runs the tests, whatever is installed elsewhere.
        self._manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self._manager.start_kernel(cwd=str(directory), extra_arguments=["--HistoryManager.enabled=False"])
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=LIMIT)
        os.mkfifo(directory / "begun")
        self._begun = os.open(directory / "begun", os.O_RDWR)
        assert self.run("import os\n_begun = os.open('begun', os.O_WRONLY)\ndel os") == ("", "")

    def close(self) -> None:
        """End the kernel."""
        os.close(self._begun)
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def begin(self, code: str) -> str:
        """Run a cell, and go on as soon as it runs: before, a kernel ignores the stop button.

        From then on nothing but the cell's own code runs in the main thread. It is one statement, since IPython
        compiles each one when the one before it has run, and it says by a bare pipe that it has begun, since a print
        is a wait for another thread. An exception in the midst of either is none of the cell: IPython cannot even show
        one that strikes at an instruction without a line number.
        """
        begun = "__import__('os').write(_begun, b'.')"
        message = self._execute(f"if {begun}:\n{textwrap.indent(code, '    ')}")
        assert select.select([self._begun], [], [], LIMIT)[0], "the cell did not run"
        os.read(self._begun, 1)
        return message

    def _execute(self, code: str) -> str:
        # A kernel drops cells that come right behind one that failed, unless that said otherwise.
        return str(self._client.execute(code, stop_on_error=False))

    def end(self, message: str) -> tuple[str, str]:
        """What a cell has printed or returned, and the error that ended it."""
        output, error = "", ""
        while True:
            kind, content = self._next(message)
            if kind == "stream":
                output += content["text"]
            elif kind == "execute_result":
                output += content["data"]["text/plain"] + "\n"
            elif kind == "error":
                error = f"{content['ename']}: {content['evalue']}"
            elif kind == "status" and content["execution_state"] == "idle":
                return output, error

    def _next(self, message: str) -> tuple[str, dict[str, Any]]:
        found = self._until(lambda found: found["parent_header"].get("msg_id") == message)
        return found["msg_type"], found["content"]

    def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next wanted message of the kernel, or an error with all that came instead."""
        seen: list[str] = []
        end = time.monotonic() + LIMIT
        while True:
            try:
                found: dict[str, Any] = self._client.get_iopub_msg(timeout=max(end - time.monotonic(), 0.0))
            except queue.Empty:
                raise AssertionError(f"The kernel did not say it within {LIMIT} s, but: {seen}") from None
            if wanted(found):
                return found
            seen.append(f"{found['msg_type']}: {found['content']}"[:300])

    def printed(self, message: str) -> str:
        """Wait until a cell that was begun prints something."""
        while True:
            kind, content = self._next(message)
            if kind == "stream":
                return str(content["text"])

    def run(self, code: str) -> tuple[str, str]:
        """Run a cell to its end."""
        return self.end(self._execute(code))

    def picture(self) -> str:
        """The next picture that is shown below a cell or replaces one, in base64."""
        return _picture_of(self._until(lambda found: bool(_picture_of(found))))

    def interrupt(self) -> None:
        """Press the stop button."""
        self._manager.interrupt_kernel()

    def complete(self, code: str) -> list[str]:
        """Press TAB at the end of this."""
        message = self._client.complete(code)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            reply = self._client.get_shell_msg(timeout=LIMIT)
            if reply["parent_header"].get("msg_id") == message:
                return list(reply["content"]["matches"])
        raise queue.Empty
