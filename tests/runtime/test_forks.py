"""A child that a program forks shares nothing with its parent's contexts: it keeps no port, no link and no answer.

Each test runs programs of its own: a process that forks should have few threads, and pytest has many.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmi.runtime.forks import EXIT_CODE
from tests.support.programs import Program

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

SERVER = """
import multiprocessing, os, signal, socket, subprocess, sys, threading, time
import qmi
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import Placement, rpc_method
from qmi.core.task import QMI_LoopTask, QMI_Task

# The main thread reads the real one just now, so that a child could not close it.
sys.stdin = open(os.devnull)

# No child outlives the test that it is part of, whatever goes wrong in it.
os.register_at_fork(after_in_child=lambda: signal.alarm(20))

def opened():
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            pass
    return found

BEFORE = set(opened().values())

def ours():
    '''What is open here of the sockets, timers and pollers that the context has opened.'''
    kinds = ("socket:", "anon_inode:[timerfd]", "anon_inode:[eventpoll]")
    return [text for text in opened().values() if text.startswith(kinds) and text not in BEFORE]

def tell(where, value):
    os.write(where, repr(value).encode() + b"\\n")

def fork_and_tell(make):
    '''Fork; the child tells what the function gives, and ends. Returns its process and what it told.'''
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            tell(writing, make())
        except BaseException as error:
            tell(writing, (type(error).__name__, str(error)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return eval(text)

class Driver(QMI_Instrument):
    @rpc_method
    def child_sees(self):
        return fork_and_tell(ours)

    @rpc_method
    def fork_and_stay(self):
        '''Leave a child behind that sleeps until it is killed.'''
        pid = os.fork()
        if pid == 0:
            for number in (0, 1, 2):  # which the test waits for the end of
                os.close(number)
            while True:
                time.sleep(60)
        return pid

    @rpc_method
    def multiprocess(self):
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=lambda: queue.put(ours()))
        child.start()
        found = queue.get()
        child.join()
        return found

    @rpc_method
    def run_program(self):
        command = [sys.executable, "-c", ""]
        found = subprocess.run(command, preexec_fn=lambda: tell(2, ours()), capture_output=True, text=True)
        return eval(found.stderr)

    @rpc_method
    def come_back(self):
        '''Both come back from here, with an answer each.'''
        pid = os.fork()
        return ("child", 0) if pid == 0 else ("parent", pid)

    @rpc_method
    def fail_back(self):
        pid = os.fork()
        if pid == 0:
            raise ValueError("of the child")
        return ("parent", pid)

    @rpc_method
    def leave_back(self):
        pid = os.fork()
        if pid == 0:
            raise SystemExit(3)
        return ("parent", pid)

    @rpc_method
    def use_proxies(self, other, call):
        def use():
            try:
                return eval(call, {"proxy": other, "qmi": qmi})
            except Exception as error:
                return (type(error).__name__, str(error))
        return fork_and_tell(use)

    @rpc_method
    def start_again(self, port):
        def start():
            with qmi.start("child", None, context_cfg={"child": {"host": "127.0.0.1", "tcp_server_port": port}}):
                qmi.make_instrument("dev", Plain)
                return qmi.context().name, qmi.context().get_tcp_server_port() > 0, qmi.get_instrument("dev").add(1, 2)
        return fork_and_tell(start)

    @rpc_method
    async def child_of_loop_sees(self):
        return fork_and_tell(ours)

    @rpc_method
    async def start_again_in_loop(self, port):
        return await __import__("trio").to_thread.run_sync(lambda: 0) or Driver.start_again(self, port)

    @rpc_method
    async def come_back_in_loop(self):
        pid = os.fork()
        return ("child", 0) if pid == 0 else ("parent", pid)

go = threading.Event()

class Plain(QMI_Instrument):
    @rpc_method
    def wait_to_go(self):
        go.wait()
        return "gone"

    @rpc_method
    def add(self, a, b):
        return a + b

class Forking(QMI_Task):
    def run(self):
        self.pid = os.fork()
        if self.pid:
            forked.set()
            self.sleep(3600)

forked = threading.Event()

context = qmi.start("srv", None, context_cfg={"srv": {"host": "127.0.0.1", "tcp_server_port": 0}})
qmi.make_instrument("dev", Driver)
qmi.make_instrument("plain", Plain)
context.get_tcp_server_port()
"""

CLIENT = """
import qmi, time
context = qmi.start("cli", None)
context.connect_to_peer("srv", "127.0.0.1:%d")
dev = qmi.get_instrument("srv.dev")
plain = qmi.get_instrument("srv.plain")
"""


class Pair:
    def __init__(self, server: Program, client: Program) -> None:
        self.server = server
        self.client = client
        self.port: int = server.run(SERVER)
        client.run(CLIENT % self.port)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Shared: what a child does is to leave no trace in it."""
    with Program() as server, Program() as client:
        yield Pair(server, client)


FORKS = ["child_sees", "multiprocess", "run_program", "child_of_loop_sees"]


@pytest.mark.parametrize("way", FORKS)
def test_fault_48_child_has_no_socket_timer_or_poller_of_its_parents_context(pair: Pair, way: str) -> None:
    assert pair.server.run("len(ours()) > 3")  # the listener, the link, what wakes the loop
    assert pair.client.run(f"dev.{way}()") == []
    assert pair.client.run("plain.add(1, 2)") == 3
    assert pair.server.run("len(ours()) > 3")


def test_child_closes_the_timers_of_punctual_tasks(pair: Pair) -> None:
    pair.server.run(
        "class Loop(QMI_LoopTask):\n"
        "    async def loop_iteration(self): pass\n"
        "    def loop_prepare(self): pass\n"
        "from qmi.actors.clock.timerfd import open_timer\n"
        "timer = open_timer()\n"
    )
    if pair.server.run("timer is None"):
        pytest.skip("this system has no timers with descriptors")
    assert pair.server.run("fork_and_tell(lambda: (timer.fd, ours()))") == (-1, [])
    assert pair.server.run("timer.fd >= 0")


def test_fault_48_child_keeps_neither_the_port_nor_the_links_of_its_parent() -> None:
    with Program() as server, Program() as client:
        pair = Pair(server, client)
        _keeps_neither_port_nor_link(pair, client.run("dev.fork_and_stay()"))


def _keeps_neither_port_nor_link(pair: Pair, child: int) -> None:
    try:
        pair.server.kill()
        assert pair.client.run(
            "began = time.monotonic()\n"
            "try:\n"
            "    plain.add(1, 2)\n"
            "except Exception as error:\n"
            "    pass\n"
            "time.monotonic() - began < 5"
        )
        with socket.socket() as probe:  # without SO_REUSEADDR's help against a listener that is still there
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", pair.port))
            probe.listen()
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("way", ["come_back", "fail_back", "leave_back", "come_back_in_loop"])
def test_fault_48_child_that_comes_back_from_a_method_cannot_answer(pair: Pair, way: str) -> None:
    side, child = pair.client.run(f"dev.{way}()")
    assert side == "parent"
    status = pair.server.run(f"os.waitpid({child}, 0)[1]")
    assert os.waitstatus_to_exitcode(status) == EXIT_CODE
    assert pair.client.run("[plain.add(i, 1) for i in range(3)]") == [1, 2, 3]
    assert "came back from there" in pair.server.errors


def test_child_that_comes_back_from_a_task_ends(pair: Pair) -> None:
    pair.server.run("task = context.make_task('task', Forking); task.start()")
    _, status = pair.server.run("forked.wait(15) and os.wait()")
    assert os.waitstatus_to_exitcode(status) == EXIT_CODE
    assert pair.server.run("task.is_running()") is True
    assert pair.client.run("plain.add(1, 2)") == 3


@pytest.mark.parametrize(
    "call",
    [
        "proxy.add(1, 2)",
        "proxy.add(1, 2, rpc_timeout=5)",
        "proxy.rpc_nonblocking.add(1, 2).wait()",
        "proxy.lock()",
        "proxy.is_locked()",
        "qmi.get_instrument('srv.plain')",
        "qmi.context().name",
        "qmi.stop()",
    ],
)
@pytest.mark.parametrize("side", ["own", "remote"])
def test_inherited_context_is_refused_in_the_child(pair: Pair, call: str, side: str) -> None:
    if side == "own":
        pair.server.run("plain = qmi.get_instrument('plain'); plain.add(0, 0)")
        kind, text = pair.server.run(f"qmi.get_instrument('dev').use_proxies(plain, {call!r})")
    else:
        code = f"fork_and_tell(lambda: eval({call!r}, {{'proxy': plain, 'qmi': qmi}}))"
        pair.client.run(SERVER[: SERVER.index("class Driver")].replace("BEFORE =", "_ =") + "\nplain.add(0, 0)")
        kind, text = pair.client.run(code)
    assert kind in ("QMI_UsageException", "QMI_NoActiveContextException"), text
    assert "forked" in text or "There is no active context" in text


@pytest.mark.parametrize("proxy", ["own", "remote"])
def test_answer_that_is_under_way_is_not_waited_for_in_the_child(pair: Pair, proxy: str) -> None:
    place, found = (pair.server, "qmi.get_instrument('plain')") if proxy == "own" else (pair.client, "plain")
    if proxy == "remote":
        pair.client.run(SERVER[: SERVER.index("class Driver")])
    pair.server.run("go.clear()")
    place.run(f"future = {found}.rpc_nonblocking.wait_to_go()")
    kind, text = place.run("fork_and_tell(future.wait)")
    assert kind == "QMI_UsageException"
    assert "forked" in text
    pair.server.run("go.set()")
    assert place.run("future.wait(20)") == "gone"


@pytest.mark.parametrize("way", ["start_again", "start_again_in_loop"])
def test_fault_48_child_may_start_a_context_of_its_own(pair: Pair, way: str) -> None:
    assert pair.client.run(f"dev.{way}(0)") == ("child", True, 3)
    assert pair.client.run("plain.add(1, 2)") == 3


def test_end_of_a_child_leaves_its_parent_alone(pair: Pair) -> None:
    code = (
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    sys.stdin.close(); os.close(0)\n"
        "    import atexit; atexit._run_exitfuncs(); sys.exit(0)\n"
        "os.waitpid(pid, 0)[1]"
    )
    reading = pair.server.run(code.replace("sys.exit(0)", "os._exit(0)"))
    assert reading == 0
    assert pair.client.run("plain.add(1, 2)") == 3
    assert pair.server.run("qmi.get_instrument('plain').add(1, 2)") == 3


def test_child_of_a_trio_program_leaves_its_parents_loop_alone(tmp_path: Path) -> None:
    program = """
import os, sys, threading, time, trio, qmi
async def main():
    async with qmi.open_context("lab", None) as context:
        pid = os.fork()
        if pid == 0:
            # A loop of the child's own, in the thread that ran its parent's.
            async def own():
                async with qmi.open_context("child", None):
                    await trio.sleep(0.01)
            trio.run(own)
            os._exit(5)
        # If the child took events away from here, these would never come.
        for _ in range(20):
            await trio.to_thread.run_sync(time.sleep, 0.001)
        return os.waitstatus_to_exitcode((await trio.to_thread.run_sync(os.waitpid, pid, 0))[1])
trio.run(main)
"""
    with Program() as there:
        assert there.run(program) == 5
