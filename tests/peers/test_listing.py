"""Lists of objects: short however much there is, and with the class and state of tasks; constants that stay here."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from qmi.actors.context_object import ContextObject
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_UnknownRpcException, QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.core.task import QMI_Task
from qmi.messages import Call
from qmi.names import Address
from qmi.proc.network_scan import _named
from tests.support.lab import two_contexts

LISTED = f"{__name__}.Wordy"


def many_methods() -> dict[str, Any]:
    def make(index: int) -> Any:
        def method(self: Any, a: int = 1, b: str = "text") -> None: ...

        method.__doc__ = f"Method {index}. " + "Much is to be said about it. " * 40
        method.__name__ = f"method_{index}"
        return rpc_method(method)

    return {f"method_{index}": make(index) for index in range(150)}


Wordy = type("Wordy", (QMI_Instrument,), {"__module__": __name__, **many_methods()})


def test_sixty_instruments_with_much_documentation_are_listed(caplog: pytest.LogCaptureFixture) -> None:
    with two_contexts() as (server, client):
        for index in range(60):
            server.make_instrument(f"x{index}", Wordy)
        listed = client.list_rpc_objects("instrument")
        assert listed == [(f"server.x{index}", LISTED) for index in range(60)]
        peer = client.make_peer_context_proxy("server")
        descriptors = peer.get_rpc_object_descriptors()
        assert [str(entry.address) for entry in descriptors] == [f"server.x{index}" for index in range(60)]
        assert {entry.interface.class_name for entry in descriptors} == {LISTED}
        assert not descriptors[0].interface.methods, "a list holds names only"
        assert len(peer.get_rpc_object_descriptor("x3").interface.methods) >= 150
        assert client.make_proxy(descriptors[3]).is_open() is False
    assert caplog.records == []


class Waiting(QMI_Task[Any, Any]):
    def run(self) -> None:
        self.sleep(60)


class Failing(QMI_Task[Any, Any]):
    def run(self) -> None:
        raise ValueError("no such luck")


def test_tasks_are_shown_with_their_class_and_state(capsys: pytest.CaptureFixture[str]) -> None:
    with two_contexts() as (server, client):
        server.make_task("new", Waiting)
        running: Any = server.make_task("running", Waiting)
        running.start()
        failed: Any = server.make_task("failed", Failing)
        failed.start()
        with pytest.raises(Exception, match="no such luck"):
            failed.join()
        for context in (server, client):
            context.show_tasks()
            lines = [line.split() for line in capsys.readouterr().out.splitlines()]
            assert lines[0] == ["address", "type", "state"]
            assert lines[2] == ["server.new", f"{__name__}.Waiting", "new"]
            assert lines[3] == ["server.running", f"{__name__}.Waiting", "running"]
            assert lines[4][:2] == ["server.failed", f"{__name__}.Failing"]
            assert "no such luck" in " ".join(lines[4][2:])
            context.show_rpc_objects()
            assert f"server.new     {__name__}.Waiting" in capsys.readouterr().out
        assert client.list_rpc_objects("task")[0] == ("server.new", "qmi.core.task.QMI_TaskRunner")


def test_ps_shows_the_class_and_state_of_tasks() -> None:
    assert _named(["lab.t", "task", "qmi.core.task.QMI_TaskRunner", "m.T", "running"]) == ("t", "m.T (running)")
    assert _named(("lab.x", "instrument", "m.X", "m.X", "")) == ("x", "m.X")


def test_an_older_peer_is_listed_by_what_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(self: Any, category: str | None = None) -> Any:
        raise QMI_UnknownRpcException("no such method")

    with two_contexts() as (server, client):
        server.make_instrument("x", QMI_Instrument)
        monkeypatch.setattr(ContextObject, "list_objects", unknown)
        assert client.list_rpc_objects("instrument") == [("server.x", "qmi.core.instrument.QMI_Instrument")]


def test_a_peer_that_fails_to_list_its_objects_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Any, category: str | None = None) -> Any:
        raise QMI_UsageException("no list today")

    with two_contexts() as (_, client):
        client.make_instrument("x", QMI_Instrument)
        monkeypatch.setattr(ContextObject, "list_objects", fail)
        assert client.list_rpc_objects() == [("client.x", "qmi.core.instrument.QMI_Instrument")]
        assert "The objects of context 'server' cannot be listed: QMI_UsageException: no list today" in caplog.text


@pytest.mark.parametrize("told", [7, None, ["x"], [["server.x", "object"]], [[1, 2, 3, 4, 5]], [("a",) * 9]])
def test_a_peer_that_tells_nonsense_of_its_objects_hides_nobody_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: Any
) -> None:
    with two_contexts() as (_, client):
        client.make_instrument("x", QMI_Instrument)
        monkeypatch.setattr(ContextObject, "list_objects", lambda self, category=None: told)
        assert client.list_rpc_objects() == [("client.x", "qmi.core.instrument.QMI_Instrument")]
        assert "The objects of context 'server' cannot be listed" in caplog.text


class Unsendable(QMI_RpcObject):
    """Some of its constants are for this program alone."""

    _rpc_constants = ("MODE", "LOCK", "BIG", "CLASS")
    MODE = "fast"
    LOCK: Any = threading.Lock()
    BIG = b"x" * 100_000
    CLASS = QMI_Context


def test_constants_that_cannot_be_sent_stay_here_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with two_contexts() as (server, client):
        here: Any = server.make_rpc_object("x", Unsendable)
        server.make_rpc_object("y", Unsendable)
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(told) == 3, "once for each constant of the class"
        assert all("is not shown by proxies of other programs" in text for text in told)
        assert "Constant LOCK of tests.peers.test_listing.Unsendable" in told[0]
        assert ("fast", Unsendable.LOCK, QMI_Context) == (here.MODE, here.LOCK, here.CLASS)
        there: Any = client.get_rpc_object("server.x")
        assert there.MODE == "fast"
        with pytest.raises(AttributeError):
            there.LOCK  # noqa: B018
        assert client.list_rpc_objects("object") == [
            ("server.x", f"{__name__}.Unsendable"),
            ("server.y", f"{__name__}.Unsendable"),
        ]
        full = client.make_peer_context_proxy("server").get_rpc_object_descriptor("x")
        assert set(full.interface.constants) == {"MODE"}
        future = client.async_context.request(Address("server", "$context"), Call("$context", "list_objects", ("x",)))
        assert future.wait(10) == []
