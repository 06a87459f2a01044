from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.pubsub.subscriptions import Topic
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_ContextStoppedException,
    QMI_NoActiveContextException,
    QMI_NotDeliveredException,
    QMI_SignalSubscriptionException,
    QMI_UnknownNameException,
)
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.messages import Origin, Subscribe, Unsubscribe
from qmi.names import Address
from qmi.peers.rpc_client import ask
from qmi.peers.subscriptions import Signalling
from tests.support.lab import address, make_context
from tests.support.waiting import wait_until


class Sensor(QMI_Instrument):
    sig_value = QMI_Signal([float])

    @rpc_method
    def tell(self, value: float) -> None:
        self.sig_value.publish(value)


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    context = make_context("lab")
    context.start()
    yield context
    with suppress(QMI_NoActiveContextException):  # the test stopped it
        context.stop()


@pytest.fixture
def desk(lab: QMI_Context) -> Iterator[QMI_Context]:
    with make_context("desk") as context:
        context.connect_to_peer("lab", address(lab))
        yield context


def signalling(context: QMI_Context) -> Signalling:
    return context.async_context.signalling


SENSOR = Address("lab", "sensor")


def test_subscribers_here_get_what_is_published_until_they_leave(lab: QMI_Context) -> None:
    sensor = lab.make_instrument("sensor", Sensor)
    one, two = QMI_SignalReceiver(), QMI_SignalReceiver()
    for receiver in (one, two):
        signalling(lab).subscribe(SENSOR, "sig_value", receiver).wait(0)
    sensor.tell(1.0)
    signalling(lab).unsubscribe(SENSOR, "sig_value", one).wait(0)
    lab.publish_signal("sensor", "sig_value", 2.0)
    assert [two.get_next_signal().args for _ in range(2)] == [(1.0,), (2.0,)]
    assert one.get_next_signal().args == (1.0,)
    assert not one.has_signal_ready()
    signalling(lab).unsubscribe(SENSOR, "sig_value", one).wait(0)  # harmless


def test_subscription_that_is_not_possible_is_explained(lab: QMI_Context) -> None:
    lab.make_instrument("sensor", Sensor)
    receiver = QMI_SignalReceiver()
    cases = {
        ("lab", "sensor", "sig_valeu"): "lab.sensor has no signal 'sig_valeu'. Did you mean 'sig_value'?",
        ("lab", "sensor", "x"): "lab.sensor has no signal 'x'",
        ("lab", "censor", "sig_value"): "Cannot subscribe to lab.censor.sig_value: ",
        (
            "far",
            "sensor",
            "sig_value",
        ): "Cannot subscribe to far.sensor.sig_value: There is no connection to context 'far'",
    }
    for (context, name, signal), message in cases.items():
        failed = signalling(lab).subscribe(Address(context, name), signal, receiver)
        assert isinstance(failed.error(), QMI_SignalSubscriptionException)
        assert str(failed.error()).startswith(message)
    assert not lab.async_context.broker.topics_of("far")


@pytest.mark.parametrize(
    ("names", "args", "kind", "message"),
    [
        (("censor", "sig_value"), (1.0,), QMI_UnknownNameException, "censor"),
        (("sensor", "sig_valeu"), (1.0,), QMI_SignalSubscriptionException, "Did you mean 'sig_value'?"),
    ],
)
def test_signal_that_is_not_declared_is_not_published(
    lab: QMI_Context, names: tuple[str, str], args: tuple[Any, ...], kind: type[Exception], message: str
) -> None:
    lab.make_instrument("sensor", Sensor)
    receiver = QMI_SignalReceiver()
    lab.subscribe_signal("", "sensor", "sig_value", receiver)
    with pytest.raises(kind) as caught:
        lab.publish_signal(*names, *args)
    assert message in str(caught.value)
    assert not receiver.has_signal_ready()


def test_a_stopped_context_publishes_nothing() -> None:
    with make_context("lab") as lab:
        lab.make_instrument("sensor", Sensor)
    with pytest.raises(QMI_ContextStoppedException):
        lab.publish_signal("sensor", "sig_value", 1.0)


