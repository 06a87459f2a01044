"""What browsers are for the server, many of them in one process: streams of events over loopback, read and counted.

It is told what to do by lines of its standard input (``open N``, ``count SECONDS``, ``close``), and answers each by a
line of JSON.
"""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import trio

from benchmarks.meter import quantile

_PUSH = re.compile(rb'"missed":(\d+),"time":([\d.]+),"number":\d+}\n')
_WAIT = 20.0


class Browser:
    """One stream of events.

    Args:
        url: Where the server is.
        topics: What it wants.
    """

    def __init__(self, url: str, topics: list[str]) -> None:
        self._where = urlsplit(url)
        self._topics = topics
        self.begun = trio.Event()
        self.clear()

    def clear(self) -> None:
        """Count anew."""
        self.pushes = self.missed = self.size = 0
        self.delays: list[float] = []

    async def read(self) -> None:
        """Read until cancelled."""
        stream = await trio.open_tcp_stream(self._where.hostname or "", self._where.port or 0)
        query = urlencode([("topic", topic) for topic in self._topics])
        await stream.send_all(f"GET /api/events?{query} HTTP/1.1\r\nHost: {self._where.netloc}\r\n\r\n".encode())
        wanted, rest = set(self._topics), b""
        async with stream:
            while True:
                got = await stream.receive_some(1 << 20)
                if not got:
                    raise ConnectionError("the server has closed the stream")
                now = time.time()
                self.size += len(got)
                whole, end, rest = (rest + got).rpartition(b"\n")
                for missed, at in _PUSH.findall(whole + end):
                    self.pushes += 1
                    self.missed += int(missed)
                    self.delays.append(now - float(at))
                if wanted:
                    wanted = {topic for topic in wanted if json.dumps(topic).encode() not in whole}
                    if not wanted:
                        self.begun.set()


async def _serve(url: str, topics: list[str]) -> None:
    lines = trio.wrap_file(sys.stdin)
    browsers: list[Browser] = []
    async with trio.open_nursery() as nursery:
        while line := await lines.readline():
            word, _, number = line.strip().partition(" ")
            answer: dict[str, Any] = {}
            if word == "open":
                browsers = [Browser(url, topics) for _ in range(int(number))]
                for browser in browsers:
                    nursery.start_soon(browser.read)
                with trio.fail_after(_WAIT):  # until each has had each value once
                    for browser in browsers:
                        await browser.begun.wait()
            elif word == "count":
                answer = await _count(browsers, float(number))
            print(json.dumps(answer), flush=True)
            if word == "close":
                break
        nursery.cancel_scope.cancel()


async def _count(browsers: list[Browser], seconds: float) -> dict[str, float]:
    for browser in browsers:
        browser.clear()
    begin = time.monotonic()
    await trio.sleep(seconds)
    lasted = time.monotonic() - begin
    delays = [delay for browser in browsers for delay in browser.delays] or [0.0]
    pushes, missed = (sum(values) for values in zip(*((each.pushes, each.missed) for each in browsers), strict=True))
    return {
        "pushes": pushes / lasted,
        "missed": missed / lasted,
        "bytes": sum(browser.size for browser in browsers) / lasted,
        "delay": quantile(delays, 0.5) * 1e3,
        "delay p99": quantile(delays, 0.99) * 1e3,
    }


def main(arguments: list[str]) -> None:
    """Be browsers of a server that want some topics."""
    trio.run(_serve, arguments[0], arguments[1:])
