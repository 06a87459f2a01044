"""The HTTP API, over real connections to a laboratory with an instrument and a task."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import cbor2
import numpy
import pytest

from qmi._version import __version__
from qmi.core.task import QMI_Task
from qmi.web import guard
from qmi.web.api_table import OPERATIONS
from qmi.web.app import HANDLERS
from qmi.web.openapi import document
from tests.support.shell_driver import ShellSupply
from tests.support.web import Web, web_and_lab
from tests.support.web_api_page import PAGE, page

PSU = "/api/objects/lab/psu"


class Settings(NamedTuple):
    gain: float = 1.0
    label: str = "a"


class Regulator(QMI_Task[Any, Any]):
    """A task with settings."""

    def __init__(self, runner: Any, name: str) -> None:
        super().__init__(runner, name)
        self.settings = Settings()

    def run(self) -> None:
        self.sleep(60.0)


@pytest.fixture
async def web(config: Path) -> AsyncIterator[Web]:
    async with web_and_lab(config) as found:
        await found.lab.make_instrument("psu", ShellSupply)
        yield found


@pytest.fixture
def operator(web: Web) -> Web:
    """Somebody who has the token."""
    web.client.headers["authorization"] = f"Bearer {web.token}"
    return web


def test_each_operation_has_a_handler_and_a_name_of_its_own() -> None:
    assert list(HANDLERS) == [operation.name for operation in OPERATIONS]
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


def test_description_is_that_of_openapi() -> None:
    found = document(OPERATIONS, __version__)
    assert found["openapi"] == "3.1.0"
    put = found["paths"]["/api/objects/{context}/{object}/parameters/{path}"]["put"]
    assert [entry["name"] for entry in put["parameters"]] == ["context", "object", "path"]
    assert put["requestBody"]["content"]["application/json"]["schema"]["required"] == ["value"]
    assert put["security"]
    assert {} in found["paths"]["/api/contexts"]["get"]["security"]
    assert {} not in put["security"]


async def test_contexts_are_told(web: Web) -> None:
    (lab,) = (await web.client.get("/api/contexts")).json()
    assert (lab["name"], lab["state"], lab["objects"]) == ("lab", "running", 1)
    one = (await web.client.get("/api/contexts/lab")).json()
    assert one["status"]["objects"][0]["name"] == "psu"


async def test_object_is_told(web: Web) -> None:
    psu = (await web.client.get(PSU)).json()
    assert psu["class"].endswith(":ShellSupply") or psu["class"].endswith(".ShellSupply")
    assert {"name": "voltage", "type": "float", "unit": "V"}.items() <= psu["parameters"][0].items()
    assert "nap" in [method["name"] for method in psu["methods"]]
    assert psu["lock"] is None
    assert psu["status"]["category"] == "instrument"


async def test_parameters_are_told_without_asking_the_device(web: Web) -> None:
    before = {entry["name"]: entry for entry in (await web.client.get(f"{PSU}/parameters")).json()}
    assert before["voltage"]["value"] is None
    assert before["voltage"]["limits"] == [0, 30]
    assert before["mode"]["values"]
    assert (await web.client.get(f"{PSU}/parameters/voltage")).json() == {"value": 1.5, "unit": "V"}
    after = {entry["name"]: entry for entry in (await web.client.get(f"{PSU}/parameters")).json()}
    assert after["voltage"]["value"] == 1.5
    assert after["voltage"]["time"] > 1e9


PARAMETER_IS_SET_BY_JSON: list[tuple[Any, ...]] = [
    ("voltage", 3, {"value": 3.0, "unit": "V"}),
    ("voltage", "300 mV", {"value": 0.3, "unit": "V"}),
    ("voltage", "7", {"value": 7.0, "unit": "V"}),
    ("mode", "CURRENT", {"value": "CURR", "member": "CURRENT"}),
    ("output", True, {"value": True}),
    ("output", "on", {"value": True}),
    ("label", "5", {"value": "5"}),
    ("outputs[2].voltage", 4.5, {"value": 4.5, "unit": "V"}),
]  # fmt: skip


async def test_parameter_is_set_by_json_as_on_the_command_line(operator: Web) -> None:
    for path, value, read in PARAMETER_IS_SET_BY_JSON:
        answer = await operator.client.put(f"{PSU}/parameters/{path}", json={"value": value})
        assert (answer.status_code, answer.json()) == (200, read)
        assert (await operator.client.get(f"{PSU}/parameters/{path}")).json() == read


VALUE_THAT_DOES_NOT_FIT: list[tuple[Any, ...]] = [
    ("voltage", {"value": 31}, 422, "must be from 0 to 30 V, got 31.0 V"),
    ("voltage", {"value": "high"}, 422, "lab.psu.voltage must be a number from 0 to 30 V, got 'high'"),
    ("voltage", {"value": None}, 422, "must be a number from 0 to 30 V, got None"),
    ("voltage", {"value": [1]}, 422, "must be a number from 0 to 30 V, got [1]"),
    ("voltage", {"value": "3 A"}, 422, "must be"),
    ("mode", {"value": "POWER"}, 422, "must be VOLTAGE or CURRENT"),
    ("output", {"value": 1.5}, 422, "must be on or off"),
    ("label", {"value": 5}, 422, "must be a text"),
    ("temperature", {"value": 5}, 409, "lab.psu.temperature can only be read"),
    ("voltages", {"value": 5}, 404, "Did you mean 'voltage'?"),
    ("outputs[3].voltage", {"value": 5}, 404, "has no parameter"),
    ("voltage", {}, 400, "the body must have 'value'"),
    ("voltage", {"value": 1, "unit": "V"}, 400, "has 'unit', and may have value"),
    ("voltage", [], 400, "the body must be a JSON object"),
    ("*", {"value": 1}, 400, "one value"),
]  # fmt: skip


async def test_value_that_does_not_fit_is_refused(operator: Web) -> None:
    for path, body, status, message in VALUE_THAT_DOES_NOT_FIT:
        answer = await operator.client.put(f"{PSU}/parameters/{path}", json=body)
        assert message in answer.json()["error"]["message"]
        assert answer.status_code == status
        if status == 422:
            assert answer.json()["error"]["argument"] == "value"


METHOD_IS_CALLED: list[tuple[Any, ...]] = [
    ("echo", ["5"], "5"),
    ("echo", {"value": {"a": [1, None]}}, {"a": [1, None]}),
    ("choose", {"mode": "CURRENT", "times": 2}, ["Mode", "CURRENT", "slow", "2"]),
    ("pulse", [{"width": 1, "mode": "CURRENT"}], "Pulse 1.0 CURRENT"),
    ("total", [[1, 2, 3]], 6.0),
    ("raw", ["0x01ff"], 2),
    ("points", [], [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}]),
    ("state", {}, {"on": True, "mode": "CURRENT", "volts": 1.5}),
    ("count", [3], [0, 1, 2]),
    ("outputs[2].ramp", ["2 V"], "channel 2 to 2.0 at 1.0"),
    ("set_voltage", ["3 mV"], None),
]  # fmt: skip


async def test_method_is_called(operator: Web) -> None:
    for name, arguments, result in METHOD_IS_CALLED:
        if name == "outputs[2].ramp":
            arguments = [2]
        answer = await operator.client.post(f"{PSU}/methods/{name}", json={"arguments": arguments})
        assert (answer.status_code, answer.json()) == (200, {"result": result})


CALL_THAT_FAILS_SAYS_WHY: list[tuple[Any, ...]] = [
    ("fail", {}, 502, "ValueError", "the fuse is blown"),
    ("echo", {}, 422, "WrongArgument", "needs its argument 'value'"),
    ("nap", {"arguments": ["long"]}, 422, "WrongArgument", "argument 'seconds' of lab.psu.nap must be a number"),
    ("nap", {"arguments": 5}, 400, "BadRequest", "arguments must be a JSON object or a JSON list"),
    ("nap", {"arguments": [0], "timeout": 0}, 400, "BadRequest", "timeout must be above 0"),
    ("nap", {"arguments": [0.2], "timeout": 0.01}, 504, "TooSlow", "no answer in time"),
    ("set_voltage", {"arguments": ["x"]}, 422, "WrongArgument", "must be a number from 0 to 30 V, got 'x'"),
    ("set_voltage", {"arguments": [31]}, 422, "QMI_InvalidValueException", "must be from 0 to 30 V"),
    ("nop", {}, 404, "QMI_UnknownNameException", "Did you mean 'nap'?"),
    ("voltage", {}, 404, "QMI_UnknownNameException", "is a value and no method"),
    ("_read", {}, 404, "QMI_UnknownNameException", "has no method"),
    ("__init__", {}, 404, "QMI_UnknownNameException", "has no method"),
]  # fmt: skip


async def test_call_that_fails_says_why(operator: Web) -> None:
    for name, body, status, kind, message in CALL_THAT_FAILS_SAYS_WHY:
        answer = await operator.client.post(f"{PSU}/methods/{name}", json=body)
        assert message in answer.json()["error"]["message"]
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


async def test_array_comes_as_npy_or_cbor(operator: Web) -> None:
    async def trace(accept: str) -> Any:
        body = {"arguments": [3]}
        return await operator.client.post(f"{PSU}/methods/trace", json=body, headers={"accept": accept})

    assert (await trace("*/*")).json() == {"result": [0.0, 1.0, 2.0]}
    npy = await trace("application/x-npy")
    assert npy.headers["content-type"] == "application/x-npy"
    assert numpy.load(io.BytesIO(npy.content)).tolist() == [0.0, 1.0, 2.0]
    cbor = await trace("application/json;q=0.5, application/cbor")
    tagged = cbor2.loads(cbor.content)
    assert (tagged.tag, numpy.frombuffer(tagged.value, "<f8").tolist()) == (86, [0.0, 1.0, 2.0])


WHAT_IS_NOT_THERE_IS_SAI: list[tuple[Any, ...]] = [
    ("GET", "/api/contexts/nowhere", 404),
    ("GET", "/api/contexts/%2e%2e", 404),
    ("GET", "/api/objects/lab/nothing", 404),
    ("GET", "/api/objects/nowhere/psu", 404),
    ("GET", "/api/objects/l%20b/psu", 404),
    ("GET", "/api/objects/lab/$context", 404),
    ("GET", "/api/contexts?x=1", 400),
    ("GET", "/api/logs/lab?limit=x", 400),
    ("GET", "/api/logs/lab?limit=0", 400),
    ("GET", "/api/logs/lab?limit=1&limit=2", 400),
    ("GET", "/api/events", 400),
    ("GET", "/api/events?topic=sit", 400),
    ("GET", "/api/events?topic=value:lab", 400),
    ("GET", "/api/events?topic=site&rate=0", 400),
    ("GET", "/api/runs/nothing", 404),
    ("GET", "/api/dashboards/nothing", 404),
    ("GET", "/api/dashboards/..%2fx", 404),
    ("POST", "/api/contexts", 405),
    ("POST", "/api/tasks/lab/psu/start", 409),
    ("POST", "/api/scans/lab/x/pause", 404),
]  # fmt: skip


async def test_what_is_not_there_is_said_so(operator: Web) -> None:
    for method, path, status in WHAT_IS_NOT_THERE_IS_SAI:
        answer = await operator.client.request(method, path)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]


async def test_lock_is_taken_shown_and_given_back(operator: Web) -> None:
    taken = (await operator.client.post(f"{PSU}/lock", json={"reason": "alignment"})).json()["lock"]
    assert taken["mine"]
    assert "alignment" in taken["describe"]
    assert (await operator.client.put(f"{PSU}/parameters/voltage", json={"value": 2})).status_code == 200
    proxy = await operator.lab.get_rpc_object("psu")
    assert await proxy.is_locked()
    assert not await proxy.lock()
    assert (await operator.client.request("DELETE", f"{PSU}/lock")).json() == {"lock": None}
    assert not await proxy.is_locked()


async def test_lock_of_somebody_else_is_respected_and_taken_over(operator: Web) -> None:
    proxy = await operator.lab.get_rpc_object("psu")
    told: list[str] = []
    operator.lab.on_lock_request(lambda request: told.append(str(request)))
    assert await proxy.lock(reason="measuring")
    refused = await operator.client.put(f"{PSU}/parameters/voltage", json={"value": 2})
    assert refused.status_code == 423
    shown = (await operator.client.get(f"{PSU}/lock")).json()["lock"]
    assert not shown["mine"]
    assert "measuring" in shown["describe"]
    for answer in (await operator.client.post(f"{PSU}/lock", json={}), await operator.client.delete(f"{PSU}/lock")):
        assert answer.status_code == 409
        assert "measuring" in answer.json()["error"]["message"]
    assert (await operator.client.post(f"{PSU}/lock/request", json={"reason": "me, too"})).status_code == 200
    assert (await operator.client.delete(f"{PSU}/lock?force=1&reason=fire")).json() == {"lock": None}
    assert any("me, too" in text for text in told)
    assert (await operator.client.put(f"{PSU}/parameters/voltage", json={"value": 2})).status_code == 200


async def test_task_is_started_and_stopped_and_its_settings_changed(operator: Web) -> None:
    await operator.lab.make_task("reg", Regulator)
    reg = "/api/tasks/lab/reg"
    assert (await operator.client.get(f"{reg}/settings")).json()["settings"] == {"gain": 1.0, "label": "a"}
    changed = await operator.client.put(f"{reg}/settings", json={"gain": 2})
    assert changed.json() == {"settings": {"gain": 2.0, "label": "a"}}
    pending = (await operator.client.get(f"{reg}/settings")).json()["pending"]
    assert pending == {"gain": 2.0, "label": "a"}
    for wrong, message in (({"gain": "x"}, "must be a number"), ({"gian": 1}, "it has gain, label")):
        answer = await operator.client.put(f"{reg}/settings", json=wrong)
        assert answer.status_code == 422
        assert message in answer.json()["error"]["message"]
    assert (await operator.client.post(f"{reg}/start")).status_code == 200
    proxy = await operator.lab.get_task("reg")
    assert await proxy.is_running()
    assert (await operator.client.post(f"{reg}/stop")).status_code == 200
    await proxy.join()


async def test_dashboards_are_kept(operator: Web) -> None:
    board = {"panels": [{"kind": "value", "text": "lab.psu.voltage"}]}
    assert (await operator.client.put("/api/dashboards/main", json=board)).status_code == 200
    assert (await operator.client.get("/api/dashboards")).json() == ["main"]
    assert (await operator.client.get("/api/dashboards/main")).json() == board
    assert (await operator.client.delete("/api/dashboards/main")).status_code == 200
    assert (await operator.client.get("/api/dashboards")).json() == []


async def test_log_is_read(web: Web) -> None:
    found = (await web.client.get("/api/logs/lab?limit=5&level=WARNING")).json()
    assert set(found) >= {"records", "last", "run"}


async def test_signals_are_listed(web: Web) -> None:
    await web.lab.get_rpc_object("psu")
    found = (await web.client.get("/api/signals?context=lab")).json()
    assert {entry["object"] for entry in found} <= {"psu"}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (PSU, {"GET", "HEAD"}),
        (f"{PSU}/parameters/voltage", {"GET", "HEAD", "PUT"}),
        (f"{PSU}/lock", {"GET", "HEAD", "POST", "DELETE"}),
        ("/api/tasks/lab/reg/start", {"POST"}),
        ("/api/dashboards/a", {"GET", "HEAD", "PUT", "DELETE"}),
        ("/metrics", {"GET", "HEAD"}),
        ("/", {"GET", "HEAD"}),
    ],
)
async def test_method_that_an_address_lacks_is_refused_with_those_that_it_has(
    operator: Web, path: str, allowed: set[str]
) -> None:
    for method in {"GET", "PUT", "POST", "DELETE", "PATCH", "TRACE", "OPTIONS", "QUERY"} - allowed:
        answer = await operator.client.request(method, path)
        assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, allowed), method
        assert "takes" in answer.json()["error"]["hint"]


async def test_address_that_is_none_says_where_they_are_listed(web: Web) -> None:
    error = (await web.client.get("/api/instruments")).json()["error"]
    assert error["hint"] == "GET /api lists what there is"
    listed = (await web.client.get("/api")).json()
    assert {"method": "GET", "path": "/api/contexts", "changes": False}.items() <= listed[1].items()
    assert len(listed) == len(OPERATIONS)


async def test_request_that_is_too_large_is_refused_whatever_it_says_of_its_length(operator: Web) -> None:
    async def in_parts() -> AsyncIterator[bytes]:
        yield b'{"a": "'
        for _ in range(17):
            yield b"x" * 1024 * 1024
        yield b'"}'

    headers = {"content-type": "application/json"}
    for content in (b"x" * (guard.MAX_BODY + 1), in_parts()):
        answer = await operator.client.put("/api/dashboards/a", content=content, headers=headers)
        assert answer.status_code == 413
        assert "16777216 bytes" in answer.json()["error"]["message"]
    assert (await operator.client.put("/api/dashboards/a", json={})).status_code == 200


async def test_error_says_what_to_do(operator: Web) -> None:
    psu = await operator.lab.get_rpc_object("psu")
    assert await psu.lock()
    refused = (await operator.client.put(f"{PSU}/parameters/voltage", json={"value": 1})).json()["error"]
    assert refused["hint"].startswith("ask for the lock: POST /api/objects/lab/psu/lock/request")
    form = await operator.client.put(f"{PSU}/parameters/voltage", data={"value": "1"})
    assert (form.status_code, "application/json" in form.json()["error"]["hint"]) == (415, True)
    del operator.client.headers["authorization"]
    anonymous = await operator.client.put(f"{PSU}/parameters/voltage", json={"value": 1})
    assert anonymous.status_code == 401
    assert "token" in anonymous.json()["error"]["hint"]


async def test_object_that_somebody_has_locked_is_read_as_it_was_last(
    operator: Web, caplog: pytest.LogCaptureFixture
) -> None:
    psu = await operator.lab.get_rpc_object("psu")
    infos = (await operator.client.get(f"{PSU}/parameters")).json()
    assert (await operator.client.get(f"{PSU}/parameters/voltage")).json()["value"] == 1.5
    assert await psu.lock(reason="measuring")
    locked = await operator.client.get(f"{PSU}/parameters/voltage")
    told = locked.json()
    assert (locked.status_code, told["value"], told["unit"]) == (200, 1.5, "V")
    assert "locked by context 'lab'" in told["note"]
    assert told["time"] > 1e9
    never = await operator.client.get(f"{PSU}/parameters/temperature")
    assert never.status_code == 423
    listed = {entry["name"]: entry for entry in (await operator.client.get(f"{PSU}/parameters")).json()}
    assert list(listed) == [entry["name"] for entry in infos]
    assert (listed["voltage"]["value"], listed["voltage"]["limits"]) == (1.5, [0, 30])
    assert "may be others" in listed["voltage"]["note"]
    assert "is denied" not in caplog.text, "it was not asked"
    cbor = await operator.client.get(f"{PSU}/parameters/voltage", headers={"accept": "application/cbor"})
    assert cbor2.loads(cbor.content) == 1.5
    assert float(cbor.headers["x-qmi-time"]) == pytest.approx(told["time"])


async def test_object_that_was_locked_before_it_was_seen_is_told_by_its_declaration(web: Web) -> None:
    psu = await web.lab.get_rpc_object("psu")
    assert await psu.lock()
    listed = {entry["name"]: entry for entry in (await web.client.get(f"{PSU}/parameters")).json()}
    assert listed["voltage"].items() >= {"unit": "V", "type": "float", "limits": None, "settable": True}.items()


async def test_value_that_was_read_last_is_told_without_asking_the_device(web: Web) -> None:
    assert (await web.client.get(f"{PSU}/parameters/voltage?last=true")).status_code == 409
    psu = await web.lab.get_rpc_object("psu")
    await psu.set_voltage(2.0)
    told = (await web.client.get(f"{PSU}/parameters/voltage?last=true")).json()
    assert (told["value"], told["time"] > 1e9, "note" in told) == (2.0, True, False)


def test_page_of_the_documentation_lists_what_the_table_has() -> None:
    assert PAGE.read_text("utf-8") == page(), "python -m tests.support.web_api_page writes the page anew"
