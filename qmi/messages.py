"""What actors say to each other; the same messages travel in memory and on links.

A message never names its sender. In memory the sender is this context, on a link it is the peer that was
authenticated in the handshake: the receiver adds an :class:`Origin`, so that nobody can claim to be somebody else.

Nobody changes a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeAlias

from msgspec import Struct, field

from qmi.records import NamedTuple

Args: TypeAlias = tuple[object, ...]
"""Positional arguments: users' values, which pass through as they are."""
Kwargs: TypeAlias = Mapping[str, object]
"""Keyword arguments, likewise."""


class Origin(NamedTuple):
    """The context that a message came from, as the receiver knows it.

    Attributes:
        context: Name of the context.
        incarnation: Changes each time that a context of this name is started.
    """

    context: str
    incarnation: str


BLOCK = "block:"
"""How the secret of a ``locked()`` block begins."""


PASS = "pass:"
"""How the secret of a lock begins that its holder hands to the programs that it starts."""


class Token(NamedTuple):
    """What a proxy shows to prove that it holds a lock.

    Attributes:
        secret: Random for automatic tokens, the user's own text for custom ones. Never logged.
        custom: True if the user chose the secret.
    """

    secret: str
    custom: bool = False

    def __repr__(self) -> str:
        return f"<{'custom' if self.custom else 'automatic'} token>"

    @property
    def is_block(self) -> bool:
        """Whether it stands for a ``locked()`` block, and not for a plain ``lock()``."""
        return not self.custom and self.secret.startswith(BLOCK)

    @property
    def is_pass(self) -> bool:
        """Whether other contexts that show it may call, too: its holder has handed it to them."""
        return not self.custom and self.secret.startswith(PASS)


class _LockInfo(NamedTuple):
    context: str
    label: str
    since: float


class LockInfo(_LockInfo):
    """The holder of a lock, as other programs may see it. As a tuple it has the first three of these attributes.

    Attributes:
        context: Name of the holder's context.
        label: The lock's public label, such as ``$lock_2``.
        since: When it was granted, as seconds since the epoch.
        reason: For what it was reserved; empty if nobody said it. Only then the others are known.
        user: Who reserved it.
        program: In which program.
        host: On which computer.
    """

    # What goes over a link is the tuple, since older versions know no more than that.
    reason: str = ""
    user: str = ""
    program: str = ""
    host: str = ""

    def __new__(
        cls,
        context: str,
        label: str,
        since: float,
        reason: str = "",
        user: str = "",
        program: str = "",
        host: str = "",
    ) -> LockInfo:
        """Make one."""
        self = super().__new__(cls, context, label, since)
        if reason or user or program or host:
            self.reason, self.user, self.program, self.host = reason, user, program, host
        return self

    def describe(self) -> str:
        """The same as text, for messages."""
        from datetime import UTC, datetime  # nothing else here needs it, and everybody imports this

        since = datetime.fromtimestamp(self.since, UTC)
        who = self.who()
        text = f"context {self.context!r} ({self.label}) since {since:%Y-%m-%d %H:%M:%S} UTC"
        return text + (f", {who}" if who else "") + (f", for {self.reason!r}" if self.reason else "")

    def who(self) -> str:
        """Who it is, as text; empty if that is not known."""
        parts = (
            f"{self.user}" if self.user else "",
            f"in {self.program}" if self.program else "",
            f"on {self.host}" if self.host else "",
        )
        return " ".join(part for part in parts if part)


GET_PROPERTY = "__rpc_get__"
SET_PROPERTY = "__rpc_set__"
ENTER_BLOCK = "__rpc_enter__"
EXIT_BLOCK = "__rpc_exit__"
"""Methods of every object that proxies call on their own account. No driver can publish methods of such names."""

SERVICE_NAMES = frozenset({GET_PROPERTY, SET_PROPERTY, ENTER_BLOCK, EXIT_BLOCK})

_PROPERTY = re.compile(r"(?!\d)\w+(?:\[\d+\]\.(?!\d)\w+)?\Z")

_BLOCK_TEXTS = {ENTER_BLOCK: "__enter__()", EXIT_BLOCK: "__exit__()"}


