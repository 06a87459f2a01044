"""Signals at a site: contexts of this process, and the real server."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.contexts.async_context import Context
from qmi.core.context import QMI_Context
from qmi.errors import QMI_ConnectionException, QMI_SignalSubscriptionException, QMI_UsageException
from qmi.site import following
from qmi.site.client import _Outgoing
from qmi.site.subjects import signal_subject
from tests.support.lab import config
from tests.support.nats_server import NatsServer
from tests.support.site_clients import options, running
from tests.support.site_signals import (
    Horn,
    at_site,
    cut_off,
    engine_of,
    make_stream,
    next_value,
    pair,
)
from tests.support.waiting import until

SUBJECT = signal_subject("default", "lab", "horn", "sig")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as running_server:
        yield running_server


@pytest.fixture
async def port(server: NatsServer) -> int:
    """The port of a server that has kept nothing yet."""
    await make_stream(server.port)
    async with running(options(server.port, name="maker")) as client:
        answer = await client.request("$JS.API.STREAM.PURGE.qmi-default-signals")
        assert b'"success":true' in answer.payload
    return server.port


async def have_answer_sent_there(port: int) -> None:
    """Have the server answer a request under somebody else's subject, and keep that."""
    ask = b'{"last_by_subj":"%b"}' % SUBJECT.encode()
    async with running(options(port, name="rogue")) as rogue:
        came = trio.Event()
        rogue.subscribe(SUBJECT, lambda message: came.set())
        await rogue.request("$JS.API.INFO")  # the server has taken the subscription
        rogue.publish(b"$JS.API.DIRECT.GET.qmi-default-signals", ask, reply=SUBJECT.encode())
        await came.wait()
        # Whatever is kept now, is kept behind it.
        answer = await rogue.request(signal_subject("default", "rogue", "x", "sig"), b"x")
        assert b'"seq"' in answer.payload


# -- the way


