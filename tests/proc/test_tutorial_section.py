"""The tutorial's section "Managing background processes", as printed, with real contexts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.proc.support import free_port

PROGRAM = """\
import time
import qmi
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.utils.context_managers import start_stop

def main():
    with start_stop(qmi, "proc_demo"):
        nsg = qmi.make_instrument("nsg", NoisySineGenerator)
        print("just started the background process")
        while not qmi.context().shutdown_requested():
            print("process is still running")
            time.sleep(0.1)
        print("process now stopping")

if __name__ == "__main__":
    main()
"""

CONFIGURATION = """\
{
    # Log level for messages to the console.
    "logging": {
        "console_loglevel": "INFO"
    },

    "contexts": {
        # Testing remote instrument access.
        "instr_server": {
            "host": "127.0.0.1",
            "tcp_server_port": 40001
        },

        # Testing process management.
        "proc_demo": {
            "host": "127.0.0.1",
            "tcp_server_port": PORT,
            "enabled": true,
            "program_module": "proc_demo"
        }
    },

    # Only in this test: nobody else is asked.
    "discovery": {"port": UDP, "broadcast_addresses": ["127.255.255.255"]}
}
"""


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Path:
    """A directory with the program of the tutorial, and its configuration in the home directory."""
    (tmp_path / "proc_demo.py").write_text(PROGRAM)
    text = CONFIGURATION.replace("PORT", str(free_port())).replace("UDP", str(free_port()))
    (home / "qmi.conf").write_text(text)
    return tmp_path


def qmi_proc(project: Path, *arguments: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "qmi.tools.proc", *arguments], cwd=project, capture_output=True, text=True, timeout=60
    )
    assert (found.returncode, found.stderr) == (0, "")
    return found.stdout


def test_the_demo_starts_runs_and_stops(project: Path, home: Path) -> None:
    assert qmi_proc(project, "status") == "proc_demo: OFFLINE\n"
    started = re.fullmatch(r"proc_demo: STARTED \(PID=(\d+), QMI=\S+\)\n", qmi_proc(project, "start", "proc_demo"))
    assert started
    assert qmi_proc(project, "status").startswith(f"proc_demo: RUNNING (PID={started[1]}, QMI=")
    assert qmi_proc(project, "start", "--all").startswith(f"proc_demo: already running (PID={started[1]}, QMI=")
    found = qmi_proc(project, "ps").splitlines()
    assert found[0].startswith("proc_demo at 127.0.0.1:")
    assert found[1:] == ["    nsg: qmi.instruments.dummy.noisy_sine_generator.NoisySineGenerator"]
    restarted = qmi_proc(project, "restart", "--locals").splitlines()
    assert [line.split(" (")[0] for line in restarted] == ["proc_demo: STOPPED", "proc_demo: STARTED"]
    assert qmi_proc(project, "stop", "proc_demo", "--config", str(home / "qmi.conf")) == "proc_demo: STOPPED\n"
    assert qmi_proc(project, "status") == "proc_demo: OFFLINE\n"
    outputs = [path for path in home.iterdir() if re.fullmatch(r"proc_demo_\d{8}_\d{6}\.out", path.name)]
    assert outputs
    for output in outputs:
        text = output.read_text()
        assert "just started the background process\nprocess is still running\n" in text
        assert "process now stopping\n" in text


def test_the_server_mode_of_the_tutorial(project: Path, home: Path) -> None:
    arguments = ["-m", "qmi.tools.proc", "server", "--config", str(home / "qmi.conf")]
    terminal = pexpect.spawn(
        sys.executable, arguments, cwd=str(project), encoding="utf-8", timeout=30, echo=False, env=dict(os.environ)
    )
    terminal.expect_exact("qmi_proc server ready")
    terminal.sendline("START proc_demo")
    terminal.expect(r"OK \d+")
    terminal.sendline("STOP proc_demo")
    terminal.expect_exact("OK 1")
    terminal.sendline("QUIT")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
