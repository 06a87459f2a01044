from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from qmi.config.schema import CfgContext
from qmi.names import HostPort
from qmi.proc import cli
from qmi.proc.cli import Environment, run
from qmi.proc.control_protocol import FoundContext, PeerLink
from qmi.proc.helper_protocol import MARKER, Cursor, Err, Ok, Reply
from qmi.proc.launch import Times
from qmi.proc.manager import Manager
from qmi.proc.ssh.client import RemoteHosts
from tests.support.ports import free_port
from tests.support.proc import HELPER, QUICK, ROOT, FixedDiscovery, TextLink, dying, quiet, talker
from tests.support.ssh import far_config


def outside(
    *found: FoundContext,
    link: PeerLink | None = None,
    pause: Callable[[float], bool] = lambda seconds: False,
    times: Times = QUICK,
) -> Environment:
    return Environment(
        lambda config: link or TextLink(), lambda config: FixedDiscovery(*found), times=times, pause=pause
    )


def qmi_proc(*arguments: str, **changes: Any) -> int:
    return run(outside(**changes), list(arguments))


def configure(home: Path, **contexts: CfgContext) -> Path:
    return far_config(home, **contexts).rename(home / "qmi.conf")


def test_the_day_of_a_program(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(home, demo=talker("demo"))

    def says(*arguments: str, code: int = 0) -> str:
        assert qmi_proc(*arguments) == code
        out, err = capsys.readouterr()
        assert err == ""
        assert isinstance(out, str)
        return out

    assert says("status") == "demo: OFFLINE\n"
    assert says("start", "demo").startswith("demo: STARTED (PID=")
    assert says("status").startswith("demo: RUNNING (PID=")
    assert says("start", "--all").startswith("demo: already running (PID=")
    stopped, started = says("restart", "--locals").splitlines()
    assert stopped == "demo: STOPPED"
    assert started.startswith("demo: STARTED")
    [row] = json.loads(says("--json", "status", "demo"))
    assert (row["name"], row["host"], row["state"], row["version"]) == ("demo", "127.0.0.1", "RUNNING", "9.9")
    assert row["seconds"] > 0
    assert says("logs", "demo").endswith(f"demo listens, configured by {home}/qmi.conf\n")
    assert says("stop", "demo", "--config", str(home / "qmi.conf")) == "demo: STOPPED\n"
    assert says("stop", "demo") == "demo: OFFLINE\n"


def test_a_failure_has_exit_code_1_and_the_reason(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(home, bad=dying(), good=quiet())
    assert qmi_proc("start", "--all") == 1
    out = capsys.readouterr().out
    assert "bad: FAILED: ended with exit status 3 at start" in out
    assert "    something is wrong" in out
    assert "good: STARTED" in out
    assert qmi_proc("stop", "--all") == 0


def test_fault_23_a_port_in_use_has_exit_code_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        configure(home, a=talker("a", port=port))
        from qmi.proc.control_protocol import Absent
        from tests.support.proc import ScriptedLink

        assert qmi_proc("start", "a", link=ScriptedLink(Absent())) == 2
        out = capsys.readouterr().out
        assert f"a: FAILED: port {port} is in use by " in out
        assert f"(PID={os.getpid()})" in out
        assert out.count("\n") == 1
    assert qmi_proc("start", "a") == 0
    assert qmi_proc("stop", "a") == 0


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"contexts": {"a": {"tcp_server_port": "x"}}}', "contexts.a.tcp_server_port"),
        ('{"contexts": {"a": {"tcp_server_prot": 1}}}', "tcp_server_port"),
        ("{", "qmi.conf"),
    ],
)
def test_fault_27_a_bad_configuration_has_exit_code_2_and_starts_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], text: str, part: str
) -> None:
    (home / "qmi.conf").write_text(text)
    assert qmi_proc("start", "--all") == 2
    assert part in capsys.readouterr().err
    assert [path.name for path in home.iterdir()] == ["qmi.conf"]


