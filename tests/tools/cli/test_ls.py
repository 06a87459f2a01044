from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import qmi
from qmi.actors.context_object import ContextObject
from qmi.core.context import ObjectStatus, QMI_Context
from qmi.errors import QMI_UnknownRpcException
from qmi.tools.cli.watch import Looker
from tests.support import busy_lab
from tests.support.busy_lab import busy
from tests.support.cli import Cli, serving, write_lab
from tests.support.cli_terminal import ended, plain, spawn
from tests.support.ports import free_port

NEEDS_TERMINAL = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


def words(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_contexts_are_listed_with_what_they_run(lab: QMI_Context, cli: Cli) -> None:
    listed = cli("ls")
    assert (listed.code, listed.err) == (0, "")
    titles, line = listed.out.splitlines()
    assert titles.split() == ["NAME", "STATE", "ADDRESS", "HOST", "QMI", "UP", "TLS", "ROUND", "TRIP", "OBJECTS"]
    address, version = f"127.0.0.1:{lab.get_tcp_server_port()}", qmi.__version__
    assert re.match(rf"lab +running +{address} +\S+ +{version} +[\d.]+ m?s +no ", line)
    [found] = cli("ls", "--json").json
    assert found["name"] == found["status"]["name"] == "lab"
    assert (found["state"], found["configured"], found["tls"], found["objects"]) == ("running", True, False, 0)
    assert 0 < found["round_trip"] < 5
    assert found["uptime"] >= 0


@pytest.fixture
def several(tmp_path: Path) -> Path:
    return write_lab(
        tmp_path,
        lab={"tcp_server_port": 0},
        bench={"host": "127.0.0.1", "tcp_server_port": free_port()},
        script={},
    )


def test_configured_contexts_that_do_not_run_are_listed(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(several, capsys)
    with serving(several):
        listed = cli("ls")
        states = {found["name"]: found["state"] for found in cli("ls", "--json").json}
    assert listed.code == 0
    assert states == {"bench": "not running", "lab": "running", "script": "no port"}
    assert [words(line)[:2] for line in listed.out.splitlines()[1:]] == [[*entry] for entry in states.items()]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bench", r"bench not running at 127\.0\.0\.1:\d+: nothing listens there"),
        ("script", r"script no port: the configuration gives it no tcp_server_port"),
    ],
)
def test_named_context_that_does_not_run_is_exit_code_1(
    name: str, said: str, several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = Cli(several, capsys)("ls", name)
    assert listed.code == 1
    assert re.match(said, listed.out)


def test_unknown_context_is_named_with_those_that_run(lab: QMI_Context, cli: Cli) -> None:
    listed = cli("ls", "lap")
    text = "qmi: context 'lap' of workgroup 'cli' was not found; running are lab. Did you mean 'lab'?\n"
    assert (listed.code, listed.out, listed.err) == (1, "", text)


def test_empty_network_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_lab(tmp_path)
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, "contexts": {}}))
    listed = Cli(config, capsys)("ls", "--workgroup", "nobody")
    text = "qmi: no context of workgroup 'nobody' answers, and none is configured\n"
    assert (listed.code, listed.out, listed.err) == (0, "", text)


def test_two_contexts_of_one_name_are_both_listed(config: Path, cli: Cli, lab: QMI_Context) -> None:
    with serving(config):
        assert [words(line)[0] for line in cli("ls").out.splitlines()[1:]] == ["lab", "lab"]


