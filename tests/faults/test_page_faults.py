"""The server of the pages is killed, stopped or frozen beside a program that measures."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmi.proc.process import identify, wait_gone
from tests.support.served_pages import iterations, served, until_said


def _event(stream: Iterator[str], kind: str) -> Any:
    """The next event of a kind, and its identifier."""
    fields: dict[str, str] = {}
    for line in stream:
        name, _, value = line.partition(": ")
        fields[name] = value
        if not line and fields.get("event") == kind:
            return json.loads(fields["data"]), fields.get("id", "")
        if not line:
            fields = {}
    raise AssertionError("the stream has ended")


@pytest.mark.slow
@pytest.mark.fault(67)
@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=["killed", "stopped", "frozen"])
def test_fault_67_pages_come_back_and_the_program_that_measures_goes_on(home: Path, how: signal.Signals) -> None:
    with served(home) as (lab, out):
        until_said(out, "lab: pages at http")
        first = lab.pages()
        identity = identify(first)
        assert identity is not None
        before = lab.status()
        with lab.client.stream("GET", "api/events?topic=status:lab") as stream:
            lines = stream.iter_lines()
            _, last = _event(lines, "hello")
            _event(lines, "push")
            os.kill(first, how)
            until_said(out, "lab: pages at http")
        assert wait_gone(identity, 10)
        assert lab.pages() != first
        after = lab.status()
        # The same program, whose loop went on.
        assert (after["pid"], after["started"]) == (before["pid"], before["started"]) == (lab.pid, after["started"])
        assert after["pages"]["why"] == ""
        assert iterations(after) > iterations(before) > 0
        headers = {"last-event-id": last}
        with lab.client.stream("GET", "api/events?topic=status:lab", headers=headers) as stream:
            lines = stream.iter_lines()
            hello, _ = _event(lines, "hello")
            assert hello["away"] > 0
            told, _ = _event(lines, "push")
            assert told["value"]["state"] == "running"