def test_fault_27_a_configuration_file_that_is_missing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert qmi_proc("--config", "none.conf", "status") == 2
    assert "none.conf does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("raise ExceptionGroup('several', [ValueError('boom')])", "ExceptionGroup: several (1 sub-exception)"),
        ("import sys; sys.exit('no laser')", "ended with exit status 1 at start"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL at start"),
    ],
)
@pytest.mark.parametrize("port", [False, True])
def test_the_status_of_a_program_that_failed_at_its_start_says_why(
    home: Path, program: str, reason: str, port: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "broken_program.py").write_text(program)
    context = {"enabled": True, "program_module": "broken_program", "python_path": "~"}
    settings = {"contexts": {"demo": {**context, **({"tcp_server_port": free_port()} if port else {})}}}
    (home / "qmi.conf").write_text(json.dumps({**settings, "process_management": {"output_dir": "${qmi_home}"}}))
    # A program without a port has started if it lives so long; it ends sooner, however slow the machine is.
    assert qmi_proc("start", "demo", times=replace(QUICK, settle=30.0, start=30.0)) == 1
    capsys.readouterr()
    for _ in range(2):
        assert qmi_proc("status") == 1
        out = capsys.readouterr().out
        assert re.match(rf"demo: OFFLINE: process \d+ failed: {re.escape(reason)}\. Its output is in {home}/demo_", out)
    assert qmi_proc("stop", "demo") == 0
    assert qmi_proc("status") == 0


