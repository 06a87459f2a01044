"""Internal objects: made when somebody first asks for them, in no list, gone with their context."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import trio

from qmi.actors.interface import Placement, direct_method
from qmi.contexts import internal
from qmi.contexts.internal import register_internal_object
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_ContextStoppedException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_SignalSubscriptionException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import QMI_RpcObject
from qmi.messages import Describe
from qmi.names import Address
from tests.support.lab import address, make_context
from tests.support.links import pair


class Board(QMI_RpcObject):
    """An internal object that notes what becomes of it."""

    _rpc_placement = Placement.LOOP
    GUEST_METHODS: ClassVar[tuple[str, ...]] = ("look",)
    sig_changed = QMI_Signal([int])
    made: ClassVar[list[Board]] = []
    fails: ClassVar[list[Exception]] = []
    released = False

    def __init__(self, context: Any, name: str, owner: Any) -> None:
        super().__init__(context, name)
        self.owner = owner
        self.made.append(self)
        if self.fails:
            raise self.fails.pop()

    @direct_method
    def look(self) -> str:
        """Look."""
        return str(self.owner.name)

    @direct_method
    def touch(self) -> None:
        """Do more than looking."""
        self.sig_changed.publish(5)

    def release_rpc_object(self) -> None:
        """End."""
        type(self).released = True


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(internal, "_CLASSES", {})
    register_internal_object("$scans", Board)
    Board.released = False
    yield
    Board.made.clear()
    Board.fails.clear()


@pytest.fixture
def lab() -> Iterator[tuple[QMI_Context, QMI_Context]]:
    with make_context("lab", context={"operators": ["control"]}) as lab, make_context("guest") as guest:
        guest.connect_to_peer("lab", address(lab))
        yield lab, guest


@pytest.mark.parametrize("where", ["here", "afar"])
def test_internal_object_is_made_when_it_is_first_asked_for(lab: tuple[QMI_Context, QMI_Context], where: str) -> None:
    there, guest = lab
    assert Board.made == []
    context = there if where == "here" else guest
    for _ in range(2):
        assert context.get_rpc_object("lab.$scans").look() == "lab"
    assert len(Board.made) == 1


def test_internal_object_is_in_no_list(lab: tuple[QMI_Context, QMI_Context]) -> None:
    for context in lab:
        context.get_rpc_object("lab.$scans")
        for category in (None, "object", "context"):
            assert not [entry for entry in context.list_rpc_objects(category) if "$scans" in entry[0]]
    assert lab[0].get_rpc_object_descriptors() == []


def test_internal_object_cannot_be_removed_and_ends_with_its_context() -> None:
    with make_context("lab") as context:
        proxy = context.get_rpc_object("$scans")
        with pytest.raises(QMI_UsageException, match=r"^lab\.\$scans is an internal object: it ends with its context$"):
            context.remove_rpc_object(proxy)
        assert not Board.released
    assert Board.released


@pytest.mark.parametrize("name", ["$scans", "$runs", "$context", "$mine"])
def test_user_cannot_give_a_name_that_begins_with_a_dollar(lab: tuple[QMI_Context, QMI_Context], name: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=r"it contains '\$'"):
        lab[0].make_rpc_object(name, Board)  # type: ignore[call-overload]


def test_guest_may_do_with_an_internal_object_what_it_says(lab: tuple[QMI_Context, QMI_Context]) -> None:
    there, guest = lab
    proxy = guest.get_rpc_object("lab.$scans")
    assert proxy.look() == "lab"
    for forbidden in (proxy.touch, proxy.lock):
        with pytest.raises(QMI_InvalidOperationException, match="is a guest there"):
            forbidden()
    with make_context("control") as control:
        control.connect_to_peer("lab", address(there))
        control.get_rpc_object("lab.$scans").touch()


@pytest.mark.parametrize("where", ["here", "afar"])
def test_signal_of_an_internal_object_can_be_subscribed_to_before_it_is_made(
    lab: tuple[QMI_Context, QMI_Context], where: str
) -> None:
    there, guest = lab
    receiver = QMI_SignalReceiver()
    (there if where == "here" else guest).subscribe_signal("lab", "$scans", "sig_changed", receiver)
    there.get_rpc_object("$scans").touch()
    assert receiver.get_next_signal(30).args == (5,)
    assert len(Board.made) == 1


def test_internal_object_of_a_program_that_has_not_imported_its_package_is_told(
    lab: tuple[QMI_Context, QMI_Context],
) -> None:
    message = r"^Context 'lab' has no object named '\$runs': its program has not imported qmi\.data$"
    for context in lab:
        with pytest.raises(QMI_UnknownNameException, match=message):
            context.get_rpc_object("lab.$runs")
        with pytest.raises(QMI_SignalSubscriptionException, match=message):
            context.subscribe_signal("lab", "$runs", "sig_changed", QMI_SignalReceiver())


def test_internal_object_whose_constructor_fails_is_made_anew(lab: tuple[QMI_Context, QMI_Context]) -> None:
    Board.fails.append(ValueError("not now"))
    with pytest.raises(ValueError, match="not now"):
        lab[1].get_rpc_object("lab.$scans")
    assert lab[1].get_rpc_object("lab.$scans").look() == "lab"


async def test_internal_object_is_made_once_for_all_who_ask_at_the_same_time() -> None:
    async with pair() as (srv, cli):
        asked = [cli.request(Address("srv", "$scans"), Describe("$scans")) for _ in range(3)]
        asked[0].cancel()  # whoever gives up does so for himself
        begun = srv.internal_objects.begin("$scans")
        begun.cancel()
        with trio.fail_after(30):
            for future in asked[1:]:
                assert "look" in (await future).methods
        assert len(Board.made) == 1


def test_internal_object_is_made_once_for_threads_that_ask_at_the_same_time() -> None:
    with make_context("lab") as context:
        start, found = threading.Barrier(4), []

        def ask() -> None:
            start.wait(30)
            found.append(context.get_rpc_object("$scans").look())

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert (found, len(Board.made)) == (["lab"] * 4, 1)


async def test_internal_object_of_a_context_that_stops_is_not_made(trio_lab: Context) -> None:
    trio_lab._state, was = "stopping", trio_lab._state
    with pytest.raises(QMI_ContextStoppedException):
        await trio_lab.internal_objects.begin("$scans")
    trio_lab._state = was
    assert Board.made == []


class Threaded(QMI_RpcObject):
    """Does not live in the loop."""


@pytest.mark.parametrize(
    ("name", "cls", "message"),
    [
        ("$other", Board, r"name must be one of \$runs, \$scans, \$traffic, got '\$other'"),
        ("board", Board, "got 'board'"),
        ("$runs", Threaded, "An internal object lives in the event loop: Threaded needs that placement"),
    ],
)
def test_internal_object_of_another_kind_is_not_registered(name: str, cls: type[QMI_RpcObject], message: str) -> None:
    with pytest.raises(QMI_UsageException, match=message):
        register_internal_object(name, cls)
