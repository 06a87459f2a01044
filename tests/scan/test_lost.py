from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

import qmi
from qmi.core import exceptions
from qmi.core.exceptions import (
    QMI_ContextStoppedException,
    QMI_InvalidValueException,
    QMI_NotDeliveredException,
    QMI_OutcomeUnknownException,
    QMI_TransportLostException,
)
from qmi.scan import Scan, lost, scan, settable
from qmi.scan.lost import Patience, is_lost
from tests.support.waiting import wait_until

EVERY = [getattr(exceptions, name) for name in exceptions.__all__]
ALWAYS = {
    "QMI_ConnectionException",
    "QMI_ConnectionRefusedException",
    "QMI_ContextStoppedException",
    "QMI_NotDeliveredException",
    "QMI_ObjectRemovedException",
    "QMI_OutcomeUnknownException",
    "QMI_PeerNotFoundException",
    "QMI_TransportLostException",
    "ConnectionResetError",
    "BrokenPipeError",
}
LATER = {
    "QMI_InvalidOperationException",
    "QMI_MissingConfigurationException",
    "QMI_RpcTimeoutException",
    "QMI_TimeoutException",
    "QMI_UnknownNameException",
    "TimeoutError",
    "OSError",
}
OTHERS = [ConnectionResetError, BrokenPipeError, TimeoutError, OSError, ValueError, ZeroDivisionError]


def made(cls: type[Exception]) -> Exception:
    return cls("text", [ValueError()]) if issubclass(cls, ExceptionGroup) else cls("text")


@pytest.mark.parametrize("cls", [*EVERY, *OTHERS], ids=lambda cls: cls.__name__)
def test_every_error_is_a_loss_or_not(cls: type[Exception]) -> None:
    name = cls.__name__
    assert is_lost(made(cls)) is (name in ALWAYS)
    assert is_lost(made(cls), lost_before=True) is (name in ALWAYS | LATER)


def test_patience_ends_by_the_time_since_the_loss() -> None:
    patience = Patience(1.0)
    error = QMI_NotDeliveredException("no link")
    assert [patience.delay(error, now) for now in (10.0, 10.1, 10.3, 10.7, 10.99)] == [
        0.1, 0.2, pytest.approx(0.4), pytest.approx(0.3), pytest.approx(0.01)
    ]  # fmt: skip
    assert patience.delay(error, 11.0) is None
    assert error.__notes__ == ["The scan has waited 1 s for it to come back (wait_when_lost)"]
    patience.over()
    assert patience.delay(error, 20.0) == 0.1, "each loss has its own time"


def test_waits_do_not_grow_for_ever() -> None:
    patience = Patience(1000.0)
    delays = [patience.delay(QMI_NotDeliveredException(), 0.0) for _ in range(12)]
    assert delays[-1] == lost.LONGEST_DELAY


