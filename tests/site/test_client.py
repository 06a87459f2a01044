from __future__ import annotations

import logging
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from qmi.errors import QMI_NotDeliveredException, QMI_TimeoutException
from qmi.site import client as client_module
from qmi.site.client import SiteClient
from qmi.site.wire import Message
from tests.support.site_clients import FakeServer, fake_server, options, running
from tests.support.waiting import until

SMALL = client_module._COST + len(b"a.b") + 1
"""What a message of one byte takes up."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_FIRST_DELAY", 0.001)


def reply_of(written: bytes) -> bytes:
    """Where the last message that was written expects its answer."""
    line = written.rpartition(b"PUB ")[2].partition(b"\r\n")[0].split(b" ")
    assert len(line) == 3, written
    return line[1]


async def acknowledge(server: FakeServer, written: bytes, sequence: int) -> None:
    answer = b'{"stream":"x","seq":%d}' % sequence
    await server.say(b"MSG %b 1 %d\r\n%b\r\n" % (reply_of(written), len(answer), answer))


async def refuse(server: FakeServer, written: bytes, text: bytes) -> None:
    head = b"NATS/1.0\r\n\r\n" if text else b"NATS/1.0 503\r\n\r\n"
    await server.say(b"HMSG %b 1 %d %d\r\n%b%b\r\n" % (reply_of(written), len(head), len(head + text), head, text))


async def test_published_messages_arrive_in_order_with_one_request_for_an_acknowledgement() -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        for payload in (b"1", b"2", b"3"):
            assert client.publish(b"a.b", payload, kept=True)
        await server.accept()
        written = await server.expect(b"\r\n3\r\n")
        assert [line for line in written.split(b"\r\n") if line.startswith(b"PUB")][:2] == [b"PUB a.b 1", b"PUB a.b 1"]
        assert client.waiting == 3 * SMALL
        await acknowledge(server, written, 17)
        assert await client.drain(5)
        assert client.stored == 17


async def test_each_message_wants_an_acknowledgement_of_a_cluster() -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        client.publish(b"a.b", b"1", kept=True)
        client.publish(b"a.b", b"2", kept=True)
        await server.accept(cluster="site")
        written = await server.expect(b"\r\n2\r\n")
        assert [len(line.split()) for line in written.split(b"\r\n") if line.startswith(b"PUB")] == [4, 4]


@pytest.mark.parametrize("refusal", [b"", b'{"error":{"code":503}}'])
async def test_what_a_cluster_refuses_is_sent_again(refusal: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PUT_OFF", 0.001)
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept(cluster="site")
        await client.up.wait()
        client.publish(b"a.b", b"1", kept=True)
        client.publish(b"a.b", b"2", kept=True)
        written = await server.expect(b"\r\n1\r\n")
        await acknowledge(server, await server.expect(b"\r\n2\r\n"), 5)
        await refuse(server, written, refusal)
        await acknowledge(server, await server.expect(b"\r\n1\r\n"), 6)
        assert await client.drain(5)
        assert (client.unkept, client.stored) == (0, 6)


async def test_what_a_server_refuses_that_has_no_stream_yet_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PUT_OFF", 0.001)
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept()
        await client.up.wait()
        for payload in (b"1", b"2"):
            client.publish(b"a.b", payload, kept=True)
        for _ in range(3):
            await refuse(server, await server.expect(b"\r\n2\r\n"), b"")
        written = await server.expect(b"\r\n2\r\n")
        assert [line for line in written.split(b"\r\n") if len(line) == 1] == [b"1", b"2"]
        await acknowledge(server, written, 6)
        assert await client.drain(5)
        assert (client.unkept, client.stored) == (0, 6)


async def test_what_a_cluster_says_nothing_about_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PING_EVERY", 0.01)
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept(cluster="site")
        await client.up.wait()
        client.publish(b"a.b", b"1", kept=True)
        await server.expect(b"\r\n1\r\n")
        await server.say(b"PONG\r\n")
        await acknowledge(server, await server.expect(b"\r\n1\r\n"), 6)
        assert await client.drain(5)


@pytest.mark.parametrize("acknowledged", [0, 1, 2])
async def test_what_was_not_acknowledged_is_sent_again_in_order_before_all_else(acknowledged: int) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept()
        await client.up.wait()
        for number in range(2):
            client.publish(b"a.b", b"%d" % number, kept=True)
            written = await server.expect(b"\r\n%d\r\n" % number)
            if number < acknowledged:
                await acknowledge(server, written, number)
        await server.say(b"PING\r\n")
        await server.expect(b"PONG\r\n")
        assert client.waiting == (2 - acknowledged) * SMALL
        await server.hang_up()
        client.publish(b"a.b", b"x", kept=True)
        await server.accept()
        written = await server.expect(b"\r\nx\r\n")
        payloads = [line for line in written.split(b"\r\n") if len(line) == 1]
        assert payloads == [b"0", b"1", b"x"][acknowledged:]


async def test_what_is_not_kept_is_not_sent_later() -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        assert not client.publish(b"a.b", b"0")
        assert client.publish(b"a.b", b"1", kept=True)
        await server.accept()
        assert b"\r\n0\r\n" not in await server.expect(b"\r\n1\r\n")


async def test_publishing_is_refused_and_counted_beyond_the_buffer() -> None:
    async with fake_server() as server, running(options(server.port, buffer_bytes=3 * SMALL), wait=False) as client:
        done = [client.publish(b"a.b", b"%d" % number, kept=True) for number in range(5)]
        assert done == [True, True, True, False, False]
        assert client.refused == 2
        await server.accept()
        written = await server.expect(b"\r\n2\r\n")
        assert not client.publish(b"a.b", b"5", kept=True)  # it was sent, but may have to be sent again
        await acknowledge(server, written, 1)
        assert await client.drain(5)
        assert client.publish(b"a.b", b"6", kept=True)


async def test_message_beyond_the_limit_of_the_server_is_refused() -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        client.publish(b"a.b", bytes(1001), kept=True)  # before anybody knows the limit
        client.publish(b"a.b", b"1", kept=True)
        await server.accept()
        written = await server.expect(b"\r\n1\r\n")
        assert b" 1001\r\n" not in written
        assert client.refused == 1
        assert not client.publish(b"a.b", bytes(1001), kept=True)
        assert client.publish(b"a.b", bytes(1000), kept=True)


async def test_message_that_nothing_keeps_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_ATTEMPTS", 0)
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept()
        for text in (b"", b'{"error":{"code":503}}'):
            client.publish(b"a.b", b"1", kept=True)
            await refuse(server, await server.expect(b"\r\n1\r\n"), text)
            assert await client.drain(5)
        assert client.unkept == 2
        assert [record.message for record in caplog.records if "does not keep" in record.message] == [
            "The site does not keep the signals of this context: nothing keeps them",
            'The site does not keep the signals of this context: {"error":{"code":503}}',
        ]


FULL_TEXT = b'{"error":{"code":503,"err_code":10077,"description":"no room"},"stream":"x","seq":0}'


@pytest.mark.parametrize("cluster", ["", "site"])
async def test_message_that_finds_no_room_at_the_servers_is_counted_and_not_sent_again(
    cluster: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept(cluster=cluster)
        client.publish(b"a.b", b"1", kept=True)
        await acknowledge(server, await server.expect(b"\r\n1\r\n"), 5)
        assert await client.drain(5)
        client.publish(b"a.b", b"2", kept=True)
        await refuse(server, await server.expect(b"\r\n2\r\n"), FULL_TEXT)
        assert await client.drain(5)
        assert (client.unkept, client.stored, client._put_off) == (1, 5, [])
        assert "does not keep the signals" in caplog.text
        assert "no room" in caplog.text


async def test_server_that_keeps_nothing_and_says_nothing_hears_on_what_is_published(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client_module, "PING_EVERY", 0.005)
    async with fake_server() as server, running(options(server.port, buffer_bytes=3 * SMALL), wait=False) as client:
        await server.accept()
        await client.up.wait()
        for number in range(3):
            assert client.publish(b"a.b", b"%d" % number, kept=True)
        assert not client.publish(b"a.b", b"x", kept=True)
        await server.expect(b"\r\n2\r\n")
        while not client.unkept:
            await server.expect(b"PING\r\n")
            await server.say(b"PONG\r\n")
        assert (client.unkept, client.waiting, client.refused) == (3, 0, 1)
        monkeypatch.setattr(client_module, "PING_EVERY", 1e9)
        for number in range(10):
            assert client.publish(b"a.b", b"%d" % number, kept=True)
            written = await server.expect(b"\r\n%d\r\n" % number)
        assert (client.unkept, client.waiting) == (13, 0)
        await acknowledge(server, written, 9)  # there is room again
        await until(lambda: client.stored == 9)
        client.publish(b"a.b", b"x", kept=True)
        assert client.waiting == SMALL
        assert caplog.text.count("Is its disk full?") == 1
        assert "keeps signals again; 13 were not kept" in caplog.text


async def test_server_that_does_not_react_is_not_taken_for_one_that_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "PING_EVERY", 0.01)
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept()
        await client.up.wait()
        client.publish(b"a.b", b"1", kept=True)
        await server.accept()  # it was given up
        await server.expect(b"\r\n1\r\n")
        assert client.unkept == 0


async def test_new_messages_come_before_those_that_servers_have_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client_module, "_PUT_OFF", 1e9)
    async with fake_server() as server, running(options(server.port, buffer_bytes=3 * SMALL), wait=False) as client:
        await server.accept()
        await client.up.wait()
        for number in range(3):
            client.publish(b"a.b", b"%d" % number, kept=True)
        await refuse(server, await server.expect(b"\r\n2\r\n"), b"")
        await until(lambda: len(client._put_off) == 3)
        assert client.publish(b"a.b", b"x", kept=True)
        await server.expect(b"\r\nx\r\n")
        assert (client.unkept, client.refused, client.waiting) == (3, 0, SMALL)
        await until(lambda: "servers have refused" in caplog.text)


async def test_subscriptions_are_made_again() -> None:
    got: list[bytes] = []
    came = trio.Event()

    def put(message: Message) -> None:
        got.append(message.payload)
        if message.payload == b"z":
            came.set()

    async with fake_server() as server, running(options(server.port), wait=False) as client:
        ended = client.subscribe("no.longer", put)
        client.subscribe("a.*", put)
        await server.accept()
        assert b"SUB no.longer 2\r\nSUB a.* 3\r\n" in server.hello
        await client.up.wait()
        client.unsubscribe(ended)
        await server.expect(b"UNSUB 2\r\n")
        await server.hang_up()
        await server.accept(before_pong=b"MSG a.b 3 1\r\ny\r\n")  # before it knows that it is connected
        assert b"SUB a.* 3\r\n" in server.hello
        assert b"no.longer" not in server.hello
        await server.say(b"MSG no.longer 2 1\r\nx\r\nMSG a.b 3 1\r\nz\r\n")
        await came.wait()
        assert got == [b"y", b"z"]


async def test_what_is_subscribed_to_while_it_connects_is_known_to_the_server() -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        ended = client.subscribe("no.longer", print)

        def change() -> None:
            client.unsubscribe(ended)
            client.subscribe("a.*", print)

        server.before_pong = change
        await server.accept()
        assert b"SUB no.longer 2\r\n" in server.hello
        assert await server.expect(b"SUB a.* 3\r\n") == b"UNSUB 2\r\nSUB a.* 3\r\n"


async def test_failing_handler_does_not_keep_others_from_their_messages(caplog: pytest.LogCaptureFixture) -> None:
    came = trio.Event()
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        client.subscribe("a", lambda message: 1 / 0)
        client.subscribe("b", lambda message: came.set())
        await server.accept()
        await server.say(b"MSG a 2 1\r\nx\r\nMSG b 3 1\r\ny\r\n")
        await came.wait()
    assert "could not be handled" in caplog.text


async def test_request_gets_its_answer() -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept()
        await client.up.wait()
        answers: list[Message] = []

        async def ask() -> None:
            answers.append(await client.request("who", b"?"))

        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            reply = reply_of(await server.expect(b"\r\n?\r\n"))
            assert reply.startswith(b"_INBOX.lab.")
            await server.say(b"MSG %b 1 2\r\nme\r\n" % reply)
            await server.say(b"MSG %b 1 4\r\nmore\r\n" % reply)  # nobody waits for it any more
        assert [answer.payload for answer in answers] == [b"me"]


@pytest.mark.parametrize("way", ["not connected", "nobody", "lost", "late"])
async def test_request_without_an_answer_fails(way: str, nursery: trio.Nursery) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        if way == "not connected":
            with pytest.raises(QMI_NotDeliveredException, match="no connection to the site"):
                await client.request("who")
            return
        await server.accept()
        await client.up.wait()

        async def play() -> None:
            reply = reply_of(await server.expect(b"\r\n?\r\n"))
            if way == "nobody":
                await server.say(b"HMSG %b 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" % reply)
            elif way == "lost":
                await server.hang_up()

        nursery.start_soon(play)
        error = QMI_TimeoutException if way == "late" else QMI_NotDeliveredException
        text = {"nobody": "Nobody at the site answers who", "lost": "hung up", "late": "within 0.01 s"}[way]
        with pytest.raises(error, match=text):
            await client.request("who", b"?", timeout=0.01 if way == "late" else 5)


async def test_batch_is_complete_with_its_last_message(nursery: trio.Nursery) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept()
        await client.up.wait()

        async def play() -> None:
            reply = reply_of(await server.expect(b"\r\n?\r\n"))
            for payload in (b"1", b"2"):
                await server.say(b"MSG %b 1 1\r\n%b\r\n" % (reply, payload))
            head = b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 3\r\n\r\n"
            await server.say(b"HMSG %b 1 %d %d\r\n%b\r\n" % (reply, len(head), len(head), head))

        nursery.start_soon(play)
        found = await client.collect("batch", b"?")
        assert [message.payload for message in found] == [b"1", b"2", b""]
        assert found[-1].headers["Nats-Num-Pending"] == "3"


async def test_refusal_of_the_server_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept()
        await client.up.wait()
        await server.say(b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n" * 3 + b"PING\r\n")
        await server.expect(b"PONG\r\n")
        assert client.is_up
    assert caplog.text.count("Permissions Violation") == 1


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"", "the server hung up"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no server of NATS says"),
        (b'INFO {"tls_required":true}\r\n', "it demands TLS"),
        (b"INFO {}\r\n-ERR 'Authorization Violation'\r\n", "it refuses: Authorization Violation"),
    ],
)
async def test_server_that_is_no_good_is_said_and_tried_again(
    said: bytes, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        for _ in range(2):
            stream = await server._listener.accept()
            if said:
                await stream.send_all(said)
                with suppress(trio.BrokenResourceError):
                    while await stream.receive_some(1000):
                        pass
            await stream.aclose()
        await server.accept()
        await client.up.wait()
        assert client.fault == ""
    assert caplog.text.count(text) == 1


async def test_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PING_EVERY", 0.01)
    reasons: list[str] = []
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        client.on_down.append(reasons.append)
        await server.accept()
        await server.expect_end()
        await server.accept()
    assert reasons
    assert "no sign of life for 0.02 s" in reasons[0]


async def test_who_listens_hears_of_each_connection() -> None:
    heard: list[str] = []
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        client.on_up.append(lambda: heard.append("up"))
        client.on_up.append(lambda: 1 / 0)
        is_down = trio.Event()

        def went_down(reason: str) -> None:
            heard.append("down")
            is_down.set()

        client.on_down.append(went_down)
        for _ in range(2):
            is_down = trio.Event()
            await server.accept()
            await client.up.wait()
            await server.hang_up()
            await is_down.wait()
    assert heard == ["up", "down"] * 2


async def test_what_waits_is_sent_when_the_connection_is_prepared() -> None:
    go, begun = trio.Event(), trio.Event()

    async def prepare() -> None:
        begun.set()
        await go.wait()

    chosen = options(0, prepare=prepare)
    async with fake_server() as server:
        chosen = options(server.port, prepare=prepare)
        async with running(chosen, wait=False) as client:
            client.publish(b"a.b", b"1", kept=True)
            await server.accept()
            await begun.wait()
            await server.say(b"PING\r\n")
            assert b"PUB" not in await server.expect(b"PONG\r\n")
            assert not client.up.is_set()
            go.set()
            await server.expect(b"\r\n1\r\n")
            assert client.up.is_set()


async def test_publishing_from_threads_keeps_the_order_of_each(nursery: trio.Nursery) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await server.accept()
        await client.up.wait()
        start = threading.Barrier(2)

        def publish(name: bytes) -> None:
            start.wait()
            for number in range(200):
                client.publish(b"a.b", b"%b%d" % (name, number))

        async with trio.open_nursery() as threads:
            for name in (b"x", b"y"):
                threads.start_soon(trio.to_thread.run_sync, publish, name)
        client.publish(b"a.b", b"end")
        lines = (await server.expect(b"\r\nend\r\n")).split(b"\r\n")
        for name in (b"x", b"y"):
            assert [line for line in lines if line.startswith(name)] == [b"%b%d" % (name, i) for i in range(200)]


async def ready(server: FakeServer, client: SiteClient) -> None:
    """Let a client connect, until it has nothing to do."""
    await server.accept()
    await client.up.wait()
    await trio.testing.wait_all_tasks_blocked()
    client._written = 0.0  # long ago


@pytest.mark.parametrize("kept", [True, False])
async def test_lone_message_is_written_by_its_publisher(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await ready(server, client)
        monkeypatch.setattr(client._loop.__class__, "now_or_soon", lambda self, function: 1 / 0)
        await trio.to_thread.run_sync(lambda: client.publish(b"a.b", b"1", kept=kept))
        monkeypatch.undo()
        written = await server.expect(b"\r\n1\r\n")
        assert client.waiting == kept * SMALL
        if kept:
            await acknowledge(server, written, 7)
            assert await client.drain(5)
        assert client.waiting == 0


async def test_burst_is_written_by_the_loop_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await ready(server, client)
        monkeypatch.setattr(client_module, "_BURST", 1e9)
        client._written = -1e10
        for number in range(4):
            client.publish(b"a.b", b"%d" % number, kept=True)
        assert len(client._queue) == 3
        written = await server.expect(b"\r\n3\r\n")
        assert [line for line in written.split(b"\r\n") if len(line) == 1] == [b"0", b"1", b"2", b"3"]
        await acknowledge(server, written, 7)
        assert await client.drain(5)


async def test_main_thread_that_may_be_interrupted_anywhere_leaves_writing_to_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await ready(server, client)
        monkeypatch.setattr(client_module, "PROGRAM_HANDLERS", SimpleNamespace(may_break_in=lambda: True))
        client.publish(b"a.b", b"1")
        assert len(client._queue) == 1
        await server.expect(b"\r\n1\r\n")


async def test_lone_messages_that_the_socket_does_not_take_go_out_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_server() as server, running(options(server.port), wait=False) as client:
        monkeypatch.setattr(client_module, "_BURST", -1.0)
        await ready(server, client)
        client.max_payload = 1 << 20
        count = 0
        while not client._queue:  # the writer has to finish the one before
            client.publish(b"a.b", b"%06d" % count + bytes(50_000), kept=False)
            count += 1
        for number in range(count):
            assert (await server.expect(b"\r\n%06d" % number)).count(b"PUB") == 1


async def test_connection_that_is_lost_under_a_lone_message_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> bool:
        raise BrokenPipeError("Broken pipe")

    async with fake_server() as server, running(options(server.port), wait=False) as client:
        await ready(server, client)
        assert client._server is not None
        monkeypatch.setattr(client._server, "send_now", fail)
        reasons: list[str] = []
        client.on_down.append(reasons.append)
        assert client.publish(b"a.b", b"1", kept=True)
        await server.accept()
        await server.expect(b"\r\n1\r\n")
        assert "Broken pipe" in reasons[0]


async def test_publishing_never_waits_for_a_server_that_reads_nothing() -> None:
    async with fake_server() as server, running(options(server.port, buffer_bytes=1 << 20), wait=False) as client:
        await server.accept()
        await client.up.wait()
        payload = bytes(1000)
        for _ in range(20_000):  # far more than the buffers of sockets take
            client.publish(b"a.b", payload, kept=True)
            if client.refused:
                break
            await trio.lowlevel.checkpoint()
        assert client.refused
        assert client.waiting <= 1 << 20


def test_subscription_numbers_are_never_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        from qmi.runtime.wakeup import Loop

        client = SiteClient(options(1), Loop())
        first = client.subscribe("a", print)
        client.unsubscribe(first)
        client.unsubscribe(first)
        assert client.subscribe("a", print).sid > first.sid

    trio.run(main)
