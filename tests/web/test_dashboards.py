"""What a dashboard consists of: checked when it is sent, and read as far as it can be shown."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from qmi.web.dashboard_schema import DASHBOARD, MOST_PANELS, usable
from qmi.web.schemas import fault_of
from tests.support.web import Web

BOARD = "/api/dashboards/main"
VALUE = {"kind": "value", "text": "lab.psu.voltage"}
PLOT = {"kind": "plot", "sources": [{"text": "lab.psu.outputs[1].level", "axis": "own"}], "span": 60, "wide": True}


def panels(*entries: object) -> dict[str, object]:
    return {"panels": list(entries)}


def plot(**changes: object) -> dict[str, object]:
    return {**PLOT, **changes}


GOOD: list[Any] = [
    {},
    panels(),
    panels(VALUE, PLOT),
    panels(plot(sources=[])),
    panels({"kind": "plot", "sources": [{"text": "lab.hold.sig_temperature[0]"}]}),
    panels(plot(span=0.5e3), plot(span=1), plot(span=86400)),
    panels({"kind": "value", "text": "a(1).b-c.\u00fcber[2].x", "wide": False}),
]

BAD: list[tuple[Any, str]] = [
    (None, "the body must be a JSON object"),
    ([], "the body must be a JSON object"),
    ({"values": []}, "the body has 'values', and may have panels"),
    ({"panels": None}, "panels must be a JSON list"),
    ({"panels": {"0": VALUE}}, "panels must be a JSON list"),
    (panels(*[VALUE] * (MOST_PANELS + 1)), "panels must have at most 100 entries, got 101"),
    (panels(VALUE, None), "panels[1] must be a JSON object"),
    (panels("lab.psu.voltage"), "panels[0] must be a JSON object"),
    (panels({}), "panels[0].kind must be one of plot, value"),
    (panels({"kind": ["plot"]}), "panels[0].kind must be one of plot, value"),
    (panels({"kind": "value"}), "panels[0] must have 'text'"),
    (panels({"kind": "plot"}), "panels[0] must have 'sources'"),
    (panels({**VALUE, "text": 5}), "panels[0].text must be a string"),
    (panels({**VALUE, "text": "nonsense"}), "panels[0].text must be a value or signal as CONTEXT.OBJECT.NAME"),
    (panels({**VALUE, "text": "lab.psu.voltage\n"}), "panels[0].text must be a value or signal"),
    (panels({**VALUE, "text": "lab.psu." + "x" * 201}), "panels[0].text must be a value or signal"),
    (panels({**VALUE, "text": "la b.psu.voltage"}), "panels[0].text must be a value or signal"),
    (panels({**VALUE, "sources": []}), "panels[0] has 'sources', and may have kind, text, wide"),
    (panels(plot(sources=None)), "panels[0].sources must be a JSON list"),
    (panels(plot(sources=["lab.psu.voltage"])), "panels[0].sources[0] must be a JSON object"),
    (panels(plot(sources=[{"axis": ""}])), "panels[0].sources[0] must have 'text'"),
    (panels(plot(sources=[{**VALUE}])), "panels[0].sources[0] has 'kind'"),
    (panels(plot(sources=[{"text": "a.b.c", "axis": "left"}])), "panels[0].sources[0].axis must be one of"),
    (panels(plot(sources=[{"text": "a.b.c"}] * 33)), "panels[0].sources must have at most 32 entries"),
    (panels(plot(span="60")), "panels[0].span must be a number"),
    (panels(plot(span=0)), "panels[0].span must be 1 or more"),
    (panels(plot(span=True)), "panels[0].span must be a number"),
    (panels(plot(span=1e9)), "panels[0].span must be 86400 or less"),
    (panels(plot(wide="yes")), "panels[0].wide must be true or false"),
]


def test_dashboard_fits_its_schema_or_is_told_why_not() -> None:
    described = jsonschema_rs.validator_for(dict(DASHBOARD))
    for content in GOOD:
        assert fault_of(content, DASHBOARD) == ""
        assert described.is_valid(content)
    for content, message in BAD:
        assert message in fault_of(content, DASHBOARD), content
        assert not described.is_valid(content), content


def test_what_is_usable_of_a_dashboard_fits_its_schema() -> None:
    for content, _ in BAD:
        if isinstance(content, dict):
            found, faults = usable(content)
            assert fault_of(found, DASHBOARD) == ""
            assert faults
    assert usable(panels(VALUE, {}, PLOT)) == (panels(VALUE, PLOT), ["panels[1].kind must be one of plot, value"])


async def test_dashboard_that_does_not_fit_is_refused_and_the_one_that_is_kept_stays(web: Web) -> None:
    headers = {"authorization": f"Bearer {web.token}"}
    for content in GOOD:
        assert (await web.client.put(BOARD, json=content, headers=headers)).status_code == 200
        assert (await web.client.get(BOARD)).json() == {"panels": [], **content}
    for content, message in BAD:
        kind = {"content-type": "application/json"}
        refused = await web.client.put(BOARD, content=json.dumps(content), headers=headers | kind)
        assert refused.status_code == 400
        assert message in refused.json()["error"]["message"]
    assert (await web.client.get(BOARD)).json() == GOOD[-1]


DAMAGED: list[tuple[bytes, int, str]] = [
    (b"", 409, "cannot be read"),
    (b"\xff\xfe", 409, "cannot be read"),
    (b"[1, 2", 409, "cannot be read"),
    (b"[" * 100_000, 409, "cannot be read"),
    (b"[]", 409, "is no JSON object"),
    (json.dumps(panels(VALUE, 5)).encode(), 200, "panels[1] must be a JSON object"),
    (b'{"panels": 5}', 200, "panels must be a JSON list"),
    (b'{"panels": [{"kind": "plot", "sources": [], "span": NaN}]}', 200, "panels[0].span must be a finite number"),
]


@pytest.mark.parametrize(("content", "status", "message"), DAMAGED)
async def test_file_of_a_dashboard_that_is_damaged_is_told_so(
    web: Web, config: Any, content: bytes, status: int, message: str
) -> None:
    folder = config.parent / "boards"
    folder.mkdir()
    (folder / "main.json").write_bytes(content)
    answer = await web.client.get(BOARD)
    assert (answer.status_code, message in answer.text) == (status, True)
    assert (await web.client.get("/dashboards/main")).status_code == 200
