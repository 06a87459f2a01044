"""Several users of one server: what is whose, and what becomes of those who are users no longer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio

from qmi.web.api import ApiCall
from qmi.web.options import Options
from qmi.web.users import Users
from tests.support.shell_driver import ShellSupply
from tests.support.web import Web, web_and_lab

PSU = "/api/objects/lab/psu"
ALICE = ("alice", "correct horse")
BOB = ("bob", "battery staple")
BOARD = "/api/dashboards/a"


@pytest.fixture
def users(tmp_path: Path) -> Users:
    """A file with two users."""
    found = Users(tmp_path / "users")
    for name, password in (ALICE, BOB):
        found.add(name, password)
    return found


@pytest.fixture
async def web(config: Path, users: Users, tmp_path: Path) -> AsyncIterator[Web]:
    options = Options(bind="127.0.0.1:0", users=str(users.path), dashboards=str(tmp_path / "boards"))
    async with web_and_lab(config, options) as found:
        await found.lab.make_instrument("psu", ShellSupply)
        yield found


async def test_lock_that_another_user_takes_over_is_his_alone(web: Web) -> None:
    assert (await web.client.post(f"{PSU}/lock", json={}, auth=ALICE)).json()["lock"]["mine"]
    assert (await web.client.post(f"{PSU}/lock", json={}, auth=BOB)).status_code == 409
    assert (await web.client.delete(f"{PSU}/lock?force=1", auth=BOB)).json() == {"lock": None}
    assert (await web.client.post(f"{PSU}/lock", json={}, auth=BOB)).json()["lock"]["mine"]
    assert not (await web.client.get(f"{PSU}/lock", auth=ALICE)).json()["lock"]["mine"]
    assert not (await web.client.get(f"{PSU}/lock")).json()["lock"]["mine"]
    assert (await web.client.get(f"{PSU}/lock", auth=BOB)).json()["lock"]["mine"]
    assert (await web.client.put(f"{PSU}/parameters/voltage", json={"value": 2}, auth=ALICE)).status_code == 423
    assert (await web.client.put(f"{PSU}/parameters/voltage", json={"value": 2}, auth=BOB)).status_code == 200
    assert (await web.client.delete(f"{PSU}/lock", auth=ALICE)).status_code == 409
    assert (await web.client.delete(f"{PSU}/lock", auth=BOB)).json() == {"lock": None}


async def test_lock_that_was_waited_for_is_used_by_the_next_requests(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = await web.lab.get_rpc_object("psu")
    assert await proxy.lock()
    waits = trio.Event()
    signed = ApiCall.signed

    def say_that_it_waits(call: ApiCall, reason: str | None) -> str:
        waits.set()
        return signed(call, reason)

    monkeypatch.setattr(ApiCall, "signed", say_that_it_waits)
    answers: list[httpx.Response] = []

    async def lock() -> None:
        answers.append(await web.client.post(f"{PSU}/lock", json={"timeout": 20}, auth=ALICE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lock)
        await waits.wait()
        # What a page asks for when it is loaded: what the object offers is asked for anew.
        assert not (await web.client.get(PSU, auth=ALICE)).json()["lock"]["mine"]
        await proxy.unlock()
    assert answers[0].json()["lock"]["mine"]
    assert (await web.client.put(f"{PSU}/parameters/voltage", json={"value": 2}, auth=ALICE)).status_code == 200
    assert (await web.client.get(PSU, auth=ALICE)).json()["lock"]["mine"]
    assert (await web.client.put(f"{PSU}/parameters/voltage", json={"value": 3}, auth=ALICE)).status_code == 200


@pytest.mark.parametrize("change", ["removed", "another password"])
async def test_session_ends_with_its_user(web: Web, users: Users, change: str) -> None:
    entered = await web.client.post("/api/login", json={"user": ALICE[0], "password": ALICE[1]})
    headers = {"x-qmi-token": entered.json()["csrf"]}
    assert (await web.client.put(BOARD, json={}, headers=headers)).status_code == 200
    assert (await web.client.put(BOARD, json={}, auth=ALICE)).status_code == 200
    if change == "removed":
        users.remove(ALICE[0])
    else:
        users.add(ALICE[0], "another horse")
    assert (await web.client.put(BOARD, json={}, headers=headers)).status_code == 401
    assert (await web.client.get("/api/session")).json()["user"] is None
    web.client.cookies.clear()
    assert (await web.client.put(BOARD, json={}, auth=ALICE)).status_code == 401
    assert (await web.client.put(BOARD, json={}, auth=BOB)).status_code == 200


async def test_session_of_another_server_of_this_computer_goes_on(web: Web) -> None:
    entered = await web.client.post("/api/login", json={"user": ALICE[0], "password": ALICE[1]})
    # Browsers send cookies to all ports of a host: another server there, or behind another tunnel, has its own.
    for host in ("127.0.0.1:1", "localhost"):
        headers = {"host": host, "cookie": entered.headers["set-cookie"].partition(";")[0]}
        assert (await web.client.get("/api/session", headers=headers)).json()["user"] is None
        other = await web.client.post("/api/login", json={"user": BOB[0], "password": BOB[1]}, headers={"host": host})
        name = other.headers["set-cookie"].partition("=")[0]
        assert name != entered.headers["set-cookie"].partition("=")[0]
    assert (await web.client.get("/api/session")).json()["user"] == "alice"


@pytest.mark.parametrize("text", [r"\ud800", r"a\udc00b", r"\udfff\ud800"])
async def test_half_of_a_character_is_no_text(web: Web, text: str) -> None:
    requests = [
        ("POST", "/api/login", '{"user": "alice", "password": "%s"}'),
        ("POST", "/api/login", '{"user": "%s", "password": "correct horse"}'),
        ("POST", f"{PSU}/lock", '{"reason": "%s"}'),
        ("PUT", f"{PSU}/parameters/label", '{"value": "%s"}'),
        ("PUT", BOARD, '{"%s": 1}'),
    ]
    for method, path, body in requests:
        sent = body.replace("%s", text)
        answer = await web.client.request(
            method, path, content=sent, headers={"content-type": "application/json"}, auth=ALICE
        )
        assert answer.status_code == 400, answer.text
        assert "not valid JSON" in answer.json()["error"]["message"]
    whole = r'{"panels": [{"kind": "value", "text": "lab.psu.\u00b5\ud83d\ude00"}]}'
    assert (await web.client.put(BOARD, content=whole, auth=ALICE)).status_code == 200


async def test_reason_is_no_longer_than_others_want_to_read(web: Web) -> None:
    for method, path in (("POST", "lock"), ("POST", "lock/request")):
        answer = await web.client.request(method, f"{PSU}/{path}", json={"reason": "x" * 1001}, auth=ALICE)
        assert (answer.status_code, "1000 characters" in answer.text) == (400, True)
    answer = await web.client.delete(f"{PSU}/lock?force=1&reason={'x' * 1001}", auth=ALICE)
    assert (answer.status_code, "1000 characters" in answer.text) == (400, True)


async def test_request_whose_body_does_not_come_ends(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.web.api.BODY_PATIENCE", 0.05)
    for sent in (b"", b'{"user": '):
        async with await trio.open_tcp_stream("127.0.0.1", web.port) as stream:
            head = b"POST /api/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n"
            await stream.send_all(head + sent)
            answer = b""
            with trio.fail_after(20):
                while part := await stream.receive_some():
                    answer += part
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_page_of_another_site_has_no_instrument_read(web: Web, site: str) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    for path in (f"{PSU}/parameters/voltage", "/api/doctor", "/api/events?topic=site", "/metrics", "/"):
        assert (await web.client.get(path, headers=headers)).status_code == 403
    # A link to a page is followed.
    assert (await web.client.get("/", headers={**headers, "sec-fetch-mode": "navigate"})).status_code == 200
