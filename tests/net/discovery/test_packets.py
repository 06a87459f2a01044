from __future__ import annotations

from typing import Any

import pytest
from cbor2 import CBORTag, dumps
from hypothesis import given
from hypothesis import strategies as st

from qmi.net.discovery.packets import (
    ANSWER,
    MAX_SIZE,
    QUESTION,
    QUESTION_SIZE,
    Answer,
    Question,
    read_answer,
    read_question,
    reply_to,
    write_answer,
    write_question,
)
from tests.support.examples import examples

ASKED = Question(2**63, "lab")
ME: dict[str, Any] = {
    "asker_host": "10.0.0.9", "name": "srv", "workgroup": "lab", "host": "0.0.0.0", "port": 4001, "version": "1",
    "pid": 7,
}  # fmt: skip


def test_fault_36_a_question_is_answered_by_an_address_that_can_be_reached() -> None:
    packet = reply_to(write_question(ASKED), **ME)
    assert packet is not None
    answer = read_answer(packet, source_host="10.0.0.5", question=ASKED)
    assert answer == Answer(2**63, "srv", "lab", "10.0.0.5", 4001, "1", 7)
    assert str(answer.address) == "10.0.0.5:4001"
    packet = reply_to(write_question(ASKED), **{**ME, "host": "10.0.0.77"})
    assert packet is not None
    found = read_answer(packet, source_host="10.0.0.5", question=ASKED)
    assert found is not None
    assert found.host == "10.0.0.77"


@pytest.mark.parametrize(
    ("question", "changes", "answers"),
    [
        (ASKED, {}, True),
        (Question(1, "lab", "s*"), {}, True),
        (Question(1, "lab", "S*"), {}, False),
        (Question(1, "lab", "x*"), {}, False),
        (Question(1, "other"), {}, False),
        (Question(1, "*"), {}, False),
        (ASKED, {"port": 0}, False),
        (ASKED, {"host": "127.0.0.1"}, False),
        (ASKED, {"host": "localhost"}, False),
        (ASKED, {"host": "::1", "asker_host": "::1%lo"}, True),
        (ASKED, {"host": "127.0.0.1", "asker_host": "127.0.0.1"}, True),
        (ASKED, {"version": "v" * 800}, False),
    ],
)
def test_fault_36_question_is_answered_by_those_it_is_meant_for(
    question: Question, changes: dict[str, Any], answers: bool
) -> None:
    assert (reply_to(write_question(question), **{**ME, **changes}) is not None) is answers


@examples(60)
@given(st.text(max_size=63), st.text(max_size=128), st.integers(0, QUESTION_SIZE))
def test_fault_36_an_answer_is_never_larger_than_its_question(name: str, workgroup: str, size: int) -> None:
    answer = Answer(2**64 - 1, name, workgroup, "f" * 45, 65535, "1.2.3", 2**31)
    packet = write_answer(answer, size)
    assert packet is None or len(packet) <= size
    if len(name.encode()) < 64 and len(workgroup.encode()) < 256:
        assert write_answer(answer, QUESTION_SIZE) is not None


def test_every_question_has_the_full_size() -> None:
    assert len(write_question(Question(0, "", ""))) == len(write_question(Question(2**64 - 1, "w" * 128, "p" * 128)))
    for long in (Question(0, "w" * 129), Question(0, "w", "p" * 129)):
        with pytest.raises(ValueError, match="at most 128"):
            write_question(long)


GOOD = {"nonce": 2**63, "name": "srv", "workgroup": "lab", "host": "", "port": 1, "version": "1", "pid": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 1}, {"name": "a b"}, {"name": 3}, {"workgroup": "x"}, {"port": 0}, {"port": 65536}, {"port": True},
        {"pid": -1}, {"version": "\n"}, {"host": "a b"}, {"host": "\x1b"}, {"version": None},
    ],
)  # fmt: skip
def test_forged_answers_are_ignored(change: dict[str, Any]) -> None:
    assert read_answer(ANSWER + dumps(GOOD), source_host="h", question=ASKED) is not None
    assert read_answer(ANSWER + dumps({**GOOD, **change}), source_host="h", question=ASKED) is None


@pytest.mark.parametrize(
    "data",
    [
        b"", b"QMI?", QUESTION, QUESTION + b"\xff", QUESTION + dumps([1]), QUESTION + dumps({"nonce": 1}),
        QUESTION + dumps({"nonce": "1", "workgroup": "lab", "pattern": "*"}), b"x" * 70_000,
        QUESTION + dumps({"nonce": 1, "workgroup": "lab", "pattern": "*" * 129}),
        QUESTION + dumps({"nonce": CBORTag(2, b"1"), "workgroup": "lab", "pattern": "*"}),
        QUESTION + dumps({"nonce": 1, "workgroup": "lab", "pattern": "*", "x": [[[[1]]]]}),
        write_question(ASKED).ljust(MAX_SIZE + 1), ANSWER + dumps(GOOD),
    ],
    ids=lambda data: data[:20].hex(),
)  # fmt: skip
def test_fault_36_junk_gets_no_answer(data: bytes) -> None:
    assert read_question(data) is None
    assert reply_to(data, **ME) is None


@examples(150)
@given(st.sampled_from([b"", QUESTION, ANSWER]), st.binary(max_size=60))
def test_fault_36_any_packet_is_understood_or_none(magic: bytes, data: bytes) -> None:
    assert isinstance(read_question(magic + data), (Question, type(None)))
    assert read_answer(magic + data, source_host="h", question=ASKED) is None


def test_a_newer_question_with_more_fields_is_understood() -> None:
    assert read_question(QUESTION + dumps({**ASKED._asdict(), "new": 1})) == ASKED
