from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from qmi.config.schema import CfgContext, CfgQmi
from qmi.errors import QMI_ConfigurationException, QMI_RuntimeException
from qmi.proc import launch
from qmi.proc.child import Child, restore_ctrl_c
from qmi.proc.control_protocol import Absent, Present, Stranger
from qmi.proc.launch import (
    AlreadyRunningError,
    Launcher,
    Offline,
    PortInUseError,
    Running,
    Times,
    Unresponsive,
)
from qmi.proc.output import last_lines
from qmi.proc.pidfiles import Record, Records
from qmi.proc.process import identify
from tests.support.outside import wait_for_end, wait_for_file
from tests.support.ports import free_port
from tests.support.proc import QUICK, ScriptedLink, TextLink, config_in, dying, quiet, talker, target
from tests.support.waiting import wait_until

IMPATIENT = Times(ask=0.5, start=0.3, settle=0.3, soft=0.3, terminate=0.3, kill=5.0)


def launcher(config: CfgQmi, times: Times = QUICK) -> Launcher:
    return Launcher(config, TextLink(), times=times)


def output_of(config: CfgQmi, name: str) -> str:
    return latest_output(config, name).read_text()


def latest_output(config: CfgQmi, name: str) -> Path:
    return max(Path(config.process_management.output_dir or "").glob(f"{name}_*.out"))


def test_a_program_with_a_port_starts_is_found_and_stops(home: Path) -> None:
    config = config_in(home, a=talker("a", "after=0.2"))
    config.config_file = str(home / "qmi.conf")
    one = launcher(config)
    at = target(config, "a")
    assert one.look(at) == Offline()
    started = one.start(at)
    assert started.version == "9.9"
    found = one.look(at)
    assert isinstance(found, Running)
    assert (found.pid, found.version) == (started.pid, "9.9")
    assert found.seconds is not None
    with pytest.raises(AlreadyRunningError, match=f"{started.pid}"):
        one.start(at)
    assert one.stop(at) == ""
    assert identify(started.pid) is None
    assert one.stop(at) is None
    assert one.look(at) == Offline()
    assert output_of(config, "a").endswith(f"a listens, configured by {home}/qmi.conf\nstopping as asked\n")


def test_a_program_without_a_port_is_known_by_its_process(home: Path) -> None:
    config = config_in(home, q=quiet())
    at = target(config, "q")
    started = launcher(config).start(at)
    found = launcher(config).look(at)
    assert isinstance(found, Running)
    assert found.pid == started.pid
    assert found.seconds is not None
    with pytest.raises(AlreadyRunningError):
        launcher(config).start(at)
    wait_for_file(lambda: "ready" in output_of(config, "q"), home)
    assert launcher(config).stop(at) == ""
    assert launcher(config).look(at) == Offline()
    assert output_of(config, "q").endswith("quiet is ready\nquiet ends\n")


def test_launch_twice_at_once_starts_one_program(home: Path) -> None:
    config = config_in(home, q=quiet())
    outcomes: list[object] = []

    def start() -> None:
        try:
            outcomes.append(launcher(config).start(target(config, "q")).pid)
        except AlreadyRunningError as exc:
            outcomes.append(("already", exc.pid))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    [pid] = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert outcomes.count(("already", pid)) == 2
    launcher(config).stop(target(config, "q"))


def test_a_program_has_a_session_of_its_own_and_no_descriptors_of_ours(home: Path) -> None:
    facts = home / "facts"
    config = config_in(home, q=quiet(f"facts={facts}"))
    with open(os.devnull) as ours:
        os.set_inheritable(ours.fileno(), True)
        started = launcher(config).start(target(config, "q"))
        wait_for_file(facts.exists, home)
    lines = facts.read_text().splitlines()
    assert lines[:2] == [str(started.pid), str(started.pid)]
    # Input, output, errors; one is the file with the facts, and one the listing of the directory itself.
    assert [line for line in lines if line.isdigit()][2:] == ["0", "1", "2", "3", "4"]
    assert "PYTHONUNBUFFERED=1" in lines
    launcher(config).stop(target(config, "q"))


