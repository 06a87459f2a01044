from __future__ import annotations

import threading
from typing import Any

import pytest

from qmi.actors.registry import Registry
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_DuplicateNameException, QMI_UnknownNameException, QMI_UsageException
from tests.support.actors import actor_of
from tests.support.drivers import Gate, Plain


def test_a_name_belongs_to_who_took_it_first() -> None:
    names = Registry("lab")
    names.reserve("x")
    with pytest.raises(QMI_DuplicateNameException, match="Context 'lab' already has an object named 'x'"):
        names.reserve("x")
    names.free("x")
    names.reserve("x")
    assert len(names) == 0


def test_fault_21_a_name_is_taken_by_one_of_many_threads(lab: QMI_Context) -> None:
    start = threading.Barrier(8)
    made: list[Any] = []
    refused: list[Exception] = []

    def make() -> None:
        start.wait(10)
        try:
            made.append(lab.make_instrument("x", Plain))
        except QMI_DuplicateNameException as error:
            refused.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(made), len(refused)) == (1, 7)
    assert made[0].add(1) == 3


class Slow(Plain):
    def __init__(self, context: Any, name: str, gate: Gate) -> None:
        gate.pass_through()
        super().__init__(context, name)


def test_fault_21_a_name_is_taken_while_the_constructor_runs(lab: QMI_Context, gate: Gate) -> None:
    maker = threading.Thread(target=lab.make_instrument, args=("x", Slow, gate))
    maker.start()
    gate.reached.wait(10)
    with pytest.raises(QMI_DuplicateNameException):
        lab.make_instrument("x", Plain)
    with pytest.raises(QMI_UnknownNameException):
        lab.get_instrument("x")
    gate.open.set()
    maker.join(10)
    assert lab.get_instrument("x").add(1) == 3


@pytest.mark.parametrize("name", ["", "a b", "x.y", "$x", "x" * 64, "é"])
def test_fault_21_bad_names_are_refused(lab: QMI_Context, name: str) -> None:
    with pytest.raises(QMI_UsageException, match="Invalid object name"):
        lab.make_instrument(name, Plain)
    assert lab.list_rpc_objects() == []


def test_fault_21_a_name_that_is_no_text_is_refused(lab: QMI_Context) -> None:
    with pytest.raises(QMI_UsageException, match=r"An? object name is a string; got 5"):
        lab.make_instrument(5, Plain)  # type: ignore[call-overload]


def test_unknown_names_come_with_a_hint(lab: QMI_Context) -> None:
    with pytest.raises(ValueError, match=r"Context 'lab' has no object named 'x'\. It has no objects yet"):
        lab.get_instrument("x")
    lab.make_instrument("laser", Plain)
    with pytest.raises(QMI_UnknownNameException, match=r"no object named 'lazer'\. Did you mean 'laser'\?"):
        lab.get_instrument("lazer")
    with pytest.raises(QMI_UnknownNameException, match=r"no object named 'zzz'\. It has 'laser'$"):
        lab.get_instrument("lab.zzz")


def test_an_object_goes_once() -> None:
    context = QMI_Context("lab")
    with context:
        context.make_instrument("x", Plain)
        actor = actor_of(context, "x")
        names = context.async_context.registry
        assert [each.address.object for each in names] == ["$context", "x"]
        assert names.remove(actor)
        assert not names.remove(actor)
        names.add(actor)


def test_unique_names(lab: QMI_Context) -> None:
    lab.make_instrument("object_2", Plain)
    assert [lab.make_unique_name() for _ in range(2)] == ["object_1", "object_3"]
    assert str(lab.make_unique_address("t")) == "lab.t4"
    assert lab.make_unique_token() == "$lock_5"