def test_objects_are_listed_with_locks_work_and_errors(lab: QMI_Context, cli: Cli) -> None:
    with busy(lab):
        listed = cli("ls", "lab")
        status = cli("ls", "lab", "--json").json[0]["status"]
    assert (listed.code, listed.err) == (0, "")
    assert re.match(r"lab running at \S+, on \S+, up \S+ s, qmi \S+, pid \d+, no TLS, round trip", listed.out)
    assert re.search(r"^psu +Supply +unknown +0 +0 +0 +\S.* \(lab\), \S+ s: calibration$", listed.out, re.MULTILINE)
    fault = r"fail\(\) .* ago: ValueError: the shutter is stuck$"
    assert re.search(rf"^worker +Worker +ready +0 +2 +1 +work\(\) for lab, .* {fault}", listed.out, re.MULTILINE)
    late = r"\S+ \S+ / \S+ \S+ / \S+ \S+"
    assert re.search(rf"^regulator +Regulator +running +10 ms +{late} +\d+ ", listed.out, re.MULTILINE)
    assert re.search(r"^broken +Broken +failed: RuntimeError: no light\\x1b\[2J", listed.out, re.MULTILINE)
    assert "\x1b" not in listed.out
    assert "link to" not in listed.out.lower()
    assert [entry["name"] for entry in status["objects"]] == ["psu", "spare", "worker", "regulator", "broken"]


def test_links_are_listed(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(several), serving(several, "bench") as bench:
        bench.connect_to_peer("lab")
        listed = Cli(several, capsys)("ls", "bench")
    assert re.search(r"^LINK TO .*\nlab +up +127\.0\.0\.1:\d+ +no ", listed.out, re.MULTILINE)


def test_object_is_described_without_being_called(lab: QMI_Context, cli: Cli) -> None:
    with busy(lab):
        listed = cli("ls", "lab.psu", "lab.regulator")
        [found] = cli("ls", "lab.psu", "--json").json
    assert listed.code == 0
    assert listed.out.startswith("lab.psu, instrument: tests.support.busy_lab.Supply\nA supply whose methods note")
    assert re.search(r"^set_voltage +\(volts: float = 1\.0\) -> None +Set the voltage\.$", listed.out, re.MULTILINE)
    assert re.search(r"^sig_voltage +float$", listed.out, re.MULTILINE)
    assert cli("ls", "lab.pus").err == "qmi: Context 'lab' has no object named 'pus'. Did you mean 'psu'?\n"
    assert {"name": "set_voltage", "signature": "(volts: float = 1.0) -> None"}.items() <= next(
        method for method in found["methods"] if method["name"] == "set_voltage"
    ).items()


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("lab.nothing", 1, "Context 'lab' has no object named 'nothing'. It has no objects yet"),
        ("lap.psu", 1, "context 'lap' of workgroup 'cli' was not found; running are lab. Did you mean 'lab'?"),
        ("lab.psu.x", 2, "a context is named lab, an object lab.psu; got 'lab.psu.x'"),
        ("a*", 2, "a context is named lab, an object lab.psu; got 'a*'"),
        ("lab lab.psu", 2, "show objects, such as lab.psu, in a command of their own, without --watch"),
        ("lab.psu --watch", 2, "show objects, such as lab.psu, in a command of their own, without --watch"),
        ("--interval 0", 2, "argument --interval: must be a number of seconds above 0, got '0'; see 'qmi ls --help'"),
    ],
)
def test_what_cannot_be_shown_is_one_line(line: str, code: int, said: str, lab: QMI_Context, cli: Cli) -> None:
    listed = cli("ls", *line.split())
    assert (listed.code, listed.out, listed.err) == (code, "", f"qmi: {said}\n")


