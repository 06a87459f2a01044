from __future__ import annotations

import ast
import importlib
import inspect
import logging
import signal
import subprocess
import sys
import threading
import time
import tomllib
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio

import qmi
from qmi.contexts import default as session
from qmi.contexts.async_context import Context
from qmi.contexts.loop_thread import Portal
from qmi.core.exceptions import QMI_NoActiveContextException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import Placement, rpc_method
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.names import Address
from qmi.runtime import sigint as interrupts
from qmi.runtime.interrupt_rules import CALLS_USER_CODE, MACHINERY, RELEASES, WAITS, Handler
from qmi.runtime.sigint import INTERRUPTS, InterruptHandler, _deliver_to_trio, ctrl_c_for_main_task, may_interrupt
from qmi.utils.context_managers import open_close
from tests.support.actors import handle_of
from tests.support.tasks import in_thread
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]

POUND = """
import faulthandler, random, signal, sys, threading, time
faulthandler.dump_traceback_later(45, exit=True)  # where it hangs is in what the test prints then
import qmi
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import Placement, rpc_method
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator

class Driver(QMI_Instrument):
    @rpc_method
    def get_sample(self):
        return 1

class Inline(NoisySineGenerator):
    _rpc_placement = Placement.CALLER

go = threading.Event()
main = threading.main_thread().ident

def pound():
    while go.wait():
        go.clear()
        end = time.perf_counter() + random.uniform(1e-5, 4e-4)
        while time.perf_counter() < end:
            pass
        signal.pthread_kill(main, signal.SIGINT)

threading.Thread(target=pound, daemon=True).start()
sys.setswitchinterval(1e-5)
qmi.start("pound", None)
one = qmi.make_instrument("one", {cls})
other = qmi.get_instrument("one")
for _ in range(150):
    try:
        go.set()
        while True:
            {statement}
    except KeyboardInterrupt:
        pass
    one.unlock()
    assert not one.is_locked()
    other.get_sample(rpc_timeout=5)
qmi.stop()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print("done")
"""


