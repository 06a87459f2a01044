"""The door: who logs in, who sends a request, and what is refused to whom."""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import trio
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from qmi.config.validators import printable
from qmi.errors import QMI_ConfigurationException
from qmi.web.authorization import (
    SAFE_METHODS,
    Caller,
    RateLimit,
    Refusal,
    Session,
    Sessions,
    cookie_name,
    foreign_host,
    foreign_origin,
    network_of,
    refusal_of,
    same_secret,
)
from qmi.web.guard import Scope
from qmi.web.options import Options
from qmi.web.tokens import kept_token, new_token
from qmi.web.users import Users

_changes = logging.getLogger("qmi.web.changes")

TOKEN_USER = "operator"
_PROVED_SECONDS = 300.0


class Door:
    """Who may come in.

    Args:
        options: How the server runs.

    Raises:
        QMI_ConfigurationException: If the file of the token cannot be used.

    Attributes:
        token: With what things may be changed, where there is no file of users; empty where there is one.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._users = Users(Path(options.users)) if options.users else None
        self.token: str = "" if self._users is not None else _token(options)
        host = options.address.host
        self._names = (f"[{host}]" if ":" in host else host,)
        self._sessions = Sessions()
        self._logins = RateLimit(rate=5 / 60, burst=5)
        self._reads = RateLimit(rate=200, burst=400)
        self._writes = RateLimit(rate=50, burst=100)
        self._proved: dict[bytes, tuple[str, str, float]] = {}
        self._verifying = trio.CapacityLimiter(1)  # argon2 takes much memory and a core

    @property
    def login_by(self) -> str:
        """What somebody logs in with: ``"password"`` or ``"token"``."""
        return "token" if self._users is None else "password"

    @property
    def credentials(self) -> str:
        """What programs send to prove who they are."""
        if self._users is not None:
            return "send user and password (curl -u USER:PASSWORD)"
        if self._options.token_file:
            return "send 'Authorization: Bearer TOKEN'; the token is in the file that 'qmi_proc status' names"
        return "send 'Authorization: Bearer TOKEN'; the server prints a new token each time it starts"

    def check(self) -> None:
        """See whether the users can be read.

        Raises:
            QMI_ConfigurationException: If not.
        """
        if self._users is not None:
            self._users.names()

    # Every request

    def refuse(self, scope: Scope, headers: Headers) -> Refusal | None:
        """Why a request is refused for where it comes from, or because there are too many; None if it is not."""
        refusal = foreign_host(
            headers.get("host", ""), self._names, loopback=self._options.is_loopback
        ) or foreign_origin(scope["method"], scope["scheme"], headers)
        if refusal is not None:
            return refusal
        limit = self._reads if scope["method"] in SAFE_METHODS else self._writes
        if limit.wait(_client(scope), time.monotonic()) > 0.0:
            return Refusal(429, "too many requests", "wait a second; /api/events pushes values without being asked")
        return None

    async def caller(self, request: HTTPConnection) -> Caller:
        """Who sends a request."""
        given = request.headers.get("authorization", "")
        if given:
            return await self._by_header(given, request)
        cookie = _cookie(request)
        session = self._sessions.find(cookie, time.monotonic())
        if session is None:
            return Caller()
        if not self._is_known_by(session.user, session.proof):
            self._sessions.end(cookie)
            return Caller()
        return Caller(session.user, session.csrf)

    def refusal(self, caller: Caller, headers: Mapping[str, str], *, changes: bool) -> Refusal | None:
        """Why somebody may not do something; None if it is allowed."""
        return refusal_of(caller, headers, changes=changes, reading_is_free=self._options.reading_is_free)

    async def _by_header(self, given: str, request: HTTPConnection) -> Caller:
        scheme, _, proof = given.partition(" ")
        if scheme.lower() == "bearer" and self.token:
            if same_secret(proof.strip(), self.token):  # also after wrong ones, as those of a program with an old token
                return Caller(TOKEN_USER)
            user = await self.user_by_token(proof.strip(), request)
            return Caller(user or "")
        if scheme.lower() == "basic" and self._users is not None:
            # A program sends it with each request, and to prove it takes a tenth of a second.
            key = hashlib.sha256(given.encode()).digest()
            known = self._proved.get(key)
            fresh = known is not None and time.monotonic() - known[2] < _PROVED_SECONDS
            if known is not None and fresh and self._is_known_by(*known[:2]):
                return Caller(known[0])
            try:
                name, _, password = base64.b64decode(proof, validate=True).decode("utf-8").partition(":")
            except ValueError:
                return Caller()
            user = await self.user_by_password(name, password, request)
            if user:
                if len(self._proved) > 1000:
                    self._proved.clear()
                self._proved[key] = user, self._proof(user), time.monotonic()
            return Caller(user or "")
        return Caller()

    def _proof(self, user: str) -> str:
        return "" if self._users is None else self._users.proof_of(user)

    def _is_known_by(self, user: str, proof: str) -> bool:
        """Whether that is what a user is known by still: not one who was removed, or has another password now."""
        try:
            return self._proof(user) == proof
        except QMI_ConfigurationException:  # a login says what is wrong with the file
            return False

    # Logging in

    async def user_by_token(self, token: str, request: HTTPConnection) -> str | None:
        """Who has that token; None if it is wrong, or there were too many wrong ones."""
        if not self._may_try(request) or not self.token:
            return None
        return self._tried(TOKEN_USER if same_secret(token, self.token) else None, request, "a token")

    async def user_by_password(self, name: str, password: str, request: HTTPConnection) -> str | None:
        """The user of that name and password; None if it is wrong, or there were too many wrong ones."""
        if self._users is None or not self._may_try(request):
            return None
        users = self._users
        right = await trio.to_thread.run_sync(users.is_password_of, name, password, limiter=self._verifying)
        return self._tried(name if right else None, request, f"the password of {printable(name)!r}")

    def seconds_to_wait(self, request: HTTPConnection) -> float:
        """How long somebody has to wait before the next try to log in, in seconds."""
        waited = self._logins.wait(_network(request), time.monotonic())
        if not waited:
            self._logins.give_back(_network(request))
        return waited

    def _may_try(self, request: HTTPConnection) -> bool:
        return self._logins.wait(_network(request), time.monotonic()) == 0.0

    def _tried(self, user: str | None, request: HTTPConnection, what: str) -> str | None:
        if user is None:
            _changes.warning("Somebody at %s has sent %s, which is wrong", _client(request.scope), what)
        else:
            self._logins.give_back(_network(request))
        return user

    def begin(self, user: str, request: HTTPConnection) -> tuple[str, Session]:
        """Begin a session; returns its cookie."""
        cookie = secrets.token_urlsafe(32)
        session = self._sessions.begin(cookie, secrets.token_urlsafe(24), user, time.monotonic(), self._proof(user))
        _changes.info("%s has logged in at %s", user, _client(request.scope))
        return cookie, session

    def end(self, request: HTTPConnection) -> None:
        """End the session of a request."""
        self._sessions.end(_cookie(request))

    def log_change(self, user: str, request: HTTPConnection, what: str, outcome: str) -> None:
        """Log who has changed what."""
        _changes.info("%s (at %s): %s: %s", user, _client(request.scope), printable(what), printable(outcome))


def _token(options: Options) -> str:
    return kept_token(Path(options.token_file)) if options.token_file else new_token()


def _cookie(request: HTTPConnection) -> str:
    return request.cookies.get(cookie_name(request.headers.get("host", "")), "")


def _network(request: HTTPConnection) -> str:
    """Of whom tries to log in are counted."""
    return network_of(_client(request.scope))


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "?"
