"""The program that makes the CSV of a run for the server of the pages: ``python -m qmi.web.csv_program RUN CSV``.

It is a process of its own, since what reads such files has Python's lock in its hands for longer than a server can do
without it: to load it takes a second or more, and so does a row with an array of a million numbers.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from qmi.errors import QMI_RecordingException
from qmi.runtime.priority import give_way

PROGRAM: Final = "qmi.web.csv_program"

_RUNNING = trio.CapacityLimiter(2)


async def make_csv(run: Path, file: Path) -> None:
    """Make the CSV of a run by such a process, which is ended if this is cancelled.

    Args:
        run: The file of the run, or a copy of the log of one that goes on.
        file: The file to make.

    Raises:
        QMI_RecordingException: If it cannot be made.
    """
    command = [sys.executable, "-P", "-m", PROGRAM, str(run), str(file)]
    async with _RUNNING:
        done = await trio.run_process(command, capture_stderr=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        *_, why = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise QMI_RecordingException(f"the CSV of {run.name} cannot be made: {why}")


def write_csv(run: Path, file: Path) -> None:
    """Make it here.

    Args:
        run: The file of the run, or a copy of the log of one that goes on.
        file: The file to make.

    Raises:
        QMI_RecordingException: If it cannot be made.
        OSError: If it cannot be written.
    """
    from qmi.data import run_file, run_log
    from qmi.data.export_files import csv_of_file

    if run.name.endswith(run_log.ENDING):
        log, run = run, run.with_name(f"so_far{run_file.ENDING}")
        run_file.build(log, run)
    csv_of_file(run, file)


def main(arguments: Sequence[str]) -> int:
    """Make a file; returns the exit code."""
    run, file = map(Path, arguments)
    write_csv(run, file)
    return 0


if __name__ == "__main__":
    give_way()
    sys.exit(main(sys.argv[1:]))
