"""Ctrl-C at any moment, as real signals in programs of their own: what it leaves behind."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals cannot be sent to a thread here")

POUND = """
import faulthandler, random, signal, sys, threading, time
faulthandler.dump_traceback_later(45, exit=True)  # where it hangs is in what the test prints then
import qmi
from qmi.core.context import QMI_Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import Placement, rpc_method
from qmi.core.config_defs import CfgContext, CfgQmi
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.utils.context_managers import lock_unlock, open_close, subscribe_unsubscribe

class Driver(QMI_Instrument):
    sig = QMI_Signal([int])
    @rpc_method
    def get_sample(self):
        return 1
    @rpc_method
    def items(self):
        yield from range(20)

class Inline(NoisySineGenerator):
    _rpc_placement = Placement.CALLER

go = threading.Event()
main = threading.main_thread().ident

def pound():
    while go.wait():
        go.clear()
        end = time.perf_counter() + random.uniform(1e-5, 1e-3)
        while time.perf_counter() < end:
            pass
        signal.pthread_kill(main, signal.SIGINT)

def raises_at_any_moment(number, frame):
    raise KeyboardInterrupt

threading.Thread(target=pound, daemon=True).start()
sys.setswitchinterval(1e-5)
"""

LOCAL = """
qmi.start("pound", None, console_loglevel="ERROR")
one = qmi.make_instrument("one", {cls})
other = qmi.get_instrument("one")
receiver = QMI_SignalReceiver()
"""

REMOTE = """
server = QMI_Context("server", CfgQmi(contexts={{"server": CfgContext(host="127.0.0.1", tcp_server_port=0)}}))
server.start()
server.make_instrument("one", {cls})
qmi.start("pound", None, console_loglevel="ERROR")
qmi.context().connect_to_peer("server", "127.0.0.1:%d" % server.get_tcp_server_port())
one = qmi.get_instrument("server.one")
other = qmi.get_instrument("server.one")
link = qmi.context().async_context.connections.link_to("server")
receiver = QMI_SignalReceiver()
"""

ROUNDS = """
for what, (statement, check) in {cases}.items():
    inside = False
    statement = compile("while True:\\n " + statement.replace("\\n", "\\n "), what, "exec")
    check = compile(check, what, "exec")
    for number in range({rounds}):
        {handler}
        try:
            go.set()
            exec(statement)
        except KeyboardInterrupt:
            pass
        {handler}
        exec(check)
{end}
print("done")
"""

STILL_LINKED = """
assert qmi.context().async_context.connections.link_to("server") is link, link.loss
qmi.stop()
server.stop()
"""

PYTHONS_OWN = "signal.signal(signal.SIGINT, signal.default_int_handler)"
PROGRAMS_OWN = "signal.signal(signal.SIGINT, raises_at_any_moment)"


CLOSED = "assert not (inside and other.is_open()); other.is_open() and other.close()"
"""Who is interrupted while a driver opens its device does not wait for that; then it may be open a moment later."""
BLOCKS = {
    "locked": ("with one.locked(): pass", "assert not other.is_locked()"),
    "locked twice": ("with one.locked(), one.locked(): one.get_sample()", "assert not other.is_locked()"),
    "locked by a text": ("with one.locked(lock_token='mine'): pass", "assert not other.is_locked()"),
    "lock_unlock": ("with lock_unlock(one): one.get_sample()", "assert not other.is_locked()"),
    "open_close": ("inside = False\nwith open_close(one): inside = True", CLOSED),
    "with proxy": ("inside = False\nwith one: inside = True", CLOSED),
}
SUBSCRIPTION = {
    "subscribe_unsubscribe": ("with subscribe_unsubscribe(one.sig, receiver): pass", "assert not receiver._sources"),
    "stream": ("with one.items() as items: next(items)", "assert one.get_sample(rpc_timeout=10) == 1"),
}
WORKS = "other.force_unlock(); assert other.get_sample(rpc_timeout=10) == 1"
CALLS = {
    "call": ("one.get_sample()", WORKS),
    "call with a timeout": ("one.get_sample(rpc_timeout=5)", WORKS),
    "future": ("one.rpc_nonblocking.get_sample().wait()", WORKS),
    "stream": ("list(one.items())", WORKS),
    "lock": ("one.lock(timeout=1); one.unlock()", WORKS),
    "subscribe": ("one.sig.subscribe(receiver); one.sig.unsubscribe(receiver)", WORKS),
    "query": ("one.is_locked()", WORKS),
    "lookup": ("qmi.get_instrument('server.one')", WORKS),
}


def run(where: str, cases: dict[str, tuple[str, str]], cls: str, *, handler: str = "pass", rounds: int = 60) -> None:
    end = "qmi.stop()" if where is LOCAL else STILL_LINKED
    program = POUND + (where + ROUNDS).format(cls=cls, cases=cases, handler=handler, rounds=rounds, end=end)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", ""), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("cls", [pytest.param("Driver", marks=pytest.mark.slow), "Inline"])
def test_fault_53_block_that_ctrl_c_leaves_has_released_what_it_took(cls: str) -> None:
    run(LOCAL, BLOCKS, cls)


@pytest.mark.slow
def test_block_over_a_link_that_ctrl_c_leaves_has_released_what_it_took() -> None:
    run(REMOTE, BLOCKS, "Driver")


@pytest.mark.parametrize("where", [pytest.param(LOCAL, marks=pytest.mark.slow), REMOTE], ids=["here", "over a link"])
def test_subscription_or_stream_for_a_block_that_ctrl_c_leaves_is_over(where: str) -> None:
    run(where, SUBSCRIPTION, "Driver")


@pytest.mark.slow
@pytest.mark.parametrize(
    "handler",
    [
        pytest.param("pass", id="ours"),
        pytest.param(PYTHONS_OWN, id="python's", marks=pytest.mark.slow),
        pytest.param(PROGRAMS_OWN, id="the program's", marks=pytest.mark.slow),
    ],
)
def test_fault_53_link_survives_ctrl_c_whoever_handles_it(handler: str) -> None:
    run(REMOTE, CALLS, "Driver", handler=handler)


IN_TRIO = """
import trio

