"""However a program ends, its instruments are closed and released in order, and it ends at once with the right code."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.desk import Desk
from tests.support.exits import DRIVER, SOON, end_of, program

FORGOTTEN = "Context exit still runs at the exit of the program; call qmi.stop() before"
STILL_OPEN = "Instrument one is still open and is closed now"


def interrupt(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C when the program says that it is ready."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)


def messages_of(text: str) -> list[str]:
    """The log messages, without time and logger."""
    return [line.split(" | ", 3)[3] for line in text.splitlines() if line.count(" | ") >= 3]


ENDS = {
    "forgotten stop": ("begin()", 0, ""),
    "exception": ("begin(); raise ZeroDivisionError('oh')", 1, "ZeroDivisionError: oh"),
    "error from the instrument": ("begin().open()", 1, "qmi.core.exceptions.QMI_InvalidOperationException"),
    "sys.exit": ("begin(); sys.exit(3)", 3, ""),
    "sys.exit with a text": ("begin(); sys.exit('no sample')", 1, "no sample"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "status", "last"),
    [
        pytest.param(*end, id=what, marks=() if what in ("forgotten stop", "sys.exit") else pytest.mark.slow)
        for what, end in ENDS.items()
    ],
)
def test_program_without_stop_is_shut_down_in_order(script: str, status: int, last: str, home: Path) -> None:
    with program(script, home) as process:
        code, output, messages = end_of(process)
    assert code == status
    assert output == "closed\nreleased one\n"
    assert last in messages
    assert messages_of(messages) == [FORGOTTEN, STILL_OPEN]


WITH_BLOCKS = {
    "exception": ("raise ZeroDivisionError", 1),
    "sys.exit": ("sys.exit(3)", 3),
    "sys.exit without an error": ("sys.exit()", 0),
    "end": ("pass", 0),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "status"),
    [
        pytest.param(*end, id=what, marks=() if what in ("exception", "end") else pytest.mark.slow)
        for what, end in WITH_BLOCKS.items()
    ],
)
def test_with_blocks_need_no_warning(statement: str, status: int, home: Path) -> None:
    script = f"""
with start_stop(qmi, "exit", None):
    with open_close(qmi.make_instrument("one", Driver)):
        {statement}
"""
    with program(script, home) as process:
        code, output, messages = end_of(process)
    assert code == status
    assert output == "closed\nreleased one\n"
    assert messages_of(messages) == []


def test_objects_go_in_reverse_order(home: Path) -> None:
    with program("begin(); [qmi.make_instrument(name, Driver) for name in ('two', 'three')]", home) as process:
        assert end_of(process)[:2] == (0, "released three\nreleased two\nclosed\nreleased one\n")


def test_ctrl_c_in_a_sleep(home: Path) -> None:
    with program("begin(); print('ready', flush=True); time.sleep(1000)", home) as process:
        interrupt(process)
        code, output, messages = end_of(process)
    assert code == -signal.SIGINT
    assert output == "closed\nreleased one\n"
    assert messages.rstrip().count("KeyboardInterrupt") == 1
    assert messages_of(messages) == [FORGOTTEN, STILL_OPEN]


@pytest.mark.slow
def test_ctrl_c_in_a_blocking_call_leaves_a_stuck_driver_behind(home: Path) -> None:
    with program("begin().block()", home) as process:
        interrupt(process)
        begin = time.monotonic()
        code, _, messages = end_of(process)
    assert code == -signal.SIGINT
    assert time.monotonic() - begin < SOON
    assert "KeyboardInterrupt" in messages
    forgotten, stuck = messages_of(messages)
    assert forgotten == FORGOTTEN
    assert re.match(r"exit\.one does not end and is left behind: .*block\(\) for .* now at .*script\.py:\d+", stuck)


@pytest.mark.slow
def test_ctrl_c_in_a_call_that_the_caller_runs_itself(home: Path) -> None:
    script = """
begin()
nsg = qmi.make_instrument("nsg", Inline)
try:
    print("ready", flush=True)
    nsg.wait(1000.0)
except KeyboardInterrupt:
    print("sample", type(nsg.get_sample()).__name__)
    sys.exit(4)
"""
    with program(script, home) as process:
        interrupt(process)
        code, output, _ = end_of(process)
    assert (code, output) == (4, "sample float\nclosed\nreleased one\n")


@pytest.mark.slow
def test_ctrl_c_while_waiting_for_a_lock(home: Path) -> None:
    script = """
one = begin()
one.lock()
other = qmi.get_instrument("one")
try:
    print("ready", flush=True)
    other.lock(timeout=1000)
except KeyboardInterrupt:
    print("freed", one.unlock(), other.lock())
    qmi.stop()
"""
    with program(script, home) as process:
        interrupt(process)
        assert end_of(process)[:2] == (0, "freed True True\nclosed\nreleased one\n")


@pytest.mark.slow
def test_ctrl_c_while_stopping(home: Path) -> None:
    with program("begin(Stuck); qmi.make_instrument('two', Driver); qmi.stop()", home) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "released two\n"
        interrupt(process)
        code, output, messages = end_of(process)
    assert code == -signal.SIGINT
    assert output == ""
    assert "KeyboardInterrupt" in messages
    assert any("exit.one does not end and is left behind" in line for line in messages_of(messages))


@pytest.mark.slow
def test_context_that_ended_after_ctrl_c_broke_its_stop_off_needs_no_warning(home: Path) -> None:
    script = """
