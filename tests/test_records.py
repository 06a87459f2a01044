from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from attrs import define

from qmi.config.schema import CfgContext, CfgQmi
from qmi.messages import Call, Release, Subscribe, Token
from qmi.net.protocol.events import CancelReceived, StreamEnded
from qmi.records import FieldRecord


@dataclass(slots=True, eq=False, repr=False)
class Point(FieldRecord):
    x: int
    y: int = 0
    noted: str = field(default="", compare=False)
    hidden: str = field(default="", repr=False)


@dataclass(slots=True, eq=False, repr=False)
class Place(Point):
    name: str = ""


@define(eq=False, repr=False)
class Section(FieldRecord):
    x: int = 1
    inner: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Point(1, 2), Point(1, 2)),
        (Point(1, 2, noted="a"), Point(1, 2, noted="b")),
        (Place(1, name="a"), Place(1, name="a")),
        (Section(2), Section(2)),
        (CfgQmi(), CfgQmi()),
        (CfgContext(host="::1"), CfgContext(host="::1")),
        (Call("a", "b", (1,)), Call("a", "b", (1,))),
        (CancelReceived(3), CancelReceived(3)),
    ],
)
def test_records_with_the_same_fields_are_equal(one: Any, other: Any) -> None:
    assert one == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Point(1, 2), Point(1, 3)),
        (Point(1, 2, hidden="a"), Point(1, 2, hidden="b")),
        (Point(1), Place(1)),
        (Place(1, name="a"), Place(1, name="b")),
        (Point(1), (1, 0, "", "")),
        (Section(1), Section(2)),
        (CfgContext(host="::1"), CfgContext()),
        (Call("a", "b", (1,)), Call("a", "b", (2,))),
        (Subscribe("a", "b"), Call("a", "b")),
        (CancelReceived(3), StreamEnded(3)),
    ],
)
def test_records_that_differ_are_not_equal(one: Any, other: Any) -> None:
    assert one != other


@pytest.mark.parametrize("record", [Point(1), Section(), CfgQmi(), Call("a", "b")])
def test_record_has_no_hash(record: Any) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(record)


def test_text_of_a_record_has_its_fields() -> None:
    assert repr(Point(1, 2, "a", "b")) == "Point(x=1, y=2, noted='a')"
    assert repr(Section(3, (4,))) == "Section(x=3, inner=(4,))"
    assert repr(Release("a", Token("secret"))) == "Release(object='a', token=<automatic token>, context=None)"
