from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Struct

from qmi.actors.context_status import BusyStatus, LockStatus
from qmi.config.schema import CfgContext, CfgQmi
from qmi.messages import Call, Release, Subscribe, Token
from qmi.net.protocol.events import CancelReceived, StreamEnded
from qmi.records import asdict


class Part(Struct):
    x: int = 1
    inner: tuple[object, ...] = ()


class Whole(Struct, frozen=True):
    part: Part
    parts: list[Part]
    by_name: Mapping[str, object]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CfgQmi(), CfgQmi()),
        (CfgContext(host="::1"), CfgContext(host="::1")),
        (Call("a", "b", (1,)), Call("a", "b", (1,))),
        (CancelReceived(3), CancelReceived(3)),
        (LockStatus("a"), LockStatus("a")),
    ],
)
def test_records_with_the_same_fields_are_equal(one: Any, other: Any) -> None:
    assert one == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CfgContext(host="::1"), CfgContext()),
        (Call("a", "b", (1,)), Call("a", "b", (2,))),
        (Subscribe("a", "b"), Call("a", "b")),
        (CancelReceived(3), StreamEnded(3)),
        (LockStatus("a"), LockStatus("b")),
        (LockStatus("a"), BusyStatus("a")),
        (LockStatus(), ()),
    ],
)
def test_records_that_differ_are_not_equal(one: Any, other: Any) -> None:
    assert one != other


@pytest.mark.parametrize("record", [CfgQmi(), Call("a", "b")])
def test_record_that_can_be_changed_has_no_hash(record: Any) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(record)


def test_text_of_a_record_has_its_fields() -> None:
    assert repr(Part(3, (4,))) == "Part(x=3, inner=(4,))"
    assert repr(Release("a", Token("secret"))) == "Release(object='a', token=<automatic token>, context=None)"
    assert repr(LockStatus("a", "b")).startswith("LockStatus(holder='a', label='b', since=")


def test_asdict_turns_records_within_lists_and_mappings_into_dictionaries() -> None:
    token = Token("secret")
    whole = Whole(Part(1), [Part(2, (Part(3), token))], {"a": Part(4), "b": [1, {"c": Part(5)}]})
    assert asdict(whole) == {
        "part": {"x": 1, "inner": ()},
        "parts": [{"x": 2, "inner": ({"x": 3, "inner": ()}, token)}],
        "by_name": {"a": {"x": 4, "inner": ()}, "b": [1, {"c": {"x": 5, "inner": ()}}]},
    }
    assert asdict(whole)["parts"][0]["inner"][1] is token


def test_asdict_gives_a_copy() -> None:
    config = CfgQmi(contexts={"lab": CfgContext(program_args=["a"])})
    asdict(config)["contexts"]["lab"]["program_args"].append("b")
    assert config.contexts["lab"].program_args == ["a"]
