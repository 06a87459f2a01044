"""What every request goes through before anything else, and every answer after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import trio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from qmi.web.authorization import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SECURITY_HEADERS = {
    # Nothing from elsewhere, and nothing that stands in the page itself. Styles of elements are what uPlot sets, by
    # the object model, which no rule forbids.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
MAX_BODY = 16 * 1024 * 1024
"""No request is larger, in bytes."""


_REST = 4 * MAX_BODY
"""Of a request that is too large, so many bytes more are taken and dropped."""
_REST_PATIENCE = 5.0
"""For how long that is done, in seconds."""


class Guard:
    """Adds the headers that keep pages safe, and refuses what no page of this server sends.

    Args:
        app: What answers.
        refuse: Says why a request is refused, by its scope and headers; None if it is not.
        encrypted: Whether browsers are told to come by HTTPS only.
    """

    def __init__(self, app: App, refuse: Callable[[Scope, Headers], Refusal | None], *, encrypted: bool) -> None:
        self._app = app
        self._refuse = refuse
        self._headers = dict(SECURITY_HEADERS)
        if encrypted:
            self._headers["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":  # no page opens one
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._headers)
        headers = Headers(scope=scope)
        refused = self._refuse(scope, headers)
        if refused is not None:
            await _error(refused)(scope, receive, exchange.send)
            return
        if _length(headers) <= MAX_BODY:
            await self._app(scope, exchange.receive, exchange.send)
            if not exchange.is_too_large:
                return
        await _refuse_body(receive, _Exchange(receive, send, self._headers).send)


class _Exchange:
    """A request and its answer, as they come by.

    Args:
        receive: Receives the request.
        send: Sends the answer.
        headers: What every answer has, unless it says otherwise.
    """

    def __init__(self, receive: Receive, send: Send, headers: Mapping[str, str]) -> None:
        self._receive, self._send, self._headers = receive, send, headers
        self._received = 0
        self._has_begun = False
        self.is_too_large: bool = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > MAX_BODY and not self._has_begun:
            self.is_too_large = True
        # Whoever answers is told that there is no more, and what it answers then is not sent.
        return {"type": "http.disconnect"} if self.is_too_large else message

    async def send(self, message: Message) -> None:
        if self.is_too_large:
            return
        if message["type"] == "http.response.start":
            self._has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)


async def _refuse_body(receive: Receive, send: Send) -> None:
    """Answer a request that is too large, and take some of the rest of it.

    Where the connection ends while the other side still sends, it is told of an error of the connection, and does not
    see the answer.
    """
    answer = _error(Refusal(413, f"the body is too large; at most {MAX_BODY} bytes are accepted"))
    answer.headers["connection"] = "close"
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    left = _REST
    with trio.move_on_after(_REST_PATIENCE):
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                break
    await send({"type": "http.response.body", "body": b""})


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _error(refusal: Refusal) -> JSONResponse:
    hint = {"hint": refusal.hint} if refusal.hint else {}
    headers = {"retry-after": "1"} if refusal.status == 429 else None
    return JSONResponse({"error": {"type": "Refused", "message": refusal.message, **hint}}, refusal.status, headers)
