"""Instruments are closed before a program has to end: by ``qmi_proc stop``, by systemd, with its SSH session."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from qmi.config.loader import load_config
from qmi.config.schema import CfgContext, CfgQmi
from qmi.contexts import base as kernel
from qmi.proc.control_client import SocketLink
from qmi.proc.launch import Launcher, Times
from qmi.proc.selection import Target
from qmi.proc.systemd import unit_text
from qmi.runtime.interrupt_rules import PATIENCE
from tests.support.outside import wait_for_file
from tests.support.ports import free_port
from tests.support.proc import PROGRAMS, target
from tests.support.ssh import SSHD, make_keys, openssh, sessions

TIMES = Times(ask=5.0, start=30.0, soft=0.0, terminate=10.0, kill=5.0)
MODES = ["deaf", "stuck", "swallows"]


def lab(home: Path, mode: str, port: int | None = None) -> CfgQmi:
    """The configuration of a program with a heater, read from a file."""
    settings = {
        "program_module": "heater",
        "program_args": ["lab", str(home / "record"), mode],
        "python_path": str(PROGRAMS),
        "stop_grace": 0.3,
        **({"host": "127.0.0.1", "tcp_server_port": port} if port else {}),
    }
    path = home / "lab.conf"
    path.write_text(json.dumps({"qmi_home": str(home), "contexts": {"lab": settings}}))
    return load_config(path)


def is_on(home: Path) -> bool:
    record = home / "record"
    return record.exists() and record.read_text() == "on\n"


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_fault_52_stop_by_qmi_proc_closes_the_instruments(mode: str, home: Path) -> None:
    # It does not look at shutdown_requested(), so asking it is not enough.
    config = lab(home, mode, free_port())
    launcher = Launcher(config, SocketLink(config), times=TIMES)
    launcher.start(target(config, "lab"))
    wait_for_file(lambda: is_on(home), home)
    assert launcher.stop(target(config, "lab")) == "ended by SIGTERM, since it did not stop when asked"
    assert (home / "record").read_text() == "on\noff\n"


def test_stop_by_qmi_proc_of_a_program_without_a_port_closes_the_instruments(home: Path) -> None:
    config = lab(home, "deaf")
    launcher = Launcher(config, SocketLink(config), times=Times(soft=10.0))
    launcher.start(target(config, "lab"))
    wait_for_file(lambda: is_on(home), home)
    assert launcher.stop(target(config, "lab")) == ""
    assert (home / "record").read_text() == "on\noff\n"


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_fault_52_stop_by_systemd_closes_the_instruments(mode: str, home: Path) -> None:
    config = lab(home, mode)
    at = Target("lab", config.contexts["lab"], local=True)
    unit = dict(
        line.split("=", 1) for line in unit_text(at, [at], config, {}, home).splitlines() if line.count("=") == 1
    )
    with subprocess.Popen(
        shlex.split(unit["ExecStart"]),
        cwd=home,
        env={**os.environ, "QMI_CONFIG": str(home / "lab.conf"), "PYTHONPATH": str(PROGRAMS)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for_file(lambda: is_on(home) or process.poll() is not None, home)
            process.send_signal(signal.Signals[unit["KillSignal"]])
            assert process.wait(float(unit["TimeoutStopSec"])) == int(unit["SuccessExitStatus"])
        finally:
            process.kill()
    assert (home / "record").read_text() == "on\noff\n"
    assert unit["KillMode"] == "mixed"


@pytest.mark.parametrize("grace", [0.0, 5.0, 300.0])
def test_program_has_the_time_that_its_orderly_stop_takes(grace: float, home: Path) -> None:
    context = CfgContext(program_module="heater", stop_grace=grace)
    stop = max(grace, kernel.LAST_CHANCE) + 2 * kernel.LAST_CHANCE
    times = Times().fit(context)
    assert times.soft > stop
    assert times.terminate > PATIENCE + stop
    assert Times().longest_stop(context) > 2 * times.soft + times.terminate
    at = Target("lab", context, local=True)
    assert f"\nTimeoutStopSec={times.terminate:.0f}\n" in unit_text(at, [at], CfgQmi(), {}, home)


@pytest.mark.slow
@pytest.mark.skipif(SSHD is None, reason="sshd is not installed (Debian: openssh-server)")
@pytest.mark.parametrize("who", ["client", "server"])
def test_fault_52_ssh_session_that_ends_closes_the_instruments(who: str, home: Path, tmp_path: Path) -> None:
    # Its output goes to the terminal that is closed, so what the driver prints when it closes has nowhere to go.
    lab(home, "deaf")
    keys = make_keys(home)
    program = [sys.executable, str(PROGRAMS / "heater.py"), "lab", str(home / "record"), "deaf"]
    command = shlex.join(["env", f"HOME={home}", f"QMI_CONFIG={home / 'lab.conf'}", *program])

    async def session() -> None:
        connection = await asyncssh.connect(
            "127.0.0.1", keys.port, username=getpass.getuser(), known_hosts=str(keys.known_hosts), config=None
        )
        await connection.create_process(command, term_type="xterm")
        await asyncio.to_thread(wait_for_file, lambda: is_on(home), home)
        if who == "client":
            connection.abort()
        else:
            for process in sessions(server):
                process.kill()
        await connection.wait_closed()

    with openssh(keys, tmp_path) as server:
        asyncio.run(session())
        wait_for_file(lambda: not is_on(home), home)
    assert (home / "record").read_text() == "on\noff\n"
