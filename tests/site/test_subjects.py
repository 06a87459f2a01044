from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.site.subjects import (
    Kind,
    Subject,
    ask_subject,
    connection_name,
    escape,
    every,
    inbox_prefix,
    inbox_root,
    inbox_subject,
    log_subject,
    parse_subject,
    presence_subject,
    relay_subject,
    rows_subject,
    signal_subject,
    split_connection_name,
    stream_name,
    unescape,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ODD = ["", ".", "*", ">", "a.b", "a b", "%", "%41", "ü", "\0", "\r\n", "$SYS", "a*", "a>", "\U0001f9ea", "(1)"]
WORD = re.compile(r"[-_a-zA-Z0-9()$%]+\Z")


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription gets a subject, by the rules of NATS."""
    wanted, found = pattern.split("."), subject.split(".")
    for index, word in enumerate(wanted):
        if word == ">":
            return len(found) > index
        if index >= len(found) or word not in ("*", found[index]):
            return False
    return len(wanted) == len(found)


@pytest.mark.parametrize("name", ODD)
def test_escaped_name_is_one_plain_word(name: str) -> None:
    assert WORD.match(escape(name))
    assert unescape(escape(name)) == name


@given(NAMES)
def test_escaped_name_comes_back(name: str) -> None:
    assert WORD.match(escape(name))
    assert unescape(escape(name)) == name


@given(NAMES, NAMES)
def test_escaped_names_differ_where_names_differ(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)


@given(st.text(max_size=12) | st.text("%4a1FfC3Bc.*>$", max_size=8))
def test_unescape_takes_only_what_escape_makes(word: str) -> None:
    try:
        name = unescape(word)
    except ValueError:
        return
    assert escape(name) == word


@pytest.mark.parametrize("word", ["%61", "%2", "%2e", "%GG", "%C3", "a.b", "*", ">", "", "a b", "%%", "ü"])
def test_unescape_refuses_what_escape_does_not_make(word: str) -> None:
    with pytest.raises(ValueError):
        unescape(word)


@given(NAMES, NAMES, NAMES, NAMES)
def test_subject_of_each_kind_comes_back(workgroup: str, context: str, name: str, signal: str) -> None:
    made = {
        signal_subject(workgroup, context, name, signal): Subject(workgroup, Kind.SIGNAL, context, (name, signal)),
        presence_subject(workgroup, context): Subject(workgroup, Kind.PRESENCE, context),
        log_subject(workgroup, context): Subject(workgroup, Kind.LOG, context),
        rows_subject(workgroup, context, name): Subject(workgroup, Kind.ROWS, context, (name,)),
        ask_subject(workgroup, context): Subject(workgroup, Kind.ASK, context),
        inbox_subject(workgroup, context, name, signal): Subject(workgroup, Kind.INBOX, context, (name, signal)),
        relay_subject(workgroup, context, name, signal): Subject(workgroup, Kind.RELAY, context, (name, signal)),
    }
    for text, subject in made.items():
        assert parse_subject(text) == subject
        assert str(subject) == text
        assert matches(every(workgroup, subject.kind), text)
        assert matches(every(workgroup, subject.kind, context), text)
        for kind in Kind:
            assert matches(every(workgroup, kind), text) == (kind is subject.kind)
            assert not matches(every(workgroup + "x", kind), text)
            assert not matches(every(workgroup, kind, context + "x"), text)


def test_subjects_of_usual_names_are_as_they_are_read() -> None:
    assert signal_subject("default", "lab", "psu", "sig_voltage") == "qmi.default.signal.lab.psu.sig_voltage"
    assert signal_subject("default", "lab(1)", "$runs", "sig") == "qmi.default.signal.lab(1).$runs.sig"
    assert every("default", Kind.SIGNAL, "lab") == "qmi.default.signal.lab.>"
    assert every("default", Kind.ASK) == "qmi.default.ask.*"
    assert inbox_prefix("default", "lab").startswith(inbox_root("default"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "qmi",
        "qmi.default.signal.lab.psu",
        "qmi.default.signal.lab.psu.sig.more",
        "qmi.default.presence.lab.more",
        "qmi.default.gossip.lab",
        "other.default.presence.lab",
        "qmi.default.presence.*",
        "qmi.default.signal.lab.>",
        "qmi.default.presence.%6Cab",
        "$JS.API.INFO",
    ],
)
def test_parse_subject_refuses_what_no_context_publishes(text: str) -> None:
    assert parse_subject(text) is None


@given(NAMES)
def test_stream_name_is_one_that_servers_accept(workgroup: str) -> None:
    assert re.match(r"[^\s.*>/\\]+\Z", stream_name(workgroup))


@given(NAMES, NAMES, NAMES, NAMES)
def test_inbox_of_a_context_begins_alike(workgroup: str, context: str, connection: str, request: str) -> None:
    subject = inbox_subject(workgroup, context, connection, request)
    assert subject.startswith(inbox_prefix(workgroup, context) + ".")


def test_connection_name_says_context_and_incarnation() -> None:
    assert split_connection_name(connection_name("lab(1)", "0123456789abcdef")) == ("lab(1)", "0123456789abcdef")


@pytest.mark.parametrize(
    "text", ["", "lab", "lab ", "lab x", " 0123456789abcdef", "a.b 0123456789abcdef", "lab 0123456789ABCDEF"]
)
def test_connection_name_of_no_context_is_none(text: str) -> None:
    assert split_connection_name(text) is None