def call_text(method: str, args: Args = ()) -> str:
    """What a call is, for messages: ``"get_sample()"``; for a property its name, without parentheses.

    Args:
        method: Name of the method.
        args: Its arguments, if they are known; only those of properties matter.
    """
    if method not in SERVICE_NAMES:
        return f"{method_text(method, args)}()"
    if method in _BLOCK_TEXTS:
        return _BLOCK_TEXTS[method]
    # It may come from another program, which can send anything.
    first = args[0] if args else None
    name = first if isinstance(first, str) and _PROPERTY.match(first) else "a property"
    return name if method == GET_PROPERTY else f"{name} (set)"


def method_text(method: str, args: Args = ()) -> str:
    """The name of a method for people; one of a channel has its number in it: ``"channels[2].ramp"``.

    Args:
        method: Name of the method; that of a channel's is ``"_channels.ramp"``.
        args: Its arguments, if they are known; the first one is the number of the channel.
    """
    group, dot, name = method.partition(".")
    if not dot:
        return method
    group = group.removeprefix("_")
    return f"{group}[{args[0]}].{name}" if args and isinstance(args[0], int) else f"{group}.{name}"


class Call(Struct):
    """Run a published method. The answer is its result, or a stream if the method is a generator.

    Attributes:
        object: Name of the object in its context.
        method: Name of the method.
        args: Positional arguments.
        kwargs: Keyword arguments.
        token: The caller's lock token, if it has one.
        chain: Addresses of the objects that wait for this call, outermost first.
    """

    object: str
    method: str
    args: Args = ()
    kwargs: Kwargs = field(default_factory=dict)
    token: Token | None = None
    chain: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What it is, for messages."""
        return call_text(self.method, self.args)


class LockAnswer(IntEnum):
    """The outcome of a lock request; true if the requester holds the lock."""

    REFUSED = 0
    GRANTED = 1
    KEPT = 2  # the requester held it before


class Acquire(Struct):
    """Lock an object. The answer is a :class:`LockAnswer`.

    Attributes:
        object: Name of the object.
        token: The token that the lock shall belong to.
        timeout: How long to wait for another holder, in seconds.
        held: A token that the sender was granted before, if it has one: of the block that it is in, or of its proxy.
        grant: An automatic token that stands for this request alone, so that exactly what it was granted can be
            released; None if ``token`` does. A block is known by it (:attr:`Token.is_block`).
    """

    object: str
    token: Token
    timeout: float = 0.0
    held: Token | None = None
    grant: Token | None = None

    @property
    def key(self) -> Token:
        """What stands for this request alone."""
        return self.grant or self.token


class Release(Struct):
    """Unlock an object. The answer is True or False.

    Attributes:
        object: Name of the object.
        token: The token that it was locked with.
        context: Name of the context that the lock belongs to, if that is not the sender's (custom tokens only).
    """

    object: str
    token: Token | None
    context: str | None = None


class ForceRelease(Struct):
    """Unlock an object regardless of the holder. The answer is None."""

    object: str


class QueryLock(Struct):
    """Ask for the holder of the lock. The answer is a :class:`LockInfo` or None."""

    object: str


class QueryStatistics(Struct):
    """Ask what the object has done and is doing. The answer is a mapping."""

    object: str


class Describe(Struct):
    """Ask for the interface of an object. The answer is an interface descriptor."""

    object: str


class Subscribe(Struct):
    """Ask for each signal of this name that the object publishes."""

    object: str
    signal: str


class Unsubscribe(Struct):
    """End a subscription."""

    object: str
    signal: str


class Signal(Struct):
    """Something that an object publishes to all subscribers. There is no answer.

    Attributes:
        object: Name of the publisher.
        signal: Name of the signal.
        args: The values.
        seqnr: Counts the signals of this name of this publisher, from 0; :data:`NO_MORE_SIGNALS` says that its object
            was removed.
        timestamp: When it was published, as seconds since the epoch.
    """

    object: str
    signal: str
    args: Args
    seqnr: int
    timestamp: float


NO_MORE_SIGNALS: Final = (1 << 63) - 1
"""Number of the last signal to a peer, which has no arguments: whoever listens is not subscribed any more."""


class Undecodable(tuple[object, ...]):
    """The arguments of a signal that came but could not be rebuilt: none, and the reason."""

    reason: str = ""


class Value(Struct):
    """The answer to a request that succeeded."""

    value: object


class Failure(Struct):
    """The answer to a request that failed."""

    error: BaseException


Request: TypeAlias = (
    Call | Acquire | Release | ForceRelease | QueryLock | QueryStatistics | Describe | Subscribe | Unsubscribe
)
Reply: TypeAlias = Value | Failure
