from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.config.schema import CfgContext
from qmi.proc.order import start_order
from qmi.proc.selection import Target
from tests.support.examples import examples


def targets(**peers: str) -> list[Target]:
    return [Target(name, CfgContext(connect_to_peers=list(theirs)), True) for name, theirs in peers.items()]


@pytest.mark.parametrize(
    ("peers", "groups"),
    [
        ({}, []),
        ({"a": "", "b": ""}, [("a", "b")]),
        ({"a": "b", "b": ""}, [("b",), ("a",)]),
        ({"a": "bc", "b": "d", "c": "d", "d": ""}, [("d",), ("b", "c"), ("a",)]),
        ({"a": "z", "b": "b"}, [("a", "b")]),
    ],
)
def test_contexts_start_in_groups_after_those_that_they_connect_to(
    peers: dict[str, str], groups: list[tuple[str, ...]]
) -> None:
    order = start_order(targets(**peers))
    assert order.groups() == groups
    assert order.warnings == ()
    assert len(order.reverse().groups()) == len(groups)


def test_contexts_stop_before_those_that_they_connect_to() -> None:
    assert start_order(targets(a="b", b="c", c="")).reverse().groups() == [("a",), ("b",), ("c",)]


def test_a_circle_keeps_the_order_of_the_file_and_is_named() -> None:
    order = start_order(targets(x="a", a="c", b="a", c="b", y="z", z="y"))
    assert order.groups() == [("a", "y"), ("x", "b", "z"), ("c",)]
    first, second = order.warnings
    assert first.startswith("a, b, c connect to each other in a circle")
    assert second.startswith("y, z connect")


@examples(100)
@given(st.dictionaries(st.sampled_from("abcdef"), st.text("abcdef", max_size=4)))
def test_every_context_comes_once_and_after_its_peers_but_for_circles(peers: dict[str, str]) -> None:
    order = start_order(targets(**peers))
    for groups in (order.groups(), order.reverse().groups()[::-1]):
        names = [name for group in groups for name in group]
        assert sorted(names) == sorted(peers)
        if not order.warnings:
            for name, theirs in peers.items():
                assert all(names.index(p) < names.index(name) for p in theirs if p in peers and p != name)
