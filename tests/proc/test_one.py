from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from qmi.config.schema import CfgContext, CfgInstrument, CfgWeb
from qmi.errors import (
    QMI_ConnectionException,
    QMI_RuntimeException,
    QMI_UnknownNameException,
    QMI_UnknownRpcException,
)
from qmi.names import HostPort
from qmi.proc.control_protocol import Absent, Answer, Present, Stranger
from qmi.proc.controller import Controller
from qmi.proc.helper_protocol import Err, Ok, Start, StatusQuery, Stop
from qmi.proc.launch import Launcher, Offline, Running, Times
from qmi.proc.ssh.errors import ErrorSource, RemoteError
from qmi.proc.status import State, Status
from tests.support.ports import free_port
from tests.support.proc import QUICK, ScriptedLink, ScriptedRemote, TextLink, config_in, dying, talker, target

LOST = RemoteError(ErrorSource.LOST, "host: connection to lab-pc lost, state unknown")
DOWN = RemoteError(ErrorSource.HOST, "host: lab-pc did not answer within 10 s")
HERE = Present(7, "1.0")
TIMES = Times(soft=0.2)


def remote_one(
    home: Path, link: ScriptedLink, remote: ScriptedRemote, seen: list[Status] | None = None, times: Times = TIMES
) -> Controller:
    launcher = Launcher(config_in(home), link)
    return Controller(launcher, remote, link, (seen if seen is not None else []).append, times=times)


def far(home: Path, *, port: bool = True) -> object:
    config = config_in(
        home, a=CfgContext(host="lab-pc", tcp_server_port=4000 if port else None, program_module="m", stop_grace=0.0)
    )
    return target(config, "a", local=False)


READY = ["dmm", "instrument", "m:C", "ready", "", 0.0, 1, -1.0]
FAILED = ["dmm", "instrument", "m:C", "failed", "cannot be opened: OSError: no\nanswer", 0.0, 1, -1.0]


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    ("told", "detail", "code"),
    [
        ([READY], "", 0),
        ([READY, ["psu", *FAILED[1:]]], "psu failed: cannot be opened: OSError: no answer", 1),
        ([["psu", *READY[1:3], "making", "", 0.0, 1, -1.0]], "psu is still being made", 0),
        ([["psu", *READY[1:3], "waiting", "", 0.0, 0, -1.0]], "psu waits to be made", 0),
        (QMI_UnknownRpcException("an older version"), "", 0),
        ("nonsense", "", 0),
        ([["a"], 5, READY], "", 0),
        (
            [["psu", *FAILED[1:5], 1.8e9, 1, -1.0]],
            "psu failed: cannot be opened: OSError: no answer (since 2027-01-15 08:00:00 UTC)",
            1,
        ),
        ([["psu", *FAILED[1:5], 1e300, 1, -1.0]], "psu failed: cannot be opened: OSError: no answer", 1),
        ([["psu", *FAILED[1:5], "now", 1, -1.0]], "psu failed: cannot be opened: OSError: no answer", 1),
    ],
)
def test_status_of_a_context_names_its_objects_that_have_failed(
    home: Path, local: bool, told: object, detail: str, code: int
) -> None:
    listed = CfgContext(host="lab-pc", tcp_server_port=4000, instruments={"dmm": CfgInstrument(driver="m:C")})
    link = ScriptedLink(HERE)
    link.told = told
    status = remote_one(home, link, ScriptedRemote()).status(target(config_in(home, a=listed), "a", local=local))
    assert (status.state, status.detail.strip(), status.exit_code) == (State.RUNNING, detail, code)
    assert link.calls == [("a.list_configured", {})]


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    ("told", "detail", "code"),
    [
        ({"pages": {"address": "http://a:1/"}}, "pages at http://a:1/", 0),
        ({"pages": {"address": "http://a:1/", "token_file": "/t"}}, "pages at http://a:1/ (token to log in: /t)", 0),
        ({"pages": {"why": "no room\x1b"}}, r"pages not served: no room\x1b", 1),
        ({"pages": {}}, "pages starting", 0),
        ({"pages": None}, "", 0),
        ({}, "", 0),
        ("nonsense", "", 0),
        (QMI_UnknownRpcException("an older version"), "", 0),
    ],
)
def test_status_of_a_context_says_where_its_pages_are(
    home: Path, local: bool, told: object, detail: str, code: int
) -> None:
    link = ScriptedLink(HERE)
    link.told = told
    served = CfgContext(host="lab-pc", tcp_server_port=4000, web=CfgWeb())
    status = remote_one(home, link, ScriptedRemote()).status(target(config_in(home, a=served), "a", local=local))
    if not local and "at http" in detail:
        detail += ", on lab-pc"
    assert (status.state, status.detail.strip(), status.exit_code) == (State.RUNNING, detail, code)
    assert link.calls == [("a.get_status", {})]


