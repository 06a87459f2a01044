"""Scans, queues and runs in the HTTP API, over real connections."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import qmi.data
from qmi.core.driver import parameter
from qmi.core.instrument import QMI_Instrument
from qmi.presenting.seen import RUNNING, Seen
from qmi.scan import ScanInfo, ScanQueue, scan
from qmi.web import topics
from qmi.web.scans import TIMEOUT, list_queues, list_scans
from tests.support.web import Web, pushed, web_and_lab


class Stage(QMI_Instrument):
    """Moves when it is let."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.place = 0.0
        self.moved, self.free = threading.Event(), threading.Semaphore(0)

    @parameter(unit="mm")
    def position(self) -> float:
        """Where it is."""
        return self.place

    @position.setter
    def move_to(self, value: float) -> None:
        self.moved.set()
        self.free.acquire()
        self.place = value


@pytest.fixture
async def web(config: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    monkeypatch.setattr(topics, "SCANS_EVERY", 0.02)
    async with web_and_lab(config) as found:
        found.client.headers["authorization"] = f"Bearer {found.token}"
        yield found


async def submitted(web: Web, points: int, name: str = "scans") -> Stage:
    """A queue with three scans of a stage, of which the first one sets its first point; returns the stage."""
    stages: list[Stage] = []

    class Kept(Stage):
        def __init__(self, context: Any, name: str) -> None:
            super().__init__(context, name)
            stages.append(self)

    stage = await web.lab.make_instrument("stage", Kept)
    await stage.open()
    queue = await web.lab.make_task(name, ScanQueue)
    await queue.start()
    for number in range(3):
        await scan(stage.parameters.position, list(range(points))).submit_async(queue, comment=f"number {number}")
    await trio.to_thread.run_sync(stages[0].moved.wait)
    return stages[0]


def states(queue: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["state"] for each in queue["scans"]}


def are_all(state: str, told: list[dict[str, Any]]) -> bool:
    return [each["state"] for each in told] == [state]


async def test_scans_are_seen_at_once_by_a_server_that_nobody_has_looked_at_before(web: Web) -> None:
    stage = await submitted(web, 1)
    (found,) = (await web.client.get("/api/scans")).json()
    assert (found["context"], found["id"], found["state"]) == ("lab", "scans-1", "running")
    (queue,) = (await web.client.get("/api/queues")).json()
    assert (queue["context"], queue["queue"], queue["paused"]) == ("lab", "scans", None)
    stage.free.release(100)


async def test_running_scan_is_paused_resumed_and_stopped(web: Web) -> None:
    stage = await submitted(web, 10)
    async with pushed(web, "scans", "queues") as browser:
        for what, state in (("pause", "paused"), ("resume", "running"), ("pause", "paused")):
            answer = await web.client.post(f"/api/scans/lab/scans-1/{what}")
            assert (answer.status_code, answer.json()["id"]) == (200, "scans-1")
            stage.free.release()
            await browser.until("scans", partial(are_all, state))
        assert (await web.client.post("/api/scans/lab/scans-1/stop")).status_code == 200
        stage.free.release(100)
        await browser.until("queues", lambda told: states(told[0])["scans-1"] == "stopped")
    assert (await web.client.get("/api/scans/lab/scans-1")).json()["state"] == "stopped"
    ended = await web.client.post("/api/scans/lab/scans-1/abort")
    assert (ended.status_code, ended.json()["error"]["type"]) == (409, "QMI_InvalidOperationException")


async def test_order_of_a_queue_is_changed(web: Web) -> None:
    stage = await submitted(web, 1)
    scans = "/api/queues/lab/scans/scans"
    moved = (await web.client.post(f"{scans}/scans-3/move", json={"position": 0})).json()
    assert list(states(moved)) == ["scans-1", "scans-3", "scans-2"]
    removed = (await web.client.delete(f"{scans}/scans-2")).json()
    assert states(removed)["scans-2"] == "removed"
    paused = (await web.client.post("/api/queues/lab/scans/pause", json={"reason": "lunch"})).json()
    assert "lunch (operator)" in paused["paused"]
    stage.free.release(100)
    async with pushed(web, "queues") as browser:
        await browser.until("queues", lambda told: states(told[0])["scans-1"] == "done")
        assert (await web.client.get("/api/queues/lab/scans")).json()["scans"][-1]["state"] == "waiting"
        assert (await web.client.post("/api/queues/lab/scans/resume")).json()["paused"] is None
        await browser.until("queues", lambda told: states(told[0])["scans-3"] == "done")


SCAN_THAT_CANNOT_BE_STEERED: list[tuple[Any, ...]] = [
    ("POST", "/api/scans/lab/idle-2/pause", None, 404, "No scan 'idle-2' goes on", "/api/queues"),
    ("GET", "/api/scans/lab/nothing", None, 404, "'nothing'", "/api/queues"),
    ("GET", "/api/queues/lab/stage", None, 409, "lab.stage is no queue", ""),
    ("GET", "/api/queues/lab/nothing", None, 404, "nothing", ""),
    ("GET", "/api/queues?context=labb", None, 404, "did you mean 'lab'?", ""),
    ("POST", "/api/queues/lab/idle/scans/idle-1/move", {"position": 0}, 409, "idle-1", ""),
    ("POST", "/api/queues/lab/idle/scans/nothing/move", {"position": 0}, 404, "nothing", ""),
    ("POST", "/api/queues/lab/idle/scans/idle-2/move", {"position": -1}, 400, "must be 0 or more", "position"),
    ("POST", "/api/queues/lab/idle/scans/idle-2/move", {"position": 0.5}, 400, "must be a whole number", "position"),
    ("DELETE", "/api/queues/lab/idle/scans/idle-1", None, 409, "idle-1", ""),
]


async def test_scan_that_cannot_be_steered_is_said_why(web: Web) -> None:
    stage = await submitted(web, 1, "idle")  # ids of scans that have ended are known for a while
    for method, path, body, status, message, hint in SCAN_THAT_CANNOT_BE_STEERED:
        answer = await web.client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        assert message in answer.json()["error"]["message"]
        assert hint in answer.json()["error"].get("hint", "")
    del web.client.headers["authorization"]
    assert (await web.client.post("/api/scans/lab/idle-1/abort")).status_code == 401
    assert (await web.client.post("/api/queues/lab/idle/pause")).status_code == 401
    stage.free.release(100)


@pytest.mark.parametrize(("where", "name"), [("", "here"), ("context=lab", "there")])
async def test_runs_are_told_of_this_computer_and_of_another_one(web: Web, where: str, name: str) -> None:
    # A context tells of all folders that its program has used, so that the names are others each time.
    done, lasting = f"done_{name}", f"lasting_{name}"
    async with qmi.data.run(done, columns={"T": "K"}, tags=["cold"]) as recording:
        recording.add(T=4.0)
    async with qmi.data.run(lasting, columns={"T": "K", "trace": "V"}) as recording:
        for number in range(5):
            recording.add(T=number, trace=[float(number), float("nan")])
        listed = (await web.client.get(f"/api/runs?name=*_{name}&{where}")).json()
        assert [(entry["name"], entry["state"]) for entry in listed] == [(lasting, "running"), (done, "done")]
        assert {entry["context"] for entry in listed} == {where.removeprefix("context=")}
        found_by = {"tag=cold": [done], "state=running": [lasting], "limit=1": [lasting], "state=FAILED": []}
        for condition, names in found_by.items():
            found = (await web.client.get(f"/api/runs?name=*_{name}&{condition}&{where}")).json()
            assert [entry["name"] for entry in found] == names
        one = (await web.client.get(f"/api/runs/{lasting}?{where}")).json()
        assert (one["rows"], one["columns"]) == (5, {"T": "K", "trace": "V"})
        part = (await web.client.get(f"/api/runs/{lasting}/rows?first=3&limit=1&{where}")).json()
        assert (part["more"], part["state"]) == (True, "running")
        assert [row["values"] for row in part["rows"]] == [{"T": 3, "trace": [3.0, "nan"]}]
        refused = await web.client.get(f"/api/runs/{lasting}/file?{where}")
        assert refused.status_code == 409
        assert "/rows has the rows so far" in refused.json()["error"]["hint"]
    rest = (await web.client.get(f"/api/runs/{lasting}/rows?first=3&{where}")).json()
    assert (len(rest["rows"]), rest["more"], rest["state"]) == (2, False, "done")
    for path in ("nothing", "nothing/rows", "nothing/csv", "nothing/file"):
        assert (await web.client.get(f"/api/runs/{path}?{where}")).status_code == 404


@pytest.mark.slow  # what makes it takes a second to load
@pytest.mark.parametrize(("where", "name"), [("", "grows_here"), ("context=lab", "grows_there")])
async def test_csv_of_a_run_that_is_recorded_has_the_rows_so_far(web: Web, where: str, name: str) -> None:
    columns = {"T": "K", "trace": "V", "note": "", "on": ""}
    rows = [
        {"T": 4.0, "trace": [1.0, float("nan")], "note": "a,b", "on": True},
        {"T": 5, "trace": [1.0, 2.0], "note": None, "on": None},
    ]
    texts = []
    async with qmi.data.run(name, columns=columns) as recording:
        for count in range(3):
            so_far = await web.client.get(f"/api/runs/{name}/csv?{where}")
            assert so_far.status_code == 200, so_far.text
            assert so_far.headers["content-disposition"].endswith('-so-far.csv"')
            assert len(so_far.text.splitlines()) == count + 1
            texts.append(so_far.text)
            if count < 2:
                recording.add(**rows[count])
    whole = await web.client.get(f"/api/runs/{name}/csv?{where}")
    assert whole.headers["content-disposition"].endswith(f'{recording.run_id}.csv"')
    assert whole.text == texts[-1]


async def test_run_of_a_context_that_is_not_there_is_said_so(web: Web) -> None:
    for path in ("", "/done", "/done/rows", "/done/csv", "/done/file"):
        answer = await web.client.get(f"/api/runs{path}?context=labb")
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "QMI_UnknownNameException")


class PartlySilent:
    """Contexts of which some do not answer."""

    def __init__(self) -> None:
        self.context = self

    def seen(self) -> list[Seen]:
        return [Seen(name, None, RUNNING) for name in ("silent1", "lab", "silent2", "silent3")]

    def has_peer_context(self, name: str) -> bool:
        return True

    def check(self, name: str) -> None:
        pass

    async def get_rpc_object(self, name: str) -> Any:
        if name.startswith("silent"):
            await trio.sleep_forever()
        return self

    async def list_scans(self, rpc_timeout: float) -> list[ScanInfo]:
        return [ScanInfo(**dict.fromkeys(ScanInfo._fields, ""))]  # type: ignore[arg-type]

    async def list_queues(self, rpc_timeout: float) -> list[str]:
        return []


async def test_contexts_that_do_not_answer_keep_nobody_from_the_scans_of_others(autojump_clock: MockClock) -> None:
    begin = trio.current_time()
    site: Any = PartlySilent()
    assert [scan["context"] for scan in await list_scans(site)] == ["lab"]
    assert trio.current_time() - begin == pytest.approx(TIMEOUT)
    assert await list_queues(site) == []
    assert trio.current_time() - begin == pytest.approx(2 * TIMEOUT)
