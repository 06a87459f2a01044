"""A laboratory from its file whose pages are served beside it, in real programs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from qmi.proc.process import ProcessIdentity, identify, wait_gone
from qmi.tools import serve
from tests.support.configured import HERE
from tests.support.served import configure, says
from tests.support.waiting import wait_until

PARAMETER = "api/objects/lab/psu/parameters/channels[1].voltage"


def pages_of(home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What qmi_proc says of the pages."""
    return says(capsys, "status", "lab")[1].partition("pages ")[2].strip()


def served(home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The address of the pages, when they are served."""
    assert wait_until(lambda: pages_of(home, capsys).startswith("at "), 30)
    return pages_of(home, capsys).split()[1]


def program_of_pages(home: Path) -> ProcessIdentity:
    """The process that serves them."""
    wanted = {"qmi.web.pages_program", str(home / "qmi.conf")}
    (found,) = [each for each in psutil.process_iter(["cmdline"]) if wanted <= set(each.info["cmdline"] or ())]
    identity = identify(found.pid)
    assert identity is not None
    return identity


@pytest.mark.slow
def test_pages_come_and_go_with_their_program(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    psu = {"driver": "qmi.instruments.scpi:Scpi_PowerSupply", "simulate": True}
    configure(home, lab={"instruments": {"psu": psu}, "web": {"bind": "127.0.0.1:0"}})
    assert says(capsys, "start", "lab")[0] == 0
    try:
        url = served(home, capsys)
        token = (home / "lab_web.token").read_text().strip()
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.put(PARAMETER, json={"value": 1.5}).status_code == 401
            authorized = {"authorization": f"Bearer {token}"}
            assert client.put(PARAMETER, json={"value": 1.5}, headers=authorized).status_code == 200
            assert client.get(PARAMETER).json()["value"] == 1.5
        first = program_of_pages(home)
        os.kill(first.pid, signal.SIGKILL)
        assert wait_until(lambda: "was killed by SIGKILL" in pages_of(home, capsys), 30)
        served(home, capsys)
        assert (home / "lab_web.token").read_text().strip() == token
        last = program_of_pages(home)
        assert last != first
        with httpx.stream("GET", f"{served(home, capsys)}api/events?topic=site", trust_env=False) as stream:
            assert stream.status_code == 200
            os.kill(json.loads((home / ".qmi_proc" / "lab.json").read_text())["pid"], signal.SIGKILL)
            assert wait_gone(last, 30)
        assert says(capsys, "status", "lab")[1].startswith("lab: OFFLINE: process")
        printed = [path.read_text() for path in home.iterdir() if path.suffix in (".out", ".log")]
        assert len(printed) == 2
        assert not any(token in text for text in printed)
    finally:
        says(capsys, "stop", "lab")


@pytest.mark.slow
def test_pages_are_all_that_a_program_serves(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(home, lab={"web": {"bind": "127.0.0.1:0"}})
    assert says(capsys, "start", "--all")[0] == 0
    try:
        with httpx.Client(base_url=served(home, capsys), trust_env=False) as client:
            assert [each["name"] for each in client.get("api/contexts").json()] == ["lab"]
        last = program_of_pages(home)
    finally:
        assert says(capsys, "stop", "--all") == (0, "lab: STOPPED\n")
    assert wait_gone(last, 5)


@pytest.mark.parametrize(
    ("web", "fault"),
    [
        ({"users": "users"}, "contexts.lab.web: There is no file of users {home}/users: 'qmi web user add NAME"),
        ({"certificate": "a", "key": "b"}, "contexts.lab.web: HTTPS is not possible with the certificate {home}/a"),
        ({}, ""),
    ],
)
def test_check_finds_what_pages_lack(
    home: Path, web: dict[str, object], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(home, lab={"instruments": {"dmm": {"driver": f"{HERE}:Meter"}}, "web": web})
    code = serve.main(["lab", "--check"])
    printed = capsys.readouterr()
    assert code == (2 if fault else 0)
    assert fault.format(home=home) in printed.err
    assert not (home / "lab_web.token").exists()
    assert ("lab: pages can be served at 127.0.0.1:8642" in printed.out) == (not fault)
