from __future__ import annotations

import gzip
import os
import re
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
import trio
from trio.testing import MockClock

from qmi.config.loader import load_config
from qmi.contexts.async_context import Context
from qmi.errors import QMI_UsageException
from qmi.web import listening, site
from qmi.web.guard import SECURITY_HEADERS
from qmi.web.options import Options
from qmi.web.server import serve
from tests.support.web import Web, web_and_lab


async def test_first_page_shows_the_contexts(web: Web) -> None:
    answer = await web.client.get("/")
    assert answer.status_code == 200
    assert ">lab</th>" in answer.text
    assert "running" in answer.text
    assert web.said[0] == f"The laboratory is shown at {web.url}"


@pytest.mark.parametrize("path", ["/", "/static/qmi.css", "/nothing", "/static/nothing.js", "/api/nothing"])
async def test_every_answer_has_the_headers_that_keep_pages_safe(web: Web, path: str) -> None:
    answer = await web.client.get(path)
    assert {name: answer.headers[name] for name in SECURITY_HEADERS if name != "cache-control"} == {
        name: value for name, value in SECURITY_HEADERS.items() if name != "cache-control"
    }
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "server" not in answer.headers


async def test_static_file_is_packed_and_kept_by_browsers(web: Web) -> None:
    page = (await web.client.get("/")).text
    path = page[page.index("/static/qmi.css") :].partition('"')[0]
    versioned = await web.client.get(path)
    assert "immutable" in versioned.headers["cache-control"]
    plain = await web.client.get("/static/uPlot.iife.js", headers={"accept-encoding": "identity"})
    packed = await web.client.get("/static/uPlot.iife.js")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert len(gzip.compress(plain.content)) < 60_000
    again = await web.client.get("/static/uPlot.iife.js", headers={"if-none-match": packed.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("page", ["/", "/plots", "/o/lab/psu", "/runs", "/logs", "/login"])
async def test_browser_that_was_here_asks_for_no_script_again(web: Web, page: str) -> None:
    found = set(re.findall(r'"(/static/[^"]+)"', (await web.client.get(page)).text))
    assert found
    seen: set[str] = set()
    while found:
        path = found.pop()
        seen.add(path)
        answer = await web.client.get(path)
        assert "immutable" in answer.headers["cache-control"], path
        if ".js?" in path:
            found |= {
                f"/static/{name}" for name in re.findall(r'^import .* from "\./(.+)";$', answer.text, re.MULTILINE)
            } - seen
    names = [path.partition("?")[0] for path in seen]
    assert len(names) == len(set(names)), "a script under two addresses is two scripts"


async def test_first_page_does_not_wait_for_the_network(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Context) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Context, "discover_peer_contexts", never)
    monkeypatch.setattr(site, "NOT_LONGER", 0.1)
    async with web_and_lab(config) as web:
        with trio.fail_after(20):
            assert ">lab</th>" in (await web.client.get("/")).text


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e%2fserver.py", "/static/", "/static/.."])
async def test_static_files_are_those_of_the_folder_alone(web: Web, path: str) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", web.port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join([part async for part in stream])
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_error_is_a_page_for_people_and_json_for_programs(web: Web) -> None:
    page = await web.client.get("/nothing", headers={"accept": "text/html"})
    assert page.status_code == 404
    assert "<h1>Error 404</h1>" in page.text
    assert "<p>There is no page /nothing</p>" in page.text
    assert (await web.client.get("/nothing")).json()["error"]["message"] == "Not Found: GET /nothing"


MALFORMED = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a line that never ends": b"GET /" + b"a" * 70_000,
    "a header that never ends": b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "a chunk that is none": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "another version": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "a path that is no text": b"GET /%ff%fe\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "zero bytes": bytes(2000),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2 without TLS": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
    "an upgrade to HTTP/2": (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: !\r\n\r\n"
    ),
    "a WebSocket without key": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "a WebSocket with a bad key": (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: \xff\r\n\r\n"
    ),
    "a WebSocket of another version": (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: x\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ),
    "a WebSocket by POST": (
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 0\r\n\r\n"
    ),
    "a WebSocket whose extensions are none": (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: ;;,\xff=\r\n\r\n\x81\xff\xff"
    ),
    "a good WebSocket, which no page opens": (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85\x00\x00\x00\x00hello"
    ),
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_server_lives_on_after_malformed_requests(web: Web, sent: bytes) -> None:
    for _ in range(3):
        async with await trio.open_tcp_stream("127.0.0.1", web.port) as stream:
            try:
                await stream.send_all(sent)
                await stream.send_eof()
                answer = await stream.receive_some()
                assert b"websocket" not in answer
                assert b" 500 " not in answer
            except trio.BrokenResourceError:
                pass
    assert (await web.client.get("/static/qmi.css")).status_code == 200


async def test_server_lives_on_when_a_browser_leaves_amid_a_request(web: Web) -> None:
    for sent in (
        b"",
        b"GET",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1",
    ):
        stream = await trio.open_tcp_stream("127.0.0.1", web.port)
        if sent:
            await stream.send_all(sent)
        await trio.aclose_forcefully(stream)
    assert (await web.client.get("/")).status_code == 200


async def test_server_ends_although_a_browser_takes_nothing(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "END_PATIENCE", 0.05)
    async with web_and_lab(config) as web:
        stream = await trio.open_tcp_stream("127.0.0.1", web.port)
        request = b"GET /static/uPlot.iife.js HTTP/1.1\r\nHost: a\r\n\r\n"
        with trio.move_on_after(0.3):  # more than the buffers of the sockets hold, and nothing is read
            await stream.send_all(request * 500)
    await trio.aclose_forcefully(stream)


async def test_address_that_is_taken_is_said_so(web: Web, config: Path) -> None:
    with pytest.raises(QMI_UsageException, match=rf": .*\(pid {os.getpid()}\) has that address.* by --bind"):
        await serve(load_config(str(config)), Options(bind=f"127.0.0.1:{web.port}"), web.said.append)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (Options(bind="0.0.0.0:0"), "name a certificate"),
        (Options(bind="192.0.2.1:80"), "name a certificate"),
        (Options(bind="[::]:80"), "name a certificate"),
        (Options(bind="laboratory.example:80"), "name a certificate"),
        (Options(certificate="a.pem"), "HTTPS needs both"),
        (Options(key="a.key"), "HTTPS needs both"),
    ],
    ids=str,
)
def test_options_that_would_be_open_to_others_are_refused(options: Options, fault: str) -> None:
    with pytest.raises(QMI_UsageException, match=fault):
        options.check()


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "127.0.0.2:80", "[::1]:80", "localhost:80"])
def test_options_for_this_computer_need_no_certificate(bind: str) -> None:
    Options(bind=bind).check()


