"""Somebody asks for a lock that a user of the pages holds: who is told, and what of that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qmi.config.loader import load_config
from qmi.contexts.default import open_context
from qmi.contexts.reservations import LONGEST
from qmi.messages import LockInfo
from qmi.runtime import identity
from qmi.web import site
from qmi.web.authorization import RateLimit
from qmi.web.lock_requests import PROGRAM, signed, signer_of, user_elsewhere
from qmi.web.options import Options
from qmi.web.users import Users
from tests.support.shell_driver import ShellSupply
from tests.support.waiting import until
from tests.support.web import Web, pushed, web_and_lab, web_of

LOCK = "/api/objects/lab/psu/lock"
ALICE = ("alice", "correct horse")
BOB = ("bob", "battery staple")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """A server that two users may use."""
    users = Users(tmp_path / "users")
    for user in (ALICE, BOB):
        users.add(*user)
    return Options(bind="127.0.0.1:0", users=str(users.path), dashboards=str(tmp_path / "boards"))


@pytest.fixture
async def web(config: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    monkeypatch.setattr(RateLimit, "wait", lambda limit, who, now: 0.0)
    async with web_and_lab(config, options) as found:
        await found.lab.make_instrument("psu", ShellSupply)
        yield found


async def ask(web: Web, user: tuple[str, str], reason: str = "calibration") -> dict[str, Any]:
    answer = await web.client.post(f"{LOCK}/request", json={"reason": reason}, auth=user)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def lock(web: Web, user: tuple[str, str], reason: str | None = "alignment") -> dict[str, Any]:
    answer = await web.client.post(LOCK, json={} if reason is None else {"reason": reason}, auth=user)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["lock"]
    return found


SIGNED_REASON: list[tuple[str | None, str]] = [
    ("alignment", "alice"),
    (None, "alice"),
    ("", "alice"),
    (" ", "alice"),
    ("of (bob)", "alice"),
    ("x" * 1000, "alice"),
    ("two\nlines", "a.b@c-d+e"),
    ("bob, by the web server", "alice"),
]


def test_signed_reason_says_who_gave_it() -> None:
    for reason, user in SIGNED_REASON:
        text = signed(reason, user)
        assert signer_of(text) == user
        assert len(text) <= LONGEST
    for text in ("", "alignment until 18:00", "(alice", "alice", "alignment (two words)"):
        assert signer_of(text) == ""


async def test_lock_request_is_shown_to_the_user_who_holds_it(web: Web) -> None:
    is_in: dict[str, Callable[[Any], bool]] = {
        "shown": lambda requests: requests[0]["state"] == "shown",
        "kept": lambda requests: requests[0]["state"] == "kept",
    }
    held = await lock(web, ALICE)
    assert (held["web_user"], held["mine"]) == ("alice", True)
    seen = (await web.client.get(LOCK, auth=BOB)).json()
    assert (seen["lock"]["web_user"], seen["lock"]["mine"], seen["requests"]) == ("alice", False, [])
    async with pushed(web, "locks", auth=ALICE) as page:
        await page.until("locks", lambda requests: requests == [])
        told = await ask(web, BOB)
        assert (told["told"], told["web_user"], told["pages"]) == ("alice, on 1 open page", "alice", 1)
        (request,) = await page.until("locks", bool)
        wanted = {"address": "lab.psu", "holder": "alice", "user": "bob", "by": "bob", "reason": "calibration"}
        assert wanted.items() <= request.items()
        assert (request["state"], request["taken"], request["time"] > 1e9) == ("waiting", False, True)
        for state in is_in:
            body = {"id": request["id"], "state": state}
            assert (await web.client.put(f"{LOCK}/request", json=body, auth=ALICE)).status_code == 200
            (now,) = await page.until("locks", is_in[state])
            assert now["since"] >= now["time"]
        assert (await web.client.get(LOCK)).json()["requests"] == [now]
        assert (await web.client.delete(LOCK, auth=ALICE)).json() == {"lock": None}
        await page.until("locks", lambda requests: requests == [])


async def test_lock_request_tells_nobody_while_no_page_of_the_holder_is_open(web: Web) -> None:
    await lock(web, ALICE, None)
    async with pushed(web, "locks", auth=BOB), pushed(web, "locks"), pushed(web, "site", auth=ALICE):
        told = await ask(web, BOB)
        assert (told["told"], told["web_user"], told["pages"]) == (None, "alice", 0)
    async with pushed(web, "locks", auth=ALICE) as page:  # she is shown it when she looks
        ((reason, state),) = [(each["reason"], each["state"]) for each in await page.until("locks", bool)]
        assert (reason, state) == ("calibration", "waiting")
        await ask(web, BOB, "now, please")  # who asks again replaces what he has said
        await page.until("locks", lambda requests: [each["reason"] for each in requests] == ["now, please"])


async def test_lock_request_is_answered_by_nobody_but_the_holder(web: Web) -> None:
    await lock(web, ALICE)
    number = (await ask(web, BOB))["request"]["id"]
    for user, where, wrong in ((BOB, "psu", number), (ALICE, "psu", number + 1), (ALICE, "other", number)):
        path = f"/api/objects/lab/{where}/lock/request"
        refused = await web.client.put(path, json={"id": wrong, "state": "kept"}, auth=user)
        assert (refused.status_code, "has no request" in refused.text) == (409, True)
    for body in ({"id": number}, {"state": "kept"}, {"id": number, "state": "waiting"}, {"id": "x", "state": "kept"}):
        assert (await web.client.put(f"{LOCK}/request", json=body, auth=ALICE)).status_code == 400
    own = await web.client.post(f"{LOCK}/request", json={}, auth=ALICE)
    assert (own.status_code, "unlock it instead" in own.text) == (409, True)


async def test_lock_request_of_another_program_is_shown_to_the_user_who_holds_it(web: Web) -> None:
    await lock(web, ALICE)
    psu = await web.lab.get_rpc_object("psu")
    async with pushed(web, "locks", auth=ALICE) as page:
        told = await psu.request_release("the sample is getting warm")
        assert "alignment (alice)" in (told or "")
        (request,) = await page.until("locks", bool)
        assert (request["holder"], request["user"]) == ("alice", "")
        assert "context 'lab'" in request["by"]
        assert request["reason"] == "the sample is getting warm"


async def test_program_that_holds_a_lock_is_told_of_the_user_who_asks(web: Web) -> None:
    psu = await web.lab.get_rpc_object("psu")
    assert await psu.reserve("measuring")
    requests: list[Any] = []
    web.lab.on_lock_request(requests.append)
    told = await ask(web, BOB, "me, too")
    assert (told["web_user"], told["pages"]) == ("", None)
    assert "measuring" in told["told"]
    await until(lambda: bool(requests))
    assert (requests[0].address, requests[0].reason, requests[0].taken) == ("lab.psu", "me, too (bob)", False)
    await psu.unlock()
    assert (await ask(web, BOB))["told"] is None


async def test_user_whose_lock_another_user_takes_is_shown_so(web: Web) -> None:
    await lock(web, ALICE)
    await ask(web, BOB)
    assert (await web.client.delete(f"{LOCK}?force=true&reason=fire", auth=BOB)).json() == {"lock": None}
    async with pushed(web, "locks", auth=ALICE) as page:
        (taken,) = await page.until("locks", bool)
        wanted = {"holder": "alice", "user": "bob", "by": "bob", "reason": "fire", "taken": True, "state": "waiting"}
        assert wanted.items() <= taken.items()
        body = {"id": taken["id"], "state": "kept"}
        assert (await web.client.put(f"{LOCK}/request", json=body, auth=ALICE)).status_code == 200
        await page.until("locks", lambda requests: requests == [])


async def test_user_whose_lock_a_program_takes_is_shown_so(web: Web) -> None:
    await lock(web, ALICE)
    async with pushed(web, "locks", auth=ALICE) as page:
        await ask(web, BOB)
        await page.until("locks", bool)
        psu = await web.lab.get_rpc_object("psu")
        await psu.force_unlock(reason="the water is off")
        (taken,) = await page.until("locks", lambda requests: requests and requests[-1]["taken"])
        assert (taken["holder"], taken["user"], taken["reason"]) == ("alice", "", "the water is off")


async def test_lock_request_ends_with_a_lock_that_ends_without_a_word(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "ASK_EVERY", 0.02)
    await lock(web, ALICE)
    await ask(web, BOB)
    async with pushed(web, "locks", auth=BOB) as page:
        await page.until("locks", bool)
        await web.lab.remove_rpc_object(await web.lab.get_rpc_object("psu"))
        await page.until("locks", lambda requests: requests == [])


async def test_lock_of_a_user_is_known_by_a_server_that_was_started_again(config: Path, options: Options) -> None:
    options = replace(options, name="pages")
    async with open_context("lab", config=load_config(str(config)), init_logging=False) as lab:
        await lab.make_instrument("psu", ShellSupply)
        async with web_of(config, lab, options) as web:
            await lock(web, ALICE)
        async with web_of(config, lab, options) as web:
            held = (await web.client.get(LOCK, auth=ALICE)).json()["lock"]
            assert (held["web_user"], held["mine"]) == ("alice", True)
            assert (await ask(web, BOB))["web_user"] == "alice"
            assert (await web.client.delete(LOCK, auth=ALICE)).json() == {"lock": None}


@pytest.mark.parametrize("reason", ["alignment", None, "of (alice)"])
async def test_lock_of_a_user_of_another_server_is_told_with_the_user(
    web: Web, config: Path, options: Options, monkeypatch: pytest.MonkeyPatch, reason: str | None
) -> None:
    monkeypatch.setattr(identity, "_name", PROGRAM)
    identity.own_identity.cache_clear()
    host = identity.own_identity().host
    try:
        async with web_of(config, web.lab, replace(options, name="annex")) as annex:
            await lock(annex, ALICE, reason)
            for user in (ALICE, BOB):  # who is called alike there is somebody else for this server
                seen = (await web.client.get(LOCK, auth=user)).json()["lock"]
                assert (seen["web_user"], seen["web_user_elsewhere"], seen["mine"]) == ("", "alice", False)
            async with pushed(annex, "locks", auth=ALICE) as page:
                told = await ask(web, BOB)
                assert told["told"] == f"alice, by the pages of context 'annex' on {host}"
                assert (told["web_user"], told["web_user_elsewhere"], told["pages"]) == ("", "alice", None)
                (request,) = await page.until("locks", bool)
                assert (request["holder"], request["reason"]) == ("alice", "calibration (bob)")
            own = (await annex.client.get(LOCK, auth=ALICE)).json()["lock"]
            assert (own["web_user"], own["web_user_elsewhere"], own["mine"]) == ("alice", "", True)
            assert (await annex.client.delete(LOCK, auth=ALICE)).json() == {"lock": None}
    finally:
        monkeypatch.undo()
        identity.own_identity.cache_clear()


@pytest.mark.parametrize(
    ("program", "reason", "user"),
    [
        ("qmi web", "alignment (alice)", "alice"),
        ("python -m qmi.web.pages_program", "alice, by the web server", "alice"),
        ("qmi web", "alignment", ""),
        ("python", "alignment (alice)", ""),
        ("qmi lock", "alignment (urgent)", ""),
        ("", "alignment (alice)", ""),
    ],
)
def test_user_elsewhere_is_known_only_of_servers_of_pages(program: str, reason: str, user: str) -> None:
    assert user_elsewhere(LockInfo("annex", "$lock_1", 0.0, reason, "root", program, "host")) == user
