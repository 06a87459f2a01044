"""Ten programs started, asked and stopped by ``qmi_proc --all``.

The programs end by themselves after a minute, whatever becomes of who started them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

PROGRAMS = 10
_LIMIT = 60.0

_PROGRAM = f"""
import sys
import qmi

qmi.start(sys.argv[1], sys.argv[2])
qmi.context().wait_until_shutdown({_LIMIT})
qmi.stop()
"""


def write_files(home: Path) -> Path:
    """Write the program and a configuration with ten contexts; gives the configuration."""
    from benchmarks.systems.qmi_script import free_ports

    config = home / "bench.conf"
    (home / "bench_program.py").write_text(_PROGRAM)
    contexts = {
        f"program{number}": {
            "host": "127.0.0.1",
            "tcp_server_port": port,
            "enabled": True,
            "program_module": "bench_program",
            "program_args": [f"program{number}", str(config)],
            "python_path": str(home),
        }
        for number, port in enumerate(free_ports(PROGRAMS))
    }
    management = {"output_dir": str(home)}
    config.write_text(json.dumps({"contexts": contexts, "process_management": management}))
    return config


def qmi_proc(config: Path, command: str, expected: str) -> float:
    """Run one command and return how long it took.

    Raises:
        RuntimeError: If it does not say the expected thing of each program.
    """
    program = Path(sys.executable).with_name("qmi_proc")
    line = [str(program), "--config", str(config), "--all", command]
    begin = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, timeout=_LIMIT)
    took = time.perf_counter() - begin
    if done.stdout.count(expected) < PROGRAMS:
        raise RuntimeError(f"qmi_proc {command}: {(done.stdout + done.stderr).strip()[-300:]!r}")
    return took


def measure(system: Any, variant: str, seconds: float) -> Figures:
    config = write_files(Path.cwd())
    figures = {"start": qmi_proc(config, "start", "STARTED")}
    try:
        figures["status"] = qmi_proc(config, "status", "RUNNING")
    finally:
        figures["stop"] = qmi_proc(config, "stop", "STOPPED")
    return figures


MEASURE = Measure(
    title="ten programs: qmi_proc start, status, stop",
    unit="s",
    runs=("ours", "upstream"),
    goals=(
        Goal(figure="start", versus="upstream", at_most=1.0),
        Goal(figure="status", versus="upstream", at_most=1.0),
        Goal(figure="stop", versus="upstream", at_most=1.0),
    ),
    measure=measure,
)