WAITING = ["dmm", "instrument", "m:C", "waiting", "", 0.0, 0, -1.0]
MAKING = ["dmm", "instrument", "m:C", "making", "", 0.0, 1, -1.0]
NOBODY = QMI_ConnectionException("nothing listens there")
LATE = "within 0.2 s (contexts.a.ready_timeout)"
NOT_ALL = f"not all of its instruments and tasks were ready {LATE}"
UNKNOWN = f"whether its instruments and tasks are ready could not be found out {LATE}"


class SlowLink(ScriptedLink):
    """A program whose instruments take their time: the answers of one question after the other, the last for ever."""

    def __init__(self, answers: list[Answer], *told: object) -> None:
        super().__init__(*answers)
        self.to_tell = list(told)

    def call(self, name: str, address: HostPort, method: str, *, timeout: float, **kwargs: object) -> object:
        self.calls.append((f"{name}.{method}", kwargs))
        told = self.to_tell.pop(0) if len(self.to_tell) > 1 else self.to_tell[0]
        if isinstance(told, Exception):
            raise told
        return told


@pytest.mark.parametrize(
    ("module", "told", "detail", "calls"),
    [
        (None, [[READY]], "", 1),
        (None, [[], [WAITING], [MAKING], [READY]], "", 4),
        (None, [NOBODY, QMI_RuntimeException("no answer within 2 s"), [MAKING], [READY]], "", 4),
        (None, [[MAKING], [FAILED]], "dmm failed: cannot be opened: OSError: no answer", 2),
        (None, [[MAKING], QMI_UnknownRpcException("an older version")], "", 2),
        ("lab.program", [[WAITING], [READY]], "", 2),
        (None, [[["psu", *READY[1:]], MAKING]], f"{NOT_ALL}\ndmm is still being made", 0),
        (None, [[WAITING]], f"{NOT_ALL}\ndmm waits to be made", 0),
        (None, [[]], f"it has not begun to make its instruments and tasks {LATE}", 0),
        (None, ["nonsense"], f"it has not begun to make its instruments and tasks {LATE}", 0),
        (None, [NOBODY], f"{UNKNOWN}: nothing listens there", 0),
        ("lab.program", [[]], "", 0),
    ],
)  # fmt: skip
def test_start_waits_until_each_instrument_and_task_was_tried(
    home: Path, monkeypatch: pytest.MonkeyPatch, module: str | None, told: list[object], detail: str, calls: int
) -> None:
    pauses: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("qmi.proc.controller.time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    listed = CfgContext(
        host="lab-pc", tcp_server_port=4000, instruments={"dmm": CfgInstrument(driver="m:C")}, program_module=module,
        ready_timeout=0.2,
    )  # fmt: skip
    link, seen = SlowLink([Absent(), HERE], *told), list[Status]()
    one = remote_one(home, link, ScriptedRemote(Ok(7)), seen, times=Times(begin=0.1))
    status = one.start(target(config_in(home, a=listed), "a", local=False))
    assert (status.state, status.pid, status.detail.strip(), status.exit_code) == (State.STARTED, 7, detail, 0)
    assert not calls or len(link.calls) == calls
    assert sum(pauses) <= 0.2
    assert {between.state for between in seen[:-1]} == {State.STARTING}
    assert not any("waits to" in between.detail for between in seen[:-1])
    if [MAKING] in told and len(told) > 1:
        assert "waits for dmm" in [between.detail for between in seen]


@pytest.mark.parametrize(
    ("record", "detail"),
    [("process 7 ended without being stopped", "process 7 ended"), ("", "it was stopped before its instruments")],
)
def test_start_of_a_program_that_ends_while_it_makes_its_instruments_has_failed(
    home: Path, monkeypatch: pytest.MonkeyPatch, record: str, detail: str
) -> None:
    config = config_in(
        home, a=CfgContext(host="127.0.0.1", tcp_server_port=4000, instruments={"dmm": CfgInstrument(driver="m:C")})
    )
    link = SlowLink([HERE], [WAITING], NOBODY)
    one = remote_one(home, link, ScriptedRemote())
    monkeypatch.setattr(Launcher, "start", lambda *_: Running(7, "1.0"))
    monkeypatch.setattr(Launcher, "look", lambda *_: Offline(record))
    status = one.start(target(config, "a"))
    assert (status.state, status.exit_code) == (State.FAILED, 1)
    assert status.detail.startswith(detail)


