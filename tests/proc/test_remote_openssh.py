from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import psutil
import pytest

from qmi.config.schema import CfgContext
from qmi.proc.control_protocol import Absent
from qmi.proc.controller import Controller
from qmi.proc.helper_protocol import Err, Ok, Start, StatusQuery, Stop, parse_already_running
from qmi.proc.launch import Launcher
from qmi.proc.output import follow
from qmi.proc.pidfiles import Records
from qmi.proc.process import identify
from qmi.proc.selection import Target
from qmi.proc.ssh.client import RemoteHosts
from qmi.proc.ssh.errors import ErrorSource, RemoteError
from qmi.proc.status import State
from tests.support.outside import wait_for_end, wait_for_file
from tests.support.ports import free_port
from tests.support.proc import QUICK, ScriptedLink, config_in, dying, quiet, talker
from tests.support.ssh import (
    LIMITS,
    SSHD,
    Keys,
    far_config,
    helper_command,
    make_keys,
    openssh,
    process_host,
    sessions,
)

pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is not installed (Debian: openssh-server)")


@pytest.fixture
def keys(home: Path) -> Keys:
    return make_keys(home)


@pytest.fixture
def server(keys: Keys, tmp_path: Path) -> Iterator[psutil.Popen]:
    with openssh(keys, tmp_path) as running:
        yield running


def lab(keys: Keys, config: Path, *, before: str = "") -> RemoteHosts:
    host = process_host(keys, helper_command(keys.home, config, before=before))
    return RemoteHosts({"lab": host}, limits=LIMITS)


def far_record(home: Path, name: str) -> bool:
    record = Records(home / ".qmi_proc").read(name)
    return record is not None and identify(record.pid) == record.identity


def test_programs_are_started_and_stopped_on_another_host(home: Path, keys: Keys, server: object) -> None:
    config = far_config(home, q=quiet(), far=talker("far"), bad=dying())
    # The login prints something, with no end of line, and something that looks like an answer.
    with lab(keys, config, before="echo OK 1; printf 'Welcome to the lab> '; ") as remote:
        for name in ("q", "far"):
            started = remote.request("lab", Start(name))
            assert isinstance(started, Ok)
            assert identify(started.value) is not None
            again = remote.request("lab", Start(name))
            assert isinstance(again, Err)
            running = parse_already_running(again.message)
            assert running is not None
            assert running[0] == started.value
            assert remote.request("lab", StatusQuery(name)) == started
            assert remote.request("lab", Stop(name, started.value)) == Ok(1)
            assert remote.request("lab", Stop(name)) == Ok(0)
        assert remote.request("lab", StatusQuery("far")) == Ok(0)
        failed = remote.request("lab", Start("bad"))
        assert isinstance(failed, Err)
        assert "exit status 3" in failed.message
        unknown = remote.request("lab", Start("fra"))
        assert unknown == Err(f"Context 'fra' is not configured in {config}. Did you mean 'far'?")


def test_status_of_a_program_on_another_host_says_why_it_failed(home: Path, keys: Keys, server: object) -> None:
    config = far_config(home, bad=dying())
    far = CfgContext(host="lab", tcp_server_port=free_port(), program_module="quiet")
    with lab(keys, config) as remote:
        assert isinstance(remote.request("lab", Start("bad")), Err)
        link = ScriptedLink(Absent())
        one = Controller(Launcher(config_in(home), link), remote, link, lambda status: None, times=QUICK)
        status = one.status(Target("bad", far, local=False))
    assert (status.state, status.exit_code) == (State.OFFLINE, 1)
    assert "failed: ended with exit status 3 at start" in status.detail
    assert str(home / "out" / "bad_") in status.detail


def test_output_is_read_from_another_host(home: Path, keys: Keys, server: object) -> None:
    config = far_config(home, q=quiet(), never=quiet())
    long = bytes(range(256)) * 20

    def end() -> bool:
        [output] = (home / "out").glob("q_*.out")
        output.write_bytes(output.read_bytes() + long)
        assert remote.request("lab", Stop("q")) == Ok(1)
        return False

    with lab(keys, config) as remote:
        assert isinstance(remote.request("lab", Start("q")), Ok)
        [output] = (home / "out").glob("q_*.out")
        wait_for_file(lambda: b"ready" in output.read_bytes(), home)
        read = b"".join(follow(lambda place: remote.read_output("lab", "q", place), end))
        assert read == output.read_bytes()
        assert read.endswith(long + b"quiet ends\n")
        with pytest.raises(RemoteError, match=r"lab: There is no output of 'never' in .*: it was never started there"):
            remote.read_output("lab", "never", None)


