from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

import qmi
from qmi.config.schema import CfgContext, CfgQmi
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_ContextStoppedException,
    QMI_NoActiveContextException,
    QMI_UsageException,
)
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.core.task import QMI_Task
from qmi.utils.context_managers import start_stop_join
from tests.support.drivers import Async, Plain


class Sensor(QMI_Instrument):
    sig_value = QMI_Signal([float])


class Idle(QMI_Task[Any, Any]):
    def run(self) -> None:
        while not self.stop_requested():
            self.sleep(10)


def test_a_context_is_started_once_and_stopped_once() -> None:
    context = QMI_Context("lab")
    with pytest.raises(QMI_NoActiveContextException, match="Context 'lab' does not run"):
        context.stop()
    with pytest.raises(QMI_UsageException, match="not started"):
        context.make_instrument("x", Plain)
    context.start()
    with pytest.raises(QMI_UsageException, match="started"):
        context.start()
    context.stop()
    with pytest.raises(QMI_NoActiveContextException):
        context.stop()
    with pytest.raises(QMI_UsageException, match="make a new one to start again"):
        context.start()
    with pytest.raises(QMI_ContextStoppedException):
        context.make_instrument("x", Plain)


def test_contexts_live_together_in_one_process() -> None:
    with QMI_Context("one") as one, QMI_Context("two") as two:
        x, y = one.make_instrument("x", Plain), two.make_instrument("x", Plain)
        assert (x.address, y.address) == ("one.x", "two.x")
        assert (x.count(), x.count(), y.count()) == (1, 2, 1)
    with QMI_Context("three") as three:
        assert three.make_instrument("x", Plain).count() == 1


def test_wrong_classes_are_refused() -> None:
    with QMI_Context("lab") as lab:
        for cls in (int, Plain(None, "x"), None, Async):
            with pytest.raises(QMI_UsageException, match="An instrument is made from a class derived from"):
                lab.make_instrument("x", cls)  # type: ignore[call-overload]
        with pytest.raises(QMI_UsageException, match="QMI_RpcObject; got class int"):
            lab.make_rpc_object("x", int)  # type: ignore[call-overload]
        with pytest.raises(QMI_UsageException, match="takes a proxy; got 5"):
            lab.remove_rpc_object(5)
        with pytest.raises(QMI_UsageException):
            lab.remove_rpc_object(lab.make_peer_context_proxy("lab"))
        assert lab.list_rpc_objects() == []