def test_subscribers_in_another_program_get_it_too(lab: QMI_Context, desk: QMI_Context) -> None:
    sensor = lab.make_instrument("sensor", Sensor)
    one, two = QMI_SignalReceiver(), QMI_SignalReceiver()
    for receiver in (one, two):
        desk.subscribe_signal("lab", "sensor", "sig_value", receiver)
    sensor.tell(1.0)
    assert [receiver.get_next_signal(timeout=10).args for receiver in (one, two)] == [(1.0,), (1.0,)]
    desk.unsubscribe_signal("lab", "sensor", "sig_value", one)
    sensor.tell(2.0)
    assert two.get_next_signal(timeout=10).args == (2.0,)
    desk.unsubscribe_signal("lab", "sensor", "sig_value", two)
    sensor.tell(3.0)
    desk.get_instrument("lab.sensor").tell(4.0)  # whatever came before this answer has come
    assert not one.has_signal_ready()
    assert not two.has_signal_ready()


def test_subscription_to_what_another_program_does_not_offer_is_explained(lab: QMI_Context, desk: QMI_Context) -> None:
    lab.make_instrument("sensor", Sensor)
    receiver = QMI_SignalReceiver()
    with pytest.raises(QMI_SignalSubscriptionException, match=r"Did you mean 'sig_value'"):
        desk.subscribe_signal("lab", "sensor", "sig_valeu", receiver)
    with pytest.raises(QMI_SignalSubscriptionException, match=r"censor"):
        desk.subscribe_signal("lab", "censor", "sig_value", receiver)
    assert not desk.async_context.broker.topics_of("lab"), "what was refused is forgotten"


