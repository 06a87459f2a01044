from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

import pytest
import trio

import qmi
from qmi.core.context import QMI_Context
from qmi.core.rpc import Placement, QMI_RpcObject, rpc_method
from qmi.runtime.keepalive import Keepalive
from qmi.runtime.wakeup import Loop
from qmi.runtime.watchdog import Watchdog, culprit, watched
from tests.support.waiting import until

BLOCKED = "The event loop has been blocked for"


def block_until_warned(caplog: pytest.LogCaptureFixture) -> None:
    end = time.monotonic() + 10
    while BLOCKED not in caplog.text and time.monotonic() < end:
        pass


async def test_fault_16_a_blocked_loop_gives_one_warning_with_the_culprits_stack(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with watched(limit=0.04) as watchdog:
        block_until_warned(caplog)
        threading.Event().wait(0.1)  # goes on blocking: that is no second warning
        assert caplog.text.count(BLOCKED) == 1
        assert "in block_until_warned" in caplog.text
        assert "trio/_core" not in caplog.text
        caplog.clear()
        await trio.sleep(0.05)
        block_until_warned(caplog)
        assert caplog.text.count(BLOCKED) == 1, "the next time is told again"
    watchdog.join()


async def test_a_loop_that_lives_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with watched(limit=0.2) as watchdog:
        await trio.sleep(0.5)
    watchdog.join()
    assert caplog.text == ""


async def test_users_of_one_loop_share_a_watchdog() -> None:
    with watched(limit=5) as one, watched() as two:
        assert one is two
    with watched() as three:
        assert three is not one
    one.join()
    three.join()


def test_a_watchdog_goes_with_its_loop() -> None:
    async def main() -> Watchdog:
        watchdog = Watchdog(limit=0.02)
        watchdog.start()
        return watchdog

    trio.run(main).join()


def test_a_stack_without_a_scheduler_is_shown_whole() -> None:
    assert "test_a_stack_without_a_scheduler" in culprit(sys._getframe())


class Looks:
    """Counts how often threads looked whether a loop waits, and what was asked of it.

    Attributes:
        enough: Set when so many looks in a row found that it waits.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.waiting = self.working = self.asked = 0
        self.enough = threading.Event()
        waits, soon = Loop.waits, Loop.soon

        def look(loop: Loop) -> bool:
            found = waits(loop)
            self.waiting = self.waiting + 1 if found else 0
            self.working += not found
            if self.waiting == count:
                self.enough.set()
            return found

        def ask(loop: Loop, *args: Any) -> bool:
            self.asked += 1
            return soon(loop, *args)

        monkeypatch.setattr(Loop, "waits", look)
        monkeypatch.setattr(Loop, "soon", ask)


async def test_blocked_loop_is_not_seen_to_wait() -> None:
    loop, looked = Loop(), threading.Event()
    found: list[bool] = []

    def look() -> None:
        found.append(loop.waits())
        looked.set()

    thread = threading.Thread(target=look)
    thread.start()
    looked.wait()  # blocks the loop
    assert found == [False]
    thread.join()


async def test_watchdog_leaves_a_loop_alone_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(limit=0.01) as watchdog:
        looks = Looks(monkeypatch, 10)
        await trio.to_thread.run_sync(looks.enough.wait)
    watchdog.join()
    # Whenever it found the loop at work it asked, once; not else.
    assert looks.asked <= looks.working


async def test_keepalive_leaves_a_loop_alone_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch, 10)
    beats: list[int] = []

    class Link:
        def beat(self) -> None:
            beats.append(1)

    keepalive = Keepalive(Loop(), lambda: [Link()], period=0.002)
    keepalive.start()
    await trio.to_thread.run_sync(looks.enough.wait)
    keepalive.stop()
    assert looks.asked <= looks.working
    assert len(beats) <= looks.working  # a loop that waits needs nobody who beats in its place


async def test_keepalive_beats_while_the_loop_is_blocked() -> None:
    beaten = threading.Event()

    class Link:
        def beat(self) -> None:
            beaten.set()

    keepalive = Keepalive(Loop(), lambda: [Link()], period=0.002)
    keepalive.start()
    assert beaten.wait(60)
    keepalive.stop()


class Rude(QMI_RpcObject):
    _rpc_placement = Placement.LOOP

    @rpc_method
    def block(self) -> None:
        time.sleep(1.5)


@pytest.mark.slow
def test_fault_16_a_driver_that_blocks_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with QMI_Context("lab") as lab, caplog.at_level(logging.WARNING):
        lab.make_rpc_object("x", Rude).block()
    assert caplog.text.count(BLOCKED) == 1
    assert "time.sleep(1.5)" in caplog.text


async def test_contexts_are_watched() -> None:
    before = {thread.name for thread in threading.enumerate()}
    async with qmi.open_context("lab", None, init_logging=False):
        assert "qmi-watchdog" in {thread.name for thread in threading.enumerate()}
    await until(lambda: "qmi-watchdog" not in {thread.name for thread in threading.enumerate()} - before)
