"""When the garbage collector is still, and that it is not afterwards."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from qmi.runtime.gc_pause import gc_paused, importing

Pause = Callable[[], AbstractContextManager[None]]

both = pytest.mark.parametrize("pause", [gc_paused, importing])


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()


@both
def test_collector_rests_until_the_last_of_several_is_done(pause: Pause) -> None:
    with gc_paused():
        assert not gc.isenabled()
        with pause():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


@both
def test_collector_that_the_program_has_switched_off_stays_off(pause: Pause) -> None:
    gc.disable()
    with pause():
        pass
    assert not gc.isenabled()


@both
@pytest.mark.parametrize("error", [ImportError, KeyboardInterrupt, SystemExit])
def test_collector_goes_on_after_an_error(pause: Pause, error: type[BaseException]) -> None:
    with pytest.raises(error), pause():
        raise error
    assert gc.isenabled()


def test_collector_goes_on_when_threads_pause_it_in_turns() -> None:
    begun, end = threading.Event(), threading.Event()

    def other() -> None:
        with importing():
            begun.set()
            end.wait(10)

    thread = threading.Thread(target=other)
    with gc_paused():
        thread.start()
        begun.wait(10)
    assert not gc.isenabled(), "the other one goes on"
    end.set()
    thread.join()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.parametrize("where", ["in another thread", "in the pause"])
def test_collector_of_a_forked_child_goes_on(where: str) -> None:
    program = f"""
import gc, os, sys, threading
from qmi.runtime.gc_pause import gc_paused

begun, end = threading.Event(), threading.Event()

def other():
    with gc_paused():
        begun.set()
        end.wait(10)

def fork():
    if os.fork() == 0:
        return True
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    return False

if {where!r} == "in the pause":
    with gc_paused():
        child = fork()
        assert not gc.isenabled()
else:
    thread = threading.Thread(target=other)
    thread.start()
    begun.wait(10)
    child = fork()
    assert gc.isenabled() is child
    if not child:
        end.set()
        thread.join()
assert gc.isenabled()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


FREED = """
gone, kept = Node(), Node()
dead, living = weakref.ref(gone), weakref.ref(kept)
del gone
with importing():
    assert dead() is None
    made = Node()
assert gc.get_freeze_count() == 0
assert living() is kept
last = weakref.ref(made)
del kept, made
gc.collect()
assert living() is None
assert last() is None
"""
FROZEN = """
gc.freeze()
with importing():
    pass
assert gc.get_freeze_count() > 1000
"""


@pytest.mark.parametrize("program", [FREED, FROZEN], ids=["nothing", "by the program"])
def test_imports_leave_what_is_frozen_as_it_was(program: str) -> None:
    # In a program of its own: the tests freeze what is there between them.
    head = """
import gc, weakref
from qmi.runtime.gc_pause import importing

class Node:
    def __init__(self):
        self.me = self
"""
    subprocess.run([sys.executable, "-c", head + program], check=True, timeout=30)
