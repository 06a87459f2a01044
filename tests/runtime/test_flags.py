"""Waits that Ctrl-C reaches, and leaves in order."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

import pytest

import qmi
from qmi.runtime.flags import GLANCE, Flag, take

ROOT = Path(qmi.__file__).parent


class Queue:
    """Has an item when it was asked so often, and notes how long it was waited for."""

    def __init__(self, asks: int) -> None:
        self.waits: list[float | None] = []
        self.asks = asks

    def get(self, timeout: float | None = None) -> str:
        self.waits.append(timeout)
        if len(self.waits) < self.asks:
            raise Empty
        return "item"


def test_queue_is_looked_at_again_and_again_in_the_main_thread() -> None:
    queue: Any = Queue(3)
    assert take(queue) == "item"
    assert queue.waits == [GLANCE] * 3


def test_queue_is_waited_for_as_long_as_the_timeout() -> None:
    queue: Any = Queue(1000)
    with pytest.raises(Empty):
        take(queue, 0.1)
    assert len(queue.waits) == 1
    assert 0.0 < queue.waits[0] <= 0.1
    with pytest.raises(Empty):
        take(SimpleQueue[int](), -1.0)


def test_queue_is_waited_for_at_once_in_another_thread() -> None:
    queue: Any = Queue(1)
    thread = threading.Thread(target=take, args=(queue,))
    thread.start()
    thread.join(10)
    assert queue.waits == [None]


def test_flag_that_is_set_ends_all_waits_now_and_later() -> None:
    flag = Flag()
    assert not flag.is_set()
    assert not flag.wait(0.0)
    threads = [threading.Thread(target=flag.wait, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    flag.set()
    flag.set()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert flag.is_set()
    assert flag.wait()


def interrupted(function: Callable[[], object], step: int) -> bool:
    """Call a function, with Ctrl-C at that of its steps; whether there is one."""
    steps = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == step:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_flag_can_be_set_and_waited_for_wherever_ctrl_c_has_come() -> None:
    step, more = 0, True
    while more:
        step += 1
        flag = Flag()
        more = interrupted(flag.set, step)
        thread = threading.Thread(target=flag.wait, daemon=True)
        thread.start()
        flag.set()
        thread.join(10)
        assert not thread.is_alive()
        waited = Flag()
        interrupted(lambda: waited.wait(0.0), step)  # noqa: B023 - called at once
        setter = threading.Thread(target=waited.set, daemon=True)
        setter.start()
        setter.join(10)
        assert not setter.is_alive()
        assert waited.wait(0.0)
    assert step > 5


@pytest.mark.parametrize("package", ["tools/cli", "proc"])
def test_commands_wait_for_nothing_that_ctrl_c_could_leave_locked_or_miss(package: str) -> None:
    """In programs whose main thread waits for others, an event of ``threading`` is none of the ways."""
    found = []
    for file in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("threading.Event", "threading.Condition"):
                found.append(f"{file.name}:{node.lineno}")
    assert found == []
