from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

import qmi
from qmi.actors.call import Handle
from qmi.actors.interface import Interface
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_CallCycleException,
    QMI_ObjectLockedException,
    QMI_RpcTimeoutException,
    QMI_UnknownRpcException,
    QMI_UsageException,
)
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import QMI_RpcFuture, QMI_RpcObject, rpc_method
from qmi.messages import LockAnswer, Release, Token
from qmi.names import Address
from qmi.runtime.wakeup import ThreadWaker
from qmi.utils.context_managers import lock_unlock
from tests.support.actors import handle_of
from tests.support.drivers import Async, Gate, Inline, Plain
from tests.support.lab import address, make_context


class Selfish(QMI_Instrument):
    """An instrument that uses a proxy of itself."""

    @rpc_method
    def value(self) -> int:
        return 7

    @rpc_method
    def wait_for_itself(self, timeout: float | None) -> int:
        answer: int = self._context.get_instrument(self._name).rpc_nonblocking.value().wait(timeout)
        return answer

    @rpc_method
    def lock_itself(self) -> bool:
        return bool(self._context.get_instrument(self._name).lock())

    @rpc_method
    def ask_itself_later(self) -> Any:
        self.later = self._context.get_instrument(self._name).rpc_nonblocking.value()
        return self.later.done()

    @rpc_method
    def later_value(self) -> int:
        answer: int = self.later.wait(10)
        return answer

    @rpc_method
    def lend(self, other: Any) -> int:
        answer: int = other.call_back(self._context.get_instrument(self._name))
        return answer

    @rpc_method
    def call_back(self, other: Any) -> int:
        answer: int = other.rpc_nonblocking.value().wait()
        return answer


class AsyncSelfish(QMI_RpcObject):
    """The same in the event loop."""

    @rpc_method
    async def value(self) -> int:
        return 7

    @rpc_method
    async def wait_for(self, proxy: Any) -> int:
        answer: int = await proxy.rpc_nonblocking.value()
        return answer


CYCLE = r"^These objects would wait for each other for ever: lab\.x -> lab\.x\.{}\(\)$"


def test_a_driver_that_waits_for_itself_is_told_so(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Selfish)
    for timeout in (None, 10.0):
        with pytest.raises(QMI_CallCycleException, match=CYCLE.format("value")):
            x.wait_for_itself(timeout)
    with pytest.raises(QMI_CallCycleException, match=CYCLE.format("lock")):
        x.lock_itself()
    assert not x.is_locked(), "the request that was refused must not be granted later"
    assert x.value() == 7


def test_future_of_the_driver_itself_can_be_polled(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Selfish)
    with pytest.raises(QMI_RpcTimeoutException):
        x.wait_for_itself(0)


def test_a_driver_may_call_itself_and_look_at_the_result_later(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Selfish)
    assert not x.ask_itself_later()
    assert x.later_value() == 7


def test_a_cycle_of_two_is_noticed_where_the_second_one_waits(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Selfish)
    y: Any = lab.make_instrument("y", Selfish)
    with pytest.raises(QMI_CallCycleException, match=r"lab\.x -> lab\.y -> lab\.x\.value\(\)$"):
        x.lend(y)
    assert (x.value(), y.value()) == (7, 7)


