"""The library runs without what Linux alone has: a program that starts with all of that taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIGURATION = """{
    "logging": {"loglevel": "DEBUG"},
    "discovery": {"enabled": false},
    "contexts": {"offline": {"enabled": true, "program_module": "offline"}}
}"""

PROGRAM = """
import psutil  # has a module of its own for each system, and so needs here what Linux has
from tests.support.no_linux import take_away
take_away()

import importlib, os, pkgutil, select, signal, socket, sys, time
assert not hasattr(os, "fork") and not hasattr(select, "poll") and not hasattr(signal, "SIGHUP")

import qmi
import numpy as np
import trio
from qmi.core.config_defs import CfgContext, CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_LoopTask
from qmi.utils.context_managers import start_stop_join, subscribe_unsubscribe


class Bench(QMI_Instrument):
    sig_echo = QMI_Signal([int])

    @rpc_method
    def echo(self, value):
        if isinstance(value, int):
            self.sig_echo.publish(value)
        return value


class Slow(QMI_Instrument):
    @rpc_method
    async def wait(self, seconds):
        await trio.sleep(seconds)
        return seconds


class Loop(QMI_LoopTask):
    def loop_iteration(self):
        pass


class AsyncLoop(QMI_LoopTask):
    async def loop_iteration(self):
        await trio.sleep(0)


def count(task):
    with start_stop_join(task):
        while task.get_statistics().iterations < 20:
            time.sleep(0.005)


def use(bench, slow):
    receiver = QMI_SignalReceiver()
    with subscribe_unsubscribe(bench.sig_echo, receiver):
        assert [bench.echo(number) for number in range(300)] == list(range(300))
        assert [receiver.get_next_signal(timeout=5).args[0] for _ in range(300)] == list(range(300))
    futures = [bench.rpc_nonblocking.echo(number) for number in range(300)]
    assert [future.wait() for future in futures] == list(range(300))
    array = np.arange(1 << 20, dtype=float)
    assert (bench.echo(array) == array).all()
    with bench.locked(timeout=1):
        assert bench.is_locked()
    assert slow.wait(0.01) == 0.01


config = CfgQmi(contexts={"server": CfgContext(host="127.0.0.1", tcp_server_port=0)})
with QMI_Context("server", config) as server:
    made = server.make_instrument("bench", Bench), server.make_instrument("slow", Slow)
    for number, kind in enumerate((Loop, AsyncLoop)):
        for precise in (False, True):
            count(server.make_task(f"loop_{number}_{precise}", kind, loop_period=0.01, precise=precise))
    use(*made)
    qmi.start("client", "qmi.conf")  # with a log file
    qmi.context().connect_to_peer("server", f"127.0.0.1:{server.get_tcp_server_port()}")
    use(qmi.get_instrument("server.bench"), qmi.get_instrument("server.slow"))
    qmi.stop()


async def main():
    async with qmi.open_context("third", None) as context:
        slow = await context.make_instrument("slow", Slow)
        with trio.move_on_after(0.01) as scope:
            await slow.wait(60.0)
        assert scope.cancelled_caught


trio.run(main)
assert os.path.getsize("qmi.log")
for module in pkgutil.walk_packages(qmi.__path__, "qmi."):
    importlib.import_module(module.name)
from qmi.core.read_keyboard import KeyboardReader
KeyboardReader().poll_line()
from qmi.tools import proc
sys.argv = ["qmi_proc", "--config", "qmi.conf", "status"]
assert proc.main() == 0
"""


@pytest.mark.slow
def test_context_works_without_what_linux_alone_has(home: Path) -> None:
    (home / "qmi.conf").write_text(CONFIGURATION)
    (home / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "program.py"],
        cwd=home,
        env={"PYTHONPATH": str(ROOT), "HOME": str(home), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr
