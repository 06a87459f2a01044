"""Who may do what: the rules, and what the server makes of them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from qmi.errors import QMI_ConfigurationException, QMI_InvalidValueException
from qmi.web import door
from qmi.web.authorization import Caller, RateLimit, Sessions, foreign_host, foreign_origin, network_of, refusal_of
from qmi.web.options import Options
from qmi.web.users import Users
from tests.support.web import Web, web_and_lab

BOARD = "/api/dashboards/a"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8642", "localhost:1", "LOCALHOST", "[::1]:8642", "[::1]"])
def test_host_of_this_computer_is_taken(host: str) -> None:
    assert foreign_host(host, (), loopback=True) is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8642", "127.0.0.1.evil.example", "localhost.evil", "::1"]
)
def test_host_of_elsewhere_is_refused_on_loopback(host: str) -> None:
    refusal = foreign_host(host, (), loopback=True)
    assert refusal is not None
    assert refusal.status == 421
    assert foreign_host(host, (), loopback=False) is None


@pytest.mark.parametrize(
    ("method", "headers", "allowed"),
    [
        ("GET", {"origin": "http://evil", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),
        ("HEAD", {"sec-fetch-site": "same-site"}, False),
        ("GET", {"sec-fetch-site": "none"}, True),
        ("GET", {}, True),
        ("POST", {}, True),
        ("POST", {"origin": "http://a:1"}, True),
        ("POST", {"origin": "http://A:1", "sec-fetch-site": "same-origin"}, False),
        ("POST", {"origin": "https://a:1"}, False),
        ("POST", {"origin": "http://a:2"}, False),
        ("POST", {"origin": "http://a"}, False),
        ("POST", {"origin": "null"}, False),
        ("POST", {"origin": "http://["}, False),
        ("PUT", {"sec-fetch-site": "cross-site"}, False),
        ("DELETE", {"sec-fetch-site": "same-site"}, False),
        ("PATCH", {"origin": "http://a:1.evil"}, False),
    ],
)
def test_page_of_another_origin_may_change_nothing(method: str, headers: dict[str, str], allowed: bool) -> None:
    refusal = foreign_origin(method, "http", {"host": "a:1", **headers})
    if headers.get("origin") == "http://A:1":
        return  # browsers send it in lower case; either will do
    assert (refusal is None) == allowed


@pytest.mark.parametrize(
    ("caller", "header", "changes", "free", "status"),
    [
        (Caller(), "", False, True, None),
        (Caller(), "", False, False, 401),
        (Caller(), "x", True, True, 401),
        (Caller("alice", "secret"), "", False, False, None),
        (Caller("alice", "secret"), "", True, True, 403),
        (Caller("alice", "secret"), "other", True, True, 403),
        (Caller("alice", "secret"), "ü", True, True, 403),
        (Caller("alice", "secret"), "secret", True, True, None),
        (Caller("alice"), "", True, True, None),
    ],
)
def test_change_needs_a_login_and_the_header_of_its_session(
    caller: Caller, header: str, changes: bool, free: bool, status: int | None
) -> None:
    refusal = refusal_of(caller, {"x-qmi-token": header}, changes=changes, reading_is_free=free)
    assert (None if refusal is None else refusal.status) == status


def test_session_ends_when_it_is_not_used() -> None:
    sessions = Sessions(lifetime=10.0)
    sessions.begin("a", "csrf", "alice", 0.0)
    sessions.begin("b", "csrf", "bob", 0.0)
    assert sessions.find("a", 9.0) is not None
    assert sessions.find("b", 11.0) is None
    assert sessions.find("a", 18.0) is not None
    sessions.end("a")
    assert sessions.find("a", 18.0) is None
    assert sessions.find("", 18.0) is None
    assert len(sessions) == 0


def test_rate_is_limited_for_each_and_what_is_remembered_is_bounded() -> None:
    limit = RateLimit(rate=1.0, burst=2, most=3)
    assert [limit.wait("a", 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert limit.wait("b", 0.0) == 0.0
    assert limit.wait("a", 1.0) == 0.0
    for number in range(100):
        limit.wait(str(number), 1.0)
    assert len(limit) == 3


def test_users_are_kept_with_hashed_passwords_for_their_owner_alone(tmp_path: Path) -> None:
    users = Users(tmp_path / "sub" / "users")
    users.add("alice", "correct horse")
    assert "correct horse" not in users.path.read_text()
    assert users.path.stat().st_mode & 0o077 == 0
    assert users.is_password_of("alice", "correct horse")
    assert not users.is_password_of("alice", "wrong horse")
    assert not users.is_password_of("bob", "correct horse")
    assert users.remove("alice")
    assert not users.remove("alice")
    for name, password in (("a:b", "long enough"), ("", "long enough"), ("a\nb", "long enough"), ("alice", "short")):
        with pytest.raises(QMI_InvalidValueException):
            users.add(name, password)


@pytest.mark.parametrize("text", ["alice", "alice:plain", ":$argon2id$x", "a b:$argon2id$x"])
def test_file_of_users_that_cannot_be_read_is_said_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(QMI_ConfigurationException, match="users:1: expected NAME:HASH"):
        Users(path).names()
    path.chmod(0o666)
    with pytest.raises(QMI_ConfigurationException, match="chmod go-w"):
        Users(path).names()
    with pytest.raises(QMI_ConfigurationException, match="qmi web user add"):
        Users(tmp_path / "none").names()


async def test_change_without_login_is_refused_and_logged_with_one(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "qmi.web.changes")
    refused = await web.client.put(BOARD, json={})
    assert refused.status_code == 401
    assert "log in" in refused.json()["error"]["hint"]
    wrong = await web.client.put(BOARD, json={}, headers={"authorization": "Bearer wrong"})
    assert wrong.status_code == 401
    entered = await web.client.post("/api/login", json={"token": web.token})
    assert entered.json()["user"] == "operator"
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert (await web.client.put(BOARD, json={})).status_code == 403
    page = (await web.client.get("/")).text
    csrf = entered.json()["csrf"]
    assert f'<meta name="csrf" content="{csrf}">' in page
    headers = {"x-qmi-token": csrf}
    assert (await web.client.put(BOARD, json={}, headers=headers)).status_code == 200
    assert "operator (at 127.0.0.1): PUT /api/dashboards/a: done" in caplog.text
    for origin in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        assert (await web.client.put(BOARD, json={}, headers=headers | origin)).status_code in (403, 421)
    assert (await web.client.get("/api/contexts", headers={"host": "evil.example"})).status_code == 421
    assert (await web.client.post("/api/logout", headers=headers)).status_code == 200
    assert (await web.client.put(BOARD, json={}, headers=headers)).status_code == 401


NETWORKS: list[tuple[str, str]] = [
    ("192.0.2.7", "192.0.2.7"),
    ("192.0.2.8", "192.0.2.8"),
    ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
    ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
    ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
    ("2001:DB8:1:2:0:0:0:9", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"),
    ("::ffff:192.0.2.7", "192.0.2.7"),
    ("::ffff:c000:207", "192.0.2.7"),
    ("::1", "::1"),
    ("::2", "::/64"),
    ("?", "?"),
    ("", ""),
]


def test_network_counts_where_addresses_are_given_by_the_network() -> None:
    for host, network in NETWORKS:
        assert network_of(host) == network, host


async def test_wrong_logins_of_a_network_are_counted_together(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def client(scope: object) -> str:
        asked.append(f"2001:db8:1:2::{len(asked):x}")
        return asked[-1]

    monkeypatch.setattr(door, "_client", client)
    answers = [(await web.client.post("/api/login", json={"token": "x"})).status_code for _ in range(7)]
    assert answers == [401] * 5 + [429] * 2
    bearer = {"authorization": "Bearer of-yesterday"}
    assert (await web.client.put(BOARD, json={}, headers=bearer)).status_code == 401
    monkeypatch.setattr(door, "_client", lambda scope: "2001:db8:1:3::1")  # another network is not held up
    assert (await web.client.post("/api/login", json={"token": web.token})).status_code == 200


async def test_wrong_logins_are_slowed_down(web: Web) -> None:
    answers = [(await web.client.post("/api/login", json={"token": "x"})).status_code for _ in range(7)]
    assert answers == [401] * 5 + [429] * 2
    assert (await web.client.post("/api/login", json={"token": web.token})).status_code == 429


async def test_right_token_is_taken_after_wrong_ones_of_another_program(web: Web) -> None:
    for _ in range(10):
        wrong = await web.client.put(BOARD, json={}, headers={"authorization": "Bearer of-yesterday"})
        assert wrong.status_code == 401
        assert "credentials" in wrong.json()["error"]["message"]
        assert "a new token each time" in wrong.json()["error"]["hint"]
    assert (await web.client.put(BOARD, json={}, headers={"authorization": f"Bearer {web.token}"})).status_code == 200
    for header in (web.token, f"Basic {web.token}", "Bearer", "Bearer \x7f", f"Bearer {web.token}x"):
        assert (await web.client.put(BOARD, json={}, headers={"authorization": header})).status_code == 401


async def test_too_many_requests_are_refused_with_when_to_come_again(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RateLimit, "wait", lambda limit, who, now: 0.5)
    for answer in (await web.client.get("/api/contexts"), await web.client.post("/api/login", json={"token": "x"})):
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["error"]["message"].startswith("too many")


async def test_users_of_the_file_log_in_and_nobody_else_may_read_where_that_is_not_free(
    config: Path, tmp_path: Path
) -> None:
    users = Users(tmp_path / "users")
    users.add("alice", "correct horse")
    options = Options(bind="127.0.0.1:0", users=str(users.path), public_reading=False, dashboards=str(tmp_path / "b"))
    async with web_and_lab(config, options) as web:
        assert not any("token" in line for line in web.said)
        assert (await web.client.get("/api/contexts")).status_code == 401
        page = await web.client.get("/")
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2F")
        assert 'autocomplete="username"' in (await web.client.get("/login")).text
        assert (await web.client.get("/metrics")).status_code == 401
        assert (await web.client.put(BOARD, json={}, auth=("alice", "correct horse"))).status_code == 200
        assert (await web.client.get("/api/contexts", auth=("alice", "wrong horse"))).status_code == 401
        entered = await web.client.post("/api/login", json={"user": "alice", "password": "correct horse"})
        assert entered.json()["user"] == "alice"
        assert (await web.client.get("/api/contexts")).status_code == 200
