"""A start that is killed in its midst starts nothing twice, and a stop needs no home that can be written to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qmi.config.schema import CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.names import HostPort
from qmi.proc.control_protocol import Present, StopRefusedError
from qmi.proc.controller import Controller
from qmi.proc.launch import AlreadyRunningError, Launcher, Offline, Running
from qmi.proc.pidfiles import MARK, Record, Records
from qmi.proc.process import find_marked, identify
from qmi.proc.status import State
from tests.support.proc import QUICK, ROOT, ScriptedLink, TextLink, config_in, quiet, talker, target

KILLED = """
import os, signal, sys
from pathlib import Path
from qmi.proc.launch import Launcher
from qmi.proc.pidfiles import Records
from tests.support.proc import QUICK, TextLink, config_in, quiet, talker, target

moment, kind, port, home = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
write, done = Records.write, []

def killed(self, name, record):
    if moment == "before" and record.pid or moment == "first" and not record.pid:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, name, record)
    if moment == "after" and record.pid:
        os.kill(os.getpid(), signal.SIGKILL)

Records.write = killed
config = config_in(home, a=quiet())
Launcher(config, TextLink(), times=QUICK).start(target(config, "a"))
"""


def killed_start(moment: str, home: Path) -> CfgQmi:
    run = subprocess.run(
        [sys.executable, "-c", KILLED, moment, "quiet", "0", str(home)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=40,
    )
    assert run.returncode == -signal.SIGKILL
    return config_in(home, a=quiet())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_fault_50_start_that_is_killed_before_or_after_its_record_starts_nothing_twice(home: Path, moment: str) -> None:
    config = killed_start(moment, home)
    one, at = Launcher(config, TextLink(), times=QUICK), target(config, "a")
    with pytest.raises(AlreadyRunningError) as caught:
        one.start(at)
    found = one.look(at)
    assert isinstance(found, Running)
    assert found.pid == caught.value.pid
    record = Records.of(config).read("a")
    assert record is not None
    assert record.pid == found.pid  # from now on it is known by its number
    assert one.stop(at) is not None
    assert identify(found.pid) is None
    assert one.look(at) == Offline()


def test_start_that_is_killed_before_anything_runs_leaves_nothing_in_the_way(home: Path) -> None:
    config = killed_start("first", home)
    one, at = Launcher(config, TextLink(), times=QUICK), target(config, "a")
    assert one.look(at) == Offline()
    running = one.start(at)
    assert one.stop(at) is not None
    assert identify(running.pid) is None


def test_start_that_never_came_to_run_its_program_says_so(home: Path) -> None:
    config = config_in(home, a=quiet())
    Records.of(config).write("a", Record(0, "", "m", "", mark="0" * 32))
    found = Launcher(config, TextLink(), times=QUICK).look(target(config, "a"))
    assert isinstance(found, Offline)
    assert "broken off" in found.reason


@pytest.mark.parametrize("mark", ["", "nobody has this one"])
def test_process_is_found_by_its_mark_alone(mark: str) -> None:
    assert find_marked(MARK, mark) is None


def refuse_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("qmi.proc.pidfiles.make_private_dirs", refuse)


def test_stop_without_a_home_asks_over_the_link(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_in(home, a=talker("a"))
    one, at = Launcher(config, TextLink(), times=QUICK), target(config, "a")
    running = one.start(at)
    with monkeypatch.context() as patch:
        refuse_home(patch)
        assert one.stop(at) == ""
    assert identify(running.pid) is None


@pytest.mark.parametrize("act", ["start", "stop"])
def test_command_that_needs_a_home_says_that_it_cannot_be_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    config = config_in(home, a=quiet())
    refuse_home(monkeypatch)
    with pytest.raises(QMI_RuntimeException, match=r"\.lock, which guards start and stop: Permission denied"):
        getattr(Launcher(config, TextLink(), times=QUICK), act)(target(config, "a"))


class RefusingLink(TextLink):
    """As a context that does not let others stop it."""

    def request_stop(self, name: str, address: HostPort, *, hard: bool, timeout: float) -> bool:
        raise StopRefusedError("it does not let others stop it (allow_remote_shutdown)")


def test_stop_that_is_refused_falls_back_to_ctrl_c_and_says_so(home: Path) -> None:
    config = config_in(home, a=talker("a"))
    one, at = Launcher(config, RefusingLink(), times=QUICK), target(config, "a")
    running = one.start(at)
    assert one.stop(at) == "ended by SIGINT, since it does not let others stop it (allow_remote_shutdown)"
    assert identify(running.pid) is None


def test_stop_that_is_refused_elsewhere_says_so(home: Path) -> None:
    config = config_in(home, a=talker("a"))

    class Elsewhere(RefusingLink, ScriptedLink):
        ask = ScriptedLink.ask

    one = Launcher(config, Elsewhere(Present(os.getpid(), "1")), times=QUICK)
    status = Controller(one, None, RefusingLink(), lambda status: None, times=QUICK).stop(target(config, "a"))
    assert status.state is State.FAILED
    assert "does not let others stop it" in status.detail
    assert "not signalled" in status.detail
