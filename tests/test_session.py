from __future__ import annotations

import threading

import pytest

import qmi
from qmi.core.exceptions import QMI_ConfigurationException, QMI_NoActiveContextException, QMI_UsageException
from tests.support.drivers import Plain


def test_a_program_has_one_default_context() -> None:
    for verb in (qmi.context, qmi.stop, qmi.info, qmi.list_rpc_objects):
        with pytest.raises(QMI_NoActiveContextException, match=r"qmi\.start\(\) makes one"):
            verb()
    with qmi.start("lab", None, init_logging=False) as context:
        assert qmi.context() is context
        with pytest.raises(QMI_UsageException, match=r"already has a context, 'lab'; call qmi\.stop\(\)"):
            qmi.start("other", None, init_logging=False)
        assert "context:        lab" in qmi.info()
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


def test_two_threads_start_at_once() -> None:
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
