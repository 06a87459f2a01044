"""Records travel as plain data; what makes no sense in them is as if it were not there."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import pytest

from qmi.actors.context_status import (
    BusyStatus,
    ContextStatus,
    ErrorStatus,
    LinkStatus,
    LockStatus,
    LogTotals,
    ObjectStatus,
    PagesStatus,
    ProcessStatus,
    SignalStatus,
    SignalTotals,
    TaskStatus,
)
from qmi.actors.log_records import LogBatch, LogRecordStatus
from qmi.net.codec import Codec

RECORDS = [
    *(LockStatus, BusyStatus, ErrorStatus, SignalStatus, TaskStatus, ObjectStatus, LinkStatus, SignalTotals),
    *(ProcessStatus, ContextStatus, LogTotals, LogBatch, LogRecordStatus, PagesStatus),
]

FULL = ContextStatus(
    name="lab",
    version="1.2",
    pid=7,
    started=10.0,
    now=12.5,
    tls=True,
    objects=(
        ObjectStatus(
            name="psu",
            category="instrument",
            class_name="lab.PSU",
            state="open",
            lock=LockStatus("alice", "$lock_1", 3.0, "alignment", "Alice", "align.py", "desk"),
            busy=BusyStatus("get_sample()", "alice", 11.0, "psu.py:7 in get_sample"),
            queue=2,
            last_error=ErrorStatus("get_sample()", "OSError: gone", 9.0, "bob"),
            signals=(SignalStatus("sig_sample", 5, 1, 2),),
        ),
        ObjectStatus(name="t", category="task", task=TaskStatus("running", period=0.1, lateness=((1e-6, 3),))),
    ),
    links=(LinkStatus("alice", "up", bytes_sent=5),),
    failures={"link: no sign of life": 2},
    pages=PagesStatus("http://127.0.0.1:8642/", token_file="/home/lab/lab_web.token", pid=8),
)


def test_a_status_is_the_same_after_its_way() -> None:
    plain = FULL.to_plain()
    assert ContextStatus.from_plain(plain) == FULL
    assert ContextStatus.from_plain(json.loads(json.dumps(plain, allow_nan=False))) == FULL
    assert ContextStatus.from_plain(Codec().decode(Codec().encode(plain).payload)) == FULL
    assert FULL.uptime == 2.5
    assert FULL.find("psu") is FULL.objects[0]
    assert FULL.find("x") is None


def test_words_that_are_no_names_in_python_are_keys() -> None:
    plain: Any = FULL.to_plain()
    psu = plain["objects"][0]
    assert psu["class"] == "lab.PSU"
    assert psu["busy"]["for"] == "alice"
    assert psu["last_error"]["for"] == "bob"


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_has_a_default_and_what_is_not_known_is_ignored(record: Any) -> None:
    empty = record()
    assert record.from_plain({}) == empty
    assert record.from_plain({"of a newer version": [1], **empty.to_plain()}) == empty


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize(
    "odd", [None, [1, "x", {"name": 3}], {"a": None}, "text", 3, 2.5, True, math.inf, math.nan, b"x", 10**400, object()]
)
def test_what_makes_no_sense_is_as_if_it_were_missing(record: Any, odd: Any) -> None:
    found = record.from_plain({record.KEYS.get(field.name, field.name): odd for field in fields(record)})
    json.dumps(found.to_plain(), allow_nan=False)
    for field in fields(record):
        before, after = getattr(record(), field.name), getattr(found, field.name)
        if before is not None and after is not None:
            assert type(after) is type(before), field.name
    assert record.from_plain(odd) == record() or isinstance(odd, dict)


def test_one_odd_object_takes_no_other_with_it() -> None:
    found = ContextStatus.from_plain({"objects": [{"name": "a"}, 3, None, {"name": 4}, {"name": "b", "lock": 3}]})
    assert [entry.name for entry in found.objects] == ["a", "", "b"]
    assert found.objects[2].lock is None


def test_texts_of_others_write_nothing_on_a_terminal() -> None:
    found = ContextStatus.from_plain({"name": "a\x1b[31m", "failures": {"x\x07": 1}, "version": "v" * 100_000})
    assert found.name == "a\\x1b[31m"
    assert found.failures == {"x\\x07": 1}
    assert len(found.version) == 10_000
