"""The second process of a measure between processes: started by the first one, and gone with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served(run: str) -> Iterator[str]:
    """Serve a system in a process of its own for the length of a block; gives its address."""
    child = Path(__file__).with_name("child.py")
    process = subprocess.Popen(
        [sys.executable, "-P", str(child), run, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"the server of {run} ended before it gave its address")
        yield address
    finally:
        process.stdin.close()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def run_beside(run: str, module: str, *arguments: str) -> subprocess.Popen[str]:
    """Run a module of the benchmarks in a process of its own, until this one ends or its input is closed.

    Raises:
        RuntimeError: If it ends before it has said its first line.
    """
    command = [sys.executable, "-P", str(Path(__file__).with_name("child.py")), run, "--run", module, *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    if not process.stdout.readline():
        lines = [line for line in process.stderr.read().splitlines() if line.strip()]
        raise RuntimeError(lines[-1] if lines else f"{module} ended before it was ready")
    return process
