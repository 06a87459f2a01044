from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import qmi
from qmi.config.schema import CfgQmi
from qmi.contexts import default as session
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_ConfigurationException,
    QMI_ContextStoppedException,
    QMI_NoActiveContextException,
    QMI_UsageException,
)
from qmi.core.rpc import QMI_RpcObject, rpc_method
from tests.support.drivers import Plain


def test_a_program_has_one_default_context() -> None:
    for verb in (qmi.context, qmi.stop, qmi.list_rpc_objects):
        with pytest.raises(QMI_NoActiveContextException, match=r"qmi\.start\(\) makes one"):
            verb()
    assert repr(qmi.info()) == "There is no active context; qmi.start() makes one"
    with qmi.start("lab", None, init_logging=False) as context:
        assert qmi.context() is context
        with pytest.raises(QMI_UsageException, match=r"already has a context, 'lab': qmi\.context\(\).*qmi\.stop\(\)"):
            qmi.start("other", None, init_logging=False)
        assert "context:        'lab'" in qmi.info()
        assert repr(qmi.info()) == qmi.info()
        assert "\n" in repr(qmi.info())
    with pytest.raises(QMI_NoActiveContextException):
        qmi.context()


@pytest.mark.parametrize("name", ["", "a.b", "a b", "x" * 64])
def test_a_start_that_fails_can_be_repeated(name: str) -> None:
    with pytest.raises(QMI_UsageException, match="Invalid context name"):
        qmi.start(name, None)
    with pytest.raises(QMI_ConfigurationException):
        qmi.start("lab", "/nonexistent/qmi.conf")
    qmi.start("lab", None, init_logging=False)
    qmi.stop()


def test_start_by_two_threads_at_once_makes_one_context() -> None:
    start = threading.Barrier(4)
    results: list[bool] = []

    def work() -> None:
        start.wait()
        try:
            qmi.start("lab", None, init_logging=False)
            results.append(True)
        except QMI_UsageException:
            results.append(False)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    qmi.stop()
    assert sorted(results) == [False, False, False, True]


def test_the_verbs_work_on_the_default_context(capsys: pytest.CaptureFixture[str]) -> None:
    qmi.start("lab", None, init_logging=False)
    try:
        assert qmi.make_instrument("x", Plain).add(1) == 3
        assert qmi.get_instrument("x").add(1) == 3
        assert qmi.get_rpc_object("lab.x").add(1) == 3
        assert qmi.list_rpc_objects("instrument") == [("lab.x", "tests.support.drivers.Plain")]
        assert qmi.get_configured_contexts() == {}
        qmi.show_rpc_objects()
        qmi.show_instruments()
        qmi.show_contexts()
        shown = capsys.readouterr().out
        assert shown.count("lab.x   tests.support.drivers.Plain") == 2
    finally:
        qmi.stop()


def test_an_interrupted_stop_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    context = qmi.start("lab", None, init_logging=False)
    ended = context._ended
    assert ended is not None
    real = type(ended).wait

    def interrupted(self: object, timeout: float | None = None) -> None:
        if self is ended:
            real(ended)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(ended), "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            qmi.stop()
    qmi.start("lab", None, init_logging=False)
    qmi.stop()


def test_a_start_whose_port_is_taken_gives_logging_and_name_back() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = {"lab": {"host": "127.0.0.1", "tcp_server_port": port}}
        for _ in range(2):
            with pytest.raises(QMI_UsageException, match=f"^TCP port {port} on 127.0.0.1 is in use by "):
                qmi.start("lab", None, context_cfg=settings)
            with pytest.raises(QMI_NoActiveContextException):
                qmi.context()
    qmi.start("lab", None, context_cfg=settings)
    assert qmi.context().get_tcp_server_port() == port
    qmi.stop()


def test_code_that_a_context_runs_sees_that_context() -> None:
    seen: list[QMI_Context] = []

    class Curious(QMI_RpcObject):
        @rpc_method
        def look(self) -> None:
            seen.append(qmi.context())

    with qmi.start("lab", None, init_logging=False) as lab, QMI_Context("other") as other:
        other.make_rpc_object("x", Curious).look()
        lab.make_rpc_object("x", Curious).look()
        assert qmi.context() is lab
        assert seen == [other, lab]


async def test_a_trio_program_opens_a_context_with_configuration_and_logging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "qmi.conf").write_text('{logging: {logfile: "lab.log"}, workgroup: "optics"}')
    async with qmi.open_context("lab", console_loglevel="ERROR") as lab:
        assert lab.config.workgroup == "optics"
        assert qmi.context().name == "lab"
        logging.getLogger("qmi.core.context").warning("said while it ran")
    logging.getLogger("qmi.core.context").warning("said later")
    written = (tmp_path / "lab.log").read_text()
    assert "said while it ran" in written
    assert "said later" not in written
    with pytest.raises(QMI_NoActiveContextException):
        qmi.context()


async def test_the_blocking_start_in_a_trio_program_names_the_other_way() -> None:
    with pytest.raises(QMI_BlockingOnLoopException, match=r"async with qmi\.open_context"):
        qmi.start("lab", None)
    async with qmi.open_context("lab", config=CfgQmi(workgroup="own"), init_logging=False) as lab:
        assert lab.config.workgroup == "own"


def test_contexts_that_still_run_at_the_exit_are_stopped_and_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = QMI_Context("first"), QMI_Context("second")
    first.start()
    second.start()
    stop = second.stop

    def fail() -> None:
        stop()
        raise OSError("something")

    monkeypatch.setattr(second, "stop", fail)
    session._stop_at_exit()
    for name in ("first", "second"):
        assert f"Context {name} still runs at the exit of the program; call qmi.stop() before" in caplog.text
    assert "Context second could not be stopped" in caplog.text
    with pytest.raises(QMI_ContextStoppedException):
        first.make_rpc_object("x", Plain)


def test_context_that_a_forked_process_inherits_says_so() -> None:
    # In this process, as if it were the child: an honest fork of the whole test run would be no better a test.
    code = """if True:
        import os, sys, qmi
        from qmi.contexts import default as session
        qmi.start("lab", None, init_logging=False)
        inherited = qmi.context()
        session._after_fork_in_child()
        for use in (inherited.stop, lambda: inherited.list_rpc_objects(), lambda: qmi.context()):
            try:
                use()
            except Exception as error:
                print(type(error).__name__, str(error)[:60])
        sys.stdout.flush()
        os._exit(0)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines() == [
        "QMI_UsageException This process was forked from one that had a context. A conte",
        "QMI_UsageException This process was forked from one that had a context. A conte",
        "QMI_NoActiveContextException There is no active context; qmi.start() makes one",
    ], done.stderr


def test_a_block_ends_a_context_that_was_stopped_within_or_before_it() -> None:
    context = QMI_Context("lab", None)
    seen = [(context._active, context._used)]
    with context:
        seen.append((context._active, context._used))
        context.stop()
    with context:
        seen.append((context._active, context._used))
    assert seen == [(False, False), (True, True), (False, True)]