def pound_once(delay):
    time.sleep(delay)
    signal.pthread_kill(main, signal.SIGINT)

class Async(QMI_Instrument):
    @rpc_method
    async def wait(self):
        await trio.sleep_forever()

TASKS = 5
begun = []
finished = []

async def use(proxy, number):
    try:
        begun.append(number)
        while True:
            {use}
    finally:
        with trio.CancelScope(shield=True):
            assert await proxy.get_sample() is not None
            finished.append(number)

async def body(proxy):
    async with trio.open_nursery() as nursery:
        for number in range(TASKS):
            nursery.start_soon(use, proxy, number)
        threading.Thread(target=pound_once, args=(random.uniform(0.0, 0.004),), daemon=True).start()

for number in range(40):
    begun.clear()
    finished.clear()
    try:
        {run}
    except* KeyboardInterrupt:
        pass
    else:
        raise AssertionError("nothing was raised")
    assert sorted(finished) == sorted(begun), (number, begun, finished)
    assert INTERRUPTS.pending is False
{end}
print("done")
"""
HANDED_BACK = "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"

TRIO_PROGRAM = """
async def make(main):
    async with qmi.open_context("pound", None, init_logging=False) as context:
        await main(await context.make_instrument("one", Driver))
"""

TRIO_IN_A_SCRIPT = {
    "beside a blocking context": (LOCAL, "trio.run(body, one.rpc_async)", f"qmi.stop(); {HANDED_BACK}"),
    "over a link of a blocking context": (REMOTE, "trio.run(body, one.rpc_async)", STILL_LINKED + HANDED_BACK),
    "in a context of its own": (TRIO_PROGRAM, "trio.run(make, body)", HANDED_BACK),
    "beside a context that was started in it": (
        """
async def make(main):
    await trio.to_thread.run_sync(partial(qmi.start, "pound", None, console_loglevel="ERROR"))
    try:
        await main((await trio.to_thread.run_sync(qmi.make_instrument, "one", Driver)).rpc_async)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(qmi.stop)
""",
        "trio.run(make, body)",
        "",
    ),
    "in a context of its own beside a blocking one": (
        LOCAL + TRIO_PROGRAM,
        "trio.run(make, body)",
        f"qmi.stop(); {HANDED_BACK}",
    ),
}


USUAL = ("beside a blocking context", "in a context of its own")


@pytest.mark.slow
@pytest.mark.parametrize(
    "use",
    [
        "await proxy.get_sample()",
        pytest.param("sum(range(100)); await proxy.get_sample()", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    ("where", "call", "end"),
    [
        pytest.param(*script, id=what, marks=() if what in USUAL else pytest.mark.slow)
        for what, script in TRIO_IN_A_SCRIPT.items()
    ],
)
def test_fault_53_trio_run_that_ctrl_c_ends_has_run_every_finally(where: str, call: str, end: str, use: str) -> None:
    begin = "from functools import partial\nfrom qmi.runtime.sigint import INTERRUPTS\nimport trio\n"
    program = POUND + begin + where.format(cls="Driver") + IN_TRIO.format(use=use, run=call, end=end)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", ""), done.stderr
