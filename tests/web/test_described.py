"""What the description of the API promises, against a server and a laboratory that run: by schemathesis."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import qmi.data
from qmi.scan import ScanQueue, scan
from qmi.web import doctor
from qmi.web.authorization import RateLimit
from tests.support.web_lab import Pages, served_lab

COMMAND = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
SETTINGS = """
[checks]
# A context that does not run is 503, a driver that fails 502, one that takes too long 504: no fault of the server.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 502, 503, 504]
# What fits is known by the drivers: 422. What somebody has locked is 423.
positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 422, 423, 502, 503, 504]

[phases.coverage]
unexpected-methods = ["PATCH"]  # all of them are in test_api.py
"""

THERE: dict[str, list[str]] = {
    "context": ["lab", "optics", "cryostat"],
    "object": ["supply", "spare", "hold", "chiller", "laser", "scans"],
    "task": ["hold", "chiller", "supply"],
    "queue": ["scans", "supply"],
    "scan": ["scans-1", "scans-2"],
    "parameters": ["voltage", "limit", "regulation", "current", "label", "outputs[1].level", "power", "wavelength"],
    "methods": ["ramp", "set_voltage", "outputs[1].set_level", "outputs[2].reset", "trip", "self_test", "list_scans"],
}
"""What there is in the laboratory, by what the paths call it."""


def with_names(described: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    """The description with what there is in place of any text in its paths."""
    for path, operations in described["paths"].items():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                kind = parameter["name"] if parameter["name"] != "path" else path.split("/")[-2]
                if parameter["in"] == "path" and kind in names:
                    parameter["schema"] = {"type": "string", "enum": names[kind]}
    return described


def described_by(pages: Pages) -> dict[str, Any]:
    """The description that the server gives."""
    with urllib.request.urlopen(f"{pages.url}api/openapi.json") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.fixture
def record_a_run(home: Path) -> str:
    with qmi.data.run("cooldown", columns={"T": "K"}) as recording:
        for temperature in (300.0, 4.2, float("nan")):
            recording.add(T=temperature)
    return recording.run_id


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("are_there", "phases", "examples"),
    [(True, "examples,coverage,fuzzing", 5), (False, "fuzzing", 5)],
    ids=["what is there", "anything"],
)
def test_server_answers_as_it_is_described(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_a_run: str,
    caplog: pytest.LogCaptureFixture,
    are_there: bool,
    phases: str,
    examples: int,
) -> None:
    monkeypatch.setattr(RateLimit, "wait", lambda limit, who, now: 0.0)
    monkeypatch.setattr(doctor, "_KEPT", 1e9)
    caplog.set_level(logging.CRITICAL)
    caplog.set_level(logging.ERROR, "qmi.web")
    with served_lab(tmp_path) as pages:
        queue = pages.lab.make_task("scans", ScanQueue)
        queue.pause_queue("until it is cold")
        supply = pages.lab.get_instrument("supply")
        for _ in range(2):
            scan(supply.parameters.voltage, [1.0, 2.0]).measure(supply.parameters.current).submit(queue)
        found = described_by(pages)
        del found["paths"]["/api/events"]  # it has no end
        if are_there:
            found = with_names(found, {**THERE, "run": [record_a_run, "cooldown"]})
        (tmp_path / "api.json").write_text(json.dumps(found))
        (tmp_path / "schemathesis.toml").write_text(SETTINGS)
        run = subprocess.run(
            [
                *COMMAND, "--config-file", tmp_path / "schemathesis.toml", "run", tmp_path / "api.json",
                "--url", pages.url, "--header", f"Authorization: Bearer {pages.token}",
                "--phases", phases, "--max-examples", str(examples), "--seed", "1",
                "--generation-database", "none", "--continue-on-failure", "--no-shrink", "--warnings", "off",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
    assert not [record.getMessage() for record in caplog.records if record.name.startswith("qmi.web")]
