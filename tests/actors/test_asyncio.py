"""Proxies in asyncio, where that is allowed: what trio awaits can be awaited there, too, and is cancelled alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest
import trio

from qmi.core.context import QMI_Context
from qmi.core.driver import QMI_Instrument, QMI_Signal, parameter, rpc_method
from qmi.core.exceptions import QMI_ObjectLockedException, QMI_RpcTimeoutException
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.runtime.wakeup import ASYNCIO
from tests.support.lab import two_contexts


class Device(QMI_Instrument):
    """Its methods run in its thread, but those that are awaited."""

    sig_level = QMI_Signal([float])

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.volts = 1.5
        self.begun, self.cancelled = threading.Event(), threading.Event()

    @parameter(unit="V")
    def voltage(self) -> float:
        """Voltage."""
        return self.volts

    @voltage.setter
    def set_voltage(self, value: float) -> None:
        self.volts = value

    @rpc_method
    def measure(self, value: float = 1.0) -> float:
        """Give it back."""
        return value

    @rpc_method
    def fail(self) -> None:
        """Raise what a scope of asyncio raises, too."""
        raise TimeoutError("of the device")

    @rpc_method
    def count(self, last: int) -> Iterator[int]:
        """Count."""
        yield from range(last)

    @rpc_method
    def tell(self, level: float) -> None:
        """Publish it."""
        self.sig_level.publish(level)


class Awaited(QMI_Instrument):
    """Its methods are awaited in the loop."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.begun, self.cancelled = threading.Event(), threading.Event()

    @rpc_method
    async def long(self) -> None:
        """Last until it is cancelled."""
        self.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    @rpc_method
    async def items(self) -> AsyncIterator[int]:
        """Some."""
        for number in range(3):
            yield number


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ASYNCIO, "allowed", True)  # as "%load_ext qmi" does


@pytest.fixture(scope="module")
def both() -> Iterator[dict[str, tuple[Any, Any, QMI_Context]]]:
    """Proxies of a device and of an awaited one, here and from another program; and the client's context."""
    with two_contexts() as (server, client):
        server.make_instrument("device", Device)
        server.make_instrument("awaited", Awaited)
        yield {
            "here": (server.get_instrument("device"), server.get_instrument("awaited"), server),
            "elsewhere": (client.get_instrument("server.device"), client.get_instrument("server.awaited"), client),
        }


@pytest.fixture(params=["here", "elsewhere"])
def where(request: pytest.FixtureRequest, both: Any) -> tuple[Any, Any, QMI_Context]:
    found: tuple[Any, Any, QMI_Context] = both[request.param]
    return found


def run(what: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(what)


def test_asyncio_awaits_what_proxies_offer(where: tuple[Any, Any, QMI_Context]) -> None:
    device = where[0].rpc_async

    async def main() -> None:
        assert await device.measure() == 1.0
        assert await device.measure(2.0, rpc_timeout=10.0) == 2.0
        assert await where[0].rpc_nonblocking.measure(3.0) == 3.0
        assert await device.call(Device.measure, 4.0) == 4.0
        assert await asyncio.gather(*(device.measure(float(n)) for n in range(50))) == [float(n) for n in range(50)]
        await device.parameters.voltage.set(2.5)
        assert await device.voltage == 2.5
        assert (await device.snapshot())["voltage"].value == 2.5
        assert [item async for item in await device.count(3)] == [0, 1, 2]
        assert [item async for item in await where[1].rpc_async.items()] == [0, 1, 2]
        with pytest.raises(TimeoutError, match="of the device"):
            await device.fail(rpc_timeout=10.0)

    run(main())


def test_asyncio_task_holds_a_lock_for_the_length_of_its_block(where: tuple[Any, Any, QMI_Context]) -> None:
    device = where[0].rpc_async

    async def main() -> None:
        entered, checked = asyncio.Event(), asyncio.Event()

        async def outsider() -> None:
            await entered.wait()
            with pytest.raises(QMI_ObjectLockedException):
                await device.measure()
            checked.set()

        task = asyncio.create_task(outsider())
        async with device.locked(reason="asyncio"):
            assert await device.measure() == 1.0
            info = await device.lock_info()
            assert info is not None
            assert info.reason == "asyncio"
            entered.set()
            await checked.wait()
        await task
        assert not await device.is_locked()
        assert await device.lock()
        assert await device.unlock()

    run(main())


def test_asyncio_receives_signals(where: tuple[Any, Any, QMI_Context]) -> None:
    device = where[0].rpc_async

    async def main() -> None:
        receiver = QMI_SignalReceiver()
        await device.sig_level.subscribe(receiver)
        waiting = asyncio.create_task(receiver.next_signal())
        await asyncio.sleep(0)
        await device.tell(1.0)
        assert (await waiting).args == (1.0,)
        given_up = asyncio.create_task(receiver.next_signal())
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await device.tell(2.0)
        assert (await anext(aiter(receiver))).args == (2.0,)
        await device.sig_level.unsubscribe(receiver)

    run(main())


@pytest.mark.parametrize("way", ["cancelled", "timeout of asyncio", "rpc_timeout"])
def test_asyncio_call_that_is_given_up_is_cancelled(where: tuple[Any, Any, QMI_Context], both: Any, way: str) -> None:
    server: QMI_Context = both["here"][2]
    actor = server.async_context.registry.get("awaited")
    assert actor is not None
    target: Awaited = actor.object
    target.begun.clear()
    target.cancelled.clear()
    awaited = where[1].rpc_async

    async def main() -> None:
        if way == "rpc_timeout":
            with pytest.raises(
                QMI_RpcTimeoutException, match=r"No answer from server\.awaited\.long\(\) within 0\.05 s"
            ):
                await awaited.long(rpc_timeout=0.05)
            return
        task = asyncio.create_task(awaited.long())
        await asyncio.to_thread(target.begun.wait, 10.0)
        if way == "cancelled":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.01)

    run(main())
    assert target.cancelled.wait(10.0)


def test_asyncio_loop_that_has_ended_is_not_woken(both: Any) -> None:
    device, awaited, _ = both["here"]
    future = awaited.rpc_nonblocking.long()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await future

    run(main())
    future.cancel()  # ends the call, whose waiter is gone
    assert device.measure() == 1.0
