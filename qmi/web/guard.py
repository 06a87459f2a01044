"""What every request goes through before anything else, and every answer after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

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


class TooLargeError(Exception):
    """The body of a request is too large."""


class Guard:
    """Adds the headers that keep pages safe, and refuses what no page of this server sends.

    Args:
        app: What answers.
        refuse: Says why a request is refused, of its scope and headers: status and reason; None if it is not.
        encrypted: Whether browsers are told to come by HTTPS only.
    """

    def __init__(
        self, app: App, refuse: Callable[[Scope, Headers], tuple[int, str] | None], *, encrypted: bool
    ) -> None:
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
        refused = self._refuse(scope, Headers(scope=scope))
        if refused is not None:
            await _error(*refused)(scope, receive, exchange.send)
            return
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except TooLargeError:
            if not exchange.has_begun:
                await _error(413, f"the request is larger than {MAX_BODY} bytes")(scope, receive, exchange.send)


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
        self.has_begun = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > MAX_BODY:
            raise TooLargeError
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": {"type": "Refused", "message": text}}, status)