async def test_awaiting_a_future_of_oneself_is_refused_too(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", AsyncSelfish)
    with pytest.raises(QMI_CallCycleException, match=CYCLE.format("value")):
        await x.wait_for(x)
    other: Any = await trio_lab.make_rpc_object("y", AsyncSelfish)
    assert await x.wait_for(other) == 7


def locked_by(proxy: Any, other: Any) -> bool:
    """Whether the one has the object for itself."""
    proxy.add(1)
    with pytest.raises(QMI_ObjectLockedException):
        other.add(1)
    return bool(proxy.is_locked())


@pytest.mark.parametrize("block", [lambda x: x.locked(), lock_unlock], ids=["locked", "lock_unlock"])
@pytest.mark.parametrize("cls", [Plain, Inline])
def test_an_inner_block_leaves_the_lock_to_the_outer_one(lab: QMI_Context, cls: type[Plain], block: Any) -> None:
    x: Any = lab.make_instrument("x", cls)
    other: Any = lab.get_instrument("x")
    with block(x):
        with block(x):
            assert locked_by(x, other)
        assert locked_by(x, other)
        with pytest.raises(ZeroDivisionError), block(x):
            _ = 1 / 0
        assert locked_by(x, other)
    assert not x.is_locked()
    assert x.lock()
    with block(x):
        pass
    assert locked_by(x, other)
    assert x.unlock()


def test_a_block_of_custom_tokens_leaves_the_lock_to_whoever_has_it(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    other: Any = lab.get_instrument("x")
    with x.locked(lock_token="t"):
        with lock_unlock(x, lock_token="t"):
            assert locked_by(x, other)
        with other.locked(lock_token="t"):
            assert other.add(1) == 3
        assert locked_by(x, other), "the other proxy showed the token for the length of its block only"
    assert not x.is_locked()


async def test_an_inner_block_of_a_task_leaves_the_lock_to_the_outer_one(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Async)
    async with x.locked():
        async with x.locked():
            assert await x.is_locked()
        assert await x.is_locked()
        assert await x.add(1) == 3
    assert not await x.is_locked()


def test_a_block_locks_anew_what_was_unlocked_by_force(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    other: Any = lab.get_instrument("x")
    x.lock()
    other.force_unlock()
    with x.locked():
        assert locked_by(x, other)
    assert not x.is_locked()


def test_a_token_of_old_is_not_used_again(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    other: Any = lab.get_instrument("x")
    assert x.lock(lock_token="everybody knows")
    assert other.unlock(lock_token="everybody knows")
    assert x.lock()
    assert not other.unlock(lock_token="everybody knows")
    assert locked_by(x, other)
    assert x.unlock()


def test_a_proxy_that_holds_the_lock_keeps_it_with_the_token_that_it_has(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    other: Any = lab.get_instrument("x")
    assert x.lock(lock_token="t")
    assert x.lock()
    assert locked_by(x, other)
    assert other.unlock(lock_token="t"), "the token still is the one that was chosen"
    x.lock()
    assert not x.lock(lock_token="t"), "what has one token does not get another one"
    assert locked_by(x, other)


class Elsewhere:
    """A router to an object of another context, which notes what is sent there."""

    origin = qmi.messages.Origin("here", "1")

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.answers: list[QMI_RpcFuture[Any]] = []

    def request(self, address: Address, message: Any) -> QMI_RpcFuture[Any]:
        self.sent.append(message)
        self.answers.append(QMI_RpcFuture(str(address)))
        return self.answers[-1]


@pytest.mark.parametrize(
    ("answer", "is_taken_back"),
    [(LockAnswer.GRANTED, True), (LockAnswer.KEPT, False), (LockAnswer.REFUSED, False), (None, True)],
)
def test_a_grant_elsewhere_that_nobody_will_know_of_is_taken_back(
    answer: LockAnswer | None, is_taken_back: bool
) -> None:
    router = Elsewhere()
    handle = Handle(router, Address("there", "x"), Interface("m.X"))  # type: ignore[arg-type]
    token = handle.token_to_lock_with(None)
    future = handle.acquire(1.0, token)
    if answer is not None:
        router.answers[0].set_result(answer)
    handle.undo_acquire(token, future)
    assert [message.token for message in router.sent if isinstance(message, Release)] == [token] * is_taken_back


def test_a_grant_that_another_thread_is_about_to_tell_of_is_taken_back_before_the_caller_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = Elsewhere()
    handle = Handle(router, Address("there", "x"), Interface("m.X"))  # type: ignore[arg-type]
    future = handle.acquire(1.0, token := handle.token_to_lock_with(None))
    waits, teller = threading.Event(), threading.current_thread()

    class Waker(ThreadWaker):
        def wait(self, timeout: float | None = None) -> bool:
            waits.set()
            return super().wait(timeout)

    class Once:
        """The other thread has claimed the future, and writes the value when it is waited for."""

        def acquire(self, _: bool) -> bool:
            return threading.current_thread() is teller

    def tell() -> None:
        if waits.wait(10):
            future.set_result(LockAnswer.GRANTED)

    teller = threading.Thread(target=tell)
    monkeypatch.setattr("qmi.actors.future.ThreadWaker", Waker)
    future._once = Once()  # type: ignore[assignment]
    teller.start()
    handle.undo_acquire(token, future)
    sent = [message.token for message in router.sent if isinstance(message, Release)]
    waits.set()
    teller.join()
    assert sent == [token]


def test_an_interruption_before_there_is_an_answer_takes_the_request_back() -> None:
    router = Elsewhere()
    handle = Handle(router, Address("there", "x"), Interface("m.X"))  # type: ignore[arg-type]
    handle.undo_acquire(Token("a"), None)
    handle.token = Token("b", custom=True)
    handle.undo_acquire(handle.token, None)
    assert [message.token for message in router.sent] == [Token("a")], "its own lock is not given away"


@pytest.mark.parametrize("token", ["", 7, b"t"])
def test_a_lock_token_is_a_text(lab: QMI_Context, token: Any) -> None:
    x: Any = lab.make_instrument("x", Plain)
    with pytest.raises(QMI_UsageException, match=r"^A lock token is a text that is not empty; got "):
        x.lock(lock_token=token)
    with pytest.raises(QMI_UsageException, match=r"^A lock token is a text that is not empty; got "):
        x.unlock(lock_token=token)
    assert not x.is_locked()


def test_signals_go_to_receivers_only(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    with pytest.raises(QMI_UsageException, match=r"^Signals go to a QMI_SignalReceiver; got "):
        handle_of(x).subscribe("sig", print)


async def test_a_timeout_of_a_call_that_the_task_runs_itself_names_what_the_object_does(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Async)
    assert await x.add(1, rpc_timeout=10) == 3
    with pytest.raises(QMI_RpcTimeoutException, match=r"^No answer from lab\.x\.forever\(\) within 0\.01 s"):
        await x.forever(rpc_timeout=0.01)
    assert await x.add(1) == 3


def test_ctrl_c_that_came_while_nothing_waited_ends_whatever_is_done_next(
    lab: QMI_Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qmi.actors import call as handle_module

    x: Any = lab.make_instrument("x", Plain)
    struck = threading.Event()

    class Due:
        pending = True

        def look(self) -> None:
            struck.set()
            raise KeyboardInterrupt

    uses = [
        lambda: x.add(1),
        lambda: x.rpc_nonblocking.add(1),
        x.lock,
        x.unlock,
        x.is_locked,
        x.force_unlock,
    ]
    for use in uses:
        struck.clear()
        with monkeypatch.context() as patch:
            patch.setattr(handle_module, "INTERRUPTS", Due())
            with pytest.raises(KeyboardInterrupt):
                use()
        assert struck.is_set()
    assert not x.is_locked()
    assert x.add(1) == 3


def test_a_lock_that_was_interrupted_is_not_held(lab: QMI_Context, gate: Gate) -> None:
    x: Any = lab.make_instrument("x", Plain, gate)
    running = x.rpc_nonblocking.block()
    gate.reached.wait(10)
    asked = handle_of(x).acquire(10, token := handle_of(x).token_to_lock_with(None))
    handle_of(x).undo_acquire(token, asked)
    gate.open.set()
    assert running.wait(10) == "passed"
    assert not x.is_locked()


def test_a_method_that_was_forgotten_to_be_published_is_recognised(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    message = "Plain lab.x has no published method 'unpublished'"
    with pytest.raises(QMI_UnknownRpcException) as caught:
        x.unpublished()
    assert str(caught.value) == f"{message}; the class has it, but without @rpc_method"
    lab.remove_rpc_object(x)
    with pytest.raises(QMI_UnknownRpcException) as caught:
        x.unpublished()
    assert str(caught.value) == message
    with pytest.raises(QMI_UnknownRpcException, match=r"no published method 'ad'\. Did you mean 'add'\?$"):
        x.ad(1)


@pytest.mark.parametrize("view", ["rpc_blocking", "rpc_nonblocking", "rpc_async"])
def test_suggestion_for_a_misspelt_method_is_printed_once(
    lab: QMI_Context, view: str, capfd: pytest.CaptureFixture[str]
) -> None:
    x: Any = getattr(qmi, view)(lab.make_instrument("x", Plain))
    with pytest.raises(QMI_UnknownRpcException) as caught:
        _ = x.ad
    sys.__excepthook__(caught.type, caught.value, None)  # as the prompt prints it; Python adds suggestions of its own
    assert capfd.readouterr().err.count("Did you mean") == 1


async def test_locking_in_the_blocking_way_on_the_loop_is_refused_even_if_the_lock_is_free(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Async)
    with pytest.raises(QMI_BlockingOnLoopException, match=r"write 'await proxy\.rpc_async\.lock\(\)'"):
        x.rpc_blocking.lock()
    with (
        pytest.raises(QMI_BlockingOnLoopException, match=r"write 'async with proxy\.rpc_async\.locked\(\)'"),
        x.rpc_blocking.locked(),
    ):
        pass
    assert not await x.is_locked()


def test_locks_of_another_context_nest_as_well_and_a_cycle_over_links_is_refused() -> None:
    with make_context("lab") as lab, make_context("desk") as desk:
        lab.make_instrument("x", Plain)
        other: Any = lab.make_instrument("y", Selfish)
        desk.connect_to_peer("lab", address(lab))
        lab.connect_to_peer("desk", address(desk), ignore_duplicate=True)
        x: Any = desk.get_instrument("lab.x")
        local: Any = lab.get_instrument("x")
        with x.locked():
            with x.locked():
                assert locked_by(x, local)
            assert locked_by(x, local)
        assert not local.is_locked()
        assert x.lock(lock_token="t")
        assert desk.get_instrument("lab.x").unlock(lock_token="t")
        assert x.lock()
        assert not desk.get_instrument("lab.x").unlock(lock_token="t")
        assert x.unlock()
        mine: Any = desk.make_instrument("mine", Selfish)
        with pytest.raises(QMI_CallCycleException, match=r"desk\.mine -> lab\.y -> desk\.mine\.value\(\)$"):
            mine.lend(desk.get_instrument("lab.y"))
        assert (mine.value(), other.value()) == (7, 7)