@pytest.mark.parametrize(
    "arguments", ["status", "start --all", "stop demo", "restart --locals", "logs demo", "systemd"]
)
def test_command_without_a_configuration_file_says_where_it_looked(
    home: Path, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qmi_proc(*arguments.split()) == 2
    err = capsys.readouterr().err
    assert f"Looked for: $QMI_CONFIG (not set), {home}/qmi.conf (not there). Name one with --config" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["start"], 2, "Say which contexts are meant"),
        (["start", "demi"], 2, "Did you mean 'demo'?"),
        (["start", "demo", "--all"], 2, "either names or --all"),
        (["start", "--locals"], 0, "No context is meant"),
        (["logs", "far"], 1, "host: the name of lab-pc.invalid is not known"),
        (["logs", "demo"], 2, "There is no output of 'demo' in"),
        (["ps"], 0, "No context of workgroup 'default' answered within 2 s"),
        (["systemd", "far"], 0, "far belongs on lab-pc.invalid: no unit for it here"),
    ],
)
def test_command_that_cannot_be_done_is_reported_on_stderr(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    path = configure(home, demo=quiet(), far=CfgContext(host="lab-pc.invalid", program_module="m"), off=CfgContext())
    if arguments == ["start", "--locals"]:
        path.write_text("{}")
    assert qmi_proc(*arguments) == code
    out, err = capsys.readouterr()
    assert (out, err[:10]) == ("", "qmi_proc: ")
    assert message in err


def test_a_program_that_is_not_up_to_it_has_exit_code_1(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(home, demo=quiet())
    (home / "file").touch()
    assert qmi_proc("systemd", "--output", str(home / "file")) == 1
    assert "Cannot write the unit" in capsys.readouterr().err


def test_a_circle_is_warned_about_but_no_obstacle(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configure(home, a=quiet(), b=quiet())
    settings = json.loads(path.read_text())
    settings["contexts"]["a"]["connect_to_peers"] = ["b"]
    settings["contexts"]["b"]["connect_to_peers"] = ["a"]
    path.write_text(json.dumps(settings))
    assert qmi_proc("stop", "--all") == 0
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == ["a: OFFLINE", "b: OFFLINE"]
    assert "a, b connect to each other in a circle" in err


def test_contexts_of_other_hosts_are_started_there(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, far=CfgContext(host="lab-pc.invalid", program_module="m"))
    replies: list[Reply] = [Ok(77), Err("no such module")]
    monkeypatch.setattr(RemoteHosts, "request", lambda self, host, command: replies.pop(0))
    assert qmi_proc("start", "far") == 0
    assert qmi_proc("start", "far") == 1
    assert capsys.readouterr().out == "far: STARTED (PID=77)\nfar: FAILED: no such module\n"


def test_watching_goes_on_until_it_is_enough(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(home, demo=talker("demo"))
    steps: list[Callable[[], bool]] = [
        lambda: qmi_proc("start", "demo") == 0,
        lambda: True,
        lambda: qmi_proc("stop", "demo") == 0,
    ]
    assert qmi_proc("status", "--watch", pause=lambda seconds: bool(steps) and steps.pop(0)()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "demo: OFFLINE",
        "demo: STARTED",
        "demo: RUNNING",
        "demo: STOPPED",
        "demo: OFFLINE",
    ]


@pytest.mark.parametrize(("arguments", "code"), [(["status", "--watch"], 0), (["start", "demo"], 1)])
def test_ctrl_c_ends_what_waits(home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int) -> None:
    configure(home, demo=quiet())

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Manager, "status", interrupt)
    monkeypatch.setattr(Manager, "start", interrupt)
    assert qmi_proc(*arguments) == code


def test_logs_follow_a_program(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    configure(home, demo=quiet())
    assert qmi_proc("start", "demo") == 0
    capfdbinary.readouterr()
    collected = b""

    def pause(seconds: float) -> bool:
        nonlocal collected
        collected += capfdbinary.readouterr().out
        if b"ready" in collected and b"demo: STOPPED" not in collected:
            assert qmi_proc("stop", "demo") == 0
        return b"quiet ends" not in collected

    assert qmi_proc("logs", "demo", "-f", pause=pause) == 0
    assert b"quiet begins" in collected
    assert collected.count(b"quiet ends") == 1


def test_logs_of_another_host_come_over_ssh(
    home: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, far=CfgContext(host="lab-pc.invalid", program_module="m"))
    pieces = [b"one ", b"two", b"", b" three", b""]
    places: list[Cursor | None] = []

    def read(hosts: RemoteHosts, host: str, name: str, place: Cursor | None) -> tuple[Cursor, bytes]:
        places.append(place)
        assert (host, name) == ("lab-pc.invalid", "far")
        return Cursor("20240101_000000", len(places)), pieces.pop(0)

    monkeypatch.setattr(RemoteHosts, "read_output", read)
    assert qmi_proc("logs", "far") == 0
    assert capfdbinary.readouterr().out == b"one two three"
    assert places == [None, *(Cursor("20240101_000000", number) for number in range(1, 5))]


FOUND = FoundContext("srv", HostPort("10.0.0.1", 40001), 12, "1.0", (("nsg", "qmi.x.NoisySineGenerator"),))


def test_ps_shows_what_runs_on_the_network(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = FoundContext("a\x1b[2J", HostPort("10.0.0.2", 5))
    assert run(outside(FOUND, bare), ["ps"]) == 0
    assert capsys.readouterr().out == (
        "a [2J at 10.0.0.2:5: could not be asked for its objects\n"
        "srv at 10.0.0.1:40001 (PID=12, QMI=1.0)\n"
        "    nsg: qmi.x.NoisySineGenerator\n"
    )
    assert run(outside(FOUND, bare), ["ps", "--json"]) == 0
    nobody, somebody = json.loads(capsys.readouterr().out)
    assert nobody["objects"] is nobody["pid"] is nobody["version"] is None
    assert somebody == {
        "name": "srv",
        "host": "10.0.0.1",
        "port": 40001,
        "pid": 12,
        "version": "1.0",
        "objects": {"nsg": "qmi.x.NoisySineGenerator"},
    }


def test_units_are_written_where_systemd_looks(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, demo=quiet(), other=quiet())
    unit = home / ".config" / "systemd" / "user" / "qmi-demo.service"
    assert qmi_proc("systemd", "demo") == 0
    out, err = capsys.readouterr()
    assert out == f"{unit}\n"
    assert "systemctl --user enable --now qmi-demo.service" in err
    assert f'Environment="QMI_CONFIG={home}/qmi.conf"' in unit.read_text()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert qmi_proc("systemd") == 0
    assert len(list((home / "xdg" / "systemd" / "user").iterdir())) == 2


def test_the_server_answers_on_a_pipe(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, q=quiet(), far=CfgContext(host="lab-pc.invalid", program_module="quiet", enabled=True))
    out = io.BytesIO()
    typed = io.BytesIO(b"START q\nSTOP q\nSTOP far\nSTART none\nBYE\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(typed))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    assert qmi_proc("server") == 0
    _, marker, started, stopped, far, unknown, bye = out.getvalue().decode().splitlines()
    assert marker == MARKER
    assert started.startswith("OK ")
    # Whoever sends this over SSH has decided that "lab-pc" is this machine.
    assert (stopped, far) == ("OK 1", "OK 0")
    assert unknown.startswith("ERR Context 'none' is not configured")
    assert bye.startswith("ERR unknown command 'BYE'")


def test_a_reader_that_has_enough_is_no_error_message(home: Path) -> None:
    configure(home, demo=quiet())
    (home / "out" / "demo_20240101_000000.out").write_bytes(b"x\n" * 1_000_000)
    with subprocess.Popen(
        [*HELPER, "logs", "demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        reader.stdout.readline()
        reader.stdout.close()
        assert reader.stderr.read() == b""
        assert reader.wait(20) == 1


@pytest.mark.slow
def test_ten_programs_start_side_by_side(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = home / "10"
    place.mkdir()
    # Each of them is up only when all ten have begun.
    configure(home, **{f"p{number}": talker(f"p{number}", f"meet={place}") for number in range(10)})
    assert qmi_proc("start", "--all") == 0
    assert qmi_proc("stop", "--all") == 0
    assert capsys.readouterr().out.count("STOPPED") == 10


def test_a_reader_that_went_away_ends_the_command(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, demo=quiet())
    (home / "out" / "demo_20240101_000000.out").write_bytes(b"x\n")

    class Closed(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError

    with (tmp_path / "file").open("wb") as file:

        class Output:
            buffer = Closed()

            @staticmethod
            def fileno() -> int:
                return file.fileno()

        monkeypatch.setattr(sys, "stdout", Output())
        assert qmi_proc("logs", "demo") == 1
        # What is still to be flushed at exit goes nowhere.
        assert os.readlink(f"/proc/self/fd/{file.fileno()}") == os.devnull


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_list_of_states_ends_with_its_reader(home: Path, options: tuple[str, ...]) -> None:
    configure(home, a=quiet(), b=quiet())
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        ended = subprocess.run([*HELPER, "status", *options], cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, timeout=50)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_output_to_a_terminal_is_a_table(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(home, demo=quiet())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert qmi_proc("status") == 0
    assert "NAME" in capsys.readouterr().out


def test_a_list_of_states_here_needs_neither_a_table_nor_ssh(home: Path) -> None:
    configure(home, a=quiet(), b=talker("b"))
    program = "import sys; from qmi.tools.proc import main; main(); print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program, "status"], capture_output=True, text=True, check=True, timeout=50
    )
    assert run.stdout.startswith("a: OFFLINE\nb: OFFLINE\n")
    unwanted = {"asyncio", "asyncssh", "attr", "cryptography", "json5", "psutil", "qmi.actors", "rich", "ssl", "trio"}
    assert unwanted & set(run.stdout.split()) == set()


def test_a_person_at_the_server_is_kept_from_programs_of_other_hosts(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(home, far=CfgContext(host="lab-pc.invalid", program_module="quiet", enabled=True))
    out = io.BytesIO()
    typed = io.TextIOWrapper(io.BytesIO(b"START far\n"))
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    assert qmi_proc("server") == 0
    assert out.getvalue().endswith(b"ERR 'far' belongs on lab-pc.invalid, not on this machine\n")
    assert "Type 'START name'" in capsys.readouterr().err


def test_the_pause_between_two_looks_goes_on() -> None:
    assert cli._sleep(0.0)
