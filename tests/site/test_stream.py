"""What the servers have kept, as it is read."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
import trio
import trio.testing

from qmi.site.server_config import MAX_PENDING
from qmi.site.stream import AT_ONCE, BATCH_BYTES, Stream
from qmi.site.wire import Message


class FakeClient:
    """Answers when it is told to."""

    def __init__(self, payload: bytes = b"") -> None:
        self.asked = 0
        self.go = trio.Event()
        self._payload = payload

    async def collect(self, subject: str, payload: bytes) -> list[Message]:
        self.asked += 1
        await self.go.wait()
        return [Message(1, "x", "", b"", b"NATS/1.0 404 Message Not Found\r\n\r\n")]

    async def request(self, subject: str, payload: bytes = b"") -> Message:
        assert subject == "$JS.API.STREAM.INFO.kept"
        return Message(1, "x", "", self._payload)


def stream_of(client: FakeClient) -> Stream:
    return Stream(cast(Any, client), "kept")


async def test_readings_take_turns_so_that_the_server_need_not_hold_all_of_them() -> None:
    client = FakeClient()
    stream = stream_of(client)
    async with trio.open_nursery() as nursery:
        for number in range(3 * AT_ONCE):
            nursery.start_soon(stream.read, f"a.{number}")
        await trio.testing.wait_all_tasks_blocked()
        assert client.asked == AT_ONCE
        client.go.set()
    assert client.asked == 3 * AT_ONCE
    assert AT_ONCE * BATCH_BYTES <= MAX_PENDING / 4


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'{"ts":"2026-01-02T03:04:05.123456789Z"}', 1767323045.123456789),
        (b'{"ts":"2026-01-02T03:04:05Z"}', 1767323045.0),
    ],
)
async def test_time_is_that_of_the_servers(said: bytes, expected: float) -> None:
    assert await stream_of(FakeClient(said)).now() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("said", [b"{}", b"no", b'{"ts":1}', b'{"ts":"soon"}', b"[]"])
async def test_time_is_the_own_one_if_the_servers_do_not_say(said: bytes) -> None:
    assert await stream_of(FakeClient(said)).now() == pytest.approx(time.time(), abs=60)
