"""``qmi doctor``: what is right, odd or wrong, and what to do."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace

import pytest

from qmi.actors.context_status import PagesStatus
from qmi.contexts import status
from qmi.core.context import QMI_Context
from qmi.names import HostPort
from qmi.presenting.seen import Seen
from qmi.proc import control_client
from qmi.tools import certs
from qmi.tools.certs import make_ca, make_certificate
from qmi.tools.cli import doctor_network
from qmi.tools.cli.doctor import port_holder
from qmi.tools.cli.doctor_rules import FAULT, OK, WARNING, clock, disk, found_by_name, port, unreachable, version
from tests.support.cli import Cli
from tests.support.drivers import Plain
from tests.support.ports import free_port


@pytest.mark.parametrize(("free", "level"), [(1 << 40, OK), (1 << 29, WARNING), (1 << 20, FAULT), (0, FAULT)])
def test_space_on_a_disk(free: int, level: str) -> None:
    found = disk("data", "/data", free)
    assert (found.level, bool(found.todo)) == (level, level != OK)


@pytest.mark.parametrize(
    ("theirs", "level", "text"),
    [
        (100.5, OK, "agrees"),
        (101.0, OK, "agrees"),
        (103.0, WARNING, "2.5 s ahead of"),
        (90.0, WARNING, "10 s behind"),
        (400.0, FAULT, "3e+02 s ahead of"),
    ],
)
def test_clocks_differ_by_more_than_the_question_took(theirs: float, level: str, text: str) -> None:
    found = clock("lab", theirs, 100.0, 101.0)
    assert found.level == level
    assert text in found.found


def test_versions_differ() -> None:
    assert version("lab", "1.0", "1.0").level == OK
    assert version("lab", "0.9", "1.0").level == WARNING


@pytest.mark.parametrize(
    ("number", "holder", "level"),
    [(30000, None, OK), (40000, None, WARNING), (30000, "python (pid 3)", FAULT), (30000, "", FAULT)],
)
def test_port_is_free_or_in_use(number: int, holder: str | None, level: str) -> None:
    assert port("lab", number, holder, range(32768, 61000)).level == level


@pytest.mark.parametrize(
    ("why", "is_on", "level", "said", "todo"),
    [
        ("the host does not answer", False, WARNING, "at no port that was tried", "is the computer on"),
        ("the host does not answer", True, FAULT, "a firewall drops what comes", "let TCP to port 30001 through"),
        ("the host cannot be reached: No route to host", False, WARNING, "No route", "rejects what comes"),
        ("the host cannot be reached: No route to host", True, FAULT, "a firewall rejects what comes", "port 30001"),
        ("the host cannot be reached: Permission denied", True, FAULT, "rejects", "port 30001"),
        ("the host cannot be reached: Name or service not known", False, FAULT, "Name", "correct contexts.lab.host"),
        ("the host cannot be reached: [Errno 11001] getaddrinfo failed", False, FAULT, "", "contexts.lab.host"),
        ("nothing listens there", True, OK, "it does not run", "qmi proc start lab"),
        ("no answer within 5 s", True, FAULT, "no answer", "qmi ls"),
    ],
)
def test_context_that_is_not_reached(why: str, is_on: bool, level: str, said: str, todo: str) -> None:
    found = unreachable("lab", "10.0.0.7:30001", why, here=False, is_on=is_on)
    assert found.level == level
    assert said in found.found
    assert todo in found.todo


def test_context_of_this_computer_that_does_not_answer_is_no_matter_of_the_network() -> None:
    assert "at no port" not in unreachable("lab", "127.0.0.1:30001", "the host does not answer", here=True).found


@pytest.mark.parametrize(
    ("answers", "is_seen", "level", "said", "todo"),
    [
        (True, True, OK, "found by its name", ""),
        (True, False, WARNING, "not to questions that are sent to the whole network", "broadcast_addresses"),
        (False, False, WARNING, "no answer comes from UDP port 35999", "let UDP to port 35999 through"),
    ],
)
def test_context_that_is_not_found_by_its_name(answers: bool, is_seen: bool, level: str, said: str, todo: str) -> None:
    found = found_by_name("lab", "10.0.0.7", 35999, answers=answers, is_seen=is_seen)
    assert (found.level, said in found.found, todo in found.todo) == (level, True, True)


def test_computer_is_on_if_something_of_it_answers() -> None:
    def seen(host: str, why: str) -> Seen:
        return Seen("desk", HostPort(host, 1), "not running", why)

    port = free_port()
    assert doctor_network.is_on("127.0.0.1", [], [port])  # it is refused, which is an answer
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert doctor_network.is_on("127.0.0.1", [], [other.getsockname()[1]])
    assert not doctor_network.is_on("no-such-host.invalid", [], [port])
    assert doctor_network.is_on("10.0.0.7", [seen("10.0.0.7", "nothing listens there")], [])
    assert not doctor_network.is_on("10.0.0.7", [seen("10.0.0.7", "the host does not answer")], [])
    assert not doctor_network.is_on("10.0.0.8", [seen("10.0.0.7", "nothing listens there")], [])


@pytest.mark.parametrize(
    ("directly", "broadcast", "said"),
    [(True, True, "found by its name"), (True, False, "whole network"), (False, False, "no answer comes from UDP")],
)
def test_context_of_another_computer_is_asked_over_udp_too(
    cli: Cli, lab: QMI_Context, monkeypatch: pytest.MonkeyPatch, directly: bool, broadcast: bool, said: str
) -> None:
    assert not any(entry["what"] == "discovery of lab" for entry in cli("doctor", "--json").json)  # it is on this one

    def heard(config: object, addresses: Collection[str]) -> set[str]:
        return {"lab"} if (directly if list(addresses) == ["127.0.0.1"] else broadcast) else set()

    monkeypatch.setattr(doctor_network, "_address", lambda seen: "127.0.0.1")
    monkeypatch.setattr(doctor_network, "_heard", heard)
    found = {entry["what"]: entry for entry in cli("doctor", "--json").json}
    assert said in found["discovery of lab"]["found"]


def test_context_whose_packets_are_dropped_is_told_by_what_else_its_computer_says(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop(address: HostPort, deadline: float) -> socket.socket:
        raise control_client._NobodyError("the host does not answer")

    monkeypatch.setattr(control_client, "_connection", drop)
    monkeypatch.setattr(doctor_network, "_says_something", lambda host, port: port == 22)
    content = json.loads(cli.config.read_text())
    content["contexts"] = {"desk": {"host": "192.0.2.7", "tcp_server_port": 30001}}
    cli.config.write_text(json.dumps(content))
    [found] = [entry for entry in cli("doctor", "--json", "--timeout", "0.2").json if entry["what"] == "context desk"]
    assert (found["level"], "a firewall drops what comes" in found["found"]) == (FAULT, True)


def test_laboratory_in_good_health(cli: Cli, lab: QMI_Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMI_HOME", str(cli.config.parent))
    lab.make_instrument("x", Plain)
    found = {entry["what"]: entry for entry in cli("doctor", "--json").json}
    assert found["configuration"]["level"] == OK
    assert found["version of lab"]["level"] == OK
    assert found["clock of lab"]["level"] == OK
    assert "home directory" in found
    assert lab.get_status().objects[0].calls == 0
    assert "things that were looked at are right" in cli("doctor", "--all").out


@pytest.fixture
def certified(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], Path]:
    """Makes the files of a CA and of a context so many days ago, valid for so many days; gives their folder."""

    def make(ago: int, days: int) -> Path:
        class Then(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) - timedelta(days=ago)

        folder = cli.config.parent
        with monkeypatch.context() as patch:
            patch.setattr(certs, "datetime", Then)
            ca, _ = make_ca(folder, days=5000)
            certificate, key = make_certificate(folder, "lab", workgroup="cli", days=days)
        content = json.loads(cli.config.read_text(encoding="utf-8"))
        content["security"] = {"ca": str(ca), "certificate": str(certificate), "key": str(key)}
        content["contexts"]["lab"]["tcp_server_port"] = free_port()
        cli.config.write_text(json.dumps(content), encoding="utf-8")
        return folder

    return make


@pytest.mark.parametrize(
    ("ago", "days", "level", "said"),
    [
        (0, 365, OK, "valid until"),
        (100, 110, WARNING, "expires on"),
        (100, 99, FAULT, "expired on"),
        (-10, 365, FAULT, "is valid only from"),
    ],
)
def test_certificate_that_ends_or_has_not_begun_is_told(
    ago: int, days: int, level: str, said: str, certified: Callable[[int, int], Path], cli: Cli
) -> None:
    certified(ago, days)
    printed = cli("doctor", "--json", "--timeout", "0.2")
    found = [entry for entry in printed.json if entry["what"] == "certificate of lab"]
    assert {entry["level"] for entry in found if said in entry["found"]} == {level}
    assert printed.code == (1 if level == FAULT else 0)
    assert all(entry["todo"] for entry in found if entry["level"] != OK)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize(("file", "what"), [("ca.key", "key of the CA"), ("lab.key", "certificate of lab")])
def test_key_that_others_can_read_is_a_fault(
    file: str, what: str, certified: Callable[[int, int], Path], cli: Cli
) -> None:
    folder = certified(0, 365)
    sound = cli("doctor", "--json", "--timeout", "0.2")
    assert {entry["level"] for entry in sound.json if entry["what"] == what} == {OK}
    (folder / file).chmod(0o644)
    printed = cli("doctor", "--json", "--timeout", "0.2")
    [found] = [entry for entry in printed.json if entry["what"] == what]
    assert (printed.code, found["level"]) == (1, FAULT)
    assert "can be used by others of this computer (mode 0644)" in found["found"]
    assert found["todo"]


@pytest.mark.parametrize(("ahead", "level", "said"), [(-30.0, WARNING, "behind"), (7200.0, FAULT, "ahead of")])
def test_context_with_another_clock_is_told(
    ahead: float, level: str, said: str, cli: Cli, lab: QMI_Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr(status, "time", SimpleNamespace(**{**vars(time), "time": lambda: now() + ahead}))
    printed = cli("doctor", "--json")
    [found] = [entry for entry in printed.json if entry["what"] == "clock of lab"]
    assert found["level"] == level
    assert said in found["found"]
    assert "NTP" in found["todo"]
    assert printed.code == (1 if level == FAULT else 0)


def test_pages_that_are_not_served_are_told(cli: Cli, lab: QMI_Context) -> None:
    assert "pages of lab" not in {finding["what"] for finding in cli("doctor", "--json").json}
    for pages, level, said in (
        (PagesStatus("http://127.0.0.1:1/"), OK, "are served at http://127.0.0.1:1/"),
        (PagesStatus(why="the address is taken"), WARNING, "are not served: the address is taken"),
    ):
        lab.async_context.pages = pages
        findings = {finding["what"]: finding for finding in cli("doctor", "--json").json}
        found = findings["pages of lab"]
        assert (found["level"], found["found"], bool(found["todo"])) == (level, said, level != OK)


def test_port_that_somebody_else_has_is_a_fault(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        content = json.loads(cli.config.read_text())
        content["contexts"] = {"desk": {"host": "127.0.0.1", "tcp_server_port": other.getsockname()[1]}}
        cli.config.write_text(json.dumps(content))
        printed = cli("doctor", "--timeout", "0.2", "--json")
    assert printed.code == 1
    found = {entry["what"]: entry for entry in printed.json}
    assert found["context desk"]["level"] == FAULT
    assert "no answer" in found["context desk"]["found"]


def test_port_is_looked_up_where_a_context_does_not_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        assert "pid" in (port_holder("127.0.0.1", number) or "")
    assert port_holder("127.0.0.1", number) is None


def test_faults_of_the_configuration_are_findings(cli: Cli) -> None:
    cli.config.write_text('{"hots": 3,\n"workgroup": 3}')
    printed = cli("doctor", "--json")
    assert printed.code == 1
    assert [entry["level"] for entry in printed.json] == [FAULT, FAULT]


def test_file_that_is_not_there_is_a_finding(cli: Cli, tmp_path: Path) -> None:
    printed = cli("doctor", "--config", str(tmp_path / "no.conf"))
    assert printed.code == 1
    assert "does not exist" in printed.out
