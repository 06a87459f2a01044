"""What an instrument and its device say to each other, by the API and pushed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qmi.core.driver import ScpiInstrument, parameter
from tests.support.shell_driver import ShellSupply
from tests.support.web import Web, pushed, web_and_lab

TRAFFIC = "/api/objects/lab/meter/traffic"


class Meter(ScpiInstrument):
    """A meter."""

    level = parameter("LEV", float, unit="V", limits=(0, 5))


@pytest.fixture
async def web(config: Path) -> AsyncIterator[Web]:
    async with web_and_lab(config) as found:
        meter: Any = await found.lab.make_instrument("meter", Meter, simulate=True)
        await meter.open()
        await found.lab.make_instrument("lonely", ShellSupply)
        found.client.headers["authorization"] = f"Bearer {found.token}"
        yield found


async def test_traffic_is_switched_on_read_and_switched_off(web: Web) -> None:
    told = (await web.client.get(TRAFFIC)).json()
    assert (told["transport"], told["on"], told["records"]) == (True, False, [])
    state = (await web.client.put(TRAFFIC, json={"on": True})).json()
    assert state["on"]
    assert state["since"] > 0
    async with pushed(web, "traffic:lab.meter") as browser:
        await web.client.put("/api/objects/lab/meter/parameters/level", json={"value": 1.5})
        records = await browser.until("traffic:lab.meter", lambda value: "LEV 1.5" in str(value))
    assert records[0]["logger"] == "qmi.traffic.meter"
    told = (await web.client.get(TRAFFIC)).json()
    assert any("LEV 1.5" in record["message"] for record in told["records"])
    after = (await web.client.get(TRAFFIC, params={"after": told["last"], "run": told["run"]})).json()
    assert after["records"] == []
    assert not (await web.client.put(TRAFFIC, json={"on": False})).json()["on"]


async def test_traffic_of_an_instrument_without_transport_is_refused(web: Web) -> None:
    path = "/api/objects/lab/lonely/traffic"
    assert (await web.client.get(path)).json()["transport"] is False
    answer = await web.client.put(path, json={"on": True})
    assert answer.status_code == 409
    assert "no transport" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["nobody", "$context", "a b"])
async def test_traffic_of_what_is_not_there_is_not_found(web: Web, name: str) -> None:
    for answer in (
        await web.client.get(f"/api/objects/lab/{name}/traffic"),
        await web.client.put(f"/api/objects/lab/{name}/traffic", json={"on": True}),
    ):
        assert answer.status_code == 404


async def test_traffic_is_switched_by_those_alone_who_have_logged_in(web: Web) -> None:
    del web.client.headers["authorization"]
    assert (await web.client.put(TRAFFIC, json={"on": True})).status_code == 401
    assert (await web.client.get(TRAFFIC)).json()["transport"] is True


@pytest.mark.parametrize("topic", ["traffic", "traffic:", "traffic:lab", "traffic:lab.meter.x", "traffic:.meter"])
async def test_topic_of_traffic_names_an_object(web: Web, topic: str) -> None:
    answer = await web.client.get("/api/events", params={"topic": topic})
    assert answer.status_code in (400, 422)
