"""The parts of the end wait for an instrument that is lost, each until its deadline, where the scan does so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qmi.core.exceptions import (
    QMI_ContextStoppedException,
    QMI_InvalidOperationException,
    QMI_NotDeliveredException,
    QMI_ObjectLockedException,
    QMI_TimeoutException,
    QMI_TransportLostException,
)
from qmi.scan import Scan, ending, scan, settable
from qmi.scan.columns import Settable

pytestmark = pytest.mark.usefixtures("quick")


class Device:
    """Fails with these errors, one after the other."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.done: list[object] = []

    def act(self, value: object = "off") -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.done.append(value)

    def get(self) -> float:
        if self.errors:
            raise self.errors.pop(0)
        return 0.5


def _call(made: Scan, device: Device, deadline: float) -> Scan:
    return made.finally_call(device.act, deadline=deadline)


def _set(made: Scan, device: Device, deadline: float) -> Scan:
    return made.finally_set(settable(device.act, name="x"), "off", deadline=deadline)


PARTS = [_call, _set]
Part = Callable[[Scan, Device, float], Scan]
LOSS = [QMI_NotDeliveredException("no link"), QMI_InvalidOperationException("not open yet"), OSError("no such port")]


@pytest.mark.parametrize("part", PARTS)
def test_part_of_the_end_is_done_when_the_instrument_is_back(part: Part, caplog: pytest.LogCaptureFixture) -> None:
    device = Device(*LOSS)
    made = part(scan([], [()]).wait_when_lost(1.0), device, 20.0)
    made.run()
    assert (made.outcome, device.done) == ("done", ["off"])
    assert caplog.text.count("the scan waits for it") == 1


@pytest.mark.parametrize("part", PARTS)
async def test_part_of_the_end_in_a_trio_program_is_done_when_the_instrument_is_back(part: Part) -> None:
    device = Device(*LOSS)
    made = part(scan([], [()]).wait_when_lost(1.0), device, 20.0)
    await made.run_async()
    assert (made.outcome, device.done) == ("done", ["off"])


@pytest.mark.parametrize("part", PARTS)
def test_part_of_the_end_waits_no_longer_than_its_deadline(part: Part) -> None:
    gone = Device(*[QMI_NotDeliveredException("no link")] * 1_000_000)
    made = part(scan([], [()]).wait_when_lost(1e6), gone, 0.05).finally_call(lambda: gone.done.append("next"))
    with pytest.raises(QMI_TimeoutException, match=r"was not done within 0\.05 s"):
        made.run()
    assert gone.done == ["next"]


async def test_part_of_the_end_in_a_trio_program_waits_no_longer_than_its_deadline(autojump_clock: object) -> None:
    gone = Device(*[QMI_NotDeliveredException("no link")] * 1_000_000)
    made = scan([], [()]).wait_when_lost(1e6).finally_call(gone.act, deadline=0.001)
    with pytest.raises(QMI_TimeoutException, match="was not done within"):
        await made.run_async()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        QMI_ObjectLockedException("somebody has it"),
        QMI_ContextStoppedException("our own one"),
        QMI_TimeoutException("no answer"),
    ],
)
def test_other_errors_end_a_part_at_once(error: Exception) -> None:
    device = Device(error)
    with pytest.raises(type(error)):
        scan([], [()]).wait_when_lost(1.0).finally_call(device.act).run()
    assert device.done == []


def test_scan_that_does_not_wait_does_not_wait_at_its_end() -> None:
    device = Device(QMI_NotDeliveredException("no link"))
    with pytest.raises(QMI_NotDeliveredException):
        scan([], [()]).finally_call(device.act).run()
    assert device.done == []


def test_what_a_point_has_lost_is_lost_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # It is back when the end begins, and not open yet: without a loss before, that would be a mistake of the user's.
    points, end = Device(*[QMI_TransportLostException("unplugged")] * 3), Device(LOSS[1])
    made = scan([], [()]).measure(y=points.get).wait_when_lost(1e6).finally_call(end.act)
    looks = iter([True, True])
    wait = made._control.wait
    monkeypatch.setattr(made._control, "wait", lambda *args: next(looks, False) and wait(*args))
    made.run()
    assert (made.rows, end.done) == ([], ["off"])


@pytest.mark.parametrize("where", ["read", "set"])
def test_ramp_of_the_end_goes_on_when_the_instrument_is_back(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "STEP", 0.0)
    device = Device(*LOSS)
    target = Settable("x", "V", device.act, device.get if where == "read" else None)
    made = scan([], [()]).wait_when_lost(1.0).finally_set(target, 0.0, ramp=2.5, deadline=20.0)
    made._last["x"] = 0.5
    made.run()
    assert device.done == [0.25, 0.0]
