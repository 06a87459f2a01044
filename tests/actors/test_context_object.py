from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

import qmi
from qmi.actors import context_object as module
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_UnknownNameException
from tests.support.drivers import Gate, Plain


def test_a_context_tells_about_itself(lab: QMI_Context) -> None:
    lab.make_instrument("x", Plain)
    me = lab.make_peer_context_proxy("lab")
    assert me.get_version() == qmi.__version__
    assert me.get_pid() == os.getpid()
    assert [descriptor.address.object for descriptor in me.get_rpc_object_descriptors()] == ["x"]
    found = me.get_rpc_object_descriptor("x")
    assert (str(found.address), found.category) == ("lab.x", "instrument")
    assert "add" in found.interface.methods
    with pytest.raises(QMI_UnknownNameException, match=r"^Context 'lab' has no object named 'y'\. It has 'x'$"):
        me.get_rpc_object_descriptor("y")
    assert lab.list_rpc_objects("context") == [("lab.$context", "qmi.actors.context_object.ContextObject")]


def test_context_object_answers_while_others_are_busy(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Plain, gate)
    running = x.rpc_nonblocking.block()
    gate.reached.wait(10)
    assert lab.make_peer_context_proxy("lab").get_pid() == os.getpid()
    gate.open.set()
    assert running.wait(10) == "passed"


def test_a_soft_shutdown_is_a_request(lab: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    lab.make_peer_context_proxy("lab").shutdown_context(False)
    assert lab.wait_until_shutdown(10)
    assert "Context lab is asked to shut down" in caplog.text
    assert "hard" not in caplog.text


def test_a_hard_shutdown_answers_first_and_then_ends_the_process(
    lab: QMI_Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    statuses: list[int] = []

    def exit_now(status: int) -> None:
        statuses.append(status)
        ended.set()

    monkeypatch.setattr(os, "_exit", exit_now)
    monkeypatch.setattr(module, "_FLUSH_TIME", 0.05)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    lab.make_peer_context_proxy("lab").shutdown_context(True)
    assert ended.wait(10)
    assert statuses == [1]
    assert "asked to shut down hard" in caplog.text
    assert lab.shutdown_requested()


def test_a_hard_shutdown_ends_a_real_process_whatever_runs_in_it() -> None:
    code = """if True:
        import qmi, threading
        with qmi.start("lab", None, init_logging=False) as lab:
            lab.make_peer_context_proxy("lab").shutdown_context(True)
            print("answered", flush=True)
            threading.Event().wait()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "answered\n"), done.stderr