def test_fault_31_a_key_that_is_not_authorized_is_told(home: Path, keys: Keys, server: object) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    (home / ".ssh" / "id_ed25519").unlink()
    stranger.write_private_key(str(home / ".ssh" / "id_ed25519"))
    stranger.write_public_key(str(home / ".ssh" / "id_ed25519.pub"))
    with lab(keys, far_config(home)) as remote, pytest.raises(RemoteError, match="refused every key") as caught:
        remote.request("lab", Start("q"))
    assert caught.value.culprit is ErrorSource.KEY
    assert "ssh-copy-id" in str(caught.value)


def test_fault_31_the_host_key_of_a_real_server_is_checked(home: Path, keys: Keys, server: object) -> None:
    keys.trust(asyncssh.generate_private_key("ssh-ed25519"))
    with lab(keys, far_config(home)) as remote, pytest.raises(RemoteError, match="has changed") as caught:
        remote.request("lab", Start("q"))
    assert caught.value.culprit is ErrorSource.KEY
    keys.known_hosts.unlink()
    with lab(keys, far_config(home)) as remote, pytest.raises(RemoteError, match="is not known"):
        remote.request("lab", Start("q"))


def test_a_command_that_is_not_there_is_told(home: Path, keys: Keys, server: object) -> None:
    hosts = {"lab": process_host(keys, "/no/such/qmi_proc server")}
    with RemoteHosts(hosts, limits=LIMITS) as remote, pytest.raises(RemoteError) as caught:
        remote.request("lab", Start("q"))
    assert caught.value.culprit is ErrorSource.COMMAND
    assert "ended with exit status 127 before it was ready" in str(caught.value)
    assert "/no/such/qmi_proc" in str(caught.value)


@pytest.mark.slow
def test_fault_32_a_connection_lost_while_the_helper_works(home: Path, keys: Keys, server: psutil.Popen) -> None:
    config = far_config(home, slow=talker("slow", "after=0.5"))
    outcome: list[object] = []

    def start() -> None:
        try:
            outcome.append(remote.request("lab", Start("slow")))
        except RemoteError as exc:
            outcome.append(exc)

    with lab(keys, config) as remote:
        thread = threading.Thread(target=start)
        thread.start()
        wait_for_file(lambda: far_record(home, "slow"), home)
        running_helpers = helpers(server)
        assert running_helpers
        for session in sessions(server):
            session.kill()
        thread.join(20)
        [error] = outcome
        assert isinstance(error, RemoteError)
        assert error.culprit is ErrorSource.LOST
        assert "lost, state unknown" in str(error)
        # Asked again, over a new connection: the program lives on.
        again = remote.request("lab", Start("slow"))
        assert isinstance(again, Err)
        running = parse_already_running(again.message)
        assert running is not None
        assert identify(running[0]) is not None
        # The helper of the lost connection has ended by itself.
        wait_for_end(*[helper.pid for helper in running_helpers])
        assert remote.request("lab", Stop("slow")) == Ok(1)


@pytest.mark.slow
def test_fault_33_twenty_programs_on_one_host(home: Path, keys: Keys, server: psutil.Popen) -> None:
    names = [f"q{number}" for number in range(20)]
    config = far_config(home, **{name: CfgContext(program_module="quiet", enabled=True) for name in names})
    most = 0
    with lab(keys, config) as remote, ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(remote.request, "lab", Start(name)) for name in names]
        while not all(future.done() for future in futures):
            most = max(most, len(helpers(server)))
        replies = [future.result() for future in futures]
        pids = [reply.value for reply in replies if isinstance(reply, Ok)]
        assert len(set(pids)) == 20, replies
        connections = [child for child in psutil.Process(server.pid).children() if child.is_running()]
        assert len(connections) == 1
        assert 1 < most <= 8
        assert all(identify(pid) is not None for pid in pids)
    # The helpers ended with their input, and left the programs running.
    wait_for_end(*[helper.pid for helper in helpers(server)])
    for pid in pids:
        assert identify(pid) is not None
        os.kill(pid, 9)


def helpers(server: psutil.Popen) -> list[psutil.Process]:
    """What runs in the sessions of the server; not what was started from there, nor is about to be."""
    found = []
    # Only the processes of whole connections: one that sshd has just forked for a helper may be that helper by now.
    for session in psutil.Process(server.pid).children():
        with contextlib.suppress(psutil.Error):
            found += [child for child in session.children() if not child.name().startswith("sshd")]
    return found
