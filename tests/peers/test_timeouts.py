"""A call that takes too long says what the object at the other end is busy with, as it does in one program."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

import qmi
from qmi.actors.context_object import ContextObject
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.worker import Worker
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_RpcTimeoutException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from qmi.errors import QMI_UnknownRpcException
from tests.support.lab import address, make_context

GO = threading.Event()
ENTERED = threading.Event()


class Driver(QMI_Instrument):
    @rpc_method
    def measure(self) -> str:
        ENTERED.set()
        GO.wait()
        return "done"

    @rpc_method
    def idle(self) -> None:
        pass


MEASURE: Any = Driver.measure
WHERE = MEASURE.__code__.co_firstlineno + 3
BUSY = (
    r"srv\.dev is busy with measure\(\) for \d+\.\d s, called from context '(cli|srv)', "
    rf"now at .*test_timeouts\.py:{WHERE} in measure"
)


@pytest.fixture
def pair() -> Iterator[tuple[QMI_Context, QMI_Context]]:
    GO.clear()
    ENTERED.clear()
    with make_context("srv") as there, make_context("cli") as here:
        there.make_instrument("dev", Driver)
        here.connect_to_peer("srv", address(there))
        try:
            yield there, here
        finally:
            GO.set()


def blocking(dev: Any, method: str) -> None:
    getattr(dev, method)(rpc_timeout=0.2)


def nonblocking(dev: Any, method: str) -> None:
    getattr(dev.rpc_nonblocking, method)().wait(0.2)


def awaited(dev: Any, method: str) -> None:
    async def main() -> None:
        await getattr(dev.rpc_async, method)(rpc_timeout=0.2)

    trio.run(main)


def awaited_future(dev: Any, method: str) -> None:
    async def main() -> None:
        from qmi.actors.future import call_async

        await call_async(getattr(dev.rpc_nonblocking, method)(), 0.2)

    trio.run(main)


FORMS = [blocking, nonblocking, awaited, awaited_future]
Form = Callable[[Any, str], None]


def text_of(form: Form, dev: Any, method: str) -> str:
    with pytest.raises(QMI_RpcTimeoutException) as caught:
        form(dev, method)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("other", [False, True])
def test_timeout_of_a_remote_call_says_what_the_object_does(
    pair: tuple[QMI_Context, QMI_Context], form: Form, other: bool
) -> None:
    dev = pair[1].get_rpc_object("srv.dev")
    if other:  # it is another call that the object is busy with
        busy = pair[0].get_rpc_object("dev").rpc_nonblocking.measure()
        ENTERED.wait()
    text = text_of(form, dev, "idle" if other else "measure")
    assert re.fullmatch(rf"No answer from srv\.dev\.\w+\(\) within 0\.2 s: {BUSY}", text), text
    if other:
        GO.set()
        assert busy.wait() == "done"


def test_timeout_of_a_local_call_says_the_same(pair: tuple[QMI_Context, QMI_Context]) -> None:
    text = text_of(blocking, pair[0].get_rpc_object("dev"), "measure")
    assert re.fullmatch(rf"No answer from srv\.dev\.measure\(\) within 0\.2 s: {BUSY}", text), text


@pytest.mark.parametrize("form", FORMS)
def test_peer_that_does_not_say_what_it_does_is_not_waited_for(
    pair: tuple[QMI_Context, QMI_Context], form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = pair[1].get_rpc_object("srv.dev")
    silent: QMI_RpcFuture[str] = QMI_RpcFuture("no answer")
    monkeypatch.setattr(ContextObject, "explain_busy", lambda self, name: silent)
    began = time.monotonic()
    text = text_of(form, dev, "measure")
    assert "heard from" in text
    assert "did not say within 0.2 s what the object is busy with" in text
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("form", FORMS)
def test_peer_that_does_not_know_the_question_is_told_by_its_silence(
    pair: tuple[QMI_Context, QMI_Context], form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(self: object, name: str) -> str:
        raise QMI_UnknownRpcException("an older version")

    monkeypatch.setattr(ContextObject, "explain_busy", unknown)
    text = text_of(form, pair[1].get_rpc_object("srv.dev"), "measure")
    assert re.search(r"within 0\.2 s: peer 'srv' at \S+ was heard from \d+\.\d s ago$", text), text


@pytest.mark.parametrize("answer", ["\x1b[2J\nforged", 5, None, ["a"]])
def test_text_of_a_peer_about_what_it_does_is_printable(
    pair: tuple[QMI_Context, QMI_Context], answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ContextObject, "explain_busy", lambda self, name: answer)
    text = text_of(blocking, pair[1].get_rpc_object("srv.dev"), "measure")
    assert text.isprintable()
    assert text.endswith(r"\x1b[2J\nforged" if isinstance(answer, str) else "s ago")


def test_timeout_of_zero_does_not_ask_what_the_object_does(
    pair: tuple[QMI_Context, QMI_Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: object) -> None:
        raise AssertionError("nobody is asked")

    monkeypatch.setattr("qmi.peers.rpc_client.ask_what_it_does", ask)
    future = pair[1].get_rpc_object("srv.dev").rpc_nonblocking.measure()
    with pytest.raises(QMI_RpcTimeoutException, match="heard from"):
        future.wait(0)
    GO.set()
    assert future.wait() == "done"


def test_call_that_timed_out_while_asking_can_be_waited_for_again(pair: tuple[QMI_Context, QMI_Context]) -> None:
    future = pair[1].get_rpc_object("srv.dev").rpc_nonblocking.measure()
    for _ in range(2):
        with pytest.raises(QMI_RpcTimeoutException, match="is busy with measure"):
            future.wait(0.1)
    GO.set()
    assert future.wait() == "done"


def sleeps() -> None:
    time.sleep(0)
    ENTERED.set()
    GO.wait()


@pytest.mark.parametrize("name", ["_work", "sleeps", "run", "__init__"])
def test_line_of_a_thread_is_the_drivers_whatever_its_functions_are_called(name: str) -> None:
    worker = Worker("w", lambda error: None)
    ENTERED.clear()
    GO.clear()
    scope: dict[str, Any] = {"inner": sleeps}
    exec(compile(f"def {name}():\n    inner()\n", "/home/lab/drivers/source.py", "exec"), scope)
    worker.give(scope[name])
    worker.finish()
    thread = threading.Thread(target=worker._work)
    thread.start()
    ENTERED.wait()
    assert re.search(r"test_timeouts\.py:\d+ in sleeps$", worker.where())
    GO.set()
    thread.join()


@pytest.mark.parametrize(
    ("filename", "drivers"),
    [
        ("/home/lab/qmi/actors/mine.py", True),  # the user's own package may have any name
        ("/home/lab/threading.py", True),
        ("<stdin>", True),
        ("<ipython-input-1>", True),
        ("/home/lab/trio/x.py", True),
        (qmi.__file__, False),
        (trio.__file__, False),
        (threading.__file__, False),
        (pytest.__file__, True),
        ("<frozen importlib._bootstrap>", False),
        (qmi.__file__.replace("__init__.py", "instruments/dummy/noisy_sine_generator.py"), True),
        *(
            (qmi.__file__.replace("__init__.py", f"{room}.py"), False)
            for room in ("contexts/base", "peers/rpc_client", "new/x")
        ),
    ],
)
def test_own_files_are_known_by_their_package(filename: str, drivers: bool) -> None:
    from qmi.actors.user_code import is_drivers

    assert is_drivers(filename) is drivers
