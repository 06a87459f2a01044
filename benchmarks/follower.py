"""The second process of measures of runs: it follows a run, and tells how late its rows were.

The column ``sent`` has the time of the monotonic clock of this computer at which a row was added.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    import qmi
    import qmi.data
    from benchmarks.systems.qmi_script import context

    with context():
        qmi.context().connect_to_peer("server", sys.argv[2])
        with qmi.data.follow(sys.argv[1], context="server") as follower:
            print("ready", flush=True)
            late = [time.monotonic() - row.sent for row in follower]
    print(*late)


@contextmanager
def following(run_id: str, address: str) -> Iterator[list[float]]:
    """Follow a run of this program from another one for the length of a block, in which the run ends.

    Returns:
        A list that has, after the block, how late each row was, in seconds.
    """
    late: list[float] = []
    root = str(Path(__file__).parents[1])
    program = (
        f"import sys, runpy; sys.path.insert(0, {root!r}); runpy.run_module('benchmarks.follower', run_name='__main__')"
    )
    command = [sys.executable, "-P", "-c", program, run_id, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the follower ended before it was ready")
            yield late
            late += map(float, process.stdout.read().split())
        finally:
            process.kill()
