from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.proc.helper_protocol import (
    MARKER,
    MAX_LINE,
    MAX_PID,
    MAX_PIECE,
    BadLineError,
    Command,
    Cursor,
    Err,
    Ok,
    Read,
    Start,
    StatusQuery,
    Stop,
    UnknownCommandError,
    already_running,
    clean,
    format_command,
    format_reply,
    is_marker,
    is_unknown_command,
    parse_already_running,
    parse_command,
    parse_reply,
    piece_of,
    piece_reply,
)
from tests.support.examples import examples

NAMES = st.from_regex(re.compile(r"[-_a-zA-Z0-9()]{1,63}\Z", re.ASCII), fullmatch=True)
PIDS = st.integers(1, MAX_PID)
PLACES = st.builds(
    Cursor, st.from_regex(re.compile(r"[0-9]{8}_[0-9]{6}\Z"), fullmatch=True), st.integers(0, 10**15 - 1)
)
COMMANDS = st.one_of(
    st.builds(Start, NAMES),
    st.builds(Stop, NAMES, st.none() | PIDS),
    st.builds(StatusQuery, NAMES),
    st.builds(Read, NAMES, st.none() | PLACES),
)
quick = examples(100)


@quick
@given(COMMANDS)
def test_a_command_survives_the_wire(command: Command) -> None:
    line = format_command(command)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert parse_command(line) == command
    assert parse_command(b"  " + line.replace(b"\n", b" \r\n")) == command


@quick
@given(st.integers(0, MAX_PID))
def test_a_good_answer_survives_the_wire(value: int) -> None:
    assert parse_reply(format_reply(Ok(value))) == Ok(value)
    assert parse_reply(format_reply(Ok(value, "it ended\nby itself"))) == Ok(value, "it ended | by itself")


@quick
@given(PLACES, st.binary(max_size=MAX_PIECE))
def test_a_piece_of_output_survives_the_wire(place: Cursor, data: bytes) -> None:
    for piece in (data, (data * (MAX_PIECE + 1))[:MAX_PIECE]):
        reply = parse_reply(format_reply(piece_reply(place, piece)))
        assert isinstance(reply, Ok)
        assert piece_of(reply) == (place, piece)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Ok(0), "not a date, a time and an offset"),
        (Ok(3, "20240101_000000 3 !!!!"), "cannot be decoded"),
        (Ok(3, "20240101_000000 3"), "announced 3 bytes and sent 0"),
        (Ok(0, "20240101_000000 3 AAAA"), "announced 0 bytes and sent 3"),
        (Ok(3, "20240101 3 AAAA"), "not a date"),
        (Ok(3, "../../etc/passwd 3 AAAA"), "not a date"),
    ],
)
def test_output_of_another_form_is_refused(reply: Ok, message: str) -> None:
    with pytest.raises(BadLineError, match=message):
        piece_of(reply)


def test_a_helper_that_lacks_a_command_is_recognized() -> None:
    with pytest.raises(UnknownCommandError) as caught:
        parse_command(b"STATUS a")
    assert is_unknown_command(parse_reply(format_reply(Err(str(caught.value)))))
    assert not is_unknown_command(Err("no such program"))
    assert not is_unknown_command(Ok(1, "unknown command"))


@quick
@given(st.text())
def test_a_bad_answer_is_one_printable_line(message: str) -> None:
    line = format_reply(Err(message))
    assert line.count(b"\n") == 1
    assert len(line) <= MAX_LINE
    reply = parse_reply(line)
    assert isinstance(reply, Err)
    assert reply.message.isprintable()
    assert format_reply(reply) == line


@quick
@given(st.binary() | st.text().map(str.encode) | st.just(b"OK " + b"9" * 5000))
def test_protocol_of_the_helper_survives_junk_at_either_end(line: bytes) -> None:
    for parse in (parse_command, parse_reply):
        try:
            parse(line)
        except BadLineError as exc:
            assert str(exc).isprintable()  # noqa: PT017 - any text may or may not raise
            assert len(str(exc)) < 600  # noqa: PT017


@quick
@given(st.text(max_size=100))
def test_clean_text_keeps_its_length_and_loses_what_is_not_printable(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) == len(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"START", "expected 'START name'"),
        (b"START a b", "expected 'START name'"),
        (b"STOP", r"expected 'STOP name \[pid\]'"),
        (b"STOP a 1 2", r"expected 'STOP name \[pid\]'"),
        (b"START a;b", "'a;b' is not the name of a context"),
        (b"START ../x", "not the name"),
        (b"START \xff", "not the name"),
        (b"STOP a x", "'x' is not the number of a process"),
        (b"STOP a 0", "not the number"),
        (b"STOP a 99999999999", "not the number"),
        (b"LOOK", "expected 'LOOK name'"),
        (b"READ a 20240101_000000", "expected 'READ name"),
        (b"READ a ../../../etc/passwd 0", "is not a date, a time and an offset"),
        (b"READ a 20240101_000000 -1", "is not a date, a time and an offset"),
        (b"START " + b"a" * MAX_LINE, "longer than"),
        (b"START " + b"a" * 100, r"a\.\.\.' is not the name"),
    ],
)
def test_a_malformed_command_is_refused_with_the_reason(line: bytes, message: str) -> None:
    with pytest.raises(BadLineError, match=message) as caught:
        parse_command(line)
    assert not isinstance(caught.value, UnknownCommandError)


@pytest.mark.parametrize("line", [b"QUIT", b"start a", b"STATUS", b"\x1b[A", b"OK 1"])
def test_any_other_command_is_unknown(line: bytes) -> None:
    with pytest.raises(UnknownCommandError, match="unknown command"):
        parse_command(line)


def test_a_blank_line_is_no_command() -> None:
    assert parse_command(b" \r\n") is None


@pytest.mark.parametrize("line", [b"", b"OK", b"OK x", b"OK -1", b"OK 1\t2", b"ok 1", b"Warning: x", b"OK 4294967296"])
def test_answer_of_another_form_is_refused(line: bytes) -> None:
    with pytest.raises(BadLineError, match="expected 'OK number' or 'ERR message'"):
        parse_reply(line)


def test_message_of_several_lines_becomes_one() -> None:
    assert format_reply(Err("a\nb\x1b[31m")) == b"ERR a | b [31m\n"


@pytest.mark.parametrize("command", [Start("a b"), Start("a\nSTOP b"), Stop("", 1), Stop("a", 0), Stop("a", 2**40)])
def test_what_cannot_be_sent_is_refused(command: Command) -> None:
    with pytest.raises(BadLineError):
        format_command(command)


def test_the_marker_stands_alone_on_its_line() -> None:
    assert is_marker(MARKER.encode() + b"\r\n")
    assert not is_marker(b"welcome " + MARKER.encode())


def test_already_running_is_read_back() -> None:
    assert parse_already_running(already_running(12, "1.0")) == (12, "1.0")
    assert parse_already_running(already_running(12, "")) == (12, "unknown")
    assert parse_already_running("already running (PID=12, QMI=1) and more") is None
