from __future__ import annotations

import threading

import pytest
import trio

from qmi.contexts.loop_thread import Portal, Portals
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_RuntimeException


async def double(value: int) -> int:
    await trio.lowlevel.checkpoint()
    if value < 0:
        raise ValueError(value)
    return 2 * value


def test_functions_run_in_the_loop() -> None:
    portal = Portal()
    portal.start()
    assert portal.run(double, 4).wait(10) == 8
    with pytest.raises(ValueError, match="-1"):
        portal.run(double, -1).wait(10)
    endless = portal.run(trio.sleep_forever)
    portal.stop()
    for future in (endless, portal.run(double, 1)):
        with pytest.raises(QMI_RuntimeException, match="The event loop of this program has ended"):
            future.wait(10)
    portal.stop()


def test_portal_is_there_as_long_as_somebody_uses_it() -> None:
    portals = Portals()
    one, two = QMI_Context("one", None), QMI_Context("two", None)
    portal = portals.enter(one)
    assert portals.enter(two) is portal
    assert portals.users() == [two, one]
    portals.leave(one)
    portals.leave(one)
    assert portal.run(double, 1).wait(10) == 2
    portals.leave(two)
    assert not portal._thread.is_alive()
    assert portals.enter(one) is not portal
    portals.leave(one)


def test_a_portal_whose_start_was_interrupted_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = Portal()

    def interrupted() -> None:
        raise KeyboardInterrupt

    class Ready(type(portal._ready)):  # type: ignore[misc]
        __slots__ = ()

        def wait(self, timeout: float | None = None) -> None:
            raise KeyboardInterrupt

    portal._ready = Ready("the start")
    with pytest.raises(KeyboardInterrupt):
        portal.start()
    portal._thread.join(10)
    assert not portal._thread.is_alive()
    assert threading.current_thread() is threading.main_thread()


def test_a_loop_that_dies_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def die(_: object) -> None:
        raise OSError("no epoll")

    monkeypatch.setattr(trio, "run", die)
    with pytest.raises(OSError, match="no epoll"):
        Portal().start()
    assert "The event loop of this program died" in caplog.text
