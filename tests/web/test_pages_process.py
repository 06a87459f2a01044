"""The program that serves pages beside another one: started, watched, started again, ended."""

from __future__ import annotations

import io
import json
import logging
import os
import queue
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from qmi.actors.context_status import PagesStatus
from qmi.proc.process import identify, wait_gone
from qmi.runtime import forks
from qmi.web import pages_process, pages_program
from qmi.web.pages_process import PagesProcess

ADDRESS = "http://127.0.0.1:1/"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="its stand-in kills itself as on Linux")


class Beside(PagesProcess):
    """One whose reports are kept."""

    def __init__(self, context: str) -> None:
        self.shown: queue.SimpleQueue[PagesStatus] = queue.SimpleQueue()
        super().__init__(context, "lab.conf", self.shown.put)

    def next(self) -> PagesStatus:
        return self.shown.get(timeout=30)


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its program starts in no time, and is started again at once."""
    monkeypatch.setattr(pages_process, "PROGRAM", "tests.support.pages_stub")
    monkeypatch.setattr(pages_process, "RESTARTS", replace(pages_process.RESTARTS, first_delay=0.0))


@pytest.mark.parametrize("context", ["serves", pytest.param("prints", marks=pytest.mark.slow)])
def test_pages_are_served_until_the_block_ends(context: str) -> None:
    with Beside(context) as beside:
        assert beside.next() == PagesStatus()
        served = beside.next()
        assert (served.address, served.why) == (ADDRESS, "")
        identity = identify(served.pid)
    assert identity is not None
    assert identify(served.pid) != identity
    assert beside.shown.empty()


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ("dies", r"process \d+ was killed by SIGKILL"),
        pytest.param("exits", r"process \d+ ended with exit status 3", marks=pytest.mark.slow),
        pytest.param("fails", "the address is taken", marks=pytest.mark.slow),
    ],
)
def test_pages_that_end_are_started_again(context: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "qmi.web")
    with Beside(context) as beside:
        found = [beside.next() for _ in range(5 if context == "dies" else 3)]
    reports = [each for each in found if each.why]
    assert len(reports) == 2
    assert [each.address for each in found if each.address] == [ADDRESS] * (2 if context == "dies" else 0)
    logged = [record for record in caplog.records if "not served" in record.getMessage()]
    assert re.search(f"context {context} are not served: {why}; tried again in", logged[0].getMessage())
    assert logged[0].levelno == logging.WARNING
    # The same reason again is no news; another process is.
    assert logged[1].levelno == (logging.INFO if context == "fails" else logging.WARNING)


def test_pages_that_are_frozen_are_killed_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pages_process, "SILENCE", 0.02)
    with Beside("freezes") as beside:
        found = [beside.next() for _ in range(5)]
    assert [bool(each.address) for each in found] == [False, True, False, True, False]
    for served, killed in zip(found[1::2], found[2::2], strict=True):
        assert killed.why == f"process {served.pid} has said nothing for 0.02 s, and was killed"
        assert identify(served.pid) is None
    assert "tried again in" in caplog.text


class _Scripted(threading.Event):
    """Is set within its time, or not, as a test says."""

    def __init__(self, heard: list[bool]) -> None:
        super().__init__()
        self.waited: list[float | None] = []
        self._script = iter(heard)

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return next(self._script)


class _Victim:
    """Stands for a process."""

    pid = 17
    killed = 0

    def kill(self) -> None:
        self.killed += 1


def test_pages_are_killed_when_nothing_is_heard_twice_in_turn() -> None:
    # After this program itself was frozen, its time is over at first, whatever the other one has said.
    heard, victim = _Scripted([True, False, True, False, False, True]), _Victim()
    watch = pages_process._Watch(victim, heard, iter([120.0, *[30.0] * 9]).__next__)  # type: ignore[arg-type]
    watch._run()
    assert victim.killed == 1
    assert heard.waited == [60.0, 15.0, 15.0, 15.0, 15.0]
    assert watch.why == "process 17 has said nothing for 30 s, and was killed"


def test_pages_that_cannot_be_started_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Beside("serves") as beside:
        assert [beside.next().why for _ in range(3)] == [
            "", *["no process can be started: No such file or directory"] * 2
        ]  # fmt: skip


def test_block_ends_at_once_while_a_start_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_process, "RESTARTS", replace(pages_process.RESTARTS, first_delay=1e6, longest_delay=1e6))
    with Beside("fails") as beside:
        assert [beside.next().why for _ in range(2)] == ["", "the address is taken"]


def test_block_that_ends_at_once_leaves_nothing() -> None:
    with Beside("serves") as beside:
        pass
    assert beside.next() == PagesStatus()
    # The end of the block, which comes at once, may still be later than the program's first word.
    served = [] if beside.shown.empty() else [beside.next()]
    assert beside.shown.empty()
    assert [(each.address, each.why, identify(each.pid)) for each in served] == [(ADDRESS, "", None)] * len(served)


@pytest.mark.slow
def test_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(pages_process, "PATIENCE", 0.05)
    with Beside("stays") as beside:
        beside.next()
        served = beside.next()
    assert identify(served.pid) is None
    assert "does not end, and is killed" in caplog.text


@pytest.mark.slow
def test_process_is_not_handed_what_belongs_to_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMI_LOCK_PASSES", "lab.psu=pass:" + "0" * 32)
    monkeypatch.setenv("QMI_PROC_START", "x")
    with Beside("environment") as beside:
        beside.next()
        served = beside.next()
    assert json.loads(served.address) == {"QMI_LOCK_PASSES": "", "QMI_PROC_START": ""}
    assert served.token_file == "lab.conf"


@pytest.mark.slow
def test_forked_child_does_not_keep_the_process_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[forks.Inherited] = []
    monkeypatch.setattr(pages_process, "abandon_in_child", kept.append)
    with Beside("serves") as beside:
        beside.next()
        served = beside.next()
        identity = identify(served.pid)
        assert identity is not None
        kept[0].abandon()  # as in a child; here it is the last one that has the pipe
        assert wait_gone(identity, 30)


@pytest.mark.slow
def test_process_ends_with_its_program_whatever_ends_that(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from qmi.web import pages_process\n"
        "pages_process.PROGRAM = 'tests.support.pages_stub'\n"
        "def show(pages):\n"
        "    if pages.pid:\n"
        "        print(pages.pid, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "with pages_process.PagesProcess('serves', 'lab.conf', show):\n"
        "    signal.pause()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == -9, ended.stderr
    identity = identify(int(ended.stdout))
    assert identity is None or wait_gone(identity, 30)


# The program itself


def program(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, list[dict[str, object]]]:
    """Run it in this process, with a standard input that is over when the pages are served."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    code = pages_program.main(arguments)
    return code, [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ("lab", r"contexts\.lab has no section web in .*qmi\.conf"),
        ("nobody", r"contexts\.nobody has no section web"),
        ("users", r"There is no file of users .*/users: 'qmi web user add NAME --users .*/users' makes it"),
        ("keys", r"HTTPS is not possible with the certificate .*/a\.pem and the key .*/a\.key: .*No such file"),
        ("host", r"The pages cannot be served at 192\.0\.2\.1:0: "),
    ],
)
def test_program_tells_why_it_cannot_serve(
    tmp_path: Path, context: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"certificate": "a.pem", "key": "a.key"}
    sections: dict[str, dict[str, object]] = {
        "lab": {},
        "users": {"web": {"bind": "127.0.0.1:0", "users": "users"}},
        "keys": {"web": {"bind": "127.0.0.1:0", **keys}},
        "host": {"web": {"bind": "192.0.2.1:0", **keys}},
    }
    if context == "host":
        monkeypatch.setattr("qmi.web.server.tls_of", lambda options: None)
    path = tmp_path / "qmi.conf"
    path.write_text(json.dumps({"qmi_home": str(tmp_path), "contexts": sections}))
    code, told = program(monkeypatch, context, "--config", str(path))
    assert code == 1
    assert [list(each) for each in told if each] == [["why"]]
    assert re.match(why, str(told[-1]["why"]))


def test_program_tells_the_address_and_ends_with_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "qmi.conf"
    web = {"bind": "127.0.0.1:0"}
    path.write_text(
        json.dumps({"qmi_home": str(tmp_path), "logging": {"logfile": None}, "contexts": {"lab": {"web": web}}})
    )
    # Its input is a pipe that nobody has open when it has told the address.
    reading, writing = os.pipe()
    tell = pages_program._tell

    def tell_and_close(told: dict[str, object]) -> None:
        tell(told)
        if told:
            os.close(writing)

    monkeypatch.setattr(pages_program, "_tell", tell_and_close)
    monkeypatch.setattr(pages_program, "_read", lambda: os.read(reading, 1))
    code, told = program(monkeypatch, "lab", "--config", str(path))
    os.close(reading)
    assert code == 0
    (found,) = [each for each in told if each]
    assert told.count({}) >= 1, "it says that it goes on"
    assert str(found["address"]).startswith("http://127.0.0.1:")
    assert found["token_file"] == str(tmp_path / "lab_web.token")
    assert (found["pid"], (tmp_path / "lab_web.token").stat().st_mode & 0o777) == (os.getpid(), 0o600)
