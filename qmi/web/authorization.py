"""Who may do what: rules alone. The time, random texts and what was received are arguments."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

COOKIE = "qmi_session"
CSRF_HEADER = "x-qmi-token"
SESSION_SECONDS = 12 * 3600.0
"""A session that is not used for so long ends."""
MOST_SESSIONS = 1000
"""Of more, the one that was not used for longest ends."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Refusal(NamedTuple):
    """Why a request is not carried out.

    Attributes:
        status: The status of the answer.
        message: Why.
        hint: What to do.
    """

    status: int
    message: str
    hint: str = ""


@dataclass
class Session:
    """Somebody who has logged in.

    Attributes:
        user: Who it is.
        csrf: What the pages of this session show that they are its own.
        used: When it was last used, by the clock of the caller.
        proof: What the user was known by; the session ends when that is another one.
    """

    user: str
    csrf: str
    used: float
    proof: str = ""


class Sessions:
    """The sessions. Of their cookies only hashes are kept.

    Args:
        lifetime: How long a session lasts that is not used, in seconds.
    """

    def __init__(self, lifetime: float = SESSION_SECONDS) -> None:
        self._lifetime = lifetime
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, cookie: str, csrf: str, user: str, now: float, proof: str = "") -> Session:
        """Keep a new session."""
        self._drop_old(now)
        while len(self._sessions) >= MOST_SESSIONS:
            self._sessions.popitem(last=False)
        session = self._sessions[_hash(cookie)] = Session(user, csrf, now, proof)
        return session

    def find(self, cookie: str, now: float) -> Session | None:
        """The session of a cookie; None if it has ended, or never was."""
        self._drop_old(now)
        key = _hash(cookie)
        session = self._sessions.get(key) if cookie else None
        if session is not None:
            session.used = now
            self._sessions.move_to_end(key)
        return session

    def end(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(_hash(cookie), None)

    def _drop_old(self, now: float) -> None:
        while self._sessions:
            key, oldest = next(iter(self._sessions.items()))
            if now - oldest.used < self._lifetime:
                return
            del self._sessions[key]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def cookie_name(host: str) -> str:
    """What the cookie of a session is called.

    Browsers send cookies to all ports of a host, and those of two servers, or of two tunnels, must not be the same.

    Args:
        host: What the request says in ``Host``.
    """
    port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
    return f"{COOKIE}_{port}" if port.isascii() and port.isdigit() and len(port) <= 5 else COOKIE


def same_secret(one: str, other: str) -> bool:
    """Whether two secrets are the same; how long that takes tells nothing of where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))


class RateLimit:
    """How often each of many may do something: so many at once, and so many a second.

    Args:
        rate: How many a second.
        burst: How many at once.
        most: Of how many this is remembered.
    """

    def __init__(self, rate: float, burst: float, most: int = 10_000) -> None:
        self._rate, self._burst, self._most = rate, burst, most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def wait(self, who: str, now: float) -> float:
        """Count one, and say how long to wait before it may be done: 0 if it may be done now, in seconds."""
        left, since = self._left.pop(who, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        allowed = left >= 1.0
        self._left[who] = (left - 1.0 if allowed else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._rate

    def give_back(self, who: str) -> None:
        """Count one less."""
        if who in self._left:
            left, since = self._left[who]
            self._left[who] = (min(self._burst, left + 1.0), since)


# Where a request comes from


def network_of(host: str) -> str:
    """What counts as one who tries to log in: an address, or the /64 network of IPv6 that it is in.

    Whoever has an address of IPv6 has as a rule all 2**64 of its network, and could try from another one each time.

    Args:
        host: The address; another text is one by itself.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_loopback:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def foreign_host(host: str, names: Iterable[str], *, loopback: bool) -> Refusal | None:
    """Why a request with this ``Host`` is refused; None if it is not.

    A page of elsewhere can have its own name lead to this computer (DNS rebinding), and would then read what is shown
    to everybody here: but a browser says by which name it came.

    Args:
        host: What the request says.
        names: Further names of this server.
        loopback: Whether it listens on loopback alone. Elsewhere, the certificate says who it is.
    """
    if not loopback:
        return None
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    if name.lower().rstrip(".") in {*_LOOPBACK_NAMES, *(each.lower() for each in names)}:
        return None
    return Refusal(421, f"this server is not {name!r}", "use the address that 'qmi web' has printed")


def foreign_origin(method: str, scheme: str, headers: Mapping[str, str]) -> Refusal | None:
    """Why a request is refused for the page that sends it; None if it is not.

    A page of another site may lead here. It may change nothing, and ask for nothing either: the browser would not show
    it the answer, but the instrument would have been asked.

    Args:
        method: The method.
        scheme: ``"http"`` or ``"https"``.
        headers: The headers, with names in lower case.
    """
    site = headers.get("sec-fetch-site")
    is_foreign = site is not None and site not in ("same-origin", "none")
    if method in SAFE_METHODS:
        if is_foreign and headers.get("sec-fetch-mode") != "navigate":
            return Refusal(403, f"a page of another site ({site}) may read nothing")
        return None
    if is_foreign:
        return Refusal(403, f"a page of another site ({site}) may change nothing")
    origin = headers.get("origin")
    if origin is None:  # not from a page of a browser
        return None
    try:
        found = urlsplit(origin)
    except ValueError:
        return Refusal(403, "the origin of the request is no address")
    if (found.scheme, found.netloc.lower()) != (scheme, headers.get("host", "").lower()):
        return Refusal(403, f"a page of {origin!r} may change nothing")
    return None


class Caller(NamedTuple):
    """Who sends a request.

    Attributes:
        user: Who has logged in; empty if nobody has.
        csrf: What pages of this session have to send; empty where no cookie proves who it is.
    """

    user: str = ""
    csrf: str = ""


def refusal_of(caller: Caller, headers: Mapping[str, str], *, changes: bool, reading_is_free: bool) -> Refusal | None:
    """Why somebody may not do something; None if it is allowed.

    Args:
        caller: Who it is.
        headers: The headers, with names in lower case.
        changes: Whether it changes something.
        reading_is_free: Whether others may read.
    """
    if not caller.user:
        if changes:
            return Refusal(401, "changing something needs a login", "log in at /login")
        return None if reading_is_free else Refusal(401, "reading needs a login", "log in at /login")
    if changes and caller.csrf and not same_secret(headers.get(CSRF_HEADER, ""), caller.csrf):
        return Refusal(403, f"the header {CSRF_HEADER} is not that of this session", "load the page again")
    return None
