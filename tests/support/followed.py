"""A program that records a run, step by step as the test says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = """
import sys
import qmi.data
folder, name = sys.argv[1:3]
with qmi.data.run(name, {"x": "V", "text": ""}, folder=folder) as run:
    print(run.run_id, flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            run.add(x=float(run.rows), text=None if run.rows % 2 else f"n{run.rows}")
        print("added", flush=True)
print("ended", flush=True)
"""


class Recorder:
    """The program, of which the test asks one thing after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.run_id = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def add(self, rows: int) -> None:
        """Have it add rows."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{rows}\n")
        self._process.stdin.flush()
        assert self._line() == "added"

    def end(self) -> None:
        """Have it end the run."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._line() == "ended"

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait(30)


@contextmanager
def recorder(folder: Path, name: str = "cooldown") -> Iterator[Recorder]:
    """A program that records a run."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Recorder(process)
        finally:
            process.kill()