def test_a_program_outlives_its_starter_and_the_hangup_of_its_terminal(home: Path) -> None:
    import pexpect

    (home / "qmi.conf").write_text(json.dumps(_as_file(home, q=quiet())))
    starter = pexpect.spawn(
        sys.executable, ["-m", "tests.support.proc_helper", "start", "q"], encoding="utf-8", timeout=30
    )
    starter.expect("STARTED")
    starter.close(force=True)
    record = Records(home / ".qmi_proc").read("q")
    assert record is not None
    assert identify(record.pid) == record.identity
    os.kill(record.pid, signal.SIGKILL)


def test_a_program_that_ends_leaves_no_zombie_behind_its_starter(home: Path) -> None:
    config = config_in(home, q=quiet())
    started = launcher(config).start(target(config, "q"))
    wait_for_file(lambda: "ready" in output_of(config, "q"), home)
    os.kill(started.pid, signal.SIGKILL)
    wait_for_end(started.pid)
    wait_until(lambda: not psutil.pid_exists(started.pid))
    found = launcher(config).look(target(config, "q"))
    assert isinstance(found, Offline)
    assert f"process {started.pid} ended without being stopped. Its output is in {home}/out/q_" in found.reason
    assert found.reason.endswith(".out:\nquiet begins \nquiet is ready")


def test_fault_23_a_port_in_use_is_told_with_its_holder(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = config_in(home, a=talker("a", port=other.getsockname()[1]))
        absent = Launcher(config, ScriptedLink(Absent()), times=QUICK)
        with pytest.raises(PortInUseError, match=rf"port {other.getsockname()[1]} is in use by .*PID={os.getpid()}\)"):
            absent.start(target(config, "a"))
        with pytest.raises(
            PortInUseError, match=r"; stop what has it, or choose another contexts\.a\.tcp_server_port$"
        ):
            absent.start(target(config, "a"))
        stranger = Launcher(config, ScriptedLink(Stranger("a web server")), times=QUICK)
        with pytest.raises(PortInUseError, match="a web server"):
            stranger.start(target(config, "a"))
        assert stranger.look(target(config, "a")) == Unresponsive(
            None, f"127.0.0.1:{other.getsockname()[1]} is not this context: a web server"
        )
    launcher(config).start(target(config, "a"))
    launcher(config).stop(target(config, "a"))


def test_a_port_whose_holder_is_not_known_is_told_all_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "port_holder", lambda address: "")
    config = config_in(home, a=talker("a"))
    with pytest.raises(PortInUseError, match=r"is in use: .*a web server"):
        Launcher(config, ScriptedLink(Stranger("a web server"))).start(target(config, "a"))


def test_a_host_that_cannot_be_looked_up_is_left_to_the_program(home: Path) -> None:
    context = quiet("die")
    context.host, context.tcp_server_port = "no-such-host.invalid", 1
    config = config_in(home, a=context)
    with pytest.raises(QMI_RuntimeException, match="exit status 3"):
        Launcher(config, ScriptedLink(Absent()), times=QUICK).start(target(config, "a"))


