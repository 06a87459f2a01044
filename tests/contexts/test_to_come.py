"""Who asks for an object while its program is still making it gets it when it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from qmi.actors.future import QMI_RpcFuture, call_blocking
from qmi.contexts import configured
from qmi.contexts.base import ContextBase
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_Exception, QMI_UnknownNameException
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.names import Address
from tests.support.configured import HERE, HangingMake
from tests.support.lab import address, config, make_context
from tests.support.waiting import wait_until

SLOW = {"driver": f"{HERE}:HangingMake"}
GOOD = {"driver": f"{HERE}:Meter"}
BROKEN = {"driver": f"{HERE}:Broken"}
WATCH = {"task": f"{HERE}:Watch"}


@pytest.fixture(autouse=True)
def slow_constructor() -> Iterator[None]:
    HangingMake.may_go.clear()
    yield
    HangingMake.may_go.set()


@pytest.fixture(params=["here", "over a link"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Lab:
    """A context with objects of the configuration, and whoever asks for them.

    Attributes:
        served: The context.
        asker: The same one, or another one that is linked to it.
    """

    def __init__(self, stack: ExitStack, where: str, instruments: dict[str, Any], **settings: Any) -> None:
        settings = {"stop_grace": 0.1, "tasks": {"watch": WATCH}, **settings, "instruments": instruments}
        self.served = stack.enter_context(QMI_Context("lab", config("lab", context=settings)))
        self.asker: ContextBase = self.served.async_context
        if where != "here":
            client = stack.enter_context(make_context("client"))
            client.connect_to_peer("lab", address(self.served))
            self.asker = client.async_context

    def begin(self) -> QMI_RpcFuture[Any]:
        """Begin to make what the configuration lists."""
        return self.served.async_context.configured_objects.begin()

    def ask(self, name: str) -> QMI_RpcFuture[Any]:
        """Ask for the interface of an object, as whoever wants a proxy of it."""
        return self.asker.interface_at(Address("lab", name))

    def knows(self, name: str) -> bool:
        """Whether a question about another object that was asked later has been answered."""
        return bool(call_blocking(self.ask(name), 10.0))


def test_object_that_is_being_made_is_waited_for(where: str) -> None:
    with ExitStack() as stack:
        lab = Lab(stack, where, {"good": GOOD, "slow": SLOW})
        made = lab.begin()
        asked = [lab.ask("slow"), lab.ask("watch")]
        receiver = QMI_SignalReceiver()
        subscribed = lab.asker.subscribe(Address("lab", "slow"), "sig_none", receiver)
        assert lab.knows("good")
        assert not any(future.done() for future in (*asked, subscribed))
        HangingMake.may_go.set()
        assert [call_blocking(future, 10.0).category for future in asked] == ["instrument", "task"]
        with pytest.raises(QMI_Exception, match="sig_none"):  # it was asked of the object, which has no such signal
            call_blocking(subscribed, 10.0)
        assert [entry.state for entry in call_blocking(made, 10.0)] == ["ready"] * 3


def test_object_that_fails_while_it_is_waited_for_is_told_with_the_reason(where: str) -> None:
    with ExitStack() as stack:
        lab = Lab(stack, where, {"slow": SLOW, "broken": BROKEN})
        lab.begin()
        asked = lab.ask("broken")
        assert not asked.done()
        HangingMake.may_go.set()
        with pytest.raises(QMI_UnknownNameException, match=r"'broken': it has failed: .*no such device"):
            call_blocking(asked, 10.0)


def test_object_that_takes_too_long_is_not_waited_for_longer_than_tasks_wait(where: str) -> None:
    with ExitStack() as stack:
        lab = Lab(stack, where, {"slow": SLOW}, ready_timeout=0.05)
        lab.begin()
        with pytest.raises(QMI_UnknownNameException, match="'slow': it is still being made, try again later"):
            call_blocking(lab.ask("slow"), 10.0)


def test_object_of_a_program_that_is_just_starting_is_waited_for_by_others() -> None:
    with ExitStack() as stack:
        lab = Lab(stack, "over a link", {"good": GOOD})
        asked = lab.ask("good")
        with pytest.raises(QMI_UnknownNameException, match="no object named 'other'"):
            call_blocking(lab.ask("other"), 10.0)
        assert not asked.done()
        lab.begin()
        assert call_blocking(asked, 10.0).category == "instrument"


def test_object_that_nobody_makes_is_unknown(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where != "here":
        monkeypatch.setattr(configured, "BEGIN_PATIENCE", 0.05)  # else the program itself is asked, and knows at once
    with ExitStack() as stack:
        lab = Lab(stack, where, {"good": GOOD})
        with pytest.raises(QMI_UnknownNameException, match="no object named 'good'"):
            call_blocking(lab.ask("good"), 1.0)


def test_object_that_is_made_anew_is_waited_for(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configured, "MAKE_TURN", 0.01)
    with ExitStack() as stack:
        HangingMake.may_go.set()
        lab = Lab(stack, where, {"slow": SLOW})
        call_blocking(lab.begin(), 10.0)
        HangingMake.may_go.clear()
        again = lab.served.async_context.configured_objects.begin_restart("slow", "")
        assert wait_until(lambda: lab.served.list_configured()[0].state == "making")
        asked = lab.ask("slow")
        assert lab.knows("watch")
        assert not asked.done()
        HangingMake.may_go.set()
        assert call_blocking(asked, 10.0).category == "instrument"
        assert call_blocking(again, 10.0).state == "ready"


def test_who_waits_for_an_object_is_told_when_its_context_stops() -> None:
    with ExitStack() as stack:
        lab = Lab(stack, "over a link", {"slow": SLOW})
        lab.begin()
        asked = lab.ask("slow")
        assert lab.knows("$context")
        lab.served.stop()
        with pytest.raises(QMI_Exception):
            call_blocking(asked, 10.0)
