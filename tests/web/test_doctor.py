"""What the doctor finds, in the HTTP API: the command is run once for all who ask."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from qmi.web import doctor
from tests.support.web import Web, web_and_lab

FINDING = {"level": "warning", "what": "lab.psu", "found": "it has failed", "todo": "switch it on"}


class Command:
    """Stands for ``qmi doctor``, which takes seconds.

    Args:
        patch: Puts it in its place.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.runs: list[list[str]] = []
        self.printed = json.dumps([FINDING]).encode()
        self.begun, self.may_end = trio.Event(), trio.Event()
        self.may_end.set()
        patch.setattr(trio, "run_process", self._run)

    async def _run(self, command: list[str], **_: Any) -> Any:
        self.runs.append(command)
        self.begun.set()
        await self.may_end.wait()
        return subprocess.CompletedProcess(command, 1, self.printed, b"qmi: the configuration is broken\n")


@pytest.fixture
async def web(config: Path) -> AsyncIterator[Web]:
    async with web_and_lab(config) as found:
        yield found


async def test_findings_of_the_doctor_are_told(web: Web, monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    command = Command(monkeypatch)
    assert (await web.client.get("/api/doctor")).json() == [FINDING]
    assert command.runs[0][-2:] == ["--config", str(config)]


async def test_doctor_looks_once_for_all_who_ask(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    command = Command(monkeypatch)
    command.may_end = trio.Event()
    answers: list[Any] = []

    async def ask() -> None:
        answers.append((await web.client.get("/api/doctor")).json())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await command.begun.wait()
        assert (await web.client.get("/api/session")).status_code == 200, "nobody else waits for it"
        command.may_end.set()
    assert answers == [[FINDING]] * 3
    assert len(command.runs) == 1


@pytest.mark.parametrize("printed", [b"", b"no JSON", b'{"level": "ok"}', b"\xff"])
async def test_doctor_that_fails_is_said_so(web: Web, monkeypatch: pytest.MonkeyPatch, printed: bytes) -> None:
    Command(monkeypatch).printed = printed
    answer = await web.client.get("/api/doctor")
    assert answer.status_code == 502
    assert answer.json()["error"]["message"] == "qmi doctor has failed: qmi: the configuration is broken"


async def test_doctor_that_does_not_end_is_given_up(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PATIENCE", 0.05)
    Command(monkeypatch).may_end = trio.Event()
    answer = await web.client.get("/api/doctor")
    assert (answer.status_code, "did not end" in answer.json()["error"]["message"]) == (502, True)