class Nowhere:
    """A link that only takes signals."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send_signal(self, signal: Any, encoded: Any = None) -> None:
        self.sent.append(signal)


def test_a_peer_is_served_until_it_leaves_or_is_gone(lab: QMI_Context) -> None:
    sensor = lab.make_instrument("sensor", Sensor)
    link: Any = Nowhere()
    peer = Origin("desk", "1")
    serve = signalling(lab).serve
    serve(Subscribe("sensor", "sig_value"), peer, link).wait(0)
    sensor.tell(1.0)
    serve(Unsubscribe("sensor", "sig_value"), peer, link).wait(0)
    sensor.tell(2.0)
    assert [signal.args for signal in link.sent] == [(1.0,)]
    serve(Subscribe("sensor", "sig_value"), peer, link).wait(0)
    signalling(lab).peer_gone(peer, "reset", for_good=True)
    sensor.tell(3.0)
    assert len(link.sent) == 1
    for name, signal in (("censor", "sig_value"), ("sensor", "x")):
        assert isinstance(serve(Subscribe(name, signal), peer, link).error(), QMI_SignalSubscriptionException)


def test_receivers_hear_that_their_publisher_is_gone(lab: QMI_Context, desk: QMI_Context) -> None:
    lab.make_instrument("sensor", Sensor)
    receiver = QMI_SignalReceiver()
    desk.subscribe_signal("lab", "sensor", "sig_value", receiver)
    topic = Topic("lab", "sensor", "sig_value")
    assert list(desk.async_context.broker.topics_of("lab")) == [topic]
    signalling(desk).peer_gone(Origin("lab", "1"), "reset", for_good=False)
    assert list(desk.async_context.broker.topics_of("lab")) == [topic], "it may come back"
    lab.stop()
    wait_until(lambda: not list(desk.async_context.broker.topics_of("lab")))


def test_receivers_hear_that_an_object_of_another_program_was_removed(lab: QMI_Context, desk: QMI_Context) -> None:
    sensor = lab.make_instrument("sensor", Sensor)
    receiver = QMI_SignalReceiver()
    desk.subscribe_signal("lab", "sensor", "sig_value", receiver)
    sensor.tell(1.0)
    lab.remove_rpc_object(sensor)
    assert receiver.get_next_signal(timeout=5.0).args == (1.0,)
    with pytest.raises(QMI_SignalSubscriptionException, match=r"lab\.sensor was removed"):
        receiver.get_next_signal(timeout=5.0)
    again = lab.make_instrument("sensor", Sensor)
    desk.subscribe_signal("lab", "sensor", "sig_value", receiver)
    again.tell(2.0)
    assert receiver.get_next_signal(timeout=5.0).args == (2.0,)


@pytest.mark.parametrize(
    ("error", "is_over"),
    [
        (None, False),
        (QMI_SignalSubscriptionException("there is no sensor"), True),
        (QMI_NotDeliveredException("the link is lost"), False),
    ],
)
def test_subscription_that_cannot_be_made_again_is_logged_and_over(
    lab: QMI_Context,
    desk: QMI_Context,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception | None,
    is_over: bool,
) -> None:
    lab.make_instrument("sensor", Sensor)
    receiver = QMI_SignalReceiver(report_gaps=True)
    desk.subscribe_signal("lab", "sensor", "sig_value", receiver)
    future: QMI_RpcFuture[None] = QMI_RpcFuture("the subscription to sensor.sig_value")
    if error is None:
        future.set_result(None)
    else:
        future.fail(error)
    monkeypatch.setattr("qmi.peers.subscriptions.ask", lambda link, what, message: future)
    monkeypatch.setattr("qmi.peers.subscriptions.RENEWAL_PATIENCE", 0.0)
    link = desk.async_context.link_to("lab")
    signalling(desk).renew("lab", link, restarted=True)
    assert receiver.get_next_signal().gap == "restarted"
    if is_over:  # in a task of the loop
        assert receiver.get_next_signal(timeout=10.0).gap == "ended"
    assert not receiver.has_signal_ready()
    assert ("was not made again" in caplog.text) == (error is not None)


def failed(error: Exception) -> QMI_RpcFuture[None]:
    future: QMI_RpcFuture[None] = QMI_RpcFuture("the subscription to sensor.sig_value")
    future.fail(error)
    return future


MISSING = QMI_SignalSubscriptionException("there is no sensor")


def test_subscription_is_made_again_when_the_object_comes_later_than_its_program(
    lab: QMI_Context, desk: QMI_Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = lab.make_instrument("sensor", Sensor)
    receiver = QMI_SignalReceiver(report_gaps=True)
    desk.subscribe_signal("lab", "sensor", "sig_value", receiver)
    lab.async_context.broker.drop_peer(desk.async_context.origin)  # as in a program that was started again
    answers = [failed(MISSING), failed(MISSING)]

    def asking(link: Any, what: str, message: Any) -> QMI_RpcFuture[None]:
        return answers.pop(0) if answers else ask(link, what, message)

    monkeypatch.setattr("qmi.peers.subscriptions.ask", asking)
    signalling(desk).renew("lab", desk.async_context.link_to("lab"), restarted=True)
    assert [receiver.get_next_signal(timeout=10.0).gap for _ in range(2)] == ["restarted", "restarted"]
    sensor.tell(3.0)
    assert receiver.get_next_signal(timeout=10.0).args == (3.0,)


@pytest.mark.parametrize("ends", ["unsubscribed", "link lost", "link lost while asked"])
def test_subscription_that_waits_for_its_object_ends_with_what_it_is_for(
    lab: QMI_Context, desk: QMI_Context, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    lab.make_instrument("sensor", Sensor)
    receiver = QMI_SignalReceiver(report_gaps=True)
    desk.subscribe_signal("lab", "sensor", "sig_value", receiver)
    inner = signalling(desk)
    asked = 0

    def asking(link: Any, what: str, message: Any) -> QMI_RpcFuture[None]:
        nonlocal asked
        asked += 1
        return failed(QMI_NotDeliveredException("the link is lost") if ends.endswith("asked") else MISSING)

    monkeypatch.setattr("qmi.peers.subscriptions.ask", asking)
    link: Any = desk.async_context.link_to("lab")
    if ends == "unsubscribed":
        inner.broker.unsubscribe(Topic(*SENSOR, "sig_value"), receiver)
    elif ends == "link lost":
        link = object()
    desk.async_context.run(inner._renew_later, Topic(*SENSOR, "sig_value"), link, MISSING).wait(timeout=10.0)
    assert asked == (ends == "link lost while asked")
    assert not receiver.has_signal_ready()
