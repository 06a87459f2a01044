"""A context may be read-only for guests: they read, ask and subscribe; they do not set, start, stop or lock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from qmi.config.schema import CfgSecurity
from qmi.core.context import QMI_Context
from qmi.core.driver import Channel, channels, parameter
from qmi.core.exceptions import QMI_InvalidOperationException
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_Task
from qmi.names import ASKER_PREFIX
from qmi.tools.certs import make_ca, make_certificate
from tests.support.lab import address, config, make_context


class Output(Channel):
    """A channel."""

    kept = 0.0

    def get_level(self) -> float:
        """A level."""
        return self.kept

    def set_level(self, value: float) -> None:
        """Set it."""
        self.kept = value

    level = parameter(getter=get_level, setter=set_level, type=float)


class Source(QMI_Instrument):
    """Something to look at."""

    sig_done = QMI_Signal([int])
    outputs = channels(Output, 1, 2)

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self._power = 1.0

    @rpc_method
    def get_power(self) -> float:
        """A power."""
        return self._power

    @rpc_method
    def set_power(self, value: float) -> None:
        """Set it."""
        self._power = value

    power = parameter(getter=get_power, setter=set_power, type=float)

    @rpc_method
    def measure(self) -> float:
        """Takes a sample: that is more than looking."""
        return 2.0

    @rpc_method
    def publish(self) -> None:
        """Publish."""
        self.sig_done.publish(3)


class Camera(QMI_Instrument):
    """Says itself what only looks."""

    GUEST_METHODS: ClassVar[tuple[str, ...]] = ("look",)

    @rpc_method
    def look(self) -> str:
        """Look."""
        return "seen"

    @rpc_method
    def get_and_advance(self) -> str:
        """Looks like a question, and is none."""
        return "moved"


class Idle(QMI_Task[None, None]):
    """Waits."""

    def run(self) -> None:
        """Wait."""
        self.sleep(30.0)


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with make_context("lab", context={"operators": ["control"]}) as context:
        context.make_instrument("source", Source)
        context.make_instrument("camera", Camera)
        context.make_task("idle", Idle)
        yield context


def joined(name: str, lab: QMI_Context) -> QMI_Context:
    context = QMI_Context(name, config())
    context.start()
    context.connect_to_peer("lab", address(lab))
    return context


@pytest.fixture
def guest(lab: QMI_Context) -> Iterator[QMI_Context]:
    with joined("visitor", lab) as context:
        yield context


@pytest.fixture
def control(lab: QMI_Context) -> Iterator[QMI_Context]:
    with joined("control", lab) as context:
        yield context


def source(context: QMI_Context) -> Any:
    return context.get_instrument("lab.source")


LOOKS: dict[str, Callable[[QMI_Context], Any]] = {
    "parameter": lambda context: source(context).power,
    "getter": lambda context: source(context).get_power(),
    "channel": lambda context: source(context).outputs[2].level,
    "getter of a channel": lambda context: source(context).outputs[2].get_level(),
    "parameters": lambda context: source(context).parameters(),
    "handle": lambda context: source(context).parameters.power.get(),
    "snapshot": lambda context: source(context).snapshot(),
    "is_open": lambda context: source(context).is_open(),
    "is_locked": lambda context: source(context).is_locked(),
    "lock_info": lambda context: source(context).lock_info(),
    "task": lambda context: context.get_task("lab.idle").get_state(),
    "list": lambda context: context.list_rpc_objects(),
    "show": lambda context: context.show_instruments(),
    "request": lambda context: source(context).request_release("please"),
    "version": lambda context: context.make_peer_context_proxy("lab").get_version(),
    "of its own": lambda context: context.get_instrument("lab.camera").look(),
}

TOUCHES: dict[str, Callable[[QMI_Context], Any]] = {
    "parameter": lambda context: setattr(source(context), "power", 5.0),
    "setter": lambda context: source(context).set_power(5.0),
    "channel": lambda context: setattr(source(context).outputs[1], "level", 5.0),
    "setter of a channel": lambda context: source(context).outputs[1].set_level(5.0),
    "handle": lambda context: source(context).parameters.power.set(5.0),
    "method": lambda context: source(context).measure(),
    "open": lambda context: source(context).open(),
    "with": lambda context: source(context).__enter__(),
    "lock": lambda context: source(context).lock(),
    "locked": lambda context: source(context).locked().__enter__(),
    "reserve": lambda context: source(context).reserve("me"),
    "force_unlock": lambda context: source(context).force_unlock(),
    "force_unlock with a reason": lambda context: source(context).force_unlock(reason="me"),
    "start of a task": lambda context: context.get_task("lab.idle").start(),
    "stop of a task": lambda context: context.get_task("lab.idle").stop(),
    "settings of a task": lambda context: context.get_task("lab.idle").set_settings(1),
    "shutdown": lambda context: context.make_peer_context_proxy("lab").shutdown_context(),
    "restart": lambda context: context.make_peer_context_proxy("lab").restart_object("source"),
    "what looks like a question": lambda context: context.get_instrument("lab.camera").get_and_advance(),
    "nonblocking": lambda context: source(context).rpc_nonblocking.set_power(5.0).wait(5.0),
}


@pytest.mark.parametrize("what", LOOKS)
def test_guest_may_look(what: str, guest: QMI_Context) -> None:
    LOOKS[what](guest)


@pytest.mark.fault(62)
@pytest.mark.parametrize("what", TOUCHES)
def test_guest_may_not_touch(what: str, lab: QMI_Context, guest: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with pytest.raises(QMI_InvalidOperationException, match="'lab' is read-only for context 'visitor'") as caught:
            TOUCHES[what](guest)
        assert "contexts.lab.operators does not name it" in str(caught.value)
    assert source(lab).power == 1.0
    assert not source(lab).is_locked()
    assert not source(lab).is_open()
    assert lab.get_task("lab.idle").get_state().state == "new"
    assert not lab.shutdown_requested()
    warned = [record for record in caplog.records if "read-only" in record.getMessage()]
    assert [record.levelno for record in warned if record.levelno >= logging.WARNING] == [logging.WARNING]


def test_guest_may_subscribe(lab: QMI_Context, guest: QMI_Context) -> None:
    receiver = QMI_SignalReceiver()
    source(guest).sig_done.subscribe(receiver)
    source(lab).publish()
    assert receiver.get_next_signal(timeout=10.0).args == (3,)


@pytest.mark.parametrize("what", sorted(TOUCHES.keys() - {"restart", "with", "locked", "force_unlock"}))
def test_operator_may_touch(what: str, control: QMI_Context) -> None:
    if what == "stop of a task":
        control.get_task("lab.idle").start()
    TOUCHES[what](control)


def test_context_itself_is_no_guest(lab: QMI_Context) -> None:
    source(lab).power = 3.0
    assert source(lab).measure() == 2.0


def test_everybody_may_touch_where_no_operators_are_named() -> None:
    with make_context("lab") as lab, QMI_Context("visitor", config()) as visitor:
        lab.make_instrument("source", Source)
        visitor.connect_to_peer("lab", address(lab))
        source(visitor).power = 3.0
        assert source(lab).power == 3.0


def test_nobody_else_may_touch_where_the_list_is_empty() -> None:
    with make_context("lab", context={"operators": []}) as lab, QMI_Context("visitor", config()) as visitor:
        lab.make_instrument("source", Source)
        visitor.connect_to_peer("lab", address(lab))
        assert source(visitor).power == 1.0
        with pytest.raises(QMI_InvalidOperationException, match="read-only"):
            source(visitor).power = 3.0


def test_second_program_of_an_operators_name_is_no_guest(lab: QMI_Context, control: QMI_Context) -> None:
    with joined("control", lab) as second:
        source(second).power = 3.0
        assert source(control).power == 3.0


def test_qmi_proc_stops_a_program_that_has_guests(lab: QMI_Context) -> None:
    with joined(f"{ASKER_PREFIX}1", lab) as asker:
        with pytest.raises(QMI_InvalidOperationException, match="read-only"):
            source(asker).power = 3.0
        with pytest.raises(QMI_InvalidOperationException, match="read-only"):
            source(asker).force_unlock()
        asker.make_peer_context_proxy("lab").shutdown_context()
        assert lab.shutdown_requested()


@pytest.mark.fault(62)
def test_guest_cannot_take_the_name_of_an_operator_where_certificates_prove_it(home: Path) -> None:
    make_ca(home, name="CA", days=1)
    for name in ("lab", "visitor"):
        make_certificate(home, name, workgroup="default", hosts=["127.0.0.1"], days=1)

    def security(name: str) -> CfgSecurity:
        return CfgSecurity(
            ca=str(home / "ca.pem"), certificate=str(home / f"{name}.pem"), key=str(home / f"{name}.key")
        )

    with make_context("lab", security=security("lab"), context={"operators": ["control"]}) as lab:
        lab.make_instrument("source", Source)
        with QMI_Context("visitor", config(security=security("visitor"))) as visitor:
            visitor.connect_to_peer("lab", address(lab))
            assert source(visitor).power == 1.0
            with pytest.raises(QMI_InvalidOperationException, match="read-only"):
                source(visitor).power = 3.0
        with (
            QMI_Context("control", config(security=security("visitor"))) as liar,
            pytest.raises(Exception, match="certificate is for context 'visitor'"),
        ):
            liar.connect_to_peer("lab", address(lab))
