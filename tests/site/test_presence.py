"""Who is at a site: what is asked and told, and what is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cbor2 import dumps, loads
from hypothesis import given
from hypothesis import strategies as st

from qmi.config.schema import CfgQmi, CfgSecurity, CfgSite
from qmi.names import HostPort
from qmi.site.presence import (
    MOST_OBJECTS,
    Announcement,
    Connected,
    Present,
    answers_of,
    ask_who_is_there,
    reachable,
    read_announcement,
    read_event,
    ways_to,
    write_announcement,
)
from qmi.site.subjects import presence_subject
from qmi.site.wire import Message

A, B = "a" * 16, "b" * 16
SAID = Announcement("srv", A, 1.5e9, ("10.0.0.5", "127.0.0.1", "fd00::5"), 40001, "m1", 4711, "1.0", (("psu", "Psu"),))
START = "2026-11-26T12:21:08.47172183Z"
CONFIG = CfgQmi(workgroup="lab1", site=CfgSite(servers=["nats://a"]))


def connection(name: str, cid: int = 1, user: str = "own") -> dict[str, object]:
    return {"cid": cid, "name": name, "start": START, "authorized_user": user}


def event(name: object, user: object = "own", **more: object) -> bytes:
    client = {"id": 7, "name": name, "user": user, "start": START, **more}
    return json.dumps({"server": {"id": "S"}, "client": client}).encode()


def listed(*connections: dict[str, object], server: str = "S", total: int | None = None) -> Message:
    data = {"server_id": server, "total": len(connections) if total is None else total, "connections": connections}
    return Message(1, "inbox", "", json.dumps({"data": data}).encode())


def kept(context: str, payload: bytes, times: int = 1) -> Message:
    head = "NATS/1.0" + "\r\nNats-Stream: s" * times + f"\r\nNats-Subject: {presence_subject('lab1', context)}\r\n\r\n"
    return Message(1, "inbox", "", payload, head.encode())


END = Message(1, "inbox", "", b"", b"NATS/1.0 204 EOB\r\n\r\n")


def ask(
    *answers: list[Message], config: CfgQmi = CONFIG, pattern: str = "*", ended: frozenset[str] = frozenset()
) -> tuple[list[Present], list[Any]]:
    """Drive the question with these answers; who is there, and what was asked."""
    asking = ask_who_is_there(config, pattern, ended)
    asked = [next(asking)]
    for answer in answers:
        try:
            asked.append(asking.send(answer))
        except StopIteration as end:
            return end.value, asked
    raise AssertionError(asked)


def test_connection_whose_end_was_told_is_not_there_although_a_server_lists_it() -> None:
    gone, back = connection(f"srv {A}", 7), connection(f"srv {B}", 8)
    told = read_event(event(f"srv {A}"), "lab1", certified=False)
    assert told is not None
    present, _ = ask([listed(gone, back)], [END], ended=frozenset({told.connection}))
    assert [found.incarnation for found in present] == [B]


def test_announcement_comes_back() -> None:
    assert read_announcement("srv", write_announcement(SAID)) == SAID


def test_announcement_of_a_newer_version_is_understood() -> None:
    assert read_announcement("srv", dumps({**loads(write_announcement(SAID)), "more": [1]})) == SAID


def test_announcement_leaves_out_what_is_too_much() -> None:
    said = SAID._replace(objects=tuple((f"o{number}", "C") for number in range(MOST_OBJECTS + 10)))
    found = read_announcement("srv", write_announcement(said))
    assert found is not None
    assert len(found.objects) == MOST_OBJECTS


@pytest.mark.parametrize(
    "change",
    [
        {"incarnation": 5}, {"started": "now"}, {"started": 5}, {"hosts": "a"}, {"hosts": [1]}, {"hosts": ["a b"]},
        {"hosts": ["h"] * 17}, {"port": -1}, {"port": 65536}, {"port": True}, {"machine": "\x1b[2J"}, {"pid": None},
        {"version": "x" * 300}, {"objects": None}, {"objects": [["psu"]]}, {"objects": [["a.b", "C"]]},
        {"objects": [["psu", "\n"]]}, {"objects": [["psu", 5]]},
    ],
)  # fmt: skip
def test_announcement_that_makes_no_sense_is_none(change: dict[str, object]) -> None:
    assert read_announcement("srv", dumps({**loads(write_announcement(SAID)), **change})) is None


@given(st.binary(max_size=40))
def test_announcement_of_any_bytes_is_none_or_one(payload: bytes) -> None:
    assert read_announcement("srv", payload) is None


@pytest.mark.parametrize(
    ("name", "user", "certified", "found"),
    [
        (f"srv {A}", "own", False, True),
        (f"srv {A}", "CN=srv,O=lab1", True, True),
        (f"srv {A}", "CN=*,O=lab1", True, True),
        (f"srv {A}", "CN=other,O=lab1", True, False),
        (f"srv {A}", "CN=srv,O=lab2", True, False),
        (f"srv {A}", "own", True, False),
        (f"srv {A}", None, True, False),
        ("srv", "own", False, False),
        ("qmi_cli_site", "own", False, False),
        (f"a b {A}", "own", False, False),
        ("", "own", False, False),
        (None, "own", False, False),
    ],
)
def test_connection_is_believed_where_the_certificate_fits(
    name: object, user: object, certified: bool, found: bool
) -> None:
    expected = Connected("srv", A, 1795695668.471721, "S:7") if found else None
    assert read_event(event(name, user), "lab1", certified=certified) == expected


@pytest.mark.parametrize(
    "payload", [b"", b"5", b"[]", b"{}", b'{"client": 5, "server": {}}', b"\xff", event("srv " + A, start=5)]
)
def test_event_that_makes_no_sense_is_none(payload: bytes) -> None:
    assert read_event(payload, "lab1", certified=False) is None


def test_contexts_are_listed_with_what_they_said() -> None:
    present, asked = ask(
        [listed(connection(f"srv {A}"), connection(f"b {B}", 2), connection("other program", 3))],
        [kept("srv", write_announcement(SAID)), END],
    )
    assert present == [Present("b", B, 1795695668.471721), Present("srv", A, SAID.started, SAID)]
    assert present[1].objects == (("psu", "Psu"),)
    assert asked[0].servers == 1
    assert json.loads(asked[1].payload) == {
        "multi_last": [presence_subject("lab1", "b"), presence_subject("lab1", "srv")], "batch": 2,
    }  # fmt: skip


def test_nobody_is_asked_what_nobody_said() -> None:
    assert ask([listed()])[0] == []


def test_what_a_program_said_that_is_gone_does_not_count() -> None:
    (found,), _ = ask([listed(connection(f"srv {B}"))], [kept("srv", write_announcement(SAID)), END])
    assert (found.incarnation, found.said) == (B, None)


@pytest.mark.parametrize(
    "message", [kept("srv", write_announcement(SAID), times=2), kept("srv", b"{}"), kept("x.y", b"")]
)
def test_what_a_server_was_made_to_say_does_not_count(message: Message) -> None:
    (found,), _ = ask([listed(connection(f"srv {A}"))], [message, END])
    assert found.said is None


def numbered(context: str, sequence: int, left: int) -> Message:
    said = kept(context, write_announcement(SAID))
    more = f"\r\nNats-Sequence: {sequence}\r\nNats-Num-Pending: {left}\r\n\r\n"
    return said._replace(head=said.head[: -len("\r\n\r\n")] + more.encode())


def test_what_many_have_said_is_read_as_it_was_kept_in_pages() -> None:
    everybody = [listed(*(connection(f"c{number} {A}", number) for number in range(60)))]
    present, asked = ask(
        everybody,
        [numbered("c1", 3, 2), numbered("gone", 8, 1), END],
        [numbered("c59", 9, 0), END],
    )
    assert [found.context for found in present if found.said is not None] == ["c1", "c59"]
    assert [json.loads(question.payload)["seq"] for question in asked[1:]] == [1, 9]
    assert {json.loads(question.payload)["next_by_subj"] for question in asked[1:]} == {"qmi.lab1.presence.*"}


@pytest.mark.parametrize("answer", [[], [END], [END, END], [kept("c1", b"")], [kept("c1", b"", times=2)]])
def test_what_many_have_said_ends_where_nothing_is_left(answer: list[Message]) -> None:
    everybody = [listed(*(connection(f"c{number} {A}", number) for number in range(60)))]
    present, asked = ask(everybody, answer)
    assert len(present) == 60
    assert len(asked) == 2


@pytest.mark.parametrize(("tls", "users"), [(CfgSecurity(), False), (CfgSecurity("ca", "c", "k"), True)])
def test_who_a_connection_is_for_the_server_is_asked_where_certificates_tell(tls: CfgSecurity, users: bool) -> None:
    config = CfgQmi(workgroup="lab1", site=CfgSite(servers=["nats://a"]), security=tls)
    _, asked = ask([listed()], config=config)
    assert json.loads(asked[0].payload)["auth"] is users


@pytest.mark.parametrize("relay", [False, True])
def test_links_through_the_site_are_taken_by_who_says_so(relay: bool) -> None:
    said = SAID._replace(relay=relay)
    assert read_announcement("srv", write_announcement(said)) == said
    older = loads(write_announcement(said))
    del older["relay"]
    assert read_announcement("srv", dumps(older)) == SAID


def test_program_with_two_connections_is_listed_once() -> None:
    present, _ = ask([listed(connection(f"srv {A}", 1), connection(f"srv {A}", 2))], [END])
    assert len(present) == 1
    present, _ = ask([listed(connection(f"srv {A}", 1), connection(f"srv {B}", 2))], [END])
    assert len(present) == 2


def test_names_can_be_chosen() -> None:
    everybody = [listed(connection(f"srv {A}"), connection(f"cam {B}", 2))]
    present, asked = ask(everybody, [END], pattern="s*")
    assert [found.context for found in present] == ["srv"]
    assert json.loads(asked[1].payload)["multi_last"] == [presence_subject("lab1", "srv")]


def test_long_lists_come_in_pages_of_every_server() -> None:
    config = CfgQmi(workgroup="lab1", site=CfgSite(servers=["nats://a", "nats://b", "nats://c"]))
    pages = [
        [listed(connection(f"c{number} {A}"), server="S", total=2001 if number == 0 else 1) for number in range(2)],
        [listed(connection(f"d {A}"), total=2001)],
        [listed(total=2001)],
    ]
    present, asked = ask(*pages, [END], config=config)
    assert [found.context for found in present] == ["c0", "c1", "d"]
    assert [json.loads(question.payload)["offset"] for question in asked[:3]] == [0, 1000, 2000]
    assert {question.servers for question in asked[:3]} == {3}


def test_list_believes_where_the_certificate_fits() -> None:
    config = CfgQmi(
        workgroup="lab1", site=CfgSite(servers=["nats://a"]), security=CfgSecurity(ca="a", certificate="b", key="c")
    )
    everybody = [listed(connection(f"srv {A}", 1, "CN=srv,O=lab1"), connection(f"cam {B}", 2, "CN=srv,O=lab1"))]
    present, _ = ask(everybody, [END], config=config)
    assert [found.context for found in present] == ["srv"]


@pytest.mark.parametrize("junk", [b"", b"{}", b'{"data": 5}', b'{"data": {"total": "x", "connections": 5}}',
                                  b'{"data": {"total": 1, "connections": [5, {}]}}'])  # fmt: skip
def test_server_that_makes_no_sense_has_nobody(junk: bytes) -> None:
    assert ask([Message(1, "inbox", "", junk)])[0] == []


@pytest.mark.parametrize(
    ("hosts", "port", "machine", "where"),
    [
        (("10.0.0.5", "127.0.0.1"), 1, "m1", HostPort("127.0.0.1", 1)),
        (("127.0.0.1", "fd00::5", "10.0.0.5"), 1, "m2", HostPort("10.0.0.5", 1)),
        (("fd00::5",), 1, "m2", HostPort("fd00::5", 1)),
        (("10.0.0.5",), 1, "m1", HostPort("10.0.0.5", 1)),
        (("127.0.0.1",), 1, "m2", None),
        (("127.0.0.1",), 0, "m1", None),
        ((), 1, "m1", None),
    ],
)
def test_context_is_reached_by_the_address_that_leads_there(
    hosts: tuple[str, ...], port: int, machine: str, where: HostPort | None
) -> None:
    said = SAID._replace(hosts=hosts, port=port)
    assert reachable(said, machine) == where
    answers = answers_of([Present("srv", A, 0.0, said), Present("silent", B, 0.0)], "lab1", machine)
    assert [answer.address for answer in answers] == ([] if where is None else [where])


AWAY = SAID._replace(hosts=("127.0.0.1",))


@pytest.mark.parametrize(
    ("said", "relay", "way"),
    [
        (SAID, True, "direct"),
        (SAID._replace(relay=True), True, "direct"),
        (AWAY._replace(machine="m2"), True, "direct"),
        (AWAY, True, "out of reach"),
        (AWAY._replace(relay=True), False, "out of reach"),
        (AWAY._replace(relay=True), True, "relay"),
        (AWAY._replace(hosts=(), port=0, relay=True), True, "relay"),
        (AWAY._replace(hosts=(), port=0), True, ""),
        (None, True, ""),
    ],
)
def test_way_to_a_context_is_direct_or_by_a_relay_or_none(said: Announcement | None, relay: bool, way: str) -> None:
    ways = ways_to([Present("srv", A, 1.5e9, said)], "lab1", "m2", relay=relay)
    found = {
        "direct": [answer.name for answer in ways.direct],
        "relay": ways.relayed,
        "out of reach": ways.out_of_reach,
    }
    assert {kind: names for kind, names in found.items() if names} == ({way: ["srv"]} if way else {})
