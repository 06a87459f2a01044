from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

import qmi
from qmi.core.exceptions import QMI_NoActiveContextException, QMI_ObjectLockedException
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.utils.context_managers import lock_unlock, open_close, start_stop, start_stop_join, subscribe_unsubscribe


class Recorder:
    """Anything that these context managers take; notes what is called, and answers what a lock answers."""

    def __init__(self, granted: bool = True) -> None:
        self.calls: list[Any] = []
        self.granted = granted

    def __getattr__(self, name: str) -> Callable[..., bool]:
        def call(*args: Any, **kwargs: Any) -> bool:
            self.calls.append((name, *args, *([kwargs] if kwargs else [])))
            return self.granted

        return call


RECEIVER = object()
CASES: list[tuple[Callable[[Any], AbstractContextManager[Any]], list[Any], list[Any]]] = [
    (start_stop, [("start",)], [("stop",)]),
    (lambda thing: start_stop(thing, 1, a=2), [("start", 1, {"a": 2})], [("stop",)]),
    (start_stop_join, [("start",)], [("stop",), ("join",)]),
    (lambda thing: start_stop_join(thing, 1, a=2), [("start", 1, {"a": 2})], [("stop",), ("join",)]),
    (open_close, [("open",)], [("close",)]),
    (lock_unlock, [("lock",)], [("unlock",)]),
    (lambda thing: lock_unlock(thing, 5), [("lock", 5)], [("unlock",)]),
    (lambda thing: lock_unlock(thing, 5, "mine"), [("lock", 5, "mine")], [("unlock", {"lock_token": "mine"})]),
    (
        lambda thing: lock_unlock(thing, timeout=5, lock_token="mine"),
        [("lock", {"timeout": 5, "lock_token": "mine"})],
        [("unlock", {"lock_token": "mine"})],
    ),
    (lambda thing: subscribe_unsubscribe(thing, RECEIVER), [("subscribe", RECEIVER)], [("unsubscribe", RECEIVER)]),
]


@pytest.mark.parametrize(("manager", "before", "after"), CASES)
def test_block_runs_between_both_calls(
    manager: Callable[[Any], AbstractContextManager[Any]], before: list[Any], after: list[Any]
) -> None:
    thing = Recorder()
    with manager(thing) as given:
        assert thing.calls == before
        assert given in (thing, RECEIVER)
    assert thing.calls == before + after


@pytest.mark.parametrize(("manager", "before", "after"), CASES)
def test_second_call_happens_also_when_the_block_fails(
    manager: Callable[[Any], AbstractContextManager[Any]], before: list[Any], after: list[Any]
) -> None:
    thing = Recorder()
    with pytest.raises(ZeroDivisionError), manager(thing):
        raise ZeroDivisionError
    assert thing.calls == before + after


def test_block_does_not_run_without_the_lock() -> None:
    thing = Recorder(granted=False)
    with pytest.raises(QMI_ObjectLockedException, match="another proxy holds it"), lock_unlock(thing):
        pytest.fail("the block runs")
    assert thing.calls == [("lock",)]


def test_context_manager_undoes_only_what_was_done() -> None:
    class Broken(Recorder):
        def open(self) -> None:
            raise OSError("no such port")

    thing = Broken()
    with pytest.raises(OSError, match="no such port"), open_close(thing):
        pytest.fail("the block runs")
    assert thing.calls == []


def test_they_work_on_the_package_and_on_proxies() -> None:
    with start_stop(qmi, "managers", None):
        nsg = qmi.make_instrument("nsg", NoisySineGenerator)
        other = qmi.get_instrument("nsg")
        with open_close(nsg), lock_unlock(nsg, lock_token="mine"):
            assert nsg.is_open()
            assert not other.lock()
        assert not nsg.is_open()
        assert not nsg.is_locked()
        with lock_unlock(other), pytest.raises(QMI_ObjectLockedException, match=r"managers\.nsg"), lock_unlock(nsg):
            pytest.fail("the block runs")
    with pytest.raises(QMI_NoActiveContextException):
        qmi.context()


def test_a_receiver_is_made_if_there_is_none() -> None:
    signal = Recorder()
    with subscribe_unsubscribe(signal) as receiver:
        assert isinstance(receiver, QMI_SignalReceiver)
    assert signal.calls == [("subscribe", receiver), ("unsubscribe", receiver)]
