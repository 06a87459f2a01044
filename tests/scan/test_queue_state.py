from __future__ import annotations

from typing import Any

import cbor2
import pytest

from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_UnknownNameException,
)
from qmi.scan import ScanInfo
from qmi.scan.queue_state import Queued, QueueState


def state(*names: str) -> QueueState:
    made = QueueState("scans")
    for name in names:
        made.add(Queued(ScanInfo(made.next_id(), f"scan of {name}", "waiting", submitted=1.0), name.encode()))
    return made


def kept(one: QueueState, now: float = 100.0) -> QueueState:
    """What a new program finds on the disk."""
    return QueueState.of("scans", cbor2.loads(cbor2.dumps(one.plain())), now)


def waiting(one: QueueState) -> list[str]:
    return [queued.info.id for queued in one.waiting]


def test_scans_are_taken_in_order() -> None:
    queue = state("a", "b")
    first = queue.take(5.0)
    assert first is not None
    assert (first.info.id, first.info.state, first.info.started, first.data) == ("scans-1", "running", 5.0, b"a")
    assert [info.state for info in queue.infos()] == ["running", "waiting"]
    queue.end(first.info._replace(state="done", ended=6.0))
    assert [info.state for info in queue.infos()] == ["done", "waiting"]
    second = queue.take(7.0)
    assert second is not None
    assert second.info.id == "scans-2"
    queue.end(second.info)
    assert queue.take(8.0) is None


def test_paused_queue_gives_nothing() -> None:
    queue = state("a")
    queue.paused = "by somebody"
    assert queue.take(1.0) is None
    queue.paused = None
    assert queue.take(1.0) is not None


@pytest.mark.parametrize(
    ("scan_id", "position", "order"),
    [
        ("scans-3", 0, ["scans-3", "scans-1", "scans-2"]),
        ("scans-1", 1, ["scans-2", "scans-1", "scans-3"]),
        ("scans-1", 99, ["scans-2", "scans-3", "scans-1"]),
    ],
)
def test_waiting_scans_are_moved(scan_id: str, position: int, order: list[str]) -> None:
    queue = state("a", "b", "c")
    queue.move(scan_id, position)
    assert waiting(queue) == order


@pytest.mark.parametrize("position", [-1, 1.0, True, None, "0"])
def test_place_that_is_none_is_refused(position: Any) -> None:
    with pytest.raises(QMI_InvalidValueException, match="position must be an int of at least 0"):
        state("a").move("scans-1", position)


def test_only_what_waits_is_removed_or_moved() -> None:
    queue = state("a", "b")
    queue.take(1.0)
    for act in (lambda name: queue.remove(name, "by me", 2.0), lambda name: queue.move(name, 0)):
        with pytest.raises(
            QMI_InvalidOperationException, match=r"does not wait any more.*stop_scan\(\) or abort_scan\(\)"
        ):
            act("scans-1")
        with pytest.raises(QMI_UnknownNameException, match=r"Queue scans has no scan 'scans-9'"):
            act("scans-9")
    removed = queue.remove("scans-2", "by me", 2.0)
    assert (removed.state, removed.reason, removed.ended) == ("removed", "by me", 2.0)
    with pytest.raises(QMI_InvalidOperationException, match="it has ended"):
        queue.remove("scans-2", "by me", 3.0)


def test_queue_is_as_it_was_after_a_new_start() -> None:
    queue = state("a", "b", "c")
    queue.paused = "by somebody"
    queue.move("scans-3", 0)
    queue.remove("scans-2", "by me", 2.0)
    again = kept(queue)
    assert again.plain() == queue.plain()
    assert (waiting(again), again.paused) == (["scans-3", "scans-1"], "by somebody")
    assert again.waiting[0].data == b"c"
    assert again.next_id() == "scans-4", "an id is not given twice"


def test_scan_that_ran_when_the_program_ended_is_interrupted() -> None:
    queue = state("a", "b")
    assert queue.take(1.0) is not None
    running = queue.running
    assert running is not None
    queue.note(running.info._replace(run_id="20261126_iv"))
    again = kept(queue)
    assert again.running is None
    (info,) = again.ended
    assert (info.id, info.state, info.ended, info.run_id) == ("scans-1", "interrupted", 100.0, "20261126_iv")
    assert waiting(again) == ["scans-2"]


def test_only_the_last_scans_that_ended_are_remembered() -> None:
    queue = state(*map(str, range(120)))
    for _ in range(120):
        queue.remove(queue.waiting[0].info.id, "", 1.0)
    assert [queue.ended[0].id, queue.ended[-1].id, len(kept(queue).ended)] == ["scans-21", "scans-120", 100]


GOOD = state("a").plain()


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        {**GOOD, "version": 2},
        *({key: value for key, value in GOOD.items() if key != gone} for gone in GOOD),
        {**GOOD, "number": "x"},
        {**GOOD, "waiting": 5},
        {**GOOD, "waiting": [5]},
        {**GOOD, "waiting": [[[], b""]]},
        {**GOOD, "waiting": [[["id", "what", "waiting"], "text"]]},
        {**GOOD, "running": 5},
        {**GOOD, "ended": [5]},
    ],
)
def test_damaged_data_are_told(plain: object) -> None:
    with pytest.raises(QMI_InvalidValueException, match="that is no queue of scans"):
        QueueState.of("scans", plain, 1.0)