def test_fault_26_an_output_directory_that_cannot_be_written_refuses_the_start(home: Path) -> None:
    config = config_in(home, q=quiet())
    config.process_management.output_dir = str(home / "missing")
    with pytest.raises(QMI_RuntimeException, match=r"Cannot write the output file .*/missing/q_"):
        launcher(config).start(target(config, "q"))
    assert launcher(config).look(target(config, "q")) == Offline()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_fault_26_a_full_disk_refuses_the_start(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_in(home, q=quiet())
    monkeypatch.setattr("qmi.proc.output.open_private", lambda path, flags: os.open("/dev/full", os.O_WRONLY))
    one = Launcher(config, TextLink(), times=QUICK, now=lambda: datetime(2024, 1, 1))
    with pytest.raises(QMI_RuntimeException, match=r"out/q_20240101_000000\.out: No space left on device"):
        one.start(target(config, "q"))
    assert one.look(target(config, "q")) == Offline()


def test_fault_26_a_disk_that_fills_up_refuses_the_next_start_only(home: Path) -> None:
    config = config_in(home, q=quiet(), other=quiet())
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(home / "out")]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs to mount a small tmpfs: only root can")
    try:
        one = launcher(config)
        started = one.start(target(config, "q"))
        full = pytest.raises(OSError, match="No space")
        with full, (home / "out" / "filling").open("wb", buffering=0) as file:
            deque(iter(lambda: file.write(bytes(512)), 0), maxlen=0)
        with pytest.raises(QMI_RuntimeException, match=r"Cannot write .*/out/other_\d+_\d+\.out: No space"):
            one.start(target(config, "other"))
        running = one.look(target(config, "q"))
        assert isinstance(running, Running)
        assert running.pid == started.pid
        assert one.stop(target(config, "q")) == ""
    finally:
        subprocess.run(["umount", "--lazy", str(home / "out")], check=True)


def test_fault_26_program_that_cannot_be_recorded_is_not_started(home: Path) -> None:
    config = config_in(home, q=quiet())
    (home / ".qmi_proc").mkdir()
    (home / ".qmi_proc" / "q.json").mkdir()
    with pytest.raises(QMI_RuntimeException, match=r"Cannot write .*q\.json"):
        launcher(config).start(target(config, "q"))
    assert "quiet" not in last_lines(latest_output(config, "q"))


def test_fault_26_a_program_that_can_no_longer_be_remembered_is_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_in(home, q=quiet())
    write = Records.write
    pids: list[int] = []

    def fill_up(records: Records, name: str, record: Record) -> None:
        if record.pid:
            pids.append(record.pid)
            raise QMI_RuntimeException("full")
        write(records, name, record)

    monkeypatch.setattr(Records, "write", fill_up)
    with pytest.raises(QMI_RuntimeException, match="full"):
        launcher(config).start(target(config, "q"))
    wait_for_end(pids[0])


def test_fault_28_a_stale_process_number_is_ignored_and_its_new_owner_never_signalled(home: Path) -> None:
    config = config_in(home, q=quiet(), a=talker("a"))
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"]) as foreign:
        for name in ("q", "a"):
            Records.of(config).write(name, Record(foreign.pid, "boot:1", "quiet", "/x.out"))
            found = launcher(config).look(target(config, name))
            assert isinstance(found, Offline)
            assert launcher(config).stop(target(config, name)) is None
            assert launcher(config).look(target(config, name)) == Offline()
        started = launcher(config).start(target(config, "q"))
        assert launcher(config).stop(target(config, "q"), foreign.pid) is None
        assert launcher(config).stop(target(config, "q"), started.pid) == ""
        assert foreign.poll() is None
        foreign.kill()


def test_fault_28_a_process_that_a_peer_only_claims_to_be_is_not_signalled(home: Path) -> None:
    config = config_in(home, a=talker("a"))
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"]) as foreign:
        link = ScriptedLink(Present(foreign.pid, "1"))
        with pytest.raises(QMI_RuntimeException, match=rf"process {foreign.pid} is not known to be it.*not signalled"):
            Launcher(config, link, times=IMPATIENT).stop(target(config, "a"))
        assert link.stops == [False, True]
        assert foreign.poll() is None
        foreign.kill()


def test_a_context_of_another_container_is_stopped_over_its_link(home: Path) -> None:
    config = config_in(home, a=talker("a"))
    link = ScriptedLink(Present(2**31 - 1, "1"), Absent())
    assert Launcher(config, link, times=IMPATIENT).stop(target(config, "a")) == ""
    link = ScriptedLink(Present(2**31 - 1, "1"), Absent(), obeys=False)
    with pytest.raises(QMI_RuntimeException, match="is not known to be it"):
        Launcher(config, link, times=IMPATIENT).stop(target(config, "a"))
    link = ScriptedLink(*[Present(2**31 - 1, "1")] * 4, Absent())
    times = Times(soft=0.0, terminate=5.0)
    assert "hard stop" in str(Launcher(config, link, times=times).stop(target(config, "a")))
    assert link.stops == [False, True]


