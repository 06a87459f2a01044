from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.site import wire
from qmi.site.wire import Message, Parser, Ping, Pong, ServerError, ServerInfo, SiteProtocolError

STREAM = (
    b'INFO {"server_name":"s","max_payload":100,"tls_required":true,"cluster":"c","jetstream":true}\r\n'
    b"PING\r\n"
    b"+OK\r\n"
    b"MSG a.b 7 5\r\nhello\r\n"
    b"MSG a.b 7 _INBOX.x 4\r\n\r\n\r\n\r\n"
    b"HMSG a.b 8 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"
    b"HMSG a.b 8 _INBOX.x 26 26\r\nNATS/1.0 503\r\nOne: two\r\n\r\n\r\n"
    b"pong\r\n"
    b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n"
    b"MSG a.b 9 0\r\n\r\n"
)
EVENTS = [
    ServerInfo("s", 100, True, "c", True, json.loads(STREAM[5:].split(b"\r\n")[0])),
    Ping(),
    Message(7, "a.b", "", b"hello"),
    Message(7, "a.b", "_INBOX.x", b"\r\n\r\n"),
    Message(8, "a.b", "", b"hi", b"NATS/1.0\r\n\r\n"),
    Message(8, "a.b", "_INBOX.x", b"", b"NATS/1.0 503\r\nOne: two\r\n\r\n"),
    Pong(),
    ServerError('Permissions Violation for Publish to "x"'),
    Message(9, "a.b", "", b""),
]


def test_parser_takes_apart_what_a_server_sends() -> None:
    assert Parser().feed(STREAM) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_parser_does_not_mind_how_bytes_come(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    parser = Parser()
    events = [event for begin, end in pairwise(places) for event in parser.feed(STREAM[begin:end])]
    assert events == EVENTS


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_parser_survives_whatever_comes(pieces: list[bytes]) -> None:
    parser = Parser()
    with suppress(SiteProtocolError):
        for piece in pieces:
            parser.feed(piece)


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"INFO\r\n",
        b"INFO []\r\n",
        b'INFO {"max_payload": "x"}\r\n',
        b"MSG a 1\r\n",
        b"MSG a x 3\r\nabc\r\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1 2 3 4\r\n",
        b"HMSG a 1 12\r\n",
        b"HMSG a 1 9 3\r\nabc\r\n",
        b"MSG a 1 2\r\nabc\r\n",
        b"MSG a 1 1000\r\n",
        b"x" * (wire.LONGEST_LINE + 1),
    ],
)
def test_parser_refuses_what_is_no_nats(line: bytes) -> None:
    with pytest.raises(SiteProtocolError):
        Parser(max_message=100).feed(line)


@pytest.mark.parametrize(
    ("head", "status", "headers"),
    [
        (b"", 0, {}),
        (b"NATS/1.0\r\nNats-Sequence: 12\r\n\r\n", 0, {"Nats-Sequence": "12"}),
        (b"NATS/1.0 404 Message Not Found\r\n\r\n", 404, {}),
        (b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 3\r\n\r\n", 204, {"Nats-Num-Pending": "3"}),
        (b"NATS/1.0 5x\r\n\r\n", 0, {}),
    ],
)
def test_message_says_its_status_and_headers(head: bytes, status: int, headers: dict[str, str]) -> None:
    message = Message(1, "a", "", b"", head)
    assert message.status == status
    assert message.headers == headers


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ('Permissions Violation for Publish to "x"', False),
        ("Stale Connection", True),
        ("Authorization Violation", True),
    ],
)
def test_refusal_of_a_subject_does_not_end_the_connection(text: str, ends: bool) -> None:
    assert ServerError(text).ends_connection is ends


def test_what_a_client_says_is_what_servers_read() -> None:
    assert wire.publish(b"a.b", b"hi") == b"PUB a.b 2\r\nhi\r\n"
    assert wire.publish(b"a.b", b"", b"r.1") == b"PUB a.b r.1 0\r\n\r\n"
    assert wire.subscribe("a.*", 3) == b"SUB a.* 3\r\n"
    assert wire.unsubscribe(3) == b"UNSUB 3\r\n"
    hello = wire.connect("lab 1", "2.0", "me", "secret")
    assert hello.startswith(b"CONNECT {")
    about = json.loads(hello[8:-2])
    assert about["headers"] is about["no_responders"] is True
    assert (about["name"], about["user"], about["pass"]) == ("lab 1", "me", "secret")
    assert "user" not in json.loads(wire.connect("lab 1", "2.0")[8:-2])