@pytest.mark.parametrize(
    ("told", "state", "detail"),
    [
        (READY, State.STARTED, ""),
        (FAILED, State.FAILED, "cannot be opened: OSError: no answer"),
        (["dmm", "instrument", "m:C", "making", "", 0.0, 1, -1.0], State.FAILED, "making"),
        (QMI_UnknownNameException("has made no 'dmm'"), State.FAILED, "has made no 'dmm'"),
        (5, State.FAILED, "makes no sense"),
    ],
)
def test_restart_of_one_object_ends_like_this(home: Path, told: object, state: State, detail: str) -> None:
    link = ScriptedLink(HERE)
    link.told = told
    status = remote_one(home, link, ScriptedRemote()).restart_object(far(home), "dmm")  # type: ignore[arg-type]
    assert (status.name, status.state, status.exit_code) == ("a.dmm", state, int(state is State.FAILED))
    assert detail in status.detail
    assert link.calls == [("a.restart_object", {"object_name": "dmm"})]


def test_restart_of_one_object_needs_a_port(home: Path) -> None:
    status = remote_one(home, ScriptedLink(HERE), ScriptedRemote()).restart_object(far(home, port=False), "dmm")  # type: ignore[arg-type]
    assert (status.state, status.exit_code) == (State.FAILED, 2)
    assert "contexts.a.tcp_server_port" in status.detail


@pytest.mark.parametrize(
    ("answers", "replies", "state", "pid", "detail"),
    [
        ([HERE], [], State.ALREADY_RUNNING, 7, ""),
        ([Absent(), HERE], [Ok(7)], State.STARTED, 7, ""),
        ([Absent()], [Ok(8)], State.STARTED, 8, ""),
        ([Absent()], [Err("no such module")], State.FAILED, None, "no such module"),
        ([Absent()], [Err("already running (PID=9, QMI=2)")], State.ALREADY_RUNNING, 9, ""),
        ([Absent()], [DOWN], State.FAILED, None, "did not answer within 10 s"),
        ([Absent()], [LOST, Err("already running (PID=9, QMI=2)")], State.STARTED, 9, "state unknown; asked again"),
        ([Absent()], [LOST, Ok(5)], State.STARTED, 5, "state unknown; asked again"),
        ([Absent()], [LOST, DOWN], State.UNKNOWN, None, "state unknown; asked again: host: lab-pc did not"),
        ([Absent(), HERE], [LOST, DOWN], State.STARTED, 7, "state unknown; asked its port"),
    ],
)
def test_a_remote_start_ends_like_this(
    home: Path, answers: list[Answer], replies: list[Ok | Err | Exception], state: State, pid: int | None, detail: str
) -> None:
    seen: list[Status] = []
    status = remote_one(home, ScriptedLink(*answers), ScriptedRemote(*replies), seen).start(far(home))  # type: ignore[arg-type]
    assert (status.state, status.pid) == (state, pid)
    assert detail in status.detail
    assert status.exit_code == (1 if state in (State.FAILED, State.UNKNOWN) else 0)
    assert status.seconds is not None
    assert seen[0].state is State.STARTING
    assert seen[-1] == status
    if LOST in replies:
        assert any(between.detail == f"{LOST}; asking again" for between in seen)


@pytest.mark.parametrize(
    ("answers", "obeys", "replies", "state", "detail"),
    [
        ([HERE, Absent()], True, [], State.STOPPED, ""),
        ([HERE, Present(8, "1.0")], True, [], State.STOPPED, ""),
        ([HERE], True, [Ok(1)], State.STOPPED, ""),
        ([HERE], False, [Ok(1)], State.STOPPED, ""),
        ([Absent()], True, [Ok(0)], State.OFFLINE, ""),
        ([Absent()], True, [Err("not permitted")], State.FAILED, "not permitted"),
        ([Absent()], True, [DOWN], State.FAILED, "did not answer"),
        ([Absent()], True, [LOST, Ok(0)], State.STOPPED, "asked again"),
        ([Absent()], True, [LOST, LOST], State.UNKNOWN, "asked again: host: connection"),
        ([HERE, HERE, Absent()], False, [LOST, LOST], State.UNKNOWN, "asked again"),
        ([HERE, Absent()], False, [LOST, LOST], State.STOPPED, "asked its port"),
    ],
)
def test_a_remote_stop_ends_like_this(
    home: Path,
    answers: list[Answer],
    obeys: bool,
    replies: list[Ok | Err | Exception],
    state: State,
    detail: str,
) -> None:
    remote = ScriptedRemote(*replies)
    status = remote_one(home, ScriptedLink(*answers, obeys=obeys), remote).stop(far(home))  # type: ignore[arg-type]
    assert status.state is state
    assert detail in status.detail
    for seen in remote.seen:
        assert seen == ("lab-pc", Stop("a", 7 if answers[0] == HERE else None))


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (HERE, State.RUNNING),
        (Absent("the host does not answer"), State.OFFLINE),
        (Stranger("a teapot"), State.FAILED),
    ],
)
def test_a_remote_status_is_this(home: Path, answer: Answer, state: State) -> None:
    remote = ScriptedRemote()
    status = remote_one(home, ScriptedLink(answer), remote).status(far(home))  # type: ignore[arg-type]
    assert status.state is state
    assert status.exit_code == (state is State.FAILED)
    assert remote.seen == []
    assert ("does not answer" in status.detail) == (answer == Absent("the host does not answer"))


