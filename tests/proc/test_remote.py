from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from qmi.config.schema import CfgProcessHost
from qmi.names import HostPort
from qmi.proc.helper_protocol import MARKER, Err, Ok, Reply, Start, StatusQuery, Stop, parse_command
from qmi.proc.ssh import client as remote_module
from qmi.proc.ssh import helper as ssh_helper
from qmi.proc.ssh.client import RemoteHosts, SshLimits, ssh_endpoint
from qmi.proc.ssh.errors import ErrorSource, RemoteError
from tests.support.proc import ROOT
from tests.support.ssh import Keys, inner_server, make_keys

QUICK = SshLimits(login=10.0, ready=10.0, answer=10.0, keepalive=3.0)
Process = Any


@pytest.fixture
def keys(home: Path) -> Keys:
    return make_keys(home)


def hosts(keys: Keys, limits: SshLimits = QUICK, *, command: str = "the-server", **settings: str) -> RemoteHosts:
    where = settings.pop("ssh_host", f"127.0.0.1:{keys.port}")
    return RemoteHosts({"lab": CfgProcessHost(command, where, **settings)}, limits=limits)


def failure(remote: RemoteHosts) -> RemoteError:
    with remote, pytest.raises(RemoteError) as caught:
        remote.request("lab", Start("a"))
    assert str(caught.value).isprintable()
    return caught.value


async def answer(process: Process) -> None:
    """A helper that has started everything already."""
    process.stdout.write(f"\n{MARKER}\n".encode())
    async for line in process.stdin:
        command = parse_command(line)
        process.stdout.write(b"OK 7\n" if isinstance(command, Start) else b"ERR it is hopeless\n")
    process.exit(0)


def says(*chunks: bytes, status: int | None = None, errors: bytes = b"") -> Callable[[Process], Any]:
    async def behave(process: Process) -> None:
        for chunk in chunks:
            process.stdout.write(chunk)
        process.stderr.write(errors)
        if status is not None:
            process.exit(status)
        else:
            await process.stdin.read()

    return behave


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("lab", HostPort("lab", 0)),
        ("lab:2222", HostPort("lab", 2222)),
        ("[::1]:22", HostPort("::1", 22)),
        ("[::1]", HostPort("::1", 0)),
        ("fe80::1", HostPort("fe80::1", 0)),
    ],
)
def test_ssh_host_may_name_a_port(text: str, endpoint: HostPort) -> None:
    assert ssh_endpoint(text) == endpoint


def test_helper_without_a_command_does_nothing() -> None:
    with RemoteHosts({}) as remote:
        assert remote._loop is None


def test_commands_are_answered_by_one_helper_on_one_connection(keys: Keys) -> None:
    sessions: list[tuple[object, str]] = []

    async def behave(process: Process) -> None:
        sessions.append((process.get_extra_info("peername"), process.command))
        await answer(process)

    with inner_server(keys, behave), hosts(keys, ssh_user="me") as remote:
        assert remote.request("lab", Start("a")) == Ok(7)
        assert remote.request("lab", Stop("a", 7)) == Err("it is hopeless")
        assert remote.request("lab", Start("b")) == Ok(7)
    assert [command for _, command in sessions] == ["the-server"]


def test_ssh_is_configured_as_the_user_has_it(keys: Keys) -> None:
    users: list[str] = []

    async def behave(process: Process) -> None:
        users.append(process.get_extra_info("username"))
        await answer(process)

    (keys.home / ".ssh" / "config").write_text(f"Host lab\n  Hostname 127.0.0.1\n  Port {keys.port}\n  User somebody\n")
    with inner_server(keys, behave), RemoteHosts({}, limits=QUICK) as remote:
        assert remote.request("lab", Start("a")) == Ok(7)
    assert users == ["somebody"]


def test_a_banner_and_what_the_login_prints_are_skipped(keys: Keys) -> None:
    async def behave(process: Process) -> None:
        process.stdout.write(b"Welcome!\r\nOK 5\nERR no\n" + b"x" * 20000 + b"\nlast login: never> ")
        await answer(process)

    with inner_server(keys, behave, banner="*** Authorized users only ***\r\nOK 3\n"), hosts(keys) as remote:
        assert remote.request("lab", Start("a")) == Ok(7)


def test_fault_30_a_closed_port_is_told(keys: Keys) -> None:
    error = failure(hosts(keys))
    assert error.culprit is ErrorSource.HOST
    assert str(error).startswith(f"host: lab (127.0.0.1:{keys.port}) refused the connection")