def test_looking_calls_no_method_of_an_object(lab: QMI_Context, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with busy(lab):
        calls = {entry.name: entry.calls for entry in qmi_status(lab)}
        for line in ("ls", "ls lab", "ls lab --json", "ls lab.psu lab.worker lab.regulator", "ls lab.psu --json"):
            assert cli(*line.split()).code == 0
        assert {entry.name: entry.calls for entry in qmi_status(lab)} == calls
        assert busy_lab.CALLED == []


def qmi_status(lab: QMI_Context) -> tuple[ObjectStatus, ...]:
    return lab.get_status().objects


def test_context_of_an_older_version_is_listed_by_what_it_knows(
    lab: QMI_Context, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(self: ContextObject) -> dict[str, object]:
        raise QMI_UnknownRpcException("There is no method get_status()")

    with busy(lab):
        monkeypatch.setattr(ContextObject, "get_status", unknown)
        listed, objects = cli("ls"), cli("ls", "lab")
    assert (listed.code, objects.code) == (0, 0)
    assert words(listed.out.splitlines()[1])[:2] == ["lab", "running"]
    assert re.search(r"^psu +Supply", objects.out, re.MULTILINE)
    assert re.search(r"^regulator +Regulator +running", objects.out, re.MULTILINE)


def test_context_that_does_not_answer_is_told_within_the_timeout(
    lab: QMI_Context, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qmi.proc.control_client import Conversation

    def late(self: Conversation, *args: object) -> object:
        raise TimeoutError

    monkeypatch.setattr(Conversation, "request", late)
    listed = cli("ls", "--timeout", "2")
    assert listed.code == 0
    assert re.search(r"^lab +no answer: .* gave no answer within 2 s", listed.out, re.MULTILINE)
    assert cli("ls", "lab", "--timeout", "2").code == 1


# In a terminal


@NEEDS_TERMINAL
@pytest.mark.parametrize("width", [80, pytest.param(200, marks=pytest.mark.slow)])
def test_list_fits_into_the_terminal(width: int, lab: QMI_Context, config: Path) -> None:
    with busy(lab):
        code, printed = ended(spawn(config, "ls", "lab", width=width))
    assert code == 0
    lines = printed.splitlines()
    assert max(map(len, lines)) <= width
    assert any(re.match(r"OBJECT +CLASS +STATE +QUEUE +CALLS +ERRORS", line) for line in lines)
    assert ("NOTES" in printed) is (width == 80)
    assert ("LOCKED BY" in printed) is (width == 200)
    assert "calibration" in printed


@pytest.mark.slow
@NEEDS_TERMINAL
def test_colours_are_left_out_if_they_are_not_wanted(
    lab: QMI_Context, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = spawn(config, "ls", term="dumb")
    terminal.expect("running")
    assert "\x1b[3" not in (terminal.before or "")
    ended(terminal)


@NEEDS_TERMINAL
@pytest.mark.parametrize("key", ["q", pytest.param("\x03", marks=pytest.mark.slow)], ids=["q", "Ctrl-C"])
def test_watching_shows_what_is_new_until_a_key_ends_it(key: str, lab: QMI_Context, config: Path) -> None:
    with busy(lab):
        terminal = spawn(config, "ls", "lab", "--watch", "--interval", "0.05")
        terminal.expect("spare")
        terminal.expect("spare")
        lab.make_rpc_object("late_comer", busy_lab.Worker)
        terminal.expect("late_comer")
        terminal.send(key)
        code, _ = ended(terminal)
        assert code == 0
        assert busy_lab.CALLED == []


@pytest.mark.slow
@NEEDS_TERMINAL
@pytest.mark.parametrize("error", [ValueError("odd"), OSError(24, "Too many open files")])
def test_watching_ends_with_an_error_that_nobody_expected(error: Exception) -> None:
    def look() -> None:
        raise error

    with Looker(look, 60.0) as looker, pytest.raises(type(error), match=str(error.args[-1])):
        looker.next()


def test_watching_goes_on_when_the_context_ends_and_comes_again(several: Path) -> None:
    terminal = spawn(several, "ls", "bench", "--watch", "--interval", "0.05")
    terminal.expect("not running")
    with serving(several, "bench"):
        terminal.expect("run by")
    terminal.expect("not running")
    terminal.send("q")
    assert ended(terminal)[0] == 0
    assert "Traceback" not in plain(terminal.before)


def test_watching_into_a_pipe_prints_each_look(lab: QMI_Context, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(range(3))
    following = Looker.next

    def three(self: Looker[object], keys: int | None = None) -> object:
        if next(looks, None) is None:
            raise KeyboardInterrupt
        return following(self, keys)

    monkeypatch.setattr(Looker, "next", three)
    watched = cli("ls", "--watch", "--json", "--interval", "0.01")
    assert (watched.code, watched.err) == (0, "")
    assert [line[:16] for line in watched.out.splitlines()] == ['[{"name": "lab",'] * 3