@pytest.mark.parametrize(
    ("reply", "state", "pid", "detail", "code"),
    [
        (Ok(7), State.RUNNING, 7, "", 0),
        (Ok(0), State.OFFLINE, None, "", 0),
        (Ok(0, "process 7 ended"), State.OFFLINE, None, "process 7 ended", 0),
        (Ok(0, "process 7 failed: X: y. Its"), State.OFFLINE, None, "process 7 failed: X: y. Its", 1),
        (Err("no such context"), State.FAILED, None, "no such context", 1),
        (DOWN, State.UNKNOWN, None, "host: lab-pc did not answer within 10 s", 1),
    ],
)
def test_status_without_a_port_is_asked_of_the_far_end(
    home: Path, reply: Ok | Err | Exception, state: State, pid: int | None, detail: str, code: int
) -> None:
    remote = ScriptedRemote(reply)
    status = remote_one(home, ScriptedLink(HERE), remote).status(far(home, port=False))  # type: ignore[arg-type]
    assert (status.state, status.pid, status.detail, status.exit_code) == (state, pid, detail, code)
    assert remote.seen == [("lab-pc", StatusQuery("a"))]


@pytest.mark.parametrize(
    ("reply", "state", "pid", "detail", "code"),
    [
        (Ok(0), State.OFFLINE, None, "", 0),
        (Ok(0, "process 7 ended"), State.OFFLINE, None, "process 7 ended", 0),
        (Ok(0, "process 7 failed: X: y. Its"), State.OFFLINE, None, "process 7 failed: X: y. Its", 1),
        (Ok(7), State.RUNNING, 7, "nothing listens at lab-pc:4000 as seen from here", 0),
        (Err("the process does not answer"), State.FAILED, None, "the process does not answer", 1),
        (DOWN, State.OFFLINE, None, f"whether it has failed is not known: {DOWN}", 0),
    ],
)
def test_remote_program_that_does_not_listen_is_looked_for_on_its_machine(
    home: Path, reply: Ok | Err | Exception, state: State, pid: int | None, detail: str, code: int
) -> None:
    remote = ScriptedRemote(reply)
    status = remote_one(home, ScriptedLink(Absent()), remote).status(far(home))  # type: ignore[arg-type]
    assert (status.state, status.pid, status.detail, status.exit_code) == (state, pid, detail, code)
    assert remote.seen == [("lab-pc", StatusQuery("a"))]


def test_a_remote_program_without_a_port_is_started_and_stopped_over_ssh_alone(home: Path) -> None:
    remote = ScriptedRemote(Ok(5), Ok(1))
    one = remote_one(home, ScriptedLink(HERE), remote)
    assert one.start(far(home, port=False)).pid == 5  # type: ignore[arg-type]
    assert one.stop(far(home, port=False)).state is State.STOPPED  # type: ignore[arg-type]
    assert remote.seen == [("lab-pc", Start("a")), ("lab-pc", Stop("a", None))]


def test_local_programs_come_and_go(home: Path) -> None:
    config = config_in(home, a=talker("a"), q=dying())
    link = TextLink()
    one = Controller(Launcher(config, link, times=QUICK), ScriptedRemote(), link, list[Status]().append, times=QUICK)
    at = target(config, "a")
    assert one.status(at).state is State.OFFLINE
    started = one.start(at)
    assert (started.state, started.version) == (State.STARTED, "9.9")
    again = one.start(at)
    assert again.label == f"already running (PID={started.pid}, QMI=9.9)"
    running = one.status(at)
    assert (running.state, running.pid) == (State.RUNNING, started.pid)
    assert one.stop(at).state is State.STOPPED
    assert one.stop(at).state is State.OFFLINE
    failed = one.start(target(config, "q"))
    assert (failed.state, failed.exit_code) == (State.FAILED, 1)


def test_fault_of_the_configuration_has_exit_code_2(home: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = talker("a", port=other.getsockname()[1])
        wrong = CfgContext(program_module="m", virtualenv_path=str(home / "none"), tcp_server_port=free_port())
        config = config_in(home, a=taken, b=wrong)
        link = ScriptedLink(Stranger("a teapot"))
        one = Controller(Launcher(config, link), ScriptedRemote(), link, list[Status]().append, times=QUICK)
        for name in ("a", "b"):
            status = one.start(target(config, name))
            assert (status.state, status.exit_code) == (State.FAILED, 2)
        looked = one.status(target(config, "a"))
        assert (looked.state, looked.exit_code) == (State.FAILED, 1)