def test_a_program_that_was_started_by_hand_is_stopped_too(home: Path) -> None:
    config = config_in(home, a=talker("a", "deaf"))
    context = config.contexts["a"]
    arguments = [sys.executable, "-m", "talker", *context.program_args]
    environment = {**os.environ, "PYTHONPATH": context.python_path or ""}
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as by_hand:
        assert by_hand.stdout is not None
        assert by_hand.stdout.readline().startswith("a listens")
        assert isinstance(launcher(config).look(target(config, "a")), Running)
        assert launcher(config, IMPATIENT).stop(target(config, "a")) == (
            "ended by SIGTERM, since it did not stop when asked"
        )
        assert by_hand.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("die", ["ended with exit status 3 at start", "quiet begins die\nsomething is wrong"]),
        ("killed", ["was killed by SIGKILL at start", "quiet begins killed"]),
    ],
)
def test_fault_29_a_program_that_dies_at_start_is_told_with_its_last_words(
    home: Path, what: str, parts: list[str]
) -> None:
    config = config_in(home, q=quiet(what))
    with pytest.raises(QMI_RuntimeException) as caught:
        launcher(config, Times(settle=10)).start(target(config, "q"))
    for part in [*parts, f"Its output is in {home}/out/q_"]:
        assert part in str(caught.value)
    found = launcher(config).look(target(config, "q"))
    assert isinstance(found, Offline)
    assert f" failed: {parts[0]}. Its output is in {home}/out/q_" in found.reason
    assert launcher(config).stop(target(config, "q")) is None
    assert launcher(config).look(target(config, "q")) == Offline()


@pytest.mark.parametrize("module", ["monitor_of_nobody", "monitor_of_nobody.main"])
def test_program_whose_module_is_not_found_is_reported_with_the_directory(home: Path, module: str) -> None:
    context = dying()
    context.program_module = module
    config = config_in(home, q=context)
    with pytest.raises(QMI_RuntimeException, match="No module named") as caught:
        launcher(config, Times(start=1000)).start(target(config, "q"))
    assert str(caught.value).endswith(f"run in {os.getcwd()}; contexts.q.python_path says where its modules are")


def test_fault_29_a_program_with_a_port_that_dies_at_start_is_told_at_once(home: Path) -> None:
    config = config_in(home, q=dying())
    with pytest.raises(QMI_RuntimeException, match="exit status 3"):
        launcher(config, Times(start=1000)).start(target(config, "q"))


def test_fault_29_a_program_that_never_answers_is_told_and_can_be_stopped(home: Path) -> None:
    context = quiet()
    context.host, context.tcp_server_port = "127.0.0.1", free_port()
    config = config_in(home, q=context)
    with pytest.raises(QMI_RuntimeException, match=r"did not answer at 127.* within 0\.3 s: nothing listens there"):
        launcher(config, IMPATIENT).start(target(config, "q"))
    found = launcher(config).look(target(config, "q"))
    assert isinstance(found, Unresponsive)
    assert found.pid is not None
    with pytest.raises(QMI_RuntimeException, match=f"process {found.pid} of this program is in the way"):
        launcher(config).start(target(config, "q"))
    assert launcher(config).stop(target(config, "q")) == "ended by SIGTERM, since it did not stop when asked"


