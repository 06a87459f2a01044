"""SIGTERM and SIGHUP close instruments as Ctrl-C does; the process ends with the status of the signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.exits import DRIVER, SOON, end_of, program
from tests.support.outside import wait_for_file

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")


def tell_to_end(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal when the program says that it is ready."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)


READY = "print('ready', flush=True)"
PROGRAMS = {
    "sleep": f"begin(); {READY}; time.sleep(1000)",
    "wait for a shutdown": f"begin(); {READY}; qmi.context().wait_until_shutdown()",
    "loop of short calls": f"one = begin(); {READY}\nwhile True: one.count()",
    "loop of calls that the caller runs": f"""
begin()
nsg = qmi.make_instrument("nsg", Inline)
{READY}
while True: nsg.get_sample()
""",
    "method that the caller runs": f"""
begin()
nsg = qmi.make_instrument("nsg", Inline)
{READY}
try:
    nsg.wait(1000.0)
except Exception as error:
    print("swallowed", error)
""",
    "with blocks": f"""
with start_stop(qmi, "exit", None), open_close(qmi.make_instrument("one", Driver)):
    {READY}
    time.sleep(1000)
""",
    "block that locks": f"""
one = begin()
with one.locked():
    {READY}
    time.sleep(1000)
""",
    "errors are swallowed": f"""
begin()
{READY}
try:
    time.sleep(1000)
except Exception:
    pass
""",
    "a context that another thread started": f"""
thread = threading.Thread(target=begin)
thread.start()
thread.join()
qmi.get_instrument("one").count()
{READY}
time.sleep(1000)
""",
    "trio": f"""
import trio
async def main():
    async with qmi.open_context("exit", None) as context:
        one = await context.make_instrument("one", Driver)
        await one.open()
        {READY}
        await trio.sleep_forever()
trio.run(main)
print("went on")
""",
    "trio in another thread": f"""
import trio
async def main():
    async with qmi.open_context("exit", None) as context:
        one = await context.make_instrument("one", Driver)
        await one.open()
        {READY}
        await trio.sleep_forever()
from qmi.runtime.sigint import INTERRUPTS
INTERRUPTS.install()
thread = threading.Thread(target=lambda: trio.run(main))
thread.start()
threading.Event().wait()
""",
    "trio beside a blocking context": f"""
import trio
begin()
async def main():
    {READY}
    await trio.sleep_forever()
trio.run(main)
""",
}


USUAL = ("sleep", "loop of short calls", "method that the caller runs", "trio", "trio in another thread")
"""Each starts a program of its own; the others are tried with the slow tests."""


@pytest.mark.parametrize(
    ("number", "script"),
    [
        *(
            pytest.param(signal.SIGTERM, script, id=f"SIGTERM, {what}", marks=() if what in USUAL else pytest.mark.slow)
            for what, script in PROGRAMS.items()
        ),
        pytest.param(signal.SIGHUP, PROGRAMS["sleep"], id="SIGHUP, sleep", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, PROGRAMS["trio"], id="SIGHUP, trio"),
    ],
)
def test_fault_52_program_that_is_told_to_end_closes_its_instruments(number: int, script: str, home: Path) -> None:
    with program(script, home) as process:
        tell_to_end(process, number)
        code, output, messages = end_of(process)
    assert code in (128 + number, -number), messages
    assert output.replace("released nsg\n", "") == "closed\nreleased one\n"
    assert "Traceback" not in messages or "trio.run" in script


def test_finally_clauses_run_before_the_instruments_are_closed(home: Path) -> None:
    script = f"""
one = begin()
try:
    {READY}
    time.sleep(1000)
finally:
    print("count", one.count())
"""
    with program(script, home) as process:
        tell_to_end(process, signal.SIGTERM)
        assert end_of(process)[:2] == (143, "count 1\nclosed\nreleased one\n")


@pytest.mark.parametrize("again", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.parametrize("where", ["at the exit", "at the end of a block", "in a finally clause"])
def test_another_signal_does_not_break_the_orderly_end_off(home: Path, again: str, where: str) -> None:
    begin = "begin(Slow)"
    body = {
        "at the exit": f"{begin}\n{READY}\ntime.sleep(1000)",
        "at the end of a block": f"{begin}\nwith qmi.context():\n    {READY}\n    time.sleep(1000)",
        "in a finally clause": f"{begin}\ntry:\n    {READY}\n    time.sleep(1000)\nfinally:\n    qmi.stop()",
    }[where]
    script = f"""
from qmi.runtime.sigint import InterruptHandler
handled = threading.Event()
original = InterruptHandler._check_users
def check_users(self, number):
    original(self, number)
    handled.set()

class Slow(Driver):
    @rpc_method
    def close(self):
        InterruptHandler._check_users = check_users
        signal.pthread_kill(threading.main_thread().ident, signal.{again})
        assert handled.wait(10)
        super().close()