@pytest.fixture
def python_handles_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals cannot be sent to a thread here")
@pytest.mark.parametrize(
    ("statement", "cls"),
    [
        ("one.get_sample()", "Driver"),
        ("one.lock(timeout=1); one.unlock()", "Inline"),
        pytest.param("one.get_sample()", "Inline", marks=pytest.mark.slow),
        pytest.param("one.lock(timeout=1); one.unlock()", "Driver", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_at_any_moment_leaves_an_instrument_that_works(cls: str, statement: str) -> None:
    program = POUND.format(cls=cls, statement=statement)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


@pytest.mark.parametrize(("file", "name"), sorted(WAITS | CALLS_USER_CODE | RELEASES))
def test_the_functions_that_are_named_exist(file: str, name: str) -> None:
    thing: object = importlib.import_module("qmi." + file.removesuffix(".py").replace("/", "."))
    for part in name.split("."):
        thing = inspect.getattr_static(thing, part)
    assert inspect.isfunction(thing)


def test_machinery_is_every_package_that_a_message_goes_through() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = (c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    packages = [package for layer in layers for package in layer.split(" | ")]
    between = set(packages[packages.index("contexts") : packages.index("runtime")])
    between.remove("hosting")  # its instruments are drivers, which are interrupted as any driver is
    assert between | {"runtime/call_context.py", "runtime/sigint.py", "runtime/wakeup.py"} == MACHINERY
    assert all((ROOT / "qmi" / package).exists() for package in MACHINERY)


def test_block_of_a_context_manager_is_user_code_and_its_steps_are_not() -> None:
    tree = ast.parse((ROOT / "qmi" / "utils" / "context_managers.py").read_text())
    decorated = {
        ("utils/context_managers.py", node.name)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(name, ast.Name) and name.id == "safe_contextmanager" for name in node.decorator_list)
    }
    assert decorated == {place for place in CALLS_USER_CODE if place[0] == "utils/context_managers.py"}


def test_user_code_may_be_interrupted_and_what_the_machinery_calls_may_not() -> None:
    seen = []

    class Name(str):
        __slots__ = ()

        def __str__(self) -> str:
            seen.append(may_interrupt(sys._getframe()))
            return "name"

    assert may_interrupt(sys._getframe())
    assert may_interrupt(None)
    # Names are no machinery, proxies are: there the same method is called from each.
    str(Address("a", Name("b")))
    with qmi.start("frames", None) as context:
        proxy = context.make_peer_context_proxy("frames")
        handle_of(proxy).address = Name("b")
        assert proxy.address == "name"
    assert seen == [True, False]


def test_handlers_of_others_are_left_alone(python_handles_ctrl_c: None) -> None:
    def mine(*_: object) -> None: ...

    signal.signal(signal.SIGINT, mine)
    with qmi.start("theirs", None):
        assert signal.getsignal(signal.SIGINT) is mine
    assert signal.getsignal(signal.SIGINT) is mine


def test_a_handler_that_somebody_set_meanwhile_stays(python_handles_ctrl_c: None) -> None:
    def mine(*_: object) -> None: ...

    with qmi.start("theirs", None):
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        signal.signal(signal.SIGINT, mine)
    assert signal.getsignal(signal.SIGINT) is mine


def test_other_threads_can_start_contexts_and_are_never_struck(python_handles_ctrl_c: None) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with qmi.start("thread", None):
                assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            INTERRUPTS.pending = True
            INTERRUPTS.look()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
    assert INTERRUPTS.pending
    with pytest.raises(KeyboardInterrupt):
        INTERRUPTS.look()
    assert not INTERRUPTS.pending


def test_an_interrupt_at_a_bad_moment_comes_again(python_handles_ctrl_c: None) -> None:
    handler = InterruptHandler()
    handler.install()
    frame = bad_frame()

    def come_at_a_bad_moment() -> None:
        handler._handle(signal.SIGINT, frame)
        threading.Event().wait(30)

    with pytest.raises(KeyboardInterrupt):
        come_at_a_bad_moment()
    assert not handler.pending
    handler.uninstall()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_has_struck_does_not_come_again(python_handles_ctrl_c: None) -> None:
    handler = InterruptHandler()
    handler._again = True
    handler._handle(signal.SIGINT, sys._getframe())
    handler._try_again()
    assert not handler.pending


@pytest.mark.parametrize(
    ("owner", "step"),
    [(Portal, "start"), (session, "_setup_logging"), (Context, "__init__"), (session, "_end_logging")],
)
def test_start_or_stop_that_ctrl_c_meets_before_or_after_all_contexts_leaves_nothing_behind(
    python_handles_ctrl_c: None, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    original = getattr(owner, step)
    struck: list[str] = []

    def start_and_stop() -> None:
        qmi.start("steps", None)
        qmi.stop()
        threading.Event().wait(30)

    def strike(*args: Any, **kwargs: Any) -> Any:
        value = original(*args, **kwargs)
        if not struck:
            struck.append(step)
            signal.raise_signal(signal.SIGINT)
        return value

    handlers = logging.getLogger().handlers[:], logging.getLogger("qmi").handlers[:]
    monkeypatch.setattr(owner, step, strike)
    with pytest.raises(KeyboardInterrupt):
        start_and_stop()
    with suppress(QMI_NoActiveContextException):
        qmi.stop()
    assert struck
    assert (logging.getLogger().handlers, logging.getLogger("qmi").handlers) == handlers
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    for thread in threading.enumerate():
        if thread.name == "qmi-loop":
            thread.join(20)
            assert not thread.is_alive()


@pytest.mark.parametrize("resent", [False, True])
def test_interrupt_that_is_pending_when_the_last_user_leaves_is_raised_once(
    python_handles_ctrl_c: None, monkeypatch: pytest.MonkeyPatch, resent: bool
) -> None:
    handler = InterruptHandler()
    frame = bad_frame()
    monkeypatch.setattr(interrupts, "AGAIN", 3600.0)  # the thread that sends it again comes too late
    handler.install()
    handler._handle(signal.SIGINT, frame)
    if resent:  # or has just sent it, and the handler was not called yet
        handler._again = True
    with pytest.raises(KeyboardInterrupt):
        handler.uninstall()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    handler._try_again(0.0)
    handler.install()
    handler.look()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    handler.uninstall()


class Finalized:
    """Strikes when it is forgotten."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def forget_what_is_weakly_referred_to(kind: str) -> None:
    class Thing: ...

    thing = Thing()
    weak: Any = {"set": weakref.WeakSet, "values": weakref.WeakValueDictionary, "keys": weakref.WeakKeyDictionary}[
        kind
    ]()
    if kind == "set":
        weak.add(thing)
    else:
        weak.update({1: thing} if kind == "values" else {thing: 1})

    def strike(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_name in ("remove", "_remove"):
            sys.setprofile(None)
            INTERRUPTS._handle(signal.SIGINT, frame)

    sys.setprofile(strike)
    try:
        del thing
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("kind", ["__del__", "set", "values", "keys"])
def test_interrupt_in_a_finalizer_is_not_lost(python_handles_ctrl_c: None, kind: str) -> None:
    def forget() -> None:
        if kind == "__del__":
            Finalized()
        else:
            forget_what_is_weakly_referred_to(kind)
        threading.Event().wait(30)

    with qmi.start("finalizers", None), pytest.raises(KeyboardInterrupt):
        forget()


def bad_frame() -> FrameType:
    """A frame of the machinery."""
    frames: list[FrameType] = []

    class Name:
        def __str__(self) -> str:
            frames.append(sys._getframe(1))
            return "name"

    with qmi.start("bad", None) as context:
        proxy = context.make_peer_context_proxy("bad")
        handle_of(proxy).address = Name()
        str(proxy.address)
    return frames[0]


class Prober(NoisySineGenerator):
    """Runs in the thread of its caller."""

    _rpc_placement = Placement.CALLER

    @rpc_method
    def probe(self) -> tuple[bool, bool]:
        """Whether this method, and the machinery that calls it, may be interrupted."""
        frame = sys._getframe()
        return may_interrupt(frame), may_interrupt(frame.f_back)


class Observer(QMI_Instrument):
    """Has a thread of its own."""

    @rpc_method
    def look_at(self, thread: int) -> bool:
        """Whether that thread may be interrupted; waits until it is not on its way any more."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if may_interrupt(sys._current_frames()[thread]):
                return True
        return False


def test_methods_that_the_caller_runs_may_be_interrupted_but_not_what_calls_them() -> None:
    with qmi.start("inline", None):
        assert qmi.make_instrument("one", Prober).probe() == (True, False)


@pytest.mark.parametrize("timeout", [None, 0.2, 20.0])
def test_a_thread_that_waits_for_an_answer_may_be_interrupted(timeout: float | None) -> None:
    with qmi.start("waiting", None):
        assert qmi.make_instrument("one", Observer).look_at(threading.get_ident(), rpc_timeout=timeout)


def test_a_signal_is_sent_again_only_while_it_is_due(python_handles_ctrl_c: None) -> None:
    handler = InterruptHandler()
    handler.install()
    handler._try_again()
    handler.pending = True
    with pytest.raises(KeyboardInterrupt):
        let_it_come(handler)
    assert not handler.pending
    handler.uninstall()


def test_systems_without_signals_for_threads_are_served_too(
    python_handles_ctrl_c: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = InterruptHandler()
    handler.install()
    handler.pending = True
    monkeypatch.delattr(signal, "pthread_kill", raising=False)
    with pytest.raises(KeyboardInterrupt):
        let_it_come(handler)
    handler.uninstall()


def let_it_come(handler: InterruptHandler) -> None:
    """Wait in the main thread for what another thread sends again."""
    threading.Thread(target=handler._try_again).start()
    never = threading.Event()
    while handler.pending:  # what is sent without a signal of the system does not end a wait
        never.wait(0.001)


def test_trio_raises_what_is_delivered_in_its_main_task() -> None:
    # There is no public name for what is called here; this pins it.
    async def main() -> str:
        assert _deliver_to_trio()
        try:
            await trio.sleep(10)
        except KeyboardInterrupt:
            return "raised"
        return "not raised"

    assert not _deliver_to_trio()
    assert trio.run(main) == "raised"


def test_ctrl_c_for_the_main_task_never_strikes_another_one(python_handles_ctrl_c: None) -> None:
    swallowed: list[BaseException] = []

    async def serve() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:  # as a web server does, in whose task this is an error like any other
            swallowed.append(error)

    async def main() -> str:
        async with trio.open_nursery() as nursery:
            with ctrl_c_for_main_task():
                nursery.start_soon(serve)
                try:
                    await trio.sleep(10)
                except KeyboardInterrupt:
                    return "raised"
        return "not raised"

    assert trio.run(main) == "raised"
    assert swallowed == []
    assert INTERRUPTS.stoppers == []


def test_ctrl_c_for_the_main_task_that_had_to_wait_is_raised_once(python_handles_ctrl_c: None) -> None:
    async def main() -> bool:
        with ctrl_c_for_main_task():
            assert INTERRUPTS.postpone()
            with pytest.raises(KeyboardInterrupt):
                await trio.sleep(10)
            return INTERRUPTS.pending

    assert not trio.run(main)


def test_ctrl_c_for_the_main_task_is_for_the_main_thread_alone(python_handles_ctrl_c: None) -> None:
    def taken() -> int:
        with ctrl_c_for_main_task():
            return len(INTERRUPTS.stoppers)

    assert in_thread(taken).wait(timeout=20) == 0
    with ctrl_c_for_main_task(), pytest.raises(KeyboardInterrupt):  # no trio runs here: as it always is
        signal.raise_signal(signal.SIGINT)


def test_handler_of_a_trio_run_is_taken_over_and_comes_back(python_handles_ctrl_c: None) -> None:
    async def main() -> None:
        handler = InterruptHandler()
        trios = signal.getsignal(signal.SIGINT)
        assert handler.whose() is Handler.TRIO
        handler.install()
        assert handler.whose() is Handler.OURS
        handler.uninstall()
        assert signal.getsignal(signal.SIGINT) is trios

    trio.run(main)


def test_handler_of_a_trio_run_that_has_ended_does_not_come_back(python_handles_ctrl_c: None) -> None:
    handler = InterruptHandler()

    async def main() -> None:
        handler.install()

    trio.run(main)
    handler.uninstall()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("theirs", "whose", "taken"),
    [
        (signal.default_int_handler, Handler.PYTHON, True),
        (signal.SIG_IGN, Handler.NONE, False),
        (signal.SIG_DFL, Handler.NONE, False),
        (lambda number, frame: None, Handler.PROGRAM, False),
    ],
)
def test_handler_that_came_back_is_looked_at_again(
    theirs: Any, whose: Handler, taken: bool, python_handles_ctrl_c: None
) -> None:
    with qmi.start("look", None):
        signal.signal(signal.SIGINT, theirs)
        assert INTERRUPTS.whose() is whose
        assert INTERRUPTS.is_exposed() is (whose is Handler.PROGRAM)
        qmi.make_instrument("one", NoisySineGenerator).get_sample()
        assert (INTERRUPTS.whose() is Handler.OURS) is taken
        assert taken or signal.getsignal(signal.SIGINT) is theirs


def test_main_thread_takes_over_when_another_thread_has_started_the_context(python_handles_ctrl_c: None) -> None:
    thread = threading.Thread(target=lambda: qmi.start("elsewhere", None))
    thread.start()
    thread.join()
    assert INTERRUPTS.whose() is Handler.PYTHON
    qmi.make_instrument("one", NoisySineGenerator).get_sample()
    assert INTERRUPTS.whose() is Handler.OURS
    thread = threading.Thread(target=qmi.stop)
    thread.start()
    thread.join()
    assert INTERRUPTS.whose() is Handler.OURS  # only the main thread can give back
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert INTERRUPTS.whose() is Handler.PYTHON


def test_main_thread_takes_the_end_over_also_where_ctrl_c_is_ignored(python_handles_ctrl_c: None) -> None:
    """As in a program that a shell's script has started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    thread = threading.Thread(target=lambda: qmi.start("elsewhere", None))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    qmi.make_instrument("one", NoisySineGenerator).get_sample()
    assert signal.getsignal(signal.SIGTERM) is INTERRUPTS.handler
    qmi.stop()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_release_that_hangs_is_broken_off_by_the_second_ctrl_c(python_handles_ctrl_c: None) -> None:
    entered = threading.Event()

    class Hanging(QMI_Instrument):
        @rpc_method
        def close(self) -> None:
            super().close()
            entered.set()
            released.wait(30)

    def press_twice() -> None:
        entered.wait(30)
        signal.pthread_kill(main, signal.SIGINT)
        pending.append(wait_until(lambda: INTERRUPTS.pending))
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.get_ident()
    released = threading.Event()
    pending: list[bool] = []
    with qmi.start("hang", None):
        one = qmi.make_instrument("one", Hanging)
        thread = threading.Thread(target=press_twice)
        thread.start()
        with pytest.raises(KeyboardInterrupt), open_close(one):
            pass
        released.set()
        thread.join()
    assert pending == [True]