def test_fault_30_a_silent_port_is_told_in_time(keys: Keys) -> None:
    with socket.create_server(("127.0.0.1", keys.port)):
        error = failure(hosts(keys, SshLimits(login=0.3)))
    assert error.culprit is ErrorSource.HOST
    assert "did not answer within 0.3 s" in str(error)


def test_fault_30_an_unknown_host_is_told(keys: Keys) -> None:
    error = failure(hosts(keys, ssh_host="no-such-host.invalid"))
    assert error.culprit is ErrorSource.HOST
    assert str(error).startswith("host: the name of lab (no-such-host.invalid) is not known")


def test_fault_30_a_host_that_is_down_is_told(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise OSError(113, "No route to host")

    monkeypatch.setattr(asyncssh, "connect", fail)
    assert "cannot be reached: No route to host" in str(failure(hosts(keys)))


UNREACHABLE = """
import sys, time
from qmi.config.schema import CfgProcessHost
from qmi.proc.helper_protocol import StatusQuery
from qmi.proc.ssh.client import RemoteHosts, SshLimits
from qmi.proc.ssh.errors import RemoteError
with RemoteHosts({"lab": CfgProcessHost("x", sys.argv[1])}, limits=SshLimits()) as remote:
    try:
        remote.request("lab", StatusQuery("a"))
    except RemoteError as exc:
        print(exc.culprit.name, exc)
"""
# Nobody answers at the far end of this cable; the kernel gives up soon.
CABLE = """
ip link set lo up && ip link add here type veth peer name there && ip address add 10.9.8.1/24 dev here
ip link set here up && ip link set there up
echo 1 >/proc/sys/net/ipv4/neigh/here/mcast_solicit; echo 200 >/proc/sys/net/ipv4/neigh/here/retrans_time_ms
exec "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.9.8.2", "HOST host: lab (10.9.8.2) cannot be reached: No route to host"),
        ("192.0.2.1", "HOST host: lab (192.0.2.1) cannot be reached: Network is unreachable"),
    ],
)
def test_fault_30_a_host_behind_a_dead_cable_is_told(address: str, reason: str) -> None:
    apart = ["unshare", "--net", "sh", "-c", CABLE, "sh"]
    if (
        not all(map(shutil.which, ("unshare", "ip")))
        or subprocess.run([*apart, "true"], capture_output=True).returncode
    ):
        pytest.skip("needs a network namespace with a veth pair: root, unshare and ip")
    command = [*apart, sys.executable, "-c", UNREACHABLE, address]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT)
    assert (told.stdout.strip(), told.stderr) == (reason, "")


def test_fault_30_a_host_that_comes_back_is_asked_again(keys: Keys) -> None:
    remote = hosts(keys)
    with pytest.raises(RemoteError, match="refused the connection"):
        remote.request("lab", Start("a"))
    with inner_server(keys, answer), remote:
        with pytest.raises(RemoteError, match="refused the connection"):
            remote.request("lab", Start("a"))
        # For ten seconds, a host that refused counts as one that refuses.
        remote._connections["lab"]._refused_until -= 10.0
        assert remote.request("lab", Start("a")) == Ok(7)


def test_fault_30_server_that_does_not_speak_ssh_is_reported(keys: Keys) -> None:
    import threading

    def talk(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(100)
            peer.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", keys.port)) as server:
        thread = threading.Thread(target=talk, args=(server,))
        thread.start()
        error = failure(hosts(keys))
        thread.join(10)
    assert error.culprit is ErrorSource.HOST
    assert "ended the login" in str(error)


def test_fault_30_a_host_that_refuses_is_asked_once_for_all_its_contexts(keys: Keys) -> None:
    with hosts(keys) as remote:
        errors = []
        for _ in range(3):
            with pytest.raises(RemoteError) as caught:
                remote.request("lab", Start("a"))
            errors.append(caught.value)
    assert errors[1] is errors[0]
    assert errors[2] is errors[0]


def test_fault_31_an_unknown_host_key_is_refused_and_shown(keys: Keys) -> None:
    keys.known_hosts.unlink()
    with inner_server(keys, answer):
        error = failure(hosts(keys))
    assert error.culprit is ErrorSource.KEY
    assert "is not known (ssh-ed25519 SHA256:" in str(error)
    assert keys.host_key.get_fingerprint() in str(error)
    assert not keys.known_hosts.exists()


def test_fault_31_a_changed_host_key_is_refused_and_shown(keys: Keys) -> None:
    keys.trust(asyncssh.generate_private_key("ssh-ed25519"))
    with inner_server(keys, answer):
        error = failure(hosts(keys))
    assert error.culprit is ErrorSource.KEY
    assert "has changed (ssh-ed25519 SHA256:" in str(error)
    assert "ssh-keygen -R" in str(error)


@pytest.mark.parametrize(
    "setting", ["UserKnownHostsFile none", "StrictHostKeyChecking no", "UserKnownHostsFile /dev/null"]
)
def test_fault_31_unknown_host_key_is_refused_whatever_the_settings(keys: Keys, setting: str) -> None:
    keys.known_hosts.write_text("")
    (keys.home / ".ssh" / "config").write_text(setting + "\n")
    with inner_server(keys, answer):
        error = failure(hosts(keys))
    assert error.culprit is ErrorSource.KEY
    assert "is not known" in str(error)


def test_fault_31_a_damaged_known_hosts_file_trusts_nobody(keys: Keys) -> None:
    keys.known_hosts.write_text("|1|broken\n")
    with inner_server(keys, answer):
        error = failure(hosts(keys))
    assert error.culprit in (ErrorSource.KEY, ErrorSource.HOST)


def test_settings_of_ssh_that_make_no_sense_are_told(keys: Keys) -> None:
    (keys.home / ".ssh" / "config").write_text("Port many\n")
    error = failure(hosts(keys, ssh_host="127.0.0.1"))
    assert error.culprit is ErrorSource.HOST
    assert "SSH settings for lab (127.0.0.1) are not usable" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behave", "culprit", "part"),
    [
        (
            says(status=127, errors=b"sh: the-server: not found\n"),
            ErrorSource.COMMAND,
            "exit status 127 before it was ready: sh",
        ),
        (says(b"Hello\n", status=0), ErrorSource.COMMAND, "ended with exit status 0 before it was ready"),
        (says(b"Hello\n"), ErrorSource.COMMAND, "did not get ready within 1 s"),
        (says(b"x" * 100 + b"\n" + b"y\n" * 10_000), ErrorSource.COMMAND, "prints without end"),
        (says(MARKER.encode() + b"\nWarning: x\n"), ErrorSource.COMMAND, "answered 'Warning: x'; expected 'OK number'"),
        (
            says(MARKER.encode() + b"\n", status=1, errors=b"boom\n"),
            ErrorSource.LOST,
            "exit status 1 without an answer: state unknown: boom",
        ),
        (says(MARKER.encode() + b"\n\n"), ErrorSource.LOST, "did not answer within 0.5 s: state unknown"),
    ],
)
def test_a_helper_that_does_not_work_is_told(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, behave: Callable[[Process], Any], culprit: ErrorSource, part: str
) -> None:
    monkeypatch.setattr(ssh_helper, "_MAX_BANNER", 10_000)
    limits = SshLimits(login=10.0, ready=1.0, answer=0.5)
    with inner_server(keys, behave):
        error = failure(hosts(keys, limits))
    assert part in str(error)
    assert error.culprit is culprit
    assert "the-server" in str(error)


def test_a_helper_that_is_too_old_for_a_command_is_told(keys: Keys) -> None:
    old = b"ERR unknown command 'LOOK': expected 'START name' or 'STOP name [pid]'\n"
    begun = 0

    async def behave(process: Process) -> None:
        nonlocal begun
        begun += 1
        process.stdout.write(f"\n{MARKER}\n".encode())
        line = await process.stdin.readline()
        process.stdout.write(old if line.startswith(b"LOOK") else b"OK 1\n")
        process.exit(0)

    with inner_server(keys, behave), hosts(keys) as remote:
        with pytest.raises(RemoteError, match="'the-server' on lab is too old to know LOOK: update") as caught:
            remote.request("lab", StatusQuery("a"))
        assert caught.value.culprit is ErrorSource.COMMAND
        # That helper has ended; the next command gets another one.
        assert remote.request("lab", Stop("a")) == Ok(1)
    assert begun == 2


def test_output_that_cannot_be_read_is_told(keys: Keys) -> None:
    with inner_server(keys, answer), hosts(keys) as remote, pytest.raises(RemoteError, match="lab: it is hopeless"):
        remote.read_output("lab", "a", None)
    garbled = says(MARKER.encode() + b"\nOK 5 20240101_000000 5 x\n")
    wrong = pytest.raises(RemoteError, match="lab: the helper sent output that cannot be decoded")
    with inner_server(keys, garbled), hosts(keys) as remote, wrong:
        remote.read_output("lab", "a", None)


def test_a_helper_that_was_killed_is_told(keys: Keys) -> None:
    async def behave(process: Process) -> None:
        process.exit_with_signal("KILL")

    with inner_server(keys, behave):
        assert "was killed by signal KILL" in str(failure(hosts(keys)))


def test_a_helper_that_only_closes_its_output_is_told(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(process: Process) -> None:
        process.stdout.write_eof()
        await process.stdin.read()

    monkeypatch.setattr(ssh_helper, "_TIME_TO_TELL", 0.2)
    with inner_server(keys, behave):
        assert "closed its output before it was ready" in str(failure(hosts(keys)))


def test_a_helper_that_is_cut_off_is_told(keys: Keys) -> None:
    async def behave(process: Process) -> None:
        process.channel.abort()

    with inner_server(keys, behave):
        assert "was cut off before it was ready" in str(failure(hosts(keys)))


def test_a_mistake_of_ours_is_no_fault_of_the_network(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(asyncssh, "connect", fail)
    with hosts(keys) as remote, pytest.raises(RuntimeError, match="oops"):
        remote.request("lab", Start("a"))


def test_a_server_that_does_not_say_goodbye_is_left(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forever(connection: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(remote_module, "_GOODBYE", 0.05)
    with inner_server(keys, answer):
        with hosts(keys) as remote:
            assert remote.request("lab", Start("a")) == Ok(7)
            monkeypatch.setattr(asyncssh.SSHClientConnection, "wait_closed", forever)
        monkeypatch.undo()


def test_an_interrupted_command_is_told(keys: Keys) -> None:
    import threading

    asked = threading.Event()

    async def behave(process: Process) -> None:
        process.stdout.write(f"{MARKER}\n".encode())
        await process.stdin.readline()
        asked.set()
        await process.stdin.read()

    outcome: list[str] = []

    def request() -> None:
        for _ in range(2):
            try:
                remote.request("lab", Start("a"))
            except RemoteError as exc:
                outcome.append(str(exc))

    with inner_server(keys, behave):
        with hosts(keys) as remote:
            thread = threading.Thread(target=request)
            thread.start()
            assert asked.wait(20)
        thread.join(20)
    assert outcome == [
        "host: interrupted before lab answered, state unknown",
        "host: not asked, since qmi_proc is ending",
    ]


def test_a_session_that_is_refused_is_told(keys: Keys) -> None:
    async def behave(process: Process) -> None:
        raise AssertionError("not reached")

    with inner_server(keys, None):  # type: ignore[arg-type]
        error = failure(hosts(keys))
    assert error.culprit is ErrorSource.COMMAND
    assert "lab does not run 'the-server'" in str(error)


def test_fault_32_a_lost_connection_is_told_and_made_again(keys: Keys) -> None:
    first = True

    async def behave(process: Process) -> None:
        nonlocal first
        if first:
            first = False
            process.stdout.write(f"{MARKER}\n".encode())
            await process.stdin.readline()
            process.channel.get_connection().abort()
        else:
            await answer(process)

    with inner_server(keys, behave), hosts(keys) as remote:
        with pytest.raises(RemoteError, match=r"connection to lab .* lost, state unknown") as caught:
            remote.request("lab", Start("a"))
        assert caught.value.culprit is ErrorSource.LOST
        assert remote.request("lab", Start("a")) == Ok(7)


def test_fault_32_a_connection_that_is_lost_before_the_helper_is_ready(keys: Keys) -> None:
    async def behave(process: Process) -> None:
        process.channel.get_connection().abort()

    with inner_server(keys, behave):
        assert failure(hosts(keys)).culprit is ErrorSource.LOST


def test_fault_33_helpers_at_a_time_are_limited(keys: Keys) -> None:
    now = 0
    most = 0
    peers = set()

    async def behave(process: Process) -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        peers.add(process.channel.get_connection().get_extra_info("peername"))
        process.stdout.write(f"{MARKER}\n".encode())
        async for _ in process.stdin:
            await asyncio.sleep(0.01)
            process.stdout.write(b"OK 7\n")
        now -= 1

    with inner_server(keys, behave), hosts(keys, SshLimits(channels=3)) as remote:
        assert _all_at_once(20, lambda: remote.request("lab", Start("a"))) == [Ok(7)] * 20
    assert most == 3
    assert len(peers) == 1


def _all_at_once(count: int, request: Callable[[], Reply]) -> list[Reply]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(count) as pool:
        return [future.result(30) for future in [pool.submit(request) for _ in range(count)]]