@pytest.mark.parametrize(
    ("answer", "found"),
    [(Present(1, "1"), "process 1 answers at .* instead"), (Stranger("a teapot"), "a teapot")],
)
def test_an_answer_of_another_process_does_not_count(home: Path, answer: Present | Stranger, found: str) -> None:
    config = config_in(home, a=talker("a"))
    one = Launcher(config, ScriptedLink(Absent(), answer), times=IMPATIENT)
    with pytest.raises(QMI_RuntimeException, match=found):
        one.start(target(config, "a"))
    launcher(config).stop(target(config, "a"))


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("stubborn", "ended by SIGTERM, since it did not stop when asked"),
        (
            "hopeless",
            "ended by SIGKILL, since it did not stop when asked, nor by SIGTERM; its instruments were not closed",
        ),
    ],
)
def test_fault_29_a_program_that_ignores_stop_is_ended_by_force(home: Path, what: str, how: str) -> None:
    config = config_in(home, q=quiet(what))
    started = launcher(config).start(target(config, "q"))
    wait_for_file(lambda: "ready" in output_of(config, "q"), home)
    assert launcher(config, IMPATIENT).stop(target(config, "q")) == how
    assert identify(started.pid) is None


def test_a_process_that_survives_everything_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_in(home, q=quiet())
    started = launcher(config).start(target(config, "q"))
    with monkeypatch.context() as patch:
        patch.setattr(launch, "send_signal", lambda identity, number: True)
        with pytest.raises(QMI_RuntimeException, match=rf"process {started.pid} is still there .* after SIGKILL"):
            launcher(config, Times(soft=0, terminate=0, kill=0)).stop(target(config, "q"))

        def denied(identity: object, number: object) -> bool:
            raise PermissionError("no")

        patch.setattr(launch, "send_signal", denied)
        with pytest.raises(QMI_RuntimeException, match="may not be signalled: no"):
            launcher(config, Times(soft=0)).stop(target(config, "q"))
    assert launcher(config).stop(target(config, "q")) == ""


def test_a_python_that_cannot_run_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_in(home, q=quiet())
    monkeypatch.setattr(sys, "executable", str(home / "no-python"))
    with pytest.raises(QMI_RuntimeException, match=r"cannot run .*no-python -m quiet .*: No such file"):
        launcher(config).start(target(config, "q"))
    assert launcher(config).look(target(config, "q")) == Offline()


def test_program_that_goes_on_is_handed_no_lock(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_in(home, a=quiet())
    seen: list[dict[str, str]] = []

    def start(arguments: object, *, env: dict[str, str], **settings: object) -> None:
        seen.append(env)
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setenv("QMI_LOCK_PASSES", "lab.psu=pass:1234")
    monkeypatch.setattr("subprocess.Popen", start)
    with pytest.raises(QMI_RuntimeException, match="cannot run"):
        launcher(config).start(target(config, "a"))
    assert [env["HOME"] for env in seen] == [str(home)]
    assert "QMI_LOCK_PASSES" not in seen[0]


def test_a_virtual_environment_that_is_missing_is_told_before_anything_happens(home: Path) -> None:
    config = config_in(home, q=CfgContext(program_module="quiet", virtualenv_path=str(home / "none")))
    with pytest.raises(QMI_ConfigurationException, match="virtualenv_path"):
        launcher(config).start(target(config, "q"))
    assert list((home / "out").iterdir()) == []


def test_a_program_killed_by_an_unnamed_signal_has_its_number_told(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 40)"]) as process:
        ended = Child(process, tmp_path)
        assert ended.ended_within(20)
        assert ended.how_it_ended() == "was killed by signal 40"


def _as_file(home: Path, **contexts: CfgContext) -> dict[str, object]:
    from qmi.records import asdict

    settings = {name: asdict(context) for name, context in contexts.items()}
    (home / "out").mkdir(exist_ok=True)
    return {
        "contexts": {name: {k: v for k, v in values.items() if v is not None} for name, values in settings.items()},
        "process_management": {"output_dir": str(home / "out")},
    }


def test_programs_of_a_background_job_hear_ctrl_c(home: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        restore_ctrl_c()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        config = config_in(home, q=quiet())
        launcher(config).start(target(config, "q"))
        wait_for_file(lambda: "ready" in output_of(config, "q"), home)
        assert launcher(config).stop(target(config, "q")) == ""
    finally:
        signal.signal(signal.SIGINT, before)
    restore_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is before
