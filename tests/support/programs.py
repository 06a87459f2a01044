"""Other Python processes, driven line by line from a test: what they run is text, what they answer is a value."""

from __future__ import annotations

import ast
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.waiting import changed

ROOT = Path(__file__).parents[2]

_CHILD = """
import ast, json, sys, traceback
scope = {"__name__": "__main__"}
answers = sys.stdout
sys.stdout = sys.stderr
for line in sys.stdin:
    tree = ast.parse(json.loads(line))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    try:
        exec(compile(tree, "<test>", "exec"), scope)
        value = None if last is None else eval(compile(ast.Expression(last.value), "<test>", "eval"), scope)
        answer = {"value": repr(value)}
    except BaseException as error:
        answer = {"error": type(error).__name__, "text": str(error), "trace": traceback.format_exc()}
    print(json.dumps(answer), file=answers, flush=True)
"""


class RemoteFailure(Exception):
    """What ran in the other process raised something.

    Attributes:
        kind: Name of the exception's type.
        text: Its text.
    """

    def __init__(self, kind: str, text: str, trace: str) -> None:
        super().__init__(f"{kind}: {text}\n{trace}")
        self.kind = kind
        self.text = text


class Program:
    """Another Python process. ``with`` it; it is killed at the end.

    Args:
        prefix: Command that runs it, such as ``["ip", "netns", "exec", "a"]``.
        env: Further environment variables.
    """

    def __init__(self, prefix: Sequence[str] = (), **env: str) -> None:
        self._prefix = prefix
        self._env = env
        self._lines: queue.Queue[str] = queue.Queue()
        self._process: subprocess.Popen[str]
        self._errors: list[str] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Program:
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self._env},
        )  # fmt: skip
        for function in (self._read, self._read_errors):
            thread = threading.Thread(target=function, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if error is not None:
            print(f"--- stderr of process {self.pid}:\n{self.errors}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line)
            changed()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def errors(self) -> str:
        """What it has written to stderr (its log) so far."""
        return "".join(self._errors)

    def begin(self, code: str) -> None:
        """Run code; :meth:`result` waits for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()

    def result(self, timeout: float = 20.0) -> Any:
        """The value of the last expression.

        Raises:
            RemoteFailure: If the code raised something.
        """
        line = self._lines.get(timeout=timeout)
        if not line:
            raise EOFError(f"process {self.pid} has ended:\n{self.errors}")
        answer = json.loads(line)
        if "error" in answer:
            raise RemoteFailure(answer["error"], answer["text"], answer["trace"])
        try:
            return ast.literal_eval(answer["value"])
        except (ValueError, SyntaxError):
            return answer["value"]

    def run(self, code: str, timeout: float = 20.0) -> Any:
        """Run code and return the value of its last expression."""
        self.begin(code)
        return self.result(timeout)

    def wait_until(self, expression: str, limit: float = 10.0) -> None:
        """Wait until an expression is true over there."""
        self.run(
            f"from tests.support.waiting import wait_until\nassert wait_until(lambda: {expression}, {limit})",
            limit + 10.0,
        )

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None and not stream.closed:
                with suppress(BrokenPipeError):
                    stream.close()

    def pause(self) -> None:
        """SIGSTOP; returns when all its threads stand still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP for the length of a block."""
        self.pause()
        try:
            yield
        finally:
            self.go_on()


def run_script(script: str, *arguments: object, cwd: Path, prefix: Sequence[str] = ()) -> str:
    """Run a script in a process of its own, to its end, with warnings as errors.

    Args:
        script: Its text.
        arguments: What is behind its name on the command line.
        cwd: The directory in which it is written and run.
        prefix: Command that runs it.

    Returns:
        What it printed.
    """
    path = cwd / "program.py"
    path.write_text(script)
    command = [*prefix, sys.executable, "-W", "error", str(path), *map(str, arguments)]
    found = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    return found.stdout
