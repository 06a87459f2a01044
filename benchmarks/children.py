"""How a child of the benchmark is run: in a home of its own, for a bounded time, and gone without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

from benchmarks.environments import interpreter
from benchmarks.plan import Figures

_CHILD = Path(__file__).with_name("child.py")


class ChildFailed(Exception):
    """A run that gave no figures; the text is its last line."""


def run_child(run: str, measure: str, seconds: float, *, limit: float = 90.0) -> Figures:
    """Measure one thing of one system in a process of its own.

    Args:
        run: ``"system"`` or ``"system:variant"``.
        measure: Name of the measure's module.
        seconds: How long to measure, about.
        limit: Seconds after which it is killed, with the processes that it started.

    Raises:
        ChildFailed: If it gives no figures.
    """
    command = [interpreter(run.partition(":")[0]), "-P", str(_CHILD), run, measure, str(seconds)]
    return json.loads(run_group(command, limit).splitlines()[-1])  # type: ignore[no-any-return]


def run_group(command: list[str], limit: float) -> str:
    """Run a command in a home directory of its own and return what it prints; it cannot outlive its limit."""
    with tempfile.TemporaryDirectory(prefix="qmi-bench-") as home:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=home,
            env=clean_environment(home),
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"took longer than {limit:g} s") from None
        finally:
            _end_group(process)
    if process.returncode != 0 or not output.strip():
        lines = [line for line in errors.splitlines() if line.strip()]
        raise ChildFailed(lines[-1] if lines else f"exit status {process.returncode}")
    return output


def clean_environment(home: str) -> dict[str, str]:
    """The environment of a child: no settings of the user's, files in this directory only."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("QMI", "PYTHON"))}
    return {**kept, "HOME": home, "PYTHONDONTWRITEBYTECODE": ""}


def _end_group(process: subprocess.Popen[str]) -> None:
    # What it started belongs to its session, and must not disturb the next run.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
