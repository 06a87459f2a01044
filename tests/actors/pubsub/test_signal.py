"""Signals of objects, in one context and across links, from their declaration to their end."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_SignalSubscriptionException,
    QMI_TimeoutException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver, SignalDescription
from qmi.core.rpc import rpc_method
from qmi.messages import Signal
from qmi.net.protocol.requests import RequestLayer
from qmi.utils.context_managers import subscribe_unsubscribe
from tests.support.chaos import ChaosProxy
from tests.support.drivers import Thermometer
from tests.support.lab import address, make_context
from tests.support.programs import Program
from tests.support.tasks import PlainLoop, in_thread, open_lab
from tests.support.waiting import wait_until


class Better(Thermometer):
    sig_alarm = QMI_Signal([str])
    sig_more = QMI_Signal([complex])

    @rpc_method
    def alarm(self, what: str) -> None:
        super().sig_alarm.publish(what, 1)
        self.sig_alarm.publish(what)


class Pretender:
    """Says that it is of another class, as stand-ins for objects do."""

    def __init__(self, cls: type) -> None:
        self.cls = cls

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self.cls


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with open_lab() as context:
        yield context


@pytest.fixture
def thermometer(lab: QMI_Context) -> Any:
    return lab.make_instrument("t", Thermometer)


def test_arguments_that_only_say_what_they_are_are_asked_each_time(
    lab: QMI_Context, thermometer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = QMI_SignalReceiver()
    thermometer.sig_temperature.subscribe(receiver)
    lab.publish_signal("t", "sig_temperature", 1)
    lab.publish_signal("t", "sig_temperature", Pretender(float))
    assert caplog.text == ""
    lab.publish_signal("t", "sig_temperature", Pretender(str))
    assert caplog.text.count("declared as float") == 1
    thermometer.publish("sig_temperature", "hot")
    assert caplog.text.count("declared as float") == 1, "said once"
    assert receiver.get_queue_length() == 4


def test_a_class_and_its_base_may_both_declare_a_signal(lab: QMI_Context) -> None:
    proxy: Any = lab.make_instrument("t", Better)
    receiver = QMI_SignalReceiver()
    proxy.sig_alarm.subscribe(receiver)
    for what in ("hot", "cold"):
        proxy.alarm(what)
    assert [receiver.get_next_signal().args for _ in range(4)] == [("hot", 1), ("hot",), ("cold", 1), ("cold",)]


def test_a_class_says_what_it_publishes() -> None:
    assert Better.get_signals() == [
        SignalDescription("sig_temperature", (float,)),
        SignalDescription("sig_alarm", (str,)),
        SignalDescription("sig_nothing", ()),
        SignalDescription("sig_anything", (object,)),
        SignalDescription("sig_more", (complex,)),
    ]
    assert isinstance(Thermometer.sig_alarm, QMI_Signal)


def test_a_declaration_takes_types_only() -> None:
    with pytest.raises(QMI_UsageException, match="declared with the types of its arguments; got 3"):
        QMI_Signal([3])  # type: ignore[list-item]


def test_a_subscriber_gets_what_is_published(thermometer: Any) -> None:
    receiver = QMI_SignalReceiver()
    thermometer.sig_temperature.subscribe(receiver)
    begin = time.time()
    thermometer.publish("sig_temperature", 20.5)
    signal = receiver.get_next_signal()
    assert tuple(signal) == ("lab", "t", "sig_temperature", (20.5,), 0)
    assert begin - 0.1 <= signal.timestamp <= time.time() + 0.1
    assert repr(thermometer.sig_temperature) == "<signal lab.t.sig_temperature>"


GOOD = [
    ("sig_temperature", (1,)), ("sig_temperature", (True,)), ("sig_temperature", (np.float32(1.5),)),
    ("sig_alarm", ("hot", np.int64(3))), ("sig_nothing", ()), ("sig_anything", (None,)), ("sig_more", (1.5,)),
]  # fmt: skip
BAD = [
    ("sig_temperature", ("1",), r"Argument 1 of signal t.sig_temperature is declared as float; '1' of type str was"),
    ("sig_temperature", (1j,), "declared as float; 1j of type complex was published"),
    ("sig_temperature", (), "has 1 arguments; 0 were published"),
    ("sig_alarm", ("a", 1), "has 1 arguments; 2 were published"),
    ("sig_nothing", (1,), "has 0 arguments; 1 were published"),
]


@pytest.mark.parametrize(("signal", "args"), GOOD)
def test_arguments_that_fit_are_published(lab: QMI_Context, signal: str, args: tuple[Any, ...]) -> None:
    proxy: Any = lab.make_instrument("t", Thermometer if signal == "sig_alarm" else Better)
    receiver = QMI_SignalReceiver()
    getattr(proxy, signal).subscribe(receiver)
    proxy.publish(signal, *args)
    lab.publish_signal("t", signal, *args)
    assert [receiver.get_next_signal().args for _ in range(2)] == [args, args]


@pytest.mark.parametrize(("signal", "args", "message"), BAD)
def test_arguments_that_do_not_fit_are_published_with_one_warning(
    lab: QMI_Context, caplog: pytest.LogCaptureFixture, signal: str, args: tuple[Any, ...], message: str
) -> None:
    cls = type("Fresh", (Better,), {signal: QMI_Signal(getattr(Better, signal).arg_types)})
    proxy: Any = lab.make_instrument("t", cls)
    receiver = QMI_SignalReceiver()
    getattr(proxy, signal).subscribe(receiver)
    for _ in range(3):
        proxy.publish(signal, *args)
        lab.publish_signal("t", signal, *args)
    assert [receiver.get_next_signal().args for _ in range(6)] == [args] * 6
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert re.search(message, record.getMessage())
    assert record.getMessage().endswith("It is published all the same; this is said once")


@pytest.mark.parametrize(("signal", "args", "message"), BAD)
def test_strict_signal_refuses_arguments_that_do_not_fit(
    lab: QMI_Context, signal: str, args: tuple[Any, ...], message: str
) -> None:
    cls = type("Strict", (Better,), {signal: QMI_Signal(getattr(Better, signal).arg_types, strict=True)})
    proxy: Any = lab.make_instrument("t", cls)
    receiver = QMI_SignalReceiver()
    getattr(proxy, signal).subscribe(receiver)
    for _ in range(2):
        with pytest.raises(QMI_UsageException, match=message):
            proxy.publish(signal, *args)
        with pytest.raises(QMI_UsageException, match=message):
            lab.publish_signal("t", signal, *args)
    assert not receiver.has_signal_ready()


def test_argument_that_cannot_be_shown_is_published(lab: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    class Unprintable:
        def __repr__(self) -> str:
            raise ValueError("never")

    cls = type("Fresh", (Better,), {"sig_temperature": QMI_Signal([float])})
    proxy: Any = lab.make_instrument("t", cls)
    receiver = QMI_SignalReceiver()
    proxy.sig_temperature.subscribe(receiver)
    lab.publish_signal("t", "sig_temperature", Unprintable())
    assert receiver.has_signal_ready()
    assert "something of type Unprintable" in caplog.text


def test_only_proxies_subscribe() -> None:
    found: list[Any] = []

    class Wrong(Thermometer):
        @rpc_method
        def try_it(self) -> None:
            for function in (self.sig_nothing.subscribe, self.sig_nothing.unsubscribe):
                with pytest.raises(QMI_UsageException, match="with a proxy of 't'"):
                    function(QMI_SignalReceiver())
                found.append(function)

    with open_lab() as lab:
        lab.make_instrument("t", Wrong).try_it()
    assert len(found) == 2


def test_subscribing_twice_is_like_subscribing_once(thermometer: Any) -> None:
    receiver = QMI_SignalReceiver()
    thermometer.sig_nothing.subscribe(receiver)
    thermometer.sig_nothing.subscribe(receiver)
    thermometer.publish("sig_nothing")
    assert receiver.get_queue_length() == 1
    thermometer.sig_nothing.unsubscribe(receiver)
    thermometer.publish("sig_nothing")
    assert receiver.get_queue_length() == 1
    thermometer.sig_nothing.unsubscribe(receiver)
    thermometer.sig_nothing.unsubscribe(QMI_SignalReceiver())


def test_contexts_subscribe_by_name(lab: QMI_Context, thermometer: Any) -> None:
    receiver = QMI_SignalReceiver()
    lab.subscribe_signal("", "t", "sig_nothing", receiver)
    lab.subscribe_signal("lab", "t", "sig_alarm", receiver)
    thermometer.publish("sig_nothing")
    lab.publish_signal("t", "sig_alarm", "hot", 3)
    assert [receiver.get_next_signal().signal_name for _ in range(2)] == ["sig_nothing", "sig_alarm"]
    lab.unsubscribe_signal("lab", "t", "sig_nothing", receiver)
    lab.unsubscribe_signal("", "t", "sig_alarm", receiver)
    thermometer.publish("sig_nothing")
    assert not receiver.has_signal_ready()


def test_signal_that_does_not_exist_cannot_be_subscribed_to_or_published(lab: QMI_Context, thermometer: Any) -> None:
    receiver = QMI_SignalReceiver()
    with pytest.raises(QMI_SignalSubscriptionException, match=r"no signal 'sig_alram'\. Did you mean 'sig_alarm'"):
        lab.subscribe_signal("", "t", "sig_alram", receiver)
    with pytest.raises(QMI_SignalSubscriptionException, match=r"Cannot subscribe to lab\.x\.sig_alarm"):
        lab.subscribe_signal("", "x", "sig_alarm", receiver)
    with pytest.raises(QMI_SignalSubscriptionException, match=r"Cannot subscribe to far\.x\.sig_alarm: There is no"):
        lab.subscribe_signal("far", "x", "sig_alarm", receiver)
    with pytest.raises(QMI_SignalSubscriptionException, match="no signal 'zzz'"):
        lab.publish_signal("t", "zzz")
    with pytest.raises(QMI_UnknownNameException):
        lab.publish_signal("x", "sig_alarm", "a", 1)
    with pytest.raises(QMI_UsageException, match="Signals go to a QMI_SignalReceiver; got 3"):
        thermometer.sig_alarm.subscribe(3)


def test_signals_of_a_task_are_published_by_its_context_too(lab: QMI_Context) -> None:
    task = lab.make_task("task", PlainLoop)
    receiver = QMI_SignalReceiver()
    task.sig_status_updated.subscribe(receiver)
    lab.publish_signal("task", "sig_status_updated", 5)
    assert receiver.get_next_signal().args == (5,)


def test_an_object_that_goes_takes_its_subscriptions_along(lab: QMI_Context, thermometer: Any) -> None:
    receiver = QMI_SignalReceiver(report_gaps=True)
    thermometer.sig_nothing.subscribe(receiver)
    waiting = in_thread(partial(receiver.get_next_signal, None))
    wait_until(lambda: receiver._waiters)
    lab.remove_rpc_object(thermometer)
    assert waiting.wait(10).gap == "ended"
    with pytest.raises(QMI_SignalSubscriptionException, match=r"lab\.t was removed"):
        receiver.get_next_signal(timeout=None)
    again: Any = lab.make_instrument("t", Thermometer)
    again.publish("sig_nothing")
    assert not receiver.has_signal_ready()
    again.sig_nothing.subscribe(receiver)
    again.publish("sig_nothing")
    assert receiver.get_next_signal().seqnr == 1


def test_a_context_that_stops_tells_those_who_wait() -> None:
    receiver = QMI_SignalReceiver()
    with open_lab() as lab:
        proxy: Any = lab.make_instrument("t", Thermometer)
        proxy.sig_nothing.subscribe(receiver)
        waiting = in_thread(partial(receiver.get_next_signal, None))
        wait_until(lambda: receiver._waiters)
    with pytest.raises(QMI_SignalSubscriptionException, match="No signal can come any more"):
        waiting.wait(10)


async def test_trio_programs_subscribe_and_iterate() -> None:
    async with qmi.open_context("lab", None, init_logging=False) as lab:
        proxy = await lab.make_instrument("t", Thermometer)
        receiver = QMI_SignalReceiver()
        await proxy.sig_temperature.subscribe(receiver)
        await lab.subscribe_signal("", "t", "sig_nothing", receiver)
        await lab.unsubscribe_signal("", "t", "sig_nothing", receiver)
        await proxy.count(0, 5)
        await proxy.publish("sig_nothing")
        got = []
        async for signal in receiver:
            got.append(signal.args[0])
            if len(got) == 5:
                break
        await proxy.sig_temperature.unsubscribe(receiver)
        lab.publish_signal("t", "sig_temperature", 9.0)
        assert not receiver.has_signal_ready()
    assert got == [0.0, 1.0, 2.0, 3.0, 4.0]


# Across links


class Two:
    """Two contexts: ``here`` listens to what ``there`` publishes, through a proxy that can break."""

    def __init__(self, here: QMI_Context, there: QMI_Context, between: ChaosProxy) -> None:
        self.here, self.there, self.between = here, there, between
        there.make_instrument("t", Thermometer)
        here.connect_to_peer("there", between.address, reconnect=True)
        self.remote: Any = here.get_instrument("there.t")
        self.local: Any = there.get_instrument("t")


@pytest.fixture
def two() -> Iterator[Two]:
    with (
        make_context("there") as there,
        ChaosProxy(there.get_tcp_server_port()) as between,
        make_context("here") as here,
    ):
        yield Two(here, there, between)


def test_signals_cross_a_link_in_order_with_numbers_and_values(two: Two) -> None:
    receiver = QMI_SignalReceiver()
    two.remote.sig_temperature.subscribe(receiver)
    two.remote.sig_anything.subscribe(receiver)
    two.local.count(0, 500)
    two.local.publish("sig_anything", {"a": np.arange(5000.0), (1, 2): 3j})
    for number in range(500):
        signal = receiver.get_next_signal(timeout=10.0)
        assert tuple(signal) == ("there", "t", "sig_temperature", (float(number),), number)
        assert signal.seqnr == number
        assert abs(signal.timestamp - time.time()) < 60.0
    (value,) = receiver.get_next_signal(timeout=10.0).args
    assert value["a"].sum() == np.arange(5000.0).sum()
    assert value[1, 2] == 3j


def test_signal_that_a_peer_does_not_have_cannot_be_subscribed_to(two: Two) -> None:
    receiver = QMI_SignalReceiver()
    with pytest.raises(QMI_SignalSubscriptionException, match="Did you mean 'sig_alarm'"):
        two.here.subscribe_signal("there", "t", "sig_alram", receiver)
    with pytest.raises(QMI_SignalSubscriptionException, match="'x'"):
        two.here.subscribe_signal("there", "x", "sig_alarm", receiver)
    # The failure is not taken for a subscription by the next one.
    with pytest.raises(QMI_SignalSubscriptionException):
        two.here.subscribe_signal("there", "x", "sig_alarm", receiver)
    assert two.here.async_context.broker.topics_of("there") == []


def test_the_last_who_leaves_here_is_told_there(two: Two) -> None:
    receivers = [QMI_SignalReceiver() for _ in range(2)]
    broker = two.there.async_context.broker
    for receiver in receivers:
        two.remote.sig_nothing.subscribe(receiver)
        two.remote.sig_nothing.subscribe(receiver)
    two.remote.sig_nothing.unsubscribe(receivers[0])
    assert len(broker.peer_topics()) == 1
    two.local.publish("sig_nothing")
    assert receivers[1].get_next_signal(timeout=10.0)
    two.remote.sig_nothing.unsubscribe(receivers[1])
    assert broker.peer_topics() == []
    assert not receivers[0].has_signal_ready()


def test_subscriber_that_comes_while_another_goes_gets_the_signals(two: Two) -> None:
    for _ in range(12):
        one, other = QMI_SignalReceiver(), QMI_SignalReceiver()
        two.remote.sig_nothing.subscribe(one)
        going = in_thread(partial(two.remote.sig_nothing.unsubscribe, one))
        coming = in_thread(partial(two.remote.sig_nothing.subscribe, other))
        going.wait(10)
        coming.wait(10)
        two.local.publish("sig_nothing")
        assert other.get_next_signal(timeout=10.0).signal_name == "sig_nothing"
        two.remote.sig_nothing.unsubscribe(other)


@pytest.mark.fault(38)
def test_a_link_that_was_lost_gives_gap_events_and_the_subscription_back(two: Two) -> None:
    plain, reporting = QMI_SignalReceiver(), QMI_SignalReceiver(report_gaps=True)
    for receiver in (plain, reporting):
        two.remote.sig_temperature.subscribe(receiver)
    two.local.publish("sig_temperature", 1.0)
    assert plain.get_next_signal(timeout=10.0).gap is None
    assert reporting.get_next_signal(timeout=10.0).gap is None
    two.between.reset()
    events = [reporting.get_next_signal(timeout=20.0) for _ in range(2)]
    assert [(event.is_gap, event.gap, event.signal_name) for event in events] == [
        (True, "lost", "sig_temperature"),
        (True, "resumed", "sig_temperature"),
    ]
    wait_until(lambda: two.there.async_context.broker.peer_topics())
    two.local.publish("sig_temperature", 2.0)
    signal = plain.get_next_signal(timeout=10.0)
    assert (signal.args, signal.gap, signal.is_gap, signal.seqnr) == ((2.0,), "resumed", False, 1)
    after = reporting.get_next_signal(timeout=10.0)
    assert (after.args, after.gap) == ((2.0,), None)
    two.local.publish("sig_temperature", 3.0)
    assert plain.get_next_signal(timeout=10.0).gap is None
    assert not plain.has_signal_ready()


def test_a_link_that_is_gone_for_good_ends_the_subscription(two: Two) -> None:
    receiver = QMI_SignalReceiver(report_gaps=True)
    two.remote.sig_nothing.subscribe(receiver)
    two.here.disconnect_from_peer("there")
    assert receiver.get_next_signal(timeout=10.0).gap == "ended"
    with pytest.raises(QMI_SignalSubscriptionException, match="the link to context 'there' is gone"):
        receiver.get_next_signal(timeout=None)
    wait_until(lambda: two.there.async_context.broker.peer_topics() == [])


def test_a_value_that_cannot_cross_a_link_is_said_once_and_keeps_nobody_from_anything(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    far, near = QMI_SignalReceiver(), QMI_SignalReceiver()
    two.remote.sig_anything.subscribe(far)
    two.local.sig_anything.subscribe(near)
    for _ in range(5):
        two.local.publish("sig_anything", threading.Lock())
    two.local.publish("sig_anything", 5)
    assert far.get_next_signal(timeout=10.0).args == (5,)
    assert near.get_queue_length() == 6
    assert caplog.text.count("Signal t.sig_anything was not sent to context 'here'") == 1


def test_a_signal_is_encoded_once_for_all_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[object] = []
    real = RequestLayer.encode_request

    def count(self: Any, message: Any) -> Any:
        if isinstance(message, Signal):
            encoded.append(message)
        return real(self, message)

    monkeypatch.setattr(RequestLayer, "encode_request", count)
    with make_context("there") as there, make_context("one") as one, make_context("two") as two:
        there.make_instrument("t", Thermometer)
        receivers = []
        for context in (one, two):
            context.connect_to_peer("there", address(there))
            receivers.append(QMI_SignalReceiver())
            context.get_instrument("there.t").sig_anything.subscribe(receivers[-1])
        there.get_instrument("t").publish("sig_anything", np.arange(100_000))
        for receiver in receivers:
            assert receiver.get_next_signal(timeout=10.0).args[0].sum() == np.arange(100_000).sum()
    assert len(encoded) == 1


@pytest.mark.fault(7)
def test_a_slow_receiver_delays_nobody(two: Two) -> None:
    slow = QMI_SignalReceiver(max_queue_length=10)
    quick, near = QMI_SignalReceiver(), QMI_SignalReceiver()
    two.remote.sig_temperature.subscribe(slow)
    two.remote.sig_temperature.subscribe(quick)
    two.local.sig_temperature.subscribe(near)
    begin = time.monotonic()
    two.local.count(0, 2000)
    assert near.get_queue_length() == 2000
    for number in range(2000):
        assert quick.get_next_signal(timeout=10.0).args == (float(number),)
    assert time.monotonic() - begin < 10.0
    wait_until(lambda: slow.dropped == 1990)
    assert slow.get_next_signal().args == (1990.0,)


SERVER = """
from tests.support.chaos import ChaosProxy
from tests.support.lab import address, make_context
from tests.support.drivers import Thermometer
context = make_context("server", port={port})
context.start()
t = context.make_instrument("t", Thermometer)
"""


@pytest.mark.slow
@pytest.mark.fault(38)
def test_a_program_that_is_started_again_is_listened_to_again_and_said_to_be_new() -> None:
    receiver = QMI_SignalReceiver(report_gaps=True)
    with make_context("client") as client:
        with Program() as server:
            server.run(SERVER.format(port=0))
            port = server.run("context.get_tcp_server_port()")
            client.connect_to_peer("server", f"127.0.0.1:{port}", reconnect=True)
            client.get_instrument("server.t").sig_temperature.subscribe(receiver)
            server.run("t.count(0, 3)")
            assert [receiver.get_next_signal(timeout=10.0).seqnr for _ in range(3)] == [0, 1, 2]
        with Program() as server:
            server.run(SERVER.format(port=port))
            assert [receiver.get_next_signal(timeout=20.0).gap for _ in range(2)] == ["lost", "restarted"]
            server.wait_until("context.async_context.broker.peer_topics()")
            server.run("t.count(0, 1)")
            signal = receiver.get_next_signal(timeout=10.0)
            assert (signal.args, signal.seqnr, signal.gap) == ((0.0,), 0, None)


def test_an_empty_receiver_of_a_living_publisher_just_times_out(two: Two) -> None:
    with subscribe_unsubscribe(two.remote.sig_nothing) as receiver, pytest.raises(QMI_TimeoutException):
        receiver.get_next_signal(timeout=0.01)


def test_signal_before_the_constructor_of_the_base_says_what_is_missing(lab: QMI_Context) -> None:
    class Early(Thermometer):
        def __init__(self, context: QMI_Context, name: str) -> None:
            self.sig_alarm.publish("too early")
            super().__init__(context, name)

        sig_alarm = QMI_Signal([str])

    with pytest.raises(
        AttributeError, match=r"Early\.sig_alarm can be used when .* has called super\(\)\.__init__\(\)"
    ):
        lab.make_rpc_object("early", Early)
