"""The tutorial's section "Managing background processes": its program, configuration and commands, as printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.desk import Desk
from tests.support.ports import free_port
from tests.support.tutorial import Section, Tutorial

# What differs from the text: the ports, which other programs of the machine may have just now, and who is asked for
# contexts on the network.
PORTS = ("40001", "40002")
NOBODY_ELSE = ', "discovery": {"port": %d, "broadcast_addresses": ["127.255.255.255"]}}\n'


@pytest.fixture
def section(tutorial: Tutorial) -> Section:
    return tutorial["``qmi_proc`` demo"]


@pytest.fixture
def configured(desk: Desk, section: Section) -> Iterator[Desk]:
    """A desk with the tutorial's program and configuration; the program is stopped if it was started."""
    desk.write("proc_demo.py", section.file("proc_demo.py"))
    text = section.configuration
    for port in PORTS:
        assert port in text
        text = text.replace(port, str(free_port()))
    desk.write("qmi.conf", text.rstrip().removesuffix("}") + NOBODY_ELSE % free_port())
    yield desk
    if list((desk.home / ".qmi_proc").glob("*.json")):
        desk.run("qmi_proc stop --all")


def outputs(home: Path) -> list[Path]:
    return sorted(path for path in home.iterdir() if re.fullmatch(r"proc_demo_\d{8}_\d{6}\.out", path.name))


def typed(desk: Desk, command: str) -> str:
    """What the table in the terminal says of the program."""
    code, printed = desk.program(command).wait()
    assert code == 0
    found = re.search(r"proc_demo +127\.0\.0\.1 +(\w+.*)\Z", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed).strip())
    assert found, printed
    return found[1]


def test_the_program_runs_by_hand_until_ctrl_c(desk: Desk, section: Section) -> None:
    desk.write("proc_demo.py", section.file("proc_demo.py"))
    program = desk.program(section.commands[0])
    program.expect("just started the background process\r\nprocess is still running\r\n")
    program.interrupt()
    assert program.wait()[1].endswith("KeyboardInterrupt\n")


@pytest.mark.slow
def test_the_program_is_started_watched_and_stopped(configured: Desk, section: Section) -> None:
    _, status, as_module, start = section.commands
    assert typed(configured, status) == typed(configured, as_module) == "OFFLINE"
    assert typed(configured, start).startswith("STARTED ")
    (output,) = outputs(configured.home)
    assert typed(configured, status).startswith("RUNNING ")
    assert typed(configured, "qmi_proc stop proc_demo").startswith("STOPPED ")
    assert typed(configured, status) == "OFFLINE"
    printed = re.sub(r"(?m)^(#|\d{4}-).*\n", "", output.read_text())
    assert re.fullmatch(r"just started.*\n(process is still running\n)+process now stopping\n", printed)
    assert "Context proc_demo has stopped" in output.read_text()
    about_others = [line for line in output.read_text().splitlines() if "qmi_proc_" in line]
    assert len(about_others) == 1, "asking for the status is nothing to log"
    assert "Context proc_demo is asked to shut down by context 'qmi_proc_" in about_others[0]


@pytest.mark.slow
def test_further_options(configured: Desk) -> None:
    def lines(command: str) -> list[str]:
        done = configured.run(command)
        assert (done.returncode, done.stderr) == (0, "")
        return [line.split(" (")[0] for line in done.stdout.splitlines()]

    assert lines("qmi_proc --all start") == ["proc_demo: STARTED"]
    assert lines("qmi_proc start --locals") == ["proc_demo: already running"]
    assert lines(f"qmi_proc restart proc_demo --config {configured.home}/qmi.conf") == [
        "proc_demo: STOPPED",
        "proc_demo: STARTED",
    ]
    assert len(outputs(configured.home)) in (1, 2), "two starts in one second write to one file"
    assert lines("qmi_proc --locals stop") == ["proc_demo: STOPPED"]
    refused = configured.run("qmi_proc start instr_server")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "instr_server' has no program_module" in refused.stderr


@pytest.mark.slow
def test_the_server_mode(configured: Desk, tutorial: Tutorial) -> None:
    server, start, stop = (literal.text.strip() for literal in tutorial["Further options"].literals)
    typed = configured.program(re.sub(r"<--config .*>", f"--config {configured.home}/qmi.conf", server))
    typed.send(start)
    typed.expect(r"OK \d+\r\n")
    typed.send(stop)
    typed.expect(r"OK 1\r\n")
    typed.send("STATUS")
    code, printed = typed.wait()
    assert code == 0
    assert "unknown command 'STATUS'" in printed