def test_stop_by_two_threads_stops_the_context_once() -> None:
    context = QMI_Context("lab")
    stopped: list[int] = []
    context.on_stopped = lambda: stopped.append(1)
    context.start()
    start = threading.Barrier(4)

    def stop() -> None:
        start.wait()
        try:
            context.stop()
        except QMI_NoActiveContextException:
            stopped.append(0)

    threads = [threading.Thread(target=stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert stopped.count(1) == 1


class Stopper(QMI_RpcObject):
    @rpc_method
    def stop(self) -> None:
        self._context.stop()

    @rpc_method
    def context_name(self) -> str:
        return qmi.context().name

    @rpc_method
    async def block(self, proxy: Any) -> None:
        proxy.context_name()


def test_an_object_cannot_stop_its_own_context_and_knows_it() -> None:
    with QMI_Context("lab") as lab:
        x = lab.make_rpc_object("x", Stopper)
        with pytest.raises(QMI_UsageException, match=r"lab\.x cannot stop its own context 'lab'"):
            x.stop()
        assert x.context_name() == "lab"
        with pytest.raises(QMI_BlockingOnLoopException, match="await"):
            x.rpc_nonblocking.block(lab.make_rpc_object("y", Stopper)).wait(10)


def test_stop_handlers_run_latest_first_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []
    with QMI_Context("lab") as lab:
        lab.register_stop_handler(lambda: called.append(qmi.context().name))
        lab.register_stop_handler(lambda: 1 / 0)
        lab.register_stop_handler(lambda: called.append("last"))
        with pytest.raises(QMI_UsageException, match="A stop handler is a function"):
            lab.register_stop_handler(5)  # type: ignore[arg-type]
    assert called == ["last", "lab"]
    assert "ZeroDivisionError" in caplog.text


def test_shutdown_is_asked_for_through_the_context_object() -> None:
    with QMI_Context("lab") as lab:
        x = lab.make_instrument("x", Plain)
        peer = lab.make_peer_context_proxy("lab")
        assert (peer.get_version(), peer.get_pid()) == (qmi.__version__, os.getpid())
        assert [str(found.address) for found in peer.get_rpc_object_descriptors()] == ["lab.x"]
        assert peer.get_rpc_object_descriptor("x").category == "instrument"
        with pytest.raises(ValueError, match="no object named 'y'"):
            peer.get_rpc_object_descriptor("y")
        assert not lab.shutdown_requested()
        assert not lab.wait_until_shutdown(0.01)
        peer.shutdown_context(False)
        assert lab.shutdown_requested()
        assert lab.wait_until_shutdown()
        assert x.add(1) == 3


def test_fork_the_child_is_told() -> None:
    with QMI_Context("lab") as lab:
        x = lab.make_instrument("x", Plain)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover
            faults = []
            for use in (lambda: x.add(1), lambda: lab.make_instrument("y", Plain), lab.stop, lambda: x.lock()):
                try:
                    use()
                    faults.append("nothing")
                except BaseException as error:
                    faults.append(str(error)[:29])
            os.write(write, "|".join(faults).encode())
            os._exit(0)
        os.waitpid(child, 0)
        told = os.read(read, 10_000).decode().split("|")
        os.close(read)
        os.close(write)
        assert told == ["This process was forked from "] * 4
        assert x.add(1) == 3


async def test_threads_of_a_trio_program_use_blocking_proxies(trio_lab: Context) -> None:
    proxy = await trio_lab.make_instrument("x", Plain)
    blocking: Any = proxy.rpc_blocking

    def work() -> int:
        with blocking.locked(timeout=10):
            return int(blocking.count())

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(trio.to_thread.run_sync, work)
    assert await proxy.count() == 5
    facade = trio_lab.facade
    assert isinstance(facade, QMI_Context)
    for verb in (lambda: qmi.start("x"), lambda: facade.make_instrument("y", Plain), lambda: facade.stop()):
        with pytest.raises(QMI_BlockingOnLoopException, match="write '"):
            verb()
    assert issubclass(Plain, QMI_Instrument)


async def test_a_stop_handler_that_hangs_does_not_keep_a_trio_program(caplog: pytest.LogCaptureFixture) -> None:
    from qmi.config.schema import CfgContext, CfgQmi

    release = threading.Event()
    config = CfgQmi(contexts={"lab": CfgContext(stop_grace=0.05)})
    async with qmi.open_context("lab", None, init_logging=False, config=config) as lab:
        lab.register_stop_handler(release.wait)
    release.set()
    assert "does not end and is left behind" in caplog.text


def test_directories_and_file_names_come_from_the_configuration(tmp_path: Path) -> None:
    lab = QMI_Context("lab", CfgQmi(qmi_home=str(tmp_path), datastore=str(tmp_path / "data"), workgroup="optics"))
    assert repr(lab) == "QMI_context(name='lab')"
    assert lab.workgroup_name == "optics"
    assert lab.get_qmi_home_dir() == str(tmp_path)
    assert lab.get_log_dir() == str(tmp_path)
    assert lab.get_datastore_dir() == f"{tmp_path}/data"
    assert lab.resolve_file_name("${datastore}/${context}.h5") == f"{tmp_path}/data/lab.h5"
    assert lab.get_context_config() == CfgContext()
    lab.suppress_version_mismatch_warnings = True
    assert lab.suppress_version_mismatch_warnings
    assert lab.async_context.suppress_version_mismatch_warnings


def test_signals_are_subscribed_to_by_name() -> None:
    with QMI_Context("lab") as lab:
        lab.make_instrument("sensor", Sensor)
        receiver = QMI_SignalReceiver()
        lab.subscribe_signal("", "sensor", "sig_value", receiver)
        lab.publish_signal("sensor", "sig_value", 1.5)
        assert receiver.get_next_signal().args == (1.5,)
        lab.unsubscribe_signal("lab", "sensor", "sig_value", receiver)
        lab.publish_signal("sensor", "sig_value", 2.5)
        assert not receiver.has_signal_ready()
        (descriptor,) = lab.get_rpc_object_descriptors()
        assert (str(descriptor.address), descriptor.category) == ("lab.sensor", "instrument")


def test_verbs_for_tasks_and_networks_work_on_the_default_context(capsys: pytest.CaptureFixture[str]) -> None:
    with qmi.start("lab", None, init_logging=False, context_cfg={"lab": {"enabled": True}}):
        task = qmi.make_task("task", Idle)
        qmi.show_tasks()
        assert "lab.task" in capsys.readouterr().out
        assert qmi.get_task("task").is_running() is False
        with start_stop_join(task):
            assert task.is_running()
        assert list(qmi.get_configured_contexts()) == ["lab"]