async def test_signals_come_without_a_link(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        await two.horn.blow_many(0, 5)
        assert await two.next(5) == [0, 1, 2, 3, 4]
        assert two.desk.connections.names() == []


async def test_signals_come_once_where_there_is_a_link_as_well(port: int) -> None:
    async with pair(port, link=True) as two:
        await two.subscribe()
        await two.horn.blow_many(0, 3)
        assert await two.next(3) == [0, 1, 2]
        await two.horn.blow("end")
        assert await two.next() == ["end"]
        assert two.lab.broker.counts()[0][1:] == (4, 0, 0)


@pytest.mark.parametrize("absent", ["lab", "desk"])
async def test_signals_come_by_the_link_if_one_of_both_is_not_at_the_site(port: int, absent: str) -> None:
    lab = Context("lab", config("lab") if absent == "lab" else at_site("lab", port))
    desk = Context("desk", config() if absent == "desk" else at_site("", port))
    async with lab.running(), desk.running():
        horn = await lab.make_instrument("horn", Horn)
        await desk.connect_to_peer("lab", f"127.0.0.1:{lab.connections.port}")
        receiver = QMI_SignalReceiver()
        for _ in range(2):
            await desk.subscribe_signal("lab", "horn", "sig", receiver)
        await horn.blow_many(0, 3)
        assert [await next_value(receiver) for _ in range(3)] == [0, 1, 2]
        await desk.unsubscribe_signal("lab", "horn", "sig", receiver)
        assert lab.broker.peer_topics() == []


async def test_topic_that_comes_by_a_link_goes_on_to_do_so(port: int) -> None:
    async with pair(port, link=True) as two:
        async with cut_off(two.desk):
            await two.subscribe()
        second = QMI_SignalReceiver()
        await two.desk.subscribe_signal("lab", "horn", "sig", second)
        await two.horn.blow(1)
        assert await two.next() == [1]
        assert await next_value(second) == 1
        with pytest.raises(QMI_SignalSubscriptionException, match="comes by a link already"):
            await two.desk.subscribe_signal("lab", "horn", "sig", QMI_SignalReceiver(), last=True)


async def test_link_that_comes_and_goes_does_not_matter(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        await two.desk.connect_to_peer("lab", f"127.0.0.1:{two.lab.connections.port}")
        await two.horn.blow(0)
        await two.desk.disconnect_from_peer("lab")
        await two.horn.blow(1)
        assert await two.next(2) == [0, 1]


@pytest.mark.parametrize(
    ("name", "signal", "text"),
    [
        ("horn", "sgi", "has no signal 'sgi'. Did you mean 'sig'?"),
        ("hron", "sig", "'horn'"),
        ("horn", "sig_", "Did you mean 'sig'?"),
    ],
)
async def test_subscription_to_what_is_not_there_says_what_is(port: int, name: str, signal: str, text: str) -> None:
    async with pair(port) as two:
        with pytest.raises(QMI_SignalSubscriptionException) as error:
            await two.desk.subscribe_signal("lab", name, signal, two.receiver)
        assert text in str(error.value)
        assert two.desk.broker.topics_of("lab") == []
        assert engine_of(two.desk).following._followed == {}


async def test_subscription_to_a_context_that_is_nowhere_says_so(port: int) -> None:
    async with pair(port) as two:
        with pytest.raises(QMI_SignalSubscriptionException, match="no connection to context 'bal'"):
            await two.desk.subscribe_signal("bal", "horn", "sig", two.receiver)


async def test_subscription_ends(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        second = QMI_SignalReceiver()
        await two.desk.subscribe_signal("lab", "horn", "sig", second)
        await two.desk.unsubscribe_signal("lab", "horn", "sig", two.receiver)
        await two.horn.blow(1)
        assert await next_value(second) == 1
        assert not two.receiver.has_signal_ready()
        await two.desk.unsubscribe_signal("lab", "horn", "sig", second)
        assert engine_of(two.desk).following._followed == {}


async def test_subscription_that_is_given_up_is_undone(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair(port) as two:
        asked = trio.Event()
        monkeypatch.setattr(engine_of(two.lab)._services, "ask_for_signal", lambda message, answer: asked.set())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(two.subscribe)
            await asked.wait()
            nursery.cancel_scope.cancel()
        await until(lambda: not engine_of(two.desk).following._followed)
        assert two.desk.broker.topics_of("lab") == []


async def test_object_that_is_removed_ends_its_signals(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        await two.horn.blow(0)
        await two.lab.remove_rpc_object(two.horn)
        assert await two.next(2) == [0, "ended"]
        with pytest.raises(QMI_SignalSubscriptionException, match=r"lab\.horn was removed"):
            await two.receiver.next_signal()
        assert engine_of(two.desk).following._followed == {}


VALUES = [None, 1, 2.5, "text", b"bytes", [1, [2]], {"a": (1, 2)}, 3j, datetime(2026, 1, 2, tzinfo=UTC), {1, 2}]


async def test_values_come_as_they_come_by_links(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        for value in VALUES:
            await two.horn.blow(value)
        assert await two.next(len(VALUES)) == VALUES
        array = np.arange(10_000)
        await two.horn.blow(array)
        (found,) = await two.next()
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, array)
        found[0] = 1  # its memory is the receiver's own
        await two.horn.blow(two.horn)
        (proxy,) = await two.next()
        assert "lab.horn" in repr(proxy)


async def test_value_that_cannot_be_sent_is_told_as_dropped(port: int, caplog: pytest.LogCaptureFixture) -> None:
    async with pair(port) as two:
        await two.subscribe()
        for value in (1, lambda: 1, 2):
            two.lab.publish_signal("horn", "sig", value)
        assert await two.next(3) == [1, "dropped 1", 2]
    assert "was not sent to context 'the site'" in caplog.text


# -- servers and publishers that are away


async def test_signals_that_were_missed_are_replayed_in_order(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        await two.horn.blow_many(0, 3)
        assert await two.next(3) == [0, 1, 2]
        async with cut_off(two.desk):
            await two.horn.blow_many(3, 700)
        await two.horn.blow_many(700, 703)
        assert await two.next(702) == ["lost", "resumed", *range(3, 703)]


async def test_signals_are_replayed_without_another_one_that_comes(port: int) -> None:
    async with pair(port) as two:
        plain = QMI_SignalReceiver()
        await two.subscribe()
        await two.desk.subscribe_signal("lab", "horn", "sig", plain)
        async with cut_off(two.desk):
            await two.horn.blow_many(0, 3)
        assert await two.next(5) == ["lost", "resumed", 0, 1, 2]
        signals = [await plain.next_signal() for _ in range(3)]
        assert [(signal.args, signal.gap) for signal in signals] == [((0,), None), ((1,), None), ((2,), None)]


async def test_nothing_is_read_if_nothing_was_missed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair(port) as two:
        await two.subscribe()
        await two.horn.blow(0)
        assert await two.next() == [0]
        monkeypatch.delattr(engine_of(two.desk).following._stream.__class__, "read")
        async with cut_off(two.desk):
            pass
        await two.horn.blow(1)
        assert await two.next(3) == ["lost", "resumed", 1]


async def test_signals_that_servers_do_not_have_any_more_are_counted(server: NatsServer, port: int) -> None:
    await make_stream(port, max_msgs_per_subject=4)
    async with pair(port) as two:
        plain = QMI_SignalReceiver()
        await two.subscribe()
        await two.desk.subscribe_signal("lab", "horn", "sig", plain)
        await two.horn.blow(0)
        assert await two.next() == [0]
        async with cut_off(two.desk):
            await two.horn.blow_many(1, 10)
        assert await two.next(7) == ["lost", "resumed", "dropped 5", 6, 7, 8, 9]
        await next_value(plain)
        signal = await plain.next_signal()
        assert (signal.args, signal.gap, signal.missing) == ((6,), "dropped", 5)


@pytest.mark.parametrize("is_given_up", [False, True])
async def test_signals_that_servers_have_refused_so_far_are_waited_for(
    port: int, is_given_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as their publisher will send them again."""
    async with pair(port) as two:
        await two.subscribe()
        await two.horn.blow(0)
        assert await two.next() == [0]
        client, asked = engine_of(two.lab).client, trio.Event()

        def refuse(subject: bytes, payload: bytes, *, kept: bool) -> bool:
            client._put_off.append(_Outgoing(subject, payload, b"", kept))
            return True

        signals = engine_of(two.desk).following
        is_on_its_way = signals._is_on_its_way

        async def note_that_it_asks(*args: Any) -> bool:
            found = await is_on_its_way(*args)
            asked.set()
            return found

        monkeypatch.setattr(signals, "_is_on_its_way", note_that_it_asks)
        async with cut_off(two.desk):
            with monkeypatch.context() as patch:
                patch.setattr(client, "publish", refuse)
                await two.horn.blow_many(1, 4)
            await two.horn.blow(4)
            assert await client.drain(10)
        assert await two.next(2) == ["lost", "resumed"]
        await asked.wait()
        await two.horn.blow(5)
        if is_given_up:
            client._put_off.clear()
            assert await two.next(3) == ["dropped 3", 4, 5]
        else:
            client._queue_again()
            assert await two.next(5) == [1, 2, 3, 4, 5]


async def test_publisher_that_was_cut_off_sends_what_it_kept(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        async with cut_off(two.lab):
            await two.horn.blow_many(0, 50)
        assert await two.next(50) == list(range(50))


async def test_publisher_whose_buffer_was_full_drops_and_says_how_many(port: int) -> None:
    async with pair(port, site={"buffer_bytes": 1 << 17}) as two:
        await two.subscribe()
        async with cut_off(two.lab):
            await two.horn.blow_many(0, 2000)
        await engine_of(two.lab).client.drain(10)
        await two.horn.blow("end")
        told: list[object] = []
        while not told or told[-1] != "end":
            told += await two.next(1)
        sent = len(told) - 2
        assert 0 < sent < 2000
        assert told == [*range(sent), f"dropped {2000 - sent}", "end"]


async def test_server_that_is_killed_in_mid_stream_loses_nothing(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        await make_stream(server.port, max_msgs_per_subject=100_000)
        async with pair(server.port) as two:
            await two.subscribe()
            count, stop = 0, trio.Event()

            async def publish() -> None:
                nonlocal count
                while not stop.is_set():
                    await two.horn.blow(count)
                    count += 1

            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish)
                for _ in range(2):
                    reached = count + 50
                    await until(lambda reached=reached: count > reached)  # type: ignore[misc]
                    server.kill()
                    await trio.to_thread.run_sync(server.start)
                    for context in (two.lab, two.desk):
                        await engine_of(context).client.up.wait()
                stop.set()
            told = await two.next(count)
            while [one for one in told if type(one) is int][-1:] != [count - 1]:
                told += await two.next()
            assert [one for one in told if type(one) is int] == list(range(count))
            assert {one for one in told if type(one) is str} == {"lost", "resumed"}


async def test_publisher_that_dies_and_comes_again_is_told(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, receiver = Context("desk", at_site("", port)), QMI_SignalReceiver(report_gaps=True)
    async with desk.running():
        for number in (0, 10):
            lab = Context("lab", at_site("lab", port))
            async with lab.running():
                horn = await lab.make_instrument("horn", Horn)
                if not number:
                    await desk.subscribe_signal("lab", "horn", "sig", receiver)
                await horn.blow_many(number, number + 3)
                told = [await next_value(receiver) for _ in range(3 if number == 0 else 4)]
                assert told == [*["restarted"][: number // 10], number, number + 1, number + 2]
                monkeypatch.setattr(lab.broker, "_site", ())  # it dies before it can say that its object is gone
            engine_of(desk).following.publisher_gone("lab", lab.origin.incarnation)
            assert await next_value(receiver) == "lost"


async def test_publisher_that_presence_says_is_back_is_told_once(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        signals = engine_of(two.desk).following
        for _ in range(2):
            signals.publisher_gone("lab", two.lab.origin.incarnation)
        for _ in range(2):
            signals.publisher_here("lab", two.lab.origin.incarnation)
        assert await two.next(2) == ["lost", "resumed"]
        for _ in range(2):
            signals.publisher_here("lab", "00" * 8)
        assert await two.next(1) == ["restarted"]
        assert not two.receiver.has_signal_ready()


async def test_restarted_publisher_without_the_object_ends_the_subscription(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_PATIENCE", 0.0)
    async with pair(port) as two:
        await two.subscribe()
        monkeypatch.setattr(two.lab.broker, "_site", ())
        await two.lab.remove_rpc_object(two.horn)
        engine_of(two.desk).following.publisher_here("lab", "00" * 8)
        assert await two.next(2) == ["restarted", "ended"]


async def test_another_context_of_the_same_name_is_not_heard(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        await two.horn.blow(0)
        other = Context("lab", at_site("", port))
        async with other.running():
            horn = await other.make_instrument("horn", Horn)
            await horn.blow("wrong")
            await two.horn.blow(1)
            await horn.blow("wrong")
            await two.horn.blow(2)
            assert await two.next(3) == [0, 1, 2]
        await two.horn.blow(3)
        assert await two.next() == [3]


async def test_link_that_is_lost_shows_that_its_context_is_gone(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair(port, link=True) as two:
        await two.subscribe()
        async with cut_off(two.lab):
            await two.desk.disconnect_from_peer("lab")
            assert await two.next() == ["lost"]
        await two.horn.blow(0)
        assert await two.next(2) == ["resumed", 0]


# -- large signals

LARGE = (1 << 20) + 1


async def test_large_signals_come_by_the_link_in_order(port: int) -> None:
    async with pair(port, link=True) as two:
        await two.subscribe()
        for value in (0, bytes(LARGE), 1, np.zeros(LARGE), 2, "x" * LARGE, 3):
            await two.horn.blow(value)
        told = await two.next(7)
        assert [told[0], told[2], told[4], told[6]] == [0, 1, 2, 3]
        assert [len(told[index]) for index in (1, 3, 5)] == [LARGE] * 3  # type: ignore[arg-type]


async def test_large_signal_without_a_link_is_dropped(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        for value in (0, bytes(LARGE), 1):
            await two.horn.blow(value)
        assert await two.next(3) == [0, "dropped 1", 1]


async def test_large_signal_that_is_lost_with_its_link_is_dropped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair(port, link=True) as two:
        await two.subscribe()
        monkeypatch.setattr(two.desk.signalling, "arrived", lambda signals, context: None)
        for value in (0, bytes(LARGE), 1):
            await two.horn.blow(value)
        assert await two.next() == [0]
        feed = next(iter(engine_of(two.desk).following._followed.values())).feed
        await until(lambda: feed.needs == 2)
        await two.desk.disconnect_from_peer("lab")
        assert await two.next(2) == ["dropped 1", 1]


# -- what was published before


async def test_last_value_comes_first_if_it_is_asked_for(port: int) -> None:
    async with pair(port) as two:
        await two.horn.blow_many(0, 5)
        await two.subscribe(last=True)
        await two.horn.blow(5)
        assert await two.next(2) == [4, 5]


@pytest.mark.parametrize("where", ["lab", "desk"])
async def test_history_comes_first_here_and_elsewhere(port: int, where: str) -> None:
    async with pair(port) as two:
        context = two.lab if where == "lab" else two.desk
        await two.horn.blow_many(0, 600)
        for since in (60, 60.0, timedelta(minutes=1), datetime.now(UTC) - timedelta(minutes=1)):
            receiver = QMI_SignalReceiver(report_gaps=True)
            await context.subscribe_signal("lab", "horn", "sig", receiver, since=since)
            assert [await next_value(receiver) for _ in range(600)] == list(range(600))
            assert not receiver.has_signal_ready()
        await two.horn.blow("end")
        assert await next_value(receiver) == "end"


async def test_second_subscriber_gets_what_the_first_one_had(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe()
        await two.horn.blow_many(0, 5)
        assert await two.next(5) == list(range(5))
        second = QMI_SignalReceiver(report_gaps=True)
        await two.desk.subscribe_signal("lab", "horn", "sig", second, since=60)
        await two.horn.blow(5)
        assert [await next_value(second) for _ in range(6)] == list(range(6))
        assert await two.next() == [5]


@pytest.mark.parametrize("where", ["lab", "desk"])
async def test_history_and_what_comes_meanwhile_fit_together(
    port: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(port) as two:
        await two.horn.blow_many(0, 3)
        context = two.lab if where == "lab" else two.desk
        signals = engine_of(context).following
        history = signals.history

        async def slow(*args: object) -> object:
            await two.horn.blow_many(3, 6)  # before it is read
            found = await history(*args)  # type: ignore[arg-type]
            await two.horn.blow_many(6, 9)  # and after it
            return found

        monkeypatch.setattr(signals, "history", slow)
        receiver = QMI_SignalReceiver(report_gaps=True)
        await context.subscribe_signal("lab", "horn", "sig", receiver, since=60)
        await two.horn.blow(9)
        assert [await next_value(receiver) for _ in range(10)] == list(range(10))


async def test_history_of_what_was_never_published_is_nothing(port: int) -> None:
    async with pair(port) as two:
        await two.subscribe(last=True)
        second = QMI_SignalReceiver()
        await two.desk.subscribe_signal("lab", "horn", "sig", second, since=60)
        await two.horn.blow(0)
        assert await two.next() == [0]
        assert await next_value(second) == 0


async def test_history_is_no_older_than_it_is_asked_for(port: int) -> None:
    async with pair(port) as two:
        await two.horn.blow_many(0, 3)
        assert await engine_of(two.lab).client.drain(10)
        begin = datetime.now(UTC)
        await two.horn.blow_many(3, 6)
        await two.subscribe(since=begin)
        assert await two.next(3) == [3, 4, 5]
        second = QMI_SignalReceiver()
        await two.desk.subscribe_signal("lab", "horn", "sig", second, since=datetime.now(UTC) + timedelta(hours=1))
        await two.horn.blow("end")
        assert await next_value(second) == "end"


async def test_history_crosses_a_restart(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        async with pair(port) as two:
            await two.horn.blow_many(0, 3)
            if _ == 0:
                monkeypatch.setattr(two.lab.broker, "_site", ())
                await engine_of(two.lab).client.drain(10)
                continue
            await two.subscribe(since=60)
            assert await two.next(7) == [0, 1, 2, "restarted", 0, 1, 2]


async def test_last_value_is_no_answer_that_somebody_had_sent_there(port: int) -> None:
    """A server publishes its answer where the request says, whosever subject that is."""
    async with pair(port) as two:
        await two.subscribe()
        await two.horn.blow_many(0, 2)
        assert await two.next(2) == [0, 1]
        await have_answer_sent_there(port)
        await two.horn.blow(2)
        assert await two.next() == [2]
        await have_answer_sent_there(port)
        second = QMI_SignalReceiver(report_gaps=True)
        await two.desk.subscribe_signal("lab", "horn", "sig", second, last=True)
        third = QMI_SignalReceiver(report_gaps=True)
        await two.desk.subscribe_signal("lab", "horn", "sig", third, since=60)
        await two.horn.blow(3)
        assert [await next_value(second) for _ in range(2)] == [2, 3]
        assert [await next_value(third) for _ in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("since", [-1, "1 h", True, datetime(2026, 1, 1), float("nan"), float("inf")])
async def test_history_refuses_what_is_no_time(port: int, since: object) -> None:
    async with pair(port) as two:
        with pytest.raises(QMI_UsageException, match="since must be a datetime with a timezone"):
            await two.subscribe(since=since)


def test_history_without_a_site_says_what_is_missing() -> None:
    with QMI_Context("lab", config()) as lab:
        horn = lab.make_instrument("horn", Horn)
        for history in ({"last": True}, {"since": 10}):
            with pytest.raises(QMI_SignalSubscriptionException, match="the configuration has no site"):
                horn.sig.subscribe(QMI_SignalReceiver(), **history)
        horn.sig.subscribe(QMI_SignalReceiver())


async def test_blocking_programs_get_the_same(port: int) -> None:
    def script() -> None:
        with QMI_Context("lab", at_site("lab", port)) as lab, QMI_Context("desk", at_site("", port)) as desk:
            horn = lab.make_instrument("horn", Horn)
            horn.blow_many(0, 3)
            desk.connect_to_peer("lab", f"127.0.0.1:{lab.get_tcp_server_port()}")
            proxy = desk.get_instrument("lab.horn")
            last, all_of_it = QMI_SignalReceiver(), QMI_SignalReceiver()
            proxy.sig.subscribe(last, last=True)
            desk.subscribe_signal("lab", "horn", "sig", all_of_it, since=60)
            horn.blow(3)
            assert [last.get_next_signal(10).args[0] for _ in range(2)] == [2, 3]
            assert [all_of_it.get_next_signal(10).args[0] for _ in range(4)] == [0, 1, 2, 3]
            proxy.sig.unsubscribe(last)

    await trio.to_thread.run_sync(script)


# -- starting


async def test_context_starts_without_a_server_and_finds_it_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server = NatsServer(tmp_path)
    async with pair(server.port) as two:
        assert "cannot be reached" in caplog.text
        await two.horn.blow(0)
        with server:
            for context in (two.lab, two.desk):
                await engine_of(context).client.up.wait()
            await two.subscribe()
            await two.horn.blow(1)
            assert await two.next() == [1]


async def test_context_that_requires_a_server_does_not_start_without(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    context = Context("lab", at_site("lab", server.port, site={"required": True}, connect_timeout=0.1))
    with pytest.raises(QMI_ConnectionException, match=r"is required .*: server 127\.0\.0\.1:\d+ cannot be reached: "):
        async with context.running():
            pass
    with server:
        async with Context("lab", at_site("lab", server.port, site={"required": True})).running() as lab:
            assert engine_of(lab).is_up


async def test_internal_object_is_made_for_its_first_subscriber(port: int) -> None:
    importlib.import_module("qmi.scan")
    async with pair(port) as two:
        await two.desk.subscribe_signal("lab", "$scans", "sig_changed", two.receiver)