class Slow(Driver):
    def release_rpc_object(self):
        print("ready", flush=True)
        entered.wait()

context = qmi.core.context.QMI_Context("exit")
context.start()
context.make_instrument("one", Slow)
try:
    context.stop()
except KeyboardInterrupt:
    entered.set()
    context._ended.wait(10)
"""
    with program("import qmi.core.context\n" + script, home) as process:
        interrupt(process)
        assert end_of(process) == (0, "", "")


@pytest.mark.slow
def test_stop_returns_although_a_driver_is_stuck(home: Path) -> None:
    script = "begin().rpc_nonblocking.block(); entered.wait(); qmi.stop()"
    with program(script, home) as process:
        code, _, messages = end_of(process)
    assert code == 0
    assert "left behind" in messages


@pytest.mark.slow
@pytest.mark.parametrize("call", ["one.count()", pytest.param("nsg.get_sample()", marks=pytest.mark.slow)])
def test_daemon_threads_that_keep_calling_do_not_keep_the_program(call: str, home: Path) -> None:
    script = f"""
one = begin()
nsg = qmi.make_instrument("nsg", Inline)
calls = threading.Semaphore(0)
def work():
    while True:
        {call}
        calls.release()
threading.excepthook = lambda args: None
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
for _ in range(10):
    calls.acquire()
"""
    with program(script, home) as process:
        code, output, messages = end_of(process)
    assert code == 0
    assert output == "closed\nreleased one\n"
    assert messages_of(messages) == [FORGOTTEN, STILL_OPEN]


def test_a_driver_that_fails_at_its_release_is_named_and_does_not_stop_the_others(home: Path) -> None:
    script = """
class Failing(Driver):
    def release_rpc_object(self):
        raise OSError("cable gone")
begin()
qmi.make_instrument("bad", Failing)
qmi.stop()
"""
    with program(script, home) as process:
        code, output, messages = end_of(process)
    assert (code, output) == (0, "closed\nreleased one\n")
    assert messages_of(messages) == ["exit.bad could not be released", STILL_OPEN]
    assert "OSError: cable gone" in messages


TRIO = """
import trio
async def main():
    async with qmi.open_context("exit", None) as context:
        one = await context.make_instrument("one", Driver)
        await one.open()
        {statement}
trio.run(main)
"""


@pytest.mark.parametrize(
    ("statement", "status", "error"),
    [
        pytest.param("raise ZeroDivisionError", 1, "ZeroDivisionError", marks=pytest.mark.slow),
        ("sys.exit(3)", 3, ""),
        pytest.param("pass", 0, "", marks=pytest.mark.slow),
    ],
)
def test_trio_program_releases_its_instruments(statement: str, status: int, error: str, home: Path) -> None:
    with program(TRIO.format(statement=statement), home) as process:
        code, output, messages = end_of(process)
    assert (code, output) == (status, "closed\nreleased one\n")
    assert error in messages
    assert messages_of(messages) == [STILL_OPEN]


def test_ctrl_c_in_a_trio_program(home: Path) -> None:
    with program(TRIO.format(statement="print('ready', flush=True); await trio.sleep_forever()"), home) as process:
        interrupt(process)
        code, output, messages = end_of(process)
    assert (code, output) == (-signal.SIGINT, "closed\nreleased one\n")
    assert "KeyboardInterrupt" in messages


@pytest.mark.slow
def test_ctrl_c_at_a_prompt_gives_the_prompt_back(home: Path) -> None:
    with Desk(home) as desk:
        desk.write("script.py", DRIVER)
        prompt = desk.prompt()
        prompt.type("from script import *")
        prompt.type("one = begin()")
        prompt.send("one.block()")
        prompt.expect("ready")
        prompt.interrupt()
        assert prompt.expect(r"KeyboardInterrupt\r\n>>> ").count("Traceback") == 1
        assert "is busy with block()" in prompt.type("one.count(rpc_timeout=0.01)")
        assert prompt.type("qmi.make_instrument('two', Driver).count()") == "1\n"
        assert "left behind" in prompt.type("qmi.stop()")
        assert prompt.leave()[0] == 0


LOUD = """
class Loud(Driver):
    @rpc_method
    def close(self):
        print("switching off", flush=True)
        open("off", "w").close()
        super().close()
"""


@pytest.mark.parametrize("block", [True, False], ids=["left by a with block", "stopped at exit"])
def test_instruments_are_closed_although_nobody_reads_what_is_printed(block: bool, home: Path) -> None:
    # As in "python script.py | head", or "ssh host python script.py" when the connection is lost.
    script = LOUD + (
        'with start_stop(qmi, "exit", None):\n    one = qmi.make_instrument("one", Loud)\n    one.open()\n'
        if block
        else "begin(Loud)\nif True:\n"
    )
    script += '    while True: print("ready", flush=True)\n'
    with program(script, home) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        assert process.wait(SOON) != 0
    assert (home / "off").exists()
