from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from qmi.names import HostPort
from qmi.proc import process
from qmi.proc.process import (
    ProcessIdentity,
    age,
    identify,
    is_alive,
    is_descendant,
    listens_on,
    port_holder,
    send_signal,
    wait_gone,
)

OWN = os.getpid()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"]) as child:
        yield child
        child.kill()


def known(pid: int) -> ProcessIdentity:
    found = identify(pid)
    assert found is not None
    return found


def test_a_process_is_identified_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = known(OWN)
    # The time of day is no part of it.
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert known(OWN) == first
    assert is_alive(first)
    assert not is_alive(ProcessIdentity(OWN, "another time"))


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1])
def test_process_that_does_not_exist_is_reported(pid: int) -> None:
    assert identify(pid) is None
    assert age(ProcessIdentity(pid or -1, "")) is None


def test_a_process_that_is_dead_but_not_reaped_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    identity = known(sleeper.pid)
    assert send_signal(identity, signal.SIGKILL)
    assert wait_gone(identity, 10)
    assert identify(sleeper.pid) is None
    assert sleeper.returncode is None
    assert age(identity) is None


def test_waiting_for_a_process_ends(sleeper: subprocess.Popen[bytes]) -> None:
    assert not wait_gone(known(sleeper.pid), 0.0)


@pytest.mark.parametrize("with_handles", [True, False])
def test_a_signal_reaches_its_process_and_no_other(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, with_handles: bool
) -> None:
    if not with_handles:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    identity = known(sleeper.pid)
    assert not send_signal(ProcessIdentity(sleeper.pid, "another time"), signal.SIGKILL)
    assert is_alive(identity)
    assert send_signal(identity, signal.SIGTERM)
    assert sleeper.wait(10) == -signal.SIGTERM
    assert not send_signal(identity, signal.SIGTERM)


def test_a_kernel_without_handles_is_done_without(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", fail, raising=False)
    assert send_signal(known(sleeper.pid), signal.SIGTERM)
    assert sleeper.wait(10) == -signal.SIGTERM


def test_a_process_that_ends_between_the_check_and_the_signal_is_just_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(signal, "pidfd_send_signal", gone, raising=False)
    assert not send_signal(known(OWN), signal.SIGTERM)
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr(psutil.Process, "send_signal", _raise(psutil.NoSuchProcess(OWN)))
    assert not send_signal(known(OWN), signal.SIGTERM)


def test_a_process_of_somebody_else_is_a_permission_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr(psutil.Process, "send_signal", _raise(psutil.AccessDenied(OWN)))
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        send_signal(known(OWN), signal.SIGTERM)


def test_start_time_without_proc_is_that_of_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_stat", lambda pid: None)
    assert known(OWN).born == f"{psutil.Process().create_time():.2f}"
    monkeypatch.undo()
    assert process._stat(2**31 - 1) is None


def test_age_without_proc_is_that_of_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    with_proc = age(known(OWN))
    monkeypatch.setattr(process, "_stat", lambda pid: None)
    without = age(known(OWN))
    assert with_proc is not None
    assert without is not None
    assert abs(with_proc - without) < 60.0


def test_the_age_is_counted_in_seconds() -> None:
    seconds = age(known(OWN))
    assert seconds is not None
    assert 0 < seconds < 36000


def test_process_that_listens_on_a_port_is_found() -> None:
    import socket

    own = known(OWN)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listens_on(own, port)
        assert f"(PID={OWN})" in port_holder(HostPort("127.0.0.1", port))
    assert not listens_on(own, port)
    assert port_holder(HostPort("127.0.0.1", port)) == ""
    assert not listens_on(ProcessIdentity(2**31 - 1, ""), port)


def test_children_of_children_are_descendants(sleeper: subprocess.Popen[bytes]) -> None:
    assert is_descendant(sleeper.pid, known(OWN))
    assert is_descendant(OWN, known(OWN))
    assert not is_descendant(OWN, known(sleeper.pid))
    assert not is_descendant(2**31 - 1, known(OWN))
    assert not is_descendant(OWN, ProcessIdentity(OWN, "another time"))


def _raise(exc: Exception) -> Any:
    def fail(*args: object) -> None:
        raise exc

    return fail