{body}
"""
    with program(script, home) as process:
        tell_to_end(process, signal.SIGTERM)
        code, output, messages = end_of(process)
    assert output == "closed\nreleased one\n", messages
    assert code == 143 if again != "SIGINT" or where == "at the exit" else code in (143, -signal.SIGINT, 130)


def test_block_of_a_trio_program_may_clean_up_when_it_is_told_to_end(home: Path) -> None:
    script = f"""
import trio
async def main():
    async with qmi.open_context("exit", None) as context:
        one = await context.make_instrument("one", Driver)
        await one.open()
        try:
            {READY}
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                print("count", await one.count())
trio.run(main)
"""
    with program(script, home) as process:
        tell_to_end(process, signal.SIGTERM)
        assert end_of(process)[:2] == (143, "count 1\nclosed\nreleased one\n")


@pytest.mark.parametrize("what", ["sleep", "with blocks", "trio"])
def test_log_says_which_signal_ended_the_program(what: str, home: Path) -> None:
    script = PROGRAMS[what].replace('"exit", None', '"exit", "qmi.conf"')
    (home / "qmi.conf").write_text(f'{{"qmi_home": "{home}", "contexts": {{"exit": {{"stop_grace": 0.5}}}}}}')
    definitions = DRIVER.replace('"exit", None', '"exit", "qmi.conf"')
    with program(definitions + script, home) as process:
        tell_to_end(process, signal.SIGTERM)
        assert end_of(process)[0] == 143
    lines = [line for line in (home / "qmi.log").read_text().splitlines() if "SIGTERM" in line]
    assert len(lines) == 1
    assert lines[0].endswith("| Context exit is stopped, since the program got SIGTERM")


def test_handler_of_the_program_is_left_alone(home: Path) -> None:
    script = f"""
signal.signal(signal.SIGTERM, lambda *_: (print("mine", flush=True), sys.exit(7)))
begin()
{READY}
time.sleep(1000)
"""
    with program(script, home) as process:
        tell_to_end(process, signal.SIGTERM)
        assert end_of(process)[:2] == (7, "mine\nclosed\nreleased one\n")


def test_signal_that_is_ignored_stays_ignored(home: Path) -> None:
    script = f"""
signal.signal(signal.SIGHUP, signal.SIG_IGN)
begin()
assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
{READY}
signal.raise_signal(signal.SIGHUP)
qmi.stop()
"""
    with program(script, home) as process:
        assert end_of(process)[:2] == (0, "ready\nclosed\nreleased one\n")


def test_handlers_go_with_the_last_context(home: Path) -> None:
    script = f"""
qmi.start("exit", None)
qmi.stop()
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
{READY}
time.sleep(1000)
"""
    with program(script, home) as process:
        tell_to_end(process, signal.SIGTERM)
        assert end_of(process)[0] == -signal.SIGTERM


def test_forked_child_ends_as_any_other(home: Path) -> None:
    script = """
begin()
read, write = os.pipe()
child = os.fork()
if not child:
    os.write(write, b"x")
    time.sleep(1000)
os.read(read, 1)
os.kill(child, signal.SIGTERM)
print("child", os.waitpid(child, 0)[1], flush=True)
qmi.stop()
"""
    with program(script, home) as process:
        code, output, _ = end_of(process)
    assert (code, output) == (0, f"child {int(signal.SIGTERM)}\nclosed\nreleased one\n")


def test_program_that_does_not_end_is_ended_when_its_time_is_over(home: Path) -> None:
    script = f"""
import qmi.runtime.sigint
qmi.runtime.sigint.PATIENCE = 0.2
begin()
{READY}
while True:
    try:
        time.sleep(1000)
    except BaseException:  # as a prompt does
        pass
"""
    with program(script, home) as process:
        tell_to_end(process, signal.SIGTERM)
        code, output, messages = end_of(process)
    assert (code, output) == (143, "closed\nreleased one\n")
    assert "is stopped, since the program got SIGTERM" in messages


TAKE_THE_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"


def test_fault_52_terminal_that_is_closed_closes_the_instruments(home: Path) -> None:
    # What an SSH session that breaks off does to the program in it.
    (home / "script.py").write_text(TAKE_THE_TERMINAL + DRIVER + f"begin(); {READY}; time.sleep(1000)")
    leader, follower = os.openpty()
    with open(home / "output", "w") as output, subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=home, stdin=follower, stdout=output, stderr=output, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            os.close(follower)
            wait_for_file(lambda: "ready" in (home / "output").read_text(), home, SOON)
            os.close(leader)
            assert process.wait(SOON) == 128 + signal.SIGHUP
        finally:
            process.kill()
    assert "closed\nreleased one\n" in (home / "output").read_text()