class Device:
    """Fails with these errors, one after the other, when it is measured for the second time."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.set_to: list[object] = []
        self.times = 0

    def get(self) -> float:
        self.times += 1
        if self.times > 1 and self.errors:
            raise self.errors.pop(0)
        return 1.0

    def scan(self) -> Scan:
        return scan(settable(self.set_to.append, name="x"), [0, 1, 2]).measure(y=self.get)


LOSSES: list[tuple[Exception, ...]] = [
    (QMI_NotDeliveredException("no link"),),
    (QMI_OutcomeUnknownException("lost"), QMI_NotDeliveredException("no link"), OSError("no such port")),
    (QMI_TransportLostException("unplugged"), exceptions.QMI_InvalidOperationException("not open")),
    (exceptions.QMI_ObjectRemovedException("anew"), exceptions.QMI_UnknownNameException("is being made")),
    (QMI_ContextStoppedException("its program ends"), exceptions.QMI_TimeoutException("no answer")),
]


@pytest.fixture
def lab() -> Iterator[None]:
    qmi.start("lab", None, init_logging=False)
    yield
    qmi.stop()


@pytest.mark.usefixtures("quick", "lab")
@pytest.mark.parametrize("errors", LOSSES)
def test_point_is_measured_anew_when_an_instrument_comes_back(errors: tuple[Exception, ...]) -> None:
    device = Device(*errors)
    rows = device.scan().wait_when_lost(60.0).run()
    assert [row["x"] for row in rows] == [0, 1, 2]
    assert device.set_to == [0, *[1] * (len(errors) + 1), 2], "what is set is set again"


@pytest.mark.parametrize("errors", LOSSES)
async def test_point_of_a_trio_program_is_measured_anew(errors: tuple[Exception, ...], autojump_clock: object) -> None:
    async with qmi.open_context("rack", None, init_logging=False):
        device = Device(*errors)

        async def get() -> float:
            await trio.lowlevel.checkpoint()
            return device.get()

        begun = trio.current_time()
        made = scan(settable(device.set_to.append, name="x"), [0, 1, 2]).measure(y=get).wait_when_lost(60.0)
        rows = await made.run_async()
        assert [row["x"] for row in rows] == [0, 1, 2]
        assert trio.current_time() - begun == pytest.approx(0.1 * (2 ** len(errors) - 1))


async def test_instrument_that_does_not_come_back_ends_a_scan(autojump_clock: object) -> None:
    device = Device(*(QMI_NotDeliveredException("no link") for _ in range(100)))
    ended: list[str] = []
    made = device.scan().wait_when_lost(60.0).finally_call(lambda: ended.append("off"))
    begun = trio.current_time()
    with pytest.raises(QMI_NotDeliveredException, match="no link") as caught:
        await made.run_async()
    assert caught.value.__notes__ == ["The scan has waited 60 s for it to come back (wait_when_lost)"]
    assert trio.current_time() - begun == pytest.approx(60.0)
    assert (ended, made.outcome) == (["off"], "failed")


@pytest.mark.parametrize("error", [ZeroDivisionError(), exceptions.QMI_ScpiException("-113"), OSError("no such file")])
def test_other_errors_end_a_scan_that_waits_for_lost_instruments(error: Exception) -> None:
    device = Device(error)
    with pytest.raises(type(error)):
        device.scan().wait_when_lost(60.0).run()
    assert device.set_to == [0, 1]


def test_loss_ends_a_scan_that_does_not_wait() -> None:
    with pytest.raises(QMI_NotDeliveredException):
        Device(QMI_NotDeliveredException()).scan().run()


def test_stop_of_the_own_context_is_no_loss() -> None:
    with pytest.raises(QMI_ContextStoppedException):
        Device(QMI_ContextStoppedException("Context 'lab' has stopped")).scan().wait_when_lost(60.0).run()


@pytest.mark.parametrize(("ask", "outcome"), [("stop", "stopped"), ("abort", "aborted")])
def test_scan_that_waits_for_a_lost_instrument_can_be_ended(ask: str, outcome: str) -> None:
    device = Device(*(QMI_NotDeliveredException("no link") for _ in range(1000)))
    made = device.scan().wait_when_lost(60.0)
    states: list[str] = []

    def end() -> None:
        wait_until(lambda: made.state.startswith("suspended"))
        states.append(made.state)
        getattr(made, ask)()

    thread = threading.Thread(target=end)
    thread.start()
    assert len(made.run()) == 1
    thread.join()
    assert made.outcome == outcome
    assert states == ["suspended: an instrument is lost (QMI_NotDeliveredException: no link)"]


@pytest.mark.parametrize("timeout", [0, -1, True, "60", None, float("nan")])
def test_time_to_wait_for_lost_instruments_is_checked(timeout: Any) -> None:
    with pytest.raises(QMI_InvalidValueException, match="timeout must be a positive number of seconds"):
        Device().scan().wait_when_lost(timeout)
