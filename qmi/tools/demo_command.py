"""The chapter of the demonstration in which somebody at a terminal looks at a program that runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from qmi.tools.demo_programs import PATIENCE, program, write_config
from qmi.tools.stage import Stage


def command_line(stage: Stage) -> None:
    """The laboratory from a terminal."""
    with tempfile.TemporaryDirectory() as directory:
        config = write_config(Path(directory))
        with program("bench", config):
            stage.say("A program serves an instrument. Whoever sits at a terminal sees what runs:")
            for line in ("ls", "ls bench"):
                stage.say(f"\n$ qmi {line}")
                _run(stage, [*line.split(), "--config", config], directory)


def _run(stage: Stage, arguments: list[str], directory: str) -> None:
    command = [sys.executable, "-m", "qmi", *arguments]
    environment = {**os.environ, "XDG_CACHE_HOME": directory}  # nothing is left behind
    if stage.is_live:
        subprocess.run(command, env=environment, timeout=PATIENCE, check=True)
    else:
        run = subprocess.run(command, env=environment, timeout=PATIENCE, check=True, capture_output=True, text=True)
        stage.result(run.stdout.rstrip())