async def test_one_computer_does_not_keep_the_others_out(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_PER_CLIENT", 2)
    async with AsyncExitStack() as connections:
        for _ in range(4):  # from this computer as many as may be
            await connections.enter_async_context(await trio.open_tcp_stream("127.0.0.1", web.port))
        assert (await web.client.get("/api/session")).status_code == 200
        monkeypatch.setattr(listening, "is_loopback", lambda host: False)
        async with await trio.open_tcp_stream("127.0.0.1", web.port) as another:
            with trio.fail_after(20):
                assert await another.receive_some() == b""
        monkeypatch.setattr(listening, "_client_of", lambda connection: "10.0.0.1")
        async with await trio.open_tcp_stream("127.0.0.1", web.port) as other:
            await other.send_all(b"GET /api/session HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            with trio.fail_after(20):
                assert (await other.receive_some()).startswith(b"HTTP/1.1 200 ")


class SlowLine(anyio.abc.ByteStream):
    """Takes what is sent, each piece in a second or never."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.taken = b""

    async def send(self, item: bytes) -> None:
        await trio.sleep(self.seconds)
        self.taken += item

    async def receive(self, max_bytes: int = 65536) -> bytes:
        raise AssertionError

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def test_large_answer_has_its_time_on_a_slow_line(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "PIECE", 3)
    line = SlowLine(1.0)
    await listening._Stream(line).send(bytes(range(200)))
    assert line.taken == bytes(range(200))
    assert trio.current_time() > listening.SEND_PATIENCE
    with pytest.raises(anyio.BrokenResourceError):
        await listening._Stream(SlowLine(2 * listening.SEND_PATIENCE)).send(b"never")


async def test_browser_that_has_said_good_bye_is_one_that_has_left() -> None:
    class Left(SlowLine):
        async def send(self, item: bytes) -> None:
            raise anyio.EndOfStream

    with pytest.raises(anyio.BrokenResourceError):
        await listening._Stream(Left(0.0)).send(b"the rest")
