"""What a server of a site is told."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from qmi.config.schema import CfgContext, CfgHistory, CfgLimits, CfgQmi, CfgSecurity, CfgSite
from qmi.site import server_config as rules
from qmi.site.subjects import (
    ask_subject,
    health_subject,
    inbox_subject,
    log_subject,
    presence_subject,
    relay_subject,
    rows_subject,
    signal_subject,
    stream_name,
)

ONE = CfgSite(servers=["nats://10.0.0.5"])
THREE = CfgSite(servers=["nats://10.0.0.5", "nats://[fd00::6]:4300", "nats://c:4222"], names=["notebook"])
SECURITY = CfgSecurity(ca="/c/ca.pem", certificate="/c/qmi_site.pem", key="/c/qmi_site.key")


def told(site: CfgSite = ONE, security: CfgSecurity | None = None, **settings: Any) -> dict[str, Any]:
    config = CfgQmi(workgroup="lab1", site=site, contexts={"srv": CfgContext(), "cam(2)": CfgContext()}, **settings)
    text = rules.server_config(config, config.site.addresses[0], security or CfgSecurity(), '/d/a "b" \\ä')
    plain: dict[str, Any] = json.loads(text)
    return plain


def matches(pattern: str, subject: str) -> bool:
    regex = re.escape(pattern).replace(r"\*", "[^.]+").replace(re.escape(">"), ".+")
    return re.fullmatch(regex, subject) is not None


def may(context: str, what: str, subject: str) -> bool:
    granted: Any = rules.rights("lab1", context)
    return any(matches(pattern, subject) for pattern in granted[what]["allow"])


def test_server_listens_where_its_address_says() -> None:
    plain = told()
    assert plain["listen"] == "10.0.0.5:4222"
    assert plain["jetstream"]["store_dir"] == '/d/a "b" \\ä'
    assert "cluster" not in plain
    assert "tls" not in plain


def test_change_of_what_is_kept_needs_no_restart_of_the_server() -> None:
    assert told(CfgSite(servers=["nats://10.0.0.5"], history=CfgHistory(bytes=10**9))) == told()


@pytest.mark.parametrize(("silence", "longest"), [(15.0, 15.0), (3.0, 3.0), (60.0, 60.0), (0.001, 1.0)])
def test_frozen_context_is_noticed_within_the_time_that_a_link_takes(silence: float, longest: float) -> None:
    plain = told(limits=CfgLimits(peer_timeout=silence))
    interval = float(plain["ping_interval"].removesuffix("ms")) / 1000
    assert 0 < interval * (plain["ping_max"] + 2) < longest
    assert plain["write_deadline"].endswith("ms")


def test_each_name_of_the_configuration_is_a_user_by_its_certificate() -> None:
    users = told(THREE, SECURITY)["accounts"]["SITE"]["users"]
    assert [user["user"] for user in users] == [
        f"CN={name},O=lab1" for name in ("qmi_site", "*", "cam(2)", "notebook", "qmi_proc", "srv")
    ]
    assert ["permissions" in user for user in users] == [False, True, True, True, True, True]


def test_revoked_certificate_is_a_user_that_cannot_connect() -> None:
    config = CfgQmi(workgroup="lab1", site=ONE)
    (*users, first, second) = json.loads(
        rules.server_config(config, config.site.addresses[0], SECURITY, "/d", {0xABC, 0x12})
    )["accounts"]["SITE"]["users"]
    assert [first["user"], second["user"]] == ["urn:qmi:certificate:12", "urn:qmi:certificate:abc"]
    assert first["password"].startswith("$2a$")
    assert first["permissions"] == {"publish": {"deny": ">"}, "subscribe": {"deny": ">"}}
    assert all("password" not in user for user in users)
    assert "urn:" not in json.dumps(told(ONE))


def test_name_of_the_servers_is_no_user_with_fewer_rights() -> None:
    config = CfgQmi(site=CfgSite(servers=["nats://a"], names=["qmi_site", "b"]), contexts={"qmi_site": CfgContext()})
    assert rules.members(config) == ["b", "qmi_proc"]


@pytest.mark.parametrize("name", ["srv", "cam(2)", "a-b_c", "x" * 63])
def test_context_publishes_only_under_its_own_name(name: str) -> None:
    for context, allowed in ((name, True), ("other", False), (name[:-1] + "Z", False)):
        for subject in (
            signal_subject("lab1", context, "psu", "sig"),
            signal_subject("lab1", context, "$context", "sig"),
            presence_subject("lab1", context),
            health_subject("lab1", context),
            log_subject("lab1", context),
            rows_subject("lab1", context, "run"),
        ):
            assert may(name, "publish", subject) is allowed, subject


@pytest.mark.parametrize(
    "subject",
    [
        "qmi.lab2.signal.srv.psu.sig",
        "qmi.lab1.other.srv.x",
        inbox_subject("lab1", "srv", "c", "r"),  # answers are published as such, and nothing else
        inbox_subject("lab1", "other", "c", "r"),
        "$JS.API.STREAM.CREATE.x",
        "$JS.API.STREAM.UPDATE.qmi-lab1-signals",
        "$JS.API.STREAM.DELETE.qmi-lab1-signals",
        "$JS.API.STREAM.PURGE.qmi-lab1-signals",
        "$JS.API.CONSUMER.CREATE.qmi-lab1-signals",
        "$JS.API.CONSUMER.CREATE.qmi-lab1-signals.c.f",
        "$JS.API.CONSUMER.DURABLE.CREATE.qmi-lab1-signals.c",
        "$JS.API.STREAM.MSG.DELETE.qmi-lab1-signals",
        "$JS.API.DIRECT.GET.qmi-lab2-signals",
        "$JS.ACK.x",
        rules.CONNECTED,
        rules.DISCONNECTED,
        "$SYS.REQ.SERVER.PING",
    ],
)
@pytest.mark.parametrize("context", ["srv", "*"])
def test_no_context_publishes_what_would_pass_for_somebody_elses(context: str, subject: str) -> None:
    assert not may(context, "publish", subject)


def test_context_asks_everybody_and_the_servers() -> None:
    for subject in (
        ask_subject("lab1", "other"),
        relay_subject("lab1", "other", "00" * 8, "open"),
        f"$JS.API.DIRECT.GET.{stream_name('lab1')}",
        f"$JS.API.DIRECT.GET.{rules.presence_stream('lab1')}.qmi.lab1.presence.other",
        f"$JS.API.DIRECT.GET.{rules.log_stream('lab1')}",
        f"$JS.API.STREAM.INFO.{stream_name('lab1')}",
        rules.CONNECTIONS,
    ):
        assert may("srv", "publish", subject)
        assert may("*", "publish", subject)


def test_context_hears_everybody_but_no_questions_and_answers_of_others() -> None:
    for subject in (
        signal_subject("lab1", "other", "psu", "sig"),
        presence_subject("lab1", "other"),
        rows_subject("lab1", "other", "run"),
        ask_subject("lab1", "srv"),
        inbox_subject("lab1", "srv", "c", "r"),
        relay_subject("lab1", "srv", "00" * 8, "open"),
        rules.CONNECTED,
        rules.DISCONNECTED,
    ):
        assert may("srv", "subscribe", subject)
    for subject in (
        ask_subject("lab1", "other"),
        inbox_subject("lab1", "other", "c", "r"),
        relay_subject("lab1", "other", "00" * 8, "open"),
        "qmi.lab2.presence.x",
    ):
        assert not may("srv", "subscribe", subject)


def test_certificate_for_every_name_publishes_under_every_name() -> None:
    for name in ("srv", "notebook"):
        assert may("*", "publish", signal_subject("lab1", name, "psu", "sig"))
        assert may("*", "subscribe", inbox_subject("lab1", name, "c", "r"))
    assert not may("*", "publish", "qmi.lab2.signal.srv.psu.sig")


def test_without_certificates_only_the_server_says_who_is_there() -> None:
    plain = told()
    (user,) = plain["accounts"]["SITE"]["users"]
    assert plain["no_auth_user"] == user["user"]
    assert user["permissions"]["publish"]["deny"] == [rules.CONNECTED, rules.DISCONNECTED]


def test_servers_take_only_servers_for_servers() -> None:
    cluster = told(THREE, SECURITY)["cluster"]
    assert cluster["listen"] == "10.0.0.5:6222"
    assert cluster["routes"] == ["nats-route://[fd00::6]:6300", "nats-route://c:6222"]
    assert cluster["tls"]["verify_and_map"] is True
    assert cluster["authorization"]["user"] == "CN=qmi_site,O=lab1"
    assert "tls" not in told(THREE)["cluster"]


def test_only_names_that_certificates_prove_are_believed() -> None:
    for user, context in (
        ("CN=srv,O=lab1", "srv"),
        ("O=lab1,CN=srv", "srv"),
        ("CN=*,O=lab1", "*"),
        ("CN=srv,O=lab2", None),
        ("CN=srv", None),
        ("CN=srv,O=lab1,OU=x", None),
        ("own", None),
        ("", None),
    ):
        assert rules.certified_context(user, "lab1") == context


@pytest.mark.parametrize(("site", "copies"), [(ONE, 1), (THREE, 3)])
def test_streams_keep_what_the_configuration_says(site: CfgSite, copies: int) -> None:
    site.history = CfgHistory(per_signal=7, seconds=2.5, bytes=10**6)
    signals, presence, log = rules.streams(CfgQmi(workgroup="lab1", site=site))
    assert signals["name"] == "qmi-lab1-signals"
    assert signals["subjects"] == ["qmi.lab1.signal.*.>"]
    assert (signals["max_msgs_per_subject"], signals["max_age"], signals["max_bytes"]) == (7, 2_500_000_000, 10**6)
    assert presence["subjects"] == ["qmi.lab1.presence.*", "qmi.lab1.health.*"]
    assert presence["max_msgs_per_subject"] == 1
    assert log["subjects"] == ["qmi.lab1.log.*"]
    assert (log["max_msgs_per_subject"], log["max_age"], log["max_bytes"]) == (7, 2_500_000_000, 10**6)
    assert {stream["num_replicas"] for stream in (signals, presence, log)} == {copies}
